/* Library calls made by supervised code: which of them are checked, and the checks before they run. */
#include "stem/engine.h"
#include "stem/intrinsics_private.h"

/* ---- the table ---- */

/* The words of intrinsics.def as initialisers. */
#define BYTES(arg)             LENGTH_BYTES, arg, NONE, 1
#define ITEMS(arg, bytes)      LENGTH_BYTES, arg, NONE, bytes
#define FIXED(bytes)           LENGTH_FIXED, NONE, NONE, bytes
#define PRODUCT(x, y)          LENGTH_PRODUCT, x, y, 1
#define ENDLESS                LENGTH_ENDLESS, NONE, NONE, 1
#define TEXT                   LENGTH_TEXT, NONE, NONE, 1
#define TEXT_N(arg)            LENGTH_TEXT, arg, NONE, 1
#define WTEXT                  LENGTH_TEXT, NONE, NONE, 4
#define WTEXT_N(arg)           LENGTH_TEXT, arg, NONE, 4
#define COPY(arg)              LENGTH_COPY, arg, NONE, 1
#define COPY_N(arg, n)         LENGTH_COPY, arg, n, 1
#define WCOPY(arg)             LENGTH_COPY, arg, NONE, 4
#define WCOPY_N(arg, n)        LENGTH_COPY, arg, n, 4
#define NUMBER                 LENGTH_NUMBER, NONE, NONE, 1
#define NUMBER_BASE(arg)       LENGTH_NUMBER, arg, NONE, 1
#define PRINTED(arg)           LENGTH_PRINTED, arg, NONE, 0
#define PRINTED_N(arg, n)      LENGTH_PRINTED, arg, n, 0
#define PRINTED_LIST(arg)      LENGTH_PRINTED, arg, NONE, LIST
#define PRINTED_LIST_N(arg, n) LENGTH_PRINTED, arg, n, LIST

#define EFFECT_OF(...)                                                                                       \
    {                                                                                                        \
        __VA_ARGS__                                                                                          \
    }
#define R(arg, ...)       EFFECT_OF(OP_READ, arg, 0, __VA_ARGS__)
#define W(arg, ...)       EFFECT_OF(OP_WRITE, arg, 0, __VA_ARGS__)
#define W_OPT(arg, ...)   EFFECT_OF(OP_WRITE, arg, MAY_BE_NULL, __VA_ARGS__)
#define W_LATER(arg, ...) EFFECT_OF(OP_WRITE_LATER, arg, MAY_BE_NULL, __VA_ARGS__)
#define APPEND(arg, ...)  EFFECT_OF(OP_APPEND, arg, 0, __VA_ARGS__)
#define COMPARE(...)      EFFECT_OF(OP_COMPARE, 0, 0, __VA_ARGS__)
#define COMPARE_FOLD(...) EFFECT_OF(OP_COMPARE, 0, FOLD, __VA_ARGS__)
#define FIND(arg, c, ...) EFFECT_OF(OP_FIND, arg, c, __VA_ARGS__)
#define FORTIFY(arg)      EFFECT_OF(OP_FORTIFY, arg, 0, 0, NONE, NONE, 0)
#define FORMAT(arg)       EFFECT_OF(OP_FORMAT, arg, 0, 0, NONE, NONE, 0)
#define FORMAT_LIST(arg)  EFFECT_OF(OP_FORMAT, arg, LIST, 0, NONE, NONE, 0)
#define EFFECT            EFFECT_OF(OP_EFFECT, 0, 0, 0, NONE, NONE, 0)

#define CHECKED      .shape = SHAPE_CHECKED
#define AROUND(name) .shape = SHAPE_AROUND, .handler = stem_around_##name
#define FATAL(id)    .shape = SHAPE_FATAL, .kind = CORE_FAULT_##id
#define ESCAPE       .shape = SHAPE_ESCAPE

#define INTRINSIC(id, how, ...) {.name = #id, how, .effect = {__VA_ARGS__}},

static const struct intrinsic table[] = {
#include "stem/intrinsics.def"
};
enum { FUNCTIONS = sizeof table / sizeof *table };

extern uint8_t stem_intrinsic_entries[];
int stem_intrinsic_enter(struct stem_call *call);

/* The real functions; 0: not asked yet, NOT_LIBCS: the name is defined by another object first. */
static uintptr_t targets[FUNCTIONS];
enum { NOT_LIBCS = 1, ENTRY_BYTES = 16 };

