/* The call graph beyond what was measured: calls that the code of the program's own objects can make. Functions that the
   profile never saw, and library functions by their names, become further nodes: a way to input may lead through them. */
#include "image/image.h"
#include "plan/private.h"

#include <string.h>

/* Open addressing from a hash to a node; the caller knows what equals. */
struct table {
    uint32_t *slots; /* node + 1, or 0 */
    size_t room, used;
};

struct graph {
    struct plan *plan;
    struct image **images; /* by object; NULL: not one of ours, or not known */
    struct table places, systems, names;
    const char **name_of; /* names[]: what the n-th known name is, and its node */
    uint32_t *node_of;
    size_t name_count, name_room, other_room, call_room;
};

static uint64_t hash_place(uint32_t object, uint64_t offset)
{
    return core_hash(core_hash(CORE_HASH_SEED, &object, sizeof object), &offset, sizeof offset);
}

static uint64_t hash_name(const char *name)
{
    return core_hash(CORE_HASH_SEED, name, strlen(name));
}

static void *grow(void *array, size_t *room, size_t used, size_t size)
{
    if (used < *room)
        return array;
    void *larger = plan_allocate(2 * *room + 256, size);
    if (used)
        memcpy(larger, array, used * size);
    free(array);
    *room = 2 * *room + 256;
    return larger;
}

static const struct plan_other *other(const struct plan *plan, uint32_t node)
{
    return &plan->others[node - plan->function_count];
}

static bool is_at(const struct plan *plan, uint32_t node, uint32_t object, uint64_t offset)
{
    if (node < plan->function_count)
        return plan->functions[node].object == object && plan->functions[node].offset == offset;
    return other(plan, node)->object == object && other(plan, node)->offset == offset;
}

/* Makes room, putting each entry where `hash` says now. */
static void widen(struct table *t, const struct graph *g, uint64_t (*hash)(const struct graph *, uint32_t))
{
    if (2 * (t->used + 1) <= t->room)
        return;
    struct table larger = {.room = t->room ? 2 * t->room : 1024, .used = t->used};
    larger.slots = plan_allocate(larger.room, sizeof *larger.slots);
    for (size_t i = 0; i < t->room; i++)
        if (t->slots[i]) {
            size_t at = hash(g, t->slots[i] - 1) & (larger.room - 1);
            while (larger.slots[at])
                at = (at + 1) & (larger.room - 1);
            larger.slots[at] = t->slots[i];
        }
    free(t->slots);
    *t = larger;
}

static uint64_t place_of(const struct graph *g, uint32_t node)
{
    const struct plan *p = g->plan;
    return node < p->function_count ? hash_place(p->functions[node].object, p->functions[node].offset)
                                    : hash_place(other(p, node)->object, other(p, node)->offset);
}

static uint64_t system_of(const struct graph *g, uint32_t node)
{
    return hash_name(g->plan->functions[node].name);
}

static uint64_t known_of(const struct graph *g, uint32_t index)
{
    return hash_name(g->name_of[index]);
}

static uint32_t *place_slot(struct graph *g, uint32_t object, uint64_t offset)
{
    widen(&g->places, g, place_of);
    size_t at = hash_place(object, offset) & (g->places.room - 1);
    while (g->places.slots[at] && !is_at(g->plan, g->places.slots[at] - 1, object, offset))
        at = (at + 1) & (g->places.room - 1);
    return &g->places.slots[at];
}

static uint32_t add_other(struct graph *g, uint32_t object, uint64_t offset, const char *name)
{
    struct plan *p = g->plan;
    p->others = grow(p->others, &g->other_room, p->other_count, sizeof *p->others);
    char *copy = strdup(name);
    if (!copy)
        abort();
    p->others[p->other_count++] = (struct plan_other){.name = copy, .object = object, .offset = offset};
    return (uint32_t)(p->function_count + p->other_count - 1);
}

static uint32_t node_at(struct graph *g, uint32_t object, uint64_t offset)
{
    uint32_t *slot = place_slot(g, object, offset);
    if (!*slot) {
        char text[24];
        const struct image_function *f = image_function_at(g->images[object], offset);
        snprintf(text, sizeof text, "0x%llx", (unsigned long long)offset);
        *slot = add_other(g, object, offset, f && f->name ? f->name : text) + 1;
        g->places.used++;
    }
    return *slot - 1;
}

/* Who defines a dynamic symbol: the first of the program's objects that does, else the system. */
static uint32_t define(struct graph *g, const char *name)
{
    uint64_t offset;
    for (uint32_t o = 0; o < g->plan->object_count; o++)
        if (g->images[o] && image_find_name(g->images[o], &offset, name))
            return node_at(g, o, offset);
    size_t at = hash_name(name) & (g->systems.room - 1);
    for (; g->systems.room && g->systems.slots[at]; at = (at + 1) & (g->systems.room - 1))
        if (strcmp(g->plan->functions[g->systems.slots[at] - 1].name, name) == 0)
            return g->systems.slots[at] - 1;
    return add_other(g, PLAN_NO_OBJECT, 0, name);
}

