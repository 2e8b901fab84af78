/* The neutral form: our own text, one record a line, described in docs/profile-format.md. */
#include "profile/build.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define MAGIC "testudo-profile 1"

const char *profile_metric_name(enum profile_metric metric)
{
    return metric == PROFILE_INSTRUCTIONS ? "instructions" : "time";
}

void profile_write(struct base_text *text, const struct profile *p)
{
    base_text_printf(text, "%s\nmetric %s\nsource %s\n", MAGIC, profile_metric_name(p->metric), p->source);
    for (size_t i = 0; i < p->object_count; i++)
        base_text_printf(text, "object %s %s\n", *p->objects[i].build_id ? p->objects[i].build_id : "-",
                         p->objects[i].path);
    for (size_t i = 0; i < p->function_count; i++) {
        const struct profile_function *f = &p->functions[i];
        base_text_printf(text, "function %" PRIu32 " ", f->object);
        if (f->offset == PROFILE_NO_OFFSET)
            base_text_puts(text, "-");
        else
            base_text_printf(text, "0x%" PRIx64, f->offset);
        base_text_printf(text, " %" PRIu64 " %" PRIu64 " %s\n", f->self, f->calls, f->name);
    }
    for (size_t i = 0; i < p->function_count; i++) {
        const struct profile_function *f = &p->functions[i];
        if (f->zero || f->negative)
            base_text_printf(text, "returns %zu %" PRIu64 " %" PRIu64 " %" PRId32 "\n", i, f->zero,
                             f->negative, f->last_negative);
    }
    for (size_t i = 0; i < p->edge_count; i++)
        base_text_printf(text, "edge %" PRIu32 " %" PRIu32 " %" PRIu64 "\n", p->edges[i].caller,
                         p->edges[i].callee, p->edges[i].calls);
    base_text_printf(text, "total %" PRIu64 "\n", p->total);
}

struct reader {
    struct profile_builder build;
    struct profile_lines lines;
    struct base_error *error;
    const char *path;
    uint32_t *function_at; /* line order to builder index: two lines may name one function */
    size_t function_count, function_room;
    bool has_metric, has_total;
};

static int fail(struct reader *r, const char *what)
{
    return base_fail(r->error, BASE_EXIT_INPUT, "%s:%zu: %s: %.*s", r->path, r->lines.number, what,
                     (int)(r->lines.bytes > 60 ? 60 : r->lines.bytes), r->lines.line);
}

/* Next space-separated field; *at moves behind the space. Returns its length, 0 when there is none. */
static size_t field(const char **text, const char **at, const char *end)
{
    *text = *at;
    const char *space = memchr(*at, ' ', (size_t)(end - *at));
    size_t bytes = (size_t)((space ? space : end) - *at);
    *at = space ? space + 1 : end;
    return bytes;
}

static bool number_field(uint64_t *value, const char **at, const char *end)
{
    return profile_number(value, at, end) && (*at == end || *(*at)++ == ' ');
}

static int read_object(struct reader *r, const char *at, const char *end)
{
    const char *id;
    size_t bytes = field(&id, &at, end);
    uint8_t raw[20];
    struct profile_object object = {0};
    if (!bytes || bytes >= sizeof object.build_id)
        return fail(r, "malformed build-id");
    memcpy(object.build_id, id, bytes);
    if (strcmp(object.build_id, "-") == 0)
        object.build_id[0] = 0;
    else if (base_unhex(raw, sizeof raw, object.build_id) < 0)
        return fail(r, "malformed build-id");
    if (at == end)
        return fail(r, "object without a path");
    size_t before = r->build.p.object_count;
    uint32_t index = profile_build_object(&r->build, at, (size_t)(end - at));
    if (r->build.p.object_count == before)
        return fail(r, "object named twice");
    memcpy(r->build.p.objects[index].build_id, object.build_id, sizeof object.build_id);
    return 0;
}

static int read_function(struct reader *r, const char *at, const char *end)
{
    uint64_t object, self, calls, offset = PROFILE_NO_OFFSET;
    const char *word;
    if (!number_field(&object, &at, end) || object >= r->build.p.object_count)
        return fail(r, "function of an object that was not named above");
    size_t bytes = field(&word, &at, end);
    if (bytes > 2 && word[0] == '0' && word[1] == 'x') {
        char *behind;
        offset = strtoull(word, &behind, 16);
        if (behind != word + bytes)
            return fail(r, "malformed offset");
    } else if (bytes != 1 || *word != '-') {
        return fail(r, "malformed offset");
    }
    if (!number_field(&self, &at, end) || !number_field(&calls, &at, end))
        return fail(r, "malformed cost or call count (whole numbers from 0 on)");
    if (at == end)
        return fail(r, "function without a name");
    uint32_t index = profile_build_function(&r->build, (uint32_t)object, at, (size_t)(end - at));
    if (r->build.p.functions[index].offset == PROFILE_NO_OFFSET)
        r->build.p.functions[index].offset = offset;
    profile_build_self(&r->build, index, self);
    profile_build_calls(&r->build, index, calls);
    if (r->function_count == r->function_room) {
        r->function_room = 2 * r->function_room + 256;
        r->function_at = reallocarray(r->function_at, r->function_room, sizeof *r->function_at);
        if (!r->function_at)
            return fail(r, "out of memory");
    }
    r->function_at[r->function_count++] = index;
    return 0;
}

