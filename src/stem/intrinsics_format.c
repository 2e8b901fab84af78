/* Formats of the printf family, narrow and wide: the values behind them, and the strings that a call reads. */
#include "stem/intrinsics_private.h"

enum { GENERAL_BYTES = 48, SAVED_BYTES = 176 };

void stem_format_list(struct list *list, struct saved *saved, const struct stem_call *call,
                      const struct effect *format)
{
    if (format->flags & LIST) {
        *list = *(const struct list *)call->arg[format->at + 1];
        return;
    }
    for (unsigned i = 0; i < 6; i++)
        saved->general[i] = call->arg[i];
    for (unsigned i = 0; call->rax & 0xff && i < 16; i++)
        saved->vector[i] = call->vector[i];
    *list = (struct list){(format->at + 1u) * 8, GENERAL_BYTES, call->stack_args, (const uint8_t *)saved};
}

uint64_t stem_format_next(struct list *list)
{
    if (list->general < GENERAL_BYTES) {
        list->general += 8;
        return *(const uint64_t *)(list->saved + list->general - 8);
    }
    return *list->memory++;
}

static void skip_floating(struct list *list, bool is_long)
{
    if (is_long)
        list->memory = (const uint64_t *)((((uintptr_t)list->memory + 15) & ~(uintptr_t)15) + 16);
    else if (list->vector < SAVED_BYTES)
        list->vector += 16;
    else
        list->memory++;
}

char stem_format_modifier(uintptr_t *at, unsigned size)
{
    char modifier = 0;
    for (;; *at += size) {
        uint32_t c = stem_format_peek(*at, size);
        if (c == 'h' || c == 'l')
            modifier = modifier != (char)c ? (char)c : c == 'h' ? 'H' : 'q';
        else if (c == 'j' || c == 'z' || c == 't' || c == 'q' || c == 'Z')
            modifier = 'q';
        else if (c == 'L')
            modifier = 'L';
        else
            return modifier;
    }
}

unsigned stem_format_integer_bytes(char modifier)
{
    return modifier == 'H'                                         ? 1
           : modifier == 'h'                                       ? 2
           : modifier == 'l' || modifier == 'q' || modifier == 'L' ? 8
                                                                   : 4;
}

struct conversion {
    char what;      /* conversion character; 0 at the end of the format, or where it is not understood */
    char modifier;  /* stem_format_modifier */
    long precision; /* -1: none */
};

static bool is_digit(uint32_t c)
{
    return c >= '0' && c <= '9';
}

static bool is_flag(uint32_t c)
{
    return c == '-' || c == '+' || c == ' ' || c == '#' || c == '0' || c == '\'' || c == 'I';
}

/* Reads the next conversion, taking its width and precision out of the list. Numbered arguments are not understood. */
static uintptr_t next_conversion(struct conversion *c, struct list *list, uintptr_t at, unsigned size)
{
#define HERE stem_format_peek(at, size)
    *c = (struct conversion){0, 0, -1};
    while (HERE && HERE != '%')
        at += size;
    if (!HERE)
        return at;
    do
        at += size;
    while (is_flag(HERE));
    if (HERE == '*') {
        stem_format_next(list);
        at += size;
    }
    while (is_digit(HERE))
        at += size;
    if (HERE == '$')
        return at;
    if (HERE == '.') {
        at += size;
        c->precision = 0;
        if (HERE == '*') {
            c->precision = (int32_t)stem_format_next(list);
            at += size;
        }
        for (; is_digit(HERE); at += size)
            c->precision = c->precision < 1 << 28 ? c->precision * 10 + ((long)HERE - '0') : c->precision;
        if (c->precision < 0)
            c->precision = -1;
    }
    c->modifier = stem_format_modifier(&at, size);
    uint32_t what = HERE;
    c->what = what < 128 ? (char)what : 0;
    return what ? at + size : at;
#undef HERE
}

static bool is_floating(char c)
{
    c |= 0x20;
    return c == 'e' || c == 'f' || c == 'g' || c == 'a';
}

static bool is_integer(char c)
{
    return c == 'd' || c == 'i' || c == 'o' || c == 'u' || c == 'x' || c == 'X' || c == 'c' || c == 'C' ||
           c == 'p' || c == 'b' || c == 'B';
}

/* A precision counts what comes out. Bytes made of wide characters: how many of those, only the locale knows. The other way
   round each needs a byte at least. */
static void check_text(struct stem_call *call, const struct intrinsic *function, const struct conversion *c,
                       uintptr_t text, bool format_is_wide)
{
    bool wide = c->what == 'S' || c->modifier == 'l';
    if (!text || (wide && !format_is_wide && c->precision >= 0))
        return;
    size_t limit = c->precision < 0 ? SIZE_MAX : (size_t)c->precision;
    stem_intrinsic_touch(call, function, text,
                         wide ? stem_scan_wide(text, limit) : stem_scan_text(text, limit), false);
}

void stem_format_check(struct stem_call *call, const struct intrinsic *function, const struct effect *format)
{
    struct list list;
    struct saved saved;
    struct conversion c;
    unsigned size = format->size;
    uintptr_t at = call->arg[format->at];
    size_t bytes = size == 4 ? stem_scan_wide(at, SIZE_MAX) : stem_scan_text(at, SIZE_MAX);
    if (!stem_intrinsic_touch(call, function, at, bytes, false))
        return;
    stem_format_list(&list, &saved, call, format);
    while (at = next_conversion(&c, &list, at, size), c.what) {
        if (c.what == '%' || c.what == 'm')
            continue;
        if (is_floating(c.what)) {
            skip_floating(&list, c.modifier == 'L');
        } else if (c.what == 's' || c.what == 'S') {
            check_text(call, function, &c, stem_format_next(&list), size == 4);
        } else if (c.what == 'n') {
            uintptr_t count = stem_format_next(&list);
            unsigned room = stem_format_integer_bytes(c.modifier);
            stem_undo_log(count, room);
            stem_intrinsic_touch(call, function, count, room, true);
        } else if (is_integer(c.what)) {
            stem_format_next(&list);
        } else {
            return; /* registered by the program, or wrong */
        }
    }
}
