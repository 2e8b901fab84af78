/* How far string functions read, never reading further themselves. Every byte is asked of the shadow before it is read;
   a bad one counts as read, so that the check of the whole range finds it. */
#include "stem/intrinsics_private.h"

#define ONES  0x0101010101010101ull
#define HIGHS 0x8080808080808080ull

static inline bool is_bad(uintptr_t p)
{
    const uint8_t *shadow = stem_shadow_base;
    if (!shadow || p >= 0x800000000000ull)
        return false; /* the read itself will fault */
    if (stem_shadow_is_own(p))
        return true;
    uint8_t state = shadow[p >> 3];
    return state && (state >= 8 || (p & 7) >= state);
}

static inline bool is_open(uintptr_t granule)
{
    return !stem_shadow_base ||
           (granule < 0x800000000000ull && !stem_shadow_is_own(granule) && !stem_shadow_base[granule >> 3]);
}

static inline bool has_zero(uint64_t word)
{
    return (word - ONES) & ~word & HIGHS;
}

/* Whole aligned words where the shadow is open: a word never crosses a page, nor a granule. */
size_t stem_scan_find(uintptr_t p, uint8_t c, size_t limit, bool stop_at_nul)
{
    uint64_t pattern = c * ONES;
    size_t n = 0;
    while (n < limit) {
        if (!((p + n) & 7)) {
            while (limit - n >= 8 && is_open(p + n)) {
                uint64_t word = *(const volatile uint64_t *)(p + n);
                if (has_zero(word ^ pattern) || (stop_at_nul && has_zero(word)))
                    break;
                n += 8;
            }
            if (n >= limit)
                break;
        }
        size_t end = n + 8 - ((p + n) & 7);
        for (; n < end && n < limit; n++) {
            if (is_bad(p + n))
                return n + 1;
            uint8_t byte = *(const volatile uint8_t *)(p + n);
            if (byte == c || (stop_at_nul && !byte))
                return n + 1;
        }
    }
    return limit;
}

size_t stem_scan_text(uintptr_t p, size_t limit)
{
    return stem_scan_find(p, 0, limit, false);
}

size_t stem_scan_wide(uintptr_t p, size_t limit)
{
    return stem_scan_find_wide(p, 0, limit, false);
}

size_t stem_scan_find_wide(uintptr_t p, uint32_t c, size_t limit, bool stop_at_nul)
{
    for (size_t n = 0; n < limit; n++) {
        uintptr_t at = p + 4 * n;
        if (is_bad(at) || is_bad(at + 3))
            return 4 * (n + 1);
        uint32_t here = *(const volatile uint32_t *)at;
        if (here == c || (stop_at_nul && !here))
            return 4 * (n + 1);
    }
    return limit <= SIZE_MAX / 4 ? 4 * limit : SIZE_MAX;
}

size_t stem_scan_set(uintptr_t p, uintptr_t set, bool outside)
{
    uint64_t member[4] = {0};
    for (; !is_bad(set) && *(const volatile uint8_t *)set; set++) {
        uint8_t c = *(const volatile uint8_t *)set;
        member[c >> 6] |= 1ull << (c & 63);
    }
    for (size_t n = 0;; n++) {
        if (is_bad(p + n))
            return n + 1;
        uint8_t c = *(const volatile uint8_t *)(p + n);
        if (!c || (member[c >> 6] >> (c & 63) & 1) != outside)
            return n + 1;
    }
}

static unsigned digit_value(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'z' ? c - 'a' + 10 : 99;
}

/* White space, a sign, a prefix, digits: the byte that ends them is read as well. */
size_t stem_scan_number(uintptr_t p, unsigned base)
{
    enum { SPACE, SIGN, DIGITS } part = SPACE;
    size_t digits = 0;
    for (size_t n = 0;; n++) {
        if (is_bad(p + n))
            return n + 1;
        uint8_t c = *(const volatile uint8_t *)(p + n);
        if (part == SPACE && (c == ' ' || (c >= '\t' && c <= '\r')))
            continue;
        if (part == SPACE && (c == '+' || c == '-')) {
            part = SIGN;
            continue;
        }
        part = DIGITS;
        bool prefix = digits == 1 && (c | 0x20) == 'x' && (base == 0 || base == 16);
        if (!prefix && digit_value(c) >= (base ? base : 16))
            return n + 1;
        digits++;
    }
}

static uint32_t fold_case(uint32_t c)
{
    return c >= 'A' && c <= 'Z' ? c | 0x20 : c;
}

size_t stem_scan_compare(uintptr_t a, uintptr_t b, size_t limit, unsigned size, bool text, bool fold)
{
    for (size_t n = 0; n < limit; n++) {
        uintptr_t p = a + n * size, q = b + n * size;
        if (is_bad(p) || is_bad(q) || is_bad(p + size - 1) || is_bad(q + size - 1))
            return (n + 1) * size;
        uint32_t x = size == 4 ? *(const volatile uint32_t *)p : *(const volatile uint8_t *)p;
        uint32_t y = size == 4 ? *(const volatile uint32_t *)q : *(const volatile uint8_t *)q;
        if (fold)
            x = fold_case(x), y = fold_case(y);
        if (x != y || (text && !x))
            return (n + 1) * size;
    }
    return limit * size;
}
