/* Library calls made by supervised code: which of them are checked, and the checks before they run. */
#include "stem/engine.h"
#include "stem/intrinsics_private.h"

/* ---- the table ---- */

/* The words of intrinsics.def as initialisers. */
#define BYTES(arg)        LENGTH_BYTES, arg, NONE, 1
#define ITEMS(arg, bytes) LENGTH_BYTES, arg, NONE, bytes
#define FIXED(bytes)      LENGTH_FIXED, NONE, NONE, bytes
#define INT(arg, bytes)   LENGTH_INT, arg, NONE, bytes
#define BITS(arg)         LENGTH_BITS, arg, NONE, 1
#define PRODUCT(x, y)     LENGTH_PRODUCT, x, y, 1
#define ROOM              LENGTH_ROOM, NONE, NONE, 1
#define ENDLESS           LENGTH_ENDLESS, NONE, NONE, 1
#define TEXT              LENGTH_TEXT, NONE, NONE, 1
#define TEXT_N(arg)       LENGTH_TEXT, arg, NONE, 1
#define WTEXT             LENGTH_TEXT, NONE, NONE, 4
#define WTEXT_N(arg)      LENGTH_TEXT, arg, NONE, 4
#define COPY(arg)         LENGTH_COPY, arg, NONE, 1
#define COPY_N(arg, n)    LENGTH_COPY, arg, n, 1
#define WCOPY(arg)        LENGTH_COPY, arg, NONE, 4
#define WCOPY_N(arg, n)   LENGTH_COPY, arg, n, 4
#define NUMBER            LENGTH_NUMBER, NONE, NONE, 1
#define NUMBER_BASE(arg)  LENGTH_NUMBER, arg, NONE, 1
#define PRINTED           LENGTH_PRINTED, NONE, NONE, 1
#define PRINTED_N(n)      LENGTH_PRINTED, n, NONE, 1

#define EFFECT_OF(...)                                                                                       \
    {                                                                                                        \
        __VA_ARGS__                                                                                          \
    }
#define R(arg, ...)       EFFECT_OF(OP_READ, arg, 0, __VA_ARGS__)
#define R_OPT(arg, ...)   EFFECT_OF(OP_READ, arg, MAY_BE_NULL, __VA_ARGS__)
#define W(arg, ...)       EFFECT_OF(OP_WRITE, arg, 0, __VA_ARGS__)
#define W_OPT(arg, ...)   EFFECT_OF(OP_WRITE, arg, MAY_BE_NULL, __VA_ARGS__)
#define W_LATER(arg, ...) EFFECT_OF(OP_WRITE_LATER, arg, MAY_BE_NULL, __VA_ARGS__)
#define APPEND(arg, ...)  EFFECT_OF(OP_APPEND, arg, 0, __VA_ARGS__)
#define COMPARE(...)      EFFECT_OF(OP_COMPARE, 0, 0, __VA_ARGS__)
#define COMPARE_FOLD(...) EFFECT_OF(OP_COMPARE, 0, FOLD, __VA_ARGS__)
/* The character's argument stands where others have flags. */
#define FIND(arg, c, ...)  EFFECT_OF(OP_FIND, arg, c, __VA_ARGS__)
#define FORTIFY(arg, unit) EFFECT_OF(OP_FORTIFY, arg, 0, 0, NONE, NONE, unit)
#define FORMAT(arg)        EFFECT_OF(OP_FORMAT, arg, 0, 0, NONE, NONE, 1)
#define FORMAT_OPT(arg)    EFFECT_OF(OP_FORMAT, arg, MAY_BE_NULL, 0, NONE, NONE, 1)
#define FORMAT_LIST(arg)   EFFECT_OF(OP_FORMAT, arg, LIST, 0, NONE, NONE, 1)
#define WFORMAT(arg)       EFFECT_OF(OP_FORMAT, arg, 0, 0, NONE, NONE, 4)
#define WFORMAT_LIST(arg)  EFFECT_OF(OP_FORMAT, arg, LIST, 0, NONE, NONE, 4)
#define SCAN(arg)          EFFECT_OF(OP_SCAN, arg, 0, 0, NONE, NONE, 1)
#define SCAN_LIST(arg)     EFFECT_OF(OP_SCAN, arg, LIST, 0, NONE, NONE, 1)
#define WSCAN(arg)         EFFECT_OF(OP_SCAN, arg, 0, 0, NONE, NONE, 4)
#define WSCAN_LIST(arg)    EFFECT_OF(OP_SCAN, arg, LIST, 0, NONE, NONE, 4)
#define EFFECT             EFFECT_OF(OP_EFFECT, 0, 0, 0, NONE, NONE, 0)

