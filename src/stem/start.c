/* Start of the runtime in a process: the control page, shadow memory, everything else; and the ways to give up. */
#include "stem/counting.h"
#include "stem/sys.h"

#include <asm/prctl.h>
#include <sys/mman.h>

struct wire_control *stem_control;
int64_t stem_thread_offset;
uint32_t stem_vector_mask;
uint8_t *stem_resume_exit;
static bool armed;

/* Its presence tells a debugger, and tools that look at the loaded objects, which runtime this is. */
__attribute__((visibility("default"))) const uint32_t testudo_stem = WIRE_CONTROL_VERSION;

bool stem_armed(void)
{
    return armed && !__atomic_load_n(&stem_control->disarm, __ATOMIC_RELAXED);
}

void stem_count(enum core_counter counter, uint64_t n)
{
    if (stem_control)
        __atomic_fetch_add(&stem_control->counters[counter], n, __ATOMIC_RELAXED);
}

void stem_disarm(const char *why)
{
    static bool told;
    armed = false;
    if (__atomic_exchange_n(&told, true, __ATOMIC_RELAXED))
        return;
    size_t n = 0;
    while (why[n])
        n++;
    sys_call3(SYS_write, 2, why, n);
    sys_call3(SYS_write, 2, "\n", 1);
    stem_count(CORE_COUNTER_DISARMED, 1);
}

/* ---- the control page ----------------------------------------------------------------------------------------- */

