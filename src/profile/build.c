/* Interns objects, functions and edges while a reader runs, and finishes them into a profile. */
#define _GNU_SOURCE
#include "profile/build.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static void *resize(void *memory, size_t count, size_t size)
{
    memory = reallocarray(memory, count, size);
    if (!memory) {
        fputs("testudo: out of memory\n", stderr);
        abort();
    }
    return memory;
}

static char *copy_text(const char *text, size_t bytes)
{
    char *copy = resize(NULL, bytes + 1, 1);
    memcpy(copy, text, bytes);
    copy[bytes] = 0;
    return copy;
}

/* ---- a hash table of indices; the caller says what an index hashes to and what equals the key ---- */

struct key {
    uint64_t hash;
    uint64_t number; /* object index, or both ends of an edge */
    const char *text;
    size_t bytes;
};

static struct key make_key(uint64_t number, const char *text, size_t bytes)
{
    uint64_t hash = core_hash(core_hash(CORE_HASH_SEED, &number, sizeof number), text, bytes);
    return (struct key){.hash = hash ^ hash >> 32, .number = number, .text = text, .bytes = bytes};
}

enum table_kind { OBJECTS, FUNCTIONS, EDGES };

static struct key key_of(const struct profile *p, enum table_kind kind, uint32_t index)
{
    switch (kind) {
    case OBJECTS:
        return make_key(0, p->objects[index].path, strlen(p->objects[index].path));
    case FUNCTIONS:
        return make_key(p->functions[index].object, p->functions[index].name,
                        strlen(p->functions[index].name));
    default:
        return make_key((uint64_t)p->edges[index].caller << 32 | p->edges[index].callee, "", 0);
    }
}

static bool same_key(const struct profile *p, enum table_kind kind, uint32_t index, const struct key *key)
{
    const char *text = "";
    uint64_t number = 0;
    if (kind == OBJECTS) {
        text = p->objects[index].path;
    } else if (kind == FUNCTIONS) {
        text = p->functions[index].name;
        number = p->functions[index].object;
    } else {
        number = (uint64_t)p->edges[index].caller << 32 | p->edges[index].callee;
    }
    return number == key->number && strncmp(text, key->text, key->bytes) == 0 && text[key->bytes] == 0;
}

/* Slot of the key: holds its index + 1, or 0 where it is to be put. */
static uint32_t *find_slot(struct profile_table *table, const struct profile *p, enum table_kind kind,
                           const struct key *key)
{
    if (2 * (table->used + 1) > table->room) {
        struct profile_table larger = {.room = table->room ? 2 * table->room : 256, .used = table->used};
        larger.slots = resize(NULL, larger.room, sizeof *larger.slots);
        memset(larger.slots, 0, larger.room * sizeof *larger.slots);
        for (size_t i = 0; i < table->room; i++)
            if (table->slots[i]) {
                size_t at = key_of(p, kind, table->slots[i] - 1).hash & (larger.room - 1);
                while (larger.slots[at])
                    at = (at + 1) & (larger.room - 1);
                larger.slots[at] = table->slots[i];
            }
        free(table->slots);
        *table = larger;
    }
    size_t at = key->hash & (table->room - 1);
    while (table->slots[at] && !same_key(p, kind, table->slots[at] - 1, key))
        at = (at + 1) & (table->room - 1);
    return &table->slots[at];
}

uint32_t profile_build_object(struct profile_builder *b, const char *path, size_t bytes)
{
    struct key key = make_key(0, path, bytes);
    uint32_t *slot = find_slot(&b->objects, &b->p, OBJECTS, &key);
    if (!*slot) {
        if (b->p.object_count == b->object_room)
            b->p.objects =
                resize(b->p.objects, b->object_room = 2 * b->object_room + 16, sizeof *b->p.objects);
        b->p.objects[b->p.object_count++] = (struct profile_object){.path = copy_text(path, bytes)};
        *slot = (uint32_t)b->p.object_count;
        b->objects.used++;
    }
    return *slot - 1;
}

uint32_t profile_build_function(struct profile_builder *b, uint32_t object, const char *name, size_t bytes)
{
    struct key key = make_key(object, name, bytes);
    uint32_t *slot = find_slot(&b->functions, &b->p, FUNCTIONS, &key);
    if (!*slot) {
        if (b->p.function_count == b->function_room)
            b->p.functions =
                resize(b->p.functions, b->function_room = 2 * b->function_room + 256, sizeof *b->p.functions);
        b->p.functions[b->p.function_count++] = (struct profile_function){
            .name = copy_text(name, bytes), .object = object, .offset = PROFILE_NO_OFFSET};
        *slot = (uint32_t)b->p.function_count;
        b->functions.used++;
    }
    return *slot - 1;
}

static void add(struct profile_builder *b, uint64_t *sum, uint64_t more)
{
    if (__builtin_add_overflow(*sum, more, sum))
        b->overflow = true;
}

void profile_build_self(struct profile_builder *b, uint32_t function, uint64_t cost)
{
    add(b, &b->p.functions[function].self, cost);
    add(b, &b->p.total, cost);
}

void profile_build_calls(struct profile_builder *b, uint32_t function, uint64_t calls)
{
    add(b, &b->p.functions[function].calls, calls);
}

