/* Rotation: over the epochs every member bears the same load within eps, and every function that is divided is watched at
   all times; and a plan for a budget keeps it for every member. For random programs as the model divides them, and for real profiles as `testudo plan` does:
   property_rotation PROFILE... */
#include "property.h"

#include "plan/plan.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define EPS 0.01

/* Every divided function at every quantum of one plan. Out: adds what each member bears. Returns the fewest watchers. */
static uint32_t watch_all(double *load, const struct plan *plan)
{
    uint32_t least = UINT32_MAX, quanta = plan->quanta;
    int32_t *edge = calloc(plan->own_count * (size_t)(quanta + 1), sizeof *edge);
    if (!edge)
        abort();
    for (size_t i = 0; i < plan->holding_count; i++) {
        const struct model_holding *h = &plan->holdings[i];
        int32_t *ring = edge + h->function * (size_t)(quanta + 1);
        uint32_t end = h->first + h->quanta;
        ring[h->first]++;
        ring[end > quanta ? quanta : end]--;
        if (end > quanta) {
            ring[0]++;
            ring[end - quanta]--;
        }
    }
    for (size_t f = 0; f < plan->own_count; f++) {
        if (plan->functions[f].everyone || plan->functions[f].tokens == 0)
            continue;
        int64_t watchers = 0;
        for (uint32_t q = 0; q < quanta; q++) {
            watchers += edge[f * (quanta + 1) + q];
            if (watchers < (int64_t)(plan->functions[f].tokens / quanta))
                property_fail("%s is watched by %lld members of %llu at quantum %u", plan->functions[f].name,
                              (long long)watchers, (unsigned long long)(plan->functions[f].tokens / quanta),
                              q);
            least = watchers < least ? (uint32_t)watchers : least;
        }
    }
    for (uint32_t m = 0; m < plan->members; m++)
        load[m] += plan->load[m];
    free(edge);
    return least;
}

/* A real profile, planned for each epoch anew, as members do. */
static void profile_rotates(const struct profile *profile, const struct model_policy *policy,
                            uint32_t members, uint64_t epochs, enum plan_risk risk)
{
    double *load = calloc(members, sizeof *load), worst = 0;
    if (!load)
        abort();
    for (uint64_t epoch = 0; epoch < epochs; epoch++) {
        struct plan_options how = {.size = PLAN_SIZE_MEMBERS,
                                   .members = members,
                                   .unit_functions = 1,
                                   .risk = risk,
                                   .alpha = risk == PLAN_RISK_FLAT ? 10 : 2,
                                   .reach = 6,
                                   .assign = policy,
                                   .cold_percent = 0.1,
                                   .eps = EPS,
                                   .seed = 1,
                                   .epoch = 1000 + epoch};
        struct base_error error;
        struct plan plan;
        if (plan_make(&error, &plan, profile, &how))
            property_fail("%s", error.text);
        if (watch_all(load, &plan) < 1)
            property_fail("%u members, epoch %llu: a hot function is unwatched", members,
                          (unsigned long long)epoch);
        worst = fmax(worst, plan.unfairness);
        plan_free(&plan);
    }
    double over_all = model_unfairness(load, members);
    if (over_all > EPS)
        property_fail("%s, %u members: loads over %llu epochs are unfair by %.3f%%", policy->name, members,
                      (unsigned long long)epochs, 100 * over_all);
    printf("  %s, %u members: within %.3f%% in one epoch, %.4f%% over %llu\n", policy->name, members,
           100 * worst, 100 * over_all, (unsigned long long)epochs);
    free(load);
}

