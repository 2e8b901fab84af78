/* What lies at an address: blocks by their bookkeeping, fault kinds by their shadow. Runs in signal handlers
   on any address and takes no lock: it reads what other threads may be changing, and the worst answer is an
   old one. */
#include "stem/heap_private.h"

struct found {
    const struct heap_span *span;
    uint32_t index;
    uintptr_t start;
    size_t bytes;
    uint16_t state;
};

static bool slot_at(struct found *found, const struct heap_span *span, uint32_t index)
{
    if (index >= span->bump || index >= span->count)
        return false;
    uint16_t note = span->slots[index].note;
    found->span = span;
    found->index = index;
    found->start = span->start + (size_t)index * span->slot;
    found->bytes = span->slot - (note & ~HEAP_STATE);
    found->state = note & HEAP_STATE;
    return found->state != HEAP_NEVER;
}

/* The block in whose slot the address lies, or the following one when its start is nearer than this one's
 * end. */
static bool find(struct found *found, uintptr_t address)
{
    if (!heap_is_ours(address))
        return false;
    const struct heap_span *span = heap_span_of(address);
    if (!span)
        return false;
    if (span->kind == HEAP_SPAN_LARGE) {
        *found = (struct found){span, 0, span->start, span->bytes, span->state};
        return true;
    }
    if (!span->slot || address < span->start)
        return span->slot && slot_at(found, span, 0);
    uint32_t index = heap_slot_index(span, address), used = span->bump;
    if (index >= used && used) /* room never handed out: the last block before it */
        index = used - 1;
    struct found next;
    bool here = slot_at(found, span, index), after = slot_at(&next, span, index + 1);
    if (here && address - found->start < found->bytes)
        return true;
    if (after && (!here || next.start - address < address - (found->start + found->bytes) + 1)) {
        *found = next;
        return true;
    }
    return here;
}

bool stem_heap_describe(struct stem_heap_block *block, uintptr_t address)
{
    struct found found;
    *block = (struct stem_heap_block){0};
    if (!find(&found, address))
        return false;
    block->state = found.state == HEAP_LIVE ? STEM_HEAP_LIVE : STEM_HEAP_FREED;
    block->start = found.start;
    block->bytes = found.bytes;
    const struct heap_span *span = found.span;
    const uint32_t *stacks = span->kind == HEAP_SPAN_LARGE ? span->large_stacks
                             : span->stacks                ? &span->stacks[2 * found.index]
                                                           : NULL;
    if (stacks) {
        block->alloc_frames = stem_heap_stack(block->alloc_stack, stacks[0]);
        block->free_frames = stem_heap_stack(block->free_stack, stacks[1]);
    }
    return true;
}

enum core_fault_kind stem_fault_classify(uintptr_t bad)
{
    if (bad < 65536)
        return CORE_FAULT_NULL_DEREFERENCE;
    bool user = bad < 0x800000000000ull && !stem_shadow_is_own(bad);
    uint8_t state = stem_shadow_base && user ? stem_shadow_base[bad >> 3] : 0;
    bool before_tail = state && state < 8 && stem_shadow_base[(bad >> 3) + 1] == STEM_POISON_POOL;
    if (stem_poison_is_frame(state) || state == STEM_POISON_GAP ||
        (state && state < 8 && !before_tail && !heap_is_ours(bad) && !stem_elf_is_static(bad)))
        return CORE_FAULT_STACK_SMASH;
    if (state == STEM_POISON_FREED)
        return CORE_FAULT_USE_AFTER_FREE;
    if (state == STEM_POISON_POOL)
        return CORE_FAULT_HEAP_OVERFLOW;
    if (state == STEM_POISON_GLOBAL || (state && state < 8 && !heap_is_ours(bad) && stem_elf_is_static(bad)))
        return CORE_FAULT_GLOBAL_OVERFLOW;
    if (!(state >= STEM_POISON_REDZONE_UNSURE && state <= STEM_POISON_REDZONE_ARRAY) &&
        !(state && (bad & 7) >= state))
        return CORE_FAULT_WILD_ACCESS;
    struct found found;
    return find(&found, bad) && bad < found.start ? CORE_FAULT_HEAP_UNDERFLOW : CORE_FAULT_HEAP_OVERFLOW;
}
