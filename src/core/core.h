/* core: the freestanding ground floor. Types, tables and pure helpers that the injected runtime and the
   hosted programs share. Nothing here calls libc, allocates or keeps state.

   An address of the application's own code and an address in the code cache are different types, so that
   the compiler refuses to mix them. */
#ifndef CORE_CORE_H
#define CORE_CORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Address of an instruction as the application knows it. */
typedef struct {
    uintptr_t v;
} core_app_pc;

/* Address of translated code. */
typedef struct {
    uintptr_t v;
} core_cache_pc;

enum core_fault_kind {
#define FAULT(id, name, meaning) CORE_FAULT_##id,
#include "core/faults.def"
#undef FAULT
    CORE_FAULT_COUNT
};

enum core_detector {
#define DETECTOR(id, name) CORE_DETECTOR_##id,
#include "core/detectors.def"
#undef DETECTOR
    CORE_DETECTOR_COUNT
};

enum core_outcome {
#define OUTCOME(id, name) CORE_OUTCOME_##id,
#include "core/outcomes.def"
#undef OUTCOME
    CORE_OUTCOME_COUNT
};

enum core_refusal {
#define REFUSAL(id, name, meaning) CORE_REFUSAL_##id,
#include "core/refusals.def"
#undef REFUSAL
    CORE_REFUSAL_COUNT
};

enum core_counter {
#define COUNTER(id, name, unit, meaning) CORE_COUNTER_##id,
#include "core/counters.def"
#undef COUNTER
    CORE_COUNTER_COUNT
};

enum core_knob {
#define KNOB(id, name, meaning) CORE_KNOB_##id,
#include "core/knobs.def"
#undef KNOB
    CORE_KNOB_COUNT
};

/* Names for reports; an index out of range answers "unknown". */
const char *core_fault_name(unsigned kind);
const char *core_detector_name(unsigned detector);
const char *core_outcome_name(unsigned outcome);
const char *core_refusal_name(unsigned refusal);
const char *core_counter_name(unsigned counter);
const char *core_knob_name(unsigned knob);

/* Finds a fault kind by its name. Returns CORE_FAULT_NONE when there is none. */
enum core_fault_kind core_fault_from_name(const char *name);

/* Shell-like pattern match: `*` any run, `?` any one character, everything else itself.
   Returns whether the whole of `text` matches. In: two C strings. Context: any, signal-safe. */
bool core_glob(const char *pattern, const char *text);

/* 64-bit FNV-1a hash of `bytes` bytes, continued from `seed` (CORE_HASH_SEED to start). */
#define CORE_HASH_SEED 0xcbf29ce484222325ull
uint64_t core_hash(uint64_t seed, const void *data, size_t bytes);

/* Seeded pseudo-random generator (xoshiro256**); the same seed gives the same sequence everywhere.
   Every random decision of the model and the simulator comes from one of these. */
struct core_rng {
    uint64_t s[4];
};
void core_rng_seed(struct core_rng *rng, uint64_t seed);
uint64_t core_rng_next(struct core_rng *rng);
/* Uniform in [0, 1). */
double core_rng_unit(struct core_rng *rng);
/* Uniform in [0, bound); bound > 0; no modulo bias. */
uint64_t core_rng_below(struct core_rng *rng, uint64_t bound);

#endif
