/* Functions by which programs end themselves when they find something wrong: their own assertions and panics. What they do before the
   end (reports, tests of all memory) comes too late to undo what led there, so the fault is raised at the call, and
   is the caller's. */
#include "stem/panics.h"
#include "stem/hooks.h"

static const char *const names[] = {
#define PANIC(function) function,
#include "core/panics.def"
};

static bool enter(struct stem_call *call, const struct hook *hook)
{
    /* A caller that is not supervised could not be undone: its abort is seen when it comes. */
    if (!stem_armed() || !stem_translation_of(call->return_pc - 1))
        return false;
    stem_thread.tail_site = 0; /* it was called from where it says */
    stem_fault_fatal(call, CORE_FAULT_ASSERTION, hook->name);
    return false;
}

void stem_panics_hook(struct stem_object *o)
{
    if (!o->symbols)
        return;
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
        struct stem_function *f = stem_hook_find(o, names[i]);
        if (f && f->patched_bytes && !f->hooked)
            stem_hook_add(o, f, &(struct hook){.enter = enter, .name = names[i]});
    }
}
