/* What a function of the program's own does to the registers that a call may change, so that its callers and its own returns leave
   some of them free.

   A caller that knows its callee may keep values in registers that the callee leaves alone (gcc's -fipa-ra). It goes by the
   callee as a whole: a register that is written anywhere in it, or that may be changed by a function it calls, is lost, whatever
   way the callee takes. So a register that a function changes is dead at its returns, apart from those that carry its result,
   where callers may be anybody and only the ABI holds: a helper that only its own object calls may return what it likes. And one that a callee neither reads nor changes keeps its value over the call.

   Hand-written code has conventions of its own. What does not look as compilers make it is left as it was, every register live:
   a function that changes a callee-saved register which it has not saved, that reads r11 or flags before it sets them, that
   another function jumps into, or behind calls of which a register is read that it has changed, other than its result. A register
   saved first and taken back later counts as unchanged. */
#include "stem/engine.h"

enum {
    ARGUMENTS = 1 << RDI | 1 << RSI | 1 << RDX | 1 << RCX | 1 << R8 | 1 << R9 | 1 << RAX | 1 << R10,
    CALLEE_SAVED = ALL_REGISTERS & ~CALLER_SAVED, /* and the stack pointer */
    RESULTS = 1 << RAX | 1 << RDX,
    CALLERS = 2, /* that are looked at */
    BEHIND = 12, /* instructions behind a call */
    CALLEE_BYTES =
        768, /* of larger ones nothing is learned before they are translated themselves: it takes time */
};

static uint32_t bit(unsigned r)
{
    return r < 16 ? 1u << r : 0;
}

/* ---- what a function changes --------------------------------------------------------------------------------------- */

/* Registers that one or two bytes push or pop. */
static uint32_t pushes(const struct stem_insn *insn)
{
    return insn->kind == INSN_PLAIN && insn->length <= 2 && (insn->writes & ALL_REGISTERS) == bit(RSP)
               ? insn->uses & ALL_REGISTERS & ~bit(RSP)
               : 0;
}

static uint32_t pops(const struct stem_insn *insn)
{
    uint32_t into = insn->writes & ALL_REGISTERS & ~bit(RSP);
    return insn->kind == INSN_PLAIN && insn->length <= 2 && insn->writes & bit(RSP) && !(insn->uses & into)
               ? into
               : 0;
}

/* A thread-local variable's address may come from a call through [rax] that changes nothing but rax. */
static bool may_be_descriptor(const struct stem_insn *insn)
{
    return insn->flags & INSN_HAS_MEM && insn->mem.base == RAX && insn->mem.index == NO_REGISTER;
}

/* The function that a direct call or jump leads to, when it is known to keep to the rules. */
static const struct stem_function *ordinary(const struct stem_unit *u, uint32_t target)
{
    const struct stem_function *f = stem_function_at(u->object, target);
    return f && f->convention == CONVENTION_ORDINARY ? f : NULL;
}

static bool find_changes(uint32_t *changes, const struct stem_unit *u)
{
    uint32_t written = 0, popped = 0, saved = 0, saved_first = 0, taken_back = 0, by_calls = 0;
    for (uint32_t i = 0; i < u->insn_count; i++) {
        const struct stem_insn *insn = &u->insns[i];
        uint32_t stored = pushes(insn), popped_here = pops(insn);
        if (insn->flags & INSN_PUSHES_PC)
            return false;
        if (insn->flags & INSN_OWN_FRAME && insn->mem.is_write)
            stored |= insn->uses & ~bit(insn->mem.base) & ALL_REGISTERS;
        if (insn->flags & INSN_OWN_FRAME && insn->mem.is_read)
            taken_back |= insn->writes;
        saved |= stored;
        saved_first |= stored & ~written;
        taken_back |= popped_here;
        popped |= popped_here;
        written |= insn->writes & ~popped_here;
        if (insn->flags & INSN_ABI_CALL || (insn->kind == INSN_CALL_INDIRECT && !may_be_descriptor(insn)))
            by_calls |= CALLER_SAVED;
        const struct stem_function *callee = insn->kind == INSN_CALL ? ordinary(u, insn->target) : NULL;
        if (callee)
            by_calls |= callee->changes;
    }
    if (written & CALLEE_SAVED & ~bit(RSP) & ~saved)
        return false;
    *changes = ((written | popped | by_calls) & CALLER_SAVED) & ~(saved_first & taken_back);
    return true;
}

/* ---- what callers expect --------------------------------------------------------------------------------------------- */

/* Some direct calls of each function of the object, found at every byte position: what only looks like one makes a function less
   ordinary, never more. Built once; false: no memory. */
