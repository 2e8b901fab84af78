/* Checks and undo-log appends in front of an instruction that accesses memory.

   Check, one dead register and dead flags (the usual case):
       lea r, [operand + bytes - 1];  shr r, 3;  cmp byte gs:[r], 0;  jne cold
   gs is the base of shadow memory. The last byte's granule is tested; accesses of 16, 32 and 64 bytes compare 2, 4 and 8 granules at
   once. The cold part decides partial granules exactly. Flags that live are parked in rax meanwhile.

   Append, X the ring position of the block's group of appends:
       mov r, [operand];  mov [X + 16k], r;  lea r, [base * 8 + disp * 8 + code];  mov [X + 16k + 8], r
   and once a group: lea X16, [X + 16n]; mov fs:[ring], X. The 16-bit lea wraps the 64 KiB ring; entries of a group
   that straddles its end land in the page behind it, which is the ring's first page once more.

   Accesses to the function's own frame are neither checked nor logged: it dies with the activation. */
#include "stem/translate.h"

static uint32_t bit(unsigned r)
{
    return r < 16 ? 1u << r : 0;
}

static uint32_t operand_registers(const struct stem_insn *insn)
{
    return bit(insn->mem.base) | bit(insn->mem.index) |
           (insn->flags & INSN_STRING ? bit(RSI) | bit(RDI) | bit(RCX) | bit(RAX) : 0);
}

bool stem_wants_check(const struct stem_emitter *e, const struct stem_insn *insn)
{
    const struct stem_mem *m = &insn->mem;
    return e->mode >= WIRE_MODE_CHECK && insn->flags & INSN_HAS_MEM &&
           !(insn->flags & (INSN_OWN_FRAME | INSN_EXOTIC | INSN_STRING)) && !m->rip_relative && !m->segment &&
           (m->base != NO_REGISTER || m->index != NO_REGISTER) && (m->is_read || m->is_write) &&
           (int64_t)m->disp + m->bytes - 1 <= INT32_MAX;
}

bool stem_wants_log(const struct stem_emitter *e, const struct stem_insn *insn)
{
    const struct stem_mem *m = &insn->mem;
    return e->mode == WIRE_MODE_FULL && insn->flags & INSN_HAS_MEM && m->is_write && m->bytes &&
           m->bytes <= 64 && !(insn->flags & (INSN_OWN_FRAME | INSN_STRING | INSN_EXOTIC));
}

void stem_memory_begin_block(struct stem_emitter *e)
{
    e->x = -1;
    e->pending = 0;
}

/* ---- check -------------------------------------------------------------------------------------------------------- */

static void emit_shift3(stem_cursor *p, unsigned r)
{
    stem_emit_modrm_reg(p, true, 0xc1, 5, r); /* shr r, 3 */
    stem_emit_byte(p, 3);
}

/* The granules up to r's: cmp {byte, word, dword, qword} gs:[r - (granules - 1)], 0; or, where some of four do not matter,
   test dword gs:[r - 3], mask. */
static void emit_shadow_compare(stem_cursor *p, unsigned r, unsigned granules, unsigned mask)
{
    struct stem_mem at = {.base = (uint8_t)r, .index = NO_REGISTER, .scale = 1};
    if (granules == 3 || mask + 1 != 1u << granules) {
        uint32_t bytes = 0;
        for (unsigned k = 0; k < granules; k++)
            if (mask & 1u << k)
                bytes |= 0xffu << 8 * (4 - granules + k);
        stem_emit_modrm_mem(p, 0x65, false, 0xf7, 0, &at, -3, NULL, 4);
        stem_emit_u32(p, bytes);
        return;
    }
    stem_emit_modrm_mem(p, granules == 2 ? 0x6566 : 0x65, granules == 8, granules == 1 ? 0x80 : 0x83, 7, &at,
                        -(int32_t)(granules - 1), NULL, 1);
    stem_emit_byte(p, 0);
}

