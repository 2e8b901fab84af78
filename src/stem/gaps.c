/* Gaps of a frame: bytes behind a local variable that alignment left over. While the activation lives they are poison, so that what
   runs over an array is found whatever code runs over it.

   Which bytes these are takes both the variables, from debug information, and the function's code. A gap begins where a variable
   ends that nothing in its place exceeds, and ends at the first place above that anything names: another variable, an operand of the
   code, an address that it takes, a saved register. Places are counted from the canonical frame address, as it stands at the entry.

   What may share a variable's place without a name is a compound literal of another scope. One that reaches further is filled by
   this function: by stores that show, or at once by a string instruction or memset or memcpy of its whole size.

   Poison that a frame leaves behind, because longjmp or an exception went past its return, means nothing: who meets poison asks
   whether the frame that the address lies in is one whose translation has laid it (stem_gap_at). */
#include "stem/gaps.h"
#include "stem/heap_private.h"

enum {
    STARTS_MAX = 4096,
    LOCALS_MAX = 1024,
    GAP_BYTES = 32,
    GRANULES_MAX = 24,
    RETURN_PLACE = -8,
    DEPTH_MAX = 64
};

static int32_t starts[STARTS_MAX];
static struct reach {
    int32_t from, to;
} reaches[STARTS_MAX]; /* of operands */
static uint32_t start_count, reach_count;
static int32_t named[STARTS_MAX]; /* variables and saved registers */
static uint32_t named_count;
static uint8_t exact_locals[LOCALS_MAX];
static struct stem_gap gaps[STEM_GAPS_MAX];

/* ---- what the code names ------------------------------------------------------------------------------------------------- */

static bool add_start(int32_t at)
{
    if (start_count == STARTS_MAX)
        return false;
    starts[start_count++] = at;
    return true;
}

/* The displacement of a memory operand or of lea's. */
static int32_t displacement(const struct stem_object *o, const struct stem_insn *insn)
{
    uint8_t code[16];
    int32_t disp = 0;
    if (insn->flags & INSN_HAS_MEM || !insn->disp_bytes)
        return insn->flags & INSN_HAS_MEM ? insn->mem.disp : 0;
    stem_object_bytes(code, o, insn->offset, insn->length);
    if (insn->disp_bytes == 1)
        return (int8_t)code[insn->disp_at];
    memcpy(&disp, code + insn->disp_at, 4);
    return disp;
}

/* Every place of the frame that an instruction names. Returns false where not all can be told. */
static bool find_starts(const struct stem_unit *u)
{
    struct stem_cfi_row row;
    start_count = reach_count = 0;
    for (uint32_t i = 0; i < u->insn_count; i++) {
        const struct stem_insn *insn = &u->insns[i];
        bool by_rsp = insn->mem.base == RSP,
             takes_rsp = insn->flags & INSN_FRAME_ESCAPES && insn->mem.base == NO_REGISTER;
        if (!by_rsp && !takes_rsp && insn->mem.base != RBP)
            continue;
        if (!stem_cfi_row(&row, u->object, insn->offset))
            return false;
        if (insn->mem.base == RBP && row.cfa_register != DWARF_RBP) {
            if (u->has_frame_pointer)
                return false; /* before it is set up or after it is gone */
            continue;
        }
        if (row.cfa_register != (insn->mem.base == RBP ? DWARF_RBP : DWARF_RSP)) {
            /* rsp, of a frame that is found by rbp: what is pushed or called with, below all variables. */
            if (u->has_frame_pointer && (by_rsp || takes_rsp))
                continue;
            return false;
        }
        int32_t at = (takes_rsp ? 0 : displacement(u->object, insn)) - row.cfa_offset;
        if (!add_start(at))
            return false;
        if (insn->flags & INSN_HAS_MEM && insn->mem.index == NO_REGISTER && reach_count < STARTS_MAX)
            reaches[reach_count++] = (struct reach){at, at + insn->mem.bytes};
    }
    return true;
}

static bool find_saved(const struct stem_unit *u)
{
    struct stem_cfi_row row;
    for (uint32_t b = 0; b < u->block_count; b++) {
        if (!stem_cfi_row(&row, u->object, u->insns[u->blocks[b].first].offset))
            return false;
        for (unsigned r = 0; r < DWARF_REGISTERS; r++)
            if (row.saved & 1u << r) {
                if (named_count == STARTS_MAX - LOCALS_MAX || !add_start(row.saved_at[r]))
                    return false;
                named[named_count++] = row.saved_at[r];
            }
    }
    return add_start(RETURN_PLACE);
}

/* ---- what shares a place --------------------------------------------------------------------------------------------------- */

