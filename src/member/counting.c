/* The counting file from the supervisor's side: made before the program starts, added up when it has ended. Processes of a
   program that is no friend have written it: indices are checked, texts cut, and no number is taken for more than it is. */
#define _GNU_SOURCE
#include "member/private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int member__counting_start(struct base_error *error, struct member *member)
{
    int fd = memfd_create("testudo-counting", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return base_fail(error, BASE_EXIT_ENVIRONMENT, "cannot make the counting file (memfd_create): %s",
                         strerror(errno));
    member->counting_fd = member__move_high(fd);
    if (ftruncate(member->counting_fd, (off_t)WIRE_COUNTING_BYTES) ||
        fcntl(member->counting_fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL))
        return base_fail(error, BASE_EXIT_ENVIRONMENT, "cannot size the counting file: %s", strerror(errno));
    void *map = mmap(NULL, sizeof(struct wire_counting), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE,
                     member->counting_fd, 0);
    if (map == MAP_FAILED)
        return base_fail(error, BASE_EXIT_ENVIRONMENT, "cannot map the counting file: %s", strerror(errno));
    member->counting = map;
    member->counting->bytes = WIRE_COUNTING_BYTES;
    member->counting->sample_us = member->options.sample_us;
    member->counting->segment_count = 1; /* 0 is no segment */
    member->counting->area_count = 1;    /* 0 serves threads that have none */
    member->counting->magic = WIRE_COUNTING_MAGIC;
    member->page->config.counting = (uint32_t)member->counting_fd + 1;
    return 0;
}

void member__counting_stop(struct member *member)
{
    if (member->counting)
        munmap(member->counting, sizeof *member->counting);
    if (member->counting_fd >= 0)
        close(member->counting_fd);
    member->counting = NULL;
    member->counting_fd = -1;
}

/* ---- adding up ---------------------------------------------------------------------------------------------- */

/* Functions of the program come first, by their number on the control page; what they call beyond it behind them. */
struct sums {
    struct member *member;
    struct member_counts *out;
    struct wire_segment *segments; /* our copy */
    uint32_t segment_count;
    uint64_t *words;   /* of one area */
    uint64_t *totals;  /* of all areas */
    uint32_t *place;   /* page index to counted function, or NONE */
    uint32_t *natives; /* by hash of object and name: index + 1 of a system function, or 0 */
    size_t native_room, function_room, edge_room;
    bool failed; /* out of memory */
};
enum { NONE = 0xffffffff };

static void *grow(struct sums *s, void *array, size_t *room, size_t used, size_t size)
{
    if (used < *room)
        return array;
    *room = 2 * *room + 256;
    void *larger = reallocarray(array, *room, size);
    s->failed |= !larger;
    return larger ? larger : array;
}

static uint32_t add_function(struct sums *s, uint32_t object, uint64_t offset, const char *name)
{
    struct member_counts *out = s->out;
    out->functions = grow(s, out->functions, &s->function_room, out->function_count, sizeof *out->functions);
    char *copy = strdup(name);
    if (s->failed || !copy) {
        s->failed = true;
        free(copy);
        return NONE;
    }
    out->functions[out->function_count] =
        (struct member_counted_function){.object = object, .offset = offset, .name = copy};
    return (uint32_t)out->function_count++;
}

/* Where a system function stands in the table, or would stand. */
static uint32_t *native_slot(struct sums *s, uint32_t object, const char *name)
{
    uint64_t hash = core_hash(core_hash(CORE_HASH_SEED, &object, sizeof object), name, strlen(name));
    size_t at = hash & (s->native_room - 1);
    for (; s->natives[at]; at = (at + 1) & (s->native_room - 1)) {
        const struct member_counted_function *f = &s->out->functions[s->natives[at] - 1];
        if (f->object == object && !strcmp(f->name, name))
            break;
    }
    return &s->natives[at];
}

static bool widen_natives(struct sums *s)
{
    size_t used = s->out->function_count - s->out->own_count;
    if (2 * (used + 1) <= s->native_room)
        return true;
    free(s->natives);
    s->native_room = s->native_room ? 2 * s->native_room : 1024;
    s->natives = calloc(s->native_room, sizeof *s->natives);
    for (size_t i = s->out->own_count; s->natives && i < s->out->function_count; i++)
        *native_slot(s, s->out->functions[i].object, s->out->functions[i].name) = (uint32_t)i + 1;
    s->failed |= !s->natives;
    return s->natives != NULL;
}

/* A function of a system object, of which only the calls are known. */
static uint32_t find_native(struct sums *s, uint32_t object, uint64_t offset, const char *name)
{
    if (s->failed || !widen_natives(s))
        return NONE;
    uint32_t *slot = native_slot(s, object, name);
    if (!*slot)
        *slot = add_function(s, object, offset, name) + 1; /* NONE becomes 0 */
    return *slot - 1;
}

static uint32_t callee_of(struct sums *s, uint64_t callee)
{
    uint32_t low = (uint32_t)callee, object = callee >> 32 & 0xff;
    char text[WIRE_NAME_BYTES + 8];
    switch (WIRE_CALLEE_KIND(callee)) {
    case 1:
        return low < WIRE_FUNCTIONS_MAX ? s->place[low] : NONE;
    case 2:
        if (low >= WIRE_NAMES_MAX)
            return NONE;
        memcpy(text, s->member->counting->names[low], sizeof text);
        text[sizeof text - 1] = 0;
        object = (uint8_t)text[0];
        for (char *c = text + 1; *c; c++)
            if ((unsigned char)*c <= ' ')
                *c = '?';
        return text[1] && s->member->objects[object].known
                   ? find_native(s, object, MEMBER_NO_OFFSET, text + 1)
                   : NONE;
    case 3: {
        if (!s->member->objects[object].known)
            return NONE;
        struct image *image = member__image(&s->member->objects[object]);
        uint64_t into = 0;
        const char *name = image ? image_name(image, &into, low) : NULL;
        snprintf(text, sizeof text, "0x%x", low);
        return find_native(s, object, low, name && !into ? name : text);
    }
    default:
        return NONE;
    }
}

static void add_edge(struct sums *s, uint32_t caller, uint64_t to, uint64_t calls)
{
    struct member_counts *out = s->out;
    uint32_t from = caller < WIRE_FUNCTIONS_MAX ? s->place[caller] : NONE;
    uint32_t callee = calls && from != NONE ? callee_of(s, to) : NONE;
    if (callee == NONE)
        return;
    out->edges = grow(s, out->edges, &s->edge_room, out->edge_count, sizeof *out->edges);
    if (s->failed)
        return;
    out->edges[out->edge_count++] = (struct member_counted_edge){from, callee, calls};
    /* Of what runs natively, the calls of it are all that is known. */
    if (callee >= out->own_count || out->functions[callee].refused)
        out->functions[callee].calls += calls;
}

static void add_segment(struct sums *s, uint32_t segment, uint64_t n)
{
    const struct wire_segment *is = &s->segments[segment];
    if (is->function >= WIRE_FUNCTIONS_MAX || s->place[is->function] == NONE)
        return;
    struct member_counted_function *f = &s->out->functions[s->place[is->function]];
    switch (is->kind) {
    case WIRE_SEGMENT_ENTRY:
        f->calls += n;
        f->self += n * is->instructions;
        break;
    case WIRE_SEGMENT_RUN:
        f->self += n * is->instructions;
        break;
    case WIRE_SEGMENT_REPEAT:
        f->self += n;
        break;
    case WIRE_SEGMENT_ZERO:
        f->zero += n;
        break;
    case WIRE_SEGMENT_NEGATIVE:
        f->negative += n;
        f->last_negative = (int32_t)s->totals[segment + 1];
        break;
    case WIRE_SEGMENT_LEFT:
        s->out->left += n;
        break;
    default:
        break;
    }
    if (is->kind <= WIRE_SEGMENT_ENTRY)
        add_edge(s, is->function, is->callee, n);
}

/* Words [from, end) of an area have been read; what stands behind a segment's first word has no kind of its own. */
static void add_words(struct sums *s, uint32_t from, uint32_t end)
{
    for (uint32_t i = from; i < end; i++)
        switch (s->segments[i].kind) {
        case WIRE_SEGMENT_FREE:
            break;
        case WIRE_SEGMENT_POINTER:
            add_edge(s, s->segments[i].function, s->words[i + 1], s->words[i + 2]);
            break;
        case WIRE_SEGMENT_NEGATIVE:
            if (s->words[i])
                s->totals[i + 1] = s->words[i + 1]; /* a value, no count */
            /* fall through */
        default:
            s->totals[i] += s->words[i];
        }
}

/* Reads what was written of an area: most of the file are holes. `words` is zero before and after. */
static int add_area(struct base_error *error, struct sums *s, uint32_t area)
{
    const int fd = s->member->counting_fd;
    const off_t start = (off_t)(sizeof(struct wire_counting) + area * WIRE_AREA_BYTES);
    const off_t end = start + (off_t)(s->segment_count * sizeof *s->words);
    uint32_t done = 1;
    for (off_t at = start; at < end;) {
        off_t from = lseek(fd, at, SEEK_DATA), to = from < 0 ? from : lseek(fd, from, SEEK_HOLE);
        if (from < 0 || from >= end) /* ENXIO: nothing but a hole follows */
            break;
        to = to < 0 || to > end ? end : to;
        uint32_t first = (uint32_t)((from - start) / 8), last = (uint32_t)((to - start) / 8);
        for (off_t got = from; got < to;) {
            ssize_t n = pread(fd, (char *)s->words + (got - start), (size_t)(to - got), got);
            if (n == 0 || (n < 0 && errno != EINTR))
                return base_fail(error, BASE_EXIT_FAILURE, "cannot read the counting file: %s",
                                 strerror(errno));
            got += n > 0 ? n : 0;
        }
        /* A segment of several words may begin just before a hole's end. */
        uint32_t begin = first > done + 2 ? first - 2 : done;
        add_words(s, begin, last);
        done = last;
        memset(s->words + first, 0, (last - first) * sizeof *s->words);
        at = to;
    }
    return 0;
}

/* ---- the program's own functions ------------------------------------------------------------------------------- */

/* A name that no other function of the object has: static functions of several files may share one. */
static void name_function(char *text, size_t room, struct sums *s, const struct object *object, uint32_t page)
{
    uint32_t offset = s->member->page->functions[page].offset;
    struct image *image = object->file ? object->file->image : NULL;
    const struct image_function *known = image ? image_function_at(image, offset) : NULL;
    if (!known || known->offset != offset || !known->name) {
        snprintf(text, room, "0x%x", offset);
        return;
    }
    snprintf(text, room, "%s", known->name);
}

static int by_name_then_offset(const void *left, const void *right)
{
    const struct member_counted_function *a = left, *b = right;
    int order = a->object != b->object ? (a->object < b->object ? -1 : 1) : strcmp(a->name, b->name);
    return order ? order : (a->offset > b->offset) - (a->offset < b->offset);
}

static void tell_namesakes_apart(struct sums *s)
{
    struct member_counts *out = s->out;
    const char *first = NULL;
    for (size_t i = 1; i < out->own_count && !s->failed; i++) {
        struct member_counted_function *f = &out->functions[i], *before = f - 1;
        if (f->object != before->object || strcmp(f->name, first ? first : before->name) != 0) {
            first = NULL;
            continue;
        }
        if (!first)
            first = before->name;
        char *longer;
        if (asprintf(&longer, "%s@0x%llx", f->name, (unsigned long long)f->offset) < 0) {
            s->failed = true;
            return;
        }
        free((char *)(uintptr_t)f->name);
        f->name = longer;
    }
}

static void list_functions(struct sums *s)
{
    struct member *member = s->member;
    for (uint32_t o = 0; o < WIRE_OBJECTS_MAX && !s->failed; o++) {
        struct object *object = &member->objects[o];
        if (!object->known || !object->own)
            continue;
        member__image(object);
        for (uint32_t i = object->first; i < object->first + object->count && !s->failed; i++) {
            char name[1024];
            name_function(name, sizeof name, s, object, i);
            uint32_t at = add_function(s, o, member->page->functions[i].offset, name);
            if (at == NONE)
                return;
            s->out->functions[at].page_index = i;
            s->out->functions[at].refused = member->page->functions[i].refusal != CORE_REFUSAL_NONE;
        }
    }
    s->out->own_count = s->out->function_count;
    if (s->out->own_count)
        qsort(s->out->functions, s->out->own_count, sizeof *s->out->functions, by_name_then_offset);
    tell_namesakes_apart(s);
    for (uint32_t i = 0; i < s->out->own_count; i++)
        s->place[s->out->functions[i].page_index] = i;
}

/* CPU time: of own functions, and of the other objects as wholes. */
static void add_samples(struct sums *s)
{
    const struct wire_counting *counting = s->member->counting;
    for (size_t i = 0; i < s->out->own_count; i++)
        s->out->functions[i].time_ns =
            __atomic_load_n(&counting->function_ns[s->out->functions[i].page_index], __ATOMIC_RELAXED);
    for (uint32_t o = 0; o < WIRE_OBJECTS_MAX; o++) {
        uint64_t ns = __atomic_load_n(&counting->object_ns[o], __ATOMIC_RELAXED);
        const char *path = s->member->objects[o].path, *slash = strrchr(path, '/');
        /* What the runtime itself takes, to translate, is not the program's. */
        uint32_t at =
            ns && s->member->objects[o].known && !core_glob("libtestudo-*", slash ? slash + 1 : path)
                ? find_native(s, o, MEMBER_NO_OFFSET, "(functions not told apart)")
                : NONE;
        if (at != NONE)
            s->out->functions[at].time_ns = ns;
    }
}

int member_counts(struct base_error *error, struct member_counts *out, struct member *member)
{
    *out = (struct member_counts){0};
    const struct wire_counting *counting = member->counting;
    uint32_t count = __atomic_load_n(&counting->segment_count, __ATOMIC_ACQUIRE);
    uint32_t areas = __atomic_load_n(&counting->area_count, __ATOMIC_ACQUIRE);
    struct sums s = {.member = member, .out = out};
    s.segment_count = count < WIRE_SEGMENTS_MAX ? count : WIRE_SEGMENTS_MAX;
    s.segments = malloc((s.segment_count + 1) * sizeof *s.segments);
    s.words = calloc(s.segment_count + 3, sizeof *s.words);
    s.totals = calloc(s.segment_count + 3, sizeof *s.totals);
    s.place = malloc(WIRE_FUNCTIONS_MAX * sizeof *s.place);
    s.failed = !s.segments || !s.words || !s.totals || !s.place;
    int status = 0;
    if (!s.failed) {
        memcpy(s.segments, counting->segments, s.segment_count * sizeof *s.segments);
        memset(s.place, 0xff, WIRE_FUNCTIONS_MAX * sizeof *s.place);
        member__answer(member);
        list_functions(&s);
    }
    for (uint32_t a = 0; a < areas && a < WIRE_AREAS_MAX && !s.failed && !status; a++)
        status = add_area(error, &s, a);
    for (uint32_t i = 1; i < s.segment_count && !s.failed && !status; i++)
        if (s.totals[i])
            add_segment(&s, i, s.totals[i]);
    for (uint32_t i = 0; i < WIRE_EDGES_MAX && !s.failed && !status; i++) {
        uint64_t key = counting->edges[i].key;
        if (key)
            add_edge(&s, (uint32_t)((key - 1) >> WIRE_CALLEE_BITS),
                     (key - 1) & ((1ull << WIRE_CALLEE_BITS) - 1), counting->edges[i].calls);
    }
    if (!s.failed && !status && counting->sample_us)
        add_samples(&s);
    for (uint32_t o = 0; o < WIRE_OBJECTS_MAX; o++) {
        out->objects[o] = (struct member_counted_object){.path = member->objects[o].path};
        base_hex(out->objects[o].build_id, member->objects[o].build_id, member->objects[o].build_id_bytes);
    }
    out->shared_areas = counting->lost[WIRE_LOST_AREAS];
    out->uncounted_functions = counting->lost[WIRE_LOST_SEGMENTS];
    out->lost_calls = counting->lost[WIRE_LOST_EDGES];
    free(s.segments);
    free(s.words);
    free(s.totals);
    free(s.place);
    free(s.natives);
    if (s.failed && !status)
        status = base_fail(error, BASE_EXIT_FAILURE, "out of memory");
    if (status)
        member_counts_free(out);
    return status;
}

void member_counts_free(struct member_counts *counts)
{
    for (size_t i = 0; i < counts->function_count; i++)
        free((char *)(uintptr_t)counts->functions[i].name);
    free(counts->functions);
    free(counts->edges);
    *counts = (struct member_counts){0};
}
