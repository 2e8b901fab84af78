/* Accesses that no inline check covers: masked and gathering vector instructions, 32-bit addresses, bit strings, xlat, register
   dumps. They are rare in servers; each calls here first, with vector state saved, is decoded once more, and its elements
   are checked and logged one by one. Inactive lanes touch nothing. */
#include "stem/engine.h"

#include <Zydis/Zydis.h>

int stem_slow_exotic(struct stem_context *context, const uint8_t *vectors);

enum { ELEMENTS_MAX = 64 };

struct access {
    uintptr_t address;
    uint32_t bytes;
    bool is_read, is_write;
};

struct machine {
    const struct stem_context *context;
    const uint8_t *vectors; /* xsave area, standard format */
};

/* ---- register values ------------------------------------------------------------------------------------------- */

/* Of an xsave area in the standard format. Asked for once: in a virtual machine each cpuid costs a microsecond or more. */
static uint32_t component_offset(uint32_t component)
{
    static uint32_t offsets[8]; /* written with the same values whoever comes first */
    if (!offsets[component]) {
        uint32_t a = 0xd, b, c = component, d;
        __asm__("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
        offsets[component] = b;
    }
    return offsets[component];
}

static uint64_t general(const struct machine *m, ZydisRegister reg)
{
    ZydisRegister wide = ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, reg);
    if (wide < ZYDIS_REGISTER_RAX || wide > ZYDIS_REGISTER_R15)
        return 0;
    uint64_t v = m->context->reg[wide - ZYDIS_REGISTER_RAX];
    switch (ZydisRegisterGetWidth(ZYDIS_MACHINE_MODE_LONG_64, reg)) {
    case 32:
        return (uint32_t)v;
    case 16:
        return (uint16_t)v;
    default:
        return v;
    }
}

/* Copies a vector register, all 64 bytes; parts that the system does not use stay zero. */
static void vector(uint8_t out[64], const struct machine *m, ZydisRegister reg)
{
    memset(out, 0, 64);
    uint32_t n = (uint32_t)ZydisRegisterGetId(reg);
    uint64_t present;
    memcpy(&present, m->vectors + 512, 8); /* a component in its initial state is not written */
    if (n < 16) {
        if (present & 1 << 1)
            memcpy(out, m->vectors + 160 + 16 * n, 16);
        if (present & 1 << 2)
            memcpy(out + 16, m->vectors + component_offset(2) + 16 * n, 16);
        if (present & 1 << 6)
            memcpy(out + 32, m->vectors + component_offset(6) + 32 * n, 32);
    } else if (present & 1 << 7) {
        memcpy(out, m->vectors + component_offset(7) + 64 * (n - 16), 64);
    }
}

static uint64_t opmask(const struct machine *m, ZydisRegister reg)
{
    uint64_t v = 0, present;
    memcpy(&present, m->vectors + 512, 8);
    if (present & 1 << 5)
        memcpy(&v, m->vectors + component_offset(5) + 8 * (uint32_t)(reg - ZYDIS_REGISTER_K0), 8);
    return v;
}

static int64_t element(const uint8_t *vector, unsigned index, unsigned bytes)
{
    int64_t v = 0;
    memcpy(&v, vector + index * bytes, bytes);
    return bytes == 8 ? v : (int64_t)((uint64_t)v << (64 - 8 * bytes)) >> (64 - 8 * bytes);
}

static bool sign_of(const uint8_t *vector, unsigned index, unsigned bytes)
{
    return vector[index * bytes + bytes - 1] & 0x80;
}

/* ---- which elements ------------------------------------------------------------------------------------------------ */

static uintptr_t linear(const struct machine *m, const struct stem_map_entry *entry,
                        const struct stem_object *o, const ZydisDecodedInstruction *in,
                        const ZydisDecodedOperand *op)
{
    uint64_t a = (uint64_t)op->mem.disp.value;
    if (op->mem.base == ZYDIS_REGISTER_RIP || op->mem.base == ZYDIS_REGISTER_EIP)
        a += o->base + entry->offset + entry->length;
    else if (op->mem.base != ZYDIS_REGISTER_NONE)
        a += general(m, op->mem.base);
    if (op->mem.index != ZYDIS_REGISTER_NONE && op->mem.type != ZYDIS_MEMOP_TYPE_VSIB)
        a += general(m, op->mem.index) * op->mem.scale;
    return in->address_width == 32 ? (uint32_t)a : a;
}

