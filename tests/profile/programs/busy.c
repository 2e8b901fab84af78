/* Nearly all time is spent in one function. */
#include <stdio.h>
#include <stdlib.h>

#define APART   __attribute__((noinline, noclone))
#define HAPPENS __asm__ volatile("") /* no call of it may be left out */

APART unsigned busy(unsigned times)
{
    unsigned x = 1;
    HAPPENS;
    for (unsigned i = 0; i < times; i++)
        x = x * 1664525u + 1013904223u;
    return x;
}

APART unsigned idle(unsigned x)
{
    HAPPENS;
    return x * 1664525u + 1;
}

int main(void)
{
    unsigned x = 0;
    for (int i = 0; i < 200; i++)
        x += busy(2000000) + idle(x);
    printf("%u\n", x);
    return 0;
}
