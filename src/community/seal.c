/* Messages: signing, and the one place that decides whether a message is what it claims to be. */
#define _GNU_SOURCE
#include "community/internal.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

/* Messages that are not retained must be younger, and no further ahead. */
#define CLOCK_WINDOW_NS 600000000000u

size_t community_seal(struct community_sender *sender, uint8_t **message, enum wire_type type,
                      const char *subject, const void *payload, size_t bytes)
{
    size_t room = bytes + WIRE_ENVELOPE_ROOM;
    uint8_t *data = malloc(room);
    if (!data)
        return 0;
    uint64_t now = base_realtime_ns();
    struct wire_envelope envelope = {.type = (uint8_t)type,
                                     .time_ns = now,
                                     .sender = sender->identity->certificate,
                                     .payload = payload,
                                     .payload_bytes = bytes};
    /* From the clock, so that it grows over restarts without a file; one more when the clock stands still. */
    envelope.sequence = now > sender->sequence ? now : sender->sequence + 1;
    snprintf(envelope.subject, sizeof envelope.subject, "%s", subject);
    size_t signed_bytes = wire_envelope_encode(data, room, &envelope);
    if (!signed_bytes || signed_bytes + WIRE_SIGNATURE_BYTES > WIRE_MESSAGE_MAX) {
        free(data);
        return 0;
    }
    sender->sequence = envelope.sequence;
    crypto_sign_detached(data + signed_bytes, NULL, data, signed_bytes, sender->identity->secret);
    *message = data;
    return signed_bytes + WIRE_SIGNATURE_BYTES;
}

/* ---- checking ------------------------------------------------------------------------------------------ */

struct known_sender {
    bool used;
    struct wire_certificate certificate; /* checked */
    uint64_t newest[WIRE_TYPE_COUNT];
};

struct revoked {
    char name[WIRE_MEMBER_NAME];
    uint64_t until_ns;
};

struct community_checker {
    uint8_t community[WIRE_KEY_BYTES];
    struct known_sender *senders; /* open addressing by the key's first bytes; size a power of two */
    size_t room, count;
    struct revoked *revoked;
    size_t revoked_count;
};

struct community_checker *community_checker_new(const uint8_t community[WIRE_KEY_BYTES])
{
    community_crypto_start();
    struct community_checker *checker = calloc(1, sizeof *checker);
    if (checker)
        memcpy(checker->community, community, WIRE_KEY_BYTES);
    return checker;
}

void community_checker_free(struct community_checker *checker)
{
    if (!checker)
        return;
    free(checker->senders);
    free(checker->revoked);
    free(checker);
}

void community_checker_revoke(struct community_checker *checker, const char *name, uint64_t until_ns)
{
    for (size_t i = 0; i < checker->revoked_count; i++) {
        if (!strcmp(checker->revoked[i].name, name)) {
            if (checker->revoked[i].until_ns < until_ns)
                checker->revoked[i].until_ns = until_ns;
            return;
        }
    }
    struct revoked *more = realloc(checker->revoked, (checker->revoked_count + 1) * sizeof *more);
    if (!more)
        abort(); /* going on without it would let a revoked member speak */
    checker->revoked = more;
    more += checker->revoked_count++;
    snprintf(more->name, sizeof more->name, "%s", name);
    more->until_ns = until_ns;
}

static struct known_sender *slot_of(struct known_sender *senders, size_t room,
                                    const uint8_t key[WIRE_KEY_BYTES])
{
    uint64_t hash;
    memcpy(&hash, key, sizeof hash); /* public keys are as good as random */
    size_t i = hash & (room - 1);
    while (senders[i].used && memcmp(senders[i].certificate.key, key, WIRE_KEY_BYTES))
        i = (i + 1) & (room - 1);
    return &senders[i];
}

static bool grow(struct community_checker *checker)
{
    size_t room = checker->room ? checker->room * 2 : 64;
    struct known_sender *larger = calloc(room, sizeof *larger);
    if (!larger)
        return false;
    for (size_t i = 0; i < checker->room; i++)
        if (checker->senders[i].used)
            *slot_of(larger, room, checker->senders[i].certificate.key) = checker->senders[i];
    free(checker->senders);
    checker->senders = larger;
    checker->room = room;
    return true;
}

static bool same_certificate(const struct wire_certificate *a, const struct wire_certificate *b)
{
    return a->role == b->role && a->serial == b->serial && !strcmp(a->name, b->name) &&
           !memcmp(a->key, b->key, sizeof a->key) && !memcmp(a->signature, b->signature, sizeof a->signature);
}

/* The sender's entry, its certificate checked once: only holders of certificates take memory here. */
static struct known_sender *know(struct community_checker *checker,
                                 const struct wire_certificate *certificate)
{
    if (checker->count * 2 >= checker->room && !grow(checker))
        return NULL;
    struct known_sender *slot = slot_of(checker->senders, checker->room, certificate->key);
    if (slot->used && same_certificate(&slot->certificate, certificate))
        return slot;
    if (!community_certificate_genuine(certificate))
        return NULL;
    checker->count += !slot->used;
    slot->used = true;
    slot->certificate = *certificate;
    return slot;
}

static bool is_revoked(const struct community_checker *checker, const struct wire_certificate *certificate)
{
    for (size_t i = 0; i < checker->revoked_count; i++)
        if (!strcmp(checker->revoked[i].name, certificate->name))
            return certificate->serial <= checker->revoked[i].until_ns;
    return false;
}

