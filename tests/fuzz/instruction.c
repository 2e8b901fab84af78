/* One random instruction: prefixes, opcode and operands are drawn, the decoder says what came out, and it is taken when
   the block may hold it. Nothing is chosen from a list of instructions, so redundant prefixes, odd encodings and rare
   instructions come as they fall. What faults or differs between two native runs is dropped by the driver. */
#include "fuzz.h"

#include <Zydis/Zydis.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum label { LABEL_NONE, LABEL_RELATIVE, LABEL_ABSOLUTE };
enum { NOWHERE = 255, LABEL_AT = 700 };

struct candidate {
    uint8_t bytes[32];
    unsigned length, label_at; /* label_at: where the displacement stands that the assembler fills in */
    enum label label;
    bool thread_local; /* with an fs prefix */
    int vector_index;  /* the vector register of a gather or scatter that must hold small indices, or -1 */
};

enum want { WANT_ANY, WANT_MEMORY, WANT_VECTOR_INDEX, WANT_THREAD_LOCAL };

struct operands {
    unsigned reg, base, index; /* 0..31; index 4: none */
    uint8_t modrm, sib;
    bool memory, has_sib;
    unsigned displacement_bytes;
    int32_t displacement;
    enum label label;
    int vector_index;
};

/* Instruction sets that this processor lacks or that need an operating system's help: SIGILL in the driver would find
   them too, one block each time. */
static const char *const foreign[] = {
    "XOP",       "FMA4",     "TBM",         "3DNOW",       "AMD3DNOW",      "SVM",           "VMX",
    "VTX",       "SMX",      "SGX",         "PADLOCK",     "KNC",           "AMX",           "UINTR",
    "KEYLOCKER", "ENQCMD",   "MOVDIR",      "WAITPKG",     "CLZERO",        "RTM",           "TSX",
    "HRESET",    "SNP",      "MCOMMIT",     "RDPRU",       "SSE4A",         "CET",           "PTWRITE",
    "SERIALIZE", "MPX",      "AVX512_FP16", "AVX512_BF16", "AVX512_4FMAPS", "AVX512_4VNNIW", "VP2INTERSECT",
    "AVX512ER",  "AVX512PF", "AVX_VNNI",    "PREFETCHWT1", "MONITOR",       "INVPCID",       "WBNOINVD",
    "CLDEMOTE",  "TDX",      "LWP",         "XSAVE",       "PKU",           "RDRAND",        "RDSEED",
    "RDPID",     "TSXLDTRK", "FXSAVE"};

static bool is_foreign(const ZydisDecodedInstruction *in, bool wide)
{
    const char *set = ZydisISASetGetString(in->meta.isa_set),
               *extension = ZydisISAExtGetString(in->meta.isa_ext);
    for (size_t i = 0; i < sizeof foreign / sizeof foreign[0]; i++)
        if (strstr(set, foreign[i]) || strstr(extension, foreign[i]))
            return true;
    return !wide && (strstr(set, "AVX512") || in->encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX);
}

/* Control flow and calls come from block.c; the rest reaches beyond the block or tells where it runs. */
static bool is_excluded(const ZydisDecodedInstruction *in)
{
    switch (in->meta.category) {
    case ZYDIS_CATEGORY_CALL:
    case ZYDIS_CATEGORY_RET:
    case ZYDIS_CATEGORY_UNCOND_BR:
    case ZYDIS_CATEGORY_COND_BR:
    case ZYDIS_CATEGORY_SYSCALL:
    case ZYDIS_CATEGORY_SYSRET:
    case ZYDIS_CATEGORY_INTERRUPT:
    case ZYDIS_CATEGORY_SYSTEM:
    case ZYDIS_CATEGORY_IO:
    case ZYDIS_CATEGORY_IOSTRINGOP:
    case ZYDIS_CATEGORY_SEGOP:
    case ZYDIS_CATEGORY_RDWRFSGS:
        return true;
    default:
        break;
    }
    switch (in->mnemonic) {
    case ZYDIS_MNEMONIC_STD:
    case ZYDIS_MNEMONIC_CPUID:
    case ZYDIS_MNEMONIC_FNSTENV: /* stores the address of the last x87 instruction */
    case ZYDIS_MNEMONIC_FNSAVE:
    case ZYDIS_MNEMONIC_UD0:
    case ZYDIS_MNEMONIC_UD1:
    case ZYDIS_MNEMONIC_UD2:
        return true;
    default:
        return (in->attributes & ZYDIS_ATTRIB_IS_PRIVILEGED) || in->meta.category == ZYDIS_CATEGORY_STRINGOP;
    }
}

