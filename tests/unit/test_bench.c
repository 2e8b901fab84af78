/* bench: the arithmetic, and the forms of a result. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>
#include <math.h>

#include "bench/bench.h"
#include "bench/private.h"

static void test_spread(void **state)
{
    (void)state;
    double odd[] = {3, NAN, 1, 2}, even[] = {4, 1, 3, 2}, none[] = {NAN};
    struct bench_spread s = bench_spread_of(odd, 4);
    assert_true(s.median == 2 && s.min == 1 && s.max == 3 && s.count == 3);
    s = bench_spread_of(even, 4);
    assert_true(s.median == 2.5 && s.min == 1 && s.max == 4);
    s = bench_spread_of(none, 1);
    assert_true(isnan(s.median) && isnan(s.min) && s.count == 0);
    assert_true(isnan(bench_spread_of(NULL, 0).median));
}

static void test_geomean(void **state)
{
    (void)state;
    double values[] = {1, NAN, 4, 2};
    assert_true(fabs(bench_geomean(values, 4) - 2) < 1e-12);
    assert_true(isnan(bench_geomean(values + 1, 1)));
}

/* The loss is Amdahl's: a share u s of the time takes k times as long. */
static void test_prediction(void **state)
{
    (void)state;
    assert_true(bench_predicted_loss(0.159, 0, 30) == 0);
    assert_true(bench_predicted_loss(0.159, 1, 1) == 0);
    for (double u = 0.1; u < 1; u += 0.2)
        for (double s = 0.1; s <= 1; s += 0.3)
            for (double k = 1; k < 40; k += 7) {
                double time = (1 - u * s) + u * s * k, loss = bench_predicted_loss(u, s, k);
                assert_true(fabs(loss - (1 - 1 / time)) < 1e-12);
                assert_true(fabs(bench_slowdown_from(u, s, loss) - k) < 1e-9);
            }
    assert_true(isnan(bench_slowdown_from(0, 1, 0.5)));
    assert_true(isnan(bench_slowdown_from(0.5, 1, 1)));
}

static void test_lists(void **state)
{
    (void)state;
    assert_true(bench__listed(NULL, "gzip"));
    assert_true(bench__listed("bzip2,g*", "gzip"));
    assert_false(bench__listed("bzip2,lua*", "gzip"));
    assert_false(bench__listed("", "gzip"));
}

static void test_ways(void **state)
{
    (void)state;
    struct bench_way ways[BENCH_WAYS_MAX];
    struct base_error error;
    assert_int_equal(bench__ways(&error, ways, "off,full-stacks", false), 3);
    assert_string_equal(ways[0].name, "native");
    assert_false(ways[0].supervised);
    assert_true(ways[1].supervised && ways[1].mode == WIRE_MODE_OFF && !ways[1].heap_stacks);
    assert_true(ways[2].supervised && ways[2].mode == WIRE_MODE_FULL && ways[2].heap_stacks);
    assert_int_equal(bench__ways(&error, ways, "full,fast", false), -1);
    assert_int_equal(error.exit, BASE_EXIT_USAGE);
    assert_non_null(strstr(error.text, "'fast'"));
}

static void test_result(void **state)
{
    (void)state;
    static const struct bench_column columns[] = {{"program", "program", BENCH_TEXT, 0},
                                                  {"ratio", "ratio", BENCH_NUMBER, 2},
                                                  {"output_equal", "equal", BENCH_FLAG, 0}};
    struct bench_result result;
    bench__begin(&result, "some", "Some figures", columns, 3);
    bench__note(&result, "a %s", "setting");
    for (int i = 0; i < 100; i++) {
        bench__text(&result, "gzip");
        bench__number(&result, i == 1 ? (double)NAN : 1.25);
        bench__number(&result, i % 2);
    }
    bench__sum(&result, "geomean", "full", 1.5);
    bench__sum(&result, NULL, "user_share", 0.25);
    char *text = bench_result_json(&result);
    json_t *root = json_loads(text, 0, NULL), *rows = json_object_get(root, "rows");
    assert_int_equal(json_array_size(rows), 100);
    json_t *second = json_array_get(rows, 1);
    assert_string_equal(json_string_value(json_object_get(second, "program")), "gzip");
    assert_true(json_is_null(json_object_get(second, "ratio")));
    assert_true(json_is_true(json_object_get(second, "output_equal")));
    assert_true(json_is_false(json_object_get(json_array_get(rows, 2), "output_equal")));
    assert_true(json_number_value(json_object_get(json_object_get(root, "geomean"), "full")) == 1.5);
    assert_true(json_number_value(json_object_get(root, "user_share")) == 0.25);
    json_decref(root);
    free(text);
    bench_result_free(&result);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_spread), cmocka_unit_test(test_geomean), cmocka_unit_test(test_prediction),
        cmocka_unit_test(test_lists),  cmocka_unit_test(test_ways),    cmocka_unit_test(test_result),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
