/* Fault records: each ready one is copied at once, the slot given back. A dying process waits in its slot
   until we say TAKEN, so a crash is unwound first and taken afterwards. */
#include "member/private.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

/* How long a slot may stay as it is when the process that holds it cannot be asked. */
enum { ROUND_MAX = 2048 };
static const uint64_t filling_patience_ns = 5000000000u, taken_patience_ns = 2000000000u;

static bool is_dead(int pid)
{
    return pid > 0 && kill(pid, 0) && errno == ESRCH;
}

static void enter(struct slot *slot, enum slot_stage stage, int pid)
{
    slot->stage = stage;
    slot->pid = pid;
    slot->since_ns = base_monotonic_ns();
}

static void release(struct wire_fault *shared, struct slot *slot, uint32_t from)
{
    /* Who claims the slot next must not be taken for the dead process that had it before. */
    if (is_dead(slot->pid))
        __atomic_store_n(&shared->pid, 0, __ATOMIC_RELAXED);
    /* Only from the state we saw: a slow process may have finished it meanwhile. */
    __atomic_compare_exchange_n(&shared->state, &from, WIRE_FAULT_FREE, false, __ATOMIC_ACQ_REL,
                                __ATOMIC_RELAXED);
    slot->stage = SLOT_IDLE;
}

static void deliver(struct member *member, const struct sites *crash)
{
    member__answer(member); /* an object listed a moment ago may be the one that faulted */
    member__report(member, &member->fault, &member->record, crash);
    if (member->hooks.fault)
        member->hooks.fault(member->hooks.context, &member->fault);
}

static bool report_queued(struct member *member)
{
    struct queued *entry = NULL;
    member__drain(member);
    for (unsigned i = 0; i < ROUND_MAX && (entry = member__dequeue(member)); i++) {
        memset(&member->record, 0, sizeof member->record);
        memcpy(&member->record, entry->record, sizeof entry->record);
        member->record.is_crash = 0;
        free(entry);
        deliver(member, NULL);
    }
    return !entry;
}

/* Unwinds the process that waits in a slot, lets it go, then reports. */
static void report_crash(struct member *member, uint32_t index)
{
    struct wire_fault *shared = &member->page->faults[index];
    struct sites crash;
    memcpy(&member->record, shared, sizeof member->record);
    bool unwound = member__unwind(member, &crash, &member->record);
    __atomic_store_n(&shared->state, WIRE_FAULT_TAKEN, __ATOMIC_RELEASE);
    member__futex_wake(&shared->state);
    enter(&member->slots[index], SLOT_TAKEN, member->record.pid);
    deliver(member, unwound ? &crash : NULL);
}

bool member__collect(struct member *member)
{
    bool all = report_queued(member);
    for (unsigned i = 0; i < WIRE_FAULTS_MAX; i++) {
        uint32_t crash = member__next_ready(member, true);
        if (crash == WIRE_FAULTS_MAX)
            break;
        report_crash(member, crash);
    }
    uint64_t now = base_monotonic_ns();
    for (uint32_t i = 0; i < WIRE_FAULTS_MAX; i++) {
        struct wire_fault *shared = &member->page->faults[i];
        struct slot *slot = &member->slots[i];
        uint32_t state = __atomic_load_n(&shared->state, __ATOMIC_ACQUIRE);
        if (state == WIRE_FAULT_TAKEN) {
            if (slot->stage != SLOT_TAKEN)
                enter(slot, SLOT_TAKEN, shared->pid);
            if (is_dead(slot->pid) || now - slot->since_ns > taken_patience_ns)
                release(shared, slot, WIRE_FAULT_TAKEN);
        } else if (state == WIRE_FAULT_FILLING) {
            int pid = shared->pid;
            if (slot->stage != SLOT_FILLING || slot->pid != pid)
                enter(slot, SLOT_FILLING, pid);
            if (is_dead(pid) || now - slot->since_ns > filling_patience_ns)
                release(shared, slot, WIRE_FAULT_FILLING);
        } else {
            slot->stage = SLOT_IDLE;
        }
    }
    return all;
}