static void unpark_flags(struct stem_emitter *e, const struct stem_cold *cold)
{
    stem_emit_bytes(&e->p, "\x3c\x81\x9e", 3); /* cmp al, -127; sahf */
    if (cold->rax_in_slot)
        stem_emit_load_tls(&e->p, RAX, stem_slot_offset(1));
}

/* r = operand; beyond its variable: the slow path. Flags are free. */
static void emit_bounds(struct stem_emitter *e, const struct stem_insn *insn, unsigned r,
                        const struct stem_bounds *bounds)
{
    if (bounds->is_dynamic) {
        stem_emit_modrm_reg(&e->p, true, 0x39, RSP, r); /* cmp r, rsp */
        stem_emit_bytes(&e->p, "\x72\x0c", 2);          /* jb to the jmp */
        stem_emit_modrm_reg(&e->p, true, 0x29, RBP, r); /* sub r, rbp */
        stem_emit_modrm_reg(&e->p, true, 0x81, 7, r);   /* cmp r, last place */
        stem_emit_u32(&e->p, (uint32_t)(bounds->low - insn->mem.bytes));
        stem_emit_bytes(&e->p, "\x7e\x05\xe9", 3); /* jle over it; jmp cold */
        return;
    }
    if (bounds->is_global) { /* sub r, [rip + constant] */
        stem_emit_byte(&e->p, 0x48 | (r >> 3) << 2);
        stem_emit_byte(&e->p, 0x2b);
        stem_emit_byte(&e->p, 5 | (r & 7) << 3);
        e->constants[e->constant_count++] =
            (struct stem_constant){.field = e->p, .value = e->object->base + (uint64_t)(uint32_t)bounds->low};
        e->p += 4;
    } else {
        stem_emit_modrm_reg(&e->p, true, 0x29, RBP, r); /* sub r, rbp */
        stem_emit_modrm_reg(&e->p, true, 0x81, 5, r);   /* sub r, low */
        stem_emit_u32(&e->p, (uint32_t)bounds->low);
    }
    stem_emit_modrm_reg(&e->p, true, 0x81, 7, r); /* cmp r, last place */
    stem_emit_u32(&e->p, bounds->bytes - insn->mem.bytes);
    stem_emit_bytes(&e->p, "\x0f\x87", 2); /* ja cold */
}

static void emit_check(struct stem_emitter *e, const struct stem_block *block, uint32_t index)
{
    struct stem_insn *insn = &e->unit->insns[index];
    const struct stem_mem *m = &insn->mem;
    bool flags_live = insn->live & ALL_FLAGS;
    uint32_t bounded = stem_bounds_of(e, index);
    unsigned r = stem_loans_take(e, block, index, flags_live ? bit(RAX) : 0);
    bool rax_live = insn->live & bit(RAX) && !(stem_loans_mask(e) & bit(RAX));
    struct stem_cold *cold = &e->colds[e->cold_count++];
    *cold = (struct stem_cold){
        .insn = index, .pending = (uint8_t)e->pending, .scratch = NO_REGISTER, .x = (int8_t)e->x};
    memcpy(cold->loans, e->loans, sizeof cold->loans);
    const struct stem_need *need = &e->needs[index];
    unsigned granules = m->bytes <= 8 ? 1 : m->bytes <= 16 ? 2 : m->bytes <= 32 ? 4 : 8;
    stem_emit_modrm_mem(&e->p, 0, true, 0x8d, r, m,
                        bounded      ? 0
                        : need->mask ? need->last - m->disp
                                     : m->bytes - 1,
                        e->object, 0); /* lea */
    if (flags_live) {
        cold->saved_flags = true;
        cold->rax_in_slot = rax_live || (e->x == RAX);
        if (cold->rax_in_slot)
            stem_emit_store_tls(&e->p, stem_slot_offset(1), RAX);
        stem_emit_bytes(&e->p, "\x9f\x0f\x90\xc0", 4); /* lahf; seto al */
    } else {
        cold->scratch = (uint8_t)r;
    }
    if (bounded) {
        emit_bounds(e, insn, r, &e->bounds[bounded - 1]);
    } else {
        emit_shift3(&e->p, r);
        if (need->mask)
            emit_shadow_compare(&e->p, r, need->granules, need->mask);
        else
            emit_shadow_compare(&e->p, r, granules, (1u << granules) - 1);
        stem_emit_bytes(&e->p, "\x0f\x85", 2); /* jne cold */
    }
    cold->field = e->p;
    e->p += 4;
    cold->back = e->p;
    if (flags_live)
        unpark_flags(e, cold);
}

