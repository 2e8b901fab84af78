/* The best slice for a given slow-down: a fractional knapsack of detection probability over overhead. */
#include "model/model.h"

#include <math.h>

/* Whether watching a is worth more per overhead than watching b; cross-multiplied, since overheads may be zero. */
static bool denser(const double *overhead, const double *value, uint32_t a, uint32_t b)
{
    double left = value[a] * overhead[b], right = value[b] * overhead[a];
    return left > right || (left == right && a < b);
}

double model_budget(double *share, uint32_t *order, const double *overhead, const double *value, size_t n,
                    double budget, double at_least)
{
    size_t count = 0;
    double used = 0;
    for (size_t f = 0; f < n; f++) {
        share[f] = overhead[f] > 0 ? at_least : 1;
        used += share[f] * overhead[f];
        if (overhead[f] > 0)
            order[count++] = (uint32_t)f;
    }
    /* Shell sort with Ciura's gaps, extended: no memory, fast enough for tens of thousands. */
    for (size_t gap = count / 2; gap > 0; gap = gap == 2 ? 1 : gap * 5 / 11)
        for (size_t i = gap; i < count; i++) {
            uint32_t f = order[i];
            size_t at = i;
            for (; at >= gap && denser(overhead, value, f, order[at - gap]); at -= gap)
                order[at] = order[at - gap];
            order[at] = f;
        }
    for (size_t i = 0; i < count && used < budget; i++) {
        uint32_t f = order[i];
        double step = 1 - share[f];
        if (step * overhead[f] > budget - used)
            step = (budget - used) / overhead[f];
        share[f] += step;
        used += step * overhead[f];
    }
    return used;
}

double model_budget_paper(double *share, const double *overhead, const double *risk, size_t n, double budget)
{
    double low = 0, high = 1, used = 0;
    /* Risks are at least 1, so a factor of 1 means everything always. */
    for (int step = 0; step < 100; step++) {
        double factor = step ? (low + high) / 2 : high;
        used = 0;
        for (size_t f = 0; f < n; f++) {
            share[f] = fmin(1, factor * risk[f]);
            used += share[f] * overhead[f];
        }
        if (used <= budget && step == 0)
            break;
        if (used <= budget)
            low = factor;
        else
            high = factor;
    }
    return used;
}

double model_vaccine_cost(double cost, double total, uint64_t tokens, uint32_t members, uint32_t quanta)
{
    return cost / total * (1 - (double)tokens / ((double)members * quanta));
}

bool model_admits(struct model_trust *trust, double cost, unsigned members)
{
    if (members >= trust->vouchers)
        return true;
    if (trust->spent + cost > trust->budget)
        return false;
    trust->spent += cost;
    return true;
}
