/* Assertions of the application's own: what panics.c offers to the rest of the folder. */
#ifndef STEM_PANICS_H
#define STEM_PANICS_H

#include "stem/engine.h"

/* Hooks the object's functions of this kind. Its entries are patched and its code is still writable; translator lock held. */
void stem_panics_hook(struct stem_object *object);

#endif