/* A budget: no member is slowed down by more, and the paper's policy detects no more with the same. */
static void budget_holds(const struct profile *profile, const struct model_policy *policy, uint32_t members,
                         double percent)
{
    const struct plan_constants constants = {.transition = 40, .slowdown = 4};
    struct plan_options how = {.size = PLAN_SIZE_BUDGET,
                               .members = members,
                               .budget_percent = percent,
                               .unit_functions = 1,
                               .risk = PLAN_RISK_FLAT,
                               .alpha = 10,
                               .reach = 6,
                               .assign = policy,
                               .eps = EPS,
                               .seed = 1,
                               .constants = &constants};
    struct base_error error;
    struct plan plan;
    if (plan_make(&error, &plan, profile, &how))
        property_fail("%s", error.text);
    if (plan.overhead_worst_percent > percent * (1 + 1e-9))
        property_fail("%s, %u members: a member is slowed down by %.4f%% of %.4f%%", policy->name, members,
                      plan.overhead_worst_percent, percent);
    if (plan.coverage.by_risk < plan.paper_at_budget.by_risk - 0.01)
        property_fail("%s, %u members, %g%%: P(first) %.4f, the paper's policy %.4f", policy->name, members,
                      percent, plan.coverage.by_risk, plan.paper_at_budget.by_risk);
    printf("  %s, %u members, budget %g%%: at most %.4g%%, P(first) %.4f, paper's policy %.4f\n",
           policy->name, members, percent, plan.overhead_worst_percent, plan.coverage.by_risk,
           plan.paper_at_budget.by_risk);
    plan_free(&plan);
}

/* Over N epochs each member has each slice once: sums are equal to the last digit, whatever the slices are; and each heavy
   function goes through all hands. */
static size_t random_programs(void)
{
    enum { N = 80, ROUNDS = 40 };
    static double relative[N];
    static uint64_t tokens[N];
    struct core_rng rng;
    core_rng_seed(&rng, 21);
    for (int round = 0; round < ROUNDS; round++) {
        uint32_t members = 2 + (uint32_t)core_rng_below(&rng, 60);
        struct model_task task = {
            .functions = 2 + core_rng_below(&rng, N - 2), .members = members, .seed = core_rng_next(&rng)};
        property_program(&task, relative, tokens, &rng, 3, 10, EPS);
        struct property_division d;
        property_divide(&d, &model_central, &task);
        double *sum = calloc(members, sizeof *sum);
        bool *met = calloc((size_t)members * task.functions, sizeof *met),
             *any = calloc(task.functions, sizeof *any);
        if (!sum || !met || !any)
            abort();
        for (uint64_t epoch = 0; epoch < members; epoch++)
            for (uint32_t m = 0; m < members; m++) {
                uint32_t slice = model_rotate(m, epoch, members);
                sum[m] += d.load[slice];
                for (size_t i = 0; i < d.count; i++)
                    if (d.holdings[i].member == slice) {
                        met[m * task.functions + d.holdings[i].function] = true;
                        any[d.holdings[i].function] = true;
                    }
            }
        for (uint32_t m = 0; m < members; m++) {
            if (fabs(sum[m] - sum[0]) > 1e-9 * fmax(1, sum[0]))
                property_fail("round %d: members 0 and %u bear %g and %g over %u epochs", round, m, sum[0],
                              sum[m], members);
            for (size_t f = 0; f < task.functions; f++)
                if (any[f] && !met[m * task.functions + f])
                    property_fail("round %d: member %u never watches function %zu", round, m, f);
        }
        free(sum);
        free(met);
        free(any);
        property_division_free(&d);
    }
    return ROUNDS;
}

int main(int argc, char **argv)
{
    size_t rounds = random_programs();
    for (int i = 1; i < argc; i++) {
        struct base_error error;
        struct profile profile;
        if (profile_load(&error, &profile, argv[i], NULL))
            property_fail("%s", error.text);
        profile_rotates(&profile, &model_central, 3, 12, PLAN_RISK_FLAT);
        profile_rotates(&profile, &model_central, 100, 100, PLAN_RISK_EXP);
        profile_rotates(&profile, &model_bid, 30, 30, PLAN_RISK_FLAT);
        profile_rotates(&profile, &model_central, 1000, 20, PLAN_RISK_FLAT);
        budget_holds(&profile, &model_central, 200, 3);
        budget_holds(&profile, &model_central, 50, 20);
        budget_holds(&profile, &model_bid, 100, 10);
        profile_free(&profile);
    }
    return property_end("rotation", "%zu random programs over N epochs, %d profiles", rounds, argc - 1);
}
