/* Threads that end in the middle: pthread_exit and cancellation under deep frames, with clean-up handlers. */
/* flags: -pthread */
#define _GNU_SOURCE
#include "transparent.h"
#include <pthread.h>
#include <unistd.h>

static int cleaned;
static pthread_barrier_t ready;

static void clean(void *argument)
{
    cleaned += *(int *)argument;
}

static NOINLINE uint64_t deep_exit(int depth)
{
    int mine = 1;
    uint64_t answer = 0;
    pthread_cleanup_push(clean, &mine);
    if (depth == 0)
        pthread_exit((void *)0x1234);
    answer = deep_exit(depth - 1) + work(1);
    pthread_cleanup_pop(1);
    return answer;
}

static void *exits(void *argument)
{
    return (void *)(uintptr_t)deep_exit(*(int *)argument);
}

static NOINLINE uint64_t deep_wait(int depth, int how)
{
    int mine = 100;
    uint64_t answer = 0;
    pthread_cleanup_push(clean, &mine);
    if (depth == 0) {
        pthread_barrier_wait(&ready);
        for (;;) {
            if (how == 0)
                pause();
            else if (how == 1)
                pthread_testcancel();
            answer += work(1);
        }
    }
    answer = deep_wait(depth - 1, how) + 1;
    pthread_cleanup_pop(1);
    return answer;
}

static void *waits(void *argument)
{
    int how = *(int *)argument;
    if (how == 2)
        pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
    return (void *)(uintptr_t)deep_wait(4, how);
}

static void *ends_main(void *argument)
{
    pthread_join(*(pthread_t *)argument, NULL);
    printf("main has ended, cleaned %d\n", cleaned);
    exit(0);
}

int main(void)
{
    static pthread_t thread, self;
    void *answer;
    pthread_barrier_init(&ready, NULL, 2);
    for (int depth = 0; depth < 10; depth++) {
        must(pthread_create(&thread, NULL, exits, &depth) == 0);
        must(pthread_join(thread, &answer) == 0 && answer == (void *)0x1234);
    }
    printf("exited, cleaned %d\n", cleaned);
    for (int round = 0; round < 9; round++) {
        int how = round % 3;
        must(pthread_create(&thread, NULL, waits, &how) == 0);
        pthread_barrier_wait(&ready);
        must(pthread_cancel(thread) == 0);
        must(pthread_join(thread, &answer) == 0 && answer == PTHREAD_CANCELED);
    }
    printf("cancelled, cleaned %d\n", cleaned);
    fflush(stdout);
    self = pthread_self();
    must(pthread_create(&thread, NULL, ends_main, &self) == 0);
    pthread_exit(NULL);
}
