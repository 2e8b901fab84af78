/* The steward: turns alerts into vaccines, answers asks, keeps the roster.

   Its state is what the engine retains; it is read back at every connection, and what the engine has lost
   comes back from the members. Any number of stewards may serve: each alert and ask goes to one of them, and
   each hears the vaccines of the others. One lock guards everything.

   An alert is acknowledged only when its vaccine and its fault record are stored: a steward that dies in
   between leaves an alert that its member sends again, and taking the same alert twice makes the same
   vaccine. */
#define _GNU_SOURCE
#include "community/steward.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static void on_status(void *ctx, const char *subject, const void *data, size_t bytes)
{
    struct community_steward *s = ctx;
    struct wire_envelope envelope;
    struct wire_status status;
    pthread_mutex_lock(&s->lock);
    enum wire_verdict verdict =
        community_open(s->checker, &envelope, subject, data, bytes, base_realtime_ns());
    if (!verdict)
        verdict = envelope.type == WIRE_TYPE_STATUS
                      ? wire_status_decode(&status, envelope.payload, envelope.payload_bytes)
                      : WIRE_TYPE;
    if (!verdict)
        community_roster_hear(s->roster, &envelope, &status, data, bytes);
    community_steward_refuse(s, subject, verdict);
    pthread_mutex_unlock(&s->lock);
}

/* ---- start, time, end ---------------------------------------------------------------------------------- */

static bool file_changed(const char *folder, const char *name, struct timespec *seen)
{
    char path[COMMUNITY_PATH];
    struct stat info;
    if (community_path(NULL, path, "%s/%s", folder, name) || stat(path, &info))
        return false;
    if (info.st_mtim.tv_sec == seen->tv_sec && info.st_mtim.tv_nsec == seen->tv_nsec)
        return false;
    *seen = info.st_mtim;
    return true;
}

static void revoke_one(void *ctx, const char *name, uint64_t until_ns)
{
    struct community_steward *s = ctx;
    community_checker_revoke(s->checker, name, until_ns);
}

/* The manifest that `community publish` has put into the folder. */
static void read_manifest(struct community_steward *s)
{
    char path[COMMUNITY_PATH], *data;
    size_t bytes;
    struct wire_envelope envelope;
    struct base_error error;
    if (community_path(NULL, path, "%s/manifest.signed", s->folder) ||
        base_read_file(NULL, &data, &bytes, path))
        return;
    enum wire_verdict verdict =
        community_open(s->checker, &envelope, "manifest", data, bytes, base_realtime_ns());
    if (verdict) {
        community_steward_note(s, "%s refused: %s", path, wire_verdict_name(verdict));
    } else if (envelope.sequence > s->manifest_sequence) {
        if (s->bus->publish_kept(s->bus, &error, "manifest", data, bytes)) {
            community_steward_note(s, "%s; trying again", error.text);
            s->manifest_seen.tv_sec = 0;
        } else {
            community_steward_take_manifest(s, &envelope, data, bytes);
            community_steward_note(s, "manifest published, %zu bytes", envelope.payload_bytes);
        }
    }
    free(data);
}

/* What `community revoke` and `community publish` have put into the folder. */
static void read_folder(struct community_steward *s)
{
    if (!s->folder[0])
        return;
    if (file_changed(s->folder, "revoked.json", &s->revoked_seen)) {
        community_revoked_each(NULL, s->folder, revoke_one, s);
        s->revocations++;
    }
    if (s->loaded && file_changed(s->folder, "manifest.signed", &s->manifest_seen))
        read_manifest(s);
}

static void on_change(void *ctx, bool up)
{
    struct community_steward *s = ctx;
    pthread_mutex_lock(&s->lock);
    s->up = up;
    s->loaded = false;
    if (up)
        community_steward_load(s);
    /* Before the first member asks: it is to have the manifest before it starts its program. */
    if (up)
        read_folder(s);
    pthread_mutex_unlock(&s->lock);
}

static void tell_status(struct community_steward *s, uint64_t now_ns)
{
    uint8_t data[WIRE_STATUS_ROOM];
    char subject[WIRE_SUBJECT];
    struct wire_status status = {.state = WIRE_MEMBER_RUNNING,
                                 .interval_ms = STATUS_MS,
                                 .started_ns = s->started_ns,
                                 .vaccines = s->class_count,
                                 .manifest = s->manifest_sequence,
                                 .refusal_count = WIRE_VERDICT_COUNT};
    s->told_ns = now_ns;
    memcpy(status.refusals, s->refused, sizeof s->refused);
    snprintf(subject, sizeof subject, "status.%s", s->identity->certificate.name);
    size_t n = wire_status_encode(data, sizeof data, &status);
    if (n)
        community_steward_send_record(s, WIRE_TYPE_STATUS, subject, data, n);
}

