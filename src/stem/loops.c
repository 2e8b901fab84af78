/* Standing loans: registers that are on loan all through a loop, so that checks and appends within it need not save and restore
   any. Chosen are those that the loop's instructions want least; a loop within a loop keeps the outer one's choice unless it has a
   better one. Blocks that are entered from outside the unit, or that call, have none: the edges to them give everything back. */
#include "stem/translate.h"

enum { LOOP_BLOCKS_MAX = 128, LOOPS_MAX = 1024, STANDING_MAX = 2, GAIN_MIN = 2 };

/* Blocks that a jump backward to `header` leads round, the header among them. */
struct loop {
    uint32_t header, first, count; /* of `members` */
};

static uint32_t *members, *before, *before_first, *before_end, *mark;
static struct loop *loops;
static uint32_t loop_count, member_count, mark_now;
enum { MEMBERS_MAX = LOOPS_MAX * 32 };

static bool scratch(void)
{
    if (!members)
        members = stem_pages_scratch(MEMBERS_MAX * sizeof *members);
    if (!before)
        before = stem_pages_scratch(2 * UNIT_INSNS_MAX * sizeof *before);
    if (!before_first)
        before_first = stem_pages_scratch(2 * UNIT_INSNS_MAX * sizeof *before_first);
    before_end = before_first ? before_first + UNIT_INSNS_MAX : NULL;
    if (!mark)
        mark = stem_pages_scratch(UNIT_INSNS_MAX * sizeof *mark);
    if (!loops)
        loops = stem_pages_scratch(LOOPS_MAX * sizeof *loops);
    return members && before && before_first && mark && loops;
}

static uint32_t bit(unsigned r)
{
    return r < 16 ? 1u << r : 0;
}

/* ---- loops ------------------------------------------------------------------------------------------------------------ */

static void add_before(uint32_t from, int32_t to)
{
    if (to >= 0)
        before[before_end[to]++] = from;
}

/* Predecessors of block b: before[before_first[b]] up to before[before_end[b]]. */
static void find_before(const struct stem_unit *u)
{
    uint32_t at = 0;
    memset(before_end, 0, u->block_count * sizeof *before_end);
    for (uint32_t b = 0; b < u->block_count; b++) {
        if (u->blocks[b].next >= 0)
            before_end[u->blocks[b].next]++;
        if (u->blocks[b].target >= 0)
            before_end[u->blocks[b].target]++;
    }
    for (uint32_t b = 0; b < u->block_count; b++) {
        uint32_t count = before_end[b];
        before_first[b] = before_end[b] = at;
        at += count;
    }
    for (uint32_t b = 0; b < u->block_count; b++) {
        add_before(b, u->blocks[b].next);
        add_before(b, u->blocks[b].target);
    }
}

static bool entered_from_outside(const struct stem_unit *u, uint32_t block)
{
    return u->blocks[block].first == 0 || u->insns[u->blocks[block].first].flags & INSN_INDIRECT_TARGET;
}

static bool is_header(const struct stem_unit *u, uint32_t block)
{
    for (uint32_t i = before_first[block]; i < before_end[block]; i++)
        if (before[i] >= block)
            return !entered_from_outside(u, block);
    return false;
}

static bool add_member(struct loop *loop, uint32_t block)
{
    if (mark[block] == mark_now)
        return true;
    if (loop->count == LOOP_BLOCKS_MAX || member_count == MEMBERS_MAX)
        return false;
    mark[block] = mark_now;
    members[member_count++] = block;
    loop->count++;
    return true;
}

/* Collects what leads to the jumps backward without passing the header. Returns false when the loop is too large, or entered beside
   its header. */
static bool collect(const struct stem_unit *u, struct loop *loop, uint32_t header)
{
    *loop = (struct loop){header, member_count, 0};
    mark_now++;
    add_member(loop, header);
    for (uint32_t i = before_first[header]; i < before_end[header]; i++)
        if (before[i] >= header && !add_member(loop, before[i]))
            return false;
    for (uint32_t m = 1; m < loop->count; m++) {
        uint32_t block = members[loop->first + m];
        if (u->blocks[block].first == 0)
            return false;
        for (uint32_t i = before_first[block]; i < before_end[block]; i++)
            if (!add_member(loop, before[i]))
                return false;
    }
    return true;
}

