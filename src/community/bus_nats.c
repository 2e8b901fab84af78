/* The bus over NATS. One keeper thread owns the connection: it connects, subscribes, tells of it, waits until
   the connection is lost, and begins again. The library's own reconnection is switched off: it gives a server
   up for good after two refused logins, of which one in some hundred is a false refusal (libnats 3.4 loses a
   signature whose first byte is zero), and it would not find an engine that comes back on another port. */
#define _GNU_SOURCE
#include "community/internal.h"

#include <nats/nats.h>
#include <pthread.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

enum { SUBSCRIPTIONS = 8, KEPT_WAIT_MS = 3000, CONNECT_WAIT_MS = 3000 };

struct subscription {
    struct nats_bus *bus;
    char subject[WIRE_SUBJECT];
    char queue[32];
    community_handler handler;
    void *ctx;
    natsSubscription *live; /* of the present connection; keeper only */
};

struct nats_bus {
    struct community_bus calls; /* first: a bus is handed out by this member */
    const struct community_identity *identity;
    struct subscription subscriptions[SUBSCRIPTIONS];
    unsigned subscription_count;
    void (*on_change)(void *ctx, bool up);
    void *change_ctx;
    pthread_t keeper;
    bool started;

    pthread_mutex_t lock; /* all below */
    pthread_cond_t changed;
    natsConnection *connection; /* non-NULL: may be used, counting oneself in `users` */
    jsCtx *js;
    unsigned users;   /* threads inside the library with `connection` */
    unsigned running; /* handlers being run */
    unsigned owed;    /* last words that the library still owes: of connections and of subscriptions */
    bool lost, closing;
};

/* ---- credentials --------------------------------------------------------------------------------------- */

static natsStatus give_token(char **token, char **why, void *closure)
{
    const struct nats_bus *bus = closure;
    (void)why;
    *token = strdup(bus->identity->nats_jwt);
    return *token ? NATS_OK : NATS_NO_MEMORY;
}

static natsStatus sign_nonce(char **why, unsigned char **signature, int *bytes, const char *nonce,
                             void *closure)
{
    const struct nats_bus *bus = closure;
    char public_text[COMMUNITY_NKEY_TEXT];
    uint8_t secret[64];
    (void)why;
    if (community_nkey_open(public_text, secret, bus->identity->nats_seed))
        return NATS_ERR;
    *signature = malloc(crypto_sign_BYTES);
    if (!*signature)
        return NATS_NO_MEMORY;
    crypto_sign_detached(*signature, NULL, (const uint8_t *)nonce, strlen(nonce), secret);
    sodium_memzero(secret, sizeof secret);
    *bytes = crypto_sign_BYTES;
    return NATS_OK;
}

/* ---- receiving ----------------------------------------------------------------------------------------- */

static void on_message(natsConnection *connection, natsSubscription *natssub, natsMsg *message, void *closure)
{
    struct subscription *s = closure;
    struct nats_bus *bus = s->bus;
    (void)connection;
    (void)natssub;
    pthread_mutex_lock(&bus->lock);
    bool wanted = !bus->closing;
    bus->running += wanted;
    pthread_mutex_unlock(&bus->lock);
    if (wanted) {
        int bytes = natsMsg_GetDataLength(message);
        s->handler(s->ctx, natsMsg_GetSubject(message), natsMsg_GetData(message),
                   bytes > 0 ? (size_t)bytes : 0);
        pthread_mutex_lock(&bus->lock);
        if (--bus->running == 0)
            pthread_cond_broadcast(&bus->changed);
        pthread_mutex_unlock(&bus->lock);
    }
    natsMsg_Destroy(message);
}

static void on_closed(natsConnection *connection, void *closure)
{
    struct nats_bus *bus = closure;
    pthread_mutex_lock(&bus->lock);
    bus->owed--;
    pthread_cond_broadcast(&bus->changed);
    /* It may be about one that was dropped long ago. */
    if (connection == bus->connection) {
        bus->lost = true;
    }
    pthread_mutex_unlock(&bus->lock);
}

static void on_subscription_over(void *closure)
{
    struct nats_bus *bus = closure;
    pthread_mutex_lock(&bus->lock);
    bus->owed--;
    pthread_cond_broadcast(&bus->changed);
    pthread_mutex_unlock(&bus->lock);
}

static void owe(struct nats_bus *bus)
{
    pthread_mutex_lock(&bus->lock);
    bus->owed++;
    pthread_mutex_unlock(&bus->lock);
}

static void on_error(natsConnection *connection, natsSubscription *subscription, natsStatus status,
                     void *closure)
{
    /* The library would print it. A slow consumer loses messages here; the periodic ask finds what was lost.
     */
    (void)connection;
    (void)subscription;
    (void)status;
    (void)closure;
}