void profile_build_returns(struct profile_builder *b, uint32_t function, const struct profile_function *from)
{
    struct profile_function *f = &b->p.functions[function];
    add(b, &f->zero, from->zero);
    add(b, &f->negative, from->negative);
    if (from->negative)
        f->last_negative = from->last_negative;
}

void profile_build_edge(struct profile_builder *b, uint32_t caller, uint32_t callee, uint64_t calls)
{
    struct key key = make_key((uint64_t)caller << 32 | callee, "", 0);
    uint32_t *slot = find_slot(&b->edges, &b->p, EDGES, &key);
    if (!*slot) {
        if (b->p.edge_count == b->edge_room)
            b->p.edges = resize(b->p.edges, b->edge_room = 2 * b->edge_room + 256, sizeof *b->p.edges);
        b->p.edges[b->p.edge_count++] = (struct profile_edge){.caller = caller, .callee = callee};
        *slot = (uint32_t)b->p.edge_count;
        b->edges.used++;
    }
    add(b, &b->p.edges[*slot - 1].calls, calls);
}

/* ---- finishing ---- */

static const struct profile *sorted; /* qsort has no context argument */

static int by_cost(const void *left, const void *right)
{
    const struct profile_function *a = &sorted->functions[*(const uint32_t *)left];
    const struct profile_function *b = &sorted->functions[*(const uint32_t *)right];
    if (a->self != b->self)
        return a->self < b->self ? 1 : -1;
    int order = strcmp(sorted->objects[a->object].path, sorted->objects[b->object].path);
    return order ? order : strcmp(a->name, b->name);
}

static int by_ends(const void *left, const void *right)
{
    const struct profile_edge *a = left, *b = right;
    if (a->caller != b->caller)
        return a->caller < b->caller ? -1 : 1;
    return a->callee < b->callee ? -1 : a->callee > b->callee;
}

static void sort_functions(struct profile *p)
{
    uint32_t *order = resize(NULL, p->function_count + 1, sizeof *order);
    uint32_t *place = resize(NULL, p->function_count + 1, sizeof *place);
    struct profile_function *functions = resize(NULL, p->function_count + 1, sizeof *functions);
    for (size_t i = 0; i < p->function_count; i++)
        order[i] = (uint32_t)i;
    sorted = p;
    qsort(order, p->function_count, sizeof *order, by_cost);
    for (size_t i = 0; i < p->function_count; i++) {
        functions[i] = p->functions[order[i]];
        place[order[i]] = (uint32_t)i;
    }
    for (size_t i = 0; i < p->edge_count; i++) {
        p->edges[i].caller = place[p->edges[i].caller];
        p->edges[i].callee = place[p->edges[i].callee];
    }
    if (p->edge_count)
        qsort(p->edges, p->edge_count, sizeof *p->edges, by_ends);
    free(p->functions);
    p->functions = functions;
    free(order);
    free(place);
}

void profile_build_drop(struct profile_builder *b)
{
    free(b->objects.slots);
    free(b->functions.slots);
    free(b->edges.slots);
    profile_free(&b->p);
    *b = (struct profile_builder){0};
}

int profile_build_finish(struct base_error *error, struct profile *out, struct profile_builder *b,
                         const char *path)
{
    int status = 0;
    if (b->overflow)
        status = base_fail(error, BASE_EXIT_INPUT, "%s: the costs add up to more than 64 bits hold", path);
    else if (b->p.total == 0)
        status =
            base_fail(error, BASE_EXIT_INPUT,
                      "%s: no function has any cost; was the profile taken while the program worked?", path);
    if (status == 0) {
        sort_functions(&b->p);
        if (!b->p.source)
            b->p.source = copy_text("unknown", 7);
        *out = b->p;
        b->p = (struct profile){0};
    }
    profile_build_drop(b);
    return status;
}

void profile_free(struct profile *p)
{
    for (size_t i = 0; i < p->object_count; i++)
        free(p->objects[i].path);
    for (size_t i = 0; i < p->function_count; i++)
        free(p->functions[i].name);
    free(p->objects);
    free(p->functions);
    free(p->edges);
    free(p->source);
    *p = (struct profile){0};
}

bool profile_next_line(struct profile_lines *lines)
{
    if (lines->at == lines->end)
        return false;
    const char *newline = memchr(lines->at, '\n', (size_t)(lines->end - lines->at));
    lines->line = lines->at;
    lines->bytes = (size_t)((newline ? newline : lines->end) - lines->at);
    lines->at = newline ? newline + 1 : lines->end;
    lines->number++;
    if (lines->bytes && lines->line[lines->bytes - 1] == '\r')
        lines->bytes--;
    return true;
}

bool profile_number(uint64_t *value, const char **at, const char *end)
{
    const char *p = *at;
    uint64_t sum = 0;
    for (; p < end && *p >= '0' && *p <= '9'; p++)
        if (__builtin_mul_overflow(sum, 10u, &sum) || __builtin_add_overflow(sum, (uint64_t)(*p - '0'), &sum))
            return false;
    if (p == *at)
        return false;
    *at = p;
    *value = sum;
    return true;
}
