/* Null pointers that are only computed with, and divisions that only come close. */
#include <limits.h>
#include <stddef.h>
#include <stdio.h>

struct node {
    struct node *next;
    int weight;
};

static __attribute__((noinline)) size_t offset(struct node *none)
{
    return (size_t)(char *)&none->weight;
}

static __attribute__((noinline)) long divide(long a, long b)
{
    return b == 0 || (a == LONG_MIN && b == -1) ? 0 : a / b + a % b;
}

static __attribute__((noinline)) int count(struct node *list)
{
    int n = 0;
    for (; list; list = list->next)
        n++;
    return n;
}

int main(int argc, char **argv)
{
    struct node c = {NULL, 3}, b = {&c, 2}, a = {&b, 1};
    (void)argv;
    long values[] = {0, 1, -1, 7, LONG_MIN, LONG_MAX, LONG_MIN + 1}, sum = 0;
    for (int i = 0; i < 7; i++)
        for (int k = 0; k < 7; k++)
            sum ^= divide(values[i], values[k]) + argc;
    printf("%zu %ld %d %d\n", offset(NULL), sum, count(&a), count(NULL));
    return 0;
}
