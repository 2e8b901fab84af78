/* Hooks: functions of the application whose calls are looked at where they arrive, in front of the function's gate, so that none is
   missed: from native and from translated code, direct, through a PLT or a pointer. */
#include "stem/hooks.h"
#include "stem/emit.h"

struct hook stem_hooks[HOOKS_MAX];
_Static_assert(sizeof(struct hook) == 32 && offsetof(struct hook, target) == 0, "as hook_entry.S has it");
static uint32_t hook_count;

struct stem_function *stem_hook_find(struct stem_object *o, const char *name)
{
    uintptr_t address = stem_object_symbol(o, name);
    return address ? stem_function_at(o, (uint32_t)(address - o->base)) : NULL;
}

unsigned stem_hook_room(void)
{
    return HOOKS_MAX - hook_count;
}

bool stem_hook_add(struct stem_object *o, struct stem_function *f, const struct hook *hook)
{
    enum { STUB_BYTES = 32 };
    if (hook_count == HOOKS_MAX || (size_t)(o->region_end - o->next) < STUB_BYTES)
        return false;
    o->next = (uint8_t *)(((uintptr_t)o->next + 15) & ~15ul);
    stem_cursor p = o->next, stub = p;
    uint64_t common = (uint64_t)(hook->takes ? stem_hook_take : stem_hook_common);
    stem_hooks[hook_count] = *hook;
    stem_hooks[hook_count].target = f->gate;
    stem_emit_byte(&p, 0x68); /* push number */
    stem_emit_u32(&p, hook_count++);
    stem_emit_bytes(&p, "\xff\x25\x00\x00\x00\x00", 6); /* jmp [rip] */
    stem_emit_bytes(&p, &common, sizeof common);
    o->next = p;
    /* The patch's jump leads to the gate: now to the stub. */
    uint8_t *entry_code = (uint8_t *)(o->base + f->offset),
            *jump = entry_code - (f->patched_bytes == 2 ? 5 : 0);
    stem_emit_jump(&jump, stub);
    f->door = stub;
    f->hooked = true;
    return true;
}

int stem_hook_enter(struct stem_call *call)
{
    const struct hook *hook = &stem_hooks[call->index];
    call->target = (uint64_t)hook->target;
    return hook->enter(call, hook);
}
