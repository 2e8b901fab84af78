/* Plays the injected runtime's part for test_member: maps the control page and does what FAKE_PLAY says. Uses
   libc freely; all it shares with the real one is the page. */
#define _GNU_SOURCE
#include "wire/wire.h"

#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

static struct wire_control *page;
static uintptr_t program_base;
static const char *const listed[] = {"victim_integer", "victim_pointer", "caller"};

static void ring(void)
{
    __atomic_fetch_add(&page->doorbell, 1, __ATOMIC_SEQ_CST);
    syscall(SYS_futex, &page->doorbell, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

/* Waits until `*word` is no longer `value`; 10 seconds at most. Returns whether it changed. */
static bool wait_change(uint32_t *word, uint32_t value)
{
    for (int i = 0; i < 1000 && __atomic_load_n(word, __ATOMIC_ACQUIRE) == value; i++) {
        struct timespec step = {.tv_nsec = 10000000};
        syscall(SYS_futex, word, FUTEX_WAIT, value, &step, NULL, 0);
    }
    return __atomic_load_n(word, __ATOMIC_ACQUIRE) != value;
}

static int find_program(struct dl_phdr_info *info, size_t size, void *context)
{
    struct wire_object *object = context;
    (void)size;
    program_base = info->dlpi_addr;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        if (info->dlpi_phdr[i].p_type != PT_NOTE)
            continue;
        const uint8_t *at = (const uint8_t *)(info->dlpi_addr + info->dlpi_phdr[i].p_vaddr);
        const uint8_t *end = at + info->dlpi_phdr[i].p_memsz;
        while (end - at > 16) {
            const ElfW(Nhdr) *note = (const void *)at;
            if (note->n_type == NT_GNU_BUILD_ID && note->n_namesz == 4) {
                object->build_id_bytes = note->n_descsz;
                memcpy(object->build_id, at + sizeof *note + 4, note->n_descsz);
            }
            at += sizeof *note + (note->n_namesz + 3u) / 4 * 4 + (note->n_descsz + 3u) / 4 * 4;
        }
    }
    return 1; /* the first one is the program */
}

static void list_program(void)
{
    struct wire_object *object = &page->objects[0];
    if (__atomic_fetch_add(&page->object_count, 1, __ATOMIC_SEQ_CST))
        return; /* a second start: the entry stands */
    dl_iterate_phdr(find_program, object);
    object->own = 1;
    object->first_function = 0;
    object->function_count = 3;
    snprintf(object->path, sizeof object->path, "/proc/self/exe");
    for (unsigned i = 0; i < 3; i++) {
        uintptr_t at = (uintptr_t)dlsym(RTLD_DEFAULT, listed[i]);
        page->functions[i] =
            (struct wire_function){.offset = (uint32_t)(at - program_base), .bytes = 24, .patched = 1};
        page->level[i] = (uint8_t)page->config.default_level;
    }
    page->function_count = 3;
    __atomic_store_n(&object->state, WIRE_OBJECT_LISTED, __ATOMIC_RELEASE);
    ring();
}

static struct wire_fault *fill_fault(unsigned slot, enum core_fault_kind kind)
{
    struct wire_fault *fault = &page->faults[slot];
    memset(fault, 0, sizeof *fault);
    fault->state = WIRE_FAULT_FILLING;
    fault->sequence = __atomic_add_fetch(&page->fault_count, 1, __ATOMIC_SEQ_CST);
    fault->kind = kind;
    fault->pid = getpid();
    fault->tid = getpid();
    fault->function = fault->rescue = WIRE_NO_FUNCTION;
    return fault;
}

static void post(struct wire_fault *fault)
{
    __atomic_store_n(&fault->state, WIRE_FAULT_READY, __ATOMIC_RELEASE);
    ring();
}

static void play_faults(void)
{
    struct wire_fault *fault = NULL;
    for (unsigned i = 0; i < 3; i++) {
        fault = fill_fault(i, i < 2 ? CORE_FAULT_HEAP_OVERFLOW : CORE_FAULT_DOUBLE_FREE);
        fault->detector = i < 2 ? CORE_DETECTOR_CHECK : CORE_DETECTOR_ALLOCATOR;
        fault->outcome = i < 2 ? CORE_OUTCOME_UNDONE : CORE_OUTCOME_REPORTED;
        fault->is_write = 1;
        fault->address = 0x7000 + 48;
        fault->bytes = 8;
        fault->region = WIRE_REGION_HEAP_LIVE;
        fault->object_start = 0x7000;
        fault->object_bytes = 40;
        fault->distance = 9;
        fault->function = i < 2 ? 0 : 1;
        fault->rescue = 0;
        fault->returned = (uint64_t)-1;
        fault->not_undone = WIRE_NOT_UNDONE_SYSCALL;
        fault->stack_frames = 2;
        fault->stack[0] =
            (struct wire_frame){.object = 0, .offset = page->functions[fault->function].offset + 4};
        fault->stack[1] = (struct wire_frame){.object = 0, .offset = page->functions[2].offset + 9};
        fault->alloc_frames = 1;
        fault->alloc_stack[0] = fault->stack[1];
        strcpy(fault->intrinsic, "memcpy");
    }
    for (unsigned i = 3; i-- > 0;) /* out of order: sequence decides */
        __atomic_store_n(&page->faults[i].state, WIRE_FAULT_READY, __ATOMIC_RELEASE);
    ring();
    for (unsigned i = 0; i < 3; i++)
        if (!wait_change(&page->faults[i].state, WIRE_FAULT_READY))
            _exit(50);
}

/* More faults than there are slots, as fast as slots come free. */
static void play_burst(unsigned count)
{
    for (unsigned n = 0; n < count; n++) {
        unsigned slot = n % WIRE_FAULTS_MAX;
        if (n >= WIRE_FAULTS_MAX && !wait_change(&page->faults[slot].state, WIRE_FAULT_READY))
            _exit(50);
        struct wire_fault *fault = fill_fault(slot, CORE_FAULT_HEAP_OVERFLOW);
        fault->address = n;
        fault->function = n % 3;
        post(fault);
    }
}

static void on_crash(int number, siginfo_t *info, void *context)
{
    static const int order[17] = {REG_RAX, REG_RDX, REG_RCX, REG_RBX, REG_RSI, REG_RDI,
                                  REG_RBP, REG_RSP, REG_R8,  REG_R9,  REG_R10, REG_R11,
                                  REG_R12, REG_R13, REG_R14, REG_R15, REG_RIP};
    const ucontext_t *interrupted = context;
    struct wire_fault *fault =
        fill_fault(0, number == SIGABRT ? CORE_FAULT_ABORT : CORE_FAULT_NULL_DEREFERENCE);
    fault->detector = CORE_DETECTOR_SIGNAL;
    fault->outcome = CORE_OUTCOME_CRASHED;
    fault->signal = number;
    fault->is_write = 1;
    fault->bytes = 4;
    fault->address = (uintptr_t)info->si_addr;
    fault->is_crash = 1;
    for (unsigned i = 0; i < 17; i++)
        fault->registers[i] = (uint64_t)interrupted->uc_mcontext.gregs[order[i]];
    fault->stack_copy_base = fault->registers[7];
    fault->stack_copy_bytes = 256;
    memcpy(fault->stack_copy, (const void *)fault->registers[7], 256);
    post(fault);
    if (!wait_change(&fault->state, WIRE_FAULT_READY))
        _exit(50);
    signal(number, SIG_DFL);
}

/* Everything wrong that a process under attack could write, with a seed so that a failure comes back. */
static void play_hostile(void)
{
    struct core_rng rng;
    const char *seed = getenv("FAKE_SEED");
    core_rng_seed(&rng, seed ? strtoull(seed, NULL, 10) : 1);
    uint8_t *from = (uint8_t *)page->objects, *to = (uint8_t *)page->functions;
    for (uint8_t *at = from; at + 8 <= to; at += 8) {
        uint64_t word = core_rng_next(&rng);
        /* Small numbers get past the first check and meet the second. */
        if (core_rng_below(&rng, 2))
            word &= 0x0000001f0000001full;
        memcpy(at, &word, 8);
    }
    page->object_count = 0xffffffff;
    page->function_count = 0xfffffff0;
    for (unsigned i = 0; i < 64; i++) {
        struct wire_object *o = &page->objects[i];
        o->own = 1;
        if (i % 4 == 0)
            o->first_function = 0xfffffff0u + i, o->function_count = 0x20;
        if (i % 4 == 1)
            o->first_function = WIRE_FUNCTIONS_MAX - 1, o->function_count = 2;
        if (i % 4 == 2)
            o->first_function = WIRE_FUNCTIONS_MAX - 8, o->function_count = 8, o->build_id_bytes = 1000;
        if (i % 4 == 3) {
            snprintf(o->path, sizeof o->path, "%s", i % 8 == 3 ? "/proc/self/mem" : "/dev/zero");
            memset(o->path + 20, 'x', i % 16 == 3 ? sizeof o->path - 20 : 0);
        }
        o->state = WIRE_OBJECT_LISTED;
    }
    for (unsigned i = 0; i < WIRE_FAULTS_MAX; i++) {
        struct wire_fault *f = &page->faults[i];
        f->pid = i % 2 ? getpid() : (int)core_rng_next(&rng);
        f->is_crash = i % 4 == 1;
        if (i % 8 == 1)
            f->stack_copy_bytes = 0xffffffff;
        if (i % 8 == 5) {
            f->stack_copy_base = f->registers[7] & ~7ull;
            f->registers[16] = (uintptr_t)play_hostile;
        }
        f->stack_frames = i % 3 ? 0xffffffff : 30;
        f->alloc_frames = 17;
        f->free_frames = 0x80000000;
        memset(f->intrinsic, 'A' + (int)(i % 26), sizeof f->intrinsic);
        f->state = WIRE_FAULT_READY;
    }
    ring();
    for (unsigned i = 0; i < WIRE_FAULTS_MAX; i++)
        if (!wait_change(&page->faults[i].state, WIRE_FAULT_READY))
            _exit(50);
    if (!wait_change(&page->objects[0].state, WIRE_OBJECT_LISTED))
        _exit(51);
}

__attribute__((constructor)) static void start(void)
{
    const char *play = getenv("FAKE_PLAY"), *control = getenv(WIRE_CONTROL_VARIABLE);
    char path[256] = "";
    int fd = -1;
    if (!play || !control || sscanf(control, "%d:%255s", &fd, path) != 2)
        _exit(40);
    if (!strcmp(play, "reopen")) {
        close(fd);
        fd = open(path, O_RDWR | O_CLOEXEC);
    }
    page = mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (page == MAP_FAILED || page->magic != WIRE_CONTROL_MAGIC || page->bytes != sizeof *page)
        _exit(41);
    if (!strcmp(play, "hostile")) {
        play_hostile();
        _exit(0);
    }
    list_program();
    if (!wait_change(&page->objects[0].state, WIRE_OBJECT_LISTED))
        _exit(42);
    if (!strcmp(play, "levels")) /* what the supervisor has answered, in the exit status */
        _exit(page->level[0] + 4 * page->level[1] + 16 * page->functions[0].returns);
    if (!strcmp(play, "await")) {
        for (int i = 0; i < 1000 && __atomic_load_n(&page->level[1], __ATOMIC_ACQUIRE) != WIRE_LEVEL_PROTECT;
             i++)
            usleep(10000);
        _exit(page->level[1]);
    }
    if (!strcmp(play, "fault"))
        play_faults();
    if (!strcmp(play, "burst"))
        play_burst(2000);
    if (!strcmp(play, "die"))
        _exit(fill_fault(7, CORE_FAULT_ABORT)->state == WIRE_FAULT_FILLING ? 9 : 1);
    struct sigaction action = {.sa_sigaction = on_crash, .sa_flags = SA_SIGINFO};
    sigaction(SIGSEGV, &action, NULL);
    sigaction(SIGABRT, &action, NULL);
}
