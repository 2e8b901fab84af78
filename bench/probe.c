/* Times single operations from inside a program: calls of small functions, which testudo bench supervises by their names
   probe_*, and allocations, which go to whatever allocator is loaded. Prints lines `NAME NANOSECONDS` of this thread's CPU
   time, the median of rounds. Rounds are short: on a busy machine most of them still run undisturbed. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define WATCHED __attribute__((noinline, used))

enum { ROUNDS = 101, FAULTS = 60, CELLS = 128, BATCH = 512 };

long probe_empty(long value);
long probe_store_1(long value);
long probe_store_10(long value);
long probe_store_100(long value);
long probe_fault_0(long value);
long probe_fault_100(long value);

static volatile long cells[CELLS];
static volatile long *volatile nowhere; /* stays NULL */
static volatile long sink;

WATCHED long probe_empty(long value)
{
    __asm__ volatile("");
    return value + 1;
}

static inline __attribute__((always_inline)) long store(long value, int count)
{
    for (int i = 0; i < count; i++)
        cells[i] = value;
    return value + 1;
}

WATCHED long probe_store_1(long value)
{
    return store(value, 1);
}

WATCHED long probe_store_10(long value)
{
    return store(value, 10);
}

WATCHED long probe_store_100(long value)
{
    return store(value, 100);
}

/* A fault after so many stores: only for a supervisor that heals. */
WATCHED long probe_fault_0(long value)
{
    *nowhere = value;
    return value + 1;
}

WATCHED long probe_fault_100(long value)
{
    long next = store(value, 100);
    *nowhere = value;
    return next;
}

static uint64_t now_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static int by_size(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

static void print_median(const char *name, double *values, int count)
{
    qsort(values, (size_t)count, sizeof *values, by_size);
    printf("%s %.4f\n", name, values[count / 2]);
    fflush(stdout);
}

static void time_calls(const char *name, long (*function)(long), long calls)
{
    double each[ROUNDS];
    for (int round = -1; round < ROUNDS; round++) { /* the first one warms up */
        uint64_t start = now_ns();
        for (long i = 0; i < calls; i++)
            sink = function(i);
        if (round >= 0)
            each[round] = (double)(now_ns() - start) / (double)calls;
    }
    print_median(name, each, ROUNDS);
}

/* Returns whether every call failed as it should and left no store behind. */
static int time_faults(const char *name, long (*function)(long))
{
    double each[FAULTS];
    for (int i = 0; i < FAULTS; i++) {
        for (int c = 0; c < CELLS; c++)
            cells[c] = c;
        uint64_t start = now_ns();
        long result = function(1000 + i);
        each[i] = (double)(now_ns() - start);
        for (int c = 0; c < CELLS; c++)
            if (cells[c] != c || result != -1) {
                fprintf(stderr, "testudo-probe: %s was not undone\n", name);
                return 1;
            }
        /* Faults are never so frequent that their records wait for each other. */
        nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    }
    print_median(name, each, FAULTS);
    return 0;
}

/* Large blocks cost system calls, which take long and vary little. */
static int rounds_for(size_t bytes)
{
    return bytes <= 4096 ? ROUNDS : ROUNDS / 10;
}

static void time_pairs(size_t bytes)
{
    char name[64];
    double each[ROUNDS];
    int rounds = rounds_for(bytes);
    long calls = bytes <= 4096 ? 20000 : bytes <= 65536 ? 2000 : 50;
    for (int round = -1; round < rounds; round++) {
        uint64_t start = now_ns();
        for (long i = 0; i < calls; i++) {
            char *volatile block = malloc(bytes);
            *block = 1;
            free(block);
        }
        if (round >= 0)
            each[round] = (double)(now_ns() - start) / (double)calls;
    }
    snprintf(name, sizeof name, "pair %zu", bytes);
    print_median(name, each, rounds);
}

/* Many blocks that live at once and are freed in another order than they came. */
static void time_batches(size_t bytes)
{
    char name[64], *blocks[BATCH];
    double each[ROUNDS];
    int rounds = rounds_for(bytes);
    long batches = bytes <= 4096 ? 20 : 1;
    for (int round = -1; round < rounds; round++) {
        uint64_t start = now_ns();
        for (long b = 0; b < batches; b++) {
            for (int i = 0; i < BATCH; i++) {
                blocks[i] = malloc(bytes);
                *(volatile char *)blocks[i] = 1;
            }
            for (int i = 0; i < BATCH; i++)
                free(blocks[i * 77 % BATCH]); /* 77 and 512 have no common divisor: each once */
        }
        if (round >= 0)
            each[round] = (double)(now_ns() - start) / (double)(batches * BATCH);
    }
    snprintf(name, sizeof name, "batch %zu", bytes);
    print_median(name, each, rounds);
}

int main(int argc, char **argv)
{
    long calls = argc > 2 ? atol(argv[2]) : 0;
    if (calls < 1) {
        fputs("usage: testudo-probe calls|faults|heap CALLS\n", stderr);
        return 2;
    }
    if (strcmp(argv[1], "calls") == 0) {
        time_calls("empty", probe_empty, calls);
        time_calls("store_1", probe_store_1, calls);
        time_calls("store_10", probe_store_10, calls);
        time_calls("store_100", probe_store_100, calls / 10 + 1);
    } else if (strcmp(argv[1], "faults") == 0) {
        return time_faults("fault_0", probe_fault_0) || time_faults("fault_100", probe_fault_100);
    } else {
        static const size_t sizes[] = {16, 64, 256, 1024, 4096, 65536, 1048576};
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            time_pairs(sizes[i]);
            time_batches(sizes[i]);
        }
    }
    return 0;
}