static bool find_callers(struct stem_object *o)
{
    if (o->callers)
        return true;
    uint32_t start = (uint32_t)(o->code_low - o->base), bytes = (uint32_t)(o->code_high - o->code_low);
    uint32_t(*callers)[CALLERS] = stem_pages_map(o->function_count * sizeof *callers);
    for (uint32_t k = 0; callers && k < o->load_count; k++) {
        const uint8_t *end = (const uint8_t *)o->loads[k].high;
        for (const uint8_t *p = (const uint8_t *)o->loads[k].low; o->loads[k].is_code && p + 5 <= end; p++) {
            if (*p != 0xe8)
                continue;
            uint32_t rel, behind = (uint32_t)((uintptr_t)p + 5 - o->base);
            memcpy(&rel, p + 1, 4);
            const struct stem_function *f =
                behind + rel - start < bytes ? stem_function_at(o, behind + rel) : NULL;
            for (unsigned i = 0; f && i < CALLERS; i++)
                if (!callers[f - o->functions][i]) {
                    callers[f - o->functions][i] = behind;
                    break;
                }
        }
    }
    o->callers = callers;
    return callers != NULL;
}

/* Is one of the registers read behind a call before it is set? */
static bool reads_behind(const struct stem_object *o, uint32_t at, uint32_t registers)
{
    uint8_t bytes[15];
    struct stem_insn insn;
    for (unsigned n = 0; n < BEHIND && registers; n++) {
        if (stem_object_room(o, (const void *)(o->base + at)) < sizeof bytes)
            return false;
        stem_object_bytes(bytes, o, at, sizeof bytes);
        if (!stem_decode(&insn, bytes, sizeof bytes, at))
            return true;
        if (insn.uses & registers)
            return true;
        registers &= ~insn.writes; /* in part: a flag goes to a byte that is extended then */
        if (insn.kind != INSN_PLAIN && insn.kind != INSN_BRANCH && insn.kind != INSN_JUMP)
            return false;
        at = insn.kind == INSN_JUMP ? insn.target : at + insn.length;
    }
    return false;
}

static bool callers_want(struct stem_object *o, const struct stem_function *f, uint32_t registers)
{
    if (!find_callers(o))
        return true;
    const uint32_t *callers = (const uint32_t *)o->callers + (f - o->functions) * CALLERS;
    for (unsigned i = 0; i < CALLERS && callers[i]; i++)
        if (reads_behind(o, callers[i], registers))
            return true;
    return false;
}

/* ---- what calls and returns mean to liveness -------------------------------------------------------------------------- */

static void describe_call(const struct stem_unit *u, struct stem_insn *insn, bool known_only)
{
    const struct stem_function *callee = insn->kind == INSN_CALL ? ordinary(u, insn->target) : NULL;
    if (callee) {
        insn->uses |= callee->reads | CALLEE_SAVED;
        insn->kills |= callee->public ? callee->changes : 0;
        if (callee->quiet)
            insn->flags |= INSN_FREES_NOTHING;
    } else if (insn->kind == INSN_CALL_INDIRECT && !may_be_descriptor(insn)) {
        insn->uses |= ARGUMENTS | CALLEE_SAVED;
        insn->kills |= CALLER_SAVED;
    } else if (!known_only) {
        insn->uses |= ARGUMENTS | CALLEE_SAVED;
    } else {
        return;
    }
    insn->kills |= ALL_FLAGS;
    insn->flags |= INSN_ORDINARY;
}

static void describe(struct stem_unit *u, uint32_t at_return, bool known_only)
{
    for (uint32_t i = 0; i < u->insn_count; i++) {
        struct stem_insn *insn = &u->insns[i];
        if (insn->kind == INSN_CALL || insn->kind == INSN_CALL_INDIRECT) {
            if (!(insn->flags & INSN_ABI_CALL))
                describe_call(u, insn, known_only);
        } else if (insn->kind == INSN_RETURN) {
            insn->uses |= at_return;
            insn->kills |= ALL_REGISTERS | ALL_FLAGS; /* what follows is another matter */
            insn->flags |= INSN_ORDINARY;
        } else if (!known_only && (insn->kind == INSN_JUMP_INDIRECT || insn->kind == INSN_TRAP)) {
            insn->uses |= insn->kind == INSN_TRAP ? (uint32_t)CALLEE_SAVED : ARGUMENTS | CALLEE_SAVED;
            insn->kills |= ALL_REGISTERS | ALL_FLAGS;
            insn->flags |= INSN_ORDINARY;
        }
    }
}

