/* The record of a fault on the control page: a slot of its own, what lies at the address, the stack, and waiting until it is taken. */
#include "stem/fault.h"
#include "stem/pools.h"
#include "stem/rescue.h"
#include "stem/sys.h"

struct stem_function *stem_function_of(uintptr_t application_pc)
{
    struct stem_object *o = stem_object_of(application_pc);
    if (!o)
        return NULL;
    uint32_t offset = (uint32_t)(application_pc - o->base);
    for (uint32_t i = 0; i < o->fragment_count; i++)
        if (offset - o->fragments[i].offset < o->fragments[i].bytes)
            return o->fragments[i].function;
    return stem_function_containing(o, offset);
}

struct stem_function *stem_function_of_frame(const struct stem_frame *frame, bool exact)
{
    struct stem_translation *t = stem_translation_of(exact ? frame->reg[DWARF_RA] : frame->reg[DWARF_RA] - 1);
    if (t)
        return t->function;
    return stem_function_of(frame->reg[DWARF_RA] - (exact ? 0 : 1));
}

static struct wire_frame wire_frame(uintptr_t pc)
{
    struct stem_object *o = stem_object_of(pc);
    if (!o || o->page_index == WIRE_NO_OBJECT)
        return (struct wire_frame){WIRE_NO_OBJECT, 0, pc};
    return (struct wire_frame){o->page_index, 0, pc - o->base};
}

static uint64_t clock_ns(long clock)
{
    int64_t t[2] = {0, 0};
    sys_call2(SYS_clock_gettime, clock, t);
    return (uint64_t)t[0] * 1000000000u + (uint64_t)t[1];
}

static struct wire_fault *take_slot(void)
{
    for (unsigned i = 0; i < WIRE_FAULTS_MAX; i++) {
        uint32_t free = WIRE_FAULT_FREE;
        struct wire_fault *w = &stem_control->faults[i];
        if (__atomic_compare_exchange_n(&w->state, &free, WIRE_FAULT_FILLING, false, __ATOMIC_ACQUIRE,
                                        __ATOMIC_RELAXED))
            return w;
    }
    return NULL;
}

/* The supervisor empties slots as they fill; a burst waits for it a little rather than lose records. */
static struct wire_fault *claim(void)
{
    enum { TRIES = 50 };
    struct {
        int64_t s, ns;
    } pause = {0, 1000000};
    uint64_t sequence = __atomic_add_fetch(&stem_control->fault_count, 1, __ATOMIC_RELAXED);
    struct wire_fault *w = take_slot();
    for (unsigned i = 0; !w && i < TRIES && stem_control->supervisor_pid; i++) {
        sys_call2(SYS_nanosleep, &pause, 0);
        w = take_slot();
    }
    if (w)
        w->sequence = sequence;
    else
        stem_count(CORE_COUNTER_FAULT_SLOTS_FULL, 1);
    return w;
}

static void describe_variable(struct wire_fault *w, uintptr_t address)
{
    uintptr_t start;
    size_t bytes;
    if (!stem_global_describe(&start, &bytes, address))
        return;
    int64_t at = (int64_t)(address - start);
    w->object_start = start;
    w->object_bytes = bytes;
    w->distance = at >= (int64_t)bytes ? at - (int64_t)bytes : at;
}

