/* What a plan looks like: loads and coverage as curves. */
#include "plan/private.h"

void plan_loads(double *member, double *load, double *common, size_t room, const struct plan *plan)
{
    /* More members than room: each bar is the most loaded one of a group. */
    for (size_t i = 0; i < room; i++) {
        size_t first = i * plan->members / room, end = (i + 1) * plan->members / room;
        member[i] = (double)first;
        load[i] = 0;
        common[i] = plan->common_load;
        for (size_t m = first; m < end; m++)
            load[i] = plan->load[m] > load[i] ? plan->load[m] : load[i];
    }
}

static const struct plan *sorted;

static int by_falling_risk(const void *left, const void *right)
{
    const struct plan_function *a = &sorted->functions[*(const uint32_t *)left];
    const struct plan_function *b = &sorted->functions[*(const uint32_t *)right];
    if (a->risk != b->risk)
        return a->risk > b->risk ? -1 : 1;
    return *(const uint32_t *)left < *(const uint32_t *)right ? -1 : 1;
}

static double watched_percent(const struct plan *plan, uint32_t function)
{
    double all = (double)plan->members * plan->quanta;
    return 100 * (double)plan->functions[function].tokens / all;
}

void plan_coverage_curve(double *x, double *watched, const struct plan *plan, bool by_risk)
{
    uint32_t *order = plan_allocate(plan->own_count, sizeof *order);
    double sum = 0, all = 0;
    for (uint32_t f = 0; f < plan->own_count; f++) {
        order[f] = f;
        all += plan->functions[f].risk;
    }
    sorted = plan;
    if (by_risk)
        qsort(order, plan->own_count, sizeof *order, by_falling_risk);
    for (size_t i = 0; i < plan->own_count; i++) {
        sum += plan->functions[order[i]].risk;
        x[i] = by_risk ? 100 * sum / all : (double)i + 1;
        watched[i] = watched_percent(plan, order[i]);
    }
    free(order);
}
