/* The scanf family: where a call stores what it reads. How much that is shows afterwards: as many conversions as it says. */
#include "stem/intrinsics_private.h"

enum { TARGETS = 48 };

struct target {
    uintptr_t to;
    uint32_t fixed; /* bytes; 0: a text, as long as it has become */
    uint32_t most;  /* characters of a text, with the NUL; 0: any number */
    uint8_t size;   /* of a character */
    bool is_block;  /* to a block that libc obtains: `to` holds its address */
    bool is_count;  /* %n: not counted itself */
};

/* Behind the set of a %[. */
static uintptr_t skip_set(uintptr_t at, unsigned size)
{
    if (stem_format_peek(at, size) == '^')
        at += size;
    if (stem_format_peek(at, size) == ']')
        at += size;
    while (stem_format_peek(at, size) && stem_format_peek(at, size) != ']')
        at += size;
    return stem_format_peek(at, size) ? at + size : at;
}

static unsigned floating_bytes(char modifier)
{
    return modifier == 'L' ? 16 : modifier == 'l' ? 8 : 4;
}

/* Reads one conversion behind its percent sign. Returns where it ends; NULL for what is not understood. Out: target->to is 0
   when nothing is stored. */
static uintptr_t read_conversion(struct target *target, struct list *list, uintptr_t at, unsigned size)
{
    bool stores = true;
    uint32_t width = 0;
    *target = (struct target){0};
    for (; stem_format_peek(at, size) == '*' || stem_format_peek(at, size) == '\'' ||
           stem_format_peek(at, size) == 'I';
         at += size)
        stores = stores && stem_format_peek(at, size) != '*';
    for (uint32_t c; c = stem_format_peek(at, size), c >= '0' && c <= '9'; at += size)
        width = width < 1 << 28 ? width * 10 + (c - '0') : width;
    if (stem_format_peek(at, size) == 'm') {
        target->is_block = true;
        at += size;
    }
    char modifier = stem_format_modifier(&at, size);
    uint32_t what = stem_format_peek(at, size);
    if (!what)
        return 0;
    at += size;
    bool wide = modifier == 'l' || what == 'S' || what == 'C';
    target->size = wide ? 4 : 1;
    switch (what) {
    case 'd':
    case 'i':
    case 'o':
    case 'u':
    case 'x':
    case 'X':
        target->fixed = stem_format_integer_bytes(modifier);
        break;
    case 'n':
        target->fixed = stem_format_integer_bytes(modifier);
        target->is_count = true;
        break;
    case 'p':
        target->fixed = 8;
        break;
    case 'e':
    case 'f':
    case 'g':
    case 'a':
    case 'E':
    case 'F':
    case 'G':
    case 'A':
        target->fixed = floating_bytes(modifier);
        break;
    case 'c':
    case 'C':
        target->fixed = (width ? width : 1) * target->size;
        break;
    case '[':
        at = skip_set(at, size);
        target->most = width ? width + 1 : 0;
        break;
    case 's':
    case 'S':
        target->most = width ? width + 1 : 0;
        break;
    case '%':
        return at;
    default:
        return 0;
    }
    if (stores)
        target->to = stem_format_next(list);
    return at;
}

/* Returns the number of places that something may be stored at. Numbered arguments are not understood: none from there on. */
static unsigned find_targets(struct target *targets, struct list *list, uintptr_t at, unsigned size)
{
    unsigned count = 0;
    while (at && stem_format_peek(at, size) && count < TARGETS) {
        uint32_t c = stem_format_peek(at, size);
        at += size;
        if (c != '%')
            continue;
        at = read_conversion(&targets[count], list, at, size);
        count += at && targets[count].to;
    }
    return count;
}

static size_t text_bytes(const struct target *t)
{
    return t->size == 4 ? stem_scan_wide(t->to, SIZE_MAX) : stem_scan_text(t->to, SIZE_MAX);
}

void stem_around_scan(struct stem_call *call, const struct intrinsic *function)
{
    struct target targets[TARGETS];
    struct list list;
    struct saved saved;
    const struct effect *format = stem_intrinsic_effect(function, OP_SCAN);
    uintptr_t at = call->arg[format->at];
    size_t bytes = format->size == 4 ? stem_scan_wide(at, SIZE_MAX) : stem_scan_text(at, SIZE_MAX);
    stem_intrinsic_touch(call, function, at, bytes, false);
    stem_format_list(&list, &saved, call, format);
    unsigned count = find_targets(targets, &list, at, format->size);
    for (unsigned i = 0; i < count; i++) {
        const struct target *t = &targets[i];
        size_t most = t->is_block                           ? 8
                      : t->fixed                            ? t->fixed
                      : t->most && t->most < ROOM_BYTES / 4 ? (size_t)t->most * t->size
                                                            : ROOM_BYTES;
        stem_intrinsic_log_room(t->to, most);
    }
    stem_format_list(&list, &saved, call, format);
    /* (stream or text, format, list), or (format, list) */
    call->rax = format->at ? stem_intrinsic_via(call, call->arg[0], at, (uintptr_t)&list, 0, 0, 0)
                           : stem_intrinsic_via(call, at, (uintptr_t)&list, 0, 0, 0, 0);
    int32_t done = (int32_t)call->rax;
    for (unsigned i = 0; i < count && done > 0; i++) {
        const struct target *t = &targets[i];
        done -= !t->is_count;
        bool good = stem_intrinsic_touch(call, function, t->to,
                                         t->is_block ? 8
                                         : t->fixed  ? t->fixed
                                                     : text_bytes(t),
                                         true);
        if (good && t->is_block)
            stem_undo_compensate(STEM_COMPENSATE_MALLOC, *(uintptr_t *)t->to);
    }
}
