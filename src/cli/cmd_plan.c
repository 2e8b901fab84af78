/* testudo plan: divides a profiled program among the members of a community. */
#include "base/base.h"
#include "cli/cli.h"
#include "plan/plan.h"
#include "report/report.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool json, by_distance, measured_only;
static const char *output, *risk, *inputs, *program, *objects, *explain, *constants_path, *picture;
static int assign, policy;
static int64_t members, unit, distance, quanta, quantum_ms, seed, epoch, epochs, top;
static double slice, budget, alpha, cold, eps;

/* Default of alpha by policy (model.md): flat 10, exp 2. */
static const double default_alpha[] = {[PLAN_RISK_FLAT] = 10, [PLAN_RISK_EXP] = 2};

static const struct base_option options[] = {
    BASE_INTEGER("members", 'n', "N", &members, "0", 0, MODEL_MEMBERS_MAX, "how many members share the work"),
    BASE_PERCENT("slice", 0, "PCT", &slice, "0", 0, 100,
                 "size of a slice, in percent of the work: the plan says how many members that takes"),
    BASE_PERCENT(
        "budget", 0, "PCT", &budget, "0", 0, 1000,
        "watch as much as slows each member down by no more than PCT (needs --members and --constants)"),
    BASE_INTEGER("unit", 0, "K", &unit, "1", 1, 1000000, "the K cheapest functions make one unit of work"),
    BASE_TEXT(
        "risk", 0, "flat|exp|none|FILE", &risk, "flat",
        "weight of functions: alpha near input, alpha to the power of nearness, 1, or lines FUNCTION,WEIGHT"),
    BASE_REAL("alpha", 0, "A", &alpha, "0", 0, MODEL_RISK_MAX,
              "weight of a function at risk (0: flat 10, exp 2)"),
    BASE_INTEGER("distance", 0, "D", &distance, "6", 0, MODEL_DISTANCE_MAX,
                 "functions at most D calls above an input function are at risk"),
    BASE_TEXT("inputs", 0, "FILE", &inputs, NULL,
              "input functions, a pattern a line, instead of read, recv, fgets, ..."),
    BASE_FLAG("measured-only", 0, &measured_only,
              "distances on the calls that were seen only, without those that the binaries' code can make"),
    BASE_FLAG("by-distance", 0, &by_distance,
              "list which share of functions and of work each distance takes in, and no slices"),
    BASE_CHOICE("assign", 0, "central|coin|bid", &assign, "central", "who decides on slices"),
    BASE_CHOICE("policy", 0, "cold|paper", &policy, "cold",
                "cold: everybody also watches the code that costs next to nothing; paper: slices only"),
    BASE_PERCENT("cold", 0, "PCT", &cold, "0.1", 0, 100,
                 "the cheapest functions with PCT of the work together are cold"),
    BASE_PERCENT("eps", 0, "PCT", &eps, "1", 0.001, 50, "fairness: how far a load may be from the mean"),
    BASE_INTEGER("quanta", 0, "Q", &quanta, "0", 0, MODEL_QUANTA_MAX,
                 "quanta of an epoch (0: as many as eps needs)"),
    BASE_INTEGER("quantum", 0, "MS", &quantum_ms, "0", 0, 86400000,
                 "how long a quantum lasts, milliseconds (0: an epoch takes an hour)"),
    BASE_INTEGER("epoch", 0, "E", &epoch, "0", 0, 1e15, "which epoch's slices to show; they rotate"),
    BASE_INTEGER("epochs", 0, "E", &epochs, "0", 0, 10000,
                 "show what rotation over E epochs does to loads and watchers, and no slices"),
    BASE_INTEGER("seed", 0, "S", &seed, "1", 0, 1e15, "start of the random sequences of coin and bid"),
    BASE_TEXT("objects", 0, "LIST", &objects, NULL,
              "comma-separated file name patterns of the objects to divide instead of the program's own"),
    BASE_TEXT("program", 0, "FILE", &program, NULL,
              "the program's file, when the profile does not name it (gprof)"),
    BASE_TEXT("constants", 0, "FILE", &constants_path, NULL,
              "measured cost of supervision, to predict overhead"),
    BASE_TEXT("explain", 0, "FUNCTION", &explain, NULL, "say how one function came by its numbers"),
    BASE_TEXT("plot", 0, "FILE", &picture, NULL,
              "draw loads and coverage into FILE.svg or FILE.png, with gnuplot"),
    BASE_INTEGER("top", 0, "N", &top, "20", 0, 1000000000, "show N functions and N members only (0: all)"),
    BASE_TEXT("output", 'o', "MANIFEST", &output, NULL, "write the manifest for testudo community publish"),
    BASE_JSON(&json),
    BASE_END,
};

