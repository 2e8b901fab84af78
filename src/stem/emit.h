/* Encoders for the few instructions that the translator adds. All write at *p and advance it. */
#ifndef STEM_EMIT_H
#define STEM_EMIT_H

#include "stem/engine.h"

typedef uint8_t *stem_cursor;

void stem_emit_byte(stem_cursor *p, unsigned byte);
void stem_emit_u32(stem_cursor *p, uint32_t v);
void stem_emit_bytes(stem_cursor *p, const void *bytes, size_t n);
/* rel32 at `field` so that it leads to `to`; the field is the last thing of its instruction unless `tail` bytes follow. */
bool stem_emit_rel32(uint8_t *field, const uint8_t *to, unsigned tail);

/* opcode with ModRM and a memory operand. prefix: 0, 0x66, 0x64 (fs), 0x65 (gs); rex_w; opcode up to 0x0fxx; `reg` the
   register field (or /digit). For rip-relative operands, `object` gives the base, tail counts immediate bytes to follow. */
void stem_emit_modrm_mem(stem_cursor *p, unsigned prefix, bool rex_w, unsigned opcode, unsigned reg,
                         const struct stem_mem *mem, int32_t extra, const struct stem_object *object,
                         unsigned tail);
void stem_emit_modrm_reg(stem_cursor *p, bool rex_w, unsigned opcode, unsigned reg, unsigned rm);
/* mov r64, fs:[slot] and back; slots are offsets from the fs base. */
void stem_emit_load_tls(stem_cursor *p, unsigned reg, int32_t offset);
void stem_emit_store_tls(stem_cursor *p, int32_t offset, unsigned reg);
/* Jumps and calls. */
void stem_emit_jump(stem_cursor *p, const uint8_t *to);
void stem_emit_call(stem_cursor *p, const uint8_t *to);
void stem_emit_jcc(stem_cursor *p, unsigned condition, const uint8_t *to);
/* jmp / call [rip + pointer] */
void stem_emit_jump_through(stem_cursor *p, const void *pointer);
void stem_emit_call_through(stem_cursor *p, const void *pointer);
void stem_emit_push_from(stem_cursor *p, const void *pointer);

/* Copies an application instruction to *p; a RIP-relative displacement is adjusted, nothing else changes.
   Returns false when the displacement no longer fits. */
bool stem_emit_copy(stem_cursor *p, const struct stem_insn *insn, const uint8_t *bytes,
                    const struct stem_object *object);

#endif