static int read_edge(struct reader *r, const char *at, const char *end)
{
    uint64_t caller, callee, calls;
    if (!number_field(&caller, &at, end) || !number_field(&callee, &at, end) ||
        !number_field(&calls, &at, end) || at != end)
        return fail(r, "malformed edge");
    if (caller >= r->function_count || callee >= r->function_count)
        return fail(r, "edge of a function that was not named above");
    profile_build_edge(&r->build, r->function_at[caller], r->function_at[callee], calls);
    return 0;
}

/* The negative number is whole and its last digit ends the line. */
static int read_returns(struct reader *r, const char *at, const char *end)
{
    uint64_t function, last;
    struct profile_function f = {0};
    if (!number_field(&function, &at, end) || function >= r->function_count)
        return fail(r, "returns of a function that was not named above");
    if (!number_field(&f.zero, &at, end) || !number_field(&f.negative, &at, end) || at == end)
        return fail(r, "malformed count of returns (whole numbers from 0 on)");
    bool minus = *at == '-';
    at += minus;
    if (!number_field(&last, &at, end) || at != end || last > (uint64_t)INT32_MAX + minus ||
        minus != (f.negative > 0) || (last == 0) != (f.negative == 0))
        return fail(r, "malformed last negative value");
    f.last_negative = (int32_t) - (int64_t)last;
    profile_build_returns(&r->build, r->function_at[function], &f);
    return 0;
}

static bool key(struct reader *r, const char *name, const char **rest)
{
    size_t bytes = strlen(name);
    if (r->lines.bytes <= bytes || memcmp(r->lines.line, name, bytes) || r->lines.line[bytes] != ' ')
        return false;
    *rest = r->lines.line + bytes + 1;
    return true;
}

static int read_line(struct reader *r)
{
    const char *at, *end = r->lines.line + r->lines.bytes;
    if (r->lines.bytes == 0 || *r->lines.line == '#')
        return 0;
    for (const char *c = r->lines.line; c < end; c++)
        if ((unsigned char)*c < ' ' && *c != '\t')
            return fail(r, "control character");
    if (r->has_total)
        return fail(r, "line behind the total");
    if (key(r, "metric", &at)) {
        size_t bytes = (size_t)(end - at);
        if (bytes == 12 && memcmp(at, "instructions", 12) == 0)
            r->build.p.metric = PROFILE_INSTRUCTIONS;
        else if (bytes == 4 && memcmp(at, "time", 4) == 0)
            r->build.p.metric = PROFILE_TIME;
        else
            return fail(r, "the metric is instructions or time");
        r->has_metric = true;
        return 0;
    }
    if (key(r, "source", &at)) {
        free(r->build.p.source);
        r->build.p.source = strndup(at, (size_t)(end - at));
        return 0;
    }
    if (key(r, "object", &at))
        return read_object(r, at, end);
    if (key(r, "function", &at))
        return read_function(r, at, end);
    if (key(r, "returns", &at))
        return read_returns(r, at, end);
    if (key(r, "edge", &at))
        return read_edge(r, at, end);
    if (key(r, "total", &at)) {
        uint64_t total;
        if (!number_field(&total, &at, end) || at != end)
            return fail(r, "malformed total");
        if (total != r->build.p.total)
            return fail(r, "the functions' costs do not add up to this total");
        r->has_total = true;
        return 0;
    }
    return fail(r, "not a line of a profile");
}

static int read_all(struct base_error *error, struct profile *out, const char *data, size_t bytes,
                    const char *path)
{
    struct reader r = {.lines = {.at = data, .end = data + bytes}, .error = error, .path = path};
    int status = 0;
    if (!profile_next_line(&r.lines) || r.lines.bytes != strlen(MAGIC) ||
        memcmp(r.lines.line, MAGIC, r.lines.bytes))
        status = base_fail(error, BASE_EXIT_INPUT, "%s:1: this reads \"%s\", not this version", path, MAGIC);
    while (status == 0 && profile_next_line(&r.lines))
        status = read_line(&r);
    if (status == 0 && (!r.has_total || !r.has_metric))
        status = base_fail(error, BASE_EXIT_INPUT, "%s:%zu: the file ends without its %s: it was cut off",
                           path, r.lines.number, r.has_metric ? "total" : "metric");
    if (status == 0)
        status = profile_build_finish(error, out, &r.build, path);
    profile_build_drop(&r.build);
    free(r.function_at);
    return status;
}

static bool sniff(const char *data, size_t bytes)
{
    static const char word[] = "testudo-profile";
    return bytes >= sizeof word - 1 && memcmp(data, word, sizeof word - 1) == 0;
}

const struct profile_reader profile_text = {
    .name = "testudo",
    .meaning = "testudo's own text (docs/profile-format.md)",
    .sniff = sniff,
    .read = read_all,
};
