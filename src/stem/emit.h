/* Encoders for the few instructions that the translator adds. All write at *p and advance it. */
#ifndef STEM_EMIT_H
#define STEM_EMIT_H

#include "stem/engine.h"

typedef uint8_t *emit_at;

void emit_byte(emit_at *p, unsigned byte);
void emit_u32(emit_at *p, uint32_t v);
void emit_bytes(emit_at *p, const void *bytes, size_t n);
/* rel32 at `field` so that it leads to `to`; the field is the last thing of its instruction unless `tail` bytes follow. */
bool emit_rel32(uint8_t *field, const uint8_t *to, unsigned tail);

/* opcode with ModRM and a memory operand. prefix: 0, 0x66, 0x64 (fs), 0x65 (gs); rex_w; opcode up to 0x0fxx; `reg` the
   register field (or /digit). For rip-relative operands, `object` gives the base, tail counts immediate bytes to follow. */
void emit_modrm_mem(emit_at *p, unsigned prefix, bool rex_w, unsigned opcode, unsigned reg,
                    const struct stem_mem *mem, int32_t extra, const struct stem_object *object,
                    unsigned tail);
void emit_modrm_reg(emit_at *p, bool rex_w, unsigned opcode, unsigned reg, unsigned rm);
/* mov r64, fs:[slot] and back; slots are offsets from the fs base. */
void emit_load_tls(emit_at *p, unsigned reg, int32_t offset);
void emit_store_tls(emit_at *p, int32_t offset, unsigned reg);
/* Jumps and calls. */
void emit_jump(emit_at *p, const uint8_t *to);
void emit_call(emit_at *p, const uint8_t *to);
void emit_jcc(emit_at *p, unsigned condition, const uint8_t *to);
/* jmp / call [rip + pointer] */
void emit_jump_through(emit_at *p, const void *pointer);
void emit_call_through(emit_at *p, const void *pointer);
void emit_push_from(emit_at *p, const void *pointer);

/* Copies an application instruction to *p; a RIP-relative displacement is adjusted, nothing else changes.
   Returns false when the displacement no longer fits. */
bool emit_copy(emit_at *p, const struct stem_insn *insn, const uint8_t *bytes,
               const struct stem_object *object);

#endif
