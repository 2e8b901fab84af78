/* Library functions that are run from here because of what an undo must give back: memory, descriptors, locks. */
#include "stem/engine.h"
#include "stem/heap_private.h"
#include "stem/intrinsics_private.h"
#include "stem/operators.h"

#define AROUND(name) void stem_around_##name(struct stem_call *call, const struct intrinsic *function)

enum { NO_MEMORY = 12, INVALID = 22 }; /* ENOMEM, EINVAL */
int *__errno_location(void);

/* ---- heap ---- */

static struct heap_caller caller_of(const struct stem_call *call)
{
    return (struct heap_caller){call->return_pc, (uintptr_t)call->stack_args, call->rbp};
}

static uint64_t obtained(void *p)
{
    if (p)
        stem_undo_compensate(STEM_COMPENSATE_MALLOC, (uintptr_t)p);
    else
        *__errno_location() = NO_MEMORY;
    return (uint64_t)p;
}

static uint64_t obtain(struct stem_call *call, size_t bytes, size_t align, bool clear)
{
    struct heap_caller caller = caller_of(call);
    return obtained(stem_heap_malloc_at(bytes, align, clear, &caller));
}

static uint64_t obtain_growing(struct stem_call *call, size_t bytes)
{
    struct heap_caller caller = caller_of(call);
    void *p = bytes <= PTRDIFF_MAX ? (void *)stem_heap_take_growing(bytes) : NULL;
    if (p)
        stem_heap_record((uintptr_t)p, 0, caller.pc, caller.sp, caller.rbp);
    return obtained(p);
}

/* Returns whether `p` is a live block; reports it otherwise. */
static bool may_give(struct stem_call *call, const struct intrinsic *function, uintptr_t p, size_t *bytes)
{
    enum heap_verdict verdict = stem_heap_look(bytes, p);
    if (verdict == HEAP_GIVEN && stem_family_differs(p, *bytes, FAMILY_MALLOC))
        stem_fault_call(call, CORE_FAULT_MISMATCHED_FREE, false, p, 0, function->name);
    if (verdict == HEAP_GIVEN)
        return true;
    enum core_fault_kind kind = stem_heap_judge(verdict, p, (uintptr_t)&call->return_pc);
    if (kind != CORE_FAULT_NONE)
        stem_fault_call(call, kind, false, p, 0, function->name);
    return false;
}

static void give(struct stem_call *call, uintptr_t p)
{
    struct heap_caller caller = caller_of(call);
    if (stem_heap_free_at(p, &caller) == HEAP_GIVEN)
        stem_undo_compensate(STEM_COMPENSATE_FREE, p);
}

AROUND(malloc)
{
    (void)function;
    call->rax = obtain(call, call->arg[0], 16, false);
}

AROUND(calloc)
{
    (void)function;
    size_t bytes;
    if (__builtin_mul_overflow(call->arg[0], call->arg[1], &bytes))
        bytes = SIZE_MAX;
    call->rax = obtain(call, bytes, 16, true);
}

AROUND(free)
{
    size_t bytes;
    uintptr_t p = call->arg[0];
    if (p && may_give(call, function, p, &bytes))
        give(call, p);
}

/* To a new block: the old one, untouched in the quarantine, is what an undo brings back. A block that grows may do so in
   place, though: undone, it is only longer than it need be. */
static void reallocate(struct stem_call *call, const struct intrinsic *function, size_t bytes)
{
    uintptr_t old = call->arg[0];
    size_t was;
    call->rax = 0;
    if (!old) {
        call->rax = obtain(call, bytes, 16, false);
    } else if (!may_give(call, function, old, &was)) {
        *__errno_location() = NO_MEMORY;
    } else if (!bytes) {
        give(call, old);
    } else if (bytes >= was && bytes <= PTRDIFF_MAX && stem_heap_resize(old, bytes)) {
        call->rax = old;
    } else if ((call->rax = bytes > was ? obtain_growing(call, bytes) : obtain(call, bytes, 16, false))) {
        stem_heap_copy(call->rax, old, was < bytes ? was : bytes);
        give(call, old);
    }
}

AROUND(realloc)
{
    reallocate(call, function, call->arg[1]);
}

AROUND(reallocarray)
{
    size_t bytes;
    if (__builtin_mul_overflow(call->arg[1], call->arg[2], &bytes))
        bytes = SIZE_MAX;
    reallocate(call, function, bytes);
}

AROUND(memalign)
{
    (void)function;
    size_t align = 16;
    while (align < call->arg[0] && align << 1)
        align <<= 1;
    call->rax = obtain(call, call->arg[1], align, false);
}

