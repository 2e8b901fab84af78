/* The heap's region: its reservation, spans of units with best fit and coalescing, memory for bookkeeping,
   and the lock that guards them. */
#include "stem/heap_private.h"
#include "stem/sys.h"

#include <linux/futex.h>
#include <signal.h>
#include <sys/mman.h>

struct heap stem_heap;

enum {
    GROW_UNITS = 32
}; /* 512 KiB at a time: below a huge page, so that the kernel does not fill 2 MiB at a touch */

/* ---- lock ---- */

/* Signals stay blocked while it is held, so that a handler on this thread can never wait for its own thread.
   A holder that stayed behind in the parent (a fork that told nobody) loses the lock. */
void stem_heap_lock(struct heap_lock *lock)
{
    uint64_t all = ~0ull, before = 0;
    if (!stem_confined)
        sys_call4(SYS_rt_sigprocmask, SIG_SETMASK, &all, &before, sizeof all);
    uint32_t seen = 0;
    if (!__atomic_compare_exchange_n(&lock->word, &seen, 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
        while (__atomic_exchange_n(&lock->word, 2, __ATOMIC_ACQUIRE) != 0) {
            struct {
                long s, ns;
            } patience = {0, 50000000};
            sys_call4(SYS_futex, &lock->word, FUTEX_WAIT_PRIVATE, 2, &patience);
            uint32_t owner = __atomic_load_n(&lock->owner, __ATOMIC_RELAXED), ours = stem_pages_generation();
            if (owner && owner != ours &&
                __atomic_compare_exchange_n(&lock->owner, &owner, ours, false, __ATOMIC_RELAXED,
                                            __ATOMIC_RELAXED))
                __atomic_store_n(&lock->word, 0, __ATOMIC_RELAXED);
        }
    }
    __atomic_store_n(&lock->owner, stem_pages_generation(), __ATOMIC_RELAXED);
    lock->signals = before;
}

void stem_heap_unlock(struct heap_lock *lock)
{
    uint64_t before = lock->signals;
    __atomic_store_n(&lock->owner, 0, __ATOMIC_RELAXED);
    if (__atomic_exchange_n(&lock->word, 0, __ATOMIC_RELEASE) == 2)
        sys_call3(SYS_futex, &lock->word, FUTEX_WAKE_PRIVATE, 1);
    if (!stem_confined)
        sys_call4(SYS_rt_sigprocmask, SIG_SETMASK, &before, 0, sizeof before);
}

/* ---- reservation ---- */

static void *reserve(size_t bytes)
{
    long p = sys_call6(SYS_mmap, stem_pages_place(bytes), bytes, PROT_NONE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return sys_failed(p) ? NULL : (void *)p;
}

static bool open_range(void *from, size_t bytes)
{
    uintptr_t start = (uintptr_t)from & ~(uintptr_t)4095;
    uintptr_t end = ((uintptr_t)from + bytes + 4095) & ~(uintptr_t)4095;
    return !sys_failed(sys_call3(SYS_mprotect, start, end - start, PROT_READ | PROT_WRITE));
}

/* The largest reservation that the kernel grants: address-space limits (RLIMIT_AS) may forbid the first ones.
 */
void stem_heap_start(void)
{
    if (__atomic_load_n(&stem_heap.base, __ATOMIC_ACQUIRE))
        return;
    stem_heap_lock(&stem_heap.central);
    for (size_t bytes = 1ull << 40; !stem_heap.base && bytes >= 1 << 26; bytes >>= 2) {
        size_t units = bytes >> HEAP_UNIT_SHIFT;
        uint8_t *region = reserve(bytes + HEAP_UNIT);
        if (!region)
            continue;
        uint32_t *unit = reserve(units * sizeof *unit);
        struct heap_span *spans = reserve(units * sizeof *spans);
        if (!unit || !spans || !open_range(spans, sizeof *spans)) {
            stem_pages_unmap(region, bytes + HEAP_UNIT);
            if (unit)
                stem_pages_unmap(unit, units * sizeof *unit);
            if (spans)
                stem_pages_unmap(spans, units * sizeof *spans);
            continue;
        }
        stem_heap.unit = unit;
        stem_heap.spans = spans; /* number 0 is never in use: kind FREE */
        stem_heap.span_count = 1;
        stem_heap.reserved = bytes;
        __atomic_store_n(&stem_heap.base, ((uintptr_t)region + HEAP_UNIT - 1) & ~(uintptr_t)(HEAP_UNIT - 1),
                         __ATOMIC_RELEASE);
    }
    stem_heap_unlock(&stem_heap.central);
}

/* ---- bookkeeping memory ---- */

static void *notes[32];

static unsigned note_bin(size_t bytes)
{
    return bytes <= 64 ? 6 : 64 - (unsigned)__builtin_clzll(bytes - 1);
}

void *stem_heap_note_take(size_t bytes)
{
    unsigned bin = note_bin(bytes);
    void **piece = notes[bin];
    if (piece) {
        notes[bin] = *piece;
        heap_fill(piece, 0, ((size_t)1 << bin) / 8);
        return piece;
    }
    static uint8_t *next;
    static size_t left;
    size_t size = (size_t)1 << bin;
    if (left < size) {
        size_t chunk = size > 1 << 18 ? size : 1 << 18;
        next = stem_pages_map(chunk);
        left = next ? chunk : 0;
        if (!next)
            return NULL;
    }
    void *fresh = next;
    next += size;
    left -= size;
    return fresh;
}

void stem_heap_note_give(void *note, size_t bytes)
{
    unsigned bin = note_bin(bytes);
    *(void **)note = notes[bin];
    notes[bin] = note;
}

/* ---- spans ---- */

static struct heap_span *span_record(void)
{
    struct heap_span *span = stem_heap.spare_spans;
    if (span) {
        stem_heap.spare_spans = span->list_next;
        *span = (struct heap_span){0};
        return span;
    }
    static uint32_t readable = 1;
    if (stem_heap.span_count == readable) {
        if (!open_range(&stem_heap.spans[readable], 512 * sizeof *span))
            return NULL;
        readable += 512;
    }
    span = &stem_heap.spans[stem_heap.span_count++];
    return span;
}

static void span_forget(struct heap_span *span)
{
    span->kind = HEAP_SPAN_FREE;
    span->units = 0;
    span->list_next = stem_heap.spare_spans;
    stem_heap.spare_spans = span;
}

static unsigned bin_of(uint32_t units)
{
    return units <= HEAP_BINS ? units - 1 : HEAP_BINS;
}

static void bin_insert(struct heap_span *span)
{
    unsigned bin = bin_of(span->units);
    struct heap_span **head = &stem_heap.bins[bin];
    uint32_t number = (uint32_t)(span - stem_heap.spans);
    span->kind = HEAP_SPAN_FREE;
    stem_heap.unit[span->first] = stem_heap.unit[span->first + span->units - 1] = number;
    span->list_previous = NULL;
    span->list_next = *head;
    if (*head)
        (*head)->list_previous = span;
    *head = span;
    if (bin < HEAP_BINS)
        stem_heap.bins_used |= 1ull << bin;
    stem_heap.dirty_units += span->dirty;
}

static void bin_remove(struct heap_span *span)
{
    unsigned bin = bin_of(span->units);
    if (span->list_previous)
        span->list_previous->list_next = span->list_next;
    else
        stem_heap.bins[bin] = span->list_next;
    if (span->list_next)
        span->list_next->list_previous = span->list_previous;
    if (bin < HEAP_BINS && !stem_heap.bins[bin])
        stem_heap.bins_used &= ~(1ull << bin);
    stem_heap.dirty_units -= span->dirty;
}

static struct heap_span *best_fit(uint32_t units)
{
    if (units <= HEAP_BINS) {
        uint64_t fitting = stem_heap.bins_used >> (units - 1) << (units - 1);
        if (fitting)
            return stem_heap.bins[__builtin_ctzll(fitting)];
    }
    struct heap_span *best = NULL;
    for (struct heap_span *s = stem_heap.bins[HEAP_BINS]; s; s = s->list_next)
        if (s->units >= units && (!best || s->units < best->units))
            best = s;
    return best;
}

/* The free span that ends where `unit` begins, or the one that begins there. */
static struct heap_span *free_neighbour(uint32_t unit, bool ends)
{
    uint32_t top = (uint32_t)(stem_heap.reach >> HEAP_UNIT_SHIFT);
    if (ends ? unit == 0 : unit >= top)
        return NULL;
    uint32_t number = stem_heap.unit[ends ? unit - 1 : unit];
    struct heap_span *s = &stem_heap.spans[number];
    if (!number || s->kind != HEAP_SPAN_FREE || !s->units)
        return NULL;
    return (ends ? s->first + s->units == unit : s->first == unit) ? s : NULL;
}

/* A free span at the end of the region, made longer so that `units` fit. */
static struct heap_span *grow(uint32_t units)
{
    uint32_t top = (uint32_t)(stem_heap.reach >> HEAP_UNIT_SHIFT);
    struct heap_span *last = free_neighbour(top, true);
    uint32_t missing = units - (last ? last->units : 0);
    uint32_t more = (missing + GROW_UNITS - 1) / GROW_UNITS * GROW_UNITS;
    uint32_t limit = (uint32_t)(stem_heap.reserved >> HEAP_UNIT_SHIFT);
    if (missing > limit - top)
        return NULL;
    if (more > limit - top)
        more = limit - top;
    if (!stem_limits_heap((uint64_t)more << HEAP_UNIT_SHIFT))
        return NULL;
    struct heap_span *span = last ? last : span_record();
    if (!span)
        return NULL;
    if (!open_range(&stem_heap.unit[top], more * sizeof *stem_heap.unit) ||
        !open_range((void *)(stem_heap.base + stem_heap.reach), (size_t)more << HEAP_UNIT_SHIFT)) {
        if (!last)
            span_forget(span);
        return NULL;
    }
    if (last) {
        bin_remove(last);
        last->units += more;
    } else {
        span->first = top;
        span->units = more;
    }
    /* Readers check `reach` first: the unit entries must be readable by then. */
    __atomic_store_n(&stem_heap.reach, stem_heap.reach + ((size_t)more << HEAP_UNIT_SHIFT), __ATOMIC_RELEASE);
    bin_insert(span);
    return span;
}

struct heap_span *stem_heap_span_take(uint32_t units)
{
    if (!stem_heap.base)
        return NULL;
    struct heap_span *span = best_fit(units);
    if (!span && !(span = grow(units)))
        return NULL;
    struct heap_span *rest = NULL;
    if (span->units > units && !(rest = span_record()))
        return NULL;
    bin_remove(span);
    if (rest) {
        rest->first = span->first + units;
        rest->units = span->units - units;
        rest->dirty = span->dirty > units ? span->dirty - units : 0;
        span->units = units;
        if (stem_heap.armed)
            stem_heap_shadow_unused(stem_heap.base + ((size_t)rest->first << HEAP_UNIT_SHIFT),
                                    (size_t)rest->units << HEAP_UNIT_SHIFT, false);
        bin_insert(rest);
    }
    span->zero = !span->dirty;
    span->list_next = span->list_previous = span->mail_next = NULL;
    uint32_t number = (uint32_t)(span - stem_heap.spans);
    for (uint32_t i = 0; i < units; i++)
        stem_heap.unit[span->first + i] = number;
    stem_heap.used_units += units;
    return span;
}

static bool purge(struct heap_span *span)
{
    uintptr_t start = stem_heap.base + ((size_t)span->first << HEAP_UNIT_SHIFT);
    return !sys_failed(sys_call3(SYS_madvise, start, (size_t)span->dirty << HEAP_UNIT_SHIFT, MADV_DONTNEED));
}

void stem_heap_span_give(struct heap_span *span)
{
    stem_heap.used_units -= span->units;
    span->kind = HEAP_SPAN_FREE;
    span->dirty = span->units;
    struct heap_span *before = free_neighbour(span->first, true);
    struct heap_span *after = free_neighbour(span->first + span->units, false);
    if (after) {
        bin_remove(after);
        span->dirty += after->dirty;
        span->units += after->units;
        span_forget(after);
    }
    if (before) {
        bin_remove(before);
        before->dirty = before->units + span->dirty;
        before->units += span->units;
        span_forget(span);
        span = before;
    }
    /* What is free and still holds memory is bounded by 2 MiB and an eighth of what is in use. */
    if (stem_heap.dirty_units + span->dirty > (2u << 20 >> HEAP_UNIT_SHIFT) + stem_heap.used_units / 8 &&
        purge(span))
        span->dirty = 0;
    bin_insert(span);
}

bool stem_heap_trim(void)
{
    bool any = false;
    stem_heap_lock(&stem_heap.central);
    for (unsigned bin = 0; bin <= HEAP_BINS; bin++) {
        for (struct heap_span *s = stem_heap.bins[bin]; s; s = s->list_next) {
            if (s->dirty && purge(s)) {
                stem_heap.dirty_units -= s->dirty;
                s->dirty = 0;
                any = true;
            }
        }
    }
    stem_heap_unlock(&stem_heap.central);
    return any;
}
