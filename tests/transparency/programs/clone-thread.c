/* A thread that no library knows of: clone with shared memory and a stack of its own. */
#define _GNU_SOURCE
#include "transparent.h"
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>

static uint64_t answers[8];

static int task(void *argument)
{
    size_t index = (size_t)(uintptr_t)argument;
    answers[index] = work((unsigned)index + 5);
    return (int)index;
}

int main(void)
{
    char *stack = aligned_alloc(4096, 1 << 18);
    for (uintptr_t i = 0; i < 8; i++) {
        int status;
        pid_t pid = clone(task, stack + (1 << 18), CLONE_VM | CLONE_FS | CLONE_FILES | SIGCHLD, (void *)i);
        must(pid > 0 && waitpid(pid, &status, 0) == pid);
        printf("%d %llx\n", WEXITSTATUS(status), (unsigned long long)answers[i]);
    }
    return 0;
}
