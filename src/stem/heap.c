/* The exported allocator: malloc and its family with glibc's semantics, over the blocks of heap_cache.c. */
#include "stem/heap_private.h"
#include "stem/sys.h"

#define EXPORT __attribute__((visibility("default")))
/* The caller of an exported function: its frame pointer is at frame[0], the return address at frame[1]. */
#define FRAME() ((uintptr_t *)__builtin_frame_address(0))

enum { NO_MEMORY = 12, INVALID = 22 }; /* ENOMEM, EINVAL */
#define LIMIT ((size_t)PTRDIFF_MAX)

int *__errno_location(void);

static void *fail(int error)
{
    *__errno_location() = error;
    return NULL;
}

void stem_heap_copy(uintptr_t to, uintptr_t from, size_t bytes)
{
    /* Blocks are whole words long with their redzones, so that the last word may be copied whole. */
    size_t words = (bytes + 7) >> 3;
    if (words > 64) {
        __asm__ volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(words) : : "memory");
        return;
    }
    for (size_t i = 0; i < words; i++)
        ((uint64_t *)to)[i] = ((const uint64_t *)from)[i];
}

/* ---- shared by the exported names and by checked calls ---- */

static inline void *obtain(size_t bytes, size_t align, bool clear)
{
    bool zero = false;
    void *p = stem_heap_take(&zero, bytes, align);
    if (clear && p && !zero)
        heap_fill(p, 0, (bytes + 7) >> 3);
    return p;
}

void *stem_heap_malloc_at(size_t bytes, size_t align, bool clear, const struct heap_caller *caller)
{
    if (bytes > LIMIT)
        return NULL;
    void *p = obtain(bytes, align, clear);
    if (p && stem_heap.stacks)
        stem_heap_record((uintptr_t)p, 0, caller->pc, caller->sp, caller->rbp);
    return p;
}

enum heap_verdict stem_heap_free_at(uintptr_t p, const struct heap_caller *caller)
{
    size_t bytes;
    /* Recorded first: once freed, the block may be another thread's. */
    if (stem_heap.stacks && stem_heap_look(&bytes, p) == HEAP_GIVEN)
        stem_heap_record(p, 1, caller->pc, caller->sp, caller->rbp);
    return stem_heap_give(p);
}

/* Memory of the loader's own first allocator, or of another allocator, may be freed here: it is 16-byte
   aligned and mapped, and not on this thread's stack. Anything else was never allocated. */
static bool cannot_be_allocated(uintptr_t p, uintptr_t frame)
{
    unsigned char resident;
    if (p & 15 || p >= 0x7ffffffff000ull)
        return true;
    /* Our own reservations are mapped, but nothing there is anybody's block. */
    if (p - stem_heap.base < stem_heap.reserved ||
        (stem_shadow_base && p - (uintptr_t)stem_shadow_base < 1ull << 44))
        return true;
    if (p >= frame && (p < stem_thread.stack_high || p - frame < 65536))
        return true;
    return sys_failed(sys_call3(SYS_mincore, p & ~(uintptr_t)4095, 1, &resident)) || stem_elf_is_static(p);
}

enum core_fault_kind stem_heap_judge(enum heap_verdict verdict, uintptr_t p, uintptr_t frame)
{
    if (verdict == HEAP_TWICE)
        return CORE_FAULT_DOUBLE_FREE;
    if (verdict == HEAP_INSIDE ||
        (verdict == HEAP_FOREIGN && stem_heap.armed && cannot_be_allocated(p, frame)))
        return CORE_FAULT_INVALID_FREE;
    return CORE_FAULT_NONE;
}

static void complain(enum heap_verdict verdict, uintptr_t p, const uintptr_t *frame)
{
    enum core_fault_kind kind = stem_heap_judge(verdict, p, (uintptr_t)(frame + 1));
    if (kind != CORE_FAULT_NONE)
        stem_fault_free(kind, p, frame[1], (uintptr_t)(frame + 1));
}

static inline void *allocate(size_t bytes, size_t align, bool clear, uintptr_t *frame)
{
    if (__builtin_expect(bytes > LIMIT, 0))
        return fail(NO_MEMORY);
    void *p = obtain(bytes, align, clear);
    if (__builtin_expect(!p, 0))
        return fail(NO_MEMORY);
    if (__builtin_expect(stem_heap.stacks, 0))
        stem_heap_record((uintptr_t)p, 0, frame[1], (uintptr_t)(frame + 2), frame[0]);
    return p;
}

