/* The code that counts. A segment's counter lies in the calling thread's area:

       mov r, fs:[counts];  add qword gs:[r + 8 * segment], 1

   placed anywhere within the segment, where flags are dead and a register is; else the register is saved in a thread slot,
   and where flags are live all through the segment the sum is made with lea. A direct call ends its segment, so that the
   segment's counter counts the call as well. */
#include "stem/counting.h"

enum {
    OWN_MAX = 6
}; /* segments that a unit has besides those of its instructions: entry, three kinds of returns */

static int32_t counts_offset(void)
{
    return (int32_t)(stem_thread_offset + (int64_t)offsetof(struct stem_thread, counts));
}

static bool is_call(const struct stem_insn *insn)
{
    return insn->kind == INSN_CALL || insn->kind == INSN_CALL_INDIRECT;
}

static bool is_repeat(const struct stem_insn *insn)
{
    return insn->flags & INSN_STRING && insn->string_rep;
}

/* How many segments an instruction can be the cause of, at most. */
static uint32_t segments_of(const struct stem_insn *insn)
{
    uint32_t n = insn->flags & INSN_LEADER ? 1 : 0;
    n += is_repeat(insn);
    if (is_call(insn))
        n += 2; /* the next segment; where control does not come back */
    if (insn->kind == INSN_CALL_INDIRECT || insn->kind == INSN_JUMP_INDIRECT)
        n += 3;
    return n + (insn->kind == INSN_BRANCH);
}

bool stem_segments_begin(struct stem_emitter *e)
{
    if (!e->counts)
        return true;
    uint32_t room = OWN_MAX;
    for (uint32_t i = 0; i < e->unit->insn_count; i++)
        room += segments_of(&e->unit->insns[i]);
    e->segment_next = stem_counting_claim(e->function->index, room);
    e->segment_end = e->segment_next + room;
    e->count_at = UINT32_MAX;
    e->returns_zero = e->returns_negative = 0;
    return e->segment_next != 0;
}

static uint32_t take_segment(struct stem_emitter *e, enum wire_segment_kind kind, uint32_t instructions,
                             uint64_t callee)
{
    uint32_t segment = e->segment_next++;
    stem_counting_describe(segment, &(struct wire_segment){.callee = callee,
                                                           .function = e->function->index,
                                                           .instructions = (uint16_t)instructions,
                                                           .kind = (uint8_t)kind});
    return segment;
}

/* ---- adding to a counter ------------------------------------------------------------------------------------ */

static unsigned pick(uint32_t *from, uint32_t not )
{
    uint32_t some = *from & ~not &ALL_REGISTERS & ~(1u << RSP);
    if (!some)
        return NO_REGISTER;
    unsigned r = (unsigned)__builtin_ctz(some);
    *from &= ~(1u << r);
    return r;
}

/* Adds 1, or register `more`, to a word of the thread's area. In: registers and flags that live here. */
static void emit_add(struct stem_emitter *e, uint32_t segment, uint32_t live, unsigned more)
{
    bool by_lea = live & ALL_FLAGS;
    uint32_t dead = ~live & ALL_REGISTERS, taken = more == NO_REGISTER ? 0 : 1u << more, spare = CALLER_SAVED;
    unsigned r = pick(&dead, taken), sum = NO_REGISTER;
    bool saved = r == NO_REGISTER, saved_sum = false;
    if (saved)
        r = pick(&spare, taken);
    if (by_lea && (sum = pick(&dead, taken)) == NO_REGISTER) {
        saved_sum = true;
        sum = pick(&spare, taken | 1u << r);
    }
    if (saved)
        stem_emit_store_tls(&e->p, stem_slot_offset(0), r);
    if (saved_sum)
        stem_emit_store_tls(&e->p, stem_slot_offset(1), sum);
    struct stem_mem at = {
        .base = (uint8_t)r, .index = NO_REGISTER, .scale = 1, .disp = (int32_t)(segment * 8)};
    stem_emit_load_tls(&e->p, r, counts_offset());
    if (by_lea) {
        struct stem_mem result = {
            .base = (uint8_t)sum, .index = (uint8_t)more, .scale = 1, .disp = more == NO_REGISTER};
        stem_emit_modrm_mem(&e->p, 0x65, true, 0x8b, sum, &at, 0, NULL, 0);
        stem_emit_modrm_mem(&e->p, 0, true, 0x8d, sum, &result, 0, NULL, 0);
        stem_emit_modrm_mem(&e->p, 0x65, true, 0x89, sum, &at, 0, NULL, 0);
    } else if (more != NO_REGISTER) {
        stem_emit_modrm_mem(&e->p, 0x65, true, 0x01, more, &at, 0, NULL, 0);
    } else {
        stem_emit_modrm_mem(&e->p, 0x65, true, 0x83, 0, &at, 0, NULL, 0);
        stem_emit_byte(&e->p, 1);
    }
    if (saved_sum)
        stem_emit_load_tls(&e->p, sum, stem_slot_offset(1));
    if (saved)
        stem_emit_load_tls(&e->p, r, stem_slot_offset(0));
}

