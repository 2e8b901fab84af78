/* The community's folder: its keys, the invitations it has issued, what it has revoked.

       keys/secrets.json   the community's key and the engine's signing keys      owner only
       issued.json         every certificate and engine key given to a name
       revoked.json        names whose certificates until a time are refused
       members/NAME.json   invitations, to be handed to the member                owner only
       members/NAME.state  what that member keeps, when it runs on this machine
       engine/             configuration, log and data of the private server
       url                 where the engine listens now
   Changes are made under a lock on keys/lock: members on one machine may invite themselves at the same
   moment. */
#define _GNU_SOURCE
#include "community/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const role_names[] = {"none", "member", "observer", "steward"};

static uint64_t now_s(void)
{
    return base_realtime_ns() / 1000000000u;
}

static int make_folder(struct base_error *error, const char *format, const char *folder)
{
    char path[COMMUNITY_PATH];
    if (community_path(error, path, "%s/%s", folder, format))
        return -1;
    if (mkdir(path, 0700) && errno != EEXIST)
        return base_fail(error, BASE_EXIT_ENVIRONMENT, "cannot create %s: %s", path, strerror(errno));
    return 0;
}

int community_create(struct base_error *error, const char *folder, const char *name)
{
    char path[COMMUNITY_PATH];
    community_crypto_start();
    if (community_path(error, path, "%s/keys/secrets.json", folder))
        return -1;
    if (!access(path, F_OK))
        return base_fail(error, BASE_EXIT_ENVIRONMENT,
                         "%s is a community already; choose another folder or remove it first", folder);
    if (mkdir(folder, 0700) && errno != EEXIST)
        return base_fail(error, BASE_EXIT_ENVIRONMENT, "cannot create %s: %s", folder, strerror(errno));
    if (make_folder(error, "keys", folder) || make_folder(error, "members", folder) ||
        make_folder(error, "engine", folder))
        return -1;
    uint8_t seed[32];
    char text[65], keys[6][COMMUNITY_NKEY_TEXT];
    randombytes_buf(seed, sizeof seed);
    base_hex(text, seed, sizeof seed);
    community_nkey_new(keys[0], COMMUNITY_NKEY_OPERATOR);
    for (int i = 1; i < 6; i++)
        community_nkey_new(keys[i], COMMUNITY_NKEY_ACCOUNT);
    json_t *secrets =
        json_pack("{s:s,s:i,s:I,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s}", "testudo", "community", "version", 1,
                  "created", (json_int_t)now_s(), "name", name, "seed", text, "operator", keys[0], "system",
                  keys[1], "account", keys[2], "member", keys[3], "observer", keys[4], "steward", keys[5]);
    sodium_memzero(seed, sizeof seed);
    sodium_memzero(text, sizeof text);
    return community_write_json(error, path, secrets);
}

static int read_key(const json_t *from, char *text, const char *name)
{
    const char *value = json_string_value(json_object_get(from, name));
    char public_text[COMMUNITY_NKEY_TEXT];
    uint8_t secret[64];
    if (!value || strlen(value) >= COMMUNITY_NKEY_TEXT || community_nkey_open(public_text, secret, value))
        return -1;
    strcpy(text, value);
    return 0;
}

int community_secrets_load(struct base_error *error, struct community_secrets *secrets, const char *folder)
{
    char path[COMMUNITY_PATH];
    uint8_t seed[32];
    json_t *json;
    community_crypto_start();
    if (community_path(error, path, "%s/keys/secrets.json", folder))
        return -1;
    if (access(path, F_OK))
        return base_fail(error, BASE_EXIT_INPUT,
                         "%s is no community's folder; make one with: testudo community create %s", folder,
                         folder);
    if (community_read_json(error, &json, path))
        return -1;
    const char *text = json_string_value(json_object_get(json, "seed"));
    const char *name = json_string_value(json_object_get(json, "name"));
    int bad = !text || !name || base_unhex(seed, sizeof seed, text) != 32 ||
              read_key(json, secrets->operator_seed, "operator") ||
              read_key(json, secrets->system_seed, "system") ||
              read_key(json, secrets->account_seed, "account");
    for (int role = WIRE_ROLE_MEMBER; role <= WIRE_ROLE_STEWARD && !bad; role++)
        bad = read_key(json, secrets->signer_seed[role], role_names[role]);
    if (!bad) {
        snprintf(secrets->name, sizeof secrets->name, "%s", name);
        secrets->created_s = (uint64_t)json_integer_value(json_object_get(json, "created"));
        community_key_pair(secrets->key, secrets->secret, seed);
    }
    json_decref(json);
    sodium_memzero(seed, sizeof seed);
    return bad ? base_fail(error, BASE_EXIT_INPUT, "%s: a key is missing or damaged; restore the file", path)
               : 0;
}

