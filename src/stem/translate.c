/* Translation: a unit's instructions copied into the code cache in their own order, with checks and undo-log appends in
   front of those that access memory. At every application instruction registers and stack are the application's own; what an
   inserted sequence needs it takes from dead registers or saves in a thread slot for just that sequence.

   Layout of one translation: prologue (mark, frame poison), blocks, cold parts, constants, table of indirect targets. */
#include "stem/translate.h"

static struct stem_map_entry *map_scratch;
static struct stem_site *site_scratch;

enum { MAP_MAX = 2 * UNIT_INSNS_MAX, SITES_MAX = UNIT_INSNS_MAX, BYTES_PER_INSN_MAX = 260 };

static bool scratch(struct stem_emitter *e)
{
    static struct stem_fixup *fixups;
    static struct stem_constant *constants;
    static struct stem_cold *colds;
    if (!map_scratch)
        map_scratch = stem_pages_map(MAP_MAX * sizeof *map_scratch);
    if (!site_scratch)
        site_scratch = stem_pages_map(SITES_MAX * sizeof *site_scratch);
    if (!fixups)
        fixups = stem_pages_map(UNIT_INSNS_MAX * sizeof *fixups);
    if (!constants)
        constants = stem_pages_map(UNIT_INSNS_MAX * sizeof *constants);
    if (!colds)
        colds = stem_pages_map(UNIT_INSNS_MAX * sizeof *colds);
    e->map = map_scratch;
    e->sites = site_scratch;
    e->fixups = fixups;
    e->constants = constants;
    e->colds = colds;
    return map_scratch && site_scratch && fixups && constants && colds;
}

void stem_emit_map(struct stem_emitter *e, const struct stem_insn *insn)
{
    e->map[e->map_count++] =
        (struct stem_map_entry){.cache = (uint32_t)(e->p - e->code),
                                .offset = insn->offset,
                                .pending = (uint8_t)e->pending,
                                .length = insn->length,
                                .flags = insn->flags & INSN_INDIRECT_TARGET ? MAP_INDIRECT_TARGET : 0};
}

void stem_emit_slow_call(struct stem_emitter *e, enum stem_stub stub, const struct stem_insn *insn)
{
    static const uint8_t down[] = {0x48, 0x8d, 0xa4, 0x24, 0x00, 0xff, 0xff, 0xff}; /* lea rsp, [rsp - 256] */
    static const uint8_t up[] = {0x48, 0x8d, 0xa4, 0x24, 0x00, 0x01, 0x00, 0x00};
    stem_emit_bytes(&e->p, down, sizeof down); /* below the red zone */
    stem_emit_call_through(&e->p, &e->object->stubs[stub]);
    e->sites[e->site_count++] = (struct stem_site){.cache = (uint32_t)(e->p - e->code),
                                                   .map = e->map_count - 1,
                                                   .mem = insn->mem,
                                                   .string_op = insn->string_op,
                                                   .string_bytes = insn->string_bytes,
                                                   .string_rep = insn->string_rep};
    stem_emit_bytes(&e->p, up, sizeof up);
}

static void call_constant(struct stem_emitter *e, unsigned modrm, uint64_t value)
{
    stem_emit_byte(&e->p, 0xff);
    stem_emit_byte(&e->p, modrm);
    e->constants[e->constant_count++] = (struct stem_constant){e->p, value};
    e->p += 4;
}
enum { CALL_MEMORY = 0x15, JUMP_MEMORY = 0x25, PUSH_MEMORY = 0x35 };

/* Where a direct call or jump out of the unit goes: our gate of the function where it has one, since its entry would only
   lead there. */
static const uint8_t *destination(const struct stem_emitter *e, uint32_t target)
{
    struct stem_function *f = stem_function_at(e->object, target);
    if (f && f->gate)
        return e->flavour == FLAVOUR_PROTECT ? f->gate_cached[FLAVOUR_PROTECT] : f->gate;
    return (const uint8_t *)(e->object->base + target);
}

