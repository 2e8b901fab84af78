/* The counting file as the runtime keeps it: an area for every thread, numbers for segments, calls through pointers, and samples
   of CPU time. Everything in the file is shared by all processes of the program, and changed by atomic operations only. */
#define _GNU_SOURCE
#include "stem/counting.h"
#include "stem/sys.h"

#include <signal.h>
#include <sys/mman.h>
#include <time.h>
#include <ucontext.h>

int stem_slow_pointer(struct stem_context *context);

static struct wire_counting *shared; /* NULL: nothing is counted */
static uint64_t *areas;              /* at the gs base */
static int file = -1;

bool stem_counting(void)
{
    return shared != NULL;
}

/* ---- start ------------------------------------------------------------------------------------------------- */

/* By the descriptor that was inherited, or, where the program was started with it closed, through its supervisor. */
static int open_file(void)
{
    uint64_t head[2];
    uint32_t number = stem_control->config.counting;
    if (!number)
        return -1;
    if (sys_call4(SYS_pread64, number - 1, head, sizeof head, 0) == (long)sizeof head &&
        head[0] == WIRE_COUNTING_MAGIC && head[1] == WIRE_COUNTING_BYTES)
        return (int)number - 1;
    char path[64] = "/proc/", *at = path + 6;
    const uint32_t parts[2] = {(uint32_t)stem_control->supervisor_pid, number - 1};
    for (int i = 0; i < 2; i++) {
        char digits[12];
        unsigned n = 0;
        uint32_t value = parts[i];
        do
            digits[n++] = (char)('0' + value % 10);
        while (value /= 10);
        while (n)
            *at++ = digits[--n];
        const char *next = i ? "" : "/fd/";
        while (*next)
            *at++ = *next++;
    }
    *at = 0;
    long fd = sys_call4(SYS_openat, -100, path, 02000002 /* O_RDWR | O_CLOEXEC */, 0);
    if (sys_failed(fd))
        return -1;
    if (sys_call4(SYS_pread64, fd, head, sizeof head, 0) == (long)sizeof head &&
        head[0] == WIRE_COUNTING_MAGIC && head[1] == WIRE_COUNTING_BYTES)
        return (int)fd;
    sys_call1(SYS_close, fd);
    return -1;
}

size_t stem_counting_bytes(void)
{
    if (stem_control->config.mode != WIRE_MODE_TRANSLATE)
        return 0;
    file = open_file();
    return file < 0 ? 0 : WIRE_AREAS_MAX * WIRE_AREA_BYTES;
}

bool stem_counting_start(uint8_t *base)
{
    long p = sys_call6(SYS_mmap, stem_pages_place(sizeof *shared), sizeof *shared, PROT_READ | PROT_WRITE,
                       MAP_SHARED | MAP_NORESERVE, file, 0);
    long a = sys_call6(SYS_mmap, base, WIRE_AREAS_MAX * WIRE_AREA_BYTES, PROT_READ | PROT_WRITE,
                       MAP_SHARED | MAP_NORESERVE | MAP_FIXED, file, sizeof *shared);
    if ((uint32_t)file != stem_control->config.counting - 1)
        sys_call1(SYS_close, file);
    if (sys_failed(p) || sys_failed(a))
        return false;
    shared = (struct wire_counting *)p;
    areas = (uint64_t *)a;
    return true;
}

/* ---- calls through pointers ------------------------------------------------------------------------------------ */

