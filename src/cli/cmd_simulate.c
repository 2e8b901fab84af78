/* testudo simulate: runs a simulation and shows its table; with --out also as CSV, Markdown and plots. */
#include "base/base.h"
#include "cli/cli.h"
#include "report/report.h"
#include "sim/sim.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static bool json;
static const char *out;
static int64_t seed, replicates, functions, members, distance;
static double alpha, slice, slowdown, user_share, latency, loss, subverted, rate;

static const struct base_option options[] = {
    BASE_INTEGER("seed", 0, "S", &seed, "1", 0, 1e15,
                 "start of all random sequences; equal seeds give equal results"),
    BASE_INTEGER("replicates", 'r', "R", &replicates, "0", 0, 100000000,
                 "how often each point is simulated (0: the simulation's own choice)"),
    BASE_TEXT("out", 'o', "DIR", &out, NULL, "also write CSV, Markdown, SVG and PNG into DIR"),
    BASE_INTEGER("functions", 0, "N", &functions, "0", 0, 1000000,
                 "functions of the program (0: as in the paper)"),
    BASE_INTEGER("members", 'n', "M", &members, "0", 0, MODEL_MEMBERS_MAX,
                 "members of the community (0: 1000)"),
    BASE_REAL("alpha", 0, "A", &alpha, "0", 0, MODEL_RISK_MAX,
              "risk of a vulnerable function (0: as in the paper)"),
    BASE_INTEGER("distance", 0, "D", &distance, "0", 0, MODEL_DISTANCE_MAX, "reach of risk in calls (0: 5)"),
    BASE_PERCENT("slice", 0, "PCT", &slice, "0", 0, 100, "size of a slice in figure2 (0: 1%)"),
    BASE_REAL("slowdown", 0, "K", &slowdown, "0", 0, 10000,
              "time of supervised code over native time (0: the paper's 30)"),
    BASE_PERCENT("user-share", 0, "PCT", &user_share, "0", 0, 100,
                 "the program's own code in its run time (0: Apache's 15.9%)"),
    BASE_REAL("latency", 0, "MS", &latency, "0", 0, 1e9,
              "mean time of an alert to a member, milliseconds (0: 100)"),
    BASE_PERCENT("loss", 0, "PCT", &loss, "0", 0, 99, "messages that are lost and sent again"),
    BASE_PERCENT("subverted", 0, "PCT", &subverted, "0", 0, 99,
                 "members that watch nothing and tell nothing"),
    BASE_REAL("rate", 0, "HZ", &rate, "0", 0, 1e9, "strikes a second by each attacker (0: 1)"),
    BASE_JSON(&json),
    BASE_END,
};

/* ---- the table in its forms ---------------------------------------------------------------------------- */

/* report's columns: an interval takes three. */
static struct report_table *make_table(const struct sim_result *result, struct report_column *columns)
{
    unsigned count = 0;
    for (unsigned c = 0; c < result->column_count; c++) {
        const struct sim_column *from = &result->columns[c];
        columns[count++] = (struct report_column){from->title, from->kind != SIM_TEXT, from->decimals};
        if (from->kind == SIM_INTERVAL) {
            columns[count++] = (struct report_column){"from", true, from->decimals};
            columns[count++] = (struct report_column){"to", true, from->decimals};
        }
    }
    struct report_table *table = report_table_new(columns, count);
    for (size_t i = 0; i < result->row_count * result->column_count; i++) {
        const struct sim_cell *cell = &result->cells[i];
        enum sim_cell_kind kind = result->columns[i % result->column_count].kind;
        if (kind == SIM_TEXT) {
            report_table_text(table, cell->text);
            continue;
        }
        report_table_number(table, cell->number);
        if (kind == SIM_INTERVAL) {
            report_table_number(table, cell->low);
            report_table_number(table, cell->high);
        }
    }
    return table;
}

static void print_text(FILE *file, const struct sim_result *result, enum report_form form)
{
    struct report_column columns[3 * SIM_COLUMNS_MAX];
    struct report_table *table = make_table(result, columns);
    const char *bullet = form == REPORT_MARKDOWN ? "* " : "";
    fprintf(file,
            form == REPORT_MARKDOWN ? "# %s\n\n%s. Seed %" PRIu64 ", %" PRIu64 " replicates.\n\n"
                                    : "%s\n%s.\nSeed %" PRIu64 ", %" PRIu64 " replicates.\n\n",
            result->title, result->setting, result->seed, result->replicates);
    report_table_write(file, table, form);
    report_table_free(table);
    fputc('\n', file);
    for (size_t i = 0; i < result->claim_count; i++)
        fprintf(file, "%s%s: %s\n", bullet, result->claims[i].holds ? "holds" : "FAILS",
                result->claims[i].text);
    if (form == REPORT_MARKDOWN && result->plot.x >= 0)
        fprintf(file, "\n![%s](%s.svg)\n", result->title, result->name);
}

