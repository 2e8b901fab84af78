/* Functions made on the stack at run time. */
/* compilers: gcc */
#include "transparent.h"

static NOINLINE int apply(int (*function)(int), int times)
{
    int value = 0;
    for (int i = 0; i < times; i++)
        value = function(value + i);
    return value;
}

int main(void)
{
    for (int step = 0; step < 10; step++) {
        int calls = 0;
        int add(int x)
        {
            calls++;
            return x + step;
        }
        int value = apply(add, 20 + step);
        printf("%d %d\n", value, calls);
    }
    return 0;
}
