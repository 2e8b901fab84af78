/* testudo profile record: runs a program on the emulator in counting mode. */
#include "base/base.h"
#include "cli/cli.h"
#include "member/member.h"
#include "profile/profile.h"

#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

enum { SERVE_MS = 100, METRIC_INSTRUCTIONS = 0, METRIC_TIME = 1 };

static const char *output, *objects;
static int metric;
static int64_t skip_s, sample_us;

static const struct base_option options[] = {
    BASE_TEXT("output", 'o', "FILE", &output, "testudo.profile", "write the profile to FILE"),
    BASE_CHOICE(
        "metric", 'm', "instructions|time", &metric, "instructions",
        "cost of a function: instructions executed, exactly; or its CPU time in nanoseconds, sampled"),
    BASE_TEXT("objects", 0, "LIST", &objects, NULL,
              "count in these objects: comma-separated shell patterns of file names, `main` is the program "
              "itself; without it all but the C library family"),
    BASE_INTEGER("skip", 0, "SECONDS", &skip_s, "0", 0, 86400,
                 "leave out what is executed in the first SECONDS: a server's start"),
    BASE_INTEGER("sample-us", 0, "US", &sample_us, "1000", 100, 1000000,
                 "with --metric time: microseconds of CPU time between samples of a thread"),
    BASE_END,
};

static const struct base_command command = {
    .name = "profile record",
    .summary = "run a program and count what each function of it costs",
    .operands = "-- PROGRAM [ARG...]",
    .operands_min = 1,
    .operands_max = 1 << 20,
    .program = true,
    .description =
        "Runs PROGRAM, unmodified, and writes what each of its functions executed, who called whom how often, "
        "and how often it returned what a caller takes for failure. Forked processes and threads are summed, "
        "also killed ones. The C library's functions run natively: only the calls of them are counted.\n\n"
        "The exit status is the program's own (128 + N when signal N ended it).",
    .example =
        "testudo profile record -o sqlite.profile -- sqlite3 test.db < queries.sql\n"
        "testudo profile record --skip 2 -o apache.profile -- apache2 -X -f /etc/apache2/apache2.conf\n",
    .options = options,
};

static enum wire_level count_all(void *context, const struct member_object *object,
                                 const struct member_function *function)
{
    (void)context, (void)object, (void)function;
    return WIRE_LEVEL_MONITOR;
}

static int64_t without(uint64_t now, uint64_t before)
{
    return now > before ? (int64_t)(now - before) : 0;
}

/* Functions of both are listed in the same order while no object is loaded between them; else by name. */
static const struct member_counted_function *same_in(const struct member_counts *before,
                                                     const struct member_counted_function *f, size_t at)
{
    for (size_t i = at < before->function_count ? at : 0, n = 0; n < before->function_count; n++) {
        const struct member_counted_function *b = &before->functions[i];
        if (b->object == f->object && !strcmp(b->name, f->name))
            return b;
        i = i + 1 < before->function_count ? i + 1 : 0;
    }
    return NULL;
}

/* What was counted, less what had been counted before. */
static int make_profile(struct base_error *error, struct profile *out, const struct member_counts *counts,
                        const struct member_counts *before, const char *source)
{
    struct profile_draft *draft =
        profile_draft_new(metric == METRIC_TIME ? PROFILE_TIME : PROFILE_INSTRUCTIONS, source);
    uint32_t *number = calloc(counts->function_count + 1, sizeof *number);
    for (size_t i = 0; number && i < counts->function_count; i++) {
        const struct member_counted_function *f = &counts->functions[i];
        const struct member_counted_object *object = &counts->objects[f->object];
        const struct member_counted_function *b = before ? same_in(before, f, i) : NULL;
        uint64_t cost = metric == METRIC_TIME ? f->time_ns : f->self;
        uint64_t cost_before = !b ? 0 : metric == METRIC_TIME ? b->time_ns : b->self;
        number[i] = profile_draft_function(
            draft, &(struct profile_function){
                       .name = (char *)(uintptr_t)f->name,
                       .object = profile_draft_object(draft, object->path, object->build_id),
                       .offset = f->offset == MEMBER_NO_OFFSET ? PROFILE_NO_OFFSET : f->offset,
                       .self = (uint64_t)without(cost, cost_before),
                       .calls = (uint64_t)without(f->calls, b ? b->calls : 0),
                       .zero = (uint64_t)without(f->zero, b ? b->zero : 0),
                       .negative = (uint64_t)without(f->negative, b ? b->negative : 0),
                       .last_negative = without(f->negative, b ? b->negative : 0) ? f->last_negative : 0});
    }
    /* Edges of the start stay: they are calls that can happen. */
    for (size_t i = 0; number && i < counts->edge_count; i++)
        profile_draft_edge(draft, number[counts->edges[i].caller], number[counts->edges[i].callee],
                           counts->edges[i].calls);
    free(number);
    return profile_draft_finish(error, out, draft, source);
}

