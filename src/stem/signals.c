/* Signals. The application's handlers run at once and natively, on whatever was interrupted: registers and stack are
   its own. What must be kept from them: thread slots that an interrupted sequence still needs, log entries not yet
   published, and cache addresses in the context they are shown.

   For the signals of faults ours is the kernel's handler, and the application's is called from it when the fault is not one
   that supervision deals with. sigaction and its relatives are interposed for that; the kernel is called directly. */
#define _GNU_SOURCE
#include "stem/engine.h"
#include "stem/sys.h"

#include <signal.h>
#include <ucontext.h>

enum { SIGNALS = 65, PENDING_ROOM = 1024, RING_MASK = 0xffff, HANDLER_STACK_BYTES = 64 << 10 };

struct kernel_action {
    void (*handler)(int, siginfo_t *, void *);
    unsigned long flags;
    void (*restorer)(void);
    uint64_t mask;
};
enum { SA_RESTORER_FLAG = 0x04000000 };

/* What the application asked for, by signal; the kernel holds ours. */
static struct kernel_action application[SIGNALS];
static const uint8_t fault_signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};

static bool is_fault_signal(int signal)
{
    for (unsigned i = 0; i < sizeof fault_signals; i++)
        if (fault_signals[i] == signal)
            return true;
    return false;
}

static const uint8_t greg_of_dwarf[DWARF_REGISTERS] = {REG_RAX, REG_RDX, REG_RCX, REG_RBX, REG_RSI, REG_RDI,
                                                       REG_RBP, REG_RSP, REG_R8,  REG_R9,  REG_R10, REG_R11,
                                                       REG_R12, REG_R13, REG_R14, REG_R15, REG_RIP};

static void frame_of_ucontext(struct stem_frame *frame, const ucontext_t *u)
{
    for (unsigned r = 0; r < DWARF_REGISTERS; r++)
        frame->reg[r] = (uint64_t)u->uc_mcontext.gregs[greg_of_dwarf[r]];
}

bool stem_signals_interrupted(struct stem_frame *frame)
{
    ucontext_t u;
    if (frame->reg[DWARF_RA] != (uint64_t)stem_signal_return ||
        !stem_safe_copy(&u, (const void *)frame->reg[DWARF_RSP], offsetof(ucontext_t, uc_sigmask)))
        return false;
    frame_of_ucontext(frame, &u);
    return true;
}

/* 0 read, 1 write, 2 neither: the page-fault error code tells. */
static unsigned access_of(int signal, const ucontext_t *u)
{
    return signal == SIGSEGV || signal == SIGBUS ? (u->uc_mcontext.gregs[REG_ERR] & 2 ? 1 : 0) : 2;
}

/* ---- registers on loan ---------------------------------------------------------------------------------------- */

/* What a register holds while its value waits in a slot, and the value that the context shows instead. */
struct lent {
    unsigned which;
    greg_t inserted[LENT_MAX], shown[LENT_MAX];
};