static void find_loops(const struct stem_unit *u)
{
    loop_count = member_count = mark_now = 0;
    memset(mark, 0, u->block_count * sizeof *mark);
    for (uint32_t b = 0; b < u->block_count && loop_count < LOOPS_MAX; b++) {
        uint32_t kept = member_count;
        if (!is_header(u, b))
            continue;
        if (collect(u, &loops[loop_count], b))
            loop_count++;
        else
            member_count = kept;
    }
    for (uint32_t i = 1; i < loop_count; i++) /* the larger first */
        for (uint32_t k = i; k && loops[k - 1].count < loops[k].count; k--) {
            struct loop larger = loops[k];
            loops[k] = loops[k - 1];
            loops[k - 1] = larger;
        }
}

/* ---- choices ---------------------------------------------------------------------------------------------------------- */

static bool may_lend(const struct stem_unit *u, const struct stem_block *block)
{
    if (entered_from_outside(u, (uint32_t)(block - u->blocks)))
        return false;
    for (uint32_t i = block->first; i < block->end; i++)
        if (!stem_loans_may_span(&u->insns[i]))
            return false;
    return true;
}

/* How many registers the inserted code of the block has to borrow at a time. */
static unsigned wanted_in(const struct stem_emitter *e, const struct stem_block *block)
{
    unsigned most = 0;
    for (uint32_t i = block->first; i < block->end; i++) {
        const struct stem_insn *insn = &e->unit->insns[i];
        unsigned needs = e->needs[i].log ? 2 : e->needs[i].check;
        uint32_t busy = insn->live | insn->uses | bit(insn->mem.base) | bit(insn->mem.index) | bit(RSP);
        for (uint32_t dead = ~busy & ALL_REGISTERS; dead && needs; dead &= dead - 1)
            needs--;
        if (needs > most)
            most = needs;
    }
    return most;
}

/* What a standing loan of each register costs one time round: loads and stores in the blocks that want it. */
static void add_costs(int cost[16], const struct stem_unit *u, const struct stem_block *block)
{
    uint32_t used = 0, written = 0;
    for (uint32_t i = block->first; i < block->end; i++) {
        used |= u->insns[i].uses & ~written;
        written |= u->insns[i].writes;
    }
    for (unsigned r = 0; r < 16; r++)
        cost[r] += (used >> r & 1) + (written >> r & 1);
}

static unsigned cheapest(const int cost[16], uint32_t none)
{
    unsigned best = NO_REGISTER;
    for (unsigned r = 16; r-- > 0;)
        if (!(none & bit(r)) && (best == NO_REGISTER || cost[r] < cost[best]))
            best = r;
    return best;
}

static void plan_loop(const struct stem_emitter *e, const struct loop *loop)
{
    struct stem_unit *u = e->unit;
    int cost[16] = {0}, gain[STANDING_MAX] = {0};
    for (uint32_t m = 0; m < loop->count; m++) {
        const struct stem_block *block = &u->blocks[members[loop->first + m]];
        if (!may_lend(u, block)) { /* everything back and out once more around it */
            for (unsigned s = 0; s < STANDING_MAX; s++)
                gain[s] -= 2;
            continue;
        }
        unsigned wanted = wanted_in(e, block);
        for (unsigned s = 0; s < STANDING_MAX && s < wanted; s++)
            gain[s] += 2;
        add_costs(cost, u, block);
    }
    uint32_t none = bit(RSP) | (u->has_frame_pointer ? bit(RBP) : 0);
    unsigned lent = u->blocks[loop->header].lent;
    for (unsigned s = 0; s < STANDING_MAX; s++) {
        unsigned now = stem_lent_register(lent, s), best = cheapest(cost, none & ~bit(now));
        if (now != RSP && cost[best] + GAIN_MIN > cost[now])
            best = now;
        if (gain[s] - cost[best] < GAIN_MIN)
            best = now; /* what the loop around it chose costs less than moving */
        none |= bit(best);
        lent = (lent & ~(15u << 4 * s)) | (best ^ RSP) << 4 * s;
    }
    for (uint32_t m = 0; m < loop->count; m++) {
        struct stem_block *block = &u->blocks[members[loop->first + m]];
        if (may_lend(u, block))
            block->lent = (uint16_t)lent;
    }
}

void stem_loops_plan(const struct stem_emitter *e)
{
    struct stem_unit *u = e->unit;
    for (uint32_t b = 0; b < u->block_count; b++)
        u->blocks[b].lent = 0;
    if (e->mode < WIRE_MODE_CHECK || stem_knob(e, CORE_KNOB_NO_LOANS) ||
        stem_knob(e, CORE_KNOB_NO_STANDING) || !scratch())
        return;
    find_before(u);
    find_loops(u);
    for (uint32_t i = 0; i < loop_count; i++)
        plan_loop(e, &loops[i]);
}
