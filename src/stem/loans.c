/* Registers on loan. Where an inserted sequence needs a register and none is dead, it borrows a live one: the value waits in a thread
   slot until an instruction of the application wants it, so that neighbouring sequences share one loan. Of the registers that could
   be borrowed, the one goes that is wanted last.

   Within a loop some registers may be on loan all the time (loops.c): each block says which values wait in their slots where it
   begins, and the edges between blocks with different loans move them. Every other loan ends with its block.

   The map from the cache to the application tells which values wait: a handler is shown them, and a fault finds them. An entry may
   claim a loan whose register has its value back already, as long as the slot holds it as well. */
#include "stem/translate.h"

enum { LOAN_NONE, LOAN_OUT, LOAN_BACK, LOAN_CHANGED }; /* of a loan: see struct stem_loan */

static uint32_t bit(unsigned r)
{
    return r < 16 ? 1u << r : 0;
}

static unsigned reg_at(uint16_t lent, unsigned k)
{
    return stem_lent_register(lent, k);
}

static int32_t slot_of(unsigned k)
{
    return (int32_t)(stem_thread_offset + (int64_t)(offsetof(struct stem_thread, lent) + 8 * k));
}

uint16_t stem_loans_out(const struct stem_emitter *e)
{
    unsigned lent = 0;
    for (unsigned k = 0; k < LENT_MAX; k++)
        if (e->loans[k].state == LOAN_OUT)
            lent |= (e->loans[k].reg ^ RSP) << 4 * k;
    return (uint16_t)lent;
}

uint32_t stem_loans_mask(const struct stem_emitter *e)
{
    uint32_t mask = 0;
    for (unsigned k = 0; k < LENT_MAX; k++)
        if (e->loans[k].state == LOAN_OUT)
            mask |= bit(e->loans[k].reg);
    return mask;
}

/* Code behind these relies on all registers, or changes what we do not see. */
static bool wants_all(const struct stem_insn *insn)
{
    return (insn->kind != INSN_PLAIN && insn->kind != INSN_JUMP && insn->kind != INSN_BRANCH) ||
           insn->flags & (INSN_STRING | INSN_EXOTIC | INSN_SYSTEM_CALL | INSN_SAVES_X87 | INSN_SHORT_ONLY);
}

bool stem_loans_may_span(const struct stem_insn *insn)
{
    return !wants_all(insn);
}

void stem_loans_begin(struct stem_emitter *e, const struct stem_block *block)
{
    for (unsigned k = 0; k < LENT_MAX; k++) {
        unsigned r = reg_at(block->lent, k);
        e->loans[k] = r == RSP ? (struct stem_loan){0}
                               : (struct stem_loan){.reg = (uint8_t)r, .state = LOAN_OUT, .standing = true};
    }
    e->lent = block->lent;
    e->last_need = block->first;
    for (uint32_t i = block->first; i < block->end; i++)
        if (e->needs[i].check || e->needs[i].log)
            e->last_need = i;
}

static void bring_back(struct stem_emitter *e, unsigned k)
{
    stem_emit_load_tls(&e->p, e->loans[k].reg, slot_of(k));
    e->loans[k].state = LOAN_BACK;
}

void stem_loans_before(struct stem_emitter *e, uint32_t index)
{
    const struct stem_insn *insn = &e->unit->insns[index];
    bool all = wants_all(insn), last = index > e->last_need;
    for (unsigned k = 0; k < LENT_MAX; k++) {
        struct stem_loan *loan = &e->loans[k];
        uint32_t mask = bit(loan->reg);
        bool ends = all || (last && !loan->standing);
        if (loan->state == LOAN_OUT && (ends || insn->uses & mask) && insn->live & mask)
            bring_back(e, k);
        if (ends && !loan->standing)
            loan->state = LOAN_NONE;
    }
}

void stem_loans_after(struct stem_emitter *e, const struct stem_insn *insn)
{
    bool all = wants_all(insn);
    for (unsigned k = 0; k < LENT_MAX; k++) {
        struct stem_loan *loan = &e->loans[k];
        if (loan->state != LOAN_NONE && (all || insn->writes & bit(loan->reg)))
            loan->state = loan->standing ? LOAN_CHANGED : LOAN_NONE;
    }
}

void stem_loans_end(struct stem_emitter *e, const struct stem_block *block)
{
    for (unsigned k = 0; k < LENT_MAX; k++) {
        struct stem_loan *loan = &e->loans[k];
        bool live = block->live_out & bit(loan->reg);
        if (loan->standing) {
            if (loan->state == LOAN_CHANGED && live)
                stem_emit_store_tls(&e->p, slot_of(k), loan->reg);
            loan->state = LOAN_OUT;
            continue;
        }
        if (loan->state == LOAN_OUT && live)
            bring_back(e, k);
        loan->state = LOAN_NONE;
    }
}

void stem_loans_give_back(struct stem_emitter *e)
{
    for (unsigned k = 0; k < LENT_MAX; k++)
        if (e->loans[k].state == LOAN_OUT)
            bring_back(e, k);
}

void stem_loans_repay(struct stem_emitter *e)
{
    for (unsigned k = 0; k < LENT_MAX; k++)
        if (e->loans[k].state == LOAN_OUT)
            stem_emit_load_tls(&e->p, e->loans[k].reg, slot_of(k));
}

