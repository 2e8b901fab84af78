/* The paper's tables and figures from synthetic programs. */
#include "sim/private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static double choose(double given, double otherwise)
{
    return given > 0 ? given : otherwise;
}

/* ---- Table 2 ---- */

int sim_table2(struct base_error *error, struct sim_result *result, const struct sim_options *options)
{
    static const struct sim_column columns[] = {
        {"function", "f_i", SIM_TEXT, 0},
        {"cost", "x_i", SIM_NUMBER, 0},
        {"relative_weight", "r_i", SIM_NUMBER, -6},
        {"risk", "v_i", SIM_NUMBER, -6},
        {"total", "T", SIM_NUMBER, 0},
        {"share_percent_floored", "C(f_i, x_i)", SIM_NUMBER, 0},
        {"demand", "v_i r_i", SIM_NUMBER, -6},
    };
    static const char *const names[] = {"a()", "b()", "c()"};
    static const double paper_share[] = {16, 33, 50};
    const double cost[] = {100, 200, 300}, alpha = choose(options->alpha, 1);
    const double risk[] = {alpha, alpha, alpha};
    double scratch[3], relative[3], demand[3];
    (void)error;
    sim_result_start(result, "table2", "Work of three functions", columns, 7);
    double total = model_total(cost, 3), unit = model_work_unit(scratch, cost, 3, 1);
    double work = model_work(relative, demand, cost, risk, 3, unit);
    bool same = unit == 100 && total == 600;
    for (int f = 0; f < 3; f++) {
        double share = floor(100 * cost[f] / total);
        const struct sim_cell row[] = {sim_text(names[f]),   sim_number(cost[f]), sim_number(relative[f]),
                                       sim_number(risk[f]),  sim_number(total),   sim_number(share),
                                       sim_number(demand[f])};
        memcpy(sim_result_row(result), row, sizeof row);
        same &= share == paper_share[f] && relative[f] == f + 1;
    }
    result->series_name = "weights";
    result->series_title = "Table 2: weights v r by the functions' risk";
    result->series_x = "alpha";
    result->series_y = "v r, work units";
    for (int f = 0; f < 3; f++) {
        struct sim_series *series = sim_result_series(result, 10, "%s", names[f]);
        for (int i = 0; i < 10; i++) {
            const double v[] = {i + 1, i + 1, i + 1};
            double weights[3];
            model_work(NULL, weights, cost, v, 3, unit);
            series->x[i] = i + 1;
            series->y[i] = sim_number(weights[f]);
        }
    }
    snprintf(result->setting, sizeof result->setting,
             "x = 100, 200, 300; Z = %g; alpha_1 = alpha_2 = alpha_3 = %g; W = %g", unit, alpha, work);
    sim_result_claim(result, same,
                     "Table 2: T = 600, C = 16, 33, 50, r = 1, 2, 3, weights alpha, 2 alpha, 3 alpha",
                     "T = %.0f, r = %g, %g, %g", total, relative[0], relative[1], relative[2]);
    return 0;
}

/* ---- Table 1 ---- */

/* Part of faults that are detected, when each strikes a random member at a random quantum, in a function drawn by
   work. */
static struct sim_cell strike(const struct sim_program *p, const struct sim_division *division,
                              const struct sim_options *options, uint64_t row)
{
    const struct model_task *task = &division->task;
    double *cumulative = sim_allocate(p->count, sizeof *cumulative), sum = 0;
    uint64_t hits = 0;
    uint64_t all = (uint64_t)task->members * task->quanta;
    struct core_rng rng = sim_stream(options->seed, row, 1);
    for (size_t f = 0; f < p->count; f++)
        cumulative[f] = sum += p->cost[f];
    for (uint64_t i = 0; i < options->replicates; i++) {
        double at = core_rng_unit(&rng) * sum;
        size_t f = 0;
        while (f + 1 < p->count && cumulative[f] <= at)
            f++;
        uint32_t member = (uint32_t)core_rng_below(&rng, task->members);
        uint32_t quantum = (uint32_t)core_rng_below(&rng, task->quanta);
        bool hit = task->tokens[f] == all;
        for (size_t h = division->first[f]; h < division->first[f + 1] && !hit; h++)
            hit = division->holdings[h].member == member &&
                  model_holds(&division->holdings[h], quantum, task->quanta);
        hits += hit;
    }
    free(cumulative);
    return sim_part(hits, options->replicates);
}