static bool indexes_by_quad(ZydisMnemonic mnemonic)
{
    switch (mnemonic) {
    case ZYDIS_MNEMONIC_VPGATHERQD:
    case ZYDIS_MNEMONIC_VPGATHERQQ:
    case ZYDIS_MNEMONIC_VGATHERQPS:
    case ZYDIS_MNEMONIC_VGATHERQPD:
    case ZYDIS_MNEMONIC_VPSCATTERQD:
    case ZYDIS_MNEMONIC_VPSCATTERQQ:
    case ZYDIS_MNEMONIC_VSCATTERQPS:
    case ZYDIS_MNEMONIC_VSCATTERQPD:
        return true;
    default:
        return false;
    }
}

static bool is_masked_move(ZydisMnemonic mnemonic)
{
    return mnemonic == ZYDIS_MNEMONIC_VMASKMOVPS || mnemonic == ZYDIS_MNEMONIC_VMASKMOVPD ||
           mnemonic == ZYDIS_MNEMONIC_VPMASKMOVD || mnemonic == ZYDIS_MNEMONIC_VPMASKMOVQ ||
           mnemonic == ZYDIS_MNEMONIC_MASKMOVDQU || mnemonic == ZYDIS_MNEMONIC_VMASKMOVDQU;
}

static bool packs(ZydisMnemonic mnemonic)
{
    switch (mnemonic) {
    case ZYDIS_MNEMONIC_VPCOMPRESSB:
    case ZYDIS_MNEMONIC_VPCOMPRESSW:
    case ZYDIS_MNEMONIC_VPCOMPRESSD:
    case ZYDIS_MNEMONIC_VPCOMPRESSQ:
    case ZYDIS_MNEMONIC_VCOMPRESSPS:
    case ZYDIS_MNEMONIC_VCOMPRESSPD:
    case ZYDIS_MNEMONIC_VPEXPANDB:
    case ZYDIS_MNEMONIC_VPEXPANDW:
    case ZYDIS_MNEMONIC_VPEXPANDD:
    case ZYDIS_MNEMONIC_VPEXPANDQ:
    case ZYDIS_MNEMONIC_VEXPANDPS:
    case ZYDIS_MNEMONIC_VEXPANDPD:
        return true;
    default:
        return false;
    }
}

static bool is_xsave(ZydisMnemonic mnemonic)
{
    switch (mnemonic) {
    case ZYDIS_MNEMONIC_FXSAVE:
    case ZYDIS_MNEMONIC_FXSAVE64:
    case ZYDIS_MNEMONIC_XSAVE:
    case ZYDIS_MNEMONIC_XSAVE64:
    case ZYDIS_MNEMONIC_XSAVEC:
    case ZYDIS_MNEMONIC_XSAVEC64:
    case ZYDIS_MNEMONIC_XSAVEOPT:
    case ZYDIS_MNEMONIC_XSAVEOPT64:
        return true;
    default:
        return false;
    }
}

/* Size of an xsave area with the components that edx:eax asks for and the system has. */
static uint32_t xsave_bytes(const struct machine *m, ZydisMnemonic mnemonic)
{
    enum { LEGACY_AND_HEADER = 576 };
    uint32_t low, high, end = LEGACY_AND_HEADER;
    bool compact = mnemonic == ZYDIS_MNEMONIC_XSAVEC || mnemonic == ZYDIS_MNEMONIC_XSAVEC64;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    uint64_t wanted =
        ((uint64_t)high << 32 | low) & (m->context->reg[RDX] << 32 | (uint32_t)m->context->reg[RAX]);
    for (uint32_t component = 2; component < 63; component++) {
        uint32_t a = 0xd, offset, c = component, d;
        if (!(wanted >> component & 1))
            continue;
        __asm__("cpuid" : "+a"(a), "=b"(offset), "+c"(c), "=d"(d));
        if (compact)
            offset = c & 2 ? (end + 63) & ~63u : end;
        if (offset + a > end)
            end = offset + a;
    }
    return end;
}

