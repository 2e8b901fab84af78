/* Checked library calls: what intrinsics*.c share. The table is intrinsics.def. */
#ifndef STEM_INTRINSICS_PRIVATE_H
#define STEM_INTRINSICS_PRIVATE_H

#include "stem/stem.h"

enum effect_op {
    OP_NONE,
    OP_READ,
    OP_WRITE,
    OP_WRITE_LATER, /* logged before, checked by the handler for as much as was written */
    OP_APPEND,
    OP_COMPARE,
    OP_FIND,
    OP_FORTIFY,
    OP_FORMAT,
    OP_SCAN, /* for the handler only */
    OP_EFFECT
};

enum effect_length {
    LENGTH_BYTES,   /* argument a * size */
    LENGTH_INT,     /* the same of a 32-bit argument; a negative one is none */
    LENGTH_BITS,    /* a set of as many descriptors as argument a says */
    LENGTH_FIXED,   /* size */
    LENGTH_PRODUCT, /* argument a * argument b */
    LENGTH_TEXT,    /* characters of `size` bytes to the NUL, argument a of them at most (NONE: no limit) */
    LENGTH_ENDLESS, /* until found */
    LENGTH_COPY,    /* the string at argument a, cut to argument b, and its NUL */
    LENGTH_NUMBER,  /* digits in the base of argument a (NONE: ten) and the byte behind them */
    LENGTH_PRINTED, /* output of the format at argument a and a NUL, argument b at most: for the handler only */
    LENGTH_ROOM,    /* unknown: what is logged at most */
};

enum { NONE = 0xff, EFFECTS = 5, ROOM_BYTES = 4096 };
enum { MAY_BE_NULL = 1, FOLD = 2, LIST = 4, WIDE = 8 };

struct effect {
    uint8_t op, at, flags;
    uint8_t length, a, b;
    uint16_t size; /* of characters, items; or the fixed length */
};

enum intrinsic_shape { SHAPE_CHECKED, SHAPE_AROUND, SHAPE_FATAL, SHAPE_ESCAPE };

struct intrinsic {
    const char *name;
    uint8_t shape;
    uint8_t kind;    /* of SHAPE_FATAL: enum core_fault_kind */
    const char *via; /* another function of libc that the handler runs, or NULL */
    void (*handler)(struct stem_call *call, const struct intrinsic *function);
    struct effect effect[EFFECTS];
};

/* Reports the first bad byte of a range, if any, and has a touch fault here and now where memory is missing, so that
   the fault is the caller's. May not return. Returns whether all was well. */
bool stem_intrinsic_touch(struct stem_call *call, const struct intrinsic *function, uintptr_t address,
                          size_t bytes, bool is_write);
/* Length in bytes of an effect at `address`. */
size_t stem_intrinsic_length(struct stem_call *call, const struct intrinsic *function,
                             const struct effect *effect, uintptr_t address);
/* Logs what a function may write there of which nobody knows how much it will be: `bytes`, fewer where memory ends. */
void stem_intrinsic_log_room(uintptr_t address, size_t bytes);
/* Calls the real function with the call's six integer arguments. A fault inside is nobody's. Results in other registers than
   rax (xmm0, st0) are left in them: nothing of ours touches those. */
uint64_t stem_intrinsic_real(struct stem_call *call);
/* The same for the function that stands in for it (`via`), with these arguments. */
uint64_t stem_intrinsic_via(struct stem_call *call, uint64_t a, uint64_t b, uint64_t c, uint64_t d,
                            uint64_t e, uint64_t f);
/* A descriptor is the result: an undo closes it. */
void stem_intrinsic_opened(const struct stem_call *call);
/* The first effect of this operation, or NULL. */
const struct effect *stem_intrinsic_effect(const struct intrinsic *function, enum effect_op op);
void stem_intrinsic_fault(struct stem_call *call, const struct intrinsic *function, bool is_write,
                          uintptr_t bad, size_t bytes);

/* ---- intrinsics_scan.c: how far a function reads. A bad byte ends the reading: it is included in the count. ---- */

size_t stem_scan_text(uintptr_t p, size_t limit); /* bytes, with the NUL if it is within the limit */
size_t stem_scan_wide(uintptr_t p, size_t limit); /* the same; limit in characters, result in bytes */
size_t stem_scan_find(uintptr_t p, uint8_t c, size_t limit, bool stop_at_nul);
size_t stem_scan_find_wide(uintptr_t p, uint32_t c, size_t limit, bool stop_at_nul); /* limit in characters */
/* To the first byte that is in the set (`outside`: is not), or the NUL, included. */
size_t stem_scan_set(uintptr_t p, uintptr_t set, bool outside);
size_t stem_scan_number(uintptr_t p, unsigned base);
size_t stem_scan_compare(uintptr_t a, uintptr_t b, size_t limit, unsigned size, bool text, bool fold);

/* Asks, of a range whose shadow is good, whether it begins inside a variable and leaves it: the first byte outside, or 0, and what
   kind of fault that is. NULL while no variables are known. */
extern uintptr_t (*stem_intrinsic_overrun)(const struct stem_call *call, enum core_fault_kind *kind,
                                           uintptr_t address, size_t bytes);
/* locals.c */
uintptr_t stem_variable_overrun(const struct stem_call *call, enum core_fault_kind *kind, uintptr_t address,
                                size_t bytes);

/* ---- intrinsics_fast.c ---- */

/* Where calls of this function, whose checked entry and real code are given, best go: to its short cut, if it has one.
   Translator lock held. */
uintptr_t stem_fast_entry(const char *name, uintptr_t long_way, uintptr_t real);

/* ---- intrinsics_format.c ---- */

/* The System V va_list, and what its first part points to. */
struct list {
    uint32_t general, vector; /* offsets into `saved` */
    const uint64_t *memory;
    const uint8_t *saved;
};
struct saved {
    uint64_t general[6], vector[16];
};
/* The values behind the format: in the caller's own list, or as the caller passed them, copied to `saved`. */
void stem_format_list(struct list *list, struct saved *saved, const struct stem_call *call,
                      const struct effect *format);
uint64_t stem_format_next(struct list *list);
/* A character of a format, narrow or wide. */
static inline uint32_t stem_format_peek(uintptr_t at, unsigned size)
{
    return size == 4 ? *(const uint32_t *)at : *(const uint8_t *)at;
}
/* h, H (hh), l, q (ll, j, z, t), L or 0: the length modifier at `*at`, which is moved behind it. */
char stem_format_modifier(uintptr_t *at, unsigned size);
unsigned stem_format_integer_bytes(char modifier);

/* Checks the strings that a printf call reads. */
void stem_format_check(struct stem_call *call, const struct intrinsic *function, const struct effect *format);

/* ---- handlers: intrinsics_around.c, _input.c, _print.c, _result.c, _socket.c, _text.c ---- */

/* All that the table names, some more than once. */
#define INTRINSIC(name, shape, ...) shape
#define CHECKED
#define ESCAPE
#define FATAL(kind)
#define AROUND(name)    void stem_around_##name(struct stem_call *call, const struct intrinsic *function);
#define VIA(name, real) AROUND(name)
#include "stem/intrinsics.def"
#undef INTRINSIC
#undef CHECKED
#undef ESCAPE
#undef FATAL
#undef AROUND
#undef VIA

#endif
