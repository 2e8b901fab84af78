/* Poison behind the local variables of live activations (gaps.c). */
#ifndef STEM_GAPS_H
#define STEM_GAPS_H

#include "stem/translate.h"

/* Finds the gaps of the unit's frame. After `poisons_frame` is known. */
void stem_gaps_plan(struct stem_emitter *e);
/* Lays the poison or takes it away: at the entry and in front of what leaves, where register r holds the granule of the return
   address. Keeps r and flags. */
void stem_gaps_emit(struct stem_emitter *e, unsigned r, bool poison);

/* Whether the shadow of a bad address may be that of a gap. Signal-safe. */
bool stem_gap_may_be(uintptr_t bad);
/* The variable behind which a bad address lies, when it is in a gap of a live activation, `from` and outward; exact as in
   stem_frame_step. Signal-safe. */
struct stem_gap_found {
    uintptr_t start;
    size_t bytes;
    uint32_t local; /* on the control page + 1 */
};
bool stem_gap_at(struct stem_gap_found *found, uintptr_t bad, const struct stem_frame *from, bool exact);

#endif
