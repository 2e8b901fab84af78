/* The collector thread. A program that faults in a loop fills the page's slots within a millisecond, and to look up the names
   and lines of one report takes longer than that. So a thread of its own copies records out of the page as they
   come, and member_serve reports them when it gets there. Crashes are left in their slot: their process waits to be
   unwound, which is done by member_serve. */
#define _GNU_SOURCE
#include "member/private.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

enum {
    QUEUE_MAX = 16384 /* 22 MB; beyond it slots stay full and the runtime counts what it drops */,
    WAIT_MS = 200
};

uint32_t member__next_ready(const struct member *member, bool crash)
{
    /* In the order of their claim: the first fault is the one that explains the others. */
    uint32_t next = WIRE_FAULTS_MAX;
    uint64_t lowest = UINT64_MAX;
    for (uint32_t i = 0; i < WIRE_FAULTS_MAX; i++) {
        const struct wire_fault *shared = &member->page->faults[i];
        if (__atomic_load_n(&shared->state, __ATOMIC_ACQUIRE) != WIRE_FAULT_READY ||
            (__atomic_load_n(&shared->is_crash, __ATOMIC_RELAXED) != 0) != crash)
            continue;
        uint64_t sequence = __atomic_load_n(&shared->sequence, __ATOMIC_RELAXED);
        if (next == WIRE_FAULTS_MAX || sequence < lowest) {
            next = i;
            lowest = sequence;
        }
    }
    return next;
}

/* Called with the queue's lock held. */
static bool enqueue(struct member *member, const struct wire_fault *shared)
{
    struct queued *entry = member->queue_count < QUEUE_MAX ? malloc(sizeof *entry) : NULL;
    if (!entry)
        return false;
    entry->next = NULL;
    memcpy(entry->record, shared, sizeof entry->record);
    *member->queue_end = entry;
    member->queue_end = &entry->next;
    member->queue_count++;
    return true;
}

struct queued *member__dequeue(struct member *member)
{
    pthread_mutex_lock(&member->queue_lock);
    struct queued *entry = member->queue_first;
    if (entry) {
        member->queue_first = entry->next;
        member->queue_count--;
        if (!member->queue_first)
            member->queue_end = &member->queue_first;
    }
    pthread_mutex_unlock(&member->queue_lock);
    return entry;
}

void member__drain(struct member *member)
{
    uint32_t i;
    pthread_mutex_lock(&member->queue_lock);
    while ((i = member__next_ready(member, false)) < WIRE_FAULTS_MAX) {
        struct wire_fault *shared = &member->page->faults[i];
        if (!enqueue(member, shared))
            break;
        uint32_t outcome = __atomic_load_n(&shared->outcome, __ATOMIC_RELAXED);
        /* Who goes on needs the slot for its next fault; who waits for its end must find TAKEN there when it looks,
           and member_serve frees the slot later. */
        bool waits = outcome == CORE_OUTCOME_CRASHED || outcome == CORE_OUTCOME_STOPPED;
        if (!waits) /* who claims the slot next must not be taken for the dead process that had it before */
            __atomic_store_n(&shared->pid, 0, __ATOMIC_RELAXED);
        __atomic_store_n(&shared->state, waits ? WIRE_FAULT_TAKEN : WIRE_FAULT_FREE, __ATOMIC_RELEASE);
        member__futex_wake(&shared->state);
    }
    pthread_mutex_unlock(&member->queue_lock);
}

static void *collect(void *context)
{
    struct member *member = context;
    while (!__atomic_load_n(&member->collector_ends, __ATOMIC_ACQUIRE)) {
        uint32_t seen = __atomic_load_n(&member->page->doorbell, __ATOMIC_SEQ_CST);
        member__drain(member);
        __atomic_fetch_add(&member->work, 1, __ATOMIC_SEQ_CST);
        member__futex_wake(&member->work);
        member__futex_wait(&member->page->doorbell, seen, WAIT_MS);
    }
    return NULL;
}

int member__collector_start(struct base_error *error, struct member *member)
{
    if (member->collecting)
        return 0;
    /* Signals are for the thread that serves: its sleep is what they end. */
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int code = pthread_create(&member->collector, NULL, collect, member);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (code)
        return base_fail(error, BASE_EXIT_ENVIRONMENT, "cannot start a thread: %s", strerror(code));
    member->collecting = true;
    return 0;
}

void member__collector_stop(struct member *member)
{
    if (member->collecting) {
        __atomic_store_n(&member->collector_ends, 1, __ATOMIC_RELEASE);
        __atomic_fetch_add(&member->page->doorbell, 1, __ATOMIC_SEQ_CST);
        member__futex_wake(&member->page->doorbell);
        pthread_join(member->collector, NULL);
        member->collecting = false;
    }
    for (struct queued *entry; (entry = member__dequeue(member));)
        free(entry);
}
