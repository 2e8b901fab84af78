/* A unit: one function decoded and cut into blocks. Every byte of its FDE is decoded, and the fragments it jumps to belong to it.
   Targets of switch tables are read from the tables; a table is followed as long as its entries lead to instructions of
   the unit, which takes in every real entry and perhaps some that are none. An indirect jump that leads elsewhere at run
   time simply continues in native code. */
#include "stem/engine.h"

static struct stem_insn *insns;
static struct stem_block *blocks;

enum { TABLE_ENTRIES_MAX = 4096 };

static bool scratch(void)
{
    if (!insns)
        insns = stem_pages_scratch(UNIT_INSNS_MAX * sizeof *insns);
    if (!blocks)
        blocks = stem_pages_scratch(UNIT_INSNS_MAX * sizeof *blocks);
    return insns && blocks;
}

static struct stem_range *range_of(struct stem_unit *u, uint32_t offset)
{
    for (uint32_t i = 0; i < u->range_count; i++)
        if (offset - u->ranges[i].offset < u->ranges[i].bytes)
            return &u->ranges[i];
    return NULL;
}

static bool refuse(struct stem_unit *u, enum core_refusal why, uint32_t offset)
{
    u->refusal = why;
    u->unsupported = offset;
    return false;
}

static bool decode_range(struct stem_unit *u, uint32_t offset, uint32_t bytes)
{
    enum { PIECE = 4096 };
    static uint8_t code[PIECE + 16];
    if (u->range_count == UNIT_RANGES_MAX)
        return refuse(u, CORE_REFUSAL_TABLE_FULL, offset);
    struct stem_range *range = &u->ranges[u->range_count];
    *range = (struct stem_range){offset, bytes, u->insn_count, 0};
    uint32_t at = 0;
    while (at < bytes) {
        uint32_t piece = bytes - at < PIECE + 15 ? bytes - at : PIECE + 15, used = 0;
        stem_object_bytes(code, u->object, offset + at, piece);
        while (used < piece && (used < PIECE || at + piece == bytes)) {
            if (u->insns + u->insn_count == insns + UNIT_INSNS_MAX)
                return refuse(u, CORE_REFUSAL_TABLE_FULL, offset + at + used);
            struct stem_insn *insn = &u->insns[u->insn_count];
            if (!stem_decode(insn, code + used, piece - used, offset + at + used))
                return refuse(u, CORE_REFUSAL_UNDECODABLE, offset + at + used);
            if (insn->flags & INSN_UNSUPPORTED)
                return refuse(u, CORE_REFUSAL_UNSUPPORTED, insn->offset);
            used += insn->length;
            u->insn_count++;
        }
        at += used;
    }
    range->end = u->insn_count;
    u->range_count++;
    return true;
}

int32_t stem_unit_find(const struct stem_unit *u, uint32_t offset)
{
    for (uint32_t i = 0; i < u->range_count; i++) {
        const struct stem_range *r = &u->ranges[i];
        if (offset - r->offset >= r->bytes)
            continue;
        uint32_t low = r->first, high = r->end;
        while (low < high) {
            uint32_t middle = (low + high) / 2;
            if (u->insns[middle].offset < offset)
                low = middle + 1;
            else
                high = middle;
        }
        return low < r->end && u->insns[low].offset == offset ? (int32_t)low : -1;
    }
    return -1;
}

/* A fragment: code with an FDE that no entry of the function table stands for. */
static bool take_fragment(struct stem_unit *u, uint32_t offset)
{
    struct stem_fde fde;
    if (range_of(u, offset))
        return true;
    if (!stem_fde_find(&fde, u->object, offset) || stem_fde_is_plt(&fde, u->object) ||
        stem_function_containing(u->object, offset))
        return true; /* another function, or no known code: a jump there leaves the unit */
    return decode_range(u, fde.offset, fde.bytes);
}