static inline void release(uintptr_t p, uintptr_t *frame)
{
    size_t bytes;
    if (!p)
        return;
    if (__builtin_expect(stem_heap.stacks, 0) && stem_heap_look(&bytes, p) == HEAP_GIVEN)
        stem_heap_record(p, 1, frame[1], (uintptr_t)(frame + 2), frame[0]);
    enum heap_verdict verdict = stem_heap_give(p);
    if (__builtin_expect(verdict != HEAP_GIVEN, 0))
        complain(verdict, p, frame);
}

static void *reallocate(uintptr_t old, size_t bytes, uintptr_t *frame)
{
    if (!old)
        return allocate(bytes, 16, false, frame);
    if (!bytes) {
        release(old, frame);
        return NULL;
    }
    size_t was;
    enum heap_verdict verdict = stem_heap_look(&was, old);
    if (verdict != HEAP_GIVEN) {
        complain(verdict, old, frame);
        return fail(NO_MEMORY);
    }
    if (bytes > LIMIT)
        return fail(NO_MEMORY);
    if (stem_heap_resize(old, bytes))
        return (void *)old;
    /* Pages can only be moved when nobody may want the old block back. */
    uintptr_t moved = stem_heap.armed ? 0 : stem_heap_move_pages(old, bytes);
    if (!moved) {
        moved = bytes > was ? stem_heap_take_growing(bytes) : (uintptr_t)obtain(bytes, 16, false);
        if (!moved)
            return fail(NO_MEMORY);
        if (stem_heap.stacks)
            stem_heap_record(moved, 0, frame[1], (uintptr_t)(frame + 2), frame[0]);
        stem_heap_copy(moved, old, was < bytes ? was : bytes);
    }
    release(old, frame);
    return (void *)moved;
}

static bool power_of_two(size_t n)
{
    return n && !(n & (n - 1));
}

static void *aligned(size_t align, size_t bytes, uintptr_t *frame)
{
    if (align > (SIZE_MAX >> 1) + 1)
        return fail(INVALID);
    size_t power = 16;
    while (power < align)
        power <<= 1;
    return allocate(bytes, power, false, frame);
}

/* ---- exported names ---- */

EXPORT void *malloc(size_t bytes);
EXPORT void *calloc(size_t count, size_t bytes);
EXPORT void *realloc(void *old, size_t bytes);
EXPORT void *reallocarray(void *old, size_t count, size_t bytes);
EXPORT void free(void *p);
EXPORT void cfree(void *p);
EXPORT void free_sized(void *p, size_t bytes);
EXPORT void free_aligned_sized(void *p, size_t align, size_t bytes);
EXPORT void *memalign(size_t align, size_t bytes);
EXPORT void *aligned_alloc(size_t align, size_t bytes);
EXPORT int posix_memalign(void **out, size_t align, size_t bytes);
EXPORT void *valloc(size_t bytes);
EXPORT void *pvalloc(size_t bytes);
EXPORT size_t malloc_usable_size(void *p);
EXPORT int mallopt(int what, int value);
EXPORT int malloc_trim(size_t pad);
EXPORT void malloc_stats(void);

void *malloc(size_t bytes)
{
    return allocate(bytes, 16, false, FRAME());
}

void *calloc(size_t count, size_t bytes)
{
    size_t all;
    if (__builtin_mul_overflow(count, bytes, &all))
        return fail(NO_MEMORY);
    return allocate(all, 16, true, FRAME());
}

void *realloc(void *old, size_t bytes)
{
    return reallocate((uintptr_t)old, bytes, FRAME());
}

void *reallocarray(void *old, size_t count, size_t bytes)
{
    size_t all;
    if (__builtin_mul_overflow(count, bytes, &all))
        return fail(NO_MEMORY);
    return reallocate((uintptr_t)old, all, FRAME());
}

void free(void *p)
{
    release((uintptr_t)p, FRAME());
}

void cfree(void *p)
{
    release((uintptr_t)p, FRAME());
}

