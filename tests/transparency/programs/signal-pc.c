/* The program counter that a handler is shown lies in code that the program has loaded, where native code
 * would be. */
#define _GNU_SOURCE
#include "transparent.h"
#include <link.h>
#include <signal.h>
#include <sys/time.h>
#include <ucontext.h>

static volatile sig_atomic_t ticks, strange;

struct search {
    uintptr_t pc;
    int found;
};

static int within(struct dl_phdr_info *object, size_t bytes, void *argument)
{
    struct search *search = argument;
    (void)bytes;
    for (int i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &object->dlpi_phdr[i];
        uintptr_t start = object->dlpi_addr + part->p_vaddr;
        if (part->p_type == PT_LOAD && (part->p_flags & PF_X) && search->pc >= start &&
            search->pc < start + part->p_memsz)
            search->found = 1;
    }
    return search->found;
}

static void on_tick(int number, siginfo_t *what, void *context)
{
    const ucontext_t *interrupted = context;
    struct search search = {(uintptr_t)interrupted->uc_mcontext.gregs[REG_RIP], 0};
    (void)number;
    (void)what;
    dl_iterate_phdr(within, &search);
    ticks++;
    strange += !search.found;
}

int main(void)
{
    struct sigaction action = {.sa_sigaction = on_tick, .sa_flags = SA_SIGINFO | SA_RESTART};
    struct itimerval often = {{0, 500}, {0, 500}}, never = {{0, 0}, {0, 0}};
    uint64_t sum = work(1);
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &often, NULL);
    while (ticks < 100)
        sum = work(20);
    setitimer(ITIMER_REAL, &never, NULL);
    printf("strange %d sum %llx\n", (int)strange, (unsigned long long)sum);
    return 0;
}
