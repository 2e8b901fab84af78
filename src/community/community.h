/* community: the conversation. Members tell a steward of their faults (alerts); the steward tells all members
   which functions to protect (vaccines); everyone keeps what it was told. This folder knows keys, messages
   and the engine that carries them, and nothing of processes or programs.

   A reader's way: folder.c (what `community create` makes), seal.c (who may say what), session.c (a member's
   side), steward.c (the other side), bus_nats.c and engine.c (what carries it).

   Subjects, and who may publish on them:
       alert.NAME.fault          member NAME         alert
       status.NAME               anyone named NAME   status, also the lease
       ask.NAME                  anyone named NAME   ask; bundle of what the steward lacks
       inbox.NAME.bundle|receipt steward             answers; a steward answers nowhere else
       vaccine.ID, manifest      steward             retained
       fault.ID                  steward             accepted faults with their counts, retained
       roster                    steward             who is there to bid for slices
       bid.NUMBER.NAME           member NAME         bid, token or acknowledgement for member NUMBER
   The engine enforces this by credentials, and every receiver again by the signed envelope. */
#ifndef COMMUNITY_COMMUNITY_H
#define COMMUNITY_COMMUNITY_H

#include "base/base.h"
#include "wire/wire.h"

/* ---- identities and the community's folder (keys.c, nkey.c, folder.c) ---------------------------------- */

#define COMMUNITY_PATH 4096

struct community_hub;
struct community_session;
struct community_steward;
struct community_engine;

/* Who we are: what an invitation holds. */
struct community_identity {
    struct wire_certificate certificate;
    uint8_t secret[64]; /* Ed25519 secret key of certificate.key */
    char *nats_jwt;     /* credentials at the engine; owned */
    char nats_seed[64];
    uint32_t number;               /* order of invitation, from 0: which slice a member takes */
    char urls[1024];               /* comma-separated, may be empty */
    char url_file[COMMUNITY_PATH]; /* file that holds the engine's present URL, or empty */
    char state[COMMUNITY_PATH];    /* folder for what has to survive a restart */
};

/* Makes a community in the new folder `folder`: its key, the engine's operator, accounts and signing keys,
   all readable by the owner only. Returns 0, or -1 (ENVIRONMENT when it exists already or cannot be written).
 */
int community_create(struct base_error *error, const char *folder, const char *name);

/* Makes the invitation of `name`: FOLDER/members/NAME.json, key and certificate included. An existing one is
   kept, and that is no error, unless `renew`. Out: `path` (COMMUNITY_PATH bytes) of the file. Returns 0 or
   -1. */
int community_invite(struct base_error *error, char *path, const char *folder, const char *name,
                     enum wire_role role, bool renew);

/* Refuses every certificate of `name` issued until now. A running steward takes note within a second. */
int community_revoke(struct base_error *error, const char *folder, const char *name);

/* Reads an invitation. `where` is the file, or a community's folder: then `name` is invited first when it has
   to be. Returns 0, or -1 (INPUT: damaged file). Owns: release with community_identity_free. */
int community_identity_load(struct base_error *error, struct community_identity *identity, const char *where,
                            const char *name, enum wire_role role);
void community_identity_free(struct community_identity *identity);

/* ---- messages (seal.c) --------------------------------------------------------------------------------- */

/* What a sender keeps: the last sequence it gave. Callers that publish from several threads hold a lock of
   their own from sealing to publishing, so that messages arrive in the order of their sequences. */
struct community_sender {
    const struct community_identity *identity;
    uint64_t sequence;
};

/* A signed envelope. Out: `*message` (malloc, owned by the caller). Returns its bytes, or 0 when it does not
 * fit. */
size_t community_seal(struct community_sender *sender, uint8_t **message, enum wire_type type,
                      const char *subject, const void *payload, size_t bytes);

/* What a receiver keeps: certificates it has checked and the newest sequence of each sender and type. */
struct community_checker;
struct community_checker *community_checker_new(const uint8_t community[WIRE_KEY_BYTES]);
void community_checker_free(struct community_checker *checker);
/* Certificates of `name` with a serial up to `until_ns` are refused from now on. */
void community_checker_revoke(struct community_checker *checker, const char *name, uint64_t until_ns);

/* Checks a message completely: layout, signature, certificate, community, subject, sender, role and, for what
   is not retained, replay and clock. `subject` is the one it came on, or NULL for an envelope found inside a
   bundle. Out: `*envelope`, pointing into `data`. `now_ns` is CLOCK_REALTIME. Returns the verdict, by name in
   wire/verdicts.def. Context: one thread at a time. */
enum wire_verdict community_open(struct community_checker *checker, struct wire_envelope *envelope,
                                 const char *subject, const void *data, size_t bytes, uint64_t now_ns);

/* The vaccine that an alert asks for. Returns false when the alert names no function. Its id depends only on
   build-id, offset and kind. */
bool community_vaccine_of(struct wire_vaccine *vaccine, const struct wire_alert *alert);

