/* The one helper that needs floating point: kept apart because the injected runtime is built without it. */
#include "core/core.h"

double core_rng_unit(struct core_rng *rng)
{
    return (double)(core_rng_next(rng) >> 11) * 0x1p-53;
}
