/* The text form of pool allocators that a user declares (docs/allocators.md). */
#ifndef WIRE_ALLOCATORS_H
#define WIRE_ALLOCATORS_H

#include "wire/control.h"

/* Reads declarations. Returns how many functions they name, or -1 with `*line` and `*why`. Out: `allocators`, room for
   WIRE_ALLOCATORS_MAX. In: `text`, NUL-terminated. */
int wire_allocators_read(struct wire_allocator *allocators, unsigned *line, const char **why,
                         const char *text);

#endif
