/* Which variable an access means, in functions compiled without optimisation of which debug information tells the variables.

   There a pointer into a variable begins as `lea` of the variable's own place, or as an index into it, and is what it was through
   copies, additions, and spills to places of the frame whose address is never taken. An access through it must stay in that
   variable, whatever lies beside it. What comes from elsewhere, or from more than one variable, is unknown and stays so.

   Registers are followed within a block. Places of the frame count for the whole function at once: what is ever stored in one is in
   it everywhere, so that jumps nobody sees (exceptions, longjmp, tables) change nothing. A constant 0 stored there is no pointer to
   anything, and agrees with all.

   Optimised code forms addresses outside of a variable on its way into it: nothing is concluded there. */
#include "stem/translate.h"
#include "stem/globals.h"
#include "stem/intrinsics_private.h"

#include <Zydis/Zydis.h>

enum {
    PLACES_MAX = 256,
    BOUNDS_MAX = 1024,
    CALLS_MAX = 4096,
    VARIABLES_MAX = 512,
    PASSES_MAX = 8,
    FOREIGN_REACH = 256,
    RETURN_BYTES = 16 /* the canonical frame address lies so far above rbp */
};

/* What a register or a place holds: nothing yet, anything, an address in the frame not yet told apart (rbp + index + by), an address
   that came from rsp, or one that came from the variable `what`, counted from 1. */
enum { NOTHING = 0, UNKNOWN = -1, FRAME = -2, DYNAMIC = -3 };
struct value {
    int32_t what, by;
};

struct place { /* 8 bytes of the frame that nothing has the address of */
    int32_t at;
    int32_t what;
};

struct variable {
    int32_t low, high; /* from rbp */
    uint32_t local;    /* on the control page */
    uint16_t flags;
    bool taken;    /* its address is */
    bool is_exact; /* nothing in its place reaches further */
};

static struct flow {
    const struct stem_emitter *e;
    struct variable variable[VARIABLES_MAX];
    uint32_t variable_count;
    int32_t lowest, saved; /* place of the lowest variable; of the lowest saved register */
    struct place place[PLACES_MAX];
    uint32_t place_count;
    struct value reg[16];
    bool changed, recording, failed;
} flow;

static struct stem_bounds bounds[BOUNDS_MAX];
static uint32_t bounds_count;
static struct stem_bounded_call calls[CALLS_MAX];
static uint32_t call_count;
static uint16_t *bounded; /* by instruction: index of its access's bounds, counted from 1 */

/* ---- variables ----------------------------------------------------------------------------------------------------------- */

static bool read_variables(const struct stem_emitter *e)
{
    uint32_t count;
    const struct wire_local *local = stem_locals_of(&count, e->object, e->function->index);
    flow.variable_count = 0;
    flow.lowest = 0;
    for (uint32_t i = 0; i < count; i++) {
        const struct wire_local *l = &local[i];
        if (!(l->flags & WIRE_LOCAL_PLAIN) || l->base == WIRE_FRAME_RSP ||
            flow.variable_count == VARIABLES_MAX || l->bytes > 1u << 24 || l->offset > 1 << 24 ||
            l->offset < -(1 << 24))
            return false;
        int32_t low = l->offset + (l->base == WIRE_FRAME_CFA ? RETURN_BYTES : 0);
        flow.lowest = low < flow.lowest ? low : flow.lowest;
        if (low < 0)
            flow.variable[flow.variable_count++] =
                (struct variable){.low = low,
                                  .high = low + (int32_t)l->bytes,
                                  .local = (uint32_t)(l - stem_control->locals),
                                  .flags = l->flags,
                                  .is_exact = e->exact && i < e->exact_count && e->exact[i]};
    }
    return flow.variable_count != 0;
}

static struct variable *variable_at(int32_t at)
{
    for (uint32_t i = 0; i < flow.variable_count; i++)
        if (at >= flow.variable[i].low && at < flow.variable[i].high)
            return &flow.variable[i];
    return NULL;
}

/* The first place above `from` that another variable or a saved register has. */
static int32_t next_above(int32_t from)
{
    int32_t next = flow.saved;
    for (uint32_t i = 0; i < flow.variable_count; i++)
        if (flow.variable[i].low >= from && flow.variable[i].low < next)
            next = flow.variable[i].low;
    return next;
}