/* At calls, returns and jumps out of a function: registers are somebody's, flags are nobody's. */
enum { AT_BOUNDARY = ALL_REGISTERS };

/* ---- segments -------------------------------------------------------------------------------------------------- */

static uint64_t callee_of(const struct stem_emitter *e, const struct stem_insn *insn)
{
    const char *name = NULL;
    struct stem_function *f = stem_control_callee(e, insn, &name);
    if (f)
        return WIRE_CALLEE_FUNCTION(f->index);
    return name ? stem_counting_callee_named(name) : WIRE_CALLEE_NONE;
}

/* The best place within [from, end): flags dead, then a register dead. */
static uint32_t place_in(const struct stem_unit *u, uint32_t from, uint32_t end)
{
    uint32_t best = from;
    unsigned best_cost = 3;
    for (uint32_t i = from; i < end; i++) {
        uint32_t live = u->insns[i].live;
        unsigned cost = (live & ALL_FLAGS ? 2 : 0) + ((~live & ALL_REGISTERS & ~(1u << RSP)) == 0);
        if (cost < best_cost) {
            best = i;
            best_cost = cost;
        }
        if (!cost)
            break;
    }
    return best;
}

static void begin_segment(struct stem_emitter *e, const struct stem_block *block, uint32_t from)
{
    const struct stem_unit *u = e->unit;
    uint32_t end = from;
    while (end < block->end && !is_call(&u->insns[end]))
        end++;
    end += end < block->end;
    const struct stem_insn *last = &u->insns[end - 1];
    bool leaves = is_call(last) || (last->kind == INSN_JUMP && block->target < 0) ||
                  (last->kind == INSN_JUMP_INDIRECT && !e->has_targets);
    enum wire_segment_kind kind = from == 0 && !e->entry_apart ? WIRE_SEGMENT_ENTRY : WIRE_SEGMENT_RUN;
    e->count_segment = take_segment(e, kind, end - from, leaves ? callee_of(e, last) : WIRE_CALLEE_NONE);
    e->count_at = place_in(u, from, end);
}

void stem_segments_before(struct stem_emitter *e, const struct stem_block *block, uint32_t i)
{
    const struct stem_insn *insn = &e->unit->insns[i];
    if (!e->counts)
        return;
    if (i == block->first || is_call(insn - 1))
        begin_segment(e, block, i);
    if (i == e->count_at)
        emit_add(e, e->count_segment, insn->live, NO_REGISTER);
    if (is_repeat(insn))
        emit_add(e, take_segment(e, WIRE_SEGMENT_REPEAT, 0, WIRE_CALLEE_NONE), insn->live | 1u << RCX, RCX);
}

void stem_segments_entry(struct stem_emitter *e)
{
    const struct stem_unit *u = e->unit;
    if (!e->counts)
        return;
    /* A loop that leads back to the function's first instruction is no call. */
    e->entry_apart = u->insns[0].flags & INSN_INDIRECT_TARGET;
    for (uint32_t b = 0; b < u->block_count; b++)
        e->entry_apart |= u->blocks[b].target == 0;
    if (e->entry_apart)
        emit_add(e, take_segment(e, WIRE_SEGMENT_ENTRY, 0, WIRE_CALLEE_NONE), u->insns[0].live, NO_REGISTER);
}

bool stem_segments_branch(struct stem_emitter *e, const struct stem_insn *insn, unsigned condition)
{
    uint64_t callee = e->counts ? callee_of(e, insn) : WIRE_CALLEE_NONE;
    if (callee == WIRE_CALLEE_NONE)
        return false;
    stem_emit_byte(&e->p, 0x0f);
    stem_emit_byte(&e->p, 0x80 | (condition ^ 1)); /* over it */
    uint8_t *field = e->p;
    e->p += 4;
    emit_add(e, take_segment(e, WIRE_SEGMENT_RUN, 0, callee), AT_BOUNDARY, NO_REGISTER);
    struct stem_insn jump = *insn;
    jump.kind = INSN_JUMP;
    stem_control_leave(e, &jump);
    stem_emit_rel32(field, e->p, 0);
    return true;
}

/* ---- calls through pointers --------------------------------------------------------------------------------------- */

/* The thread remembers what each site called last:

       cmp gs:[b + site], target;  je hit;  slow path;  jmp done;  hit: add gs:[b + site + 16], 1;  done: */
