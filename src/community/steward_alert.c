/* Alerts: what becomes of a member's word. */
#define _GNU_SOURCE
#include "community/steward.h"

#include <stdlib.h>
#include <string.h>

static void send_receipt(struct community_steward *s, const char *member, const struct wire_alert *alert,
                         const struct known_class *c, enum wire_verdict verdict)
{
    uint8_t payload[WIRE_RECEIPT_ROOM];
    char subject[WIRE_SUBJECT];
    struct wire_receipt receipt = {.verdict = (uint8_t)verdict};
    memcpy(receipt.alert, alert->id, WIRE_ID_BYTES);
    if (c && c->sequence)
        memcpy(receipt.vaccine, c->vaccine.id, WIRE_ID_BYTES);
    size_t n = wire_receipt_encode(payload, sizeof payload, &receipt);
    snprintf(subject, sizeof subject, "inbox.%s.receipt", member);
    community_steward_send_record(s, WIRE_TYPE_RECEIPT, subject, payload, n);
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
static bool judge(struct community_steward *s, struct known_class *c, const struct wire_alert *alert,
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
static enum wire_verdict take_alert(struct community_steward *s, struct known_class **of,
                                    struct wire_alert *alert, const char *member)
{
    struct wire_vaccine wanted;
    uint32_t who = community_steward_member_index(s, member);
    enum wire_verdict verdict = WIRE_OK;
    if (!community_vaccine_of(&wanted, alert))
        return community_steward_publish_fault(s, member, alert) ? WIRE_BUSY : WIRE_OK;
    if (s->policy.knows && !s->policy.knows(s->policy.ctx, &alert->function))
        return WIRE_IMPLAUSIBLE;
    struct known_class *c = community_steward_find_class(s, wanted.id);
    bool fresh = !c, tell = false, new_member;
    if (fresh) {
        wanted.created_ns = base_realtime_ns();
        wanted.alerts = 0;
        wanted.evidence_ids = 0;
        c = community_steward_add_class(s, &wanted);
    }
    new_member = community_steward_class_meets(c, who);
    tell = judge(s, c, alert, new_member);
    bool published = c->sequence != 0, confirmed = c->member_count > 1;
    if (!published) {
        /* One member's word is enough for so many functions that cost so much, and no more; then a second has to confirm. */
        tell =
            (confirmed || s->members[who].sole < s->policy.unconfirmed_max) && community_steward_admits(s, c);
        if (!tell)
            verdict = WIRE_UNCONFIRMED;
    } else if (!fresh) {
        verdict = WIRE_DUPLICATE;
    }
    if (tell && community_steward_publish_class(s, c))
        return WIRE_BUSY;
    if (tell && !published && !confirmed)
        s->members[who].sole++;
    else if (published && new_member && c->member_count == 2 && s->members[c->members[0]].sole)
        s->members[c->members[0]].sole--;
    *of = c;
    if (community_steward_publish_fault(s, member, alert))
        return WIRE_BUSY;
    if (tell)
        community_steward_note(s, "vaccine for %s in %s (%s): %s, %u member%s",
                               alert->function.symbol[0] ? alert->function.symbol : "?",
                               alert->function.object, core_fault_name(alert->kind),
                               wire_vaccine_state_name(c->vaccine.state), c->member_count,
                               c->member_count == 1 ? "" : "s");
    return verdict;
}

void community_steward_on_alert(void *ctx, const char *subject, const void *data, size_t bytes)
{
    struct community_steward *s = ctx;
    struct wire_envelope envelope;
    struct wire_alert *alert = malloc(sizeof *alert);
    struct known_class *c = NULL;
    if (!alert)
        return;
    pthread_mutex_lock(&s->lock);
    enum wire_verdict verdict =
        community_open(s->checker, &envelope, subject, data, bytes, base_realtime_ns());
    if (!verdict && envelope.type != WIRE_TYPE_ALERT)
        verdict = WIRE_TYPE;
    if (!verdict)
        verdict = wire_alert_decode(alert, envelope.payload, envelope.payload_bytes);
    community_steward_refuse(s, subject, verdict);
    /* Only a member that has proved to be itself gets an answer. */
    if (!verdict) {
        struct known_member *m = community_steward_known(s, envelope.sender.name);
        community_steward_refill(s, m);
        s->alerts++;
        if (!community_steward_spend(&m->alert_tokens))
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
            community_steward_refuse(s, subject, verdict);
        send_receipt(s, envelope.sender.name, alert, c, verdict);
    }
    pthread_mutex_unlock(&s->lock);
    free(alert);
}