static greg_t *greg_of(ucontext_t *u, unsigned machine)
{
    static const uint8_t greg[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                                     REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
    return &u->uc_mcontext.gregs[greg[machine]];
}

static void show_lent(struct lent *lent, ucontext_t *u)
{
    lent->which = stem_lent_at((uintptr_t)u->uc_mcontext.gregs[REG_RIP]);
    for (unsigned k = 0; k < LENT_MAX; k++) {
        unsigned r = stem_lent_register(lent->which, k);
        greg_t *g = greg_of(u, r);
        if (r == RSP)
            continue;
        lent->inserted[k] = *g;
        lent->shown[k] = *g = (greg_t)stem_thread.lent[k];
    }
}

/* Back to the inserted code; what a handler has changed is changed in the slot. */
static void hide_lent(const struct lent *lent, ucontext_t *u)
{
    for (unsigned k = 0; k < LENT_MAX; k++) {
        unsigned r = stem_lent_register(lent->which, k);
        greg_t *g = greg_of(u, r);
        if (r == RSP)
            continue;
        if (*g != lent->shown[k])
            stem_thread.lent[k] = (uint64_t)*g;
        *g = lent->inserted[k];
    }
}

/* ---- the application's handlers --------------------------------------------------------------------------- */

/* Calls the application's handler with the state kept that generated code relies on. */
static void call_application(int signal, siginfo_t *info, ucontext_t *u, const struct kernel_action *action)
{
    struct stem_thread *t = &stem_thread;
    uint64_t slots[STEM_SLOTS], kept[STEM_LENT], ring = t->ring, call = t->call;
    memcpy(slots, t->slot, sizeof slots);
    memcpy(kept, t->lent, sizeof kept);
    struct lent lent;
    show_lent(&lent, u);
    /* The interrupted code may have written entries behind the published position. */
    t->ring = (ring & ~(uint64_t)RING_MASK) | ((ring + PENDING_ROOM) & RING_MASK);
    t->call = 0;
    greg_t cache_pc = u->uc_mcontext.gregs[REG_RIP];
    greg_t shown = (greg_t)stem_application_pc((uintptr_t)cache_pc, true);
    u->uc_mcontext.gregs[REG_RIP] = shown;
    /* SIGILL, SIGFPE and SIGTRAP name the instruction itself. */
    if (info && info->si_code > 0 && info->si_addr == (void *)(uintptr_t)cache_pc &&
        (signal == SIGILL || signal == SIGFPE || signal == SIGTRAP))
        info->si_addr = (void *)(uintptr_t)shown;
    action->handler(signal, info, u);
    memcpy(t->slot, slots, sizeof slots);
    memcpy(t->lent, kept, sizeof kept);
    if (u->uc_mcontext.gregs[REG_RIP] == shown) {
        u->uc_mcontext.gregs[REG_RIP] = cache_pc;
        hide_lent(&lent, u);
    }
    t->ring = ring;
    t->call = call;
}

static void on_signal(int signal, siginfo_t *info, void *context)
{
    struct kernel_action action = application[signal];
    if ((uintptr_t)action.handler > 1)
        call_application(signal, info, context, &action);
}

/* ---- faults ---------------------------------------------------------------------------------------------------- */

static void set_default(int signal)
{
    struct kernel_action action = {.flags = SA_RESTORER_FLAG,
                                   .restorer = (void (*)(void))(uintptr_t)stem_signal_return};
    sys_call4(SYS_rt_sigaction, signal, &action, 0, 8);
}

/* A handler that stays installed and asks for the details repairs faults: they are the program's business. Any other only says
   goodbye. */
static bool application_repairs(int signal)
{
    const struct kernel_action *a = &application[signal];
    return (uintptr_t)a->handler > 1 && a->flags & SA_SIGINFO && !(a->flags & SA_RESETHAND);
}

/* The trap that the application's handler was shown last. A crash reporter ends by sending itself the signal again, now with the
   default action; what is to be reported then is where it began. */
static struct {
    struct stem_frame frame;
    uintptr_t address;
    int signal, code;
    unsigned is_write;
} shown;

/* A check of an address in our own shadow memory met the shadow of that, which cannot be read. Returns whether, and says in
   `info` what the program accessed. */
static bool is_in_own_memory(int signal, siginfo_t *info)
{
    uintptr_t at = (uintptr_t)info->si_addr - (uintptr_t)stem_shadow_base;
    if (signal != SIGSEGV || info->si_code <= 0 || !stem_shadow_base || at >> 44 ||
        !stem_shadow_is_own(at << 3))
        return false;
    info->si_addr = (void *)(at << 3);
    return true;
}

/* `ends`: the access would succeed, though not on memory of the program's: the process ends without going back to it. */
static void pass_on(int signal, siginfo_t *info, ucontext_t *u, const struct stem_frame *frame, bool ends)
{
    struct kernel_action action = application[signal];
    uintptr_t handler = (uintptr_t)action.handler;
    bool synchronous = info->si_code > 0;
    if (handler > 1) {
        if (synchronous) {
            shown.frame = *frame;
            shown.address = (uintptr_t)info->si_addr;
            shown.is_write = access_of(signal, u);
            shown.signal = signal;
            shown.code = info->si_code;
        }
        /* As the kernel would have: its mask, its one shot. The kernel restores the mask when we return. */
        uint64_t mask = action.mask | (action.flags & SA_NODEFER ? 0 : 1ull << (signal - 1));
        if (action.flags & SA_RESETHAND)
            application[signal] = (struct kernel_action){0};
        sys_call4(SYS_rt_sigprocmask, 0 /* SIG_BLOCK */, &mask, 0, 8);
        call_application(signal, info, u, &action);
        return;
    }
    if (handler == 1 && !synchronous)
        return; /* ignored */
    if (!synchronous && shown.signal == signal)
        stem_fault_crash(&shown.frame, signal, shown.code, shown.address, shown.is_write);
    else if (synchronous || signal == SIGABRT)
        stem_fault_crash(frame, signal, info->si_code, (uintptr_t)info->si_addr, access_of(signal, u));
    set_default(signal);
    /* Back to the instruction, which faults again, so that status and core dump are the program's own; natively, if it
       ran in the cache. A signal that was sent is sent once more. */
    struct lent lent;
    show_lent(&lent, u);
    u->uc_mcontext.gregs[REG_RIP] =
        (greg_t)stem_application_pc((uintptr_t)u->uc_mcontext.gregs[REG_RIP], true);
    if (!synchronous || signal == SIGABRT || ends)
        sys_call3(SYS_tgkill, sys_call0(SYS_getpid), sys_call0(SYS_gettid), signal);
}

static void on_fault(int signal, siginfo_t *info, void *context)
{
    ucontext_t *u = context;
    uintptr_t pc = (uintptr_t)u->uc_mcontext.gregs[REG_RIP];
    struct stem_frame frame;
    uint64_t returned;
    if (pc >= (uintptr_t)stem_safe_copy_from && pc < (uintptr_t)stem_safe_copy_end) {
        u->uc_mcontext.gregs[REG_RIP] = (greg_t)(uintptr_t)stem_safe_copy_failed;
        return;
    }
    if (pc == (uintptr_t)stem_safe_read_from) {
        u->uc_mcontext.gregs[REG_RIP] = (greg_t)(uintptr_t)stem_safe_copy_failed;
        return;
    }
    if (pc >= (uintptr_t)stem_fast_begin && pc < (uintptr_t)stem_fast_end) {
        u->uc_mcontext.gregs[REG_RIP] =
            u->uc_mcontext.gregs[REG_R9]; /* the long way finds out whose fault it is */
        return;
    }
    struct lent lent;
    show_lent(&lent, u);
    frame_of_ucontext(&frame, u);
    hide_lent(&lent, u);
    bool own_memory = is_in_own_memory(signal, info);
    /* A signal that somebody sent is not a fault of the code that it interrupts. */
    if (info->si_code > 0 && signal != SIGABRT && stem_armed() && !application_repairs(signal)) {
        unsigned is_write = access_of(signal, u);
        struct stem_frame healed = frame;
        if (stem_fault_trap(&healed, &returned, signal, info->si_code, (uintptr_t)info->si_addr, is_write)) {
            for (unsigned r = 0; r < DWARF_REGISTERS; r++)
                u->uc_mcontext.gregs[greg_of_dwarf[r]] = (greg_t)healed.reg[r];
            u->uc_mcontext.gregs[REG_RAX] = (greg_t)returned;
            u->uc_mcontext.gregs[REG_EFL] &= ~0x400ll; /* direction flag clear, as at any return */
            return;
        }
    }
    pass_on(signal, info, u, &frame, own_memory);
}

/* ---- what the kernel is told ---------------------------------------------------------------------------------------- */

/* `plain`: the application's own handler, not ours before it. */
static long install(int signal, const struct kernel_action *wanted, struct kernel_action *old, bool plain)
{
    struct kernel_action ours = *wanted;
    if ((uintptr_t)wanted->handler > 1 && !plain) {
        ours.handler = on_signal;
        ours.flags |= SA_SIGINFO;
    }
    ours.flags |= SA_RESTORER_FLAG;
    ours.restorer = (void (*)(void))(uintptr_t)stem_signal_return;
    return sys_call4(SYS_rt_sigaction, signal, &ours, old, 8);
}

static void install_fault_handler(int signal)
{
    struct kernel_action ours = {.handler = on_fault,
                                 .flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER | SA_RESTORER_FLAG,
                                 .restorer = (void (*)(void))(uintptr_t)stem_signal_return};
    if (signal == SIGABRT)
        ours.flags &= ~(unsigned long)SA_NODEFER;
    sys_call4(SYS_rt_sigaction, signal, &ours, 0, 8);
}

static bool started;

void stem_signals_start(void)
{
    for (unsigned i = 0; i < sizeof fault_signals; i++) {
        sys_call4(SYS_rt_sigaction, fault_signals[i], 0, &application[fault_signals[i]], 8);
        install_fault_handler(fault_signals[i]);
    }
    started = true;
}

/* A stack for the fault handler, so that an exhausted stack can be reported. Where the thread has one already it serves. */
void stem_signals_thread_start(void);
void stem_signals_thread_start(void)
{
    stack_t old;
    if (!started || sys_failed(sys_call2(SYS_sigaltstack, 0, &old)) || !(old.ss_flags & SS_DISABLE))
        return;
    void *stack = stem_pages_map(HANDLER_STACK_BYTES);
    stack_t ours = {.ss_sp = stack, .ss_size = HANDLER_STACK_BYTES};
    if (stack)
        sys_call2(SYS_sigaltstack, &ours, 0);
}

/* ---- interposed: sigaction and relatives ----------------------------------------------------------------------------- */

#define EXPORT __attribute__((visibility("default")))
int *__errno_location(void);

/* Whether our memory is another process's: a child of vfork, which resets handlers before it executes something. What it changes
   is its own, but the table is its parent's. */
static bool is_guest(void)
{
    static uint32_t generation;
    static long owner;
    if (stem_pid_forbidden)
        return false;
    uint32_t now = stem_pages_generation();
    long pid = sys_call0(SYS_getpid);
    if (generation != now) {
        generation = now;
        owner = pid;
    }
    return owner != pid;
}

static long change(int signal, const struct kernel_action *wanted, struct kernel_action *old)
{
    if (signal < 1 || signal >= SIGNALS || signal == SIGKILL || signal == SIGSTOP || signal == 32 ||
        signal == 33)
        return -22 /* EINVAL */;
    struct kernel_action before = application[signal];
    bool is_fault = is_fault_signal(signal) && started;
    bool guest = wanted && (is_fault || (uintptr_t)wanted->handler > 1) && is_guest();
    if (is_fault && !guest) {
        if (wanted)
            application[signal] = *wanted;
        if (old)
            *old = before;
        return 0;
    }
    struct kernel_action kernel_old;
    /* Ours first in the table: the signal may come at once. Where the kernel's handler is none of ours nobody reads the table. */
    bool ours = wanted && (uintptr_t)wanted->handler > 1 && !guest;
    if (ours)
        application[signal] = *wanted;
    long result = wanted ? install(signal, wanted, &kernel_old, guest)
                         : sys_call4(SYS_rt_sigaction, signal, 0, &kernel_old, 8);
    if (sys_failed(result)) {
        if (ours)
            application[signal] = before;
        return result;
    }
    if (old)
        *old = kernel_old.handler == on_signal || kernel_old.handler == on_fault ? before : kernel_old;
    return 0;
}

EXPORT int sigaction(int signal, const struct sigaction *restrict wanted, struct sigaction *restrict old)
{
    struct kernel_action w, o;
    if (wanted) {
        w = (struct kernel_action){.handler = wanted->sa_sigaction, .flags = (unsigned long)wanted->sa_flags};
        memcpy(&w.mask, &wanted->sa_mask, sizeof w.mask);
    }
    long result = change(signal, wanted ? &w : NULL, old ? &o : NULL);
    if (sys_failed(result)) {
        *__errno_location() = (int)-result;
        return -1;
    }
    if (old) {
        memset(old, 0, sizeof *old);
        old->sa_sigaction = o.handler;
        old->sa_flags = (int)(o.flags & ~(unsigned long)SA_RESTORER_FLAG);
        memcpy(&old->sa_mask, &o.mask, sizeof o.mask);
    }
    return 0;
}

typedef void (*plain_handler)(int);

static plain_handler set_handler(int signal, plain_handler handler, unsigned long flags, uint64_t mask)
{
    struct kernel_action w = {.handler = (void (*)(int, siginfo_t *, void *))(uintptr_t)handler,
                              .flags = flags,
                              .mask = mask},
                         o;
    long result = handler == SIG_ERR ? -22 : change(signal, &w, &o);
    if (sys_failed(result)) {
        *__errno_location() = (int)-result;
        return SIG_ERR;
    }
    return (plain_handler)(uintptr_t)o.handler;
}

static uint64_t own_bit(int signal)
{
    return signal > 0 && signal < SIGNALS ? 1ull << (signal - 1) : 0;
}

EXPORT plain_handler signal(int signal, plain_handler handler)
{
    return set_handler(signal, handler, SA_RESTART,
                       signal > 0 && signal < SIGNALS ? 1ull << (signal - 1) : 0);
}

EXPORT plain_handler bsd_signal(int signal, plain_handler handler);
EXPORT plain_handler bsd_signal(int signal, plain_handler handler)
{
    return set_handler(signal, handler, SA_RESTART, own_bit(signal));
}

EXPORT plain_handler ssignal(int signal, plain_handler handler)
{
    return set_handler(signal, handler, SA_RESTART, own_bit(signal));
}

EXPORT plain_handler __sysv_signal(int signal, plain_handler handler);
EXPORT plain_handler __sysv_signal(int signal, plain_handler handler)
{
    return set_handler(signal, handler, SA_RESETHAND | SA_NODEFER, 0);
}

EXPORT plain_handler sysv_signal(int signal, plain_handler handler)
{
    return set_handler(signal, handler, SA_RESETHAND | SA_NODEFER, 0);
}
