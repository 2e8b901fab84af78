/* Starts a command in a narrower place, as service managers do: `launch PLACE COMMAND ARGUMENT...`, where PLACE is
 *   address-space N   a limit on address space of N MiB
 *   service           a filter of system calls that refuses what services have no business with (EPERM)
 *   no-new-code       a filter that refuses memory that is writable and executable, or becomes executable (EPERM) */
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LOAD(field)  BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define REFUSE       BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM)
#define FORBID(call) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (call), 0, 1), REFUSE
#define ALLOW        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
/* Refused when argument 2 has all of these bits. */
#define FORBID_WITH(call, bits)                                                                              \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (call), 0, 5), LOAD(args[2]),                                        \
        BPF_STMT(BPF_ALU | BPF_AND | BPF_K, (bits)), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (bits), 0, 1),      \
        REFUSE, LOAD(nr)

static struct sock_filter service[] = {
    LOAD(nr),
    FORBID(SYS_ptrace),
    FORBID(SYS_process_vm_readv),
    FORBID(SYS_process_vm_writev),
    FORBID(SYS_mount),
    FORBID(SYS_umount2),
    FORBID(SYS_pivot_root),
    FORBID(SYS_unshare),
    FORBID(SYS_setns),
    FORBID(SYS_personality),
    FORBID(SYS_bpf),
    FORBID(SYS_perf_event_open),
    FORBID(SYS_userfaultfd),
    FORBID(SYS_keyctl),
    FORBID(SYS_add_key),
    FORBID(SYS_request_key),
    FORBID(SYS_reboot),
    FORBID(SYS_swapon),
    FORBID(SYS_kexec_load),
    FORBID(SYS_init_module),
    FORBID(SYS_finit_module),
    FORBID(SYS_settimeofday),
    FORBID(SYS_clock_settime),
    FORBID(SYS_iopl),
    FORBID(SYS_ioperm),
    FORBID(SYS_kcmp),
    FORBID(SYS_io_uring_setup),
    ALLOW,
};

static struct sock_filter no_new_code[] = {
    LOAD(nr),
    FORBID_WITH(SYS_mmap, PROT_WRITE | PROT_EXEC),
    FORBID_WITH(SYS_mprotect, PROT_EXEC),
    FORBID_WITH(SYS_pkey_mprotect, PROT_EXEC),
    ALLOW,
};

static int confine(struct sock_filter *filter, size_t bytes)
{
    struct sock_fprog program = {(unsigned short)(bytes / sizeof *filter), filter};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

int main(int argc, char **argv)
{
    int failed = 1;
    char **command = argv + 2;
    if (argc > 3 && !strcmp(argv[1], "address-space")) {
        rlim_t bytes = (rlim_t)atoi(argv[2]) << 20;
        command++;
        failed = setrlimit(RLIMIT_AS, &(struct rlimit){bytes, bytes});
    } else if (argc > 2 && !strcmp(argv[1], "service")) {
        failed = confine(service, sizeof service);
    } else if (argc > 2 && !strcmp(argv[1], "no-new-code")) {
        failed = confine(no_new_code, sizeof no_new_code);
    }
    if (!failed)
        execvp(command[0], command);
    perror("launch");
    return 125;
}