/* ---- the keeper ---------------------------------------------------------------------------------------- */

/* The engine's addresses: the file when there is one, else what the invitation says. Returns false when there
 * are none. */
static bool find_urls(const struct nats_bus *bus, char *urls, size_t room)
{
    char *text;
    size_t bytes;
    urls[0] = 0;
    if (bus->identity->url_file[0] && !base_read_file(NULL, &text, &bytes, bus->identity->url_file)) {
        snprintf(urls, room, "%.*s", (int)strcspn(text, "\n"), text);
        free(text);
    }
    if (!urls[0])
        snprintf(urls, room, "%s", bus->identity->urls);
    return urls[0];
}

static natsStatus make_options(natsOptions **options, struct nats_bus *bus, char *urls)
{
    const char *list[16];
    int count = 0;
    char *rest = NULL;
    for (char *url = strtok_r(urls, ", ", &rest); url && count < 16; url = strtok_r(NULL, ", ", &rest))
        list[count++] = url;
    natsStatus s = natsOptions_Create(options);
    if (s == NATS_OK)
        s = natsOptions_SetServers(*options, list, count);
    if (s == NATS_OK)
        s = natsOptions_SetName(*options, bus->identity->certificate.name);
    if (s == NATS_OK)
        s = natsOptions_SetAllowReconnect(*options, false);
    if (s == NATS_OK)
        s = natsOptions_SetTimeout(*options, CONNECT_WAIT_MS);
    if (s == NATS_OK)
        s = natsOptions_SetPingInterval(*options, 5000);
    if (s == NATS_OK)
        s = natsOptions_SetSendAsap(*options, true);
    if (s == NATS_OK)
        s = natsOptions_SetClosedCB(*options, on_closed, bus);
    if (s == NATS_OK)
        s = natsOptions_SetErrorHandler(*options, on_error, bus);
    if (s == NATS_OK)
        s = natsOptions_SetUserCredentialsCallbacks(*options, give_token, bus, sign_nonce, bus);
    return s;
}

static natsStatus keep_stream(jsCtx *js, const char *name, const char **subjects, int count, int64_t most)
{
    jsStreamConfig config;
    jsStreamConfig_Init(&config);
    config.Name = name;
    config.Subjects = subjects;
    config.SubjectsLen = count;
    config.Storage = js_FileStorage;
    config.MaxMsgsPerSubject = 1;
    config.MaxMsgs = most;
    config.Discard = js_DiscardOld;
    natsStatus s = js_AddStream(NULL, js, &config, NULL, NULL);
    /* Exists with other settings, those of an operator who wants three replicas for instance: they stay. */
    return s == NATS_OK || js_GetStreamInfo(NULL, js, name, NULL, NULL) == NATS_OK ? NATS_OK : s;
}

static natsStatus open_streams(jsCtx **js, natsConnection *connection)
{
    const char *told[] = {"vaccine.>", "manifest"}, *faults[] = {"fault.>"};
    jsOptions options;
    jsOptions_Init(&options);
    options.Wait = KEPT_WAIT_MS;
    natsStatus s = natsConnection_JetStream(js, connection, &options);
    if (s == NATS_OK)
        s = keep_stream(*js, "VACCINES", told, 2, -1);
    if (s == NATS_OK)
        s = keep_stream(*js, "FAULTS", faults, 1, 20000);
    return s;
}

static natsStatus connect_once(struct nats_bus *bus, natsConnection **connection, jsCtx **js)
{
    natsOptions *options = NULL;
    char urls[1024];
    *connection = NULL;
    *js = NULL;
    if (!find_urls(bus, urls, sizeof urls))
        return NATS_NO_SERVER;
    natsStatus s = make_options(&options, bus, urls);
    for (int attempt = 0; attempt < 2; attempt++) {
        if (s != NATS_OK && s != NATS_CONNECTION_AUTH_FAILED)
            break;
        s = natsConnection_Connect(connection, options);
        if (s != NATS_CONNECTION_AUTH_FAILED)
            break; /* a refused login is believed only when it happens twice */
    }
    natsOptions_Destroy(options);
    if (s == NATS_OK)
        owe(bus);
    for (unsigned i = 0; s == NATS_OK && i < bus->subscription_count; i++) {
        struct subscription *wanted = &bus->subscriptions[i];
        s = wanted->queue[0]
                ? natsConnection_QueueSubscribe(&wanted->live, *connection, wanted->subject, wanted->queue,
                                                on_message, wanted)
                : natsConnection_Subscribe(&wanted->live, *connection, wanted->subject, on_message, wanted);
        if (s == NATS_OK &&
            natsSubscription_SetOnCompleteCB(wanted->live, on_subscription_over, bus) == NATS_OK)
            owe(bus);
    }
    if (s == NATS_OK && bus->identity->certificate.role == WIRE_ROLE_STEWARD)
        s = open_streams(js, *connection);
    /* The server must know the subscriptions before anything is asked: answers would be lost. */
    if (s == NATS_OK)
        s = natsConnection_FlushTimeout(*connection, CONNECT_WAIT_MS);
    return s;
}

