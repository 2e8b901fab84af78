/* The heap's own floor plan, shared by heap*.c.

   One reserved range of address space, the region, holds every block, so that "is it ours" is one comparison.
   It is dealt out in units of 16 KiB. A span is a run of units: free, a slab of equal slots, or one large
   block. All bookkeeping lies elsewhere, out of reach of the application's overflows.

   A slot is at least 16 bytes longer than its block; that tail is the redzone behind the block and, since
   slots touch, the one before the next. Slabs belong to the cache of one thread, which alone takes from them;
   other threads give blocks back through a lock-free list. */
#ifndef STEM_HEAP_PRIVATE_H
#define STEM_HEAP_PRIVATE_H

#include "stem/stem.h"

enum {
    HEAP_UNIT_SHIFT = 14,
    HEAP_UNIT = 1 << HEAP_UNIT_SHIFT,
    HEAP_REDZONE = 16,
    HEAP_LARGE_LEAD = 64,      /* redzone before a large block */
    HEAP_SLOT_MAX = 32768,     /* longer ones are spans of their own */
    HEAP_CLASSES = 15 + 7 * 8, /* 32..256 by 16, then eight steps per doubling */
    HEAP_BINS = 64,
    HEAP_NONE = 0xffff,
};

/* The note of a slot: two bits of state, fourteen of slack (slot size - requested size). */
enum {
    HEAP_NEVER = 0 << 14,
    HEAP_LIVE = 1 << 14,
    HEAP_HELD = 2 << 14,
    HEAP_FREED = 3 << 14,
    HEAP_STATE = 3 << 14
};

enum heap_kind { HEAP_SPAN_FREE, HEAP_SPAN_SLAB, HEAP_SPAN_LARGE };
enum heap_place { HEAP_PLACE_FULL, HEAP_PLACE_ACTIVE, HEAP_PLACE_PARTIAL };

/* Both at one place: who takes a slot from the free list, or puts it there, wants both. */
struct heap_slot {
    uint16_t note, next;
};

/* What every taking and giving looks at fills the first line of the processor's cache, and only the owner writes to it. */
struct heap_span {
    _Alignas(64) uintptr_t start; /* of slot 0, or of the large block */
    uint64_t magic;               /* ceil(2^40 / slot): exact quotient for every offset within a slab */
    struct heap_slot *slots;
    struct heap_cache *owner;
    uint32_t slot;
    uint32_t first, units;
    uint16_t count, bump, free,
        used;       /* slots; never used from `bump` on; head of the free list; handed out */
    uint16_t state; /* large block: HEAP_LIVE, HEAP_HELD */
    uint8_t kind, class, place;
    bool zero; /* memory was zero when the span was made */

    _Alignas(64) uint32_t *stacks; /* two per slot (allocation, free), or NULL */
    size_t bytes;                  /* large block: as requested */
    struct heap_span *list_next,
        *list_previous; /* free bin, partial slabs of a class, or held large blocks */
    struct heap_span *mail_next;
    uint32_t remote; /* atomic: head of the list that other threads push to */
    uint32_t large_stacks[2];
    uint32_t dirty; /* free span: its first units, behind which it holds no memory */
};
_Static_assert(sizeof(struct heap_span) == 128, "two lines");

struct heap_cache {
    uint32_t busy; /* set while its thread is inside: a signal handler that comes in then goes another way */
    int32_t tid;   /* 0: its thread is known to be gone */
    struct heap_span *active[HEAP_CLASSES];
    struct heap_span *partial[HEAP_CLASSES];
    struct heap_span *mail; /* atomic: slabs that other threads gave blocks back to */
    struct heap_cache *next;
    uintptr_t *ring; /* quarantine, oldest at ring_tail */
    uint32_t ring_head, ring_tail;
    size_t ring_bytes;
};

struct heap_lock {
    uint32_t word;    /* 0 free, 1 held, 2 held and waited for */
    uint32_t owner;   /* generation (pages.c) of the process whose thread holds it, or 0 */
    uint64_t signals; /* mask to restore */
};