static int general_register(ZydisRegister reg)
{
    ZydisRegister whole = ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, reg);
    return whole >= ZYDIS_REGISTER_RAX && whole <= ZYDIS_REGISTER_R15 ? (int)(whole - ZYDIS_REGISTER_RAX)
                                                                      : -1;
}

/* `kept`: the instruction may leave its destination as it was. */
static bool register_allowed(const struct fuzz_block *b, const ZydisDecodedOperand *op, bool kept)
{
    ZydisRegisterClass class = ZydisRegisterGetClass(op->reg.value);
    if (class == ZYDIS_REGCLASS_SEGMENT || class == ZYDIS_REGCLASS_CONTROL || class == ZYDIS_REGCLASS_DEBUG)
        return false;
    int number = general_register(op->reg.value);
    if (number < 0)
        return true;
    const struct fuzz_register *r = &b->registers[number];
    bool writes = op->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE;
    bool only_writes = op->actions == ZYDIS_OPERAND_ACTION_WRITE && op->size >= 32;
    if (number == RSP || (writes && b->protected & 1u << number))
        return false;
    return !r->opaque || (only_writes && !kept);
}

/* The range of what an index adds to an address. Returns false when it may be anything. */
static bool index_range(int *smallest, int *largest, const struct fuzz_block *b,
                        const ZydisDecodedOperand *op, const struct candidate *c)
{
    *smallest = *largest = 0;
    ZydisRegister reg = op->mem.index;
    int scale = op->mem.scale ? op->mem.scale : 1;
    if (reg == ZYDIS_REGISTER_NONE)
        return true;
    if (reg == ZYDIS_REGISTER_AL) /* xlat: the caller knows */
        return true;
    if (op->mem.type == ZYDIS_MEMOP_TYPE_VSIB) {
        *largest = FUZZ_INDEX_LANE * scale;
        return c->vector_index >= 0 && ZydisRegisterGetId(reg) == c->vector_index;
    }
    int number = general_register(reg);
    if (number < 0 || !b->registers[number].index)
        return false;
    *smallest = b->registers[number].smallest * scale;
    *largest = b->registers[number].largest * scale;
    return true;
}