static bool take_direct_targets(struct stem_unit *u)
{
    /* insn_count grows while fragments are added; they are visited too. */
    for (uint32_t i = 0; i < u->insn_count; i++)
        if ((u->insns[i].kind == INSN_JUMP || u->insns[i].kind == INSN_BRANCH) &&
            !take_fragment(u, u->insns[i].target))
            return false;
    return true;
}

/* Tables of 4-byte offsets relative to the table (position-independent code) or of 8-byte addresses. */
static bool take_table(struct stem_unit *u, uint32_t table, unsigned entry_bytes)
{
    const struct stem_object *o = u->object;
    for (unsigned i = 0; i < TABLE_ENTRIES_MAX; i++) {
        uintptr_t at = o->base + table + i * entry_bytes;
        if (at < o->low || at + entry_bytes > o->high || (at >= o->code_low && at < o->code_high))
            return true;
        uint64_t word = 0;
        if (!stem_safe_copy(&word, (const void *)at, entry_bytes))
            return true;
        uint32_t target = entry_bytes == 4 ? table + (uint32_t)word : (uint32_t)(word - o->base);
        if (entry_bytes == 8 && word - o->base > 0xffffffffu)
            return true;
        if (!range_of(u, target)) {
            struct stem_fde fde;
            if (!stem_fde_find(&fde, o, target) || stem_function_containing(u->object, target))
                return true;
            if (!take_fragment(u, target))
                return false;
        }
        int32_t insn = stem_unit_find(u, target);
        if (insn < 0)
            return true;
        u->insns[insn].flags |= INSN_LEADER | INSN_INDIRECT_TARGET;
    }
    return true;
}

static bool take_tables(struct stem_unit *u)
{
    /* `jmp *(table, index, 8)` and `mov (table, index, 8), r; jmp *r`, as computed gotos become, want addresses;
       `add table, r; jmp *r` offsets. What is no table ends at its first entry. */
    for (uint32_t i = 0; i < u->insn_count; i++) {
        struct stem_insn *insn = &u->insns[i];
        if (insn->flags & INSN_LEA_RIP &&
            (!take_table(u, (uint32_t)insn->mem.disp, 4) || !take_table(u, (uint32_t)insn->mem.disp, 8)))
            return false;
        if (insn->kind == INSN_JUMP_INDIRECT && insn->flags & INSN_HAS_MEM && insn->mem.scale == 8 &&
            insn->mem.base == NO_REGISTER && insn->mem.index != NO_REGISTER &&
            !take_table(u, (uint32_t)((uint32_t)insn->mem.disp - u->object->base), 8))
            return false;
    }
    return true;
}

static const char *callee_name(const struct stem_object *o, const struct stem_insn *insn)
{
    uint32_t slot = 0;
    if (insn->kind == INSN_CALL)
        slot = stem_object_plt_slot(o, insn->target);
    else if (insn->flags & INSN_HAS_MEM && insn->mem.rip_relative)
        slot = (uint32_t)insn->mem.disp;
    return slot ? stem_object_got_name((struct stem_object *)o, slot) : NULL;
}

/* Library functions that neither free nor unmap, nor call back. */
static bool frees_nothing(const struct stem_object *o, const struct stem_insn *insn)
{
    static const char *const pattern[] = {
        "mem*",   "str*",      "wmem*", "wcs*",          "malloc",           "calloc",    "__mem*",
        "__str*", "to[lu]*er", "is*",   "__ctype_*_loc", "__errno_location", "*sprintf*", "ato[ilf]*"};
    const char *name = callee_name(o, insn);
    for (unsigned i = 0; name && i < sizeof pattern / sizeof *pattern; i++)
        if (core_glob(pattern[i], name))
            return stem_function_named(name) == NULL; /* the library's, not the program's own of that name */
    return false;
}

