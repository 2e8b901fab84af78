/* Asks: what a member or observer lacks, and what the steward lacks. */
#define _GNU_SOURCE
#include "community/steward.h"

#include <stdlib.h>
#include <string.h>

/* A bundle being filled; sent whenever it is large enough. */
struct filling {
    struct community_steward *steward;
    const char *to;
    struct wire_bundle bundle;
    uint8_t *list;
    size_t used, room;
    uint8_t *wanted;
    unsigned wanted_room;
};

static void send_bundle(struct filling *f, bool more)
{
    char subject[WIRE_SUBJECT];
    size_t room = f->used + (size_t)f->bundle.wanted_count * WIRE_ID_BYTES + 64;
    uint8_t *data = malloc(room);
    f->bundle.more = more;
    f->bundle.envelopes = f->list;
    f->bundle.envelopes_bytes = f->used;
    f->bundle.wanted = f->wanted;
    size_t n = data ? wire_bundle_encode(data, room, &f->bundle) : 0;
    snprintf(subject, sizeof subject, "inbox.%s.bundle", f->to);
    if (n)
        community_steward_send_record(f->steward, WIRE_TYPE_BUNDLE, subject, data, n);
    free(data);
    f->used = 0;
    f->bundle.envelope_count = 0;
    f->bundle.wanted_count = 0;
}

static void fill(struct filling *f, const uint8_t *message, size_t bytes)
{
    if (f->used && f->used + 4 + bytes > BUNDLE_BYTES)
        send_bundle(f, true);
    if (f->used + 4 + bytes > f->room) {
        f->room = f->used + 4 + bytes + BUNDLE_BYTES / 4;
        f->list = realloc(f->list, f->room);
        if (!f->list)
            abort();
    }
    struct wire_writer w;
    wire_writer_start(&w, f->list + f->used, f->room - f->used);
    wire_put(&w, bytes, 4);
    wire_put_bytes(&w, message, bytes);
    f->used += wire_writer_end(&w);
    f->bundle.envelope_count++;
}

/* Vaccines that one side has and the other lacks, both ways. */
static void answer_vaccines(struct community_steward *s, struct filling *f, const struct wire_ask *ask)
{
    bool *has = calloc(s->class_count + 1, sizeof *has);
    if (!has)
        return;
    for (uint32_t i = 0; i < ask->held_count; i++) {
        struct wire_held held = wire_ask_held(ask, i);
        struct known_class *c = community_steward_find_class(s, held.id);
        if (c && c->sequence <= held.sequence)
            has[c - s->classes] = true;
        if (!c || c->sequence < held.sequence) {
            f->wanted =
                community_steward_grow(f->wanted, f->bundle.wanted_count, &f->wanted_room, WIRE_ID_BYTES);
            memcpy(f->wanted + (size_t)f->bundle.wanted_count++ * WIRE_ID_BYTES, held.id, WIRE_ID_BYTES);
        }
    }
    for (unsigned i = 0; i < s->class_count; i++)
        if (!has[i] && s->classes[i].sequence)
            fill(f, s->classes[i].message, s->classes[i].bytes);
    free(has);
}

static void answer(struct community_steward *s, const struct wire_envelope *envelope,
                   const struct wire_ask *ask)
{
    struct filling f = {.steward = s, .to = envelope->sender.name, .bundle = {.token = ask->token}};
    unsigned wanted = ask->wanted;
    if (envelope->sender.role == WIRE_ROLE_MEMBER)
        wanted &= WIRE_ASK_VACCINES | WIRE_ASK_MANIFEST; /* a member has no need to know of the others */
    if (wanted & WIRE_ASK_VACCINES)
        answer_vaccines(s, &f, ask);
    if (wanted & WIRE_ASK_MANIFEST && s->manifest_sequence > ask->manifest_sequence)
        fill(&f, s->manifest, s->manifest_bytes);
    for (unsigned i = 0; wanted & WIRE_ASK_FAULTS && i < s->fault_count; i++)
        fill(&f, s->faults[i].message, s->faults[i].bytes);
    for (unsigned i = 0; wanted & WIRE_ASK_ROSTER && i < community_roster_count(s->roster); i++) {
        const struct community_roster_entry *entry = community_roster_at(s->roster, i, base_realtime_ns());
        if (entry)
            fill(&f, entry->message, entry->bytes);
    }
    send_bundle(&f, false);
    free(f.list);
    free(f.wanted);
}

/* A member gives back what the engine has lost: signed by a steward of this community, so nothing need be
 * believed. */
static void take_offer(struct community_steward *s, const char *member, const struct wire_bundle *bundle)
{
    const uint8_t *data;
    size_t at = 0, bytes;
    while (wire_bundle_next(bundle, &at, &data, &bytes)) {
        struct wire_envelope inner;
        enum wire_verdict verdict = community_open(s->checker, &inner, NULL, data, bytes, base_realtime_ns());
        if (!verdict && inner.type != WIRE_TYPE_VACCINE)
            verdict = WIRE_TYPE;
        community_steward_refuse(s, inner.subject, verdict);
        if (!verdict && community_steward_take_vaccine(s, &inner, data, bytes)) {
            s->bus->publish_kept(s->bus, NULL, inner.subject, data, bytes);
            community_steward_note(s, "%s gave back a vaccine that the engine had lost", member);
        }
    }
}

void community_steward_on_ask(void *ctx, const char *subject, const void *data, size_t bytes)
{
    struct community_steward *s = ctx;
    struct wire_envelope envelope;
    struct wire_ask ask;
    struct wire_bundle bundle;
    pthread_mutex_lock(&s->lock);
    enum wire_verdict verdict =
        community_open(s->checker, &envelope, subject, data, bytes, base_realtime_ns());
    if (!verdict && envelope.type == WIRE_TYPE_ASK)
        verdict = wire_ask_decode(&ask, envelope.payload, envelope.payload_bytes);
    else if (!verdict && envelope.type == WIRE_TYPE_BUNDLE)
        verdict = wire_bundle_decode(&bundle, envelope.payload, envelope.payload_bytes);
    else if (!verdict)
        verdict = WIRE_TYPE;
    if (!verdict) {
        struct known_member *m = community_steward_known(s, envelope.sender.name);
        community_steward_refill(s, m);
        if (envelope.type == WIRE_TYPE_BUNDLE) {
            take_offer(s, envelope.sender.name, &bundle);
        } else if (!community_steward_spend(&m->ask_tokens)) {
            verdict = WIRE_RATE;
        } else if (s->loaded) {
            answer(s, &envelope, &ask);
        }
    }
    community_steward_refuse(s, subject, verdict);
    pthread_mutex_unlock(&s->lock);
}
