/* No memory may become executable any more (prctl PR_SET_MDWE): a plug-in is opened after that, threads go on, children and an
 * executed program live under the same rule; that one cannot be supervised. */
/* flags: -pthread -ldl */
/* plugin: yes */
/* says: running natively */
#define _GNU_SOURCE
#include "transparent.h"
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef PLUGIN

uint64_t plugin_call(unsigned rounds)
{
    return work(rounds) + 1;
}

#else

#ifndef PR_SET_MDWE
#define PR_SET_MDWE 65
#endif

static void *thread(void *argument)
{
    return (void *)(uintptr_t)work((unsigned)(uintptr_t)argument);
}

static NOINLINE uint64_t first_called_later(char *program)
{
    char path[4200];
    snprintf(path, sizeof path, "%s.so", program);
    void *plugin = dlopen(path, RTLD_NOW);
    must(plugin != NULL);
    uint64_t (*call)(unsigned) = (uint64_t(*)(unsigned))(uintptr_t)dlsym(plugin, "plugin_call");
    must(call != NULL);
    uint64_t sum = call(7) ^ work(9);
    must(dlclose(plugin) == 0);
    return sum;
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        printf("executed %llx\n", (unsigned long long)work(12));
        return 8;
    }
    pthread_t id;
    void *answer;
    printf("before %llx\n", (unsigned long long)work(3));
    int old_kernel = prctl(PR_SET_MDWE, 1L, 0L, 0L, 0L) != 0 && errno == EINVAL;
    errno = 0;
    void *both = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    must(old_kernel || (both == MAP_FAILED && errno == EACCES));
    printf("after %llx\n", (unsigned long long)first_called_later(argv[0]));
    must(pthread_create(&id, NULL, thread, (void *)5) == 0 && pthread_join(id, &answer) == 0);
    printf("thread %llx\n", (unsigned long long)(uintptr_t)answer);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        printf("child %llx\n", (unsigned long long)first_called_later(argv[0]));
        fflush(stdout);
        execl("/proc/self/exe", argv[0], "again", (char *)NULL);
        _exit(120);
    }
    int status;
    must(waitpid(pid, &status, 0) == pid);
    printf("ended %x\n", (unsigned)status);
    return 0;
}

#endif
