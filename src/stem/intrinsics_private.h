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
    OP_EFFECT
};

enum effect_length {
    LENGTH_BYTES,   /* argument a * size */
    LENGTH_FIXED,   /* size */
    LENGTH_PRODUCT, /* argument a * argument b */
    LENGTH_TEXT,    /* characters of `size` bytes to the NUL, argument a of them at most (NONE: no limit) */
    LENGTH_ENDLESS, /* until found */
    LENGTH_COPY,    /* the string at argument a, cut to argument b, and its NUL */
    LENGTH_NUMBER,  /* digits in the base of argument a (NONE: ten) and the byte behind them */
    LENGTH_PRINTED, /* output of the format at argument a and a NUL, argument b at most */
};

enum { NONE = 0xff, EFFECTS = 4 };
enum { MAY_BE_NULL = 1, FOLD = 2, LIST = 4 };

struct effect {
    uint8_t op, at, flags;
    uint8_t length, a, b, size; /* of characters, items; or the fixed length */
};

enum intrinsic_shape { SHAPE_CHECKED, SHAPE_AROUND, SHAPE_FATAL, SHAPE_ESCAPE };

struct intrinsic {
    const char *name;
    uint8_t shape;
    uint8_t kind; /* of SHAPE_FATAL: enum core_fault_kind */
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
/* Calls the real function with the call's six integer arguments. A fault inside is nobody's. */
uint64_t stem_intrinsic_real(struct stem_call *call);
void stem_intrinsic_fault(struct stem_call *call, const struct intrinsic *function, bool is_write,
                          uintptr_t bad, size_t bytes);

/* ---- intrinsics_scan.c: how far a function reads. A bad byte ends the reading: it is included in the count. ---- */

size_t stem_scan_text(uintptr_t p, size_t limit); /* bytes, with the NUL if it is within the limit */
size_t stem_scan_wide(uintptr_t p, size_t limit); /* the same; limit in characters, result in bytes */
size_t stem_scan_find(uintptr_t p, uint8_t c, size_t limit, bool stop_at_nul);
size_t stem_scan_number(uintptr_t p, unsigned base);
size_t stem_scan_compare(uintptr_t a, uintptr_t b, size_t limit, unsigned size, bool text, bool fold);

/* ---- intrinsics_fast.c ---- */

/* Where calls of this function, whose checked entry and real code are given, best go: to its short cut, if it has one.
   Translator lock held. */
uintptr_t stem_fast_entry(const char *name, uintptr_t long_way, uintptr_t real);

/* ---- intrinsics_format.c ---- */

/* Checks the strings that a printf call reads. `list`: the values are in a va_list behind the format. */
void stem_format_check(struct stem_call *call, const struct intrinsic *function, unsigned format_at,
                       bool list);
/* Bytes that it would print without a NUL; -1 when that cannot be told without doing it. */
long stem_format_length(struct stem_call *call, unsigned format_at, bool list);

/* ---- intrinsics_around.c ---- */

#define AROUND_HANDLERS(X)                                                                                   \
    X(malloc)                                                                                                \
    X(calloc)                                                                                                \
    X(realloc)                                                                                               \
    X(reallocarray)                                                                                          \
    X(free)                                                                                                  \
    X(memalign)                                                                                              \
    X(posix_memalign)                                                                                        \
    X(memrchr)                                                                                               \
    X(memccpy)                                                                                               \
    X(strstr)                                                                                                \
    X(strstr_set)                                                                                            \
    X(span)                                                                                                  \
    X(duplicate)                                                                                             \
    X(text_result)                                                                                           \
    X(items_result) X(count_result) X(getline) X(readv) X(writev) X(descriptor) X(pipe) X(strftime) X(lock)
#define DECLARE(name) void stem_around_##name(struct stem_call *call, const struct intrinsic *function);
AROUND_HANDLERS(DECLARE)
#undef DECLARE

#endif