static const struct base_command command = {
    .name = "plan",
    .summary = "divide a profiled program into slices",
    .operands = "PROFILE",
    .description =
        "Without --members, --slice or --budget each member takes one unit of work, as in the paper: N = floor(W).\n"
        "PROFILE is what testudo profile writes, or the output of callgrind, gprof or perf script as it is. The table's\n"
        "columns are the paper's: cost x, share C of the total T, weight r = x/Z, risk v, and demand v r in units.",
    .example = "testudo plan apache.profile --members 16 -o apache.manifest\n",
    .options = options,
    .operands_min = 1,
    .operands_max = 1,
};

/* ---- what people read ---- */

static const char *file_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static void print_functions(const struct plan *plan)
{
    static const struct report_column columns[] = {
        {"function", false, 0}, {"object", false, 0}, {"cost x", true, 0}, {"C %", true, 2},
        {"r", true, -5},        {"dist", true, 0},    {"v", true, -4},     {"v r", true, -5},
    };
    struct report_table *table = report_table_new(columns, sizeof columns / sizeof *columns);
    size_t shown = top && (size_t)top < plan->own_count ? (size_t)top : plan->own_count;
    for (size_t i = 0; i < shown; i++) {
        const struct plan_function *f = &plan->functions[i];
        report_table_text(table, f->name);
        report_table_text(table, file_name(plan->objects[f->object].path));
        report_table_number(table, (double)f->cost);
        report_table_number(table, f->share_percent);
        report_table_number(table, f->relative);
        report_table_number(table, f->distance == MODEL_UNREACHABLE ? NAN : f->distance);
        report_table_number(table, f->risk);
        report_table_number(table, f->demand);
    }
    report_table_write(stdout, table, REPORT_TEXT);
    report_table_free(table);
    if (shown < plan->own_count)
        printf("... and %zu more (--top 0 shows all)\n", plan->own_count - shown);
}

static void print_members(const struct plan *plan)
{
    uint32_t shown = top && top < plan->members ? (uint32_t)top : plan->members;
    for (uint32_t m = 0; m < shown; m++) {
        size_t first = plan->holding_first[m], end = plan->holding_first[m + 1];
        printf("member %" PRIu32 ": load %.4g units, %zu function%s of its own", m, plan->load[m],
               end - first, end - first == 1 ? "" : "s");
        for (size_t i = first; i < end && i < first + 4; i++) {
            const struct model_holding *h = &plan->holdings[i];
            printf("%s %s", i == first ? ":" : ",", plan->functions[h->function].name);
            if (h->quanta < plan->quanta)
                printf(" %.3g%%", 100.0 * h->quanta / plan->quanta);
        }
        puts(end - first > 4 ? ", ..." : "");
    }
    if (shown < plan->members)
        printf("... and %" PRIu32 " more members\n", plan->members - shown);
}

