/* testudo bench transition and heap: single operations, timed inside a small program of ours (bench/probe.c) natively and
   supervised in turns; and the constants that plans are made with. */
#define _GNU_SOURCE
#include "bench/private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

enum { TURNS = 5, VALUES_MAX = 32, CALLS = 100000, OUTPUT_BYTES = 8192 };

/* What the probe printed in one way, over all turns. */
struct value {
    char name[24];
    double by_turn[64];
    unsigned count;
};
struct table {
    struct value values[VALUES_MAX];
    unsigned count;
};

static int read_values(struct table *table, const char *text)
{
    int seen = 0;
    for (const char *line = text; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
        size_t bytes = strcspn(line, "\n");
        const char *space = memrchr(line, ' ', bytes);
        if (!space || space - line >= (long)sizeof table->values->name)
            continue;
        struct value *value = table->values;
        while (value < table->values + table->count &&
               (strlen(value->name) != (size_t)(space - line) ||
                memcmp(value->name, line, (size_t)(space - line)) != 0))
            value++;
        if (value == table->values + VALUES_MAX)
            continue;
        if (value == table->values + table->count) {
            table->count++;
            memcpy(value->name, line, (size_t)(space - line));
        }
        if (value->count < 64)
            value->by_turn[value->count++] = strtod(space, NULL);
        seen++;
    }
    return seen;
}

/* Runs the probe once in one way. In: `watched`: which functions are supervised. */
static int probe(struct base_error *error, struct table *table, const struct bench_way *way, const char *kind,
                 long calls, const char *watched)
{
    char path[BENCH_PATH], number[24], word[16], output[OUTPUT_BYTES];
    char *argv[] = {path, word, number, NULL};
    struct bench_run run;
    snprintf(number, sizeof number, "%ld", calls);
    snprintf(word, sizeof word, "%s", kind);
    const struct bench_job job = {
        .argv = argv, .output = output, .output_room = sizeof output, .watched = watched};
    if (bench__find_own(error, path, "bench", "testudo-probe") || bench__run(error, &run, way, &job))
        return -1;
    if (run.status != 0 || !read_values(table, output))
        return base_fail(error, BASE_EXIT_FAILURE, "testudo-probe %s at level %s ended with status %d", kind,
                         way->name,
                         WIFEXITED(run.status) ? WEXITSTATUS(run.status) : 128 + WTERMSIG(run.status));
    return 0;
}

static double median(struct table *table, const char *name)
{
    for (unsigned i = 0; i < table->count; i++)
        if (strcmp(table->values[i].name, name) == 0)
            return bench_spread_of(table->values[i].by_turn, table->values[i].count).median;
    return NAN;
}

static const struct bench_column columns[] = {
    {"operation", "operation", BENCH_TEXT, 0},
    {"level", "level", BENCH_TEXT, 0},
    {"ns", "ns", BENCH_NUMBER, 2},
    {"ns_min", "min", BENCH_NUMBER, 2},
    {"ns_max", "max", BENCH_NUMBER, 2},
    {"native_ns", "native ns", BENCH_NUMBER, 2},
    {"extra_ns", "over native", BENCH_NUMBER, 2},
};

static void put_rows(struct bench_result *result, struct table *table, const char *level,
                     struct table *native)
{
    for (unsigned i = 0; i < table->count; i++) {
        struct value *value = &table->values[i];
        struct bench_spread ns = bench_spread_of(value->by_turn, value->count);
        double base = median(native, value->name);
        bench__text(result, value->name);
        bench__text(result, level);
        bench__number(result, ns.median);
        bench__number(result, ns.min);
        bench__number(result, ns.max);
        bench__number(result, base);
        bench__number(result, ns.median - base);
    }
}

