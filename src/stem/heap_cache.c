/* Blocks: size classes, slabs in the cache of one thread, the way back from other threads, and the
   quarantine. The order of the cases in take_small is the order of their frequency. */
#include "stem/heap_private.h"
#include "stem/sys.h"

/* Stands where a class has no slab yet: nothing to take, so that the fast path need not ask. */
static struct heap_span no_slab = {.free = HEAP_NONE};
static struct heap_cache spare; /* for signal handlers that interrupt their own thread's cache */
static struct heap_lock spare_lock;

/* ---- size classes ---- */

static unsigned class_of(size_t need)
{
    if (need <= 256)
        return need <= 32 ? 0 : (unsigned)((need + 15) / 16 - 2);
    unsigned k = 63 - (unsigned)__builtin_clzll(need - 1);
    return 15 + (k - 8) * 8 + (unsigned)(((need - 1) >> (k - 3)) & 7);
}

static uint32_t slot_of(unsigned class)
{
    if (class < 15)
        return (class + 2) * 16;
    unsigned k = (class - 15) / 8 + 8, step = (class - 15) % 8 + 1;
    return (1u << k) + (step << (k - 3));
}

static uint32_t slab_units(uint32_t slot)
{
    return slot <= 256 ? 2 : slot <= 2048 ? 4 : slot <= 8192 ? 8 : 16;
}

/* ---- slabs ---- */

static struct heap_span *slab_make(struct heap_cache *cache, unsigned class)
{
    uint32_t slot = slot_of(class), units = slab_units(slot);
    /* The slots of a class have the alignment of their size; the room before the first is its redzone. */
    uint32_t lead = slot & -slot;
    if (lead > HEAP_UNIT)
        lead = HEAP_UNIT;
    uint32_t count = (units * HEAP_UNIT - lead) / slot;
    stem_heap_lock(&stem_heap.central);
    struct heap_span *span = stem_heap_span_take(units);
    if (span) {
        span->slots = stem_heap_note_take(count * sizeof *span->slots);
        span->stacks = stem_heap.stacks ? stem_heap_note_take(count * 8) : NULL;
        if (!span->slots) {
            stem_heap_span_give(span);
            span = NULL;
        }
    }
    if (span) {
        span->start = stem_heap.base + ((size_t)span->first << HEAP_UNIT_SHIFT) + lead;
        span->magic = ((1ull << 40) + slot - 1) / slot;
        span->slot = slot;
        span->count = (uint16_t)count;
        span->bump = span->used = 0;
        span->free = HEAP_NONE;
        span->remote = HEAP_NONE;
        span->class = (uint8_t) class;
        span->owner = cache;
        if (stem_heap.armed)
            stem_heap_shadow_unused(span->start - lead, (size_t)units * HEAP_UNIT, true);
        __atomic_store_n(&span->kind, HEAP_SPAN_SLAB, __ATOMIC_RELEASE);
    }
    stem_heap_unlock(&stem_heap.central);
    return span;
}

static void slab_drop(struct heap_span *span)
{
    stem_heap_lock(&stem_heap.central);
    __atomic_store_n(&span->kind, HEAP_SPAN_FREE, __ATOMIC_RELEASE);
    stem_heap_note_give(span->slots, span->count * sizeof *span->slots);
    if (span->stacks)
        stem_heap_note_give(span->stacks, span->count * 8u);
    stem_heap_span_give(span);
    stem_heap_unlock(&stem_heap.central);
}

static void partial_insert(struct heap_cache *cache, struct heap_span *span)
{
    struct heap_span **head = &cache->partial[span->class];
    span->place = HEAP_PLACE_PARTIAL;
    span->list_previous = NULL;
    span->list_next = *head;
    if (*head)
        (*head)->list_previous = span;
    *head = span;
}

static void partial_remove(struct heap_cache *cache, struct heap_span *span)
{
    if (span->list_previous)
        span->list_previous->list_next = span->list_next;
    else
        cache->partial[span->class] = span->list_next;
    if (span->list_next)
        span->list_next->list_previous = span->list_previous;
}

