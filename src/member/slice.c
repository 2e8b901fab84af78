/* From a manifest to what one member watches at a moment. The division is the model's, computed by each member alone from
   the same table: equal manifests give equal slices everywhere. */
#include "member/slice.h"
#include "member/bids.h"

#include <stdlib.h>
#include <string.h>

#define MS 1000000ull
/* How long a roster holds without a word of the steward, who repeats it every five seconds. */
#define ROSTER_LEASE (15000 * MS)
/* A sitting's beginning reaches members at different moments: so long each goes on with what it watched before. */
#define GRACE (2000 * MS)

/* A stretch of the epoch in which the member watches a function. It may hold several of one function. */
struct part {
    uint32_t function;      /* index in the manifest's order, which is by (object, offset) */
    uint32_t first, quanta; /* quanta == Q: always */
};

struct member__slice {
    uint8_t *data; /* the manifest's bytes; everything below points into them */
    struct wire_manifest manifest;
    struct wire_manifest_object objects[WIRE_MANIFEST_OBJECTS_MAX];
    struct wire_manifest_function *functions;
    uint32_t number;
    uint64_t epoch, quantum; /* of the moment last set */
    struct part *parts;      /* by function, then first quantum */
    size_t part_count;
    struct member__bids *bids; /* NULL: the manifest asks for none */
    uint64_t roster_ns;        /* when the last roster came, realtime; 0: none holds */
    uint64_t sitting;
    struct part *before; /* watched in the sitting before, until `before_ns` */
    size_t before_count;
    uint64_t before_ns;
};

static int by_function(const void *left, const void *right)
{
    const struct part *a = left, *b = right;
    if (a->function != b->function)
        return a->function < b->function ? -1 : 1;
    return a->first < b->first ? -1 : a->first > b->first;
}