/* Lock of the folder; -1 with `error`. */
static int lock_folder(struct base_error *error, const char *folder)
{
    char path[COMMUNITY_PATH];
    if (community_path(error, path, "%s/keys/lock", folder))
        return -1;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || flock(fd, LOCK_EX)) {
        base_fail(error, BASE_EXIT_ENVIRONMENT, "cannot lock %s: %s", path, strerror(errno));
        if (fd >= 0)
            close(fd);
        return -1;
    }
    return fd;
}

/* A list file that may not exist yet. */
static int read_list(struct base_error *error, json_t **list, const char *folder, const char *name)
{
    char path[COMMUNITY_PATH];
    if (community_path(error, path, "%s/%s", folder, name))
        return -1;
    if (access(path, F_OK)) {
        *list = json_object();
        return 0;
    }
    return community_read_json(error, list, path);
}

static int write_list(struct base_error *error, const char *folder, const char *name, json_t *list)
{
    char path[COMMUNITY_PATH];
    if (community_path(error, path, "%s/%s", folder, name)) {
        json_decref(list);
        return -1;
    }
    return community_write_json(error, path, list);
}

/* The invitation of a name whose keys are fresh. */
static int write_invitation(struct base_error *error, const char *path, const char *folder,
                            const struct community_secrets *secrets, const char *name, enum wire_role role)
{
    uint8_t seed[32], key[32], secret[64], encoded[256];
    char user_seed[COMMUNITY_NKEY_TEXT], user[COMMUNITY_NKEY_TEXT], account[COMMUNITY_NKEY_TEXT];
    char seed_text[65], certificate_text[513], absolute[PATH_MAX];
    uint8_t unused[64];
    struct wire_certificate certificate;

    randombytes_buf(seed, sizeof seed);
    community_key_pair(key, secret, seed);
    community_nkey_new(user_seed, COMMUNITY_NKEY_USER);
    community_nkey_open(user, unused, user_seed);
    community_nkey_open(account, unused, secrets->account_seed);
    /* A user under a scoped signing key carries no permissions of its own: the account's token has them. */
    char *jwt =
        community_jwt(secrets->signer_seed[role], user, name, now_s(),
                      json_pack("{s:s,s:s,s:i}", "issuer_account", account, "type", "user", "version", 2));
    if (!jwt)
        return base_fail(error, BASE_EXIT_FAILURE, "cannot make credentials of %s", name);

    json_t *issued;
    if (read_list(error, &issued, folder, "issued.json")) {
        free(jwt);
        return -1;
    }
    json_t *of_name = json_object_get(issued, name), *other;
    json_int_t number =
        of_name ? json_integer_value(json_object_get(json_array_get(of_name, 0), "number")) : 0;
    const char *key_of_other;
    if (!of_name) {
        of_name = json_array();
        json_object_foreach(issued, key_of_other, other)
        {
            const char *has = json_string_value(json_object_get(json_array_get(other, 0), "role"));
            number += has && !strcmp(has, role_names[role]);
        }
        json_object_set_new(issued, name, of_name);
    }
    community_certify(&certificate, secrets->secret, key, name, role, (uint32_t)number);
    size_t bytes = wire_certificate_encode(encoded, sizeof encoded, &certificate);
    base_hex(seed_text, seed, sizeof seed);
    base_hex(certificate_text, encoded, bytes);
    json_array_append_new(of_name, json_pack("{s:I,s:s,s:s,s:I}", "serial", (json_int_t)certificate.serial,
                                             "nats", user, "role", role_names[role], "number", number));
    if (write_list(error, folder, "issued.json", issued)) {
        free(jwt);
        return -1;
    }
    if (!realpath(folder, absolute))
        snprintf(absolute, sizeof absolute, "%s", folder);
    char url_file[PATH_MAX + 8];
    snprintf(url_file, sizeof url_file, "%s/url", absolute);
    json_t *json = json_pack("{s:s,s:i,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:I}", "testudo", "invitation",
                             "version", 1, "community", secrets->name, "name", name, "role", role_names[role],
                             "secret", seed_text, "certificate", certificate_text, "nats_seed", user_seed,
                             "nats_jwt", jwt, "url_file", url_file, "urls", "", "number", number);
    free(jwt);
    sodium_memzero(seed, sizeof seed);
    sodium_memzero(seed_text, sizeof seed_text);
    return community_write_json(error, path, json);
}

