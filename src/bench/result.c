/* Rows of figures, and their forms: text, Markdown, CSV, JSON, plots. */
#define _GNU_SOURCE
#include "bench/private.h"
#include "report/report.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

enum { COLUMNS_MAX = 24, CURVES_MAX = 24 };

void *bench__allocate(size_t count, size_t bytes)
{
    void *memory = calloc(count ? count : 1, bytes);
    if (memory)
        return memory;
    base_warn("out of memory");
    abort();
}

void bench__begin(struct bench_result *result, const char *name, const char *title,
                  const struct bench_column *columns, unsigned count)
{
    *result = (struct bench_result){.name = name, .title = title, .columns = columns, .column_count = count};
    result->plot.group = -1;
}

static struct bench_cell *next_cell(struct bench_result *result)
{
    if (result->cell_count == result->cell_room) {
        size_t room = result->cell_room ? 2 * result->cell_room : 64;
        struct bench_cell *cells = bench__allocate(room, sizeof *cells);
        if (result->cell_count)
            memcpy(cells, result->cells, result->cell_count * sizeof *cells);
        free(result->cells);
        result->cells = cells;
        result->cell_room = room;
    }
    return &result->cells[result->cell_count++];
}

void bench__text(struct bench_result *result, const char *text)
{
    struct bench_cell *cell = next_cell(result);
    cell->text = strcpy(bench__allocate(strlen(text) + 1, 1), text);
}

void bench__number(struct bench_result *result, double number)
{
    next_cell(result)->number = number;
}

void bench__sum(struct bench_result *result, const char *group, const char *key, double value)
{
    if (result->sum_count == BENCH_SUMS_MAX)
        return;
    struct bench_sum *sum = &result->sums[result->sum_count++];
    sum->group = group;
    sum->value = value;
    snprintf(sum->key, sizeof sum->key, "%s", key);
}

void bench__note(struct bench_result *result, const char *format, ...)
{
    char line[512];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    base_text_printf(&result->setting, "%s\n", line);
}

/* The processor's name for itself. */
static void processor(char *name, size_t room)
{
    char *text = NULL;
    size_t bytes;
    snprintf(name, room, "an unknown processor");
    if (base_read_file(NULL, &text, &bytes, "/proc/cpuinfo"))
        return;
    const char *found = strstr(text, "model name");
    if (found && (found = strchr(found, ':')))
        snprintf(name, room, "%.*s", (int)strcspn(found + 2, "\n"), found + 2);
    free(text);
}

void bench__note_machine(struct bench_result *result)
{
    char name[128], date[32];
    struct utsname kernel;
    double load[1] = {0};
    time_t now = (time_t)(base_realtime_ns() / 1000000000u);
    struct tm utc;
    processor(name, sizeof name);
    uname(&kernel);
    if (getloadavg(load, 1) < 1)
        load[0] = NAN;
    gmtime_r(&now, &utc);
    strftime(date, sizeof date, "%Y-%m-%d", &utc);
    bench__note(result, "%s, %s, %ld processors, Linux %s, load %.1f at the start", date, name,
                sysconf(_SC_NPROCESSORS_ONLN), kernel.release, load[0]);
}

void bench_result_free(struct bench_result *result)
{
    for (size_t i = 0; i < result->cell_count; i++)
        free(result->cells[i].text);
    free(result->cells);
    base_text_free(&result->setting);
    *result = (struct bench_result){0};
}

static size_t row_count(const struct bench_result *result)
{
    return result->column_count ? result->cell_count / result->column_count : 0;
}

static struct report_table *make_table(struct report_column *columns, const struct bench_result *result)
{
    for (unsigned c = 0; c < result->column_count; c++)
        columns[c] = (struct report_column){result->columns[c].title, result->columns[c].kind == BENCH_NUMBER,
                                            result->columns[c].decimals};
    struct report_table *table = report_table_new(columns, result->column_count);
    for (size_t i = 0; i < row_count(result) * result->column_count; i++) {
        const struct bench_cell *cell = &result->cells[i];
        if (cell->text)
            report_table_text(table, cell->text);
        else if (result->columns[i % result->column_count].kind == BENCH_FLAG)
            report_table_text(table, isnan(cell->number) ? "-" : cell->number != 0 ? "yes" : "NO");
        else
            report_table_number(table, cell->number);
    }
    return table;
}

