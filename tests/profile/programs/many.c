/* Work whose amount is known, in processes and threads: forked ones, one that is killed, one that a forked one forks, one that
   is executed anew. */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define APART   __attribute__((noinline, noclone))
#define HAPPENS __asm__ volatile("") /* no call of it may be left out */

APART unsigned step(unsigned x)
{
    HAPPENS;
    return x * 1664525u + 1013904223u;
}

APART unsigned repeat(unsigned times)
{
    unsigned x = 1;
    HAPPENS;
    for (unsigned i = 0; i < times; i++)
        x = step(x);
    return x;
}

static void *thread(void *argument)
{
    repeat(100000);
    return argument;
}

static void threads(int count)
{
    pthread_t id[8];
    for (int i = 0; i < count; i++)
        pthread_create(&id[i], NULL, thread, NULL);
    for (int i = 0; i < count; i++)
        pthread_join(id[i], NULL);
}

static pid_t child(char **argv, int kind)
{
    pid_t pid = fork();
    if (pid)
        return pid;
    repeat(10000);
    if (kind == 0)
        kill(getpid(), SIGKILL);
    if (kind == 1)
        waitpid(child(argv, 2), NULL, 0);
    if (kind == 3) {
        char again[] = "again", *arguments[] = {argv[0], again, NULL};
        execv(argv[0], arguments);
    }
    _exit(0);
}

/* 4 threads of 100000; 5 children of 10000, and what the executed one does: 2000; 1000 here; 30 children of 10. */
int main(int argc, char **argv)
{
    if (argc > 1) {
        repeat(2000);
        return 0;
    }
    threads(4);
    for (int kind = 0; kind < 4; kind++)
        waitpid(child(argv, kind), NULL, 0);
    repeat(1000);
    for (int i = 0; i < 30; i++) {
        pid_t pid = fork();
        if (!pid) {
            repeat(10);
            _exit(0);
        }
        waitpid(pid, NULL, 0);
    }
    return 7;
}
