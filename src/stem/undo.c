/* Undo log: one 64 KiB ring per thread, entries of two words.

       { old value, address * 8 + code }   code 1..4: 1, 2, 4, 8 bytes
       { -, address of the return-address slot }   code 0: mark, written at the entry of an activation
       { copy, address * 8 + 5 }           a block: copy points to its length and old bytes in the arena behind the ring
       { argument, what * 8 + 6 }          compensation

   The position in the ring is the undo point: nothing is done at return, nothing is committed. Nested activations and threads
   cost nothing extra. To undo an activation: walk back to its mark, restoring. Entries older than the ring is long are
   overwritten; a mark that is no longer there is a refused undo, counted and reported.

   The ring is 64 KiB-aligned, so that a 16-bit add wraps it, and its first page is mapped once more behind it for
   a group of appends that straddles the end. That needs shared memory: a forked child gets a ring of its own. */
#define _GNU_SOURCE
#include "stem/engine.h"
#include "stem/operators.h"
#include "stem/pools.h"
#include "stem/sys.h"

#include <sys/mman.h>

enum {
    RING_BYTES = 1 << 16,
    ALIAS_BYTES = 4096,
    COPIES_BYTES = 1 << 20,
    ENTRY_BYTES = 16,
    RING_ENTRIES = RING_BYTES / ENTRY_BYTES
};
enum { CODE_MARK = 0, CODE_BLOCK = 5, CODE_COMPENSATE = 6 };
enum { COPY_MAX = COPIES_BYTES / 4 };

struct entry {
    uint64_t old, where;
};

/* Threads that nobody prepared log here: written, never read. */
static uint8_t scratch_ring[RING_BYTES + ALIAS_BYTES] __attribute__((aligned(RING_BYTES)));
_Thread_local struct stem_thread stem_thread = {.ring = (uint64_t)scratch_ring};

/* Rings of threads that have ended are taken over by new ones. */
enum { POOL_MAX = 256 };
static struct {
    uint64_t base;
    uint32_t tid;
} pool[POOL_MAX];

