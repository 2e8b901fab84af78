/* Functions that say by their result how much they have written. What they might write was logged before. */
#include "stem/intrinsics_private.h"

#define AROUND(name) void stem_around_##name(struct stem_call *call, const struct intrinsic *function)

/* Where the function's W_LATER points. */
static uintptr_t destination(const struct stem_call *call, const struct intrinsic *function)
{
    return call->arg[stem_intrinsic_effect(function, OP_WRITE_LATER)->at];
}

/* As many items as it says, not more than were asked for: some say how many there would have been. */
static void written(struct stem_call *call, const struct intrinsic *function, uint64_t items)
{
    const struct effect *e = stem_intrinsic_effect(function, OP_WRITE_LATER);
    uintptr_t to = call->arg[e->at];
    size_t most = stem_intrinsic_length(call, function, e, to), bytes;
    if (e->length == LENGTH_FIXED || __builtin_mul_overflow(items, (uint64_t)e->size, &bytes))
        bytes = items;
    if (to)
        stem_intrinsic_touch(call, function, to, bytes < most ? bytes : most, true);
}

AROUND(count_result)
{
    call->rax = stem_intrinsic_real(call);
    if ((int64_t)call->rax > 0)
        written(call, function, call->rax);
}

AROUND(int_result)
{
    call->rax = stem_intrinsic_real(call);
    if ((int32_t)call->rax > 0)
        written(call, function, (uint32_t)call->rax);
}

AROUND(items_result)
{
    const struct effect *e = stem_intrinsic_effect(function, OP_WRITE_LATER);
    call->rax = stem_intrinsic_real(call);
    stem_intrinsic_touch(call, function, call->arg[e->at], call->rax * call->arg[e->a], true);
}

static void text_written(struct stem_call *call, const struct intrinsic *function, unsigned size)
{
    uintptr_t to = destination(call, function);
    if (to)
        stem_intrinsic_touch(call, function, to,
                             size == 4 ? stem_scan_wide(to, SIZE_MAX) : stem_scan_text(to, SIZE_MAX), true);
}

AROUND(text_result)
{
    call->rax = stem_intrinsic_real(call);
    if (call->rax && call->rax == destination(call, function))
        text_written(call, function, 1);
}

AROUND(wide_result)
{
    call->rax = stem_intrinsic_real(call);
    if (call->rax && call->rax == destination(call, function))
        text_written(call, function, 4);
}

AROUND(text_zero)
{
    call->rax = stem_intrinsic_real(call);
    if (!(int32_t)call->rax)
        text_written(call, function, 1);
}

/* Without a destination libc obtains a block for the caller. */
AROUND(path_result)
{
    uintptr_t to = destination(call, function);
    call->rax = stem_intrinsic_real(call);
    if (call->rax && to)
        text_written(call, function, 1);
    else if (call->rax)
        stem_undo_compensate(STEM_COMPENSATE_MALLOC, call->rax);
}

/* The room, as much of it as the whole needs. */
AROUND(confstr)
{
    call->rax = stem_intrinsic_real(call);
    written(call, function, call->rax);
}

/* strxfrm: as confstr, the result without its NUL. */
AROUND(transformed)
{
    call->rax = stem_intrinsic_real(call);
    if ((int64_t)call->rax >= 0)
        written(call, function, call->rax + 1);
}

AROUND(strftime)
{
    stem_intrinsic_touch(call, function, call->arg[2], stem_scan_text(call->arg[2], SIZE_MAX), false);
    stem_intrinsic_log_room(call->arg[0], call->arg[1] < ROOM_BYTES ? call->arg[1] : ROOM_BYTES);
    call->rax = stem_intrinsic_real(call);
    if (call->rax)
        stem_intrinsic_touch(call, function, call->arg[0], call->rax + 1, true);
}

AROUND(wcsftime)
{
    stem_intrinsic_touch(call, function, call->arg[2], stem_scan_wide(call->arg[2], SIZE_MAX), false);
    call->rax = stem_intrinsic_real(call);
    if (call->rax)
        written(call, function, call->rax + 1);
}

