/* Control flow: calls, jumps and returns of a unit, and the links between translations.

   A direct call to a function of the same object goes to its translation, once there is one: its entry tests the level byte itself.
   Until then it goes to the gate, and the call is linked when the callee is translated: one aligned store of its rel32. */
#include "stem/counting.h"
#include "stem/guard.h"

enum {
    CALL_MEMORY = 0x15,
    JUMP_MEMORY = 0x25,
    PUSH_MEMORY = 0x35
}; /* ModRM bytes of ff /2, /4, /6 with [rip + x] */

static void through_constant(struct stem_emitter *e, unsigned modrm, uint64_t value)
{
    stem_emit_byte(&e->p, 0xff);
    stem_emit_byte(&e->p, modrm);
    e->constants[e->constant_count++] = (struct stem_constant){e->p, value};
    e->p += 4;
}

/* ---- where a direct call or jump goes ------------------------------------------------------------------- */

/* The function of the same object that a call reaches, directly or through the object's own PLT: exported functions are called that
   way. The loader has bound the slot to us, and will not bind it again. */
static struct stem_function *callee_of_object(const struct stem_emitter *e, const struct stem_insn *insn)
{
    uint32_t slot = 0;
    if (insn->kind == INSN_CALL || insn->kind == INSN_JUMP || insn->kind == INSN_BRANCH) {
        struct stem_function *f = stem_function_at(e->object, insn->target);
        if (f)
            return f;
        slot = stem_object_plt_slot(e->object, insn->target);
    } else if (insn->flags & INSN_HAS_MEM && insn->mem.rip_relative) {
        slot = (uint32_t)insn->mem.disp;
    }
    if (!slot || !stem_object_got_name(e->object, slot))
        return NULL;
    uintptr_t value = *(const uintptr_t *)(e->object->base + slot);
    return value - e->object->base < 0xffffffffu
               ? stem_function_at(e->object, (uint32_t)(value - e->object->base))
               : NULL;
}

/* The same, when calls may be led to its gate or code. */
static struct stem_function *own_callee(const struct stem_emitter *e, const struct stem_insn *insn)
{
    struct stem_function *f = callee_of_object(e, insn);
    return f && !f->hooked ? f : NULL;
}

/* Remembers a rel32 that leads to a gate, to be linked later. */
static void want_link(struct stem_emitter *e, struct stem_function *f, uint8_t *field)
{
    if ((uintptr_t)field & 3 || stem_knob(e, CORE_KNOB_NO_LINKS))
        return;
    e->wanted[e->wanted_count++] = (struct stem_wanted_link){field, f};
}

void stem_control_keep_links(const struct stem_emitter *e)
{
    for (uint32_t i = 0; i < e->wanted_count; i++) {
        struct stem_link *link = stem_arena(sizeof *link);
        if (!link)
            return; /* these calls go on through their gates */
        *link = (struct stem_link){e->wanted[i].field, e->wanted[i].function->links};
        e->wanted[i].function->links = link;
    }
}

void stem_control_link(struct stem_function *f, const uint8_t *code)
{
    for (struct stem_link *link = f->links; link; link = link->next) {
        int32_t rel = (int32_t)(code - (link->field + 4));
        __atomic_store_n((int32_t *)link->field, rel, __ATOMIC_RELEASE);
    }
    f->links = NULL;
}

static void pad_to(struct stem_emitter *e, unsigned at)
{
    static const uint8_t nops[4][4] = {{0}, {0x90}, {0x66, 0x90}, {0x0f, 0x1f, 0x00}};
    unsigned n = (unsigned)-((uintptr_t)e->p + at) & 3;
    stem_emit_bytes(&e->p, nops[n], n);
}

static void note_callee(struct stem_emitter *e, struct stem_function *f)
{
    if (e->callee_count < UNIT_INSNS_MAX)
        e->callees[e->callee_count++] = f;
}

/* Emits `opcode rel32` to a function of the object. */
static void emit_to_function(struct stem_emitter *e, unsigned opcode, unsigned opcode2,
                             struct stem_function *f)
{
    note_callee(e, f);
    bool protect = e->flavour == FLAVOUR_PROTECT;
    const uint8_t *to = protect ? f->gate_cached[FLAVOUR_PROTECT] : f->linked ? f->linked : f->gate;
    if (!protect && !f->linked)
        pad_to(e, opcode2 ? 2 : 1);
    stem_emit_byte(&e->p, opcode);
    if (opcode2)
        stem_emit_byte(&e->p, opcode2);
    e->p += 4;
    stem_emit_rel32(e->p - 4, to, 0);
    if (!protect && !f->linked)
        want_link(e, f, e->p - 4);
}