/* Every way in turns. Returns the tables, by way; or NULL with `error`. */
static struct table *take_turns(struct base_error *error, const struct bench_way *ways, int count,
                                const struct bench_options *options, const char *kind, long calls,
                                const char *watched)
{
    struct table *tables = bench__allocate((size_t)count, sizeof *tables);
    unsigned turns = options->runs ? options->runs : TURNS;
    for (unsigned turn = 0; turn < turns; turn++)
        for (int w = 0; w < count; w++) {
            if (probe(error, &tables[w], &ways[w], kind, calls, watched)) {
                free(tables);
                return NULL;
            }
            if (options->progress)
                options->progress(options->context, (uint64_t)turn * (uint64_t)count + (uint64_t)w + 1,
                                  (uint64_t)turns * (uint64_t)count);
        }
    return tables;
}

/* ---- constants ---- */

/* How many instructions a nanosecond of user time takes: one program's, counted by callgrind and timed natively. */
static int count_instructions(struct base_error *error, double *per_ns, const struct bench_options *options)
{
    static const struct bench_way native = {.name = "native"};
    const struct bench_program *lua = bench__programs;
    char cache[BENCH_PATH], folder[BENCH_PATH], out[BENCH_PATH + 64], *text = NULL;
    double times[3], instructions = 0;
    size_t bytes;
    struct bench_run run;
    while (lua->name && strcmp(lua->name, "lua5.4") != 0)
        lua++;
    if (!bench__installed("valgrind") || !bench__installed("lua5.4"))
        return base_fail(
            error, BASE_EXIT_ENVIRONMENT,
            "instructions are counted with valgrind and lua5.4, which are not both installed; choose "
            "--metric time");
    if (bench__cache(error, cache, options->cache) || bench__make_folder(error, folder))
        return -1;
    snprintf(out, sizeof out, "--callgrind-out-file=%s/callgrind.out", folder);
    const struct bench_way callgrind = {.name = "callgrind",
                                        .prefix = {"valgrind", "-q", "--tool=callgrind", out}};
    int status = bench__run_program(error, &run, lua, &callgrind, cache, 0.05);
    for (int i = 0; i < 3 && status == 0; i++) {
        status = bench__run_program(error, &run, lua, &native, cache, 0.05);
        times[i] = run.user_s * 1e9;
    }
    if (status == 0)
        status = base_read_file(error, &text, &bytes, out + sizeof "--callgrind-out-file=" - 1);
    if (status == 0) {
        const char *total = strstr(text, "\ntotals: ");
        if (!total)
            total = strstr(text, "\nsummary: ");
        instructions = total ? strtod(strchr(total, ':') + 1, NULL) : 0;
        *per_ns = instructions / bench_spread_of(times, 3).median;
        if (!(instructions > 0))
            status = base_fail(error, BASE_EXIT_FAILURE, "callgrind counted nothing");
    }
    free(text);
    bench__remove_folder(folder);
    return status;
}

static int write_constants(struct base_error *error, struct bench_result *result,
                           const struct bench_options *options, double transition_ns)
{
    struct base_text text = {0};
    char names[64];
    double slowdown, per_ns = 1;
    if (bench__quick_slowdown(error, &slowdown, names, sizeof names, options) ||
        (options->instructions && count_instructions(error, &per_ns, options)))
        return -1;
    /* Noise must not make a call gain time. */
    double cost = fmax(0, transition_ns) * per_ns;
    base_text_printf(&text, "# Cost of supervision at level full, for testudo plan --constants.\n");
    for (const char *line = result->setting.data; line && *line;) {
        size_t bytes = strcspn(line, "\n");
        base_text_printf(&text, "# %.*s\n", (int)bytes, line);
        line += bytes + (line[bytes] == '\n');
    }
    base_text_printf(&text, "# A supervised call of an empty function takes %.3f ns longer.\n",
                     transition_ns);
    if (options->instructions)
        base_text_printf(
            &text,
            "# A nanosecond is %.4g instructions (lua5.4, counted by callgrind); use with profiles in "
            "instructions.\n",
            per_ns);
    else
        base_text_puts(&text, "# Use with profiles in time.\n");
    base_text_printf(&text, "# Slow-down: geometric mean of the CPU ratios of %s, supervised as a whole.\n",
                     names);
    base_text_printf(&text, "source testudo bench transition, %.*s\n",
                     (int)strcspn(result->setting.data, "\n") < 220 ? (int)strcspn(result->setting.data, "\n")
                                                                    : 220,
                     result->setting.data);
    base_text_printf(&text, "transition %.6g\nslowdown %.6g\n", cost, fmax(1, slowdown));
    int status = base_write_file(error, options->constants, text.data, text.used);
    base_text_free(&text);
    bench__sum(result, "constants", "transition", cost);
    bench__sum(result, "constants", "slowdown", fmax(1, slowdown));
    if (options->instructions)
        bench__sum(result, "constants", "instructions_per_ns", per_ns);
    return status;
}