void free_sized(void *p, size_t bytes)
{
    (void)bytes;
    release((uintptr_t)p, FRAME());
}

void free_aligned_sized(void *p, size_t align, size_t bytes)
{
    (void)align, (void)bytes;
    release((uintptr_t)p, FRAME());
}

void *memalign(size_t align, size_t bytes)
{
    return aligned(align, bytes, FRAME());
}

void *aligned_alloc(size_t align, size_t bytes)
{
    return aligned(align, bytes, FRAME());
}

int posix_memalign(void **out, size_t align, size_t bytes)
{
    uintptr_t *frame = FRAME();
    if (!power_of_two(align) || align % sizeof(void *))
        return INVALID;
    if (bytes > LIMIT)
        return NO_MEMORY;
    void *p = obtain(bytes, align < 16 ? 16 : align, false);
    if (!p)
        return NO_MEMORY;
    if (stem_heap.stacks)
        stem_heap_record((uintptr_t)p, 0, frame[1], (uintptr_t)(frame + 2), frame[0]);
    *out = p;
    return 0;
}

void *valloc(size_t bytes)
{
    return allocate(bytes, 4096, false, FRAME());
}

void *pvalloc(size_t bytes)
{
    if (bytes > LIMIT)
        return fail(NO_MEMORY);
    return allocate((bytes + 4095) & ~(size_t)4095, 4096, false, FRAME());
}

/* What was asked for, not what fits: programs write up to what this answers. */
size_t malloc_usable_size(void *p)
{
    size_t bytes;
    return p && stem_heap_look(&bytes, (uintptr_t)p) == HEAP_GIVEN ? bytes : 0;
}

int mallopt(int what, int value)
{
    (void)what, (void)value;
    return 1;
}

int malloc_trim(size_t pad)
{
    (void)pad;
    return stem_heap_trim();
}

/* ---- statistics ---- */

struct mallinfo2 {
    size_t arena, ordblks, smblks, hblks, hblkhd, usmblks, fsmblks, uordblks, fordblks, keepcost;
};
struct mallinfo {
    int arena, ordblks, smblks, hblks, hblkhd, usmblks, fsmblks, uordblks, fordblks, keepcost;
};
EXPORT struct mallinfo2 mallinfo2(void);
EXPORT struct mallinfo mallinfo(void);

struct mallinfo2 mallinfo2(void)
{
    struct mallinfo2 info = {0};
    stem_heap_lock(&stem_heap.central);
    for (uint32_t n = 1; n < stem_heap.span_count; n++) {
        const struct heap_span *span = &stem_heap.spans[n];
        size_t bytes = (size_t)span->units << HEAP_UNIT_SHIFT;
        if (span->kind == HEAP_SPAN_SLAB) {
            info.arena += bytes;
            info.uordblks += (size_t)span->used * span->slot;
            info.ordblks += span->count - span->used;
        } else if (span->kind == HEAP_SPAN_LARGE) {
            info.hblks++;
            info.hblkhd += bytes;
        } else {
            info.arena += bytes;
        }
    }
    info.fordblks = info.arena - info.uordblks;
    info.keepcost = stem_heap.dirty_units << HEAP_UNIT_SHIFT;
    stem_heap_unlock(&stem_heap.central);
    return info;
}

struct mallinfo mallinfo(void)
{
    struct mallinfo2 i = mallinfo2();
    return (struct mallinfo){(int)i.arena,   (int)i.ordblks,  0,
                             (int)i.hblks,   (int)i.hblkhd,   (int)i.usmblks,
                             (int)i.fsmblks, (int)i.uordblks, (int)i.fordblks,
                             (int)i.keepcost};
}

static char *line(char *at, const char *what, size_t n)
{
    while (*what)
        *at++ = *what++;
    char digits[24];
    int count = 0;
    do
        digits[count++] = (char)('0' + n % 10);
    while (n /= 10);
    while (count)
        *at++ = digits[--count];
    *at++ = '\n';
    return at;
}

void malloc_stats(void)
{
    char text[128], *end = text;
    struct mallinfo2 info = mallinfo2();
    end = line(end, "system bytes     = ", info.arena + info.hblkhd);
    end = line(end, "in use bytes     = ", info.uordblks + info.hblkhd);
    sys_call3(SYS_write, 2, text, end - text);
}
