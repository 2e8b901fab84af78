/* What tests of checked library calls share: the rest of the runtime, as far as a call needs it, and calling through the
   entries as supervised code would. One test program includes this once. */
#ifndef UNIT_CALLS_H
#define UNIT_CALLS_H

#define _GNU_SOURCE
#include "stem/stem.h"

#include <asm/prctl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- what the rest of the runtime would provide ---- */

_Thread_local struct stem_thread stem_thread;
struct wire_control *stem_control;

/* Volatile: libc declares that its functions call nothing back in this file. */
static volatile struct {
    unsigned count;
    enum core_fault_kind kind;
    bool is_write;
    uintptr_t bad;
    const char *function;
} fault;
static volatile struct {
    uintptr_t address;
    size_t bytes;
} logged;
static volatile unsigned compensated[8];
static sigjmp_buf out;
static bool leave_at_fault; /* to `out`, as an abort of the caller would */
static volatile uintptr_t compensation;

bool stem_armed(void);
bool stem_armed(void)
{
    return true;
}

uintptr_t stem_fault_settle(const struct stem_call *call, uintptr_t address, size_t bytes, uintptr_t bad)
{
    (void)call, (void)address, (void)bytes;
    return bad;
}

void stem_fault_call(struct stem_call *call, enum core_fault_kind kind, bool is_write, uintptr_t bad,
                     size_t bytes, const char *function)
{
    assert_int_equal(stem_thread.call, (uintptr_t)call);
    (void)bytes;
    fault.kind = kind;
    fault.is_write = is_write;
    fault.bad = bad;
    fault.function = function;
    fault.count++;
    if (leave_at_fault) {
        stem_thread.call = 0;
        siglongjmp(out, 2);
    }
}

void stem_fault_fatal(struct stem_call *call, enum core_fault_kind kind, const char *function)
{
    stem_fault_call(call, kind, false, 0, 0, function);
}

void stem_fault_free(enum core_fault_kind kind, uintptr_t pointer, uintptr_t return_pc, uintptr_t frame)
{
    (void)return_pc, (void)frame;
    fail_msg("free of %p outside of a checked call: kind %d", (void *)pointer, kind);
}

unsigned stem_backtrace(uintptr_t *frames, unsigned room, uintptr_t pc, uintptr_t sp, uintptr_t rbp)
{
    (void)frames, (void)room, (void)pc, (void)sp, (void)rbp;
    return 0;
}

void stem_undo_log(uintptr_t address, size_t bytes)
{
    logged.address = address;
    logged.bytes = bytes;
}

void stem_undo_compensate(enum stem_compensation what, uintptr_t argument)
{
    compensated[what]++;
    compensation = argument;
}

void stem_pool_seal(const struct stem_call *call, uintptr_t start, size_t bytes)
{
    (void)call, (void)start, (void)bytes;
}

/* ---- calling through the entries ---- */

static void *entry(const char *name)
{
    core_cache_pc thunk = {0};
    if (stem_intrinsic_find(&thunk, name) != STEM_CALLEE_CHECKED)
        fail_msg("%s is not checked", name);
    return (void *)thunk.v;
}
#define CALL(name, ...) ((__typeof__(&name))(uintptr_t)entry(#name))(__VA_ARGS__)

static void *hide(const void *p)
{
    const void *volatile hidden = p;
    return (void *)(uintptr_t)hidden;
}

/* A block whose size the compiler does not know: it would warn of what is done here on purpose. */
static void *room(size_t bytes)
{
    return hide(malloc(bytes));
}

static char *block(size_t bytes, const char *text)
{
    char *p = room(bytes);
    memset(p, 'x', bytes);
    for (size_t i = 0; i < bytes && (!i || text[i - 1]); i++)
        p[i] = text[i];
    return p;
}

static void good(void)
{
    if (fault.count)
        fail_msg("%s: %s at %p", fault.function, core_fault_name(fault.kind), (void *)fault.bad);
    assert_int_equal(stem_thread.call, 0);
}

static void bad(const char *function, const void *at, bool is_write)
{
    if (fault.count != 1)
        fail_msg("%s: %u faults, not one", function, fault.count);
    assert_string_equal(fault.function, function);
    assert_int_equal(fault.bad, (uintptr_t)at);
    assert_int_equal(fault.is_write, is_write);
    assert_int_equal(fault.kind, CORE_FAULT_HEAP_OVERFLOW);
    fault.count = 0;
}

static int forget(void **state)
{
    (void)state;
    fault.count = 0;
    for (unsigned i = 0; i < 8; i++)
        compensated[i] = 0;
    return 0;
}

/* Shadow memory and the heap's redzones. Returns whether this machine grants them. */
static bool prepare(void)
{
    stem_control =
        mmap(NULL, sizeof *stem_control, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    stem_shadow_base =
        mmap(NULL, 1ull << 44, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    /* The short cuts reach shadow memory through gs. */
    if (stem_shadow_base == MAP_FAILED || syscall(SYS_arch_prctl, ARCH_SET_GS, stem_shadow_base))
        return false;
    stem_control->config.mode = WIRE_MODE_FULL;
    stem_heap_arm();
    return true;
}

#endif
