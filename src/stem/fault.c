/* Faults: found by a check, a checked library call, a trap or the allocator; all raised and unwound here.

   report  the fault is recorded on the control page, the program goes on
   stop    recorded, the process ends
   heal    the activation in which it happened is undone and returns an error to its caller (rescue.c) */
#include "stem/fault.h"
#include "stem/gaps.h"
#include "stem/pools.h"
#include "stem/probation.h"
#include "stem/rescue.h"
#include "stem/sys.h"

int stem_slow_check(struct stem_context *context);
int stem_slow_string(struct stem_context *context);
int stem_slow_return(struct stem_context *context);

/* ---- where did it happen ----------------------------------------------------------------------------------- */

static const uint8_t dwarf_of_machine[16] = {0, 2, 1, 3, 7, 6, 4, 5, 8, 9, 10, 11, 12, 13, 14, 15};

static void frame_of_context(struct stem_frame *frame, const struct stem_context *c, uintptr_t pc)
{
    for (unsigned r = 0; r < 16; r++)
        frame->reg[dwarf_of_machine[r]] = c->reg[r];
    frame->reg[DWARF_RA] = pc;
}

static void context_of_frame(struct stem_context *c, const struct stem_frame *frame, uint64_t returned)
{
    for (unsigned r = 0; r < 16; r++)
        c->reg[r] = frame->reg[dwarf_of_machine[r]];
    c->reg[RAX] = returned;
    c->reg[RDX] = 0;
    c->flags = 0x202;
    c->rip = frame->reg[DWARF_RA];
}

/* ---- raising ------------------------------------------------------------------------------------------------------- */

void stem_fault_frame(struct stem_frame *frame, const struct stem_context *context)
{
    frame_of_context(frame, context, context->rip - 1);
}

static void stop(struct wire_fault *w)
{
    stem_fault_publish(w, CORE_OUTCOME_STOPPED);
    stem_fault_await_taken(w);
    sys_call1(SYS_exit_group, stem_control->config.stop_status);
    __builtin_unreachable();
}

/* Reports what needs no undoing. */
static void note(const struct stem_fault *f, enum core_outcome outcome)
{
    struct wire_fault *w = stem_fault_record(f);
    if (stem_control->config.on_fault == WIRE_ON_FAULT_STOP)
        stop(w);
    stem_fault_publish(w, outcome);
}

/* Returns true when `frame` and `returned` say where to go on instead. */
static bool raise(struct stem_frame *frame, uint64_t *returned, const struct stem_fault *f, bool can_go_on)
{
    struct wire_fault *w = stem_fault_record(f);
    if (stem_control->config.on_fault == WIRE_ON_FAULT_STOP)
        stop(w);
    if (stem_control->config.on_fault == WIRE_ON_FAULT_HEAL) {
        uint32_t not_undone = 0;
        stem_probation_convict(&f->frame, f->exact);
        struct stem_function *function =
            stem_rescue(frame, returned, &not_undone, &f->frame, f->exact, f->pending);
        if (function) {
            if (w) {
                w->rescue = function->index;
                w->returned = *returned;
                w->not_undone = not_undone;
            }
            stem_fault_publish(w, CORE_OUTCOME_UNDONE);
            return true;
        }
    }
    stem_fault_publish(w, can_go_on ? CORE_OUTCOME_REPORTED : CORE_OUTCOME_CRASHED);
    if (!can_go_on)
        stem_fault_await_taken(w);
    return false;
}

/* ---- from checks -------------------------------------------------------------------------------------------------- */

const struct stem_site *stem_site_at(uintptr_t return_address)
{
    const uint8_t *nop = (const uint8_t *)return_address;
    uint32_t number;
    memcpy(&number, nop + 3, 4);
    return nop[0] == 0x0f && nop[1] == 0x1f && nop[2] == 0x80 && number < stem_site_count
               ? &stem_sites[number]
               : NULL;
}

uintptr_t stem_effective_address(const struct stem_site *site, const struct stem_context *c)
{
    const struct stem_mem *m = &site->mem;
    uintptr_t a = (uintptr_t)(intptr_t)m->disp;
    if (m->rip_relative)
        return site->translation->object->base + (uint32_t)m->disp;
    if (m->base != NO_REGISTER)
        a += c->reg[m->base];
    if (m->index != NO_REGISTER)
        a += c->reg[m->index] * m->scale;
    return a;
}

