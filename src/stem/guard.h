/* Guard of a frame: poison over its return address and saved registers, and a comparison when it is left (guard.c). */
#ifndef STEM_GUARD_H
#define STEM_GUARD_H

#include "stem/translate.h"

/* Finds the registers to guard with the return address. After the unit is built and `poisons_frame` is known. */
void stem_guard_plan(struct stem_emitter *e);
/* At the entry, where rsp points to the return address: mark, log, poison. Only when `poisons_frame`. */
void stem_guard_enter(struct stem_emitter *e);
/* In front of every instruction: poison over the registers saved by now, where they have just been. */
void stem_guard_pass(struct stem_emitter *e, uint32_t index);
/* In front of a return or tail jump `insn`, rsp as at the entry: compares, and takes the poison away. */
void stem_guard_leave(struct stem_emitter *e, const struct stem_insn *insn);
void stem_guard_cold(struct stem_emitter *e, const struct stem_cold *cold);

#endif
