/* A program with one planted fault, for members to run: reads commands, answers a line each.
       work N    does something       read N    reads a field       null    reads it through NULL       exit N */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct record {
    int kind;
    int field;
};

/* Long enough that the read is not among the first instructions. */
__attribute__((noinline)) static int read_field(const struct record *record, const int *weights, int n)
{
    int sum = 0;
    for (int i = 0; i < n; i++)
        sum += weights[i] * i;
    return record->field + sum;
}

__attribute__((noinline)) static int work(int n)
{
    int *numbers = calloc((size_t)n + 1, sizeof *numbers), sum = 0;
    for (int i = 0; i <= n; i++)
        numbers[i] = i;
    for (int i = 0; i <= n; i++)
        sum += numbers[i];
    free(numbers);
    return sum;
}

int main(void)
{
    static const int weights[] = {3, 1, 4, 1, 5};
    char line[64];
    int n;
    setvbuf(stdout, NULL, _IOLBF, 0);
    puts("ready");
    while (fgets(line, sizeof line, stdin)) {
        if (!strcmp(line, "null\n"))
            printf("field %d\n", read_field(NULL, weights, 5));
        else if (sscanf(line, "read %d", &n) == 1)
            printf("field %d\n", read_field(&(struct record){1, n}, weights, 5));
        else if (sscanf(line, "work %d", &n) == 1)
            printf("worked %d\n", work(n) ? n : -1);
        else if (sscanf(line, "exit %d", &n) == 1)
            return n;
    }
    return 0;
}