/* ---- the two benchmarks ---- */

int bench_transition(struct base_error *error, struct bench_result *result,
                     const struct bench_options *options)
{
    struct bench_way ways[BENCH_WAYS_MAX];
    bench__begin(result, "transition", "Calls of a supervised function", columns,
                 sizeof columns / sizeof *columns);
    bench__catch_signals();
    bench__note_machine(result);
    int count = bench__ways(error, ways, "off,translate,check,full", false);
    struct table *tables =
        count < 0 ? NULL
                  : take_turns(error, ways, count, options, "calls",
                               (long)(CALLS * (options->scale > 0 ? options->scale : 1)), "probe_*");
    if (!tables)
        return -1;
    bench__note(
        result,
        "nanoseconds of CPU time of one call from native code, median of rounds and of %u turns; store_N: the function stores N "
        "words; fault_N: it stores N words and faults, is undone and returns -1, with its report",
        options->runs ? options->runs : TURNS);
    for (int w = 1; w < count; w++)
        put_rows(result, &tables[w], ways[w].name, &tables[0]);
    double native = median(&tables[0], "empty"), full = median(&tables[count - 1], "empty");
    bench__sum(result, "empty_call_ns", "native", native);
    bench__sum(result, "empty_call_ns", "full", full);
    bench__sum(result, "empty_call_ns", "over_native", full - native);
    int status = 0;
    struct table *faults = take_turns(error, &ways[count - 1], 1, options, "faults", 1, "probe_*");
    struct table nothing = {.count = 0};
    if (faults) {
        put_rows(result, faults, "full", &nothing);
        bench__sum(result, "undo_ns", "of_100_stores",
                   median(faults, "fault_100") - median(faults, "fault_0"));
    }
    status = faults ? 0 : -1;
    free(faults);
    free(tables);
    if (status == 0 && options->constants)
        status = write_constants(error, result, options, full - native);
    return status;
}

int bench_heap(struct base_error *error, struct bench_result *result, const struct bench_options *options)
{
    struct bench_way ways[BENCH_WAYS_MAX];
    bench__begin(result, "heap", "Allocations", columns, sizeof columns / sizeof *columns);
    bench__catch_signals();
    bench__note_machine(result);
    int count =
        bench__ways(error, ways, options->levels ? options->levels : "off,check,full,full-stacks", false);
    /* Nothing is supervised: what differs is the allocator. */
    struct table *tables =
        count < 0 ? NULL : take_turns(error, ways, count, options, "heap", 1, "probe_none_at_all");
    if (!tables)
        return -1;
    bench__note(
        result,
        "nanoseconds of CPU time of one malloc and its free, native is the C library's, median of rounds and of %u turns; pair "
        "BYTES: freed at once; batch BYTES: 512 blocks live, then freed in another order",
        options->runs ? options->runs : TURNS);
    for (int w = 1; w < count; w++) {
        double ratios[VALUES_MAX];
        put_rows(result, &tables[w], ways[w].name, &tables[0]);
        for (unsigned i = 0; i < tables[w].count; i++)
            ratios[i] =
                median(&tables[w], tables[w].values[i].name) / median(&tables[0], tables[w].values[i].name);
        bench__sum(result, "geomean", ways[w].name, bench_geomean(ratios, tables[w].count));
    }
    free(tables);
    return 0;
}