static void drop(struct nats_bus *bus, natsConnection *connection, jsCtx *js)
{
    jsCtx_Destroy(js);
    for (unsigned i = 0; i < bus->subscription_count; i++) {
        natsSubscription_Destroy(bus->subscriptions[i].live);
        bus->subscriptions[i].live = NULL;
    }
    if (connection)
        natsConnection_Close(connection);
    natsConnection_Destroy(connection);
}

/* Waits `ms`, or until the bus closes. Called with the lock held. */
static void pause_locked(struct nats_bus *bus, unsigned ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += ms / 1000;
    until.tv_nsec += (long)(ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    while (!bus->closing && pthread_cond_timedwait(&bus->changed, &bus->lock, &until) == 0)
        ;
}

static void *keep(void *arg)
{
    struct nats_bus *bus = arg;
    unsigned wait_ms = 20;
    pthread_mutex_lock(&bus->lock);
    while (!bus->closing) {
        natsConnection *connection;
        jsCtx *js;
        pthread_mutex_unlock(&bus->lock);
        natsStatus s = connect_once(bus, &connection, &js);
        if (s != NATS_OK) {
            drop(bus, connection, js);
            pthread_mutex_lock(&bus->lock);
            /* A whole community that lost its engine must not come back in one wave: plus up to a half. */
            pause_locked(bus, wait_ms + randombytes_uniform(wait_ms / 2 + 1));
            wait_ms = wait_ms < 1000 ? wait_ms * 2 : 1000;
            continue;
        }
        wait_ms = 20;
        pthread_mutex_lock(&bus->lock);
        bus->connection = connection;
        bus->js = js;
        /* Lost before on_closed could know the connection: then it has closed already. */
        bus->lost = natsConnection_IsClosed(connection);
        pthread_mutex_unlock(&bus->lock);
        if (bus->on_change)
            bus->on_change(bus->change_ctx, true);
        pthread_mutex_lock(&bus->lock);
        while (!bus->lost && !bus->closing)
            pthread_cond_wait(&bus->changed, &bus->lock);
        bus->connection = NULL;
        bus->js = NULL;
        while (bus->users)
            pthread_cond_wait(&bus->changed, &bus->lock);
        pthread_mutex_unlock(&bus->lock);
        if (bus->on_change)
            bus->on_change(bus->change_ctx, false);
        drop(bus, connection, js);
        pthread_mutex_lock(&bus->lock);
    }
    pthread_mutex_unlock(&bus->lock);
    return NULL;
}

/* ---- what a bus can do --------------------------------------------------------------------------------- */

static struct nats_bus *self(struct community_bus *bus)
{
    return (struct nats_bus *)bus;
}

static int bus_subscribe(struct community_bus *calls, struct base_error *error, const char *subject,
                         const char *queue, community_handler handler, void *ctx)
{
    struct nats_bus *bus = self(calls);
    if (bus->started || bus->subscription_count == SUBSCRIPTIONS)
        return base_fail(error, BASE_EXIT_FAILURE, "cannot subscribe %s: too late or too many", subject);
    struct subscription *s = &bus->subscriptions[bus->subscription_count++];
    s->bus = bus;
    snprintf(s->subject, sizeof s->subject, "%s", subject);
    snprintf(s->queue, sizeof s->queue, "%s", queue ? queue : "");
    s->handler = handler;
    s->ctx = ctx;
    return 0;
}

static int bus_start(struct community_bus *calls, struct base_error *error,
                     void (*on_change)(void *ctx, bool up), void *ctx)
{
    struct nats_bus *bus = self(calls);
    bus->on_change = on_change;
    bus->change_ctx = ctx;
    if (community_thread(&bus->keeper, keep, bus))
        return base_fail(error, BASE_EXIT_FAILURE, "cannot start a thread for the engine");
    bus->started = true;
    return 0;
}

static natsConnection *acquire(struct nats_bus *bus, jsCtx **js)
{
    pthread_mutex_lock(&bus->lock);
    natsConnection *connection = bus->lost ? NULL : bus->connection;
    if (js)
        *js = bus->js;
    bus->users += connection != NULL;
    pthread_mutex_unlock(&bus->lock);
    return connection;
}

static void release(struct nats_bus *bus)
{
    pthread_mutex_lock(&bus->lock);
    if (--bus->users == 0)
        pthread_cond_broadcast(&bus->changed);
    pthread_mutex_unlock(&bus->lock);
}

static int failed(struct base_error *error, const char *what, const char *subject, natsStatus s)
{
    return base_fail(error, BASE_EXIT_ENVIRONMENT, "cannot %s %s: %s", what, subject, natsStatus_GetText(s));
}

static int bus_publish(struct community_bus *calls, struct base_error *error, const char *subject,
                       const void *data, size_t bytes)
{
    struct nats_bus *bus = self(calls);
    natsConnection *connection = acquire(bus, NULL);
    if (!connection)
        return base_fail(error, BASE_EXIT_ENVIRONMENT, "cannot publish %s: the engine is not reached",
                         subject);
    natsStatus s = natsConnection_Publish(connection, subject, data, (int)bytes);
    release(bus);
    return s == NATS_OK ? 0 : failed(error, "publish", subject, s);
}

static int bus_publish_kept(struct community_bus *calls, struct base_error *error, const char *subject,
                            const void *data, size_t bytes)
{
    struct nats_bus *bus = self(calls);
    jsCtx *js;
    if (!acquire(bus, &js))
        return base_fail(error, BASE_EXIT_ENVIRONMENT, "cannot publish %s: the engine is not reached",
                         subject);
    /* One subject keeps one message, so that sending the same twice leaves the same: no deduplication is
     * needed. */
    natsStatus s = js ? js_Publish(NULL, js, subject, data, (int)bytes, NULL, NULL) : NATS_NOT_PERMITTED;
    release(bus);
    return s == NATS_OK ? 0 : failed(error, "store", subject, s);
}

static natsStatus replay_messages(jsCtx *js, const char *filter, community_handler handler, void *ctx)
{
    natsSubscription *subscription = NULL;
    jsConsumerInfo *info = NULL;
    jsSubOptions options;
    jsSubOptions_Init(&options);
    options.Ordered = true;
    natsStatus s = js_SubscribeSync(&subscription, js, filter, NULL, &options, NULL);
    if (s == NATS_OK)
        s = natsSubscription_GetConsumerInfo(&info, subscription, NULL, NULL);
    uint64_t left = s == NATS_OK ? info->NumPending + info->Delivered.Consumer : 0;
    jsConsumerInfo_Destroy(info);
    while (s == NATS_OK && left--) {
        natsMsg *message = NULL;
        s = natsSubscription_NextMsg(&message, subscription, 5000);
        if (s == NATS_OK)
            handler(ctx, natsMsg_GetSubject(message), natsMsg_GetData(message),
                    (size_t)natsMsg_GetDataLength(message));
        natsMsg_Destroy(message);
    }
    if (subscription)
        natsSubscription_Unsubscribe(subscription);
    natsSubscription_Destroy(subscription);
    return s;
}

static int bus_replay(struct community_bus *calls, struct base_error *error, const char *filter,
                      community_handler handler, void *ctx)
{
    struct nats_bus *bus = self(calls);
    jsCtx *js;
    if (!acquire(bus, &js))
        return base_fail(error, BASE_EXIT_ENVIRONMENT, "cannot read %s: the engine is not reached", filter);
    natsStatus s = js ? replay_messages(js, filter, handler, ctx) : NATS_NOT_PERMITTED;
    release(bus);
    return s == NATS_OK ? 0 : failed(error, "read", filter, s);
}

static void bus_close(struct community_bus *calls)
{
    struct nats_bus *bus = self(calls);
    pthread_mutex_lock(&bus->lock);
    bus->closing = true;
    pthread_cond_broadcast(&bus->changed);
    pthread_mutex_unlock(&bus->lock);
    if (bus->started)
        pthread_join(bus->keeper, NULL);
    pthread_mutex_lock(&bus->lock);
    while (bus->running)
        pthread_cond_wait(&bus->changed, &bus->lock);
    /* The library's threads know our address until they have said their last word. Should one never come, the memory
       stays. */
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += 3;
    while (bus->owed && pthread_cond_timedwait(&bus->changed, &bus->lock, &until) == 0)
        ;
    bool over = !bus->owed;
    pthread_mutex_unlock(&bus->lock);
    if (over) {
        pthread_mutex_destroy(&bus->lock);
        pthread_cond_destroy(&bus->changed);
        free(bus);
    }
}

struct community_bus *community_bus_nats(const struct community_identity *identity)
{
    static const struct community_bus calls = {bus_subscribe,    bus_start,  bus_publish,
                                               bus_publish_kept, bus_replay, bus_close};
    struct nats_bus *bus = calloc(1, sizeof *bus);
    if (!bus)
        return NULL;
    pthread_condattr_t clock;
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_mutex_init(&bus->lock, NULL);
    pthread_cond_init(&bus->changed, &clock);
    bus->calls = calls;
    bus->identity = identity;
    return &bus->calls;
}
