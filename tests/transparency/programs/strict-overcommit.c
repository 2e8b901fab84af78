/* Where the kernel promises no more memory than there is (vm.overcommit_memory=2) shadow memory cannot be reserved: said, and then
 * as natively. Threads, children, an executed program, a large allocation that is refused. */
/* flags: -pthread */
/* when: /proc/sys/vm/overcommit_memory 2 */
/* checks say: running natively */
/* supervised: no */
#define _GNU_SOURCE
#include "transparent.h"
#include <errno.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static void *thread(void *argument)
{
    return (void *)(uintptr_t)work((unsigned)(uintptr_t)argument);
}

static void show(const char *who)
{
    pthread_t id;
    void *answer;
    must(pthread_create(&id, NULL, thread, (void *)5) == 0 && pthread_join(id, &answer) == 0);
    char *some = malloc((size_t)50 << 20);
    must(some != NULL);
    memset(some, 1, (size_t)50 << 20);
    errno = 0;
    void *large = mmap(NULL, (size_t)1 << 43, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    printf("%s: thread %llx, %d, %s, errno %d\n", who, (unsigned long long)(uintptr_t)answer, some[1234567],
           large != MAP_FAILED ? "too much" : "refused", errno);
    free(some);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        show("executed");
        return 8;
    }
    show("first");
    pid_t pid = fork();
    if (pid == 0) {
        show("child");
        execl("/proc/self/exe", argv[0], "again", (char *)NULL);
        _exit(120);
    }
    int status;
    must(waitpid(pid, &status, 0) == pid);
    printf("ended %x\n", (unsigned)status);
    return 4;
}
