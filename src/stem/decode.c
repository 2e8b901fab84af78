/* One instruction: bytes to what liveness, checks and the emitter need to know. Zydis decodes; this file reduces
   its operands to masks and one memory operand. What it does not understand is marked, never guessed. */
#include "stem/engine.h"

#include <Zydis/Zydis.h>

static ZydisDecoder decoder;
static bool decoder_ready;

static int register_number(ZydisRegister reg, bool *partial)
{
    *partial = false;
    if (reg >= ZYDIS_REGISTER_RAX && reg <= ZYDIS_REGISTER_R15)
        return (int)(reg - ZYDIS_REGISTER_RAX);
    if (reg >= ZYDIS_REGISTER_EAX && reg <= ZYDIS_REGISTER_R15D)
        return (int)(reg - ZYDIS_REGISTER_EAX);
    *partial = true;
    if (reg >= ZYDIS_REGISTER_AX && reg <= ZYDIS_REGISTER_R15W)
        return (int)(reg - ZYDIS_REGISTER_AX);
    switch (reg) {
    case ZYDIS_REGISTER_AL:
    case ZYDIS_REGISTER_AH:
        return RAX;
    case ZYDIS_REGISTER_CL:
    case ZYDIS_REGISTER_CH:
        return RCX;
    case ZYDIS_REGISTER_DL:
    case ZYDIS_REGISTER_DH:
        return RDX;
    case ZYDIS_REGISTER_BL:
    case ZYDIS_REGISTER_BH:
        return RBX;
    case ZYDIS_REGISTER_SPL:
        return RSP;
    case ZYDIS_REGISTER_BPL:
        return RBP;
    case ZYDIS_REGISTER_SIL:
        return RSI;
    case ZYDIS_REGISTER_DIL:
        return RDI;
    default:
        break;
    }
    if (reg >= ZYDIS_REGISTER_R8B && reg <= ZYDIS_REGISTER_R15B)
        return R8 + (int)(reg - ZYDIS_REGISTER_R8B);
    return NO_REGISTER;
}

static uint32_t flag_mask(uint32_t zydis)
{
    uint32_t mask = 0;
    if (zydis & ZYDIS_CPUFLAG_CF)
        mask |= FLAG_C;
    if (zydis & ZYDIS_CPUFLAG_PF)
        mask |= FLAG_P;
    if (zydis & ZYDIS_CPUFLAG_AF)
        mask |= FLAG_A;
    if (zydis & ZYDIS_CPUFLAG_ZF)
        mask |= FLAG_Z;
    if (zydis & ZYDIS_CPUFLAG_SF)
        mask |= FLAG_S;
    if (zydis & ZYDIS_CPUFLAG_OF)
        mask |= FLAG_O;
    return mask;
}

/* Flags may survive these: a shift count or a repeat count of zero changes nothing. */
static bool flags_may_survive(const ZydisDecodedInstruction *in, const ZydisDecodedOperand *ops)
{
    switch (in->mnemonic) {
    case ZYDIS_MNEMONIC_SHL:
    case ZYDIS_MNEMONIC_SHR:
    case ZYDIS_MNEMONIC_SAR:
    case ZYDIS_MNEMONIC_ROL:
    case ZYDIS_MNEMONIC_ROR:
    case ZYDIS_MNEMONIC_RCL:
    case ZYDIS_MNEMONIC_RCR:
        return !(ops[1].type == ZYDIS_OPERAND_TYPE_IMMEDIATE && (ops[1].imm.value.u & 31));
    case ZYDIS_MNEMONIC_SHLD:
    case ZYDIS_MNEMONIC_SHRD:
        return !(ops[2].type == ZYDIS_OPERAND_TYPE_IMMEDIATE && (ops[2].imm.value.u & 31));
    default:
        return (in->attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE)) !=
               0;
    }
}

