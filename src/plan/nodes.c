/* From a profile's rows to the functions of a plan: recursion levels joined, names and addresses resolved in the binaries,
   own objects told from the system's. */
#include "image/image.h"
#include "plan/private.h"

#include <string.h>

void *plan_allocate(size_t count, size_t size)
{
    void *memory = calloc(count ? count : 1, size);
    if (!memory) {
        fputs("testudo: out of memory\n", stderr);
        abort();
    }
    return memory;
}

static const char *file_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static bool is_system(const char *path)
{
    static const char *const patterns[] = {
#define SYSTEM_OBJECT(pattern) pattern,
#include "core/system_objects.def"
#undef SYSTEM_OBJECT
    };
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++)
        if (core_glob(patterns[i], file_name(path)))
            return true;
    return false;
}

/* Comma-separated patterns against the file name; "main" is the object that the profiler did not name. */
static bool is_listed(const char *list, const char *path)
{
    char pattern[512];
    while (*list) {
        size_t bytes = strcspn(list, ",");
        if (bytes < sizeof pattern) {
            memcpy(pattern, list, bytes);
            pattern[bytes] = 0;
            if (core_glob(pattern, file_name(path)) || strcmp(pattern, path) == 0)
                return true;
        }
        list += bytes + (list[bytes] == ',');
    }
    return false;
}

/* A name without callgrind's recursion level: f'2 is f. */
static size_t base_bytes(const char *name)
{
    size_t bytes = strlen(name), digits = bytes;
    while (digits && name[digits - 1] >= '0' && name[digits - 1] <= '9')
        digits--;
    return digits > 1 && digits < bytes && name[digits - 1] == '\'' ? digits - 1 : bytes;
}

/* ---- names in binaries ---- */

struct name_index {
    const struct image_function **by_name;
    size_t count;
};

static int by_name(const void *a, const void *b)
{
    return strcmp((*(const struct image_function *const *)a)->name,
                  (*(const struct image_function *const *)b)->name);
}

static struct name_index index_names(const struct image *image)
{
    const struct image_function *functions;
    size_t count = image_functions(image, &functions);
    struct name_index index = {.by_name = plan_allocate(count, sizeof *index.by_name)};
    for (size_t i = 0; i < count; i++)
        if (functions[i].name)
            index.by_name[index.count++] = &functions[i];
    qsort(index.by_name, index.count, sizeof *index.by_name, by_name);
    return index;
}

static uint64_t find_offset(const struct image *image, const struct name_index *index, const char *name)
{
    struct image_function wanted = {.name = name};
    const struct image_function *key = &wanted, **found;
    found = index->count ? bsearch(&key, index->by_name, index->count, sizeof key, by_name) : NULL;
    if (found)
        return (*found)->offset;
    /* Not the most public of its names; patterns cannot be looked up that way. */
    if (strpbrk(name, "*?!"))
        return PLAN_NO_OFFSET;
    const struct image_function *functions;
    size_t count = image_functions(image, &functions);
    for (size_t i = 0; i < count; i++)
        if (image_matches(image, functions[i].offset, name))
            return functions[i].offset;
    return PLAN_NO_OFFSET;
}

/* Code that runs before or behind a program's own, or between its functions: it has no entry in the call-frame information, so that
   no build's file has it as a function. Recorders name it when they have symbols, else by its address. */
static bool is_between_functions(const struct image *image, const char *name)
{
    static const char *const startup[] = {"_start",
                                          "_init",
                                          "_fini",
                                          "(below main)",
                                          "deregister_tm_clones",
                                          "register_tm_clones",
                                          "frame_dummy",
                                          "__do_global_dtors_aux"};
    for (size_t i = 0; i < sizeof startup / sizeof *startup; i++)
        if (strcmp(name, startup[i]) == 0)
            return true;
    char *end;
    unsigned long long offset = strtoull(name, &end, 16);
    if (strstr(name, " [PLT]"))
        return true;
    return strncmp(name, "0x", 2) == 0 && *end == 0 && !image_function_at(image, offset);
}

