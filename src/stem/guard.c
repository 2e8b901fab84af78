/* Guard of a frame that others can reach, because its function takes the address of something in it or indexes into it.

   While the activation lives, the shadow of its return address and of the registers saved below it is poison: a store that runs over
   them is found as it happens. What overwrites them out of our sight, a library function that has no checked form or code that runs
   natively, is found at the return: the return address's shadow byte is 0x80 and the low six bits of the address, and these are
   compared before the activation is left. 63 of 64 changes are found so, and all that change one byte of the lowest six bits; what
   would find the rest, a copy of the whole address, costs another store and load on each call.

   With undo, the return address and the saved registers go to the log at entry, so that an abort returns to where the call came from
   with the caller's registers even when all of the frame was overwritten. */
#include "stem/gaps.h"
#include "stem/guard.h"

enum { HASH_BITS = 0x3f, SLOT_FIRST = 0, SLOT_SECOND = 1 };

/* ---- which registers are saved right below the return address --------------------------------------------------------- */

/* By DWARF number; NO_REGISTER: not one that a callee saves. */
static const uint8_t machine_of_dwarf[16] = {
    NO_REGISTER, NO_REGISTER, NO_REGISTER, RBX,         NO_REGISTER, NO_REGISTER, RBP, NO_REGISTER,
    NO_REGISTER, NO_REGISTER, NO_REGISTER, NO_REGISTER, R12,         R13,         R14, R15};

/* Registers saved in one piece below the return address, as of this row. Returns their number. */
static unsigned saved_below(uint8_t *saved, const struct stem_cfi_row *row)
{
    unsigned n = 0;
    for (; n < GUARD_SAVED_MAX; n++) {
        int32_t at = -16 - 8 * (int32_t)n;
        unsigned r = 0;
        while (r < 16 &&
               !(row->saved & 1u << r && row->saved_at[r] == at && machine_of_dwarf[r] != NO_REGISTER))
            r++;
        if (r == 16)
            break;
        saved[n] = machine_of_dwarf[r];
    }
    return n;
}

static bool is_push(const struct stem_emitter *e, const struct stem_insn *insn)
{
    uint8_t bytes[2];
    if (insn->kind != INSN_PLAIN || insn->length > 2)
        return false;
    stem_object_bytes(bytes, e->object, insn->offset, insn->length);
    return (bytes[insn->length - 1] & 0xf8) == 0x50 && (insn->length == 1 || bytes[0] == 0x41);
}

/* Registers may be saved on some ways only, behind the branch that goes round them; but then they lie there until the function is
   left. The poison is laid right behind the last push of a block, where the first instruction comes that lets flags be lost. */
static void plan_block(struct stem_emitter *e, const struct stem_block *block)
{
    const struct stem_unit *u = e->unit;
    uint32_t at = block->end;
    struct stem_cfi_row row;
    uint8_t saved[GUARD_SAVED_MAX];
    for (uint32_t i = block->first; i < block->end; i++)
        if (is_push(e, &u->insns[i]))
            at = i + 1;
    while (at < block->end && u->insns[at].live & ALL_FLAGS)
        at++;
    if (at >= block->end || e->guard_count == GUARD_PLACES ||
        !stem_cfi_row(&row, u->object, u->insns[at].offset) ||
        (row.cfa_register != DWARF_RSP && row.cfa_register != DWARF_RBP))
        return;
    unsigned n = saved_below(saved, &row);
    if (!n)
        return;
    e->guard[e->guard_count++] = (struct stem_guard_place){.insn = at,
                                                           .base = row.cfa_register == DWARF_RSP ? RSP : RBP,
                                                           .count = (uint8_t)n,
                                                           .cfa = row.cfa_offset};
    if (n > e->saved_count) {
        e->saved_count = (uint8_t)n;
        memcpy(e->saved, saved, n);
    }
}

/* A function that a tail jump alone leads to is part of the unit that jumps. It saves registers of its own, elsewhere. */
static bool saves_twice(const struct stem_emitter *e)
{
    for (uint32_t i = 1; i < e->unit->range_count; i++) {
        struct stem_fde fde;
        if (stem_fde_find(&fde, e->object, e->unit->ranges[i].offset) &&
            stem_cfi_begins_as_function(e->object, &fde))
            return true;
    }
    return false;
}

void stem_guard_plan(struct stem_emitter *e)
{
    e->saved_count = e->guard_count = 0;
    if (saves_twice(e))
        return;
    for (uint32_t b = 0; e->poisons_frame && b < e->unit->block_count; b++)
        plan_block(e, &e->unit->blocks[b]);
}

/* ---- generated code --------------------------------------------------------------------------------------------------- */

/* r = rsp >> 3 */
static void emit_granule(struct stem_emitter *e, unsigned r)
{
    stem_emit_modrm_reg(&e->p, true, 0x89, RSP, r);
    stem_emit_modrm_reg(&e->p, true, 0xc1, 5, r);
    stem_emit_byte(&e->p, 3);
}