static void print_plan(const struct plan *plan)
{
    const char *metric = plan->metric == PROFILE_INSTRUCTIONS ? "instructions" : "ns";
    double all = plan->total + (double)plan->excluded_cost, at_risk = 0;
    for (size_t f = 0; f < plan->own_count; f++)
        at_risk += plan->functions[f].risk > 1 ? plan->functions[f].share_percent : 0;
    print_functions(plan);
    printf("\ntotal T         %.0f %s in %zu function%s of its own", plan->total, metric, plan->own_count,
           plan->own_count == 1 ? "" : "s");
    if (plan->excluded_cost)
        printf(" (%.1f%% more are in the C library and other system objects)",
               100 * (double)plan->excluded_cost / all);
    if (plan->lost_count)
        printf(
            "\nleft out        %zu function%s, %.2g%% of the work: startup code, or not in the binaries here",
            plan->lost_count, plan->lost_count == 1 ? "" : "s",
            100 * (double)plan->lost_cost / (plan->total + (double)plan->lost_cost));
    printf("\nwork unit Z     %.6g %s\n", plan->unit, metric);
    printf("total work W    %.6g units; %.4g%% of T with risk, %.4g%% of the work is at risk\n",
           plan->total_work, plan->weighted_percent, at_risk);
    printf("members N       %" PRIu32
           ", each watches %.4g%% of the work; loads within %.2g%% of their mean\n",
           plan->members, plan->slice_percent, plan->unfairness < 1e-9 ? 0 : 100 * plan->unfairness);
    printf("epoch           %" PRIu32 " quanta of %" PRIu32 " ms, then slices rotate\n", plan->quanta,
           plan->quantum_ms);
    printf("watched by all  %zu function%s, %.3g units\n", plan->everyone_count,
           plan->everyone_count == 1 ? "" : "s", plan->common_load);
    if (plan->uncovered_count)
        printf("not watched     %zu functions in this epoch\n", plan->uncovered_count);
    printf("P(first)        %.4g of risk, %.4g of work (paper's policy: %.4g, %.4g)\n",
           plan->coverage.by_risk, plan->coverage.by_work, plan->paper.by_risk, plan->paper.by_work);
    printf("expected        %.4g victims before the first detection\n", plan->expected_victims);
    if (!isnan(plan->overhead_percent))
        printf("slow-down       %.3g%% of each member, predicted (%.3g%% at most)\n", plan->overhead_percent,
               plan->overhead_worst_percent);
    if (plan->members_needed > 0)
        printf("at this budget  paper's policy: P(first) %.4g of risk, %.4g of work, %.4g victims\n"
               "                members needed to watch everything always: %.0f (paper's policy: %.0f)\n",
               plan->paper_at_budget.by_risk, plan->paper_at_budget.by_work,
               model_expected_victims(plan->paper_at_budget.by_risk), plan->members_needed,
               plan->members_needed_paper);
    putchar('\n');
    print_members(plan);
}

/* How each step of a way to input is known. */
static void print_way(const struct plan *plan, uint32_t from)
{
    for (uint32_t to; (to = plan_next(plan, from)) != MODEL_NO_FUNCTION; from = to) {
        uint64_t calls;
        enum plan_link link = plan_link(&calls, plan, from, to);
        printf("    %s -> %s: ", plan_name(plan, from), plan_name(plan, to));
        if (link == PLAN_LINK_MEASURED)
            printf("called %" PRIu64 " times in the profile\n", calls);
        else
            puts(link == PLAN_LINK_CODE ? "a call in its code, not seen in the profile"
                                        : "may call it: its code takes the address");
    }
}

static void print_reaches(const struct plan *plan)
{
    static const struct report_column columns[] = {
        {"distance", true, 0},      {"functions", true, 0}, {"functions %", true, 1},
        {"of executed %", true, 1}, {"work %", true, 1},
    };
    static struct plan_reach reach[MODEL_DISTANCE_MAX + 1];
    size_t count = plan_reaches(reach, MODEL_DISTANCE_MAX + 1, plan), executed = 0;
    for (size_t f = 0; f < plan->own_count; f++)
        executed += plan->functions[f].cost > 0;
    if (json) {
        json_t *rows = json_array();
        for (size_t d = 0; d < count; d++)
            json_array_append_new(
                rows, json_pack("{s:i, s:I, s:f, s:f, s:f}", "distance", (int)d, "functions",
                                (json_int_t)reach[d].functions, "functions_percent",
                                100.0 * (double)reach[d].functions / (double)plan->own_count,
                                "executed_percent", 100.0 * (double)reach[d].executed / (double)executed,
                                "work_percent", 100 * reach[d].work / plan->total));
        json_t *root = json_pack("{s:I, s:I, s:o}", "functions", (json_int_t)plan->own_count, "executed",
                                 (json_int_t)executed, "by_distance", rows);
        json_dumpf(root, stdout, JSON_INDENT(1));
        putchar('\n');
        json_decref(root);
        return;
    }
    struct report_table *table = report_table_new(columns, sizeof columns / sizeof *columns);
    for (size_t d = 0; d < count; d++) {
        report_table_number(table, (double)d);
        report_table_number(table, (double)reach[d].functions);
        report_table_number(table, 100.0 * (double)reach[d].functions / (double)plan->own_count);
        report_table_number(table, 100.0 * (double)reach[d].executed / (double)executed);
        report_table_number(table, 100 * reach[d].work / plan->total);
    }
    report_table_write(stdout, table, REPORT_TEXT);
    report_table_free(table);
    printf("\nat most so many calls above input; of %zu functions, %zu of them executed\n", plan->own_count,
           executed);
}