int sim_table1(struct base_error *error, struct sim_result *result, const struct sim_options *options)
{
    static const struct sim_column columns[] = {
        {"slice_percent", "slice %", SIM_NUMBER, -4},
        {"members", "members", SIM_NUMBER, 0},
        {"members_paper", "paper", SIM_NUMBER, 0},
        {"p_first", "P eq. 3", SIM_NUMBER, -4},
        {"p_first_simulated", "P simulated", SIM_INTERVAL, -4},
        {"fairness_percent", "fairness %", SIM_NUMBER, -3},
    };
    static const double slices[] = {10.34, 5.24, 0.25, 0.14, 0.04, 0.01};
    static const double paper[] = {15, 30, 635, 1135, 3973, 15893};
    enum { ROWS = 6 };
    size_t n = options->functions ? options->functions : 200;
    double alpha = choose(options->alpha, 2), share = 0.5893;
    (void)error;
    struct sim_program program = {0};
    struct core_rng rng = sim_stream(options->seed, 0, 0);
    sim_program_make(&program, &rng, n, SIM_NORM, 50000);
    sim_program_risk_share(&program, &rng, alpha, share);
    double total = model_total(program.cost, n), heaviest = 0;
    double weighted = 100 * model_work(NULL, NULL, program.cost, program.risk, n, total);
    for (size_t f = 0; f < n; f++)
        heaviest = fmax(heaviest, program.cost[f]);
    sim_result_start(result, "table1", "Slice size and size of the community", columns, 6);
    sim_result_plot(result, (struct sim_plot){.name = "members",
                                              .title = "Table 1: members by slice size",
                                              .x = 0,
                                              .y = 1,
                                              .group = {-1, -1},
                                              .x_log = true,
                                              .y_log = true,
                                              .paper = 2});
    sim_result_plot(result, (struct sim_plot){.name = "detection",
                                              .title = "Equation 3: part of first occurrences detected",
                                              .x = 0,
                                              .y = 4,
                                              .group = {-1, -1},
                                              .x_log = true,
                                              .y_log = true,
                                              .paper = 3,
                                              .paper_name = "eq. 3"});
    snprintf(
        result->setting, sizeof result->setting,
        "%zu functions, norm distribution, %.4g percent of the work at risk with alpha = %g: weighted work %.5g percent of T; "
        "%llu faults a row",
        n, 100 * share, alpha, weighted, (unsigned long long)options->replicates);
    uint64_t *tokens = sim_allocate(n, sizeof *tokens);
    bool same = true, inside = true;
    double found[ROWS], least = INFINITY, most = 0;
    for (uint64_t i = 0; i < ROWS; i++) {
        double members = model_members(weighted, slices[i]), p = 0;
        uint32_t count = (uint32_t)fmin(members, MODEL_MEMBERS_MAX);
        struct model_task task = {
            .functions = n, .members = count, .relative = program.cost, .tokens = tokens};
        task.quanta = model_quanta(heaviest, total * weighted / 100 / count, 0.01);
        for (size_t f = 0; f < n; f++) {
            tokens[f] = model_tokens(program.risk[f], count, task.quanta);
            p += program.cost[f] / total * (double)tokens[f] / ((double)count * task.quanta);
        }
        struct sim_division division;
        sim_divide(&division, &task);
        struct sim_cell simulated = strike(&program, &division, options, i);
        const struct sim_cell row[] = {
            sim_number(slices[i]), sim_number(members), sim_number(paper[i]),
            sim_number(p),         simulated,           sim_number(100 * division.unfairness)};
        memcpy(sim_result_row(result), row, sizeof row);
        sim_division_free(&division);
        found[i] = members;
        least = fmin(least, p);
        most = fmax(most, p);
        same &= members == paper[i];
        /* Six intervals of 95 percent: one and a half times as wide, one in 300 runs would leave them by chance. */
        inside &= p >= simulated.number - 1.5 * (simulated.number - simulated.low) &&
                  p <= simulated.number + 1.5 * (simulated.high - simulated.number);
        sim_step(options, i + 1, ROWS);
    }
    sim_result_claim(result, same, "Table 1: slices need 15, 30, 635, 1135, 3973, 15893 members",
                     "%.0f, %.0f, %.0f, %.0f, %.0f, %.0f", found[0], found[1], found[2], found[3], found[4],
                     found[5]);
    sim_result_claim(result, inside,
                     "eq. 3: uniform slices of s percent detect s percent of first occurrences",
                     "%.4g%% to %.4g%% expected and inside the intervals of %llu faults each", 100 * least,
                     100 * most, (unsigned long long)options->replicates);
    free(tokens);
    sim_program_free(&program);
    return 0;
}

/* ---- Figure 1 ---- */

