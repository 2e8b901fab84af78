/* testudo bench memory: resident size of servers after a load, and of sqlite3 at its peak, at every level against native.

   One process tree stands at a time: pages of a file that two of them shared would count for half in each. */
#include "bench/private.h"

#include <math.h>

enum { REQUESTS = 2000, CONCURRENCY = 5 };

static const struct bench_column columns[] = {
    {"program", "program", BENCH_TEXT, 0},       {"level", "level", BENCH_TEXT, 0},
    {"processes", "processes", BENCH_NUMBER, 0}, {"rss_mib", "RSS MiB", BENCH_NUMBER, 1},
    {"rss_ratio", "RSS ratio", BENCH_NUMBER, 2}, {"pss_mib", "PSS MiB", BENCH_NUMBER, 1},
    {"pss_ratio", "PSS ratio", BENCH_NUMBER, 2},
};

struct size {
    double rss_kib, pss_kib, processes; /* NaN: not known */
};

static int size_of_server(struct base_error *error, struct size *size, enum bench_server_kind kind,
                          const struct bench_way *way, const struct bench_options *options)
{
    struct bench_server *server;
    struct bench_load load;
    unsigned requests = options->requests ? options->requests : REQUESTS,
             concurrency = options->concurrency ? options->concurrency : CONCURRENCY;
    if (bench__server_open(error, &server, kind, way, concurrency, false))
        return -1;
    int status = bench__server_start(error, server);
    if (status == 0 && way->supervised)
        bench__server_watch_all(server);
    if (status == 0)
        status = bench__server_load(error, &load, server, requests, concurrency, NULL);
    bench__server_stop(server);
    if (status == 0)
        *size = (struct size){load.rss_kib, load.pss_kib, load.processes};
    return status;
}

static int size_of_program(struct base_error *error, struct size *size, const struct bench_program *program,
                           const struct bench_way *way, const char *cache, double scale)
{
    struct bench_run run = {0};
    if (bench__run_program(error, &run, program, way, cache, scale))
        return -1;
    if (run.status)
        return base_fail(error, BASE_EXIT_FAILURE, "%s %s ended with status %d", program->name, way->name,
                         run.status);
    *size = (struct size){run.rss_kib, NAN, 1};
    return 0;
}

static void put_row(struct bench_result *result, const char *program, const char *level,
                    const struct size *size, const struct size *native)
{
    bench__text(result, program);
    bench__text(result, level);
    bench__number(result, size->processes);
    bench__number(result, size->rss_kib / 1024);
    bench__number(result, size->rss_kib / native->rss_kib);
    bench__number(result, size->pss_kib / 1024);
    bench__number(result, size->pss_kib / native->pss_kib);
}

int bench_memory(struct base_error *error, struct bench_result *result, const struct bench_options *options)
{
    static const struct {
        const char *name;
        bool server;
        enum bench_server_kind kind;
    } subjects[] = {{"apache", true, BENCH_APACHE},
                    {"nginx", true, BENCH_NGINX},
                    {"redis", true, BENCH_REDIS},
                    {"sqlite3", false, 0}};
    enum { SUBJECTS = sizeof subjects / sizeof *subjects };
    struct bench_way ways[BENCH_WAYS_MAX];
    const struct bench_program *sqlite = bench__programs;
    const char *only = options->only ? options->only : "apache,redis,sqlite3",
               *levels = options->levels ? options->levels : "off,translate,check,full";
    char cache[BENCH_PATH];
    double scale = options->scale > 0 ? options->scale : 1;
    uint64_t done = 0;
    int rows = 0, count;
    bench__begin(result, "memory", "Resident memory", columns, sizeof columns / sizeof *columns);
    bench__catch_signals();
    bench__note_machine(result);
    bench__note(
        result,
        "servers on loopback after %u requests, all processes together: RSS as the sum over them, PSS with "
        "shared pages divided among those that map them; sqlite3 at its peak, input of scale %g",
        options->requests ? options->requests : REQUESTS, scale);
    if ((count = bench__ways(error, ways, levels, false)) < 0)
        return -1;
    while (sqlite->name && sqlite->input != bench__input_sql)
        sqlite++;
    for (int s = 0; s < SUBJECTS; s++) {
        struct base_error why;
        enum bench_server_kind kind;
        struct size native = {0}, size;
        if (!bench__listed(only, subjects[s].name))
            continue;
        if (subjects[s].server && bench__server_kind(&why, &kind, subjects[s].name)) {
            bench__note(result, "left out: %s, for %s", subjects[s].name, why.text);
            continue;
        }
        if (!subjects[s].server && !bench__installed(sqlite->program)) {
            bench__note(result, "left out: %s, not installed", sqlite->program);
            continue;
        }
        if (!subjects[s].server && bench__cache(error, cache, options->cache))
            return -1;
        for (int w = 0; w < count; w++, rows++) {
            if (subjects[s].server ? size_of_server(error, &size, subjects[s].kind, &ways[w], options)
                                   : size_of_program(error, &size, sqlite, &ways[w], cache, scale))
                return -1;
            if (w == 0)
                native = size;
            put_row(result, subjects[s].name, ways[w].name, &size, &native);
            if (options->progress)
                options->progress(options->context, ++done, (uint64_t)SUBJECTS * (uint64_t)count);
        }
    }
    result->plot = (struct bench_plot){
        .y_label = "RSS over native", .x = -1, .label = 0, .group = 1, .y = {4}, .y_count = 1};
    return rows ? 0 : base_fail(error, BASE_EXIT_USAGE, "--only %s leaves nothing that is installed", only);
}