static int print_explanation(const struct plan *plan, const struct plan_options *how)
{
    uint32_t at = plan_find(plan, explain);
    if (at == MODEL_NO_FUNCTION) {
        base_warn("%s is no function of this profile; see testudo profile show --all", explain);
        return BASE_EXIT_USAGE;
    }
    const struct plan_function *f = &plan->functions[at];
    printf("%s in %s\n", f->name, plan->objects[f->object].path);
    if (!f->own) {
        puts(f->lost == PLAN_LOST_BETWEEN
                 ? "  is startup code or a stub of the linker, so nobody's slice holds it"
             : f->lost
                 ? "  is not in the binary that is here, so nobody's slice holds it; record the profile anew"
                 : "  is in a system object, so nobody's slice holds it; it only counts in the call graph");
        return BASE_EXIT_OK;
    }
    printf("  x = %" PRIu64 ", C = 100 x / T = %.4g%%, r = x / Z = %" PRIu64 " / %.6g = %.6g\n", f->cost,
           f->share_percent, f->cost, plan->unit, f->relative);
    if (f->distance == MODEL_UNREACHABLE) {
        puts("  no chain of known calls leads from it to an input function");
    } else {
        printf("  %" PRIu32 " call%s above input: %s", f->distance, f->distance == 1 ? "" : "s", f->name);
        for (uint32_t next = f->next; next != MODEL_NO_FUNCTION; next = plan_next(plan, next))
            printf(" -> %s", plan_name(plan, next));
        putchar('\n');
        print_way(plan, at);
    }
    static const char *const rules[] = {"flat: v = alpha", "exp: v = alpha^(D + 1 - d)"};
    if (how->risk == PLAN_RISK_FILE)
        printf("  v = %g, %s\n", f->risk,
               f->risk > 1 ? how->risk_file : "for the file of weights does not name it");
    else if (how->risk == PLAN_RISK_NONE)
        puts("  v = 1: risk none");
    else if (f->risk > 1)
        printf("  v = %g: %s, with alpha = %g, d = %" PRIu32 " <= D = %" PRIu32 "\n", f->risk,
               rules[how->risk], how->alpha, f->distance, how->reach);
    else
        printf("  v = 1: it is farther from input than D = %" PRIu32 " calls\n", how->reach);
    printf("  demand v r = %.6g units of W = %.6g; ", f->demand, plan->total_work);
    if (f->everyone)
        printf("every member watches it always%s\n", f->cold ? ", for it is cold" : "");
    else
        printf("%.4g of %.0f members watch it at any moment\n", (double)f->tokens / plan->quanta,
               plan->members_wanted);
    return BASE_EXIT_OK;
}

/* ---- what machines read ---- */

static json_t *json_functions(const struct plan *plan)
{
    json_t *functions = json_array();
    for (size_t i = 0; i < plan->own_count; i++) {
        const struct plan_function *f = &plan->functions[i];
        json_array_append_new(
            functions,
            json_pack("{s:s, s:s, s:o, s:I, s:f, s:f, s:f, s:o, s:f, s:I, s:b, s:b}", "name", f->name,
                      "object", plan->objects[f->object].path, "offset",
                      f->offset == PLAN_NO_OFFSET ? json_null() : json_integer((json_int_t)f->offset), "cost",
                      (json_int_t)f->cost, "share_percent", f->share_percent, "relative_weight", f->relative,
                      "risk", f->risk, "distance",
                      f->distance == MODEL_UNREACHABLE ? json_null() : json_integer(f->distance), "demand",
                      f->demand, "tokens", (json_int_t)f->tokens, "cold", f->cold, "everyone", f->everyone));
    }
    return functions;
}

/* JSON of a value by itself. Owns: free(). */
static char *text_of(json_t *value)
{
    char *text = json_dumps(value, JSON_ENCODE_ANY);
    json_decref(value);
    return text;
}

static void write_part(const char *name, uint32_t function, uint32_t held, uint32_t first, bool *any)
{
    printf("%s\n    {\n     \"function\": %s,\n     \"index\": %" PRIu32 ",\n     \"quanta\": %" PRIu32
           ",\n     \"first\": %" PRIu32 "\n    }",
           *any ? "," : "", name, function, held, first);
    *any = true;
}

/* Slices with all that each member watches, as the last of an object's values. What everyone watches stands in each slice while
   that stays readable. Written as it goes: as one document a million members' would fill the memory. */
