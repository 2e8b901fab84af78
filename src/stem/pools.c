/* Redzones in memory pools. A pool cuts blocks from larger memory of its own, so that the heap's redzones lie around all of them
   together and an overflow runs from one into the next unseen. Here each block is made longer and its tail poisoned; when the pool is
   cleared or destroyed all its tails become addressable.

   Nobody else may miss a clearing: from then on the memory is dealt out anew, and a tail left over would report what is right. So
   calls are caught where they arrive (hooks.c). Allocations may be missed (code inside the pool library that cuts from the memory by
   itself): they have no redzone, and lie beside tails, never on them.

   A tail begins at the first whole granule behind the block and holds a seal that says which block it is of. A seal that is broken
   when an access is about to be reported means that somebody writes there by right: the tail is given up. */
#include "stem/pools.h"
#include "stem/hooks.h"
#include "stem/heap_private.h"
#include "stem/sys.h"

enum {
    TAIL = STEM_POOL_TAIL, /* bytes a block is made longer by, besides filling its last granule */
    TAIL_GRANULES = TAIL / 8,
    POOL_BUCKETS = 4096,
    RUNS = 15,      /* of one piece of a pool's list */
    SLAB = 1 << 16, /* bytes of memory for lists that are taken at once */
    FAMILIES = 32,
};
#define BLOCK_MAX (1ull << 31)

static const struct wire_allocator known[] = {
#define POOL_ALLOC(family, function, pool, size) {function, WIRE_ALLOCATOR_ALLOC, family, pool, size},
#define POOL_RESET(family, function, pool)       {function, WIRE_ALLOCATOR_RESET, family, pool, 0},
#define POOL_HEAP(family, function, size)        {function, WIRE_ALLOCATOR_HEAP, family, 0, size},
#define POOL_FREE(family, function, block)       {function, WIRE_ALLOCATOR_FREE, family, block, 0},
#define POOL_CHAIN(family, function, block, at)  {function, WIRE_ALLOCATOR_CHAIN, family, block, at},
#define POOL_EMPTY(family, function, size)       {function, WIRE_ALLOCATOR_EMPTY, family, 0, size},
#include "core/pools.def"
#undef POOL_ALLOC
#undef POOL_RESET
#undef POOL_HEAP
#undef POOL_FREE
#undef POOL_CHAIN
#undef POOL_EMPTY
};
enum { KNOWN = sizeof known / sizeof *known };

/* ---- which tails belong to a pool --------------------------------------------------------------------------- */

/* Blocks that were cut one behind the other, with their tails: one run, of which nothing belongs to anybody else. */
struct piece {
    struct piece *next;
    uint64_t count;
    struct run {
        uintptr_t low, high;
    } run[RUNS];
};
struct pool {
    struct pool *next;
    uintptr_t address;
    struct piece *pieces;
    bool closing; /* its clearing is going on */
};
/* One size for both, so that one list of free ones serves. */
union record {
    union record *next;
    struct piece piece;
    struct pool pool;
};

static struct pool *pools[POOL_BUCKETS], *recent;
static union record *free_records, *slab, *slab_end;
static uintptr_t holder; /* of the lock: the address of a thread's state, or 0 */
/* A clearing came while its own thread was changing the lists, from a signal handler: no tail can be trusted any more. */
static bool broken;

/* The C library's word for it that there is one thread: it does without locks itself then. */
static const volatile char *single;

