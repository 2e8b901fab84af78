/* Reading the community as it stands, and the two things an operator says to it: a manifest, and a judgement
   on a vaccine. Both are signed with a steward's certificate, which only who can read the community's key can
   have. */
#define _GNU_SOURCE
#include "community/internal.h"

#include <pthread.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct observing {
    pthread_mutex_t lock;
    struct community_checker *checker;
    struct community_roster *roster;
    struct community_view *view;
    uint64_t token;
    bool up, done;
};

static void *more(void *list, unsigned count, size_t item)
{
    void *larger = realloc(list, (count + 1) * item);
    if (!larger)
        abort();
    return larger;
}

static void see_vaccine(struct community_view *view, const struct wire_envelope *envelope)
{
    struct wire_vaccine vaccine;
    if (wire_vaccine_decode(&vaccine, envelope->payload, envelope->payload_bytes))
        return;
    struct community_vaccine_seen *seen = NULL;
    for (unsigned i = 0; i < view->vaccine_count && !seen; i++)
        if (!memcmp(view->vaccines[i].vaccine.id, vaccine.id, WIRE_ID_BYTES))
            seen = &view->vaccines[i];
    if (!seen) {
        view->vaccines = more(view->vaccines, view->vaccine_count, sizeof *view->vaccines);
        seen = &view->vaccines[view->vaccine_count++];
        seen->sequence = 0;
    }
    if (seen->sequence < envelope->sequence) {
        seen->sequence = envelope->sequence;
        seen->time_ns = envelope->time_ns;
        seen->vaccine = vaccine;
    }
}

static void see_fault(struct community_view *view, const struct wire_envelope *envelope)
{
    view->faults = more(view->faults, view->fault_count, sizeof *view->faults);
    struct community_fault_seen *seen = &view->faults[view->fault_count];
    if (wire_told_decode(seen->member, &seen->alert, envelope->payload, envelope->payload_bytes))
        return;
    /* The same fault again, heard live while the answer was under way: the later one has the higher count. */
    for (unsigned i = 0; i < view->fault_count; i++) {
        struct community_fault_seen *old = &view->faults[i];
        if (strcmp(old->member, seen->member) || old->alert.kind != seen->alert.kind ||
            old->alert.outcome != seen->alert.outcome || !seen->alert.has_function ||
            !old->alert.has_function || !wire_place_equal(&old->alert.function, &seen->alert.function))
            continue;
        if (old->alert.count < seen->alert.count)
            *old = *seen;
        return;
    }
    view->fault_count++;
}

static void see(struct observing *o, const char *subject, const void *data, size_t bytes)
{
    struct wire_envelope envelope;
    struct wire_status status;
    struct wire_bundle bundle;
    if (community_open(o->checker, &envelope, subject, data, bytes, base_realtime_ns()))
        return;
    switch (envelope.type) {
    case WIRE_TYPE_VACCINE:
        see_vaccine(o->view, &envelope);
        break;
    case WIRE_TYPE_FAULT:
        see_fault(o->view, &envelope);
        break;
    case WIRE_TYPE_MANIFEST:
        if (o->view->manifest < envelope.sequence)
            o->view->manifest = envelope.sequence;
        break;
    case WIRE_TYPE_STATUS:
        if (!wire_status_decode(&status, envelope.payload, envelope.payload_bytes))
            community_roster_hear(o->roster, &envelope, &status, data, bytes);
        break;
    case WIRE_TYPE_BUNDLE:
        if (subject && !wire_bundle_decode(&bundle, envelope.payload, envelope.payload_bytes) &&
            bundle.token == o->token) {
            const uint8_t *inner;
            size_t at = 0, inner_bytes;
            while (wire_bundle_next(&bundle, &at, &inner, &inner_bytes))
                see(o, NULL, inner, inner_bytes);
            o->done |= !bundle.more;
        }
        break;
    default:
        break;
    }
}

