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

const struct wire_local *stem_locals_of(uint32_t *count, const struct stem_object *o, uint32_t function)
{
    *count = 0;
    if (o->page_index >= WIRE_OBJECTS_MAX)
        return NULL;
    const struct wire_locals *of = &stem_control->locals_of[o->page_index];
    uint32_t all = __atomic_load_n(&of->count, __ATOMIC_ACQUIRE), first = of->first;
    if (!all || first > WIRE_LOCALS_MAX || all > WIRE_LOCALS_MAX - first)
        return NULL;
    const struct wire_local *local = &stem_control->locals[first];
    uint32_t from = first_of(local, all, function);
    while (from + *count < all && local[from + *count].function == function)
        ++*count;
    return local + from;
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

/* Whether a translation has found that nothing in the place of the function's local `index` reaches further. */
static bool is_exact(const struct stem_object *o, const struct stem_function *function, uint32_t index)
{
    uint32_t n = __atomic_load_n(&o->translation_count, __ATOMIC_ACQUIRE);
    struct stem_translation **all = __atomic_load_n(&o->translations, __ATOMIC_ACQUIRE);
    for (uint32_t i = 0; i < n; i++)
        if (all[i]->function == function && index < all[i]->exact_count)
            return all[i]->exact[index];
    return false;
}

uintptr_t stem_local_overrun(uintptr_t pc, uintptr_t sp, uintptr_t rbp, uintptr_t address, size_t bytes)
{
    struct stem_frame_place frame;
    uintptr_t end = 0, next = 0;
    if (address < sp || address - sp >= STACK_MAX ||
        !stem_frame_holding(&frame, address, pc, sp, rbp, FRAMES_MAX))
        return 0;
    /* Nothing begins in the place of a return address and goes on into the caller's frame. */
    if (address >= frame.cfa - 8 && frame.cfa - address < bytes)
        return address;
    const struct stem_object *o = stem_object_of(frame.pc);
    const struct stem_function *function = o && o->exact ? stem_function_of(frame.pc) : NULL;
    uint32_t count = 0;
    const struct wire_local *local = function ? stem_locals_of(&count, o, function->index) : NULL;
    uintptr_t lowest = 0;
    bool is_alone = false, is_certain = true;
    uint32_t found = 0;
    for (uint32_t i = 0; i < count; i++) {
        uintptr_t start = place_of(&local[i], &frame);
        if (start < frame.cfa && (!lowest || start < lowest))
            lowest = start;
        if (address >= start && address - start < local[i].bytes && start + local[i].bytes > end) {
            end = start + local[i].bytes;
            is_alone = local[i].flags & WIRE_LOCAL_ALONE;
            found = i;
            is_certain =
                !(local[i].flags & WIRE_LOCAL_FOREIGN) || (local[i].flags & WIRE_LOCAL_ARRAY && is_alone);
        }
    }
    /* Such room lies below all variables, and reaches none. */
    if (address < lowest)
        return lowest - address < bytes && takes_room(o, function) ? lowest : 0;
    if (!end || end - address >= bytes || !is_certain)
        return 0;
    if (is_alone || is_exact(o, function, found))
        return end;
    for (uint32_t i = 0; i < count; i++) {
        uintptr_t start = place_of(&local[i], &frame);
        if (start >= end && start - address < bytes && start < frame.cfa && (!next || start < next))
            next = start;
    }
    return next ? end : 0;
}

/* The variable that the caller's argument points into or came from, where its code tells. */
static const struct stem_bounds *meant(uintptr_t *low, uintptr_t *high, const struct stem_call *call,
                                       uintptr_t address)
{
    const struct stem_translation *t = stem_translation_of(call->return_pc - 1);
    const struct stem_map_entry *m =
        t && t->bounded_call_count ? stem_map_find(t, call->return_pc - 1) : NULL;
    for (uint32_t i = 0; m && i < t->bounded_call_count; i++) {
        const struct stem_bounded_call *c = &t->bounded_calls[i];
        if (c->offset != m->offset || call->arg[c->argument] != address)
            continue;
        const struct stem_bounds *b = &t->bounds[c->bounds];
        *low = b->is_dynamic  ? (uintptr_t)call->stack_args
               : b->is_global ? t->object->base + (uint32_t)b->low
                              : call->rbp + (uint64_t)(int64_t)b->low;
        *high = b->is_dynamic ? call->rbp + (uint64_t)(int64_t)b->low : *low + b->bytes;
        return b;
    }
    return NULL;
}

uintptr_t stem_variable_overrun(const struct stem_call *call, enum core_fault_kind *kind, uintptr_t address,
                                size_t bytes)
{
    uintptr_t low, high;
    const struct stem_bounds *b = meant(&low, &high, call, address);
    if (b) {
        *kind = b->is_global ? CORE_FAULT_GLOBAL_OVERFLOW : CORE_FAULT_STACK_SMASH;
        if (address < low || address >= high)
            return address;
        return high - address < bytes ? high : 0;
    }
    uintptr_t end = stem_global_end(address);
    if (end && end - address < bytes) {
        *kind = CORE_FAULT_GLOBAL_OVERFLOW;
        return end;
    }
    *kind = CORE_FAULT_STACK_SMASH;
    return end ? 0
               : stem_local_overrun(call->return_pc, (uintptr_t)call->stack_args, call->rbp, address, bytes);
}
