/* From application code into the translator and back: entered by the stubs of entry.S. Short, top to bottom: enter, find,
   translate, go on. */
#include "stem/engine.h"
#include "stem/sys.h"

uint64_t stem_dispatch_translate(uint32_t word);
void stem_dispatch_objects(void);
int stem_slow_indirect(struct stem_context *context);
int stem_slow_protect(struct stem_context *context);

enum { TRANSLATOR_STACK_BYTES = 256 << 10 };

static uint32_t lock_owner; /* generation of the process whose thread has it, or 0 */
static uint8_t *translator_stack;

/* ---- the lock ------------------------------------------------------------------------------------------------ */

/* One lock for everything that changes tables. All signals stay blocked while it is held, so that a handler which enters
   a function not yet translated cannot wait for the thread it interrupted. */
void stem_lock(uint64_t *saved_mask)
{
    uint64_t all = ~0ull;
    sys_call4(SYS_rt_sigprocmask, 0 /* SIG_BLOCK */, &all, saved_mask, 8);
    uint32_t self = stem_pages_generation();
    for (;;) {
        uint32_t owner = __atomic_load_n(&lock_owner, __ATOMIC_RELAXED);
        if (owner == self)
            owner = 0; /* taken by one of us; one that stayed behind in the parent loses it */
        if (__atomic_compare_exchange_n(&lock_owner, &owner, self, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
            break;
        sys_call4(SYS_futex, &lock_owner, 0x80 /* FUTEX_WAIT | PRIVATE */, owner, 0);
    }
    stem_thread.in_runtime++;
}

void stem_unlock(const uint64_t *saved_mask)
{
    stem_thread.in_runtime--;
    __atomic_store_n(&lock_owner, 0, __ATOMIC_RELEASE);
    sys_call3(SYS_futex, &lock_owner, 0x81 /* FUTEX_WAKE | PRIVATE */, 1);
    sys_call4(SYS_rt_sigprocmask, 2 /* SIG_SETMASK */, saved_mask, 0, 8);
}

/* A forked child is alone: whoever else held the lock is gone, and what he had not published is lost, not half done. */
void stem_lock_after_fork(void);
void stem_lock_after_fork(void)
{
    lock_owner = 0;
}

/* ---- translate on first call --------------------------------------------------------------------------------- */

struct request {
    struct stem_object *object;
    struct stem_function *function;
    enum stem_flavour flavour;
};

static uint64_t translate_one(void *argument)
{
    struct request *r = argument;
    struct stem_translation *t = stem_translate(r->object, r->function, r->flavour);
    return t ? (uint64_t)t->body : 0;
}

/* The way a call takes when the function stays native: the gate's copy of the displaced instructions. */
static uint64_t native_entry(const struct stem_function *f)
{
    return (uint64_t)f->gate_native;
}

void stem_dispatch_translate_all(struct stem_object *o, bool armed_only)
{
    if (!translator_stack)
        translator_stack = stem_pages_map(TRANSLATOR_STACK_BYTES);
    for (uint32_t i = 0; translator_stack && i < o->function_count; i++) {
        struct request r = {o, &o->functions[i], FLAVOUR_MONITOR};
        if (r.function->refusal || !stem_armed() ||
            (armed_only && stem_control->level[r.function->index] == WIRE_LEVEL_NATIVE))
            continue;
        uint64_t code = stem_on_stack(translate_one, &r, translator_stack + TRANSLATOR_STACK_BYTES);
        r.function->slot[FLAVOUR_MONITOR]->v = code ? code : native_entry(r.function);
    }
    stem_pages_drop_scratch();
    /* Where slices change, most functions are native at any time: the gate is the shorter way for these. */
    if (stem_control->config.default_level != WIRE_LEVEL_NATIVE)
        stem_patch_lead_on(o);
}

uint64_t stem_dispatch_translate(uint32_t word)
{
    struct request r = {.flavour = word & 1 ? FLAVOUR_PROTECT : FLAVOUR_MONITOR};
    uint64_t mask, code;
    r.function = stem_function_by_index(&r.object, word >> 1);
    if (stem_thread.in_runtime) /* the decoder called a library that is supervised itself */
        return native_entry(r.function);
    if (stem_confined) /* the lock may be our death */
        return native_entry(r.function);
    stem_lock(&mask);
    if (!translator_stack)
        translator_stack = stem_pages_map(TRANSLATOR_STACK_BYTES);
    /* Somebody else may have been first. */
    struct stem_translation *known = stem_translation_of(r.function->slot[r.flavour]->v);
    if (known)
        code = (uint64_t)known->body;
    else if (r.function->refusal || !translator_stack || !stem_armed())
        code = 0;
    else
        code = stem_on_stack(translate_one, &r, translator_stack + TRANSLATOR_STACK_BYTES);
    if (!code)
        code = native_entry(r.function);
    __atomic_store_n(&r.function->slot[r.flavour]->v, code, __ATOMIC_RELEASE);
    stem_unlock(&mask);
    return code;
}

/* ---- the loader has changed its list ---------------------------------------------------------------------------- */

void stem_dispatch_objects(void)
{
    uint64_t mask;
    if (!stem_armed())
        return;
    stem_lock(&mask);
    stem_objects_refresh();
    stem_unlock(&mask);
}

/* ---- an indirect jump to a place that its table does not know --------------------------------------------------- */

/* Targets in fragments are found here. Anything else goes on natively: registers are the application's own. */
int stem_slow_indirect(struct stem_context *context)
{
    const struct stem_site *site = stem_site_at(context->rip);
    const struct stem_translation *t = site ? site->translation : NULL;
    uint64_t target = stem_thread.slot[1];
    context->rip = target;
    if (t && target - t->object->base < 0xffffffffu) {
        uint32_t offset = (uint32_t)(target - t->object->base);
        for (uint32_t i = t->map_count; i-- > 0;)
            if (t->map[i].offset == offset && t->map[i].flags & MAP_INDIRECT_TARGET && !t->map[i].pending) {
                context->rip = (uint64_t)t->code + t->map[i].cache;
                return 1;
            }
    }
    stem_count(CORE_COUNTER_NATIVE_EXITS, 1);
    stem_undo_compensate(STEM_COMPENSATE_NATIVE, 0);
    return 1;
}

/* ---- a call through a pointer, where the whole dynamic extent is protected --------------------------------- */

/* Leaves in slot 5 where it goes: the protected translation of one of the program's own functions, or the target itself. The site's
   operand is the pointer's place, or with 0 bytes the register that holds it. */
int stem_slow_protect(struct stem_context *context)
{
    const struct stem_site *site = stem_site_at(context->rip);
    const struct stem_mem *m = &site->mem;
    uint64_t target = m->bytes ? 0 : context->reg[m->base];
    if (m->bytes && !stem_safe_read(&target, stem_effective_address(site, context)))
        target = 0; /* the call itself faults */
    struct stem_object *o = stem_object_of(target);
    struct stem_function *f = o && o->own ? stem_function_at(o, (uint32_t)(target - o->base)) : NULL;
    stem_thread.slot[5] = f && f->gate ? (uint64_t)f->gate_cached[FLAVOUR_PROTECT] : target;
    return 0;
}
