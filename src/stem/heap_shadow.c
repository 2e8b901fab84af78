/* Redzones of the heap in shadow memory, and turning them on. */
#include "stem/heap_private.h"
#include "stem/sys.h"

#include <sys/mman.h>

enum {
    REDZONE_CAP = 64 << 10
}; /* of a large block, and of free room: a longer one would only cost shadow memory */

#define WORD(poison) ((uint64_t)(poison)*0x0101010101010101ull)

typedef uint64_t loose64 __attribute__((aligned(1), may_alias));
typedef uint32_t loose32 __attribute__((aligned(1), may_alias));
typedef uint16_t loose16 __attribute__((aligned(1), may_alias));

/* Shadow bytes [s, s + n) := poison. Words, the last of which may overlap the one before, not bytes: most blocks are short. */
static inline void paint(uint8_t *s, size_t n, uint8_t poison)
{
    uint64_t word = WORD(poison);
    if (n >= 8) {
        uint8_t *last = s + n - 8;
        if (n > 512) {
            heap_fill(s, word, n / 8);
        } else {
            for (; s < last; s += 8)
                *(loose64 *)s = word;
        }
        *(loose64 *)last = word;
    } else if (n >= 4) {
        *(loose32 *)s = (uint32_t)word;
        *(loose32 *)(s + n - 4) = (uint32_t)word;
    } else if (n >= 2) {
        *(loose16 *)s = (uint16_t)word;
        *(loose16 *)(s + n - 2) = (uint16_t)word;
    } else if (n) {
        *s = poison;
    }
}

void stem_heap_shadow_live(uintptr_t start, size_t bytes, size_t slot)
{
    if (!stem_shadow_base)
        return;
    uint8_t *s = stem_shadow_base + (start >> 3);
    size_t whole = bytes >> 3, all = slot >> 3;
    paint(s + whole, all - whole, STEM_POISON_REDZONE);
    paint(s, whole, 0);
    if (bytes & 7)
        s[whole] = bytes & 7;
}

void stem_heap_shadow_freed(uintptr_t start, size_t bytes)
{
    enum { FREED_CAP = 16 << 20 };
    if (!stem_shadow_base)
        return;
    if (bytes > FREED_CAP)
        bytes = FREED_CAP;
    paint(stem_shadow_base + (start >> 3), bytes ? (bytes + 7) >> 3 : 1, STEM_POISON_FREED);
}

void stem_heap_shadow_unused(uintptr_t start, size_t bytes, bool whole)
{
    if (!stem_shadow_base)
        return;
    if (!whole && bytes > REDZONE_CAP)
        bytes = REDZONE_CAP;
    paint(stem_shadow_base + (start >> 3), bytes >> 3, STEM_POISON_REDZONE);
}

void stem_heap_shadow_large(const struct heap_span *span)
{
    if (!stem_shadow_base)
        return;
    uintptr_t base = stem_heap.base + ((size_t)span->first << HEAP_UNIT_SHIFT);
    uintptr_t end = base + ((size_t)span->units << HEAP_UNIT_SHIFT);
    uintptr_t tail = (span->start + span->bytes + 7) & ~(uintptr_t)7;
    size_t before = span->start - base, behind = end - tail;
    before = before > REDZONE_CAP ? REDZONE_CAP : before;
    behind = behind > REDZONE_CAP ? REDZONE_CAP : behind;
    uint8_t *s = stem_shadow_base + (span->start >> 3);
    size_t whole = span->bytes >> 3;
    paint(s - before / 8, before / 8, STEM_POISON_REDZONE);
    /* Whole pages of shadow become addressable by having none; below a megabyte faults would cost more than zeroes. */
    uint8_t *from = (uint8_t *)(((uintptr_t)s + 4095) & ~(uintptr_t)4095);
    uint8_t *to = (uint8_t *)((uintptr_t)(s + whole) & ~(uintptr_t)4095);
    if (to > from && to - from >= 1 << 20 &&
        !sys_failed(sys_call3(SYS_madvise, from, to - from, MADV_DONTNEED))) {
        paint(s, (size_t)(from - s), 0);
        paint(to, (size_t)(s + whole - to), 0);
    } else {
        paint(s, whole, 0);
    }
    if (span->bytes & 7)
        s[whole] = span->bytes & 7;
    paint(stem_shadow_base + (tail >> 3), behind / 8, STEM_POISON_REDZONE);
}

/* A block that lives already: nobody knows whether malloc or an operator made it. */
static void mark_unsure(uintptr_t start, size_t bytes)
{
    stem_shadow_base[(start + bytes + 7) >> 3] = STEM_POISON_REDZONE_UNSURE;
}