static bool equal(const char *a, const char *b)
{
    while (*a && *a == *b)
        a++, b++;
    return *a == *b;
}

/* Translator lock held, as the caller translates. */
enum stem_callee stem_intrinsic_find(core_cache_pc *thunk, const char *symbol)
{
    unsigned i = 0;
    while (i < FUNCTIONS && !equal(table[i].name, symbol))
        i++;
    if (i == FUNCTIONS)
        return STEM_CALLEE_PLAIN;
    if (table[i].shape == SHAPE_ESCAPE)
        return STEM_CALLEE_ESCAPE;
    if (!targets[i]) {
        uintptr_t real = (uintptr_t)stem_elf_bound(symbol);
        targets[i] = real ? real : NOT_LIBCS;
    }
    if (targets[i] == NOT_LIBCS)
        return STEM_CALLEE_PLAIN;
    thunk->v = stem_fast_entry(table[i].name, (uintptr_t)stem_intrinsic_entries + (size_t)i * ENTRY_BYTES,
                               targets[i]);
    return STEM_CALLEE_CHECKED;
}

const char *stem_intrinsic_name(const struct stem_call *call)
{
    return call->index < FUNCTIONS ? table[call->index].name : "";
}

/* ---- checks ---- */

void stem_intrinsic_fault(struct stem_call *call, const struct intrinsic *function, bool is_write,
                          uintptr_t bad, size_t bytes)
{
    stem_fault_call(call, stem_fault_classify(bad), is_write, bad, bytes, function->name);
}

static void probe(uintptr_t address, size_t bytes, bool is_write)
{
    /* Near zero nothing is mapped: the touch faults, and says what the function would have done there. */
    if (is_write && address < 65536)
        *(volatile uint8_t *)address = 0;
    (void)*(const volatile uint8_t *)address;
    (void)*(const volatile uint8_t *)(address + bytes - 1);
}

bool stem_intrinsic_touch(struct stem_call *call, const struct intrinsic *function, uintptr_t address,
                          size_t bytes, bool is_write)
{
    if (!bytes)
        return true;
    uintptr_t bad = stem_shadow_find_bad(address, bytes);
    if (!bad) {
        probe(address, bytes, is_write);
        return true;
    }
    stem_intrinsic_fault(call, function, is_write, bad, bytes);
    return false;
}

static size_t limit_of(const struct stem_call *call, uint8_t argument)
{
    return argument == NONE ? SIZE_MAX : call->arg[argument];
}

static size_t saturating_product(size_t a, size_t b)
{
    size_t product;
    return __builtin_mul_overflow(a, b, &product) ? SIZE_MAX : product;
}

static size_t text_bytes(uintptr_t text, size_t limit, unsigned size)
{
    return size == 4 ? stem_scan_wide(text, limit) : stem_scan_text(text, limit);
}

/* Characters before the NUL, `limit` at most. The string was checked, or is now: a bad byte ends it. */
static size_t characters(uintptr_t text, size_t limit, unsigned size)
{
    size_t bytes = text_bytes(text, limit, size);
    if (!bytes)
        return 0;
    uintptr_t last = text + bytes - size;
    bool ended = size == 4 ? !*(const uint32_t *)last : !*(const uint8_t *)last;
    return bytes / size - (ended ? 1 : 0);
}

static size_t printed_bytes(struct stem_call *call, const struct effect *effect, uintptr_t address)
{
    enum { SHORT = 512 };
    size_t limit = limit_of(call, effect->b);
    /* Where the whole room is good, what is printed is too: formatting twice would only tell how much of it to log. */
    if (limit <= SHORT && !stem_shadow_find_bad(address, limit))
        return limit;
    long length = stem_format_length(call, effect->a, effect->size & LIST);
    if (length < 0)
        return effect->b == NONE ? 0 : limit;
    return (size_t)length + 1 < limit ? (size_t)length + 1 : limit;
}

size_t stem_intrinsic_length(struct stem_call *call, const struct intrinsic *function,
                             const struct effect *effect, uintptr_t address)
{
    (void)function;
    switch (effect->length) {
    case LENGTH_BYTES:
        return saturating_product(call->arg[effect->a], effect->size);
    case LENGTH_FIXED:
        return effect->size;
    case LENGTH_PRODUCT:
        return saturating_product(call->arg[effect->a], call->arg[effect->b]);
    case LENGTH_TEXT:
        return text_bytes(address, limit_of(call, effect->a), effect->size);
    case LENGTH_COPY:
        return (characters(call->arg[effect->a], limit_of(call, effect->b), effect->size) + 1) * effect->size;
    case LENGTH_NUMBER:
        return stem_scan_number(address, effect->a == NONE ? 10 : (unsigned)call->arg[effect->a]);
    case LENGTH_PRINTED:
        return printed_bytes(call, effect, address);
    default:
        return SIZE_MAX;
    }
}

