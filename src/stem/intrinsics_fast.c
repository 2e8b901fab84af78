/* Which functions have a short cut (intrinsic_fast.S), and what the short cuts need to know. */
#include "stem/engine.h"
#include "stem/heap_private.h"
#include "stem/intrinsics_private.h"

/* intrinsic_fast.S reaches these at fixed places. */
_Static_assert(offsetof(struct stem_thread, ring) == 64 && offsetof(struct stem_thread, ring_base) == 72,
               "intrinsic_fast.S: THREAD_RING, THREAD_RING_BASE");

/* and their codes in the log: */
_Static_assert(STEM_COMPENSATE_EFFECT == 5 && STEM_COMPENSATE_LOCK == 3,
               "intrinsic_fast.S: EFFECT, FAST_LOCK");

_Static_assert(offsetof(struct stem_site, string_op) == 28 &&
                   offsetof(struct stem_site, string_bytes) == 29 &&
                   offsetof(struct stem_site, string_rep) == 30 && sizeof(struct stem_site) == 32,
               "string_fast.S: SITE_...");

uint8_t stem_fast_logs; /* stores are logged */

/* For each: its code, and where that leads. */
#define SHORT_CUT(name, when)                                                                                \
    extern uint8_t stem_fast_##name[];                                                                       \
    uintptr_t stem_fast_long_##name, stem_fast_real_##name;
#include "stem/intrinsics_fast.def"
#undef SHORT_CUT

static const struct {
    const char *name;
    enum { SHADOW, HEAP, EFFECT } when;
    const uint8_t *code;
    uintptr_t *long_way, *real;
} functions[] = {
#define SHORT_CUT(name, when) {#name, when, stem_fast_##name, &stem_fast_long_##name, &stem_fast_real_##name},
#include "stem/intrinsics_fast.def"
};

static bool equal(const char *a, const char *b)
{
    while (*a && *a == *b)
        a++, b++;
    return *a == *b;
}

uintptr_t stem_fast_entry(const char *name, uintptr_t long_way, uintptr_t real)
{
    const struct wire_config *config = &stem_control->config;
    /* The short cuts look at shadow memory. */
    if (!stem_shadow_base || config->knobs & 1u << CORE_KNOB_NO_SHORT_CUTS)
        return long_way;
    for (unsigned i = 0; i < sizeof functions / sizeof *functions; i++) {
        if (!equal(functions[i].name, name))
            continue;
        if (functions[i].when == HEAP && config->heap_stacks &&
            !(config->knobs & 1u << CORE_KNOB_NO_HEAP_STACKS))
            return long_way;
        *functions[i].long_way = long_way;
        *functions[i].real = real;
        stem_fast_logs = config->mode == WIRE_MODE_FULL;
        return (uintptr_t)functions[i].code;
    }
    return long_way;
}

/* ---- heap: 0 or NULL where the long way must be gone ---- */

void *stem_fast_take(size_t bytes);
void *stem_fast_take_clear(size_t count, size_t bytes);
void *stem_fast_resize(uintptr_t old, size_t bytes);
uint64_t stem_fast_give(uintptr_t p);

static inline void *taken(void *p)
{
    if (p && stem_fast_logs)
        stem_undo_compensate(STEM_COMPENSATE_MALLOC, (uintptr_t)p);
    return p;
}

void *stem_fast_take(size_t bytes)
{
    return taken(stem_heap_quick_take(bytes, false));
}

void *stem_fast_take_clear(size_t count, size_t bytes)
{
    size_t all;
    return __builtin_mul_overflow(count, bytes, &all) ? NULL : taken(stem_heap_quick_take(all, true));
}

void *stem_fast_resize(uintptr_t old, size_t bytes)
{
    if (!old)
        return stem_fast_take(bytes);
    bool gone;
    void *p = stem_heap_quick_resize(&gone, old, bytes);
    if (p && gone && stem_fast_logs) {
        stem_undo_compensate(STEM_COMPENSATE_MALLOC, (uintptr_t)p);
        stem_undo_compensate(STEM_COMPENSATE_FREE, old);
    }
    return p;
}

uint64_t stem_fast_give(uintptr_t p)
{
    if (p && !stem_heap_quick_give(p))
        return 0;
    if (p && stem_fast_logs)
        stem_undo_compensate(STEM_COMPENSATE_FREE, p);
    return 1;
}