static json_t *real_or_null(double number)
{
    if (!isfinite(number))
        return json_null();
    return number == floor(number) && fabs(number) < 1e15 ? json_integer((json_int_t)number)
                                                          : json_real(number);
}

static void print_json(const struct sim_result *result)
{
    json_t *rows = json_array(), *claims = json_array();
    for (size_t r = 0; r < result->row_count; r++) {
        json_t *row = json_object();
        for (unsigned c = 0; c < result->column_count; c++) {
            const struct sim_cell *cell = &result->cells[r * result->column_count + c];
            const struct sim_column *column = &result->columns[c];
            json_t *value = column->kind == SIM_TEXT ? json_string(cell->text)
                            : column->kind == SIM_NUMBER
                                ? real_or_null(cell->number)
                                : json_pack("{s:o, s:o, s:o}", "mean", real_or_null(cell->number), "low",
                                            real_or_null(cell->low), "high", real_or_null(cell->high));
            json_object_set_new(row, column->key, value);
        }
        json_array_append_new(rows, row);
    }
    for (size_t i = 0; i < result->claim_count; i++)
        json_array_append_new(claims, json_pack("{s:s, s:b}", "claim", result->claims[i].text, "holds",
                                                result->claims[i].holds));
    json_t *root = json_pack("{s:s, s:s, s:I, s:I, s:o, s:o}", "simulation", result->name, "setting",
                             result->setting, "seed", (json_int_t)result->seed, "replicates",
                             (json_int_t)result->replicates, "rows", rows, "claims", claims);
    json_dumpf(root, stdout, JSON_INDENT(1));
    putchar('\n');
    json_decref(root);
}

/* ---- files --------------------------------------------------------------------------------------------- */

/* Rows of one curve have equal texts in the grouping columns. */
static bool same_group(const struct sim_result *result, size_t a, size_t b)
{
    for (int g = 0; g < 2; g++) {
        int column = result->plot.group[g];
        if (column >= 0 && strcmp(result->cells[a * result->column_count + (unsigned)column].text,
                                  result->cells[b * result->column_count + (unsigned)column].text) != 0)
            return false;
    }
    return true;
}

enum { CURVES_MAX = 24 };

static int write_plots(struct base_error *error, const struct sim_result *result)
{
    struct report_curve curves[CURVES_MAX];
    char names[CURVES_MAX][64], path[4096];
    size_t rows = result->row_count, count = 0;
    double *points = calloc(4 * rows + 1, sizeof *points), *next = points;
    bool *taken = calloc(rows + 1, sizeof *taken);
    if (!points || !taken)
        abort();
    for (size_t lead = 0; lead < rows && count < CURVES_MAX; lead++) {
        if (taken[lead])
            continue;
        size_t size = 0;
        for (size_t r = lead; r < rows; r++)
            size += same_group(result, lead, r);
        double *x = next, *y = x + size, *low = y + size, *high = low + size;
        next = high + size;
        size_t at = 0;
        for (size_t r = lead; r < rows; r++) {
            if (!same_group(result, lead, r))
                continue;
            const struct sim_cell *row = result->cells + r * result->column_count;
            x[at] = row[result->plot.x].number;
            y[at] = row[result->plot.y].number;
            low[at] = row[result->plot.y].low;
            high[at++] = row[result->plot.y].high;
            taken[r] = true;
        }
        const struct sim_cell *row = result->cells + lead * result->column_count;
        snprintf(names[count], sizeof names[count], "%s%s%s",
                 result->plot.group[0] >= 0 ? row[result->plot.group[0]].text : "",
                 result->plot.group[1] >= 0 ? ", " : "",
                 result->plot.group[1] >= 0 ? row[result->plot.group[1]].text : "");
        curves[count] = (struct report_curve){.name = names[count],
                                              .count = size,
                                              .x = x,
                                              .y = y,
                                              .low = low,
                                              .high = high,
                                              .points = size == 1};
        count++;
    }
    const struct report_plot plot = {.title = result->title,
                                     .x_label = result->columns[result->plot.x].title,
                                     .y_label = result->columns[result->plot.y].title,
                                     .x_log = result->plot.x_log,
                                     .y_log = result->plot.y_log,
                                     .curves = curves,
                                     .curve_count = count};
    static const char *const endings[] = {"svg", "png"};
    int status = 0;
    for (int i = 0; i < 2 && status == 0; i++) {
        snprintf(path, sizeof path, "%s/%s.%s", out, result->name, endings[i]);
        status = report_plot_save(error, &plot, path);
    }
    free(points);
    free(taken);
    return status;
}

