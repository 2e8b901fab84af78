/* Handlers that interrupt supervised code, each other, and run on a stack of their own. */
#define _GNU_SOURCE
#include "transparent.h"
#include <signal.h>
#include <unistd.h>

static volatile sig_atomic_t plain, nested, info, once, on_own_stack;
static char own_stack[65536];

static void on_plain(int number)
{
    (void)number;
    plain++;
}

static void on_inner(int number)
{
    (void)number;
    nested += (int)(work(2) != 0);
}

static void on_outer(int number)
{
    (void)number;
    raise(SIGUSR2);
    nested += 10;
}

static void on_info(int number, siginfo_t *what, void *context)
{
    info +=
        number == SIGRTMIN && what->si_code == SI_QUEUE && what->si_value.sival_int == 77 && context != NULL;
}

static void on_own(int number)
{
    char here[256];
    (void)number;
    memset(here, number, sizeof here);
    char *address = hide(&here[0]);
    on_own_stack += address >= own_stack && address < own_stack + sizeof own_stack;
}

static void on_once(int number)
{
    (void)number;
    once++;
}

static void set(int number, void (*handler)(int), int flags)
{
    struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
    must(sigaction(number, &action, NULL) == 0);
}

int main(void)
{
    stack_t stack = {.ss_sp = own_stack, .ss_size = sizeof own_stack};
    uint64_t sum = 0;
    must(sigaltstack(&stack, NULL) == 0);
    set(SIGUSR1, on_plain, 0);
    set(SIGHUP, on_outer, SA_RESTART);
    set(SIGUSR2, on_inner, SA_NODEFER);
    set(SIGURG, on_own, SA_ONSTACK);
    set(SIGWINCH, on_once, (int)SA_RESETHAND);
    struct sigaction with_info = {.sa_sigaction = on_info, .sa_flags = SA_SIGINFO};
    must(sigaction(SIGRTMIN, &with_info, NULL) == 0);
    for (int i = 0; i < 50; i++) {
        sum += work(3);
        raise(SIGUSR1);
        kill(getpid(), SIGHUP);
        sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = 77});
        raise(SIGURG);
        raise(SIGWINCH);
    }
    sigset_t block, pending;
    sigemptyset(&block);
    sigaddset(&block, SIGUSR1);
    sigprocmask(SIG_BLOCK, &block, NULL);
    raise(SIGUSR1);
    sum += work(5);
    sigpending(&pending);
    int held = plain;
    sigprocmask(SIG_UNBLOCK, &block, NULL);
    struct sigaction old;
    sigaction(SIGUSR1, NULL, &old);
    printf("%d %d %d %d %d held %d pending %d kept %d sum %llx\n", (int)plain, (int)nested, (int)info,
           (int)on_own_stack, (int)once, held, sigismember(&pending, SIGUSR1), old.sa_handler == on_plain,
           (unsigned long long)sum);
    return 0;
}
