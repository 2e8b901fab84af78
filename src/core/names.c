/* Names of the enumerations that the .def tables declare. */
#include "core/core.h"

static const char *const fault_names[] = {
#define FAULT(id, name, meaning) name,
#include "core/faults.def"
#undef FAULT
};
static const char *const detector_names[] = {
#define DETECTOR(id, name) name,
#include "core/detectors.def"
#undef DETECTOR
};
static const char *const outcome_names[] = {
#define OUTCOME(id, name) name,
#include "core/outcomes.def"
#undef OUTCOME
};
static const char *const refusal_names[] = {
#define REFUSAL(id, name, meaning) name,
#include "core/refusals.def"
#undef REFUSAL
};
static const char *const counter_names[] = {
#define COUNTER(id, name, unit, meaning) name,
#include "core/counters.def"
#undef COUNTER
};

static const char *const knob_names[] = {
#define KNOB(id, name, meaning) name,
#include "core/knobs.def"
#undef KNOB
};

static const char *name_at(const char *const *names, unsigned count, unsigned index)
{
    return index < count ? names[index] : "unknown";
}

const char *core_fault_name(unsigned kind)
{
    return name_at(fault_names, CORE_FAULT_COUNT, kind);
}

const char *core_detector_name(unsigned detector)
{
    return name_at(detector_names, CORE_DETECTOR_COUNT, detector);
}

const char *core_outcome_name(unsigned outcome)
{
    return name_at(outcome_names, CORE_OUTCOME_COUNT, outcome);
}

const char *core_refusal_name(unsigned refusal)
{
    return name_at(refusal_names, CORE_REFUSAL_COUNT, refusal);
}

const char *core_counter_name(unsigned counter)
{
    return name_at(counter_names, CORE_COUNTER_COUNT, counter);
}

const char *core_knob_name(unsigned knob)
{
    return name_at(knob_names, CORE_KNOB_COUNT, knob);
}

enum core_fault_kind core_fault_from_name(const char *name)
{
    for (unsigned kind = 0; kind < CORE_FAULT_COUNT; kind++) {
        const char *a = fault_names[kind], *b = name;
        while (*a && *a == *b)
            a++, b++;
        if (*a == *b)
            return (enum core_fault_kind)kind;
    }
    return CORE_FAULT_NONE;
}
