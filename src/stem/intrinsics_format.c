/* The printf family: how much a call would print, and the strings that it reads. */
#include "stem/engine.h"
#include "stem/intrinsics_private.h"

int *__errno_location(void);

/* The System V va_list, and what its first part points to. */
struct list {
    uint32_t general, vector; /* offsets into `saved` */
    const uint64_t *memory;
    const uint8_t *saved;
};
enum { GENERAL_BYTES = 48, SAVED_BYTES = 176 };
struct saved {
    uint64_t general[6], vector[16];
};

/* The values behind the format: in the caller's own list, or as the caller passed them. */
static void list_of(struct list *list, struct saved *saved, const struct stem_call *call, unsigned format_at,
                    bool is_list)
{
    if (is_list) {
        *list = *(const struct list *)call->arg[format_at + 1];
        return;
    }
    for (unsigned i = 0; i < 6; i++)
        saved->general[i] = call->arg[i];
    for (unsigned i = 0; call->rax & 0xff && i < 16; i++)
        saved->vector[i] = call->vector[i];
    *list = (struct list){(format_at + 1) * 8, GENERAL_BYTES, call->stack_args, (const uint8_t *)saved};
}

static uint64_t next_general(struct list *list)
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

struct conversion {
    char what;      /* conversion character; 0 at the end of the format, or where it is not understood */
    char length;    /* h, H (hh), l, q (ll, j, z, t), L, or 0 */
    long precision; /* -1: none */
};

/* Reads the next conversion, taking its width and precision out of the list. Numbered arguments are not understood. */
static const char *next_conversion(struct conversion *c, struct list *list, const char *at)
{
    *c = (struct conversion){0, 0, -1};
    while (*at && *at != '%')
        at++;
    if (!*at++)
        return at - 1;
    while (*at == '-' || *at == '+' || *at == ' ' || *at == '#' || *at == '0' || *at == '\'' || *at == 'I')
        at++;
    if (*at == '*') {
        next_general(list);
        at++;
    }
    while (*at >= '0' && *at <= '9')
        at++;
    if (*at == '$')
        return at;
    if (*at == '.') {
        at++;
        c->precision = 0;
        if (*at == '*') {
            c->precision = (int32_t)next_general(list);
            at++;
        }
        for (; *at >= '0' && *at <= '9'; at++)
            c->precision = c->precision < 1 << 28 ? c->precision * 10 + (*at - '0') : c->precision;
        if (c->precision < 0)
            c->precision = -1;
    }
    for (;; at++) {
        if (*at == 'h' || *at == 'l')
            c->length = c->length != *at ? *at : *at == 'h' ? 'H' : 'q';
        else if (*at == 'j' || *at == 'z' || *at == 't' || *at == 'q' || *at == 'Z')
            c->length = 'q';
        else if (*at == 'L')
            c->length = 'L';
        else
            break;
    }
    c->what = *at;
    return *at ? at + 1 : at;
}

static bool is_floating(char c)
{
    c |= 0x20;
    return c == 'e' || c == 'f' || c == 'g' || c == 'a';
}

static size_t count_bytes(char length)
{
    return length == 'H' ? 1 : length == 'h' ? 2 : length == 'l' || length == 'q' ? 8 : 4;
}

void stem_format_check(struct stem_call *call, const struct intrinsic *function, unsigned format_at,
                       bool is_list)
{
    struct list list;
    struct saved saved;
    struct conversion c;
    uintptr_t format = call->arg[format_at];
    if (!stem_intrinsic_touch(call, function, format, stem_scan_text(format, SIZE_MAX), false))
        return;
    list_of(&list, &saved, call, format_at, is_list);
    const char *at = (const char *)format;
    while (at = next_conversion(&c, &list, at), c.what) {
        if (c.what == '%' || c.what == 'm')
            continue;
        if (is_floating(c.what)) {
            skip_floating(&list, c.length == 'L');
        } else if (c.what == 's' || c.what == 'S') {
            uintptr_t text = next_general(&list);
            bool wide = c.what == 'S' || c.length == 'l';
            /* A precision counts bytes of output: how many wide characters that is, only the locale knows. */
            if (!text || (wide && c.precision >= 0))
                continue;
            size_t limit = c.precision < 0 ? SIZE_MAX : (size_t)c.precision;
            stem_intrinsic_touch(call, function, text,
                                 wide ? stem_scan_wide(text, limit) : stem_scan_text(text, limit), false);
        } else if (c.what == 'n') {
            uintptr_t count = next_general(&list);
            stem_undo_log(count, count_bytes(c.length));
            stem_intrinsic_touch(call, function, count, count_bytes(c.length), true);
        } else if (c.what == 'd' || c.what == 'i' || c.what == 'o' || c.what == 'u' || c.what == 'x' ||
                   c.what == 'X' || c.what == 'c' || c.what == 'C' || c.what == 'p') {
            next_general(&list);
        } else {
            return; /* registered by the program, or wrong */
        }
    }
}

/* Whether the format stores a count (%n): printing it twice would show. */
static bool counts(const char *at)
{
    for (; *at; at++) {
        if (*at != '%')
            continue;
        do
            at++;
        while (*at && *at != '%' &&
               !(*at >= 'a' && *at <= 'z' && *at != 'h' && *at != 'l' && *at != 'j' && *at != 'z' &&
                 *at != 't' && *at != 'q') &&
               !(*at >= 'A' && *at <= 'Z' && *at != 'L' && *at != 'I'));
        if (*at == 'n')
            return true;
        if (!*at)
            break;
    }
    return false;
}

/* Has libc print it to nowhere. */
long stem_format_length(struct stem_call *call, unsigned format_at, bool is_list)
{
    static int (*print)(char *, size_t, const char *, struct list *);
    struct list list;
    struct saved saved;
    const char *format = (const char *)call->arg[format_at];
    if (!print)
        print =
            (int (*)(char *, size_t, const char *, struct list *))(uintptr_t)stem_libc_symbol("vsnprintf");
    if (!print || counts(format))
        return -1;
    list_of(&list, &saved, call, format_at, is_list);
    int error = *__errno_location();
    int length = print(NULL, 0, format, &list);
    *__errno_location() = error;
    return length;
}
