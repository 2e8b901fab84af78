/* An object's entry on the control page: shared by all processes that have the same file loaded, made by the first.

   Processes claim at the same time, any of them may be killed in between, and any may have written nonsense. So there is no lock:
   an entry is owned by who moved its state to FILLING by compare-and-swap; nothing that stands on the page is used before
   it is checked against what this process has read out of its own image. Two that fill entries for one file at once
   see each other, since each names its file before it looks for the other: the later entry is given back, with its run of
   functions, for the next claim.

   An entry that is used is marked by a mapping (WIRE_MARK_OFFSET), which ends with the process whatever ends it. Entries without a mark
   are taken back by the supervisor when room gets short. */
#define _GNU_SOURCE
#include "stem/engine.h"
#include "stem/sys.h"

#include <sys/mman.h>

enum { YIELD_MS = 20, PAGE = 4096 };

/* ---- marks ---------------------------------------------------------------------------------------------------- */

static uintptr_t marks; /* room for one of each entry */

static bool mark(uint32_t index)
{
    if (!marks) {
        long p = sys_call6(SYS_mmap, stem_pages_place(WIRE_OBJECTS_MAX * PAGE), WIRE_OBJECTS_MAX * PAGE,
                           PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (sys_failed(p))
            return false;
        marks = (uintptr_t)p;
    }
    /* mremap of a shared mapping with old size 0 makes a second view of it, without needing the descriptor. */
    return !sys_failed(sys_call5(SYS_mremap, (uintptr_t)stem_control + WIRE_MARK_OFFSET(index), 0, PAGE,
                                 MREMAP_MAYMOVE | MREMAP_FIXED, marks + (uintptr_t)index * PAGE));
}

static void unmark(uint32_t index)
{
    sys_call6(SYS_mmap, marks + (uintptr_t)index * PAGE, PAGE, PROT_NONE,
              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
}

/* ---- sharing -------------------------------------------------------------------------------------------------- */

static bool has_identity(const struct wire_object *w, const struct stem_object *o)
{
    if (w->function_count != o->function_count || w->own != o->own ||
        w->build_id_bytes != o->build_id_bytes || memcmp(w->build_id, o->build_id, sizeof w->build_id))
        return false;
    size_t i = 0;
    while (i + 1 < sizeof w->path && o->path[i] && w->path[i] == o->path[i])
        i++;
    return i + 1 == sizeof w->path || w->path[i] == o->path[i];
}

static bool is_listed(uint32_t state)
{
    return state == WIRE_OBJECT_LISTED || state == WIRE_OBJECT_ANSWERED;
}

/* Whether the entry's functions are this object's; its run of functions is copied out once. */
static bool has_functions(uint32_t *first, const struct wire_object *w, const struct stem_object *o)
{
    *first = __atomic_load_n(&w->first_function, __ATOMIC_RELAXED);
    if (*first > WIRE_FUNCTIONS_MAX || o->function_count > WIRE_FUNCTIONS_MAX - *first)
        return false;
    for (uint32_t f = 0; f < o->function_count; f++)
        if (stem_control->functions[*first + f].offset != o->functions[f].offset)
            return false;
    return true;
}

static void use(struct stem_object *o, uint32_t index, uint32_t first)
{
    o->page_index = index;
    for (uint32_t f = 0; f < o->function_count; f++)
        o->functions[f].index = first + f;
}

static uint32_t objects_claimed(void)
{
    uint32_t n = __atomic_load_n(&stem_control->object_count, __ATOMIC_ACQUIRE);
    return n < WIRE_OBJECTS_MAX ? n : WIRE_OBJECTS_MAX;
}

/* Marks an entry and looks whether it stands. One that the supervisor doubts is ours if we are the first to say so. */
static bool take_part(struct stem_object *o, uint32_t index)
{
    struct wire_object *w = &stem_control->objects[index];
    uint32_t first, doubted = WIRE_OBJECT_DOUBTED;
    if (!mark(index))
        return false;
    __atomic_compare_exchange_n(&w->state, &doubted, WIRE_OBJECT_ANSWERED, false, __ATOMIC_SEQ_CST,
                                __ATOMIC_RELAXED);
    if (is_listed(__atomic_load_n(&w->state, __ATOMIC_SEQ_CST)) && has_identity(w, o) &&
        has_functions(&first, w, o)) {
        use(o, index, first);
        return true;
    }
    stem_listing_leave(index);
    return false;
}

/* Shares an entry that another process has listed. */
static bool share(struct stem_object *o)
{
    for (uint32_t i = 0, n = objects_claimed(); i < n; i++) {
        const struct wire_object *w = &stem_control->objects[i];
        uint32_t state = __atomic_load_n(&w->state, __ATOMIC_ACQUIRE);
        if ((is_listed(state) || state == WIRE_OBJECT_DOUBTED) && has_identity(w, o) && take_part(o, i))
            return true;
    }
    return false;
}

/* ---- claiming ------------------------------------------------------------------------------------------------- */

/* Takes `n` from a table of `max` by its counter of entries claimed. Returns false when fewer are left. */
static bool take(uint32_t *first, uint32_t *counter, uint32_t n, uint32_t max)
{
    *first = __atomic_load_n(counter, __ATOMIC_RELAXED);
    do {
        if (*first > max || n > max - *first)
            return false;
    } while (
        !__atomic_compare_exchange_n(counter, first, *first + n, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED));
    return true;
}

static bool own(struct wire_object *w, uint32_t state)
{
    return __atomic_compare_exchange_n(&w->state, &state, WIRE_OBJECT_FILLING, false, __ATOMIC_ACQ_REL,
                                       __ATOMIC_RELAXED);
}

/* The run of functions that belongs to an entry, or none when what stands there cannot be. */
static uint32_t room_of(const struct wire_object *w)
{
    uint32_t first = w->first_function, room = w->room;
    return first <= WIRE_FUNCTIONS_MAX && room <= WIRE_FUNCTIONS_MAX - first ? room : 0;
}

/* The entry that was given back and whose run fits best; WIRE_NO_OBJECT without one. */
static uint32_t best_retired(uint32_t functions)
{
    uint32_t best = WIRE_NO_OBJECT, best_room = 0;
    for (uint32_t i = 0, n = objects_claimed(); i < n; i++) {
        const struct wire_object *w = &stem_control->objects[i];
        if (__atomic_load_n(&w->state, __ATOMIC_ACQUIRE) != WIRE_OBJECT_RETIRED)
            continue;
        uint32_t room = room_of(w);
        bool fits = room >= functions, best_fits = best != WIRE_NO_OBJECT && best_room >= functions;
        if (best == WIRE_NO_OBJECT || (fits && (!best_fits || room < best_room)))
            best = i, best_room = room;
    }
    return best;
}

/* An entry of our own with room for the object's functions, state FILLING. Returns WIRE_NO_OBJECT when the tables are full. */
static uint32_t claim(const struct stem_object *o)
{
    struct wire_control *page = stem_control;
    uint32_t index, first;
    bool fits;
    do { /* until one is ours: others claim, too */
        index = best_retired(o->function_count);
        fits = index != WIRE_NO_OBJECT && room_of(&page->objects[index]) >= o->function_count;
        if (!fits && take(&first, &page->object_count, 1, WIRE_OBJECTS_MAX)) {
            index = first;
            __atomic_store_n(&page->objects[index].state, WIRE_OBJECT_FILLING, __ATOMIC_RELEASE);
            break;
        }
        if (index == WIRE_NO_OBJECT)
            return WIRE_NO_OBJECT;
    } while (!own(&page->objects[index], WIRE_OBJECT_RETIRED));
    struct wire_object *w = &page->objects[index];
    if (fits && room_of(w) >= o->function_count)
        return index;
    w->room = 0;
    if (take(&first, &page->function_count, o->function_count, WIRE_FUNCTIONS_MAX)) {
        w->first_function = first;
        w->room = o->function_count;
        return index;
    }
    __atomic_store_n(&w->state, WIRE_OBJECT_RETIRED, __ATOMIC_RELEASE);
    return WIRE_NO_OBJECT;
}

/* Whose malloc the program calls when this object exports one: ours, unless the object stands before us in the search order. */
static enum wire_own_malloc own_malloc(const struct stem_object *o)
{
    uintptr_t theirs = o->own ? stem_object_symbol(o, "malloc") : 0;
    return !theirs                             ? WIRE_OWN_MALLOC_NONE
           : stem_elf_find("malloc") == theirs ? WIRE_OWN_MALLOC_USED
                                               : WIRE_OWN_MALLOC_REPLACED;
}

static void fill_identity(struct wire_object *w, const struct stem_object *o)
{
    w->function_count = o->function_count;
    w->own = o->own;
    w->own_malloc = own_malloc(o);
    w->build_id_bytes = o->build_id_bytes;
    memcpy(w->build_id, o->build_id, sizeof w->build_id);
    memset(w->path, 0, sizeof w->path);
    for (size_t i = 0; i + 1 < sizeof w->path && o->path[i]; i++)
        w->path[i] = o->path[i];
    /* Pairs with the same store of another process: at least one of the two sees the other's name. */
    __atomic_store_n(&w->state, WIRE_OBJECT_NAMED, __ATOMIC_SEQ_CST);
}

/* Whether another process has an entry for this file, or is about to, that is to be preferred to ours at `mine`. Waits
   for one that is being filled; a process that was killed meanwhile costs that wait once, and a second entry. */
static bool yields(struct stem_object *o, uint32_t mine)
{
    struct {
        int64_t s, ns;
    } step = {0, 1000000};
    for (uint32_t i = 0, n = objects_claimed(); i < n; i++) {
        struct wire_object *w = &stem_control->objects[i];
        uint32_t state = __atomic_load_n(&w->state, __ATOMIC_SEQ_CST);
        if (i == mine || !(is_listed(state) || (state == WIRE_OBJECT_NAMED && i < mine)) ||
            !has_identity(w, o))
            continue;
        for (unsigned waited = 0; state == WIRE_OBJECT_NAMED && waited < YIELD_MS; waited++) {
            sys_call4(SYS_futex, &w->state, 0 /* FUTEX_WAIT */, state, &step);
            state = __atomic_load_n(&w->state, __ATOMIC_ACQUIRE);
        }
        if (is_listed(state) && has_identity(w, o) && take_part(o, i))
            return true;
    }
    return false;
}

/* Full tables: the supervisor is asked to look for entries that nobody uses. Returns whether it has looked. */
static bool have_cleared(void)
{
    struct wire_control *page = stem_control;
    static bool in_vain; /* the supervisor is gone: not asked again */
    uint32_t seen = __atomic_load_n(&page->cleared, __ATOMIC_ACQUIRE);
    struct {
        int64_t s, ns;
    } step = {0, 10000000};
    if (in_vain || !page->supervisor_pid)
        return false;
    __atomic_fetch_add(&page->wanted, 1, __ATOMIC_RELEASE);
    __atomic_fetch_add(&page->doorbell, 1, __ATOMIC_RELEASE);
    sys_call3(SYS_futex, &page->doorbell, 1 /* FUTEX_WAKE */, 1);
    for (uint32_t waited = 0; waited < page->config.answer_ms; waited += 10) {
        if (__atomic_load_n(&page->cleared, __ATOMIC_ACQUIRE) != seen)
            return true;
        sys_call4(SYS_futex, &page->cleared, 0 /* FUTEX_WAIT */, seen, &step);
    }
    in_vain = true;
    return false;
}

bool stem_listing_make(struct stem_object *o)
{
    struct wire_control *page = stem_control;
    if (share(o))
        return true;
    uint32_t index = claim(o);
    if (index == WIRE_NO_OBJECT && have_cleared()) {
        if (share(o))
            return true;
        index = claim(o);
    }
    if (index == WIRE_NO_OBJECT)
        return false;
    struct wire_object *w = &page->objects[index];
    uint32_t first = w->first_function;
    if (first > WIRE_FUNCTIONS_MAX || o->function_count > WIRE_FUNCTIONS_MAX - first || !mark(index))
        return false;
    fill_identity(w, o);
    if (yields(o, index)) {
        stem_listing_leave(index);
        __atomic_store_n(&w->state, WIRE_OBJECT_RETIRED, __ATOMIC_RELEASE);
        return true;
    }
    for (uint32_t f = 0; f < o->function_count; f++) {
        page->functions[first + f] = (struct wire_function){.offset = o->functions[f].offset,
                                                            .bytes = o->functions[f].bytes,
                                                            .refusal = o->functions[f].refusal,
                                                            .object = (uint8_t)index};
        page->level[first + f] = (uint8_t)page->config.default_level;
    }
    use(o, index, first);
    __atomic_store_n(&w->state, WIRE_OBJECT_LISTED, __ATOMIC_RELEASE);
    sys_call3(SYS_futex, &w->state, 1 /* FUTEX_WAKE */, 0x7fffffff);
    return true;
}

void stem_listing_leave(uint32_t index)
{
    if (index < WIRE_OBJECTS_MAX && !stem_object_uses(index))
        unmark(index);
}

void stem_listing_await(const struct stem_object *o)
{
    struct wire_control *page = stem_control;
    struct wire_object *w = &page->objects[o->page_index];
    if (!page->supervisor_pid || !o->own)
        return;
    __atomic_fetch_add(&page->doorbell, 1, __ATOMIC_RELEASE);
    sys_call3(SYS_futex, &page->doorbell, 1 /* FUTEX_WAKE */, 1);
    static bool gave_up;
    if (gave_up)
        return;
    struct {
        int64_t s, ns;
    } step = {0, 10000000};
    for (uint32_t waited = 0; waited < page->config.answer_ms; waited += 10) {
        uint32_t state = __atomic_load_n(&w->state, __ATOMIC_ACQUIRE);
        if (state != WIRE_OBJECT_LISTED)
            return;
        sys_call4(SYS_futex, &w->state, 0 /* FUTEX_WAIT */, state, &step);
    }
    gave_up = true; /* the supervisor is gone: go on with the defaults and do not wait again */
}