/* Where, in the frame, a register points to before an instruction, as far as its block tells. */
static bool points_to(int32_t *at, const struct stem_unit *u, uint32_t index, unsigned r)
{
    struct stem_cfi_row row;
    while (index-- > 0 && !(u->insns[index + 1].flags & INSN_LEADER)) {
        const struct stem_insn *insn = &u->insns[index];
        if (!(insn->writes & 1u << r))
            continue;
        if (insn->move_to == r && insn->move_from != r && insn->move_from != NO_REGISTER && !insn->move_by &&
            insn->mem.base == NO_REGISTER) {
            r = insn->move_from;
            continue;
        }
        bool by_rbp = insn->mem.base == RBP;
        if ((!by_rbp && insn->mem.base != RSP) || insn->flags & INSN_HAS_MEM ||
            !stem_cfi_row(&row, u->object, insn->offset) ||
            row.cfa_register != (by_rbp ? DWARF_RBP : DWARF_RSP))
            return false;
        *at = displacement(u->object, insn) - row.cfa_offset;
        return true;
    }
    return false;
}

/* A constant put into the low half of one of the first eight registers before an instruction of the same block. */
static bool constant_before(uint32_t *value, const struct stem_unit *u, uint32_t index, unsigned r)
{
    uint8_t code[16];
    while (index-- > 0 && !(u->insns[index + 1].flags & INSN_LEADER)) {
        const struct stem_insn *insn = &u->insns[index];
        if (!(insn->writes & 1u << r))
            continue;
        stem_object_bytes(code, u->object, insn->offset, insn->length);
        if (insn->length != 5 || code[0] != (0xb8 | r)) /* mov r32, imm32 */
            return false;
        memcpy(value, code + 1, 4);
        return true;
    }
    return false;
}

/* Whether this instruction may fill, at once, more than `bytes` bytes from `low` on. */
static bool fills_more(const struct stem_emitter *e, uint32_t index, int32_t low, uint32_t bytes)
{
    const struct stem_unit *u = e->unit;
    const struct stem_insn *insn = &u->insns[index];
    const char *name = NULL;
    uint32_t n = 0, unit = insn->string_bytes;
    int32_t at;
    bool is_string = insn->flags & INSN_STRING && insn->string_rep;
    if (!is_string && ((insn->kind != INSN_CALL && insn->kind != INSN_CALL_INDIRECT) ||
                       stem_control_callee(e, insn, &name) || !name || !core_glob("mem[scmp]*", name)))
        return false;
    if (points_to(&at, u, index, RDI) && at != low)
        return false;
    if (!constant_before(&n, u, index, is_string ? RCX : RDX))
        return is_string; /* a literal's size is a constant */
    return n * (is_string ? unit : 1ul) > bytes;
}

static int32_t next_of(const int32_t *places, uint32_t count, int32_t from)
{
    int32_t next = RETURN_PLACE;
    for (uint32_t i = 0; i < count; i++)
        if (places[i] >= from && places[i] < next)
            next = places[i];
    return next;
}

/* Whether stores show that something reaches behind a variable. */
static bool is_crossed(int32_t end, int32_t next)
{
    for (uint32_t i = 0; i < reach_count; i++)
        if (reaches[i].from < next && reaches[i].to > end)
            return true;
    return false;
}

static bool is_exact(const struct stem_emitter *e, const struct wire_local *local, int32_t low)
{
    int32_t end = low + (int32_t)local->bytes;
    if (local->flags & WIRE_LOCAL_ALONE)
        return true;
    if (!(local->flags & WIRE_LOCAL_SCOPED) || is_crossed(end, next_of(named, named_count, end)))
        return false;
    for (uint32_t i = 0; i < e->unit->insn_count; i++)
        if (fills_more(e, i, low, local->bytes))
            return false;
    /* Padding at the end of a larger object is not stored to, but may be copied with it: it is as large as the object's
       elements at most. */
    for (uint32_t i = 0; !(local->flags & WIRE_LOCAL_PLAIN) && i < reach_count; i++)
        if (reaches[i].from >= low && reaches[i].to <= end &&
            local->bytes % (uint32_t)(reaches[i].to - reaches[i].from))
            return false;
    return true;
}

/* Place of a variable from the canonical frame address. */
static bool place_of(int32_t *at, const struct wire_local *local)
{
    *at = local->offset - (local->base == WIRE_FRAME_RBP ? 16 : 0);
    return local->base == WIRE_FRAME_CFA || local->base == WIRE_FRAME_RBP;
}

/* ---- which gaps ------------------------------------------------------------------------------------------------------------ */