/* Whether the word at `address` holds the return address or a saved register of the frame with this canonical frame address. */
static bool holds_saved(const struct stem_frame *frame, bool exact, uintptr_t cfa, uintptr_t address)
{
    uintptr_t pc = stem_application_pc(frame->reg[DWARF_RA], exact), word = address & ~7ul;
    const struct stem_object *o = stem_object_of(pc);
    struct stem_cfi_row row;
    if (!o || !stem_cfi_row(&row, o, (uint32_t)(pc - o->base - (exact ? 0 : 1))))
        return false;
    for (unsigned r = 0; r < DWARF_REGISTERS; r++)
        if (row.saved & 1u << r && cfa + (uint64_t)(int64_t)row.saved_at[r] == word)
            return true;
    return false;
}

bool stem_frame_poison_is_live(uintptr_t address, const struct stem_frame *from, bool exact)
{
    struct stem_frame frame = *from, inner = frame;
    uintptr_t cfa;
    for (unsigned i = 0; i < 64 && stem_frame_step(&frame, &cfa, exact); i++, exact = false) {
        if (address < cfa)
            return holds_saved(&inner, exact, cfa, address);
        inner = frame;
    }
    return false;
}

/* A poisoned return address whose activation is gone (longjmp, an exit into native code) is not a fault, nor is the tail of a pool
   block that its pool has dealt out anew. */
static bool is_stale(uintptr_t bad, const struct stem_frame *frame, bool exact)
{
    if (stem_shadow_is_own(bad))
        return false;
    if (stem_pool_forget(bad)) {
        stem_count(CORE_COUNTER_STALE_POISON, 1);
        return true;
    }
    struct stem_gap_found gap;
    if (stem_gap_may_be(bad) ? stem_gap_at(&gap, bad, frame, exact)
                             : !stem_poison_is_frame(stem_shadow_base[bad >> 3]) ||
                                   stem_frame_poison_is_live(bad, frame, exact))
        return false;
    stem_shadow_base[bad >> 3] = 0;
    stem_count(CORE_COUNTER_STALE_POISON, 1);
    return true;
}

/* Says which variable it is behind whose end the fault lies. */
static void find_gap(struct stem_fault *f)
{
    struct stem_gap_found gap;
    if (!stem_shadow_base || !stem_gap_may_be(f->address) ||
        !stem_gap_at(&gap, f->address, &f->frame, f->exact))
        return;
    f->object_start = gap.start;
    f->object_bytes = gap.bytes;
    f->local = gap.local;
}

/* Whether a read on probation is let go this time. */
static bool let_go(const struct stem_fault *f, const struct stem_site *site)
{
    switch (stem_probation_judge(site, &f->frame)) {
    case STEM_VERDICT_REPORT:
        note(f, CORE_OUTCOME_REPORTED);
        return true;
    case STEM_VERDICT_DEMOTE:
        note(f, CORE_OUTCOME_DEMOTED);
        return true;
    case STEM_VERDICT_IGNORE:
        stem_count(CORE_COUNTER_DEMOTED_READS, 1);
        return true;
    default:
        return false;
    }
}

int stem_check_access(struct stem_context *context, const struct stem_site *site, uintptr_t address,
                      size_t bytes, bool is_write)
{
    uintptr_t bad = stem_shadow_find_bad(address, bytes);
    if (!bad)
        return 0;
    if (address > 0x7ffffffff000ull)
        return 0; /* the access itself will trap, with the right pc */
    /* Vectorised string code loads whole aligned pieces: one that begins inside an object cannot leave its line, and what
       lies behind the object is not used. */
    if (!is_write && !site->string_bytes && bytes >= 16 && !(address & (bytes - 1)) && bad != address)
        return 0;
    /* Collectors look for pointers all over the variables, padding included. */
    if (!is_write && bytes == 8 && !(address & 7) && stem_fault_classify(bad) == CORE_FAULT_GLOBAL_OVERFLOW)
        return 0;
    if (!is_write && bytes == 8 && !(address & 7) && stem_gap_may_be(bad))
        return 0;
    /* A load of just the return address or a saved register is no overflow: prologues that realign the stack copy the one, walkers
       of the stack and collectors that look for pointers everywhere read both. */
    if (!is_write && bytes == 8 && bad == address && !stem_shadow_is_own(bad) &&
        stem_poison_is_frame(stem_shadow_base[bad >> 3]))
        return 0;
    struct stem_fault f = {.detector = CORE_DETECTOR_CHECK,
                           .is_write = is_write,
                           .bytes = bytes,
                           .exact = true,
                           .pending = site->translation->map[site->map].pending};
    frame_of_context(&f.frame, context, context->rip - 1);
    while (is_stale(bad, &f.frame, true)) {
        bad = stem_shadow_find_bad(address, bytes);
        if (!bad)
            return 0;
    }
    f.address = bad;
    f.kind = stem_fault_classify(bad);
    find_gap(&f);
    if (stem_control->config.on_fault == WIRE_ON_FAULT_HEAL && !site->string_bytes &&
        stem_probation_applies(address, bytes, bad, is_write) && let_go(&f, site))
        return 0;
    struct stem_frame frame;
    uint64_t returned;
    if (!raise(&frame, &returned, &f, true))
        return 0;
    context_of_frame(context, &frame, returned);
    return 1;
}

