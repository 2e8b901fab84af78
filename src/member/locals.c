/* Local variables of an object's functions, from its debug information, laid down for the runtime. */
#include "member/private.h"

_Static_assert((int)IMAGE_FRAME_CFA == (int)WIRE_FRAME_CFA && (int)IMAGE_FRAME_RBP == (int)WIRE_FRAME_RBP &&
                   (int)IMAGE_FRAME_RSP == (int)WIRE_FRAME_RSP,
               "one order of frame bases");

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

void member__locals(struct member *member, struct image *image, const struct object *object)
{
    const struct image_local *locals;
    size_t known = image_locals(image, &locals);
    struct wire_locals *of = &member->page->locals_of[object - member->objects];
    uint32_t first = member->locals_used, n = first;
    __atomic_store_n(&of->count, 0, __ATOMIC_RELAXED);
    for (uint32_t i = object->first; known && i < object->first + object->count; i++) {
        uint32_t offset = __atomic_load_n(&member->page->functions[i].offset, __ATOMIC_RELAXED);
        for (size_t l = first_of(locals, known, offset);
             l < known && locals[l].function == offset && n < WIRE_LOCALS_MAX; l++)
            member->page->locals[n++] = (struct wire_local){.function = i,
                                                            .offset = locals[l].offset,
                                                            .bytes = locals[l].bytes,
                                                            .base = locals[l].base,
                                                            .is_alone = locals[l].is_alone};
    }
    member->locals_used = n;
    of->first = first;
    __atomic_store_n(&of->count, n - first, __ATOMIC_RELEASE);
}