static uint8_t *forward_jcc(struct stem_emitter *e, unsigned condition)
{
    stem_emit_byte(&e->p, 0x0f);
    stem_emit_byte(&e->p, 0x80 | condition);
    e->p += 4;
    return e->p - 4;
}

/* A slow call with all registers as the application left them. */
static void emit_slow_call(struct stem_emitter *e, enum stem_stub stub, const struct stem_insn *insn)
{
    stem_loans_repay(e);
    stem_emit_slow_call(e, stub, insn);
    stem_loans_again(e);
}

/* Calls the slow path, flags as the application left them. */
static void emit_cold_call(struct stem_emitter *e, const struct stem_cold *cold, const struct stem_insn *insn)
{
    if (cold->saved_flags)
        unpark_flags(e, cold);
    emit_slow_call(e, STUB_CHECK, insn);
    if (cold->saved_flags) { /* the slow path kept everything: park once more, as the hot path expects */
        if (cold->rax_in_slot)
            stem_emit_store_tls(&e->p, stem_slot_offset(1), RAX);
        stem_emit_bytes(&e->p, "\x9f\x0f\x90\xc0", 4);
    }
}

/* One access exactly: its last byte's granule addressable, or addressable up to that byte; else the slow path. Flags are dead here, r
   is free, and s holds nothing of the operand. */
static void emit_exact(struct stem_emitter *e, const struct stem_cold *cold, const struct stem_insn *insn,
                       unsigned s)
{
    unsigned r = cold->scratch;
    struct stem_mem at = {.base = (uint8_t)r, .index = NO_REGISTER, .scale = 1};
    stem_emit_store_tls(&e->p, stem_slot_offset(2), s);
    stem_emit_modrm_mem(&e->p, 0, true, 0x8d, r, &insn->mem, insn->mem.bytes - 1, e->object, 0); /* lea */
    stem_emit_modrm_reg(&e->p, false, 0x89, r, s); /* mov s, r */
    emit_shift3(&e->p, r);
    stem_emit_modrm_mem(&e->p, 0x65, false, 0x0fbe, r, &at, 0, NULL, 0); /* movsx r, byte gs:[r] */
    stem_emit_modrm_reg(&e->p, false, 0x83, 4, s);                       /* and s, 7 */
    stem_emit_byte(&e->p, 7);
    stem_emit_modrm_reg(&e->p, false, 0x85, r, r); /* test r, r */
    uint8_t *whole = forward_jcc(e, 4);
    stem_emit_modrm_reg(&e->p, false, 0x39, r, s); /* cmp s, r */
    uint8_t *inside = forward_jcc(e, 0xc);
    stem_emit_load_tls(&e->p, s, stem_slot_offset(2));
    emit_cold_call(e, cold, insn);
    stem_emit_rel32(whole, e->p, 0);
    stem_emit_rel32(inside, e->p, 0);
    stem_emit_load_tls(&e->p, s, stem_slot_offset(2));
}

/* The other half of a check: each access that it stands for, exactly. */
void stem_emit_cold(struct stem_emitter *e, const struct stem_cold *cold)
{
    stem_emit_rel32(cold->field, e->p, 0);
    e->pending = cold->pending;
    e->x = cold->x;
    memcpy(e->loans, cold->loans, sizeof e->loans);
    uint32_t index = cold->insn;
    do {
        const struct stem_insn *insn = &e->unit->insns[index];
        unsigned s = RAX;
        while (bit(s) & (bit(cold->scratch) | operand_registers(insn) | bit(RSP)))
            s++;
        stem_emit_map_inner(e, insn);
        e->map[e->map_count - 1].flags |= (uint16_t)(stem_bounds_of(e, index) << MAP_BOUNDS_SHIFT);
        if (cold->scratch != NO_REGISTER && insn->mem.bytes <= 8 && !stem_bounds_of(e, index))
            emit_exact(e, cold, insn, s);
        else
            emit_cold_call(e, cold, insn);
        index = e->needs[index].next;
    } while (index);
    stem_emit_jump(&e->p, cold->back);
}

