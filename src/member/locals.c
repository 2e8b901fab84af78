/* Local variables of an object's functions, from its debug information, laid down for the runtime. */
#include "member/private.h"

_Static_assert((int)IMAGE_FRAME_CFA == (int)WIRE_FRAME_CFA && (int)IMAGE_FRAME_RBP == (int)WIRE_FRAME_RBP &&
                   (int)IMAGE_FRAME_RSP == (int)WIRE_FRAME_RSP,
               "one order of frame bases");
_Static_assert((int)IMAGE_LOCAL_ALONE == (int)WIRE_LOCAL_ALONE &&
                   (int)IMAGE_LOCAL_PLAIN == (int)WIRE_LOCAL_PLAIN &&
                   (int)IMAGE_LOCAL_ARRAY == (int)WIRE_LOCAL_ARRAY &&
                   (int)IMAGE_LOCAL_RECORD == (int)WIRE_LOCAL_RECORD &&
                   (int)IMAGE_LOCAL_WORDS == (int)WIRE_LOCAL_WORDS &&
                   (int)IMAGE_LOCAL_FOREIGN == (int)WIRE_LOCAL_FOREIGN &&
                   (int)IMAGE_LOCAL_SCOPED == (int)WIRE_LOCAL_SCOPED,
               "one set of flags");

static size_t first_of(const struct image_local *locals, size_t count, uint64_t function)
{
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (locals[middle].function < function)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The locals of one object's functions, in their order. Writes none when `out` is NULL. Returns how many there are. */
static uint32_t lay_down(const struct member *member, struct wire_local *out, uint32_t room,
                         struct image *image, const struct object *object)
{
    const struct image_local *locals;
    size_t known = image_locals(image, &locals);
    uint32_t n = 0;
    for (uint32_t i = object->first; known && i < object->first + object->count; i++) {
        uint32_t offset = __atomic_load_n(&member->page->functions[i].offset, __ATOMIC_RELAXED);
        for (size_t l = first_of(locals, known, offset);
             l < known && locals[l].function == offset && n < room; l++, n++)
            if (out)
                out[n] = (struct wire_local){.function = i,
                                             .offset = locals[l].offset,
                                             .bytes = locals[l].bytes,
                                             .base = locals[l].base,
                                             .flags = locals[l].flags};
    }
    return n;
}

/* The lowest room for `count` locals that no other object has; where there is none, the largest. Returns its length. */
static uint32_t find_room(const struct member *member, uint32_t *first, uint32_t count)
{
    uint32_t from = 0, best = 0;
    *first = 0;
    for (;;) {
        uint32_t next = WIRE_LOCALS_MAX, after = WIRE_LOCALS_MAX;
        for (uint32_t i = 0; i < WIRE_OBJECTS_MAX; i++) {
            const struct object *o = &member->objects[i];
            if (o->known && o->locals_count && o->locals_first >= from && o->locals_first < next) {
                next = o->locals_first;
                after = next + o->locals_count;
            }
        }
        if (next - from > best) {
            *first = from;
            best = next - from;
        }
        if (best >= count || next == WIRE_LOCALS_MAX)
            return best < count ? best : count;
        from = after;
    }
}

void member__locals(struct member *member, struct image *image, struct object *object)
{
    struct wire_locals *of = &member->page->locals_of[object - member->objects];
    uint32_t first, room;
    __atomic_store_n(&of->count, 0, __ATOMIC_RELAXED);
    object->locals_count = 0;
    room = find_room(member, &first, lay_down(member, NULL, WIRE_LOCALS_MAX, image, object));
    object->locals_first = of->first = first;
    object->locals_count = lay_down(member, &member->page->locals[first], room, image, object);
    __atomic_store_n(&of->count, object->locals_count, __ATOMIC_RELEASE);
}