int community_invite(struct base_error *error, char *path, const char *folder, const char *name,
                     enum wire_role role, bool renew)
{
    struct community_secrets secrets;
    if (!wire_name_valid(name))
        return base_fail(
            error, BASE_EXIT_USAGE,
            "bad member name '%.40s': 1 to 32 letters, digits, '-' and '_', beginning with a letter or digit",
            name);
    if (community_path(error, path, "%s/members/%s.json", folder, name))
        return -1;
    if (!renew && !access(path, F_OK))
        return 0;
    if (community_secrets_load(error, &secrets, folder))
        return -1;
    int lock = lock_folder(error, folder);
    if (lock < 0)
        return -1;
    int result = 0;
    if (renew || access(path, F_OK)) /* again, now under the lock */
        result = write_invitation(error, path, folder, &secrets, name, role);
    close(lock);
    sodium_memzero(&secrets, sizeof secrets);
    return result;
}

int community_revoke(struct base_error *error, const char *folder, const char *name)
{
    char path[COMMUNITY_PATH];
    json_t *issued = NULL, *revoked = NULL;
    struct community_secrets secrets;
    if (community_secrets_load(error, &secrets, folder))
        return -1;
    sodium_memzero(&secrets, sizeof secrets);
    int lock = lock_folder(error, folder);
    if (lock < 0)
        return -1;
    int result = -1;
    if (read_list(error, &issued, folder, "issued.json") ||
        read_list(error, &revoked, folder, "revoked.json"))
        goto out;
    json_t *certificates = json_object_get(issued, name);
    if (!certificates) {
        base_fail(error, BASE_EXIT_USAGE, "%s was never invited to this community; see %s/issued.json", name,
                  folder);
        goto out;
    }
    json_t *users = json_array(), *one;
    size_t index;
    json_array_foreach(certificates, index, one) json_array_append(users, json_object_get(one, "nats"));
    json_object_set_new(revoked, name,
                        json_pack("{s:I,s:o}", "until_ns", (json_int_t)base_realtime_ns(), "nats", users));
    result = write_list(error, folder, "revoked.json", revoked);
    revoked = NULL;
    /* The invitation must not be handed out again; the next invite makes a new one. */
    if (!result && !community_path(error, path, "%s/members/%s.json", folder, name))
        unlink(path);
out:
    json_decref(issued);
    json_decref(revoked);
    close(lock);
    return result;
}

int community_revoked_each(struct base_error *error, const char *folder,
                           void (*each)(void *ctx, const char *name, uint64_t until_ns), void *ctx)
{
    json_t *revoked, *entry;
    const char *name;
    if (read_list(error, &revoked, folder, "revoked.json"))
        return -1;
    json_object_foreach(revoked, name, entry)
        each(ctx, name, (uint64_t)json_integer_value(json_object_get(entry, "until_ns")));
    json_decref(revoked);
    return 0;
}

/* ---- tokens -------------------------------------------------------------------------------------------- */

