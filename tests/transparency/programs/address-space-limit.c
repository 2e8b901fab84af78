/* A program that limits its own address space: it gets what it asked for and no more, by malloc and by mmap, in a thread, in
 * children and in the programs that they execute, and is told its own figures. */
/* flags: -pthread */
#define _GNU_SOURCE
#include "transparent.h"
#include <errno.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MIB = 1 << 20 };

static void *thread(void *argument)
{
    char block[100000];
    memset(block, 1, sizeof block);
    return (char *)argument + block[7];
}

static int filled(void *(*take)(size_t))
{
    int taken = 0;
    while (taken < 2000 && take(MIB))
        taken++;
    /* What is left over depends on the libraries; the limit is 512 MiB, of which 64 are in use. */
    return taken > 300 && taken < 512 ? 400 : taken;
}

static void *map(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

static void show(const char *where)
{
    struct rlimit limit;
    must(getrlimit(RLIMIT_AS, &limit) == 0);
    printf("%s: %lld %lld, ", where, (long long)limit.rlim_cur, (long long)limit.rlim_max);
    errno = 0;
    void *large = malloc(hide((size_t)600 * MIB));
    printf("%s errno %d, ", large ? "too much" : "refused", errno);
    errno = 0;
    void *mapped = map((size_t)700 * MIB);
    printf("%s errno %d\n", mapped ? "too much" : "refused", errno);
    fflush(stdout);
}

static int status_of(pid_t pid)
{
    int status;
    must(waitpid(pid, &status, 0) == pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        show("executed");
        printf("sum %llx\n", (unsigned long long)work(20));
        return 6;
    }
    struct rlimit limit = {(size_t)512 * MIB, RLIM_INFINITY}, old;
    pthread_t id;
    void *answer, *kept = malloc((size_t)64 * MIB);
    must(kept != NULL);
    memset(kept, 3, (size_t)64 * MIB);
    must(setrlimit(RLIMIT_AS, &limit) == 0);
    show("limited");
    must(pthread_create(&id, NULL, thread, (char *)4) == 0 && pthread_join(id, &answer) == 0);
    printf("thread %d sum %llx\n", (int)(uintptr_t)answer, (unsigned long long)work(20));
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        show("child");
        printf("%d\n", filled(map));
        fflush(stdout);
        _exit(5);
    }
    printf("%d\n", status_of(pid));
    fflush(stdout);
    pid = fork();
    if (pid == 0) {
        execl("/proc/self/exe", argv[0], "again", (char *)NULL);
        _exit(120);
    }
    printf("%d\n", status_of(pid));
    fflush(stdout);
    pid = fork();
    if (pid == 0) {
        printf("%d\n", filled(malloc));
        fflush(stdout);
        _exit(4);
    }
    printf("%d\n", status_of(pid));
    must(prlimit(0, RLIMIT_AS, &(struct rlimit){(size_t)1024 * MIB, (size_t)2048 * MIB}, &old) == 0);
    printf("before %lld %lld\n", (long long)old.rlim_cur, (long long)old.rlim_max);
    void *more = malloc((size_t)600 * MIB);
    must(more != NULL);
    free(more);
    limit = (struct rlimit){(size_t)2048 * MIB, (size_t)2048 * MIB};
    must(setrlimit(RLIMIT_AS, &limit) == 0);
    limit.rlim_cur++;
    printf("beyond the hard limit: %d\n", setrlimit(RLIMIT_AS, &limit) ? errno : 0);
    must(getrlimit(RLIMIT_DATA, &old) == 0);
    limit = (struct rlimit){(size_t)1024 * MIB, old.rlim_max};
    must(setrlimit(RLIMIT_DATA, &limit) == 0 && getrlimit(RLIMIT_DATA, &old) == 0);
    must(old.rlim_cur == limit.rlim_cur);
    must((more = malloc(300 * MIB)) != NULL);
    free(more);
    printf("sum %llx\n", (unsigned long long)work(9));
    return 0;
}
