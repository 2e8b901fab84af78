/* testudo bench: measures what supervision costs on this machine, and shows the figures. */
#include "base/base.h"
#include "bench/bench.h"
#include "cli/cli.h"
#include "report/report.h"

#include <stdlib.h>
#include <string.h>

static bool json, peers, cold;
static const char *out, *only, *levels, *cache, *profile, *constants;
static int64_t runs, requests, concurrency;
static double scale;
static int server, metric;

static const char *const servers[] = {"apache", "nginx", "redis"};

/* Options that all share. */
#define OUT BASE_TEXT("out", 'o', "DIR", &out, NULL, "also write CSV, Markdown, SVG and PNG into DIR")
#define CACHE                                                                                                \
    BASE_TEXT("cache", 0, "DIR", &cache, NULL,                                                               \
              "folder of the generated inputs; without it in the user's cache")
#define SCALE                                                                                                \
    BASE_REAL("scale", 0, "F", &scale, "0", 0, 1000,                                                         \
              "size of the inputs; 1: a native run takes seconds (0: the benchmark's own choice)")

static const struct base_option engine_options[] = {
    OUT,
    BASE_INTEGER("runs", 'r', "N", &runs, "5", 1, 1000,
                 "turns; in each, every program runs once in every way"),
    BASE_TEXT(
        "only", 0, "LIST", &only, NULL,
        "these programs: comma-separated patterns of bzip2, bunzip2, gzip, xz, lua5.4, sqlite3, jq, perl, redis"),
    BASE_TEXT(
        "levels", 0, "LIST", &levels, "off,translate,check,full",
        "comma-separated: off, translate, check, full; check-stacks and full-stacks also record allocation stacks"),
    BASE_FLAG(
        "peers", 0, &peers,
        "also under valgrind, without a tool and with memcheck, and built with gcc's address sanitizer from "
        "Debian's source packages: bzip2, bunzip2, lua5.4"),
    SCALE,
    CACHE,
    BASE_JSON(&json),
    BASE_END,
};

/* What all that visit a server share. */
#define SERVER BASE_CHOICE("server", 0, "apache|nginx|redis", &server, "apache", "which server")
#define LOAD                                                                                                 \
    BASE_INTEGER("requests", 'n', "N", &requests, "10000", 10, 100000000, "requests of a trial"),            \
        BASE_INTEGER("concurrency", 'c', "N", &concurrency, "5", 1, 64, "requests at a time")
#define TRIALS                                                                                               \
    BASE_INTEGER("trials", 'r', "N", &runs, "5", 1, 1000, "trials of each row, each after a native one")

static const struct base_option table1_options[] = {
    OUT,
    TRIALS,
    SERVER,
    LOAD,
    BASE_TEXT("profile", 0, "FILE", &profile, NULL,
              "the server's profile; without it one is recorded with callgrind"),
    BASE_FLAG("cold", 0, &cold, "every member also watches the code that costs next to nothing"),
    BASE_JSON(&json),
    BASE_END,
};

static const struct base_option peers_options[] = {
    OUT,
    TRIALS,
    SERVER,
    LOAD,
    BASE_TEXT("levels", 0, "LIST", &levels, "off,translate,check,full",
              "levels beside the peers, comma-separated"),
    BASE_JSON(&json),
    BASE_END,
};

static const struct base_option transition_options[] = {
    OUT,
    BASE_INTEGER("runs", 'r', "N", &runs, "5", 1, 60, "turns"),
    BASE_TEXT("constants", 0, "FILE", &constants, NULL,
              "also run a few programs at level full and write FILE for testudo plan --constants"),
    BASE_CHOICE("metric", 0, "instructions|time", &metric, "instructions",
                "unit of the profiles that the constants are for"),
    SCALE,
    CACHE,
    BASE_JSON(&json),
    BASE_END,
};

static const struct base_option heap_options[] = {
    OUT,
    BASE_INTEGER("runs", 'r', "N", &runs, "5", 1, 60, "turns"),
    BASE_TEXT("levels", 0, "LIST", &levels, "off,check,full,full-stacks",
              "levels beside native, comma-separated"),
    BASE_JSON(&json),
    BASE_END,
};

static const struct base_option memory_options[] = {
    OUT,
    BASE_TEXT("only", 0, "LIST", &only, "apache,redis,sqlite3",
              "these: comma-separated patterns of apache, nginx, redis, sqlite3"),
    BASE_TEXT("levels", 0, "LIST", &levels, "off,translate,check,full",
              "levels beside native, comma-separated"),
    BASE_INTEGER("requests", 'n', "N", &requests, "2000", 10, 100000000,
                 "requests before a server is weighed"),
    BASE_INTEGER("concurrency", 'c', "N", &concurrency, "5", 1, 64, "requests at a time"),
    SCALE,
    CACHE,
    BASE_JSON(&json),
    BASE_END,
};