/* Calls that may free or unmap, or whose callee is not known. */
static bool is_quiet(const struct stem_unit *u)
{
    for (uint32_t i = 0; i < u->insn_count; i++) {
        const struct stem_insn *insn = &u->insns[i];
        bool jumps = insn->kind == INSN_JUMP || insn->kind == INSN_BRANCH;
        bool leaves = insn->kind == INSN_CALL || (jumps && stem_unit_find(u, insn->target) < 0);
        const struct stem_function *callee = leaves ? ordinary(u, insn->target) : NULL;
        if (insn->flags & INSN_SYSTEM_CALL || insn->kind == INSN_JUMP_INDIRECT ||
            (insn->kind == INSN_CALL_INDIRECT && !(insn->flags & INSN_FREES_NOTHING)) ||
            (leaves && !(insn->flags & INSN_FREES_NOTHING) && !(callee && callee->quiet)))
            return false;
    }
    return true;
}

/* Describes the unit's function. The unit's calls and returns say afterwards what they say to one who only wants to know that. */
static void learn_unit(struct stem_unit *u)
{
    struct stem_function *f = u->function;
    uint32_t changes;
    if (!find_changes(&changes, u) || callers_want(u->object, f, changes & ~(uint32_t)RESULTS))
        return;
    f->quiet = is_quiet(u);
    u->convention = CONVENTION_ORDINARY;
    u->free_at_return = CALLER_SAVED & ~RESULTS;
    u->learns = true;
    describe(u, RESULTS | CALLEE_SAVED, false);
    stem_liveness(u);
    uint32_t live = u->insn_count ? u->insns[0].live : ALL_FLAGS;
    if (live & (bit(R11) | ALL_FLAGS))
        return;
    f->reads = (uint16_t)(live & CALLER_SAVED);
    f->changes = (uint16_t)changes;
    f->convention = CONVENTION_ORDINARY;
}

static bool may_be_ordinary(struct stem_function *f)
{
    f->convention = CONVENTION_OWN;
    return !f->entered && !f->maybe_entered && !f->hooked && !f->refusal;
}

/* Decodes a function behind the unit at hand and describes it. */
static void learn(struct stem_function *f, const struct stem_unit *behind)
{
    static struct stem_unit unit;
    if (may_be_ordinary(f) && stem_unit_build(&unit, behind->object, f, behind))
        learn_unit(&unit);
}

/* Takes back what learning wrote to calls, jumps and returns. */
static void restore(struct stem_unit *u)
{
    u->learns = false;
    for (uint32_t i = 0; i < u->insn_count; i++) {
        struct stem_insn *insn = &u->insns[i], fresh;
        uint8_t bytes[15];
        if (!(insn->flags & INSN_ORDINARY))
            continue;
        stem_object_bytes(bytes, u->object, insn->offset, insn->length);
        if (!stem_decode(&fresh, bytes, insn->length, insn->offset))
            continue;
        insn->uses = fresh.uses;
        insn->kills = fresh.kills;
        insn->flags &= ~(uint32_t)INSN_ORDINARY;
    }
}

void stem_conventions(struct stem_unit *u)
{
    struct stem_function *self = u->function;
    for (uint32_t i = 0; i < u->insn_count; i++) {
        const struct stem_insn *insn = &u->insns[i];
        bool leads = insn->kind == INSN_CALL || insn->kind == INSN_JUMP || insn->kind == INSN_BRANCH;
        struct stem_function *f = leads ? stem_function_at(u->object, insn->target) : NULL;
        if (f && f != self && f->convention == CONVENTION_UNKNOWN && f->bytes <= CALLEE_BYTES)
            learn(f, u);
    }
    if (self->convention == CONVENTION_UNKNOWN && may_be_ordinary(self)) {
        learn_unit(u);
        restore(u);
    }
    u->convention = self->convention;
    if (u->convention != CONVENTION_ORDINARY)
        return;
    uint32_t changes;
    if (find_changes(&changes, u)) /* more of its callees are known now */
        self->changes |= (uint16_t)changes;
    self->quiet = is_quiet(u);
    u->free_at_return = self->public ? self->changes & ~(uint32_t)RESULTS : 0;
    describe(u, ALL_REGISTERS & ~u->free_at_return, true);
}

uint32_t stem_convention_beyond(const struct stem_unit *u, uint32_t offset)
{
    if (u->convention != CONVENTION_ORDINARY)
        return ALL_REGISTERS;
    const struct stem_function *f = ordinary(u, offset);
    bool plt = !f && stem_object_plt_slot(u->object, offset);
    if (!f && !plt && !u->learns)
        return ALL_REGISTERS;
    return (ALL_REGISTERS & ~u->free_at_return) | (f ? f->reads : (uint32_t)ARGUMENTS);
}