struct heap {
    uintptr_t base;  /* of the region; 0 before the start */
    uintptr_t reach; /* bytes of it that have been dealt out at least once */
    size_t reserved; /* its bytes */
    bool armed;
    bool stacks;
    uint32_t hold_blocks;    /* quarantine of one thread: entries, a power of two, ... */
    size_t hold_bytes;       /* ... and what they may hold */
    uint32_t *unit;          /* span number of each unit */
    struct heap_span *spans; /* by number; 0 is none */
    uint32_t span_count;
    struct heap_lock central; /* everything below, and the span records of free and large spans */
    struct heap_span *spare_spans;
    struct heap_span *bins[HEAP_BINS + 1];
    uint64_t bins_used; /* bit i: bins[i] is not empty */
    size_t used_units, dirty_units;
    struct heap_cache *caches;
    struct heap_span *held_first, *held_last; /* quarantine of large blocks, oldest first */
    size_t held_bytes;
};
extern struct heap stem_heap __attribute__((visibility("hidden")));

static inline bool heap_is_ours(uintptr_t p)
{
    return p - stem_heap.base < stem_heap.reach;
}

/* The span in use that an address of the region lies in, or NULL. Unit entries inside free spans are stale,
   so the span is asked whether it agrees. Signal-safe. */
static inline struct heap_span *heap_span_of(uintptr_t p)
{
    uint32_t unit = (uint32_t)((p - stem_heap.base) >> HEAP_UNIT_SHIFT);
    struct heap_span *span = &stem_heap.spans[stem_heap.unit[unit]];
    return span->kind != HEAP_SPAN_FREE && unit - span->first < span->units ? span : NULL;
}

static inline uint32_t heap_slot_index(const struct heap_span *span, uintptr_t p)
{
    return (uint32_t)(((p - span->start) * span->magic) >> 40);
}

static inline size_t heap_slot_bytes(const struct heap_span *span, uint32_t index)
{
    return span->slot - (span->slots[index].note & ~HEAP_STATE);
}

/* Whether redzones are on, asked after a note was written: not before it, neither by the compiler nor the processor
   (stem_heap_arm sees to the latter). */
static inline bool heap_armed_now(void)
{
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    return __atomic_load_n(&stem_heap.armed, __ATOMIC_RELAXED);
}

/* ---- fills and copies: short ones without the start-up cost of rep ---- */

static inline void heap_fill(void *to, uint64_t word, size_t words)
{
    uint64_t *w = to;
    if (words > 64) {
        __asm__ volatile("rep stosq" : "+D"(w), "+c"(words) : "a"(word) : "memory");
        return;
    }
    while (words--)
        *w++ = word;
}

/* ---- heap_span.c: the region ---- */

void stem_heap_lock(struct heap_lock *lock) __attribute__((visibility("hidden")));
void stem_heap_unlock(struct heap_lock *lock) __attribute__((visibility("hidden")));
/* A span of `units` units. Its unit entries stand, but nobody finds it until the caller, last of all, stores
   `kind`. NULL when there is no memory. Central lock held. */
struct heap_span *stem_heap_span_take(uint32_t units);
/* Gives one back, with its neighbours made one, and its memory to the kernel when there is much of it. Lock
 * held. */
void stem_heap_span_give(struct heap_span *span);
/* Bookkeeping memory, zeroed, in powers of two. Central lock held. */
void *stem_heap_note_take(size_t bytes);
void stem_heap_note_give(void *note, size_t bytes);
/* Gives the memory of all free spans to the kernel. Returns whether there was any. */
bool stem_heap_trim(void);

/* ---- heap_large.c ---- */

enum heap_verdict { HEAP_GIVEN, HEAP_FOREIGN, HEAP_TWICE, HEAP_INSIDE };
/* A block that is a span of its own, with room for `headroom` bytes behind it. Out: `zero`. NULL: no memory. */
void *stem_heap_large_take(bool *zero, size_t bytes, size_t align, size_t headroom);
enum heap_verdict stem_heap_large_give(uintptr_t p);
bool stem_heap_large_undo_free(struct heap_span *span, uintptr_t p);
/* Where a large block's memory can be moved to a larger span by page tables alone. Returns the new address or
 * 0. */