static uint32_t node_named(struct graph *g, const char *name)
{
    widen(&g->names, g, known_of);
    size_t at = hash_name(name) & (g->names.room - 1);
    for (; g->names.slots[at]; at = (at + 1) & (g->names.room - 1))
        if (strcmp(g->name_of[g->names.slots[at] - 1], name) == 0)
            return g->node_of[g->names.slots[at] - 1];
    size_t room = g->name_room;
    g->name_of = grow(g->name_of, &room, g->name_count, sizeof *g->name_of);
    g->node_of = grow(g->node_of, &g->name_room, g->name_count, sizeof *g->node_of);
    g->name_of[g->name_count] = name;
    g->node_of[g->name_count] = define(g, name);
    g->names.slots[at] = (uint32_t)++g->name_count;
    g->names.used++;
    return g->node_of[g->name_count - 1];
}

static void index_functions(struct graph *g)
{
    struct plan *p = g->plan;
    for (uint32_t f = 0; f < p->function_count; f++) {
        if (p->functions[f].own && p->functions[f].offset != PLAN_NO_OFFSET) {
            uint32_t *slot = place_slot(g, p->functions[f].object, p->functions[f].offset);
            g->places.used += *slot == 0;
            *slot = f + 1;
        } else if (!p->functions[f].own) {
            widen(&g->systems, g, system_of);
            size_t at = system_of(g, f) & (g->systems.room - 1);
            while (g->systems.slots[at])
                at = (at + 1) & (g->systems.room - 1);
            g->systems.slots[at] = f + 1;
            g->systems.used++;
        }
    }
}

void plan_calls(struct plan *plan, const struct plan_options *options)
{
    struct graph g = {.plan = plan, .images = plan_allocate(plan->object_count, sizeof(struct image *))};
    for (uint32_t o = 0; o < plan->object_count; o++) {
        const struct plan_object *object = &plan->objects[o];
        const char *path =
            strcmp(object->path, PROFILE_MAIN) == 0 && options->program ? options->program : object->path;
        if (object->own && object->build_id_bytes && image_open(NULL, &g.images[o], path))
            g.images[o] = NULL;
    }
    index_functions(&g);
    for (uint32_t o = 0; o < plan->object_count; o++) {
        const struct image_call *calls;
        size_t count = g.images[o] ? image_calls(g.images[o], &calls) : 0;
        for (size_t i = 0; i < count; i++) {
            static const enum plan_link links[] = {[IMAGE_CALL_DIRECT] = PLAN_LINK_CODE,
                                                   [IMAGE_CALL_IMPORT] = PLAN_LINK_CODE,
                                                   [IMAGE_CALL_TAKEN] = PLAN_LINK_MAY};
            uint32_t caller = node_at(&g, o, calls[i].caller);
            uint32_t callee = calls[i].name ? node_named(&g, calls[i].name) : node_at(&g, o, calls[i].callee);
            plan->calls = grow(plan->calls, &g.call_room, plan->call_count, sizeof *plan->calls);
            plan->calls[plan->call_count++] = (struct plan_call){caller, callee, links[calls[i].kind]};
        }
    }
    for (uint32_t o = 0; o < plan->object_count; o++)
        image_close(g.images[o]);
    free(g.images);
    free(g.places.slots);
    free(g.systems.slots);
    free(g.names.slots);
    free(g.name_of);
    free(g.node_of);
}

const char *plan_name(const struct plan *plan, uint32_t node)
{
    return node < plan->function_count ? plan->functions[node].name : other(plan, node)->name;
}

uint32_t plan_next(const struct plan *plan, uint32_t node)
{
    return node < plan->function_count ? plan->functions[node].next : other(plan, node)->next;
}

enum plan_link plan_link(uint64_t *calls, const struct plan *plan, uint32_t from, uint32_t to)
{
    enum plan_link best = PLAN_LINK_NONE;
    *calls = 0;
    for (size_t e = 0; e < plan->edge_count; e++)
        if (plan->edges[e].caller == from && plan->edges[e].callee == to)
            *calls += plan->edges[e].calls;
    if (*calls)
        return PLAN_LINK_MEASURED;
    for (size_t i = 0; i < plan->call_count; i++)
        if (plan->calls[i].caller == from && plan->calls[i].callee == to && plan->calls[i].link > best)
            best = plan->calls[i].link;
    return best;
}