/* Emits a direct call, jump or branch (by its opcode bytes) to a block of the unit, a function of the object, or elsewhere. */
static void emit_direct(struct stem_emitter *e, unsigned opcode, unsigned opcode2, int32_t block,
                        const struct stem_insn *insn)
{
    struct stem_function *f = block < 0 ? own_callee(e, insn) : NULL;
    if (f && f->gate && !(insn->flags & INSN_SHORT_ONLY)) {
        emit_to_function(e, opcode, opcode2, f);
        return;
    }
    bool stub = false;
    if (block >= 0 && e->unit->blocks[block].lent != e->lent) { /* other registers are on loan there */
        if (opcode2 || insn->flags & INSN_SHORT_ONLY)
            stub = true;
        else
            stem_loans_move(e, e->lent, &e->unit->blocks[block]);
    }
    if (block < 0) { /* what runs there is not logged */
        f = callee_of_object(e, insn);
        if (f)
            note_callee(e, f);
        else if (!stem_object_plt_name(e->object, insn->target))
            e->calls_library = true;
    }
    stem_emit_byte(&e->p, opcode);
    if (opcode2)
        stem_emit_byte(&e->p, opcode2);
    if (stub)
        e->edges[e->edge_count++] = (struct stem_edge){e->p, (uint32_t)block, e->lent};
    else if (block >= 0)
        e->fixups[e->fixup_count++] = (struct stem_fixup){e->p, (uint32_t)block};
    e->p += 4;
    if (block < 0)
        stem_emit_rel32(e->p - 4, (const uint8_t *)(e->object->base + insn->target), 0);
}

/* ---- library functions -------------------------------------------------------------------------------------- */

/* The dynamic symbol that a call or tail jump reaches, or NULL. */
static const char *callee_name(const struct stem_emitter *e, const struct stem_insn *insn)
{
    if (insn->kind == INSN_CALL || insn->kind == INSN_JUMP)
        return stem_object_plt_name(e->object, insn->target);
    if (insn->flags & INSN_HAS_MEM && insn->mem.rip_relative)
        return stem_object_got_name(e->object, (uint32_t)insn->mem.disp);
    return NULL;
}

bool stem_calls_library(struct stem_object *o, uint32_t offset, uint8_t length)
{
    uint8_t bytes[16];
    uint32_t end = offset + length, rel;
    core_cache_pc thunk;
    const char *name = NULL;
    if (length < 5 || length > sizeof bytes)
        return false;
    stem_object_bytes(bytes, o, offset, length);
    memcpy(&rel, bytes + length - 4, 4);
    if (bytes[length - 5] == 0xe8)
        name = stem_object_plt_name(o, end + rel);
    else if (length >= 6 && bytes[length - 6] == 0xff && bytes[length - 5] == 0x15) /* call [rip + x] */
        name = stem_object_got_name(o, end + rel);
    return name && stem_intrinsic_find(&thunk, name) == STEM_CALLEE_CHECKED;
}

/* Leaves word of a tail jump to a checked function, whose frame will be gone: mov dword fs:[tail_site], number + 1. */
static void emit_tail_site(struct stem_emitter *e, const struct stem_insn *insn)
{
    e->sites[e->site_count] = (struct stem_site){.map = e->map_count - 1, .mem = insn->mem};
    stem_emit_bytes(&e->p, "\x64\xc7\x04\x25", 4);
    stem_emit_u32(&e->p, (uint32_t)(stem_thread_offset + (int64_t)offsetof(struct stem_thread, tail_site)));
    stem_emit_u32(&e->p, stem_site_count + ++e->site_count);
}

