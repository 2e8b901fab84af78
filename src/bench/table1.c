/* testudo bench table1, figure2 and peers: a server under the paper's load, natively and with slices of several sizes.

   One supervised server serves all rows: what it watches is a store into its control page, so that rows of one turn differ in
   nothing else. It has run everything supervised before the first turn, as a member that has been up for a while. */
#include "bench/private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    TRIALS = 5,
    REQUESTS = 10000,
    CONCURRENCY = 5,
    PROFILE_REQUESTS = 1000,
    WARM_REQUESTS = 2000,
    ROWS_MAX = 10
};

/* The paper's Table 1, and what its members column says of the work at risk: 158.93 percent with weights, alpha 2. */
static const struct {
    double slice, percent;
    unsigned members;
} paper[] = {{10.34, 27, 15},  {5.24, 62, 30},   {0.25, 70, 635},
             {0.14, 92, 1135}, {0.04, 87, 3973}, {0.01, 94, 15893}};
static const double paper_at_risk = 58.93, first_slice = 10.34;

/* One row: a slice, and what all trials found. Ratios are against the native trial before each. */
struct row {
    double slice; /* percent; 0 and 100: nothing and everything */
    double at_risk, share_sum;
    uint32_t members;
    double *rate, *native, *percent, *cpu, *cpu_ratio;
    double pss_kib;
};

struct bench {
    const struct bench_options *options;
    enum bench_server_kind kind;
    unsigned trials, requests, concurrency;
    char folder[BENCH_PATH], profile[BENCH_PATH];
    struct bench_slices *slices;
    struct bench_server *native, *member;
    struct row rows[ROWS_MAX];
    size_t row_count;
    double user_ticks, all_ticks, native_pss_kib;
    uint64_t done, total;
};

static void step(struct bench *bench)
{
    if (bench->options->progress)
        bench->options->progress(bench->options->context, ++bench->done, bench->total);
}

static struct row *add_row(struct bench *bench, double slice, double at_risk)
{
    struct row *row = &bench->rows[bench->row_count++];
    double *room = bench__allocate(5 * bench->trials, sizeof *room);
    for (size_t i = 0; i < 5 * bench->trials; i++)
        room[i] = NAN;
    *row = (struct row){.slice = slice,
                        .at_risk = at_risk,
                        .rate = room,
                        .native = room + bench->trials,
                        .percent = room + 2 * bench->trials,
                        .cpu = room + 3 * bench->trials,
                        .cpu_ratio = room + 4 * bench->trials};
    return row;
}

static int prepare(struct base_error *error, struct bench *bench, const struct bench_options *options)
{
    bench->options = options;
    bench->trials = options->runs ? options->runs : TRIALS;
    bench->requests = options->requests ? options->requests : REQUESTS;
    bench->concurrency = options->concurrency ? options->concurrency : CONCURRENCY;
    bench__catch_signals();
    return bench__server_kind(error, &bench->kind, options->server) ||
                   bench__make_folder(error, bench->folder)
               ? -1
               : 0;
}

static int find_profile(struct base_error *error, struct bench *bench)
{
    unsigned requests = bench->requests < PROFILE_REQUESTS ? bench->requests : PROFILE_REQUESTS;
    if (!bench->options->profile && bench__server_profile(error, bench->profile, bench->kind, bench->folder,
                                                          requests, bench->concurrency))
        return -1;
    return bench__slices_open(error, &bench->slices,
                              bench->options->profile ? bench->options->profile : bench->profile);
}

