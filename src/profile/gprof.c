/* Reads gprof's text output: the flat profile gives self time and calls, the call graph gives edges.

   gprof profiles the main program only and prints times in hundredths of a second. In the call graph every entry is a
   block between dashed lines: callers above the primary line (which starts with `[`), callees below it. Counts read
   "12" or "12/34"; "12+3" is a function that also calls itself 3 times. */
#define _GNU_SOURCE
#include "profile/build.h"

#include <stdlib.h>
#include <string.h>

#define NS_PER_SECOND 1e9

enum state { BEFORE, FLAT_HEAD, FLAT, BETWEEN, GRAPH, BEHIND };

/* One line of a call graph block. */
struct entry {
    const char *name;
    size_t bytes;
    uint64_t calls;
};

struct reader {
    struct profile_builder build;
    struct profile_lines lines;
    struct base_error *error;
    const char *path;
    uint32_t object;
    enum state state;
    uint32_t primary; /* function of the block; UINT32_MAX above its line */
    bool saw_flat;
};

static int fail(struct reader *r, const char *what)
{
    return base_fail(r->error, BASE_EXIT_INPUT, "%s:%zu: %s: %.*s", r->path, r->lines.number, what,
                     (int)(r->lines.bytes > 60 ? 60 : r->lines.bytes), r->lines.line);
}

static bool has(const struct profile_lines *lines, const char *text)
{
    return memmem(lines->line, lines->bytes, text, strlen(text)) != NULL;
}

static const char *skip_spaces(const char *at, const char *end)
{
    while (at < end && (*at == ' ' || *at == '\t'))
        at++;
    return at;
}

/* A decimal fraction; the text behind every line is at least a newline or NUL, so strtod stops in time. */
static bool decimal(double *value, const char **at, const char *end)
{
    const char *start = skip_spaces(*at, end);
    if (start == end || ((*start < '0' || *start > '9') && *start != '.'))
        return false;
    char *behind;
    *value = strtod(start, &behind);
    if (behind > end)
        return false;
    *at = behind;
    return true;
}

/* %time cumulative self [calls self/call total/call] name */
static int read_flat(struct reader *r)
{
    const char *at = r->lines.line, *end = at + r->lines.bytes;
    double percent, cumulative, self, per_call, total;
    if (!decimal(&percent, &at, end) || !decimal(&cumulative, &at, end) || !decimal(&self, &at, end))
        return fail(r, "malformed line of the flat profile");
    uint64_t calls = 0;
    const char *after = skip_spaces(at, end), *name = after;
    if (profile_number(&calls, &after, end) && after < end && *after == ' ' &&
        decimal(&per_call, &after, end) && decimal(&total, &after, end))
        name = skip_spaces(after, end);
    else
        calls = 0;
    if (name == end)
        return fail(r, "function without a name");
    if (self < 0 || self > 1e9)
        return fail(r, "absurd time");
    uint32_t f = profile_build_function(&r->build, r->object, name, (size_t)(end - name));
    profile_build_self(&r->build, f, (uint64_t)(self * NS_PER_SECOND + 0.5));
    profile_build_calls(&r->build, f, calls);
    return 0;
}

/* The name of a call graph line is followed by its index: "name [12]" or "name <cycle 1> [12]". */
static bool entry_name(struct entry *entry, const char *at, const char *end)
{
    const char *bracket = end;
    while (bracket > at && (bracket == end || *bracket != '['))
        bracket--;
    if (bracket == at)
        return false;
    const char *behind = bracket;
    const char *cycle = memmem(at, (size_t)(bracket - at), " <cycle ", 8);
    if (cycle && cycle > at)
        behind = cycle;
    while (behind > at && behind[-1] == ' ')
        behind--;
    entry->name = at;
    entry->bytes = (size_t)(behind - at);
    return behind > at;
}

/* One line of a block: [index] percent, self and children times, count, name, index. A caller's or callee's line has no
   bracket and no percent; a function that nobody calls has no count, a recursive call no times. */