/* mcount and its like save everything, and their callers rely on it. */
static bool calls_by_abi(const struct stem_object *o, const struct stem_insn *insn)
{
    const char *name = callee_name(o, insn);
    return name && !core_glob("*mcount*", name) && !core_glob("*fentry*", name) &&
           !core_glob("__tls_get*", name);
}

/* Hand-written code learns its own address by a call to an instruction that pops it. */
static bool asks_where(struct stem_unit *u, const struct stem_insn *insn)
{
    uint8_t at[2];
    if (insn->kind != INSN_CALL || insn->target == u->function->offset || !range_of(u, insn->target))
        return false;
    stem_object_bytes(at, u->object, insn->target, sizeof at);
    return (at[0] == 0x41 ? at[1] & 0xf8 : at[0] & 0xf8) == 0x58; /* pop r */
}

/* The stack pointer, or a frame pointer where the call-frame information says that rbp is one. */
static void find_own_frame(struct stem_unit *u)
{
    bool any_rbp = false, sets_frame = false;
    for (uint32_t i = 0; i < u->insn_count; i++) {
        sets_frame |= (u->insns[i].flags & INSN_SETS_FRAME) != 0;
        any_rbp |= u->insns[i].mem.base == RBP;
    }
    struct stem_cfi_row row = {0};
    for (uint32_t i = 0; i < u->insn_count; i++) {
        struct stem_insn *insn = &u->insns[i];
        bool frame = insn->mem.base == RSP;
        if (asks_where(u, insn)) {
            insn->kind = INSN_JUMP;
            insn->flags |= INSN_PUSHES_PC;
        }
        /* `mov rbp, rsp` sets up a frame where the information for the next instruction says so; else it takes an address. */
        if (insn->flags & INSN_SETS_FRAME &&
            (!stem_cfi_row(&row, u->object, insn->offset + insn->length) || row.cfa_register != DWARF_RBP))
            insn->flags |= INSN_FRAME_ESCAPES;
        else
            u->has_frame_pointer |= (insn->flags & INSN_SETS_FRAME) != 0;
        if (insn->mem.base == RBP) {
            frame = any_rbp && sets_frame && stem_cfi_row(&row, u->object, insn->offset) &&
                    row.cfa_register == DWARF_RBP;
            if (!frame)
                insn->flags &= ~(uint32_t)INSN_FRAME_ESCAPES;
        }
        if (frame && insn->flags & INSN_HAS_MEM && insn->mem.index == NO_REGISTER && !insn->mem.segment)
            insn->flags |= INSN_OWN_FRAME;
        /* An array in the frame, reached by its address or by an index. */
        if (insn->flags & INSN_FRAME_ESCAPES ||
            (frame && insn->flags & INSN_HAS_MEM && insn->mem.index != NO_REGISTER))
            u->frame_escapes = true;
        if (insn->kind == INSN_CALL || insn->kind == INSN_CALL_INDIRECT) {
            u->has_call = true;
            if (calls_by_abi(u->object, insn))
                insn->flags |= INSN_ABI_CALL;
            if (frees_nothing(u->object, insn))
                insn->flags |= INSN_FREES_NOTHING;
        }
        if (insn->flags & (INSN_STRING | INSN_EXOTIC) ||
            (insn->flags & INSN_HAS_MEM && insn->mem.is_write && !(insn->flags & INSN_OWN_FRAME)))
            u->has_log = true;
    }
}

static bool ends_block(const struct stem_insn *insn)
{
    switch (insn->kind) {
    case INSN_JUMP:
    case INSN_BRANCH:
    case INSN_JUMP_INDIRECT:
    case INSN_RETURN:
    case INSN_TRAP:
        return true;
    default:
        return false;
    }
}

static bool goes_on(const struct stem_insn *insn)
{
    return !ends_block(insn) || insn->kind == INSN_BRANCH;
}