static void describe_object(struct wire_fault *w, const struct stem_fault *f)
{
    static struct stem_heap_block block; /* large; faults are rare and a torn report is no harm */
    w->region = WIRE_REGION_UNKNOWN;
    w->distance = 0;
    w->object_bytes = w->object_start = 0;
    w->alloc_frames = w->free_frames = 0;
    uint64_t rsp = f->frame.reg[DWARF_RSP];
    w->variable = f->local;
    if (f->object_bytes) {
        int64_t at = (int64_t)(f->address - f->object_start);
        w->region = f->kind == CORE_FAULT_GLOBAL_OVERFLOW ? WIRE_REGION_GLOBAL : WIRE_REGION_STACK;
        w->object_start = f->object_start;
        w->object_bytes = f->object_bytes;
        w->distance = at >= (int64_t)f->object_bytes ? at - (int64_t)f->object_bytes : at;
    } else if (stem_pool_describe(&block, f->address) || stem_heap_describe(&block, f->address)) {
        w->region = block.state == STEM_HEAP_FREED ? WIRE_REGION_HEAP_FREED : WIRE_REGION_HEAP_LIVE;
        w->object_start = block.start;
        w->object_bytes = block.bytes;
        int64_t at = (int64_t)(f->address - block.start);
        w->distance = at >= (int64_t)block.bytes ? at - (int64_t)block.bytes : at;
        w->alloc_frames = block.alloc_frames;
        w->free_frames = block.free_frames;
        for (unsigned i = 0; i < block.alloc_frames && i < WIRE_HEAP_FRAMES_MAX; i++)
            w->alloc_stack[i] = wire_frame(block.alloc_stack[i]);
        for (unsigned i = 0; i < block.free_frames && i < WIRE_HEAP_FRAMES_MAX; i++)
            w->free_stack[i] = wire_frame(block.free_stack[i]);
    } else if (f->address > rsp - (1 << 20) && f->address < rsp + (8 << 20)) {
        w->region = WIRE_REGION_STACK;
    } else if (stem_object_of(f->address)) {
        w->region = WIRE_REGION_GLOBAL;
        describe_variable(w, f->address);
    }
}

static void walk(struct wire_fault *w, const struct stem_fault *f)
{
    struct stem_frame frame = f->frame;
    uintptr_t cfa;
    bool exact = f->exact;
    w->stack_frames = 0;
    while (w->stack_frames < WIRE_FRAMES_MAX && frame.reg[DWARF_RA]) {
        w->stack[w->stack_frames++] = wire_frame(stem_application_pc(frame.reg[DWARF_RA], exact));
        if (!stem_frame_step(&frame, &cfa, exact))
            break;
        exact = false;
    }
}

struct wire_fault *stem_fault_record(const struct stem_fault *f)
{
    struct wire_fault *w = claim();
    stem_count(CORE_COUNTER_FAULTS, 1);
    if (!w)
        return NULL;
    struct stem_function *function = stem_function_of_frame(&f->frame, f->exact);
    w->kind = f->kind;
    w->outcome = CORE_OUTCOME_REPORTED;
    w->detector = f->detector;
    w->time_ns = clock_ns(0);
    w->detected_ns = clock_ns(1);
    w->pid = (int32_t)sys_call0(SYS_getpid);
    w->tid = (int32_t)sys_call0(SYS_gettid);
    w->signal = f->signal;
    w->is_write = f->is_write;
    w->address = f->address;
    w->bytes = f->bytes;
    w->not_undone = 0;
    w->function = function ? function->index : WIRE_NO_FUNCTION;
    w->rescue = WIRE_NO_FUNCTION;
    w->returned = 0;
    w->is_crash = 0;
    w->stack_copy_bytes = 0;
    unsigned n = 0;
    for (; f->intrinsic && f->intrinsic[n] && n + 1 < sizeof w->intrinsic; n++)
        w->intrinsic[n] = f->intrinsic[n];
    w->intrinsic[n] = 0;
    describe_object(w, f);
    walk(w, f);
    return w;
}

void stem_fault_publish(struct wire_fault *w, enum core_outcome outcome)
{
    if (!w)
        return;
    w->outcome = outcome;
    __atomic_store_n(&w->state, WIRE_FAULT_READY, __ATOMIC_RELEASE);
    __atomic_fetch_add(&stem_control->doorbell, 1, __ATOMIC_RELEASE);
    sys_call3(SYS_futex, &stem_control->doorbell, 1 /* FUTEX_WAKE */, 1);
}

/* A process about to end gives the supervisor a bounded time to copy its record. */
void stem_fault_await_taken(struct wire_fault *w)
{
    struct {
        int64_t s, ns;
    } step = {0, 10000000};
    if (!w || !stem_control->supervisor_pid)
        return;
    for (uint32_t waited = 0; waited < stem_control->config.crash_ms; waited += 10) {
        if (__atomic_load_n(&w->state, __ATOMIC_ACQUIRE) != WIRE_FAULT_READY)
            return;
        sys_call4(SYS_futex, &w->state, 0 /* FUTEX_WAIT */, WIRE_FAULT_READY, &step);
    }
}