static bool touches_no_memory(ZydisMnemonic m)
{
    switch (m) {
    case ZYDIS_MNEMONIC_NOP:
    case ZYDIS_MNEMONIC_PREFETCH:
    case ZYDIS_MNEMONIC_PREFETCHNTA:
    case ZYDIS_MNEMONIC_PREFETCHT0:
    case ZYDIS_MNEMONIC_PREFETCHT1:
    case ZYDIS_MNEMONIC_PREFETCHT2:
    case ZYDIS_MNEMONIC_PREFETCHW:
    case ZYDIS_MNEMONIC_PREFETCHWT1:
    case ZYDIS_MNEMONIC_CLFLUSH:
    case ZYDIS_MNEMONIC_CLFLUSHOPT:
    case ZYDIS_MNEMONIC_CLWB:
        return true;
    default:
        return false;
    }
}

static bool is_string_op(ZydisMnemonic m, uint8_t *bytes)
{
    switch (m) {
    case ZYDIS_MNEMONIC_MOVSB:
    case ZYDIS_MNEMONIC_STOSB:
    case ZYDIS_MNEMONIC_CMPSB:
    case ZYDIS_MNEMONIC_SCASB:
    case ZYDIS_MNEMONIC_LODSB:
        *bytes = 1;
        return true;
    case ZYDIS_MNEMONIC_MOVSW:
    case ZYDIS_MNEMONIC_STOSW:
    case ZYDIS_MNEMONIC_CMPSW:
    case ZYDIS_MNEMONIC_SCASW:
    case ZYDIS_MNEMONIC_LODSW:
        *bytes = 2;
        return true;
    case ZYDIS_MNEMONIC_STOSD:
    case ZYDIS_MNEMONIC_SCASD:
    case ZYDIS_MNEMONIC_LODSD:
        *bytes = 4;
        return true;
    case ZYDIS_MNEMONIC_MOVSQ:
    case ZYDIS_MNEMONIC_STOSQ:
    case ZYDIS_MNEMONIC_CMPSQ:
    case ZYDIS_MNEMONIC_SCASQ:
    case ZYDIS_MNEMONIC_LODSQ:
        *bytes = 8;
        return true;
    default:
        return false;
    }
}