/* An access through a pointer into a variable. What is far away was not meant to be there: it may be an address that the program
   has formed out of two. */
static bool leaves_variable(struct stem_fault *f, const struct stem_context *context,
                            const struct stem_site *site, uintptr_t address)
{
    enum { NEAR_BYTES = 1 << 16 };
    uint32_t number = site->translation->map[site->map].flags >> MAP_BOUNDS_SHIFT;
    if (!number)
        return false;
    const struct stem_bounds *b = &site->translation->bounds[number - 1];
    uintptr_t low = b->is_dynamic  ? context->reg[RSP]
                    : b->is_global ? site->translation->object->base + (uint32_t)b->low
                                   : context->reg[RBP] + (uint64_t)(int64_t)b->low,
              high = b->is_dynamic ? context->reg[RBP] + (uint64_t)(int64_t)b->low : low + b->bytes,
              end = address + site->mem.bytes;
    if ((address >= low && end <= high) || address + NEAR_BYTES < low || end > high + NEAR_BYTES ||
        end < address)
        return false;
    if (b->is_walked && address >= low && !site->mem.is_write && site->mem.bytes == 8 && !(address & 7))
        return false;
    f->kind = b->is_global ? CORE_FAULT_GLOBAL_OVERFLOW : CORE_FAULT_STACK_SMASH;
    f->address = address < low || address >= high ? address : high;
    f->object_start = low;
    f->object_bytes = b->is_dynamic ? 0 : b->bytes;
    f->local = b->local;
    return true;
}

int stem_slow_check(struct stem_context *context)
{
    const struct stem_site *site = stem_site_at(context->rip);
    if (!site)
        return 0;
    struct stem_fault f = {.detector = CORE_DETECTOR_CHECK};
    if (leaves_variable(&f, context, site, stem_effective_address(site, context))) {
        struct stem_frame frame;
        uint64_t returned;
        f.is_write = site->mem.is_write;
        f.bytes = site->mem.bytes;
        f.exact = true;
        f.pending = site->translation->map[site->map].pending;
        frame_of_context(&f.frame, context, context->rip - 1);
        if (!raise(&frame, &returned, &f, true))
            return 0;
        context_of_frame(context, &frame, returned);
        return 1;
    }
    return stem_check_access(context, site, stem_effective_address(site, context), site->mem.bytes,
                             site->mem.is_write);
}

/* A range that a string instruction is about to touch, all of it good memory: whether it leaves the variable that it begins in, or
   begins below the stack of a function that calls others. */
static bool leaves_range(struct stem_fault *f, const struct stem_context *context,
                         const struct stem_site *site, uintptr_t address, size_t bytes)
{
    enum { BELOW = 512 };
    uintptr_t sp = context->reg[RSP], end;
    if (!site->translation->object->exact || bytes <= site->string_bytes)
        return false;
    f->kind = CORE_FAULT_STACK_SMASH;
    f->address = address;
    if (address < sp && address >= sp - BELOW && site->translation->has_call)
        return true;
    f->address = stem_local_overrun(context->rip, sp, context->reg[RBP], address, bytes);
    if (f->address)
        return true;
    end = stem_global_end(address);
    f->kind = CORE_FAULT_GLOBAL_OVERFLOW;
    f->address = end;
    return end && end - address < bytes;
}

/* Checks one side of a string instruction. Returns whether the context says where to go on. */
static int check_range(struct stem_context *context, const struct stem_site *site, uintptr_t address,
                       size_t bytes, bool is_write)
{
    struct stem_fault f = {.detector = CORE_DETECTOR_CHECK,
                           .is_write = is_write,
                           .bytes = bytes,
                           .exact = true,
                           .pending = site->translation->map[site->map].pending};
    struct stem_frame frame;
    uint64_t returned;
    if (stem_shadow_find_bad(address, bytes) || !leaves_range(&f, context, site, address, bytes))
        return stem_check_access(context, site, address, bytes, is_write);
    frame_of_context(&f.frame, context, context->rip - 1);
    if (!raise(&frame, &returned, &f, true))
        return 0;
    context_of_frame(context, &frame, returned);
    return 1;
}

