/* Threads: create, join, detach; mutex, condition, rwlock, barrier, once; TLS in all forms. */
/* flags: -pthread */
#define _GNU_SOURCE
#include "transparent.h"
#include <pthread.h>
#include <stdatomic.h>

enum { THREADS = 6, ITEMS = 3000 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t more = PTHREAD_COND_INITIALIZER, room = PTHREAD_COND_INITIALIZER;
static pthread_rwlock_t table_lock = PTHREAD_RWLOCK_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_barrier_t barrier;
static pthread_key_t key;
static int queue[16], head, tail, initialised;
static uint64_t table[32], consumed;
static atomic_ulong destroyed, detached, lock_free;
static __thread uint64_t local_sum = 7;
static __thread char local_text[32] = "initial";

static void start(void)
{
    initialised++;
}

static void destroy(void *value)
{
    atomic_fetch_add(&destroyed, *(unsigned long *)value);
    free(value);
}

static void *consumer(void *argument)
{
    unsigned long *mine = malloc(sizeof *mine);
    *mine = (unsigned long)(uintptr_t)argument;
    pthread_setspecific(key, mine);
    pthread_once(&once, start);
    must(strcmp(local_text, "initial") == 0 && local_sum == 7);
    snprintf(local_text, sizeof local_text, "thread %lu", *mine);
    pthread_barrier_wait(&barrier);
    for (;;) {
        pthread_mutex_lock(&lock);
        while (head == tail)
            pthread_cond_wait(&more, &lock);
        int item = queue[tail % 16];
        if (item >= 0)
            tail++;
        pthread_cond_signal(&room);
        pthread_mutex_unlock(&lock);
        if (item < 0)
            break;
        local_sum = (local_sum + work((unsigned)item % 3)) & 0xffffff;
        pthread_rwlock_wrlock(&table_lock);
        table[item % 32] += (uint64_t)item;
        pthread_rwlock_unlock(&table_lock);
        pthread_rwlock_rdlock(&table_lock);
        atomic_fetch_xor(&lock_free, table[(item + 1) % 32] * 0);
        pthread_rwlock_unlock(&table_lock);
        __atomic_fetch_add(&consumed, (uint64_t)item, __ATOMIC_SEQ_CST);
    }
    char expected[32];
    snprintf(expected, sizeof expected, "thread %lu", *(unsigned long *)pthread_getspecific(key));
    must(strcmp(expected, local_text) == 0);
    return (void *)(uintptr_t)(*mine * 2);
}

static void *alone(void *argument)
{
    work(2);
    atomic_fetch_add((atomic_ulong *)argument, 1);
    return NULL;
}

int main(void)
{
    pthread_t threads[THREADS], other;
    uintptr_t sum = 0;
    pthread_key_create(&key, destroy);
    pthread_barrier_init(&barrier, NULL, THREADS);
    for (uintptr_t i = 0; i < THREADS; i++)
        must(pthread_create(&threads[i], NULL, consumer, (void *)(i + 1)) == 0);
    for (int item = 0; item <= ITEMS; item++) {
        pthread_mutex_lock(&lock);
        while (head - tail == 16)
            pthread_cond_wait(&room, &lock);
        queue[head++ % 16] = item < ITEMS ? item : -1;
        pthread_cond_broadcast(&more);
        pthread_mutex_unlock(&lock);
    }
    for (int i = 0; i < THREADS; i++) {
        void *answer;
        pthread_join(threads[i], &answer);
        sum += (uintptr_t)answer;
    }
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, 128 * 1024);
    for (int i = 0; i < 20; i++)
        must(pthread_create(&other, &attributes, alone, &detached) == 0);
    while (atomic_load(&detached) < 20)
        sched_yield();
    uint64_t all = 0;
    for (int i = 0; i < 32; i++)
        all += table[i];
    printf("answers %lu consumed %llu table %llu once %d destroyed %lu\n", (unsigned long)sum,
           (unsigned long long)consumed, (unsigned long long)all, initialised, atomic_load(&destroyed));
    return 0;
}