static void arm_slot(struct heap_span *span, uint32_t index)
{
    uint16_t note = __atomic_load_n(&span->slots[index].note, __ATOMIC_ACQUIRE), now = note;
    do {
        note = now;
        uintptr_t p = span->start + (size_t)index * span->slot;
        size_t bytes = span->slot - (note & ~HEAP_STATE);
        if ((note & HEAP_STATE) != HEAP_NEVER)
            stem_heap_shadow_live(p, bytes, span->slot);
        if ((note & HEAP_STATE) == HEAP_LIVE)
            mark_unsure(p, bytes);
        if ((note & HEAP_STATE) > HEAP_LIVE)
            stem_heap_shadow_freed(p, bytes);
        now = __atomic_load_n(&span->slots[index].note, __ATOMIC_ACQUIRE);
    } while (now !=
             note); /* another thread took or freed it meanwhile; the shadow depends on the note alone */
}

/* Every thread that takes or gives a block writes its note first and asks `armed` afterwards. Behind this barrier, whoever
   found it false has published the note that he wrote before. Threads without a cache have never been here. */
static void let_all_see(void)
{
    enum { EXPEDITED = 1 << 3, REGISTER_EXPEDITED = 1 << 4 };
    const struct heap_cache *first = __atomic_load_n(&stem_heap.caches, __ATOMIC_ACQUIRE);
    if (!first || (!first->next && first == stem_thread.heap))
        return;
    if (!sys_failed(sys_call3(SYS_membarrier, REGISTER_EXPEDITED, 0, 0)) &&
        !sys_failed(sys_call3(SYS_membarrier, EXPEDITED, 0, 0)))
        return;
    /* A filter forbids it: taking away a right from a page interrupts every processor that runs this program, too. */
    uint8_t *page = stem_pages_map(4096);
    if (!page)
        return;
    *page = 1;
    sys_call3(SYS_mprotect, page, 4096, PROT_READ);
    stem_pages_unmap(page, 4096);
}

void stem_heap_arm(void)
{
    stem_heap_start();
    if (stem_heap.armed || !stem_heap.base || !stem_shadow_base)
        return;
    stem_heap_lock(&stem_heap.central);
    stem_heap.stacks = stem_control && stem_control->config.heap_stacks &&
                       !(stem_control->config.knobs & 1u << CORE_KNOB_NO_HEAP_STACKS);
    /* Who looks for faults wants freed blocks kept long; members at work want their processor's caches. */
    bool long_time = stem_heap.stacks;
    stem_heap.hold_blocks = long_time ? 1 << 16 : 1 << 12;
    stem_heap.hold_bytes = stem_control && stem_control->config.knobs & 1u << CORE_KNOB_NO_QUARANTINE ? 0
                           : long_time ? 4 << 20
                                       : 256 << 10;
    __atomic_store_n(&stem_heap.armed, true, __ATOMIC_SEQ_CST);
    let_all_see();
    for (uint32_t n = 1; n < stem_heap.span_count; n++) {
        struct heap_span *span = &stem_heap.spans[n];
        if (span->kind == HEAP_SPAN_LARGE) {
            stem_heap_shadow_large(span);
            if (span->state == HEAP_LIVE)
                mark_unsure(span->start, span->bytes);
        } else if (span->kind == HEAP_SPAN_SLAB) {
            if (stem_heap.stacks)
                span->stacks = stem_heap_note_take(span->count * 8u);
            uintptr_t base = stem_heap.base + ((size_t)span->first << HEAP_UNIT_SHIFT);
            uintptr_t used =
                span->start + (size_t)__atomic_load_n(&span->bump, __ATOMIC_ACQUIRE) * span->slot;
            stem_heap_shadow_unused(base, span->start - base, true);
            stem_heap_shadow_unused(used, base + ((size_t)span->units << HEAP_UNIT_SHIFT) - used, true);
            /* What its owner has taken meanwhile may have been painted over: looked at behind the paint, it is seen. */
            __atomic_thread_fence(__ATOMIC_SEQ_CST);
            for (uint32_t i = 0; i < __atomic_load_n(&span->bump, __ATOMIC_ACQUIRE); i++)
                arm_slot(span, i);
        } else if (span->units) {
            stem_heap_shadow_unused(stem_heap.base + ((size_t)span->first << HEAP_UNIT_SHIFT),
                                    (size_t)span->units << HEAP_UNIT_SHIFT, false);
        }
    }
    stem_heap_unlock(&stem_heap.central);
}
