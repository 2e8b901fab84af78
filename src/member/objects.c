/* Objects that the runtime lists: checked, copied, answered with levels and return kinds. */
#include "member/private.h"

#include <stdlib.h>
#include <string.h>

/* The program itself may be listed by the name that every process has for itself. */
static void settle_path(const struct member *member, char *path, size_t room)
{
    if (strcmp(path, "/proc/self/exe") != 0 && path[0])
        return;
    char link[64];
    snprintf(link, sizeof link, "/proc/%d/exe", member_pid(member));
    char *real = member_pid(member) ? realpath(link, NULL) : NULL;
    if (real)
        snprintf(path, room, "%s", real);
    free(real);
}

static struct extra *keep_file(struct member *member, const char *path, bool listed, const uint8_t *build_id,
                               uint32_t build_id_bytes)
{
    for (struct extra *e = member->extras; e; e = e->next)
        if (!strcmp(e->path, path) && e->listed == listed && e->build_id_bytes == build_id_bytes &&
            !memcmp(e->build_id, build_id, build_id_bytes))
            return e;
    struct extra *extra = calloc(1, sizeof *extra);
    char *copy = extra ? strdup(path) : NULL;
    if (!copy) {
        free(extra);
        return NULL;
    }
    extra->path = copy;
    extra->listed = listed;
    memcpy(extra->build_id, build_id, build_id_bytes);
    extra->build_id_bytes = build_id_bytes;
    extra->next = member->extras;
    member->extras = extra;
    return extra;
}

/* Copies an entry, checking each field. Returns whether it makes sense. */
static bool copy_entry(struct member *member, struct object *object, const struct wire_object *shared)
{
    struct wire_object entry;
    memcpy(&entry, shared, sizeof entry); /* once: what is checked is what is used */
    if (entry.first_function > WIRE_FUNCTIONS_MAX ||
        entry.function_count > WIRE_FUNCTIONS_MAX - entry.first_function)
        return false;
    object->first = entry.first_function;
    object->count = entry.function_count;
    object->own = entry.own == 1;
    object->own_malloc = entry.own_malloc;
    object->build_id_bytes = entry.build_id_bytes <= IMAGE_BUILD_ID_MAX ? entry.build_id_bytes : 0;
    memcpy(object->build_id, entry.build_id, object->build_id_bytes);
    entry.path[sizeof entry.path - 1] = 0;
    settle_path(member, entry.path, sizeof entry.path);
    object->file = keep_file(member, entry.path, true, object->build_id, object->build_id_bytes);
    object->path = object->file ? object->file->path : "?";
    return true;
}

static bool has_build_id(const struct image *image, const uint8_t *build_id, size_t bytes)
{
    const uint8_t *id;
    size_t have = image_build_id(image, &id);
    return have == bytes && !memcmp(id, build_id, bytes);
}

static struct image *image_of(struct extra *file)
{
    if (file->image_tried)
        return file->image;
    file->image_tried = true;
    /* The name came from the program: only a file with the same build-id is the one that it has loaded. */
    if (!image_open(NULL, &file->image, file->path) && file->listed &&
        !has_build_id(file->image, file->build_id, file->build_id_bytes)) {
        image_close(file->image);
        file->image = NULL;
    }
    return file->image;
}

struct image *member__image(struct object *object)
{
    return object->file ? image_of(object->file) : NULL;
}

const char *member__keep_path(struct member *member, const char *path)
{
    for (uint32_t i = 0; i < WIRE_OBJECTS_MAX; i++)
        if (member->objects[i].known && !strcmp(member->objects[i].path, path))
            return member->objects[i].path;
    static const uint8_t none[1];
    struct extra *extra = keep_file(member, path, false, none, 0);
    return extra ? extra->path : NULL;
}

struct image *member__image_of(struct member *member, const char *path)
{
    for (struct extra *e = member->extras; e; e = e->next)
        if (e->path == path)
            return image_of(e);
    return NULL;
}

bool member__warm(struct member *member)
{
    for (uint32_t i = 0; i < WIRE_OBJECTS_MAX; i++) {
        struct object *object = &member->objects[i];
        if (object->known && object->file && !object->file->image_tried) {
            member__image(object);
            return true;
        }
    }
    return false;
}

static void set_level(struct member *member, const struct member_object *object, uint32_t index)
{
    struct wire_function *shared = &member->page->functions[index];
    struct member_function function = {
        .offset = __atomic_load_n(&shared->offset, __ATOMIC_RELAXED),
        .bytes = __atomic_load_n(&shared->bytes, __ATOMIC_RELAXED),
        .refused = __atomic_load_n(&shared->refusal, __ATOMIC_RELAXED) != CORE_REFUSAL_NONE,
    };
    const struct image_function *known =
        object->image ? image_function_at(object->image, function.offset) : NULL;
    if (known && known->offset == function.offset)
        function.name = known->name;
    enum wire_level level = member->hooks.level
                                ? member->hooks.level(member->hooks.context, object, &function)
                                : member->options.default_level;
    __atomic_store_n(&member->page->level[index], (uint8_t)level, __ATOMIC_RELEASE);
}

static void set_returns(struct member *member, struct image *image, uint32_t index)
{
    struct wire_function *shared = &member->page->functions[index];
    uint32_t offset = __atomic_load_n(&shared->offset, __ATOMIC_RELAXED);
    __atomic_store_n(&shared->returns, (uint8_t)image_returns(image, offset), __ATOMIC_RELAXED);
}