static void take_gap(struct stem_emitter *e, uint32_t *granules, const struct wire_local *local, int32_t low)
{
    int32_t from = low + (int32_t)local->bytes, to = next_of(starts, start_count, from);
    if (!(local->flags & (WIRE_LOCAL_ARRAY | WIRE_LOCAL_RECORD)) || e->gap_count == STEM_GAPS_MAX ||
        (local->flags & WIRE_LOCAL_FOREIGN && !(local->flags & WIRE_LOCAL_ARRAY)))
        return;
    if (to > from + GAP_BYTES)
        to = from + GAP_BYTES;
    /* A granule that is good up to a byte must be free behind it; others must be free. */
    to &= ~7;
    uint32_t wanted = (uint32_t)(to - (from & ~7)) / 8;
    if (to <= from || is_crossed(from, from + 1) || *granules + wanted > GRANULES_MAX)
        return;
    *granules += wanted;
    gaps[e->gap_count++] = (struct stem_gap){
        .from = from, .to = to, .bytes = local->bytes, .local = (uint32_t)(local - stem_control->locals) + 1};
}

void stem_gaps_plan(struct stem_emitter *e)
{
    const struct stem_unit *u = e->unit;
    const struct stem_object *o = e->object;
    uint32_t count, granules = 0;
    int32_t low;
    e->gap_count = e->exact_count = 0;
    if (e->mode < WIRE_MODE_CHECK || !o->exact || stem_knob(e, CORE_KNOB_NO_BOUNDS))
        return;
    const struct wire_local *local = stem_locals_of(&count, o, e->function->index);
    named_count = 0;
    if (!count || count > LOCALS_MAX || !find_starts(u) || !find_saved(u))
        return;
    for (uint32_t i = 0; i < count; i++) {
        if (!place_of(&low, &local[i]) || !add_start(low))
            return;
        named[named_count++] = low;
    }
    for (uint32_t i = 0; i < count; i++)
        exact_locals[i] = place_of(&low, &local[i]) && is_exact(e, &local[i], low);
    e->exact = exact_locals;
    e->exact_count = count;
    for (uint32_t i = 0; e->poisons_frame && i < count; i++)
        if (exact_locals[i] && place_of(&low, &local[i]))
            take_gap(e, &granules, &local[i], low);
    e->gaps = gaps;
}

/* ---- generated code -------------------------------------------------------------------------------------------------------- */

static void store(struct stem_emitter *e, unsigned r, int32_t granule, uint8_t value)
{
    struct stem_mem at = {.base = (uint8_t)r, .index = NO_REGISTER, .scale = 1};
    stem_emit_modrm_mem(&e->p, 0x65, false, 0xc6, 0, &at, granule, NULL, 0);
    stem_emit_byte(&e->p, value);
}

/* r holds the granule of the return address. */
void stem_gaps_emit(struct stem_emitter *e, unsigned r, bool poison)
{
    for (uint32_t i = 0; i < e->gap_count; i++) {
        const struct stem_gap *g = &e->gaps[i];
        for (int32_t at = g->from & ~7; at < g->to; at += 8)
            store(e, r, (at - RETURN_PLACE) / 8,
                  (uint8_t)(!poison        ? 0
                            : at < g->from ? g->from - at
                                           : STEM_POISON_GAP));
    }
}

/* ---- looking at it from C ---------------------------------------------------------------------------------------------------- */

bool stem_gap_may_be(uintptr_t bad)
{
    uint8_t state = stem_shadow_base && !stem_shadow_is_own(bad) ? stem_shadow_base[bad >> 3] : 0;
    return state == STEM_POISON_GAP ||
           (state && state < 8 && !heap_is_ours(bad) && !stem_elf_is_static(bad) &&
            stem_shadow_base[(bad >> 3) + 1] != STEM_POISON_POOL);
}

bool stem_gap_at(struct stem_gap_found *found, uintptr_t bad, const struct stem_frame *from, bool exact)
{
    struct stem_frame frame = *from, inner = frame;
    uintptr_t cfa;
    for (unsigned depth = 0; depth < DEPTH_MAX && stem_frame_step(&frame, &cfa, exact);
         depth++, exact = false) {
        if (bad >= cfa) {
            inner = frame;
            continue;
        }
        const struct stem_translation *t = stem_translation_of(inner.reg[DWARF_RA] - (exact ? 0 : 1));
        int64_t at = (int64_t)(bad - cfa);
        for (uint32_t i = 0; t && i < t->gap_count; i++) {
            const struct stem_gap *g = &t->gaps[i];
            if (at >= g->from && at < g->to) {
                *found =
                    (struct stem_gap_found){cfa + (uint64_t)(int64_t)g->from - g->bytes, g->bytes, g->local};
                return true;
            }
        }
        return false;
    }
    return false;
}
