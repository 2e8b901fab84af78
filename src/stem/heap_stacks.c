/* Call stacks of allocations and frees: each distinct stack is kept once, and a block remembers its number.
 */
#include "stem/heap_private.h"

enum {
    TABLE = 1 << 16, /* hash slots; a stack that finds no place near its own is not kept */
    PROBES = 16,
    WORDS = 1 << 22, /* room for frames, 32 MiB, reserved and touched as it fills */
};

/* At `words[number]`: the count, then the frames. Number 0 is no stack. */
static uint64_t *words;
static uint32_t *table;
static uint32_t words_used = 1;
static struct heap_lock lock;

static bool same(uint32_t number, const uintptr_t *frames, unsigned count)
{
    if (words[number] != count)
        return false;
    for (unsigned i = 0; i < count; i++)
        if (words[number + 1 + i] != frames[i])
            return false;
    return true;
}

/* The number of a stack that is kept already, or 0. Without the lock: entries are written before their number is published and never
   change. */
static uint32_t find(const uintptr_t *frames, unsigned count, uint64_t hash)
{
    for (unsigned i = 0; table && i < PROBES; i++) {
        uint32_t number = __atomic_load_n(&table[(hash + i) % TABLE], __ATOMIC_ACQUIRE);
        if (!number)
            return 0;
        if (same(number, frames, count))
            return number;
    }
    return 0;
}

static uint32_t insert(const uintptr_t *frames, unsigned count, uint64_t hash)
{
    for (unsigned i = 0; i < PROBES; i++) {
        uint32_t *slot = &table[(hash + i) % TABLE];
        if (*slot)
            continue;
        if (words_used + count + 1 > WORDS)
            return 0;
        uint32_t number = words_used;
        words[number] = count;
        for (unsigned k = 0; k < count; k++)
            words[number + 1 + k] = frames[k];
        words_used += count + 1;
        __atomic_store_n(slot, number, __ATOMIC_RELEASE);
        return number;
    }
    return 0;
}

static uint32_t keep(const uintptr_t *frames, unsigned count)
{
    if (!count)
        return 0;
    uint64_t hash = CORE_HASH_SEED;
    for (unsigned i = 0; i < count; i++) /* by words: by bytes it was half the cost of a malloc */
        hash = (hash ^ frames[i]) * 0x9e3779b97f4a7c15ull;
    hash ^= hash >> 32;
    uint32_t number = find(frames, count, hash);
    if (number)
        return number;
    stem_heap_lock(&lock);
    if (!words)
        words = stem_pages_map((size_t)WORDS * sizeof *words);
    if (words && !table)
        __atomic_store_n(&table, stem_pages_map(TABLE * sizeof *table), __ATOMIC_RELEASE);
    if (words && table) {
        number = find(frames, count, hash); /* somebody else may have been faster */
        if (!number)
            number = insert(frames, count, hash);
    }
    stem_heap_unlock(&lock);
    return number;
}

uint32_t stem_heap_stack(uintptr_t *frames, uint32_t number)
{
    if (!number || !words)
        return 0;
    uint32_t count = (uint32_t)words[number];
    for (uint32_t i = 0; i < count; i++)
        frames[i] = words[number + 1 + i];
    return count;
}

uint32_t stem_heap_keep_stack(uintptr_t pc, uintptr_t sp, uintptr_t rbp)
{
    uintptr_t frames[WIRE_HEAP_FRAMES_MAX];
    return keep(frames, stem_backtrace(frames, WIRE_HEAP_FRAMES_MAX, pc, sp, rbp));
}

void stem_heap_record(uintptr_t p, int which, uintptr_t pc, uintptr_t sp, uintptr_t rbp)
{
    struct heap_span *span = stem_heap.stacks && heap_is_ours(p) ? heap_span_of(p) : NULL;
    if (!span)
        return;
    uint32_t *place;
    if (span->kind == HEAP_SPAN_LARGE) {
        place = span->large_stacks;
    } else {
        if (!span->stacks)
            return;
        place = &span->stacks[2 * heap_slot_index(span, p)];
    }
    place[which] = stem_heap_keep_stack(pc, sp, rbp);
    if (!which)
        place[1] = 0;
}

void stem_heap_stacks_lock(bool take)
{
    if (take)
        stem_heap_lock(&lock);
    else if (lock.word)
        stem_heap_unlock(&lock);
}
