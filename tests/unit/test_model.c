/* The model against the paper's figures, closed forms and invariants. */
#include "model/model.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void check_near(double is, double should)
{
    assert_true(fabs(is - should) <= 1e-9 * fmax(1, fabs(should)));
}

/* AC Table 2: x = 100, 200, 300. */
static void table_2(void **state)
{
    (void)state;
    const double cost[] = {100, 200, 300};
    double scratch[3], relative[3], demand[3];
    assert_true(model_total(cost, 3) == 600);
    const int floored[] = {16, 33, 50};
    for (int i = 0; i < 3; i++)
        assert_int_equal((int)(100 * cost[i] / 600), floored[i]);
    double unit = model_work_unit(scratch, cost, 3, 1);
    assert_true(unit == 100);
    for (double a1 = 1; a1 <= 10; a1 *= 2)
        for (double a2 = 1; a2 <= 10; a2 += 3) {
            const double risk[] = {a1, a2, 5};
            check_near(model_work(relative, demand, cost, risk, 3, unit), a1 + 2 * a2 + 15);
            assert_true(relative[0] == 1 && relative[1] == 2 && relative[2] == 3);
            check_near(demand[0], a1);
            check_near(demand[1], 2 * a2);
            check_near(demand[2], 15);
        }
}

/* AC Table 1: six slice sizes of 158.93 percent weighted work. */
static void table_1_members(void **state)
{
    (void)state;
    const double slice[] = {10.34, 5.24, 0.25, 0.14, 0.04, 0.01};
    const double members[] = {15, 30, 635, 1135, 3973, 15893};
    for (int i = 0; i < 6; i++)
        assert_true(model_members(158.93, slice[i]) == members[i]);
    assert_true(model_members(50, 60) == 1);
    assert_true(model_members(100, 10) == 10);
}

static void work_unit_is_the_k_cheapest(void **state)
{
    (void)state;
    const double cost[] = {0, 9, 4, 0, 7, 4, 1};
    double scratch[7];
    const double sums[] = {1, 5, 9, 16, 25, 25};
    for (size_t k = 1; k <= 6; k++)
        assert_true(model_work_unit(scratch, cost, 7, k) == sums[k - 1]);
    assert_true(model_work_unit(scratch, cost, 1, 3) == 0);
}

/* AC eq. 3 at its two ends. */
static void detection(void **state)
{
    (void)state;
    double coverage[40];
    for (int i = 0; i < 40; i++)
        coverage[i] = 1;
    check_near(model_p_detect(coverage, 40), 1);
    for (int i = 0; i < 40; i++)
        coverage[i] = 0.1034;
    check_near(model_p_detect(coverage, 40), 0.1034);
    check_near(model_expected_victims(0.25), 3);
    assert_true(isinf(model_expected_victims(0)));
    const double share[] = {1, 0.5, 0}, value[] = {1, 2, 1};
    check_near(model_p_first(share, value, 3), 0.5);
}

/* 4 -> 3 -> 0 (input), 2 -> 1 -> 3, 5 <-> 6 far from input, 3 -> 4 closes a cycle. */
static void distances(void **state)
{
    (void)state;
    const uint32_t from[] = {4, 3, 2, 1, 5, 6, 3}, to[] = {3, 0, 1, 3, 6, 5, 4};
    const bool input[] = {true, false, false, false, false, false, false};
    const uint32_t want[] = {0, 2, 3, 1, 2, MODEL_UNREACHABLE, MODEL_UNREACHABLE};
    uint32_t first[8], caller[7], distance[7], next[7], queue[7];
    model_graph_by_callee(first, caller, from, to, 7, 7);
    assert_int_equal(first[7], 7);
    model_distances(distance, next, queue, first, caller, input, 7);
    for (int f = 0; f < 7; f++)
        assert_int_equal(distance[f], want[f]);
    assert_int_equal(next[2], 1);
    assert_int_equal(next[0], MODEL_NO_FUNCTION);
    assert_int_equal(next[5], MODEL_NO_FUNCTION);
}

static void risk_policies(void **state)
{
    (void)state;
    assert_true(model_risk(MODEL_RISK_FLAT, 3, 10, 3) == 10);
    assert_true(model_risk(MODEL_RISK_FLAT, 4, 10, 3) == 1);
    assert_true(model_risk(MODEL_RISK_EXP, 0, 2, 3) == 16);
    assert_true(model_risk(MODEL_RISK_EXP, 3, 2, 3) == 2);
    assert_true(model_risk(MODEL_RISK_EXP, MODEL_UNREACHABLE, 2, 3) == 1);
    assert_true(model_risk(MODEL_RISK_NONE, 0, 2, 3) == 1);
    assert_true(model_risk(MODEL_RISK_EXP, 0, 10, 60) == MODEL_RISK_MAX);
}

/* ---- slices ---- */

struct division {
    struct model_task task;
    struct model_holding *holdings;
    size_t count;
    double *load;
};