/* Resolves the functions of one object. What is missing is told when a manifest is asked for. */
static int resolve_object(struct base_error *error, struct plan *plan, uint32_t o,
                          const struct profile *profile, const struct plan_options *options)
{
    struct plan_object *object = &plan->objects[o];
    const char *path = object->path;
    struct image *image;
    struct base_error reason;
    const uint8_t *id;
    if (strcmp(path, PROFILE_MAIN) == 0 && options->program)
        path = options->program;
    if (path[0] != '/' && !(options->program && path == options->program)) {
        object->problem = "the profile does not say which file it is; name it with --program";
        return 0;
    }
    if (image_open(&reason, &image, path)) {
        object->problem = "the file is not on this machine, or cannot be read";
        return 0;
    }
    size_t bytes = image_build_id(image, &id);
    char text[41] = "";
    if (bytes == 0 || bytes > sizeof object->build_id)
        object->problem = "the file has no build-id";
    else
        base_hex(text, id, bytes);
    const char *recorded = profile->objects[o].build_id;
    if (*recorded && strcmp(recorded, text) != 0) {
        base_fail(error, BASE_EXIT_INPUT,
                  "the profile is of another build of %s (build-id %s, here it is %s); record it anew", path,
                  recorded, *text ? text : "missing");
        image_close(image);
        return -1;
    }
    struct name_index index = index_names(image);
    for (size_t f = 0; f < plan->function_count; f++) {
        struct plan_function *function = &plan->functions[f];
        if (function->object != o)
            continue;
        if (function->offset == PLAN_NO_OFFSET) {
            function->offset = find_offset(image, &index, function->name);
        } else {
            /* An address out of the profile is a function only if the binary has one that starts there. */
            const struct image_function *at = image_function_at(image, function->offset);
            if (!at || at->offset != function->offset)
                function->offset = PLAN_NO_OFFSET;
        }
        if (object->problem || function->offset <= UINT32_MAX)
            continue;
        /* No member can watch it, so that it is no part of what is divided. */
        function->own = false;
        function->lost = is_between_functions(image, function->name) ? PLAN_LOST_BETWEEN : PLAN_LOST_MISSING;
    }
    if (!object->problem) {
        memcpy(object->build_id, id, bytes);
        object->build_id_bytes = (uint32_t)bytes;
    }
    free(index.by_name);
    image_close(image);
    return 0;
}

/* ---- joining ---- */

static const struct profile *sorted_profile; /* qsort has no context argument */
static const struct plan_function *sorted_functions;

static int by_base_name(const void *left, const void *right)
{
    const struct profile_function *a = &sorted_profile->functions[*(const uint32_t *)left];
    const struct profile_function *b = &sorted_profile->functions[*(const uint32_t *)right];
    if (a->object != b->object)
        return a->object < b->object ? -1 : 1;
    size_t bytes_a = base_bytes(a->name), bytes_b = base_bytes(b->name);
    int order = strncmp(a->name, b->name, bytes_a < bytes_b ? bytes_a : bytes_b);
    return order ? order : (bytes_a > bytes_b) - (bytes_a < bytes_b);
}

static int by_place(const void *left, const void *right)
{
    const struct plan_function *a = &sorted_functions[*(const uint32_t *)left];
    const struct plan_function *b = &sorted_functions[*(const uint32_t *)right];
    if (a->object != b->object)
        return a->object < b->object ? -1 : 1;
    return (a->offset > b->offset) - (a->offset < b->offset);
}

static int by_own_then_cost(const void *left, const void *right)
{
    const struct plan_function *a = &sorted_functions[*(const uint32_t *)left];
    const struct plan_function *b = &sorted_functions[*(const uint32_t *)right];
    if (a->own != b->own)
        return a->own ? -1 : 1;
    if (a->cost != b->cost)
        return a->cost > b->cost ? -1 : 1;
    if (a->object != b->object)
        return a->object < b->object ? -1 : 1;
    return strcmp(a->name, b->name);
}

static uint32_t *iota(size_t count)
{
    uint32_t *numbers = plan_allocate(count, sizeof *numbers);
    for (size_t i = 0; i < count; i++)
        numbers[i] = (uint32_t)i;
    return numbers;
}

/* Joins functions whose neighbours in `order` `same` calls equal. Out: place[], old index to new. */
static void join(struct plan *plan, uint32_t *place, const uint32_t *order)
{
    struct plan_function *joined = plan_allocate(plan->function_count, sizeof *joined);
    size_t count = 0;
    for (size_t i = 0; i < plan->function_count; i++) {
        const struct plan_function *f = &plan->functions[order[i]];
        struct plan_function *last = count ? &joined[count - 1] : NULL;
        if (last && f->offset != PLAN_NO_OFFSET && last->object == f->object && last->offset == f->offset) {
            last->cost += f->cost;
            last->calls += f->calls;
            free((void *)(uintptr_t)f->name);
        } else {
            joined[count++] = *f;
        }
        place[order[i]] = (uint32_t)(count - 1);
    }
    free(plan->functions);
    plan->functions = joined;
    plan->function_count = count;
}