static void branch_to(struct stem_emitter *e, int32_t block, uint32_t target)
{
    if (block >= 0)
        e->fixups[e->fixup_count++] = (struct stem_fixup){e->p, (uint32_t)block};
    e->p += 4;
    if (block < 0)
        stem_emit_rel32(e->p - 4, destination(e, target), 0);
}

/* ---- calls and jumps ------------------------------------------------------------------------------------- */

/* The dynamic symbol that a call or tail jump reaches, or NULL. */
static const char *callee_name(const struct stem_emitter *e, const struct stem_insn *insn)
{
    if (insn->kind == INSN_CALL || insn->kind == INSN_JUMP)
        return stem_object_plt_name(e->object, insn->target);
    if (insn->flags & INSN_HAS_MEM && insn->mem.rip_relative)
        return stem_object_got_name(e->object, (uint32_t)insn->mem.disp);
    return NULL;
}

/* Emits calls and tail jumps to library functions that want more than a plain call. Returns whether it did. */
static bool emit_library_call(struct stem_emitter *e, const struct stem_insn *insn, const uint8_t *bytes)
{
    const char *name = callee_name(e, insn);
    core_cache_pc thunk;
    bool is_call = insn->kind == INSN_CALL || insn->kind == INSN_CALL_INDIRECT;
    switch (name ? stem_intrinsic_find(&thunk, name) : STEM_CALLEE_PLAIN) {
    case STEM_CALLEE_CHECKED:
        if (e->mode < WIRE_MODE_CHECK)
            return false;
        call_constant(e, is_call ? CALL_MEMORY : JUMP_MEMORY, thunk.v);
        return true;
    case STEM_CALLEE_ESCAPE:
        if (!is_call)
            return false;
        call_constant(e, PUSH_MEMORY, e->object->base + insn->offset + insn->length);
        if (insn->kind == INSN_CALL) {
            stem_emit_jump(&e->p, (const uint8_t *)(e->object->base + insn->target));
        } else { /* call [rip + x] becomes jmp [rip + x]: the register field of ModRM tells them apart */
            uint8_t *at = e->p;
            stem_emit_copy(&e->p, insn, bytes, e->object);
            at[insn->disp_at - 1] = (uint8_t)((at[insn->disp_at - 1] & 0xc7) | 4 << 3);
        }
        return true;
    default:
        return false;
    }
}