/* A slot comes back to a slab of this cache. */
static void slot_back(struct heap_cache *cache, struct heap_span *span, uint32_t index)
{
    span->slots[index].next = span->free;
    span->free = (uint16_t)index;
    span->used--;
    if (span->place == HEAP_PLACE_ACTIVE)
        return;
    if (span->place == HEAP_PLACE_FULL)
        partial_insert(cache, span);
    /* One empty slab of a class is kept, so that a program at the edge of one does not make and drop it all
     * the time. */
    if (!span->used && (span->list_next || span->list_previous)) {
        partial_remove(cache, span);
        slab_drop(span);
    }
}

/* Blocks that other threads gave back. */
static void read_mail(struct heap_cache *cache)
{
    struct heap_span *span = __atomic_exchange_n(&cache->mail, NULL, __ATOMIC_ACQUIRE);
    while (span) {
        struct heap_span *next = span->mail_next; /* from the exchange below on, it may be mailed again */
        uint32_t index = __atomic_exchange_n(&span->remote, HEAP_NONE, __ATOMIC_ACQ_REL);
        while (index != HEAP_NONE) {
            uint32_t following = span->slots[index].next;
            /* The last one may take the slab away with it. */
            slot_back(cache, span, index);
            index = following;
        }
        span = next;
    }
}

/* From a thread that does not own the slab, or from a handler on the one that does: never waits. */
static void slot_post(struct heap_span *span, uint32_t index)
{
    struct heap_cache *owner = span->owner;
    uint32_t head = __atomic_load_n(&span->remote, __ATOMIC_RELAXED);
    do
        span->slots[index].next = (uint16_t)head;
    while (
        !__atomic_compare_exchange_n(&span->remote, &head, index, true, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED));
    if (head != HEAP_NONE)
        return; /* already in the owner's mail, or about to be: whoever made the list non-empty sees to it */
    struct heap_span *mail = __atomic_load_n(&owner->mail, __ATOMIC_RELAXED);
    do
        span->mail_next = mail;
    while (!__atomic_compare_exchange_n(&owner->mail, &mail, span, true, __ATOMIC_RELEASE, __ATOMIC_RELAXED));
}

/* ---- caches ---- */

static void cache_prepare(struct heap_cache *cache)
{
    for (unsigned i = 0; i < HEAP_CLASSES; i++)
        cache->active[i] = &no_slab;
}

/* The cache of a thread that comes here first: one left by a thread that is gone, or a new one. */
static struct heap_cache *cache_attach(void)
{
    stem_heap_start();
    if (!stem_heap.base)
        return NULL;
    int32_t tid = (int32_t)sys_call0(SYS_gettid);
    long pid = sys_call0(SYS_getpid);
    stem_heap_lock(&stem_heap.central);
    struct heap_cache *cache = stem_heap.caches;
    unsigned asked = 0;
    for (; cache; cache = cache->next) {
        if (cache->busy)
            continue;
        if (!cache->tid || cache->tid == tid)
            break;
        if (asked++ < 16 && sys_call3(SYS_tgkill, pid, cache->tid, 0) == -3 /* ESRCH */)
            break;
    }
    if (!cache && (cache = stem_pages_map(sizeof *cache))) {
        cache_prepare(cache);
        cache->next = stem_heap.caches;
        __atomic_store_n(&stem_heap.caches, cache, __ATOMIC_RELEASE);
    }
    if (cache) {
        cache->tid = tid;
        stem_thread.heap = cache;
    }
    stem_heap_unlock(&stem_heap.central);
    return cache;
}

/* Enters this thread's cache; NULL: a signal handler came upon its own thread inside it, or there is no
 * memory. */
static inline struct heap_cache *cache_enter(void)
{
    struct heap_cache *cache = stem_thread.heap;
    if (__builtin_expect(!cache, 0) && !(cache = cache_attach()))
        return NULL;
    if (__builtin_expect(cache->busy, 0))
        return NULL;
    cache->busy = 1;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    return cache;
}

static inline void cache_leave(struct heap_cache *cache)
{
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    cache->busy = 0;
}

/* ---- small blocks ---- */

