/* Large blocks: each a span of its own, with redzones before and behind, and a quarantine of theirs. */
#define _GNU_SOURCE /* mremap flags */
#include "stem/heap_private.h"
#include "stem/sys.h"

#include <sys/mman.h>

enum {
    HELD_BYTES =
        2 << 20, /* quarantine of large blocks; where frees are undone, the newest stays in any case */
};

void *stem_heap_large_take(bool *zero, size_t bytes, size_t align, size_t headroom)
{
    size_t lead = HEAP_LARGE_LEAD > align ? HEAP_LARGE_LEAD : align;
    size_t slide = align > HEAP_UNIT ? align : 0; /* spans are aligned to units only */
    if (bytes >= stem_heap.reserved || align >= stem_heap.reserved)
        return NULL;
    size_t units = (lead + slide + bytes + headroom + HEAP_REDZONE + HEAP_UNIT - 1) >> HEAP_UNIT_SHIFT;
    stem_heap_lock(&stem_heap.central);
    struct heap_span *span = units < UINT32_MAX ? stem_heap_span_take((uint32_t)units) : NULL;
    uintptr_t start = 0;
    if (span) {
        start = stem_heap.base + ((size_t)span->first << HEAP_UNIT_SHIFT) + lead;
        start = (start + align - 1) & -align;
        span->start = start;
        span->bytes = bytes;
        span->state = HEAP_LIVE;
        span->large_stacks[0] = span->large_stacks[1] = 0;
        *zero = span->zero;
        __atomic_store_n(&span->kind, HEAP_SPAN_LARGE, __ATOMIC_RELEASE);
        if (stem_heap.armed)
            stem_heap_shadow_large(span);
    }
    stem_heap_unlock(&stem_heap.central);
    return (void *)start;
}

static void held_remove(struct heap_span *span)
{
    if (span->list_previous)
        span->list_previous->list_next = span->list_next;
    else
        stem_heap.held_first = span->list_next;
    if (span->list_next)
        span->list_next->list_previous = span->list_previous;
    else
        stem_heap.held_last = span->list_previous;
    stem_heap.held_bytes -= span->bytes;
}

enum heap_verdict stem_heap_large_give(uintptr_t p)
{
    stem_heap_lock(&stem_heap.central);
    /* Asked again under the lock: two threads may free the same block. */
    struct heap_span *span = heap_span_of(p);
    enum heap_verdict verdict = HEAP_GIVEN;
    if (!span || span->kind != HEAP_SPAN_LARGE || span->start != p) {
        verdict = HEAP_INSIDE;
    } else if (span->state != HEAP_LIVE) {
        verdict = HEAP_TWICE;
    } else if (!stem_heap.armed) {
        stem_heap_span_give(span);
    } else {
        stem_heap_shadow_freed(p, span->bytes);
        span->state = HEAP_HELD;
        span->list_next = NULL;
        span->list_previous = stem_heap.held_last;
        if (stem_heap.held_last)
            stem_heap.held_last->list_next = span;
        else
            stem_heap.held_first = span;
        stem_heap.held_last = span;
        stem_heap.held_bytes += span->bytes;
        bool undone = stem_control && stem_control->config.mode == WIRE_MODE_FULL;
        while (stem_heap.held_bytes > HELD_BYTES && (stem_heap.held_first != span || !undone)) {
            struct heap_span *oldest = stem_heap.held_first;
            held_remove(oldest);
            stem_heap_span_give(oldest);
        }
    }
    stem_heap_unlock(&stem_heap.central);
    return verdict;
}

uintptr_t stem_heap_move_pages(uintptr_t p, size_t bytes)
{
    enum { WORTH = 1 << 20 };
    struct heap_span *span = heap_span_of(p);
    if (!span || span->kind != HEAP_SPAN_LARGE || span->bytes < WORTH || bytes < span->bytes)
        return 0;
    bool zero;
    uintptr_t to = (uintptr_t)stem_heap_large_take(&zero, bytes, 16, bytes / 4);
    /* DONTUNMAP leaves an empty mapping behind, so that nobody else's mapping can land inside the region. */
    if (to && sys_failed(sys_call5(
                  SYS_mremap, p - HEAP_LARGE_LEAD, (span->bytes + HEAP_LARGE_LEAD + 4095) & ~4095ul,
                  (span->bytes + HEAP_LARGE_LEAD + 4095) & ~4095ul,
                  MREMAP_MAYMOVE | MREMAP_FIXED | 4 /* MREMAP_DONTUNMAP */, to - HEAP_LARGE_LEAD))) {
        stem_heap_large_give(to);
        return 0;
    }
    return to;
}

bool stem_heap_large_undo_free(struct heap_span *span, uintptr_t p)
{
    stem_heap_lock(&stem_heap.central);
    bool held = span->kind == HEAP_SPAN_LARGE && span->start == p && span->state == HEAP_HELD;
    if (held) {
        held_remove(span);
        span->state = HEAP_LIVE;
        stem_heap_shadow_large(span);
    }
    stem_heap_unlock(&stem_heap.central);
    return held;
}