static void write_members(const struct plan *plan, bool with_common)
{
    char **names = calloc(plan->own_count + 1, sizeof *names);
    for (size_t f = 0; names && f < plan->own_count; f++)
        names[f] = text_of(json_string(plan->functions[f].name));
    printf(",\n \"members_table\": [");
    for (uint32_t m = 0; names && m < plan->members; m++) {
        char *load = text_of(json_real(plan->load[m]));
        bool any = false;
        printf("%s\n  {\n   \"member\": %" PRIu32 ",\n   \"load\": %s,\n   \"slice\": [", m ? "," : "", m,
               load);
        for (size_t i = plan->holding_first[m]; i < plan->holding_first[m + 1]; i++) {
            const struct model_holding *h = &plan->holdings[i];
            write_part(names[h->function], h->function, h->quanta, h->first, &any);
        }
        for (size_t f = 0; with_common && f < plan->own_count; f++)
            if (plan->functions[f].everyone)
                write_part(names[f], (uint32_t)f, plan->quanta, 0, &any);
        printf("%s]\n  }", any ? "\n   " : "");
        free(load);
    }
    printf("\n ]\n}\n");
    for (size_t f = 0; names && f < plan->own_count; f++)
        free(names[f]);
    free(names);
}

static void print_json(const struct plan *plan)
{
    enum { COMMON_ROWS_MAX = 2000000 };
    bool with_common = (uint64_t)plan->everyone_count * plan->members <= COMMON_ROWS_MAX;
    json_t *root = json_pack(
        "{s:I, s:s, s:f, s:f, s:i, s:f, s:f, s:f, s:f, s:o, s:f, s:{s:f, s:f}, s:i, s:i, s:f, s:s, s:I, s:I, s:b, s:o}",
        "total", (json_int_t)plan->total, "metric", profile_metric_name(plan->metric), "work_unit",
        plan->unit, "total_work", plan->total_work, "members", (int)plan->members, "slice_percent",
        plan->slice_percent, "weighted_percent", plan->weighted_percent, "p_first", plan->coverage.by_risk,
        "p_first_by_work", plan->coverage.by_work, "expected_victims",
        isfinite(plan->expected_victims) ? json_real(plan->expected_victims) : json_null(), "fairness",
        plan->unfairness, "paper", "p_first", plan->paper.by_risk, "p_first_by_work", plan->paper.by_work,
        "quanta", (int)plan->quanta, "quantum_ms", (int)plan->quantum_ms, "common_load", plan->common_load,
        "assign", plan->assign->name, "epoch", (json_int_t)plan->epoch, "excluded_cost",
        (json_int_t)plan->excluded_cost, "everyone_in_slices", with_common, "functions",
        json_functions(plan));
    json_object_set_new(root, "left_out",
                        json_pack("{s:I, s:I}", "functions", (json_int_t)plan->lost_count, "cost",
                                  (json_int_t)plan->lost_cost));
    if (!isnan(plan->overhead_percent))
        json_object_set_new(root, "overhead_percent", json_real(plan->overhead_percent));
    if (!isnan(plan->overhead_worst_percent))
        json_object_set_new(root, "overhead_worst_percent", json_real(plan->overhead_worst_percent));
    if (plan->members_needed > 0)
        json_object_set_new(root, "at_budget",
                            json_pack("{s:f, s:f, s:{s:f, s:f, s:f, s:f}}", "p_first", plan->coverage.by_risk,
                                      "members_needed", plan->members_needed, "paper", "p_first",
                                      plan->paper_at_budget.by_risk, "p_first_by_work",
                                      plan->paper_at_budget.by_work, "expected_victims",
                                      model_expected_victims(plan->paper_at_budget.by_risk), "members_needed",
                                      plan->members_needed_paper));
    char *text = json_dumps(root, JSON_INDENT(1));
    json_decref(root);
    /* Without the end of the object, which the members' table is the last part of. */
    if (text)
        printf("%.*s", (int)strlen(text) - 2, text);
    free(text);
    write_members(plan, with_common);
}

static int write_manifest(struct base_error *error, const struct plan *plan)
{
    void *data;
    size_t bytes;
    if (plan_manifest(error, &data, &bytes, plan))
        return -1;
    int status = base_write_file(error, output, data, bytes);
    free(data);
    return status;
}