AROUND(posix_memalign)
{
    size_t align = call->arg[1];
    call->rax = INVALID;
    if (!align || align & (align - 1) || align % sizeof(void *))
        return;
    int error = *__errno_location();
    uint64_t p = obtain(call, call->arg[2], align < 16 ? 16 : align, false);
    *__errno_location() = error;
    call->rax = p ? 0 : NO_MEMORY;
    if (!p)
        return;
    stem_undo_log(call->arg[0], sizeof p);
    stem_intrinsic_touch(call, function, call->arg[0], sizeof p, true);
    *(uint64_t *)call->arg[0] = p;
}

/* strdup and its kin: a block that libc allocated for the caller. */
AROUND(duplicate)
{
    size_t bytes;
    (void)function;
    call->rax = stem_intrinsic_real(call);
    if (call->rax && stem_heap_look(&bytes, call->rax) == HEAP_GIVEN)
        stem_undo_compensate(STEM_COMPENSATE_MALLOC, call->rax);
}

/* getline(&line, &room, ...): libc may have moved the block. Its free came from libc and is not logged yet. */
AROUND(getline)
{
    (void)function;
    uintptr_t *line = (uintptr_t *)call->arg[0], before = *line;
    size_t room = before ? *(const size_t *)call->arg[1] : 0;
    stem_undo_log(before, room);
    call->rax = stem_intrinsic_real(call);
    if (*line == before)
        return;
    stem_undo_compensate(STEM_COMPENSATE_MALLOC, *line);
    if (before)
        stem_undo_compensate(STEM_COMPENSATE_FREE, before);
}

/* ---- obstack: objects cut inline, by macros, from chunks that come from the heap ---- */

struct obstack { /* as far as it matters */
    long chunk_bytes;
    struct obstack_chunk {
        uintptr_t limit;
    } * chunk;
    uintptr_t object, next, limit;
};

static void end_chunk_at(struct obstack *o, uintptr_t limit)
{
    o->limit = limit;
    o->chunk->limit = limit;
}

static bool is_of_heap(const struct obstack *o, size_t *bytes)
{
    return o->chunk && stem_heap_look(bytes, (uintptr_t)o->chunk) == HEAP_GIVEN &&
           o->chunk->limit == o->limit && o->limit == (uintptr_t)o->chunk + *bytes;
}

/* Each object shall need a chunk of its own: the first chunk is full, and the next are small. */
AROUND(obstack_begin)
{
    enum { SMALL = 128 };
    (void)function;
    struct obstack *o = (struct obstack *)call->arg[0];
    size_t bytes;
    call->rax = stem_intrinsic_real(call);
    if (!stem_shadow_base || !is_of_heap(o, &bytes))
        return;
    end_chunk_at(o, o->next);
    o->chunk_bytes = SMALL;
}

/* A chunk ends where the object does for which it is obtained, and a redzone begins there. One that is moved because it grows
   keeps the room that it is given: it would have to be moved with every byte. */
AROUND(obstack_chunk)
{
    (void)function;
    struct obstack *o = (struct obstack *)call->arg[0];
    int32_t length = (int32_t)call->arg[1];
    size_t bytes;
    call->rax = stem_intrinsic_real(call);
    if (!stem_shadow_base || length <= 0 || o->object != o->next || !is_of_heap(o, &bytes))
        return;
    uintptr_t end = o->next + (uint32_t)length;
    if (o->limit - end < STEM_POOL_TAIL + 8)
        return;
    end_chunk_at(o, end);
    stem_pool_seal(call, o->next, (uint32_t)length);
}

/* ---- what an undo gives back ---- */

void stem_intrinsic_opened(const struct stem_call *call)
{
    if ((int32_t)call->rax >= 0)
        stem_undo_compensate(STEM_COMPENSATE_OPEN, (uint32_t)call->rax);
}

AROUND(descriptor)
{
    (void)function;
    call->rax = stem_intrinsic_real(call);
    stem_intrinsic_opened(call);
}

AROUND(pipe)
{
    (void)function;
    call->rax = stem_intrinsic_real(call);
    if ((int32_t)call->rax)
        return;
    const uint32_t *ends = (const uint32_t *)call->arg[0];
    stem_undo_compensate(STEM_COMPENSATE_OPEN, ends[0]);
    stem_undo_compensate(STEM_COMPENSATE_OPEN, ends[1]);
}

AROUND(lock)
{
    (void)function;
    call->rax = stem_intrinsic_real(call);
    if (!(uint32_t)call->rax)
        stem_undo_compensate(STEM_COMPENSATE_LOCK, call->arg[0]);
}
