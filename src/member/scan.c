/* A dry run for doctor: the program is loaded with the runtime, and stopped at its entry point. By then the loader has run
   the runtime's constructor, which has listed, patched and translated every function of the program and its libraries; of the
   program itself nothing has run. Only doctor traces a process; supervision never does. */
#define _GNU_SOURCE
#include "member/private.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PATIENCE_MS = 20000, STEP_MS = 5 };

/* Entry point of the program, as the kernel told the loader. Returns 0 when it cannot be read. */
static uint64_t entry_point(int pid)
{
    char path[64];
    Elf64_auxv_t vector[64];
    snprintf(path, sizeof path, "/proc/%d/auxv", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t bytes = fd < 0 ? 0 : read(fd, vector, sizeof vector);
    if (fd >= 0)
        close(fd);
    for (ssize_t i = 0; (i + 1) * (ssize_t)sizeof *vector <= bytes; i++)
        if (vector[i].a_type == AT_ENTRY)
            return vector[i].a_un.a_val;
    return 0;
}

/* Puts a breakpoint on the entry point and lets the loader run. */
static int run_to_entry(struct base_error *error, int pid, uint64_t *entry)
{
    int status;
    if (waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status))
        return base_fail(error, BASE_EXIT_ENVIRONMENT, "the program cannot be traced for a dry run");
    *entry = entry_point(pid);
    errno = 0;
    long word = ptrace(PTRACE_PEEKTEXT, pid, (void *)*entry, NULL);
    if (!*entry || errno || ptrace(PTRACE_POKETEXT, pid, (void *)*entry, (void *)((word & ~0xffl) | 0xcc)) ||
        ptrace(PTRACE_CONT, pid, NULL, NULL))
        return base_fail(error, BASE_EXIT_ENVIRONMENT, "the program cannot be stopped at its entry: %s",
                         strerror(errno));
    return 0;
}

/* Answers the runtime until the program stands at its entry. */
static int serve_to_entry(struct base_error *error, struct member *member, int pid, uint64_t entry)
{
    for (unsigned waited = 0; waited < PATIENCE_MS; waited += STEP_MS) {
        int status;
        if (member_serve(member, &status, STEP_MS))
            return base_fail(error, BASE_EXIT_ENVIRONMENT, "the program ended while it was loaded (%s %d)",
                             WIFSIGNALED(status) ? "signal" : "status",
                             WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
        siginfo_t info = {.si_pid = 0};
        if (waitid(P_PID, (id_t)pid, &info, WSTOPPED | WNOHANG) || info.si_pid != pid)
            continue;
        struct user_regs_struct registers;
        if (info.si_status == SIGTRAP && !ptrace(PTRACE_GETREGS, pid, NULL, &registers) &&
            registers.rip == entry + 1)
            return 0;
        ptrace(PTRACE_CONT, pid, NULL, (void *)(long)(info.si_status == SIGTRAP ? 0 : info.si_status));
    }
    return base_fail(error, BASE_EXIT_ENVIRONMENT, "the program was not loaded within %u s",
                     PATIENCE_MS / 1000);
}

static void tell_refusals(struct member *member, void (*each)(void *, const struct member_refusal *),
                          void *context)
{
    for (uint32_t o = 0; o < WIRE_OBJECTS_MAX; o++) {
        struct object *object = &member->objects[o];
        for (uint32_t i = object->first; object->known && object->own && i < object->first + object->count;
             i++) {
            const struct wire_function *f = &member->page->functions[i];
            struct member_refusal refusal = {
                .object = object->path,
                .offset = __atomic_load_n(&f->offset, __ATOMIC_RELAXED),
                .reason = __atomic_load_n(&f->refusal, __ATOMIC_RELAXED),
            };
            if (refusal.reason == CORE_REFUSAL_NONE)
                continue;
            struct image *image = member__image(object);
            uint64_t into;
            refusal.function = image ? image_name(image, &into, refusal.offset) : NULL;
            each(context, &refusal);
        }
    }
}

int member_scan(struct base_error *error, struct member_stats *stats,
                void (*each)(void *context, const struct member_refusal *refusal), void *context,
                const char *program)
{
    struct member *member;
    const struct member_options options = {
        .mode = WIRE_MODE_FULL, .default_level = WIRE_LEVEL_MONITOR, .knobs = 1u << CORE_KNOB_TRANSLATE_ALL};
    const struct member_hooks hooks = {.context = NULL};
    char *argv[] = {(char *)program, NULL};
    uint64_t entry = 0;
    if (member_open(error, &member, &options, &hooks))
        return -1;
    member->traced = true;
    int result = member_start(error, member, argv), pid = member_pid(member);
    if (!result) {
        result = run_to_entry(error, pid, &entry);
        if (!result)
            result = serve_to_entry(error, member, pid, entry);
        if (member_pid(member)) {
            kill(pid, SIGKILL);
            waitpid(pid, NULL, 0);
        }
    }
    if (!result) {
        member_stats(member, stats);
        if (each)
            tell_refusals(member, each, context);
    }
    member_close(member);
    return result;
}
