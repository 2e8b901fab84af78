/* Translation: a unit's instructions copied into the code cache in their own order, with checks and undo-log appends in
   front of those that access memory. At every application instruction registers and stack are the application's own; what an
   inserted sequence needs it takes from dead registers or saves in a thread slot for just that sequence.

   Layout of one translation: prologue (mark, guard of the frame), blocks, constants, table of indirect targets; cold parts apart. */
#include "stem/counting.h"
#include "stem/gaps.h"
#include "stem/guard.h"

static struct stem_map_entry *map_scratch;
struct stem_site *stem_sites;
uint32_t stem_site_count;

enum { MAP_MAX = 6 * UNIT_INSNS_MAX, BYTES_PER_INSN_MAX = 260 };

static bool scratch(struct stem_emitter *e)
{
    static struct stem_fixup *fixups;
    static struct stem_constant *constants;
    static struct stem_cold *colds;
    static struct stem_wanted_link *wanted;
    static struct stem_function **callees;
    static struct stem_edge *edges;
    if (!edges)
        edges = stem_pages_scratch(UNIT_INSNS_MAX * sizeof *edges);
    if (!callees)
        callees = stem_pages_scratch(UNIT_INSNS_MAX * sizeof(void *));
    if (!map_scratch)
        map_scratch = stem_pages_scratch(MAP_MAX * sizeof *map_scratch);
    if (!stem_sites)
        stem_sites = stem_pages_map(SITES_MAX * sizeof *stem_sites);
    if (!fixups)
        fixups = stem_pages_scratch(UNIT_INSNS_MAX * sizeof *fixups);
    if (!constants)
        constants = stem_pages_scratch(UNIT_INSNS_MAX * sizeof *constants);
    if (!colds)
        colds = stem_pages_scratch(UNIT_INSNS_MAX * sizeof *colds);
    if (!wanted)
        wanted = stem_pages_scratch(UNIT_INSNS_MAX * sizeof *wanted);
    e->wanted = wanted;
    e->edges = edges;
    e->callees = callees;
    e->map = map_scratch;
    e->sites = stem_sites + stem_site_count;
    e->fixups = fixups;
    e->constants = constants;
    e->colds = colds;
    return map_scratch && stem_sites && fixups && constants && colds && wanted && callees && edges;
}

static uint16_t map_flags(const struct stem_insn *insn)
{
    bool mem = insn->flags & INSN_HAS_MEM;
    return (uint16_t)((insn->flags & INSN_INDIRECT_TARGET ? MAP_INDIRECT_TARGET : 0) |
                      (mem && insn->mem.is_read ? MAP_READS : 0) |
                      (mem && insn->mem.is_write ? MAP_WRITES : 0));
}

void stem_emit_map(struct stem_emitter *e, const struct stem_insn *insn)
{
    e->map[e->map_count++] = (struct stem_map_entry){.cache = (uint32_t)(e->p - e->code),
                                                     .offset = insn->offset,
                                                     .pending = (uint8_t)e->pending,
                                                     .length = insn->length,
                                                     .flags = map_flags(insn),
                                                     .lent = stem_loans_out(e)};
}

void stem_emit_map_inner(struct stem_emitter *e, const struct stem_insn *insn)
{
    stem_emit_map(e, insn);
    e->map[e->map_count - 1].flags &= (uint16_t)~MAP_INDIRECT_TARGET;
}

void stem_emit_slow_call(struct stem_emitter *e, enum stem_stub stub, const struct stem_insn *insn)
{
    static const uint8_t down[] = {0x48, 0x8d, 0xa4, 0x24, 0x00, 0xff, 0xff, 0xff}; /* lea rsp, [rsp - 256] */
    static const uint8_t up[] = {0x48, 0x8d, 0xa4, 0x24, 0x00, 0x01, 0x00, 0x00};
    stem_emit_bytes(&e->p, down, sizeof down); /* below the red zone */
    stem_emit_call_through(&e->p, &e->object->stubs[stub]);
    stem_emit_bytes(&e->p, "\x0f\x1f\x80", 3); /* nop [rax + number]: tells the slow path who called */
    stem_emit_u32(&e->p, stem_site_count + e->site_count);
    e->sites[e->site_count++] = (struct stem_site){.map = e->map_count - 1,
                                                   .mem = insn->mem,
                                                   .string_op = insn->string_op,
                                                   .string_bytes = insn->string_bytes,
                                                   .string_rep = insn->string_rep};
    stem_emit_bytes(&e->p, up, sizeof up);
}