/* Whether a library function that is called as it is leaves no stores behind. */
static bool is_harmless(const char *name)
{
    static const char *const harmless[] = {
#define HARMLESS(name) #name,
#include "stem/harmless.def"
    };
    for (unsigned i = 0; i < sizeof harmless / sizeof *harmless; i++)
        if (core_glob(harmless[i], name))
            return true;
    return false;
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
        if (e->object->exact)
            stem_intrinsic_long_way(&thunk, name);
        if (!is_call)
            emit_tail_site(e, insn);
        through_constant(e, is_call ? CALL_MEMORY : JUMP_MEMORY, thunk.v);
        return true;
    case STEM_CALLEE_ESCAPE:
        e->calls_library = true; /* what follows the call runs natively */
        if (!is_call || (e->counts && stem_segments_may_keep(name)))
            return false;
        stem_segments_left(e);
        through_constant(e, PUSH_MEMORY, e->object->base + insn->offset + insn->length);
        if (insn->kind == INSN_CALL) {
            stem_emit_jump(&e->p, (const uint8_t *)(e->object->base + insn->target));
        } else { /* call [rip + x] becomes jmp [rip + x]: the register field of ModRM tells them apart */
            uint8_t *at = e->p;
            stem_emit_copy(&e->p, insn, bytes, e->object);
            at[insn->disp_at - 1] = (uint8_t)((at[insn->disp_at - 1] & 0xc7) | 4 << 3);
        }
        return true;
    default:
        break;
    }
    struct stem_function *f = name ? stem_function_named(name) : NULL;
    e->calls_library |= name && !f && !is_harmless(name);
    if (!f || stem_function_at(e->object, f->offset) == f)
        return false;
    note_callee(e, f); /* in another object of the program */
    if (e->flavour != FLAVOUR_PROTECT || !f->gate)
        return false;
    through_constant(e, is_call ? CALL_MEMORY : JUMP_MEMORY, (uintptr_t)f->gate_cached[FLAVOUR_PROTECT]);
    return true;
}

struct stem_function *stem_control_callee(const struct stem_emitter *e, const struct stem_insn *insn,
                                          const char **name)
{
    struct stem_function *f = callee_of_object(e, insn);
    *name = f ? NULL : callee_name(e, insn);
    return f || !*name ? f : stem_function_named(*name);
}

void stem_control_leave(struct stem_emitter *e, const struct stem_insn *insn)
{
    emit_direct(e, 0xe9, 0, -1, insn);
}

unsigned stem_control_pointer_register(const struct stem_insn *insn, const uint8_t *bytes)
{
    return (bytes[insn->length - 1] & 7u) |
           (insn->length > 2 && (bytes[insn->length - 3] & 0xf1) == 0x41 ? 8u : 0u);
}

/* A call or tail jump through a pointer. Where everything that is called is to be protected, the slow path says where it goes. */
static bool emit_through_pointer(struct stem_emitter *e, const struct stem_insn *insn, const uint8_t *bytes)
{
    e->calls_unknown = true;
    stem_segments_pointer(e, insn, bytes);
    if (e->flavour != FLAVOUR_PROTECT)
        return stem_emit_copy(&e->p, insn, bytes, e->object);
    struct stem_insn pointer = *insn;
    if (!(insn->flags & INSN_HAS_MEM))
        pointer.mem = (struct stem_mem){.base = (uint8_t)stem_control_pointer_register(insn, bytes)};
    else if (insn->mem.segment)
        return stem_emit_copy(&e->p, insn, bytes, e->object);
    stem_emit_slow_call(e, STUB_PROTECT, &pointer);
    stem_emit_bytes(&e->p, insn->kind == INSN_CALL_INDIRECT ? "\x64\xff\x14\x25" : "\x64\xff\x24\x25", 4);
    stem_emit_u32(&e->p, (uint32_t)stem_slot_offset(5)); /* call or jmp fs:[slot] */
    return true;
}

/* ---- indirect jumps --------------------------------------------------------------------------------------------- */

/* Registers that no known target of the unit's indirect jumps wants. */
static uint32_t dead_at_targets(const struct stem_unit *u)
{
    return ~(stem_live_at_targets(u) | 1u << RSP) & ALL_REGISTERS;
}

/* Takes the flags back from where they were kept: mov and lea leave them alone. */
static void emit_flags_back(struct stem_emitter *e)
{
    stem_emit_bytes(&e->p, "\x9d\x48\x8d\xa4\x24\x80\x00\x00\x00", 9); /* popfq; lea rsp, [rsp + 128] */
}

/* op r, [rip + start of the function] */
static void emit_with_start(struct stem_emitter *e, unsigned opcode, unsigned r)
{
    stem_emit_byte(&e->p, 0x48 | (r & 8 ? 4u : 0));
    stem_emit_byte(&e->p, opcode);
    stem_emit_byte(&e->p, (r & 7) << 3 | 5);
    e->constants[e->constant_count++] = (struct stem_constant){e->p, e->object->base + e->function->offset};
    e->p += 4;
}