/* Index of the first part at or behind `function`. */
static size_t part_at(const struct member__slice *s, uint32_t function)
{
    size_t low = 0, high = s->part_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (s->parts[middle].function < function)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The manifest as the model's task. Returns 0, or -1 when out of memory. Owns: free relative and tokens. */
static int make_task(struct model_task *task, double **relative, uint64_t **tokens,
                     const struct member__slice *s)
{
    const struct wire_manifest *m = &s->manifest;
    size_t n = m->function_count;
    *relative = calloc(n, sizeof **relative);
    *tokens = calloc(n, sizeof **tokens);
    *task = (struct model_task){.functions = n,
                                .members = m->members,
                                .quanta = m->quanta,
                                .seed = m->seed,
                                .epoch = s->epoch,
                                .relative = *relative,
                                .tokens = *tokens};
    if (!*relative || !*tokens)
        return -1;
    for (size_t f = 0; f < n; f++) {
        (*relative)[f] = (double)s->functions[f].cost;
        (*tokens)[f] = s->functions[f].tokens;
    }
    return 0;
}

/* Puts what everybody watches in front of the `own` parts to come. Returns room for all, or NULL. */
static struct part *begin_parts(size_t *count, const struct member__slice *s, size_t own)
{
    const uint64_t all = (uint64_t)s->manifest.members * s->manifest.quanta;
    size_t everyone = 0;
    for (size_t f = 0; f < s->manifest.function_count; f++)
        everyone += s->functions[f].tokens == all;
    struct part *parts = calloc(everyone + own + 1, sizeof *parts);
    *count = 0;
    for (uint32_t f = 0; parts && f < s->manifest.function_count; f++)
        if (s->functions[f].tokens == all)
            parts[(*count)++] = (struct part){f, 0, s->manifest.quanta};
    return parts;
}

static void take_parts(struct member__slice *s, struct part *parts, size_t count)
{
    free(s->parts);
    s->parts = parts;
    s->part_count = count;
    qsort(parts, count, sizeof *parts, by_function);
}

/* The holdings of this member in the slice's epoch, as if all members were there. Returns 0, or -1 when out of memory. */
static int divide(struct member__slice *s)
{
    const struct wire_manifest *m = &s->manifest;
    size_t room = m->function_count + m->members, made = 0;
    struct model_task task;
    double *relative, *load = calloc(m->members, sizeof *load);
    uint64_t *tokens;
    uint32_t *scratch = NULL;
    struct model_holding *holdings = NULL;
    int status = -1;
    if (make_task(&task, &relative, &tokens, s) || !load ||
        !(scratch = calloc(model_scratch_room(&task), sizeof *scratch)))
        goto out;
    const struct model_policy *policy = m->assign == WIRE_MANIFEST_COIN  ? &model_coin
                                        : m->assign == WIRE_MANIFEST_BID ? &model_bid
                                                                         : &model_central;
    uint32_t slice = policy == &model_central ? model_rotate(s->number, s->epoch, m->members) : s->number;
    for (;;) {
        free(holdings);
        holdings = calloc(room, sizeof *holdings);
        if (!holdings)
            goto out;
        made = policy->assign(holdings, room, load, scratch, &task);
        if (made <= room)
            break;
        room = made;
    }
    size_t own = 0, count;
    for (size_t i = 0; i < made; i++)
        own += holdings[i].member == slice;
    struct part *parts = begin_parts(&count, s, own);
    if (!parts)
        goto out;
    for (size_t i = 0; i < made; i++)
        if (holdings[i].member == slice)
            parts[count++] = (struct part){holdings[i].function, holdings[i].first, holdings[i].quanta};
    take_parts(s, parts, count);
    status = 0;
out:
    free(relative);
    free(load);
    free(tokens);
    free(scratch);
    free(holdings);
    return status;
}

/* ---- bidding ---- */

/* What the deals say that the member watches now, and for a while what it watched before. */
static void follow_bids(struct member__slice *s)
{
    size_t own = s->before_count, count, at = 0;
    while (member__bids_next(s->bids, &at))
        own++;
    struct part *parts = begin_parts(&count, s, own);
    const struct model_part *held;
    if (!parts)
        return; /* the slice before goes on */
    for (at = 0; (held = member__bids_next(s->bids, &at));)
        parts[count++] = (struct part){held->function, held->first, held->quanta};
    if (s->before_count)
        memcpy(parts + count, s->before, s->before_count * sizeof *parts);
    take_parts(s, parts, count + s->before_count);
}

bool member__slice_roster(struct member__slice *s, const struct wire_roster *roster, uint64_t realtime_ns)
{
    struct model_task task;
    double *relative;
    uint64_t *tokens;
    bool changed = false;
    if (!s->bids)
        return false;
    if (make_task(&task, &relative, &tokens, s) == 0) {
        changed = member__bids_take(s->bids, roster, &task, s->manifest.eps_ppm / 1e6);
        if (changed || (s->roster_ns && roster->sitting == s->sitting))
            s->roster_ns = realtime_ns;
    }
    free(relative);
    free(tokens);
    if (!changed)
        return false;
    if (roster->sitting != s->sitting) {
        free(s->before);
        s->before = s->parts;
        s->before_count = s->part_count;
        s->before_ns = realtime_ns + GRACE;
        s->parts = NULL;
        s->part_count = 0;
        s->sitting = roster->sitting;
    }
    s->epoch = roster->epoch;
    follow_bids(s);
    return true;
}

bool member__slice_bid(struct member__slice *s, bool *answers, struct wire_bid *answer,
                       const struct wire_bid *bid)
{
    bool changed = false;
    *answers = s->bids && s->roster_ns && member__bids_receive(s->bids, &changed, answer, bid);
    if (changed)
        follow_bids(s);
    return changed;
}

size_t member__slice_bids(const struct wire_bid **bids, struct member__slice *s)
{
    return s->bids && s->roster_ns ? member__bids_tick(s->bids, bids) : 0;
}

bool member__slice_settled(const struct member__slice *s)
{
    return s->bids && s->roster_ns && member__bids_done(s->bids);
}

/* ---- life ---- */

int member__slice_make(struct base_error *error, struct member__slice **slice, const void *data, size_t bytes,
                       uint32_t number)
{
    struct member__slice *s = calloc(1, sizeof *s);
    int problem = 0;
    if (!s || !(s->data = malloc(bytes ? bytes : 1)))
        goto memory;
    memcpy(s->data, data, bytes);
    problem = wire_manifest_open(&s->manifest, s->data, bytes);
    if (problem) {
        member__slice_free(s);
        return base_fail(error, BASE_EXIT_INPUT, "manifest refused: %s", wire_manifest_problem(problem));
    }
    s->number = number % s->manifest.members;
    s->functions = calloc(s->manifest.function_count, sizeof *s->functions);
    if (!s->functions)
        goto memory;
    struct wire_manifest_cursor at = {0};
    for (size_t i = 0; wire_manifest_next_object(&s->objects[i], &at, &s->manifest); i++)
        ;
    at = (struct wire_manifest_cursor){0};
    for (size_t i = 0; wire_manifest_next_function(&s->functions[i], &at, &s->manifest); i++)
        ;
    s->epoch = s->manifest.epoch;
    /* Who has a number beyond N shares another's slice, and leaves the bidding to it. */
    if (s->manifest.assign == WIRE_MANIFEST_BID && number < s->manifest.members &&
        !(s->bids = member__bids_new(number)))
        goto memory;
    if (divide(s))
        goto memory;
    *slice = s;
    return 0;
memory:
    member__slice_free(s);
    return base_fail(error, BASE_EXIT_FAILURE, "out of memory for a slice");
}

void member__slice_set_time(struct member__slice *s, uint64_t realtime_ns)
{
    uint64_t quantum = realtime_ns / (s->manifest.quantum_ms * MS);
    uint64_t before = s->epoch;
    s->quantum = quantum;
    if (s->before_count && realtime_ns >= s->before_ns) {
        s->before_count = 0;
        follow_bids(s);
    }
    if (s->roster_ns && realtime_ns - s->roster_ns < ROSTER_LEASE)
        return;
    bool lapsed = s->roster_ns != 0;
    if (lapsed) {
        struct member__bids *fresh = member__bids_new(s->number);
        if (!fresh)
            return;
        member__bids_free(s->bids);
        s->bids = fresh;
        s->roster_ns = s->sitting = s->before_count = 0;
    }
    s->epoch = s->manifest.epoch + quantum / s->manifest.quanta;
    /* Out of memory: the old slice goes on, and the next call tries again. */
    if ((s->epoch != before || lapsed) && divide(s))
        s->epoch = before;
}

static bool is_object(const struct member__slice *s, uint32_t o, const uint8_t *build_id, size_t bytes)
{
    return s->objects[o].build_id_bytes == bytes && memcmp(s->objects[o].build_id, build_id, bytes) == 0;
}

static bool holds_now(const struct member__slice *s, const struct part *part)
{
    const struct model_holding holding = {.first = part->first, .quanta = part->quanta};
    return model_holds(&holding, (uint32_t)(s->quantum % s->manifest.quanta), s->manifest.quanta);
}

bool member__slice_watches(const struct member__slice *s, const uint8_t *build_id, size_t build_id_bytes,
                           uint64_t offset)
{
    for (uint32_t o = 0; o < s->manifest.object_count; o++) {
        if (!is_object(s, o, build_id, build_id_bytes))
            continue;
        size_t low = 0, high = s->manifest.function_count;
        while (low < high) {
            size_t middle = (low + high) / 2;
            const struct wire_manifest_function *f = &s->functions[middle];
            if (f->object < o || (f->object == o && f->offset < offset))
                low = middle + 1;
            else
                high = middle;
        }
        if (low == s->manifest.function_count || s->functions[low].object != o ||
            s->functions[low].offset != offset)
            continue;
        for (size_t at = part_at(s, (uint32_t)low); at < s->part_count && s->parts[at].function == low; at++)
            if (holds_now(s, &s->parts[at]))
                return true;
    }
    return false;
}

bool member__slice_knows(const struct member__slice *s, const uint8_t *build_id, size_t build_id_bytes)
{
    for (uint32_t o = 0; o < s->manifest.object_count; o++)
        if (is_object(s, o, build_id, build_id_bytes))
            return true;
    return false;
}

uint64_t member__slice_changes_at(const struct member__slice *s)
{
    /* Slices of more than one member change with the epoch at the latest. */
    uint32_t quanta = s->manifest.quanta, now = (uint32_t)(s->quantum % quanta), wait = quanta - now;
    if (s->manifest.members == 1)
        return UINT64_MAX;
    for (size_t i = 0; i < s->part_count; i++) {
        const struct part *part = &s->parts[i];
        if (part->quanta == quanta)
            continue;
        uint32_t edges[] = {part->first, (uint32_t)(((uint64_t)part->first + part->quanta) % quanta)};
        for (int e = 0; e < 2; e++)
            if (edges[e] > now && edges[e] - now < wait)
                wait = edges[e] - now;
    }
    uint64_t at = (s->quantum + wait) * s->manifest.quantum_ms * MS;
    if (s->before_count && s->before_ns < at)
        at = s->before_ns;
    return s->roster_ns && s->roster_ns + ROSTER_LEASE < at ? s->roster_ns + ROSTER_LEASE : at;
}

bool member__slice_next(struct member__slice_part *part, uint32_t *at, const struct member__slice *s)
{
    if (*at >= s->part_count)
        return false;
    uint32_t function = s->parts[*at].function;
    uint64_t quanta = 0;
    bool now = false;
    for (; *at < s->part_count && s->parts[*at].function == function; ++*at) {
        quanta += s->parts[*at].quanta;
        now |= holds_now(s, &s->parts[*at]);
    }
    const struct wire_manifest_function *f = &s->functions[function];
    *part = (struct member__slice_part){.build_id = s->objects[f->object].build_id,
                                        .build_id_bytes = s->objects[f->object].build_id_bytes,
                                        .offset = f->offset,
                                        .name = f->name,
                                        .name_bytes = f->name_bytes,
                                        .always = quanta == s->manifest.quanta,
                                        .now = now};
    return true;
}

void member__slice_free(struct member__slice *s)
{
    if (!s)
        return;
    free(s->data);
    free(s->functions);
    free(s->parts);
    free(s->before);
    member__bids_free(s->bids);
    free(s);
}