void bench_result_print(FILE *file, const struct bench_result *result, bool markdown)
{
    struct report_column columns[COLUMNS_MAX];
    struct report_table *table = make_table(columns, result);
    fprintf(file, markdown ? "# %s\n\n" : "%s\n", result->title);
    for (const char *line = result->setting.data; line && *line;) {
        int bytes = (int)strcspn(line, "\n");
        fprintf(file, "%s%.*s\n", markdown ? "* " : "", bytes, line);
        line += bytes + (line[bytes] == '\n');
    }
    fputc('\n', file);
    report_table_write(file, table, markdown ? REPORT_MARKDOWN : REPORT_TEXT);
    report_table_free(table);
    if (result->sum_count)
        fputc('\n', file);
    const char *group = NULL;
    for (unsigned i = 0; i < result->sum_count; i++) {
        const struct bench_sum *sum = &result->sums[i];
        bool same = i && sum->group && group && strcmp(sum->group, group) == 0;
        if (!same)
            fprintf(file, "%s%s%s%s", i ? "\n" : "", markdown ? "* " : "", sum->group ? sum->group : "",
                    sum->group ? ": " : "");
        fprintf(file, "%s%s %.4g", same ? ", " : "", sum->key, sum->value);
        group = sum->group;
    }
    if (result->sum_count)
        fputc('\n', file);
    if (markdown && result->plot.y_count)
        fprintf(file, "\n![%s](%s.svg)\n", result->title, result->name);
}

static json_t *real_or_null(double number)
{
    if (!isfinite(number))
        return json_null();
    return number == floor(number) && fabs(number) < 1e15 ? json_integer((json_int_t)number)
                                                          : json_real(number);
}

char *bench_result_json(const struct bench_result *result)
{
    json_t *rows = json_array(), *root = json_object();
    for (size_t r = 0; r < row_count(result); r++) {
        json_t *row = json_object();
        for (unsigned c = 0; c < result->column_count; c++) {
            const struct bench_cell *cell = &result->cells[r * result->column_count + c];
            const struct bench_column *column = &result->columns[c];
            json_object_set_new(row, column->key,
                                cell->text                   ? json_string(cell->text)
                                : isnan(cell->number)        ? json_null()
                                : column->kind == BENCH_FLAG ? json_boolean(cell->number != 0)
                                                             : real_or_null(cell->number));
        }
        json_array_append_new(rows, row);
    }
    json_object_set_new(root, "bench", json_string(result->name));
    json_object_set_new(root, "setting", json_string(result->setting.data ? result->setting.data : ""));
    json_object_set_new(root, "rows", rows);
    for (unsigned i = 0; i < result->sum_count; i++) {
        json_t *into = root;
        if (result->sums[i].group && !(into = json_object_get(root, result->sums[i].group))) {
            into = json_object();
            json_object_set_new(root, result->sums[i].group, into);
        }
        json_object_set_new(into, result->sums[i].key, real_or_null(result->sums[i].value));
    }
    char *text = json_dumps(root, JSON_INDENT(1));
    json_decref(root);
    return text;
}

/* ---- plots ---- */

static const char *text_at(const struct bench_result *result, size_t row, int column)
{
    return result->cells[row * result->column_count + (unsigned)column].text;
}

/* Place of a row's label among the distinct ones, from 1. */
static size_t label_place(const char *const *labels, size_t count, const struct bench_result *result,
                          size_t row)
{
    size_t place = 0;
    while (place < count && strcmp(labels[place], text_at(result, row, result->plot.label)) != 0)
        place++;
    return place + 1;
}

