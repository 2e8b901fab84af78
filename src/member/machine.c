/* What doctor finds out about the machine: each thing that the runtime or the supervisor needs is tried, here and now,
   because limits, policies and containers forbid what kernel and processor could do. */
#define _GNU_SOURCE
#include "member/private.h"

#include <asm/prctl.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/membarrier.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    HWCAP2_FSGSBASE_BIT = 1 << 1, /* linux/hwcap2.h of newer headers */
    SHADOW_STACK_STATUS = 0x5005, /* ARCH_SHSTK_STATUS */
    PR_GET_MDWE_NUMBER = 66,
};
static const size_t shadow_bytes = (size_t)1 << 44; /* one byte for 8 of the user half: 2^47 / 8 */

static struct member_finding *begin(struct member_finding *findings, unsigned *count, const char *subject)
{
    struct member_finding *f = &findings[*count < MEMBER_FINDINGS_MAX ? (*count)++ : MEMBER_FINDINGS_MAX - 1];
    *f = (struct member_finding){.subject = subject, .verdict = MEMBER_GOOD};
    return f;
}

#define SAY(finding, verdict_, advice_, ...)                                                                 \
    do {                                                                                                     \
        (finding)->verdict = verdict_;                                                                       \
        snprintf((finding)->text, sizeof(finding)->text, __VA_ARGS__);                                       \
        snprintf((finding)->advice, sizeof(finding)->advice, "%s", advice_);                                 \
    } while (0)

static void examine_kernel(struct member_finding *f)
{
    struct utsname name;
    if (uname(&name) || strcmp(name.machine, "x86_64") != 0)
        SAY(f, MEMBER_BAD, "run on x86-64 Linux", "not an x86-64 kernel");
    else
        SAY(f, MEMBER_GOOD, "", "%s %s on %s", name.sysname, name.release, name.machine);
}

static void examine_gs(struct member_finding *f)
{
    unsigned long before = 0, now = 0;
    bool instructions = getauxval(AT_HWCAP2) & HWCAP2_FSGSBASE_BIT;
    bool works = !syscall(SYS_arch_prctl, ARCH_GET_GS, &before) &&
                 !syscall(SYS_arch_prctl, ARCH_SET_GS, 0x10000ul) &&
                 !syscall(SYS_arch_prctl, ARCH_GET_GS, &now) && now == 0x10000;
    syscall(SYS_arch_prctl, ARCH_SET_GS, before);
    if (works)
        SAY(f, MEMBER_GOOD, "", "the %%gs base can be set%s",
            instructions ? ", also without a system call" : "");
    else
        SAY(f, MEMBER_BAD, "allow the system call arch_prctl", "the %%gs base cannot be set: %s",
            strerror(errno));
}

static void examine_shadow(struct member_finding *f)
{
    struct rlimit limit;
    char *overcommit = NULL;
    size_t bytes;
    bool strict =
        !base_read_file(NULL, &overcommit, &bytes, "/proc/sys/vm/overcommit_memory") && overcommit[0] == '2';
    free(overcommit);
    void *shadow =
        mmap(NULL, shadow_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (shadow != MAP_FAILED) {
        munmap(shadow, shadow_bytes);
        SAY(f, MEMBER_GOOD, "", "16 TiB of addresses can be reserved for shadow memory");
    } else if (!getrlimit(RLIMIT_AS, &limit) && limit.rlim_cur != RLIM_INFINITY) {
        SAY(f, MEMBER_BAD, "ulimit -v unlimited",
            "shadow memory needs 16 TiB of addresses, the limit is %" PRIu64 " MiB",
            (uint64_t)limit.rlim_cur >> 20);
    } else if (strict) {
        SAY(f, MEMBER_BAD, "sysctl vm.overcommit_memory=0",
            "strict overcommit (mode 2) refuses the 16 TiB of shadow memory");
    } else {
        SAY(f, MEMBER_BAD, "", "16 TiB of addresses for shadow memory cannot be reserved: %s",
            strerror(errno));
    }
}

static void examine_page(struct member_finding *f)
{
    int fd = memfd_create("testudo-doctor", MFD_CLOEXEC | MFD_ALLOW_SEALING), again = -1;
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/fd/%d", getpid(), fd);
    if (fd < 0 || ftruncate(fd, 4096) || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW))
        SAY(f, MEMBER_BAD, "allow memfd_create and fcntl seals", "no shared memory for the control page: %s",
            strerror(errno));
    else if ((again = open(path, O_RDWR | O_CLOEXEC)) < 0)
        SAY(f, MEMBER_LIMITED, "mount /proc",
            "%s cannot be opened (%s): programs that close all descriptors lose the page", path,
            strerror(errno));
    else
        SAY(f, MEMBER_GOOD, "", "shared, sealed memory for the control page");
    if (fd >= 0)
        close(fd);
    if (again >= 0)
        close(again);
}

