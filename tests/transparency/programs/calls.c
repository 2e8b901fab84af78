/* Calls of every shape: tail calls, recursion, pointers, many and wide arguments, structures by value. */
#include "transparent.h"
#include <stdarg.h>

struct small {
    int a;
    double b;
};
struct large {
    uint64_t words[12];
    char tail[5];
};
struct pair {
    double x, y;
};
struct bits {
    unsigned a : 3, b : 11, c : 1, d : 17;
    long long e : 40;
};

static int odd(unsigned n);
static NOINLINE int even(unsigned n)
{
    return n == 0 ? 1 : odd(n - 1);
}
static NOINLINE int odd(unsigned n)
{
    return n == 0 ? 0 : even(n - 1);
}

static NOINLINE uint64_t fibonacci(unsigned n)
{
    return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2);
}

static NOINLINE unsigned ackermann(unsigned m, unsigned n)
{
    if (m == 0)
        return n + 1;
    return n == 0 ? ackermann(m - 1, 1) : ackermann(m - 1, ackermann(m, n - 1));
}

static NOINLINE unsigned long deep(unsigned long n)
{
    return n == 0 ? 0 : 1 + deep(hide(n) - 1);
}

static NOINLINE struct large grow(struct large from, int by, struct small with)
{
    for (int i = 0; i < 12; i++)
        from.words[i] = from.words[i] * 3 + (uint64_t)(by * with.a) + (uint64_t)with.b;
    from.tail[by % 5]++;
    return from;
}

static NOINLINE struct pair turn(struct pair p, struct pair q)
{
    return (struct pair){p.x * q.x - p.y * q.y, p.x * q.y + p.y * q.x};
}

static NOINLINE struct small both(int a, double b)
{
    return (struct small){a, b};
}

static NOINLINE struct bits pack(struct bits b)
{
    b.a++;
    b.b ^= b.d;
    b.e -= b.a;
    b.d += b.b;
    return b;
}

static NOINLINE double many(int a, double b, long c, float d, char e, short f, unsigned g, double h, long i,
                            int j, double k, double l, double m, double n, double o, double p, double q)
{
    return a + b + (double)c + (double)d + e + f + g + h + (double)i + j + k + l * 2 + m * 3 + n * 4 + o * 5 +
           p * 6 + q * 7;
}

static NOINLINE double total(const char *kinds, ...)
{
    va_list list, again;
    double sum = 0;
    va_start(list, kinds);
    va_copy(again, list);
    for (int pass = 0; pass < 2; pass++)
        for (const char *kind = kinds; *kind; kind++)
            switch (*kind) {
            case 'i':
                sum += pass ? va_arg(again, int) : va_arg(list, int);
                break;
            case 'd':
                sum += pass ? va_arg(again, double) : va_arg(list, double);
                break;
            case 'l':
                sum += (double)(pass ? va_arg(again, long) : va_arg(list, long));
                break;
            case 'L':
                sum += (double)(pass ? va_arg(again, long double) : va_arg(list, long double));
                break;
            case 's':
                sum += (pass ? va_arg(again, struct small) : va_arg(list, struct small)).b;
                break;
            default:
                sum += (double)strlen(pass ? va_arg(again, char *) : va_arg(list, char *));
            }
    va_end(again);
    va_end(list);
    return sum;
}

static int first(int a)
{
    return a + 1;
}
static int second(int a)
{
    return a * 3;
}
static int third(int a)
{
    return a - 7;
}

static NOINLINE int apply(int (*function)(int), int value)
{
    return function(value);
}

/* As deep as the stack allows where sibling calls are calls. */
#ifdef __OPTIMIZE__
enum { STEPS = 1000001 };
#else
enum { STEPS = 20001 };
#endif

int main(void)
{
    static int (*const table[])(int) = {first, second, third};
    int value = 1;
    printf("%d %d\n", even(STEPS), odd(777));
    printf("%llu %u %lu\n", (unsigned long long)fibonacci(22), ackermann(2, 60), deep(50000));
    struct large large = {{1, 2, 3, 4, 5}, "abcd"};
    struct pair pair = {1, 0.5};
    struct bits bits = {1, 2, 1, 3, -4};
    struct small small = both(3, 2.25);
    for (int i = 0; i < 50; i++) {
        large = grow(large, i, small);
        pair = turn(pair, (struct pair){0.75, 0.5});
        bits = pack(bits);
    }
    printf("%llx %s %a %a %u %u %u %lld\n", (unsigned long long)large.words[11], large.tail, pair.x, pair.y,
           bits.a, bits.b, bits.d, (long long)bits.e);
    printf("%.3f\n", many(1, 2.5, 3, 4.5f, 5, 6, 7, 8.5, 9, 10, 11, 12, 13, 14, 15, 16, 17));
    printf("%.3f\n", total("idlLs-iiiiiiidddddddddd", 1, 2.5, 3L, 4.25L, small, "text", 1, 2, 3, 4, 5, 6, 7,
                           1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0));
    for (int i = 0; i < 1000; i++)
        value = apply(table[(unsigned)value % 3], value) % 100003;
    printf("%d\n", value);
    return 0;
}