static uint64_t map_ring(void)
{
    /* Room for alignment, then shared pages at the aligned place, the alias behind them, and private pages for copies. */
    size_t whole = 2 * RING_BYTES + ALIAS_BYTES + COPIES_BYTES;
    long room = sys_call6(SYS_mmap, stem_pages_place(whole), whole, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (sys_failed(room))
        return 0;
    uint64_t base = ((uint64_t)room + RING_BYTES - 1) & ~(uint64_t)(RING_BYTES - 1);
    long ring = sys_call6(SYS_mmap, base, RING_BYTES, PROT_READ | PROT_WRITE,
                          MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    long alias =
        sys_call5(SYS_mremap, base, 0, ALIAS_BYTES, MREMAP_MAYMOVE | MREMAP_FIXED, base + RING_BYTES);
    if (sys_failed(ring) || sys_failed(alias))
        return 0;
    return base;
}

static uint64_t take_ring(uint32_t tid)
{
    uint32_t process = (uint32_t)sys_call0(SYS_getpid);
    for (unsigned i = 0; i < POOL_MAX; i++) {
        uint32_t owner = __atomic_load_n(&pool[i].tid, __ATOMIC_ACQUIRE);
        if (!owner)
            continue;
        if (sys_call3(SYS_tgkill, process, owner, 0) == -3 /* ESRCH */ &&
            __atomic_compare_exchange_n(&pool[i].tid, &owner, tid, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
            return pool[i].base;
    }
    uint64_t base = map_ring();
    for (unsigned i = 0; base && i < POOL_MAX; i++) {
        uint32_t none = 0;
        if (__atomic_compare_exchange_n(&pool[i].tid, &none, tid, false, __ATOMIC_ACQ_REL,
                                        __ATOMIC_RELAXED)) {
            pool[i].base = base;
            break;
        }
    }
    return base;
}

void stem_undo_thread_start(void)
{
    struct stem_thread *t = &stem_thread;
    if (t->ring_base || stem_control->config.mode != WIRE_MODE_FULL)
        return;
    t->tid = (uint32_t)sys_call0(SYS_gettid);
    uint64_t base = take_ring(t->tid);
    if (!base)
        return;
    t->ring_base = t->ring = base;
    t->copies = base + RING_BYTES + ALIAS_BYTES;
}

void stem_undo_after_fork(void)
{
    struct stem_thread *t = &stem_thread;
    if (!t->ring_base)
        return;
    /* New shared pages in the same place: the parent goes on writing to the old ones. What was logged before is lost to
       the child, so activations that were live at the fork cannot be undone there. */
    uint64_t base = t->ring_base;
    long ring = sys_call6(SYS_mmap, base, RING_BYTES, PROT_READ | PROT_WRITE,
                          MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    long alias =
        sys_call5(SYS_mremap, base, 0, ALIAS_BYTES, MREMAP_MAYMOVE | MREMAP_FIXED, base + RING_BYTES);
    t->tid = (uint32_t)sys_call0(SYS_gettid);
    for (unsigned i = 0; i < POOL_MAX; i++)
        pool[i].tid = pool[i].base == base ? t->tid : 0;
    if (sys_failed(ring) || sys_failed(alias)) {
        t->ring_base = 0;
        t->ring = (uint64_t)scratch_ring;
    }
}

/* ---- appends from C --------------------------------------------------------------------------------------------- */

static uint64_t advance(uint64_t position, uint64_t bytes)
{
    return (position & ~(uint64_t)(RING_BYTES - 1)) | ((position + bytes) & (RING_BYTES - 1));
}

static void append(uint64_t old, uint64_t where)
{
    struct stem_thread *t = &stem_thread;
    if (!t->ring_base)
        return;
    /* Entry first, position last: a signal in between loses nothing. */
    *(struct entry *)t->ring = (struct entry){old, where};
    __asm__ volatile("" ::: "memory");
    t->ring = advance(t->ring, ENTRY_BYTES);
}

struct copy {
    uint64_t bytes;
    uint8_t old[];
};

static size_t copy_room(size_t bytes)
{
    return (sizeof(struct copy) + bytes + 15) & ~(size_t)15;
}

/* Short ranges as single entries. The last word is read whole where that stays within its page. */
static void log_words(uintptr_t address, size_t bytes)
{
    uint64_t old;
    for (; bytes >= 8; address += 8, bytes -= 8)
        if (stem_safe_read(&old, address))
            append(old, address << 3 | 4);
    if (!bytes)
        return;
    if ((address & 4095) > 4088) {
        for (; bytes; address++, bytes--) {
            old = 0;
            if (stem_safe_copy(&old, (const void *)address, 1))
                append(old, address << 3 | 1);
        }
        return;
    }
    if (!stem_safe_read(&old, address))
        return;
    for (unsigned code = 3; code; code--) { /* 4, 2, 1 bytes, as the length's bits say */
        size_t part = (size_t)1 << (code - 1);
        if (!(bytes & part))
            continue;
        append(old, address << 3 | code);
        old >>= 8 * part;
        address += part;
    }
}

void stem_undo_log(uintptr_t address, size_t bytes)
{
    struct stem_thread *t = &stem_thread;
    if (!t->ring_base || !bytes)
        return;
    if (bytes <= 64) {
        log_words(address, bytes);
        return;
    }
    uint64_t start = t->ring_base + RING_BYTES + ALIAS_BYTES, end = start + COPIES_BYTES;
    size_t room = copy_room(bytes);
    if (room > COPY_MAX) {
        append(bytes, (uint64_t)STEM_COMPENSATE_LARGE << 3 | CODE_COMPENSATE);
        return;
    }
    if (end - t->copies < room)
        t->copies = start; /* older copies go; their entries find another length or address there */
    struct copy *copy = (struct copy *)t->copies;
    copy->bytes = bytes;
    if (!stem_safe_copy(copy->old, (const void *)address, bytes))
        return;
    t->copies += room;
    append((uint64_t)copy, address << 3 | CODE_BLOCK);
}

void stem_undo_compensate(enum stem_compensation what, uintptr_t argument)
{
    append(argument, (uint64_t)what << 3 | CODE_COMPENSATE);
}

/* ---- undoing ------------------------------------------------------------------------------------------------------- */

static struct entry *back(uint64_t *position)
{
    *position = advance(*position, RING_BYTES - ENTRY_BYTES);
    return (struct entry *)*position;
}

/* How many entries lie between the position and the mark, or -1 when it is out of reach: overwritten itself, or with a
   block copy behind it that may be. */
static int distance(uint64_t position, uintptr_t mark)
{
    size_t copied = 0;
    for (int n = 0; n < RING_ENTRIES - 64; n++) {
        const struct entry *e = back(&position);
        if (e->where == mark)
            return n;
        if ((e->where & 7) == CODE_BLOCK) {
            copied += copy_room(((const struct copy *)e->old)->bytes);
            if (copied > COPIES_BYTES - COPY_MAX)
                return -1;
        }
    }
    return -1;
}

static uint64_t end_of_log(unsigned pending)
{
    return advance(stem_thread.ring, pending * (uint64_t)ENTRY_BYTES);
}

bool stem_undo_reaches(uintptr_t mark, unsigned pending)
{
    return stem_thread.ring_base && distance(end_of_log(pending), mark) >= 0;
}

bool stem_undo_find(uint64_t *position, uintptr_t mark, unsigned pending)
{
    uint64_t end = end_of_log(pending);
    int n = stem_thread.ring_base ? distance(end, mark) : -1;
    *position = advance(end, RING_BYTES - (uint64_t)(n + 1) * ENTRY_BYTES);
    return n >= 0;
}

unsigned stem_undo_distance(uint64_t position)
{
    return (unsigned)((stem_thread.ring - position) % RING_BYTES) / ENTRY_BYTES;
}

/* A block that was freed since, or never was the program's, must not be written: the bytes now belong to the allocator. */
static bool may_restore(uintptr_t address, size_t bytes)
{
    uintptr_t bad = stem_shadow_find_bad(address, bytes);
    return !bad || (!stem_shadow_is_own(bad) && stem_poison_is_frame(stem_shadow_base[bad >> 3]));
}

/* Stack below the faulting instruction and its red zone, where registers just restored still stand: frames of callees that have returned,
   and now of the code that undoes. */
struct dead_stack {
    uintptr_t low, high;
};

static struct dead_stack dead_stack_below(uintptr_t sp)
{
    enum { OURS_MAX = 1 << 20, DEEPER = 1 << 14, RED_ZONE = 128 };
    uintptr_t here = (uintptr_t)__builtin_frame_address(0);
    /* A signal handler may run on another stack: then nothing of ours lies on this one. */
    return sp - here < OURS_MAX && sp - here > RED_ZONE ? (struct dead_stack){here - DEEPER, sp - RED_ZONE}
                                                        : (struct dead_stack){0, 0};
}

static void restore(uintptr_t address, const void *old, size_t bytes, struct dead_stack dead)
{
    uintptr_t end = address + bytes;
    if (!may_restore(address, bytes))
        return;
    if (end <= dead.low || address >= dead.high) {
        stem_safe_copy((void *)address, old, bytes);
        return;
    }
    if (address < dead.low)
        stem_safe_copy((void *)address, old, dead.low - address);
    if (end > dead.high)
        stem_safe_copy((void *)dead.high, (const uint8_t *)old + (dead.high - address), end - dead.high);
}

/* Takes a block out of the quarantine, as one of the family that it came from. */
static bool take_back(uintptr_t p)
{
    struct stem_heap_block block;
    bool known = stem_heap_describe(&block, p) && block.start == p;
    size_t bytes = block.bytes;
    enum stem_family family = known ? stem_family_of(p, bytes) : FAMILY_UNKNOWN;
    if (!stem_heap_undo_free(p))
        return false;
    stem_family_set(p, bytes, family);
    return true;
}

static uint32_t compensate(unsigned what, uint64_t argument)
{
    switch (what) {
    case STEM_COMPENSATE_MALLOC:
        stem_heap_undo_malloc(argument);
        return 0;
    case STEM_COMPENSATE_FREE:
        return take_back(argument) ? 0 : WIRE_NOT_UNDONE_NATIVE;
    case STEM_COMPENSATE_LOCK: {
        /* Only while this thread holds it (the third word says who does): the activation may have released it itself. */
        int (*unlock)(void *) = stem_libc_symbol("pthread_mutex_unlock");
        if (unlock && ((const uint32_t *)argument)[2] == stem_thread.tid)
            unlock((void *)argument);
        return 0;
    }
    case STEM_COMPENSATE_OPEN:
        sys_call1(SYS_close, argument);
        return 0;
    case STEM_COMPENSATE_POOL:
        stem_pool_undo(argument);
        return 0;
    case STEM_COMPENSATE_LARGE:
        return WIRE_NOT_UNDONE_LARGE;
    case STEM_COMPENSATE_NATIVE:
        return WIRE_NOT_UNDONE_NATIVE;
    default:
        return WIRE_NOT_UNDONE_SYSCALL;
    }
}

uint32_t stem_undo_to(uintptr_t mark, unsigned pending, uintptr_t sp)
{
    struct dead_stack dead = dead_stack_below(sp);
    struct stem_thread *t = &stem_thread;
    if (!t->ring_base) {
        stem_count(CORE_COUNTER_UNDO_REFUSED, 1);
        return WIRE_NOT_UNDONE_UNARMED;
    }
    uint64_t position = end_of_log(pending);
    int n = distance(position, mark);
    if (n < 0) {
        stem_count(CORE_COUNTER_UNDO_LAPPED, 1);
        return WIRE_NOT_UNDONE_LAPPED;
    }
    uint32_t not_undone = 0;
    while (n--) {
        const struct entry *e = back(&position);
        unsigned code = e->where & 7;
        uintptr_t address = e->where >> 3;
        if (code >= 1 && code <= 4 && address)
            restore(address, &e->old, 1u << (code - 1), dead);
        else if (code == CODE_BLOCK) {
            const struct copy *copy = (const struct copy *)e->old;
            restore(address, copy->old, copy->bytes, dead);
        } else if (code == CODE_COMPENSATE) {
            not_undone |= compensate((unsigned)address, e->old);
        }
    }
    t->ring = advance(position, RING_BYTES - ENTRY_BYTES); /* the mark goes too */
    return not_undone;
}