/* ---- undo log --------------------------------------------------------------------------------------------------------- */

static unsigned entries_of(const struct stem_insn *insn)
{
    unsigned bytes = insn->mem.bytes;
    return bytes / 8 + (bytes & 4 ? 1 : 0) + (bytes & 2 ? 1 : 0) + (bytes & 1);
}

static bool ends_group(const struct stem_insn *insn)
{
    return insn->kind != INSN_PLAIN || insn->flags & (INSN_STRING | INSN_EXOTIC);
}

/* The last append in [index, until) that a group which begins at `index` may take in. */
static uint32_t last_append(const struct stem_emitter *e, uint32_t index, uint32_t until)
{
    uint32_t last = index;
    unsigned entries = 0;
    for (uint32_t i = index; i < until; i++) {
        const struct stem_insn *insn = &e->unit->insns[i];
        if (e->needs[i].log) {
            entries += entries_of(insn);
            if (entries > GROUP_MAX || (i > index && stem_knob(e, CORE_KNOB_NO_GROUPS)))
                break;
            last = i;
        }
        if (ends_group(insn))
            break;
    }
    return last;
}

/* Borrows a register for X. */
static void borrow_position(struct stem_emitter *e, const struct stem_block *block, uint32_t index)
{
    unsigned x = stem_loans_take(e, block, index, 0);
    bool alone = stem_knob(e, CORE_KNOB_NO_LOANS) || !stem_loans_may_span(&e->unit->insns[index]);
    uint32_t until = alone ? index + 1 : stem_loans_until(e, block, index + 1, x);
    e->x = (int)x;
    e->group_last = last_append(e, index, until);
}

/* Finds the longest run of appends, from this instruction on, over which one register stays free for X. */
static void open_group(struct stem_emitter *e, const struct stem_block *block, uint32_t index)
{
    uint32_t free = ALL_REGISTERS & ~bit(RSP), last = index, best = 0;
    unsigned entries = 0;
    for (uint32_t i = index; i < block->end; i++) {
        const struct stem_insn *insn = &e->unit->insns[i];
        free &= ~insn->live & ~operand_registers(insn);
        if (!free)
            break;
        if (e->needs[i].log) {
            entries += entries_of(insn);
            if (entries > GROUP_MAX || (i > index && stem_knob(e, CORE_KNOB_NO_GROUPS)))
                break;
            last = i;
            best = free;
        }
        free &= ~insn->writes;
        if (ends_group(insn))
            break;
    }
    e->group_last = last;
    e->pending = 0;
    if (best)
        e->x = __builtin_ctz(best);
    else
        borrow_position(e, block, index);
}

