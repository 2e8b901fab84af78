/* Reads the text of `perf script`: samples, each a header line with period and event, and its stack, innermost frame
   first, one frame a line (recorded with -g) or on the header line itself.

   The period is added to the innermost frame when that is user code: emulation does not slow the kernel down. Frames
   that perf could not name keep their object and the name "[unknown]". Callers above an unknown frame without object
   are not believed: without frame pointers they are chance values. */
#define _GNU_SOURCE
#include "profile/build.h"

#include <stdlib.h>
#include <string.h>

struct reader {
    struct profile_builder build;
    struct profile_lines lines;
    struct base_error *error;
    const char *path;
    char event[64];
    uint64_t period;
    bool in_sample, broken; /* broken: the rest of this stack is not believed */
    bool leaf;              /* the next frame is the innermost */
    uint32_t callee;        /* frame below, UINT32_MAX when it is none of ours */
    uint64_t samples;
};

static int fail(struct reader *r, const char *what)
{
    return base_fail(r->error, BASE_EXIT_INPUT, "%s:%zu: %s: %.*s", r->path, r->lines.number, what,
                     (int)(r->lines.bytes > 60 ? 60 : r->lines.bytes), r->lines.line);
}

static const char *skip_spaces(const char *at, const char *end)
{
    while (at < end && (*at == ' ' || *at == '\t'))
        at++;
    return at;
}

static bool is_kernel(const char *object, size_t bytes)
{
    return bytes && *object == '[' && !(bytes == 6 && memcmp(object, "[vdso]", 6) == 0) &&
           !(bytes == 9 && memcmp(object, "[unknown]", 9) == 0);
}

/* ADDRESS NAME+0xOFFSET (OBJECT) */
static int read_frame(struct reader *r, const char *at)
{
    const char *end = r->lines.line + r->lines.bytes;
    while (end > at && end[-1] == ' ')
        end--;
    char *behind;
    strtoull(at, &behind, 16);
    if (behind == at || behind >= end || *behind != ' ')
        return fail(r, "malformed frame");
    const char *name = skip_spaces(behind, end), *open = end;
    if (end[-1] != ')')
        return fail(r, "frame without an object; run perf script with its default fields");
    while (open > name && memcmp(open, " (", 2) != 0)
        open--;
    if (open == name)
        return fail(r, "frame without an object; run perf script with its default fields");
    const char *object = open + 2, *name_end = open;
    size_t object_bytes = (size_t)(end - 1 - object);
    for (const char *plus = open; plus > name + 1; plus--)
        if (memcmp(plus - 1, "+0x", 3) == 0) {
            name_end = plus - 1;
            break;
        }
    bool leaf = r->leaf;
    r->leaf = false;
    if (r->broken)
        return 0;
    if (is_kernel(object, object_bytes)) {
        r->callee = UINT32_MAX;
        return 0;
    }
    if (object_bytes == 9 && memcmp(object, "[unknown]", 9) == 0) {
        r->broken = true;
        return 0;
    }
    uint32_t index = profile_build_object(&r->build, object, object_bytes);
    uint32_t f = profile_build_function(&r->build, index, name, (size_t)(name_end - name));
    if (leaf)
        profile_build_self(&r->build, f, r->period);
    else if (r->callee != UINT32_MAX)
        profile_build_edge(&r->build, f, r->callee, 1);
    r->callee = f;
    return 0;
}

/* COMM PID [CPU] SECONDS.FRACTION: PERIOD EVENT: [FRAME]; the command may hold spaces, so the time is looked for. */
static int read_header(struct reader *r)
{
    const char *line = r->lines.line, *end = line + r->lines.bytes, *at = NULL;
    for (const char *colon = line; colon < end && !at; colon++) {
        if (*colon != ':')
            continue;
        const char *start = colon;
        bool point = false;
        while (start > line && ((start[-1] >= '0' && start[-1] <= '9') || start[-1] == '.'))
            point |= *--start == '.';
        if (point && start > line && start[-1] == ' ' && colon + 1 < end && colon[1] == ' ')
            at = colon + 1;
    }
    if (!at)
        return fail(r, "not the header of a sample");
    at = skip_spaces(at, end);
    r->period = 1;
    const char *number = at;
    if (profile_number(&r->period, &number, end) && number < end && *number == ' ')
        at = skip_spaces(number, end);
    else
        r->period = 1;
    const char *event = at;
    while (at < end && *at != ' ')
        at++;
    size_t bytes = (size_t)(at - event);
    if (bytes < 2 || event[bytes - 1] != ':')
        return fail(r, "sample without an event");
    /* "cycles:uppp:": modifiers are no part of the name, and a sample of another event is another metric. */
    const char *colon = memchr(event, ':', bytes);
    bytes = (size_t)(colon - event);
    if (bytes >= sizeof r->event)
        return fail(r, "event name too long");
    if (!*r->event)
        memcpy(r->event, event, bytes);
    else if (strlen(r->event) != bytes || memcmp(r->event, event, bytes))
        return fail(r, "samples of several events; choose one with perf record -e");
    r->samples++;
    r->in_sample = r->leaf = true;
    r->broken = false;
    r->callee = UINT32_MAX;
    at = skip_spaces(at, end);
    return at < end ? read_frame(r, at) : 0;
}

static int read_line(struct reader *r)
{
    if (r->lines.bytes == 0) {
        r->in_sample = false;
        return 0;
    }
    char first = *r->lines.line;
    if (first == '#')
        return 0;
    const char *at = skip_spaces(r->lines.line, r->lines.line + r->lines.bytes);
    /* perf right-aligns short command names, so a header may begin with blanks too; a frame never has a colon before
       its address ends. */
    if (first == '\t' && r->in_sample)
        return read_frame(r, at);
    return read_header(r);
}

static int read_all(struct base_error *error, struct profile *out, const char *data, size_t bytes,
                    const char *path)
{
    struct reader r = {
        .lines = {.at = data, .end = data + bytes}, .error = error, .path = path, .callee = UINT32_MAX};
    int status = 0;
    while (status == 0 && profile_next_line(&r.lines))
        status = read_line(&r);
    if (status == 0 && !r.samples)
        status = base_fail(error, BASE_EXIT_INPUT, "%s: no samples; give the output of: perf script", path);
    if (status == 0) {
        r.build.p.metric = strcmp(r.event, "instructions") == 0 ? PROFILE_INSTRUCTIONS : PROFILE_TIME;
        struct base_text source = {0};
        base_text_printf(&source, "perf %s", r.event);
        r.build.p.source = source.data;
        status = profile_build_finish(error, out, &r.build, path);
    }
    profile_build_drop(&r.build);
    return status;
}

static bool sniff(const char *data, size_t bytes)
{
    /* The first line that is no comment is a sample's header: it ends in "EVENT:" or holds "EVENT: ". */
    struct reader r = {.lines = {.at = data, .end = data + bytes}, .path = ""};
    while (profile_next_line(&r.lines))
        if (r.lines.bytes && *r.lines.line != '#') {
            bool is_header = *r.lines.line != '\t' && read_header(&r) == 0;
            profile_build_drop(&r.build);
            return is_header;
        }
    return false;
}

const struct profile_reader profile_perf = {
    .name = "perf",
    .meaning = "the text of perf script",
    .sniff = sniff,
    .read = read_all,
};
