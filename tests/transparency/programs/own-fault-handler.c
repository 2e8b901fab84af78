/* A program that lives with faults: it recovers by siglongjmp, makes pages writable on demand, and survives a
 * division. */
/* reports: any */
#define _GNU_SOURCE
#include "transparent.h"
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>

static sigjmp_buf recover;
static char *page;
static volatile sig_atomic_t made_writable, codes[3];

static void on_fault(int number, siginfo_t *what, void *context)
{
    (void)context;
    if (number == SIGSEGV && (char *)what->si_addr >= page && (char *)what->si_addr < page + 8192) {
        mprotect(page, 8192, PROT_READ | PROT_WRITE);
        made_writable++;
        return;
    }
    codes[0] = number;
    codes[1] = what->si_code;
    codes[2] = number == SIGSEGV ? (int)(uintptr_t)what->si_addr : 0;
    siglongjmp(recover, 1);
}

static NOINLINE int poke(int *where, int by)
{
    int value = 100 / by;
    *where += value;
    return value;
}

int main(void)
{
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
    int place = 3;
    sigaction(SIGSEGV, &action, NULL);
    sigaction(SIGFPE, &action, NULL);
    page = mmap(NULL, 8192, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (int round = 0; round < 20; round++) {
        mprotect(page, 8192, PROT_READ);
        poke((int *)hide(page + 4000), 5);
        if (sigsetjmp(recover, 1) == 0)
            poke(hide((int *)16), 4);
        else if (round == 0)
            printf("signal %d code %d address %d\n", codes[0], codes[1], codes[2]);
        if (sigsetjmp(recover, 1) == 0)
            poke(&place, hide(0));
        else if (round == 0)
            printf("signal %d code %d\n", codes[0], codes[1]);
    }
    printf("made writable %d, %d, place %d\n", (int)made_writable, *(int *)(page + 4000), place);
    return 0;
}
