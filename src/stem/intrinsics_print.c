/* The printf functions that print to memory. Each is done by its relative that takes a list: what comes out goes to a buffer
   of ours first, so that its length is known before a byte of the caller's is touched, without formatting it twice. */
#include "stem/intrinsics_private.h"

#define AROUND(name) void stem_around_##name(struct stem_call *call, const struct intrinsic *function)

enum { BUFFER = 1024 };

/* A call of the family. */
struct print {
    uintptr_t to;
    size_t limit; /* bytes, or wide characters, that may be written; SIZE_MAX: any number */
    const struct effect *format;
    const struct effect *fortify; /* NULL: not a fortified function */
};

static struct print understand(const struct stem_call *call, const struct intrinsic *function)
{
    const struct effect *write = stem_intrinsic_effect(function, OP_WRITE_LATER);
    return (struct print){call->arg[write->at], write->a == NONE ? SIZE_MAX : call->arg[write->a],
                          stem_intrinsic_effect(function, OP_FORMAT),
                          stem_intrinsic_effect(function, OP_FORTIFY)};
}

static int32_t print(struct stem_call *call, const struct print *p, uintptr_t to, size_t limit)
{
    struct list list;
    struct saved saved;
    unsigned at = p->format->at;
    stem_format_list(&list, &saved, call, p->format);
    call->rax = p->fortify ? stem_intrinsic_via(call, to, limit, call->arg[at - 2] /* its flag */, SIZE_MAX,
                                                call->arg[at], (uintptr_t)&list)
                           : stem_intrinsic_via(call, to, limit, call->arg[at], (uintptr_t)&list, 0, 0);
    return (int32_t)call->rax;
}

/* Before `bytes` go to the caller's memory. A fortified function ends the program when its limit, or without one its output,
   is more than it was told there is room for. */
static void check(struct stem_call *call, const struct intrinsic *function, const struct print *p,
                  size_t bytes)
{
    stem_undo_log(p->to, bytes);
    if (stem_intrinsic_touch(call, function, p->to, bytes, true) && p->fortify &&
        (p->limit == SIZE_MAX ? bytes : p->limit) > call->arg[p->fortify->at])
        stem_fault_fatal(call, CORE_FAULT_FORTIFY, function->name);
}

AROUND(print)
{
    char buffer[BUFFER];
    struct print p = understand(call, function);
    if (!p.limit) {
        print(call, &p, p.to, 0);
        return;
    }
    int32_t length = print(call, &p, (uintptr_t)buffer, p.limit < BUFFER ? p.limit : BUFFER);
    size_t bytes = length < 0 ? 0 : (size_t)length + 1;
    if (bytes > p.limit)
        bytes = p.limit;
    if (bytes && bytes <= BUFFER) {
        check(call, function, &p, bytes);
        memcpy((void *)p.to, buffer, bytes);
        return;
    }
    /* Too long for the buffer; or an error, before which nobody knows how much is written. */
    if (bytes)
        check(call, function, &p, bytes);
    else
        stem_intrinsic_log_room(p.to, p.limit < ROOM_BYTES ? p.limit : ROOM_BYTES);
    print(call, &p, p.to, p.limit);
}

/* swprintf says -1 of what does not fit, and has filled the room but for one character then. */
AROUND(print_wide)
{
    enum { CHARACTERS = BUFFER / 4 };
    uint32_t buffer[CHARACTERS];
    struct print p = understand(call, function);
    if (p.limit < 2) {
        if (p.limit)
            check(call, function, &p, 4);
        print(call, &p, p.to, p.limit);
        return;
    }
    size_t limit = p.limit < CHARACTERS ? p.limit : CHARACTERS;
    buffer[limit - 2] = UINT32_MAX;
    int32_t length = print(call, &p, (uintptr_t)buffer, limit);
    if (length >= 0) {
        check(call, function, &p, ((size_t)length + 1) * 4);
        memcpy((void *)p.to, buffer, ((size_t)length + 1) * 4);
        return;
    }
    size_t room = p.limit < 4 * ROOM_BYTES ? p.limit * 4 : 16 * ROOM_BYTES;
    if (limit == p.limit && buffer[limit - 2] != UINT32_MAX)
        check(call, function, &p, room - 4);
    else
        stem_intrinsic_log_room(p.to, room);
    length = print(call, &p, p.to, p.limit);
    if (length >= 0)
        stem_intrinsic_touch(call, function, p.to, ((size_t)length + 1) * 4, true);
}

/* asprintf: to a block that libc obtains for the caller. */
AROUND(print_new)
{
    struct list list;
    struct saved saved;
    const struct effect *format = stem_intrinsic_effect(function, OP_FORMAT);
    unsigned at = format->at;
    stem_format_list(&list, &saved, call, format);
    call->rax = at == 1 ? stem_intrinsic_via(call, call->arg[0], call->arg[at], (uintptr_t)&list, 0, 0, 0)
                        : stem_intrinsic_via(call, call->arg[0], call->arg[at - 1] /* its flag */,
                                             call->arg[at], (uintptr_t)&list, 0, 0);
    if ((int32_t)call->rax >= 0)
        stem_undo_compensate(STEM_COMPENSATE_MALLOC, *(uintptr_t *)call->arg[0]);
}