/* A bar for each member, and which share of members watches what. */
static int draw(struct base_error *error, const struct plan *plan)
{
    enum { BARS_MAX = 400 };
    size_t bars = plan->members < BARS_MAX ? plan->members : BARS_MAX, n = plan->own_count;
    double *memory = calloc(3 * bars + 4 * n + 4, sizeof *memory), *at = memory;
    if (!memory)
        return base_fail(error, BASE_EXIT_FAILURE, "out of memory");
    double *member = at, *load = at + bars, *common = at + 2 * bars;
    double *cost_x = at + 3 * bars, *cost_y = cost_x + n, *risk_x = cost_y + n, *risk_y = risk_x + n;
    double *ends = risk_y + n, fair[] = {plan->total_work / plan->members, plan->total_work / plan->members};
    ends[0] = 0;
    ends[1] = plan->members;
    plan_loads(member, load, common, bars, plan);
    plan_coverage_curve(cost_x, cost_y, plan, false);
    plan_coverage_curve(risk_x, risk_y, plan, true);
    const struct report_curve loads[] = {
        {.name = "own slice", .count = bars, .x = member, .y = load, .bars = true},
        {.name = "watched by all", .count = bars, .x = member, .y = common, .bars = true},
        {.name = "W/N", .count = 2, .x = ends, .y = fair}};
    const struct report_curve by_cost[] = {
        {.name = "members that watch it", .count = n, .x = cost_x, .y = cost_y, .steps = true}};
    const struct report_curve by_risk[] = {
        {.name = "members that watch it", .count = n, .x = risk_x, .y = risk_y, .steps = true}};
    const struct report_plot plots[] = {{.title = "load of each member",
                                         .x_label = "member",
                                         .y_label = "work units",
                                         .curves = loads,
                                         .curve_count = 3},
                                        {.title = "coverage by function",
                                         .x_label = "functions by falling cost",
                                         .y_label = "% of members",
                                         .x_log = true,
                                         .curves = by_cost,
                                         .curve_count = 1},
                                        {.title = "coverage by risk",
                                         .x_label = "% of all risk, riskiest functions first",
                                         .y_label = "% of members",
                                         .curves = by_risk,
                                         .curve_count = 1}};
    char title[160];
    snprintf(title, sizeof title, "%zu functions, %" PRIu32 " members, P(first) %.4g of risk, %.4g of work",
             n, plan->members, plan->coverage.by_risk, plan->coverage.by_work);
    int result = report_plots_save(error, title, plots, 3, picture);
    free(memory);
    return result;
}

/* Rotation as a table, as JSON, and as a picture. */
static int show_rotation(struct base_error *error, const struct profile *profile,
                         const struct plan_options *how)
{
    static const struct report_column columns[] = {{"epoch", true, 0},
                                                   {"loads within %", true, -3},
                                                   {"sums so far within %", true, -3},
                                                   {"fewest watchers", true, 0}};
    struct plan_rotation rotation;
    if (plan_rotate(error, &rotation, profile, how, (uint32_t)epochs))
        return -1;
    struct report_table *table = report_table_new(columns, 4);
    double *points = calloc(5 * rotation.count + 1, sizeof *points);
    json_t *rows = json_array();
    if (!points)
        abort();
    double *x = points, *one = x + rotation.count, *all = one + rotation.count,
           *watchers = all + rotation.count;
    for (size_t i = 0; i < rotation.count; i++) {
        const struct plan_epoch *e = &rotation.epochs[i];
        x[i] = (double)(i + 1);
        one[i] = 100 * e->unfairness;
        all[i] = e->so_far < 1e-9 ? 0 : 100 * e->so_far; /* all but the digits lost in adding */
        watchers[i] = e->watchers;
        report_table_number(table, (double)e->epoch);
        report_table_number(table, one[i]);
        report_table_number(table, all[i]);
        report_table_number(table, watchers[i]);
        json_array_append_new(rows, json_pack("{s:I, s:f, s:f, s:i}", "epoch", (json_int_t)e->epoch,
                                              "unfairness", e->unfairness, "unfairness_so_far", e->so_far,
                                              "fewest_watchers", (int)e->watchers));
    }
    const struct report_curve loads[] = {{.name = "in one epoch", .count = rotation.count, .x = x, .y = one},
                                         {.name = "sum so far", .count = rotation.count, .x = x, .y = all}};
    const struct report_curve watched[] = {
        {.name = "fewest at any time", .count = rotation.count, .x = x, .y = watchers},
        {.name = "nobody", .count = rotation.count, .x = x, .y = watchers + rotation.count}};
    const struct report_plot plots[] = {{.title = "How far a member's load is from the mean",
                                         .x_label = "epochs",
                                         .y_label = "% of the mean",
                                         .curves = loads,
                                         .curve_count = 2},
                                        {.title = "Members that watch a divided function",
                                         .x_label = "epochs",
                                         .y_label = "members",
                                         .curves = watched,
                                         .curve_count = 2}};
    int status = picture ? report_plots_save(error, "Rotation of slices", plots, 2, picture) : 0;
    if (status == 0 && json) {
        json_dumpf(rows, stdout, JSON_INDENT(1));
        putchar('\n');
    } else if (status == 0)
        report_table_write(stdout, table, REPORT_TEXT);
    json_decref(rows);
    report_table_free(table);
    free(points);
    plan_rotation_free(&rotation);
    return status;
}

