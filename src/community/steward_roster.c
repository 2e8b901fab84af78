/* The roster that members bid by: who was there when a sitting began, and who died since. Without it, and without a steward,
   members follow the manifest's table as if all were there.

   A sitting begins with each epoch and when members have come. Of several stewards the one whose name comes first tells. */
#define _GNU_SOURCE
#include "community/steward.h"

#include <stdlib.h>
#include <string.h>

#define SETTLE_NS ((uint64_t)3 * SECOND_NS) /* a steward has heard every member by then */
#define AGAIN_NS  ((uint64_t)5 * SECOND_NS) /* also how soon newcomers may begin a sitting */

/* What of the manifest matters here; read once. Returns whether members bid by it. */
static bool read_manifest(struct steward_roster *r, const struct community_steward *s)
{
    struct wire_envelope envelope;
    struct wire_manifest manifest;
    if (r->manifest == s->manifest_sequence)
        return r->members > 0;
    r->manifest = s->manifest_sequence;
    r->members = 0;
    r->version = 0;
    if (!s->manifest || wire_envelope_decode(&envelope, s->manifest, s->manifest_bytes) ||
        wire_manifest_open(&manifest, envelope.payload, envelope.payload_bytes) ||
        manifest.assign != WIRE_MANIFEST_BID || manifest.members > WIRE_ROSTER_MEMBERS_MAX)
        return false;
    uint8_t *died = calloc(manifest.members, 1), *alive = calloc(manifest.members, 1);
    if (!died || !alive) {
        free(died);
        free(alive);
        return false;
    }
    free(r->died);
    free(r->alive);
    r->died = died;
    r->alive = alive;
    r->members = manifest.members;
    r->first_epoch = manifest.epoch;
    r->epoch_ns = (uint64_t)manifest.quantum_ms * 1000000u * manifest.quanta;
    return true;
}

/* Out: alive[]. Returns whether we are the steward that tells, and there is somebody to tell. */
static bool see_members(struct steward_roster *r, struct community_steward *s, uint64_t realtime_ns)
{
    bool any = false;
    memset(r->alive, 0, r->members);
    for (unsigned i = 0; i < community_roster_count(s->roster); i++) {
        const struct community_roster_entry *entry = community_roster_at(s->roster, i, realtime_ns);
        if (!entry || !entry->seen.alive)
            continue;
        if (entry->seen.role == WIRE_ROLE_STEWARD &&
            strcmp(entry->seen.name, s->identity->certificate.name) < 0)
            return false;
        if (entry->seen.role == WIRE_ROLE_MEMBER && entry->number < r->members)
            r->alive[entry->number] = any = true;
    }
    return any;
}

/* Brings the roster up to date. Returns whether it changed. */
static bool follow(struct steward_roster *r, uint64_t realtime_ns)
{
    uint64_t epoch = r->first_epoch + realtime_ns / r->epoch_ns;
    bool newcomers = false, deaths = false;
    for (uint32_t m = 0; m < r->members; m++) {
        newcomers |= r->alive[m] && r->died[m];
        deaths |= !r->alive[m] && !r->died[m];
    }
    bool begins = r->version == 0 || epoch != r->epoch ||
                  (newcomers && realtime_ns - r->sitting >= AGAIN_NS) || (deaths && r->version == UINT8_MAX);
    if (!begins && !deaths)
        return false;
    r->version = begins ? 1 : (uint8_t)(r->version + 1);
    if (begins) {
        r->sitting = realtime_ns;
        r->epoch = epoch;
    }
    for (uint32_t m = 0; m < r->members; m++)
        if (begins)
            r->died[m] = !r->alive[m];
        else if (!r->alive[m] && !r->died[m])
            r->died[m] = r->version;
    /* A sitting whose members have all died is over: the next one begins at once. */
    for (uint32_t m = 0; m < r->members; m++)
        if (!r->died[m])
            return true;
    r->version = 0;
    return false;
}

void community_steward_tell_roster(struct community_steward *s, uint64_t now_ns)
{
    struct steward_roster *r = &s->bidders;
    uint64_t realtime = base_realtime_ns();
    if (!s->up || !s->loaded || realtime - s->started_ns < SETTLE_NS || !read_manifest(r, s) ||
        !see_members(r, s, realtime))
        return;
    bool changed = follow(r, realtime);
    if (r->version == 0 || (!changed && now_ns - r->told_ns < AGAIN_NS))
        return;
    size_t room = 64 + 5 * (size_t)r->members;
    uint8_t *data = malloc(room);
    const struct wire_roster roster = {.manifest = r->manifest,
                                       .epoch = r->epoch,
                                       .sitting = r->sitting,
                                       .version = r->version,
                                       .members = r->members};
    size_t n = data ? wire_roster_encode(data, room, &roster, r->died) : 0;
    if (n && community_steward_send_record(s, WIRE_TYPE_ROSTER, "roster", data, n) == 0)
        r->told_ns = now_ns;
    free(data);
}
