/* A member's side of the conversation.

   One lock guards everything, sending included, so that messages leave in the order of their sequences, and
   callbacks run under it, so that no two run at once. */
#define _GNU_SOURCE
#include "community/internal.h"

#include <pthread.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { QUEUE_MAX = 4096, HELD_MAX = 16384, TICK_MS = 100 };
#define MS             1000000u
#define FIRST_RETRY_NS ((uint64_t)500 * MS)
#define LAST_RETRY_NS  ((uint64_t)5000 * MS)
/* Between asks: until the first answer, and afterwards. The latter also carries what a steward lost back to
 * it. */
#define ASK_SOON_NS   ((uint64_t)1000 * MS)
#define ASK_LATER_NS  ((uint64_t)30000 * MS)
#define COMPACT_BYTES (1u << 20)

struct held {
    uint8_t id[WIRE_ID_BYTES];
    uint64_t sequence; /* of its envelope; 0: local, from an own fault */
    uint8_t state;
    uint8_t *data; /* envelope, or encoded vaccine when local */
    size_t bytes;
};

struct pending {
    uint8_t id[WIRE_ID_BYTES];
    uint64_t next_ns, wait_ns;
    uint8_t *data; /* encoded alert */
    size_t bytes;
};

struct community_session {
    const struct community_identity *identity;
    struct community_callbacks callbacks;
    struct community_bus *bus;
    struct community_store *store;
    pthread_t ticker;
    bool ticks;

    pthread_mutex_t lock; /* all below */
    pthread_cond_t stop_changed;
    bool stopping, up, dirty;
    struct community_checker *checker;
    struct community_sender sender;
    struct held *held;
    unsigned held_count, held_room;
    struct pending *pending;
    unsigned pending_count, pending_room;
    uint64_t manifest_sequence;
    uint64_t ask_token, next_ask_ns;
    bool ask_answered;
    uint32_t refused[WIRE_VERDICT_COUNT];
};

/* ---- sending ------------------------------------------------------------------------------------------- */