static int32_t bounds_of(const struct stem_bounds *b)
{
    for (uint32_t i = 0; i < bounds_count; i++)
        if (bounds[i].low == b->low && bounds[i].bytes == b->bytes && bounds[i].is_global == b->is_global &&
            bounds[i].is_dynamic == b->is_dynamic)
            return (int32_t)i + 1;
    if (bounds_count == BOUNDS_MAX)
        return UNKNOWN;
    bounds[bounds_count++] = *b;
    return (int32_t)bounds_count;
}

/* A scalar's address may begin a walk over the stack (collectors), and parts of C++ objects have names of their own: of these
   nothing is said. What shares a place begins where it begins, and no other place's variable is part of it: where nothing more is
   known, the next one above is the bound. */
static int32_t local_at(int32_t at)
{
    const struct variable *v = variable_at(at);
    if (!v)
        return UNKNOWN;
    uint16_t flags = v->flags;
    int32_t high = v->high;
    bool is_alone = v->is_exact;
    for (uint32_t i = 0; i < flow.variable_count; i++) {
        const struct variable *other = &flow.variable[i];
        if (other->low >= v->high || other->high <= v->low)
            continue;
        if (other->low != v->low)
            return UNKNOWN;
        flags |= other->flags;
        high = other->high > high ? other->high : high;
    }
    if (flags & WIRE_LOCAL_FOREIGN ? !(flags & WIRE_LOCAL_ARRAY) || !is_alone
                                   : !(flags & (WIRE_LOCAL_ARRAY | WIRE_LOCAL_RECORD)))
        return UNKNOWN;
    if (!is_alone)
        high = next_above(high);
    return bounds_of(
        &(struct stem_bounds){.low = v->low,
                              .bytes = (uint32_t)(high - v->low),
                              .local = v->local + 1,
                              .is_walked = (flags & (WIRE_LOCAL_WORDS | WIRE_LOCAL_RECORD)) != 0});
}

/* Compilers add constants to a global's address, even to places outside of it: an address right behind one variable may mean
   that one's end, an address inside another a place before the next. */
static int32_t global_at(uint32_t offset)
{
    const struct stem_object *o = flow.e->object;
    uintptr_t low, high, other_low, other_high, at = o->base + offset;
    if (!stem_global_span(&low, &high, at))
        return UNKNOWN;
    if (at == low && stem_global_span(&other_low, &other_high, at - 1))
        low = other_low;
    else if (at != low && stem_global_span(&other_low, &other_high, high))
        high = other_high;
    if (low < o->base || low - o->base > INT32_MAX || high - low > UINT32_MAX)
        return UNKNOWN;
    return bounds_of(&(struct stem_bounds){.low = (int32_t)(low - o->base),
                                           .bytes = (uint32_t)(high - low),
                                           .is_global = true,
                                           .is_walked = true});
}

/* ---- places of the frame ------------------------------------------------------------------------------------------------- */

static bool is_frame(const ZydisDecodedOperand *op)
{
    return op->type == ZYDIS_OPERAND_TYPE_MEMORY && op->mem.base == ZYDIS_REGISTER_RBP &&
           op->mem.segment != ZYDIS_REGISTER_FS && op->mem.disp.value >= INT32_MIN &&
           op->mem.disp.value <= INT32_MAX;
}

/* Whose address is taken: the variable's; what has no name or is C++'s may reach further. */
static void take(int32_t at)
{
    struct variable *v = variable_at(at);
    if (v)
        v->taken = true;
    bool is_known = v && (!(v->flags & WIRE_LOCAL_FOREIGN) || v->flags & WIRE_LOCAL_ARRAY);
    for (uint32_t i = 0; !is_known && i < flow.variable_count; i++) {
        struct variable *other = &flow.variable[i];
        if (other->low >= at && (other->low - at < FOREIGN_REACH || !v))
            other->taken = true;
    }
}

static void find_places(void)
{
    flow.place_count = 0;
    for (uint32_t i = 0; i < flow.variable_count && flow.place_count < PLACES_MAX; i++) {
        const struct variable *v = &flow.variable[i];
        if (v->high - v->low == 8 && !v->taken && !(v->flags & (WIRE_LOCAL_ARRAY | WIRE_LOCAL_RECORD)))
            flow.place[flow.place_count++] = (struct place){v->low, NOTHING};
    }
}

static struct place *place_at(int32_t at)
{
    for (uint32_t i = 0; i < flow.place_count; i++)
        if (flow.place[i].at == at)
            return &flow.place[i];
    return NULL;
}

static int32_t both(int32_t a, int32_t b)
{
    return a == NOTHING ? b : b == NOTHING || a == b ? a : UNKNOWN;
}

