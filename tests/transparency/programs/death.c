/* Ends by signals that are no faults, and by a broken pipe: each child's status is what it is natively. */
#include "transparent.h"
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static const int deaths[] = {SIGTERM, SIGKILL, SIGHUP, SIGINT, SIGUSR1, SIGALRM, SIGPIPE};

static NOINLINE void die(int number)
{
    work(1);
    if (number == SIGPIPE) {
        int ends[2];
        must(pipe(ends) == 0);
        close(ends[0]);
        (void)!write(ends[1], "x", 1);
    } else if (number == SIGALRM) {
        alarm(1);
        for (;;)
            work(1);
    } else {
        kill(getpid(), number);
    }
    _exit(1);
}

int main(void)
{
    for (size_t i = 0; i < sizeof deaths / sizeof deaths[0]; i++) {
        pid_t pid = fork();
        if (pid == 0)
            die(deaths[i]);
        int status;
        waitpid(pid, &status, 0);
        printf("%d: %d %d\n", deaths[i], WIFSIGNALED(status), WIFSIGNALED(status) ? WTERMSIG(status) : -1);
        fflush(stdout);
    }
    raise(SIGTERM);
    return 1;
}
