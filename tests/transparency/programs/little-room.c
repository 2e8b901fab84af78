/* Started under a limit on address space that leaves no room for shadow memory: said, and then as natively: the program gets what
 * the limit leaves and no more, and is told the kernel's figures. */
/* flags: -pthread */
/* place: address-space 2048 */
/* says: running natively */
/* supervised: no */
#define _GNU_SOURCE
#include "transparent.h"
#include <errno.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static void *thread(void *argument)
{
    return (void *)(uintptr_t)work((unsigned)(uintptr_t)argument);
}

static void show(void)
{
    struct rlimit limit;
    pthread_t id;
    void *answer;
    must(getrlimit(RLIMIT_AS, &limit) == 0);
    must(pthread_create(&id, NULL, thread, (void *)5) == 0 && pthread_join(id, &answer) == 0);
    printf("%lld %lld, thread %llx, ", (long long)limit.rlim_cur, (long long)limit.rlim_max,
           (unsigned long long)(uintptr_t)answer);
    char *some = malloc((size_t)700 << 20);
    must(some != NULL);
    some[(size_t)600 << 20] = 1;
    errno = 0;
    void *large = malloc(hide((size_t)3 << 30));
    printf("%s, errno %d\n", large ? "too much" : "refused", errno);
    free(some);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    show();
    if (argc > 1)
        return 8;
    pid_t pid = fork();
    if (pid == 0) {
        show();
        execl("/proc/self/exe", argv[0], "again", (char *)NULL);
        _exit(120);
    }
    int status;
    must(waitpid(pid, &status, 0) == pid);
    printf("ended %x\n", (unsigned)status);
    return 4;
}
