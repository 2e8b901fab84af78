/* x87 and SSE arithmetic, rounding modes, exceptions, NaN comparisons, conversions, the mathematics library.
 */
/* flags: -lm -frounding-math -ffp-contract=off */
#include "transparent.h"
#include <fenv.h>
#include <math.h>

static NOINLINE long double series(unsigned terms)
{
    long double sum = 0, sign = 1;
    for (unsigned i = 0; i < terms; i++, sign = -sign)
        sum += sign / (2 * i + 1);
    return sum * 4;
}

static NOINLINE double third(double x)
{
    return x / 3.0;
}

static NOINLINE int order(double a, double b)
{
    return (a < b) | (a <= b) << 1 | (a > b) << 2 | (a >= b) << 3 | (a == b) << 4 | (a != b) << 5 |
           (!!isunordered(a, b)) << 6;
}

static NOINLINE uint64_t convert(double x)
{
    return (uint64_t)(int64_t)x ^ (uint64_t)(int32_t)(float)(x / 1e6) ^ (uint64_t)llrint(x) ^
           (uint64_t)(uint8_t)(int)fmod(x, 256);
}

int main(void)
{
    static const int modes[] = {FE_TONEAREST, FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO};
    double values[] = {0.0, -0.0, 1.0, -1.5, INFINITY, -INFINITY, NAN, 1e-310, 3e300};
    printf("%.18Lf %La\n", series(20000), series(77));
    for (int i = 0; i < 4; i++) {
        must(fesetround(modes[i]) == 0);
        printf("%a %a %Lf %ld %a\n", third(1.0 + 0 * i), (double)(float)third(10), rintl(series(5) * 10),
               lrint(third(7)), sqrt(third(2)));
        must(fegetround() == modes[i]);
    }
    fesetround(FE_TONEAREST);
    feclearexcept(FE_ALL_EXCEPT);
    volatile double huge = 1e308, zero = 0;
    huge *= 10;
    zero = 1 / zero + huge;
    printf("overflow %d divide %d invalid %d\n", !!fetestexcept(FE_OVERFLOW), !!fetestexcept(FE_DIVBYZERO),
           !!fetestexcept(FE_INVALID));
    for (unsigned i = 0; i < 9; i++) {
        for (unsigned k = 0; k < 9; k++)
            printf("%02x ", order(values[i], values[k]));
        printf("%d %d\n", fpclassify(values[i]), !!signbit(values[i]));
    }
    double sum = 0;
    for (int i = 1; i < 3000; i++)
        sum += sin(i) * cos(third(i)) + log(i) / exp(1.0 / i) + pow(i, 0.3) + atan2(i, 3) +
               (double)(convert(i * 1234.567) % 97) + (double)sinf((float)i) + (double)tanl(i * 0.001L) +
               cbrt(i) + hypot(i, 2);
    printf("%.10e\n", sum);
    return 0;
}