static void emit_indirect_jump(struct stem_emitter *e, const struct stem_insn *insn, const uint8_t *bytes)
{
    static const struct stem_mem through_rcx = {.base = RAX, .index = RCX, .scale = 4};
    int32_t rcx = stem_slot_offset(0), to = stem_slot_offset(1), rax = stem_slot_offset(2);
    const struct stem_function *f = e->function;
    stem_emit_store_tls(&e->p, rcx, RCX);
    if (insn->flags & INSN_HAS_MEM)
        stem_emit_modrm_mem(&e->p, insn->mem.segment == SEGMENT_FS ? 0x64 : 0, true, 0x8b, RCX, &insn->mem, 0,
                            e->object, 0);
    else /* [notrack] [REX.B] ff e0+r */
        stem_emit_modrm_reg(&e->p, true, 0x89,
                            (bytes[insn->length - 1] & 7u) |
                                (insn->length > 2 && bytes[insn->length - 3] == 0x41 ? 8u : 0u),
                            RCX);
    stem_emit_store_tls(&e->p, to, RCX);
    stem_emit_store_tls(&e->p, rax, RAX);
    stem_emit_bytes(&e->p, "\x48\x8d\x05", 3); /* lea rax, [rip + start of the function] */
    e->p += 4;
    stem_emit_rel32(e->p - 4, (const uint8_t *)(e->object->base + f->offset), 0);
    stem_emit_modrm_reg(&e->p, true, 0x29, RAX, RCX); /* sub rcx, rax */
    stem_emit_bytes(&e->p, "\x48\x81\xf9", 3);        /* cmp rcx, bytes */
    stem_emit_u32(&e->p, f->bytes);
    stem_emit_bytes(&e->p, "\x0f\x83", 2); /* jae miss */
    uint8_t *outside = e->p;
    e->p += 4;
    stem_emit_bytes(&e->p, "\x48\x8d\x05", 3); /* lea rax, [rip + table] */
    e->tables[e->table_count++] = e->p;
    e->p += 4;
    stem_emit_modrm_mem(&e->p, 0, false, 0x8b, RCX, &through_rcx, 0, e->object,
                        0);                /* mov ecx, [rax + rcx * 4] */
    stem_emit_bytes(&e->p, "\x85\xc9", 2); /* test ecx, ecx */
    stem_emit_bytes(&e->p, "\x0f\x84", 2); /* jz miss */
    uint8_t *unknown = e->p;
    e->p += 4;
    stem_emit_bytes(&e->p, "\x48\x8d\x05", 3); /* lea rax, [rip + code] */
    e->p += 4;
    stem_emit_rel32(e->p - 4, e->code, 0);
    stem_emit_modrm_reg(&e->p, true, 0x01, RAX, RCX); /* add rcx, rax */
    stem_emit_store_tls(&e->p, to, RCX);
    stem_emit_load_tls(&e->p, RCX, rcx);
    stem_emit_load_tls(&e->p, RAX, rax);
    stem_emit_bytes(&e->p, "\x64\xff\x24\x25", 4); /* jmp fs:[to] */
    stem_emit_u32(&e->p, (uint32_t)to);
    if (e->unit->range_count == 1) { /* outside the only range: a tail call */
        stem_emit_rel32(outside, e->p, 0);
        stem_emit_load_tls(&e->p, RCX, rcx);
        stem_emit_load_tls(&e->p, RAX, rax);
        stem_emit_bytes(&e->p, "\x64\xff\x24\x25", 4); /* jmp fs:[to] */
        stem_emit_u32(&e->p, (uint32_t)to);
        outside = unknown;
    }
    stem_emit_rel32(outside, e->p, 0);
    stem_emit_rel32(unknown, e->p, 0);
    stem_emit_load_tls(&e->p, RCX, rcx);
    stem_emit_load_tls(&e->p, RAX, rax);
    stem_emit_slow_call(e, STUB_INDIRECT, insn); /* does not come back here */
}

static void unpoison_frame(struct stem_emitter *e)
{
    if (!e->poisons_frame)
        return;
    stem_emit_store_tls(&e->p, stem_slot_offset(0), R11); /* flags are dead here, registers are not */
    stem_emit_modrm_reg(&e->p, true, 0x89, RSP, R11);
    stem_emit_bytes(&e->p, "\x49\xc1\xeb\x03", 4);     /* shr r11, 3 */
    stem_emit_bytes(&e->p, "\x65\x41\xc6\x03\x00", 5); /* mov byte gs:[r11], 0 */
    stem_emit_load_tls(&e->p, R11, stem_slot_offset(0));
}

static bool emit_control(struct stem_emitter *e, const struct stem_block *block, uint32_t block_index,
                         const struct stem_insn *insn, const uint8_t *bytes)
{
    switch (insn->kind) {
    case INSN_CALL:
        if (!emit_library_call(e, insn, bytes))
            stem_emit_call(&e->p, destination(e, insn->target));
        return true;
    case INSN_CALL_INDIRECT:
        return emit_library_call(e, insn, bytes) || stem_emit_copy(&e->p, insn, bytes, e->object);
    case INSN_JUMP:
        if (block->target == (int32_t)block_index + 1)
            return true; /* the next thing emitted */
        if (block->target < 0) {
            unpoison_frame(e);
            if (emit_library_call(e, insn, bytes))
                return true;
        }
        stem_emit_byte(&e->p, 0xe9);
        branch_to(e, block->target, insn->target);
        return true;
    case INSN_BRANCH:
        if (insn->flags & INSN_SHORT_ONLY) { /* jrcxz +2; jmp +5; jmp target */
            stem_emit_bytes(&e->p, bytes, insn->length - 1u);
            stem_emit_byte(&e->p, 2);
            stem_emit_bytes(&e->p, "\xeb\x05\xe9", 3);
        } else {
            stem_emit_byte(&e->p, 0x0f);
            stem_emit_byte(&e->p, 0x80 | (bytes[insn->length == 2 ? 0 : insn->length - 5] & 0xf));
        }
        branch_to(e, block->target, insn->target);
        return true;
    case INSN_JUMP_INDIRECT: {
        if (emit_library_call(e, insn, bytes))
            return true;
        if (e->table_count == TABLES_MAX)
            return false;
        emit_indirect_jump(e, insn, bytes);
        return true;
    }
    case INSN_RETURN:
        unpoison_frame(e);
        stem_emit_bytes(&e->p, bytes, insn->length);
        return true;
    default:
        return stem_emit_copy(&e->p, insn, bytes, e->object);
    }
}

