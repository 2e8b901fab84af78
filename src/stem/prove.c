/* Self-test of undo, knob prove-undo. At every place where a check, or a store that was logged, might find a fault, one is forced:

     holder  a forked copy of the process, taken at the entry of an activation and never run again: its memory is what an undo
             must bring back
     trial   another copy, forked at the place of the fault: it undoes the innermost activation, then its caller, and so on, and
             compares its memory with that of their holders, byte for byte, and the registers that calls preserve

   The process itself runs on and notices nothing, so that one run of a program tries every place that it comes by, each with the
   real state of that moment. Compared is all private memory that the program can write: data, heap blocks that were live at the
   entry, the stack above the activation's frame. What was allocated or pushed since is no concern of the caller's.

   Only the first thread is tried, and only while it is the only one: other threads would go on writing. */
#include "stem/engine.h"
#include "stem/heap_private.h"
#include "stem/sys.h"

#include <sys/mman.h>

int stem_slow_prove(struct stem_context *context);
int stem_slow_prove_entry(struct stem_context *context);
int *__errno_location(void);

enum {
    HOLDERS = 16,       /* at a time */
    TAKES_MAX = 200,    /* holders of one function in a run, beside its 1st, 2nd, 4th, 8th... entry */
    TRIALS_MAX = 3,     /* at one place: at first, and some visits later */
    LEVELS = 16,        /* activations undone in one trial */
    SAMPLE_EVERY = 251, /* visits between two looks at how far the ring reaches */
    TOLD_MAX = 20,
    WAIT_ALL = 0x40000000, /* __WALL: our copies send no SIGCHLD */
};

struct activation {
    uintptr_t slot; /* of its return address */
    const struct stem_function *function;
};

struct holder {
    long pid;
    struct activation of;
    uint64_t reg[16]; /* at its entry, by enum stem_register */
};

struct tried {
    uint8_t trials, visits;
};

static struct holder holders[HOLDERS];
static unsigned holder_count;
static uint32_t prover; /* thread */
static struct tried *tried;
static struct {
    uint32_t entries;
    uint16_t takes;
    bool wanted;
} * functions;

/* ---- copies of the process ---- */

static long copy_process(void)
{
    return sys_call5(SYS_clone, 0, 0, 0, 0, 0);
}

static void drop_holder(void)
{
    long pid = holders[--holder_count].pid;
    sys_call2(SYS_kill, pid, 9);
    sys_call4(SYS_wait4, pid, 0, WAIT_ALL, 0);
}

static void hold_still(long parent)
{
    uint64_t all = ~0ull;
    sys_call4(SYS_rt_sigprocmask, 0 /* SIG_BLOCK */, &all, 0, 8);
    sys_call2(SYS_prctl, 1 /* PR_SET_PDEATHSIG */, 9);
    sys_call2(SYS_prctl, 0x59616d61 /* PR_SET_PTRACER */, -1); /* our trials are no ancestors */
    if (sys_call0(SYS_getppid) != parent)                      /* it was quicker */
        sys_call1(SYS_exit_group, 0);
    for (;;)
        sys_call0(SYS_pause);
}

void stem_prove_after_fork(void)
{
    holder_count = 0; /* they are our parent's */
    prover = 0;
}

static bool is_prover(void)
{
    if (!stem_thread.tid)
        return false;
    if (!prover)
        prover = stem_thread.tid;
    if (!tried)
        tried = stem_pages_map(SITES_MAX * sizeof *tried);
    if (!functions)
        functions = stem_pages_map(WIRE_FUNCTIONS_MAX * sizeof *functions);
    return prover == stem_thread.tid && tried && functions;
}

/* ---- what a differing byte means ---- */

extern const uint8_t __ehdr_start[] __attribute__((visibility("hidden")));
extern const uint8_t _end[] __attribute__((visibility("hidden")));