static void cut_blocks(struct stem_unit *u)
{
    for (uint32_t i = 0; i < u->range_count; i++)
        if (u->ranges[i].first < u->insn_count)
            u->insns[u->ranges[i].first].flags |= INSN_LEADER;
    for (uint32_t i = 0; i < u->insn_count; i++) {
        struct stem_insn *insn = &u->insns[i];
        if (insn->kind == INSN_JUMP || insn->kind == INSN_BRANCH) {
            int32_t t = stem_unit_find(u, insn->target);
            if (t >= 0)
                u->insns[t].flags |= INSN_LEADER;
        }
        if (ends_block(insn) && i + 1 < u->insn_count)
            insn[1].flags |= INSN_LEADER;
    }
    u->block_count = 0;
    for (uint32_t i = 0; i < u->insn_count; i++) {
        if (u->insns[i].flags & INSN_LEADER) {
            if (u->block_count)
                u->blocks[u->block_count - 1].end = i;
            u->blocks[u->block_count++] = (struct stem_block){.first = i, .next = -1, .target = -1};
        }
        u->insns[i].block = u->block_count - 1;
    }
    if (u->block_count)
        u->blocks[u->block_count - 1].end = u->insn_count;
    for (uint32_t b = 0; b < u->block_count; b++) {
        struct stem_block *block = &u->blocks[b];
        const struct stem_insn *last = &u->insns[block->end - 1];
        if (goes_on(last) && b + 1 < u->block_count &&
            u->insns[u->blocks[b + 1].first].offset == last->offset + last->length)
            block->next = (int32_t)b + 1;
        if (last->kind == INSN_JUMP || last->kind == INSN_BRANCH) {
            int32_t t = stem_unit_find(u, last->target);
            if (t >= 0)
                block->target = (int32_t)u->insns[t].block;
        }
    }
}

enum wire_returns stem_unit_returns(const struct stem_unit *u)
{
    unsigned seen = 0;
    for (uint32_t b = 0; b < u->block_count; b++) {
        const struct stem_block *block = &u->blocks[b];
        if (u->insns[block->end - 1].kind != INSN_RETURN && u->insns[block->end - 1].kind != INSN_JUMP)
            continue;
        for (uint32_t i = block->end; i-- > block->first;) {
            const struct stem_insn *insn = &u->insns[i];
            if (insn->kind == INSN_CALL || insn->kind == INSN_CALL_INDIRECT)
                break; /* what the callee returned */
            if (insn->rax != RAX_UNTOUCHED) {
                seen |= 1u << insn->rax;
                break;
            }
        }
    }
    if (seen & 1u << RAX_NEGATIVE)
        return WIRE_RETURNS_INTEGER;
    if (seen & 1u << RAX_WIDE)
        return WIRE_RETURNS_POINTER;
    if (seen & 1u << RAX_SMALL)
        return WIRE_RETURNS_ZERO;
    return seen & (1u << RAX_WORD | 1u << RAX_EXTENDED | 1u << RAX_ZERO) ? WIRE_RETURNS_INTEGER
                                                                         : WIRE_RETURNS_VOID;
}

bool stem_unit_build(struct stem_unit *u, struct stem_object *object, struct stem_function *function,
                     const struct stem_unit *behind)
{
    *u = (struct stem_unit){.object = object, .function = function};
    if (!scratch())
        return refuse(u, CORE_REFUSAL_TABLE_FULL, function->offset);
    u->insns = behind ? behind->insns + behind->insn_count : insns;
    u->blocks = behind ? behind->blocks + behind->block_count : blocks;
    if (!decode_range(u, function->offset, function->bytes) || !take_direct_targets(u))
        return false;
    for (uint32_t i = 0; i < u->insn_count; i++)
        u->has_indirect_jump |= u->insns[i].kind == INSN_JUMP_INDIRECT;
    if (u->has_indirect_jump && (!take_tables(u) || !take_direct_targets(u)))
        return false;
    find_own_frame(u);
    cut_blocks(u);
    return true;
}