uintptr_t stem_heap_move_pages(uintptr_t p, size_t bytes);

/* ---- heap_cache.c: slabs, quarantine ---- */

/* A block of `bytes` bytes whose address is a multiple of `align` (a power of two, 16 at least). Out: `zero`,
   whether its memory is known to be zero. Returns NULL when there is no memory (errno untouched). */
void *stem_heap_take(bool *zero, size_t bytes, size_t align);
/* For a block that grows, and so is likely to grow again: a large one gets room behind it, which costs
   address space only, and can be resized in place. */
uintptr_t stem_heap_take_growing(size_t bytes);
/* Frees the block that starts at `p`, by way of the quarantine when armed. Returns why not otherwise. */
enum heap_verdict stem_heap_give(uintptr_t p);
/* Whether a live block starts at `p`; its requested size. */
enum heap_verdict stem_heap_look(size_t *bytes, uintptr_t p);
/* Changes the size of a block in place. Returns whether it could. */
bool stem_heap_resize(uintptr_t p, size_t bytes);

/* malloc, calloc and realloc without all that is rare: NULL where the long way must be gone. Small blocks of armed heaps only,
   and no stacks recorded. realloc: `old` is untouched unless the result stands. Out, when it stands: `gone`, whether `old`
   was freed. */
void *stem_heap_quick_take(size_t bytes, bool clear);
void *stem_heap_quick_resize(bool *gone, uintptr_t old, size_t bytes);
/* free of a live small block. Returns whether it is done. */
bool stem_heap_quick_give(uintptr_t p);

/* ---- heap_shadow.c: redzones ---- */

/* Shadow of a slot that is handed out: its block open, the rest of the slot closed. */
void stem_heap_shadow_live(uintptr_t start, size_t bytes, size_t slot);
void stem_heap_shadow_freed(uintptr_t start, size_t bytes);
/* Shadow of room that is not handed out: all of it, or as much as an overflow is likely to reach. */
void stem_heap_shadow_unused(uintptr_t start, size_t bytes, bool whole);
/* Shadow of a large block and both its redzones. */
void stem_heap_shadow_large(const struct heap_span *span);

/* ---- heap_stacks.c: allocation and free stacks ---- */

/* Records the call stack of the allocation (which = 0) or free (1) of the live block at `p`. */
void stem_heap_record(uintptr_t p, int which, uintptr_t pc, uintptr_t sp, uintptr_t rbp);
/* Keeps a call stack. Returns its number, or 0 when it was not kept. */
uint32_t stem_heap_keep_stack(uintptr_t pc, uintptr_t sp, uintptr_t rbp);
/* Return addresses of a recorded stack. Returns the count. Signal-safe. */
uint32_t stem_heap_stack(uintptr_t *frames, uint32_t id);
/* Around fork: takes or releases the lock of the table. */
void stem_heap_stacks_lock(bool take);

/* ---- heap.c: for callers inside the runtime ---- */

/* Who called, as in stem_backtrace: the return address, the stack pointer after that return, rbp by value. */
struct heap_caller {
    uintptr_t pc, sp, rbp;
};
/* malloc, calloc (clear), memalign for a caller that is not the C caller. NULL when there is no memory; errno
 * untouched. */
void *stem_heap_malloc_at(size_t bytes, size_t align, bool clear, const struct heap_caller *caller);
/* free: the verdict is the caller's to report. */
enum heap_verdict stem_heap_free_at(uintptr_t p, const struct heap_caller *caller);
/* What a refused free is: CORE_FAULT_NONE for foreign memory that another allocator may have handed out. `frame`: the
   address of the caller's return address, to know the stack by. */
enum core_fault_kind stem_heap_judge(enum heap_verdict verdict, uintptr_t p, uintptr_t frame);
void stem_heap_copy(uintptr_t to, uintptr_t from, size_t bytes);

#endif