static void keep(struct place *place, int32_t what)
{
    int32_t now = both(place->what, what);
    flow.changed |= now != place->what;
    place->what = now;
}

/* A store into the frame that is not of a whole place: what it touches is unknown. */
static void spoil(int32_t at, unsigned bytes, const struct place *but)
{
    for (uint32_t i = 0; i < flow.place_count; i++)
        if (&flow.place[i] != but && flow.place[i].at < at + (int32_t)bytes && at < flow.place[i].at + 8)
            keep(&flow.place[i], UNKNOWN);
}

/* ---- instructions ---------------------------------------------------------------------------------------------------------- */

static int number(ZydisRegister reg)
{
    return reg >= ZYDIS_REGISTER_RAX && reg <= ZYDIS_REGISTER_R15 ? (int)(reg - ZYDIS_REGISTER_RAX) : -1;
}

static struct value value_of(ZydisRegister reg)
{
    int n = number(reg);
    return n < 0 ? (struct value){UNKNOWN, 0} : flow.reg[n];
}

/* The variable that an address at `by` behind a value lies in. */
static int32_t settle(struct value v, int64_t by)
{
    if (v.what == DYNAMIC)
        return bounds_of(&(struct stem_bounds){.low = flow.lowest, .is_dynamic = true, .is_walked = true});
    if (v.what != FRAME)
        return v.what;
    int64_t at = v.by + by;
    const struct variable *variable = at >= INT32_MIN && at < 0 ? variable_at((int32_t)at) : NULL;
    if (!variable || !(variable->flags & (WIRE_LOCAL_ARRAY | WIRE_LOCAL_RECORD))) {
        flow.failed |= at < 0; /* it may be anything's address, that of a place as well */
        return UNKNOWN;
    }
    return local_at((int32_t)at);
}

static struct value sum(struct value a, struct value b)
{
    if (a.what == UNKNOWN || a.what == NOTHING)
        return b.what == NOTHING ? a : b;
    return b.what == UNKNOWN || b.what == NOTHING ? a : (struct value){UNKNOWN, 0};
}

static struct value moved(struct value v, int64_t by)
{
    if (v.what == FRAME) {
        if (v.by + by != (int32_t)(v.by + by))
            v.what = UNKNOWN;
        v.by += (int32_t)by;
    }
    return v;
}

static struct value address_of(const ZydisDecodedOperand *op, const struct stem_insn *insn)
{
    struct value unknown = {UNKNOWN, 0};
    if (op->mem.base == ZYDIS_REGISTER_RIP)
        return (struct value){global_at((uint32_t)insn->mem.disp), 0};
    if (op->mem.base == ZYDIS_REGISTER_RBP)
        return (struct value){local_at((int32_t)op->mem.disp.value), 0};
    if (op->mem.base == ZYDIS_REGISTER_RSP)
        return (struct value){DYNAMIC, 0};
    /* (p >> 2) * 4 */
    if (op->mem.base == ZYDIS_REGISTER_NONE && !op->mem.disp.value && value_of(op->mem.index).what == DYNAMIC)
        return (struct value){DYNAMIC, 0};
    struct value base = op->mem.base == ZYDIS_REGISTER_NONE ? unknown : value_of(op->mem.base),
                 index = op->mem.index == ZYDIS_REGISTER_NONE || op->mem.scale > 1 ? unknown
                                                                                   : value_of(op->mem.index);
    return moved(sum(base, index), op->mem.disp.value);
}

static struct value source(const ZydisDecodedOperand *op)
{
    struct value unknown = {UNKNOWN, 0};
    if (op->type == ZYDIS_OPERAND_TYPE_IMMEDIATE)
        return op->imm.value.u ? unknown : (struct value){NOTHING, 0};
    if (op->size != 64)
        return unknown;
    if (op->type == ZYDIS_OPERAND_TYPE_REGISTER)
        return op->reg.value == ZYDIS_REGISTER_RBP   ? (struct value){FRAME, 0}
               : op->reg.value == ZYDIS_REGISTER_RSP ? (struct value){DYNAMIC, 0}
                                                     : value_of(op->reg.value);
    if (is_frame(op) && op->mem.index == ZYDIS_REGISTER_NONE) {
        const struct place *place = place_at((int32_t)op->mem.disp.value);
        return place ? (struct value){place->what, 0} : unknown;
    }
    return unknown;
}

