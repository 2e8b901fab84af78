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

/* ---- scratch registers ------------------------------------------------------------------------------------------ */

/* A register that may be overwritten before the instruction, or NO_REGISTER. */
static unsigned dead_register(const struct stem_emitter *e, const struct stem_insn *insn, uint32_t except)
{
    uint32_t dead = ~insn->live & ALL_REGISTERS & ~bit(RSP) & ~operand_registers(insn) & ~except;
    if (e->x >= 0)
        dead &= ~bit((unsigned)e->x);
    return dead ? (unsigned)__builtin_ctz(dead) : NO_REGISTER;
}

static unsigned spill_register(const struct stem_emitter *e, const struct stem_insn *insn, uint32_t except)
{
    uint32_t some = CALLER_SAVED & ~operand_registers(insn) & ~except;
    if (e->x >= 0)
        some &= ~bit((unsigned)e->x);
    return (unsigned)__builtin_ctz(some);
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

static void emit_check(struct stem_emitter *e, uint32_t index)
{
    struct stem_insn *insn = &e->unit->insns[index];
    const struct stem_mem *m = &insn->mem;
    bool flags_live = insn->live & ALL_FLAGS;
    bool rax_live = insn->live & bit(RAX);
    uint32_t bounded = stem_bounds_of(e, index), except = flags_live ? bit(RAX) : 0;
    struct stem_cold *cold = &e->colds[e->cold_count++];
    *cold = (struct stem_cold){
        .insn = index, .pending = (uint8_t)e->pending, .scratch = NO_REGISTER, .saved = NO_REGISTER};
    unsigned r = dead_register(e, insn, except);
    if (r == NO_REGISTER) {
        r = spill_register(e, insn, except);
        cold->saved = (uint8_t)r;
        stem_emit_store_tls(&e->p, stem_slot_offset(0), r);
    }
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
    if (cold->saved != NO_REGISTER)
        stem_emit_load_tls(&e->p, cold->saved, stem_slot_offset(0));
}

static uint8_t *forward_jcc(struct stem_emitter *e, unsigned condition)
{
    stem_emit_byte(&e->p, 0x0f);
    stem_emit_byte(&e->p, 0x80 | condition);
    e->p += 4;
    return e->p - 4;
}

/* Calls the slow path with all registers as the application left them. */
static void emit_cold_call(struct stem_emitter *e, const struct stem_cold *cold, const struct stem_insn *insn)
{
    if (cold->saved_flags)
        unpark_flags(e, cold);
    if (cold->saved != NO_REGISTER)
        stem_emit_load_tls(&e->p, cold->saved, stem_slot_offset(0));
    stem_emit_slow_call(e, STUB_CHECK, insn);
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
    uint32_t index = cold->insn;
    do {
        const struct stem_insn *insn = &e->unit->insns[index];
        unsigned s = RAX;
        while (bit(s) & (bit(cold->scratch) | operand_registers(insn) | bit(RSP)))
            s++;
        stem_emit_map(e, insn);
        e->map[e->map_count - 1].flags &= (uint16_t)~MAP_INDIRECT_TARGET; /* nothing jumps here */
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
    bool has_x = e->x >= 0, first = e->pending == 0;
    unsigned x = (unsigned)e->x, r = dead_register(e, insn, 0);
    bool spill_r = r == NO_REGISTER, spill_x = !has_x;
    if (spill_r)
        r = spill_register(e, insn, 0);
    if (spill_r)
        stem_emit_store_tls(&e->p, stem_slot_offset(3), r);
    if (spill_x) {
        x = dead_register(e, insn, bit(r));
        if (x == NO_REGISTER) {
            x = spill_register(e, insn, bit(r));
            stem_emit_store_tls(&e->p, stem_slot_offset(4), x);
        } else {
            spill_x = false;
        }
    }
    if (first)
        stem_emit_load_tls(&e->p, x, stem_ring_offset());
    emit_append(e, insn, x, r);
    if (!has_x || index == e->group_last) { /* publish */
        struct stem_mem ring = {.base = (uint8_t)x, .index = NO_REGISTER, .scale = 1};
        stem_emit_modrm_mem(&e->p, 0x66, false, 0x8d, x, &ring, (int32_t)(16 * e->pending), NULL, 0);
        stem_emit_store_tls(&e->p, stem_ring_offset(), x);
        e->x = -1;
        e->pending = 0;
    }
    if (spill_x)
        stem_emit_load_tls(&e->p, x, stem_slot_offset(4));
    if (spill_r)
        stem_emit_load_tls(&e->p, r, stem_slot_offset(3));
}

/* Self-test: a place for a forced fault. */
static void prove_here(struct stem_emitter *e, const struct stem_insn *insn)
{
    if (stem_knob(e, CORE_KNOB_PROVE_UNDO))
        stem_emit_slow_call(e, STUB_PROVE, insn);
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
        emit_check(e, index);
    }
    if (e->needs[index].log) {
        unsigned pending = e->pending;
        emit_log(e, block, index);
        if (e->pending < pending) { /* published: a trap in the store itself finds none pending */
            stem_emit_map(e, insn);
            e->map[e->map_count - 1].flags &= (uint16_t)~MAP_INDIRECT_TARGET;
        }
        prove_here(e, insn);
    }
}