/* Stores `value` into the shadow of the `count` words below the one whose granule r holds. */
static void emit_fill(struct stem_emitter *e, unsigned r, unsigned count, uint8_t value)
{
    struct stem_mem at = {.base = (uint8_t)r, .index = NO_REGISTER, .scale = 1};
    for (unsigned done = 0; done < count;) {
        unsigned left = count - done, size = left >= 4 ? 4 : left >= 2 ? 2 : 1;
        stem_emit_modrm_mem(&e->p, size == 2 ? 0x6566 : 0x65, false, size == 1 ? 0xc6 : 0xc7, 0, &at,
                            -(int32_t)(done + size), NULL, 0);
        for (unsigned i = 0; i < size; i++)
            stem_emit_byte(&e->p, value);
        done += size;
    }
}

/* One word of the log: { value, place * 8 + code }, the place relative to rsp. */
static void emit_entry(struct stem_emitter *e, unsigned ring, unsigned value, unsigned scratch,
                       unsigned number, int32_t place)
{
    struct stem_mem at = {
        .base = (uint8_t)ring, .index = NO_REGISTER, .scale = 1, .disp = (int32_t)(16 * number)};
    struct stem_mem scaled = {.base = NO_REGISTER,
                              .index = (uint8_t)scratch,
                              .scale = 8,
                              .disp = place * 8 + 4 /* code of 8 bytes */};
    stem_emit_modrm_mem(&e->p, 0, true, 0x89, value, &at, 0, NULL, 0);
    stem_emit_modrm_reg(&e->p, true, 0x89, RSP, scratch);
    stem_emit_modrm_mem(&e->p, 0, true, 0x8d, scratch, &scaled, 0, NULL, 0);
    stem_emit_modrm_mem(&e->p, 0, true, 0x89, scratch, &at, 8, NULL, 0);
}

static void emit_log(struct stem_emitter *e, unsigned r, unsigned s)
{
    struct stem_mem ring = {.base = (uint8_t)r, .index = NO_REGISTER, .scale = 1};
    unsigned entries = 1;
    stem_emit_load_tls(&e->p, r, stem_ring_offset());
    stem_emit_modrm_mem(&e->p, 0, true, 0x89, RSP, &ring, 8, NULL, 0); /* the mark */
    emit_entry(e, r, s, s, entries++, 0);
    for (unsigned i = 0; i < e->saved_count; i++)
        emit_entry(e, r, e->saved[i], s, entries++, -8 * (int32_t)(i + 1));
    stem_emit_modrm_mem(&e->p, 0x66, false, 0x8d, r, &ring, (int32_t)(16 * entries), NULL, 0);
    stem_emit_store_tls(&e->p, stem_ring_offset(), r);
}

void stem_guard_enter(struct stem_emitter *e)
{
    const struct stem_insn *first = &e->unit->insns[0];
    /* The second is used by its low byte, which these three have not without a prefix of their own. */
    uint32_t dead = ~first->live & ALL_REGISTERS & ~(1u << RSP | 1u << RSI | 1u << RDI | 1u << RBP);
    bool spill_r = !dead;
    unsigned r = spill_r ? R11 : (unsigned)__builtin_ctz(dead);
    dead &= ~(1u << r);
    bool spill_s = !dead;
    unsigned s = spill_s ? (r == R10 ? R11 : R10) : (unsigned)__builtin_ctz(dead);
    struct stem_mem slot = {.base = RSP, .index = NO_REGISTER, .scale = 1};
    struct stem_mem shadow = {.base = (uint8_t)r, .index = NO_REGISTER, .scale = 1};
    stem_emit_map(e, first);
    if (spill_r)
        stem_emit_store_tls(&e->p, stem_slot_offset(SLOT_FIRST), r);
    if (spill_s)
        stem_emit_store_tls(&e->p, stem_slot_offset(SLOT_SECOND), s);
    stem_emit_modrm_mem(&e->p, 0, true, 0x8b, s, &slot, 0, NULL, 0); /* mov s, [rsp] */
    if (e->marks) {
        emit_log(e, r, s);
        stem_emit_modrm_mem(&e->p, 0, false, 0x8b, s, &slot, 0, NULL, 0);
    }
    emit_granule(e, r);
    stem_emit_modrm_reg(&e->p, false, 0x83, 1, s); /* or s, -64 */
    stem_emit_byte(&e->p, 0xc0);
    stem_emit_modrm_reg(&e->p, false, 0x83, 6, s); /* xor s, 64: the top bits are 10 */
    stem_emit_byte(&e->p, 0x40);
    stem_emit_modrm_mem(&e->p, 0x65, false, 0x88, s, &shadow, 0, NULL, 0);
    stem_gaps_emit(e, r, true);
    if (spill_s)
        stem_emit_load_tls(&e->p, s, stem_slot_offset(SLOT_SECOND));
    if (spill_r)
        stem_emit_load_tls(&e->p, r, stem_slot_offset(SLOT_FIRST));
}

