/* Who is there: the last status of every member, which is also its lease. */
#define _GNU_SOURCE
#include "community/internal.h"

#include <stdlib.h>
#include <string.h>

enum { LEASE_INTERVALS = 3 };
/* A member dead for longer is forgotten. */
#define FORGET_NS 600000000000u

struct community_roster {
    struct community_names names; /* index into `entries` */
    struct community_roster_entry *entries;
    unsigned count, room;
};

struct community_roster *community_roster_new(void)
{
    return calloc(1, sizeof(struct community_roster));
}

void community_roster_free(struct community_roster *roster)
{
    if (!roster)
        return;
    for (unsigned i = 0; i < roster->count; i++)
        free(roster->entries[i].message);
    free(roster->entries);
    community_names_free(&roster->names);
    free(roster);
}

static struct community_roster_entry *entry_of(struct community_roster *roster, const char *name)
{
    uint32_t index = community_names_index(&roster->names, name);
    if (index < roster->count)
        return &roster->entries[index];
    if (roster->count == roster->room) {
        unsigned room = roster->room ? 2 * roster->room : 16;
        struct community_roster_entry *larger = realloc(roster->entries, room * sizeof *larger);
        if (!larger)
            abort();
        roster->entries = larger;
        roster->room = room;
    }
    struct community_roster_entry *entry = &roster->entries[roster->count++];
    memset(entry, 0, sizeof *entry);
    snprintf(entry->seen.name, sizeof entry->seen.name, "%s", name);
    return entry;
}

void community_roster_hear(struct community_roster *roster, const struct wire_envelope *envelope,
                           const struct wire_status *status, const void *message, size_t bytes)
{
    struct community_roster_entry *entry = entry_of(roster, envelope->sender.name);
    if (entry->seen.heard_ns > envelope->time_ns)
        return;
    uint8_t *copy = malloc(bytes);
    if (!copy)
        return;
    memcpy(copy, message, bytes);
    free(entry->message);
    entry->message = copy;
    entry->bytes = bytes;
    entry->seen.role = envelope->sender.role;
    entry->number = envelope->sender.number;
    entry->seen.heard_ns = envelope->time_ns;
    entry->seen.status = *status;
}

unsigned community_roster_count(const struct community_roster *roster)
{
    return roster->count;
}

const struct community_roster_entry *community_roster_at(struct community_roster *roster, unsigned index,
                                                         uint64_t now_ns)
{
    struct community_roster_entry *entry = &roster->entries[index];
    uint64_t age = now_ns > entry->seen.heard_ns ? now_ns - entry->seen.heard_ns : 0;
    entry->seen.alive = age <= (uint64_t)entry->seen.status.interval_ms * 1000000u * LEASE_INTERVALS &&
                        entry->seen.status.state != WIRE_MEMBER_STOPPED;
    return age > FORGET_NS ? NULL : entry;
}
