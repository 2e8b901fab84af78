/* The simulator's statistics, and that its figures do not depend on chance, only on the seed. */
#include "sim/sim.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void intervals(void **state)
{
    (void)state;
    /* Student's t by the book: mean 3, sd sqrt(2.5), t(4) = 2.776. */
    const double five[] = {1, 2, 3, 4, 5};
    struct sim_cell cell = sim_mean(five, 5);
    assert_true(cell.number == 3);
    assert_true(fabs(cell.high - 3 - 2.776 * sqrt(2.5 / 5)) < 0.01);
    assert_true(fabs(cell.high + cell.low - 6) < 1e-12);
    cell = sim_mean(five, 1);
    assert_true(cell.number == 1 && cell.low == 1 && cell.high == 1);
    cell = sim_part(0, 100);
    assert_true(cell.number == 0 && cell.low == 0 && cell.high > 0.02 && cell.high < 0.05);
    cell = sim_part(100, 100);
    assert_true(cell.number == 1 && cell.high == 1);
    double many[1001];
    for (int i = 0; i < 1001; i++)
        many[i] = 1000 - i;
    cell = sim_range(many, 1001);
    assert_true(cell.number == 500 && cell.low == 25 && cell.high == 975);
}

/* An interval of 95 percent holds the truth about 95 times of 100. */
static void intervals_cover(void **state)
{
    (void)state;
    struct core_rng rng;
    core_rng_seed(&rng, 3);
    int covered = 0;
    for (int round = 0; round < 2000; round++) {
        double samples[12];
        for (int i = 0; i < 12; i++)
            samples[i] = core_rng_unit(&rng) + core_rng_unit(&rng) + core_rng_unit(&rng);
        struct sim_cell cell = sim_mean(samples, 12);
        covered += cell.low <= 1.5 && cell.high >= 1.5;
    }
    assert_true(covered > 1860 && covered < 1940);
}

static void run_all(void **state)
{
    (void)state;
    for (const struct sim_simulation *s = sim_simulations; s->name; s++) {
        struct sim_options options = {
            .seed = 11, .replicates = 20, .members = 60, .subverted = 0.05, .loss = 0.05};
        struct sim_result a, b, c;
        struct base_error error;
        assert_int_equal(s->run(&error, &a, &options), 0);
        assert_int_equal(s->run(&error, &b, &options), 0);
        options.seed = 12;
        assert_int_equal(s->run(&error, &c, &options), 0);
        assert_true(a.row_count == b.row_count && a.row_count == c.row_count && a.row_count > 0);
        bool differs = false;
        for (size_t i = 0; i < a.row_count * a.column_count; i++) {
            if (isnan(a.cells[i].number))
                assert_true(isnan(b.cells[i].number));
            else
                assert_true(a.cells[i].number == b.cells[i].number && a.cells[i].low == b.cells[i].low);
            differs |= !isnan(a.cells[i].number) && a.cells[i].number != c.cells[i].number;
            if (a.columns[i % a.column_count].kind == SIM_TEXT)
                assert_non_null(a.cells[i].text);
        }
        assert_true(differs || strcmp(s->name, "table2") == 0);
        sim_result_free(&a);
        sim_result_free(&b);
        sim_result_free(&c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(intervals),
        cmocka_unit_test(intervals_cover),
        cmocka_unit_test(run_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
