/* Reads callgrind's output: the format of `valgrind --tool=callgrind`, version 1.

   A body of lines names where costs belong (`ob=`, `fl=`, `fi=`, `fe=`, `fn=`), costs follow as `POSITION... COST...`. A
   `calls=` line announces that the next cost line is the inclusive cost of a call, which is no self cost; `jump=`
   and `jcnd=` announce a line with a position and no cost. Names may be compressed, `(id) name` once and `(id) later;
   objects and functions have an id space each. Positions may be relative, and the base of the next one is the last
   position of a cost or jump source line, never a call's target. A file may hold several parts (dumps, threads); each
   ends with `totals:`, which must equal the sum of the part, and so betrays a file that was cut off. */
#define _GNU_SOURCE
#include "profile/build.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { POSITIONS_MAX = 2, EVENTS_MAX = 64, NAME_IDS_MAX = 1 << 24 };

enum pending { SELF, CALL, JUMP };

/* Names by compression id. */
struct ids {
    struct span {
        const char *text;
        size_t bytes;
    } * names;
    size_t room;
};

struct reader {
    struct profile_builder build;
    struct profile_lines lines;
    struct base_error *error;
    const char *path;
    struct ids objects, functions;
    unsigned positions, events, event; /* event: column of the costs that count */
    bool has_instr, has_events, is_callgrind;
    enum pending pending;
    uint32_t object, function, callee_object, callee; /* UINT32_MAX: none yet */
    uint64_t calls, position[POSITIONS_MAX];
    uint64_t part_sum;
    bool part_open; /* costs since the last totals: */
    uint64_t totals_seen;
    struct span command, creator;
};

static int fail(struct reader *r, const char *what)
{
    return base_fail(r->error, BASE_EXIT_INPUT, "%s:%zu: %s: %.*s", r->path, r->lines.number, what,
                     (int)(r->lines.bytes > 60 ? 60 : r->lines.bytes), r->lines.line);
}

static bool starts(const struct profile_lines *lines, const char *prefix, const char **rest)
{
    size_t bytes = strlen(prefix);
    if (lines->bytes < bytes || memcmp(lines->line, prefix, bytes))
        return false;
    *rest = lines->line + bytes;
    return true;
}

/* Resolves `(id) name`, `(id)` or a plain name. Returns false after an error. */
static bool read_name(struct reader *r, struct span *name, struct ids *ids, const char *at)
{
    const char *end = r->lines.line + r->lines.bytes;
    if (at == end || *at != '(') {
        *name = (struct span){at, (size_t)(end - at)};
        return true;
    }
    uint64_t id;
    const char *p = at + 1;
    if (!profile_number(&id, &p, end) || p == end || *p != ')') {
        /* A name of its own that begins with a parenthesis, such as "(below main)". */
        *name = (struct span){at, (size_t)(end - at)};
        return true;
    }
    if (id >= NAME_IDS_MAX) {
        fail(r, "name number too large");
        return false;
    }
    for (p++; p < end && (*p == ' ' || *p == '\t'); p++)
        ;
    if (p < end) {
        if (id >= ids->room) {
            size_t room = (size_t)id * 2 + 256;
            struct span *names = reallocarray(ids->names, room, sizeof *names);
            if (!names) {
                fail(r, "out of memory");
                return false;
            }
            memset(names + ids->room, 0, (room - ids->room) * sizeof *names);
            *ids = (struct ids){names, room};
        }
        ids->names[id] = (struct span){p, (size_t)(end - p)};
    } else if (id >= ids->room || !ids->names[id].text) {
        fail(r, "name number that was never given a name");
        return false;
    }
    *name = ids->names[id];
    return true;
}

static uint32_t object_named(struct reader *r, const struct span *name)
{
    return profile_build_object(&r->build, name->text, name->bytes);
}

static uint32_t current_object(struct reader *r)
{
    if (r->object == UINT32_MAX)
        r->object = profile_build_object(&r->build, PROFILE_MAIN, strlen(PROFILE_MAIN));
    return r->object;
}