static void emit_append(struct stem_emitter *e, const struct stem_insn *insn, unsigned x, unsigned r)
{
    const struct stem_mem *m = &insn->mem;
    struct stem_mem ring = {.base = (uint8_t)x, .index = NO_REGISTER, .scale = 1};
    bool one_lea = m->base != NO_REGISTER && m->base != RSP && m->index == NO_REGISTER && !m->rip_relative &&
                   !m->segment && m->disp > -(1 << 27) && m->disp < 1 << 27;
    unsigned at = 0;
    while (at < m->bytes) {
        unsigned left = m->bytes - at, size = left >= 8 ? 8 : left >= 4 ? 4 : left >= 2 ? 2 : 1;
        unsigned code = size == 8 ? 4 : size == 4 ? 3 : size;
        unsigned prefix = m->segment == SEGMENT_FS ? 0x64 : 0;
        stem_emit_modrm_mem(&e->p, prefix, size == 8,
                            size >= 4   ? 0x8b
                            : size == 2 ? 0x0fb7
                                        : 0x0fb6,
                            r, m, (int32_t)at, e->object, 0);
        stem_emit_modrm_mem(&e->p, 0, true, 0x89, r, &ring, (int32_t)(16 * e->pending), NULL, 0);
        if (one_lea) {
            struct stem_mem scaled = {.base = NO_REGISTER,
                                      .index = m->base,
                                      .scale = 8,
                                      .disp = (m->disp + (int32_t)at) * 8 + (int32_t)code};
            stem_emit_modrm_mem(&e->p, 0, true, 0x8d, r, &scaled, 0, NULL, 0);
        } else {
            struct stem_mem scaled = {
                .base = NO_REGISTER, .index = (uint8_t)r, .scale = 8, .disp = (int32_t)code};
            if (m->segment) { /* the thread control block holds its own address at fs:0 */
                struct stem_mem linear = {.base = (uint8_t)r, .index = m->base, .scale = 1, .disp = m->disp};
                struct stem_mem indexed = {.base = (uint8_t)r, .index = m->index, .scale = m->scale};
                stem_emit_load_tls(&e->p, r, 0);
                stem_emit_modrm_mem(&e->p, 0, true, 0x8d, r, &linear, (int32_t)at, NULL, 0);
                if (m->index != NO_REGISTER)
                    stem_emit_modrm_mem(&e->p, 0, true, 0x8d, r, &indexed, 0, NULL, 0);
            } else {
                stem_emit_modrm_mem(&e->p, 0, true, 0x8d, r, m, (int32_t)at, e->object, 0);
            }
            stem_emit_modrm_mem(&e->p, 0, true, 0x8d, r, &scaled, 0, NULL, 0);
        }
        stem_emit_modrm_mem(&e->p, 0, true, 0x89, r, &ring, (int32_t)(16 * e->pending + 8), NULL, 0);
        e->pending++;
        at += size;
    }
}

static void emit_log(struct stem_emitter *e, const struct stem_block *block, uint32_t index)
{
    struct stem_insn *insn = &e->unit->insns[index];
    if (e->x < 0)
        open_group(e, block, index);
    bool first = e->pending == 0;
    unsigned x = (unsigned)e->x, r = stem_loans_take(e, block, index, 0);
    if (first)
        stem_emit_load_tls(&e->p, x, stem_ring_offset());
    emit_append(e, insn, x, r);
    if (index == e->group_last) { /* publish */
        struct stem_mem ring = {.base = (uint8_t)x, .index = NO_REGISTER, .scale = 1};
        stem_emit_modrm_mem(&e->p, 0x66, false, 0x8d, x, &ring, (int32_t)(16 * e->pending), NULL, 0);
        stem_emit_store_tls(&e->p, stem_ring_offset(), x);
        e->x = -1;
        e->pending = 0;
    }
}

/* Self-test: a place for a forced fault. */
static void prove_here(struct stem_emitter *e, const struct stem_insn *insn)
{
    if (stem_knob(e, CORE_KNOB_PROVE_UNDO))
        emit_slow_call(e, STUB_PROVE, insn);
}

void stem_emit_memory(struct stem_emitter *e, const struct stem_block *block, uint32_t index)
{
    struct stem_insn *insn = &e->unit->insns[index];
    if (insn->flags & INSN_STRING && e->mode >= WIRE_MODE_CHECK)
        stem_emit_slow_call(e, e->object->exact ? STUB_STRING_EXACT : STUB_STRING, insn);
    if (insn->flags & INSN_SAVES_X87 ||
        (insn->flags & INSN_EXOTIC && !(insn->flags & INSN_OWN_FRAME) && e->mode >= WIRE_MODE_CHECK))
        stem_emit_slow_call(e, STUB_EXOTIC, insn);
    if (e->needs[index].check) {
        prove_here(e, insn);
        emit_check(e, block, index);
    }
    if (e->needs[index].log) {
        unsigned pending = e->pending;
        emit_log(e, block, index);
        if (e->pending < pending) /* published: a trap in the store itself finds none pending */
            stem_emit_map_inner(e, insn);
        prove_here(e, insn);
    }
}
