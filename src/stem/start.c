/* Start of the runtime in a process: the constructor, the control page, counters and the way to give up. */
#include "stem/stem.h"
#include "stem/sys.h"

#include <sys/mman.h>

_Thread_local struct stem_thread stem_thread;
struct wire_control *stem_control;

/* Its presence tells a debugger, and tools that look at the loaded objects, which runtime this is. */
__attribute__((visibility("default"))) const uint32_t testudo_stem = WIRE_CONTROL_VERSION;

void stem_count(enum core_counter counter, uint64_t n)
{
    if (stem_control)
        __atomic_fetch_add(&stem_control->counters[counter], n, __ATOMIC_RELAXED);
}

void stem_disarm(const char *why)
{
    static bool told;
    if (__atomic_exchange_n(&told, true, __ATOMIC_RELAXED))
        return;
    size_t n = 0;
    while (why[n])
        n++;
    sys_call3(SYS_write, 2, why, n);
    sys_call3(SYS_write, 2, "\n", 1);
    stem_count(CORE_COUNTER_DISARMED, 1);
}

void stem_fault_free(enum core_fault_kind kind, uintptr_t pointer, uintptr_t return_pc, uintptr_t frame)
{
    (void)pointer, (void)return_pc, (void)frame;
    const char *name = core_fault_name(kind);
    size_t n = 0;
    while (name[n])
        n++;
    sys_call3(SYS_write, 2, name, n);
    sys_call3(SYS_write, 2, "\n", 1);
}

unsigned stem_backtrace(uintptr_t *frames, unsigned room, uintptr_t pc, uintptr_t sp, uintptr_t rbp)
{
    (void)sp, (void)rbp;
    if (room)
        frames[0] = pc;
    return room ? 1 : 0;
}

__attribute__((constructor)) static void start(int count, char **arguments, char **environment)
{
    (void)count, (void)arguments;
    stem_control = stem_pages_map(sizeof *stem_control);
    for (; environment && *environment; environment++) {
        if (!core_glob("STEM_ARM=*", *environment))
            continue;
        long p = sys_call6(SYS_mmap, 0, 1ull << 44, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (!sys_failed(p))
            stem_shadow_base = (uint8_t *)p;
        stem_control->config.heap_stacks = core_glob("*stacks", *environment);
        stem_heap_arm();
    }
}