/* String instructions: the whole range at once. movs reads [rsi] and writes [rdi]; the others as their names say. */
int stem_slow_string(struct stem_context *context)
{
    const struct stem_site *site = stem_site_at(context->rip);
    if (!site)
        return 0;
    uint64_t count = site->string_rep ? context->reg[RCX] : 1;
    uint8_t op = site->string_op & 0xfe;
    if (!count)
        return 0;
    size_t bytes = count * site->string_bytes;
    bool down = context->flags & 0x400, compares = op == 0xa6 || op == 0xae;
    uintptr_t back = down ? bytes - site->string_bytes : 0;
    if (compares) /* stops where the data says: only the first element is certain */
        bytes = site->string_bytes, back = 0;
    bool reads = op == 0xa4 || op == 0xa6 || op == 0xac, at_rdi = op != 0xac,
         writes = op == 0xa4 || op == 0xaa;
    if (reads && check_range(context, site, context->reg[RSI] - back, bytes, false))
        return 1;
    if (at_rdi && check_range(context, site, context->reg[RDI] - back, bytes, writes))
        return 1;
    if (writes)
        stem_undo_log(context->reg[RDI] - back, bytes);
    return 0;
}

/* In front of a return: its address is not the one that the call left. */
int stem_slow_return(struct stem_context *context)
{
    uintptr_t slot = context->reg[RSP];
    uint64_t target = *(const uint64_t *)slot, returned;
    if (!stem_guard_is_changed(slot, target))
        return 0;
    struct stem_fault f = {.kind = CORE_FAULT_RETURN_ADDRESS,
                           .detector = CORE_DETECTOR_CHECK,
                           .is_write = 2,
                           .address = slot,
                           .exact = true};
    struct stem_frame frame;
    frame_of_context(&f.frame, context, context->rip - 1);
    bool leads_to_code = stem_object_of(target) || stem_object_of_cache(target);
    if (!raise(&frame, &returned, &f, leads_to_code)) {
        stem_thread.crash_reported |= !leads_to_code;
        return 0;
    }
    context_of_frame(context, &frame, returned);
    return 1;
}

/* ---- from checked library calls ---------------------------------------------------------------------------------- */

/* A function that ends with a jump to a library function has given its frame up, and the return address is its caller's. It is to
   blame all the same, and no frame of another: the jump has left its number. It is this call's when what stands before the
   return address is no call of the library function itself. */
static void find_tail_jump(struct stem_fault *f, const struct stem_call *call)
{
    const struct stem_translation *caller = stem_translation_of(call->return_pc - 1);
    const struct stem_map_entry *m = caller ? stem_map_find(caller, call->return_pc - 1) : NULL;
    uint32_t number = stem_thread.tail_site;
    if (!number || number > stem_site_count ||
        (m && stem_calls_library(caller->object, m->offset, m->length)))
        return;
    const struct stem_site *site = &stem_sites[number - 1];
    f->frame.reg[DWARF_RSP] = f->frame.given_up_below = (uint64_t)&call->return_pc;
    f->frame.reg[DWARF_RA] = (uint64_t)site->translation->code + site->translation->map[site->map].cache;
    f->exact = true;
}

static void fault_of_call(struct stem_fault *f, const struct stem_call *call, const char *function)
{
    f->intrinsic = function;
    f->exact = false;
    f->frame.reg[3] = call->rbx;
    f->frame.reg[DWARF_RBP] = call->rbp;
    f->frame.reg[12] = call->r12;
    f->frame.reg[13] = call->r13;
    f->frame.reg[14] = call->r14;
    f->frame.reg[15] = call->r15;
    f->frame.reg[DWARF_RSP] = (uint64_t)call->stack_args;
    f->frame.reg[DWARF_RA] = call->return_pc;
    find_tail_jump(f, call);
}

