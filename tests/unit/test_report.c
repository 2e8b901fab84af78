/* report: tables, plots, progress. */
#include "report/report.h"

#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static const struct report_column columns[] = {
    {"function", false, 0}, {"load %", true, 2}, {"victims", true, -3}};

static struct report_table *sample(void)
{
    struct report_table *table = report_table_new(columns, 3);
    report_table_text(table, "größe");
    report_table_number(table, 12.345678);
    report_table_number(table, 1234567);
    report_table_text(table, "a|b,\"c\"");
    report_table_number(table, NAN);
    report_table_number(table, 0.5);
    return table;
}

static void assert_written(const char *expected, enum report_form form)
{
    char *data = NULL;
    size_t bytes;
    FILE *out = open_memstream(&data, &bytes);
    struct report_table *table = sample();
    report_table_write(out, table, form);
    fclose(out);
    assert_string_equal(data, expected);
    free(data);
    report_table_free(table);
}

static void table_aligns_text(void **state)
{
    (void)state;
    assert_written("function  load %   victims\n"
                   "--------  ------  --------\n"
                   "größe      12.35  1.23e+06\n"
                   "a|b,\"c\"        -       0.5\n",
                   REPORT_TEXT);
}

static void table_quotes_csv(void **state)
{
    (void)state;
    assert_written("function,load %,victims\r\n"
                   "größe,12.345678,1234567\r\n"
                   "\"a|b,\"\"c\"\"\",,0.5\r\n",
                   REPORT_CSV);
}

static void table_escapes_markdown(void **state)
{
    (void)state;
    assert_written("| function | load % | victims |\n"
                   "|---|---:|---:|\n"
                   "| größe | 12.35 | 1.23e+06 |\n"
                   "| a\\|b,\"c\" | - | 0.5 |\n",
                   REPORT_MARKDOWN);
}

static void table_without_rows_has_its_head(void **state)
{
    (void)state;
    char *data = NULL;
    size_t bytes;
    FILE *out = open_memstream(&data, &bytes);
    struct report_table *table = report_table_new(columns, 3);
    report_table_write(out, table, REPORT_CSV);
    fclose(out);
    assert_string_equal(data, "function,load %,victims\r\n");
    free(data);
    report_table_free(table);
}

static void table_saves_or_tells_why_not(void **state)
{
    (void)state;
    struct base_error error;
    struct report_table *table = sample();
    assert_int_equal(report_table_save(&error, table, "/nonexistent/table.csv", REPORT_CSV), -1);
    assert_non_null(strstr(error.text, "/nonexistent/table.csv"));
    report_table_free(table);
}

/* Draws into a fresh folder, checks the first bytes of the picture and that nothing else is left there. */
static void assert_drawn(const char *name, const char *begins)
{
    double x[] = {1, 10, 100, NAN}, y[] = {1, 2, 3, 4}, low[] = {0.5, 1.5, 2.5, 3},
           high[] = {1.5, 2.5, 3.5, 5};
    struct report_curve curves[] = {
        {.name = "it's one", .count = 4, .x = x, .y = y, .low = low, .high = high},
        {.name = "two", .count = 3, .x = x, .y = high, .points = true}};
    struct report_plot plot = {.title = "T'; system 'false'",
                               .x_label = "members",
                               .y_label = "victims",
                               .x_log = true,
                               .curves = curves,
                               .curve_count = 2};
    char folder[] = "/tmp/test_report.XXXXXX", path[64], *data;
    size_t bytes;
    struct base_error error = {0};
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (report_plot_save(&error, &plot, path)) {
        rmdir(folder);
        assert_int_equal(error.exit, BASE_EXIT_ENVIRONMENT);
        skip();
    }
    assert_int_equal(base_read_file(&error, &data, &bytes, path), 0);
    assert_true(bytes > 1000);
    assert_memory_equal(data, begins, strlen(begins));
    free(data);
    unlink(path);
    assert_int_equal(rmdir(folder), 0);
}

static void plot_draws_svg(void **state)
{
    (void)state;
    assert_drawn("a.svg", "<?xml");
}

static void plot_draws_png(void **state)
{
    (void)state;
    assert_drawn("a.png", "\x89PNG");
}

static void plot_refuses_other_formats(void **state)
{
    (void)state;
    struct base_error error;
    struct report_plot plot = {0};
    assert_int_equal(report_plot_save(&error, &plot, "/tmp/x.jpeg"), -1);
    assert_int_equal(error.exit, BASE_EXIT_USAGE);
    assert_int_equal(report_plot_save(&error, &plot, "/nonexistent/x.svg"), -1);
}

static void fault_json_is_one_line(void **state)
{
    (void)state;
    struct report_fault fault = {.id = "0123456789abcdef",
                                 .kind = "heap-overflow",
                                 .access = "write",
                                 .access_bytes = 4,
                                 .has_distance = true,
                                 .distance_bytes = 8,
                                 .function = "quo\"te\n",
                                 .object = "/usr/bin/x",
                                 .outcome = "reported",
                                 .detected_by = "check",
                                 .count = 1};
    char *line = report_fault_json(&fault);
    assert_non_null(line);
    assert_null(strchr(line, '\n'));
    assert_non_null(strstr(line, "\"distance\":8"));
    assert_non_null(strstr(line, "\"kind\":\"heap-overflow\""));
    free(line);
}

static void tally_counts_identical_faults_once(void **state)
{
    (void)state;
    struct base_error error;
    struct report_tally *tally;
    const struct report_fault *faults;
    struct report_fault fault = {.id = "a", .kind = "abort", .outcome = "reported", .count = 1};
    assert_int_equal(report_tally_open(&error, &tally, NULL), 0);
    assert_true(report_tally_add(tally, &fault));
    assert_false(report_tally_add(tally, &fault));
    fault.outcome = "undone";
    assert_true(report_tally_add(tally, &fault));
    assert_int_equal(report_tally_total(tally), 3);
    assert_int_equal(report_tally_faults(tally, &faults), 2);
    assert_int_equal(faults[0].count, 2);
    assert_int_equal(report_tally_close(&error, tally), 0);
}

static void colours_need_a_terminal(void **state)
{
    (void)state;
    FILE *file = tmpfile();
    assert_non_null(file);
    assert_false(report_colour(file));
    fclose(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(table_aligns_text),
        cmocka_unit_test(table_quotes_csv),
        cmocka_unit_test(table_escapes_markdown),
        cmocka_unit_test(table_without_rows_has_its_head),
        cmocka_unit_test(table_saves_or_tells_why_not),
        cmocka_unit_test(plot_draws_svg),
        cmocka_unit_test(plot_draws_png),
        cmocka_unit_test(plot_refuses_other_formats),
        cmocka_unit_test(fault_json_is_one_line),
        cmocka_unit_test(tally_counts_identical_faults_once),
        cmocka_unit_test(colours_need_a_terminal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