static bool memory_allowed(const struct fuzz_block *b, const ZydisDecodedInstruction *in,
                           const ZydisDecodedOperand *ops, const ZydisDecodedOperand *op,
                           const struct candidate *c)
{
    if (op->mem.type == ZYDIS_MEMOP_TYPE_MIB)
        return false;
    if (op->mem.segment == ZYDIS_REGISTER_GS || (op->mem.segment == ZYDIS_REGISTER_FS) != c->thread_local ||
        (c->thread_local && (in->address_width != 64 || c->label != LABEL_ABSOLUTE)))
        return false;
    int base = general_register(op->mem.base), size = op->size / 8, low, high;
    if (c->label != LABEL_NONE && (in->raw.disp.size != 32 || in->raw.disp.offset != c->label_at))
        return false;
    bool relative = op->mem.base == ZYDIS_REGISTER_RIP || op->mem.base == ZYDIS_REGISTER_EIP;
    if (op->mem.type == ZYDIS_MEMOP_TYPE_AGEN) {
        /* an address is data here */
        int index = general_register(op->mem.index);
        bool opaque = (base >= 0 && (base == RSP || b->registers[base].opaque)) ||
                      (index >= 0 && (index == RSP || b->registers[index].opaque));
        return !opaque && relative == (c->label == LABEL_RELATIVE);
    }
    if (!index_range(&low, &high, b, op, c))
        return false;
    if (in->mnemonic == ZYDIS_MNEMONIC_XLAT)
        high = 255;
    if (in->address_width != 64) {
        /* 32-bit address: the register's value must be one, and the sum must not go below zero */
        if (!relative && (base < 0 || !b->registers[base].below_2g || low < 0))
            return false;
    }
    /* A bit offset in a register reaches beyond the operand. */
    if (in->mnemonic == ZYDIS_MNEMONIC_BT || in->mnemonic == ZYDIS_MNEMONIC_BTS ||
        in->mnemonic == ZYDIS_MNEMONIC_BTR || in->mnemonic == ZYDIS_MNEMONIC_BTC) {
        if (ops[1].type == ZYDIS_OPERAND_TYPE_REGISTER) {
            int number = general_register(ops[1].reg.value);
            if (number < 0 || !b->registers[number].index)
                return false;
            low -= 16, high += 16;
        }
    }
    if (relative)
        return c->label == LABEL_RELATIVE;
    if (base < 0)
        return c->label == LABEL_ABSOLUTE && op->mem.base == ZYDIS_REGISTER_NONE;
    const struct fuzz_register *r = &b->registers[base];
    int64_t displacement = op->mem.disp.value;
    if (displacement < -FUZZ_REACH * 2 || displacement > FUZZ_REACH * 2 || !r->address || !size)
        return false;
    return c->label == LABEL_NONE && displacement + low >= r->low && displacement + high + size <= r->high;
}

static uint32_t undefined_after(uint32_t undefined, const ZydisDecodedInstruction *in,
                                const ZydisDecodedOperand *ops)
{
    if (!in->cpu_flags)
        return undefined;
    bool conditional =
        in->attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE);
    for (int i = 1; i < in->operand_count; i++)
        conditional |= ops[i].type == ZYDIS_OPERAND_TYPE_REGISTER && ops[i].reg.value == ZYDIS_REGISTER_CL;
    for (int i = 1; i < in->operand_count_visible; i++)
        conditional |= ops[i].type == ZYDIS_OPERAND_TYPE_IMMEDIATE && !(ops[i].imm.value.u & 31);
    if (!conditional)
        undefined &= ~(in->cpu_flags->modified | in->cpu_flags->set_0 | in->cpu_flags->set_1);
    return undefined | (in->cpu_flags->undefined & FLAGS_ARITHMETIC);
}

static bool allowed(const struct fuzz_block *b, const ZydisDecodedInstruction *in,
                    const ZydisDecodedOperand *ops, const struct candidate *c)
{
    if (in->cpu_flags && in->cpu_flags->tested & b->undefined)
        return false;
    /* A source of zero: the manual calls the destination undefined, the processor leaves it alone. */
    bool labelled = false, kept = in->mnemonic == ZYDIS_MNEMONIC_BSF || in->mnemonic == ZYDIS_MNEMONIC_BSR;
    for (int i = 0; i < in->operand_count; i++) {
        if (ops[i].type == ZYDIS_OPERAND_TYPE_REGISTER && !register_allowed(b, &ops[i], kept))
            return false;
        if (ops[i].type == ZYDIS_OPERAND_TYPE_MEMORY && !memory_allowed(b, in, ops, &ops[i], c))
            return false;
        labelled |= ops[i].type == ZYDIS_OPERAND_TYPE_MEMORY;
    }
    return labelled || c->label == LABEL_NONE;
}

static void note_effects(struct fuzz_block *b, const ZydisDecodedInstruction *in,
                         const ZydisDecodedOperand *ops)
{
    for (int i = 0; i < in->operand_count; i++) {
        int number = ops[i].type == ZYDIS_OPERAND_TYPE_REGISTER ? general_register(ops[i].reg.value) : -1;
        if (number >= 0 && ops[i].actions & ZYDIS_OPERAND_ACTION_MASK_WRITE)
            b->registers[number] = (struct fuzz_register){0};
    }
    b->undefined = undefined_after(b->undefined, in, ops);
}

