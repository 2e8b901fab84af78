/* A child of vfork sets signals as it wants them for what it executes, in its parent's memory: the parent's handlers stay, and what is
 * executed finds what the child chose. */
#define _GNU_SOURCE
#include "transparent.h"
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile sig_atomic_t plain, detailed, fault, ended;

static void on_plain(int signal)
{
    plain += signal == SIGUSR1;
}
static void on_detailed(int signal, siginfo_t *info, void *context)
{
    detailed += signal == SIGUSR2 && info->si_signo == SIGUSR2 && context != NULL;
}
static void on_fault(int signal)
{
    fault += signal == SIGFPE;
}
static void on_child(int signal)
{
    ended += signal == SIGCHLD;
}
static void of_child(int signal)
{
    (void)signal;
    _exit(99);
}

static char state_of(int signal)
{
    struct sigaction action;
    must(sigaction(signal, NULL, &action) == 0);
    return action.sa_handler == SIG_DFL ? 'd' : action.sa_handler == SIG_IGN ? 'i' : 'h';
}

static void show(const char *who)
{
    static const int signals[] = {SIGUSR1, SIGUSR2, SIGFPE, SIGCHLD, SIGPIPE, SIGSEGV, SIGTERM};
    printf("%s: ", who);
    for (unsigned i = 0; i < sizeof signals / sizeof *signals; i++)
        putchar(state_of(signals[i]));
    putchar('\n');
    fflush(stdout);
}

static void set_in_child(int round)
{
    signal(SIGUSR1, round == 1 ? SIG_IGN : SIG_DFL);
    signal(SIGUSR2, round == 2 ? of_child : SIG_DFL);
    signal(SIGFPE, round == 1 ? SIG_IGN : round == 2 ? of_child : SIG_DFL);
    signal(SIGCHLD, SIG_DFL);
    signal(SIGPIPE, SIG_DFL);
    signal(SIGSEGV, round == 0 ? SIG_IGN : SIG_DFL);
    signal(SIGTERM, SIG_IGN);
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        show("executed");
        return (int)(work(3) & 1) + 20;
    }
    struct sigaction action = {.sa_sigaction = on_detailed, .sa_flags = SA_SIGINFO | SA_RESTART};
    must(signal(SIGUSR1, on_plain) != SIG_ERR && signal(SIGFPE, on_fault) != SIG_ERR);
    must(signal(SIGCHLD, on_child) != SIG_ERR && signal(SIGPIPE, SIG_IGN) != SIG_ERR);
    must(sigaction(SIGUSR2, &action, NULL) == 0);
    for (int round = 0; round < 3; round++) {
        pid_t pid = vfork();
        if (pid == 0) {
            set_in_child(round);
            execl("/proc/self/exe", argv[0], "again", (char *)NULL);
            _exit(120);
        }
        int status;
        must(waitpid(pid, &status, 0) == pid);
        printf("ended %x\n", (unsigned)status);
        show("parent");
        must(raise(SIGUSR1) == 0 && raise(SIGUSR2) == 0 && raise(SIGFPE) == 0);
        printf("%d %d %d %d\n", plain, detailed, fault, ended);
        fflush(stdout);
    }
    return 0;
}
