/* Functions that look for something in a text: how far they read, their result says. */
#include "stem/intrinsics_private.h"

#define AROUND(name) void stem_around_##name(struct stem_call *call, const struct intrinsic *function)

static size_t whole(uintptr_t text, unsigned size)
{
    return size == 4 ? stem_scan_wide(text, SIZE_MAX) : stem_scan_text(text, SIZE_MAX);
}

AROUND(memrchr)
{
    uintptr_t p = call->arg[0];
    size_t bytes = call->arg[2];
    call->rax = stem_intrinsic_real(call);
    uintptr_t from = call->rax ? call->rax : p; /* it reads from the end */
    stem_intrinsic_touch(call, function, from, p + bytes - from, false);
}

AROUND(memccpy)
{
    uintptr_t to = call->arg[0], from = call->arg[1];
    size_t bytes = stem_scan_find(from, (uint8_t)call->arg[2], call->arg[3], false);
    stem_undo_log(to, bytes);
    if (stem_intrinsic_touch(call, function, from, bytes, false))
        stem_intrinsic_touch(call, function, to, bytes, true);
    call->rax = stem_intrinsic_real(call);
}

/* Looks for text 1 in text 0: up to the end of what was found, or all. */
static void search(struct stem_call *call, const struct intrinsic *function, unsigned size)
{
    uintptr_t text = call->arg[0], needle = call->arg[1];
    size_t bytes = whole(needle, size);
    if (!stem_intrinsic_touch(call, function, needle, bytes, false))
        bytes = size;
    stem_intrinsic_touch(call, function, text, size, false);
    call->rax = stem_intrinsic_real(call);
    stem_intrinsic_touch(call, function, text,
                         call->rax ? call->rax - text + bytes - size : whole(text, size), false);
}

AROUND(strstr)
{
    search(call, function, 1);
}

AROUND(wcsstr)
{
    search(call, function, 4);
}

/* Looks for a character of set 1 in text 0. */
static void search_set(struct stem_call *call, const struct intrinsic *function, unsigned size, bool counts)
{
    uintptr_t text = call->arg[0], set = call->arg[1];
    stem_intrinsic_touch(call, function, set, whole(set, size), false);
    stem_intrinsic_touch(call, function, text, size, false);
    call->rax = stem_intrinsic_real(call);
    size_t bytes = counts ? (call->rax + 1) * size : call->rax ? call->rax - text + size : whole(text, size);
    stem_intrinsic_touch(call, function, text, bytes, false);
}

AROUND(strstr_set)
{
    search_set(call, function, 1, false);
}

AROUND(span)
{
    search_set(call, function, 1, true);
}

AROUND(wcspbrk)
{
    search_set(call, function, 4, false);
}

AROUND(wcsspn)
{
    search_set(call, function, 4, true);
}

/* ---- tokens: a NUL is put behind them ---- */

/* The character behind the token that begins here. */
static void end_token(struct stem_call *call, const struct intrinsic *function, uintptr_t token,
                      uintptr_t set)
{
    size_t bytes = stem_scan_set(token, set, false);
    stem_undo_log(token + bytes - 1, 1);
    stem_intrinsic_touch(call, function, token, bytes, false);
}

AROUND(strsep)
{
    uintptr_t text = *(const uintptr_t *)call->arg[0], set = call->arg[1];
    if (text && stem_intrinsic_touch(call, function, set, whole(set, 1), false))
        end_token(call, function, text, set);
    call->rax = stem_intrinsic_real(call);
}

/* strtok_r, and strtok as far as it is given a text: where it goes on, only libc knows; its token shows afterwards. */
AROUND(strtok)
{
    const struct effect *place = stem_intrinsic_effect(function, OP_WRITE);
    uintptr_t text = call->arg[0], set = call->arg[1];
    if (!text && place)
        text = *(const uintptr_t *)call->arg[place->at];
    if (text) {
        size_t skipped = stem_scan_set(text, set, true);
        if (stem_intrinsic_touch(call, function, text, skipped, false))
            end_token(call, function, text + skipped - 1, set);
    }
    call->rax = stem_intrinsic_real(call);
    if (!text && call->rax)
        stem_intrinsic_touch(call, function, call->rax, whole(call->rax, 1), false);
}

AROUND(wcstok)
{
    uintptr_t text = call->arg[0] ? call->arg[0] : *(const uintptr_t *)call->arg[2];
    if (text)
        stem_intrinsic_touch(call, function, text, 4, false);
    call->rax = stem_intrinsic_real(call);
    if (call->rax)
        stem_intrinsic_touch(call, function, call->rax, whole(call->rax, 4), false);
}

/* ---- numbers ---- */

/* Up to where they end, and the character there; nothing goes on behind nan(...) and infinity, so that nothing is looked at. */
static size_t number_bytes(uintptr_t text, uintptr_t end, unsigned size)
{
    uint32_t last = end == text ? 0 : size == 4 ? ((const uint32_t *)end)[-1] : ((const uint8_t *)end)[-1];
    bool is_closed = last == ')' || last == 'y' || last == 'Y';
    return end - text + (is_closed ? 0 : size);
}

static void number(struct stem_call *call, const struct intrinsic *function, unsigned size)
{
    uintptr_t text = call->arg[0], end = 0, *out = &end;
    if (!function->via && call->arg[1])
        out = (uintptr_t *)call->arg[1];
    call->rax = stem_intrinsic_via(call, text, (uintptr_t)out, call->arg[2], call->arg[3], 0, 0);
    if (*out >= text)
        stem_intrinsic_touch(call, function, text, number_bytes(text, *out, size), false);
}

AROUND(number)
{
    number(call, function, 1);
}

AROUND(wide_number)
{
    number(call, function, 4);
}
