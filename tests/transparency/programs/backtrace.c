/* A call stack that the program takes itself holds the program's own addresses, all of its frames, in order.
 */
/* flags: -fno-optimize-sibling-calls */
#define _GNU_SOURCE
#include "transparent.h"
#include <dlfcn.h>
#include <execinfo.h>

extern char __executable_start, etext;

static int frames, own;

static NOINLINE uint64_t leaf(void)
{
    void *stack[100];
    frames = backtrace(stack, 100);
    own = 0;
    for (int i = 0; i < frames; i++)
        own += (char *)stack[i] > &__executable_start && (char *)stack[i] < &etext;
    return work(1);
}

static NOINLINE uint64_t nest(int depth)
{
    uint64_t below = depth ? nest(depth - 1) : leaf();
    return work_mix(below, (uint64_t)depth);
}

static NOINLINE int returns_here(void)
{
    char *address = __builtin_return_address(0);
    return address > &__executable_start && address < &etext;
}

int main(void)
{
    static int before;
    uint64_t sum = leaf();
    before = own;
    for (int depth = 0; depth < 20; depth++) {
        sum += nest(depth);
        printf("%d ", own - before);
    }
    printf("\nreturn address %d sum %llx\n", returns_here(), (unsigned long long)sum);
    return 0;
}
