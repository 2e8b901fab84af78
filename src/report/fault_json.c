/* A fault report for machines: one object a line. Code offsets, sizes and distances, no contents of memory.
 */
#include "report/report.h"

#include <inttypes.h>
#include <jansson.h>
#include <string.h>
#include <time.h>

/* A file's names may hold any bytes; JSON takes UTF-8 only. */
static json_t *text(const char *string)
{
    if (!string)
        return json_null();
    json_t *value = json_string(string);
    if (value)
        return value;
    char plain[256];
    size_t used = 0;
    for (; string[used] && used + 1 < sizeof plain; used++)
        plain[used] = (unsigned char)string[used] < 0x80 ? string[used] : '?';
    plain[used] = 0;
    return json_string(plain);
}

/* Addresses are text: a JSON number loses what lies above 2^53 in most readers. */
static json_t *hex(uint64_t number)
{
    return json_sprintf("0x%" PRIx64, number);
}

static json_t *optional(bool known, json_int_t number)
{
    return known ? json_integer(number) : json_null();
}

static json_t *stack(const struct report_stack *frames)
{
    json_t *list = json_array();
    for (unsigned i = 0; i < frames->count; i++) {
        const struct report_frame *f = &frames->frame[i];
        json_t *frame = json_object();
        json_object_set_new(frame, "function", text(f->function));
        json_object_set_new(frame, "into", optional(f->function != NULL, (json_int_t)f->into));
        json_object_set_new(frame, "object", text(f->object));
        json_object_set_new(frame, "offset", hex(f->offset));
        json_object_set_new(frame, "file", text(f->file));
        json_object_set_new(frame, "line", optional(f->file != NULL, f->line));
        json_array_append_new(list, frame);
    }
    return list;
}

static json_t *time_text(uint64_t time_ns)
{
    time_t seconds = (time_t)(time_ns / 1000000000u);
    struct tm utc;
    char date[32];
    if (!gmtime_r(&seconds, &utc) || !strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &utc))
        return json_null();
    return json_sprintf("%s.%06uZ", date, (unsigned)(time_ns % 1000000000u / 1000u));
}

char *report_fault_json(const struct report_fault *f)
{
    json_t *o = json_object();
    json_object_set_new(o, "id", text(f->id));
    json_object_set_new(o, "time", time_text(f->time_ns));
    json_object_set_new(o, "member", text(f->member));
    json_object_set_new(o, "kind", text(f->kind));
    json_object_set_new(o, "access", text(f->access));
    json_object_set_new(o, "size", optional(f->access_bytes != 0, (json_int_t)f->access_bytes));
    json_object_set_new(o, "address", f->has_address ? hex(f->address) : json_null());
    json_object_set_new(o, "distance", optional(f->has_distance, f->distance_bytes));
    json_object_set_new(o, "object_size", optional(f->object_bytes != 0, (json_int_t)f->object_bytes));
    json_object_set_new(o, "variable", text(f->variable));
    json_object_set_new(o, "function", text(f->function));
    json_object_set_new(o, "offset", hex(f->offset));
    json_object_set_new(o, "object", text(f->object));
    json_object_set_new(o, "build_id", f->build_id[0] ? text(f->build_id) : json_null());
    json_object_set_new(o, "stack", stack(&f->stack));
    json_object_set_new(o, "alloc_stack", stack(&f->alloc_stack));
    json_object_set_new(o, "free_stack", stack(&f->free_stack));
    json_object_set_new(o, "detected_by", text(f->detected_by));
    json_object_set_new(o, "outcome", text(f->outcome));
    json_object_set_new(o, "returned", optional(f->undone, f->returned));
    json_t *rescue = f->rescue_point ? text(f->rescue_point) : hex(f->rescue_offset);
    json_object_set_new(o, "rescue_point", f->undone ? json_incref(rescue) : json_null());
    json_decref(rescue);
    json_t *lost = json_array();
    for (unsigned i = 0; i < REPORT_NOT_UNDONE_MAX && f->not_undone[i]; i++)
        json_array_append_new(lost, text(f->not_undone[i]));
    json_object_set_new(o, "not_undone", lost);
    json_object_set_new(o, "count", json_integer((json_int_t)f->count));
    char *line = json_dumps(o, JSON_COMPACT);
    json_decref(o);
    return line;
}