/* ---- the whole unit ----------------------------------------------------------------------------------------- */

/* Callers that are linked to this code come past no gate: the level byte is tested here. */
static void emit_level_test(struct stem_emitter *e)
{
    if (e->flavour != FLAVOUR_MONITOR)
        return;
    stem_emit_map(e, &e->unit->insns[0]);
    stem_emit_bytes(&e->p, "\x80\x3d", 2); /* cmp byte [level], 1 */
    e->p += 4;
    stem_emit_rel32(e->p - 4, e->object->levels + (e->function - e->object->functions), 1);
    stem_emit_byte(&e->p, WIRE_LEVEL_MONITOR);
    stem_emit_jcc(&e->p, 5, e->function->gate + GATE_TEST_BYTES); /* jne */
    e->body = e->p;
}

static void emit_prologue(struct stem_emitter *e)
{
    const struct stem_insn *first = &e->unit->insns[0];
    uint32_t dead = ~first->live & ALL_REGISTERS & ~(1u << RSP);
    bool spill = !dead;
    unsigned r = spill ? R11 : (unsigned)__builtin_ctz(dead);
    struct stem_mem at = {.base = (uint8_t)r, .index = NO_REGISTER, .scale = 1};
    if (stem_knob(e, CORE_KNOB_PROVE_UNDO)) {
        stem_emit_map(e, first);
        stem_emit_slow_call(e, STUB_PROVE_ENTRY, first);
    }
    if (e->poisons_frame) {
        stem_guard_enter(e);
        return;
    }
    if (!e->marks)
        return;
    stem_emit_map(e, first);
    if (spill)
        stem_emit_store_tls(&e->p, stem_slot_offset(0), r);
    /* the activation's mark: its return-address slot */
    stem_emit_load_tls(&e->p, r, stem_ring_offset());
    stem_emit_modrm_mem(&e->p, 0, true, 0x89, RSP, &at, 8, e->object, 0);
    stem_emit_modrm_mem(&e->p, 0x66, false, 0x8d, r, &at, 16, e->object, 0);
    stem_emit_store_tls(&e->p, stem_ring_offset(), r);
    if (spill)
        stem_emit_load_tls(&e->p, r, stem_slot_offset(0));
}