static void examine_code(struct member_finding *f)
{
    long page = sysconf(_SC_PAGESIZE);
    uint8_t *code = mmap(NULL, (size_t)page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    bool both = false, later = false;
    if (code != MAP_FAILED) {
        code[0] = 0xc3; /* ret */
        both = !mprotect(code, (size_t)page, PROT_READ | PROT_WRITE | PROT_EXEC);
        later = both || !mprotect(code, (size_t)page, PROT_READ | PROT_EXEC);
        munmap(code, (size_t)page);
    }
    bool denied = prctl(PR_GET_MDWE_NUMBER, 0, 0, 0, 0) > 0;
    if (both)
        SAY(f, MEMBER_GOOD, "", "code can be written at run time");
    else if (later)
        SAY(f, MEMBER_BAD, "lift MemoryDenyWriteExecute= or the like for this service",
            "no memory may be writable and executable at once: there is no code cache, programs run natively");
    else
        SAY(f, MEMBER_BAD, "lift MemoryDenyWriteExecute= or the like for this service",
            "%s forbids code that is made at run time",
            denied ? "a memory-deny-write-execute policy" : "a security policy");
}

static void examine_shadow_stack(struct member_finding *f)
{
    unsigned long features = 0;
    if (syscall(SYS_arch_prctl, SHADOW_STACK_STATUS, &features) || !(features & 1))
        SAY(f, MEMBER_GOOD, "", "no hardware shadow stack is on");
    else
        SAY(f, MEMBER_BAD, "GLIBC_TUNABLES=glibc.cpu.x86_shstk=off",
            "a hardware shadow stack is on: it refuses undone returns");
}

static void examine_seccomp(struct member_finding *f)
{
    char *status = NULL;
    size_t bytes;
    const char *line =
        base_read_file(NULL, &status, &bytes, "/proc/self/status") ? NULL : strstr(status, "\nSeccomp:\t");
    if (line && line[10] == '2')
        SAY(f, MEMBER_LIMITED, "if a program dies of SIGSYS, allow the call it names",
            "a seccomp filter is on; what it forbids the runtime cannot use either");
    else
        SAY(f, MEMBER_GOOD, "", "no seccomp filter");
    free(status);
}

static void examine_membarrier(struct member_finding *f)
{
    long known = syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0, 0);
    if (known > 0 && (known & MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE))
        SAY(f, MEMBER_GOOD, "", "threads can be made to see changed code (membarrier)");
    else
        SAY(f, MEMBER_LIMITED, "allow the system call membarrier",
            "no membarrier: what is loaded while threads run is patched by single stores only");
}

/* A crash is unwound from the waiting process's memory: read a word of a child of ours. */
static void examine_reading(struct member_finding *f)
{
    volatile uint64_t word = 0x7465737475646f21u;
    uint64_t seen = 0;
    pid_t child = fork();
    if (child == 0) {
        pause();
        _exit(0);
    }
    struct iovec here = {.iov_base = &seen, .iov_len = sizeof seen},
                 there = {.iov_base = (void *)&word, .iov_len = sizeof word};
    bool good =
        child > 0 && process_vm_readv(child, &here, 1, &there, 1, 0) == (ssize_t)sizeof seen && seen == word;
    int error = errno;
    if (child > 0) {
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
    }
    if (good)
        SAY(f, MEMBER_GOOD, "", "crashed processes can be unwound from outside");
    else
        SAY(f, MEMBER_LIMITED, "allow process_vm_readv on own children",
            "memory of child processes cannot be read (%s): call stacks of crashes stay short",
            strerror(error));
}

static void examine_runtime(struct member_finding *f)
{
    struct base_error error;
    struct member *member;
    const struct member_options options = {.mode = WIRE_MODE_OFF};
    const struct member_hooks hooks = {.context = NULL};
    if (member_open(&error, &member, &options, &hooks)) {
        SAY(f, MEMBER_BAD, "", "%.250s", error.text);
        return;
    }
    SAY(f, MEMBER_GOOD, "", "%.250s", member->stem);
    member_close(member);
}

