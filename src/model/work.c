/* Costs to work units, members and coverage: AC §2 equations 2 and 3. */
#include "model/model.h"

#include <math.h>

double model_total(const double *cost, size_t n)
{
    double total = 0;
    for (size_t i = 0; i < n; i++)
        total += cost[i];
    return total;
}

/* Restores the heap property of a max-heap of doubles below `at`. */
static void sift_down(double *heap, size_t count, size_t at)
{
    double value = heap[at];
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= count)
            break;
        if (child + 1 < count && heap[child + 1] > heap[child])
            child++;
        if (heap[child] <= value)
            break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = value;
}

double model_work_unit(double *scratch, const double *cost, size_t n, size_t k)
{
    /* A max-heap of the k cheapest so far: n log k, and k is 1 or small. */
    size_t held = 0;
    for (size_t i = 0; i < n; i++) {
        if (cost[i] <= 0)
            continue;
        if (held < k) {
            scratch[held++] = cost[i];
            if (held == k)
                for (size_t at = held / 2; at-- > 0;)
                    sift_down(scratch, held, at);
        } else if (cost[i] < scratch[0]) {
            scratch[0] = cost[i];
            sift_down(scratch, held, 0);
        }
    }
    return model_total(scratch, held);
}

double model_work(double *relative, double *demand, const double *cost, const double *risk, size_t n,
                  double unit)
{
    double work = 0;
    for (size_t i = 0; i < n; i++) {
        double r = cost[i] / unit, d = r * (risk ? risk[i] : 1);
        if (relative)
            relative[i] = r;
        if (demand)
            demand[i] = d;
        work += d;
    }
    return work;
}

double model_members(double weighted_percent, double slice_percent)
{
    double quotient = weighted_percent / slice_percent;
    double members = floor(quotient * (1 + 1e-9));
    return members < 1 ? 1 : members;
}

double model_p_detect(const double *coverage, size_t members)
{
    return members ? model_total(coverage, members) / (double)members : 0;
}

double model_expected_victims(double p)
{
    return p > 0 ? (1 - p) / p : INFINITY;
}

double model_unfairness(const double *load, size_t members)
{
    double mean = members ? model_total(load, members) / (double)members : 0, worst = 0;
    if (mean <= 0)
        return 0;
    for (size_t i = 0; i < members; i++)
        worst = fmax(worst, fabs(load[i] - mean));
    return worst / mean;
}

double model_p_first(const double *share, const double *value, size_t n)
{
    double covered = 0, all = 0;
    for (size_t i = 0; i < n; i++) {
        covered += share[i] * value[i];
        all += value[i];
    }
    return all > 0 ? covered / all : 1;
}