/* A stripped function is named by its address; the ELF virtual address is its offset. */
static uint32_t function_named(struct reader *r, uint32_t object, const struct span *name)
{
    uint32_t function = profile_build_function(&r->build, object, name->text, name->bytes);
    struct profile_function *f = &r->build.p.functions[function];
    if (f->offset == PROFILE_NO_OFFSET && name->bytes > 2 && name->text[0] == '0' && name->text[1] == 'x') {
        char *end;
        unsigned long long offset = strtoull(f->name, &end, 16);
        if (*end == 0 || *end == '\'')
            f->offset = offset;
    }
    return function;
}

/* One position per column: absolute, hexadecimal, or relative to the last (`+3`, `-3`, `*`). */
static bool read_positions(struct reader *r, uint64_t *position, const char **at)
{
    const char *end = r->lines.line + r->lines.bytes, *p = *at;
    for (unsigned i = 0; i < r->positions; i++) {
        while (p < end && *p == ' ')
            p++;
        if (p == end)
            return false;
        char sign = *p;
        if (sign == '*') {
            position[i] = r->position[i];
            p++;
            continue;
        }
        if (sign == '+' || sign == '-')
            p++;
        uint64_t value;
        if (end - p > 2 && p[0] == '0' && p[1] == 'x') {
            char *behind;
            value = strtoull(p, &behind, 16);
            if (behind == p + 2)
                return false;
            p = behind;
        } else if (!profile_number(&value, &p, end)) {
            return false;
        }
        position[i] = sign == '+' ? r->position[i] + value : sign == '-' ? r->position[i] - value : value;
    }
    *at = p;
    return true;
}

static int read_cost(struct reader *r)
{
    const char *at = r->lines.line, *end = at + r->lines.bytes;
    uint64_t position[POSITIONS_MAX] = {0}, cost = 0;
    if (!read_positions(r, position, &at))
        return fail(r, "cut-off or malformed position");
    memcpy(r->position, position, sizeof position);
    unsigned column = 0;
    /* Zero costs at the end of a line may be left out. */
    for (;; column++) {
        while (at < end && *at == ' ')
            at++;
        uint64_t value;
        if (at == end)
            break;
        if (column == r->events || !profile_number(&value, &at, end) || (at < end && *at != ' '))
            return fail(r, "malformed cost");
        if (column == r->event)
            cost = value;
    }
    enum pending pending = r->pending;
    r->pending = SELF;
    if (pending == JUMP)
        return column ? fail(r, "a jump has no cost") : 0;
    if (!r->has_events)
        return fail(r, "costs before the events: line");
    if (r->function == UINT32_MAX)
        return fail(r, "cost outside a function");
    if (pending == CALL) {
        profile_build_calls(&r->build, r->callee, r->calls);
        profile_build_edge(&r->build, r->function, r->callee, r->calls);
        r->callee_object = r->callee = UINT32_MAX;
        return 0;
    }
    if (__builtin_add_overflow(r->part_sum, cost, &r->part_sum))
        return fail(r, "costs add up to more than 64 bits hold");
    r->part_open = true;
    profile_build_self(&r->build, r->function, cost);
    return 0;
}

static int read_calls(struct reader *r, const char *at)
{
    const char *end = r->lines.line + r->lines.bytes;
    uint64_t target[POSITIONS_MAX];
    if (r->callee == UINT32_MAX)
        return fail(r, "calls= without a cfn= before it");
    if (r->function == UINT32_MAX)
        return fail(r, "call outside a function");
    if (!profile_number(&r->calls, &at, end))
        return fail(r, "malformed call count");
    if (!read_positions(r, target, &at))
        return fail(r, "malformed call target");
    if (r->has_instr && target[0] && r->build.p.functions[r->callee].offset == PROFILE_NO_OFFSET)
        r->build.p.functions[r->callee].offset = target[0];
    r->pending = CALL;
    return 0;
}

/* The words of a header line. */
static bool next_word(struct span *word, const char **at, const char *end)
{
    while (*at < end && (**at == ' ' || **at == '\t'))
        ++*at;
    word->text = *at;
    while (*at < end && **at != ' ' && **at != '\t')
        ++*at;
    word->bytes = (size_t)(*at - word->text);
    return word->bytes > 0;
}

static bool is_word(const struct span *word, const char *text)
{
    return word->bytes == strlen(text) && memcmp(word->text, text, word->bytes) == 0;
}

