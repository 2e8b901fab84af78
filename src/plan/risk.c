/* Risk of functions: by distance to input on the call graph, or from a file of weights. */
#include "plan/private.h"

#include <errno.h>
#include <math.h>
#include <string.h>

/* Functions through which bytes from outside enter. Names are compared without decoration (leading underscores, versions,
   _unlocked, _chk, _nocancel, 64), so that "__read_nocancel" is "read". */
static const char *const default_inputs[] = {
    "read",  "readv", "pread", "preadv",  "preadv2", "recv",    "recvfrom", "recvmsg", "recvmmsg", "fread",
    "fgets", "fgetc", "getc",  "getchar", "gets",    "getline", "getdelim", "fscanf",  "scanf",    "vfscanf",
};

/* Removes decoration in place. */
static void undecorate(char *name)
{
    static const char *const prefixes[] = {"libc_", "IO_", "GI_", "isoc99_"};
    static const char *const suffixes[] = {"_unlocked", "_chk", "_nocancel", "64"};
    char *at = strchr(name, '@');
    if (at)
        *at = 0;
    bool again = true;
    while (again) {
        again = false;
        size_t skip = strspn(name, "_");
        for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++)
            if (strncmp(name + skip, prefixes[i], strlen(prefixes[i])) == 0) {
                skip += strlen(prefixes[i]);
                again = true;
            }
        memmove(name, name + skip, strlen(name + skip) + 1);
        for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++) {
            size_t bytes = strlen(name), tail = strlen(suffixes[i]);
            if (bytes > tail && strcmp(name + bytes - tail, suffixes[i]) == 0) {
                name[bytes - tail] = 0;
                again = true;
            }
        }
    }
}

static bool is_input(const char *name, char *const *patterns, size_t count)
{
    char plain[256];
    if (strlen(name) >= sizeof plain)
        return false;
    strcpy(plain, name);
    undecorate(plain);
    for (size_t i = 0; i < count; i++)
        if (core_glob(patterns[i], name) || core_glob(patterns[i], plain))
            return true;
    return false;
}

/* Lines of a file; '#' starts a comment. Out: *lines, *count (both free()), NULL for blank ones. */
static void split_lines(char ***lines, size_t *count, char *text)
{
    size_t room = 1;
    for (const char *c = text; *c; c++)
        room += *c == '\n';
    *lines = plan_allocate(room, sizeof **lines);
    *count = 0;
    for (char *line = text; line;) {
        char *end = strchr(line, '\n');
        if (end)
            *end++ = 0;
        line[strcspn(line, "#\r")] = 0;
        size_t bytes = strlen(line);
        while (bytes && (line[bytes - 1] == ' ' || line[bytes - 1] == '\t'))
            line[--bytes] = 0;
        line += strspn(line, " \t");
        (*lines)[(*count)++] = *line ? line : NULL;
        line = end;
    }
}

static int mark_inputs(struct base_error *error, bool *input, const struct plan *plan, const char *path)
{
    char *text = NULL, **patterns = (char **)(uintptr_t)default_inputs, **lines = NULL;
    size_t bytes, count = sizeof default_inputs / sizeof *default_inputs;
    if (path) {
        if (base_read_file(error, &text, &bytes, path))
            return -1;
        split_lines(&lines, &count, text);
        size_t kept = 0;
        for (size_t i = 0; i < count; i++)
            if (lines[i])
                lines[kept++] = lines[i];
        patterns = lines;
        count = kept;
    }
    for (size_t f = 0; f < plan->function_count; f++) {
        const char *object = plan->objects[plan->functions[f].object].path;
        const char *slash = strrchr(object, '/');
        /* The loader reads libraries, not input. */
        input[f] = !core_glob("ld-linux*", slash ? slash + 1 : object) &&
                   is_input(plan->functions[f].name, patterns, count);
    }
    for (size_t i = 0; i < plan->other_count; i++)
        input[plan->function_count + i] = is_input(plan->others[i].name, patterns, count);
    free(lines);
    free(text);
    return 0;
}