static inline bool enter(void)
{
    uintptr_t self = (uintptr_t)&stem_thread, other = 0;
    if (single && *single) {
        if (holder)
            return false;
        *(volatile uintptr_t *)&holder = self;
        __asm__ volatile("" ::: "memory");
        return true;
    }
    while (!__atomic_compare_exchange_n(&holder, &other, self, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
        if (other == self)
            return false;
        sys_call0(SYS_sched_yield);
        other = 0;
    }
    return true;
}

static inline void leave(void)
{
    __atomic_store_n(&holder, 0, __ATOMIC_RELEASE);
}

void stem_pools_after_fork(void)
{
    /* Another thread that held it is not in this process. Records are linked in after they are filled. */
    if (holder != (uintptr_t)&stem_thread)
        leave();
}

static union record *take_record(void)
{
    union record *r = free_records;
    if (r) {
        free_records = r->next;
        return r;
    }
    if (slab == slab_end) {
        slab = stem_pages_map(SLAB);
        slab_end = slab ? slab + SLAB / sizeof *slab : NULL;
    }
    return slab ? slab++ : NULL;
}

static void give_record(union record *r)
{
    r->next = free_records;
    free_records = r;
}

static struct pool **find_pool(uintptr_t address)
{
    struct pool **at = &pools[(address >> 3) * 0x9e3779b97f4a7c15ull >> 52];
    while (*at && (*at)->address != address)
        at = &(*at)->next;
    return at;
}

/* Makes room for more runs. Returns whether there is some. */
static __attribute__((noinline)) bool grow(struct pool *pool)
{
    union record *fresh = take_record();
    if (!fresh)
        return false;
    fresh->piece.next = pool->pieces;
    fresh->piece.count = 0;
    pool->pieces = &fresh->piece;
    return true;
}

static __attribute__((noinline)) struct pool *make_pool(struct pool **at, uintptr_t address)
{
    union record *fresh = take_record();
    if (fresh) {
        fresh->pool = (struct pool){NULL, address, NULL, false};
        *at = &fresh->pool;
    }
    return fresh ? &fresh->pool : NULL;
}

static __attribute__((noinline)) bool add_run(struct pool *pool, uintptr_t low, uintptr_t high)
{
    if (!pool || pool->closing || ((!pool->pieces || pool->pieces->count == RUNS) && !grow(pool)))
        return false;
    pool->pieces->run[pool->pieces->count++] = (struct run){low, high};
    return true;
}

/* Returns whether the block from `low` on, whose tail ends at `high`, is known to the pool now. */
static inline __attribute__((always_inline)) bool add_block(uintptr_t address, uintptr_t low, uintptr_t high)
{
    if (!enter())
        return false;
    bool added = true;
    if (!recent || recent->address != address) {
        struct pool **at = find_pool(address);
        recent = *at ? *at : make_pool(at, address);
    }
    struct piece *piece = recent ? recent->pieces : NULL;
    struct run *last = piece && piece->count ? &piece->run[piece->count - 1] : NULL;
    if (last && last->high == low && !recent->closing)
        last->high = high;
    else
        added = add_run(recent, low, high);
    leave();
    return added;
}

/* ---- tails ------------------------------------------------------------------------------------------------------ */

struct seal {
    uint64_t start;
    uint32_t bytes, stack;
};
#define SEAL_KEY 0x5bd1e995c0a7f35dull

/* Where the tail begins whose memory, or whose block's last partial granule, `bad` lies in. Returns 0 when there is none. */
static uintptr_t tail_of(uintptr_t bad)
{
    if (!stem_shadow_base || bad >= 0x7ffffffff000ull || stem_shadow_is_own(bad))
        return 0;
    const uint8_t *s = stem_shadow_base;
    uintptr_t granule = bad >> 3;
    if (s[granule] && s[granule] < 8 && s[granule + 1] == STEM_POISON_POOL)
        return (granule + 1) << 3;
    if (s[granule] != STEM_POISON_POOL)
        return 0;
    for (unsigned i = 1; i < TAIL_GRANULES && s[granule - 1] == STEM_POISON_POOL; i++)
        granule--;
    return granule << 3;
}

static bool read_seal(struct seal *seal, uintptr_t tail)
{
    if (!stem_safe_copy(seal, (const void *)tail, sizeof *seal))
        return false;
    seal->start ^= SEAL_KEY ^ tail;
    return seal->start <= tail && ((seal->start + seal->bytes + 7) & ~7ul) == tail;
}

static void open_tail(uintptr_t tail)
{
    uint8_t *s = stem_shadow_base + (tail >> 3);
    if (*s != STEM_POISON_POOL)
        return; /* handed out anew, or given up */
    uint32_t whole = STEM_POISON_POOL * 0x010101u;
    _Static_assert(TAIL_GRANULES == 3, "read as one word below");
    if ((*(const uint32_t *)s & 0xffffff) == whole) {
        *(uint16_t *)s = 0;
        s[2] = 0;
    } else {
        for (unsigned i = 0; i < TAIL_GRANULES && s[i] == STEM_POISON_POOL; i++)
            s[i] = 0;
    }
    if (s[-1] && s[-1] < 8)
        s[-1] = 0;
}

/* Words at once where all poison is that of tails, as a rule. */
static void open_run(const struct run *run)
{
    const uint64_t high_bits = 0x8080808080808080ull, tails = STEM_POISON_POOL * 0x0101010101010101ull;
    uint8_t *s = stem_shadow_base + (run->low >> 3), *end = stem_shadow_base + (run->high >> 3);
    for (; end - s >= 8; s += 8) {
        uint64_t word = *(const uint64_t *)s, poisoned = (word & high_bits) >> 7 << 8;
        poisoned -= (word & high_bits) >> 7; /* ones in every byte that is poison */
        if ((word & poisoned) == (tails & poisoned)) {
            if (word)
                *(uint64_t *)s = 0;
            continue;
        }
        for (unsigned i = 0; i < 8; i++)
            if (s[i] < 8 || s[i] == STEM_POISON_POOL)
                s[i] = 0;
    }
    for (; s < end; s++)
        if (*s < 8 || *s == STEM_POISON_POOL)
            *s = 0;
}

bool stem_pool_describe(struct stem_heap_block *block, uintptr_t bad)
{
    struct seal seal;
    uintptr_t tail = tail_of(bad);
    if (!tail || !read_seal(&seal, tail))
        return false;
    *block = (struct stem_heap_block){.state = STEM_HEAP_LIVE, .start = seal.start, .bytes = seal.bytes};
    block->alloc_frames = stem_heap_stack(block->alloc_stack, seal.stack);
    return true;
}

bool stem_pool_forget(uintptr_t bad)
{
    struct seal seal;
    uintptr_t tail = tail_of(bad);
    if (!tail || (!broken && read_seal(&seal, tail)))
        return false;
    open_tail(tail);
    return true;
}

void stem_pool_undo(uintptr_t tail)
{
    open_tail(tail);
}

/* ---- calls ------------------------------------------------------------------------------------------------------- */

static uint64_t run(const struct stem_call *call)
{
    uint64_t (*real)(uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t) =
        (uint64_t(*)(uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t))call->target;
    return real(call->arg[0], call->arg[1], call->arg[2], call->arg[3], call->arg[4], call->arg[5]);
}

/* The counter stands on a page that all processes share: exact for the first 64 blocks, from then on within a sixty-fourth. */
static void count_block(void)
{
    static uint64_t counted, waiting; /* a race of threads loses one, rarely */
    if (++waiting <= counted / 64)
        return;
    stem_count(CORE_COUNTER_POOL_BLOCKS, waiting);
    counted += waiting;
    waiting = 0;
}

void stem_pool_seal(const struct stem_call *call, uintptr_t start, size_t bytes)
{
    uintptr_t tail = (start + bytes + 7) & ~7ul;
    uint32_t stack =
        stem_heap.stacks ? stem_heap_keep_stack(call->return_pc, (uintptr_t)call->stack_args, call->rbp) : 0;
    /* Before it may have been where an undone allocation left its tail. */
    stem_shadow_open(start & ~7ul, start + bytes - (start & ~7ul));
    *(struct seal *)tail = (struct seal){start ^ SEAL_KEY ^ tail, (uint32_t)bytes, stack};
    stem_shadow_close(tail, TAIL, STEM_POISON_POOL);
    stem_undo_compensate(STEM_COMPENSATE_POOL, tail);
    count_block();
}

static void poison(struct stem_call *call, uintptr_t pool, uintptr_t start, size_t bytes)
{
    uintptr_t end = start + bytes;
    if (add_block(pool, start & ~7ul, ((end + 7) & ~7ul) + TAIL))
        stem_pool_seal(call, start, bytes);
    else
        stem_shadow_open(start & ~7ul, (end + 7 - (start & ~7ul)) & ~7ul);
}

static bool allocate(struct stem_call *call, const struct hook *hook)
{
    uint64_t bytes = call->arg[hook->size], room = ((bytes + 7) & ~7ull) + TAIL;
    if (bytes >= BLOCK_MAX || broken)
        return false;
    uintptr_t pool = call->arg[hook->pool];
    call->arg[hook->size] = room;
    call->rax = run(call);
    /* Without its right size a block that is not aligned could end with too little room for a tail. */
    if (call->rax)
        poison(call, pool, call->rax, bytes);
    return true;
}

/* The shadow of a block and of its tail, in few stores. No word is written that is not theirs alone: another thread may be at the
   next. In: `block`, the granules before the tail, at least one. */
static inline void paint(uint8_t *s, size_t block, uint8_t last)
{
    const uint64_t poison = STEM_POISON_POOL * 0x010101ull;
    _Static_assert(TAIL_GRANULES == 3, "as many bytes are above the last");
    uint8_t *end = s + block + TAIL_GRANULES;
    if (block > 4) {
        for (; s < end - 8; s += 8)
            *(uint64_t *)s = 0;
        *(uint64_t *)(end - 8) = (poison << 8 | last) << 32;
    } else {
        *(uint32_t *)s = 0;
        *(uint32_t *)(end - 4) = (uint32_t)(poison << 8 | last);
    }
}

/* Does what allocate() does behind the call. Where nothing is watched any more, a tail harms nobody. */
uintptr_t stem_pool_taken(uintptr_t start, uintptr_t pool, size_t bytes)
{
    uintptr_t low = start & ~7ul, end = start + bytes, tail = (end + 7) & ~7ul;
    if (broken)
        return start;
    if (tail == low || !add_block(pool, low, tail + TAIL)) {
        stem_shadow_open(low, tail - low);
        return start;
    }
    paint(stem_shadow_base + (low >> 3), (tail - low) >> 3, end & 7);
    *(struct seal *)tail = (struct seal){start ^ SEAL_KEY ^ tail, (uint32_t)bytes, 0};
    stem_undo_compensate(STEM_COMPENSATE_POOL, tail);
    count_block();
    return start;
}

/* Takes the pool out of the lists. With `closing` an empty one stands in its place, to which no tail is added. Returns it. */
static struct pool *take_pool(uintptr_t address, bool closing)
{
    if (!enter()) {
        broken = true;
        return NULL;
    }
    struct pool **at = find_pool(address), *pool = *at;
    recent = NULL;
    if (pool && (closing || pool->closing))
        *at = pool->next;
    else
        pool = NULL;
    union record *fresh = closing ? take_record() : NULL;
    if (fresh) {
        at = find_pool(address);
        fresh->pool = (struct pool){*at, address, NULL, true};
        *at = &fresh->pool;
    }
    leave();
    return pool;
}

static void give_pool(struct pool *pool)
{
    if (!pool || !enter())
        return; /* the records are lost, no harm */
    for (struct piece *p = pool->pieces, *next; p; p = next) {
        next = p->next;
        give_record((union record *)p);
    }
    give_record((union record *)pool);
    leave();
}

/* The pool's own cleanups run inside the function and may take blocks from it still (Apache logs a request so): a tail behind one
   of these would be left over. */
static bool reset(struct stem_call *call, uintptr_t address)
{
    struct pool *pool = take_pool(address, true);
    for (struct piece *p = pool ? pool->pieces : NULL; p; p = p->next)
        for (uint64_t i = 0; i < p->count; i++)
            open_run(&p->run[i]);
    give_pool(pool);
    call->rax = run(call);
    give_pool(take_pool(address, false));
    return true;
}

/* ---- blocks that are freed one by one: from the heap ---------------------------------------------------------------- */

static struct heap_caller caller_of(const struct stem_call *call)
{
    return (struct heap_caller){call->return_pc, (uintptr_t)call->stack_args, call->rbp};
}

static bool take_from_heap(struct stem_call *call, size_t bytes)
{
    struct heap_caller caller = caller_of(call);
    void *p = bytes ? stem_heap_malloc_at(bytes, 16, false, &caller) : NULL;
    if (!p)
        return false; /* the allocator has its own way to be out of memory */
    stem_undo_compensate(STEM_COMPENSATE_MALLOC, (uintptr_t)p);
    count_block();
    call->rax = (uint64_t)p;
    return true;
}

/* Returns false for a block of the allocator's own, from before it was hooked. */
static bool give_to_heap(struct stem_call *call, uintptr_t p)
{
    struct heap_caller caller = caller_of(call);
    size_t bytes;
    enum heap_verdict verdict = p ? stem_heap_look(&bytes, p) : HEAP_FOREIGN;
    if (verdict == HEAP_GIVEN && stem_heap_free_at(p, &caller) == HEAP_GIVEN) {
        stem_undo_compensate(STEM_COMPENSATE_FREE, p);
        return true;
    }
    if (verdict == HEAP_FOREIGN)
        return false;
    /* The middle of a heap block may be the allocator's, which takes its memory from there. */
    if (verdict == HEAP_INSIDE)
        return false;
    enum core_fault_kind kind = stem_heap_judge(verdict, p, (uintptr_t)&call->return_pc);
    if (kind != CORE_FAULT_NONE)
        stem_fault_free(kind, p, call->return_pc, (uintptr_t)&call->return_pc);
    return true;
}

/* All blocks of the heap come out of the list; the allocator's own, when there are any, stay in it. */
static bool give_chain(struct stem_call *call, const struct hook *hook)
{
    uintptr_t *link = &call->arg[hook->pool], offset = call->arg[hook->size];
    while (*link) {
        uintptr_t block = *link, next = *(const uintptr_t *)(block + offset);
        if (give_to_heap(call, block))
            *link = next;
        else
            link = (uintptr_t *)(block + offset);
    }
    return !call->arg[hook->pool];
}

static bool enter_pool(struct stem_call *call, const struct hook *hook)
{
    switch (hook->role) {
    case WIRE_ALLOCATOR_ALLOC:
        return stem_armed() && allocate(call, hook);
    case WIRE_ALLOCATOR_RESET:
        return reset(call, call->arg[hook->pool]);
    case WIRE_ALLOCATOR_HEAP:
        return stem_armed() && take_from_heap(call, call->arg[hook->size]);
    case WIRE_ALLOCATOR_FREE: /* also when no longer armed: what the heap handed out goes back there */
        return give_to_heap(call, call->arg[hook->pool]);
    case WIRE_ALLOCATOR_CHAIN:
        return give_chain(call, hook);
    default:
        if (stem_armed())
            call->arg[hook->size] = 0;
        return 0;
    }
}

/* ---- hooking ------------------------------------------------------------------------------------------------------- */

static bool hook(struct stem_object *o, struct stem_function *f, const struct wire_allocator *entry)
{
    return stem_hook_add(o, f,
                         &(struct hook){.enter = enter_pool,
                                        .name = entry->function,
                                        .role = entry->role,
                                        .pool = entry->pool,
                                        .size = entry->size,
                                        .takes = entry->role == WIRE_ALLOCATOR_ALLOC && entry->pool == 0 &&
                                                 entry->size == 1 && !stem_heap.stacks});
}

static bool takes_back(unsigned role)
{
    return role == WIRE_ALLOCATOR_RESET || role == WIRE_ALLOCATOR_FREE || role == WIRE_ALLOCATOR_CHAIN;
}

static void hook_family(struct stem_object *o, const struct wire_allocator *table, unsigned count,
                        unsigned family)
{
    struct stem_function *functions[HOOKS_MAX];
    unsigned allocs = 0, resets = 0, missing = 0, refused = 0;
    bool needs_reset = false;
    for (unsigned i = 0; i < count; i++) {
        functions[i] = NULL;
        if (table[i].family != family)
            continue;
        functions[i] = stem_hook_find(o, table[i].function);
        bool is_reset = takes_back(table[i].role), good = functions[i] && functions[i]->patched_bytes;
        if (good && functions[i]->hooked)
            return; /* another line was first */
        allocs += good && !is_reset;
        needs_reset |= !is_reset && table[i].role != WIRE_ALLOCATOR_EMPTY;
        resets += good && is_reset;
        missing += !functions[i] && is_reset;
        refused += functions[i] && !good && is_reset;
        if (!good)
            functions[i] = NULL;
    }
    if (!allocs)
        return;
    if ((!resets && needs_reset) || missing || refused || allocs + resets > stem_hook_room()) {
        stem_count(CORE_COUNTER_POOLS_REFUSED, 1);
        return;
    }
    for (unsigned i = 0; i < count; i++) /* what takes memory back comes first */
        if (functions[i] && takes_back(table[i].role) && !hook(o, functions[i], &table[i]))
            return;
    for (unsigned i = 0; i < count; i++)
        if (functions[i] && !takes_back(table[i].role) && !hook(o, functions[i], &table[i]))
            return;
}

void stem_pools_hook(struct stem_object *o)
{
    if (!stem_shadow_base || !o->symbols)
        return;
    single = stem_libc_symbol("__libc_single_threaded");
    stem_heap_start(); /* from now on it is known whether stacks are kept */
    const struct wire_config *config = &stem_control->config;
    unsigned told =
        config->allocator_count < WIRE_ALLOCATORS_MAX ? config->allocator_count : WIRE_ALLOCATORS_MAX;
    for (unsigned family = 0; family < FAMILIES; family++)
        hook_family(o, config->allocators, told, family);
    for (unsigned family = 0; family < FAMILIES; family++)
        hook_family(o, known, KNOWN, family);
}
