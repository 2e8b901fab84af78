/* Coroutines by swapcontext on stacks from the heap. */
#define _GNU_SOURCE
#include "transparent.h"
#include <ucontext.h>

enum { COROUTINES = 5, STACK = 65536 };

static ucontext_t scheduler, contexts[COROUTINES];
static uint64_t sums[COROUTINES];
static int finished;

static NOINLINE void yield(int self, int depth)
{
    if (depth > 0)
        yield(self, depth - 1);
    else
        swapcontext(&contexts[self], &scheduler);
    sums[self] += (uint64_t)depth;
}

static void coroutine(int self)
{
    for (int i = 0; i < 20; i++) {
        sums[self] = work_mix(sums[self], work((unsigned)(self + i) % 3));
        yield(self, i % 6);
    }
    finished++;
}

int main(void)
{
    for (int i = 0; i < COROUTINES; i++) {
        must(getcontext(&contexts[i]) == 0);
        contexts[i].uc_stack.ss_sp = malloc(STACK);
        contexts[i].uc_stack.ss_size = STACK;
        contexts[i].uc_link = &scheduler;
        makecontext(&contexts[i], (void (*)(void))(uintptr_t)coroutine, 1, i);
    }
    for (int i = 0; finished < COROUTINES; i = (i + 1) % COROUTINES)
        if (sums[i] != 1) {
            int before = finished;
            must(swapcontext(&scheduler, &contexts[i]) == 0);
            if (finished > before) {
                printf("%d: %llx\n", i, (unsigned long long)sums[i]);
                sums[i] = 1;
                free(contexts[i].uc_stack.ss_sp);
            }
        }
    return 0;
}
