/* Started where a filter refuses memory that is writable and executable: it cannot be supervised, which is said, and runs as it does
 * natively, with its threads, children and an executed program. */
/* flags: -pthread */
/* place: no-new-code */
/* says: running natively */
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

int main(int argc, char **argv)
{
    if (argc > 1) {
        printf("executed %llx\n", (unsigned long long)work(12));
        return 8;
    }
    pthread_t id;
    void *answer;
    must(pthread_create(&id, NULL, thread, (void *)5) == 0 && pthread_join(id, &answer) == 0);
    errno = 0;
    void *both = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    printf("thread %llx, %d %d\n", (unsigned long long)(uintptr_t)answer, both == MAP_FAILED, errno);
    char *block = calloc(1000, 1000);
    must(block != NULL && block[999999] == 0);
    free(block);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        printf("child %llx\n", (unsigned long long)work(7));
        fflush(stdout);
        execl("/proc/self/exe", argv[0], "again", (char *)NULL);
        _exit(120);
    }
    int status;
    must(waitpid(pid, &status, 0) == pid);
    printf("ended %x\n", (unsigned)status);
    return 4;
}
