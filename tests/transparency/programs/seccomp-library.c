/* Confined by libseccomp, as servers do that list what they need: everything else is refused with EPERM. Then work in functions called
 * for the first time, heap, threads and children. */
/* flags: -pthread */
/* links: libseccomp.so.2 */
#define _GNU_SOURCE
#include "transparent.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* Of seccomp.h, which stands in a package of its own. */
void *seccomp_init(uint32_t default_action);
int seccomp_rule_add(void *filter, uint32_t action, int call, unsigned conditions, ...);
int seccomp_load(const void *filter);
void seccomp_release(void *filter);
enum { ALLOW = 0x7fff0000, REFUSE = 0x00050000 };

static const int allowed[] = {
    SYS_read,      SYS_write,     SYS_close,          SYS_fstat,        SYS_newfstatat,
    SYS_mmap,      SYS_mprotect,  SYS_munmap,         SYS_mremap,       SYS_madvise,
    SYS_brk,       SYS_futex,     SYS_rt_sigprocmask, SYS_rt_sigaction, SYS_clone,
    SYS_clone3,    SYS_wait4,     SYS_exit,           SYS_exit_group,   SYS_set_robust_list,
    SYS_rseq,      SYS_getpid,    SYS_gettid,         SYS_sigaltstack,  SYS_rt_sigreturn,
    SYS_getrandom, SYS_prlimit64, SYS_clock_gettime,  SYS_tgkill,       SYS_restart_syscall,
};

static void *thread(void *argument)
{
    return (void *)(uintptr_t)work((unsigned)(uintptr_t)argument);
}

static NOINLINE uint64_t first_called_later(unsigned rounds)
{
    uint64_t sum = work(rounds);
    for (size_t i = 1; i < 60; i++) {
        char *block = malloc(i * i * 90);
        must(block != NULL);
        memset(block, (int)i, i * i * 90);
        sum = work_mix(sum, (uint64_t)block[i]);
        free(block);
    }
    return sum;
}

int main(void)
{
    void *filter = seccomp_init(REFUSE | EPERM);
    must(filter != NULL);
    for (unsigned i = 0; i < sizeof allowed / sizeof *allowed; i++)
        must(seccomp_rule_add(filter, ALLOW, allowed[i], 0) == 0);
    must(seccomp_load(filter) == 0);
    seccomp_release(filter);
    errno = 0;
    int none = open("/etc/passwd", O_RDONLY);
    printf("open %d %d\n", none, errno);
    printf("work %llx\n", (unsigned long long)first_called_later(9));
    pthread_t id;
    void *answer;
    must(pthread_create(&id, NULL, thread, (void *)6) == 0 && pthread_join(id, &answer) == 0);
    printf("thread %llx\n", (unsigned long long)(uintptr_t)answer);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        printf("child %llx\n", (unsigned long long)first_called_later(4));
        fflush(stdout);
        _exit(6);
    }
    int status;
    must(waitpid(pid, &status, 0) == pid);
    printf("ended %x\n", (unsigned)status);
    return 2;
}
