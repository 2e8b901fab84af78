/* testudo bench engine: programs at every level and under peers, beside native, in turns. */
#include "bench/private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

enum { TURNS = 5, PROGRAMS_MAX = 16 };

static const struct bench_column columns[] = {
    {"program", "program", BENCH_TEXT, 0},
    {"level", "level", BENCH_TEXT, 0},
    {"ratio_median", "CPU ratio", BENCH_NUMBER, 3},
    {"ratio_min", "min", BENCH_NUMBER, 3},
    {"ratio_max", "max", BENCH_NUMBER, 3},
    {"output_equal", "output equal", BENCH_FLAG, 0},
    {"runs", "runs", BENCH_NUMBER, 0},
    {"failed", "failed", BENCH_NUMBER, 0},
    {"cpu_s", "CPU s", BENCH_NUMBER, 3},
    {"native_cpu_s", "native CPU s", BENCH_NUMBER, 3},
    {"rss_ratio", "RSS ratio", BENCH_NUMBER, 2},
    {"rss_mib", "RSS MiB", BENCH_NUMBER, 1},
    {"faults", "faults", BENCH_NUMBER, 0},
};

/* What one program did in one way, over all turns. */
struct record {
    size_t runs, failed;
    uint64_t faults;
    double *ratio, *cpu, *native, *rss_ratio, *rss; /* by turn; NaN: none */
};

struct engine {
    const struct bench_options *options;
    double scale;
    unsigned turns;
    char cache[BENCH_PATH];
    const struct bench_program *programs[PROGRAMS_MAX];
    size_t program_count, way_count;
    struct bench_way ways[BENCH_WAYS_MAX];
    struct record records[PROGRAMS_MAX][BENCH_WAYS_MAX];
    struct bench_run reference[PROGRAMS_MAX]; /* first native run */
    bool asan[PROGRAMS_MAX];                  /* stands built with the address sanitizer */
    uint64_t done;
};

static bool same_output(const struct bench_run *a, const struct bench_run *b)
{
    return a->status == b->status && a->hash == b->hash && a->bytes == b->bytes;
}

/* A peer that takes twenty times as long is not run in every turn. */
static bool takes_turn(const struct engine *engine, size_t p, const struct bench_way *way, unsigned turn)
{
    return way->asan ? engine->asan[p] : !way->peer || turn == 0;
}

static int take_turn(struct base_error *error, struct engine *engine, size_t p, unsigned turn)
{
    const struct bench_program *program = engine->programs[p];
    struct bench_run native = {0};
    for (size_t i = 0; i < engine->way_count; i++) {
        /* Native first, since ratios need it; the others forwards and backwards by turns, so that none is always next to it. */
        size_t w = i == 0 || turn % 2 == 0 ? i : engine->way_count - i;
        const struct bench_way *way = &engine->ways[w];
        struct record *record = &engine->records[p][w];
        struct bench_run run = {0};
        if (!takes_turn(engine, p, way, turn))
            continue;
        if (bench__run_program(error, &run, program, way, engine->cache, engine->scale))
            return -1;
        if (engine->options->progress)
            engine->options->progress(engine->options->context, ++engine->done,
                                      (uint64_t)engine->turns * engine->program_count * engine->way_count);
        if (w == 0 && turn == 0)
            engine->reference[p] = run;
        if (w == 0)
            native = run;
        record->runs++;
        record->faults += run.faults;
        if (!same_output(&run, &engine->reference[p]) || (w == 0 && run.status)) {
            record->failed++;
            continue;
        }
        record->ratio[turn] = run.cpu_s / native.cpu_s;
        record->cpu[turn] = run.cpu_s;
        record->native[turn] = native.cpu_s;
        record->rss_ratio[turn] = run.rss_kib / native.rss_kib;
        record->rss[turn] = run.rss_kib / 1024;
    }
    return 0;
}

static void open_records(struct engine *engine)
{
    for (size_t p = 0; p < engine->program_count; p++)
        for (size_t w = 0; w < engine->way_count; w++) {
            struct record *record = &engine->records[p][w];
            double *room = bench__allocate(5 * engine->turns, sizeof *room);
            for (size_t i = 0; i < 5 * engine->turns; i++)
                room[i] = NAN;
            record->ratio = room;
            record->cpu = room + engine->turns;
            record->native = room + 2 * engine->turns;
            record->rss_ratio = room + 3 * engine->turns;
            record->rss = room + 4 * engine->turns;
        }
}

static void put_rows(struct bench_result *result, struct engine *engine)
{
    double medians[BENCH_WAYS_MAX][PROGRAMS_MAX];
    for (size_t p = 0; p < engine->program_count; p++)
        for (size_t w = 1; w < engine->way_count; w++) {
            struct record *record = &engine->records[p][w];
            struct bench_spread ratio = bench_spread_of(record->ratio, engine->turns);
            medians[w][p] = engine->programs[p]->server ? NAN : ratio.median;
            if (!record->runs)
                continue;
            bench__text(result, engine->programs[p]->name);
            bench__text(result, engine->ways[w].name);
            bench__number(result, ratio.median);
            bench__number(result, ratio.min);
            bench__number(result, ratio.max);
            bench__number(result, record->failed == 0 && record->runs > 0);
            bench__number(result, (double)record->runs);
            bench__number(result, (double)record->failed);
            bench__number(result, bench_spread_of(record->cpu, engine->turns).median);
            bench__number(result, bench_spread_of(record->native, engine->turns).median);
            bench__number(result, bench_spread_of(record->rss_ratio, engine->turns).median);
            bench__number(result, bench_spread_of(record->rss, engine->turns).median);
            bench__number(result, (double)record->faults);
        }
    for (size_t w = 1; w < engine->way_count; w++)
        bench__sum(result, "geomean", engine->ways[w].name, bench_geomean(medians[w], engine->program_count));
}

