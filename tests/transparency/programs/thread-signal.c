/* Signals sent to threads that run supervised code, a thread that waits for them, and masks of their own. */
/* flags: -pthread */
#define _GNU_SOURCE
#include "transparent.h"
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

enum { THREADS = 3, SIGNALS = 200 };

static atomic_int stop, taken;
static __thread volatile sig_atomic_t mine;

static void on_signal(int number)
{
    (void)number;
    mine++;
    work(1);
    atomic_fetch_add(&taken, 1);
}

static void *worker(void *argument)
{
    uint64_t first = work(5);
    (void)argument;
    while (!atomic_load(&stop))
        must(work(5) == first);
    return (void *)(uintptr_t)(mine > 0);
}

static void *waiter(void *argument)
{
    int number, sum = 0;
    for (int i = 0; i < 20; i++) {
        sigwait(argument, &number);
        sum += number == SIGUSR2;
    }
    return (void *)(uintptr_t)sum;
}

int main(void)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    pthread_t threads[THREADS], waiting;
    void *answer;
    uintptr_t sum = 0;
    sigset_t block;
    sigaction(SIGUSR1, &action, NULL);
    sigemptyset(&block);
    sigaddset(&block, SIGUSR2);
    pthread_sigmask(SIG_BLOCK, &block, NULL);
    must(pthread_create(&waiting, NULL, waiter, &block) == 0);
    for (int i = 0; i < THREADS; i++)
        must(pthread_create(&threads[i], NULL, worker, NULL) == 0);
    for (int i = 1; i <= SIGNALS; i++) {
        pthread_kill(threads[i % THREADS], SIGUSR1);
        while (atomic_load(&taken) < i)
            sched_yield();
    }
    for (int i = 0; i < 20; i++) {
        sigval_t value = {.sival_int = i};
        pthread_sigqueue(waiting, SIGUSR2, value);
        struct timespec pause = {0, 1000000};
        nanosleep(&pause, NULL);
        sigset_t pending;
        do
            sigpending(&pending);
        while (sigismember(&pending, SIGUSR2));
        if (i < 19)
            sched_yield();
    }
    atomic_store(&stop, 1);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], &answer);
        sum += (uintptr_t)answer;
    }
    printf("taken %d in %d threads\n", atomic_load(&taken), (int)sum);
    pthread_cancel(waiting);
    pthread_join(waiting, NULL);
    return 0;
}