static int write_files(struct base_error *error, const struct sim_result *result)
{
    char path[4096];
    if (mkdir(out, 0777) && errno != EEXIST)
        return base_fail(error, BASE_EXIT_FAILURE, "cannot make the folder %s: %s", out, strerror(errno));
    struct report_column columns[3 * SIM_COLUMNS_MAX];
    struct report_table *table = make_table(result, columns);
    snprintf(path, sizeof path, "%s/%s.csv", out, result->name);
    int status = report_table_save(error, table, path, REPORT_CSV);
    report_table_free(table);
    if (status)
        return -1;
    char *text = NULL;
    size_t bytes = 0;
    FILE *page = open_memstream(&text, &bytes);
    if (!page)
        abort();
    print_text(page, result, REPORT_MARKDOWN);
    fclose(page);
    snprintf(path, sizeof path, "%s/%s.md", out, result->name);
    status = base_write_file(error, path, text, bytes);
    free(text);
    return status || result->plot.x < 0 ? status : write_plots(error, result);
}

/* ---- running ------------------------------------------------------------------------------------------- */

static void on_progress(void *context, uint64_t done, uint64_t total)
{
    struct report_progress *progress = context;
    progress->total = total;
    report_progress_step(progress, done);
}

static int simulate(int argc, char **argv)
{
    const struct sim_simulation *simulation = sim_simulations;
    while (strcmp(simulation->name, argv[0]) != 0)
        simulation++;
    char name[64], example[128];
    snprintf(name, sizeof name, "simulate %s", simulation->name);
    snprintf(example, sizeof example, "testudo simulate %s --seed 7 --out results\n", simulation->name);
    const struct base_command command = {.name = name,
                                         .summary = simulation->summary,
                                         .description =
                                             *simulation->description ? simulation->description : NULL,
                                         .example = example,
                                         .options = options};
    struct base_args args;
    struct base_error error;
    int status = base_options_parse(&command, &args, argc, argv);
    if (status >= 0)
        return status;
    if (alpha != 0 && alpha <= 1 && strcmp(simulation->name, "table2") != 0)
        return base_usage(&command, "--alpha must be above 1");
    struct report_progress progress = {.label = simulation->name};
    struct sim_options how = {.seed = (uint64_t)seed,
                              .replicates = replicates ? (uint64_t)replicates : simulation->replicates,
                              .replicates_given = replicates > 0,
                              .functions = (uint64_t)functions,
                              .members = (uint64_t)members,
                              .alpha = alpha,
                              .reach = (uint32_t)distance,
                              .slice_percent = slice,
                              .slowdown = slowdown,
                              .user_share = user_share / 100,
                              .latency_ms = latency,
                              .loss = loss / 100,
                              .subverted = subverted / 100,
                              .scans_per_s = rate,
                              .progress = on_progress,
                              .context = &progress};
    struct sim_result result;
    if (simulation->run(&error, &result, &how)) {
        report_progress_end(&progress);
        return base_fail_exit(&error);
    }
    report_progress_end(&progress);
    result.seed = how.seed;
    if (!result.replicates)
        result.replicates = how.replicates;
    if (json)
        print_json(&result);
    else
        print_text(stdout, &result, REPORT_TEXT);
    status = out && write_files(&error, &result) ? base_fail_exit(&error) : BASE_EXIT_OK;
    sim_result_free(&result);
    return status;
}

int cli_simulate(int argc, char **argv)
{
    struct base_action actions[16] = {{0}};
    for (size_t i = 0; sim_simulations[i].name; i++)
        actions[i] = (struct base_action){sim_simulations[i].name, sim_simulations[i].summary, simulate};
    const struct base_menu menu = {
        .name = "simulate",
        .summary = "Simulate communities: the paper's tables and figures, and attacks.",
        .example = "testudo simulate epidemic --members 100000 --out results\n",
        .actions = actions,
    };
    return base_menu_run(&menu, argc, argv);
}