/* ---- the whole unit ----------------------------------------------------------------------------------------- */

static void emit_prologue(struct stem_emitter *e)
{
    const struct stem_insn *first = &e->unit->insns[0];
    uint32_t dead = ~first->live & ALL_REGISTERS & ~(1u << RSP);
    bool spill = !dead;
    unsigned r = spill ? R11 : (unsigned)__builtin_ctz(dead);
    struct stem_mem at = {.base = (uint8_t)r, .index = NO_REGISTER, .scale = 1};
    if (!e->marks && !e->poisons_frame)
        return;
    stem_emit_map(e, first);
    if (spill)
        stem_emit_store_tls(&e->p, stem_slot_offset(0), r);
    if (e->poisons_frame) {
        stem_emit_modrm_reg(&e->p, true, 0x89, RSP, r);
        stem_emit_modrm_reg(&e->p, true, 0xc1, 5, r); /* shr r, 3 */
        stem_emit_byte(&e->p, 3);
        stem_emit_modrm_mem(&e->p, 0x65, false, 0xc6, 0, &at, 0, e->object, 0);
        stem_emit_byte(&e->p, STEM_POISON_FRAME);
    }
    if (e->marks) { /* the activation's mark: its return-address slot */
        stem_emit_load_tls(&e->p, r, stem_ring_offset());
        stem_emit_modrm_mem(&e->p, 0, true, 0x89, RSP, &at, 8, e->object, 0);
        stem_emit_modrm_mem(&e->p, 0x66, false, 0x8d, r, &at, 16, e->object, 0);
        stem_emit_store_tls(&e->p, stem_ring_offset(), r);
    }
    if (spill)
        stem_emit_load_tls(&e->p, r, stem_slot_offset(0));
}

/* Self-test: what liveness calls dead is destroyed, so that a mistake shows at once. */
static void emit_clobber(struct stem_emitter *e, const struct stem_insn *insn)
{
    for (unsigned r = 0; r < 16; r++)
        if (!(insn->live & 1u << r) && r != RSP && (int)r != e->x) {
            stem_emit_byte(&e->p, 0x48 | (r >> 3));
            stem_emit_byte(&e->p, 0xc7);
            stem_emit_byte(&e->p, 0xc0 | (r & 7));
            stem_emit_u32(&e->p, 0xbadc0deu + r);
        }
    if (!(insn->live & ALL_FLAGS)) {
        stem_emit_modrm_reg(&e->p, true, 0x39, RSP, RSP); /* cmp rsp, rsp */
        stem_emit_byte(&e->p, 0xf9);                      /* stc */
    }
}