unsigned member_examine_machine(struct member_finding *findings)
{
    unsigned count = 0;
    examine_kernel(begin(findings, &count, "kernel"));
    examine_gs(begin(findings, &count, "segment base"));
    examine_shadow(begin(findings, &count, "shadow memory"));
    examine_page(begin(findings, &count, "control page"));
    examine_code(begin(findings, &count, "run-time code"));
    examine_shadow_stack(begin(findings, &count, "shadow stack"));
    examine_membarrier(begin(findings, &count, "membarrier"));
    examine_seccomp(begin(findings, &count, "seccomp"));
    examine_reading(begin(findings, &count, "crash reading"));
    examine_runtime(begin(findings, &count, "runtime"));
    return count;
}

/* A library among those that the program names which is known for its malloc. */
static bool find_allocator(char *name, size_t room, const struct image *image)
{
    static const char *const known[] = {"libjemalloc", "libtcmalloc", "libmimalloc", "librpmalloc",
                                        "libhoard"};
    const char *names[256];
    size_t count = image_needed(image, names, 256);
    for (size_t i = 0; i < count && i < 256; i++)
        for (size_t k = 0; k < sizeof known / sizeof *known; k++)
            if (!strncmp(names[i], known[k], strlen(known[k]))) {
                snprintf(name, room, "%s", names[i]);
                return true;
            }
    return false;
}

static void examine_file(struct member_finding *findings, unsigned *count, struct image *image)
{
    struct image_traits traits = image_traits(image);
    struct member_finding *f = begin(findings, count, "linking");
    if (traits.is_static)
        SAY(f, MEMBER_BAD, "link it dynamically", "statically linked: no runtime can be loaded into it");
    else if (!traits.program)
        SAY(f, MEMBER_BAD, "name the program that loads it", "a shared library, not a program");
    else
        SAY(f, MEMBER_GOOD, "", "dynamically linked, %zu libraries named", image_needed(image, NULL, 0));

    f = begin(findings, count, "privileges");
    if (traits.set_id)
        SAY(f, MEMBER_BAD, "supervise a copy without, started with the rights that it needs",
            "setuid, setgid or file capabilities: the loader drops preloads");
    else
        SAY(f, MEMBER_GOOD, "", "gains none when it is started");

    char library[64];
    f = begin(findings, count, "allocator");
    if (traits.own_malloc || traits.allocator)
        SAY(f, MEMBER_LIMITED, "build it with the C library's malloc",
            "brings its own malloc%s%s: faults on its heap blocks are not seen", traits.allocator ? ", " : "",
            traits.allocator ? traits.allocator : "");
    else if (find_allocator(library, sizeof library, image))
        SAY(f, MEMBER_GOOD, "", "malloc of %s: Testudo's takes its place, heap checks are made", library);
    else
        SAY(f, MEMBER_GOOD, "", "uses the C library's malloc");

    f = begin(findings, count, "functions");
    const struct image_function *functions;
    size_t found = image_functions(image, &functions), named = 0;
    for (size_t i = 0; i < found; i++)
        named += functions[i].name != NULL;
    if (found)
        SAY(f, MEMBER_GOOD, "", "%zu functions, %zu with a name, debug information: %s", found, named,
            image_has_debug_info(image) ? "yes" : "no");
    else
        SAY(f, MEMBER_BAD, "compile with -fasynchronous-unwind-tables",
            "no call-frame information and no symbols: no function can be found");

    f = begin(findings, count, "build-id");
    const uint8_t *id;
    char hex[2 * IMAGE_BUILD_ID_MAX + 1];
    size_t bytes = image_build_id(image, &id);
    base_hex(hex, id, bytes);
    if (bytes)
        SAY(f, MEMBER_GOOD, "", "%s", hex);
    else
        SAY(f, MEMBER_LIMITED, "link with -Wl,--build-id",
            "none: vaccines and plans cannot name its functions");
}

unsigned member_examine_program(struct member_finding *findings, const char *program)
{
    unsigned count = 0;
    struct base_error error;
    struct image *image = NULL;
    char path[4096];
    struct member_finding *f = begin(findings, &count, "file");
    if (image_find_program(&error, path, program) || image_open(&error, &image, path)) {
        SAY(f, MEMBER_BAD, "", "%.250s", error.text);
        return count;
    }
    SAY(f, MEMBER_GOOD, "", "%.250s", path);
    examine_file(findings, &count, image);
    image_close(image);
    return count;
}