void stem_guard_pass(struct stem_emitter *e, uint32_t index)
{
    const struct stem_guard_place *place = e->guard;
    while (place < e->guard + e->guard_count && place->insn != index)
        place++;
    if (place == e->guard + e->guard_count)
        return;
    uint32_t dead = ~e->unit->insns[index].live & ALL_REGISTERS & ~(1u << RSP | 1u << RBP);
    if (e->x >= 0)
        dead &= ~(1u << e->x);
    unsigned r = dead ? (unsigned)__builtin_ctz(dead) : e->x == R11 ? R10 : R11;
    struct stem_mem slot = {.base = place->base, .index = NO_REGISTER, .scale = 1, .disp = place->cfa - 8};
    if (!dead)
        stem_emit_store_tls(&e->p, stem_slot_offset(SLOT_FIRST), r);
    stem_emit_modrm_mem(&e->p, 0, true, 0x8d, r, &slot, 0, NULL,
                        0); /* lea r, [place of the return address] */
    stem_emit_modrm_reg(&e->p, true, 0xc1, 5, r);
    stem_emit_byte(&e->p, 3);
    emit_fill(e, r, place->count, STEM_POISON_FRAME);
    if (!dead)
        stem_emit_load_tls(&e->p, r, stem_slot_offset(SLOT_FIRST));
}

void stem_guard_leave(struct stem_emitter *e, const struct stem_insn *insn)
{
    if (!e->poisons_frame)
        return;
    /* Flags are dead here. The register is used by its low byte. */
    uint32_t dead = ~insn->live & CALLER_SAVED & ~(1u << RSI | 1u << RDI);
    unsigned r = dead ? (unsigned)__builtin_ctz(dead) : R11;
    struct stem_mem slot = {.base = RSP, .index = NO_REGISTER, .scale = 1};
    struct stem_mem shadow = {.base = (uint8_t)r, .index = NO_REGISTER, .scale = 1};
    if (!dead)
        stem_emit_store_tls(&e->p, stem_slot_offset(SLOT_FIRST), r);
    emit_granule(e, r);
    if (e->cold_count < UNIT_INSNS_MAX) {
        stem_emit_modrm_mem(&e->p, 0x65, false, 0x0fb6, r, &shadow, 0, NULL, 0); /* movzx r, byte gs:[r] */
        stem_emit_modrm_mem(&e->p, 0, false, 0x33, r, &slot, 0, NULL, 0);        /* xor r, [rsp] */
        stem_emit_modrm_reg(&e->p, false, 0xf6, 0, r);                           /* test r, 63 */
        stem_emit_byte(&e->p, HASH_BITS);
        stem_emit_bytes(&e->p, "\x0f\x85", 2);
        struct stem_cold *cold = &e->colds[e->cold_count++];
        *cold = (struct stem_cold){.field = e->p,
                                   .insn = (uint32_t)(insn - e->unit->insns),
                                   .borrowed = dead ? NO_REGISTER : (uint8_t)r,
                                   .leaves = true};
        e->p += 4;
        cold->back = e->p;
        emit_granule(e, r);
    }
    stem_emit_modrm_mem(&e->p, 0x65, false, 0xc6, 0, &shadow, 0, NULL, 0);
    stem_emit_byte(&e->p, 0);
    emit_fill(e, r, e->saved_count, 0);
    stem_gaps_emit(e, r, false);
    if (!dead)
        stem_emit_load_tls(&e->p, r, stem_slot_offset(SLOT_FIRST));
}

void stem_guard_cold(struct stem_emitter *e, const struct stem_cold *cold)
{
    struct stem_insn *insn = &e->unit->insns[cold->insn];
    stem_emit_rel32(cold->field, e->p, 0);
    e->pending = 0;
    memset(e->loans, 0, sizeof e->loans);
    stem_emit_map_inner(e, insn);
    if (cold->borrowed != NO_REGISTER)
        stem_emit_load_tls(&e->p, cold->borrowed, stem_slot_offset(SLOT_FIRST));
    stem_emit_slow_call(e, STUB_RETURN, insn);
    if (cold->borrowed != NO_REGISTER)
        stem_emit_store_tls(&e->p, stem_slot_offset(SLOT_FIRST), cold->borrowed);
    stem_emit_jump(&e->p, cold->back);
}

/* ---- looking at it from C ------------------------------------------------------------------------------------------------ */

bool stem_guard_is_changed(uintptr_t slot, uint64_t return_pc)
{
    uint8_t state = stem_shadow_base ? stem_shadow_base[slot >> 3] : 0;
    return state >> 6 == 2 && ((state ^ return_pc) & HASH_BITS);
}

void stem_guard_clear(uintptr_t cfa)
{
    for (unsigned i = 1; stem_shadow_base && i <= GUARD_SAVED_MAX + 1; i++) {
        uint8_t *state = &stem_shadow_base[(cfa - 8 * i) >> 3];
        if (stem_poison_is_frame(*state))
            *state = 0;
    }
}