#define CHECKED         .shape = SHAPE_CHECKED
#define AROUND(name)    .shape = SHAPE_AROUND, .handler = stem_around_##name
#define VIA(name, real) .shape = SHAPE_AROUND, .handler = stem_around_##name, .via = #real
#define FATAL(id)       .shape = SHAPE_FATAL, .kind = CORE_FAULT_##id
#define ESCAPE          .shape = SHAPE_ESCAPE

#define INTRINSIC(id, how, ...) {.name = #id, how, .effect = {__VA_ARGS__}},

static const struct intrinsic table[] = {
#include "stem/intrinsics.def"
};
enum { FUNCTIONS = sizeof table / sizeof *table };

extern uint8_t stem_intrinsic_entries[];
int stem_intrinsic_enter(struct stem_call *call);

/* The real functions; 0: not asked yet, NOT_LIBCS: the name is defined by another object first. */
static uintptr_t targets[FUNCTIONS];
static uintptr_t stand_ins[FUNCTIONS]; /* what `via` names */
enum { NOT_LIBCS = 1, ENTRY_BYTES = 16 };

static bool equal(const char *a, const char *b)
{
    while (*a && *a == *b)
        a++, b++;
    return *a == *b;
}

/* Every call of a library is looked up by name, most for nothing. */
enum { BUCKETS = 2048 };
_Static_assert(FUNCTIONS * 2 < BUCKETS, "open addressing stays short");

static unsigned bucket_of(const char *name)
{
    uint32_t hash = 2166136261u;
    for (; *name; name++)
        hash = (hash ^ (uint8_t)*name) * 16777619u;
    return (hash ^ hash >> 15) % BUCKETS;
}

static unsigned find(const char *symbol)
{
    static uint16_t buckets[BUCKETS]; /* index + 1 */
    static bool filled;
    if (!filled) {
        for (unsigned i = 0; i < FUNCTIONS; i++) {
            unsigned b = bucket_of(table[i].name);
            while (buckets[b])
                b = (b + 1) % BUCKETS;
            buckets[b] = (uint16_t)(i + 1);
        }
        filled = true;
    }
    unsigned b = bucket_of(symbol);
    while (buckets[b] && !equal(table[buckets[b] - 1].name, symbol))
        b = (b + 1) % BUCKETS;
    return buckets[b] ? buckets[b] - 1u : FUNCTIONS;
}

/* Whether all that is done about a call is to note it down for an undo. */
static bool is_only_noted(const struct intrinsic *function)
{
    if (function->shape == SHAPE_AROUND
            ? function->handler != stem_around_lock && function->handler != stem_around_descriptor
            : function->shape != SHAPE_CHECKED)
        return false;
    for (unsigned i = 0; i < EFFECTS; i++)
        if (function->effect[i].op != OP_NONE && function->effect[i].op != OP_EFFECT)
            return false;
    return true;
}

