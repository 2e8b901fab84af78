/* The steward: turns alerts into vaccines, answers asks, keeps the roster.

   Its state is what the engine retains; it is read back at every connection, and what the engine has lost
   comes back from the members. Any number of stewards may serve: each alert and ask goes to one of them, and
   each hears the vaccines of the others. One lock guards everything.

   An alert is acknowledged only when its vaccine and its fault record are stored: a steward that dies in
   between leaves an alert that its member sends again, and taking the same alert twice makes the same
   vaccine. */
#define _GNU_SOURCE
#include "community/internal.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum {
    MEMBERS_PER_CLASS = 64,
    RECENT_ALERTS = 1024,
    BUNDLE_BYTES = 512 << 10,
    ASKS_PER_SECOND = 10,
    STATUS_MS = 1000
};
#define SECOND_NS 1000000000u
#define FLUSH_NS  ((uint64_t)10 * SECOND_NS)

/* One (build-id, function, kind). */
struct class
{
    struct wire_vaccine vaccine;
    uint64_t sequence; /* 0: not published: waits for a second member */
    uint8_t *message;  /* signed envelope as published */
    size_t bytes;
    uint32_t members[MEMBERS_PER_CLASS]; /* indices of distinct members that met it */
    unsigned member_count;
    bool dirty; /* counts have grown since it was published */
};

struct fault {
    uint8_t id[WIRE_ID_BYTES]; /* of class, member and outcome */
    uint32_t count;
    uint8_t *message;
    size_t bytes;
};

struct known_member {
    char name[WIRE_MEMBER_NAME];
    double alert_tokens, ask_tokens;
    uint64_t refilled_ns;
    unsigned sole; /* published vaccines that rest on its word alone */
};

struct community_steward {
    const struct community_identity *identity;
    struct community_steward_policy policy;
    struct community_bus *bus;
    char folder[COMMUNITY_PATH]; /* empty in tests */

    pthread_mutex_t lock; /* all below */
    bool up, loaded;
    struct community_checker *checker;
    struct community_sender sender;
    struct community_roster *roster;
    struct class *classes;
    unsigned class_count, class_room;
    struct fault *faults;
    unsigned fault_count, fault_room;
    struct known_member *members;
    unsigned member_count, member_room;
    uint8_t recent[RECENT_ALERTS]
                  [WIRE_ID_BYTES]; /* accepted alerts: a repeated sending is not counted again */
    unsigned recent_next;
    uint8_t *manifest; /* its envelope */
    size_t manifest_bytes;
    uint64_t manifest_sequence;
    struct timespec revoked_seen, manifest_seen;
    unsigned revocations;
    uint64_t alerts, started_ns, flushed_ns, told_ns;
    uint32_t refused[WIRE_VERDICT_COUNT];
};

/* ---- small helpers
 * ------------------------------------------------------------------------------------------------- */

static void *grow(void *list, unsigned count, unsigned *room, size_t item)
{
    if (count < *room)
        return list;
    *room = *room ? 2 * *room : 64;
    void *larger = realloc(list, *room * item);
    if (!larger)
        abort(); /* a steward without memory: better restarted than forgetful */
    return larger;
}

static uint8_t *copy_of(const void *data, size_t bytes)
{
    uint8_t *copy = malloc(bytes ? bytes : 1);
    if (!copy)
        abort();
    memcpy(copy, data, bytes);
    return copy;
}

