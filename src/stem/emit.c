/* Encoders: see emit.h. */
#include "stem/emit.h"

void stem_emit_byte(stem_cursor *p, unsigned byte)
{
    *(*p)++ = (uint8_t)byte;
}

void stem_emit_bytes(stem_cursor *p, const void *bytes, size_t n)
{
    memcpy(*p, bytes, n);
    *p += n;
}

void stem_emit_u32(stem_cursor *p, uint32_t v)
{
    stem_emit_bytes(p, &v, 4);
}

bool stem_emit_rel32(uint8_t *field, const uint8_t *to, unsigned tail)
{
    int64_t distance = to - (field + 4 + tail);
    int32_t rel = (int32_t)distance;
    memcpy(field, &rel, 4);
    return rel == distance;
}

static void emit_opcode(stem_cursor *p, unsigned prefix, unsigned rex, unsigned opcode)
{
    if (prefix & 0xff00)
        stem_emit_byte(p, prefix >> 8);
    if (prefix & 0xff)
        stem_emit_byte(p, prefix & 0xff);
    if (rex)
        stem_emit_byte(p, 0x40 | rex);
    if (opcode > 0xff)
        stem_emit_byte(p, opcode >> 8);
    stem_emit_byte(p, opcode & 0xff);
}

void stem_emit_modrm_mem(stem_cursor *p, unsigned prefix, bool rex_w, unsigned opcode, unsigned reg,
                         const struct stem_mem *mem, int32_t extra, const struct stem_object *object,
                         unsigned tail)
{
    bool has_base = mem->base != NO_REGISTER, has_index = mem->index != NO_REGISTER;
    unsigned rex = (rex_w ? 8u : 0) | (reg & 8 ? 4u : 0) | (has_index && mem->index & 8 ? 2u : 0) |
                   (has_base && mem->base & 8 ? 1u : 0);
    int32_t disp = mem->disp + extra;
    emit_opcode(p, prefix, rex, opcode);
    reg &= 7;
    if (mem->rip_relative) {
        stem_emit_byte(p, reg << 3 | 5);
        *p += 4;
        stem_emit_rel32(
            *p - 4,
            (const uint8_t *)(object->base + (uintptr_t)(uint32_t)mem->disp + (uintptr_t)(intptr_t)extra),
            tail);
        return;
    }
    if (!has_base) { /* [index * scale + disp32] or [disp32] */
        unsigned shift = mem->scale == 8 ? 3 : mem->scale == 4 ? 2 : mem->scale == 2 ? 1 : 0;
        stem_emit_byte(p, reg << 3 | 4);
        stem_emit_byte(p, shift << 6 | (has_index ? (mem->index & 7u) : 4u) << 3 | 5);
        stem_emit_u32(p, (uint32_t)disp);
        return;
    }
    unsigned mode = disp == 0 && (mem->base & 7) != 5 ? 0 : disp >= -128 && disp < 128 ? 1 : 2;
    if (has_index || (mem->base & 7) == 4) {
        unsigned shift = mem->scale == 8 ? 3 : mem->scale == 4 ? 2 : mem->scale == 2 ? 1 : 0;
        stem_emit_byte(p, mode << 6 | reg << 3 | 4);
        stem_emit_byte(p, shift << 6 | (has_index ? (mem->index & 7u) : 4u) << 3 | (mem->base & 7u));
    } else {
        stem_emit_byte(p, mode << 6 | reg << 3 | (mem->base & 7u));
    }
    if (mode == 1)
        stem_emit_byte(p, (uint8_t)disp);
    else if (mode == 2)
        stem_emit_u32(p, (uint32_t)disp);
}

void stem_emit_modrm_reg(stem_cursor *p, bool rex_w, unsigned opcode, unsigned reg, unsigned rm)
{
    emit_opcode(p, 0, (rex_w ? 8u : 0) | (reg & 8 ? 4u : 0) | (rm & 8 ? 1u : 0), opcode);
    stem_emit_byte(p, 0xc0 | (reg & 7) << 3 | (rm & 7));
}

static void emit_tls(stem_cursor *p, unsigned opcode, unsigned reg, int32_t offset)
{
    emit_opcode(p, 0x64, 8 | (reg & 8 ? 4u : 0), opcode);
    stem_emit_byte(p, (reg & 7) << 3 | 4);
    stem_emit_byte(p, 0x25);
    stem_emit_u32(p, (uint32_t)offset);
}

void stem_emit_load_tls(stem_cursor *p, unsigned reg, int32_t offset)
{
    emit_tls(p, 0x8b, reg, offset);
}

void stem_emit_store_tls(stem_cursor *p, int32_t offset, unsigned reg)
{
    emit_tls(p, 0x89, reg, offset);
}

void stem_emit_jump(stem_cursor *p, const uint8_t *to)
{
    stem_emit_byte(p, 0xe9);
    *p += 4;
    stem_emit_rel32(*p - 4, to, 0);
}

void stem_emit_call(stem_cursor *p, const uint8_t *to)
{
    stem_emit_byte(p, 0xe8);
    *p += 4;
    stem_emit_rel32(*p - 4, to, 0);
}

void stem_emit_jcc(stem_cursor *p, unsigned condition, const uint8_t *to)
{
    stem_emit_byte(p, 0x0f);
    stem_emit_byte(p, 0x80 | condition);
    *p += 4;
    stem_emit_rel32(*p - 4, to, 0);
}

static void emit_through(stem_cursor *p, unsigned digit, const void *pointer)
{
    stem_emit_byte(p, 0xff);
    stem_emit_byte(p, digit << 3 | 5);
    *p += 4;
    stem_emit_rel32(*p - 4, pointer, 0);
}

void stem_emit_jump_through(stem_cursor *p, const void *pointer)
{
    emit_through(p, 4, pointer);
}

void stem_emit_call_through(stem_cursor *p, const void *pointer)
{
    emit_through(p, 2, pointer);
}

void stem_emit_push_from(stem_cursor *p, const void *pointer)
{
    emit_through(p, 6, pointer);
}

bool stem_emit_copy(stem_cursor *p, const struct stem_insn *insn, const uint8_t *bytes,
                    const struct stem_object *object)
{
    uint8_t *at = *p;
    if (insn->flags & INSN_EIP_RELATIVE) { /* with a SIB byte: neither base nor index */
        stem_emit_bytes(p, bytes, insn->disp_at - 1u);
        stem_emit_byte(p, (bytes[insn->disp_at - 1] & 0xf8) | 4);
        stem_emit_byte(p, 0x25);
        stem_emit_u32(p, (uint32_t)(object->base + (uint32_t)insn->mem.disp));
        stem_emit_bytes(p, bytes + insn->disp_at + 4, insn->length - insn->disp_at - 4u);
        return true;
    }
    stem_emit_bytes(p, bytes, insn->length);
    if (!insn->mem.rip_relative && !(insn->flags & INSN_LEA_RIP))
        return true;
    if (insn->disp_bytes != 4)
        return false;
    return stem_emit_rel32(at + insn->disp_at,
                           (const uint8_t *)(object->base + (uintptr_t)(uint32_t)insn->mem.disp),
                           insn->length - insn->disp_at - 4u);
}