static bool emit_block(struct stem_emitter *e, uint32_t index)
{
    struct stem_block *block = &e->unit->blocks[index];
    uint8_t bytes[16];
    block->code = e->p;
    stem_memory_begin_block(e);
    for (uint32_t i = block->first; i < block->end; i++) {
        struct stem_insn *insn = &e->unit->insns[i];
        stem_object_bytes(bytes, e->object, insn->offset, insn->length);
        stem_emit_map(e, insn);
        if (stem_knob(e, CORE_KNOB_CLOBBER))
            emit_clobber(e, insn);
        stem_emit_memory(e, block, i);
        if (!emit_control(e, block, index, insn, bytes))
            return false;
        stem_memory_after(e, insn);
    }
    const struct stem_insn *last = &e->unit->insns[block->end - 1];
    bool falls = last->kind == INSN_PLAIN || last->kind == INSN_CALL || last->kind == INSN_CALL_INDIRECT ||
                 last->kind == INSN_BRANCH;
    if (falls && block->next < 0) /* runs off the unit: padding behind a call that never returns */
        stem_emit_jump(&e->p, (const uint8_t *)(e->object->base + last->offset + last->length));
    return true;
}

static void emit_tail(struct stem_emitter *e)
{
    for (uint32_t i = 0; i < e->cold_count; i++)
        stem_emit_cold(e, &e->colds[i]);
    e->code_end = e->p;
    e->p = (uint8_t *)(((uintptr_t)e->p + 7) & ~7ul);
    for (uint32_t i = 0; i < e->constant_count; i++) {
        stem_emit_rel32(e->constants[i].field, e->p, 0);
        stem_emit_bytes(&e->p, &e->constants[i].value, 8);
    }
    if (e->table_count) {
        uint32_t *table = (uint32_t *)e->p;
        e->p += e->function->bytes * 4;
        for (uint32_t b = 0; b < e->unit->block_count; b++) {
            const struct stem_insn *leader = &e->unit->insns[e->unit->blocks[b].first];
            if (leader->flags & INSN_INDIRECT_TARGET &&
                leader->offset - e->function->offset < e->function->bytes)
                table[leader->offset - e->function->offset] = (uint32_t)(e->unit->blocks[b].code - e->code);
        }
        for (uint32_t i = 0; i < e->table_count; i++)
            stem_emit_rel32(e->tables[i], (const uint8_t *)table, 0);
    }
    for (uint32_t i = 0; i < e->fixup_count; i++)
        stem_emit_rel32(e->fixups[i].field, e->unit->blocks[e->fixups[i].block].code, 0);
}

static struct stem_translation *publish(struct stem_emitter *e)
{
    struct stem_object *o = e->object;
    struct stem_translation *t = stem_arena(sizeof *t);
    struct stem_map_entry *map = stem_arena(e->map_count * sizeof *map);
    struct stem_site *sites = stem_arena((e->site_count + 1) * sizeof *sites);
    if (o->translation_count == o->translation_room) {
        uint32_t room = o->translation_room ? 2 * o->translation_room : 64;
        struct stem_translation **larger = stem_arena(room * sizeof(void *));
        if (!larger)
            return NULL;
        memcpy(larger, o->translations, o->translation_count * sizeof(void *));
        /* Readers in signal handlers take the array before the count: the old one stays valid. */
        __atomic_store_n(&o->translations, larger, __ATOMIC_RELEASE);
        o->translation_room = room;
    }
    if (!t || !map || !sites)
        return NULL;
    memcpy(map, e->map, e->map_count * sizeof *map);
    memcpy(sites, e->sites, e->site_count * sizeof *sites);
    *t = (struct stem_translation){.object = o,
                                   .function = e->function,
                                   .flavour = e->flavour,
                                   .code = e->code,
                                   .code_end = e->code_end,
                                   .map = map,
                                   .map_count = e->map_count,
                                   .sites = sites,
                                   .site_count = e->site_count,
                                   .marks = e->marks};
    o->translations[o->translation_count] = t;
    __atomic_store_n(&o->translation_count, o->translation_count + 1, __ATOMIC_RELEASE);
    o->next = e->p;
    stem_count(CORE_COUNTER_TRANSLATIONS, 1);
    stem_count(CORE_COUNTER_TRANSLATED_BYTES, (uint64_t)(e->p - e->code));
    return t;
}

static struct stem_translation *refuse(struct stem_function *f, enum core_refusal why)
{
    f->refusal = (uint8_t)why;
    stem_control->functions[f->index].refusal = (uint8_t)why;
    stem_count(CORE_COUNTER_FUNCTIONS_REFUSED, 1);
    return NULL;
}

