/* What the accesses of a unit still need, decided before anything is emitted.

   A fact says that a range of bytes, relative to registers, has been checked (or logged) on every path that leads here. Facts flow
   forward over the blocks to a fixpoint: they survive copies of their registers and additions of constants, and
   end with a register, and at calls, since a callee may free; what the activation has logged stays logged.

   A check covers the whole range of accesses that its block makes through the same registers, up to four granules at once: then it
   moves before the later ones, within the block and never over a call. That asks where the granules lie: an access of eight
   bytes is taken to be aligned, as the ABI has it. */
#include "stem/translate.h"

enum { PASSES_MAX = 16, MERGE_GRANULES = 4 };

struct facts {
    uint32_t count;
    struct stem_fact fact[FACTS_MAX];
};

struct state {
    struct facts checked, logged;
};

static struct state *states; /* at the entry of each block */
static bool *reached;
static struct stem_need *needs;

static bool scratch(void)
{
    if (!states)
        states = stem_pages_scratch(UNIT_INSNS_MAX * sizeof *states);
    if (!reached)
        reached = stem_pages_scratch(UNIT_INSNS_MAX * sizeof *reached);
    if (!needs)
        needs = stem_pages_scratch(UNIT_INSNS_MAX * sizeof *needs);
    return states && reached && needs;
}

static uint32_t bit(unsigned r)
{
    return r < 16 ? 1u << r : 0;
}

static bool same_key(const struct stem_fact *f, const struct stem_mem *m)
{
    return f->base == m->base && f->index == m->index && f->scale == m->scale;
}

static bool known(const struct facts *facts, const struct stem_mem *m)
{
    for (uint32_t i = 0; i < facts->count; i++)
        if (same_key(&facts->fact[i], m) && m->disp >= facts->fact[i].from &&
            m->disp + m->bytes <= facts->fact[i].to)
            return true;
    return false;
}

static void add(struct facts *facts, const struct stem_fact *fact)
{
    for (uint32_t i = 0; i < facts->count; i++) {
        struct stem_fact *f = &facts->fact[i];
        if (f->base != fact->base || f->index != fact->index || f->scale != fact->scale ||
            fact->to < f->from || fact->from > f->to)
            continue;
        f->from = fact->from < f->from ? fact->from : f->from;
        f->to = fact->to > f->to ? fact->to : f->to;
        return;
    }
    if (facts->count == FACTS_MAX) { /* the oldest goes */
        memmove(&facts->fact[0], &facts->fact[1], (FACTS_MAX - 1) * sizeof facts->fact[0]);
        facts->count--;
    }
    facts->fact[facts->count++] = *fact;
}

static void learn(struct facts *facts, const struct stem_mem *m)
{
    if (!m->rip_relative && !m->segment)
        add(facts, &(struct stem_fact){m->base, m->index, m->scale, m->disp, m->disp + m->bytes});
}

static void forget(struct facts *facts, uint32_t written)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < facts->count; i++)
        if (!((bit(facts->fact[i].base) | bit(facts->fact[i].index)) & written))
            facts->fact[kept++] = facts->fact[i];
    facts->count = kept;
}

/* Moves a fact's range; a range that leaves 32 bits is given up. */
static bool shift(struct stem_fact *f, int64_t by)
{
    int64_t from = f->from + by, to = f->to + by;
    if (from != (int32_t)from || to != (int32_t)to)
        return false;
    f->from = (int32_t)from;
    f->to = (int32_t)to;
    return true;
}

/* r += constant: what lay at [r + x] now lies at [r + x - constant]. */
static void advance(struct facts *facts, unsigned r, int32_t by)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < facts->count; i++) {
        struct stem_fact f = facts->fact[i];
        int64_t back = 0;
        if (f.base == r)
            back -= by;
        if (f.index == r)
            back -= (int64_t)by * f.scale;
        if (shift(&f, back))
            facts->fact[kept++] = f;
    }
    facts->count = kept;
}

/* `to` becomes `from` plus a constant: facts about `from` hold for both. */
static void copy(struct facts *facts, unsigned to, unsigned from, int32_t by)
{
    forget(facts, bit(to));
    for (uint32_t i = 0, n = facts->count; i < n; i++) {
        struct stem_fact f = facts->fact[i];
        if (f.base != from || facts->count == FACTS_MAX)
            continue;
        f.base = (uint8_t)to;
        if (shift(&f, -(int64_t)by))
            facts->fact[facts->count++] = f;
    }
}