static bool fetch(void *to, long pid, uintptr_t from, size_t bytes)
{
    struct {
        const void *base;
        size_t bytes;
    } local = {to, bytes}, remote = {(const void *)from, bytes};
    return sys_call6(SYS_process_vm_readv, pid, &local, 1, &remote, 1, 0) == (long)bytes;
}

/* Whether an address of the heap belonged to a live block then. By the holder's own books, which lie where ours do. */
static bool was_live(long pid, uintptr_t address)
{
    uint32_t number;
    struct heap_span span;
    uint16_t note;
    uintptr_t unit = (address - stem_heap.base) >> HEAP_UNIT_SHIFT;
    if (!fetch(&number, pid, (uintptr_t)&stem_heap.unit[unit], sizeof number) ||
        !fetch(&span, pid, (uintptr_t)&stem_heap.spans[number], sizeof span) ||
        unit - span.first >= span.units || address < span.start)
        return false;
    if (span.kind == HEAP_SPAN_LARGE)
        return span.state == HEAP_LIVE && address - span.start < span.bytes;
    if (span.kind != HEAP_SPAN_SLAB)
        return false;
    uint32_t index = heap_slot_index(&span, address);
    return index < span.bump && fetch(&note, pid, (uintptr_t)&span.slots[index].note, sizeof note) &&
           (note & HEAP_STATE) == HEAP_LIVE &&
           address - span.start - (uintptr_t)index * span.slot < span.slot - (note & ~(unsigned)HEAP_STATE);
}

static bool in_range(uintptr_t address, const void *from, size_t bytes)
{
    return address - (uintptr_t)from < bytes;
}

/* Not the program's: our state, the error number that a healed call sets, and the C library's record of the thread, into which the
   kernel writes the processor's number. */
static bool matters(const struct holder *holder, uintptr_t address)
{
    enum { THREAD_RECORD_BYTES = 2560 };
    const uint8_t *fs;
    __asm__("mov %%fs:0, %0" : "=r"(fs));
    if (in_range(address, &stem_thread, sizeof stem_thread) || in_range(address, __errno_location(), 4) ||
        in_range(address, fs, THREAD_RECORD_BYTES))
        return false;
    return !heap_is_ours(address) || was_live(holder->pid, address);
}

/* ---- comparing ---- */

struct mapping {
    uintptr_t from, to;
    bool compared;
    const char *path; /* ends with the line */
};