static struct heap_span *refill(struct heap_cache *cache, unsigned class)
{
    if (__atomic_load_n(&cache->mail, __ATOMIC_RELAXED))
        read_mail(cache);
    struct heap_span *span = cache->active[class];
    if (span->free != HEAP_NONE || span->bump < span->count)
        return span;
    struct heap_span *next = cache->partial[class];
    if (next)
        partial_remove(cache, next);
    else if (!(next = slab_make(cache, class)))
        return NULL;
    if (span != &no_slab)
        span->place = HEAP_PLACE_FULL;
    next->place = HEAP_PLACE_ACTIVE;
    cache->active[class] = next;
    return next;
}

static inline void *take_small(struct heap_cache *cache, bool *zero, unsigned class, size_t bytes)
{
    struct heap_span *span = cache->active[class];
    uint32_t index;
    for (;;) {
        index = span->free;
        if (index != HEAP_NONE) {
            span->free = span->slots[index].next;
            *zero = false;
            break;
        }
        if (span->bump < span->count) {
            index = span->bump++;
            *zero = span->zero;
            break;
        }
        if (!(span = refill(cache, class)))
            return NULL;
    }
    span->used++;
    uintptr_t p = span->start + (size_t)index * span->slot;
    span->slots[index].note = (uint16_t)(HEAP_LIVE | (span->slot - bytes));
    if (__builtin_expect(heap_armed_now(), 0))
        stem_heap_shadow_live(p, bytes, span->slot);
    return (void *)p;
}

static void *take_spare(bool *zero, unsigned class, size_t bytes)
{
    stem_heap_start();
    if (!stem_heap.base)
        return NULL;
    stem_heap_lock(&spare_lock);
    if (!spare.active[0])
        cache_prepare(&spare);
    void *p = take_small(&spare, zero, class, bytes);
    stem_heap_unlock(&spare_lock);
    return p;
}

/* ---- quarantine ---- */

static void give_now(struct heap_cache *cache, struct heap_span *span, uint32_t index)
{
    span->slots[index].note |= HEAP_FREED;
    if (span->owner == cache)
        slot_back(cache, span, index);
    else
        slot_post(span, index);
}

static void release_oldest(struct heap_cache *cache)
{
    uintptr_t oldest = cache->ring[cache->ring_tail++ & (stem_heap.hold_blocks - 1)];
    if (!oldest)
        return; /* an undone free took it out */
    struct heap_span *from = heap_span_of(oldest);
    cache->ring_bytes -= from->slot;
    give_now(cache, from, heap_slot_index(from, oldest));
}

static inline bool hold(struct heap_cache *cache, struct heap_span *span, uint32_t index, uintptr_t p)
{
    if (__builtin_expect(!cache->ring, 0) &&
        !(cache->ring = stem_pages_map(stem_heap.hold_blocks * sizeof *cache->ring)))
        return false;
    struct heap_slot *slot = &span->slots[index];
    slot->note = (uint16_t)((slot->note & ~HEAP_STATE) | HEAP_HELD);
    cache->ring[cache->ring_head++ & (stem_heap.hold_blocks - 1)] = p;
    cache->ring_bytes += span->slot;
    while (cache->ring_bytes > stem_heap.hold_bytes ||
           cache->ring_head - cache->ring_tail >= stem_heap.hold_blocks)
        release_oldest(cache);
    return true;
}

bool stem_heap_undo_free(uintptr_t p)
{
    if (!heap_is_ours(p))
        return false;
    struct heap_span *span = heap_span_of(p);
    if (!span)
        return false;
    if (span->kind == HEAP_SPAN_LARGE)
        return stem_heap_large_undo_free(span, p);
    struct heap_cache *cache = cache_enter();
    if (!cache)
        return false;
    bool found = false;
    for (uint32_t i = cache->ring_head; !found && i != cache->ring_tail; i--) {
        uintptr_t *entry = &cache->ring[(i - 1) & (stem_heap.hold_blocks - 1)];
        if (*entry != p)
            continue;
        *entry = 0;
        found = true;
        uint32_t index = heap_slot_index(span, p);
        cache->ring_bytes -= span->slot;
        span->slots[index].note = (uint16_t)((span->slots[index].note & ~HEAP_STATE) | HEAP_LIVE);
        stem_heap_shadow_live(p, heap_slot_bytes(span, index), span->slot);
    }
    cache_leave(cache);
    return found;
}

bool stem_heap_undo_malloc(uintptr_t p)
{
    return stem_heap_give(p) == HEAP_GIVEN;
}

/* ---- entry points ---- */

