/* Functions of the application that are caught where they arrive: what hooks.c offers to the rest of the folder. */
#ifndef STEM_HOOKS_H
#define STEM_HOOKS_H

#include "stem/engine.h"

enum { HOOKS_MAX = 192 };

struct hook {
    const uint8_t *target; /* the gate */
    /* Called in front of the function. Returns whether the result stands in call->rax; otherwise the function is to run
       in its caller's place, with the arguments as they are in the call then. */
    bool (*enter)(struct stem_call *call, const struct hook *hook);
    const char *name;
    uint8_t role, pool, size; /* pools.c: enum wire_allocator_role, arguments */
    bool takes;               /* a pool and a size, in this order, and no stack is kept: the shorter way in */
};

/* The function of this name that the object exports, or NULL. */
struct stem_function *stem_hook_find(struct stem_object *o, const char *name);
/* Hooks a patched function: a stub in front of its gate, which every call passes, from native code too. Its code is still
   writable; translator lock held. `hook->target` is filled in. Returns false when there is no room. */
bool stem_hook_add(struct stem_object *o, struct stem_function *f, const struct hook *hook);
/* How many more can be added. */
unsigned stem_hook_room(void);
/* From the stub. */
int stem_hook_enter(struct stem_call *call);
extern uint8_t stem_hook_common[], stem_hook_take[]; /* hook_entry.S */
extern struct hook stem_hooks[HOOKS_MAX];

#endif
