#include "fault.h"
#include <sys/wait.h>
#include <unistd.h>

int child_work(int bad)
{
    if (bad < 0)
        return -1;
    ledger_write(1, "child");
    return 3 / fault_hide(bad ? 0 : 4);
}
static int (*volatile work)(int) = child_work;

/* The fault happens in a forked child, which must go on to its own end. */
int fork_and_fault(int bad)
{
    uint64_t before = ledger_global.count[0];
    pid_t child = fork();
    if (child < 0)
        return 1;
    if (child == 0) {
        int result = work(bad);
        _exit(bad ? result == -1 && ledger_global.count[0] == before ? 42 : 1 : result);
    }
    int status;
    if (waitpid(child, &status, 0) != child || !WIFEXITED(status))
        return 1;
    return WEXITSTATUS(status) == 42 ? -1 : WEXITSTATUS(status);
}

int main(int argc, char **argv)
{
    return fault_run(argc, argv, fork_and_fault);
}