static int start_both(struct base_error *error, struct bench *bench)
{
    static const struct bench_way native = {.name = "native"};
    static const struct bench_way full = {.name = "full", .supervised = true, .mode = WIRE_MODE_FULL};
    unsigned warm = bench->requests < WARM_REQUESTS ? bench->requests : WARM_REQUESTS;
    struct bench_load load;
    if (bench__server_open(error, &bench->native, bench->kind, &native, bench->concurrency, false) ||
        bench__server_start(error, bench->native) ||
        bench__server_open(error, &bench->member, bench->kind, &full, bench->concurrency, false) ||
        bench__server_start(error, bench->member))
        return -1;
    bench__server_watch_all(bench->member);
    return bench__server_load(error, &load, bench->member, warm, bench->concurrency, NULL) ||
                   bench__server_load(error, &load, bench->native, warm, bench->concurrency, NULL)
               ? -1
               : 0;
}

static void record(struct bench *bench, struct row *row, unsigned trial, const struct bench_load *load,
                   const struct bench_load *native)
{
    row->rate[trial] = load->requests_per_s;
    row->native[trial] = native->requests_per_s;
    row->percent[trial] = 100 * load->requests_per_s / native->requests_per_s;
    row->cpu[trial] = load->cpu_us;
    row->cpu_ratio[trial] = load->cpu_us / native->cpu_us;
    row->pss_kib = load->pss_kib;
    step(bench);
}

static int try_row(struct base_error *error, struct bench *bench, struct row *row, unsigned trial,
                   const struct bench_load *native)
{
    struct bench_load load;
    struct bench_slices *slices = row->slice > 0 && row->slice < 100 ? bench->slices : NULL;
    if (slices &&
        bench__slices_plan(error, slices, &row->members, row->slice, row->at_risk, bench->options->cold))
        return -1;
    if (row->slice <= 0)
        bench__server_watch(bench->member, NULL, 0);
    if (row->slice >= 100)
        bench__server_watch_all(bench->member);
    if (bench__server_load(error, &load, bench->member, bench->requests, bench->concurrency, slices))
        return -1;
    record(bench, row, trial, &load, native);
    row->share_sum += slices ? load.share : row->slice / 100;
    return 0;
}

static int try_native(struct base_error *error, struct bench_load *native, struct bench *bench,
                      struct bench_server *server)
{
    if (bench__server_load(error, native, server, bench->requests, bench->concurrency, NULL))
        return -1;
    bench->user_ticks += native->user_ticks;
    bench->all_ticks += native->all_ticks;
    bench->native_pss_kib = native->pss_kib;
    return 0;
}

static int run_trials(struct base_error *error, struct bench *bench)
{
    bench->total = (uint64_t)bench->trials * bench->row_count;
    for (unsigned trial = 0; trial < bench->trials; trial++)
        for (size_t i = 0; i < bench->row_count; i++) {
            struct bench_load native;
            if (try_native(error, &native, bench, bench->native) ||
                try_row(error, bench, &bench->rows[i], trial, &native))
                return -1;
        }
    return 0;
}

static void finish(struct bench *bench)
{
    bench__server_stop(bench->native);
    bench__server_stop(bench->member);
    bench__slices_free(bench->slices);
    bench__remove_folder(bench->folder);
    for (size_t i = 0; i < bench->row_count; i++)
        free(bench->rows[i].rate);
    free(bench);
}

/* User share of the native server, and how much slower its supervised code is by the row with everything supervised. */
static void explain(struct bench_result *result, const struct bench *bench, double *user, double *slowdown)
{
    double own = bench__slices_own(bench->slices);
    *user = bench->all_ticks > 0 ? bench->user_ticks / bench->all_ticks * own : NAN;
    *slowdown = NAN;
    for (size_t i = 0; i < bench->row_count; i++)
        if (bench->rows[i].slice >= 100) {
            double ratio = bench_spread_of(bench->rows[i].cpu_ratio, bench->trials).median;
            *slowdown = bench_slowdown_from(*user, 1, 1 - 1 / ratio);
        }
    bench__sum(result, NULL, "user_share", *user);
    bench__sum(result, NULL, "slowdown", *slowdown);
    bench__note(
        result,
        "own user code is %.1f%% of the native server's CPU time (kernel's ticks, own part by the profile); by the row "
        "with everything supervised it takes %.2f times as long, and the predicted column follows from these two",
        100 * *user, *slowdown);
}