static void add_bytes(struct fuzz_block *b, const uint8_t *bytes, size_t count,
                      const ZydisDecodedInstruction *in, const ZydisDecodedOperand *ops,
                      const struct candidate *c)
{
    ZydisFormatter formatter;
    char said[128] = "", hex[128] = "";
    ZydisFormatterInit(&formatter, ZYDIS_FORMATTER_STYLE_INTEL);
    ZydisFormatterFormatInstruction(&formatter, in, ops, in->operand_count_visible, said, sizeof said,
                                    ZYDIS_RUNTIME_ADDRESS_NONE, NULL);
    size_t stop = c && c->label != LABEL_NONE ? c->label_at : count, used = 0;
    for (size_t i = 0; i < stop; i++)
        used += (size_t)snprintf(hex + used, sizeof hex - used, "%s%#04x", i ? ", " : "", bytes[i]);
    fuzz_line(b, ".byte %s # %s", hex, said);
    if (stop == count)
        return;
    size_t behind = count - stop - 4;
    if (c->label == LABEL_RELATIVE)
        fuzz_line(b, ".long fuzz_table + %d - . - %zu", LABEL_AT + (int)fuzz_random(64), behind + 4);
    else if (c->thread_local)
        fuzz_line(b, ".long fuzz_local@tpoff + %d", (int)fuzz_random(64) + FUZZ_LOCAL / 2);
    else
        fuzz_line(b, ".long fuzz_table + %d", LABEL_AT + (int)fuzz_random(64));
    for (size_t i = stop + 4; i < count; i++)
        fuzz_line(b, ".byte %#04x", bytes[i]);
}

/* A random register that is good for `how`, or -1. */
static int pick(const struct fuzz_block *b, bool address)
{
    unsigned start = fuzz_random(REGISTERS);
    for (unsigned i = 0; i < REGISTERS; i++) {
        unsigned number = (start + i) % REGISTERS;
        if (address ? b->registers[number].address : b->registers[number].index)
            return (int)number;
    }
    return -1;
}

/* ModRM, SIB and displacement; `compressed`: disp8 is scaled, so disp32 is taken for anything else than zero. */
static void draw_operands(struct operands *o, const struct fuzz_block *b, bool compressed, enum want want)
{
    bool vector_index = want == WANT_VECTOR_INDEX;
    *o = (struct operands){.reg = fuzz_random(32), .base = fuzz_random(32), .index = 4, .vector_index = -1};
    o->modrm = (uint8_t)((o->reg & 7) << 3 | (o->base & 7));
    int base = pick(b, true);
    unsigned form = fuzz_random(20);
    if (want == WANT_MEMORY && form < 8)
        form += 10;
    if (want == WANT_THREAD_LOCAL)
        form = 9;
    if (!vector_index && (form < 8 || base < 0)) {
        if (form >= 10) { /* no pointer left: the table */
            o->memory = true, o->label = LABEL_RELATIVE, o->displacement_bytes = 4;
            o->base = 5, o->modrm = (uint8_t)((o->reg & 7) << 3 | 5);
            return;
        }
        o->modrm |= 0xc0;
        return;
    }
    o->memory = true;
    if (!vector_index && form < 10) {
        o->displacement_bytes = 4, o->base = 5;
        o->label = form == 8 ? LABEL_RELATIVE : LABEL_ABSOLUTE;
        o->modrm = (uint8_t)((o->reg & 7) << 3 | (form == 8 ? 5 : 4));
        o->has_sib = form != 8;
        int index = fuzz_random(2) ? pick(b, false) : -1;
        o->index = index >= 0 && index != RSP ? (unsigned)index : 4;
        o->sib = (uint8_t)(fuzz_random(4) << 6 | (o->index & 7) << 3 | 5);
        if (form == 8)
            o->index = 4;
        return;
    }
    if (base < 0) {
        o->modrm |= 0xc0, o->memory = false;
        return;
    }
    const struct fuzz_register *r = &b->registers[base];
    int room = r->high - r->low;
    o->base = (unsigned)base;
    o->displacement = room > 1000
                          ? (int)fuzz_random(fuzz_random(2) ? 200 : 1600) - (fuzz_random(2) ? 100 : 800)
                          : r->low + (int)fuzz_random((uint32_t)room);
    o->has_sib = (base & 7) == RSP || fuzz_random(3) == 0 || vector_index;
    int index = o->has_sib && fuzz_random(5) ? pick(b, false) : -1;
    if (vector_index)
        index = o->vector_index = (int)fuzz_random(b->wide && compressed ? 32 : 16);
    else if (index == RSP)
        index = -1;
    o->index = index >= 0 ? (unsigned)index : 4;
    bool small = o->displacement >= -128 && o->displacement < 128 && !compressed;
    if (fuzz_random(4) == 0 && room > 1000)
        o->displacement = compressed ? (int)fuzz_random(8) : 0, small = true;
    unsigned mode = o->displacement == 0 && (base & 7) != RBP && fuzz_random(2) ? 0
                    : small && fuzz_random(4)                                   ? 1
                                                                                : 2;
    o->displacement_bytes = mode == 0 ? 0 : mode == 1 ? 1 : 4;
    o->modrm = (uint8_t)(mode << 6 | (o->reg & 7) << 3 | (o->has_sib ? 4u : (unsigned)base & 7));
    o->sib = (uint8_t)(fuzz_random(4) << 6 | (o->index & 7) << 3 | (unsigned)(base & 7));
}

