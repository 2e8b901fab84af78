/* Confined by filters such as servers install: sshd's list of allowed calls before authentication, and a filter that forbids
 * memory that is writable and executable. Work in functions called for the first time after that, heap, threads made before. */
/* flags: -pthread */
/* says: forbids itself system calls */
#define _GNU_SOURCE
#include "transparent.h"
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define ALLOW(call)                                                                                          \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (call), 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
/* Allowed unless argument 2 has one of these bits. */
#define ALLOW_WITHOUT(call, bits)                                                                            \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (call), 0, 5), LOAD(args[2]),                                        \
        BPF_STMT(BPF_ALU | BPF_AND | BPF_K, (bits)), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 1),           \
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW), LOAD(nr)

static struct sock_filter as_sshd[] = {
    LOAD(arch),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
    LOAD(nr),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat, 0, 1),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EACCES),
    ALLOW(SYS_brk),
    ALLOW(SYS_clock_gettime),
    ALLOW(SYS_close),
    ALLOW(SYS_exit),
    ALLOW(SYS_exit_group),
    ALLOW(SYS_futex),
    ALLOW(SYS_getpid),
    ALLOW(SYS_getrandom),
    ALLOW(SYS_gettimeofday),
    ALLOW(SYS_getuid),
    ALLOW(SYS_madvise),
    ALLOW(SYS_mremap),
    ALLOW(SYS_munmap),
    ALLOW(SYS_nanosleep),
    ALLOW(SYS_poll),
    ALLOW(SYS_ppoll),
    ALLOW(SYS_read),
    ALLOW(SYS_rt_sigprocmask),
    ALLOW(SYS_rt_sigreturn),
    ALLOW(SYS_shutdown),
    ALLOW(SYS_write),
    ALLOW(SYS_writev),
    ALLOW_WITHOUT(SYS_mmap, PROT_EXEC),
    ALLOW_WITHOUT(SYS_mprotect, PROT_EXEC),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
};

static struct sock_filter no_new_code[] = {
    LOAD(nr),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mmap, 2, 0),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mprotect, 1, 0),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    LOAD(args[2]),
    BPF_STMT(BPF_ALU | BPF_AND | BPF_K, PROT_WRITE | PROT_EXEC),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PROT_WRITE | PROT_EXEC, 0, 1),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
};

static NOINLINE uint64_t first_called_later(unsigned rounds)
{
    uint64_t sum = work(rounds);
    char *blocks[50];
    for (int i = 0; i < 50; i++) {
        blocks[i] = malloc((size_t)(i * i * 100 + 1));
        must(blocks[i] != NULL);
        memset(blocks[i], i, (size_t)(i * i * 100 + 1));
        sum = work_mix(sum, (uint64_t)blocks[i][i]);
    }
    for (int i = 0; i < 50; i++)
        free(blocks[i]);
    char text[64];
    snprintf(text, sizeof text, "%u %.3f", rounds, (double)rounds / 7);
    return work_mix(sum, strlen(text));
}

static void confine(struct sock_filter *filter, size_t bytes)
{
    struct sock_fprog program = {(unsigned short)(bytes / sizeof *filter), filter};
    must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    must(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
}

static int child(int kind)
{
    if (kind == 0)
        confine(as_sshd, sizeof as_sshd);
    else if (kind == 1)
        confine(no_new_code, sizeof no_new_code);
    else
        must(prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) == 0); /* read, write, _exit, sigreturn */
    if (kind == 2) {
        uint64_t sum = work(5);
        must(write(1, "strict\n", 7) == 7);
        syscall(SYS_exit, (int)(sum & 31));
    }
    printf("%d: %llx\n", kind, (unsigned long long)first_called_later(8));
    errno = 0;
    void *both = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    printf("%d %d\n", both == MAP_FAILED, errno);
    fflush(stdout);
    if (kind == 1)
        printf("%d\n", (int)(clock() >= 0));
    fflush(stdout);
    _exit(kind + 10);
}

int main(void)
{
    for (int kind = 0; kind < 3; kind++) {
        pid_t pid = fork();
        if (pid == 0) {
            if (kind == 0) { /* no code at all: killed by the filter */
                pid_t inner = fork();
                if (inner == 0) {
                    confine(as_sshd, sizeof as_sshd);
                    printf("%llx\n", (unsigned long long)first_called_later(3));
                    fflush(stdout);
                    syscall(SYS_getppid);
                    _exit(0);
                }
                int status;
                must(waitpid(inner, &status, 0) == inner);
                printf("killed by %d\n", WTERMSIG(status));
                fflush(stdout);
                inner = fork();
                if (inner == 0) {
                    confine(as_sshd, sizeof as_sshd);
                    printf("%llx\n", (unsigned long long)first_called_later(3));
                    fflush(stdout);
                    _exit(9);
                }
                must(waitpid(inner, &status, 0) == inner);
                printf("ended %x\n", (unsigned)status);
                fflush(stdout);
                _exit(3);
            }
            child(kind);
        }
        int status;
        must(waitpid(pid, &status, 0) == pid);
        printf("%d ended %x\n", kind, (unsigned)status);
        fflush(stdout);
    }
    return 0;
}