static void describe(struct bench_result *result, const struct bench *bench)
{
    bench__note_machine(result);
    bench__note(
        result,
        "%s on loopback, %u requests a trial at concurrency %u, a page of 6 KB, %u trials of each row, a native "
        "one before each; medians, smallest and largest in percent of that native one",
        bench__server_name(bench->kind), bench->requests, bench->concurrency, bench->trials);
    bench__note(
        result,
        "level full, no allocation stacks; fifty times a second the server shows another member at another moment%s",
        bench->options->cold ? "; every member also watches all cold code" : "");
    bench__note(result, "profile: %s",
                bench->options->profile ? bench->options->profile
                                        : "recorded with callgrind from this server under this load");
}

static void put_measures(struct bench_result *result, const struct bench *bench, struct row *row)
{
    struct bench_spread percent = bench_spread_of(row->percent, bench->trials);
    bench__number(result, bench_spread_of(row->rate, bench->trials).median);
    bench__number(result, bench_spread_of(row->native, bench->trials).median);
    bench__number(result, percent.median);
    bench__number(result, percent.min);
    bench__number(result, percent.max);
}

static void put_costs(struct bench_result *result, const struct bench *bench, struct row *row, double user,
                      double slowdown)
{
    double share = row->share_sum / bench->trials;
    bench__number(result, 100 * (1 - bench_predicted_loss(user, share, slowdown)));
    bench__number(result, 100 * share);
    bench__number(result, bench_spread_of(row->cpu, bench->trials).median);
    bench__number(result, bench_spread_of(row->cpu_ratio, bench->trials).median);
    bench__number(result, row->pss_kib / bench->native_pss_kib);
    bench__number(result, row->pss_kib / 1024);
}

#define COSTS                                                                                                \
    {"percent_of_native_predicted", "predicted %", BENCH_NUMBER, 1},                                         \
        {"watched_percent", "watched %", BENCH_NUMBER, 3}, {"cpu_us", "CPU us/request", BENCH_NUMBER, 1},    \
        {"cpu_ratio", "CPU ratio", BENCH_NUMBER, 3}, {"pss_ratio", "PSS ratio", BENCH_NUMBER, 2},            \
    {                                                                                                        \
        "pss_mib", "PSS MiB", BENCH_NUMBER, 1                                                                \
    }
#define MEASURES                                                                                             \
    {"requests_per_s", "requests/s", BENCH_NUMBER, 0}, {"native_requests_per_s", "native", BENCH_NUMBER, 0}, \
        {"percent_of_native", "% of native", BENCH_NUMBER, 1}, {"percent_min", "min", BENCH_NUMBER, 1},      \
    {                                                                                                        \
        "percent_max", "max", BENCH_NUMBER, 1                                                                \
    }

static const struct bench_column table1_columns[] = {
    {"slice_percent", "slice %", BENCH_NUMBER, 2},
    {"members", "members", BENCH_NUMBER, 0},
    {"members_paper", "paper's", BENCH_NUMBER, 0},
    MEASURES,
    {"percent_of_native_paper", "paper's %", BENCH_NUMBER, 0},
    COSTS,
};