static void put(struct candidate *c, unsigned byte)
{
    c->bytes[c->length++] = (uint8_t)byte;
}

static void put_tail(struct candidate *c, const struct operands *o)
{
    put(c, o->modrm);
    if (o->memory && o->has_sib)
        put(c, o->sib);
    c->label = o->label;
    c->label_at = o->label == LABEL_NONE ? NOWHERE : c->length;
    for (unsigned i = 0; i < o->displacement_bytes; i++)
        put(c, (uint32_t)o->displacement >> 8 * i & 255);
    for (unsigned i = 0; i < 8; i++)
        put(c, fuzz_random(3) ? fuzz_random(256) : fuzz_random(9));
}

static unsigned bit(unsigned number, unsigned which)
{
    return number >> which & 1;
}

/* Prefixes that VEX and EVEX instructions may have as well. Returns whether fs is among them. */
static bool put_prefixes(struct candidate *c, unsigned percent)
{
    static const uint8_t prefixes[] = {0x67, 0x67, 0x64, 0x64, 0x2e, 0x3e, 0x26, 0x36};
    while (fuzz_random(100) < percent && c->length < 2)
        put(c, prefixes[fuzz_random(sizeof prefixes)]);
    c->thread_local = false; /* the last segment prefix counts */
    for (unsigned i = 0; i < c->length; i++)
        if (c->bytes[i] != 0x67)
            c->thread_local = c->bytes[i] == 0x64;
    return c->thread_local;
}

/* `locked`: with a lock prefix and a memory operand, as most such instructions have. */
static void draw_legacy(struct candidate *c, const struct fuzz_block *b, bool locked)
{
    static const uint8_t prefixes[] = {0x66, 0x66, 0x66, 0xf2, 0xf3, 0xf3, 0xf0};
    struct operands o;
    bool local = put_prefixes(c, 12);
    draw_operands(&o, b, false, local ? WANT_THREAD_LOCAL : locked ? WANT_MEMORY : WANT_ANY);
    if (locked)
        put(c, 0xf0);
    while (fuzz_random(100) < 36 && c->length < 4)
        put(c, prefixes[fuzz_random(sizeof prefixes)]);
    unsigned rex = bit(o.reg, 3) << 2;
    if (o.memory)
        rex |= bit(o.index, 3) << 1 | bit(o.base, 3);
    else
        rex |= fuzz_random(2) << 1 | bit(o.base, 3);
    if (rex || fuzz_random(2))
        put(c, 0x40 | rex | (fuzz_random(2) << 3));
    unsigned map = fuzz_random(100);
    if (map >= 50)
        put(c, 0x0f);
    if (map >= 84)
        put(c, map >= 94 ? 0x3a : 0x38);
    put(c, fuzz_random(256));
    put_tail(c, &o);
}

