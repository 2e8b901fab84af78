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

/* The claims beside what was found. */
static void print_claims(FILE *file, const struct sim_result *result)
{
    static const struct report_column columns[] = {{"claim", false, 0}, {"here", false, 0}, {"", false, 0}};
    struct report_table *table = report_table_new(columns, 3);
    for (size_t i = 0; i < result->claim_count; i++) {
        report_table_text(table, result->claims[i].claimed);
        report_table_text(table, result->claims[i].found);
        report_table_text(table, result->claims[i].holds ? "holds" : "**fails**");
    }
    report_table_write(file, table, REPORT_MARKDOWN);
    report_table_free(table);
}

static void print_text(FILE *file, const struct sim_result *result, enum report_form form)
{
    struct report_column columns[3 * SIM_COLUMNS_MAX];
    struct report_table *table = make_table(result, columns);
    fprintf(file,
            form == REPORT_MARKDOWN ? "# %s\n\n%s. Seed %" PRIu64 ", %" PRIu64 " replicates.\n\n"
                                    : "%s\n%s.\nSeed %" PRIu64 ", %" PRIu64 " replicates.\n\n",
            result->title, result->setting, result->seed, result->replicates);
    report_table_write(file, table, form);
    report_table_free(table);
    fputc('\n', file);
    if (form == REPORT_MARKDOWN)
        print_claims(file, result);
    for (size_t i = 0; form != REPORT_MARKDOWN && i < result->claim_count; i++)
        fprintf(file, "%s: %s: %s\n", result->claims[i].holds ? "holds" : "FAILS", result->claims[i].claimed,
                result->claims[i].found);
    for (unsigned i = 0; form == REPORT_MARKDOWN && i < result->plot_count; i++)
        fprintf(file, "\n![%s](%s-%s.svg)\n", result->plots[i].title, result->name, result->plots[i].name);
    if (form == REPORT_MARKDOWN && result->series_count)
        fprintf(file, "\n![%s](%s-%s.svg)\n", result->series_title, result->name, result->series_name);
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
        json_array_append_new(claims,
                              json_pack("{s:s, s:s, s:b}", "claim", result->claims[i].claimed, "found",
                                        result->claims[i].found, "holds", result->claims[i].holds));
    json_t *root = json_pack("{s:s, s:s, s:I, s:I, s:o, s:o}", "simulation", result->name, "setting",
                             result->setting, "seed", (json_int_t)result->seed, "replicates",
                             (json_int_t)result->replicates, "rows", rows, "claims", claims);
    json_dumpf(root, stdout, JSON_INDENT(1));
    putchar('\n');
    json_decref(root);
}

/* ---- files --------------------------------------------------------------------------------------------- */

static bool same_cell(const struct sim_result *result, size_t a, size_t b, int column)
{
    const struct sim_cell *left = &result->cells[a * result->column_count + (unsigned)column];
    const struct sim_cell *right = &result->cells[b * result->column_count + (unsigned)column];
    return result->columns[column].kind == SIM_TEXT ? strcmp(left->text, right->text) == 0
                                                    : left->number == right->number;
}

/* Rows of one curve have equal cells in the grouping columns. */
static bool same_group(const struct sim_result *result, const struct sim_plot *plot, size_t a, size_t b)
{
    return (plot->group[0] < 0 || same_cell(result, a, b, plot->group[0])) &&
           (plot->group[1] < 0 || same_cell(result, a, b, plot->group[1]));
}

static bool is_drawn(const struct sim_result *result, const struct sim_plot *plot, size_t row)
{
    unsigned column = plot->only < 0 ? 0 : (unsigned)plot->only;
    const struct sim_cell *cell = &result->cells[row * result->column_count + column];
    return plot->only == 0 ||
           (plot->only_text ? strcmp(cell->text, plot->only_text) == 0 : cell->number == plot->only_number);
}

static void name_curve(char *name, size_t room, const struct sim_result *result, const struct sim_plot *plot,
                       size_t row)
{
    size_t used = 0;
    name[0] = 0;
    for (int g = 0; g < 2 && plot->group[g] >= 0 && used < room; g++) {
        const struct sim_cell *cell = &result->cells[row * result->column_count + (unsigned)plot->group[g]];
        const char *comma = g ? ", " : "";
        if (result->columns[plot->group[g]].kind == SIM_TEXT)
            used += (size_t)snprintf(name + used, room - used, "%s%s", comma, cell->text);
        else
            used += (size_t)snprintf(name + used, room - used, "%s%g %s", comma, cell->number,
                                     result->columns[plot->group[g]].title);
    }
    if (plot->group[0] < 0)
        snprintf(name, room, "%s", plot->paper ? "testudo" : result->columns[plot->y].title);
}

enum { CURVES_MAX = 24 };

static int save_picture(struct base_error *error, const struct report_plot *picture,
                        const struct sim_result *result, const char *name)
{
    static const char *const endings[] = {"svg", "png"};
    char path[4096];
    int status = 0;
    for (int i = 0; i < 2 && status == 0; i++) {
        snprintf(path, sizeof path, "%s/%s-%s.%s", out, result->name, name, endings[i]);
        status = report_plot_save(error, picture, path);
    }
    return status;
}