int bench_table1(struct base_error *error, struct bench_result *result, const struct bench_options *options)
{
    struct bench *bench = bench__allocate(1, sizeof *bench);
    size_t sizes = sizeof paper / sizeof *paper;
    bench__begin(result, "table1", "Slice size against performance and size of the community", table1_columns,
                 sizeof table1_columns / sizeof *table1_columns);
    int status = prepare(error, bench, options);
    if (status == 0) {
        describe(result, bench);
        add_row(bench, 100, 0)->members = 1;
        for (size_t i = 0; i < sizes; i++)
            add_row(bench, paper[i].slice, paper_at_risk);
        add_row(bench, 0, 0);
        status = find_profile(error, bench) || start_both(error, bench) || run_trials(error, bench) ? -1 : 0;
    }
    if (status == 0) {
        double user, slowdown;
        explain(result, bench, &user, &slowdown);
        bench__note(
            result,
            "slice 100: everything supervised, slice 0: loaded with nothing watched; %.2f%% of the work count as "
            "at risk with alpha 2, as the paper's member counts say of its own",
            paper_at_risk);
        for (size_t r = 0; r < bench->row_count; r++) {
            struct row *row = &bench->rows[r];
            bool slice = r > 0 && r <= sizes;
            bench__number(result, row->slice);
            bench__number(result, row->members ? row->members : NAN);
            bench__number(result, slice ? paper[r - 1].members : NAN);
            put_measures(result, bench, row);
            bench__number(result, slice ? paper[r - 1].percent : NAN);
            put_costs(result, bench, row, user, slowdown);
        }
    }
    finish(bench);
    result->plot = (struct bench_plot){.x_label = "slice, percent of the work",
                                       .y_label = "throughput, percent of native",
                                       .x = 0,
                                       .group = -1,
                                       .y = {5, 8, 9},
                                       .y_count = 3,
                                       .x_log = true};
    return status;
}

static const struct bench_column figure2_columns[] = {
    {"at_risk_percent", "code at risk %", BENCH_NUMBER, 0},
    {"members", "members", BENCH_NUMBER, 0},
    {"slice_percent", "slice %", BENCH_NUMBER, 2},
    MEASURES,
    COSTS,
};

int bench_figure2(struct base_error *error, struct bench_result *result, const struct bench_options *options)
{
    static const double risks[] = {25, 50, 75, 100};
    struct bench *bench = bench__allocate(1, sizeof *bench);
    uint32_t members[4] = {0}, smallest = 0;
    bench__begin(result, "figure2", "Code at risk against size of the community and performance",
                 figure2_columns, sizeof figure2_columns / sizeof *figure2_columns);
    int status = prepare(error, bench, options);
    if (status == 0) {
        describe(result, bench);
        status = find_profile(error, bench) ||
                         bench__slices_plan(error, bench->slices, &smallest, first_slice, 0, false)
                     ? -1
                     : 0;
    }
    for (int i = 0; i < 4 && status == 0; i++)
        status = bench__slices_plan(error, bench->slices, &members[i], first_slice, risks[i], false);
    if (status == 0) {
        add_row(bench, 100, 0);
        for (int i = 0; i < 4; i++)
            add_row(bench, (100 + risks[i]) / smallest, risks[i]);
        status = start_both(error, bench) || run_trials(error, bench) ? -1 : 0;
    }
    if (status == 0) {
        double user, slowdown;
        explain(result, bench, &user, &slowdown);
        bench__note(
            result,
            "members: for slices of %.2f%% with alpha 2; performance: in a community that stays at %u members, whose "
            "slices grow instead",
            first_slice, smallest);
        for (int i = 0; i < 4; i++) {
            bench__number(result, risks[i]);
            bench__number(result, members[i]);
            bench__number(result, bench->rows[i + 1].slice);
            put_measures(result, bench, &bench->rows[i + 1]);
            put_costs(result, bench, &bench->rows[i + 1], user, slowdown);
        }
    }
    finish(bench);
    result->plot = (struct bench_plot){.x_label = "code at risk, percent of the work",
                                       .y_label = "members; throughput, percent of native",
                                       .x = 0,
                                       .group = -1,
                                       .y = {1, 5, 8},
                                       .y_count = 3};
    return status;
}

/* ---- the same server in other ways ---- */