static int read_positions_line(struct reader *r, const char *at)
{
    const char *end = r->lines.line + r->lines.bytes;
    struct span word;
    r->positions = 0;
    r->has_instr = false;
    while (next_word(&word, &at, end)) {
        if (is_word(&word, "instr") && r->positions == 0)
            r->has_instr = true;
        else if (!is_word(&word, "line"))
            return fail(r, "unknown position");
        if (r->positions++ == POSITIONS_MAX)
            return fail(r, "too many positions");
    }
    return r->positions ? 0 : fail(r, "no position named");
}

static int read_events_line(struct reader *r, const char *at)
{
    const char *end = r->lines.line + r->lines.bytes;
    struct span word, chosen = {0};
    r->events = r->event = 0;
    while (next_word(&word, &at, end)) {
        if (r->events == EVENTS_MAX)
            return fail(r, "too many events");
        if (!chosen.text || is_word(&word, "Ir")) {
            r->event = r->events;
            chosen = word;
        }
        r->events++;
    }
    if (!r->events)
        return fail(r, "no event named");
    enum profile_metric metric =
        is_word(&chosen, "Ir") || is_word(&chosen, "Instructions") ? PROFILE_INSTRUCTIONS : PROFILE_TIME;
    if (r->has_events && metric != r->build.p.metric)
        return fail(r, "parts of different metrics in one file");
    r->build.p.metric = metric;
    r->has_events = true;
    return 0;
}

static int read_totals(struct reader *r, const char *at)
{
    const char *end = r->lines.line + r->lines.bytes;
    uint64_t total = 0;
    for (unsigned column = 0; column <= r->event; column++) {
        while (at < end && *at == ' ')
            at++;
        if (!profile_number(&total, &at, end)) {
            if (column == 0)
                return fail(r, "malformed totals");
            total = 0;
            break;
        }
    }
    if (total != r->part_sum)
        return base_fail(r->error, BASE_EXIT_INPUT,
                         "%s:%zu: totals say %" PRIu64 ", the costs above add up to %" PRIu64
                         ": the file is damaged; record it again",
                         r->path, r->lines.number, total, r->part_sum);
    r->part_sum = 0;
    r->part_open = false;
    r->totals_seen++;
    return 0;
}

/* `key: value` lines. Returns 1 when the line is none of them. */
static int read_header(struct reader *r)
{
    const char *at, *end = r->lines.line + r->lines.bytes;
    if (starts(&r->lines, "version:", &at)) {
        struct span version;
        if (!next_word(&version, &at, end) || !is_word(&version, "1"))
            return fail(r, "this reads version 1 of the callgrind format, not this one");
        return 0;
    }
    if (starts(&r->lines, "creator:", &at)) {
        struct span creator;
        if (next_word(&creator, &at, end)) {
            r->creator = creator;
            r->is_callgrind = creator.bytes >= 9 && memcmp(creator.text, "callgrind", 9) == 0;
        }
        return 0;
    }
    if (starts(&r->lines, "cmd:", &at)) {
        while (at < end && *at == ' ')
            at++;
        r->command = (struct span){at, (size_t)(end - at)};
        return 0;
    }
    if (starts(&r->lines, "positions:", &at))
        return read_positions_line(r, at);
    if (starts(&r->lines, "events:", &at))
        return read_events_line(r, at);
    if (starts(&r->lines, "totals:", &at))
        return read_totals(r, at);
    if (starts(&r->lines, "part:", &at) || starts(&r->lines, "thread:", &at) ||
        starts(&r->lines, "pid:", &at)) {
        if (r->part_open && r->is_callgrind)
            return fail(r, "a new part begins, but the one before has no totals");
        r->function = r->object = r->callee = r->callee_object = UINT32_MAX;
        memset(r->position, 0, sizeof r->position);
        return 0;
    }
    static const char *const ignored[] = {"desc:", "event:", "summary:", NULL};
    for (const char *const *key = ignored; *key; key++)
        if (starts(&r->lines, *key, &at))
            return 0;
    return 1;
}