static int draw(struct base_error *error, const struct sim_result *result, const struct sim_plot *plot)
{
    struct report_curve curves[CURVES_MAX + 2];
    char names[CURVES_MAX][96];
    size_t rows = result->row_count, count = 0;
    double *points = calloc(6 * rows + 4, sizeof *points), *next = points + 4;
    bool *taken = calloc(rows + 1, sizeof *taken);
    if (!points || !taken)
        abort();
    points[0] = INFINITY;
    for (size_t lead = 0; lead < rows && count < CURVES_MAX; lead++) {
        if (taken[lead] || !is_drawn(result, plot, lead))
            continue;
        size_t size = 0;
        for (size_t r = lead; r < rows; r++)
            size += is_drawn(result, plot, r) && same_group(result, plot, lead, r);
        double *x = next, *y = x + size, *low = y + size, *high = low + size;
        next = high + size;
        size_t at = 0;
        for (size_t r = lead; r < rows; r++) {
            if (!is_drawn(result, plot, r) || !same_group(result, plot, lead, r))
                continue;
            const struct sim_cell *row = result->cells + r * result->column_count;
            x[at] = row[plot->x].number;
            y[at] = row[plot->y].number;
            low[at] = row[plot->y].low;
            high[at] = row[plot->y].high;
            points[0] = fmin(points[0], x[at]);
            points[1] = fmax(points[1], x[at++]);
            taken[r] = true;
        }
        name_curve(names[count], sizeof names[count], result, plot, lead);
        curves[count] = (struct report_curve){.name = names[count],
                                              .count = size,
                                              .x = x,
                                              .y = y,
                                              .low = low,
                                              .high = high,
                                              .points = size == 1};
        count++;
    }
    if (plot->paper) {
        double *x = next, *y = x + rows;
        for (size_t r = 0; r < rows; r++) {
            x[r] = result->cells[r * result->column_count + (unsigned)plot->x].number;
            y[r] = result->cells[r * result->column_count + (unsigned)plot->paper].number;
        }
        curves[count++] = (struct report_curve){.name = plot->paper_name ? plot->paper_name : "paper",
                                                .count = rows,
                                                .x = x,
                                                .y = y,
                                                .points = true};
    }
    if (plot->limit_name) {
        points[2] = points[3] = plot->limit;
        curves[count++] =
            (struct report_curve){.name = plot->limit_name, .count = 2, .x = points, .y = points + 2};
    }
    const struct report_plot picture = {.title = plot->title,
                                        .x_label =
                                            plot->x_label ? plot->x_label : result->columns[plot->x].title,
                                        .y_label = result->columns[plot->y].title,
                                        .x_log = plot->x_log,
                                        .y_log = plot->y_log,
                                        .curves = curves,
                                        .curve_count = count};
    int status = save_picture(error, &picture, result, plot->name);
    free(points);
    free(taken);
    return status;
}

/* The series: a CSV file with a line for each point, and a picture. */
static int write_series(struct base_error *error, const struct sim_result *result)
{
    struct report_curve curves[SIM_SERIES_MAX];
    const struct report_column columns[] = {{"curve", false, 0},
                                            {result->series_x, true, -6},
                                            {result->series_y, true, -6},
                                            {"from", true, -6},
                                            {"to", true, -6}};
    struct report_table *table = report_table_new(columns, 5);
    for (unsigned i = 0; i < result->series_count; i++) {
        const struct sim_series *series = &result->series[i];
        double *y = calloc(series->count + 1, sizeof *y);
        if (!y)
            abort();
        for (size_t p = 0; p < series->count; p++) {
            report_table_text(table, series->name);
            report_table_number(table, series->x[p]);
            report_table_number(table, y[p] = series->y[p].number);
            report_table_number(table, series->y[p].low);
            report_table_number(table, series->y[p].high);
        }
        curves[i] =
            (struct report_curve){.name = series->name, .count = series->count, .x = series->x, .y = y};
    }
    const struct report_plot picture = {.title = result->series_title,
                                        .x_label = result->series_x,
                                        .y_label = result->series_y,
                                        .x_log = result->series_x_log,
                                        .curves = curves,
                                        .curve_count = result->series_count};
    char path[4096];
    snprintf(path, sizeof path, "%s/%s-%s.csv", out, result->name, result->series_name);
    int status = report_table_save(error, table, path, REPORT_CSV);
    report_table_free(table);
    if (status == 0)
        status = save_picture(error, &picture, result, result->series_name);
    for (unsigned i = 0; i < result->series_count; i++)
        free((void *)(uintptr_t)curves[i].y);
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
    for (unsigned i = 0; i < result->plot_count && status == 0; i++)
        status = draw(error, result, &result->plots[i]);
    return status || result->series_count == 0 ? status : write_series(error, result);
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