static void after_call(struct state *s, const struct stem_insn *insn)
{
    if (!(insn->flags & INSN_FREES_NOTHING))
        s->checked.count = 0;
    /* Code that was compiled apart keeps the callee-saved registers; a local callee may have conventions of its own. */
    uint32_t lost = insn->flags & (INSN_ABI_CALL | INSN_ORDINARY) || insn->kind == INSN_CALL_INDIRECT
                        ? CALLER_SAVED
                        : ALL_REGISTERS;
    forget(&s->checked, lost);
    forget(&s->logged, lost);
}

static void after(struct state *s, const struct stem_insn *insn)
{
    if (insn->kind == INSN_CALL || insn->kind == INSN_CALL_INDIRECT) {
        after_call(s, insn);
    } else if (insn->flags & INSN_SYSTEM_CALL) {
        s->checked.count = 0; /* may unmap */
        forget(&s->logged, insn->writes);
    } else if (insn->move_to == NO_REGISTER) {
        forget(&s->checked, insn->writes);
        forget(&s->logged, insn->writes);
    } else if (insn->move_to == insn->move_from) {
        advance(&s->checked, insn->move_to, insn->move_by);
        advance(&s->logged, insn->move_to, insn->move_by);
    } else {
        copy(&s->checked, insn->move_to, insn->move_from, insn->move_by);
        copy(&s->logged, insn->move_to, insn->move_from, insn->move_by);
    }
}

/* ---- over the blocks ------------------------------------------------------------------------------------------- */

/* Keeps what holds in both. Returns whether `facts` lost anything. */
static bool meet(struct facts *facts, const struct facts *other)
{
    bool changed = false;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < facts->count; i++) {
        struct stem_fact f = facts->fact[i];
        bool found = false;
        for (uint32_t k = 0; k < other->count && !found; k++) {
            const struct stem_fact *o = &other->fact[k];
            if (o->base != f.base || o->index != f.index || o->scale != f.scale || o->from >= f.to ||
                o->to <= f.from)
                continue;
            found = true;
            changed |= o->from > f.from || o->to < f.to;
            f.from = o->from > f.from ? o->from : f.from;
            f.to = o->to < f.to ? o->to : f.to;
        }
        if (found)
            facts->fact[kept++] = f;
        else
            changed = true;
    }
    facts->count = kept;
    return changed;
}

static bool flow_to(int32_t block, const struct state *s)
{
    if (block < 0)
        return false;
    if (!reached[block]) {
        reached[block] = true;
        states[block] = *s;
        return true;
    }
    bool checked = meet(&states[block].checked, &s->checked),
         logged = meet(&states[block].logged, &s->logged);
    return checked || logged;
}

static void run_block(const struct stem_emitter *e, const struct stem_block *block, struct state *s)
{
    for (uint32_t i = block->first; i < block->end; i++) {
        const struct stem_insn *insn = &e->unit->insns[i];
        if (stem_wants_check(e, insn))
            learn(&s->checked, &insn->mem);
        if (stem_wants_log(e, insn))
            learn(&s->logged, &insn->mem);
        after(s, insn);
    }
}

/* Control may come here from outside: by the function's entry, or through a pointer. */
static bool entered_from_outside(const struct stem_unit *u, uint32_t block)
{
    return u->blocks[block].first == 0 || u->insns[u->blocks[block].first].flags & INSN_INDIRECT_TARGET;
}

static void flow(const struct stem_emitter *e)
{
    const struct stem_unit *u = e->unit;
    for (uint32_t b = 0; b < u->block_count; b++) {
        states[b].checked.count = states[b].logged.count = 0;
        reached[b] = entered_from_outside(u, b);
    }
    bool changed = true;
    for (unsigned pass = 0; changed && pass < PASSES_MAX; pass++) {
        changed = false;
        for (uint32_t b = 0; b < u->block_count; b++) {
            if (!reached[b])
                continue;
            struct state s = states[b];
            run_block(e, &u->blocks[b], &s);
            changed |= flow_to(u->blocks[b].next, &s);
            changed |= flow_to(u->blocks[b].target, &s);
        }
    }
    /* No fixpoint yet: what is known is too much. A block that nothing leads to is entered with nothing known. */
    for (uint32_t b = 0; b < u->block_count; b++)
        if (changed || !reached[b])
            states[b].checked.count = states[b].logged.count = 0;
}

/* ---- decisions --------------------------------------------------------------------------------------------------- */

static int32_t granule(int64_t relative)
{
    return (int32_t)(relative >> 3);
}