static const struct bench_column peers_columns[] = {
    {"way", "way", BENCH_TEXT, 0},
    MEASURES,
    {"cpu_us", "CPU us/request", BENCH_NUMBER, 1},
    {"cpu_ratio", "CPU ratio", BENCH_NUMBER, 3},
    {"pss_ratio", "PSS ratio", BENCH_NUMBER, 2},
    {"pss_mib", "PSS MiB", BENCH_NUMBER, 1},
};

/* One server in each way, warm. Out: servers[count], to be stopped also after a failure. */
static int start_ways(struct base_error *error, struct bench_server **servers, struct bench *bench,
                      const struct bench_way *ways, int count)
{
    unsigned warm = bench->requests < WARM_REQUESTS ? bench->requests : WARM_REQUESTS;
    struct bench_load load;
    for (int w = 0; w < count; w++) {
        add_row(bench, 0, 0);
        if (bench__server_open(error, &servers[w], bench->kind, &ways[w], bench->concurrency, false) ||
            bench__server_start(error, servers[w]))
            return -1;
        if (ways[w].supervised)
            bench__server_watch_all(servers[w]);
        if (bench__server_load(error, &load, servers[w], warm, bench->concurrency, NULL))
            return -1;
    }
    return 0;
}

static int compare_ways(struct base_error *error, struct bench *bench, struct bench_server **servers,
                        int count)
{
    bench->total = (uint64_t)bench->trials * (uint64_t)count;
    for (unsigned trial = 0; trial < bench->trials; trial++)
        for (int w = 0; w < count; w++) {
            struct bench_load native, load;
            if (try_native(error, &native, bench, servers[0]) ||
                bench__server_load(error, &load, servers[w], bench->requests, bench->concurrency, NULL))
                return -1;
            record(bench, &bench->rows[w], trial, &load, &native);
        }
    return 0;
}

int bench_peers(struct base_error *error, struct bench_result *result, const struct bench_options *options)
{
    struct bench *bench = bench__allocate(1, sizeof *bench);
    struct bench_way ways[BENCH_WAYS_MAX];
    struct bench_server *servers[BENCH_WAYS_MAX] = {NULL};
    const char *levels = options->levels ? options->levels : "off,translate,check,full";
    bench__begin(result, "peers", "A server supervised and under peers", peers_columns,
                 sizeof peers_columns / sizeof *peers_columns);
    int status = prepare(error, bench, options), count = 0;
    if (status == 0 && (count = bench__ways(error, ways, levels, true)) < 0)
        status = -1;
    /* Servers are not built here. */
    int kept = 0;
    for (int w = 0; w < count; w++)
        if (!ways[w].asan)
            ways[kept++] = ways[w];
    count = status == 0 ? kept : 0;
    if (status == 0) {
        bench__note_machine(result);
        bench__note(
            result,
            "%s on loopback, %u requests a trial at concurrency %u, a page of 6 KB, %u trials of each row, a native "
            "one before each; all functions supervised, no allocation stacks",
            bench__server_name(bench->kind), bench->requests, bench->concurrency, bench->trials);
        if (!bench__installed("valgrind"))
            bench__note(result, "left out: valgrind, not installed");
        status = start_ways(error, servers, bench, ways, count) || compare_ways(error, bench, servers, count)
                     ? -1
                     : 0;
    }
    for (int w = 0; w < count && status == 0; w++) {
        struct row *row = &bench->rows[w];
        bench__text(result, ways[w].name);
        put_measures(result, bench, row);
        bench__number(result, bench_spread_of(row->cpu, bench->trials).median);
        bench__number(result, bench_spread_of(row->cpu_ratio, bench->trials).median);
        bench__number(result, row->pss_kib / bench->native_pss_kib);
        bench__number(result, row->pss_kib / 1024);
    }
    for (int w = 0; w < count; w++)
        bench__server_stop(servers[w]);
    finish(bench);
    result->plot = (struct bench_plot){
        .y_label = "throughput, percent of native", .x = -1, .label = 0, .group = 0, .y = {3}, .y_count = 1};
    return status;
}
