/* A handler that repairs the interrupted context: it sets a register and lets the instruction run again. */
/* reports: any */
#define _GNU_SOURCE
#include "transparent.h"
#include <signal.h>
#include <ucontext.h>

static void on_fault(int number, siginfo_t *what, void *context)
{
    ucontext_t *interrupted = context;
    (void)number;
    (void)what;
    interrupted->uc_mcontext.gregs[REG_RCX] = 7;
}

static NOINLINE long divide(long by)
{
    long quotient, rest;
    __asm__ volatile("cqto; idivq %%rcx" : "=a"(quotient), "=&d"(rest) : "a"(100L), "c"(by) : "cc");
    return quotient * 100 + rest;
}

int main(void)
{
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
    sigaction(SIGFPE, &action, NULL);
    for (long by = -3; by <= 3; by++)
        printf("%ld\n", divide(by));
    return 0;
}
