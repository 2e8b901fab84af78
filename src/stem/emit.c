/* Encoders: see emit.h. */
#include "stem/emit.h"

void emit_byte(emit_at *p, unsigned byte)
{
    *(*p)++ = (uint8_t)byte;
}

void emit_bytes(emit_at *p, const void *bytes, size_t n)
{
    memcpy(*p, bytes, n);
    *p += n;
}

void emit_u32(emit_at *p, uint32_t v)
{
    emit_bytes(p, &v, 4);
}

bool emit_rel32(uint8_t *field, const uint8_t *to, unsigned tail)
{
    int64_t distance = to - (field + 4 + tail);
    int32_t rel = (int32_t)distance;
    memcpy(field, &rel, 4);
    return rel == distance;
}

static void emit_opcode(emit_at *p, unsigned prefix, unsigned rex, unsigned opcode)
{
    if (prefix & 0xff00)
        emit_byte(p, prefix >> 8);
    if (prefix & 0xff)
        emit_byte(p, prefix & 0xff);
    if (rex)
        emit_byte(p, 0x40 | rex);
    if (opcode > 0xff)
        emit_byte(p, opcode >> 8);
    emit_byte(p, opcode & 0xff);
}

void emit_modrm_mem(emit_at *p, unsigned prefix, bool rex_w, unsigned opcode, unsigned reg,
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
        emit_byte(p, reg << 3 | 5);
        *p += 4;
        emit_rel32(
            *p - 4,
            (const uint8_t *)(object->base + (uintptr_t)(uint32_t)mem->disp + (uintptr_t)(intptr_t)extra),
            tail);
        return;
    }
    if (!has_base) { /* [index * scale + disp32] or [disp32] */
        unsigned shift = mem->scale == 8 ? 3 : mem->scale == 4 ? 2 : mem->scale == 2 ? 1 : 0;
        emit_byte(p, reg << 3 | 4);
        emit_byte(p, shift << 6 | (has_index ? (mem->index & 7u) : 4u) << 3 | 5);
        emit_u32(p, (uint32_t)disp);
        return;
    }
    unsigned mode = disp == 0 && (mem->base & 7) != 5 ? 0 : disp >= -128 && disp < 128 ? 1 : 2;
    if (has_index || (mem->base & 7) == 4) {
        unsigned shift = mem->scale == 8 ? 3 : mem->scale == 4 ? 2 : mem->scale == 2 ? 1 : 0;
        emit_byte(p, mode << 6 | reg << 3 | 4);
        emit_byte(p, shift << 6 | (has_index ? (mem->index & 7u) : 4u) << 3 | (mem->base & 7u));
    } else {
        emit_byte(p, mode << 6 | reg << 3 | (mem->base & 7u));
    }
    if (mode == 1)
        emit_byte(p, (uint8_t)disp);
    else if (mode == 2)
        emit_u32(p, (uint32_t)disp);
}

void emit_modrm_reg(emit_at *p, bool rex_w, unsigned opcode, unsigned reg, unsigned rm)
{
    emit_opcode(p, 0, (rex_w ? 8u : 0) | (reg & 8 ? 4u : 0) | (rm & 8 ? 1u : 0), opcode);
    emit_byte(p, 0xc0 | (reg & 7) << 3 | (rm & 7));
}

static void emit_tls(emit_at *p, unsigned opcode, unsigned reg, int32_t offset)
{
    emit_opcode(p, 0x64, 8 | (reg & 8 ? 4u : 0), opcode);
    emit_byte(p, (reg & 7) << 3 | 4);
    emit_byte(p, 0x25);
    emit_u32(p, (uint32_t)offset);
}

void emit_load_tls(emit_at *p, unsigned reg, int32_t offset)
{
    emit_tls(p, 0x8b, reg, offset);
}

void emit_store_tls(emit_at *p, int32_t offset, unsigned reg)
{
    emit_tls(p, 0x89, reg, offset);
}

void emit_jump(emit_at *p, const uint8_t *to)
{
    emit_byte(p, 0xe9);
    *p += 4;
    emit_rel32(*p - 4, to, 0);
}

void emit_call(emit_at *p, const uint8_t *to)
{
    emit_byte(p, 0xe8);
    *p += 4;
    emit_rel32(*p - 4, to, 0);
}

void emit_jcc(emit_at *p, unsigned condition, const uint8_t *to)
{
    emit_byte(p, 0x0f);
    emit_byte(p, 0x80 | condition);
    *p += 4;
    emit_rel32(*p - 4, to, 0);
}

static void emit_through(emit_at *p, unsigned digit, const void *pointer)
{
    emit_byte(p, 0xff);
    emit_byte(p, digit << 3 | 5);
    *p += 4;
    emit_rel32(*p - 4, pointer, 0);
}

void emit_jump_through(emit_at *p, const void *pointer)
{
    emit_through(p, 4, pointer);
}

void emit_call_through(emit_at *p, const void *pointer)
{
    emit_through(p, 2, pointer);
}

void emit_push_from(emit_at *p, const void *pointer)
{
    emit_through(p, 6, pointer);
}

bool emit_copy(emit_at *p, const struct stem_insn *insn, const uint8_t *bytes,
               const struct stem_object *object)
{
    uint8_t *at = *p;
    emit_bytes(p, bytes, insn->length);
    if (!insn->mem.rip_relative && !(insn->flags & INSN_LEA_RIP))
        return true;
    if (insn->disp_bytes != 4)
        return false;
    return emit_rel32(at + insn->disp_at,
                      (const uint8_t *)(object->base + (uintptr_t)(uint32_t)insn->mem.disp),
                      insn->length - insn->disp_at - 4u);
}