/* ---- the bus (bus_nats.c, bus_memory.c) ---------------------------------------------------------------- */

typedef void (*community_handler)(void *ctx, const char *subject, const void *data, size_t bytes);

/* What carries messages: the engine, or memory for tests. All functions may be called from any thread. */
struct community_bus {
    /* Before start. The handler runs on threads of the bus, several at a time for different subscriptions; it
       stays subscribed through reconnections. `queue` NULL, or the name of a group of which one gets each
       message. */
    int (*subscribe)(struct community_bus *bus, struct base_error *error, const char *subject,
                     const char *queue, community_handler handler, void *ctx);
    /* Begins to connect, and reconnects for ever with back-off. `on_change` is told of every change, on a
       thread of the bus. Returns at once, also when the engine is down. */
    int (*start)(struct community_bus *bus, struct base_error *error, void (*on_change)(void *ctx, bool up),
                 void *ctx);
    /* Fails when not connected: nothing is queued here. */
    int (*publish)(struct community_bus *bus, struct base_error *error, const char *subject, const void *data,
                   size_t bytes);
    /* The same, and waits until the engine has stored it. */
    int (*publish_kept)(struct community_bus *bus, struct base_error *error, const char *subject,
                        const void *data, size_t bytes);
    /* Hands over every message the engine keeps for `filter`, on the calling thread. Stewards only. */
    int (*replay)(struct community_bus *bus, struct base_error *error, const char *filter,
                  community_handler handler, void *ctx);
    /* No handler runs after it returns. Not from a handler. */
    void (*close)(struct community_bus *bus);
};

/* The engine as `identity` reaches it; reads its url_file anew at every connection, so that an engine that
   comes back on another port is found. `identity` must outlive the bus. Never use it in a forked child: it
   has threads. */
struct community_bus *community_bus_nats(const struct community_identity *identity);

/* Memory, for tests: all buses of one hub see each other's messages when the hub is pumped. Single-threaded.
 */
struct community_hub *community_hub_new(void);
void community_hub_free(struct community_hub *hub);
struct community_bus *community_bus_memory(struct community_hub *hub);
void community_hub_up(struct community_hub *hub, bool up);
/* Delivers what is waiting, and what that causes. Returns the number of messages delivered. */
unsigned community_hub_pump(struct community_hub *hub);

/* ---- a member's side (session.c, store.c) -------------------------------------------------------------- */

/* Called on threads of the bus or, for own faults and stored vaccines, on the thread that joins or sends;
   never two at a time. They must not call the session. */
struct community_callbacks {
    /* A vaccine that is new or has changed; state WITHDRAWN: take it off. Each is told once per change. */
    void (*on_vaccine)(void *ctx, const struct wire_vaccine *vaccine);
    /* The manifest in force, opaque here; `sequence` grows. */
    void (*on_manifest)(void *ctx, const void *data, size_t bytes, uint64_t sequence);
    /* Connected to the engine, or not. NULL: not wanted. */
    void (*on_link)(void *ctx, bool up);
    /* The steward's answer to an alert. NULL: not wanted. */
    void (*on_receipt)(void *ctx, const struct wire_receipt *receipt);
    void *ctx;
    /* Who is there to bid. NULL: not wanted, like the next. */
    void (*on_roster)(void *ctx, const struct wire_roster *roster);
    /* A bid for us, from the member that it says. Returns whether `*answer` is to be sent back. */
    bool (*on_bid)(void *ctx, struct wire_bid *answer, const struct wire_bid *bid);
};

/* Joins: loads what was kept (on_vaccine, on_manifest for each), begins to connect, asks the steward for the
   rest. Works without an engine: vaccines from own faults hold at once, alerts wait on disk. `bus` NULL: the
   engine. `ticks` false: no thread of its own, the caller calls community_session_tick. Returns 0, or -1
   (ENVIRONMENT: this name is in use by a running member). Owns: takes `bus`; `identity` must outlive the
   session. */
int community_join(struct base_error *error, struct community_session **session,
                   const struct community_identity *identity, const struct community_callbacks *callbacks,
                   struct community_bus *bus, bool ticks);

/* Raises the local vaccine (on_vaccine, before it returns), keeps the alert on disk and sends it until the
   steward has acknowledged it. In: alert->id may be all zero: one is given. Returns 0, or -1 when it could
   not be kept. */
int community_send_alert(struct base_error *error, struct community_session *session,
                         struct wire_alert *alert);

/* Sent at once and not kept; a status that cannot be sent is lost. Fills vaccines, queued, manifest by
 * itself. */
void community_send_status(struct community_session *session, const struct wire_status *status);

/* Sends a bid; one that cannot be sent is lost. */
void community_send_bid(struct community_session *session, const struct wire_bid *bid);

