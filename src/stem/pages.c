/* Memory of the runtime's own: pages from the kernel, a bump arena over them, and the four functions that the
   compiler may call by itself. */
#define STEM_DEFINES_MEMORY_FUNCTIONS
#include "stem/stem.h"
#include "stem/sys.h"

#include <sys/mman.h>

/* Our mappings stay away from where the kernel puts the application's: its addresses come out as without us, and the room beside its
   objects is left to code caches. The start is random, so that the heap is no easier to guess than it was. */
uintptr_t stem_pages_room(size_t bytes)
{
    static uintptr_t next;
    enum { APART = 1 << 21 };
    if (!__atomic_load_n(&next, __ATOMIC_ACQUIRE)) {
        uint64_t random = 0, none = 0;
        sys_call3(SYS_getrandom, &random, sizeof random, 1 /* GRND_NONBLOCK */);
        uint64_t start = 0x100000000000 + (random & 0x0fffffe00000);
        __atomic_compare_exchange_n(&next, &none, start, false, __ATOMIC_RELEASE, __ATOMIC_RELAXED);
    }
    return __atomic_fetch_add(&next, (bytes + 2 * APART - 1) & ~(uintptr_t)(APART - 1), __ATOMIC_RELAXED);
}

uintptr_t stem_pages_place(size_t bytes)
{
    stem_limits_ours((int64_t)bytes);
    return stem_pages_room(bytes);
}

bool stem_confined;

void *stem_pages_map(size_t bytes)
{
    bytes = (bytes + 4095) & ~(size_t)4095;
    long p = sys_call6(SYS_mmap, stem_pages_place(bytes), bytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return sys_failed(p) ? NULL : (void *)p;
}

void stem_pages_unmap(void *pages, size_t bytes)
{
    bytes = (bytes + 4095) & ~(size_t)4095;
    sys_call2(SYS_munmap, pages, bytes);
    stem_limits_ours(-(int64_t)bytes);
}

enum { SCRATCH_MAX = 32 };
static struct {
    void *pages;
    size_t bytes;
} scratch[SCRATCH_MAX];
static unsigned scratch_count;

void *stem_pages_scratch(size_t bytes)
{
    void *pages = stem_pages_map(bytes);
    if (pages && scratch_count < SCRATCH_MAX) {
        scratch[scratch_count].pages = pages;
        scratch[scratch_count++].bytes = bytes;
    }
    return pages;
}

void stem_pages_drop_scratch(void)
{
    for (unsigned i = 0; i < scratch_count; i++)
        sys_call3(SYS_madvise, scratch[i].pages, scratch[i].bytes, 4 /* MADV_DONTNEED */);
}

uint32_t stem_pages_generation(void)
{
    static uint32_t *wiped, last;
    uint32_t *word = __atomic_load_n(&wiped, __ATOMIC_ACQUIRE), found = 0, next;
    if (!word) {
        uint32_t *none = NULL;
        word = stem_pages_map(4096);
        if (!word)
            return 1;
        sys_call3(SYS_madvise, word, 4096, MADV_WIPEONFORK);
        if (!__atomic_compare_exchange_n(&wiped, &none, word, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
            word = none;
    }
    if ((found = __atomic_load_n(word, __ATOMIC_RELAXED)))
        return found;
    next = __atomic_add_fetch(&last, 1, __ATOMIC_RELAXED);
    return __atomic_compare_exchange_n(word, &found, next, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED) ? next
                                                                                                      : found;
}

void *stem_arena(size_t bytes)
{
    enum { CHUNK = 1 << 20 };
    static uint8_t *next, *end;
    bytes = (bytes + 15) & ~(size_t)15;
    if (bytes > CHUNK / 4)
        return stem_pages_map(bytes);
    if ((size_t)(end - next) < bytes) {
        next = stem_pages_map(CHUNK);
        end = next ? next + CHUNK : NULL;
        if (!next)
            return NULL;
    }
    void *p = next;
    next += bytes;
    return p;
}

/* `rep` forms: short, no vector registers, fast enough for tables. */
void *memcpy(void *restrict to, const void *restrict from, size_t bytes);
void *memmove(void *to, const void *from, size_t bytes);
void *memset(void *to, int value, size_t bytes);
int memcmp(const void *a, const void *b, size_t bytes);

void *memcpy(void *restrict to, const void *restrict from, size_t bytes)
{
    void *d = to;
    __asm__ volatile("rep movsb" : "+D"(d), "+S"(from), "+c"(bytes) : : "memory");
    return to;
}

void *memmove(void *to, const void *from, size_t bytes)
{
    if ((uintptr_t)to - (uintptr_t)from >= bytes)
        return memcpy(to, from, bytes);
    uint8_t *d = to;
    const uint8_t *s = from;
    while (bytes--)
        d[bytes] = s[bytes];
    return to;
}

void *memset(void *to, int value, size_t bytes)
{
    void *d = to;
    __asm__ volatile("rep stosb" : "+D"(d), "+c"(bytes) : "a"(value) : "memory");
    return to;
}

int memcmp(const void *a, const void *b, size_t bytes)
{
    const uint8_t *x = a, *y = b;
    for (; bytes; bytes--, x++, y++)
        if (*x != *y)
            return *x - *y;
    return 0;
}