static void note(struct community_steward *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void note(struct community_steward *s, const char *format, ...)
{
    char text[512];
    va_list args;
    if (!s->policy.on_note)
        return;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    s->policy.on_note(s->policy.ctx, text);
}

static void refuse(struct community_steward *s, const char *subject, enum wire_verdict verdict)
{
    if (!verdict)
        return;
    s->refused[verdict]++;
    if (s->policy.on_refused)
        s->policy.on_refused(s->policy.ctx, subject, verdict);
}

static unsigned member_index(struct community_steward *s, const char *name)
{
    for (unsigned i = 0; i < s->member_count; i++)
        if (!strcmp(s->members[i].name, name))
            return i;
    s->members = grow(s->members, s->member_count, &s->member_room, sizeof *s->members);
    struct known_member *m = &s->members[s->member_count];
    memset(m, 0, sizeof *m);
    snprintf(m->name, sizeof m->name, "%s", name);
    m->alert_tokens = s->policy.alerts_burst;
    m->ask_tokens = 2 * ASKS_PER_SECOND;
    m->refilled_ns = base_monotonic_ns();
    return s->member_count++;
}

/* Valid until the next new member: the list moves when it grows. */
static struct known_member *known(struct community_steward *s, const char *name)
{
    unsigned index = member_index(s, name);
    return &s->members[index];
}

/* Token buckets: so many a second on average, so many at once. */
static void refill(struct community_steward *s, struct known_member *m)
{
    uint64_t now = base_monotonic_ns();
    double seconds = (double)(now - m->refilled_ns) / SECOND_NS;
    m->refilled_ns = now;
    m->alert_tokens += seconds * s->policy.alerts_per_second;
    if (m->alert_tokens > s->policy.alerts_burst)
        m->alert_tokens = s->policy.alerts_burst;
    m->ask_tokens += seconds * ASKS_PER_SECOND;
    if (m->ask_tokens > 2 * ASKS_PER_SECOND)
        m->ask_tokens = 2 * ASKS_PER_SECOND;
}

static bool spend(double *tokens)
{
    if (*tokens < 1)
        return false;
    *tokens -= 1;
    return true;
}

static struct class *find_class(struct community_steward *s, const uint8_t id[WIRE_ID_BYTES])
{
    for (unsigned i = 0; i < s->class_count; i++)
        if (!memcmp(s->classes[i].vaccine.id, id, WIRE_ID_BYTES))
            return &s->classes[i];
    return NULL;
}

static struct class *add_class(struct community_steward *s, const struct wire_vaccine *vaccine)
{
    s->classes = grow(s->classes, s->class_count, &s->class_room, sizeof *s->classes);
    struct class *c = &s->classes[s->class_count++];
    memset(c, 0, sizeof *c);
    c->vaccine = *vaccine;
    return c;
}

/* Returns whether the member is new to the class. */
static bool class_meets(struct class *c, uint32_t member)
{
    for (unsigned i = 0; i < c->member_count; i++)
        if (c->members[i] == member)
            return false;
    if (c->member_count < MEMBERS_PER_CLASS)
        c->members[c->member_count++] = member;
    return true;
}

/* ---- publishing
 * ------------------------------------------------------------------------------------------------------ */

static int send_record(struct community_steward *s, enum wire_type type, const char *subject,
                       const void *payload, size_t bytes)
{
    uint8_t *message;
    size_t n = community_seal(&s->sender, &message, type, subject, payload, bytes);
    if (!n)
        return -1;
    int result = s->bus->publish(s->bus, NULL, subject, message, n);
    free(message);
    return result;
}

static int publish_class(struct community_steward *s, struct class *c)
{
    uint8_t payload[WIRE_VACCINE_ROOM], *message;
    char id[2 * WIRE_ID_BYTES + 1], subject[WIRE_SUBJECT];
    struct base_error error;
    size_t bytes = wire_vaccine_encode(payload, sizeof payload, &c->vaccine);
    base_hex(id, c->vaccine.id, WIRE_ID_BYTES);
    snprintf(subject, sizeof subject, "vaccine.%s", id);
    /* Newer than what is there, whatever the clock of the steward that wrote it. */
    if (s->sender.sequence < c->sequence)
        s->sender.sequence = c->sequence;
    size_t n = bytes ? community_seal(&s->sender, &message, WIRE_TYPE_VACCINE, subject, payload, bytes) : 0;
    if (!n)
        return -1;
    if (s->bus->publish_kept(s->bus, &error, subject, message, n)) {
        note(s, "%s", error.text);
        free(message);
        return -1;
    }
    free(c->message);
    c->message = message;
    c->bytes = n;
    c->sequence = s->sender.sequence;
    c->dirty = false;
    return 0;
}

static void fault_id(uint8_t id[WIRE_ID_BYTES], const char *member, const struct wire_alert *alert)
{
    struct wire_vaccine vaccine;
    uint8_t class[WIRE_ID_BYTES + 1] = {0};
    if (community_vaccine_of(&vaccine, alert))
        memcpy(class, vaccine.id, WIRE_ID_BYTES);
    else
        memcpy(class, alert->id, WIRE_ID_BYTES); /* nothing known to be equal by */
    class[WIRE_ID_BYTES] = alert->outcome;
    community_id(id, "fault", class, sizeof class, member, strlen(member));
}

static struct fault *find_fault(struct community_steward *s, const uint8_t id[WIRE_ID_BYTES])
{
    for (unsigned i = 0; i < s->fault_count; i++)
        if (!memcmp(s->faults[i].id, id, WIRE_ID_BYTES))
            return &s->faults[i];
    return NULL;
}

static struct fault *add_fault(struct community_steward *s, const uint8_t id[WIRE_ID_BYTES])
{
    s->faults = grow(s->faults, s->fault_count, &s->fault_room, sizeof *s->faults);
    struct fault *f = &s->faults[s->fault_count++];
    memset(f, 0, sizeof *f);
    memcpy(f->id, id, WIRE_ID_BYTES);
    return f;
}

/* Keeps the last report of each kind with the number of all. */
static int publish_fault(struct community_steward *s, const char *member, struct wire_alert *alert)
{
    uint8_t id[WIRE_ID_BYTES], payload[WIRE_ALERT_ROOM + 64], *message;
    char text[2 * WIRE_ID_BYTES + 1], subject[WIRE_SUBJECT];
    fault_id(id, member, alert);
    struct fault *f = find_fault(s, id);
    uint32_t before = f ? f->count : 0, count = alert->count;
    alert->count = before > UINT32_MAX - count ? UINT32_MAX : before + count;
    size_t bytes = wire_told_encode(payload, sizeof payload, member, alert);
    base_hex(text, id, WIRE_ID_BYTES);
    snprintf(subject, sizeof subject, "fault.%s", text);
    size_t n = bytes ? community_seal(&s->sender, &message, WIRE_TYPE_FAULT, subject, payload, bytes) : 0;
    if (!n)
        return -1;
    if (s->bus->publish_kept(s->bus, NULL, subject, message, n)) {
        free(message);
        return -1;
    }
    if (!f)
        f = add_fault(s, id);
    free(f->message);
    f->message = message;
    f->bytes = n;
    f->count = alert->count;
    return 0;
}

/* ---- alerts
 * ------------------------------------------------------------------------------------------------------------
 */

static void send_receipt(struct community_steward *s, const char *member, const struct wire_alert *alert,
                         const struct class *c, enum wire_verdict verdict)
{
    uint8_t payload[WIRE_RECEIPT_ROOM];
    char subject[WIRE_SUBJECT];
    struct wire_receipt receipt = {.verdict = (uint8_t)verdict};
    memcpy(receipt.alert, alert->id, WIRE_ID_BYTES);
    if (c && c->sequence)
        memcpy(receipt.vaccine, c->vaccine.id, WIRE_ID_BYTES);
    size_t n = wire_receipt_encode(payload, sizeof payload, &receipt);
    snprintf(subject, sizeof subject, "inbox.%s.receipt", member);
    send_record(s, WIRE_TYPE_RECEIPT, subject, payload, n);
}

static bool seen_before(const struct community_steward *s, const uint8_t id[WIRE_ID_BYTES])
{
    for (unsigned i = 0; i < RECENT_ALERTS; i++)
        if (!memcmp(s->recent[i], id, WIRE_ID_BYTES))
            return true;
    return false;
}

static void add_count(uint32_t *sum, uint32_t count)
{
    *sum = *sum > UINT32_MAX - count ? UINT32_MAX : *sum + count;
}

/* What a further alert says about a vaccine. Returns whether members have to be told. */
static bool judge(struct community_steward *s, struct class *c, const struct wire_alert *alert,
                  bool new_member)
{
    struct wire_vaccine *v = &c->vaccine;
    uint8_t before = v->state;
    add_count(&v->alerts, alert->count);
    v->members = (uint16_t)c->member_count;
    if (alert->outcome == CORE_OUTCOME_UNDONE)
        add_count(&v->undone, alert->count);
    else if (alert->outcome == CORE_OUTCOME_CRASHED && alert->is_protected)
        add_count(&v->crashed, alert->count);
    if (v->state == WIRE_VACCINE_PROPOSED && v->undone > 0)
        v->state = WIRE_VACCINE_TRIED;
    if (v->state == WIRE_VACCINE_TRIED && v->undone >= s->policy.adopt_after && v->undone > v->crashed)
        v->state = WIRE_VACCINE_ADOPTED;
    if (new_member && v->evidence_ids < WIRE_EVIDENCE_MAX)
        memcpy(v->evidence[v->evidence_ids++], alert->id, WIRE_ID_BYTES);
    c->dirty = true;
    return v->state != before;
}

/* Returns the verdict for the receipt; BUSY: nothing was taken, the member will send again. */
static enum wire_verdict take_alert(struct community_steward *s, struct class **of, struct wire_alert *alert,
                                    const char *member)
{
    struct wire_vaccine wanted;
    uint32_t who = member_index(s, member);
    enum wire_verdict verdict = WIRE_OK;
    if (!community_vaccine_of(&wanted, alert))
        return publish_fault(s, member, alert) ? WIRE_BUSY : WIRE_OK;
    if (s->policy.knows && !s->policy.knows(s->policy.ctx, &alert->function))
        return WIRE_IMPLAUSIBLE;
    struct class *c = find_class(s, wanted.id);
    bool fresh = !c, tell = false, new_member;
    if (fresh) {
        wanted.created_ns = base_realtime_ns();
        wanted.alerts = 0;
        wanted.evidence_ids = 0;
        c = add_class(s, &wanted);
    }
    new_member = class_meets(c, who);
    tell = judge(s, c, alert, new_member);
    if (!c->sequence) {
        /* One member's word is enough for so many functions and no more; then a second has to confirm. */
        bool confirmed = c->member_count > 1;
        tell = confirmed || s->members[who].sole < s->policy.unconfirmed_max;
        if (!tell)
            verdict = WIRE_UNCONFIRMED;
        else if (!confirmed)
            s->members[who].sole++;
    } else {
        if (new_member && c->member_count == 2 && s->members[c->members[0]].sole)
            s->members[c->members[0]].sole--;
        if (!fresh)
            verdict = WIRE_DUPLICATE;
    }
    if (tell && publish_class(s, c))
        return WIRE_BUSY;
    *of = c;
    if (publish_fault(s, member, alert))
        return WIRE_BUSY;
    if (tell)
        note(s, "vaccine for %s in %s (%s): %s, %u member%s",
             alert->function.symbol[0] ? alert->function.symbol : "?", alert->function.object,
             core_fault_name(alert->kind), wire_vaccine_state_name(c->vaccine.state), c->member_count,
             c->member_count == 1 ? "" : "s");
    return verdict;
}

static void on_alert(void *ctx, const char *subject, const void *data, size_t bytes)
{
    struct community_steward *s = ctx;
    struct wire_envelope envelope;
    struct wire_alert *alert = malloc(sizeof *alert);
    struct class *c = NULL;
    if (!alert)
        return;
    pthread_mutex_lock(&s->lock);
    enum wire_verdict verdict =
        community_open(s->checker, &envelope, subject, data, bytes, base_realtime_ns());
    if (!verdict && envelope.type != WIRE_TYPE_ALERT)
        verdict = WIRE_TYPE;
    if (!verdict)
        verdict = wire_alert_decode(alert, envelope.payload, envelope.payload_bytes);
    refuse(s, subject, verdict);
    /* Only a member that has proved to be itself gets an answer. */
    if (!verdict) {
        struct known_member *m = known(s, envelope.sender.name);
        refill(s, m);
        s->alerts++;
        if (!spend(&m->alert_tokens))
            verdict = WIRE_RATE;
        else if (!s->loaded)
            verdict = WIRE_BUSY;
        else if (seen_before(s, alert->id))
            verdict = WIRE_DUPLICATE;
        else
            verdict = take_alert(s, &c, alert, envelope.sender.name);
        if (verdict == WIRE_OK || verdict == WIRE_DUPLICATE)
            memcpy(s->recent[s->recent_next++ % RECENT_ALERTS], alert->id, WIRE_ID_BYTES);
        else
            refuse(s, subject, verdict);
        send_receipt(s, envelope.sender.name, alert, c, verdict);
    }
    pthread_mutex_unlock(&s->lock);
    free(alert);
}

/* ---- what other stewards publish, and what is read back
 * --------------------------------------------------------------- */

/* Takes a checked vaccine envelope that is newer than ours. Returns whether it was. */
static bool take_vaccine(struct community_steward *s, const struct wire_envelope *envelope, const void *data,
                         size_t bytes)
{
    struct wire_vaccine vaccine;
    char id[2 * WIRE_ID_BYTES + 1];
    if (wire_vaccine_decode(&vaccine, envelope->payload, envelope->payload_bytes))
        return false;
    base_hex(id, vaccine.id, WIRE_ID_BYTES);
    if (strcmp(envelope->subject + strlen("vaccine."), id))
        return false;
    struct class *c = find_class(s, vaccine.id);
    if (c && c->sequence >= envelope->sequence)
        return false;
    if (!c)
        c = add_class(s, &vaccine);
    c->vaccine = vaccine;
    c->sequence = envelope->sequence;
    free(c->message);
    c->message = copy_of(data, bytes);
    c->bytes = bytes;
    return true;
}

static bool take_manifest(struct community_steward *s, const struct wire_envelope *envelope, const void *data,
                          size_t bytes)
{
    if (envelope->sequence <= s->manifest_sequence)
        return false;
    free(s->manifest);
    s->manifest = copy_of(data, bytes);
    s->manifest_bytes = bytes;
    s->manifest_sequence = envelope->sequence;
    return true;
}

/* An accepted fault, ours or another steward's: its count, and who met which class. */
static void take_fault(struct community_steward *s, const struct wire_envelope *envelope, const void *data,
                       size_t bytes)
{
    char member[WIRE_MEMBER_NAME];
    uint8_t id[WIRE_ID_BYTES];
    struct wire_vaccine vaccine;
    struct wire_alert *alert = malloc(sizeof *alert);
    if (alert && !wire_told_decode(member, alert, envelope->payload, envelope->payload_bytes)) {
        fault_id(id, member, alert);
        struct fault *f = find_fault(s, id);
        if (!f)
            f = add_fault(s, id);
        if (alert->count > f->count) {
            f->count = alert->count;
            free(f->message);
            f->message = copy_of(data, bytes);
            f->bytes = bytes;
        }
        struct class *c = community_vaccine_of(&vaccine, alert) ? find_class(s, vaccine.id) : NULL;
        if (c)
            class_meets(c, member_index(s, member));
    }
    free(alert);
}

static void on_kept_locked(void *ctx, const char *subject, const void *data, size_t bytes)
{
    struct community_steward *s = ctx;
    struct wire_envelope envelope;
    enum wire_verdict verdict =
        community_open(s->checker, &envelope, subject, data, bytes, base_realtime_ns());
    if (verdict)
        refuse(s, subject, verdict);
    else if (envelope.type == WIRE_TYPE_VACCINE)
        take_vaccine(s, &envelope, data, bytes);
    else if (envelope.type == WIRE_TYPE_MANIFEST)
        take_manifest(s, &envelope, data, bytes);
    else if (envelope.type == WIRE_TYPE_FAULT)
        take_fault(s, &envelope, data, bytes);
}

static void on_kept(void *ctx, const char *subject, const void *data, size_t bytes)
{
    struct community_steward *s = ctx;
    pthread_mutex_lock(&s->lock);
    on_kept_locked(s, subject, data, bytes);
    pthread_mutex_unlock(&s->lock);
}

static void load(struct community_steward *s)
{
    struct base_error error;
    if (s->bus->replay(s->bus, &error, "vaccine.>", on_kept_locked, s) ||
        s->bus->replay(s->bus, &error, "manifest", on_kept_locked, s) ||
        s->bus->replay(s->bus, &error, "fault.>", on_kept_locked, s)) {
        note(s, "%s; trying again", error.text);
        return;
    }
    for (unsigned i = 0; i < s->member_count; i++)
        s->members[i].sole = 0;
    for (unsigned i = 0; i < s->class_count; i++) {
        struct class *c = &s->classes[i];
        if (c->sequence && c->member_count == 1)
            s->members[c->members[0]].sole++;
        /* Published when the engine was another: what it lacks now, it gets again. */
    }
    s->loaded = true;
    note(s, "engine reached: %u vaccine%s, %u fault record%s", s->class_count, s->class_count == 1 ? "" : "s",
         s->fault_count, s->fault_count == 1 ? "" : "s");
}

/* ---- asks
 * -----------------------------------------------------------------------------------------------------------------
 */

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
        send_record(f->steward, WIRE_TYPE_BUNDLE, subject, data, n);
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
        struct class *c = find_class(s, held.id);
        if (c && c->sequence <= held.sequence)
            has[c - s->classes] = true;
        if (!c || c->sequence < held.sequence) {
            f->wanted = grow(f->wanted, f->bundle.wanted_count, &f->wanted_room, WIRE_ID_BYTES);
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
        refuse(s, inner.subject, verdict);
        if (!verdict && take_vaccine(s, &inner, data, bytes)) {
            s->bus->publish_kept(s->bus, NULL, inner.subject, data, bytes);
            note(s, "%s gave back a vaccine that the engine had lost", member);
        }
    }
}

