/* The arithmetic of benchmarks. */
#include "bench/bench.h"

#include <math.h>
#include <stdlib.h>

static int by_size(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

struct bench_spread bench_spread_of(double *values, size_t count)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++)
        if (!isnan(values[i]))
            values[kept++] = values[i];
    if (!kept)
        return (struct bench_spread){NAN, NAN, NAN, 0};
    qsort(values, kept, sizeof *values, by_size);
    double median = kept % 2 ? values[kept / 2] : (values[kept / 2 - 1] + values[kept / 2]) / 2;
    return (struct bench_spread){median, values[0], values[kept - 1], kept};
}

double bench_geomean(const double *values, size_t count)
{
    double sum = 0;
    size_t kept = 0;
    for (size_t i = 0; i < count; i++)
        if (!isnan(values[i])) {
            sum += log(values[i]);
            kept++;
        }
    return kept ? exp(sum / (double)kept) : NAN;
}

double bench_predicted_loss(double u, double s, double k)
{
    double more = u * s * (k - 1);
    return more / (1 + more);
}

double bench_slowdown_from(double u, double s, double loss)
{
    if (!(u > 0) || !(s > 0) || !(loss < 1))
        return NAN;
    return 1 + loss / (1 - loss) / (u * s);
}
