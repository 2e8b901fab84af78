/* Which registers and flags still matter before each instruction of a unit: backward over its blocks to a fixpoint.

   Where control leaves what we see (calls, returns, jumps out of the unit, indirect jumps), every register matters, since
   gcc's -fipa-ra lets a caller rely on registers that the callee happens not to change, and hand-written code has conventions of
   its own; no flag does: no compiler carries flags over a call or into a function. An indirect jump also leads to the targets
   of the unit's tables; that every register matters there covers them, but they may want flags, too: what is tested once, before
   the jump, is not tested again at each target.

   A call through the PLT or the GOT is different: who is called is not known when the code is made, so that the ABI holds. The callee
   reads the argument registers and may change every caller-saved one. */
#include "stem/engine.h"

enum {
    ARGUMENTS = 1 << RDI | 1 << RSI | 1 << RDX | 1 << RCX | 1 << R8 | 1 << R9 | 1 << RAX | 1 << R10,
};

uint32_t stem_live_at_targets(const struct stem_unit *u)
{
    uint32_t live = 0;
    for (uint32_t b = 0; b < u->block_count; b++)
        if (u->insns[u->blocks[b].first].flags & INSN_INDIRECT_TARGET)
            live |= u->insns[u->blocks[b].first].live;
    return live;
}

static uint32_t before(const struct stem_insn *insn, uint32_t after)
{
    if (insn->flags & INSN_ABI_CALL)
        return (after & ALL_REGISTERS & ~(uint32_t)CALLER_SAVED) | ARGUMENTS | insn->uses;
    if (insn->flags & INSN_ORDINARY)
        return (after & ~insn->kills) | insn->uses;
    switch (insn->kind) {
    case INSN_CALL:
    case INSN_CALL_INDIRECT:
    case INSN_RETURN:
    case INSN_TRAP:
        return ALL_REGISTERS;
    case INSN_JUMP_INDIRECT:
        return ALL_REGISTERS | (after & ALL_FLAGS) | (insn->uses & ALL_FLAGS);
    default:
        return (after & ~insn->kills) | insn->uses;
    }
}

/* Beyond the unit. Hand-written code shares endings: a jump into the middle of another function may carry flags along. */
static uint32_t live_beyond(const struct stem_unit *u, uint32_t offset)
{
    bool entry = stem_function_at(u->object, offset) || stem_object_plt_slot(u->object, offset);
    return entry ? stem_convention_beyond(u, offset) : ALL_REGISTERS | ALL_FLAGS;
}

static uint32_t live_at(const struct stem_unit *u, int32_t block, uint32_t offset)
{
    return block < 0 ? live_beyond(u, offset) : u->insns[u->blocks[block].first].live;
}

void stem_liveness(struct stem_unit *u)
{
    for (uint32_t i = 0; i < u->insn_count; i++)
        u->insns[i].live = 0;
    for (bool changed = true; changed;) {
        changed = false;
        uint32_t at_targets = stem_live_at_targets(u); /* of the round before */
        for (uint32_t b = u->block_count; b-- > 0;) {
            struct stem_block *block = &u->blocks[b];
            const struct stem_insn *last = &u->insns[block->end - 1];
            uint32_t live = 0, behind = last->offset + last->length;
            if (last->kind == INSN_JUMP)
                live = live_at(u, block->target, last->target);
            else if (last->kind == INSN_BRANCH)
                live = live_at(u, block->target, last->target) | live_at(u, block->next, behind);
            else if (last->kind == INSN_JUMP_INDIRECT)
                live = at_targets;
            else if (u->learns && block->next < 0 && last->kind != INSN_PLAIN)
                live = 0; /* a call that never returns, a return, a trap */
            else
                live = live_at(u, block->next, behind);
            block->live_out = live;
            for (uint32_t i = block->end; i-- > block->first;) {
                live = before(&u->insns[i], live);
                if (i == block->first && live != u->insns[i].live)
                    changed = true;
                u->insns[i].live = live;
            }
        }
    }
    /* Where the frame is found by rbp it stays there even when no instruction wants it any more: a fault must find the frame. */
    for (uint32_t i = 0; u->has_frame_pointer && i < u->insn_count; i++)
        u->insns[i].live |= 1u << RBP;
}