static void on_ask(void *ctx, const char *subject, const void *data, size_t bytes)
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
        struct known_member *m = known(s, envelope.sender.name);
        refill(s, m);
        if (envelope.type == WIRE_TYPE_BUNDLE) {
            take_offer(s, envelope.sender.name, &bundle);
        } else if (!spend(&m->ask_tokens)) {
            verdict = WIRE_RATE;
        } else if (s->loaded) {
            answer(s, &envelope, &ask);
        }
    }
    refuse(s, subject, verdict);
    pthread_mutex_unlock(&s->lock);
}

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
    refuse(s, subject, verdict);
    pthread_mutex_unlock(&s->lock);
}

static void on_change(void *ctx, bool up)
{
    struct community_steward *s = ctx;
    pthread_mutex_lock(&s->lock);
    s->up = up;
    s->loaded = false;
    if (up)
        load(s);
    pthread_mutex_unlock(&s->lock);
}

/* ---- start, time, end
 * ----------------------------------------------------------------------------------------------------------
 */

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
        note(s, "%s refused: %s", path, wire_verdict_name(verdict));
    } else if (envelope.sequence > s->manifest_sequence) {
        if (s->bus->publish_kept(s->bus, &error, "manifest", data, bytes)) {
            note(s, "%s; trying again", error.text);
            s->manifest_seen.tv_sec = 0;
        } else {
            take_manifest(s, &envelope, data, bytes);
            note(s, "manifest published, %zu bytes", envelope.payload_bytes);
        }
    }
    free(data);
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
        send_record(s, WIRE_TYPE_STATUS, subject, data, n);
}

