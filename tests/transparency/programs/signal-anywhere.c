/* Signals at 10 kHz from two timers, at any instruction, nested, on an alternate stack, while supervised code computes: each handler
 * looks at the context that it interrupted, which must be the program's own, and works. */
/* flags: -lrt */
#define _GNU_SOURCE
#include "transparent.h"
#include <errno.h>
#include <signal.h>
#include <time.h>
#include <ucontext.h>

/* On a busy machine handlers nest twenty deep and more, each with a frame of several KiB for the vector registers. */
enum { RANGES = 64, STACK = 1 << 21 };

static struct {
    uintptr_t low, high;
} code[RANGES];
static int ranges;
static volatile sig_atomic_t ticks, deepest, depth, strange, off_stack;
static volatile uint64_t handled;
static char *own_stack;

/* Executable parts of files: the program's, the libraries'. */
static void find_code(void)
{
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[600];
    must(maps != NULL);
    while (fgets(line, sizeof line, maps) && ranges < RANGES) {
        unsigned long low, high;
        char rights[8], path[300] = "";
        if (sscanf(line, "%lx-%lx %7s %*s %*s %*s %299s", &low, &high, rights, path) == 4 &&
            rights[2] == 'x' && (path[0] == '/' || !strcmp(path, "[vdso]"))) {
            code[ranges].low = low;
            code[ranges++].high = high;
        }
    }
    fclose(maps);
}

static int is_code(uintptr_t pc)
{
    for (int i = 0; i < ranges; i++)
        if (pc - code[i].low < code[i].high - code[i].low)
            return 1;
    return 0;
}

static void on_tick(int number, siginfo_t *what, void *context)
{
    const ucontext_t *interrupted = context;
    char here;
    int saved = errno;
    ticks++;
    if (++depth > deepest)
        deepest = depth;
    strange += !is_code((uintptr_t)interrupted->uc_mcontext.gregs[REG_RIP]) || what->si_signo != number;
    char *address = hide(&here);
    off_stack += address < own_stack || address >= own_stack + STACK;
    handled += work(1);
    depth--;
    errno = saved;
}

static uint64_t NOINLINE mixed(unsigned round)
{
    char text[64];
    double numbers[8];
    uint64_t sum = work(2);
    for (int i = 0; i < 8; i++)
        numbers[i] = (double)(round + (unsigned)i) * 1.5;
    for (int i = 1; i < 8; i++)
        numbers[i] += numbers[i - 1] * 0.25;
    int length = snprintf(text, sizeof text, "%.4f %u", numbers[7], round);
    char *copy = strdup(text);
    sum = work_mix(sum, (uint64_t)length + (uint64_t)copy[length / 2]);
    free(copy);
    return sum;
}

int main(void)
{
    struct sigaction action = {.sa_sigaction = on_tick,
                               .sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK | SA_NODEFER};
    timer_t timers[2];
    uint64_t first[32];
    find_code();
    own_stack = malloc(STACK);
    must(own_stack && sigaltstack(&(stack_t){.ss_sp = own_stack, .ss_size = STACK}, NULL) == 0);
    for (unsigned i = 0; i < 32; i++)
        first[i] = mixed(i);
    for (int i = 0; i < 2; i++) {
        struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = i ? SIGRTMIN : SIGUSR1};
        struct itimerspec often = {{0, 100000}, {0, 100000}};
        must(sigaction(event.sigev_signo, &action, NULL) == 0);
        must(timer_create(CLOCK_MONOTONIC, &event, &timers[i]) == 0 &&
             timer_settime(timers[i], 0, &often, NULL) == 0);
    }
    for (unsigned round = 0; round < 2000 || ticks < 400; round++)
        must(mixed(round % 32) == first[round % 32]);
    for (int i = 0; i < 2; i++)
        timer_delete(timers[i]);
    uint64_t sum = 0;
    for (unsigned i = 0; i < 32; i++)
        sum = work_mix(sum, first[i]);
    printf("strange %d off the stack %d nested %d sum %llx\n", (int)strange, (int)off_stack, deepest >= 1,
           (unsigned long long)sum);
    return 0;
}
