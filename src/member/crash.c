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
    struct report_stack *stack;
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

/* Image and kept path of a module: the runtime's object when it listed that file, else one of our own. */
static struct image *image_of(struct member *member, const char **path, const char *file)
{
    for (uint32_t i = 0; i < WIRE_OBJECTS_MAX; i++) {
        struct object *object = &member->objects[i];
        if (object->known && !strcmp(object->path, file)) {
            *path = object->path;
            return member__image(object);
        }
    }
    return member__extra_image(member, path, file);
}

static int add_frame(Dwfl_Frame *state, void *context)
{
    struct unwinding *u = context;
    struct report_stack *stack = u->stack;
    Dwarf_Addr pc;
    bool is_pc; /* not a return address: the innermost frame, or one that a signal interrupted */
    if (stack->count == REPORT_FRAMES_MAX || !dwfl_frame_pc(state, &pc, &is_pc) || !pc)
        return DWARF_CB_ABORT;
    struct report_frame *frame = &stack->frame[stack->count++];
    *frame = (struct report_frame){.offset = pc};
    Dwfl *dwfl = dwfl_thread_dwfl(dwfl_frame_thread(state));
    Dwfl_Module *module = dwfl_addrmodule(dwfl, is_pc ? pc : pc - 1);
    GElf_Addr bias = 0;
    if (!module || !dwfl_module_getelf(module, &bias))
        return DWARF_CB_OK;
    const char *file = NULL, *path = NULL;
    const char *name = dwfl_module_info(module, NULL, NULL, NULL, NULL, NULL, &file, NULL);
    struct image *image = image_of(u->member, &path, file ? file : name);
    member__resolve(frame, image, path, pc - bias, !is_pc);
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
    u->stack->frame[u->stack->count++] = (struct report_frame){.offset = u->registers[RIP]};
    if (!read_word(u->record, u->registers[RSP], &back) || !dwfl_addrmodule(dwfl, back))
        return false;
    u->registers[RIP] = back;
    u->registers[RSP] += sizeof back;
    return true;
}

static uint32_t innermost_own(const struct member *member, const struct report_stack *stack)
{
    for (uint32_t i = 0; i < stack->count; i++)
        for (uint32_t o = 0; stack->frame[i].object && o < WIRE_OBJECTS_MAX; o++)
            if (member->objects[o].known && member->objects[o].own &&
                !strcmp(member->objects[o].path, stack->frame[i].object))
                return i;
    return UINT32_MAX;
}

bool member__unwind(struct member *member, struct report_stack *stack, uint32_t *blame,
                    const struct wire_fault *record)
{
    if (record->pid <= 0)
        return false;
    Dwfl *dwfl = dwfl_begin(&process_callbacks);
    if (!dwfl)
        return false;
    struct report_stack found = {.count = 0};
    struct unwinding u = {.member = member, .record = record, .stack = &found};
    for (unsigned i = 0; i < REGISTERS; i++)
        u.registers[i] = record->registers[i];
    dwfl_report_begin(dwfl);
    bool reported = !dwfl_linux_proc_report(dwfl, record->pid);
    dwfl_report_end(dwfl, NULL, NULL);
    if (reported && leave_wild_pc(&u, dwfl) &&
        dwfl_attach_state(dwfl, NULL, record->pid, &thread_callbacks, &u))
        dwfl_getthread_frames(dwfl, record->pid, add_frame, &u);
    dwfl_end(dwfl);
    if (!found.count)
        return false;
    *stack = found;
    *blame = innermost_own(member, stack);
    return true;
}