/* Bits and carries: popcnt and its like, movbe, crc32, adcx, adox; xadd, cmpxchg, shld, bts. */
static void draw_bits(struct candidate *c, const struct fuzz_block *b)
{
    static const uint8_t two[] = {0xb8, 0xbc, 0xbd, 0xc0, 0xc1, 0xb0, 0xb1, 0xa4, 0xa5, 0xac, 0xad,
                                  0xab, 0xb3, 0xbb, 0xba, 0xa3, 0xc8, 0xcf, 0xaf, 0xc7, 0xc3},
                         three[] = {0xf0, 0xf1, 0xf6}, prefixes[] = {0x66, 0xf2, 0xf3, 0xf3};
    struct operands o;
    draw_operands(&o, b, false, WANT_ANY);
    if (fuzz_random(2))
        put(c, prefixes[fuzz_random(sizeof prefixes)]);
    unsigned rex = bit(o.reg, 3) << 2 | (o.memory ? bit(o.index, 3) << 1 : 0) | bit(o.base, 3);
    if (rex || fuzz_random(2))
        put(c, 0x40 | rex | (fuzz_random(2) << 3));
    put(c, 0x0f);
    if (fuzz_random(4) == 0) {
        put(c, 0x38);
        put(c, three[fuzz_random(sizeof three)]);
    } else {
        put(c, two[fuzz_random(sizeof two)]);
    }
    put_tail(c, &o);
}

/* `bits`: andn, bextr, pdep and the like. */
static void draw_vex(struct candidate *c, const struct fuzz_block *b, bool gather, bool bits)
{
    static const uint8_t bit_codes[] = {0xf2, 0xf3, 0xf5, 0xf6, 0xf7, 0xf0};
    struct operands o;
    bool local = put_prefixes(c, gather ? 0 : 6);
    draw_operands(&o, b, false, gather ? WANT_VECTOR_INDEX : local ? WANT_THREAD_LOCAL : WANT_ANY);
    unsigned code = bit_codes[fuzz_random(sizeof bit_codes)];
    unsigned vvvv = fuzz_random(3) == 0 ? 0 : fuzz_random(16), map = 1 + fuzz_random(3), pp = fuzz_random(4);
    if (gather)
        map = 2, pp = 1;
    if (bits)
        map = code == 0xf0 ? 3 : 2;
    unsigned x = o.memory ? bit(o.index, 3) : fuzz_random(2), long_form = map != 1 || x || bit(o.base, 3);
    unsigned last = (~vvvv & 15) << 3 | (bits ? 0 : fuzz_random(2) << 2) | pp;
    if (!long_form && fuzz_random(3)) {
        put(c, 0xc5);
        put(c, (!bit(o.reg, 3)) << 7 | last);
    } else {
        put(c, 0xc4);
        put(c, (unsigned)!bit(o.reg, 3) << 7 | (unsigned)!x << 6 | (unsigned)!bit(o.base, 3) << 5 | map);
        put(c, fuzz_random(2) << 7 | last);
    }
    put(c, gather ? 0x90 + fuzz_random(4) : bits ? code : fuzz_random(256));
    put_tail(c, &o);
    c->vector_index = o.vector_index;
}