void stem_loans_again(struct stem_emitter *e)
{
    if (e->x >= 0 && stem_loans_mask(e) & bit((unsigned)e->x))
        stem_emit_load_tls(&e->p, (unsigned)e->x, stem_ring_offset());
}

/* ---- taking a register ---------------------------------------------------------------------------------------------- */

uint32_t stem_loans_until(const struct stem_emitter *e, const struct stem_block *block, uint32_t index,
                          unsigned reg)
{
    uint32_t i = index;
    while (i < block->end && !((e->unit->insns[i].uses | e->unit->insns[i].writes) & bit(reg)) &&
           !wants_all(&e->unit->insns[i]))
        i++;
    return i;
}

static uint32_t busy_at(const struct stem_emitter *e, const struct stem_insn *insn)
{
    return insn->uses | bit(insn->mem.base) | bit(insn->mem.index) | bit(RSP) |
           (e->unit->has_frame_pointer ? bit(RBP) : 0) | (e->x >= 0 ? bit((unsigned)e->x) : 0);
}

static unsigned free_loan(struct stem_emitter *e)
{
    for (unsigned k = 0; k < LENT_MAX; k++)
        if (e->loans[k].state == LOAN_NONE)
            return k;
    for (unsigned k = 0; k < LENT_MAX; k++) {
        struct stem_loan *loan = &e->loans[k];
        if (loan->standing || (e->x >= 0 && loan->reg == e->x))
            continue;
        if (loan->state == LOAN_OUT)
            bring_back(e, k);
        return k;
    }
    __builtin_unreachable(); /* two stand, one is the ring position */
}

static void borrow(struct stem_emitter *e, unsigned k, unsigned reg, const struct stem_insn *insn)
{
    stem_emit_store_tls(&e->p, slot_of(k), reg);
    e->loans[k] =
        (struct stem_loan){.reg = (uint8_t)reg, .state = LOAN_OUT, .standing = e->loans[k].standing};
    stem_emit_map_inner(e, insn);
}

/* The register whose value is wanted last, of those that are not busy. */
static unsigned choose(const struct stem_emitter *e, const struct stem_block *block, uint32_t index,
                       uint32_t busy)
{
    unsigned best = NO_REGISTER;
    uint32_t farthest = 0;
    for (unsigned r = 16; r-- > 0;) {
        if (busy & bit(r))
            continue;
        uint32_t until = stem_loans_until(e, block, index, r);
        if (best == NO_REGISTER || until > farthest) {
            best = r;
            farthest = until;
        }
    }
    return best;
}

unsigned stem_loans_take(struct stem_emitter *e, const struct stem_block *block, uint32_t index,
                         uint32_t except)
{
    const struct stem_insn *insn = &e->unit->insns[index];
    uint32_t busy = busy_at(e, insn) | except, dead = ~insn->live & ALL_REGISTERS & ~busy;
    if (dead)
        return (unsigned)__builtin_ctz(dead);
    for (unsigned k = 0; k < LENT_MAX; k++)
        if (e->loans[k].state == LOAN_OUT && !(busy & bit(e->loans[k].reg)))
            return e->loans[k].reg;
    for (unsigned k = 0; k < LENT_MAX; k++) {
        if (e->loans[k].state == LOAN_NONE || busy & bit(e->loans[k].reg))
            continue;
        if (e->loans[k].state == LOAN_CHANGED) {
            borrow(e, k, e->loans[k].reg, insn);
        } else {
            e->loans[k].state = LOAN_OUT;
            stem_emit_map_inner(e, insn);
        }
        return e->loans[k].reg;
    }
    for (unsigned k = 0; k < LENT_MAX; k++)
        if (e->loans[k].state != LOAN_NONE)
            busy |= bit(e->loans[k].reg);
    unsigned k = free_loan(e), r = choose(e, block, index, busy);
    e->loans[k].standing = false;
    borrow(e, k, r, insn);
    return r;
}

/* ---- edges ----------------------------------------------------------------------------------------------------------- */

void stem_loans_move(struct stem_emitter *e, uint16_t from, const struct stem_block *to)
{
    uint32_t live = e->unit->insns[to->first].live;
    for (unsigned k = 0; k < LENT_MAX; k++) {
        unsigned had = reg_at(from, k), has = reg_at(to->lent, k);
        if (had != has && had != RSP && live & bit(had))
            stem_emit_load_tls(&e->p, had, slot_of(k));
    }
    for (unsigned k = 0; k < LENT_MAX; k++) {
        unsigned had = reg_at(from, k), has = reg_at(to->lent, k);
        if (had != has && has != RSP && live & bit(has))
            stem_emit_store_tls(&e->p, slot_of(k), has);
    }
}

void stem_loans_emit_edges(struct stem_emitter *e)
{
    for (uint32_t i = 0; i < e->edge_count; i++) {
        const struct stem_edge *edge = &e->edges[i];
        const struct stem_block *to = &e->unit->blocks[edge->block];
        stem_emit_rel32(edge->field, e->p, 0);
        e->x = -1;
        e->pending = 0;
        for (unsigned k = 0; k < LENT_MAX; k++)
            e->loans[k] = (struct stem_loan){.reg = (uint8_t)reg_at(edge->lent, k),
                                             .state = reg_at(edge->lent, k) == RSP ? LOAN_NONE : LOAN_OUT};
        stem_emit_map_inner(e, &e->unit->insns[to->first]);
        stem_loans_move(e, edge->lent, to);
        stem_emit_jump(&e->p, to->code);
    }
}
