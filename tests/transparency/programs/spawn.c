/* vfork and exec, posix_spawn, system, popen, and exec of the program itself. */
#define _GNU_SOURCE
#include "transparent.h"
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static void show(const char *how, pid_t pid)
{
    int status;
    must(waitpid(pid, &status, 0) == pid);
    printf("%s: %d\n", how, WEXITSTATUS(status));
    fflush(stdout);
}

static NOINLINE pid_t by_vfork(char **arguments)
{
    volatile int before = 5;
    pid_t pid = vfork();
    if (pid == 0) {
        before = 6;
        execv("/proc/self/exe", arguments);
        _exit(120);
    }
    must(before == 6);
    return pid;
}

int main(int argc, char **argv)
{
    if (argc == 3) {
        int left = atoi(argv[2]);
        printf("%s %d %llx\n", argv[1], left, (unsigned long long)work((unsigned)left + 2));
        fflush(stdout);
        if (left == 0)
            return 9;
        char next[12];
        snprintf(next, sizeof next, "%d", left - 1);
        execl("/proc/self/exe", argv[0], argv[1], next, (char *)NULL);
        return 121;
    }
    char *vfork_arguments[] = {argv[0], "vfork", "2", NULL},
         *spawn_arguments[] = {argv[0], "spawn", "1", NULL};
    pid_t pid;
    for (int i = 0; i < 3; i++)
        show("vfork", by_vfork(vfork_arguments));
    must(posix_spawn(&pid, "/proc/self/exe", NULL, NULL, spawn_arguments, environ) == 0);
    show("posix_spawn", pid);
    must(posix_spawnp(&pid, "true", NULL, NULL, (char *[]){"true", NULL}, environ) == 0);
    show("true", pid);
    must(posix_spawn(&pid, "/nonexistent", NULL, NULL, spawn_arguments, environ) != 0);
    fflush(stdout);
    printf("system: %d\n", WEXITSTATUS(system("exit 5")));
    FILE *pipe = popen("echo from a shell; exit 3", "r");
    char line[100];
    while (fgets(line, sizeof line, pipe))
        printf("popen: %s", line);
    printf("pclose: %d\n", WEXITSTATUS(pclose(pipe)));
    fflush(stdout);
    pid = fork();
    if (pid == 0) {
        char *environment[] = {"ONLY=this", NULL};
        execve("/bin/sh", (char *[]){"sh", "-c", "echo $ONLY; exit 4", NULL}, environment);
        _exit(122);
    }
    show("execve", pid);
    return 0;
}
