/* Children by fork: their work, their exit status and signals, pipes, atfork handlers, copies of memory. */
#define _GNU_SOURCE
#include "transparent.h"
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int prepared, in_parent, in_child, shared = 1;

static void on_prepare(void)
{
    prepared++;
}
static void on_parent(void)
{
    in_parent++;
}
static void on_child(void)
{
    in_child++;
}

static NOINLINE int child(int number, int out)
{
    uint64_t sum = work((unsigned)number + 1);
    shared += number;
    char *text;
    int length = asprintf(&text, "child %d: %llx shared %d atfork %d %d %d\n", number,
                          (unsigned long long)sum, shared, prepared, in_parent, in_child);
    must(write(out, text, (size_t)length) == length);
    free(text);
    return number + 3;
}

static NOINLINE pid_t deep_fork(int depth)
{
    return depth ? deep_fork(depth - 1) : fork();
}

int main(void)
{
    pthread_atfork(on_prepare, on_parent, on_child);
    for (int i = 0; i < 12; i++) {
        int ends[2], status;
        must(pipe(ends) == 0);
        pid_t pid = deep_fork(i);
        must(pid >= 0);
        if (pid == 0) {
            close(ends[0]);
            int code = child(i, ends[1]);
            if (i == 7)
                raise(SIGKILL);
            exit(code);
        }
        close(ends[1]);
        char line[200];
        ssize_t got;
        while ((got = read(ends[0], line, sizeof line)) > 0)
            fwrite(line, 1, (size_t)got, stdout);
        fflush(stdout);
        close(ends[0]);
        must(waitpid(pid, &status, 0) == pid);
        printf("exit %d signal %d shared %d\n", WIFEXITED(status) ? WEXITSTATUS(status) : -1,
               WIFSIGNALED(status) ? WTERMSIG(status) : 0, shared);
        fflush(stdout);
    }
    long raw = syscall(SYS_fork);
    if (raw == 0)
        _exit((int)(work(3) % 100));
    int status;
    must(waitpid((pid_t)raw, &status, 0) == raw);
    printf("raw %d\n", WEXITSTATUS(status));
    return 0;
}
