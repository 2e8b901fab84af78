/* operator new and delete of C++, over the same blocks as malloc, and a check that a block is given back by the family it came from:
   malloc and free, new and delete, new[] and delete[].

   Which family that is stands in the shadow of the redzone right behind the block. A program that defines any of these operators
   itself gets libstdc++'s own versions of the others, which call the program's. */
#include "stem/engine.h"
#include "stem/heap_private.h"
#include "stem/intrinsics_private.h"
#include "stem/operators.h"

#define EXPORT  __attribute__((visibility("default")))
#define FRAME() ((uintptr_t *)__builtin_frame_address(0))

/* ---- families --------------------------------------------------------------------------------------------------------- */

/* The shadow byte behind a block of `bytes` bytes, or NULL: no shadow, or not the redzone of a block. */
static uint8_t *mark_of(uintptr_t p, size_t bytes)
{
    uint8_t *mark = stem_heap.armed && stem_shadow_base ? &stem_shadow_base[(p + bytes + 7) >> 3] : NULL;
    return mark && *mark >= STEM_POISON_REDZONE && *mark <= STEM_POISON_REDZONE_ARRAY ? mark : NULL;
}

enum stem_family stem_family_of(uintptr_t p, size_t bytes)
{
    const uint8_t *mark = mark_of(p, bytes);
    return mark ? (enum stem_family)(*mark - STEM_POISON_REDZONE) : FAMILY_UNKNOWN;
}

void stem_family_set(uintptr_t p, size_t bytes, enum stem_family family)
{
    uint8_t *mark = mark_of(p, bytes);
    if (mark && family != FAMILY_UNKNOWN)
        *mark = (uint8_t)(STEM_POISON_REDZONE + family);
}

bool stem_family_differs(uintptr_t p, size_t bytes, enum stem_family family)
{
    enum stem_family from = stem_family_of(p, bytes);
    return from != FAMILY_UNKNOWN && from != family;
}

/* ---- whose operators they are ------------------------------------------------------------------------------------------ */

/* Under these names they cannot be anybody else's. */
#define OWN(result, name, parameters)                                                                        \
    EXPORT result name parameters;                                                                           \
    result stem_own##name parameters __attribute__((alias(#name), visibility("hidden")));
OWN(void *, _Znwm, (size_t bytes))
OWN(void *, _Znam, (size_t bytes))
OWN(void, _ZdlPv, (void *p))
OWN(void, _ZdaPv, (void *p))
OWN(void, _ZdlPvm, (void *p, size_t bytes))
OWN(void, _ZdaPvm, (void *p, size_t bytes))

/* Whether every reference to them in this process is bound to us. Asked once: libraries that are loaded later come behind. */
static bool all_ours(void)
{
    static int known; /* 0: not yet, 1: ours, 2: somebody else's */
    static const struct {
        const char *name;
        uintptr_t own;
    } operators[] = {{"_Znwm", (uintptr_t)stem_own_Znwm},     {"_Znam", (uintptr_t)stem_own_Znam},
                     {"_ZdlPv", (uintptr_t)stem_own_ZdlPv},   {"_ZdaPv", (uintptr_t)stem_own_ZdaPv},
                     {"_ZdlPvm", (uintptr_t)stem_own_ZdlPvm}, {"_ZdaPvm", (uintptr_t)stem_own_ZdaPvm}};
    int now = __atomic_load_n(&known, __ATOMIC_RELAXED);
    if (now)
        return now == 1;
    now = 1;
    for (unsigned i = 0; i < sizeof operators / sizeof *operators; i++)
        if (stem_elf_find(operators[i].name) != operators[i].own)
            now = 2;
    __atomic_store_n(&known, now, __ATOMIC_RELAXED);
    return now == 1;
}

static uintptr_t real(const char *name)
{
    void *function = stem_library_symbol("libstdc++.so*", name);
    return (uintptr_t)(function ? function : stem_library_symbol("libc++.so*", name));
}

/* ---- exported ----------------------------------------------------------------------------------------------------------- */

/* NULL when there is no memory, or the program has operators of its own: the library's version then calls those, or the
   handler that was set for this, or throws. */
static void *obtain(size_t bytes, size_t align, enum stem_family family, uintptr_t *frame)
{
    struct heap_caller caller = {frame[1], (uintptr_t)(frame + 2), frame[0]};
    void *p = all_ours() && !(align & (align - 1))
                  ? stem_heap_malloc_at(bytes, align < 16 ? 16 : align, false, &caller)
                  : NULL;
    if (p)
        stem_family_set((uintptr_t)p, bytes, family);
    return p;
}

static bool give_back(void *p, enum stem_family family, uintptr_t *frame)
{
    struct heap_caller caller = {frame[1], (uintptr_t)(frame + 2), frame[0]};
    size_t bytes;
    if (!all_ours())
        return false;
    if (!p)
        return true;
    if (stem_heap_look(&bytes, (uintptr_t)p) == HEAP_GIVEN &&
        stem_family_differs((uintptr_t)p, bytes, family))
        stem_fault_free(CORE_FAULT_MISMATCHED_FREE, (uintptr_t)p, frame[1], (uintptr_t)(frame + 1));
    enum heap_verdict verdict = stem_heap_free_at((uintptr_t)p, &caller);
    enum core_fault_kind kind = verdict == HEAP_GIVEN
                                    ? CORE_FAULT_NONE
                                    : stem_heap_judge(verdict, (uintptr_t)p, (uintptr_t)(frame + 1));
    if (kind != CORE_FAULT_NONE)
        stem_fault_free(kind, (uintptr_t)p, frame[1], (uintptr_t)(frame + 1));
    return true;
}