static struct division divide(const struct model_policy *policy, const double *relative,
                              const uint64_t *tokens, size_t n, uint32_t members, uint32_t quanta)
{
    struct division d = {.task = {.functions = n,
                                  .members = members,
                                  .quanta = quanta,
                                  .relative = relative,
                                  .tokens = tokens,
                                  .seed = 7,
                                  .epoch = 3}};
    uint32_t *scratch = malloc(model_scratch_room(&d.task) * sizeof *scratch);
    d.load = malloc(members * sizeof *d.load);
    size_t room = policy->assign(NULL, 0, d.load, scratch, &d.task);
    d.holdings = malloc((room + 1) * sizeof *d.holdings);
    d.count = policy->assign(d.holdings, room, d.load, scratch, &d.task);
    assert_true(d.count <= room);
    free(scratch);
    return d;
}

static void drop(struct division *d)
{
    free(d->holdings);
    free(d->load);
}

/* Every divided function has floor or ceil of tokens / Q watchers in every quantum, nobody holds one twice, loads are what
   the holdings say and sum to the work. Returns the unfairness. */
static double check_central(const struct division *d)
{
    const struct model_task *t = &d->task;
    double *load = calloc(t->members, sizeof *load);
    uint32_t *watchers = calloc(t->functions * t->quanta, sizeof *watchers);
    uint64_t *held = calloc(t->functions, sizeof *held);
    uint8_t *holds = calloc(t->functions * t->members, 1);
    for (size_t i = 0; i < d->count; i++) {
        const struct model_holding *h = &d->holdings[i];
        assert_true(h->member < t->members && h->function < t->functions);
        assert_true(h->quanta >= 1 && h->quanta <= t->quanta && h->first < t->quanta);
        assert_false(holds[h->function * t->members + h->member]);
        holds[h->function * t->members + h->member] = 1;
        held[h->function] += h->quanta;
        load[h->member] += t->relative[h->function] * h->quanta / t->quanta;
        for (uint32_t q = 0; q < t->quanta; q++)
            watchers[h->function * t->quanta + q] += model_holds(h, q, t->quanta);
    }
    for (size_t f = 0; f < t->functions; f++) {
        bool divided = t->tokens[f] && t->tokens[f] < (uint64_t)t->members * t->quanta;
        assert_true(held[f] == (divided ? t->tokens[f] : 0));
        for (uint32_t q = 0; divided && q < t->quanta; q++) {
            assert_true(watchers[f * t->quanta + q] >= t->tokens[f] / t->quanta);
            assert_true(watchers[f * t->quanta + q] <= (t->tokens[f] + t->quanta - 1) / t->quanta);
        }
    }
    for (uint32_t m = 0; m < t->members; m++)
        check_near(d->load[m], load[m]);
    double unfairness = model_unfairness(load, t->members);
    free(load);
    free(watchers);
    free(held);
    free(holds);
    return unfairness;
}

/* All programs of up to four functions with costs 0..5 and risks 1..3, for 1 to 5 members. */
static void central_small_sizes(void **state)
{
    (void)state;
    const uint32_t quanta = 12;
    for (size_t n = 1; n <= 4; n++) {
        size_t programs = 1;
        for (size_t f = 0; f < n; f++)
            programs *= 6;
        for (size_t program = 0; program < programs; program++)
            for (uint32_t members = 1; members <= 5; members++)
                for (unsigned risks = 0; risks < 3; risks++) {
                    double relative[4];
                    uint64_t tokens[4];
                    size_t code = program;
                    double heaviest = 0;
                    for (size_t f = 0; f < n; f++, code /= 6) {
                        relative[f] = (double)(code % 6);
                        tokens[f] = model_tokens(1 + (double)((f + risks) % 3), members, quanta);
                        heaviest = fmax(heaviest, relative[f]);
                    }
                    struct division d = divide(&model_central, relative, tokens, n, members, quanta);
                    double unfairness = check_central(&d), fair = model_fair_load(&d.task);
                    /* One token of the heaviest function is the grain, and rounding may cost it on either side. */
                    if (fair > 0)
                        assert_true(unfairness * fair <= 2 * heaviest / quanta + 1e-9);
                    drop(&d);
                }
    }
}

/* Random programs, skewed costs, fractional risks: fair within eps when Q is what eps asks for. */
static void central_random(void **state)
{
    (void)state;
    struct core_rng rng;
    core_rng_seed(&rng, 42);
    for (int round = 0; round < 120; round++) {
        size_t n = 1 + core_rng_below(&rng, 60);
        uint32_t members = 1 + (uint32_t)core_rng_below(&rng, 80);
        double relative[60], risk[60], work = 0, heaviest = 0;
        uint64_t tokens[60];
        for (size_t f = 0; f < n; f++) {
            relative[f] = pow(10, 3 * core_rng_unit(&rng));
            risk[f] = core_rng_below(&rng, 3) ? 1 : 1 + 9 * core_rng_unit(&rng);
            work += relative[f] * fmin(risk[f], members);
            heaviest = fmax(heaviest, relative[f]);
        }
        uint32_t quanta = model_quanta(heaviest, work / members, 0.01);
        if (quanta > 12000)
            continue;
        for (size_t f = 0; f < n; f++)
            tokens[f] = model_tokens(risk[f], members, quanta);
        struct division d = divide(&model_central, relative, tokens, n, members, quanta);
        assert_true(check_central(&d) <= 0.02);
        drop(&d);
    }
}