struct stem_translation *stem_translate(struct stem_object *object, struct stem_function *function,
                                        enum stem_flavour flavour)
{
    static struct stem_unit unit;
    static struct stem_emitter emitter;
    struct stem_emitter *e = &emitter;
    *e = (struct stem_emitter){
        .unit = &unit, .object = object, .function = function, .flavour = flavour, .x = -1};
    if (!scratch(e))
        return refuse(function, CORE_REFUSAL_TABLE_FULL);
    if (!stem_unit_build(&unit, object, function))
        return refuse(function, unit.refusal);
    stem_liveness(&unit);
    function->returns = (uint8_t)stem_unit_returns(&unit);
    e->mode = (enum wire_mode)stem_control->config.mode;
    e->knobs = stem_control->config.knobs;
    e->marks = e->mode == WIRE_MODE_FULL && (unit.has_log || unit.has_call);
    e->poisons_frame =
        e->mode >= WIRE_MODE_CHECK && unit.frame_escapes && !stem_knob(e, CORE_KNOB_NO_FRAME_POISON);
    e->p = e->code = (uint8_t *)(((uintptr_t)object->next + 15) & ~15ul);
    size_t worst = unit.insn_count * (size_t)BYTES_PER_INSN_MAX + 4096;
    for (uint32_t i = 0; i < unit.insn_count; i++)
        worst += unit.insns[i].mem.bytes * 8u;
    worst += unit.has_indirect_jump ? function->bytes * 4u : 0;
    if ((size_t)(object->region_end - e->code) < worst)
        return refuse(function, CORE_REFUSAL_TABLE_FULL);
    emit_prologue(e);
    for (uint32_t b = 0; b < unit.block_count; b++)
        if (!emit_block(e, b))
            return refuse(function, CORE_REFUSAL_UNSUPPORTED);
    emit_tail(e);
    return publish(e);
}

/* ---- back from the cache to the application -------------------------------------------------------------------- */

struct stem_translation *stem_translation_of(uintptr_t address)
{
    struct stem_object *o = stem_object_of_cache(address);
    if (!o)
        return NULL;
    uint32_t low = 0, high = __atomic_load_n(&o->translation_count, __ATOMIC_ACQUIRE);
    struct stem_translation **all = __atomic_load_n(&o->translations, __ATOMIC_ACQUIRE);
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if ((uintptr_t)all[middle]->code <= address)
            low = middle + 1;
        else
            high = middle;
    }
    return low && address <= (uintptr_t)all[low - 1]->code_end ? all[low - 1] : NULL;
}

const struct stem_map_entry *stem_map_find(const struct stem_translation *t, uintptr_t address)
{
    uint32_t wanted = (uint32_t)(address - (uintptr_t)t->code), low = 0, high = t->map_count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (t->map[middle].cache <= wanted)
            low = middle + 1;
        else
            high = middle;
    }
    return low ? &t->map[low - 1] : NULL;
}

/* A pc inside a gate stands for the entry it was reached from. */
static uintptr_t entry_of_gate(const struct stem_object *o, uintptr_t pc)
{
    const struct stem_function *found = NULL;
    for (uint32_t i = 0; i < o->function_count;
         i++) /* in order of address, with gaps where an entry was refused */
        if (o->functions[i].gate && (uintptr_t)o->functions[i].gate <= pc)
            found = &o->functions[i];
    return found && pc < (uintptr_t)o->code_start ? o->base + found->offset : pc;
}

uintptr_t stem_application_pc(uintptr_t pc, bool exact)
{
    struct stem_object *o = stem_object_of_cache(exact ? pc : pc - 1);
    if (!o)
        return pc;
    struct stem_translation *t = stem_translation_of(exact ? pc : pc - 1);
    const struct stem_map_entry *m = t ? stem_map_find(t, exact ? pc : pc - 1) : NULL;
    if (!m)
        return exact ? entry_of_gate(o, pc) : pc;
    return o->base + m->offset + (exact ? 0 : m->length);
}