/* Poison that is stale does not count, nor the gaps of a frame that is copied as a whole, from below its variables. */
uintptr_t stem_fault_settle(const struct stem_call *call, uintptr_t address, size_t bytes, uintptr_t bad)
{
    struct stem_fault f = {0};
    struct stem_gap_found gap;
    uintptr_t from = address;
    if (stem_shadow_is_own(bad) || !stem_shadow_base || bad >= 0x800000000000ull)
        return bad;
    fault_of_call(&f, call, NULL);
    while (bad && stem_gap_may_be(bad)) {
        if (!is_stale(bad, &f.frame, f.exact)) {
            if (!stem_gap_at(&gap, bad, &f.frame, f.exact) || address + 32 >= gap.start)
                return bad;
            from = (bad | 7) + 1;
        }
        bad = from - address < bytes ? stem_shadow_find_bad(from, bytes - (from - address)) : 0;
    }
    return bad;
}

static void raise_from_call(struct stem_fault *f, bool can_go_on)
{
    struct stem_frame frame;
    struct stem_context context;
    uint64_t returned;
    if (!raise(&frame, &returned, f, can_go_on))
        return;
    stem_thread.call = 0;
    context_of_frame(&context, &frame, returned);
    stem_resume(&context);
}

void stem_fault_call(struct stem_call *call, enum core_fault_kind kind, bool is_write, uintptr_t bad,
                     size_t bytes, const char *function)
{
    bool is_mismatch = kind == CORE_FAULT_MISMATCHED_FREE;
    bool is_free = kind == CORE_FAULT_DOUBLE_FREE || kind == CORE_FAULT_INVALID_FREE || is_mismatch;
    struct stem_fault f = {.kind = kind,
                           .detector = is_free ? CORE_DETECTOR_ALLOCATOR : CORE_DETECTOR_INTRINSIC,
                           .is_write = is_free ? 2 : is_write,
                           .address = bad,
                           .bytes = bytes};
    fault_of_call(&f, call, function);
    if (stem_shadow_base && is_stale(bad, &f.frame, f.exact))
        return;
    find_gap(&f);
    if (is_mismatch) { /* harmless here: the block is what it should be, and the free is done */
        note(&f, CORE_OUTCOME_REPORTED);
        return;
    }
    raise_from_call(&f, true);
}

void stem_fault_fatal(struct stem_call *call, enum core_fault_kind kind, const char *function)
{
    struct stem_fault f = {.kind = kind,
                           .detector = kind == CORE_FAULT_STACK_SMASH ? CORE_DETECTOR_CANARY
                                                                      : CORE_DETECTOR_INTRINSIC,
                           .is_write = kind == CORE_FAULT_STACK_SMASH ? 1 : 2};
    fault_of_call(&f, call, function);
    raise_from_call(&f, false);
    stem_thread.crash_reported = 1;
}

void stem_fault_free(enum core_fault_kind kind, uintptr_t pointer, uintptr_t return_pc, uintptr_t slot)
{
    struct stem_fault f = {
        .kind = kind, .detector = CORE_DETECTOR_ALLOCATOR, .is_write = 2, .address = pointer};
    f.frame.reg[DWARF_RSP] = slot + 8;
    f.frame.reg[DWARF_RA] = return_pc;
    note(&f, CORE_OUTCOME_REPORTED); /* the bad free itself is ignored: nothing to undo */
}

/* ---- from traps ------------------------------------------------------------------------------------------------------ */

/* Below the stack's end lies nothing, or a thread's guard page. A frame may be larger than that: what it touches first lies
   anywhere below the caller's. */
static bool is_stack_end(const struct stem_frame *frame, uintptr_t address)
{
    struct stem_frame outer = *frame;
    uintptr_t rsp = frame->reg[DWARF_RSP], cfa = rsp;
    if (!stem_frame_step(&outer, &cfa, true))
        cfa = rsp;
    return address + 65536 > rsp && address < (cfa > rsp + 4096 ? cfa : rsp + 4096);
}

/* A return to a place that is no code leaves the address it took below the stack pointer; one to an address that cannot be traps itself. */
static bool is_return(int code, uintptr_t address, const struct stem_frame *frame)
{
    uintptr_t pc = frame->reg[DWARF_RA], rsp = frame->reg[DWARF_RSP];
    uint64_t below, above;
    if (code == 0x80 /* SI_KERNEL */) {
        uint8_t opcode = 0;
        return stem_safe_copy(&opcode, (const void *)pc, 1) && (opcode == 0xc3 || opcode == 0xc2);
    }
    return pc == address && stem_safe_read(&below, rsp - 8) && below == pc &&
           !(stem_safe_read(&above, rsp) && stem_object_of_cache(above - 1));
}

