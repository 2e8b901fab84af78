/* Functions by address: equal wherever they are taken, resolved at run time, weak, patched into tables. */
#define _GNU_SOURCE
#include "transparent.h"
#include <dlfcn.h>

extern int missing_function(void) __attribute__((weak));

static NOINLINE int slow(int x)
{
    return x + 1;
}
static NOINLINE int fast(int x)
{
    return x + 1;
}

static int (*resolve(void))(int)
{
    return fast;
}
int chosen(int x) __attribute__((ifunc("resolve")));

static NOINLINE int compare(int (*a)(int), int (*b)(int))
{
    return a == b;
}

int main(void)
{
    int (*put)(const char *) = puts;
    int (*volatile table[3])(int) = {slow, fast, chosen};
    int sum = 0;
    put("by pointer");
    printf("same %d %d %d\n", (void *)put == dlsym(RTLD_DEFAULT, "puts"), compare(table[1], fast),
           compare(table[0], table[1]));
    printf("missing %d\n", missing_function != NULL);
    for (int i = 0; i < 3000; i++) {
        sum += table[i % 3](i) + chosen(i);
        if (i == 1500)
            table[0] = fast;
    }
    printf("%d\n", sum);
    return 0;
}
