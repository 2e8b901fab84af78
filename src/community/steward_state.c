/* What a steward knows, and how it is kept: vaccines by class, fault records, members; its own and what other stewards
   publish. */
#define _GNU_SOURCE
#include "community/steward.h"

#include <stdlib.h>
#include <string.h>

void *community_steward_grow(void *list, unsigned count, unsigned *room, size_t item)
{
    if (count < *room)
        return list;
    *room = *room ? 2 * *room : 64;
    void *larger = realloc(list, *room * item);
    if (!larger)
        abort(); /* a steward without memory: better restarted than forgetful */
    return larger;
}

uint8_t *community_steward_copy_of(const void *data, size_t bytes)
{
    uint8_t *copy = malloc(bytes ? bytes : 1);
    if (!copy)
        abort();
    memcpy(copy, data, bytes);
    return copy;
}

void community_steward_note(struct community_steward *s, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void community_steward_note(struct community_steward *s, const char *format, ...)
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

void community_steward_refuse(struct community_steward *s, const char *subject, enum wire_verdict verdict)
{
    if (!verdict)
        return;
    s->refused[verdict]++;
    if (s->policy.on_refused)
        s->policy.on_refused(s->policy.ctx, subject, verdict);
}

unsigned community_steward_member_index(struct community_steward *s, const char *name)
{
    uint32_t index = community_names_index(&s->names, name);
    if (index < s->member_count)
        return index;
    s->members = community_steward_grow(s->members, s->member_count, &s->member_room, sizeof *s->members);
    struct known_member *m = &s->members[s->member_count];
    memset(m, 0, sizeof *m);
    snprintf(m->name, sizeof m->name, "%s", name);
    m->alert_tokens = s->policy.alerts_burst;
    m->ask_tokens = 2 * ASKS_PER_SECOND;
    m->refilled_ns = base_monotonic_ns();
    return s->member_count++;
}

/* Valid until the next new member: the list moves when it grows. */
struct known_member *community_steward_known(struct community_steward *s, const char *name)
{
    unsigned index = community_steward_member_index(s, name);
    return &s->members[index];
}

/* Token buckets: so many a second on average, so many at once. */
void community_steward_refill(struct community_steward *s, struct known_member *m)
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

bool community_steward_spend(double *tokens)
{
    if (*tokens < 1)
        return false;
    *tokens -= 1;
    return true;
}

struct known_class *community_steward_find_class(struct community_steward *s, const uint8_t id[WIRE_ID_BYTES])
{
    for (unsigned i = 0; i < s->class_count; i++)
        if (!memcmp(s->classes[i].vaccine.id, id, WIRE_ID_BYTES))
            return &s->classes[i];
    return NULL;
}

struct known_class *community_steward_add_class(struct community_steward *s,
                                                const struct wire_vaccine *vaccine)
{
    s->classes = community_steward_grow(s->classes, s->class_count, &s->class_room, sizeof *s->classes);
    struct known_class *c = &s->classes[s->class_count++];
    memset(c, 0, sizeof *c);
    c->vaccine = *vaccine;
    return c;
}

/* Returns whether the member is new to the class. */
bool community_steward_class_meets(struct known_class *c, uint32_t member)
{
    for (unsigned i = 0; i < c->member_count; i++)
        if (c->members[i] == member)
            return false;
    if (c->member_count < MEMBERS_PER_CLASS)
        c->members[c->member_count++] = member;
    return true;
}

/* ---- publishing ---------------------------------------------------------------------------------------- */

int community_steward_send_record(struct community_steward *s, enum wire_type type, const char *subject,
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

int community_steward_publish_class(struct community_steward *s, struct known_class *c)
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
        community_steward_note(s, "%s", error.text);
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
    s->faults = community_steward_grow(s->faults, s->fault_count, &s->fault_room, sizeof *s->faults);
    struct fault *f = &s->faults[s->fault_count++];
    memset(f, 0, sizeof *f);
    memcpy(f->id, id, WIRE_ID_BYTES);
    return f;
}

/* Keeps the last report of each kind with the number of all. */
int community_steward_publish_fault(struct community_steward *s, const char *member, struct wire_alert *alert)
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

/* ---- what other stewards publish, and what is read back ------------------------------------------------ */

/* Takes a checked vaccine envelope that is newer than ours. Returns whether it was. */
bool community_steward_take_vaccine(struct community_steward *s, const struct wire_envelope *envelope,
                                    const void *data, size_t bytes)
{
    struct wire_vaccine vaccine;
    char id[2 * WIRE_ID_BYTES + 1];
    if (wire_vaccine_decode(&vaccine, envelope->payload, envelope->payload_bytes))
        return false;
    base_hex(id, vaccine.id, WIRE_ID_BYTES);
    if (strcmp(envelope->subject + strlen("vaccine."), id))
        return false;
    struct known_class *c = community_steward_find_class(s, vaccine.id);
    if (c && c->sequence >= envelope->sequence)
        return false;
    if (!c)
        c = community_steward_add_class(s, &vaccine);
    c->vaccine = vaccine;
    c->sequence = envelope->sequence;
    free(c->message);
    c->message = community_steward_copy_of(data, bytes);
    c->bytes = bytes;
    return true;
}

bool community_steward_take_manifest(struct community_steward *s, const struct wire_envelope *envelope,
                                     const void *data, size_t bytes)
{
    if (envelope->sequence <= s->manifest_sequence)
        return false;
    free(s->manifest);
    s->manifest = community_steward_copy_of(data, bytes);
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
            f->message = community_steward_copy_of(data, bytes);
            f->bytes = bytes;
        }
        struct known_class *c =
            community_vaccine_of(&vaccine, alert) ? community_steward_find_class(s, vaccine.id) : NULL;
        if (c)
            community_steward_class_meets(c, community_steward_member_index(s, member));
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
        community_steward_refuse(s, subject, verdict);
    else if (envelope.type == WIRE_TYPE_VACCINE)
        community_steward_take_vaccine(s, &envelope, data, bytes);
    else if (envelope.type == WIRE_TYPE_MANIFEST)
        community_steward_take_manifest(s, &envelope, data, bytes);
    else if (envelope.type == WIRE_TYPE_FAULT)
        take_fault(s, &envelope, data, bytes);
}

void community_steward_on_kept(void *ctx, const char *subject, const void *data, size_t bytes)
{
    struct community_steward *s = ctx;
    pthread_mutex_lock(&s->lock);
    on_kept_locked(s, subject, data, bytes);
    pthread_mutex_unlock(&s->lock);
}

void community_steward_load(struct community_steward *s)
{
    struct base_error error;
    if (s->bus->replay(s->bus, &error, "vaccine.>", on_kept_locked, s) ||
        s->bus->replay(s->bus, &error, "manifest", on_kept_locked, s) ||
        s->bus->replay(s->bus, &error, "fault.>", on_kept_locked, s)) {
        community_steward_note(s, "%s; trying again", error.text);
        return;
    }
    for (unsigned i = 0; i < s->member_count; i++)
        s->members[i].sole = 0;
    for (unsigned i = 0; i < s->class_count; i++) {
        struct known_class *c = &s->classes[i];
        if (c->sequence && c->member_count == 1)
            s->members[c->members[0]].sole++;
        /* Published when the engine was another: what it lacks now, it gets again. */
    }
    s->loaded = true;
    community_steward_note(s, "engine reached: %u vaccine%s, %u fault record%s", s->class_count,
                           s->class_count == 1 ? "" : "s", s->fault_count, s->fault_count == 1 ? "" : "s");
}