/* Lines "function,weight"; a first line that starts with "function" is a heading. */
static int read_weights(struct base_error *error, struct plan *plan, const char *path)
{
    char *text, **lines;
    size_t bytes, count;
    int status = 0;
    if (base_read_file(error, &text, &bytes, path))
        return -1;
    split_lines(&lines, &count, text);
    for (size_t i = 0; i < count && status == 0; i++) {
        if (!lines[i] || (i == 0 && strncmp(lines[i], "function", 8) == 0))
            continue;
        /* C++ names hold commas: the weight stands behind the last one. */
        char *comma = strrchr(lines[i], ','), *end = NULL;
        double weight = 0;
        if (comma) {
            *comma = 0;
            errno = 0;
            weight = strtod(comma + 1, &end);
        }
        if (!comma || end == comma + 1 || *end || errno || !(weight >= 1 && weight <= MODEL_RISK_MAX)) {
            status = base_fail(error, BASE_EXIT_INPUT,
                               "%s:%zu: expected FUNCTION,WEIGHT with a weight of 1 (not at risk) to %.0f",
                               path, i + 1, MODEL_RISK_MAX);
            break;
        }
        bool known = false;
        for (size_t f = 0; f < plan->function_count; f++)
            if (plan_find(plan, lines[i]) == f || strcmp(plan->functions[f].name, lines[i]) == 0) {
                plan->functions[f].risk = weight;
                known = true;
            }
        if (!known)
            status = base_fail(error, BASE_EXIT_INPUT, "%s:%zu: the profile has no function %s", path, i + 1,
                               lines[i]);
    }
    free(lines);
    free(text);
    return status;
}

int plan_risks(struct base_error *error, struct plan *plan, const struct plan_options *options)
{
    if (!options->measured_only)
        plan_calls(plan, options);
    size_t n = plan->function_count + plan->other_count, m = plan->edge_count + plan->call_count;
    bool *input = plan_allocate(n, sizeof *input);
    uint32_t *first = plan_allocate(n + 1, sizeof *first), *caller = plan_allocate(m, sizeof *caller);
    uint32_t *from = plan_allocate(m, sizeof *from), *to = plan_allocate(m, sizeof *to);
    uint32_t *distance = plan_allocate(n, sizeof *distance), *next = plan_allocate(n, sizeof *next);
    uint32_t *queue = plan_allocate(n, sizeof *queue);
    int status = mark_inputs(error, input, plan, options->inputs);
    if (status == 0) {
        for (size_t e = 0; e < m; e++) {
            bool measured = e < plan->edge_count;
            from[e] = measured ? plan->edges[e].caller : plan->calls[e - plan->edge_count].caller;
            to[e] = measured ? plan->edges[e].callee : plan->calls[e - plan->edge_count].callee;
        }
        model_graph_by_callee(first, caller, from, to, n, m);
        model_distances(distance, next, queue, first, caller, input, n);
        enum model_risk_policy policy = options->risk == PLAN_RISK_FLAT  ? MODEL_RISK_FLAT
                                        : options->risk == PLAN_RISK_EXP ? MODEL_RISK_EXP
                                                                         : MODEL_RISK_NONE;
        for (size_t f = 0; f < plan->function_count; f++) {
            plan->functions[f].distance = distance[f];
            plan->functions[f].next = next[f];
            plan->functions[f].risk = model_risk(policy, distance[f], options->alpha, options->reach);
        }
        for (size_t i = 0; i < plan->other_count; i++) {
            plan->others[i].distance = distance[plan->function_count + i];
            plan->others[i].next = next[plan->function_count + i];
        }
        if (options->risk == PLAN_RISK_FILE)
            status = read_weights(error, plan, options->risk_file);
    }
    free(input);
    free(first);
    free(caller);
    free(from);
    free(to);
    free(distance);
    free(next);
    free(queue);
    return status;
}

size_t plan_reaches(struct plan_reach *reach, size_t room, const struct plan *plan)
{
    size_t used = 1;
    for (size_t d = 0; d < room; d++)
        reach[d] = (struct plan_reach){.distance = (uint32_t)d};
    for (size_t f = 0; f < plan->own_count; f++) {
        const struct plan_function *function = &plan->functions[f];
        if (function->distance >= room)
            continue;
        struct plan_reach *at = &reach[function->distance];
        at->functions++;
        at->executed += function->cost > 0;
        at->work += (double)function->cost;
        if (function->distance >= used)
            used = function->distance + 1;
    }
    for (size_t d = 1; d < used; d++) {
        reach[d].functions += reach[d - 1].functions;
        reach[d].executed += reach[d - 1].executed;
        reach[d].work += reach[d - 1].work;
    }
    return used;
}
