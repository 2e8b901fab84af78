/* Library functions and the bounds of variables: what begins inside a variable must not leave it for another one.

   Global variables are known from symbol tables (globals.c). Locals from debug information, which the supervisor reads and lays down on
   the control page: of the frame that an address lies in, found by walking outward from the call, all variables that lie at a
   fixed place. Compilers let variables, and temporaries without a name, share one place when they are not alive together; whatever
   shares it begins where it begins. So the end of one named variable proves nothing, but the beginning of the next does: an access
   that starts inside the one and reaches the other has left its object, whichever that was. Where nothing shares, the end is enough.
   Room that a function takes from its stack as it goes is in no table; what begins in it must not reach the variables above. */
#include "stem/engine.h"
#include "stem/intrinsics_private.h"

enum { FRAMES_MAX = 32, STACK_MAX = 64 << 20 };

static uintptr_t place_of(const struct wire_local *local, const struct stem_frame_place *frame)
{
    uint64_t base = local->base == WIRE_FRAME_CFA   ? frame->cfa
                    : local->base == WIRE_FRAME_RBP ? frame->rbp
                                                    : frame->sp;
    return base + (uint64_t)(int64_t)local->offset;
}

/* The first variable of the function on the page, or the count. */
static uint32_t first_of(const struct wire_local *local, uint32_t count, uint32_t function)
{
    uint32_t low = 0, high = count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (local[middle].function < function)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Whether the function takes room from its stack as it goes (alloca, arrays of variable length): sub %reg, %rsp by gcc,
   mov %reg, %rsp by clang; mov %rbp, %rsp only ends a frame. */
static bool takes_room(const struct stem_object *o, const struct stem_function *function)
{
    const uint8_t *code = (const uint8_t *)(o->base + function->offset);
    for (uint32_t i = 0; i + 3 <= function->bytes; i++)
        if ((code[i] & 0xfb) == 0x48 && (code[i + 2] & 0xc7) == 0xc4 &&
            (code[i + 1] == 0x29 || (code[i + 1] == 0x89 && !(code[i] == 0x48 && code[i + 2] == 0xec))))
            return true;
    return false;
}

static uintptr_t local_overrun(const struct stem_call *call, uintptr_t address, size_t bytes)
{
    struct stem_frame_place frame;
    uintptr_t sp = (uintptr_t)call->stack_args, end = 0, next = 0;
    if (address < sp || address - sp >= STACK_MAX ||
        !stem_frame_holding(&frame, address, call->return_pc, sp, call->rbp, FRAMES_MAX))
        return 0;
    const struct stem_object *o = stem_object_of(frame.pc);
    if (!o || !o->exact || o->page_index >= WIRE_OBJECTS_MAX)
        return 0;
    const struct wire_locals *of = &stem_control->locals_of[o->page_index];
    uint32_t count = __atomic_load_n(&of->count, __ATOMIC_ACQUIRE), first = of->first;
    if (!count || first > WIRE_LOCALS_MAX || count > WIRE_LOCALS_MAX - first)
        return 0;
    const struct stem_function *function = stem_function_of(frame.pc);
    if (!function)
        return 0;
    const struct wire_local *local = &stem_control->locals[first];
    uintptr_t lowest = 0;
    bool is_alone = false;
    uint32_t from = first_of(local, count, function->index);
    for (uint32_t i = from; i < count && local[i].function == function->index; i++) {
        uintptr_t start = place_of(&local[i], &frame);
        if (start < frame.cfa && (!lowest || start < lowest))
            lowest = start;
        if (address >= start && address - start < local[i].bytes && start + local[i].bytes > end) {
            end = start + local[i].bytes;
            is_alone = local[i].is_alone;
        }
    }
    /* Such room lies below all variables, and reaches none. */
    if (address < lowest)
        return lowest - address < bytes && takes_room(o, function) ? lowest : 0;
    if (!end || end - address >= bytes)
        return 0;
    if (is_alone)
        return end;
    for (uint32_t i = from; i < count && local[i].function == function->index; i++) {
        uintptr_t start = place_of(&local[i], &frame);
        if (start >= end && start - address < bytes && start < frame.cfa && (!next || start < next))
            next = start;
    }
    return next ? end : 0;
}

uintptr_t stem_variable_overrun(const struct stem_call *call, enum core_fault_kind *kind, uintptr_t address,
                                size_t bytes)
{
    uintptr_t end = stem_global_end(address);
    if (end && end - address < bytes) {
        *kind = CORE_FAULT_GLOBAL_OVERFLOW;
        return end;
    }
    *kind = CORE_FAULT_STACK_SMASH;
    return end ? 0 : local_overrun(call, address, bytes);
}
