/* Started under a filter of system calls such as a service manager installs, which the supervisor is under as well: threads,
 * children, an executed program, signals, heap; what is refused is refused as natively. */
/* flags: -pthread */
/* place: service */
#define _GNU_SOURCE
#include "transparent.h"
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile sig_atomic_t seen;

static void handler(int signal)
{
    seen += (int)(work(2) & 1) + signal - signal + 1;
}

static void *thread(void *argument)
{
    char *block = malloc(70000);
    must(block != NULL);
    memset(block, 7, 70000);
    uint64_t sum = work((unsigned)(uintptr_t)argument) + (uint64_t)block[69999];
    free(block);
    return (void *)(uintptr_t)sum;
}

int main(int argc, char **argv)
{
    pthread_t id[4];
    uint64_t sum = 0;
    if (argc > 1) {
        printf("executed %llx\n", (unsigned long long)work(12));
        return 8;
    }
    for (unsigned i = 0; i < 4; i++)
        must(pthread_create(&id[i], NULL, thread, (void *)(uintptr_t)(i + 2)) == 0);
    for (unsigned i = 0; i < 4; i++) {
        void *answer;
        must(pthread_join(id[i], &answer) == 0);
        sum ^= (uint64_t)(uintptr_t)answer;
    }
    must(signal(SIGUSR1, handler) != SIG_ERR && raise(SIGUSR1) == 0 && seen > 0);
    printf("%llx\n", (unsigned long long)sum);
    errno = 0;
    int refused = unshare(CLONE_NEWUTS) != 0;
    printf("unshare %d %d\n", refused, errno == EPERM);
    errno = 0;
    long traced = ptrace(PTRACE_TRACEME, 0, NULL, NULL);
    printf("ptrace %ld %d\n", traced, errno == EPERM);
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
    return 3;
}
