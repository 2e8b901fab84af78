/* A program with handlers of its own for traps, which look where they happened and say where to go on. */
/* reports: any */
#define _GNU_SOURCE
#include "transparent.h"
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

extern char after_trap[], illegal[], bad_load[], recovered[];

static volatile int at, number_seen;
static volatile uintptr_t address_seen;

static void on_trap(int number, siginfo_t *what, void *context)
{
    ucontext_t *u = context;
    uintptr_t pc = (uintptr_t)u->uc_mcontext.gregs[REG_RIP];
    number_seen = number;
    if (number == SIGTRAP) {
        at = pc == (uintptr_t)after_trap;
        u->uc_mcontext.gregs[REG_RBX] += 1000;
    } else if (number == SIGILL) {
        at = pc == (uintptr_t)illegal && what->si_addr == (void *)illegal;
        u->uc_mcontext.gregs[REG_RIP] += 2;
    } else {
        at = pc == (uintptr_t)bad_load;
        address_seen = (uintptr_t)what->si_addr;
        u->uc_mcontext.gregs[REG_RIP] = (greg_t)(uintptr_t)recovered;
    }
}

static NOINLINE long traps(long value)
{
    __asm__ volatile("int3\n\t.globl after_trap\nafter_trap:\n\tadd $1, %0" : "+b"(value));
    return value;
}

static NOINLINE long illegals(long value)
{
    __asm__ volatile(".globl illegal\nillegal:\n\tud2\n\tadd $5, %0" : "+r"(value));
    return value;
}

/* As compilers do it for accesses that may fault: the handler sends them to a landing of their own. */
static NOINLINE long loads(const long *from)
{
    long value;
    __asm__ volatile(".globl bad_load\nbad_load:\n\tmov (%1), %0\n\tjmp 1f\n\t"
                     ".globl recovered\nrecovered:\n\tmov $2, %0\n1:\tadd $21, %0"
                     : "=r"(value)
                     : "r"(from));
    return value;
}

static sigjmp_buf back;

static void on_bus(int number)
{
    siglongjmp(back, number);
}

int main(void)
{
    struct sigaction action = {.sa_sigaction = on_trap, .sa_flags = SA_SIGINFO};
    long good = 7;
    sigaction(SIGTRAP, &action, NULL);
    sigaction(SIGILL, &action, NULL);
    sigaction(SIGSEGV, &action, NULL);
    for (int i = 0; i < 20; i++) {
        at = 0;
        must(traps(i) == i + 1001 && at == 1 && number_seen == SIGTRAP);
        at = 0;
        must(illegals(i) == i + 5 && at == 1 && number_seen == SIGILL);
        must(loads(&good) == 28);
        at = 0;
        must(loads(hide((long *)32)) == 23 && at == 1 && number_seen == SIGSEGV && address_seen == 32);
    }
    printf("traps good\n");
    signal(SIGBUS, on_bus);
    int fd = open("file", O_RDWR | O_CREAT, 0600);
    must(fd >= 0 && ftruncate(fd, 4096) == 0);
    volatile char *file = mmap(NULL, 8192, PROT_READ, MAP_SHARED, fd, 0);
    must(file != MAP_FAILED);
    volatile int caught = 0;
    for (int i = 0; i < 10; i++) {
        int got = sigsetjmp(back, 1);
        if (got == 0)
            caught += file[4096 + i] + 100;
        caught += got;
    }
    unlink("file");
    printf("bus %d sum %llx\n", caught, (unsigned long long)work(5));
    struct sigaction once = {.sa_handler = SIG_DFL};
    sigaction(SIGTRAP, &once, NULL);
    fflush(stdout);
    raise(SIGTRAP);
    return 0;
}
