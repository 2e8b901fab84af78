/* Redzones in memory pools: what pools.c offers to the rest of the folder. */
#ifndef STEM_POOLS_H
#define STEM_POOLS_H

#include "stem/engine.h"

/* Hooks the object's pool functions. A family is hooked whole or not at all. Its entries are patched and its code is
   still writable; translator lock held. */
void stem_pools_hook(struct stem_object *object);

/* The pool block whose tail a bad address lies in. Returns whether there is one. Signal-safe. */
bool stem_pool_describe(struct stem_heap_block *block, uintptr_t bad);
/* A bad address in a tail that no longer is one, because the memory serves something else by now: makes it addressable.
   Returns whether it was such. Signal-safe. */
bool stem_pool_forget(uintptr_t bad);
/* Undo of an allocation: its tail, by the compensation's argument, is addressable again. */
void stem_pool_undo(uintptr_t tail);
void stem_pools_after_fork(void);
/* From hook_entry.S: `pool` has cut a block of `bytes` and STEM_POOL_TAIL, rounded up. Returns its start. */
uintptr_t stem_pool_taken(uintptr_t start, uintptr_t pool, size_t bytes);

#endif