/* An immediate 0 in `mov` is the null pointer; in arithmetic it is a number. */
static struct value arithmetic(const ZydisDecodedInstruction *in, const ZydisDecodedOperand *ops)
{
    struct value unknown = {UNKNOWN, 0}, to = source(&ops[0]),
                 by = in->operand_count_visible < 2 || ops[1].type == ZYDIS_OPERAND_TYPE_IMMEDIATE
                          ? unknown
                          : source(&ops[1]);
    bool constant = in->operand_count_visible >= 2 && ops[1].type == ZYDIS_OPERAND_TYPE_IMMEDIATE;
    switch (in->mnemonic) {
    case ZYDIS_MNEMONIC_ADD:
        return constant ? moved(to, ops[1].imm.value.s) : sum(to, by);
    case ZYDIS_MNEMONIC_SUB:
        if (constant)
            return moved(to, -ops[1].imm.value.s);
        return by.what == UNKNOWN || by.what == NOTHING ? to : unknown;
    case ZYDIS_MNEMONIC_INC:
        return moved(to, 1);
    case ZYDIS_MNEMONIC_DEC:
        return moved(to, -1);
    case ZYDIS_MNEMONIC_SHR: /* room on the stack is rounded so */
    case ZYDIS_MNEMONIC_SHL:
    case ZYDIS_MNEMONIC_AND:
        return constant && to.what == DYNAMIC ? to : unknown;
    default:
        return unknown;
    }
}

static void store(const ZydisDecodedInstruction *in, const ZydisDecodedOperand *ops)
{
    const ZydisDecodedOperand *op = &ops[0];
    int32_t at = (int32_t)op->mem.disp.value;
    struct place *place = op->size == 64 ? place_at(at) : NULL;
    if (place) {
        struct value v = in->mnemonic == ZYDIS_MNEMONIC_MOV ? source(&ops[1]) : arithmetic(in, ops);
        keep(place, settle(v, 0));
    }
    spoil(at, op->size / 8, place);
}

static void call(const struct stem_insn *insn)
{
    static const uint8_t argument[6] = {RDI, RSI, RDX, RCX, R8, R9};
    for (unsigned i = 0; flow.recording && i < 6; i++) {
        int32_t what = settle(flow.reg[argument[i]], 0);
        if (what > 0 && call_count < CALLS_MAX)
            calls[call_count++] = (struct stem_bounded_call){insn->offset, (uint16_t)(what - 1), (uint8_t)i};
    }
    for (unsigned r = 0; r < 16; r++)
        flow.reg[r] = (struct value){UNKNOWN, 0};
}

static void record(uint32_t index, const ZydisDecodedOperand *op)
{
    const struct stem_insn *insn = &flow.e->unit->insns[index];
    if (!stem_wants_check(flow.e, insn) || op->mem.segment == ZYDIS_REGISTER_FS)
        return;
    int32_t what = settle(address_of(op, insn), 0);
    const struct stem_object *o = flow.e->object;
    uintptr_t fixed = insn->mem.disp > 0 ? (uintptr_t)insn->mem.disp : 0;
    if (op->mem.base == ZYDIS_REGISTER_NONE && what == UNKNOWN && fixed >= o->low && fixed < o->high)
        what = global_at((uint32_t)(fixed - o->base));
    if (what > 0 && (bounds[what - 1].is_dynamic || insn->mem.bytes <= bounds[what - 1].bytes))
        bounded[index] = (uint16_t)what;
}

