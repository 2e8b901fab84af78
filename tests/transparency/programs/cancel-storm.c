/* Threads cancelled at every kind of place, deferred and at any instruction, again and again: handlers run once each, in order,
 * destructors of thread-specific data too, and what they held is free afterwards. */
/* flags: -pthread */
#define _GNU_SOURCE
#include "transparent.h"
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <unistd.h>

enum { KINDS = 8 };
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
static pthread_key_t key;
static sem_t never, started;
static int ends[2], order[8], cleaned, destroyed;

static void clean(void *argument)
{
    order[*(int *)argument] = ++cleaned;
}

static void unlock(void *argument)
{
    cleaned += 100;
    pthread_mutex_unlock(argument);
}

static void destroy(void *argument)
{
    destroyed += (int)(uintptr_t)argument;
}

static NOINLINE uint64_t wait_there(int kind)
{
    char byte;
    uint64_t sum = 0;
    if (kind == 4) {
        pthread_mutex_lock(&mutex);
        pthread_cleanup_push(unlock, &mutex);
        sem_post(&started);
        for (;;)
            pthread_cond_wait(&condition, &mutex);
        pthread_cleanup_pop(0);
    }
    if (kind >= 6)
        pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
    sem_post(&started);
    for (;;) {
        switch (kind) {
        case 0:
            sum += (uint64_t)read(ends[0], &byte, 1);
            break;
        case 1:
            sem_wait(&never);
            break;
        case 2:
            poll(NULL, 0, 10000);
            break;
        case 3:
            sum += work(1);
            pthread_testcancel();
            break;
        case 5:
            sleep(100);
            break;
        case 6:
            sum += work(2);
            break;
        default:
            for (volatile int i = 0; i < 1000; i++)
                sum += (uint64_t)i;
        }
    }
    return sum;
}

static NOINLINE uint64_t nested(int depth, int kind)
{
    uint64_t sum;
    pthread_cleanup_push(clean, &depth);
    sum = depth ? nested(depth - 1, kind) : wait_there(kind);
    pthread_cleanup_pop(1);
    return sum + 1;
}

static void *thread(void *argument)
{
    pthread_setspecific(key, (void *)7);
    return (void *)(uintptr_t)nested(3, *(int *)argument);
}

int main(void)
{
    must(pipe(ends) == 0 && sem_init(&never, 0, 0) == 0 && sem_init(&started, 0, 0) == 0 &&
         pthread_key_create(&key, destroy) == 0);
    for (int round = 0; round < 20; round++)
        for (int kind = 0; kind < KINDS; kind++) {
            pthread_t id;
            void *answer;
            cleaned = destroyed = 0;
            must(pthread_create(&id, NULL, thread, &kind) == 0);
            sem_wait(&started);
            if (kind == 4) { /* it waits by now: it gave the mutex back */
                pthread_mutex_lock(&mutex);
                pthread_mutex_unlock(&mutex);
            }
            must(pthread_cancel(id) == 0 && pthread_join(id, &answer) == 0 && answer == PTHREAD_CANCELED);
            must(cleaned == (kind == 4 ? 104 : 4) && destroyed == 7 && order[0] == cleaned - 3 &&
                 order[3] == cleaned);
            must(pthread_mutex_trylock(&mutex) == 0 && pthread_mutex_unlock(&mutex) == 0);
        }
    printf("cancelled %d, sum %llx\n", 20 * KINDS, (unsigned long long)work(9));
    return 0;
}
