/* Fault records: each ready one is copied at once, the slot given back. A dying process waits in its slot
   until we say TAKEN, so a crash is unwound first and taken afterwards. */
#include "member/private.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

/* How long a slot may stay as it is when the process that holds it cannot be asked. */
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
    /* Only from the state we saw: a slow process may have finished it meanwhile. */
    __atomic_compare_exchange_n(&shared->state, &from, WIRE_FAULT_FREE, false, __ATOMIC_ACQ_REL,
                                __ATOMIC_RELAXED);
    slot->stage = SLOT_IDLE;
}

static void take(struct member *member, struct wire_fault *shared, struct slot *slot)
{
    struct wire_fault *record = &member->record;
    struct sites crash;
    memcpy(record, shared, sizeof *record);
    bool unwound = record->is_crash && member__unwind(member, &crash, record);
    bool waits = record->is_crash || record->outcome == CORE_OUTCOME_CRASHED ||
                 record->outcome == CORE_OUTCOME_STOPPED;
    __atomic_store_n(&shared->state, WIRE_FAULT_TAKEN, __ATOMIC_RELEASE);
    member__futex_wake(&shared->state);
    enter(slot, SLOT_TAKEN, record->pid);
    /* Who does not wait needs the slot for its next fault; who waits must find TAKEN there when it looks. */
    if (!waits)
        release(shared, slot, WIRE_FAULT_TAKEN);
    member__report(member, &member->fault, record, unwound ? &crash : NULL);
    if (member->hooks.fault)
        member->hooks.fault(member->hooks.context, &member->fault);
}

void member__collect(struct member *member)
{
    for (;;) {
        /* In the order of their claim: the first fault is the one that explains the others. */
        uint32_t first = WIRE_FAULTS_MAX;
        uint64_t lowest = UINT64_MAX;
        for (uint32_t i = 0; i < WIRE_FAULTS_MAX; i++) {
            struct wire_fault *shared = &member->page->faults[i];
            if (__atomic_load_n(&shared->state, __ATOMIC_ACQUIRE) == WIRE_FAULT_READY &&
                (first == WIRE_FAULTS_MAX || shared->sequence < lowest)) {
                first = i;
                lowest = shared->sequence;
            }
        }
        if (first == WIRE_FAULTS_MAX)
            break;
        member__answer(member); /* an object listed a moment ago may be the one that faulted */
        take(member, &member->page->faults[first], &member->slots[first]);
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
}