static void on_message(void *ctx, const char *subject, const void *data, size_t bytes)
{
    struct observing *o = ctx;
    pthread_mutex_lock(&o->lock);
    see(o, subject, data, bytes);
    pthread_mutex_unlock(&o->lock);
}

static void on_change(void *ctx, bool up)
{
    struct observing *o = ctx;
    pthread_mutex_lock(&o->lock);
    o->up = up;
    pthread_mutex_unlock(&o->lock);
}

static void ask(struct observing *o, struct community_sender *sender, struct community_bus *bus,
                unsigned wanted)
{
    uint8_t data[128], *message;
    char subject[WIRE_SUBJECT];
    struct wire_ask record = {.wanted = (uint8_t)wanted, .token = o->token};
    size_t n = wire_ask_encode(data, sizeof data, &record);
    snprintf(subject, sizeof subject, "ask.%s", sender->identity->certificate.name);
    n = community_seal(sender, &message, WIRE_TYPE_ASK, subject, data, n);
    if (n) {
        bus->publish(bus, NULL, subject, message, n);
        free(message);
    }
}

static void copy_roster(struct observing *o)
{
    unsigned count = community_roster_count(o->roster);
    uint64_t now = base_realtime_ns();
    o->view->members = calloc(count + 1, sizeof *o->view->members);
    for (unsigned i = 0; o->view->members && i < count; i++) {
        const struct community_roster_entry *entry = community_roster_at(o->roster, i, now);
        if (entry)
            o->view->members[o->view->member_count++] = entry->seen;
    }
}

int community_observe(struct base_error *error, struct community_view *view,
                      const struct community_identity *identity, unsigned wanted, unsigned wait_ms)
{
    char inbox[WIRE_SUBJECT];
    struct observing o = {.view = view};
    struct community_sender sender = {.identity = identity};
    struct community_bus *bus = community_bus_nats(identity);
    if (!bus)
        return base_fail(error, BASE_EXIT_FAILURE, "out of memory");
    memset(view, 0, sizeof *view);
    pthread_mutex_init(&o.lock, NULL);
    o.checker = community_checker_new(identity->certificate.community);
    o.roster = community_roster_new();
    randombytes_buf(&o.token, sizeof o.token);
    snprintf(inbox, sizeof inbox, "inbox.%s.>", identity->certificate.name);
    bool reached = false, done = false;
    int result = bus->subscribe(bus, error, inbox, NULL, on_message, &o) ||
                 bus->subscribe(bus, error, "status.>", NULL, on_message, &o) ||
                 bus->start(bus, error, on_change, &o);
    uint64_t until = base_monotonic_ns() + (uint64_t)wait_ms * 1000000u, next_ask = 0;
    while (!result && !done && base_monotonic_ns() < until) {
        pthread_mutex_lock(&o.lock);
        reached |= o.up;
        done = o.done;
        if (o.up && base_monotonic_ns() >= next_ask) {
            next_ask = base_monotonic_ns() + 500000000u;
            ask(&o, &sender, bus, wanted);
        }
        pthread_mutex_unlock(&o.lock);
        usleep(1000);
    }
    bus->close(bus);
    view->steward = done;
    copy_roster(&o);
    community_roster_free(o.roster);
    community_checker_free(o.checker);
    if (result || !reached)
        community_view_free(view);
    if (result)
        return -1;
    if (!reached)
        return base_fail(error, BASE_EXIT_ENVIRONMENT,
                         "the community's engine is not reached; is `testudo community serve` running?");
    return 0;
}

void community_view_free(struct community_view *view)
{
    free(view->members);
    free(view->vaccines);
    free(view->faults);
    memset(view, 0, sizeof *view);
}

/* ---- the operator -------------------------------------------------------------------------------------- */