/* May a check of a later access come before this instruction? What may trap must not be overtaken, and the call-frame information
   must find the frame as it is. */
static bool may_pass(const struct stem_insn *insn)
{
    return insn->kind == INSN_PLAIN &&
           !(insn->flags & (INSN_STRING | INSN_EXOTIC | INSN_SYSTEM_CALL | INSN_DIVIDES | INSN_SETS_FRAME)) &&
           !(insn->writes & bit(RSP));
}

static void merge(const struct stem_emitter *e, const struct stem_block *block, uint32_t first,
                  struct facts *checked)
{
    const struct stem_insn *insns = e->unit->insns;
    const struct stem_mem *m = &insns[first].mem;
    uint32_t registers = bit(m->base) | bit(m->index), end = first;
    int32_t residue = m->bytes == 8 ? m->disp & 7 : -1;
    while (end + 1 < block->end && may_pass(&insns[end]) && !(insns[end].writes & registers)) {
        const struct stem_insn *insn = &insns[++end];
        struct stem_fact key = {m->base, m->index, m->scale, 0, 0};
        if (residue < 0 && stem_wants_check(e, insn) && same_key(&key, &insn->mem) && insn->mem.bytes == 8)
            residue = insn->mem.disp & 7;
    }
    if (residue < 0)
        return;
    struct stem_need *need = &needs[first], *tail = need;
    int32_t low = granule((int64_t)m->disp - residue),
            high = granule((int64_t)m->disp - residue + m->bytes - 1);
    uint32_t covered = 0; /* bit k: granule low0 + k - 8 */
    int32_t origin = low - 8;
    if (high - low >= MERGE_GRANULES)
        return;
    for (int32_t g = low; g <= high; g++)
        covered |= 1u << (g - origin);
    for (uint32_t i = first + 1; i <= end; i++) {
        const struct stem_insn *insn = &insns[i];
        struct stem_fact key = {m->base, m->index, m->scale, 0, 0};
        if (!stem_wants_check(e, insn) || !same_key(&key, &insn->mem) || known(checked, &insn->mem) ||
            stem_bounds_of(e, i) || (insn->mem.bytes == 8 && (insn->mem.disp & 7) != residue))
            continue;
        int32_t from = granule((int64_t)insn->mem.disp - residue),
                to = granule((int64_t)insn->mem.disp - residue + insn->mem.bytes - 1);
        int32_t lowest = from < low ? from : low, highest = to > high ? to : high;
        if (highest - lowest >= MERGE_GRANULES)
            continue;
        low = lowest;
        high = highest;
        for (int32_t g = from; g <= to; g++)
            covered |= 1u << (g - origin);
        tail->next = i;
        tail = &needs[i];
        learn(checked, &insn->mem);
    }
    int64_t last = (int64_t)residue + 8ll * high + 7;
    if (tail == need || last > INT32_MAX || last < INT32_MIN) {
        need->next = 0;
        return;
    }
    need->granules = (uint8_t)(high - low + 1);
    need->mask = (uint8_t)(covered >> (low - origin));
    need->last = (int32_t)last;
}

static void decide(const struct stem_emitter *e, const struct stem_block *block, struct state *s)
{
    for (uint32_t i = block->first; i < block->end; i++) {
        const struct stem_insn *insn = &e->unit->insns[i];
        if (stem_wants_check(e, insn)) {
            if (stem_bounds_of(e, i)) {
                needs[i].check = true;
            } else if (!known(&s->checked, &insn->mem) || stem_knob(e, CORE_KNOB_NO_CHECK_FACTS)) {
                needs[i].check = true;
                if (!stem_knob(e, CORE_KNOB_NO_MERGE))
                    merge(e, block, i, &s->checked);
            }
            learn(&s->checked, &insn->mem);
        }
        if (stem_wants_log(e, insn)) {
            needs[i].log = !known(&s->logged, &insn->mem) || stem_knob(e, CORE_KNOB_NO_LOG_FACTS);
            learn(&s->logged, &insn->mem);
        }
        after(s, insn);
    }
}

bool stem_facts(struct stem_emitter *e)
{
    const struct stem_unit *u = e->unit;
    if (!scratch())
        return false;
    e->needs = needs;
    memset(needs, 0, u->insn_count * sizeof *needs);
    if (e->mode < WIRE_MODE_CHECK)
        return true;
    flow(e);
    for (uint32_t b = 0; b < u->block_count; b++) {
        struct state s = states[b];
        decide(e, &u->blocks[b], &s);
    }
    return true;
}