static uint8_t *emit_forward(struct stem_emitter *e, unsigned condition)
{
    stem_emit_byte(&e->p, 0x0f);
    stem_emit_byte(&e->p, 0x80 | condition);
    e->p += 4;
    return e->p - 4;
}

/* A switch or computed goto. r holds the target's distance from the function's start, and the place in the cache is looked up in
   a table that lies at a fixed distance from the gs base, so that no register is needed to address it:

       sub r, [start];  cmp r, bytes;  jae miss;  cmp qword gs:[r * 8 + table], 0;  je miss;  jmp gs:[r * 8 + table]

   r is the register of the jump itself where no target wants it any more, else one that waits in a slot. Compilers do test something
   before the jump, once for several targets: then the flags wait below the red zone. */
static void emit_indirect_jump(struct stem_emitter *e, const struct stem_insn *insn, const uint8_t *bytes)
{
    int32_t saved = stem_slot_offset(0), to = stem_slot_offset(1);
    uint32_t dead = dead_at_targets(e->unit);
    bool through_memory = insn->flags & INSN_HAS_MEM;
    unsigned target = stem_control_pointer_register(insn, bytes);
    bool in_place = !through_memory && dead & 1u << target;
    unsigned r = in_place ? target : dead ? (unsigned)__builtin_ctz(dead) : RCX;
    bool restore = !in_place && !(dead & 1u << r);
    if (!in_place) {
        stem_emit_store_tls(&e->p, saved, r);
        if (through_memory)
            stem_emit_modrm_mem(&e->p, insn->mem.segment == SEGMENT_FS ? 0x64 : 0, true, 0x8b, r, &insn->mem,
                                0, e->object, 0);
        else
            stem_emit_modrm_reg(&e->p, true, 0x89, target, r);
    }
    bool flags_live = stem_live_at_targets(e->unit) & ALL_FLAGS;
    if (flags_live)
        stem_emit_bytes(&e->p, "\x48\x8d\x64\x24\x80\x9c", 6); /* lea rsp, [rsp - 128]; pushfq */
    emit_with_start(e, 0x2b, r);                               /* sub */
    stem_emit_modrm_reg(&e->p, true, 0x81, 7, r);              /* cmp r, bytes */
    stem_emit_u32(&e->p, e->function->bytes);
    uint8_t *outside = emit_forward(e, 3); /* jae */
    struct stem_mem entry = {.base = NO_REGISTER, .index = (uint8_t)r, .scale = 8, .disp = e->table_disp};
    stem_emit_modrm_mem(&e->p, 0x65, true, 0x83, 7, &entry, 0, NULL, 1); /* cmp qword gs:[...], 0 */
    stem_emit_byte(&e->p, 0);
    uint8_t *unknown = emit_forward(e, 4); /* je */
    if (flags_live)
        emit_flags_back(e);
    if (restore) {
        stem_emit_modrm_mem(&e->p, 0x65, true, 0x8b, r, &entry, 0, NULL, 0);
        stem_emit_store_tls(&e->p, to, r);
        stem_emit_load_tls(&e->p, r, saved);
        stem_emit_bytes(&e->p, "\x64\xff\x24\x25", 4); /* jmp fs:[to] */
        stem_emit_u32(&e->p, (uint32_t)to);
    } else {
        stem_emit_modrm_mem(&e->p, 0x65, false, 0xff, 4, &entry, 0, NULL, 0); /* jmp gs:[...] */
    }
    stem_emit_rel32(outside, e->p, 0);
    stem_emit_rel32(unknown, e->p, 0);
    emit_with_start(e, 0x03, r); /* add */
    stem_emit_store_tls(&e->p, to, r);
    if (flags_live)
        emit_flags_back(e);
    if (!in_place)
        stem_emit_load_tls(&e->p, r, saved);
    stem_emit_slow_call(e, STUB_INDIRECT, insn); /* does not come back here */
}

/* ---- one instruction ------------------------------------------------------------------------------------------------- */