static int send_record(struct community_session *s, enum wire_type type, const char *subject,
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

static void send_pending(struct community_session *s, struct pending *p, uint64_t now_ns)
{
    char subject[WIRE_SUBJECT];
    snprintf(subject, sizeof subject, "alert.%s.fault", s->identity->certificate.name);
    send_record(s, WIRE_TYPE_ALERT, subject, p->data, p->bytes);
    p->next_ns = now_ns + p->wait_ns;
    p->wait_ns = p->wait_ns * 2 < LAST_RETRY_NS ? p->wait_ns * 2 : LAST_RETRY_NS;
}

/* Asks for what we lack, saying what we have. */
static void send_ask(struct community_session *s, uint64_t now_ns)
{
    char subject[WIRE_SUBJECT];
    struct wire_held *list = calloc(s->held_count + 1, sizeof *list);
    size_t room = 64 + (size_t)s->held_count * (WIRE_ID_BYTES + 8);
    uint8_t *data = malloc(room);
    struct wire_ask ask = {.wanted = WIRE_ASK_VACCINES | WIRE_ASK_MANIFEST,
                           .token = ++s->ask_token,
                           .manifest_sequence = s->manifest_sequence,
                           .held = list};
    s->next_ask_ns = now_ns + ASK_SOON_NS;
    if (list && data) {
        for (unsigned i = 0; i < s->held_count; i++) {
            if (!s->held[i].sequence)
                continue;
            memcpy(list[ask.held_count].id, s->held[i].id, WIRE_ID_BYTES);
            list[ask.held_count++].sequence = s->held[i].sequence;
        }
        snprintf(subject, sizeof subject, "ask.%s", s->identity->certificate.name);
        size_t n = wire_ask_encode(data, room, &ask);
        if (n)
            send_record(s, WIRE_TYPE_ASK, subject, data, n);
    }
    free(list);
    free(data);
}

/* ---- vaccines and manifest ----------------------------------------------------------------------------- */

static struct held *find_held(struct community_session *s, const uint8_t id[WIRE_ID_BYTES])
{
    for (unsigned i = 0; i < s->held_count; i++)
        if (!memcmp(s->held[i].id, id, WIRE_ID_BYTES))
            return &s->held[i];
    return NULL;
}

/* Keeps a vaccine in memory and, with `store`, on disk, and tells of it when that changes anything for the
 * program. */
static void keep_vaccine(struct community_session *s, const struct wire_vaccine *vaccine, uint64_t sequence,
                         const void *data, size_t bytes, bool store)
{
    struct held *h = find_held(s, vaccine->id);
    bool is_new = !h;
    if (h && (sequence <= h->sequence))
        return;
    if (is_new) {
        if (s->held_count == HELD_MAX)
            return;
        if (s->held_count == s->held_room) {
            unsigned room = s->held_room ? 2 * s->held_room : 64;
            struct held *larger = realloc(s->held, room * sizeof *larger);
            if (!larger)
                return;
            s->held = larger;
            s->held_room = room;
        }
        h = &s->held[s->held_count];
        memset(h, 0, sizeof *h);
    }
    uint8_t *copy = malloc(bytes);
    if (!copy)
        return;
    memcpy(copy, data, bytes);
    free(h->data);
    bool changed = is_new || h->state != vaccine->state;
    memcpy(h->id, vaccine->id, WIRE_ID_BYTES);
    h->data = copy;
    h->bytes = bytes;
    h->sequence = sequence;
    h->state = vaccine->state;
    s->held_count += is_new;
    if (changed && s->callbacks.on_vaccine)
        s->callbacks.on_vaccine(s->callbacks.ctx, vaccine);
    /* After telling: protection first. */
    if (store)
        community_store_append(NULL, s->store, sequence ? COMMUNITY_STORE_VACCINE : COMMUNITY_STORE_LOCAL,
                               data, bytes);
}

/* A checked envelope that holds a vaccine. */
static enum wire_verdict take_vaccine(struct community_session *s, const struct wire_envelope *envelope,
                                      const void *data, size_t bytes, bool store)
{
    struct wire_vaccine vaccine;
    char id[2 * WIRE_ID_BYTES + 1];
    enum wire_verdict verdict = wire_vaccine_decode(&vaccine, envelope->payload, envelope->payload_bytes);
    if (verdict)
        return verdict;
    base_hex(id, vaccine.id, WIRE_ID_BYTES);
    if (strcmp(envelope->subject + strlen("vaccine."), id))
        return WIRE_SUBJECT;
    keep_vaccine(s, &vaccine, envelope->sequence, data, bytes, store);
    return WIRE_OK;
}

static void take_manifest(struct community_session *s, const struct wire_envelope *envelope, const void *data,
                          size_t bytes, bool store)
{
    if (envelope->sequence <= s->manifest_sequence)
        return;
    s->manifest_sequence = envelope->sequence;
    if (s->callbacks.on_manifest)
        s->callbacks.on_manifest(s->callbacks.ctx, envelope->payload, envelope->payload_bytes,
                                 envelope->sequence);
    if (store)
        community_store_manifest(NULL, s->store, data, bytes);
}

/* ---- receiving ----------------------------------------------------------------------------------------- */

static void refuse(struct community_session *s, enum wire_verdict verdict)
{
    if (verdict && verdict < WIRE_VERDICT_COUNT)
        s->refused[verdict]++;
}

static void on_told(void *ctx, const char *subject, const void *data, size_t bytes)
{
    struct community_session *s = ctx;
    struct wire_envelope envelope;
    pthread_mutex_lock(&s->lock);
    enum wire_verdict verdict =
        community_open(s->checker, &envelope, subject, data, bytes, base_realtime_ns());
    if (!verdict && envelope.type == WIRE_TYPE_VACCINE)
        verdict = take_vaccine(s, &envelope, data, bytes, true);
    else if (!verdict && envelope.type == WIRE_TYPE_MANIFEST)
        take_manifest(s, &envelope, data, bytes, true);
    refuse(s, verdict);
    pthread_mutex_unlock(&s->lock);
}

static void remove_pending(struct community_session *s, unsigned index)
{
    community_store_append(NULL, s->store, COMMUNITY_STORE_DONE, s->pending[index].id, WIRE_ID_BYTES);
    free(s->pending[index].data);
    memmove(&s->pending[index], &s->pending[index + 1], (--s->pending_count - index) * sizeof *s->pending);
    s->dirty = true;
}

static enum wire_verdict take_receipt(struct community_session *s, const struct wire_envelope *envelope)
{
    struct wire_receipt receipt;
    enum wire_verdict verdict = wire_receipt_decode(&receipt, envelope->payload, envelope->payload_bytes);
    if (verdict)
        return verdict;
    for (unsigned i = 0; i < s->pending_count; i++) {
        if (memcmp(s->pending[i].id, receipt.alert, WIRE_ID_BYTES))
            continue;
        if (receipt.verdict != WIRE_RATE && receipt.verdict != WIRE_BUSY)
            remove_pending(s, i);
        if (s->callbacks.on_receipt)
            s->callbacks.on_receipt(s->callbacks.ctx, &receipt);
        break;
    }
    return WIRE_OK;
}

/* Gives back to the steward what it has lost. */
static void offer(struct community_session *s, const struct wire_bundle *asked)
{
    char subject[WIRE_SUBJECT];
    snprintf(subject, sizeof subject, "ask.%s", s->identity->certificate.name);
    for (uint32_t i = 0; i < asked->wanted_count; i++) {
        const struct held *h = find_held(s, asked->wanted + (size_t)i * WIRE_ID_BYTES);
        if (!h || !h->sequence)
            continue;
        uint8_t *list = malloc(4 + h->bytes), *data = malloc(128 + h->bytes);
        if (list && data) {
            struct wire_writer w;
            wire_writer_start(&w, list, 4 + h->bytes);
            wire_put(&w, h->bytes, 4);
            wire_put_bytes(&w, h->data, h->bytes);
            struct wire_bundle bundle = {
                .envelope_count = 1, .envelopes = list, .envelopes_bytes = 4 + h->bytes};
            size_t n = wire_bundle_encode(data, 128 + h->bytes, &bundle);
            if (n)
                send_record(s, WIRE_TYPE_BUNDLE, subject, data, n);
        }
        free(list);
        free(data);
    }
}

static enum wire_verdict take_bundle(struct community_session *s, const struct wire_envelope *envelope)
{
    struct wire_bundle bundle;
    const uint8_t *data;
    size_t at = 0, bytes;
    enum wire_verdict verdict = wire_bundle_decode(&bundle, envelope->payload, envelope->payload_bytes);
    if (verdict)
        return verdict;
    while (wire_bundle_next(&bundle, &at, &data, &bytes)) {
        struct wire_envelope inner;
        enum wire_verdict one = community_open(s->checker, &inner, NULL, data, bytes, base_realtime_ns());
        if (!one && inner.type == WIRE_TYPE_VACCINE)
            one = take_vaccine(s, &inner, data, bytes, true);
        else if (!one && inner.type == WIRE_TYPE_MANIFEST)
            take_manifest(s, &inner, data, bytes, true);
        refuse(s, one);
    }
    offer(s, &bundle);
    if (bundle.token == s->ask_token && !bundle.more) {
        s->ask_answered = true;
        s->next_ask_ns = base_monotonic_ns() + ASK_LATER_NS;
    }
    return WIRE_OK;
}

static void on_inbox(void *ctx, const char *subject, const void *data, size_t bytes)
{
    struct community_session *s = ctx;
    struct wire_envelope envelope;
    pthread_mutex_lock(&s->lock);
    enum wire_verdict verdict =
        community_open(s->checker, &envelope, subject, data, bytes, base_realtime_ns());
    if (!verdict && envelope.type == WIRE_TYPE_RECEIPT)
        verdict = take_receipt(s, &envelope);
    else if (!verdict && envelope.type == WIRE_TYPE_BUNDLE)
        verdict = take_bundle(s, &envelope);
    refuse(s, verdict);
    pthread_mutex_unlock(&s->lock);
}

/* ---- bidding ------------------------------------------------------------------------------------------- */

static void send_bid(struct community_session *s, const struct wire_bid *bid)
{
    uint8_t data[WIRE_BID_ROOM];
    char subject[WIRE_SUBJECT];
    size_t bytes = wire_bid_encode(data, sizeof data, bid);
    snprintf(subject, sizeof subject, "bid.%u.%s", (unsigned)bid->to, s->identity->certificate.name);
    if (bytes && s->up)
        send_record(s, WIRE_TYPE_BID, subject, data, bytes);
}

void community_send_bid(struct community_session *s, const struct wire_bid *bid)
{
    pthread_mutex_lock(&s->lock);
    send_bid(s, bid);
    pthread_mutex_unlock(&s->lock);
}

/* A bid is from the member that its certificate numbers, or it is refused. */
static void on_bid(void *ctx, const char *subject, const void *data, size_t bytes)
{
    struct community_session *s = ctx;
    struct wire_envelope envelope;
    struct wire_bid bid, answer;
    pthread_mutex_lock(&s->lock);
    enum wire_verdict verdict =
        community_open(s->checker, &envelope, subject, data, bytes, base_realtime_ns());
    if (!verdict)
        verdict = wire_bid_decode(&bid, envelope.payload, envelope.payload_bytes);
    if (!verdict && (bid.from != envelope.sender.number || bid.to != s->identity->number))
        verdict = WIRE_SENDER;
    if (!verdict && s->callbacks.on_bid && s->callbacks.on_bid(s->callbacks.ctx, &answer, &bid))
        send_bid(s, &answer);
    refuse(s, verdict);
    pthread_mutex_unlock(&s->lock);
}

static void on_roster(void *ctx, const char *subject, const void *data, size_t bytes)
{
    struct community_session *s = ctx;
    struct wire_envelope envelope;
    struct wire_roster roster;
    pthread_mutex_lock(&s->lock);
    enum wire_verdict verdict =
        community_open(s->checker, &envelope, subject, data, bytes, base_realtime_ns());
    if (!verdict)
        verdict = wire_roster_decode(&roster, envelope.payload, envelope.payload_bytes);
    if (!verdict && s->callbacks.on_roster)
        s->callbacks.on_roster(s->callbacks.ctx, &roster);
    refuse(s, verdict);
    pthread_mutex_unlock(&s->lock);
}

static void on_change(void *ctx, bool up)
{
    struct community_session *s = ctx;
    uint64_t now = base_monotonic_ns();
    pthread_mutex_lock(&s->lock);
    s->up = up;
    s->ask_answered = false;
    for (unsigned i = 0; up && i < s->pending_count; i++) {
        s->pending[i].wait_ns = FIRST_RETRY_NS;
        send_pending(s, &s->pending[i], now);
    }
    if (up)
        send_ask(s, now);
    if (s->callbacks.on_link && !s->stopping) /* leaving is no loss of the engine */
        s->callbacks.on_link(s->callbacks.ctx, up);
    pthread_mutex_unlock(&s->lock);
}

/* ---- own faults ---------------------------------------------------------------------------------------- */

static int queue_alert(struct community_session *s, const uint8_t id[WIRE_ID_BYTES], const void *data,
                       size_t bytes)
{
    if (s->pending_count == QUEUE_MAX)
        remove_pending(s, 0); /* the oldest tells least by now, and its local vaccine stays */
    if (s->pending_count == s->pending_room) {
        unsigned room = s->pending_room ? 2 * s->pending_room : 16;
        struct pending *larger = realloc(s->pending, room * sizeof *larger);
        if (!larger)
            return -1;
        s->pending = larger;
        s->pending_room = room;
    }
    struct pending *p = &s->pending[s->pending_count];
    memset(p, 0, sizeof *p);
    p->data = malloc(bytes);
    if (!p->data)
        return -1;
    memcpy(p->data, data, bytes);
    p->bytes = bytes;
    p->wait_ns = FIRST_RETRY_NS;
    memcpy(p->id, id, WIRE_ID_BYTES);
    s->pending_count++;
    return 0;
}

int community_send_alert(struct base_error *error, struct community_session *s, struct wire_alert *alert)
{
    uint8_t data[WIRE_ALERT_ROOM], local[WIRE_VACCINE_ROOM];
    struct wire_vaccine vaccine;
    if (sodium_is_zero(alert->id, sizeof alert->id))
        randombytes_buf(alert->id, sizeof alert->id);
    if (!alert->count)
        alert->count = 1;
    size_t bytes = wire_alert_encode(data, sizeof data, alert);
    if (!bytes)
        return base_fail(error, BASE_EXIT_FAILURE, "fault report does not fit an alert");
    pthread_mutex_lock(&s->lock);
    if (community_vaccine_of(&vaccine, alert) && !find_held(s, vaccine.id)) {
        size_t n = wire_vaccine_encode(local, sizeof local, &vaccine);
        if (n)
            keep_vaccine(s, &vaccine, 0, local, n, true);
    }
    int result = queue_alert(s, alert->id, data, bytes);
    if (!result && s->up)
        send_pending(s, &s->pending[s->pending_count - 1], base_monotonic_ns());
    /* Sent first, then to the file: the others' protection does not wait for ours. No fsync: what the kernel
       has survives our death, and a power cut here costs one report of a fault that will come again. */
    if (result || community_store_append(error, s->store, COMMUNITY_STORE_ALERT, data, bytes))
        result = result ? base_fail(error, BASE_EXIT_FAILURE, "out of memory") : -1;
    pthread_mutex_unlock(&s->lock);
    return result;
}

void community_send_status(struct community_session *s, const struct wire_status *status)
{
    uint8_t data[WIRE_STATUS_ROOM];
    char subject[WIRE_SUBJECT];
    struct wire_status own = *status;
    pthread_mutex_lock(&s->lock);
    own.vaccines = 0;
    for (unsigned i = 0; i < s->held_count; i++)
        own.vaccines += s->held[i].state != WIRE_VACCINE_WITHDRAWN;
    own.queued = s->pending_count;
    own.manifest = s->manifest_sequence;
    own.refusal_count = WIRE_VERDICT_COUNT;
    memcpy(own.refusals, s->refused, sizeof s->refused);
    snprintf(subject, sizeof subject, "status.%s", s->identity->certificate.name);
    size_t bytes = wire_status_encode(data, sizeof data, &own);
    if (bytes && s->up)
        send_record(s, WIRE_TYPE_STATUS, subject, data, bytes);
    pthread_mutex_unlock(&s->lock);
}

struct community_session_state community_session_state(struct community_session *s)
{
    pthread_mutex_lock(&s->lock);
    struct community_session_state state = {s->pending_count, s->held_count, s->up, s->up && s->ask_answered};
    pthread_mutex_unlock(&s->lock);
    return state;
}

/* ---- time, start, end ---------------------------------------------------------------------------------- */

static int write_live(void *ctx, struct community_store *to)
{
    struct community_session *s = ctx;
    for (unsigned i = 0; i < s->held_count; i++)
        if (community_store_append(NULL, to,
                                   s->held[i].sequence ? COMMUNITY_STORE_VACCINE : COMMUNITY_STORE_LOCAL,
                                   s->held[i].data, s->held[i].bytes))
            return -1;
    for (unsigned i = 0; i < s->pending_count; i++)
        if (community_store_append(NULL, to, COMMUNITY_STORE_ALERT, s->pending[i].data, s->pending[i].bytes))
            return -1;
    return 0;
}

static void tick_locked(struct community_session *s, uint64_t now_ns)
{
    for (unsigned i = 0; s->up && i < s->pending_count; i++)
        if (s->pending[i].next_ns <= now_ns)
            send_pending(s, &s->pending[i], now_ns);
    if (s->up && s->next_ask_ns <= now_ns)
        send_ask(s, now_ns);
    if (s->dirty && !s->pending_count && community_store_bytes(s->store) > COMPACT_BYTES) {
        s->dirty = false;
        community_store_rewrite(NULL, s->store, write_live, s);
    }
}

void community_session_tick(struct community_session *s, uint64_t now_ns)
{
    pthread_mutex_lock(&s->lock);
    tick_locked(s, now_ns);
    pthread_mutex_unlock(&s->lock);
}

static void *tick_thread(void *arg)
{
    struct community_session *s = arg;
    pthread_mutex_lock(&s->lock);
    while (!s->stopping) {
        struct timespec until;
        uint64_t at = base_monotonic_ns() + (uint64_t)TICK_MS * MS;
        until.tv_sec = (time_t)(at / 1000000000u);
        until.tv_nsec = (long)(at % 1000000000u);
        pthread_cond_timedwait(&s->stop_changed, &s->lock, &until);
        if (!s->stopping)
            tick_locked(s, base_monotonic_ns());
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

/* One record from the disk. Vaccines are checked like any message: the file is no more trusted than the bus.
 */
static void load_record(void *ctx, enum community_store_tag tag, const void *data, size_t bytes)
{
    struct community_session *s = ctx;
    struct wire_envelope envelope;
    struct wire_vaccine vaccine;
    if (tag == COMMUNITY_STORE_VACCINE) {
        if (!community_open(s->checker, &envelope, NULL, data, bytes, base_realtime_ns()) &&
            envelope.type == WIRE_TYPE_VACCINE)
            take_vaccine(s, &envelope, data, bytes, false);
    } else if (tag == COMMUNITY_STORE_LOCAL) {
        if (!wire_vaccine_decode(&vaccine, data, bytes))
            keep_vaccine(s, &vaccine, 0, data, bytes, false);
    } else if (tag == COMMUNITY_STORE_ALERT) {
        struct wire_alert *alert = malloc(sizeof *alert);
        if (alert && !wire_alert_decode(alert, data, bytes))
            queue_alert(s, alert->id, data, bytes);
        free(alert);
    } else if (tag == COMMUNITY_STORE_DONE && bytes == WIRE_ID_BYTES) {
        for (unsigned i = 0; i < s->pending_count; i++) {
            if (!memcmp(s->pending[i].id, data, WIRE_ID_BYTES)) {
                free(s->pending[i].data);
                memmove(&s->pending[i], &s->pending[i + 1], (--s->pending_count - i) * sizeof *s->pending);
                break;
            }
        }
    }
}

static void load_manifest(struct community_session *s)
{
    struct wire_envelope envelope;
    char *data;
    size_t bytes;
    if (community_store_manifest_read(s->store, &data, &bytes))
        return;
    if (!community_open(s->checker, &envelope, "manifest", data, bytes, base_realtime_ns()))
        take_manifest(s, &envelope, data, bytes, false);
    free(data);
}

static void free_session(struct community_session *s)
{
    for (unsigned i = 0; i < s->held_count; i++)
        free(s->held[i].data);
    for (unsigned i = 0; i < s->pending_count; i++)
        free(s->pending[i].data);
    free(s->held);
    free(s->pending);
    community_checker_free(s->checker);
    community_store_close(s->store);
    free(s);
}

int community_join(struct base_error *error, struct community_session **out,
                   const struct community_identity *identity, const struct community_callbacks *callbacks,
                   struct community_bus *bus, bool ticks)
{
    char inbox[WIRE_SUBJECT], bids[WIRE_SUBJECT];
    community_crypto_start();
    struct community_session *s = calloc(1, sizeof *s);
    if (!bus)
        bus = community_bus_nats(identity);
    if (!s || !bus)
        return base_fail(error, BASE_EXIT_FAILURE, "out of memory");
    s->identity = s->sender.identity = identity;
    s->callbacks = *callbacks;
    s->bus = bus;
    s->checker = community_checker_new(identity->certificate.community);
    randombytes_buf(&s->ask_token, sizeof s->ask_token);
    pthread_condattr_t clock;
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->stop_changed, &clock);
    if (community_store_open(error, &s->store, identity->state, load_record, s))
        goto fail;
    load_manifest(s);
    snprintf(inbox, sizeof inbox, "inbox.%s.>", identity->certificate.name);
    snprintf(bids, sizeof bids, "bid.%u.*", (unsigned)identity->number);
    if (bus->subscribe(bus, error, "vaccine.>", NULL, on_told, s) ||
        bus->subscribe(bus, error, "manifest", NULL, on_told, s) ||
        bus->subscribe(bus, error, inbox, NULL, on_inbox, s) ||
        (callbacks->on_roster && bus->subscribe(bus, error, "roster", NULL, on_roster, s)) ||
        (callbacks->on_bid && bus->subscribe(bus, error, bids, NULL, on_bid, s)) ||
        bus->start(bus, error, on_change, s))
        goto fail;
    s->ticks = ticks && !community_thread(&s->ticker, tick_thread, s);
    *out = s;
    return 0;
fail:
    bus->close(bus);
    free_session(s);
    return -1;
}

void community_leave(struct community_session *s, unsigned wait_ms)
{
    if (!s)
        return;
    for (unsigned waited = 0; waited < wait_ms && community_session_state(s).queued; waited += 5)
        usleep(5000);
    pthread_mutex_lock(&s->lock);
    s->stopping = true;
    pthread_cond_broadcast(&s->stop_changed);
    pthread_mutex_unlock(&s->lock);
    if (s->ticks)
        pthread_join(s->ticker, NULL);
    s->bus->close(s->bus);
    free_session(s);
}
