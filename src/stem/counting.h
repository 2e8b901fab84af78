/* Counting mode: translated code counts what it executes (wire/counting.h), for `testudo profile record`.

   segments.c emits the counting code, counting.c keeps the file: areas of threads, calls through pointers, samples. */
#ifndef STEM_COUNTING_H
#define STEM_COUNTING_H

#include "stem/translate.h"

/* Bytes to reserve above the gs base, 0 when nothing is to be counted. */
size_t stem_counting_bytes(void);
/* Maps the areas at `base`, which the gs base is. Returns false when that cannot be done. Context: start, before threads. */
bool stem_counting_start(uint8_t *base);
/* Whether this process counts. */
bool stem_counting(void);
/* Gives the calling thread an area of its own, and a timer when CPU time is sampled. Context: new thread, forked child. */
void stem_counting_thread_start(void);

/* Numbers for the segments of a function: as many as another process has claimed for it, or new ones. Returns the first, or 0
   when there is no room. Context: translator lock held. */
uint32_t stem_counting_claim(uint32_t function, uint32_t count);
void stem_counting_describe(uint32_t segment, const struct wire_segment *is);
/* A callee by its dynamic symbol, WIRE_CALLEE_NONE when it is bound to nothing. Context: as claim. */
uint64_t stem_counting_callee_named(const char *symbol);

/* segments.c, called by the emitter at its places; all do nothing unless `e->counts`. */
/* Before anything is emitted. Returns false when there is no room for the unit's segments. */
bool stem_segments_begin(struct stem_emitter *e);
void stem_segments_entry(struct stem_emitter *e);
/* Before an instruction of a block, behind its map entry. */
void stem_segments_before(struct stem_emitter *e, const struct stem_block *block, uint32_t insn);
/* A branch that leaves the unit: counted only when it is taken. Returns whether it was emitted. */
bool stem_segments_branch(struct stem_emitter *e, const struct stem_insn *insn, unsigned condition);
/* Before a call or jump through a pointer. */
void stem_segments_pointer(struct stem_emitter *e, const struct stem_insn *insn, const uint8_t *bytes);
/* Before a return. */
void stem_segments_return(struct stem_emitter *e);
/* Before a call that goes on natively behind it. */
void stem_segments_left(struct stem_emitter *e);
/* Whether a library function that keeps its return address may keep the cache's: nothing is undone, and translations stay. */
bool stem_segments_may_keep(const char *symbol);

#endif
