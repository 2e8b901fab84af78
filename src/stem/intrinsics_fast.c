/* Which functions have a short cut (intrinsic_fast.S), and what the short cuts need to know. */
#include "stem/engine.h"
#include "stem/intrinsics_private.h"

/* intrinsic_fast.S reaches these at fixed places. */
_Static_assert(offsetof(struct stem_thread, ring) == 64 && offsetof(struct stem_thread, ring_base) == 72,
               "intrinsic_fast.S: THREAD_RING, THREAD_RING_BASE");

uint8_t stem_fast_logs; /* stores are logged */

/* For each: its code, and where that leads. */
#define SHORT_CUT(name)                                                                                      \
    extern uint8_t stem_fast_##name[];                                                                       \
    uintptr_t stem_fast_long_##name, stem_fast_real_##name;
#include "stem/intrinsics_fast.def"
#undef SHORT_CUT

static const struct {
    const char *name;
    const uint8_t *code;
    uintptr_t *long_way, *real;
} functions[] = {
#define SHORT_CUT(name) {#name, stem_fast_##name, &stem_fast_long_##name, &stem_fast_real_##name},
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
        *functions[i].long_way = long_way;
        *functions[i].real = real;
        stem_fast_logs = config->mode == WIRE_MODE_FULL;
        return (uintptr_t)functions[i].code;
    }
    return long_way;
}