static void *map_page(long fd)
{
    long p = sys_call6(SYS_mmap, stem_pages_place(sizeof(struct wire_control)), sizeof(struct wire_control),
                       PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (sys_failed(p))
        return NULL;
    const struct wire_control *page = (const void *)p;
    if (page->magic == WIRE_CONTROL_MAGIC && page->version == WIRE_CONTROL_VERSION &&
        page->bytes == sizeof *page)
        return (void *)p;
    sys_call2(SYS_munmap, p, sizeof *page);
    return NULL;
}

static bool is_large_enough(long fd)
{
    return sys_call3(SYS_lseek, fd, 0, 2 /* SEEK_END */) == (long)sizeof(struct wire_control);
}

/* TESTUDO_CONTROL=FD:PATH: the descriptor, or when the program was started with it closed, the path. */
static struct wire_control *open_page(char **environment)
{
    static const char name[] = WIRE_CONTROL_VARIABLE "=";
    for (; *environment; environment++) {
        const char *text = *environment;
        if (memcmp(text, name, sizeof name - 1))
            continue;
        text += sizeof name - 1;
        long fd = 0;
        for (; *text >= '0' && *text <= '9'; text++)
            fd = fd * 10 + (*text - '0');
        struct wire_control *page = is_large_enough(fd) ? map_page(fd) : NULL;
        if (!page && *text == ':') {
            fd = sys_call4(SYS_openat, -100, text + 1, 2 /* O_RDWR */, 0);
            if (!sys_failed(fd)) {
                page = is_large_enough(fd) ? map_page(fd) : NULL;
                sys_call1(SYS_close, fd);
            }
        }
        return page;
    }
    return NULL;
}

/* ---- shadow memory and generated helpers --------------------------------------------------------------------------- */

/* Tables of switch targets lie below the gs base, shadow memory above it. */
static uint8_t *tables_next, *tables_end;

static bool map_gs(bool with_shadow)
{
    /* Shadow memory is an eighth of the 47-bit address space. Who counts has no shadow. */
    const size_t shadow = with_shadow ? 1ull << 44 : stem_counting_bytes();
    long p = sys_call6(SYS_mmap, stem_pages_place(STEM_TABLES_BYTES + shadow), STEM_TABLES_BYTES + shadow,
                       PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (sys_failed(p))
        return false;
    sys_call3(SYS_madvise, p, STEM_TABLES_BYTES + shadow, MADV_DONTDUMP);
    sys_call3(SYS_madvise, p, STEM_TABLES_BYTES + shadow,
              MADV_NOHUGEPAGE); /* one poisoned byte must not cost 2 MiB */
    tables_next = (uint8_t *)p;
    tables_end = tables_next + STEM_TABLES_BYTES;
    if (sys_failed(sys_call2(SYS_arch_prctl, ARCH_SET_GS, tables_end)))
        return false;
    if (!with_shadow)
        return !shadow || stem_counting_start(tables_end);
    stem_shadow_base = tables_end;
    /* Were it readable, a wild address would be a good one whenever it fell in here: one in eight. */
    stem_shadow_own = (uintptr_t)p;
    stem_shadow_own_bytes = STEM_TABLES_BYTES + shadow;
    sys_call3(SYS_mprotect, stem_shadow_base + (stem_shadow_own >> 3), stem_shadow_own_bytes >> 3, PROT_NONE);
    return true;
}

core_cache_pc *stem_jump_table(int32_t *disp, uint32_t count)
{
    if ((size_t)(tables_end - tables_next) / sizeof(core_cache_pc) < count)
        return NULL;
    core_cache_pc *table = (core_cache_pc *)tables_next;
    tables_next += count * sizeof(core_cache_pc);
    *disp = (int32_t)((uint8_t *)table - tables_end);
    return table;
}

static void find_thread_offset(void)
{
    uintptr_t fs;
    __asm__("mov %%fs:0, %0" : "=r"(fs));
    stem_thread_offset = (int64_t)((uintptr_t)&stem_thread - fs);
}

static bool make_resume_exit(void)
{
    long p = sys_call6(SYS_mmap, stem_pages_place(4096), 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (sys_failed(p))
        return false;
    uint8_t *at = (uint8_t *)p;
    int32_t slot = (int32_t)(stem_thread_offset + (int64_t)offsetof(struct stem_thread, slot[7]));
    memcpy(at, "\x64\xff\x24\x25", 4); /* jmp fs:[slot 7] */
    memcpy(at + 4, &slot, 4);
    sys_call3(SYS_mprotect, p, 4096, PROT_READ | PROT_EXEC);
    stem_resume_exit = at;
    return true;
}

/* Vector state that translation must not disturb: SSE, AVX, AVX-512, as far as the system uses them. */
static bool find_vector_state(void)
{
    uint32_t a = 1, b, c = 0, d;
    __asm__("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
    if (!(c & 1u << 27)) /* OSXSAVE */
        return false;
    __asm__("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
    stem_vector_mask = a & 0xe6;
    return true;
}

__attribute__((constructor)) static void start(int argc, char **argv, char **environment)
{
    (void)argc, (void)argv;
    find_thread_offset();
    stem_limits_start();
    stem_control = open_page(environment);
    if (!stem_control) {
        stem_control = stem_pages_map(sizeof *stem_control);
        return; /* no supervisor: the heap alone */
    }
    stem_heap_start();
    if (stem_control->config.mode == WIRE_MODE_OFF || stem_control->disarm)
        return;
    if (!find_vector_state() || !make_resume_exit()) {
        stem_disarm(
            "testudo: this processor or system lacks what the code cache needs (xsave, executable memory); running natively");
        return;
    }
    if (!map_gs(stem_control->config.mode >= WIRE_MODE_CHECK)) {
        stem_disarm(
            "testudo: no room for shadow memory (address-space limit or overcommit policy); running natively");
        return;
    }
    armed = true;
    /* Redzones cost nothing until something is supervised: the first translation turns them on. Who wants to know where
       blocks came from wants it of all blocks. */
    if (stem_control->config.mode >= WIRE_MODE_CHECK &&
        (stem_control->config.default_level != WIRE_LEVEL_NATIVE || stem_control->config.heap_stacks))
        stem_heap_arm();
    stem_signals_start();
    stem_threads_start();
    uint64_t mask;
    stem_lock(&mask);
    stem_objects_refresh();
    stem_unlock(&mask);
}
