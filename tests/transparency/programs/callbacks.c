/* The C library calls back: qsort, bsearch, trees, hooks of stdio, one callback inside another. */
#define _GNU_SOURCE
#include "transparent.h"
#include <ftw.h>
#include <search.h>

static int calls;
static long long visited;

static int by_value(const void *a, const void *b)
{
    calls++;
    return (*(const int *)a > *(const int *)b) - (*(const int *)a < *(const int *)b);
}

static int by_sorted_digits(const void *a, const void *b)
{
    int digits[2][6];
    for (int i = 0; i < 6; i++) {
        static const int power[] = {1, 10, 100, 1000, 10000, 100000};
        digits[0][i] = *(const int *)a / power[i] % 10;
        digits[1][i] = *(const int *)b / power[i] % 10;
    }
    qsort(digits[0], 6, sizeof(int), by_value);
    qsort(digits[1], 6, sizeof(int), by_value);
    int order = memcmp(digits[0], digits[1], sizeof digits[0]);
    return order ? order : by_value(a, b);
}

static int with_context(const void *a, const void *b, void *context)
{
    ++*(int *)context;
    return by_value(b, a);
}

static void visit(const void *node, VISIT which, int depth)
{
    if (which == postorder || which == leaf)
        visited = visited * 31 + **(int *const *)node + depth;
}

static ssize_t cookie_write(void *cookie, const char *text, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        *(unsigned *)cookie = *(unsigned *)cookie * 33 + (unsigned char)text[i];
    return (ssize_t)bytes;
}

int main(void)
{
    int numbers[500], context = 0;
    void *tree = NULL;
    unsigned hash = 0;
    for (int i = 0; i < 500; i++)
        numbers[i] = (int)((unsigned)i * 7919 % 100000);
    qsort(numbers, 500, sizeof numbers[0], by_sorted_digits);
    printf("%d %d %d\n", numbers[0], numbers[250], numbers[499]);
    qsort_r(numbers, 500, sizeof numbers[0], with_context, &context);
    printf("%d %d %d %s\n", numbers[0], numbers[250], numbers[499],
           context > 500 ? "counted" : "not counted");
    qsort(numbers, 500, sizeof numbers[0], by_value);
    for (int i = 0; i < 500; i += 100)
        must(bsearch(&numbers[i], numbers, 500, sizeof numbers[0], by_value) == &numbers[i]);
    for (int i = 0; i < 200; i++)
        must(tsearch(&numbers[i * 17 % 500], &tree, by_value));
    twalk(tree, visit);
    must(tfind(&numbers[17], &tree, by_value));
    for (int i = 0; i < 200; i++)
        tdelete(&numbers[i * 17 % 500], &tree, by_value);
    must(tree == NULL);
    FILE *file = fopencookie(&hash, "w", (cookie_io_functions_t){.write = cookie_write});
    for (int i = 0; i < 500; i++)
        fprintf(file, "%d,", numbers[i]);
    fclose(file);
    printf("%lld %u %s\n", visited, hash, calls > 5000 ? "many calls" : "few calls");
    return 0;
}
