/* Limits on address space, as the program sets and sees them. Shadow memory, tables and the heap's reservation are terabytes that
   cost nothing until they are touched, but the kernel counts them: under a limit that the program sets for itself, its next
   mapping would fail. So the kernel is told ALLOWANCE more than the program asks for, and what we map is filled up to
   exactly that by a mapping that nobody may touch: the program can have what it asked for and not a page more. What
   our heap hands out counts as the program's. A program executed later finds a limit above ALLOWANCE, and knows by that what
   was meant.

   Where a limit below ALLOWANCE was in force at our start, there was no room for shadow memory: limits are the kernel's then. */
#include "stem/heap_private.h"
#include "stem/sys.h"

#include <sys/mman.h>

#define EXPORT    __attribute__((visibility("default")))
#define ALLOWANCE (1ull << 45)

int *__errno_location(void);

/* As the kernel has it; the C library's header would rename the functions below. */
struct limit {
    uint64_t rlim_cur, rlim_max;
};
enum { RLIMIT_DATA = 2, RLIMIT_AS = 9 };

static struct {
    struct heap_lock lock;
    uint64_t ours;    /* bytes that we have mapped or reserved, atomic */
    uintptr_t filler; /* where the filling begins, chosen once */
    uint64_t filled;  /* its length */
    bool active;      /* a limit is in force: filled == ALLOWANCE - ours + heap */
} limits;

/* ---- the filling ------------------------------------------------------------------------------------------------ */

/* Makes the filling longer or shorter. Returns false when the limit forbids it. Lock held. */
static bool fill_to(uint64_t bytes)
{
    if (bytes < limits.filled) {
        sys_call2(SYS_munmap, limits.filler + bytes, limits.filled - bytes);
    } else if (bytes > limits.filled) {
        long p = sys_call6(SYS_mmap, limits.filler + limits.filled, bytes - limits.filled, PROT_NONE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
        if (sys_failed(p))
            return false;
    }
    limits.filled = bytes;
    return true;
}

void stem_limits_ours(int64_t bytes)
{
    uint64_t rounded = (uint64_t)((bytes + (bytes < 0 ? 0 : 4095)) & ~4095ll);
    __atomic_fetch_add(&limits.ours, rounded, __ATOMIC_RELAXED);
    if (!__atomic_load_n(&limits.active, __ATOMIC_ACQUIRE))
        return;
    stem_heap_lock(&limits.lock);
    if (limits.active && limits.filled > rounded)
        fill_to(limits.filled - rounded);
    stem_heap_unlock(&limits.lock);
}

bool stem_limits_heap(uint64_t bytes)
{
    if (!__atomic_load_n(&limits.active, __ATOMIC_ACQUIRE))
        return true;
    stem_heap_lock(&limits.lock);
    bool good = !limits.active || fill_to(limits.filled + bytes);
    stem_heap_unlock(&limits.lock);
    return good;
}

static void set_active(bool active)
{
    stem_heap_lock(&limits.lock);
    if (active && !limits.active) {
        if (!limits.filler)
            limits.filler = stem_pages_room(ALLOWANCE + (1ull << 41));
        uint64_t ours = __atomic_load_n(&limits.ours, __ATOMIC_RELAXED);
        limits.active = ours < ALLOWANCE && fill_to(ALLOWANCE - ours + stem_heap.reach);
    } else if (!active && limits.active) {
        limits.active = false;
        fill_to(0);
    }
    stem_heap_unlock(&limits.lock);
}

/* ---- what the program and the kernel are told ------------------------------------------------------------------------ */

static bool is_counted(int resource)
{
    return resource == RLIMIT_AS || resource == RLIMIT_DATA;
}

static void told_kernel(struct limit *limit)
{
    limit->rlim_cur += limit->rlim_cur < ~0ull - ALLOWANCE ? ALLOWANCE : 0;
    limit->rlim_max += limit->rlim_max < ~0ull - ALLOWANCE ? ALLOWANCE : 0;
}

static void told_program(struct limit *limit)
{
    limit->rlim_cur -= limit->rlim_cur != ~0ull && limit->rlim_cur >= ALLOWANCE ? ALLOWANCE : 0;
    limit->rlim_max -= limit->rlim_max != ~0ull && limit->rlim_max >= ALLOWANCE ? ALLOWANCE : 0;
}

static long kernel_limit(int pid, int resource, const struct limit *wanted, struct limit *old)
{
    return sys_call4(SYS_prlimit64, pid, resource, wanted, old);
}

/* prlimit64 with the program's figures. The heap reserves its terabyte even where nothing is supervised. */
static long change(int pid, int resource, const struct limit *wanted, struct limit *old)
{
    struct limit now, kernel;
    bool own = !pid || pid == sys_call0(SYS_getpid);
    if (!own || !is_counted(resource))
        return kernel_limit(pid, resource, wanted, old);
    long result = kernel_limit(0, resource, NULL, &now);
    if (sys_failed(result))
        return result;
    if (now.rlim_cur < ALLOWANCE || !wanted) {
        result = wanted ? kernel_limit(0, resource, wanted, NULL) : 0;
    } else {
        kernel = *wanted;
        told_kernel(&kernel);
        bool limited = resource == RLIMIT_AS && kernel.rlim_cur != ~0ull;
        if (limited)
            set_active(true); /* before the limit: it may lie below what is in use */
        result = kernel_limit(0, resource, &kernel, NULL);
        if (resource == RLIMIT_AS && sys_failed(result) && now.rlim_cur == ~0ull)
            set_active(false);
        if (resource == RLIMIT_AS && !sys_failed(result) && !limited)
            set_active(false);
    }
    if (old && !sys_failed(result)) {
        *old = now;
        told_program(old);
    }
    return result;
}

void stem_limits_start(void)
{
    struct limit now;
    if (!sys_failed(kernel_limit(0, RLIMIT_AS, NULL, &now)) && now.rlim_cur != ~0ull &&
        now.rlim_cur >= ALLOWANCE)
        set_active(true);
}

/* ---- interposed --------------------------------------------------------------------------------------------------------- */

static int answer(long result)
{
    if (!sys_failed(result))
        return 0;
    *__errno_location() = (int)-result;
    return -1;
}

EXPORT int prlimit64(int pid, int resource, const struct limit *wanted, struct limit *old);
EXPORT int prlimit64(int pid, int resource, const struct limit *wanted, struct limit *old)
{
    return answer(change(pid, resource, wanted, old));
}

EXPORT int setrlimit64(int resource, const struct limit *wanted);
EXPORT int setrlimit64(int resource, const struct limit *wanted)
{
    return answer(change(0, resource, wanted, NULL));
}

EXPORT int getrlimit64(int resource, struct limit *limit);
EXPORT int getrlimit64(int resource, struct limit *limit)
{
    return answer(change(0, resource, NULL, limit));
}

/* The same functions by another name: on this machine the two structures are one. */
EXPORT int prlimit(int pid, int resource, const struct limit *wanted, struct limit *old)
    __attribute__((alias("prlimit64")));
EXPORT int setrlimit(int resource, const struct limit *wanted) __attribute__((alias("setrlimit64")));
EXPORT int getrlimit(int resource, struct limit *limit) __attribute__((alias("getrlimit64")));

EXPORT int mlockall(int flags);
/* Locking everything would touch every page of shadow memory. Locked when they are first touched, the program's pages stay in
   memory all the same from then on. */
EXPORT int mlockall(int flags)
{
    enum { CURRENT = 1, ON_FAULT = 4 };
    return answer(sys_call1(SYS_mlockall, flags & CURRENT ? flags | ON_FAULT : flags));
}
