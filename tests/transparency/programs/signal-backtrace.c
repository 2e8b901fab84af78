/* Handlers that ask for a backtrace, as watchdogs do: of what they interrupted, in library functions that supervised ones called, on an
 * alternate stack and on the same; afterwards all returns as it should. */
/* flags: -fno-optimize-sibling-calls */
#define _GNU_SOURCE
#include "transparent.h"
#include <execinfo.h>
#include <signal.h>
#include <sys/time.h>
#include <time.h>

static volatile int found;
int sleeps(int depth);
int calls(int depth);
int begins(int depth);

/* How many of the three functions stand in the backtrace, and main. */
static void on_alarm(int signal)
{
    static const char *const wanted[] = {"(sleeps+", "(calls+", "(begins+", "(main+"};
    void *frames[60];
    int count = backtrace(frames, 60);
    char **names = backtrace_symbols(frames, count);
    (void)signal;
    found = 0;
    for (int f = 0; f < 4; f++)
        for (int i = 0; i < count; i++)
            if (strstr(names[i], wanted[f])) {
                found++;
                break;
            }
    free(names);
}

NOINLINE int sleeps(int depth)
{
    struct timespec left = {0, 300000000};
    volatile int kept[30];
    for (int i = 0; i < 30; i++)
        kept[i] = depth * i;
    while (nanosleep(&left, &left) != 0)
        ;
    return kept[29];
}

NOINLINE int calls(int depth)
{
    volatile int before = depth + 1;
    int result = sleeps(depth);
    return result + before;
}

NOINLINE int begins(int depth)
{
    volatile int before = depth * 3;
    int result = calls(depth);
    return result - before;
}

int main(void)
{
    static char alternate[1 << 16];
    void *warm[4];
    backtrace(warm, 4);
    for (int round = 0; round < 4; round++) {
        struct sigaction action = {.sa_handler = on_alarm, .sa_flags = round & 1 ? SA_ONSTACK : 0};
        stack_t stack = {.ss_sp = alternate, .ss_size = sizeof alternate};
        struct itimerval once = {.it_value = {0, 50000}};
        must(sigaltstack(&stack, NULL) == 0 && sigaction(SIGALRM, &action, NULL) == 0);
        must(setitimer(ITIMER_REAL, &once, NULL) == 0);
        int result = begins(round + 5);
        printf("%d: %d, %d of 4\n", round, result, found);
    }
    printf("%llx\n", (unsigned long long)work(5));
    return 0;
}
