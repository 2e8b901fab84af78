/* Timers at a high rate while supervised code runs: real, virtual and profiling; the handler works too. */
#include "transparent.h"
#include <signal.h>
#include <sys/time.h>

static volatile sig_atomic_t ticks;
static volatile uint64_t handled;

static void on_tick(int number)
{
    ticks++;
    handled ^= work(1) + (uint64_t)number;
}

int main(void)
{
    static const int timers[][2] = {
        {ITIMER_REAL, SIGALRM}, {ITIMER_VIRTUAL, SIGVTALRM}, {ITIMER_PROF, SIGPROF}};
    uint64_t sum = 0;
    for (int i = 0; i < 3; i++) {
        struct sigaction action = {.sa_handler = on_tick, .sa_flags = SA_RESTART};
        sigaction(timers[i][1], &action, NULL);
        struct itimerval often = {{0, 300}, {0, 300}}, never = {{0, 0}, {0, 0}};
        setitimer(timers[i][0], &often, NULL);
        ticks = 0;
        /* until it has struck often enough, but every round computes the same */
        for (int round = 0; round < 40 || ticks < 5; round++) {
            uint64_t now = work(20);
            must(sum == 0 || now == sum);
            sum = now;
        }
        setitimer(timers[i][0], &never, NULL);
    }
    printf("sum %llx\n", (unsigned long long)sum);
    return 0;
}