enum {
    ANY_MEMBER = 1 << WIRE_ROLE_MEMBER,
    ANY_OBSERVER = 1 << WIRE_ROLE_OBSERVER,
    ANY_STEWARD = 1 << WIRE_ROLE_STEWARD
};

/* Who may send what where. A '*' stands for the sender's own name, a '?' for one token of any kind. */
static const struct rule {
    enum wire_type type;
    unsigned roles;
    bool retained; /* read again later: old is no reason to refuse it */
    const char *subject;
} rules[] = {
    {WIRE_TYPE_ALERT, ANY_MEMBER, false, "alert.*.fault"},
    {WIRE_TYPE_STATUS, ANY_MEMBER | ANY_STEWARD, false, "status.*"},
    {WIRE_TYPE_ASK, ANY_MEMBER | ANY_OBSERVER | ANY_STEWARD, false, "ask.*"},
    {WIRE_TYPE_BUNDLE, ANY_MEMBER, false, "ask.*"},
    {WIRE_TYPE_BUNDLE, ANY_STEWARD, false, "inbox.?.bundle"},
    {WIRE_TYPE_RECEIPT, ANY_STEWARD, false, "inbox.?.receipt"},
    {WIRE_TYPE_VACCINE, ANY_STEWARD, true, "vaccine.?"},
    {WIRE_TYPE_MANIFEST, ANY_STEWARD, true, "manifest"},
    {WIRE_TYPE_FAULT, ANY_STEWARD, true, "fault.?"},
    {WIRE_TYPE_ROSTER, ANY_STEWARD, false, "roster"},
    {WIRE_TYPE_BID, ANY_MEMBER, false, "bid.?.*"},
};

static bool subject_fits(const char *pattern, const char *subject, const char *name)
{
    for (; *pattern; pattern++) {
        if (*pattern == '*') {
            size_t n = strlen(name);
            if (strncmp(subject, name, n))
                return false;
            subject += n;
        } else if (*pattern == '?') {
            size_t n = strcspn(subject, ".");
            if (n == 0)
                return false;
            subject += n;
        } else if (*subject++ != *pattern) {
            return false;
        }
    }
    return *subject == 0;
}

static enum wire_verdict check_rules(const struct wire_envelope *envelope, bool *retained)
{
    enum wire_verdict verdict = WIRE_TYPE;
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        if (rules[i].type != envelope->type)
            continue;
        if (!(rules[i].roles >> envelope->sender.role & 1)) {
            verdict = verdict == WIRE_SENDER ? verdict : WIRE_ROLE;
        } else if (!subject_fits(rules[i].subject, envelope->subject, envelope->sender.name)) {
            verdict = WIRE_SENDER;
        } else {
            *retained = rules[i].retained;
            return WIRE_OK;
        }
    }
    return verdict;
}

enum wire_verdict community_open(struct community_checker *checker, struct wire_envelope *envelope,
                                 const char *subject, const void *data, size_t bytes, uint64_t now_ns)
{
    bool retained = false;
    enum wire_verdict verdict = wire_envelope_decode(envelope, data, bytes);
    if (verdict)
        return verdict;
    /* Cheap checks before the expensive ones. */
    if (memcmp(envelope->sender.community, checker->community, WIRE_KEY_BYTES))
        return WIRE_COMMUNITY;
    if (subject && strcmp(subject, envelope->subject))
        return WIRE_SUBJECT;
    verdict = check_rules(envelope, &retained);
    if (verdict)
        return verdict;
    if (!retained &&
        (envelope->time_ns + CLOCK_WINDOW_NS < now_ns || envelope->time_ns > now_ns + CLOCK_WINDOW_NS))
        return WIRE_CLOCK;
    if (is_revoked(checker, &envelope->sender))
        return WIRE_REVOKED;
    struct known_sender *sender = know(checker, &envelope->sender);
    if (!sender)
        return WIRE_CERTIFICATE;
    if (crypto_sign_verify_detached(envelope->signature, data, envelope->signed_bytes, envelope->sender.key))
        return WIRE_SIGNATURE;
    if (!retained) {
        /* A sequence far ahead of the clock would lock its sender out, but harms nobody else. */
        if (envelope->sequence <= sender->newest[envelope->type])
            return WIRE_REPLAY;
        sender->newest[envelope->type] = envelope->sequence;
    }
    return WIRE_OK;
}

bool community_vaccine_of(struct wire_vaccine *vaccine, const struct wire_alert *alert)
{
    uint8_t place[9];
    if (!alert->has_function || !alert->function.build_id_bytes)
        return false;
    memset(vaccine, 0, sizeof *vaccine);
    for (int i = 0; i < 8; i++)
        place[i] = (uint8_t)(alert->function.offset >> (8 * i));
    place[8] = alert->kind;
    community_id(vaccine->id, "vaccine", alert->function.build_id, alert->function.build_id_bytes, place,
                 sizeof place);
    vaccine->state = WIRE_VACCINE_PROPOSED;
    vaccine->kind = alert->kind;
    vaccine->created_ns = alert->time_ns;
    vaccine->alerts = 1;
    vaccine->members = 1;
    vaccine->function = alert->function;
    /* Where an abort worked already is the best place to try first. */
    if (alert->has_rescue && !wire_place_equal(&alert->rescue, &alert->function))
        vaccine->rescue[vaccine->rescue_points++] = alert->rescue;
    vaccine->rescue[vaccine->rescue_points++] = alert->function;
    memcpy(vaccine->evidence[vaccine->evidence_ids++], alert->id, WIRE_ID_BYTES);
    return true;
}