static void step(uint32_t index)
{
    const struct stem_insn *insn = &flow.e->unit->insns[index];
    ZydisDecodedInstruction in;
    ZydisDecodedOperand ops[ZYDIS_MAX_OPERAND_COUNT];
    uint8_t bytes[16];
    static ZydisDecoder decoder;
    static bool ready;
    if (!ready)
        ready = ZYAN_SUCCESS(ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64));
    stem_object_bytes(bytes, flow.e->object, insn->offset, insn->length);
    if (!ready || !ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, bytes, insn->length, &in, ops))) {
        flow.failed = true;
        return;
    }
    for (unsigned i = 0; flow.recording && i < in.operand_count_visible; i++)
        if (ops[i].type == ZYDIS_OPERAND_TYPE_MEMORY && ops[i].mem.type == ZYDIS_MEMOP_TYPE_MEM)
            record(index, &ops[i]);
    if (insn->kind == INSN_CALL || insn->kind == INSN_CALL_INDIRECT) {
        call(insn);
        return;
    }
    for (unsigned i = 0; i < in.operand_count_visible; i++)
        if (is_frame(&ops[i]) && ops[i].mem.type == ZYDIS_MEMOP_TYPE_MEM &&
            ops[i].actions & ZYDIS_OPERAND_ACTION_MASK_WRITE && ops[i].mem.index == ZYDIS_REGISTER_NONE) {
            if (i)
                spoil((int32_t)ops[i].mem.disp.value, ops[i].size / 8, NULL);
            else
                store(&in, ops);
        }
    struct value v = {UNKNOWN, 0};
    int to = in.operand_count_visible && ops[0].type == ZYDIS_OPERAND_TYPE_REGISTER && ops[0].size == 64
                 ? number(ops[0].reg.value)
                 : -1;
    if (to >= 0 && in.mnemonic == ZYDIS_MNEMONIC_LEA)
        v = address_of(&ops[1], insn);
    else if (to >= 0 && in.mnemonic == ZYDIS_MNEMONIC_MOV)
        v = source(&ops[1]);
    else if (to >= 0)
        v = arithmetic(&in, ops);
    for (int r = 0; r < 16; r++)
        if (insn->writes & 1u << r)
            flow.reg[r] = r == to ? v : (struct value){UNKNOWN, 0};
}

static void pass(void)
{
    const struct stem_unit *u = flow.e->unit;
    flow.changed = false;
    for (uint32_t i = 0; i < u->insn_count && !flow.failed; i++) {
        for (unsigned r = 0; u->insns[i].flags & INSN_LEADER && r < 16; r++)
            flow.reg[r] = (struct value){UNKNOWN, 0};
        step(i);
    }
}

/* Addresses taken with `lea`, or through rbp itself. */
static void find_taken(void)
{
    const struct stem_unit *u = flow.e->unit;
    for (uint32_t i = 0; i < u->insn_count; i++) {
        int32_t at;
        if (stem_takes_frame(&at, flow.e->object, &u->insns[i]))
            take(at);
    }
}

/* rbp as the frame's register throughout, the return address and the caller's rbp above it. */
static bool has_plain_frame(const struct stem_emitter *e)
{
    const struct stem_unit *u = e->unit;
    struct stem_cfi_row row;
    bool any = false;
    flow.saved = 0;
    for (uint32_t i = 0; i < u->insn_count; i++) {
        if (u->insns[i].mem.base != RBP)
            continue;
        if (!stem_cfi_row(&row, u->object, u->insns[i].offset) || row.cfa_register != DWARF_RBP ||
            row.cfa_offset != RETURN_BYTES)
            return false;
        for (unsigned r = 0; r < DWARF_REGISTERS; r++)
            if (row.saved & 1u << r && row.saved_at[r] + RETURN_BYTES < flow.saved)
                flow.saved = row.saved_at[r] + RETURN_BYTES;
        any = true;
    }
    return any && u->has_frame_pointer;
}

bool stem_takes_frame(int32_t *at, const struct stem_object *o, const struct stem_insn *insn)
{
    uint8_t code[16];
    if (insn->mem.base != RBP || insn->flags & INSN_HAS_MEM || !insn->disp_bytes)
        return false;
    stem_object_bytes(code, o, insn->offset, insn->length);
    if (insn->disp_bytes == 1)
        *at = (int8_t)code[insn->disp_at];
    else
        memcpy(at, code + insn->disp_at, 4);
    return true;
}

bool stem_provenance(struct stem_emitter *e)
{
    if (!bounded)
        bounded = stem_pages_map(UNIT_INSNS_MAX * sizeof *bounded);
    bounds_count = call_count = 0;
    e->bounded = NULL;
    if (!bounded || e->mode < WIRE_MODE_CHECK || !e->object->exact || stem_knob(e, CORE_KNOB_NO_BOUNDS) ||
        !has_plain_frame(e))
        return false;
    flow.e = e;
    flow.recording = flow.failed = false;
    if (!read_variables(e))
        return false;
    memset(bounded, 0, e->unit->insn_count * sizeof *bounded);
    find_taken();
    find_places();
    unsigned passes = 0;
    do
        pass();
    while (flow.changed && !flow.failed && ++passes < PASSES_MAX);
    if (flow.changed || flow.failed)
        return false;
    flow.recording = true;
    pass();
    e->bounded = bounded;
    e->bounds = bounds;
    e->bounds_count = bounds_count;
    e->bounded_calls = calls;
    e->bounded_call_count = call_count;
    return true;
}