void *stem_heap_take(bool *zero, size_t bytes, size_t align)
{
    if (bytes > HEAP_SLOT_MAX - HEAP_REDZONE ||
        align > HEAP_UNIT / 2) { /* a longer slack would not fit a note */
        stem_heap_start();
        return stem_heap_large_take(zero, bytes, align, 0);
    }
    unsigned class = class_of(bytes + HEAP_REDZONE);
    if (align > 16) {
        while (class < HEAP_CLASSES && slot_of(class) & (align - 1))
            class ++;
        if (class == HEAP_CLASSES)
            return stem_heap_large_take(zero, bytes, align, 0);
    }
    struct heap_cache *cache = cache_enter();
    if (__builtin_expect(!cache, 0))
        return take_spare(zero, class, bytes);
    void *p = take_small(cache, zero, class, bytes);
    cache_leave(cache);
    return p;
}

uintptr_t stem_heap_take_growing(size_t bytes)
{
    bool zero;
    if (bytes <= HEAP_SLOT_MAX)
        return (uintptr_t)stem_heap_take(&zero, bytes, 16);
    return (uintptr_t)stem_heap_large_take(&zero, bytes, 16, bytes / 4);
}

/* A small block, found: its span and slot. */
static inline enum heap_verdict look_up(struct heap_span **span, uint32_t *index, uintptr_t p)
{
    if (!heap_is_ours(p))
        return HEAP_FOREIGN;
    struct heap_span *s = heap_span_of(p);
    if (!s)
        return HEAP_INSIDE;
    *span = s;
    if (s->kind == HEAP_SPAN_LARGE) {
        *index = 0;
        return s->start != p ? HEAP_INSIDE : s->state == HEAP_LIVE ? HEAP_GIVEN : HEAP_TWICE;
    }
    uint32_t i = *index = heap_slot_index(s, p);
    if (p < s->start || i >= s->bump || s->start + (size_t)i * s->slot != p)
        return HEAP_INSIDE;
    return (s->slots[i].note & HEAP_STATE) == HEAP_LIVE ? HEAP_GIVEN : HEAP_TWICE;
}

enum heap_verdict stem_heap_look(size_t *bytes, uintptr_t p)
{
    struct heap_span *span;
    uint32_t index;
    enum heap_verdict verdict = look_up(&span, &index, p);
    if (verdict == HEAP_GIVEN)
        *bytes = span->kind == HEAP_SPAN_LARGE ? span->bytes : heap_slot_bytes(span, index);
    return verdict;
}

enum heap_verdict stem_heap_give(uintptr_t p)
{
    struct heap_span *span;
    uint32_t index;
    enum heap_verdict verdict = look_up(&span, &index, p);
    if (__builtin_expect(verdict != HEAP_GIVEN, 0))
        return verdict;
    if (__builtin_expect(span->kind == HEAP_SPAN_LARGE, 0))
        return stem_heap_large_give(p);
    if (__builtin_expect(stem_heap.armed, 0))
        stem_heap_shadow_freed(p, heap_slot_bytes(span, index));
    struct heap_cache *cache = cache_enter();
    if (__builtin_expect(!cache, 0)) {
        span->slots[index].note |= HEAP_FREED;
        slot_post(span, index);
        return HEAP_GIVEN;
    }
    if (__builtin_expect(!stem_heap.armed, 1) || !hold(cache, span, index, p))
        give_now(cache, span, index);
    cache_leave(cache);
    return HEAP_GIVEN;
}

bool stem_heap_resize(uintptr_t p, size_t bytes)
{
    struct heap_span *span;
    uint32_t index;
    if (look_up(&span, &index, p) != HEAP_GIVEN)
        return false;
    if (span->kind == HEAP_SPAN_LARGE) {
        uintptr_t end = stem_heap.base + ((size_t)(span->first + span->units) << HEAP_UNIT_SHIFT);
        if (bytes > end - p - HEAP_REDZONE || bytes < span->bytes / 2 || bytes <= HEAP_SLOT_MAX)
            return false;
        span->bytes = bytes;
        if (stem_heap.armed)
            stem_heap_shadow_large(span);
        return true;
    }
    if (bytes + HEAP_REDZONE > span->slot || bytes < span->slot / 2)
        return false;
    span->slots[index].note = (uint16_t)(HEAP_LIVE | (span->slot - bytes));
    if (heap_armed_now())
        stem_heap_shadow_live(p, bytes, span->slot);
    return true;
}