/* What the words on the command line mean together. Returns -1, or the exit status of wrong usage. */
static int read_options(struct plan_options *how)
{
    if ((members > 0) + (slice > 0) + (budget > 0) > 1 && !(members > 0 && budget > 0))
        return base_usage(&command, "choose one of --members and --slice; --budget goes with --members");
    if (budget > 0 && members == 0)
        return base_usage(&command, "--budget needs --members");
    how->risk = strcmp(risk, "flat") == 0   ? PLAN_RISK_FLAT
                : strcmp(risk, "exp") == 0  ? PLAN_RISK_EXP
                : strcmp(risk, "none") == 0 ? PLAN_RISK_NONE
                                            : PLAN_RISK_FILE;
    how->alpha = alpha;
    if (alpha == 0 && how->risk <= PLAN_RISK_EXP)
        how->alpha = default_alpha[how->risk];
    else if (alpha != 0 && alpha <= 1)
        return base_usage(&command, "--alpha must be above 1: it is how much more a function at risk counts");
    how->size = budget > 0    ? PLAN_SIZE_BUDGET
                : slice > 0   ? PLAN_SIZE_SLICE
                : members > 0 ? PLAN_SIZE_MEMBERS
                              : PLAN_SIZE_UNIT;
    return -1;
}

int cli_plan(int argc, char **argv)
{
    struct base_args args;
    struct base_error error;
    struct profile profile;
    struct plan plan;
    struct plan_constants constants;
    int status = base_options_parse(&command, &args, argc, argv);
    if (status >= 0)
        return status;
    static const struct model_policy *const policies[] = {&model_central, &model_coin, &model_bid};
    struct plan_options how = {.members = (uint32_t)members,
                               .slice_percent = slice,
                               .budget_percent = budget,
                               .unit_functions = (size_t)unit,
                               .risk_file = risk,
                               .reach = (uint32_t)distance,
                               .inputs = inputs,
                               .assign = policies[assign],
                               .cold = policy ? PLAN_COLD_PAPER : PLAN_COLD_ALL,
                               .cold_percent = cold,
                               .eps = eps / 100,
                               .quanta = (uint32_t)quanta,
                               .quantum_ms = (uint32_t)quantum_ms,
                               .seed = (uint64_t)seed,
                               .epoch = (uint64_t)epoch,
                               .program = program,
                               .objects = objects,
                               .without_slices = (explain || by_distance) && !output && !picture,
                               .measured_only = measured_only};
    if ((status = read_options(&how)) >= 0)
        return status;
    if (constants_path) {
        if (plan_constants_load(&error, &constants, constants_path))
            return base_fail_exit(&error);
        how.constants = &constants;
    }
    if (profile_load(&error, &profile, args.list[0], NULL))
        return base_fail_exit(&error);
    if (epochs) {
        status = show_rotation(&error, &profile, &how) ? base_fail_exit(&error) : BASE_EXIT_OK;
        profile_free(&profile);
        return status;
    }
    if (plan_make(&error, &plan, &profile, &how)) {
        profile_free(&profile);
        return base_fail_exit(&error);
    }
    status = BASE_EXIT_OK;
    if ((output && write_manifest(&error, &plan)) || (picture && draw(&error, &plan)))
        status = base_fail_exit(&error);
    else if (explain)
        status = print_explanation(&plan, &how);
    else if (by_distance)
        print_reaches(&plan);
    else if (json)
        print_json(&plan);
    else
        print_plan(&plan);
    plan_free(&plan);
    profile_free(&profile);
    return status;
}