/* As many low bits as `mask` has bits. */
static uint64_t lowest_bits(uint64_t mask)
{
    uint64_t low = 0;
    for (; mask; mask &= mask - 1)
        low = low << 1 | 1;
    return low;
}

/* Lanes that are active, one bit each. `bytes` is the data element's size. */
static uint64_t active_lanes(const struct machine *m, const ZydisDecodedInstruction *in,
                             const ZydisDecodedOperand *ops, unsigned lanes, unsigned bytes)
{
    uint64_t all = lanes >= 64 ? ~0ull : (1ull << lanes) - 1, active = 0;
    if (in->encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX)
        return in->avx.mask.reg == ZYDIS_REGISTER_K0 || in->avx.mask.reg == ZYDIS_REGISTER_NONE
                   ? all
                   : opmask(m, in->avx.mask.reg) & all;
    /* VEX: the mask is the vector operand in the middle (maskmov), the last of a gather, the second of maskmovdqu. */
    uint8_t mask[64];
    vector(mask, m, ops[is_masked_move(in->mnemonic) ? 1 : 2].reg.value);
    for (unsigned i = 0; i < lanes; i++)
        if (sign_of(mask, i, bytes))
            active |= 1ull << i;
    return active;
}

/* Fills `out` with what one memory operand touches. Returns how many. */
static unsigned touched(struct access *out, const struct machine *m, const struct stem_map_entry *entry,
                        const struct stem_object *o, const ZydisDecodedInstruction *in,
                        const ZydisDecodedOperand *ops, const ZydisDecodedOperand *op)
{
    uintptr_t at = linear(m, entry, o, in, op);
    bool is_read = op->actions & ZYDIS_OPERAND_ACTION_MASK_READ,
         is_write = op->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE;
    bool by_byte = in->mnemonic == ZYDIS_MNEMONIC_MASKMOVDQU || in->mnemonic == ZYDIS_MNEMONIC_VMASKMOVDQU;
    bool masked =
        in->avx.mask.mode != ZYDIS_MASK_MODE_INVALID && in->avx.mask.mode != ZYDIS_MASK_MODE_DISABLED;
    unsigned n = 0;
    if (op->mem.type == ZYDIS_MEMOP_TYPE_VSIB) {
        const ZydisDecodedOperand *data =
            &ops[op == &ops[0] ? (in->encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX ? 2 : 1) : 0];
        unsigned bytes = data->element_size / 8, index_bytes = indexes_by_quad(in->mnemonic) ? 8 : 4;
        uint8_t indices[64];
        vector(indices, m, op->mem.index);
        unsigned by_index =
            ZydisRegisterGetWidth(ZYDIS_MACHINE_MODE_LONG_64, op->mem.index) / 8u / index_bytes;
        unsigned lanes = bytes && data->size / 8u / bytes < by_index ? data->size / 8u / bytes : by_index;
        uint64_t active = active_lanes(m, in, ops, lanes, bytes);
        for (unsigned i = 0; i < lanes && n < ELEMENTS_MAX; i++)
            if (active & 1ull << i)
                out[n++] = (struct access){at + (uint64_t)element(indices, i, index_bytes) * op->mem.scale,
                                           bytes, is_read, is_write};
    } else if (masked || is_masked_move(in->mnemonic)) {
        unsigned bytes = by_byte ? 1 : op->element_size / 8u;
        unsigned lanes = bytes ? op->size / 8u / bytes : 0;
        if (in->avx.broadcast.mode != ZYDIS_BROADCAST_MODE_INVALID)
            lanes = 64; /* any active lane reads the one element */
        uint64_t active = active_lanes(m, in, ops, lanes, bytes);
        if (in->avx.broadcast.mode != ZYDIS_BROADCAST_MODE_INVALID)
            active = active != 0;
        else if (packs(in->mnemonic))
            active = lowest_bits(active);
        for (unsigned i = 0; i < lanes && n < ELEMENTS_MAX; i++)
            if (active & 1ull << i)
                out[n++] = (struct access){at + i * bytes, bytes, is_read, is_write};
    } else {
        uint32_t bytes = op->size / 8;
        if (ops[1].type == ZYDIS_OPERAND_TYPE_REGISTER &&
            (in->mnemonic == ZYDIS_MNEMONIC_BT || in->mnemonic == ZYDIS_MNEMONIC_BTS ||
             in->mnemonic == ZYDIS_MNEMONIC_BTR || in->mnemonic == ZYDIS_MNEMONIC_BTC)) {
            int64_t bits = (int64_t)general(m, ops[1].reg.value) << (64 - 8 * bytes) >> (64 - 8 * bytes);
            at += (uint64_t)((bits >> (bytes == 8 ? 6 : bytes == 4 ? 5 : 4)) * (int64_t)bytes);
        }
        if (in->mnemonic == ZYDIS_MNEMONIC_XLAT)
            at = general(m, ZYDIS_REGISTER_RBX) + (uint8_t)general(m, ZYDIS_REGISTER_RAX);
        if (in->meta.category == ZYDIS_CATEGORY_XSAVE || in->meta.category == ZYDIS_CATEGORY_XSAVEOPT)
            bytes = xsave_bytes(m, in->mnemonic);
        out[n++] = (struct access){at, bytes, is_read, is_write};
    }
    return n;
}

