/* Processes made in every way: clone with and without shared memory, vfork in threads, posix_spawn with attributes, execve from a
 * thread while others work, forks of forks, daemons, handlers at fork that allocate. */
/* flags: -pthread */
#define _GNU_SOURCE
#include "transparent.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;
static char *name;
static volatile int shared, working = 1;
static char *at_fork;

static int status_of(pid_t pid)
{
    int status;
    pid_t got;
    while ((got = waitpid(pid, &status, __WALL)) < 0 && errno == EINTR)
        ;
    must(got == pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static void prepare(void)
{
    at_fork = malloc(500);
    snprintf(at_fork, 500, "forked %d", shared);
}

static void after(void)
{
    shared += (int)strlen(at_fork);
    free(at_fork);
}

static NOINLINE int by_clone(void *argument)
{
    shared += *(int *)argument;
    return (int)(work(2) & 63);
}

static NOINLINE int becomes(void *argument)
{
    execve("/proc/self/exe", (char *[]){name, "executed", argument, NULL}, environ);
    return 120;
}

static void clones(void)
{
    enum { STACK = 1 << 17 };
    char *stack = malloc(STACK);
    int one = 1, flags[] = {SIGCHLD, CLONE_VM | SIGCHLD, CLONE_VM | CLONE_VFORK | SIGCHLD,
                            CLONE_VM | CLONE_FS | CLONE_FILES};
    for (int i = 0; i < 4; i++) {
        pid_t pid = clone(by_clone, stack + STACK, flags[i], &one);
        must(pid > 0);
        int status = status_of(pid);
        printf("clone %d: %d %d\n", i, status, shared);
    }
    pid_t pid = clone(becomes, stack + STACK, CLONE_VM | CLONE_VFORK | SIGCHLD, "by clone");
    printf("clone, exec: %d\n", status_of(pid));
    fflush(stdout);
    free(stack);
    struct {
        uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls;
    } how = {.exit_signal = SIGCHLD};
    long made = syscall(435 /* clone3 */, &how, sizeof how);
    if (made == 0)
        _exit((int)(work(3) & 31));
    if (made > 0)
        printf("clone3: %d\n", status_of((pid_t)made));
    else
        printf("clone3: %d\n", (int)(work(3) & 31)); /* a filter around us may not know it */
    fflush(stdout);
}

static NOINLINE pid_t by_vfork(char *how)
{
    pid_t pid = vfork();
    if (pid == 0) {
        execve("/proc/self/exe", (char *[]){name, "executed", how, NULL}, environ);
        _exit(121);
    }
    return pid;
}

static void *vforks(void *argument)
{
    int sum = 0;
    for (int i = 0; i < 3; i++)
        sum += status_of(by_vfork("quiet"));
    return (char *)argument + sum;
}

static void *works(void *argument)
{
    uint64_t sum = 0;
    while (working)
        sum ^= work(1);
    (void)sum;
    return argument;
}

static void *executes(void *argument)
{
    becomes(argument);
    return NULL;
}

static void spawns(void)
{
    posix_spawnattr_t how;
    posix_spawn_file_actions_t files;
    sigset_t mask;
    pid_t pid;
    sigemptyset(&mask);
    sigaddset(&mask, SIGUSR1);
    posix_spawnattr_init(&how);
    posix_spawnattr_setflags(&how, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF);
    posix_spawnattr_setsigmask(&how, &mask);
    posix_spawnattr_setsigdefault(&how, &mask);
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, 7, "spawned", O_WRONLY | O_CREAT | O_TRUNC, 0600);
    posix_spawn_file_actions_adddup2(&files, 7, 1);
    posix_spawn_file_actions_addclose(&files, 7);
    must(posix_spawn(&pid, "/proc/self/exe", &files, &how, (char *[]){name, "executed", "spawned", NULL},
                     environ) == 0);
    printf("spawned: %d\n", status_of(pid));
    char text[200] = "";
    int fd = open("spawned", O_RDONLY);
    must(fd >= 0 && read(fd, text, sizeof text - 1) > 0);
    printf("it said %s", text);
    close(fd);
    unlink("spawned");
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&how);
    fflush(stdout);
}

static int generations(int left)
{
    if (!left)
        return (int)(work(1) & 15);
    pid_t pid = fork();
    if (pid == 0)
        _exit(generations(left - 1) + 1);
    return status_of(pid) + 1;
}

int main(int argc, char **argv)
{
    name = argv[0];
    if (argc > 2) {
        uint64_t sum = work(4);
        if (strcmp(argv[2], "quiet"))
            printf("%s: %llx\n", argv[2], (unsigned long long)sum);
        return (int)(sum & 63);
    }
    must(pthread_atfork(prepare, after, after) == 0);
    clones();
    spawns();
    int last = generations(6);
    printf("generations: %d, shared %d\n", last, shared);
    fflush(stdout);
    pthread_t ids[4];
    void *answer;
    for (int i = 0; i < 3; i++)
        must(pthread_create(&ids[i], NULL, vforks, (char *)1) == 0);
    for (int i = 0; i < 3; i++)
        must(pthread_join(ids[i], &answer) == 0 && printf("thread: %d\n", (int)(uintptr_t)answer) > 0);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) { /* a daemon; its end is seen by the end of a pipe */
        int ends[2];
        must(pipe(ends) == 0);
        pid_t inner = fork();
        if (inner == 0) {
            close(ends[0]);
            must(daemon(1, 1) == 0);
            char done = (char)('a' + (work(2) & 7));
            must(write(ends[1], &done, 1) == 1);
            _exit(0);
        }
        close(ends[1]);
        char done = 0;
        must(read(ends[0], &done, 1) == 1);
        _exit(status_of(inner) + done);
    }
    printf("daemon: %d\n", status_of(pid));
    for (int i = 0; i < 3; i++)
        must(pthread_create(&ids[i], NULL, works, NULL) == 0);
    for (int i = 0; i < 20; i++) { /* forks while others work */
        pid = fork();
        if (pid == 0) {
            char *block = malloc(3000);
            memset(block, i, 3000);
            _exit(block[2999] + (int)(work(1) & 15));
        }
        must(status_of(pid) == i + (int)(work(1) & 15));
    }
    printf("forked under load\n");
    fflush(stdout);
    must(pthread_create(&ids[3], NULL, executes, "by a thread") == 0);
    pthread_join(ids[3], NULL);
    return 122;
}