/* Self-test: what liveness calls dead is destroyed, so that a mistake shows at once. */
static void emit_clobber(struct stem_emitter *e, const struct stem_insn *insn)
{
    for (unsigned r = 0; r < 16; r++)
        if ((!(insn->live & 1u << r) || stem_loans_mask(e) & 1u << r) && r != RSP && (int)r != e->x) {
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
    stem_loans_begin(e, block);
    for (uint32_t i = block->first; i < block->end; i++) {
        struct stem_insn *insn = &e->unit->insns[i];
        stem_object_bytes(bytes, e->object, insn->offset, insn->length);
        stem_emit_map(e, insn);
        if (stem_knob(e, CORE_KNOB_CLOBBER))
            emit_clobber(e, insn);
        stem_segments_before(e, block, i);
        stem_guard_pass(e, i);
        stem_loans_before(e, i);
        stem_emit_memory(e, block, i);
        if (!stem_loans_may_span(insn) || (stem_knob(e, CORE_KNOB_NO_LOANS) && e->x < 0))
            stem_loans_give_back(e);
        bool leaves = i == block->end - 1 && insn->kind != INSN_PLAIN;
        if (leaves)
            stem_loans_end(e, block);
        if (!stem_emit_control(e, block, index, insn, bytes))
            return false;
        if (!leaves)
            stem_loans_after(e, insn);
        if (!leaves && i == block->end - 1)
            stem_loans_end(e, block);
    }
    const struct stem_insn *last = &e->unit->insns[block->end - 1];
    bool falls = last->kind == INSN_PLAIN || last->kind == INSN_CALL || last->kind == INSN_CALL_INDIRECT ||
                 last->kind == INSN_BRANCH;
    if (falls && block->next < 0) /* runs off the unit: padding behind a call that never returns */
        stem_emit_jump(&e->p, (const uint8_t *)(e->object->base + last->offset + last->length));
    if (falls && block->next >= 0)
        stem_loans_move(e, block->lent, &e->unit->blocks[block->next]);
    return true;
}

static void emit_tail(struct stem_emitter *e)
{
    stem_loans_emit_edges(e);
    e->code_end = e->p;
    e->p = e->object->cold_next;
    for (uint32_t i = 0; i < e->cold_count; i++)
        if (e->colds[i].leaves)
            stem_guard_cold(e, &e->colds[i]);
        else
            stem_emit_cold(e, &e->colds[i]);
    e->cold_end = e->p;
    e->p = (uint8_t *)(((uintptr_t)e->code_end + 7) & ~7ul);
    for (uint32_t i = 0; i < e->constant_count; i++) {
        stem_emit_rel32(e->constants[i].field, e->p, 0);
        stem_emit_bytes(&e->p, &e->constants[i].value, 8);
    }
    stem_control_fill_table(e);
    for (uint32_t i = 0; i < e->fixup_count; i++)
        stem_emit_rel32(e->fixups[i].field, e->unit->blocks[e->fixups[i].block].code, 0);
}

static struct stem_translation *publish(struct stem_emitter *e)
{
    struct stem_object *o = e->object;
    struct stem_translation *t = stem_arena(sizeof *t);
    struct stem_map_entry *map = stem_arena(e->map_count * sizeof *map);
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
    struct stem_function **callees = stem_arena((e->callee_count + 1) * sizeof(void *));
    struct stem_bounds *bounds = stem_arena((e->bounds_count + 1) * sizeof *bounds);
    struct stem_bounded_call *calls = stem_arena((e->bounded_call_count + 1) * sizeof *calls);
    struct stem_gap *gaps = stem_arena((e->gap_count + 1) * sizeof *gaps);
    uint8_t *exact = stem_arena(e->exact_count + 1);
    if (!t || !map || !callees || !bounds || !calls || !gaps || !exact)
        return NULL;
    memcpy(exact, e->exact, e->exact_count);
    memcpy(gaps, e->gaps, e->gap_count * sizeof *gaps);
    memcpy(bounds, e->bounds, e->bounds_count * sizeof *bounds);
    memcpy(calls, e->bounded_calls, e->bounded_call_count * sizeof *calls);
    memcpy(map, e->map, e->map_count * sizeof *map);
    memcpy(callees, e->callees, e->callee_count * sizeof(void *));
    *t = (struct stem_translation){.object = o,
                                   .function = e->function,
                                   .flavour = e->flavour,
                                   .code = e->code,
                                   .body = e->body,
                                   .code_end = e->code_end,
                                   .cold = o->cold_next,
                                   .cold_end = e->cold_end,
                                   .map = map,
                                   .map_count = e->map_count,
                                   .marks = e->marks,
                                   .calls_unknown = e->calls_unknown,
                                   .has_call = e->unit->has_call,
                                   .calls_library = e->calls_library,
                                   .callees = callees,
                                   .callee_count = e->callee_count,
                                   .bounds = bounds,
                                   .bounded_calls = calls,
                                   .bounded_call_count = e->bounded_call_count,
                                   .gaps = gaps,
                                   .gap_count = e->gap_count,
                                   .exact = exact,
                                   .exact_count = e->exact_count};
    for (uint32_t i = 0; i < e->site_count; i++)
        e->sites[i].translation = t;
    stem_site_count += e->site_count;
    o->translations[o->translation_count] = t;
    __atomic_store_n(&o->translation_count, o->translation_count + 1, __ATOMIC_RELEASE);
    stem_count(CORE_COUNTER_TRANSLATED_BYTES, (uint64_t)(e->p - e->code + (e->cold_end - o->cold_next)));
    o->next = e->p;
    o->cold_next = e->cold_end;
    stem_control_keep_links(e);
    if (e->flavour == FLAVOUR_MONITOR && !stem_knob(e, CORE_KNOB_NO_LINKS)) {
        e->function->linked = e->code;
        stem_control_link(e->function, e->code);
        __atomic_store_n(e->function->gate_monitor,
                         (int32_t)(e->body - (const uint8_t *)(e->function->gate_monitor + 1)),
                         __ATOMIC_RELEASE);
    }
    stem_count(CORE_COUNTER_TRANSLATIONS, 1);
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
    if (!stem_unit_build(&unit, object, function, NULL))
        return refuse(function, unit.refusal);
    if (stem_control->config.mode >= WIRE_MODE_CHECK)
        stem_heap_arm();
    e->mode = (enum wire_mode)stem_control->config.mode;
    e->knobs = stem_control->config.knobs;
    if (!stem_knob(e, CORE_KNOB_NO_CONVENTIONS))
        stem_conventions(&unit);
    stem_liveness(&unit);
    function->returns = (uint8_t)stem_unit_returns(&unit);
    e->poisons_frame =
        e->mode >= WIRE_MODE_CHECK && unit.frame_escapes && !stem_knob(e, CORE_KNOB_NO_FRAME_POISON);
    e->counts = stem_counting() && e->mode == WIRE_MODE_TRANSLATE;
    e->marks = e->mode == WIRE_MODE_FULL && (unit.has_log || unit.has_call || e->poisons_frame);
    stem_guard_plan(e);
    stem_gaps_plan(e);
    stem_provenance(e);
    if (!stem_facts(e))
        return refuse(function, CORE_REFUSAL_TABLE_FULL);
    stem_loops_plan(e);
    e->p = e->code = (uint8_t *)(((uintptr_t)object->next + 15) & ~15ul);
    size_t worst = unit.insn_count * (size_t)BYTES_PER_INSN_MAX + 4096;
    for (uint32_t i = 0; i < unit.insn_count; i++)
        worst += unit.insns[i].mem.bytes * 8u;
    if (stem_knob(e, CORE_KNOB_PROVE_UNDO))
        worst += unit.insn_count * 64u;
    if (e->code > object->cold_start || (size_t)(object->cold_start - e->code) < worst ||
        (size_t)(object->region_end - object->cold_next) < worst ||
        SITES_MAX - stem_site_count < 4 * unit.insn_count)
        return refuse(function, CORE_REFUSAL_TABLE_FULL);
    if (!stem_control_begin_table(e) || !stem_segments_begin(e))
        return refuse(function, CORE_REFUSAL_TABLE_FULL);
    e->body = e->code;
    emit_level_test(e);
    emit_prologue(e);
    stem_segments_entry(e);
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
    bool cold = address >= (uintptr_t)o->cold_start; /* both halves are filled in the same order */
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if ((uintptr_t)(cold ? all[middle]->cold : all[middle]->code) <= address)
            low = middle + 1;
        else
            high = middle;
    }
    if (!low)
        return NULL;
    return address <= (uintptr_t)(cold ? all[low - 1]->cold_end : all[low - 1]->code_end) ? all[low - 1]
                                                                                          : NULL;
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

unsigned stem_lent_at(uintptr_t pc)
{
    struct stem_translation *t = stem_translation_of(pc);
    const struct stem_map_entry *m = t ? stem_map_find(t, pc) : NULL;
    return m ? m->lent : 0;
}

/* A pc inside a gate stands for the entry it was reached from, or for the displaced instruction. */
static uintptr_t entry_of_gate(const struct stem_object *o, uintptr_t pc)
{
    const struct stem_function *found = NULL;
    bool far = pc >= (uintptr_t)o->cold_start; /* on the way from the gate */
    if (far ? pc >= (uintptr_t)o->gates_end : pc >= (uintptr_t)o->code_start)
        return pc;
    for (uint32_t i = 0; i < o->function_count;
         i++) /* in order of address, with gaps where an entry was refused */
        if (o->functions[i].gate &&
            (uintptr_t)(far ? o->functions[i].gate_cached[FLAVOUR_MONITOR] : o->functions[i].gate) <= pc)
            found = &o->functions[i];
    if (!found)
        return pc;
    uint8_t into = 0;
    if (pc - (uintptr_t)found->gate_native < found->native_bytes)
        for (unsigned i = 0; i < found->moved_count; i++)
            if (pc - (uintptr_t)found->gate_native >= found->moved[i].gate)
                into = found->moved[i].entry;
    return o->base + found->offset + into;
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