/* One row for every name, costs summed over recursion levels. Out: place[], row of the profile to function. */
static void join_recursion(struct plan *plan, uint32_t *place, const struct profile *profile)
{
    uint32_t *order = iota(profile->function_count);
    sorted_profile = profile;
    qsort(order, profile->function_count, sizeof *order, by_base_name);
    plan->functions = plan_allocate(profile->function_count, sizeof *plan->functions);
    for (size_t i = 0; i < profile->function_count; i++) {
        const struct profile_function *f = &profile->functions[order[i]];
        if (i == 0 || by_base_name(&order[i - 1], &order[i]) != 0)
            plan->functions[plan->function_count++] = (struct plan_function){
                .name = strndup(f->name, base_bytes(f->name)), .object = f->object, .offset = PLAN_NO_OFFSET};
        struct plan_function *into = &plan->functions[plan->function_count - 1];
        into->cost += f->self;
        into->calls += f->calls;
        if (into->offset == PLAN_NO_OFFSET && f->offset != PROFILE_NO_OFFSET)
            into->offset = f->offset;
        place[order[i]] = (uint32_t)(plan->function_count - 1);
    }
    free(order);
}

static void move_edges(struct plan *plan, const uint32_t *place)
{
    for (size_t e = 0; e < plan->edge_count; e++) {
        plan->edges[e].caller = place[plan->edges[e].caller];
        plan->edges[e].callee = place[plan->edges[e].callee];
    }
}

int plan_nodes(struct base_error *error, struct plan *plan, const struct profile *profile,
               const struct plan_options *options)
{
    plan->metric = profile->metric;
    plan->object_count = profile->object_count;
    plan->objects = plan_allocate(profile->object_count, sizeof *plan->objects);
    for (size_t o = 0; o < profile->object_count; o++) {
        const char *path = profile->objects[o].path;
        plan->objects[o].path = path;
        plan->objects[o].own = options->objects
                                   ? is_listed(options->objects, path)
                                   : !is_system(path) && strcmp(path, "???") != 0 && *path != '[';
    }
    uint32_t *place = plan_allocate(profile->function_count, sizeof *place);
    join_recursion(plan, place, profile);
    plan->edge_count = profile->edge_count;
    plan->edges = plan_allocate(profile->edge_count, sizeof *plan->edges);
    if (profile->edge_count)
        memcpy(plan->edges, profile->edges, profile->edge_count * sizeof *plan->edges);
    move_edges(plan, place);
    free(place);

    for (size_t f = 0; f < plan->function_count; f++)
        plan->functions[f].own = plan->objects[plan->functions[f].object].own;
    for (uint32_t o = 0; o < plan->object_count; o++)
        if (plan->objects[o].own && resolve_object(error, plan, o, profile, options))
            return -1;

    /* Two names of one entry are one function; then the order in which people read them. */
    for (int pass = 0; pass < 2; pass++) {
        uint32_t *order = iota(plan->function_count);
        place = plan_allocate(plan->function_count, sizeof *place);
        sorted_functions = plan->functions;
        qsort(order, plan->function_count, sizeof *order, pass ? by_own_then_cost : by_place);
        join(plan, place, order);
        move_edges(plan, place);
        free(order);
        free(place);
    }
    for (size_t f = 0; f < plan->function_count; f++) {
        if (plan->functions[f].own)
            plan->own_count++;
        else if (plan->functions[f].lost) {
            plan->lost_count++;
            plan->lost_cost += plan->functions[f].cost;
        } else
            plan->excluded_cost += plan->functions[f].cost;
        plan->total += plan->functions[f].own ? (double)plan->functions[f].cost : 0;
    }
    if (plan->own_count == 0 && plan->lost_count)
        return base_fail(
            error, BASE_EXIT_INPUT,
            "none of the %zu functions of this profile is in the binaries here: they are other builds "
            "than the profile's; record the profile anew",
            plan->lost_count);
    if (plan->own_count == 0 || plan->total <= 0)
        return base_fail(
            error, BASE_EXIT_INPUT,
            "the profile holds no work in the program's own objects; see testudo profile show, and choose "
            "with --objects");
    return 0;
}