void stem_segments_pointer(struct stem_emitter *e, const struct stem_insn *insn, const uint8_t *bytes)
{
    if (!e->counts || callee_of(e, insn) != WIRE_CALLEE_NONE) /* known: its segment counts it */
        return;
    uint32_t site = take_segment(e, WIRE_SEGMENT_POINTER, 0, WIRE_CALLEE_NONE);
    e->segment_next += 2;
    uint32_t spare = CALLER_SAVED;
    bool through_memory = insn->flags & INSN_HAS_MEM;
    unsigned target = pick(&spare, insn->uses), base = pick(&spare, insn->uses);
    stem_emit_store_tls(&e->p, stem_slot_offset(0), target);
    stem_emit_store_tls(&e->p, stem_slot_offset(1), base);
    if (through_memory)
        stem_emit_modrm_mem(&e->p, insn->mem.segment == SEGMENT_FS ? 0x64 : 0, true, 0x8b, target, &insn->mem,
                            0, e->object, 0);
    else
        stem_emit_modrm_reg(&e->p, true, 0x89, stem_control_pointer_register(insn, bytes), target);
    stem_emit_load_tls(&e->p, base, counts_offset());
    struct stem_mem at = {
        .base = (uint8_t)base, .index = NO_REGISTER, .scale = 1, .disp = (int32_t)(site * 8)};
    stem_emit_modrm_mem(&e->p, 0x65, true, 0x39, target, &at, 0, NULL, 0);
    stem_emit_bytes(&e->p, "\x0f\x84", 2); /* je */
    uint8_t *hit = e->p;
    e->p += 4;
    stem_emit_store_tls(&e->p, stem_slot_offset(5), target);
    stem_emit_load_tls(&e->p, base, stem_slot_offset(1));
    stem_emit_load_tls(&e->p, target, stem_slot_offset(0));
    struct stem_insn operand = *insn;
    operand.mem = (struct stem_mem){.base = NO_REGISTER, .index = NO_REGISTER, .disp = (int32_t)site};
    stem_emit_slow_call(e, STUB_POINTER, &operand);
    stem_emit_byte(&e->p, 0xe9);
    uint8_t *done = e->p;
    e->p += 4;
    stem_emit_rel32(hit, e->p, 0);
    at.disp += 16;
    stem_emit_modrm_mem(&e->p, 0x65, true, 0x83, 0, &at, 0, NULL, 0);
    stem_emit_byte(&e->p, 1);
    stem_emit_load_tls(&e->p, base, stem_slot_offset(1));
    stem_emit_load_tls(&e->p, target, stem_slot_offset(0));
    stem_emit_rel32(done, e->p, 0);
}

/* ---- returns --------------------------------------------------------------------------------------------------------- */

/* What a caller takes for failure is 0 or a negative number. A pointer is never negative. */
void stem_segments_return(struct stem_emitter *e)
{
    enum wire_returns returns = (enum wire_returns)stem_control->functions[e->function->index].returns;
    if (returns == WIRE_RETURNS_UNKNOWN)
        returns = (enum wire_returns)e->function->returns;
    if (!e->counts ||
        (returns != WIRE_RETURNS_INTEGER && returns != WIRE_RETURNS_POINTER && returns != WIRE_RETURNS_ZERO))
        return;
    bool is_pointer = returns == WIRE_RETURNS_POINTER;
    if (!e->returns_zero)
        e->returns_zero = take_segment(e, WIRE_SEGMENT_ZERO, 0, WIRE_CALLEE_NONE);
    stem_emit_modrm_reg(&e->p, is_pointer, 0x85, RAX, RAX); /* test */
    stem_emit_bytes(&e->p, "\x0f\x85", 2);                  /* jnz */
    uint8_t *not_zero = e->p;
    e->p += 4;
    emit_add(e, e->returns_zero, AT_BOUNDARY, NO_REGISTER);
    if (returns != WIRE_RETURNS_INTEGER) {
        stem_emit_rel32(not_zero, e->p, 0);
        return;
    }
    stem_emit_byte(&e->p, 0xe9);
    uint8_t *done = e->p;
    e->p += 4;
    stem_emit_rel32(not_zero, e->p, 0);
    stem_emit_bytes(&e->p, "\x0f\x89", 2); /* jns */
    uint8_t *positive = e->p;
    e->p += 4;
    if (!e->returns_negative) {
        e->returns_negative = take_segment(e, WIRE_SEGMENT_NEGATIVE, 0, WIRE_CALLEE_NONE);
        e->segment_next++;
    }
    emit_add(e, e->returns_negative, AT_BOUNDARY, NO_REGISTER);
    struct stem_mem at = {
        .base = R11, .index = NO_REGISTER, .scale = 1, .disp = (int32_t)((e->returns_negative + 1) * 8)};
    stem_emit_store_tls(&e->p, stem_slot_offset(0), R11);
    stem_emit_load_tls(&e->p, R11, counts_offset());
    stem_emit_modrm_mem(&e->p, 0x65, true, 0x89, RAX, &at, 0, NULL, 0);
    stem_emit_load_tls(&e->p, R11, stem_slot_offset(0));
    stem_emit_rel32(positive, e->p, 0);
    stem_emit_rel32(done, e->p, 0);
}

void stem_segments_left(struct stem_emitter *e)
{
    if (e->counts)
        emit_add(e, take_segment(e, WIRE_SEGMENT_LEFT, 0, WIRE_CALLEE_NONE), AT_BOUNDARY, NO_REGISTER);
}

bool stem_segments_may_keep(const char *symbol)
{
    return core_glob("*setjmp", symbol) || core_glob("*longjmp*", symbol) || core_glob("*vfork", symbol) ||
           core_glob("*context", symbol);
}