static uintptr_t take_hex(const char **at)
{
    uintptr_t value = 0;
    for (;; ++*at) {
        char c = **at;
        if (c >= '0' && c <= '9')
            value = value << 4 | (uintptr_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            value = value << 4 | (uintptr_t)(c - 'a' + 10);
        else
            return value;
    }
}

/* One line of /proc/self/maps: `from-to rwxp offset device inode path`. */
static void read_mapping(struct mapping *m, const char *line)
{
    m->from = take_hex(&line);
    line++;
    m->to = take_hex(&line);
    bool writable = line[2] == 'w', private = line[4] == 'p';
    bool ours = (m->from >= 0x100000000000 && m->from < 0x500000000000 && !heap_is_ours(m->from)) ||
                (m->from < (uintptr_t)_end && m->to > (uintptr_t)__ehdr_start) ||
                stem_object_of_cache(m->from) || stem_object_of_cache(m->to - 1);
    m->compared = line[1] == 'r' && writable && private && !ours;
    unsigned spaces = 0;
    while (*line != '\n' && spaces < 5)
        spaces += *line++ == ' ';
    while (*line == ' ')
        line++;
    m->path = line;
}

/* First byte in [from, to) that matters and differs from the holder's, or 0. */
static uintptr_t compare_range(const struct holder *holder, uintptr_t from, uintptr_t to)
{
    static uint64_t then[65536 / 8];
    for (uintptr_t at = from; at < to;) {
        size_t bytes = to - at < sizeof then ? to - at : sizeof then;
        if (!fetch(then, holder->pid, at, bytes)) {
            bytes = 4096 - (at & 4095) < bytes ? 4096 - (at & 4095) : bytes;
            if (!fetch(then, holder->pid, at, bytes)) { /* was not there then */
                at += bytes;
                continue;
            }
        }
        const uint8_t *now = (const uint8_t *)at;
        for (size_t i = 0; i < bytes; i++) {
            if (!(i & 7) && i + 8 <= bytes && then[i / 8] == *(const uint64_t *)(now + i)) {
                i += 7;
                continue;
            }
            if (((const uint8_t *)then)[i] != now[i] && matters(holder, at + i))
                return at + i;
        }
        at += bytes;
    }
    return 0;
}

static char maps[1 << 18];

static size_t read_maps(void)
{
    size_t used = 0;
    long fd = sys_call4(SYS_openat, -100, "/proc/self/maps", 0, 0), n = 1;
    while (fd >= 0 && n > 0 && used < sizeof maps - 1) {
        n = sys_call3(SYS_read, fd, maps + used, sizeof maps - 1 - used);
        used += n > 0 ? (size_t)n : 0;
    }
    sys_call1(SYS_close, fd);
    maps[used] = 0;
    return used;
}

/* The loader keeps count of the symbols that the translator looks up. */
static bool is_loader(const char *path)
{
    static const char name[] = "/ld-linux-x86-64";
    for (; *path && *path != '\n'; path++)
        if (*path == '/' && !memcmp(path, name, sizeof name - 1))
            return true;
    return false;
}

/* First byte of the program's memory that is not as it was, or 0. Out: *path of its mapping. */
static uintptr_t compare(const char **path, const struct holder *holder)
{
    const char *line = maps, *end = maps + read_maps();
    while (line < end) {
        struct mapping m;
        read_mapping(&m, line);
        *path = m.path;
        uintptr_t from =
            in_range(holder->of.slot, (const void *)m.from, m.to - m.from) ? holder->of.slot : m.from;
        uintptr_t different = m.compared && !is_loader(m.path) ? compare_range(holder, from, m.to) : 0;
        if (different)
            return different;
        for (line = m.path; line < end && *line++ != '\n';)
            ;
    }
    return 0;
}

static bool same_registers(const struct stem_frame *frame, const struct holder *holder)
{
    static const struct {
        uint8_t dwarf, machine;
    } kept[] = {{3, RBX}, {6, RBP}, {12, R12}, {13, R13}, {14, R14}, {15, R15}};
    for (unsigned i = 0; i < sizeof kept / sizeof *kept; i++)
        if (frame->reg[kept[i].dwarf] != holder->reg[kept[i].machine])
            return false;
    return frame->reg[DWARF_RSP] == holder->of.slot + 8;
}

/* ---- telling ---- */

static char *put_text(char *at, const char *text)
{
    while (*text && *text != '\n')
        *at++ = *text++;
    return at;
}

static char *put_hex(char *at, uint64_t value)
{
    at = put_text(at, "0x");
    int shift = 60;
    while (shift && !(value >> shift))
        shift -= 4;
    for (; shift >= 0; shift -= 4)
        *at++ = "0123456789abcdef"[value >> shift & 15];
    return at;
}

/* `testudo: undo from OFFSET to the entry of OFFSET, LEVEL up: WHAT ADDRESS in PATH` */
static void tell(const struct stem_site *site, const struct holder *holder, unsigned level, const char *what,
                 uintptr_t address, const char *path)
{
    char text[640], *at = text;
    if (stem_control->counters[CORE_COUNTER_PROVE_WRONG] > TOLD_MAX)
        return;
    at = put_text(at, "testudo: undo from ");
    at = put_hex(at, site->translation->map[site->map].offset);
    at = put_text(at, " to the entry of ");
    at = put_hex(at, holder->of.function->offset);
    at = put_text(at, ", levels up ");
    at = put_hex(at, level);
    at = put_text(at, what);
    at = put_hex(at, address);
    at = put_text(at, " ");
    at = put_text(at, path);
    *at++ = '\n';
    sys_call3(SYS_write, 2, text, at - text);
}

/* ---- the trial ---- */

static const struct holder *holder_of(const struct activation *a)
{
    for (unsigned i = 0; i < holder_count; i++)
        if (holders[i].of.slot == a->slot && holders[i].of.function == a->function)
            return &holders[i];
    return NULL;
}

static unsigned live_activations(struct activation live[LEVELS], const struct stem_frame *from)
{
    struct stem_frame frame = *from;
    uintptr_t cfa;
    unsigned n = 0;
    for (bool exact = true; n < LEVELS; exact = false) {
        struct stem_translation *t =
            stem_translation_of(exact ? frame.reg[DWARF_RA] : frame.reg[DWARF_RA] - 1);
        if (!t || !stem_frame_step(&frame, &cfa, exact))
            break;
        live[n++] = (struct activation){cfa - 8, t->function};
    }
    return n;
}

static void judge(const struct stem_site *site, const struct holder *holder, unsigned level,
                  const struct stem_frame *frame, uint32_t not_undone)
{
    const char *path = "";
    uintptr_t different = compare(&path, holder);
    bool registers = same_registers(frame, holder);
    if (!different && registers) {
        stem_count(CORE_COUNTER_PROVE_EXACT, 1);
    } else if (not_undone && registers) {
        stem_count(CORE_COUNTER_PROVE_DECLARED, 1);
    } else {
        stem_count(CORE_COUNTER_PROVE_WRONG, 1);
        tell(site, holder, level, registers ? " differs at " : " has other registers, and differs at ",
             different, path);
    }
}

/* As a fault at the frame's pc is healed, without a word to anybody. Out: *frame is the caller's. */
static bool undo_one(struct stem_frame *frame, uint32_t *not_undone, bool exact, unsigned pending)
{
    struct stem_frame inner = *frame;
    uintptr_t cfa;
    const struct stem_translation *t =
        stem_translation_of(exact ? inner.reg[DWARF_RA] : inner.reg[DWARF_RA] - 1);
    if (!t || !stem_frame_step(frame, &cfa, exact))
        return false;
    *not_undone = t->marks ? stem_undo_to(cfa - 8, pending, inner.reg[DWARF_RSP]) : 0;
    if (stem_may_have_native_callee(t->function, t->flavour, 3))
        *not_undone |= WIRE_NOT_UNDONE_NATIVE;
    *frame = inner; /* again, now that the stack holds what it held before */
    return stem_frame_step(frame, &cfa, exact);
}

static void try_all(const struct stem_site *site, const struct activation *live, unsigned count,
                    struct stem_frame frame, unsigned pending)
{
    uint32_t not_undone = 0;
    for (unsigned level = 0; level < count; level++) {
        uint32_t bits = 0;
        if (!undo_one(&frame, &bits, level == 0, level ? 0 : pending))
            return;
        not_undone |= bits;
        const struct holder *holder = holder_of(&live[level]);
        bool refused = bits & (WIRE_NOT_UNDONE_LAPPED | WIRE_NOT_UNDONE_UNARMED);
        if (!holder && !refused)
            continue;
        stem_count(CORE_COUNTER_PROVE_TRIALS, 1);
        if (refused) { /* and so are those further out */
            stem_count(CORE_COUNTER_PROVE_REFUSED, 1);
            return;
        }
        judge(site, holder, level, &frame, not_undone);
    }
}

/* In a copy of its own. Nothing may come in between but the faults of safe reads. */
static void run_trial(const struct stem_site *site, const struct activation *live, unsigned count,
                      const struct stem_frame *frame, unsigned pending)
{
    uint64_t all = ~0ull, mask, faults = ~(1ull << 10 | 1ull << 6); /* SIGSEGV, SIGBUS */
    int status = 0;
    sys_call4(SYS_rt_sigprocmask, 2 /* SIG_SETMASK */, &all, &mask, 8);
    long pid = copy_process();
    if (!pid) {
        sys_call4(SYS_rt_sigprocmask, 2, &faults, 0, 8);
        try_all(site, live, count, *frame, pending);
        sys_call1(SYS_exit_group, 0);
    }
    if (pid > 0)
        sys_call4(SYS_wait4, pid, &status, WAIT_ALL, 0);
    if (status) {
        stem_count(CORE_COUNTER_PROVE_WRONG, 1);
        tell(site, holder_of(&live[0]), 0, " ended the trial with ", (unsigned)status, "");
    }
    sys_call4(SYS_rt_sigprocmask, 2, &mask, 0, 8);
}

static bool is_alone(void)
{
    struct {
        uint64_t device, inode, links, rest[15];
    } about; /* struct stat of x86-64 */
    return !sys_failed(sys_call2(SYS_stat, "/proc/self/task", &about)) && about.links == 3;
}

static void sample_reach(const struct stem_frame *frame, unsigned pending)
{
    static const uint8_t asked[] = {CORE_COUNTER_REACH_ASKED_0, CORE_COUNTER_REACH_ASKED_1,
                                    CORE_COUNTER_REACH_ASKED_3};
    static const uint8_t level[] = {0, 1, 3};
    struct activation live[LEVELS];
    unsigned n = live_activations(live, frame);
    for (unsigned i = 0; i < sizeof level && level[i] < n; i++) {
        stem_count(asked[i], 1);
        if (stem_undo_reaches(live[level[i]].slot, pending))
            stem_count(asked[i] + 1u, 1);
    }
}

/* ---- from generated code ---- */

int stem_slow_prove(struct stem_context *context)
{
    static uint32_t until_sample = SAMPLE_EVERY;
    const struct stem_site *site = stem_site_at(context->rip);
    if (!site || !is_prover())
        return 0;
    struct tried *here = &tried[site - stem_sites];
    bool sample = !--until_sample;
    here->visits += here->visits < 255;
    bool due = here->trials == 0 || (here->trials == 1 && here->visits > 32) ||
               (here->trials < TRIALS_MAX && here->visits == 255);
    if (!due && !sample)
        return 0;
    struct stem_frame frame = {0};
    unsigned pending = site->translation->map[site->map].pending;
    stem_fault_frame(&frame, context);
    if (sample) {
        until_sample = SAMPLE_EVERY;
        sample_reach(&frame, pending);
    }
    struct activation live[LEVELS];
    unsigned count = due ? live_activations(live, &frame) : 0;
    if (!count)
        return 0;
    if (!holder_of(&live[0])) {
        functions[site->translation->function->index].wanted = true;
        return 0;
    }
    if (!is_alone())
        return 0;
    if (!here->trials++)
        stem_count(CORE_COUNTER_PROVE_SITES, 1);
    run_trial(site, live, count, &frame, pending);
    return 0;
}

int stem_slow_prove_entry(struct stem_context *context)
{
    const struct stem_site *site = stem_site_at(context->rip);
    if (!site || !is_prover())
        return 0;
    const struct stem_function *f = site->translation->function;
    uintptr_t slot = context->reg[RSP];
    while (holder_count && holders[holder_count - 1].of.slot <= slot)
        drop_holder(); /* that activation has ended */
    uint32_t entries = ++functions[f->index].entries;
    bool take = !(entries & (entries - 1));
    if (functions[f->index].wanted && functions[f->index].takes < TAKES_MAX) {
        functions[f->index].takes++;
        take = true;
    }
    if (!take || holder_count == HOLDERS)
        return 0;
    functions[f->index].wanted = false;
    struct holder *h = &holders[holder_count];
    h->of = (struct activation){slot, f};
    memcpy(h->reg, context->reg, sizeof h->reg);
    long self = sys_call0(SYS_getpid);
    h->pid = copy_process();
    if (!h->pid)
        hold_still(self);
    if (h->pid > 0)
        holder_count++;
    return 0;
}
