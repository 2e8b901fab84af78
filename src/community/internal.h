/* What the files of this folder share and no other folder sees. */
#ifndef COMMUNITY_INTERNAL_H
#define COMMUNITY_INTERNAL_H

#include "community/community.h"

#include <jansson.h>
#include <pthread.h>

/* ---- keys.c -------------------------------------------------------------------------------------------- */

/* libsodium, once. Aborts when it cannot start: nothing here works without it. */
void community_crypto_start(void);
/* A thread with all signals blocked, like those it makes: handlers run on the caller's threads. Returns 0, or an errno. */
int community_thread(pthread_t *thread, void *(*run)(void *), void *arg);
/* Ed25519 key pair from a 32-byte seed. */
void community_key_pair(uint8_t key[32], uint8_t secret[64], const uint8_t seed[32]);
/* Fills and signs a certificate; the serial is the present time. */
void community_certify(struct wire_certificate *certificate, const uint8_t community_secret[64],
                       const uint8_t key[32], const char *name, enum wire_role role, uint32_t number);
bool community_certificate_genuine(const struct wire_certificate *certificate);
/* Writes a file for the owner's eyes only, through a temporary name. */
int community_write_secret(struct base_error *error, const char *path, const void *data, size_t bytes);
/* The same for a JSON value, which it releases. */
int community_write_json(struct base_error *error, const char *path, json_t *value);
int community_read_json(struct base_error *error, json_t **value, const char *path);
/* snprintf into a path; a path that does not fit is an error. */
int community_path(struct base_error *error, char path[COMMUNITY_PATH], const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* ---- nkey.c: the engine's own keys and tokens ---------------------------------------------------------- */

enum community_nkey {
    COMMUNITY_NKEY_OPERATOR = 14 << 3,
    COMMUNITY_NKEY_ACCOUNT = 0,
    COMMUNITY_NKEY_USER = 20 << 3
};
enum { COMMUNITY_NKEY_TEXT = 64 };
/* New key. Out: seed text ("SO...", "SA...", "SU..."), COMMUNITY_NKEY_TEXT bytes. */
void community_nkey_new(char *seed, enum community_nkey kind);
/* Out: public text ("O...", "A...", "U...") and secret key of a seed text. Returns 0, -1 when damaged. */
int community_nkey_open(char *public_text, uint8_t secret[64], const char *seed);
/* A token about `subject`, signed by `issuer_seed`, with `nats` (released here) as its claims. Returns
   malloc'ed text, or NULL when a key is damaged. */
char *community_jwt(const char *issuer_seed, const char *subject, const char *name, uint64_t issued_s,
                    json_t *nats);

/* ---- folder.c: tokens of this community ---------------------------------------------------------------- */

struct community_secrets {
    uint8_t key[32], secret[64]; /* the community's */
    char name[64];
    uint64_t created_s;
    char operator_seed[COMMUNITY_NKEY_TEXT], system_seed[COMMUNITY_NKEY_TEXT],
        account_seed[COMMUNITY_NKEY_TEXT];
    char signer_seed[4][COMMUNITY_NKEY_TEXT]; /* by enum wire_role */
};
int community_secrets_load(struct base_error *error, struct community_secrets *secrets, const char *folder);
/* Operator, system account and account tokens as they stand now, revocations included. Each malloc'ed. */
struct community_tokens {
    char *operator_jwt, *system_jwt, *account_jwt;
    char system[COMMUNITY_NKEY_TEXT], account[COMMUNITY_NKEY_TEXT];
};
int community_tokens_make(struct base_error *error, struct community_tokens *tokens, const char *folder);
void community_tokens_free(struct community_tokens *tokens);
/* Calls back for each revoked name with the last refused serial. */
int community_revoked_each(struct base_error *error, const char *folder,
                           void (*each)(void *ctx, const char *name, uint64_t until_ns), void *ctx);

/* ---- store.c: what a member keeps on disk -------------------------------------------------------------- */

struct community_store;
enum community_store_tag {
    COMMUNITY_STORE_ALERT = 'a',   /* encoded alert, not acknowledged yet */
    COMMUNITY_STORE_DONE = 'd',    /* id of an alert that was acknowledged */
    COMMUNITY_STORE_VACCINE = 'v', /* signed envelope */
    COMMUNITY_STORE_LOCAL = 'l',   /* encoded vaccine from an own fault */
};
/* Opens or makes the folder, locks it, hands over every whole record in the order of writing; a torn tail is
 * cut off. */
int community_store_open(struct base_error *error, struct community_store **store, const char *folder,
                         void (*each)(void *ctx, enum community_store_tag tag, const void *data,
                                      size_t bytes),
                         void *ctx);
/* Appends one record. */
int community_store_append(struct base_error *error, struct community_store *store,
                           enum community_store_tag tag, const void *data, size_t bytes);
/* Replaces the whole file by what `write` appends to the new one. */
int community_store_rewrite(struct base_error *error, struct community_store *store,
                            int (*write)(void *ctx, struct community_store *to), void *ctx);
size_t community_store_bytes(const struct community_store *store);
/* The manifest's envelope, a file of its own. */
int community_store_manifest(struct base_error *error, struct community_store *store, const void *data,
                             size_t bytes);
int community_store_manifest_read(struct community_store *store, char **data, size_t *bytes);
void community_store_close(struct community_store *store);

/* ---- names.c: from a member's name to an index ---- */

struct community_names {
    struct community_name {
        char name[WIRE_MEMBER_NAME];
        uint32_t index; /* plus one; 0: free */
    } * slots;
    uint32_t room, count;
};
/* Index of a name; a new one gets the next. Aborts when out of memory. Starts as {0}. */
uint32_t community_names_index(struct community_names *names, const char *name);
void community_names_free(struct community_names *names);

/* ---- roster.c ------------------------------------------------------------------------------------------ */

struct community_roster;
struct community_roster_entry {
    struct community_member_seen seen;
    uint32_t number;  /* of its certificate */
    uint8_t *message; /* its last status envelope */
    size_t bytes;
};
struct community_roster *community_roster_new(void);
void community_roster_free(struct community_roster *roster);
/* Takes a checked status message. */
void community_roster_hear(struct community_roster *roster, const struct wire_envelope *envelope,
                           const struct wire_status *status, const void *message, size_t bytes);
unsigned community_roster_count(const struct community_roster *roster);
/* Entry with `alive` as of `now_ns`; NULL: dead for so long that it is forgotten. */
const struct community_roster_entry *community_roster_at(struct community_roster *roster, unsigned index,
                                                         uint64_t now_ns);

/* ---- ids ----------------------------------------------------------------------------------------------- */

/* 16-byte BLAKE2b over the parts, separated by their lengths. */
void community_id(uint8_t id[WIRE_ID_BYTES], const char *purpose, const void *a, size_t a_bytes,
                  const void *b, size_t b_bytes);

#endif
