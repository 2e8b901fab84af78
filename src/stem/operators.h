/* Families of allocation functions: which one a block came from (operators.c). */
#ifndef STEM_OPERATORS_H
#define STEM_OPERATORS_H

#include "stem/stem.h"

enum stem_family { FAMILY_MALLOC, FAMILY_NEW, FAMILY_ARRAY, FAMILY_UNKNOWN };

/* Of a block, live or freed, of this size. FAMILY_UNKNOWN without shadow memory. */
enum stem_family stem_family_of(uintptr_t p, size_t bytes);
void stem_family_set(uintptr_t p, size_t bytes, enum stem_family family);
/* Whether the block is known to have come from another family. */
bool stem_family_differs(uintptr_t p, size_t bytes, enum stem_family family);

#endif