static int read_graph(struct reader *r)
{
    const char *at = r->lines.line, *end = at + r->lines.bytes;
    bool is_primary = *at == '[';
    double time;
    if (has(&r->lines, "<spontaneous>"))
        return 0;
    if (is_primary) {
        const char *bracket = memchr(at, ']', (size_t)(end - at));
        at = bracket ? bracket + 1 : end;
        if (!decimal(&time, &at, end))
            return fail(r, "malformed entry of the call graph");
    }
    /* Times have a decimal point, counts have none. */
    for (int i = 0; i < 2; i++) {
        const char *word = skip_spaces(at, end), *after = word;
        while (after < end && *after != ' ' && *after != '.')
            after++;
        if (after == end || *after != '.' || !decimal(&time, &word, end))
            break;
        at = word;
    }
    at = skip_spaces(at, end);
    struct entry entry = {0};
    const char *count = at;
    if (profile_number(&entry.calls, &count, end)) {
        uint64_t of_all;
        if (count < end && (*count == '/' || *count == '+')) {
            count++;
            if (!profile_number(&of_all, &count, end))
                return fail(r, "malformed call count");
        }
        at = skip_spaces(count, end);
    }
    if (!entry_name(&entry, at, end))
        return fail(r, "entry without a name");
    /* A cycle as a whole is no function; its members have blocks of their own. */
    if (*entry.name == '<')
        return 0;
    uint32_t f = profile_build_function(&r->build, r->object, entry.name, entry.bytes);
    /* Callers above the primary line are passed over: each call stands once more below its caller's own line. */
    if (is_primary)
        r->primary = f;
    else if (r->primary != UINT32_MAX)
        profile_build_edge(&r->build, r->primary, f, entry.calls);
    return 0;
}

static int read_line(struct reader *r)
{
    switch (r->state) {
    case BEFORE:
        if (has(&r->lines, "Flat profile:"))
            r->state = FLAT_HEAD;
        else if (has(&r->lines, "Call graph"))
            r->state = BETWEEN;
        return 0;
    case FLAT_HEAD:
        if (has(&r->lines, "no time accumulated"))
            return fail(r, "the profile holds no time; run the program longer");
        if (has(&r->lines, "time") && has(&r->lines, "name")) {
            r->state = FLAT;
            r->saw_flat = true;
        }
        return 0;
    case FLAT:
        if (r->lines.bytes == 0 || *r->lines.line == '\f') {
            r->state = BETWEEN;
            return 0;
        }
        return read_flat(r);
    case BETWEEN:
        if (has(&r->lines, "index % time"))
            r->state = GRAPH;
        return 0;
    case GRAPH:
        if (r->lines.bytes == 0)
            return 0;
        if (r->lines.bytes >= 5 && memcmp(r->lines.line, "-----", 5) == 0) {
            r->primary = UINT32_MAX;
            return 0;
        }
        if (*r->lines.line == '\f' || has(&r->lines, "This table describes the call tree") ||
            has(&r->lines, "Index by function name")) {
            r->state = BEHIND;
            return 0;
        }
        return read_graph(r);
    case BEHIND:
        return 0;
    }
    return 0;
}

static int read_all(struct base_error *error, struct profile *out, const char *data, size_t bytes,
                    const char *path)
{
    struct reader r = {
        .lines = {.at = data, .end = data + bytes}, .error = error, .path = path, .primary = UINT32_MAX};
    r.object = profile_build_object(&r.build, PROFILE_MAIN, strlen(PROFILE_MAIN));
    r.build.p.metric = PROFILE_TIME;
    r.build.p.source = strdup("gprof");
    int status = 0;
    while (status == 0 && profile_next_line(&r.lines))
        status = read_line(&r);
    if (status == 0 && !r.saw_flat)
        status = base_fail(error, BASE_EXIT_INPUT,
                           "%s: no flat profile; give the output of: gprof PROGRAM gmon.out", path);
    if (status == 0)
        status = profile_build_finish(error, out, &r.build, path);
    profile_build_drop(&r.build);
    return status;
}

static bool sniff(const char *data, size_t bytes)
{
    size_t head = bytes < 4096 ? bytes : 4096;
    return memmem(data, head, "Flat profile:", 13) != NULL;
}

const struct profile_reader profile_gprof = {
    .name = "gprof",
    .meaning = "gprof's text output",
    .sniff = sniff,
    .read = read_all,
};