/* Translator lock held, as the caller translates. */
enum stem_callee stem_intrinsic_find(core_cache_pc *thunk, const char *symbol)
{
    unsigned i = find(symbol);
    if (i == FUNCTIONS)
        return STEM_CALLEE_PLAIN;
    if (table[i].shape == SHAPE_ESCAPE)
        return STEM_CALLEE_ESCAPE;
    if (!targets[i]) {
        uintptr_t real = (uintptr_t)stem_elf_bound(symbol);
        if (real && table[i].via && !(stand_ins[i] = (uintptr_t)stem_libc_symbol(table[i].via)))
            real = 0;
        targets[i] = real ? real : NOT_LIBCS;
    }
    if (targets[i] == NOT_LIBCS || (stem_control->config.mode != WIRE_MODE_FULL && is_only_noted(&table[i])))
        return STEM_CALLEE_PLAIN;
    thunk->v = stem_fast_entry(table[i].name, (uintptr_t)stem_intrinsic_entries + (size_t)i * ENTRY_BYTES,
                               targets[i]);
    return STEM_CALLEE_CHECKED;
}

void stem_intrinsic_long_way(core_cache_pc *thunk, const char *symbol)
{
    thunk->v = (uintptr_t)stem_intrinsic_entries + (size_t)find(symbol) * ENTRY_BYTES;
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

uintptr_t (*stem_intrinsic_overrun)(const struct stem_call *call, enum core_fault_kind *kind,
                                    uintptr_t address, size_t bytes);

bool stem_intrinsic_touch(struct stem_call *call, const struct intrinsic *function, uintptr_t address,
                          size_t bytes, bool is_write)
{
    if (!bytes)
        return true;
    uintptr_t bad = stem_shadow_find_bad(address, bytes);
    if (bad)
        bad = stem_fault_settle(call, address, bytes, bad);
    if (bad) {
        stem_intrinsic_fault(call, function, is_write, bad, bytes);
        return false;
    }
    enum core_fault_kind kind;
    bad = stem_intrinsic_overrun ? stem_intrinsic_overrun(call, &kind, address, bytes) : 0;
    if (bad) {
        stem_fault_call(call, kind, is_write, bad, bytes, function->name);
        return false;
    }
    /* Whatever lies below the caller's stack pointer is no object, and the call itself overwrites it. Near it only: further
       down may be the stack of another thread or coroutine. */
    enum { BELOW = 512 };
    uintptr_t sp = (uintptr_t)call->stack_args;
    if (address < sp && address >= sp - BELOW) {
        stem_fault_call(call, CORE_FAULT_STACK_SMASH, is_write, address, bytes, function->name);
        return false;
    }
    probe(address, bytes, is_write);
    return true;
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

static size_t descriptor_set_bytes(uint64_t count)
{
    /* The kernel stops at the process's table: who asks for more than a set holds means all there are. */
    size_t bits = (int32_t)count <= 0 ? 0 : (uint32_t)count < 1024 ? (uint32_t)count : 1024;
    return (bits + 63) / 64 * 8;
}

size_t stem_intrinsic_length(struct stem_call *call, const struct intrinsic *function,
                             const struct effect *effect, uintptr_t address)
{
    (void)function;
    switch (effect->length) {
    case LENGTH_BYTES:
        return saturating_product(call->arg[effect->a], effect->size);
    case LENGTH_INT:
        return (int32_t)call->arg[effect->a] < 0 ? 0 : (size_t)(uint32_t)call->arg[effect->a] * effect->size;
    case LENGTH_BITS:
        return descriptor_set_bytes(call->arg[effect->a]);
    case LENGTH_FIXED:
        return effect->size;
    case LENGTH_ROOM:
        return ROOM_BYTES;
    case LENGTH_PRODUCT:
        return saturating_product(call->arg[effect->a], call->arg[effect->b]);
    case LENGTH_TEXT:
        return text_bytes(address, limit_of(call, effect->a), effect->size);
    case LENGTH_COPY:
        return (characters(call->arg[effect->a], limit_of(call, effect->b), effect->size) + 1) * effect->size;
    case LENGTH_NUMBER:
        return stem_scan_number(address, effect->a == NONE ? 10 : (unsigned)call->arg[effect->a]);
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

static bool find_character(struct stem_call *call, const struct intrinsic *function, const struct effect *e,
                           uintptr_t address)
{
    uint64_t c = call->arg[e->flags];
    size_t limit = e->length == LENGTH_BYTES ? call->arg[e->a] : SIZE_MAX;
    bool text = e->length == LENGTH_TEXT;
    size_t bytes = e->size == 4 ? stem_scan_find_wide(address, (uint32_t)c, limit, text)
                                : stem_scan_find(address, (uint8_t)c, limit, text);
    return stem_intrinsic_touch(call, function, address, bytes, false);
}

void stem_intrinsic_log_room(uintptr_t address, size_t bytes)
{
    for (uintptr_t end = address + bytes, next; address < end; address = next) {
        next = (address | 4095) + 1 < end ? (address | 4095) + 1 : end;
        stem_undo_log(address, next - address);
    }
}

const struct effect *stem_intrinsic_effect(const struct intrinsic *function, enum effect_op op)
{
    for (const struct effect *e = function->effect; e < function->effect + EFFECTS && e->op; e++)
        if (e->op == op)
            return e;
    return NULL;
}

/* What a fortified function was told of the size. It ends the program when it is asked for more, whether or not that much
   comes: a range that is bad is told by its first bad byte, all else by the function's own verdict. */
static void fortify(struct stem_call *call, const struct intrinsic *function, const struct effect *e,
                    uintptr_t start, size_t written)
{
    size_t limit = saturating_product(call->arg[e->at], e->size);
    if (written <= limit)
        return;
    uintptr_t bad = stem_shadow_find_bad(start, written);
    if (bad)
        stem_intrinsic_fault(call, function, true, bad, written);
    else
        stem_fault_fatal(call, CORE_FAULT_FORTIFY, function->name);
}

/* Effects before the function runs. Reports one fault at most: what follows the first is its consequence. */
static void check_effects(struct stem_call *call, const struct intrinsic *function)
{
    bool good = true;
    uintptr_t start = 0;
    size_t written = 0;
    for (const struct effect *e = function->effect; e < function->effect + EFFECTS && e->op; e++) {
        uintptr_t address = call->arg[e->at];
        size_t bytes;
        if ((e->op == OP_READ || e->op == OP_WRITE || e->op == OP_WRITE_LATER || e->op == OP_FORMAT) &&
            e->flags & MAY_BE_NULL && !address)
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
            start = call->arg[e->at];
            written = address - start + bytes;
            stem_undo_log(address, bytes);
            good = good && stem_intrinsic_touch(call, function, address, bytes, true);
            break;
        case OP_WRITE_LATER:
            if (e->length == LENGTH_PRINTED)
                break;
            bytes = stem_intrinsic_length(call, function, e, address);
            start = address;
            written = bytes;
            if (e->length == LENGTH_ROOM)
                stem_intrinsic_log_room(address, bytes);
            else
                stem_undo_log(address, bytes);
            break;
        case OP_COMPARE:
            compare(call, function, e);
            break;
        case OP_FIND:
            find_character(call, function, e, address);
            break;
        case OP_FORTIFY:
            if (good)
                fortify(call, function, e, start, written);
            break;
        case OP_FORMAT:
            stem_format_check(call, function, e);
            break;
        case OP_EFFECT:
            stem_undo_compensate(STEM_COMPENSATE_EFFECT, 0);
            break;
        default:
            break;
        }
    }
}

static uint64_t run(struct stem_call *call, uintptr_t function, uint64_t a, uint64_t b, uint64_t c,
                    uint64_t d, uint64_t e, uint64_t f)
{
    uint64_t (*real)(uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t) =
        (uint64_t(*)(uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t))function;
    stem_thread.call = 0;
    uint64_t result = real(a, b, c, d, e, f);
    stem_thread.call = (uint64_t)call;
    return result;
}

uint64_t stem_intrinsic_real(struct stem_call *call)
{
    return run(call, call->target, call->arg[0], call->arg[1], call->arg[2], call->arg[3], call->arg[4],
               call->arg[5]);
}

uint64_t stem_intrinsic_via(struct stem_call *call, uint64_t a, uint64_t b, uint64_t c, uint64_t d,
                            uint64_t e, uint64_t f)
{
    uintptr_t function = stand_ins[call->index] ? stand_ins[call->index] : call->target;
    return run(call, function, a, b, c, d, e, f);
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