/* Heap checks that cannot be made are no secret: said once for each file. */
static void tell_allocator(const struct member *member, struct object *object)
{
    const char *slash = strrchr(object->path, '/'), *name = slash ? slash + 1 : object->path;
    struct image *image = member__image(object);
    const char *allocator = image ? image_traits(image).allocator : NULL;
    if (member->options.mode < WIRE_MODE_CHECK || !object->file || object->file->allocator_told)
        return;
    object->file->allocator_told = true;
    if (object->own_malloc == WIRE_OWN_MALLOC_USED)
        base_warn("%s brings its own malloc%s%s: faults on its heap blocks are not seen", name,
                  allocator ? ", " : "", allocator ? allocator : "");
    else if (object->own_malloc == WIRE_OWN_MALLOC_NONE && allocator)
        base_warn("%s contains %s: faults on the blocks that it makes are not seen", name, allocator);
}

static void answer(struct member *member, struct object *object, struct wire_object *shared)
{
    /* Under the lock from here on: a level that another thread sets for this object waits, and comes last. */
    pthread_mutex_lock(&member->lock);
    bool sound = copy_entry(member, object, shared);
    object->known = true;
    if (sound && object->file)
        object->file->is_past = false;
    if (sound && object->own && object->count) {
        struct member_object view = {
            .path = object->path,
            .build_id = object->build_id,
            .build_id_bytes = object->build_id_bytes,
            .image = member__image(object),
        };
        tell_allocator(member, object);
        /* All levels first: types may take longer than the runtime waits when there is much debug information. */
        for (uint32_t i = 0; i < object->count; i++)
            set_level(member, &view, object->first + i);
        for (uint32_t i = 0; view.image && i < object->count; i++)
            set_returns(member, view.image, object->first + i);
        if (view.image && member->page->config.heap_stacks)
            member__locals(member, view.image, object);
    } else if (!sound) {
        object->count = 0;
        object->path = "(object with a broken entry)";
    }
    pthread_mutex_unlock(&member->lock);
    __atomic_store_n(&shared->state, WIRE_OBJECT_ANSWERED, __ATOMIC_RELEASE);
    member__futex_wake(&shared->state);
}

void member__answer(struct member *member)
{
    uint32_t claimed = __atomic_load_n(&member->page->object_count, __ATOMIC_ACQUIRE);
    uint32_t count = claimed < WIRE_OBJECTS_MAX ? claimed : WIRE_OBJECTS_MAX;
    for (uint32_t i = 0; i < count; i++) {
        struct wire_object *shared = &member->page->objects[i];
        if (!member->objects[i].known &&
            __atomic_load_n(&shared->state, __ATOMIC_ACQUIRE) == WIRE_OBJECT_LISTED)
            answer(member, &member->objects[i], shared);
    }
}

unsigned member_set_level(struct member *member, const uint8_t *build_id, size_t build_id_bytes,
                          uint64_t offset, enum wire_level level)
{
    unsigned set = 0;
    pthread_mutex_lock(&member->lock);
    for (uint32_t o = 0; o < WIRE_OBJECTS_MAX; o++) {
        struct object *object = &member->objects[o];
        if (!object->known || !object->own || object->build_id_bytes != build_id_bytes ||
            memcmp(object->build_id, build_id, build_id_bytes) != 0)
            continue;
        for (uint32_t i = object->first; i < object->first + object->count; i++) {
            if (__atomic_load_n(&member->page->functions[i].offset, __ATOMIC_RELAXED) != offset)
                continue;
            __atomic_store_n(&member->page->level[i], (uint8_t)level, __ATOMIC_RELEASE);
            set++;
        }
    }
    pthread_mutex_unlock(&member->lock);
    return set;
}

void member__count(const struct member *member, struct member_stats *stats, const struct object *object)
{
    stats->objects_own++;
    for (uint32_t i = object->first; i < object->first + object->count; i++) {
        const struct wire_function *f = &member->page->functions[i];
        uint8_t refusal = __atomic_load_n(&f->refusal, __ATOMIC_RELAXED);
        stats->functions_found++;
        if (refusal != CORE_REFUSAL_NONE) {
            stats->functions_refused++;
            stats->refused[refusal < CORE_REFUSAL_COUNT ? refusal : CORE_REFUSAL_UNSUPPORTED]++;
        } else if (__atomic_load_n(&member->page->level[i], __ATOMIC_RELAXED) != WIRE_LEVEL_NATIVE) {
            stats->functions_supervised++;
        }
        stats->entries += __atomic_load_n(&f->patched, __ATOMIC_RELAXED);
    }
}

static void count_past(struct member_stats *stats, const struct member_stats *past)
{
    stats->objects_own += past->objects_own;
    stats->functions_found += past->functions_found;
    stats->functions_supervised += past->functions_supervised;
    stats->functions_refused += past->functions_refused;
    for (unsigned i = 0; i < CORE_REFUSAL_COUNT; i++)
        stats->refused[i] += past->refused[i];
    stats->entries += past->entries;
}

void member_stats(struct member *member, struct member_stats *stats)
{
    *stats = (struct member_stats){.objects_own = 0};
    pthread_mutex_lock(&member->lock);
    for (uint32_t o = 0; o < WIRE_OBJECTS_MAX; o++)
        if (member->objects[o].known && member->objects[o].own)
            member__count(member, stats, &member->objects[o]);
    for (const struct extra *e = member->extras; e; e = e->next)
        if (e->is_past)
            count_past(stats, &e->past);
    pthread_mutex_unlock(&member->lock);
    for (unsigned i = 0; i < CORE_COUNTER_COUNT; i++)
        stats->counters[i] = __atomic_load_n(&member->page->counters[i], __ATOMIC_RELAXED);
    stats->faults = stats->counters[CORE_COUNTER_FAULTS];
    stats->healed = stats->counters[CORE_COUNTER_HEALED];
}