static void draw_evex(struct candidate *c, const struct fuzz_block *b, bool gather)
{
    struct operands o;
    bool local = put_prefixes(c, gather ? 0 : 6);
    draw_operands(&o, b, true, gather ? WANT_VECTOR_INDEX : local ? WANT_THREAD_LOCAL : WANT_ANY);
    unsigned vvvv = fuzz_random(3) == 0 ? 0 : fuzz_random(32), map = 1 + fuzz_random(3), pp = fuzz_random(4);
    if (gather)
        map = 2, pp = 1, vvvv = 0;
    unsigned x = o.memory ? bit(o.index, 3) : bit(o.base, 4), high = gather ? bit(o.index, 4) : bit(vvvv, 4);
    put(c, 0x62);
    put(c, (unsigned)!bit(o.reg, 3) << 7 | (unsigned)!x << 6 | (unsigned)!bit(o.base, 3) << 5 |
               (unsigned)!bit(o.reg, 4) << 4 | map);
    put(c, fuzz_random(2) << 7 | (~vvvv & 15) << 3 | 4 | pp);
    unsigned mask = fuzz_random(2) || gather ? 1 + fuzz_random(7) : 0;
    put(c, (mask && !gather ? fuzz_random(2) << 7 : 0) | fuzz_random(3) << 5 |
               (fuzz_random(5) == 0 && !gather) << 4 | (unsigned)!high << 3 | mask);
    put(c, gather ? (fuzz_random(2) ? 0x90 : 0xa0) + fuzz_random(4) : fuzz_random(256));
    put_tail(c, &o);
    c->vector_index = o.vector_index;
}

static ZydisDecoder *decoder(void)
{
    static ZydisDecoder the;
    static bool ready;
    if (!ready)
        ZydisDecoderInit(&the, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    ready = true;
    return &the;
}

void fuzz_instruction(struct fuzz_block *b)
{
    for (;;) {
        struct candidate c = {.vector_index = -1, .label_at = NOWHERE};
        unsigned kind = fuzz_random(100);
        if (kind < 44)
            draw_legacy(&c, b, kind < 5);
        else if (kind < 49)
            draw_bits(&c, b);
        else if (kind < 70)
            draw_vex(&c, b, kind < 51, kind >= 67);
        else
            draw_evex(&c, b, kind < 74);
        ZydisDecodedInstruction in;
        ZydisDecodedOperand ops[ZYDIS_MAX_OPERAND_COUNT];
        if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(decoder(), c.bytes, 15, &in, ops)) || is_excluded(&in) ||
            is_foreign(&in, b->wide) || !allowed(b, &in, ops, &c))
            continue;
        if (c.vector_index >= 0)
            fuzz_line(b, b->wide ? "vmovdqu64 zmm%d, fuzz_indices[rip]" : "vmovdqu ymm%d, fuzz_indices[rip]",
                      c.vector_index);
        add_bytes(b, c.bytes, in.length, &in, ops, &c);
        note_effects(b, &in, ops);
        return;
    }
}

static bool string_register(struct fuzz_block *b, int number, int reach, bool down)
{
    struct fuzz_register *r = &b->registers[number];
    return r->address && !r->opaque && !(b->protected & 1u << number) &&
           (down ? r->low + reach <= 0 && r->high >= 8 : r->high - reach >= 0 && r->low <= 0);
}

bool fuzz_string(struct fuzz_block *b, const uint8_t *bytes, size_t count, bool down)
{
    ZydisDecodedInstruction in;
    ZydisDecodedOperand ops[ZYDIS_MAX_OPERAND_COUNT];
    if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(decoder(), bytes, count, &in, ops)))
        return false;
    int reach = (FUZZ_COUNT + 1) * 8;
    uint32_t moved = 0;
    for (int i = 0; i < in.operand_count; i++) {
        if (ops[i].type == ZYDIS_OPERAND_TYPE_MEMORY) {
            int base = general_register(ops[i].mem.base);
            if (base < 0 || !string_register(b, base, reach, down))
                return false;
            moved |= 1u << base;
        }
    }
    for (int i = 0; i < in.operand_count; i++) {
        int number = ops[i].type == ZYDIS_OPERAND_TYPE_REGISTER ? general_register(ops[i].reg.value) : -1;
        if (number >= 0 && !(moved & 1u << number) && !register_allowed(b, &ops[i], true))
            return false;
    }
    struct fuzz_register before[REGISTERS];
    memcpy(before, b->registers, sizeof before);
    add_bytes(b, bytes, in.length, &in, ops, NULL);
    note_effects(b, &in, ops);
    for (int number = 0; number < REGISTERS; number++)
        if (moved & 1u << number) {
            b->registers[number] = before[number];
            *(down ? &b->registers[number].low : &b->registers[number].high) += down ? reach : -reach;
        }
    return true;
}