static void set_kind(struct stem_insn *insn, const ZydisDecodedInstruction *in,
                     const ZydisDecodedOperand *ops)
{
    bool direct =
        in->operand_count_visible && ops[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE && ops[0].imm.is_relative;
    switch (in->meta.category) {
    case ZYDIS_CATEGORY_CALL:
        insn->kind = direct ? INSN_CALL : INSN_CALL_INDIRECT;
        break;
    case ZYDIS_CATEGORY_UNCOND_BR:
        insn->kind = direct ? INSN_JUMP : INSN_JUMP_INDIRECT;
        break;
    case ZYDIS_CATEGORY_COND_BR:
        insn->kind = INSN_BRANCH;
        insn->condition = in->opcode & 0xf;
        break;
    case ZYDIS_CATEGORY_RET:
        insn->kind = INSN_RETURN;
        break;
    default:
        break;
    }
    if (direct)
        insn->target = insn->offset + insn->length + (uint32_t)ops[0].imm.value.s;
    switch (in->mnemonic) {
    case ZYDIS_MNEMONIC_JRCXZ:
    case ZYDIS_MNEMONIC_LOOP:
    case ZYDIS_MNEMONIC_LOOPE:
    case ZYDIS_MNEMONIC_LOOPNE:
    case ZYDIS_MNEMONIC_JECXZ:
        insn->flags |= INSN_SHORT_ONLY;
        break;
    case ZYDIS_MNEMONIC_JCXZ:
    case ZYDIS_MNEMONIC_XBEGIN:
    case ZYDIS_MNEMONIC_XABORT:
    case ZYDIS_MNEMONIC_IRETQ:
    case ZYDIS_MNEMONIC_IRETD:
    case ZYDIS_MNEMONIC_SYSRET:
    case ZYDIS_MNEMONIC_RDGSBASE: /* gs is ours; the thread's slots are found by fs */
    case ZYDIS_MNEMONIC_WRGSBASE:
    case ZYDIS_MNEMONIC_WRFSBASE:
        insn->flags |= INSN_UNSUPPORTED;
        break;
    case ZYDIS_MNEMONIC_XLAT:
    case ZYDIS_MNEMONIC_MASKMOVDQU:
    case ZYDIS_MNEMONIC_MASKMOVQ:
    case ZYDIS_MNEMONIC_VMASKMOVDQU:
    case ZYDIS_MNEMONIC_VMASKMOVPS:
    case ZYDIS_MNEMONIC_VMASKMOVPD:
    case ZYDIS_MNEMONIC_VPMASKMOVD:
    case ZYDIS_MNEMONIC_VPMASKMOVQ:
        insn->flags |= INSN_EXOTIC;
        break;
    case ZYDIS_MNEMONIC_FNSTENV:
    case ZYDIS_MNEMONIC_FNSAVE:
    case ZYDIS_MNEMONIC_FXSAVE:
    case ZYDIS_MNEMONIC_FXSAVE64:
    case ZYDIS_MNEMONIC_XSAVE:
    case ZYDIS_MNEMONIC_XSAVE64:
    case ZYDIS_MNEMONIC_XSAVEC:
    case ZYDIS_MNEMONIC_XSAVEC64:
    case ZYDIS_MNEMONIC_XSAVEOPT:
    case ZYDIS_MNEMONIC_XSAVEOPT64:
        insn->flags |= INSN_SAVES_X87;
        break;
    case ZYDIS_MNEMONIC_UD0:
    case ZYDIS_MNEMONIC_UD1:
    case ZYDIS_MNEMONIC_UD2:
    case ZYDIS_MNEMONIC_HLT:
        insn->kind = INSN_TRAP;
        break;
    default:
        break;
    }
}

static void take_memory(struct stem_insn *insn, const ZydisDecodedInstruction *in,
                        const ZydisDecodedOperand *op)
{
    bool partial;
    struct stem_mem *mem = &insn->mem;
    if (op->mem.type == ZYDIS_MEMOP_TYPE_AGEN || op->mem.type == ZYDIS_MEMOP_TYPE_MIB ||
        touches_no_memory(in->mnemonic))
        return;
    if (op->mem.segment == ZYDIS_REGISTER_GS) {
        insn->flags |= INSN_UNSUPPORTED; /* gs is ours */
        return;
    }
    if (op->mem.type == ZYDIS_MEMOP_TYPE_VSIB || in->address_width != 64)
        insn->flags |= INSN_EXOTIC;
    if (insn->flags & INSN_HAS_MEM) /* movs, cmps: the string form handles both */
        return;
    insn->flags |= INSN_HAS_MEM;
    mem->base = (uint8_t)register_number(op->mem.base, &partial);
    mem->index = (uint8_t)register_number(op->mem.index, &partial);
    mem->scale = op->mem.scale ? op->mem.scale : 1;
    mem->is_read = (op->actions & ZYDIS_OPERAND_ACTION_MASK_READ) != 0;
    mem->is_write = (op->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0;
    mem->bytes = op->size / 8;
    mem->disp = (int32_t)op->mem.disp.value;
    if (op->mem.segment == ZYDIS_REGISTER_FS)
        mem->segment = SEGMENT_FS;
    if (op->mem.base == ZYDIS_REGISTER_RIP) {
        mem->rip_relative = 1;
        mem->disp = (int32_t)(insn->offset + insn->length + (uint32_t)op->mem.disp.value);
    }
    /* A masked vector access touches only its active lanes. */
    if (in->avx.mask.mode != ZYDIS_MASK_MODE_INVALID && in->avx.mask.mode != ZYDIS_MASK_MODE_DISABLED)
        insn->flags |= INSN_EXOTIC;
}

/* [eip + disp] becomes [disp32] with an address-size prefix, in an encoding one byte longer, in which the X bit counts. */
static void take_eip(struct stem_insn *insn, const ZydisDecodedInstruction *in, const ZydisDecodedOperand *op)
{
    bool x = (in->encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY && in->raw.rex.X) ||
             (in->encoding == ZYDIS_INSTRUCTION_ENCODING_VEX && in->raw.vex.size == 3 && !in->raw.vex.X) ||
             (in->encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX && !in->raw.evex.X);
    bool longer = in->length < ZYDIS_MAX_INSTRUCTION_LENGTH && in->raw.disp.size == 32 && !x &&
                  in->encoding != ZYDIS_INSTRUCTION_ENCODING_XOP;
    insn->flags |= longer ? INSN_EIP_RELATIVE : INSN_UNSUPPORTED;
    insn->mem.disp = (int32_t)(insn->offset + insn->length + (uint32_t)op->mem.disp.value);
}

static void take_register(struct stem_insn *insn, const ZydisDecodedInstruction *in,
                          const ZydisDecodedOperand *op)
{
    bool partial;
    int reg = register_number(op->reg.value, &partial);
    if ((op->reg.value == ZYDIS_REGISTER_FS || op->reg.value == ZYDIS_REGISTER_GS) &&
        op->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE)
        insn->flags |= INSN_UNSUPPORTED;
    if (reg == NO_REGISTER)
        return;
    uint32_t bit = 1u << reg;
    if (op->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE)
        insn->writes |= bit;
    if (op->actions & ZYDIS_OPERAND_ACTION_MASK_READ)
        insn->uses |= bit;
    /* bsf and bsr leave the destination alone when the source is zero, whatever the manual calls it. */
    bool certain = op->actions & ZYDIS_OPERAND_ACTION_WRITE &&
                   !(op->actions & ZYDIS_OPERAND_ACTION_CONDWRITE) && in->mnemonic != ZYDIS_MNEMONIC_BSF &&
                   in->mnemonic != ZYDIS_MNEMONIC_BSR;
    if (certain && !partial)
        insn->kills |= bit;
    if (op->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE && !certain)
        insn->uses |= bit;
}

static enum stem_rax_write rax_write(const ZydisDecodedInstruction *in, const ZydisDecodedOperand *ops)
{
    if (in->operand_count_visible == 0)
        return in->mnemonic == ZYDIS_MNEMONIC_CDQE ? RAX_EXTENDED : RAX_UNTOUCHED;
    if (ops[0].type != ZYDIS_OPERAND_TYPE_REGISTER || !(ops[0].actions & ZYDIS_OPERAND_ACTION_MASK_WRITE))
        return RAX_UNTOUCHED;
    bool partial;
    if (register_number(ops[0].reg.value, &partial) != RAX)
        return RAX_UNTOUCHED;
    if (partial || in->mnemonic == ZYDIS_MNEMONIC_MOVZX)
        return RAX_SMALL;
    bool constant = in->operand_count_visible == 2 && ops[1].type == ZYDIS_OPERAND_TYPE_IMMEDIATE;
    if (constant && (in->mnemonic == ZYDIS_MNEMONIC_MOV || in->mnemonic == ZYDIS_MNEMONIC_OR)) {
        int64_t value = ops[0].size == 32 ? (int32_t)ops[1].imm.value.s : ops[1].imm.value.s;
        if (value < 0 && value > -4096)
            return RAX_NEGATIVE;
        return value ? (ops[0].size == 32 ? RAX_WORD : RAX_WIDE) : RAX_ZERO;
    }
    if (in->mnemonic == ZYDIS_MNEMONIC_XOR && ops[1].type == ZYDIS_OPERAND_TYPE_REGISTER &&
        ops[1].reg.value == ops[0].reg.value)
        return RAX_ZERO;
    if (in->mnemonic == ZYDIS_MNEMONIC_MOVSXD)
        return RAX_EXTENDED;
    return ops[0].size == 32 ? RAX_WORD : RAX_WIDE;
}

/* Copies of a whole register and additions of constants: what is known about one is known about the other. */
static void take_move(struct stem_insn *insn, const ZydisDecodedInstruction *in,
                      const ZydisDecodedOperand *ops)
{
    bool partial;
    insn->move_to = insn->move_from = NO_REGISTER;
    if (!in->operand_count_visible || ops[0].type != ZYDIS_OPERAND_TYPE_REGISTER || ops[0].size != 64)
        return;
    int to = register_number(ops[0].reg.value, &partial), from = to;
    int64_t by = 0;
    bool constant = in->operand_count_visible >= 2 && ops[1].type == ZYDIS_OPERAND_TYPE_IMMEDIATE;
    switch (in->mnemonic) {
    case ZYDIS_MNEMONIC_MOV:
        if (ops[1].type != ZYDIS_OPERAND_TYPE_REGISTER)
            return;
        from = register_number(ops[1].reg.value, &partial);
        break;
    case ZYDIS_MNEMONIC_LEA:
        if (in->address_width != 64 || ops[1].mem.index != ZYDIS_REGISTER_NONE ||
            ops[1].mem.base == ZYDIS_REGISTER_RIP)
            return;
        from = register_number(ops[1].mem.base, &partial);
        by = ops[1].mem.disp.value;
        break;
    case ZYDIS_MNEMONIC_ADD:
    case ZYDIS_MNEMONIC_SUB:
        if (!constant)
            return;
        by = in->mnemonic == ZYDIS_MNEMONIC_ADD ? ops[1].imm.value.s : -ops[1].imm.value.s;
        break;
    case ZYDIS_MNEMONIC_INC:
        by = 1;
        break;
    case ZYDIS_MNEMONIC_DEC:
        by = -1;
        break;
    default:
        return;
    }
    if (to == NO_REGISTER || from == NO_REGISTER || to == RSP || from == RSP || by != (int32_t)by)
        return;
    insn->move_to = (uint8_t)to;
    insn->move_from = (uint8_t)from;
    insn->move_by = (int32_t)by;
}

bool stem_decode(struct stem_insn *insn, const uint8_t *code, size_t room, uint32_t offset)
{
    ZydisDecodedInstruction in;
    ZydisDecodedOperand ops[ZYDIS_MAX_OPERAND_COUNT];
    if (!decoder_ready) {
        ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
        decoder_ready = true;
    }
    *insn = (struct stem_insn){.offset = offset};
    insn->mem.base = insn->mem.index = NO_REGISTER;
    if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, code, room, &in, ops)))
        return false;
    insn->length = in.length;
    insn->rax = (uint8_t)rax_write(&in, ops);
    take_move(insn, &in, ops);
    if (in.mnemonic == ZYDIS_MNEMONIC_DIV || in.mnemonic == ZYDIS_MNEMONIC_IDIV)
        insn->flags |= INSN_DIVIDES;
    if (in.mnemonic == ZYDIS_MNEMONIC_SYSCALL || in.mnemonic == ZYDIS_MNEMONIC_INT)
        insn->flags |= INSN_SYSTEM_CALL;
    insn->disp_at = in.raw.disp.offset;
    insn->disp_bytes = in.raw.disp.size / 8;
    set_kind(insn, &in, ops);
    if (is_string_op(in.mnemonic, &insn->string_bytes) ||
        ((in.mnemonic == ZYDIS_MNEMONIC_MOVSD || in.mnemonic == ZYDIS_MNEMONIC_CMPSD) &&
         in.meta.category == ZYDIS_CATEGORY_STRINGOP)) {
        if (!insn->string_bytes)
            insn->string_bytes = 4;
        insn->string_op = in.opcode;
        insn->string_rep =
            (in.attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE)) != 0;
        insn->flags |= INSN_STRING;
        if (in.address_width != 64)
            insn->flags |= INSN_UNSUPPORTED;
    }
    for (unsigned i = 0; i < in.operand_count; i++) {
        const ZydisDecodedOperand *op = &ops[i];
        if (op->type == ZYDIS_OPERAND_TYPE_REGISTER) {
            take_register(insn, &in, op);
        } else if (op->type == ZYDIS_OPERAND_TYPE_MEMORY) {
            bool partial;
            int base = register_number(op->mem.base, &partial),
                index = register_number(op->mem.index, &partial);
            if (base != NO_REGISTER)
                insn->uses |= 1u << base;
            if (index != NO_REGISTER)
                insn->uses |= 1u << index;
            /* Hidden operands are the stack of push, pop, call, ret, enter, leave: the own frame. */
            if (op->visibility != ZYDIS_OPERAND_VISIBILITY_HIDDEN || insn->flags & INSN_STRING)
                take_memory(insn, &in, op);
            if (op->mem.type == ZYDIS_MEMOP_TYPE_AGEN && op->mem.base == ZYDIS_REGISTER_RIP)
                insn->flags |= INSN_LEA_RIP,
                    insn->mem.disp = (int32_t)(offset + in.length + (uint32_t)op->mem.disp.value);
            if (op->mem.base == ZYDIS_REGISTER_EIP)
                take_eip(insn, &in, op);
            /* Remembered for the frame-escape test, although lea accesses nothing. */
            if (op->mem.type == ZYDIS_MEMOP_TYPE_AGEN && op->mem.base != ZYDIS_REGISTER_RIP)
                insn->mem.base = (uint8_t)base;
        }
    }
    /* Where it goes is read by code that knows 64-bit addresses. */
    if ((insn->kind == INSN_CALL_INDIRECT || insn->kind == INSN_JUMP_INDIRECT) &&
        insn->flags & INSN_HAS_MEM && in.address_width != 64)
        insn->flags |= INSN_UNSUPPORTED;
    if (in.cpu_flags) {
        insn->uses |= flag_mask(in.cpu_flags->tested);
        if (!flags_may_survive(&in, ops))
            insn->kills |= flag_mask(in.cpu_flags->modified | in.cpu_flags->set_0 | in.cpu_flags->set_1 |
                                     in.cpu_flags->undefined);
    }
    bool same = in.operand_count_visible >= 2 && ops[0].type == ZYDIS_OPERAND_TYPE_REGISTER &&
                ops[1].type == ZYDIS_OPERAND_TYPE_REGISTER && ops[0].reg.value == ops[1].reg.value &&
                ops[0].size >= 32;
    if (same && (in.mnemonic == ZYDIS_MNEMONIC_XOR || in.mnemonic == ZYDIS_MNEMONIC_SUB))
        insn->uses &= ~(insn->kills & ALL_REGISTERS);
    /* The address of the frame goes somewhere: lea r, [rsp + n], mov r, rsp. `mov rbp, rsp` only sets up the frame. */
    if (in.mnemonic == ZYDIS_MNEMONIC_LEA && (insn->mem.base == RSP || insn->mem.base == RBP) &&
        ops[0].reg.value != ZYDIS_REGISTER_RSP)
        insn->flags |= INSN_FRAME_ESCAPES; /* rbp: unit.c drops it where rbp is no frame pointer */
    if (in.mnemonic == ZYDIS_MNEMONIC_MOV && in.operand_count_visible == 2 &&
        ops[1].type == ZYDIS_OPERAND_TYPE_REGISTER && ops[1].reg.value == ZYDIS_REGISTER_RSP) {
        insn->flags |= INSN_FRAME_ESCAPES;
        if (ops[0].type == ZYDIS_OPERAND_TYPE_REGISTER && ops[0].reg.value == ZYDIS_REGISTER_RBP)
            insn->flags = (insn->flags & ~(uint32_t)INSN_FRAME_ESCAPES) | INSN_SETS_FRAME;
    }
    /* A bit offset in a register reaches beyond the operand. */
    if (insn->flags & INSN_HAS_MEM && ops[1].type == ZYDIS_OPERAND_TYPE_REGISTER &&
        (in.mnemonic == ZYDIS_MNEMONIC_BT || in.mnemonic == ZYDIS_MNEMONIC_BTS ||
         in.mnemonic == ZYDIS_MNEMONIC_BTR || in.mnemonic == ZYDIS_MNEMONIC_BTC))
        insn->flags |= INSN_EXOTIC;
    if (insn->flags & INSN_HAS_MEM && !(insn->flags & INSN_STRING) &&
        (!insn->mem.bytes || insn->mem.bytes > 64))
        insn->flags |= INSN_EXOTIC;
    return true;
}
