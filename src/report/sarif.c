/* Faults as SARIF 2.1.0, the format that editors and code hosts show findings from. One run, one rule a kind of fault, one
   result a distinct fault with its count. Like the JSON lines it holds offsets and names, no contents of memory. */
#include "report/report.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name, *meaning;
} kinds[] = {
#define FAULT(id, name, meaning) {name, meaning},
#include "core/faults.def"
#undef FAULT
};

/* Names that come out of a program's files may hold any bytes; JSON takes UTF-8 only. */
static json_t *text(const char *string)
{
    json_t *value = json_string(string);
    if (value)
        return value;
    struct base_text plain = {0};
    for (; *string; string++)
        base_text_add(&plain, (unsigned char)*string < 0x80 ? string : "?", 1);
    value = json_string(plain.data ? plain.data : "");
    base_text_free(&plain);
    return value;
}

static json_t *message(const char *string)
{
    return json_pack("{s:o}", "text", text(string));
}

/* A path as a URI: a reader finds the file by it. */
static json_t *artifact(const char *path)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/+";
    struct base_text uri = {0};
    if (*path == '/')
        base_text_puts(&uri, "file://");
    for (; *path; path++) {
        if (strchr(plain, *path))
            base_text_add(&uri, path, 1);
        else
            base_text_printf(&uri, "%%%02X", (unsigned char)*path);
    }
    json_t *location = json_pack("{s:s}", "uri", uri.data ? uri.data : "");
    base_text_free(&uri);
    return location;
}

/* Where a frame is: its source line when that is known, else its place in the file that was run. */
static json_t *location(const struct report_frame *frame)
{
    json_t *location = json_object(), *physical = json_object();
    char name[64];
    if (frame->file) {
        json_object_set_new(physical, "artifactLocation", artifact(frame->file));
        if (frame->line)
            json_object_set_new(physical, "region", json_pack("{s:i}", "startLine", (int)frame->line));
    } else if (frame->object) {
        json_object_set_new(physical, "artifactLocation", artifact(frame->object));
        json_object_set_new(
            physical, "address",
            json_pack("{s:I,s:s}", "relativeAddress", (json_int_t)frame->offset, "kind", "instruction"));
    }
    if (json_object_size(physical))
        json_object_set_new(location, "physicalLocation", physical);
    else
        json_decref(physical);
    snprintf(name, sizeof name, "0x%" PRIx64, frame->offset);
    json_t *logical = json_pack("{s:o,s:s}", "fullyQualifiedName",
                                text(frame->function ? frame->function : name), "kind", "function");
    json_object_set_new(location, "logicalLocations", json_pack("[o]", logical));
    return location;
}

static void add_stack(json_t *stacks, const char *title, const struct report_stack *stack)
{
    if (!stack->count)
        return;
    json_t *frames = json_array();
    for (unsigned i = 0; i < stack->count; i++)
        json_array_append_new(frames, json_pack("{s:o}", "location", location(&stack->frame[i])));
    json_array_append_new(stacks, json_pack("{s:o,s:o}", "message", message(title), "frames", frames));
}

/* The fault in one sentence. */
static json_t *sentence(const struct report_fault *f)
{
    struct base_text words = {0};
    base_text_printf(&words, "%s in ", f->kind);
    if (f->function)
        base_text_puts(&words, f->function);
    else
        base_text_printf(&words, "function 0x%" PRIx64, f->offset);
    if (f->access && f->access_bytes)
        base_text_printf(&words, ": %s of %" PRIu64 " bytes", f->access, f->access_bytes);
    if (f->region && f->object_start && f->object_bytes && f->has_address) {
        uint64_t end = f->object_start + f->object_bytes;
        uint64_t away = f->address >= end              ? f->address - end
                        : f->address < f->object_start ? f->object_start - f->address
                                                       : f->address - f->object_start;
        base_text_printf(&words, " %" PRIu64 " bytes %s%s%s a %s of %" PRIu64 " bytes", away,
                         f->address >= end              ? "after"
                         : f->address < f->object_start ? "before"
                                                        : "into",
                         f->variable ? " " : "", f->variable ? f->variable : "",
                         f->variable ? "local variable" : f->region, f->object_bytes);
    }
    base_text_printf(&words, "; %s", f->outcome ? f->outcome : "unknown");
    json_t *out = message(words.data);
    base_text_free(&words);
    return out;
}

static int rule_of(const char *kind)
{
    for (size_t i = 1; kind && i < sizeof kinds / sizeof *kinds; i++)
        if (!strcmp(kinds[i].name, kind))
            return (int)i - 1;
    return -1;
}

static json_t *result(const struct report_fault *f)
{
    json_t *stacks = json_array(), *o = json_object();
    json_object_set_new(o, "ruleId", text(f->kind));
    json_object_set_new(o, "ruleIndex", json_integer(rule_of(f->kind)));
    json_object_set_new(o, "level", json_string("error"));
    json_object_set_new(o, "message", sentence(f));
    if (f->stack.count)
        json_object_set_new(o, "locations", json_pack("[o]", location(&f->stack.frame[0])));
    add_stack(stacks, "fault", &f->stack);
    add_stack(stacks, "allocated by", &f->alloc_stack);
    add_stack(stacks, "freed by", &f->free_stack);
    json_object_set_new(o, "stacks", stacks);
    json_object_set_new(o, "fingerprints", json_pack("{s:s}", "testudo/v1", f->id));
    json_object_set_new(o, "occurrenceCount", json_integer((json_int_t)f->count));
    if (f->build_id[0])
        json_object_set_new(o, "properties", json_pack("{s:s}", "buildId", f->build_id));
    return o;
}

static json_t *driver(void)
{
    json_t *rules = json_array();
    for (size_t i = 1; i < sizeof kinds / sizeof *kinds; i++)
        json_array_append_new(rules, json_pack("{s:s,s:o}", "id", kinds[i].name, "shortDescription",
                                               message(kinds[i].meaning)));
    return json_pack("{s:s,s:o}", "name", "testudo", "rules", rules);
}

int report_sarif_save(struct base_error *error, const struct report_tally *tally,
                      const struct report_suppressions *suppressed, const char *path)
{
    const struct report_fault *faults;
    size_t count = report_tally_faults(tally, &faults);
    json_t *results = json_array(), *notes = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(results, result(&faults[i]));
    char said[512];
    for (size_t at = 0; report_suppressions_said(said, sizeof said, suppressed, &at);)
        json_array_append_new(notes, json_pack("{s:s,s:o}", "level", "note", "message", message(said)));
    json_t *invocation =
        json_pack("{s:b,s:o}", "executionSuccessful", 1, "toolExecutionNotifications", notes);
    json_t *run = json_pack("{s:{s:o},s:[o],s:o}", "tool", "driver", driver(), "invocations", invocation,
                            "results", results);
    json_t *document =
        json_pack("{s:s,s:s,s:[o]}", "$schema", "https://json.schemastore.org/sarif-2.1.0.json", "version",
                  "2.1.0", "runs", run);
    char *data = document ? json_dumps(document, JSON_INDENT(1)) : NULL;
    json_decref(document);
    if (!data)
        return base_fail(error, BASE_EXIT_FAILURE, "out of memory");
    int status = base_write_file(error, path, data, strlen(data));
    free(data);
    return status;
}