/* ---- from supervised code ---- */

static inline bool is_small(size_t bytes)
{
    return bytes <= HEAP_SLOT_MAX - HEAP_REDZONE;
}

void *stem_heap_quick_take(size_t bytes, bool clear)
{
    struct heap_cache *cache = stem_thread.heap;
    if (!is_small(bytes) || !cache || cache->busy || !stem_heap.armed)
        return NULL;
    bool zero;
    cache->busy = 1;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    void *p = take_small(cache, &zero, class_of(bytes + HEAP_REDZONE), bytes);
    cache_leave(cache);
    if (clear && p && !zero)
        heap_fill(p, 0, (bytes + 7) >> 3);
    return p;
}

/* Whether a live block came from malloc, as the redzone behind it says; if it is not sure, the long way asks. */
static inline bool is_plain(const struct heap_span *span, uint32_t index, uintptr_t p)
{
    return stem_shadow_base[(p + heap_slot_bytes(span, index) + 7) >> 3] == STEM_POISON_REDZONE;
}

static inline void give_small(struct heap_cache *cache, struct heap_span *span, uint32_t index, uintptr_t p)
{
    stem_heap_shadow_freed(p, heap_slot_bytes(span, index));
    cache->busy = 1;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    if (!hold(cache, span, index, p))
        give_now(cache, span, index);
    cache_leave(cache);
}

bool stem_heap_quick_give(uintptr_t p)
{
    struct heap_cache *cache = stem_thread.heap;
    struct heap_span *span;
    uint32_t index;
    if (!cache || cache->busy || !stem_heap.armed || look_up(&span, &index, p) != HEAP_GIVEN ||
        span->kind == HEAP_SPAN_LARGE || !is_plain(span, index, p))
        return false;
    give_small(cache, span, index, p);
    return true;
}

void *stem_heap_quick_resize(bool *gone, uintptr_t old, size_t bytes)
{
    struct heap_cache *cache = stem_thread.heap;
    struct heap_span *span;
    uint32_t index;
    if (!is_small(bytes) || !bytes || !cache || cache->busy || !stem_heap.armed ||
        look_up(&span, &index, old) != HEAP_GIVEN || span->kind == HEAP_SPAN_LARGE ||
        !is_plain(span, index, old))
        return NULL;
    size_t was = heap_slot_bytes(span, index);
    *gone = false;
    /* In place only when it grows: what an undo brings back must not have been closed meanwhile. */
    if (bytes >= was && bytes + HEAP_REDZONE <= span->slot) {
        span->slots[index].note = (uint16_t)(HEAP_LIVE | (span->slot - bytes));
        stem_heap_shadow_live(old, bytes, span->slot);
        return (void *)old;
    }
    void *p = stem_heap_quick_take(bytes, false);
    if (!p)
        return NULL;
    stem_heap_copy((uintptr_t)p, old, was < bytes ? was : bytes);
    give_small(cache, span, index, old);
    *gone = true;
    return p;
}

/* ---- fork ---- */

static bool forking;

void stem_heap_before_fork(void)
{
    stem_heap_lock(&spare_lock);
    stem_heap_lock(&stem_heap.central);
    stem_heap_stacks_lock(true);
    forking = true;
}

void stem_heap_fork_done(void)
{
    forking = false;
    stem_heap_stacks_lock(false);
    stem_heap_unlock(&stem_heap.central);
    stem_heap_unlock(&spare_lock);
}

void stem_heap_after_fork(void)
{
    if (forking) {
        stem_heap_fork_done();
    } else { /* nobody told us before: what other threads held is free, whatever state they left it in */
        stem_heap.central.word = spare_lock.word = 0;
        stem_heap_stacks_lock(false);
    }
    struct heap_cache *mine = stem_thread.heap;
    int32_t tid = (int32_t)sys_call0(SYS_gettid);
    /* A cache whose thread was inside it at the fork stays as it is and is never used again. */
    for (struct heap_cache *cache = stem_heap.caches; cache; cache = cache->next)
        cache->tid = cache == mine ? tid : 0;
}
