/* Suppressions: rules that say which faults are known and not to be reported again. What they hide is counted. */
#include "report/report.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { WORDS = 3, TEXT_MAX = 300 };

struct rule {
    char *kind, *function, *object; /* shell patterns, into `text` */
    unsigned line;
    uint64_t hidden;
};

struct report_suppressions {
    char *path, *text;
    struct rule *rules;
    size_t count;
};

static bool is_some_kind(const char *pattern)
{
    for (unsigned kind = CORE_FAULT_NONE + 1; kind < CORE_FAULT_COUNT; kind++)
        if (core_glob(pattern, core_fault_name(kind)))
            return true;
    return false;
}

/* One line: cuts it into words in place. Returns 0 and whether it `*is_rule`, or -1 with `error`. */
static int read_line(struct base_error *error, struct rule *rule, bool *is_rule, char *line, const char *path)
{
    static char any[] = "*";
    char *words[WORDS + 1], *rest = NULL;
    unsigned count = 0;
    for (char *word = strtok_r(line, " \t\r", &rest); word && *word != '#' && count <= WORDS;
         word = strtok_r(NULL, " \t\r", &rest))
        words[count++] = word;
    *is_rule = count > 0;
    if (!count)
        return 0;
    if (count == 1 || count > WORDS)
        return base_fail(error, BASE_EXIT_INPUT,
                         "%s:%u: a rule is KIND FUNCTION [OBJECT], each a shell pattern; `*` is any", path,
                         rule->line);
    if (!is_some_kind(words[0]))
        return base_fail(error, BASE_EXIT_INPUT,
                         "%s:%u: no kind of fault matches `%.60s`; kinds are names such as heap-overflow",
                         path, rule->line, words[0]);
    rule->kind = words[0];
    rule->function = words[1];
    rule->object = count == WORDS ? words[2] : any;
    return 0;
}

static int read_rules(struct base_error *error, struct report_suppressions *list)
{
    unsigned number = 0;
    for (char *line = list->text, *next; line; line = next) {
        next = strchr(line, '\n');
        if (next)
            *next++ = 0;
        struct rule rule = {.line = ++number};
        bool is_rule;
        if (read_line(error, &rule, &is_rule, line, list->path))
            return -1;
        if (!is_rule)
            continue;
        struct rule *moved = reallocarray(list->rules, list->count + 1, sizeof *moved);
        if (!moved)
            return base_fail(error, BASE_EXIT_FAILURE, "out of memory");
        list->rules = moved;
        list->rules[list->count++] = rule;
    }
    return 0;
}

int report_suppressions_read(struct base_error *error, struct report_suppressions **out, const char *path)
{
    struct report_suppressions *list = calloc(1, sizeof *list);
    size_t bytes;
    *out = NULL;
    if (list)
        list->path = strdup(path);
    if (!list || !list->path) {
        report_suppressions_free(list);
        return base_fail(error, BASE_EXIT_FAILURE, "out of memory");
    }
    int result = base_read_file(error, &list->text, &bytes, path);
    if (!result && strlen(list->text) != bytes)
        result = base_fail(error, BASE_EXIT_INPUT, "%s: not a text file", path);
    if (!result)
        result = read_rules(error, list);
    if (result)
        report_suppressions_free(list);
    else
        *out = list;
    return result;
}

void report_suppressions_free(struct report_suppressions *list)
{
    if (!list)
        return;
    free(list->rules);
    free(list->text);
    free(list->path);
    free(list);
}

static bool matches_function(const char *pattern, const struct report_fault *fault)
{
    char offset[32];
    snprintf(offset, sizeof offset, "0x%" PRIx64, fault->offset);
    return (fault->function && core_glob(pattern, fault->function)) || core_glob(pattern, offset);
}

/* A pattern with a slash is of a whole path, another of a file's name. */
static bool matches_object(const char *pattern, const char *path)
{
    if (!path)
        return core_glob(pattern, "");
    const char *slash = strrchr(path, '/');
    return core_glob(pattern, strchr(pattern, '/') || !slash ? path : slash + 1);
}

bool report_suppressions_match(struct report_suppressions *list, const struct report_fault *fault)
{
    for (size_t i = 0; list && i < list->count; i++) {
        struct rule *rule = &list->rules[i];
        if (core_glob(rule->kind, fault->kind ? fault->kind : "") &&
            matches_function(rule->function, fault) && matches_object(rule->object, fault->object)) {
            rule->hidden++;
            return true;
        }
    }
    return false;
}

uint64_t report_suppressions_total(const struct report_suppressions *list)
{
    uint64_t total = 0;
    for (size_t i = 0; list && i < list->count; i++)
        total += list->rules[i].hidden;
    return total;
}

bool report_suppressions_said(char *text, size_t room, const struct report_suppressions *list, size_t *at)
{
    for (; list && *at < list->count; ++*at) {
        const struct rule *rule = &list->rules[*at];
        if (!rule->hidden)
            continue;
        snprintf(text, room, "%" PRIu64 " fault%s suppressed by %s:%u (%s %s %s)", rule->hidden,
                 rule->hidden == 1 ? "" : "s", list->path, rule->line, rule->kind, rule->function,
                 rule->object);
        ++*at;
        return true;
    }
    return false;
}

void report_suppressions_text(FILE *out, const struct report_suppressions *list)
{
    char text[TEXT_MAX];
    for (size_t at = 0; report_suppressions_said(text, sizeof text, list, &at);)
        fprintf(out, "testudo: %s\n", text);
    fflush(out);
}