static int read_line(struct reader *r)
{
    const char *at;
    struct span name;
    char first = r->lines.bytes ? r->lines.line[0] : 0;
    if (first == 0 || first == '#')
        return 0;
    if ((first >= '0' && first <= '9') || first == '+' || first == '-' || first == '*')
        return read_cost(r);
    /* A jump into another function names it, and may be the first to give that name a number. */
    if (starts(&r->lines, "jfn=", &at))
        return read_name(r, &name, &r->functions, at) ? 0 : -1;
    if (r->pending != SELF)
        return fail(r, "expected the costs of the call or jump above");
    if (starts(&r->lines, "calls=", &at))
        return read_calls(r, at);
    if (starts(&r->lines, "fn=", &at)) {
        if (!read_name(r, &name, &r->functions, at))
            return -1;
        r->function = function_named(r, current_object(r), &name);
        r->callee = r->callee_object = UINT32_MAX;
        return 0;
    }
    if (starts(&r->lines, "cfn=", &at)) {
        if (!read_name(r, &name, &r->functions, at))
            return -1;
        r->callee =
            function_named(r, r->callee_object != UINT32_MAX ? r->callee_object : current_object(r), &name);
        return 0;
    }
    if (starts(&r->lines, "ob=", &at)) {
        if (!read_name(r, &name, &r->objects, at))
            return -1;
        r->object = object_named(r, &name);
        return 0;
    }
    if (starts(&r->lines, "cob=", &at)) {
        if (!read_name(r, &name, &r->objects, at))
            return -1;
        r->callee_object = object_named(r, &name);
        return 0;
    }
    if (starts(&r->lines, "jump=", &at) || starts(&r->lines, "jcnd=", &at)) {
        r->pending = JUMP;
        return 0;
    }
    /* Source files do not tell functions apart. */
    static const char *const files[] = {"fl=", "fi=", "fe=", "cfi=", "cfl=", "jfi=", NULL};
    for (const char *const *key = files; *key; key++)
        if (starts(&r->lines, *key, &at))
            return 0;
    int status = read_header(r);
    return status == 1 ? fail(r, "not a line of a callgrind file") : status;
}

static int read_all(struct base_error *error, struct profile *out, const char *data, size_t bytes,
                    const char *path)
{
    struct reader r = {.lines = {.at = data, .end = data + bytes},
                       .error = error,
                       .path = path,
                       .positions = 1,
                       .object = UINT32_MAX,
                       .function = UINT32_MAX,
                       .callee_object = UINT32_MAX,
                       .callee = UINT32_MAX};
    int status = 0;
    while (status == 0 && profile_next_line(&r.lines))
        status = read_line(&r);
    if (status == 0 && !r.has_events)
        status = base_fail(error, BASE_EXIT_INPUT, "%s: no events: line; this is not a callgrind file", path);
    if (status == 0 && (r.pending != SELF || (r.is_callgrind && (r.part_open || !r.totals_seen))))
        status = base_fail(
            error, BASE_EXIT_INPUT,
            "%s:%zu: the file ends here without its totals: it was cut off; record or copy it again", path,
            r.lines.number);
    if (status == 0) {
        struct base_text source = {0};
        base_text_printf(&source, "%.*s", r.creator.bytes ? (int)r.creator.bytes : 9,
                         r.creator.bytes ? r.creator.text : "callgrind");
        if (r.command.bytes)
            base_text_printf(&source, " %.*s", (int)r.command.bytes, r.command.text);
        r.build.p.source = source.data;
        status = profile_build_finish(error, out, &r.build, path);
    }
    profile_build_drop(&r.build);
    free(r.objects.names);
    free(r.functions.names);
    return status;
}

static bool sniff(const char *data, size_t bytes)
{
    /* Either the magic comment or one of the header's keys early on. */
    static const char *const signs[] = {"# callgrind format", "\nevents:", "\ncreator: callgrind"};
    size_t head = bytes < 4096 ? bytes : 4096;
    if (head >= 7 && memcmp(data, "events:", 7) == 0)
        return true;
    for (unsigned i = 0; i < sizeof signs / sizeof *signs; i++)
        if (memmem(data, head, signs[i], strlen(signs[i])))
            return true;
    return false;
}

const struct profile_reader profile_callgrind = {
    .name = "callgrind",
    .meaning = "valgrind --tool=callgrind",
    .sniff = sniff,
    .read = read_all,
};