/* Slope of log y over log x by least squares. */
static double slope(const double *x, const double *y, size_t count)
{
    double mx = 0, my = 0, xy = 0, xx = 0;
    for (size_t i = 0; i < count; i++) {
        mx += log(x[i]) / (double)count;
        my += log(y[i]) / (double)count;
    }
    for (size_t i = 0; i < count; i++) {
        xy += (log(x[i]) - mx) * (log(y[i]) - my);
        xx += (log(x[i]) - mx) * (log(x[i]) - mx);
    }
    return xy / xx;
}

int sim_figure1(struct base_error *error, struct sim_result *result, const struct sim_options *options)
{
    static const struct sim_column columns[] = {
        {"functions", "functions", SIM_NUMBER, 0}, {"distribution", "distribution", SIM_TEXT, 0},
        {"policy", "policy", SIM_TEXT, 0},         {"level", "work level", SIM_NUMBER, 0},
        {"work", "W", SIM_INTERVAL, -5},
    };
    static const double sizes[] = {20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000};
    static const double levels[] = {50, 500, 5000, 50000};
    static const char *const policies[] = {"flat", "exp"};
    enum { SIZES = 10, LEVELS = 4 };
    uint32_t reach = options->reach ? options->reach : 5;
    double flat = choose(options->alpha, 10), base = 2, work[SIM_SHAPES][2][LEVELS][SIZES];
    (void)error;
    sim_result_start(result, "figure1", "Work of a community by program size and risk policy", columns, 5);
    static const struct sim_plot plots[] = {
        {.name = "level-50000",
         .title = "Figure 1: work by program size, 50000 units a function",
         .x = 0,
         .y = 4,
         .group = {1, 2},
         .x_log = true,
         .y_log = true,
         .only = 3,
         .only_number = 50000},
        {.name = "level-50",
         .title = "Figure 1: work by program size, 50 units a function",
         .x = 0,
         .y = 4,
         .group = {1, 2},
         .x_log = true,
         .y_log = true,
         .only = 3,
         .only_number = 50},
    };
    for (unsigned i = 0; i < 2; i++)
        sim_result_plot(result, plots[i]);
    snprintf(
        result->setting, sizeof result->setting,
        "a function does `level` work units on average; flat: alpha = %g within D = %u calls of input, exp: %g^(D + 1 - d); "
        "each function calls two earlier ones; %llu programs a point",
        flat, reach, base, (unsigned long long)options->replicates);
    double *samples[2];
    for (int k = 0; k < 2; k++)
        samples[k] = sim_allocate(options->replicates, sizeof *samples[k]);
    uint64_t done = 0;
    for (int level = LEVELS - 1; level >= 0; level--)
        for (int shape = 0; shape < SIM_SHAPES; shape++)
            for (int size = 0; size < SIZES; size++) {
                for (uint64_t i = 0; i < options->replicates; i++) {
                    struct sim_program p = {0};
                    struct core_rng rng = sim_stream(options->seed, i, (uint64_t)(shape * SIZES + size));
                    sim_program_make(&p, &rng, (size_t)sizes[size], (enum sim_shape)shape, levels[level]);
                    for (int policy = 0; policy < 2; policy++) {
                        sim_program_risk(&p, policy ? MODEL_RISK_EXP : MODEL_RISK_FLAT, policy ? base : flat,
                                         reach);
                        samples[policy][i] = model_work(NULL, NULL, p.cost, p.risk, p.count, 1);
                    }
                    sim_program_free(&p);
                }
                for (int policy = 0; policy < 2; policy++) {
                    struct sim_cell w = sim_mean(samples[policy], options->replicates);
                    work[shape][policy][level][size] = w.number;
                    const struct sim_cell row[] = {sim_number(sizes[size]), sim_text(sim_shape_names[shape]),
                                                   sim_text(policies[policy]), sim_number(levels[level]), w};
                    memcpy(sim_result_row(result), row, sizeof row);
                }
                sim_step(options, ++done, (uint64_t)LEVELS * SIM_SHAPES * SIZES);
            }
    double worst = 0, lowest = INFINITY, highest = 0;
    for (int shape = 0; shape < SIM_SHAPES; shape++)
        for (int policy = 0; policy < 2; policy++) {
            double high = slope(sizes, work[shape][policy][LEVELS - 1], SIZES);
            double low = slope(sizes, work[shape][policy][0], SIZES);
            worst = fmax(worst, fabs(high - low));
            for (int size = 0; size < SIZES; size++) {
                double ratio = work[shape][1][LEVELS - 1][size] / work[shape][0][LEVELS - 1][size];
                lowest = fmin(lowest, ratio);
                highest = fmax(highest, ratio);
            }
        }
    sim_result_claim(result, worst < 0.02,
                     "Figure 1: smaller workloads show the same relationship with lower total cost",
                     "slopes of log W over log n at work levels 50 and 50000 differ by at most %.3f", worst);
    sim_result_claim(result, highest < 0.95 || lowest > 1.05 || highest / lowest > 1.1,
                     "Figure 1: the choice of policy shifts the curve",
                     "exp gives %.2f to %.2f times the work of flat", lowest, highest);
    for (int k = 0; k < 2; k++)
        free(samples[k]);
    return 0;
}