static void say_what_is_missing(const struct member_counts *counts)
{
    size_t refused = 0;
    for (size_t i = 0; i < counts->own_count; i++)
        refused += counts->functions[i].refused;
    if (refused)
        base_note("%zu of %zu functions cannot be counted (testudo doctor PROGRAM says why)", refused,
                  counts->own_count);
    if (counts->left)
        base_note("%" PRIu64
                  " activations were counted in part: they looked at their caller, or an exception "
                  "came through",
                  counts->left);
    if (counts->uncounted_functions)
        base_note("%" PRIu64 " functions were not counted: more code than counters",
                  counts->uncounted_functions);
    if (counts->shared_areas || counts->lost_calls)
        base_note("counts are too low: %" PRIu64 " threads too many at a time, %" PRIu64
                  " calls through pointers not recorded",
                  counts->shared_areas, counts->lost_calls);
}

/* "testudo: apache2 -X", without line ends. */
static void describe(struct base_text *text, char *const argv[])
{
    base_text_puts(text, "testudo:");
    for (; *argv; argv++) {
        base_text_puts(text, " ");
        for (const char *c = *argv; *c; c++)
            base_text_add(text, (unsigned char)*c < ' ' ? "?" : c, 1);
    }
}

static int record(struct base_error *error, int *status, struct member *member, char *const argv[])
{
    struct member_counts counts, before = {0};
    struct base_text source = {0}, text = {0};
    struct profile profile;
    bool skipped = skip_s == 0;
    if (member_start(error, member, argv))
        return -1;
    uint64_t end_of_start = base_monotonic_ns() + (uint64_t)skip_s * 1000000000u;
    while (!member_serve(member, status, SERVE_MS))
        if (!skipped && base_monotonic_ns() >= end_of_start) {
            skipped = true;
            if (member_counts(error, &before, member))
                return -1;
        }
    if (!skipped) {
        return base_fail(error, BASE_EXIT_USAGE,
                         "the program ended within the %" PRId64 " s that --skip leaves out", skip_s);
    }
    if (member_counts(error, &counts, member))
        return -1;
    describe(&source, argv);
    int result = make_profile(error, &profile, &counts, skip_s ? &before : NULL, source.data);
    if (!result) {
        profile_write(&text, &profile);
        result = base_write_file(error, output, text.data, text.used);
    }
    if (!result) {
        say_what_is_missing(&counts);
        base_note("%zu functions, %zu calls between them, %" PRIu64 " %s: %s", profile.function_count,
                  profile.edge_count, profile.total, metric == METRIC_TIME ? "ns" : "instructions", output);
        profile_free(&profile);
    }
    base_text_free(&source);
    base_text_free(&text);
    member_counts_free(&counts);
    member_counts_free(&before);
    return result;
}

int cli_profile_record(int argc, char **argv)
{
    struct base_args args;
    struct base_error error;
    struct member *member = NULL;
    int status = base_options_parse(&command, &args, argc, argv);
    if (status >= 0)
        return status;
    struct member_options member_options = {.mode = WIRE_MODE_TRANSLATE,
                                            .default_level = WIRE_LEVEL_MONITOR,
                                            .objects = objects,
                                            .no_heap_stacks = true,
                                            .counting = true,
                                            .sample_us = metric == METRIC_TIME ? (uint32_t)sample_us : 0};
    const struct member_hooks hooks = {.level = count_all};
    int failed = member_vet(&error, args.list[0]) || member_open(&error, &member, &member_options, &hooks) ||
                 record(&error, &status, member, args.list);
    member_close(member);
    if (failed)
        return base_fail_exit(&error);
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}