/* ---- x87 ---------------------------------------------------------------------------------------------------------- */

/* The address of the last x87 instruction becomes the application's before it is stored. Processors that keep it from fxsave
   while no exception is pending still give its low half to fnstenv. */
static void correct_x87_pointer(uintptr_t near)
{
    struct {
        uint16_t control, status;
        uint8_t tags, reserved;
        uint16_t opcode;
        uint64_t pointer;
        uint8_t rest[496];
    } __attribute__((aligned(16))) all;
    uint32_t environment[7];
    __asm__ volatile("fxsave64 %0" : "=m"(all));
    uintptr_t pc = stem_application_pc(all.pointer, true);
    if (pc != all.pointer) {
        all.pointer = pc;
        __asm__ volatile("fxrstor64 %0" : : "m"(all));
        return;
    }
    __asm__ volatile("fnstenv %0" : "=m"(environment));
    uint64_t pointer = (near & ~0xffffffffull) | environment[3];
    if (!all.pointer && environment[3])
        environment[3] = (uint32_t)stem_application_pc(pointer, true);
    __asm__ volatile("fldenv %0" : : "m"(environment));
}

int stem_slow_exotic(struct stem_context *context, const uint8_t *vectors)
{
    const struct stem_site *site = stem_site_at(context->rip);
    if (!site)
        return 0;
    const struct stem_translation *t = site->translation;
    const struct stem_map_entry *entry = &t->map[site->map];
    const struct machine machine = {context, vectors};
    static ZydisDecoder decoder; /* written with the same values whoever comes first */
    ZydisDecodedInstruction in;
    ZydisDecodedOperand ops[ZYDIS_MAX_OPERAND_COUNT];
    uint8_t code[16];
    struct access accesses[ELEMENTS_MAX];
    stem_object_bytes(code, t->object, entry->offset, entry->length);
    ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, code, entry->length, &in, ops)))
        return 0;
    if (in.meta.category == ZYDIS_CATEGORY_X87_ALU || is_xsave(in.mnemonic))
        correct_x87_pointer(context->rip);
    for (unsigned i = 0; i < in.operand_count; i++) {
        if (ops[i].type != ZYDIS_OPERAND_TYPE_MEMORY || ops[i].mem.type == ZYDIS_MEMOP_TYPE_AGEN ||
            ops[i].mem.segment == ZYDIS_REGISTER_FS)
            continue;
        unsigned n = touched(accesses, &machine, entry, t->object, &in, ops, &ops[i]);
        for (unsigned k = 0; k < n; k++)
            if (stem_check_access(context, site, accesses[k].address, accesses[k].bytes,
                                  accesses[k].is_write))
                return 1;
        for (unsigned k = 0; k < n; k++)
            if (accesses[k].is_write)
                stem_undo_log(accesses[k].address, accesses[k].bytes);
    }
    return 0;
}