/* What can be had with the address sanitizer; what cannot is named. */
static int build_asan(struct base_error *error, struct bench_result *result, struct engine *engine)
{
    struct base_text left_out = {0};
    bool any = false;
    for (size_t p = 0; p < engine->program_count; p++) {
        const char *name = engine->programs[p]->name;
        struct base_error why;
        engine->asan[p] = bench__asan_knows(name) && bench__asan_build(&why, engine->cache, name) == 0;
        if (bench__stopped()) {
            base_text_free(&left_out);
            return bench__stop_error(error);
        }
        any |= engine->asan[p];
        if (!engine->asan[p])
            base_text_printf(&left_out, "%s%s (%s)", left_out.used ? ", " : "", name,
                             bench__asan_knows(name) ? why.text : "no simple build");
    }
    if (any)
        bench__note(
            result,
            "gcc-asan: built from Debian's source packages with gcc -O2 -fsanitize=address, over Debian's "
            "own programs");
    if (left_out.used)
        bench__note(result, "left out: gcc-asan for %s", left_out.data);
    base_text_free(&left_out);
    return 0;
}

static int choose(struct base_error *error, struct bench_result *result, struct engine *engine)
{
    const struct bench_options *options = engine->options;
    const char *levels = options->levels ? options->levels : "off,translate,check,full";
    int ways = bench__ways(error, engine->ways, levels, options->peers);
    if (ways < 0)
        return -1;
    engine->way_count = (size_t)ways;
    bench__note_machine(result);
    for (const struct bench_program *program = bench__programs; program->name; program++) {
        if (!bench__listed(options->only, program->name))
            continue;
        if (!bench__installed(program->program))
            bench__note(result, "left out: %s, not installed", program->name);
        else
            engine->programs[engine->program_count++] = program;
    }
    if (!engine->program_count)
        return base_fail(error, BASE_EXIT_USAGE, "--only %s leaves no program that is installed",
                         options->only ? options->only : "");
    if (options->peers && !bench__installed("valgrind"))
        bench__note(result, "left out: valgrind, not installed");
    bench__note(
        result,
        "user and system CPU of each run over that of the native run of the same turn; median, smallest and "
        "largest of %u turns (valgrind: one); inputs of scale %g",
        engine->turns, engine->scale);
    bench__note(
        result,
        "check and full record no allocation stacks, as members run; check-stacks and full-stacks do, as testudo "
        "check runs");
    bench__note(
        result,
        "geomean over the programs without servers; a run whose output or status differs from native has failed "
        "and gives no ratio");
    return 0;
}

int bench_engine(struct base_error *error, struct bench_result *result, const struct bench_options *options)
{
    struct engine *engine = bench__allocate(1, sizeof *engine);
    bench__begin(result, "engine", "Programs under supervision", columns, sizeof columns / sizeof *columns);
    engine->options = options;
    engine->turns = options->runs ? options->runs : TURNS;
    engine->scale = options->scale > 0 ? options->scale : 1;
    bench__catch_signals();
    int status = choose(error, result, engine) || bench__cache(error, engine->cache, options->cache) ? -1 : 0;
    if (status == 0 && options->peers)
        status = build_asan(error, result, engine);
    if (status == 0)
        open_records(engine);
    for (unsigned turn = 0; turn < engine->turns && status == 0; turn++)
        for (size_t p = 0; p < engine->program_count && status == 0; p++)
            status = take_turn(error, engine, p, turn);
    if (status == 0)
        put_rows(result, engine);
    for (size_t p = 0; p < engine->program_count; p++)
        for (size_t w = 0; w < engine->way_count; w++)
            free(engine->records[p][w].ratio);
    free(engine);
    result->plot = (struct bench_plot){.y_label = "CPU time over native",
                                       .x = -1,
                                       .label = 0,
                                       .group = 1,
                                       .y = {2},
                                       .y_count = 1,
                                       .y_log = options->peers};
    return status;
}

int bench__quick_slowdown(struct base_error *error, double *slowdown, char *names, size_t room,
                          const struct bench_options *options)
{
    static const char *const chosen = "bzip2,lua5.4,sqlite3,jq";
    struct bench_result result;
    struct bench_options quick = *options;
    quick.only = chosen;
    quick.levels = "full";
    quick.peers = false;
    quick.runs = 3;
    quick.scale = options->scale > 0 ? options->scale : 0.2;
    int status = bench_engine(error, &result, &quick);
    *slowdown = status == 0 && result.sum_count ? result.sums[0].value : NAN;
    snprintf(names, room, "%s", chosen);
    bench_result_free(&result);
    if (status == 0 && !isfinite(*slowdown))
        return base_fail(error, BASE_EXIT_FAILURE, "no program of %s ran with equal output at level full",
                         chosen);
    return status;
}
