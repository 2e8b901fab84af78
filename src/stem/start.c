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

__attribute__((constructor)) static void start(void)
{
    stem_control = stem_pages_map(sizeof *stem_control);
}