/* Coins: nobody above W/N by more than one token, the same tosses again for the same names, other ones for others. */
static void coin_loads(void **state)
{
    (void)state;
    enum { N = 50, MEMBERS = 200, QUANTA = 1200 };
    double relative[N];
    uint64_t tokens[N];
    for (int f = 0; f < N; f++) {
        relative[f] = 1 + f % 7;
        tokens[f] = model_tokens(1 + f % 3, MEMBERS, QUANTA);
    }
    struct division a = divide(&model_coin, relative, tokens, N, MEMBERS, QUANTA);
    double fair = model_fair_load(&a.task), sum = 0;
    for (int m = 0; m < MEMBERS; m++) {
        assert_true(a.load[m] <= fair + 7.0 / QUANTA);
        sum += a.load[m];
    }
    assert_true(sum > 0.98 * fair * MEMBERS);
    struct division b = divide(&model_coin, relative, tokens, N, MEMBERS, QUANTA);
    assert_int_equal(a.count, b.count);
    assert_memory_equal(a.holdings, b.holdings, a.count * sizeof *a.holdings);
    drop(&a);
    drop(&b);
}

/* Statistical coverage: heavy functions get the watchers that they ask for on average over members. */
static void coin_is_weighted(void **state)
{
    (void)state;
    enum { N = 100, MEMBERS = 40000, QUANTA = 1200000 };
    /* W/N is far below every function: each member takes a part of about one. */
    double relative[N], held[N] = {0};
    uint64_t tokens[N];
    for (int f = 0; f < N; f++) {
        relative[f] = 100 + 10 * (f % 50);
        tokens[f] = QUANTA;
    }
    struct division d = divide(&model_coin, relative, tokens, N, MEMBERS, QUANTA);
    for (size_t i = 0; i < d.count; i++)
        held[d.holdings[i].function] += d.holdings[i].quanta;
    /* About 400 members hold a function: five standard deviations. */
    for (int f = 0; f < N; f++)
        assert_true(fabs(held[f] / QUANTA - 1) < 5 / sqrt(MEMBERS * relative[f] / 34500));
    drop(&d);
}

static void rotation(void **state)
{
    (void)state;
    for (uint32_t members = 1; members <= 60; members++) {
        uint8_t seen[60];
        for (uint64_t epoch = 0; epoch < 3; epoch++) {
            memset(seen, 0, sizeof seen);
            for (uint32_t m = 0; m < members; m++)
                seen[model_rotate(m, epoch, members)]++;
            for (uint32_t m = 0; m < members; m++)
                assert_int_equal(seen[m], 1);
        }
        memset(seen, 0, sizeof seen);
        for (uint64_t epoch = 1000; epoch < 1000 + members; epoch++)
            seen[model_rotate(members / 2, epoch, members)]++;
        for (uint32_t m = 0; m < members; m++)
            assert_int_equal(seen[m], 1);
    }
}

/* Against brute force: all grids of shares for three functions. */
static void budget_is_optimal(void **state)
{
    (void)state;
    struct core_rng rng;
    core_rng_seed(&rng, 5);
    for (int round = 0; round < 50; round++) {
        double overhead[3], value[3], share[3], best = 0;
        uint32_t order[3];
        for (int f = 0; f < 3; f++) {
            overhead[f] = (double)core_rng_below(&rng, 5) / 10;
            value[f] = (double)(1 + core_rng_below(&rng, 9));
        }
        double budget = core_rng_unit(&rng), used = model_budget(share, order, overhead, value, 3, budget, 0);
        assert_true(used <= budget + 1e-9);
        for (int a = 0; a <= 20; a++)
            for (int b = 0; b <= 20; b++)
                for (int c = 0; c <= 20; c++) {
                    const double grid[] = {a / 20.0, b / 20.0, c / 20.0};
                    if (grid[0] * overhead[0] + grid[1] * overhead[1] + grid[2] * overhead[2] <= budget)
                        best = fmax(best, model_p_first(grid, value, 3));
                }
        assert_true(model_p_first(share, value, 3) >= best - 1e-9);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(table_2),
        cmocka_unit_test(table_1_members),
        cmocka_unit_test(work_unit_is_the_k_cheapest),
        cmocka_unit_test(detection),
        cmocka_unit_test(distances),
        cmocka_unit_test(risk_policies),
        cmocka_unit_test(central_small_sizes),
        cmocka_unit_test(central_random),
        cmocka_unit_test(coin_loads),
        cmocka_unit_test(coin_is_weighted),
        cmocka_unit_test(rotation),
        cmocka_unit_test(budget_is_optimal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
