/* Member names numbered in the order of their appearance: open addressing over a hash of the name, for rosters of many
   thousands. */
#include "community/internal.h"

#include <stdlib.h>
#include <string.h>

static struct community_name *slot_of(struct community_name *slots, uint32_t room, const char *name)
{
    uint32_t i = (uint32_t)core_hash(CORE_HASH_SEED, name, strlen(name)) & (room - 1);
    while (slots[i].index && strcmp(slots[i].name, name))
        i = (i + 1) & (room - 1);
    return &slots[i];
}

static void grow(struct community_names *names)
{
    uint32_t room = names->room ? 2 * names->room : 64;
    struct community_name *larger = calloc(room, sizeof *larger);
    if (!larger)
        abort(); /* a steward without memory: better restarted than forgetful */
    for (uint32_t i = 0; i < names->room; i++)
        if (names->slots[i].index)
            *slot_of(larger, room, names->slots[i].name) = names->slots[i];
    free(names->slots);
    names->slots = larger;
    names->room = room;
}

uint32_t community_names_index(struct community_names *names, const char *name)
{
    if (names->count * 2 >= names->room)
        grow(names);
    struct community_name *slot = slot_of(names->slots, names->room, name);
    if (!slot->index) {
        snprintf(slot->name, sizeof slot->name, "%s", name);
        slot->index = ++names->count;
    }
    return slot->index - 1;
}

void community_names_free(struct community_names *names)
{
    free(names->slots);
    *names = (struct community_names){0};
}