/* ---- addresses as texts ---- */

enum { INET6 = 10 }; /* AF_INET6 */

AROUND(inet_aton)
{
    call->rax = stem_intrinsic_real(call);
    if ((int32_t)call->rax && call->arg[1])
        stem_intrinsic_touch(call, function, call->arg[1], 4, true);
}

AROUND(inet_ntop)
{
    stem_intrinsic_touch(call, function, call->arg[1], (int32_t)call->arg[0] == INET6 ? 16 : 4, false);
    call->rax = stem_intrinsic_real(call);
    if (call->rax)
        text_written(call, function, 1);
}

AROUND(inet_pton)
{
    call->rax = stem_intrinsic_real(call);
    if ((int32_t)call->rax == 1)
        stem_intrinsic_touch(call, function, call->arg[2], (int32_t)call->arg[0] == INET6 ? 16 : 4, true);
}

/* ---- from one encoding to another ---- */

/* Characters of `from` bytes at `text` became `done` of `to` bytes; all of the text, when its NUL is among them. */
static void converted(struct stem_call *call, const struct intrinsic *function, uintptr_t text, unsigned from,
                      uint64_t limit, uint64_t done)
{
    uintptr_t out = call->arg[0];
    if ((int64_t)done < 0)
        return;
    if (!out || done < limit)
        stem_intrinsic_touch(call, function, text,
                             from == 4 ? stem_scan_wide(text, SIZE_MAX) : stem_scan_text(text, SIZE_MAX),
                             false);
    if (out)
        written(call, function, done < limit ? done + 1 : limit);
}

AROUND(mbstowcs)
{
    call->rax = stem_intrinsic_real(call);
    converted(call, function, call->arg[1], 1, call->arg[2], call->rax);
}

AROUND(wcstombs)
{
    call->rax = stem_intrinsic_real(call);
    converted(call, function, call->arg[1], 4, call->arg[2], call->rax);
}

AROUND(mbsrtowcs)
{
    uintptr_t text = *(const uintptr_t *)call->arg[1];
    call->rax = stem_intrinsic_real(call);
    converted(call, function, text, 1, call->arg[2], call->rax);
}

AROUND(wcsrtombs)
{
    uintptr_t text = *(const uintptr_t *)call->arg[1];
    call->rax = stem_intrinsic_real(call);
    converted(call, function, text, 4, call->arg[2], call->rax);
}

AROUND(mbtowc)
{
    call->rax = stem_intrinsic_real(call);
    int32_t bytes = (int32_t)call->rax;
    if (bytes < 0 || !call->arg[1])
        return;
    stem_intrinsic_touch(call, function, call->arg[1], bytes ? (size_t)bytes : 1, false);
    if (call->arg[0])
        stem_intrinsic_touch(call, function, call->arg[0], 4, true);
}

AROUND(iconv)
{
    uintptr_t *in = (uintptr_t *)call->arg[1], *out = (uintptr_t *)call->arg[3];
    uintptr_t from = in ? *in : 0, to = out ? *out : 0;
    size_t room = to && call->arg[4] ? *(const size_t *)call->arg[4] : 0;
    for (unsigned i = 1; i < 5; i++)
        if (call->arg[i])
            stem_undo_log(call->arg[i], 8);
    stem_intrinsic_log_room(to, room < 16 * ROOM_BYTES ? room : 16 * ROOM_BYTES);
    call->rax = stem_intrinsic_real(call);
    if (to && stem_intrinsic_touch(call, function, to, *out - to, true) && from)
        stem_intrinsic_touch(call, function, from, *in - from, false);
}

/* ---- select's macros ---- */

/* A fortified FD_SET: the number of the word, or the end of the program. */
AROUND(fdelt)
{
    if ((int64_t)call->arg[0] < 0 || (int64_t)call->arg[0] >= 1024)
        stem_fault_fatal(call, CORE_FAULT_FORTIFY, function->name);
    call->rax = stem_intrinsic_real(call);
}
