/* Rescue: an activation is undone and returns an error to its caller.

   The rescue point is the innermost supervised activation: its canonical frame address comes from the call-frame information
   at the faulting pc, its mark in the undo ring is the slot of its return address. Memory is restored before saved
   registers are read from the stack: the fault may have been about to overwrite, or have overwritten, just these.

   The next one up the stack is taken instead when the innermost has shown that it does not help:
     futile     the same activation site aborts over and over, and between two times its caller left nothing in the undo log, so that
                nothing that the function can see of memory has changed: it would abort for ever
     unhandled  right after an earlier abort of this function the caller that got the error faulted itself
   The activation there must be supervised and undoable too, and so must be its caller: a function that native code calls, the
   main loop among them, is the innermost or none. */
#include "stem/rescue.h"

enum { FUTILE_ABORTS = 256, SOON_ENTRIES = 64, PAIRS = 256 };

/* Functions whose error return this caller did not live through. Lost entries only cost a second try. */
static struct {
    uint32_t function, caller; /* page indices + 1 */
} unhandled[PAIRS];

static unsigned pair_of(uint32_t function, uint32_t caller)
{
    return (function * 31 + caller) % PAIRS;
}

static bool is_unhandled(const struct stem_function *function, const struct stem_function *caller)
{
    unsigned i = pair_of(function->index, caller->index);
    return unhandled[i].function == function->index + 1 && unhandled[i].caller == caller->index + 1;
}

/* ---- what an aborted function returns, and what its undo may have missed ------------------------------------------- */

static uint64_t error_value(const struct stem_function *function)
{
    uint8_t kind = stem_control->functions[function->index].returns;
    if (kind == WIRE_RETURNS_UNKNOWN)
        kind = function->returns;
    switch (kind) {
    case WIRE_RETURNS_INTEGER:
        return ~0ull;
    default:
        return 0;
    }
}

/* May stores of this activation stand that were made by a callee running natively? Looks at what the function can call, some
   levels deep: the log says nothing about calls that left nothing in it. */
bool stem_may_have_native_callee(const struct stem_function *function, enum stem_flavour flavour, int depth)
{
    struct stem_translation *t = stem_translation_of((uintptr_t)function->slot[flavour]->v);
    if (!t || t->calls_library)
        return true;
    if (t->calls_unknown && flavour == FLAVOUR_MONITOR &&
        stem_control->config.default_level == WIRE_LEVEL_NATIVE)
        return true;
    for (uint32_t i = 0; i < t->callee_count; i++) {
        const struct stem_function *callee = t->callees[i];
        if (callee->refusal ||
            (flavour == FLAVOUR_MONITOR && stem_control->level[callee->index] == WIRE_LEVEL_NATIVE))
            return true;
        if (depth && stem_translation_of((uintptr_t)callee->slot[flavour]->v) &&
            stem_may_have_native_callee(callee, flavour, depth - 1))
            return true;
    }
    return false;
}

/* ---- which activation ------------------------------------------------------------------------------------------------ */

struct point {
    struct stem_function *function;
    struct stem_frame frame; /* inside it */
    bool exact;
    uintptr_t slot; /* of its return address */
};

/* The activation that a frame belongs to. */
static bool point_at(struct point *p, const struct stem_frame *frame, bool exact)
{
    struct stem_frame outer = *frame;
    uintptr_t cfa = 0;
    p->function = stem_function_of_frame(frame, exact);
    p->frame = *frame;
    p->exact = exact;
    stem_frame_step(&outer, &cfa,
                    exact); /* its return address may be ruined: the canonical frame address counts */
    p->slot = cfa - 8;
    return p->function && cfa && stem_control->functions[p->function->index].returns != WIRE_RETURNS_CLOSED;
}

/* The next activation outward, when it runs in the cache and its caller does. */
static bool next_point(struct point *outer, const struct point *inner)
{
    struct stem_frame frame = inner->frame, above;
    uintptr_t cfa;
    if (!stem_frame_step(&frame, &cfa, inner->exact) || !stem_translation_of(frame.reg[DWARF_RA] - 1) ||
        !point_at(outer, &frame, false))
        return false;
    above = frame;
    return stem_frame_step(&above, &cfa, false) && stem_translation_of(above.reg[DWARF_RA] - 1) &&
           stem_undo_reaches(outer->slot, 0);
}

/* Whether the innermost point has shown that it does not help; keeps account of that. */
static bool wants_next(const struct point *p, const struct point *next, unsigned pending)
{
    struct stem_rescued *last = &stem_thread.rescued;
    uint64_t at = 0;
    bool marked = stem_undo_find(&at, p->slot, pending);
    /* The caller that was given the error last time is where it happens now, and soon after. */
    if (last->caller_slot == p->slot && last->function != p->function->index + 1 && last->function &&
        stem_undo_distance(last->position) < SOON_ENTRIES) {
        unsigned i = pair_of(last->function - 1, p->function->index);
        unhandled[i].function = last->function;
        unhandled[i].caller = p->function->index + 1;
    }
    if (marked && last->slot == p->slot && last->position == at && last->function == p->function->index + 1)
        last->again++;
    else
        last->again = 0;
    last->function = p->function->index + 1;
    last->slot = p->slot;
    last->position = at;
    last->caller_slot = next ? next->slot : 0;
    return next && (last->again >= FUTILE_ABORTS || is_unhandled(p->function, next->function));
}

struct stem_function *stem_rescue(struct stem_frame *frame, uint64_t *returned, uint32_t *not_undone,
                                  const struct stem_frame *inner, bool exact, unsigned pending)
{
    struct point p, next;
    struct stem_frame outer;
    uintptr_t cfa;
    uint64_t return_pc;
    if (!point_at(&p, inner, exact))
        return NULL;
    bool has_next = next_point(&next, &p);
    if (wants_next(&p, has_next ? &next : NULL, pending)) {
        p = next;
        stem_thread.rescued = (struct stem_rescued){0};
        stem_count(CORE_COUNTER_RESCUED_HIGHER, 1);
    }
    /* A leaf without stores of its own has no mark, and needs none. */
    struct stem_translation *t =
        stem_translation_of(p.exact ? p.frame.reg[DWARF_RA] : p.frame.reg[DWARF_RA] - 1);
    *not_undone = t && !t->marks ? 0 : stem_undo_to(p.slot, pending, inner->reg[DWARF_RSP]);
    enum stem_flavour flavour =
        stem_control->level[p.function->index] == WIRE_LEVEL_PROTECT ? FLAVOUR_PROTECT : FLAVOUR_MONITOR;
    if (stem_may_have_native_callee(p.function, flavour, 3))
        *not_undone |= WIRE_NOT_UNDONE_NATIVE;
    /* Only now: the stack holds what it held before. */
    outer = p.frame;
    if (!stem_frame_step(&outer, &cfa, p.exact) || !stem_safe_read(&return_pc, p.slot) ||
        stem_guard_is_changed(p.slot, return_pc))
        return NULL;
    stem_guard_clear(cfa);
    *returned = error_value(p.function);
    *frame = outer;
    __atomic_fetch_add(&stem_control->functions[p.function->index].aborts, 1, __ATOMIC_RELAXED);
    stem_count(CORE_COUNTER_HEALED, 1);
    return p.function;
}
