/* The steward's parts share this and nobody else: steward.c (start, time, end), steward_state.c (what it knows),
   steward_alert.c, steward_trust.c, steward_ask.c, steward_roster.c. Everything is guarded by the steward's lock: functions here are called with it held,
   but for the handlers of the bus. */
#ifndef COMMUNITY_STEWARD_H
#define COMMUNITY_STEWARD_H

#include "community/internal.h"

#include <pthread.h>
#include <time.h>

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
struct known_class {
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

/* Who bids, by number (steward_roster.c). */
struct steward_roster {
    uint64_t manifest; /* sequence of the one that was read */
    uint64_t first_epoch, epoch_ns;
    uint32_t members;      /* N; 0: nobody bids */
    uint8_t *died, *alive; /* by member: as in the record; whether its lease holds */
    uint64_t epoch, sitting, told_ns;
    uint8_t version; /* 0: no sitting */
};

/* What watching each function of the manifest adds (steward_trust.c). */
struct steward_cost_object {
    uint8_t build_id_bytes, build_id[WIRE_BUILD_ID_BYTES];
};
struct steward_cost {
    uint32_t object, offset;
    double cost; /* fraction of the run time */
};
struct steward_costs {
    uint64_t manifest; /* sequence of the one that was read */
    struct steward_cost_object *objects;
    struct steward_cost *list; /* in the manifest's order, by (object, offset) */
    uint32_t object_count, count;
    double budget; /* eps of a member's slice, as a fraction of the run time */
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
    struct known_class *classes;
    unsigned class_count, class_room;
    struct fault *faults;
    unsigned fault_count, fault_room;
    struct community_names names; /* index into `members` */
    struct known_member *members;
    unsigned member_count, member_room;
    uint8_t recent[RECENT_ALERTS]
                  [WIRE_ID_BYTES]; /* accepted alerts: a repeated sending is not counted again */
    unsigned recent_next;
    uint8_t *manifest; /* its envelope */
    size_t manifest_bytes;
    uint64_t manifest_sequence;
    struct steward_roster bidders;
    struct steward_costs costs;
    struct timespec revoked_seen, manifest_seen;
    unsigned revocations;
    uint64_t alerts, started_ns, flushed_ns, told_ns;
    uint32_t refused[WIRE_VERDICT_COUNT];
};

/* ---- steward_state.c ----------------------------------------------------------------------------------- */

/* Room for one more item. Returns the list, moved when it had to grow. */
void *community_steward_grow(void *list, unsigned count, unsigned *room, size_t item);
uint8_t *community_steward_copy_of(const void *data, size_t bytes);
/* One line for the operator. */
void community_steward_note(struct community_steward *s, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Counts and tells a refusal; OK is none. */
void community_steward_refuse(struct community_steward *s, const char *subject, enum wire_verdict verdict);
unsigned community_steward_member_index(struct community_steward *s, const char *name);
/* Valid until the next new member: the list moves when it grows. */
struct known_member *community_steward_known(struct community_steward *s, const char *name);
/* Token buckets: so many a second on average, so many at once. */
void community_steward_refill(struct community_steward *s, struct known_member *m);
bool community_steward_spend(double *tokens);
struct known_class *community_steward_find_class(struct community_steward *s,
                                                 const uint8_t id[WIRE_ID_BYTES]);
struct known_class *community_steward_add_class(struct community_steward *s,
                                                const struct wire_vaccine *vaccine);
/* Returns whether the member is new to the class. */
bool community_steward_class_meets(struct known_class *c, uint32_t member);
/* Signs and publishes. Return 0, or -1. */
int community_steward_send_record(struct community_steward *s, enum wire_type type, const char *subject,
                                  const void *payload, size_t bytes);
int community_steward_publish_class(struct community_steward *s, struct known_class *c);
/* Keeps the last report of each kind with the number of all. */
int community_steward_publish_fault(struct community_steward *s, const char *member,
                                    struct wire_alert *alert);
/* Takes a checked envelope that is newer than ours. Return whether it was. */
bool community_steward_take_vaccine(struct community_steward *s, const struct wire_envelope *envelope,
                                    const void *data, size_t bytes);
bool community_steward_take_manifest(struct community_steward *s, const struct wire_envelope *envelope,
                                     const void *data, size_t bytes);
/* Reads back what the engine keeps; sets `loaded` when all of it was read. */
void community_steward_load(struct community_steward *s);

/* Tells who is there to bid, when that has changed, and now and then. */
void community_steward_tell_roster(struct community_steward *s, uint64_t now_ns);

/* ---- steward_trust.c ----------------------------------------------------------------------------------- */

/* Whether a class that is not published yet may be: two members vouch for it, or its cost is within what one word may take.
   Says so to the operator when it may not. */
bool community_steward_admits(struct community_steward *s, const struct known_class *wanted);
void community_steward_forget_costs(struct steward_costs *costs);

/* ---- handlers of the bus ------------------------------------------------------------------------------- */

void community_steward_on_kept(void *ctx, const char *subject, const void *data, size_t bytes);
void community_steward_on_alert(void *ctx, const char *subject, const void *data, size_t bytes);
void community_steward_on_ask(void *ctx, const char *subject, const void *data, size_t bytes);

#endif