static void compare(struct stem_call *call, const struct intrinsic *function, const struct effect *effect)
{
    bool text = effect->length == LENGTH_TEXT;
    size_t limit = limit_of(call, effect->a);
    size_t bytes = text ? 0 : saturating_product(limit, effect->size);
    /* All of both is good: it does not matter how much of it is read. */
    if (!text && !stem_shadow_find_bad(call->arg[0], bytes) && !stem_shadow_find_bad(call->arg[1], bytes)) {
        if (bytes)
            probe(call->arg[0], 1, false), probe(call->arg[1], 1, false);
        return;
    }
    bytes = stem_scan_compare(call->arg[0], call->arg[1], limit, effect->size, text, effect->flags & FOLD);
    if (stem_intrinsic_touch(call, function, call->arg[0], bytes, false))
        stem_intrinsic_touch(call, function, call->arg[1], bytes, false);
}

/* Effects before the function runs. Reports one fault at most: what follows the first is its consequence. */
static void check_effects(struct stem_call *call, const struct intrinsic *function)
{
    bool good = true;
    size_t written = 0;
    for (const struct effect *e = function->effect; e < function->effect + EFFECTS && e->op; e++) {
        uintptr_t address = call->arg[e->at];
        size_t bytes;
        if ((e->op == OP_READ || e->op == OP_WRITE || e->op == OP_WRITE_LATER) && e->flags & MAY_BE_NULL &&
            !address)
            continue;
        switch (e->op) {
        case OP_READ:
            bytes = stem_intrinsic_length(call, function, e, address);
            good = good && stem_intrinsic_touch(call, function, address, bytes, false);
            break;
        case OP_APPEND:
            address += characters(address, SIZE_MAX, e->size) * e->size;
            __attribute__((fallthrough));
        case OP_WRITE:
            bytes = stem_intrinsic_length(call, function, e, address);
            written = address - call->arg[e->at] + bytes;
            stem_undo_log(address, bytes);
            good = good && stem_intrinsic_touch(call, function, address, bytes, true);
            break;
        case OP_WRITE_LATER:
            stem_undo_log(address, stem_intrinsic_length(call, function, e, address));
            break;
        case OP_COMPARE:
            compare(call, function, e);
            break;
        case OP_FIND:
            bytes = stem_scan_find(address, (uint8_t)call->arg[e->flags],
                                   e->length == LENGTH_BYTES ? call->arg[e->a] : SIZE_MAX,
                                   e->length == LENGTH_TEXT);
            stem_intrinsic_touch(call, function, address, bytes, false);
            break;
        case OP_FORTIFY:
            if (good && written > call->arg[e->at])
                stem_fault_fatal(call, CORE_FAULT_FORTIFY, function->name);
            break;
        case OP_FORMAT:
            stem_format_check(call, function, e->at, e->flags & LIST);
            break;
        default:
            stem_undo_compensate(STEM_COMPENSATE_EFFECT, 0);
            break;
        }
    }
}

uint64_t stem_intrinsic_real(struct stem_call *call)
{
    uint64_t (*real)(uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t) =
        (uint64_t(*)(uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t))call->target;
    stem_thread.call = 0;
    uint64_t result =
        real(call->arg[0], call->arg[1], call->arg[2], call->arg[3], call->arg[4], call->arg[5]);
    stem_thread.call = (uint64_t)call;
    return result;
}

/* From the entry. Returns whether the result stands in `rax`; otherwise the target is to run in the caller's place. */
int stem_intrinsic_enter(struct stem_call *call)
{
    const struct intrinsic *function = &table[call->index];
    call->target = targets[call->index];
    if (!stem_armed())
        return 0;
    /* A fault inside, signal handler included, is the caller's: it passed what we touch on its behalf. */
    stem_thread.call = (uint64_t)call;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    check_effects(call, function);
    if (function->shape == SHAPE_AROUND)
        function->handler(call, function);
    else if (function->shape == SHAPE_FATAL)
        stem_fault_fatal(call, function->kind, function->name);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    stem_thread.call = 0;
    return function->shape == SHAPE_AROUND;
}