static const struct {
    const char *summary, *description, *example;
    int (*run)(struct base_error *, struct bench_result *, const struct bench_options *);
    const struct base_option *options;
} benches[] = {
    {"run programs at every level and compare with native",
     "CPU time of unmodified programs, supervised as a whole, over their native CPU time. Programs that are not installed are "
     "left out by name. A run whose output differs from the native one has failed and gives no ratio. TESTUDO_KNOBS switches "
     "single optimisations off.",
     "testudo bench engine --runs 3 --only 'lua5.4,sqlite3' --out results\n", bench_engine, engine_options},
    {"slice sizes against performance, as the paper's Table 1",
     "Requests per second of a server on loopback whose members watch slices of the paper's six sizes, beside native, all code "
     "watched and none; members for full coverage; the paper's figures beside. Predicted: from the share of the program's own "
     "user code and its slow-down with everything watched.",
     "testudo bench table1 --trials 10 --out results\n", bench_table1, table1_options},
    {"code at risk against performance, as the paper's Figure 2",
     "Code at risk from 25 to 100 percent, alpha 2: members for full coverage at a fixed slice, and performance in a community "
     "of fixed size.",
     "testudo bench figure2 --trials 5 --out results\n", bench_figure2, table1_options},
    {"a server supervised and under peers",
     "Requests per second of a server on loopback: native, at the levels with all functions supervised, and under valgrind when "
     "it is installed.",
     "testudo bench peers --trials 3\n", bench_peers, peers_options},
    {"cost of a supervised call, of stores and of undoing",
     "Nanoseconds of one call of a small function, natively and at each level: empty, with 1, 10 and 100 stores, and undone "
     "after a fault. With --constants the measured costs go into a file that testudo plan predicts overhead with.",
     "testudo bench transition --constants testudo.constants\n", bench_transition, transition_options},
    {"cost of allocations by size",
     "Nanoseconds of one malloc with its free, by size, with the C library's allocator and with the runtime's.",
     "testudo bench heap --runs 3\n", bench_heap, heap_options},
    {"resident memory at every level",
     "Resident memory of servers on loopback after a load, all their processes together, and of sqlite3 at its peak, with all "
     "functions supervised at each level, over native.",
     "testudo bench memory --only apache\n", bench_memory, memory_options},
};

/* Names of `benches`. */
static const char *const names[] = {
    "engine", "table1", "figure2", "peers", "transition", "heap", "memory",
};

static void on_progress(void *context, uint64_t done, uint64_t total)
{
    struct report_progress *progress = context;
    progress->total = total;
    report_progress_step(progress, done);
}

static int show(struct base_error *error, const struct bench_result *result)
{
    if (json) {
        char *text = bench_result_json(result);
        puts(text ? text : "{}");
        free(text);
    } else {
        bench_result_print(stdout, result, false);
    }
    fflush(stdout);
    return out ? bench_result_save(error, result, out) : 0;
}

static int bench(int argc, char **argv)
{
    size_t which = 0;
    while (strcmp(names[which], argv[0]) != 0)
        which++;
    char name[64];
    snprintf(name, sizeof name, "bench %s", argv[0]);
    const struct base_command command = {.name = name,
                                         .summary = benches[which].summary,
                                         .description = benches[which].description,
                                         .example = benches[which].example,
                                         .options = benches[which].options};
    struct base_args args;
    struct base_error error;
    int status = base_options_parse(&command, &args, argc, argv);
    if (status >= 0)
        return status;
    struct report_progress progress = {.label = name};
    const struct bench_options options = {.runs = (unsigned)runs,
                                          .only = only,
                                          .levels = levels,
                                          .peers = peers,
                                          .scale = scale,
                                          .cache = cache,
                                          .server = servers[server],
                                          .profile = profile,
                                          .constants = constants,
                                          .requests = (unsigned)requests,
                                          .concurrency = (unsigned)concurrency,
                                          .cold = cold,
                                          .instructions = metric == 0,
                                          .progress = on_progress,
                                          .context = &progress};
    struct bench_result result = {0};
    int failed = out ? bench_result_folder(&error, out) : 0;
    if (!failed)
        failed = benches[which].run(&error, &result, &options);
    report_progress_end(&progress);
    if (!failed)
        failed = show(&error, &result);
    bench_result_free(&result);
    return failed ? base_fail_exit(&error) : BASE_EXIT_OK;
}

int cli_bench(int argc, char **argv)
{
    struct base_action actions[16] = {{0}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        actions[i] = (struct base_action){names[i], benches[i].summary, bench};
    const struct base_menu menu = {
        .name = "bench",
        .summary = "Measure what supervision costs on this machine.",
        .example = "testudo bench engine --runs 3 --out results\n",
        .actions = actions,
    };
    return base_menu_run(&menu, argc, argv);
}