/* ---- Figure 2 ---- */

int sim_figure2(struct base_error *error, struct sim_result *result, const struct sim_options *options)
{
    static const struct sim_column columns[] = {
        {"at_risk_percent", "at risk %", SIM_NUMBER, 0},
        {"members", "members", SIM_INTERVAL, -5},
        {"slice_percent_at_fixed_members", "slice % at fixed N", SIM_INTERVAL, -4},
        {"percent_of_native", "% of native at fixed N", SIM_INTERVAL, -4},
    };
    enum { POINTS = 16 };
    size_t n = options->functions ? options->functions : 200;
    double alpha = choose(options->alpha, 2), slice = choose(options->slice_percent, 1);
    double slowdown = choose(options->slowdown, 30), user = choose(options->user_share, 0.159),
           first_members = 0;
    double x[POINTS], members[POINTS], native[POINTS];
    (void)error;
    sim_result_start(result, "figure2", "Members and performance by the share of code at risk", columns, 4);
    sim_result_plot(result, (struct sim_plot){.name = "members",
                                              .title = "Figure 2: members for full coverage",
                                              .x = 0,
                                              .y = 1,
                                              .group = {-1, -1}});
    sim_result_plot(result, (struct sim_plot){.name = "performance",
                                              .title = "Figure 2: performance, members fixed",
                                              .x = 0,
                                              .y = 3,
                                              .group = {-1, -1}});
    double *samples[3];
    for (int k = 0; k < 3; k++)
        samples[k] = sim_allocate(options->replicates, sizeof *samples[k]);
    for (int point = 0; point < POINTS; point++) {
        double share = 0.25 + 0.05 * point;
        for (uint64_t i = 0; i < options->replicates; i++) {
            struct sim_program p = {0};
            struct core_rng rng = sim_stream(options->seed, i, 0);
            sim_program_make(&p, &rng, n, SIM_NORM, 50000);
            sim_program_risk_share(&p, &rng, alpha, fmin(share, 1));
            double weighted = 100 * model_work(NULL, NULL, p.cost, p.risk, n, model_total(p.cost, n));
            samples[0][i] = model_members(weighted, slice);
            if (point == 0 && i == 0)
                first_members = samples[0][0];
            samples[1][i] = weighted / first_members;
            /* Supervised user time is `slowdown` times as long; the rest of a request is not touched. */
            samples[2][i] = 100 / (1 + user * samples[1][i] / 100 * (slowdown - 1));
            sim_program_free(&p);
        }
        const struct sim_cell row[] = {sim_number(100 * share), sim_mean(samples[0], options->replicates),
                                       sim_mean(samples[1], options->replicates),
                                       sim_mean(samples[2], options->replicates)};
        x[point] = share;
        members[point] = row[1].number;
        native[point] = row[3].number;
        memcpy(sim_result_row(result), row, sizeof row);
        sim_step(options, (uint64_t)point + 1, POINTS);
    }
    /* Largest distance from the straight line through both ends, relative to the range. */
    double bend[2] = {0};
    for (int point = 0; point < POINTS; point++) {
        double at = (x[point] - x[0]) / (x[POINTS - 1] - x[0]);
        double straight[] = {members[0] + at * (members[POINTS - 1] - members[0]),
                             native[0] + at * (native[POINTS - 1] - native[0])};
        bend[0] = fmax(bend[0], fabs(members[point] - straight[0]) / fabs(members[POINTS - 1] - members[0]));
        bend[1] = fmax(bend[1],
                       fabs(native[point] - straight[1]) / fmax(1e-9, fabs(native[POINTS - 1] - native[0])));
    }
    snprintf(
        result->setting, sizeof result->setting,
        "%zu functions, alpha = %g, slices of %g percent; performance when the community keeps the %.0f members of 25 "
        "percent: user code is %.1f percent of a request, supervised code runs %g times as long",
        n, alpha, slice, first_members, 100 * user, slowdown);
    sim_result_claim(result, bend[0] < 0.01, "Figure 2: members grow linearly with the share of code at risk",
                     "bend of %.2f%% of the range", 100 * bend[0]);
    sim_result_claim(result, bend[1] < 0.02, "Figure 2: the effect on performance is linear",
                     "bend of %.2f%% of the range", 100 * bend[1]);
    for (int k = 0; k < 3; k++)
        free(samples[k]);
    return 0;
}

