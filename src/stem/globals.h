/* Variables of the program's objects, by the sizes in their symbol tables (globals.c). */
#ifndef STEM_GLOBALS_H
#define STEM_GLOBALS_H

#include "stem/engine.h"

/* Reads the variables of an object of the program itself, and poisons the padding between them where the table is known to
   be whole: says whether. Translator lock held. Does nothing without shadow memory. */
bool stem_globals_add(const struct stem_object *object);
/* The variable that the address lies in, [low, high), with all that overlap it. False in padding, and where a label without size
   begins: it may begin anything. Signal-safe. */
bool stem_global_span(uintptr_t *low, uintptr_t *high, uintptr_t address);
/* The object is unmapped: what lies there next is good memory. */
void stem_globals_forget(const struct stem_object *object);

#endif