/* What a role may publish and subscribe; {{name()}} is the name in the user's token, put in by the server. */
static json_t *permissions_of(enum wire_role role)
{
    switch (role) {
    case WIRE_ROLE_MEMBER:
        return json_pack("{s:{s:[s,s,s,s]},s:{s:[s,s,s,s,s]}}", "pub", "allow", "alert.{{name()}}.>",
                         "status.{{name()}}", "ask.{{name()}}", "bid.*.{{name()}}", "sub", "allow",
                         "vaccine.>", "manifest", "inbox.{{name()}}.>", "roster", "bid.*.*");
    case WIRE_ROLE_OBSERVER:
        return json_pack("{s:{s:[s]},s:{s:[s,s,s,s,s,s]}}", "pub", "allow", "ask.{{name()}}", "sub", "allow",
                         "vaccine.>", "manifest", "alert.>", "status.>", "fault.>", "inbox.{{name()}}.>");
    default:
        return json_pack("{s:{s:[s]},s:{s:[s]}}", "pub", "allow", ">", "sub", "allow", ">");
    }
}

static json_t *scope_of(const struct community_secrets *secrets, enum wire_role role)
{
    char key[COMMUNITY_NKEY_TEXT];
    uint8_t unused[64];
    community_nkey_open(key, unused, secrets->signer_seed[role]);
    json_t *template = permissions_of(role);
    json_object_set_new(template, "subs", json_integer(-1));
    json_object_set_new(template, "data", json_integer(-1));
    json_object_set_new(template, "payload", json_integer(-1));
    return json_pack("{s:s,s:s,s:s,s:o}", "kind", "user_scope", "key", key, "role", role_names[role],
                     "template", template);
}

static json_t *account_limits(bool jetstream)
{
    int most = jetstream ? -1 : 0;
    return json_pack("{s:i,s:i,s:i,s:i,s:i,s:b,s:i,s:i,s:i,s:i,s:i,s:i}", "subs", -1, "data", -1, "payload",
                     -1, "imports", -1, "exports", -1, "wildcards", 1, "conn", -1, "leaf", -1, "mem_storage",
                     most, "disk_storage", most, "streams", most, "consumer", most);
}

static json_t *revocations(struct base_error *error, const char *folder)
{
    json_t *revoked, *entry, *user, *result = json_object();
    const char *name;
    size_t index;
    if (read_list(error, &revoked, folder, "revoked.json")) {
        json_decref(result);
        return NULL;
    }
    json_object_foreach(revoked, name, entry)
    {
        json_int_t seconds = json_integer_value(json_object_get(entry, "until_ns")) / 1000000000;
        json_array_foreach(json_object_get(entry, "nats"), index, user)
            json_object_set_new(result, json_string_value(user), json_integer(seconds + 1));
    }
    json_decref(revoked);
    return result;
}

int community_tokens_make(struct base_error *error, struct community_tokens *tokens, const char *folder)
{
    struct community_secrets secrets;
    char operator_key[COMMUNITY_NKEY_TEXT];
    uint8_t unused[64];
    memset(tokens, 0, sizeof *tokens);
    if (community_secrets_load(error, &secrets, folder))
        return -1;
    json_t *revoked = revocations(error, folder);
    if (!revoked)
        return -1;
    community_nkey_open(operator_key, unused, secrets.operator_seed);
    community_nkey_open(tokens->system, unused, secrets.system_seed);
    community_nkey_open(tokens->account, unused, secrets.account_seed);
    tokens->operator_jwt = community_jwt(
        secrets.operator_seed, operator_key, secrets.name, secrets.created_s,
        json_pack("{s:s,s:s,s:i}", "type", "operator", "system_account", tokens->system, "version", 2));
    tokens->system_jwt = community_jwt(
        secrets.operator_seed, tokens->system, "system", secrets.created_s,
        json_pack("{s:s,s:o,s:i}", "type", "account", "limits", account_limits(false), "version", 2));
    tokens->account_jwt =
        community_jwt(secrets.operator_seed, tokens->account, secrets.name, now_s(),
                      json_pack("{s:s,s:o,s:[o,o,o],s:o,s:i}", "type", "account", "limits",
                                account_limits(true), "signing_keys", scope_of(&secrets, WIRE_ROLE_MEMBER),
                                scope_of(&secrets, WIRE_ROLE_OBSERVER), scope_of(&secrets, WIRE_ROLE_STEWARD),
                                "revocations", revoked, "version", 2));
    sodium_memzero(&secrets, sizeof secrets);
    if (tokens->operator_jwt && tokens->system_jwt && tokens->account_jwt)
        return 0;
    community_tokens_free(tokens);
    return base_fail(error, BASE_EXIT_FAILURE, "cannot make the engine's tokens for %s", folder);
}