/* Alerts not acknowledged yet, vaccines held, connected or not. */
struct community_session_state {
    unsigned queued, vaccines;
    bool up;
    bool answered; /* the steward has answered an ask since the last connection: we have what there is */
};
struct community_session_state community_session_state(struct community_session *session);
/* Time-driven work: resends, periodic ask. `now_ns` is CLOCK_MONOTONIC. */
void community_session_tick(struct community_session *session, uint64_t now_ns);
/* Tries for up to `wait_ms` to have all alerts acknowledged, then disconnects; what is left stays on disk. */
void community_leave(struct community_session *session, unsigned wait_ms);

/* ---- the steward's side (steward.c, roster.c) ---------------------------------------------------------- */

struct community_steward_policy {
    unsigned alerts_per_second, alerts_burst; /* per member; 0: 10 and 100 */
    unsigned unconfirmed_max; /* vaccines on the word of one member alone; more wait for a second. 0: 64 */
    unsigned adopt_after;     /* undone faults that turn tried into adopted; 0: 3 */
    /* Whether a known build has this function; NULL: not asked. */
    bool (*knows)(void *ctx, const struct wire_place *function);
    /* One line for the operator's log, `what` without a newline. NULL: not wanted. */
    void (*on_note)(void *ctx, const char *what);
    /* An accepted alert, and every message refused. NULL: not wanted. */
    void (*on_refused)(void *ctx, const char *subject, enum wire_verdict verdict);
    void *ctx;
};

/* Serves: loads what the engine keeps, then turns alerts into vaccines and answers asks. `folder`: the
   community's, read for revocations and the manifest; NULL in tests. Owns: takes `bus`. */
int community_steward_start(struct base_error *error, struct community_steward **steward,
                            const struct community_identity *identity,
                            const struct community_steward_policy *policy, struct community_bus *bus,
                            const char *folder);
/* Every second or so: revocations, a new manifest, status, retried loading. */
void community_steward_tick(struct community_steward *steward);
struct community_steward_counts {
    unsigned members_alive, vaccines, faults;
    uint64_t alerts;
    unsigned revocations; /* grows when revocations were read: the engine's configuration is to follow */
    uint32_t refused[WIRE_VERDICT_COUNT];
};
struct community_steward_counts community_steward_counts(struct community_steward *steward);
void community_steward_stop(struct community_steward *steward);

/* Publishes a manifest: signs it into FOLDER/manifest.signed, from where a running steward sends it within a
 * second. */
int community_publish_manifest(struct base_error *error, const char *folder, const void *data, size_t bytes);
/* Approves (ADOPTED) or revokes (WITHDRAWN) a vaccine by hand, with the community's key. `id` is a prefix of
   at least 4 hexadecimal digits. Returns 0, or -1 (INPUT: none or several such). */
int community_judge_vaccine(struct base_error *error, const char *folder, const char *id,
                            enum wire_vaccine_state state);

/* ---- the engine (engine.c) ----------------------------------------------------------------------------- */

/* Starts a private nats-server on `listen` ("127.0.0.1:0": any free port, the previous one when it is still
   free), data and log below FOLDER/engine, and writes its URL to FOLDER/url. It dies with the calling thread.
   Returns 0, or -1 (ENVIRONMENT: no nats-server; folder served by another process, named). Context: main
   thread. */
int community_engine_start(struct base_error *error, struct community_engine **engine, const char *folder,
                           const char *listen);
/* Reaps and restarts a server that has died. Returns 1 when it had to, 0 when all is well, -1 when it cannot
   be restarted now (call again later). */
int community_engine_watch(struct base_error *error, struct community_engine *engine);
const char *community_engine_url(const struct community_engine *engine);
int community_engine_pid(const struct community_engine *engine);
/* Takes revocations into the server's configuration and has it reload. */
int community_engine_reload(struct base_error *error, struct community_engine *engine);
void community_engine_stop(struct community_engine *engine);

/* ---- observing (observer.c) ---------------------------------------------------------------------------- */

struct community_member_seen {
    char name[WIRE_MEMBER_NAME];
    uint8_t role;
    uint64_t heard_ns; /* CLOCK_REALTIME of its last status */
    bool alive;        /* heard within three of its intervals */
    struct wire_status status;
};
struct community_vaccine_seen {
    uint64_t sequence, time_ns;
    struct wire_vaccine vaccine;
};
struct community_fault_seen {
    char member[WIRE_MEMBER_NAME];
    struct wire_alert alert;
};
struct community_view {
    struct community_member_seen *members;
    struct community_vaccine_seen *vaccines;
    struct community_fault_seen *faults;
    unsigned member_count, vaccine_count, fault_count;
    uint64_t manifest; /* its sequence, 0 none */
    bool steward;      /* a steward answered: the view is complete */
};
/* Asks the steward for the community as it stands, as the observer `identity`, and waits for the answer up to
   `wait_ms`. Without a steward: what was heard meanwhile. Returns 0, or -1 (ENVIRONMENT: engine not reached).
 */
int community_observe(struct base_error *error, struct community_view *view,
                      const struct community_identity *identity, unsigned wanted, unsigned wait_ms);
void community_view_free(struct community_view *view);

#endif