void community_steward_tick(struct community_steward *s)
{
    uint64_t now = base_monotonic_ns();
    pthread_mutex_lock(&s->lock);
    if (s->up && !s->loaded)
        community_steward_load(s);
    read_folder(s);
    /* Counts alone are worth telling now and then only. */
    if (s->loaded && now - s->flushed_ns > FLUSH_NS) {
        s->flushed_ns = now;
        for (unsigned i = 0; i < s->class_count; i++)
            if (s->classes[i].dirty && s->classes[i].sequence)
                community_steward_publish_class(s, &s->classes[i]);
    }
    if (s->up && now - s->told_ns >= (uint64_t)STATUS_MS * 900000)
        tell_status(s, now);
    community_steward_tell_roster(s, now);
    pthread_mutex_unlock(&s->lock);
}

struct community_steward_counts community_steward_counts(struct community_steward *s)
{
    struct community_steward_counts counts = {0};
    pthread_mutex_lock(&s->lock);
    uint64_t now = base_realtime_ns();
    for (unsigned i = 0; i < community_roster_count(s->roster); i++) {
        const struct community_roster_entry *entry = community_roster_at(s->roster, i, now);
        counts.members_alive += entry && entry->seen.alive && entry->seen.role == WIRE_ROLE_MEMBER;
    }
    for (unsigned i = 0; i < s->class_count; i++)
        counts.vaccines += s->classes[i].sequence != 0;
    counts.faults = s->fault_count;
    counts.alerts = s->alerts;
    counts.revocations = s->revocations;
    memcpy(counts.refused, s->refused, sizeof counts.refused);
    pthread_mutex_unlock(&s->lock);
    return counts;
}

static void free_steward(struct community_steward *s)
{
    for (unsigned i = 0; i < s->class_count; i++)
        free(s->classes[i].message);
    for (unsigned i = 0; i < s->fault_count; i++)
        free(s->faults[i].message);
    free(s->classes);
    free(s->faults);
    free(s->members);
    community_names_free(&s->names);
    free(s->bidders.died);
    free(s->bidders.alive);
    community_steward_forget_costs(&s->costs);
    free(s->manifest);
    community_roster_free(s->roster);
    community_checker_free(s->checker);
    free(s);
}

int community_steward_start(struct base_error *error, struct community_steward **out,
                            const struct community_identity *identity,
                            const struct community_steward_policy *policy, struct community_bus *bus,
                            const char *folder)
{
    struct community_steward *s = calloc(1, sizeof *s);
    if (!s || !bus)
        return base_fail(error, BASE_EXIT_FAILURE, "out of memory");
    s->identity = s->sender.identity = identity;
    s->policy = *policy;
    s->policy.alerts_per_second = policy->alerts_per_second ? policy->alerts_per_second : 10;
    s->policy.alerts_burst = policy->alerts_burst ? policy->alerts_burst : 100;
    s->policy.unconfirmed_max = policy->unconfirmed_max ? policy->unconfirmed_max : 64;
    s->policy.adopt_after = policy->adopt_after ? policy->adopt_after : 3;
    s->bus = bus;
    s->started_ns = base_realtime_ns();
    s->checker = community_checker_new(identity->certificate.community);
    s->roster = community_roster_new();
    pthread_mutex_init(&s->lock, NULL);
    if (!s->checker || !s->roster || community_path(error, s->folder, "%s", folder ? folder : "") ||
        bus->subscribe(bus, error, "alert.>", "stewards", community_steward_on_alert, s) ||
        bus->subscribe(bus, error, "ask.>", "stewards", community_steward_on_ask, s) ||
        bus->subscribe(bus, error, "vaccine.>", NULL, community_steward_on_kept, s) ||
        bus->subscribe(bus, error, "manifest", NULL, community_steward_on_kept, s) ||
        bus->subscribe(bus, error, "fault.>", NULL, community_steward_on_kept, s) ||
        bus->subscribe(bus, error, "status.>", NULL, on_status, s) || bus->start(bus, error, on_change, s)) {
        bus->close(bus);
        free_steward(s);
        return -1;
    }
    *out = s;
    return 0;
}

void community_steward_stop(struct community_steward *s)
{
    if (!s)
        return;
    s->bus->close(s->bus);
    free_steward(s);
}