#define NEW(name, family, align, parameters, types, ...)                                                     \
    EXPORT void *name parameters;                                                                            \
    void *name parameters                                                                                    \
    {                                                                                                        \
        void *p = obtain(bytes, align, family, FRAME());                                                     \
        return p ? p : ((void *(*)types)real(#name))(__VA_ARGS__);                                           \
    }
#define DELETE(name, family, parameters, types, ...)                                                         \
    EXPORT void name parameters;                                                                             \
    void name parameters                                                                                     \
    {                                                                                                        \
        if (!give_back(p, family, FRAME()))                                                                  \
            ((void(*) types)real(#name))(__VA_ARGS__);                                                       \
    }

/* St11align_val_t is a size, RKSt9nothrow_t an address that nobody looks at. */
#define NEWS(letters, family)                                                                                \
    NEW(_Zn##letters##m, family, 16, (size_t bytes), (size_t), bytes)                                        \
    NEW(_Zn##letters##mRKSt9nothrow_t, family, 16, (size_t bytes, const void *tag), (size_t, const void *),  \
        bytes, tag)                                                                                          \
    NEW(_Zn##letters##mSt11align_val_t, family, align, (size_t bytes, size_t align), (size_t, size_t),       \
        bytes, align)                                                                                        \
    NEW(_Zn##letters##mSt11align_val_tRKSt9nothrow_t, family, align,                                         \
        (size_t bytes, size_t align, const void *tag), (size_t, size_t, const void *), bytes, align, tag)
#define DELETES(letters, family)                                                                             \
    DELETE(_Zd##letters##Pv, family, (void *p), (void *), p)                                                 \
    DELETE(_Zd##letters##Pvm, family, (void *p, size_t bytes), (void *, size_t), p, bytes)                   \
    DELETE(_Zd##letters##PvRKSt9nothrow_t, family, (void *p, const void *tag), (void *, const void *), p,    \
           tag)                                                                                              \
    DELETE(_Zd##letters##PvSt11align_val_t, family, (void *p, size_t align), (void *, size_t), p, align)     \
    DELETE(_Zd##letters##PvmSt11align_val_t, family, (void *p, size_t bytes, size_t align),                  \
           (void *, size_t, size_t), p, bytes, align)                                                        \
    DELETE(_Zd##letters##PvSt11align_val_tRKSt9nothrow_t, family, (void *p, size_t align, const void *tag),  \
           (void *, size_t, const void *), p, align, tag)

NEWS(w, FAMILY_NEW)
NEWS(a, FAMILY_ARRAY)
DELETES(l, FAMILY_NEW)
DELETES(a, FAMILY_ARRAY)

/* ---- called by supervised code -------------------------------------------------------------------------------------------- */

void stem_around_new(struct stem_call *call, const struct intrinsic *function)
{
    bool is_aligned = function->name[5] == 'S'; /* _ZnwmSt11align_val_t, with or without more */
    struct heap_caller caller = {call->return_pc, (uintptr_t)call->stack_args, call->rbp};
    size_t bytes = call->arg[0], align = is_aligned ? call->arg[1] : 16;
    void *p = all_ours() && align && !(align & (align - 1))
                  ? stem_heap_malloc_at(bytes, align < 16 ? 16 : align, false, &caller)
                  : NULL;
    if (!p) {
        call->rax = stem_intrinsic_real(call);
        return;
    }
    stem_family_set((uintptr_t)p, bytes, function->name[3] == 'a' ? FAMILY_ARRAY : FAMILY_NEW);
    stem_undo_compensate(STEM_COMPENSATE_MALLOC, (uintptr_t)p);
    call->rax = (uint64_t)p;
}

void stem_around_delete(struct stem_call *call, const struct intrinsic *function)
{
    struct heap_caller caller = {call->return_pc, (uintptr_t)call->stack_args, call->rbp};
    enum stem_family family = function->name[3] == 'a' ? FAMILY_ARRAY : FAMILY_NEW;
    uintptr_t p = call->arg[0];
    size_t bytes;
    if (!all_ours()) {
        stem_intrinsic_real(call);
        return;
    }
    if (!p)
        return;
    enum heap_verdict verdict = stem_heap_look(&bytes, p);
    if (verdict != HEAP_GIVEN) {
        enum core_fault_kind kind = stem_heap_judge(verdict, p, (uintptr_t)&call->return_pc);
        if (kind != CORE_FAULT_NONE)
            stem_fault_call(call, kind, false, p, 0, function->name);
        return;
    }
    if (stem_family_differs(p, bytes, family))
        stem_fault_call(call, CORE_FAULT_MISMATCHED_FREE, false, p, 0, function->name);
    if (stem_heap_free_at(p, &caller) == HEAP_GIVEN)
        stem_undo_compensate(STEM_COMPENSATE_FREE, p);
}