static int write_plots(struct base_error *error, const struct bench_result *result, const char *out)
{
    const struct bench_plot *plot = &result->plot;
    size_t rows = row_count(result);
    struct report_curve curves[CURVES_MAX];
    size_t count = 0;
    double *points = bench__allocate(2 * (rows + 1) * CURVES_MAX, sizeof *points), *next = points;
    const char **labels = bench__allocate(rows + 1, sizeof *labels);
    size_t label_count = 0;
    char path[BENCH_PATH];
    for (size_t r = 0; r < rows && plot->x < 0; r++)
        if (label_place(labels, label_count, result, r) > label_count)
            labels[label_count++] = text_at(result, r, plot->label);
    for (size_t lead = 0; lead < rows; lead++) {
        bool first = plot->group >= 0 || lead == 0;
        for (size_t r = 0; r < lead && plot->group >= 0 && first; r++)
            first = strcmp(text_at(result, r, plot->group), text_at(result, lead, plot->group)) != 0;
        for (int y = 0; y < plot->y_count && first && count < CURVES_MAX; y++) {
            double *xs = next, *ys = next + rows;
            size_t at = 0;
            next += 2 * rows;
            for (size_t r = lead; r < rows; r++) {
                if (plot->group >= 0 &&
                    strcmp(text_at(result, r, plot->group), text_at(result, lead, plot->group)) != 0)
                    continue;
                const struct bench_cell *row = result->cells + r * result->column_count;
                xs[at] =
                    plot->x < 0 ? (double)label_place(labels, label_count, result, r) : row[plot->x].number;
                ys[at++] = row[plot->y[y]].number;
            }
            curves[count++] =
                (struct report_curve){.name = plot->group >= 0 ? text_at(result, lead, plot->group)
                                                               : result->columns[plot->y[y]].title,
                                      .count = at,
                                      .x = xs,
                                      .y = ys,
                                      .points = plot->x < 0};
        }
    }
    const struct report_plot drawing = {.title = result->title,
                                        .x_label = plot->x_label,
                                        .names = plot->x < 0 ? labels : NULL,
                                        .name_count = label_count,
                                        .y_label = plot->y_label,
                                        .x_log = plot->x_log,
                                        .y_log = plot->y_log,
                                        .curves = curves,
                                        .curve_count = count};
    static const char *const endings[] = {"svg", "png"};
    int status = 0;
    for (int i = 0; i < 2 && status == 0; i++) {
        snprintf(path, sizeof path, "%s/%s.%s", out, result->name, endings[i]);
        status = report_plot_save(error, &drawing, path);
    }
    free(labels);
    free(points);
    return status;
}

int bench_result_folder(struct base_error *error, const char *out)
{
    if (mkdir(out, 0777) && errno != EEXIST)
        return base_fail(error, BASE_EXIT_FAILURE, "cannot make the folder %s: %s", out, strerror(errno));
    return 0;
}

int bench_result_save(struct base_error *error, const struct bench_result *result, const char *out)
{
    char path[BENCH_PATH], *text = NULL;
    size_t bytes = 0;
    if (bench_result_folder(error, out))
        return -1;
    struct report_column columns[COLUMNS_MAX];
    struct report_table *table = make_table(columns, result);
    if (snprintf(path, sizeof path, "%s/%s.csv", out, result->name) + 8 > BENCH_PATH) {
        report_table_free(table);
        return base_fail(error, BASE_EXIT_USAGE, "the path of %.60s... is too long", out);
    }
    int status = report_table_save(error, table, path, REPORT_CSV);
    report_table_free(table);
    FILE *page = status ? NULL : open_memstream(&text, &bytes);
    if (!page)
        return status ? -1 : base_fail(error, BASE_EXIT_FAILURE, "out of memory");
    bench_result_print(page, result, true);
    fclose(page);
    snprintf(path, sizeof path, "%s/%s.md", out, result->name);
    status = base_write_file(error, path, text, bytes);
    free(text);
    return status || !result->plot.y_count ? status : write_plots(error, result, out);
}