/* jncc over; what leaving a frame takes; jmp target; over: */
static void emit_leaving_branch(struct stem_emitter *e, const struct stem_insn *insn)
{
    stem_emit_byte(&e->p, 0x0f);
    stem_emit_byte(&e->p, 0x80u | (insn->condition ^ 1u));
    uint8_t *over = e->p;
    e->p += 4;
    stem_guard_leave(e, insn);
    emit_direct(e, 0xe9, 0, -1, insn);
    stem_emit_rel32(over, e->p, 0);
}

bool stem_emit_control(struct stem_emitter *e, const struct stem_block *block, uint32_t block_index,
                       const struct stem_insn *insn, const uint8_t *bytes)
{
    struct stem_function *f;
    switch (insn->kind) {
    case INSN_CALL:
        if (!emit_library_call(e, insn, bytes))
            emit_direct(e, 0xe8, 0, -1, insn);
        return true;
    case INSN_CALL_INDIRECT:
        if (emit_library_call(e, insn, bytes))
            return true;
        f = own_callee(e, insn);
        if (f && f->gate) {
            emit_to_function(e, 0xe8, 0, f);
            return true;
        }
        return emit_through_pointer(e, insn, bytes);
    case INSN_JUMP:
        if (insn->flags & INSN_PUSHES_PC)
            through_constant(e, PUSH_MEMORY, e->object->base + insn->offset + insn->length);
        if (block->target == (int32_t)block_index + 1) { /* the next thing emitted */
            stem_loans_move(e, e->lent, &e->unit->blocks[block->target]);
            return true;
        }
        if (block->target < 0) {
            if (insn->live &
                ALL_FLAGS) { /* into the middle of another function: the activation goes on there */
                emit_direct(e, 0xe9, 0, block->target, insn);
                return true;
            }
            stem_guard_leave(e, insn);
            if (emit_library_call(e, insn, bytes))
                return true;
        }
        emit_direct(e, 0xe9, 0, block->target, insn);
        return true;
    case INSN_BRANCH:
        if (insn->flags & INSN_SHORT_ONLY) { /* jrcxz +2; jmp +5; jmp target */
            stem_emit_bytes(&e->p, bytes, insn->length - 1u);
            stem_emit_byte(&e->p, 2);
            stem_emit_bytes(&e->p, "\xeb\x05", 2);
            emit_direct(e, 0xe9, 0, block->target, insn);
        } else {
            if (block->target < 0 &&
                e->poisons_frame) { /* a conditional tail call leaves the frame as well */
                emit_leaving_branch(e, insn);
                return true;
            }
            if (block->target >= 0 || !stem_segments_branch(e, insn, insn->condition))
                emit_direct(e, 0x0f, 0x80u | insn->condition, block->target, insn);
        }
        return true;
    case INSN_JUMP_INDIRECT:
        if (callee_name(e, insn)) { /* through the GOT: a tail call */
            stem_guard_leave(e, insn);
            return emit_library_call(e, insn, bytes) || emit_through_pointer(e, insn, bytes);
        }
        if (e->has_targets) {
            emit_indirect_jump(e, insn, bytes);
            return true;
        }
        stem_guard_leave(e, insn); /* no table, so no switch: a tail call */
        return emit_through_pointer(e, insn, bytes);
    case INSN_RETURN:
        stem_guard_leave(e, insn);
        stem_segments_return(e);
        stem_emit_bytes(&e->p, bytes, insn->length);
        return true;
    default:
        return stem_emit_copy(&e->p, insn, bytes, e->object);
    }
}

/* The table of the unit's indirect targets: the cache address of each, by its distance from the function's start. */
bool stem_control_begin_table(struct stem_emitter *e)
{
    e->has_targets = false;
    for (uint32_t i = 0; i < e->unit->insn_count && !e->has_targets; i++)
        e->has_targets = e->unit->insns[i].flags & INSN_INDIRECT_TARGET;
    e->has_targets &= e->unit->has_indirect_jump;
    if (!e->has_targets)
        return true;
    e->table = stem_jump_table(&e->table_disp, e->function->bytes);
    return e->table != NULL;
}

void stem_control_fill_table(struct stem_emitter *e)
{
    for (uint32_t b = 0; e->has_targets && b < e->unit->block_count; b++) {
        const struct stem_insn *leader = &e->unit->insns[e->unit->blocks[b].first];
        if (leader->flags & INSN_INDIRECT_TARGET && leader->offset - e->function->offset < e->function->bytes)
            e->table[leader->offset - e->function->offset].v = (uintptr_t)e->unit->blocks[b].code;
    }
}