void community_steward_tick(struct community_steward *s)
{
    uint64_t now = base_monotonic_ns();
    pthread_mutex_lock(&s->lock);
    if (s->folder[0] && file_changed(s->folder, "revoked.json", &s->revoked_seen)) {
        community_revoked_each(NULL, s->folder, revoke_one, s);
        s->revocations++;
    }
    if (s->up && !s->loaded)
        load(s);
    if (s->loaded && s->folder[0] && file_changed(s->folder, "manifest.signed", &s->manifest_seen))
        read_manifest(s);
    /* Counts alone are worth telling now and then only. */
    if (s->loaded && now - s->flushed_ns > FLUSH_NS) {
        s->flushed_ns = now;
        for (unsigned i = 0; i < s->class_count; i++)
            if (s->classes[i].dirty && s->classes[i].sequence)
                publish_class(s, &s->classes[i]);
    }
    if (s->up && now - s->told_ns >= (uint64_t)STATUS_MS * 900000)
        tell_status(s, now);
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
        bus->subscribe(bus, error, "alert.>", "stewards", on_alert, s) ||
        bus->subscribe(bus, error, "ask.>", "stewards", on_ask, s) ||
        bus->subscribe(bus, error, "vaccine.>", NULL, on_kept, s) ||
        bus->subscribe(bus, error, "manifest", NULL, on_kept, s) ||
        bus->subscribe(bus, error, "fault.>", NULL, on_kept, s) ||
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