static enum core_fault_kind kind_of_trap(int signal, int code, uintptr_t address,
                                         const struct stem_frame *frame)
{
    switch (signal) {
    case 8: /* SIGFPE */
        return CORE_FAULT_DIVISION_BY_ZERO;
    case 4: /* SIGILL */
        return CORE_FAULT_ILLEGAL_INSTRUCTION;
    case 6: /* SIGABRT */
        return CORE_FAULT_ABORT;
    default:
        break;
    }
    if (is_return(code, address, frame))
        return CORE_FAULT_RETURN_ADDRESS;
    if (code == 1 /* SEGV_MAPERR */ && address < 65536)
        return CORE_FAULT_NULL_DEREFERENCE;
    if ((code == 1 || code == 2 /* SEGV_ACCERR */) && !stem_shadow_is_own(address) &&
        is_stack_end(frame, address))
        return CORE_FAULT_STACK_OVERFLOW;
    return CORE_FAULT_WILD_ACCESS;
}

bool stem_fault_trap(struct stem_frame *frame, uint64_t *returned, int signal, int code, uintptr_t address,
                     unsigned is_write)
{
    uintptr_t pc = frame->reg[DWARF_RA];
    struct stem_fault f = {.detector = CORE_DETECTOR_SIGNAL,
                           .is_write = is_write,
                           .address = address,
                           .signal = signal,
                           .frame = *frame,
                           .exact = true};
    f.kind = kind_of_trap(signal, code, address, frame);
    struct stem_call *call = (struct stem_call *)stem_thread.call;
    struct stem_translation *t = stem_translation_of(pc);
    uintptr_t word;
    if (t) {
        const struct stem_map_entry *m = stem_map_find(t, pc);
        f.pending = m ? m->pending : 0;
        /* The append in front of a store reads what the store writes. */
        if (m && m->flags & MAP_WRITES && !(m->flags & MAP_READS))
            f.is_write = 1;
    } else if (call) { /* inside the checks of a library call, on the caller's behalf */
        memset(&f.frame, 0, sizeof f.frame);
        fault_of_call(&f, call, stem_intrinsic_name(call));
    } else if (pc == address && stem_safe_copy(&word, (const void *)frame->reg[DWARF_RSP], 8) &&
               stem_translation_of(word - 1)) {
        /* A call to a place that is no code: the caller is the one to blame, and its frame is whole. */
        f.frame.reg[DWARF_RA] = word;
        f.frame.reg[DWARF_RSP] += 8;
        f.exact = false;
    } else {
        return false;
    }
    if (!raise(frame, returned, &f, false)) {
        stem_thread.crash_reported = 1;
        return false;
    }
    stem_thread.call = 0;
    return true;
}

/* ---- a crash in native code ------------------------------------------------------------------------------------------ */

void stem_fault_crash(const struct stem_frame *frame, int signal, int code, uintptr_t address,
                      unsigned is_write)
{
    struct stem_fault f = {.detector = CORE_DETECTOR_SIGNAL,
                           .is_write = is_write,
                           .address = address,
                           .signal = signal,
                           .frame = *frame,
                           .exact = true};
    f.kind = kind_of_trap(signal, code, address, frame);
    if (stem_thread.crash_reported)
        return;
    struct wire_fault *w = stem_fault_record(&f);
    if (!w)
        return;
    w->is_crash = 1;
    memcpy(w->registers, frame->reg, sizeof w->registers);
    w->registers[DWARF_RA] = stem_application_pc(frame->reg[DWARF_RA], true);
    uintptr_t from = frame->reg[DWARF_RSP] & ~7ul;
    uint32_t copied = 0;
    /* Page by page: the stack may end anywhere. */
    while (copied < WIRE_STACK_COPY_BYTES) {
        uint32_t piece = 4096 - (uint32_t)((from + copied) & 4095);
        if (piece > WIRE_STACK_COPY_BYTES - copied)
            piece = WIRE_STACK_COPY_BYTES - copied;
        if (!stem_safe_copy(w->stack_copy + copied, (const void *)(from + copied), piece))
            break;
        copied += piece;
    }
    for (uint32_t i = 0; i + 8 <= copied; i += 8) {
        uintptr_t word;
        memcpy(&word, w->stack_copy + i, 8);
        if (stem_translation_of(word - 1)) {
            word = stem_application_pc(word, false);
            memcpy(w->stack_copy + i, &word, 8);
        }
    }
    w->stack_copy_base = from;
    w->stack_copy_bytes = copied;
    stem_fault_publish(w, CORE_OUTCOME_CRASHED);
    stem_fault_await_taken(w);
}