void community_tokens_free(struct community_tokens *tokens)
{
    free(tokens->operator_jwt);
    free(tokens->system_jwt);
    free(tokens->account_jwt);
    memset(tokens, 0, sizeof *tokens);
}

/* ---- reading an invitation ----------------------------------------------------------------------------- */

static int copy_text(char *to, size_t room, const json_t *json, const char *name)
{
    const char *value = json_string_value(json_object_get(json, name));
    if (!value || strlen(value) >= room)
        return -1;
    strcpy(to, value);
    return 0;
}

static int read_invitation(struct base_error *error, struct community_identity *identity, const char *path)
{
    json_t *json;
    uint8_t seed[32], key[32], encoded[256];
    if (community_read_json(error, &json, path))
        return -1;
    const char *secret = json_string_value(json_object_get(json, "secret"));
    const char *certificate = json_string_value(json_object_get(json, "certificate"));
    const char *jwt = json_string_value(json_object_get(json, "nats_jwt"));
    int bytes = certificate ? base_unhex(encoded, sizeof encoded, certificate) : -1;
    int bad = !secret || !jwt || bytes <= 0 || base_unhex(seed, sizeof seed, secret) != 32 ||
              wire_certificate_decode(&identity->certificate, encoded, (size_t)bytes) != WIRE_OK ||
              copy_text(identity->nats_seed, sizeof identity->nats_seed, json, "nats_seed") ||
              copy_text(identity->urls, sizeof identity->urls, json, "urls") ||
              copy_text(identity->url_file, sizeof identity->url_file, json, "url_file");
    if (!bad) {
        community_key_pair(key, identity->secret, seed);
        bad = memcmp(key, identity->certificate.key, 32) ||
              !community_certificate_genuine(&identity->certificate);
    }
    identity->number = identity->certificate.number;
    if (!bad)
        identity->nats_jwt = strdup(jwt);
    json_decref(json);
    sodium_memzero(seed, sizeof seed);
    if (bad || !identity->nats_jwt)
        return base_fail(error, BASE_EXIT_INPUT,
                         "%s is no whole invitation; have the member invited again: testudo community invite",
                         path);
    return 0;
}

int community_identity_load(struct base_error *error, struct community_identity *identity, const char *where,
                            const char *name, enum wire_role role)
{
    char path[COMMUNITY_PATH], absolute[PATH_MAX];
    struct stat info;
    community_crypto_start();
    memset(identity, 0, sizeof *identity);
    if (stat(where, &info))
        return base_fail(error, BASE_EXIT_INPUT,
                         "no community at %s: %s; give a community's folder or an invitation file", where,
                         strerror(errno));
    if (!S_ISDIR(info.st_mode)) {
        if (community_path(error, path, "%s", where))
            return -1;
    } else if (community_invite(error, path, where, name, role, false)) {
        return -1;
    }
    if (read_invitation(error, identity, path))
        return -1;
    if (identity->certificate.role != role) {
        enum wire_role has = identity->certificate.role;
        community_identity_free(identity);
        return base_fail(error, BASE_EXIT_INPUT,
                         "%s is the invitation of a %s, not of a %s; choose another name", path,
                         role_names[has], role_names[role]);
    }
    /* State lies beside the invitation: NAME.json -> NAME.state. */
    if (!realpath(path, absolute))
        snprintf(absolute, sizeof absolute, "%s", path);
    size_t stem = strlen(absolute);
    if (stem > 5 && !strcmp(absolute + stem - 5, ".json"))
        stem -= 5;
    if (community_path(error, identity->state, "%.*s.state", (int)stem, absolute)) {
        community_identity_free(identity);
        return -1;
    }
    return 0;
}

void community_identity_free(struct community_identity *identity)
{
    free(identity->nats_jwt);
    sodium_memzero(identity, sizeof *identity);
}
