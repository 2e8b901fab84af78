/* Unwinds a process that is about to die, from outside: its registers and the top of its stack stand in the
   fault record, the rest is read from the process itself, which waits meanwhile. Doing this there, in a
   signal handler of a process whose heap and stack may be ruined, would be the wrong place. */
#define _GNU_SOURCE
#include "member/private.h"

#include <elfutils/libdwfl.h>
#include <string.h>
#include <sys/uio.h>

enum { REGISTERS = 17, RSP = 7, RIP = 16 };

struct unwinding {
    struct member *member;
    const struct wire_fault *record;
    Dwarf_Word registers[REGISTERS];
    struct sites *sites;
};

/* A word of the process: from the copy of its stack, else from its memory. */
static bool read_word(const struct wire_fault *record, uint64_t address, Dwarf_Word *word)
{
    uint64_t bytes =
        record->stack_copy_bytes < WIRE_STACK_COPY_BYTES ? record->stack_copy_bytes : WIRE_STACK_COPY_BYTES;
    uint64_t within = address - record->stack_copy_base;
    if (address >= record->stack_copy_base && bytes >= sizeof *word && within <= bytes - sizeof *word) {
        memcpy(word, record->stack_copy + within, sizeof *word);
        return true;
    }
    struct iovec here = {.iov_base = word, .iov_len = sizeof *word};
    struct iovec there = {.iov_base = (void *)(uintptr_t)address, .iov_len = sizeof *word};
    return process_vm_readv(record->pid, &here, 1, &there, 1, 0) == (ssize_t)sizeof *word;
}

static bool memory_read(Dwfl *dwfl, Dwarf_Addr address, Dwarf_Word *result, void *context)
{
    (void)dwfl;
    return read_word(((struct unwinding *)context)->record, address, result);
}

static pid_t next_thread(Dwfl *dwfl, void *context, void **thread)
{
    (void)dwfl;
    if (*thread)
        return 0;
    *thread = context;
    return ((struct unwinding *)context)->record->pid;
}

static bool get_thread(Dwfl *dwfl, pid_t tid, void *context, void **thread)
{
    (void)dwfl;
    (void)tid;
    *thread = context;
    return true;
}

static bool set_registers(Dwfl_Thread *thread, void *context)
{
    struct unwinding *u = context;
    dwfl_thread_state_register_pc(thread, u->registers[RIP]);
    return dwfl_thread_state_registers(thread, 0, REGISTERS, u->registers);
}

static const Dwfl_Thread_Callbacks thread_callbacks = {
    .next_thread = next_thread,
    .get_thread = get_thread,
    .memory_read = memory_read,
    .set_initial_registers = set_registers,
};

/* Frames need no debug information: none is looked for, on disk or, as elfutils would, on the network. */
static int no_debuginfo(Dwfl_Module *module, void **data, const char *name, Dwarf_Addr base, const char *file,
                        const char *link, GElf_Word crc, char **out)
{
    (void)module, (void)data, (void)name, (void)base, (void)file, (void)link, (void)crc, (void)out;
    return -1;
}

static const Dwfl_Callbacks process_callbacks = {
    .find_elf = dwfl_linux_proc_find_elf,
    .find_debuginfo = no_debuginfo,
};

static int add_frame(Dwfl_Frame *state, void *context)
{
    struct unwinding *u = context;
    Dwarf_Addr pc;
    bool is_pc; /* not a return address: the innermost frame, or one that a signal interrupted */
    if (u->sites->count == REPORT_FRAMES_MAX || !dwfl_frame_pc(state, &pc, &is_pc) || !pc)
        return DWARF_CB_ABORT;
    struct site *site = &u->sites->site[u->sites->count++];
    *site = (struct site){.offset = pc, .is_return = !is_pc};
    Dwfl_Module *module = dwfl_addrmodule(dwfl_thread_dwfl(dwfl_frame_thread(state)), is_pc ? pc : pc - 1);
    GElf_Addr bias = 0;
    if (!module || !dwfl_module_getelf(module, &bias))
        return DWARF_CB_OK;
    const char *file = NULL;
    const char *name = dwfl_module_info(module, NULL, NULL, NULL, NULL, NULL, &file, NULL);
    const char *path = file ? file : name;
    site->path = path ? member__keep_path(u->member, path) : NULL;
    if (site->path)
        site->offset = pc - bias;
    return DWARF_CB_OK;
}

/* A call through a wild pointer stands at no code at all: nothing tells its frame, but it has just been
   called, so its return address is on top of the stack. Returns whether the registers now stand in a module.
 */
static bool leave_wild_pc(struct unwinding *u, Dwfl *dwfl)
{
    Dwarf_Word back;
    if (dwfl_addrmodule(dwfl, u->registers[RIP]))
        return true;
    u->sites->site[u->sites->count++] = (struct site){.offset = u->registers[RIP]};
    if (!read_word(u->record, u->registers[RSP], &back) || !dwfl_addrmodule(dwfl, back))
        return false;
    u->registers[RIP] = back;
    u->registers[RSP] += sizeof back;
    return true;
}

bool member__unwind(struct member *member, struct sites *sites, const struct wire_fault *record)
{
    sites->count = 0;
    Dwfl *dwfl = record->pid > 0 ? dwfl_begin(&process_callbacks) : NULL;
    if (!dwfl)
        return false;
    struct unwinding u = {.member = member, .record = record, .sites = sites};
    for (unsigned i = 0; i < REGISTERS; i++)
        u.registers[i] = record->registers[i];
    dwfl_report_begin(dwfl);
    bool reported = !dwfl_linux_proc_report(dwfl, record->pid);
    dwfl_report_end(dwfl, NULL, NULL);
    if (reported && leave_wild_pc(&u, dwfl) &&
        dwfl_attach_state(dwfl, NULL, record->pid, &thread_callbacks, &u))
        dwfl_getthread_frames(dwfl, record->pid, add_frame, &u);
    dwfl_end(dwfl);
    return sites->count > 0;
}