static void add_edge(uint32_t caller, uint64_t callee, uint64_t calls)
{
    uint64_t key = ((uint64_t)caller << WIRE_CALLEE_BITS | callee) + 1;
    uint32_t at = (uint32_t)((key * 0x9e3779b97f4a7c15ull) >> 46);
    for (uint32_t tries = 0; tries < 64; tries++, at++) {
        struct wire_counted_edge *edge = &shared->edges[at % WIRE_EDGES_MAX];
        uint64_t found = __atomic_load_n(&edge->key, __ATOMIC_RELAXED);
        if (found == 0 &&
            __atomic_compare_exchange_n(&edge->key, &found, key, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
            found = key;
        if (found == key) {
            __atomic_fetch_add(&edge->calls, calls, __ATOMIC_RELAXED);
            return;
        }
    }
    __atomic_fetch_add(&shared->lost[WIRE_LOST_EDGES], calls, __ATOMIC_RELAXED);
}

static uint64_t callee_at(uintptr_t target)
{
    for (int hop = 0; hop < 4; hop++) {
        struct stem_object *o = stem_object_of(target);
        if (!o || o->page_index >= WIRE_OBJECTS_MAX)
            return WIRE_CALLEE_NONE;
        uint32_t offset = (uint32_t)(target - o->base);
        struct stem_function *f = o->own ? stem_function_at(o, offset) : NULL;
        if (f)
            return WIRE_CALLEE_FUNCTION(f->index);
        /* A pointer may be a PLT entry: the program's own name for somebody else's function. */
        uint32_t slot = stem_object_plt_slot(o, offset);
        uint64_t next;
        if (!slot || !stem_safe_read(&next, o->base + slot) || next == target)
            return WIRE_CALLEE_NATIVE(o->page_index, offset);
        target = next;
    }
    return WIRE_CALLEE_NONE;
}

/* A site's three words in an area: where it led last, who that is, and how often. */
static void settle(uint64_t *word, uint32_t segment)
{
    if (word[1] != WIRE_CALLEE_NONE && word[2])
        add_edge(shared->segments[segment].function, word[1], word[2]);
    word[2] = 0;
}

/* A site leads elsewhere than the last time. The number of its segment stands in its operand. */
int stem_slow_pointer(struct stem_context *context)
{
    uint32_t segment = (uint32_t)stem_site_at(context->rip)->mem.disp;
    uint64_t *word = (uint64_t *)((uint8_t *)areas + stem_thread.counts) + segment;
    uint64_t target = stem_thread.slot[5];
    settle(word, segment);
    word[0] = target;
    word[1] = callee_at(target);
    word[2] = 1;
    return 0;
}

/* ---- areas ---------------------------------------------------------------------------------------------------------- */

/* The addresses that the last owner called mean nothing here. */
static void clear_sites(uint64_t *area)
{
    uint32_t count = __atomic_load_n(&shared->segment_count, __ATOMIC_ACQUIRE);
    for (uint32_t s = 0; s + 2 < count && s + 2 < WIRE_SEGMENTS_MAX; s++)
        if (shared->segments[s].kind == WIRE_SEGMENT_POINTER && area[s]) {
            settle(area + s, s);
            area[s] = 0;
        }
}

/* An area whose owner is gone, else a new one. Area 0 when there is none: shared, so that sums may come out too low. */
static uint32_t take_area(uint64_t self)
{
    uint32_t used = __atomic_load_n(&shared->area_count, __ATOMIC_ACQUIRE);
    for (uint32_t a = 1; a < used && a < WIRE_AREAS_MAX; a++) {
        uint64_t owner = __atomic_load_n(&shared->owner[a], __ATOMIC_RELAXED);
        if (owner && sys_call3(SYS_tgkill, owner >> 32, (uint32_t)owner, 0) == -3 /* ESRCH */ &&
            __atomic_compare_exchange_n(&shared->owner[a], &owner, self, false, __ATOMIC_ACQUIRE,
                                        __ATOMIC_RELAXED)) {
            clear_sites((uint64_t *)((uint8_t *)areas + a * WIRE_AREA_BYTES));
            return a;
        }
    }
    uint32_t a = __atomic_fetch_add(&shared->area_count, 1, __ATOMIC_ACQ_REL);
    if (a >= WIRE_AREAS_MAX) {
        __atomic_fetch_sub(&shared->area_count, 1, __ATOMIC_ACQ_REL);
        __atomic_fetch_add(&shared->lost[WIRE_LOST_AREAS], 1, __ATOMIC_RELAXED);
        return 0;
    }
    __atomic_store_n(&shared->owner[a], self, __ATOMIC_RELEASE);
    return a;
}

/* ---- segments ------------------------------------------------------------------------------------------------------ */

uint32_t stem_counting_claim(uint32_t function, uint32_t count)
{
    uint64_t known = __atomic_load_n(&shared->segments_of[function], __ATOMIC_ACQUIRE);
    if (known && (uint32_t)known == count)
        return (uint32_t)(known >> 32);
    uint32_t first = __atomic_fetch_add(&shared->segment_count, count, __ATOMIC_ACQ_REL);
    if (first > WIRE_SEGMENTS_MAX || count > WIRE_SEGMENTS_MAX - first) {
        __atomic_fetch_sub(&shared->segment_count, count, __ATOMIC_ACQ_REL);
        __atomic_fetch_add(&shared->lost[WIRE_LOST_SEGMENTS], 1, __ATOMIC_RELAXED);
        return 0;
    }
    /* Two that come at the same time each count by numbers of their own. */
    __atomic_store_n(&shared->segments_of[function], (uint64_t)first << 32 | count, __ATOMIC_RELEASE);
    return first;
}

void stem_counting_describe(uint32_t segment, const struct wire_segment *is)
{
    shared->segments[segment] = *is;
}

static bool same_name(const char *a, const char *b)
{
    while (*a && *a == *b)
        a++, b++;
    return *a == *b;
}

uint64_t stem_counting_callee_named(const char *symbol)
{
    uintptr_t address = stem_elf_find(symbol);
    struct stem_object *o = address ? stem_object_of(address) : NULL;
    if (!o || o->page_index >= WIRE_OBJECTS_MAX || !*symbol)
        return WIRE_CALLEE_NONE;
    uint32_t count = __atomic_load_n(&shared->name_count, __ATOMIC_ACQUIRE);
    for (uint32_t i = 0; i < count && i < WIRE_NAMES_MAX; i++)
        if ((uint8_t)shared->names[i][0] == o->page_index && same_name(shared->names[i] + 1, symbol))
            return WIRE_CALLEE_NAME(i);
    uint32_t i = __atomic_fetch_add(&shared->name_count, 1, __ATOMIC_ACQ_REL);
    if (i >= WIRE_NAMES_MAX) {
        __atomic_fetch_sub(&shared->name_count, 1, __ATOMIC_ACQ_REL);
        return WIRE_CALLEE_NONE;
    }
    char *name = shared->names[i];
    name[0] = (char)o->page_index;
    for (uint32_t n = 1; n < WIRE_NAME_BYTES && symbol[n]; n++)
        name[1 + n] = symbol[n];
    __atomic_store_n(&name[1], symbol[0], __ATOMIC_RELEASE);
    return WIRE_CALLEE_NAME(i);
}

/* ---- samples of CPU time ------------------------------------------------------------------------------------------------ */

/* A timer for each thread on its own CPU clock, so that only running threads are interrupted. What passed since the thread's last
   sample goes to the function that it is met in. */
static void on_sample(int number, siginfo_t *info, void *context)
{
    (void)number, (void)info;
    const ucontext_t *u = context;
    struct timespec now;
    if (sys_failed(sys_call2(SYS_clock_gettime, CLOCK_THREAD_CPUTIME_ID, &now)))
        return;
    uint64_t now_ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    uint64_t passed = now_ns - stem_thread.sampled_ns;
    stem_thread.sampled_ns = now_ns;
    uintptr_t pc = stem_application_pc((uintptr_t)u->uc_mcontext.gregs[REG_RIP], true);
    struct stem_object *o = stem_object_of(pc);
    struct stem_function *f = o && o->own ? stem_function_containing(o, (uint32_t)(pc - o->base)) : NULL;
    uint64_t *to = f && f->index < WIRE_FUNCTIONS_MAX      ? &shared->function_ns[f->index]
                   : o && o->page_index < WIRE_OBJECTS_MAX ? &shared->object_ns[o->page_index]
                                                           : &shared->elsewhere_ns;
    __atomic_fetch_add(to, passed, __ATOMIC_RELAXED);
}

static void start_timer(uint32_t tid)
{
    struct {
        void (*handler)(int, siginfo_t *, void *);
        unsigned long flags;
        void (*restorer)(void);
        uint64_t mask;
    } action = {on_sample, SA_SIGINFO | SA_RESTART | SA_ONSTACK | 0x04000000 /* SA_RESTORER */,
                (void (*)(void))(uintptr_t)stem_signal_return, 0};
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGPROF};
    event._sigev_un._tid = (int)tid;
    int timer;
    long us = shared->sample_us;
    struct itimerspec period = {.it_interval = {us / 1000000, us % 1000000 * 1000},
                                .it_value = {us / 1000000, us % 1000000 * 1000}};
    stem_thread.sampled_ns = 0;
    sys_call4(SYS_rt_sigaction, SIGPROF, &action, 0, 8);
    if (!sys_failed(sys_call3(SYS_timer_create, CLOCK_THREAD_CPUTIME_ID, &event, &timer)))
        sys_call4(SYS_timer_settime, timer, 0, &period, 0);
}

void stem_counting_thread_start(void)
{
    if (!shared)
        return;
    uint32_t tid = (uint32_t)sys_call0(SYS_gettid);
    uint64_t self = (uint64_t)sys_call0(SYS_getpid) << 32 | tid;
    stem_thread.counts = take_area(self) * WIRE_AREA_BYTES;
    if (shared->sample_us)
        start_timer(tid);
}