/* ---- the Apache-like application ---- */

int sim_apache_like(struct base_error *error, struct sim_result *result, const struct sim_options *options)
{
    static const struct sim_column columns[] = {
        {"risk", "risk", SIM_TEXT, 0},
        {"work", "W (median, 95 % of seeds)", SIM_INTERVAL, -5},
        {"work_paper", "paper", SIM_NUMBER, 0},
        {"work_per_function", "W / n (median, 95 % of seeds)", SIM_INTERVAL, -4},
    };
    size_t n = options->functions ? options->functions : 200;
    double alpha = choose(options->alpha, 10), share = 0.818;
    static const double paper[] = {2020, 16897};
    (void)error;
    sim_result_start(result, "apache-like",
                     "An application of medium size with a normal distribution of work", columns, 4);
    snprintf(
        result->setting, sizeof result->setting,
        "%zu functions, norm with a standard deviation of a third of the mean, Z = the cheapest function; flat: alpha = %g for "
        "%.1f percent of the work; %llu seeds",
        n, alpha, 100 * share, (unsigned long long)options->replicates);
    double *samples[4], *ratio = sim_allocate(options->replicates, sizeof *ratio);
    for (int k = 0; k < 4; k++)
        samples[k] = sim_allocate(options->replicates, sizeof *samples[k]);
    for (uint64_t i = 0; i < options->replicates; i++) {
        struct sim_program p = {0};
        struct core_rng rng = sim_stream(options->seed, i, 0);
        sim_program_make(&p, &rng, n, SIM_NORM, 50000);
        double *scratch = sim_allocate(n, sizeof *scratch), unit = model_work_unit(scratch, p.cost, n, 1);
        samples[0][i] = model_work(NULL, NULL, p.cost, NULL, n, unit);
        sim_program_risk_share(&p, &rng, alpha, share);
        unit = model_work_unit(scratch, p.cost, n, 1);
        samples[1][i] = model_work(NULL, NULL, p.cost, p.risk, n, unit);
        ratio[i] = model_work(NULL, NULL, p.cost, p.risk, n, model_total(p.cost, n));
        for (int k = 0; k < 2; k++)
            samples[k + 2][i] = samples[k][i] / (double)n;
        free(scratch);
        sim_program_free(&p);
        if (i % 16 == 0)
            sim_step(options, i, options->replicates);
    }
    for (int k = 0; k < 2; k++) {
        const struct sim_cell row[] = {sim_text(k ? "flat" : "none"),
                                       sim_range(samples[k], options->replicates), sim_number(paper[k]),
                                       sim_range(samples[k + 2], options->replicates)};
        memcpy(sim_result_row(result), row, sizeof row);
        sim_result_claim(result, n != 200 || (paper[k] >= row[1].low && paper[k] <= row[1].high),
                         k ? "section 2: W = 16897 with risk flat" : "section 2: W = 2020 without risk",
                         "95%% of the seeds give %.0f to %.0f", row[1].low, row[1].high);
    }
    /* How the seeds spread: part of them with at most so much work. The samples are in order by now. */
    result->series_name = "seeds";
    result->series_title = "W of an Apache-like application: part of seeds with at most so much";
    result->series_x = "W, work units";
    result->series_y = "% of seeds";
    result->series_x_log = true;
    enum { STEPS = 100 };
    for (int k = 0; k < 2; k++) {
        struct sim_series *series = sim_result_series(result, STEPS, k ? "flat" : "none");
        struct sim_series *mark =
            sim_result_series(result, 2, k ? "paper, flat: 16897" : "paper, none: 2020");
        for (int i = 0; i < STEPS; i++) {
            series->x[i] = samples[k][(size_t)((double)i / STEPS * (double)options->replicates)];
            series->y[i] = sim_number(100.0 * i / STEPS);
        }
        mark->x[0] = mark->x[1] = paper[k];
        mark->y[0] = sim_number(0);
        mark->y[1] = sim_number(100);
    }
    struct sim_cell factor = sim_mean(ratio, options->replicates);
    sim_result_claim(result, fabs(factor.number - 16897.0 / 2020) < 0.01 || alpha != 10,
                     "section 2: risk multiplies W by 16897 / 2020 = 8.365", "by %.3f", factor.number);
    for (int k = 0; k < 4; k++)
        free(samples[k]);
    free(ratio);
    return 0;
}