int community_publish_manifest(struct base_error *error, const char *folder, const void *data, size_t bytes)
{
    struct community_identity identity;
    struct community_sender sender = {.identity = &identity};
    char path[COMMUNITY_PATH];
    uint8_t *message;
    if (community_path(error, path, "%s/manifest.signed", folder) ||
        community_identity_load(error, &identity, folder, "operator", WIRE_ROLE_STEWARD))
        return -1;
    size_t n = community_seal(&sender, &message, WIRE_TYPE_MANIFEST, "manifest", data, bytes);
    community_identity_free(&identity);
    if (!n)
        return base_fail(error, BASE_EXIT_INPUT, "the manifest has %zu bytes; at most %u can be published",
                         bytes, WIRE_MESSAGE_MAX - WIRE_ENVELOPE_ROOM);
    int result = base_write_file(error, path, message, n);
    free(message);
    return result;
}

struct judging {
    struct community_checker *checker;
    const char *prefix;
    struct wire_vaccine vaccine;
    uint64_t sequence;
    unsigned found;
};

static void on_candidate(void *ctx, const char *subject, const void *data, size_t bytes)
{
    struct judging *j = ctx;
    struct wire_envelope envelope;
    if (strncmp(subject + strlen("vaccine."), j->prefix, strlen(j->prefix)) ||
        community_open(j->checker, &envelope, subject, data, bytes, base_realtime_ns()) ||
        wire_vaccine_decode(&j->vaccine, envelope.payload, envelope.payload_bytes))
        return;
    j->sequence = envelope.sequence;
    j->found++;
}

static int judge(struct base_error *error, struct community_bus *bus, struct community_sender *sender,
                 struct judging *j, enum wire_vaccine_state state)
{
    uint8_t data[WIRE_VACCINE_ROOM], *message;
    char id[2 * WIRE_ID_BYTES + 1], subject[WIRE_SUBJECT];
    if (bus->replay(bus, error, "vaccine.>", on_candidate, j))
        return -1;
    if (j->found != 1)
        return base_fail(error, BASE_EXIT_INPUT, "%s vaccine begins with %s; see `testudo vaccines`",
                         j->found ? "more than one" : "no", j->prefix);
    j->vaccine.state = (uint8_t)state;
    sender->sequence = j->sequence;
    base_hex(id, j->vaccine.id, WIRE_ID_BYTES);
    snprintf(subject, sizeof subject, "vaccine.%s", id);
    size_t n = wire_vaccine_encode(data, sizeof data, &j->vaccine);
    n = community_seal(sender, &message, WIRE_TYPE_VACCINE, subject, data, n);
    if (!n)
        return base_fail(error, BASE_EXIT_FAILURE, "cannot sign the vaccine");
    int result = bus->publish_kept(bus, error, subject, message, n);
    free(message);
    return result;
}

int community_judge_vaccine(struct base_error *error, const char *folder, const char *id,
                            enum wire_vaccine_state state)
{
    struct community_identity identity;
    struct community_sender sender = {.identity = &identity};
    if (strlen(id) < 4 || strspn(id, "0123456789abcdef") != strlen(id))
        return base_fail(error, BASE_EXIT_USAGE, "'%s' is no vaccine id: at least 4 hexadecimal digits", id);
    if (community_identity_load(error, &identity, folder, "operator", WIRE_ROLE_STEWARD))
        return -1;
    struct observing o = {0};
    struct judging j = {.prefix = id, .checker = community_checker_new(identity.certificate.community)};
    struct community_bus *bus = community_bus_nats(&identity);
    pthread_mutex_init(&o.lock, NULL);
    int result = bus->start(bus, error, on_change, &o);
    uint64_t until = base_monotonic_ns() + 5000000000u;
    bool up = false;
    while (!result && !up && base_monotonic_ns() < until) {
        usleep(2000);
        pthread_mutex_lock(&o.lock);
        up = o.up;
        pthread_mutex_unlock(&o.lock);
    }
    if (!result)
        result =
            up ? judge(error, bus, &sender, &j, state)
               : base_fail(error, BASE_EXIT_ENVIRONMENT,
                           "the community's engine is not reached; is `testudo community serve` running?");
    bus->close(bus);
    community_checker_free(j.checker);
    community_identity_free(&identity);
    return result;
}
