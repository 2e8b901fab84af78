/* Ed25519 keys, certificates, ids, and files that only their owner may read. */
#define _GNU_SOURCE
#include "community/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void community_crypto_start(void)
{
    if (sodium_init() < 0)
        abort();
}

int community_thread(pthread_t *thread, void *(*run)(void *), void *arg)
{
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int result = pthread_create(thread, NULL, run, arg);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return result;
}

void community_key_pair(uint8_t key[32], uint8_t secret[64], const uint8_t seed[32])
{
    crypto_sign_seed_keypair(key, secret, seed);
}

void community_certify(struct wire_certificate *certificate, const uint8_t community_secret[64],
                       const uint8_t key[32], const char *name, enum wire_role role, uint32_t number)
{
    uint8_t text[256];
    memset(certificate, 0, sizeof *certificate);
    crypto_sign_ed25519_sk_to_pk(certificate->community, community_secret);
    memcpy(certificate->key, key, 32);
    certificate->role = (uint8_t)role;
    certificate->serial = base_realtime_ns();
    certificate->number = number;
    snprintf(certificate->name, sizeof certificate->name, "%s", name);
    size_t bytes = wire_certificate_signed(text, sizeof text, certificate);
    crypto_sign_detached(certificate->signature, NULL, text, bytes, community_secret);
}

bool community_certificate_genuine(const struct wire_certificate *certificate)
{
    uint8_t text[256];
    size_t bytes = wire_certificate_signed(text, sizeof text, certificate);
    return bytes && !crypto_sign_verify_detached(certificate->signature, text, bytes, certificate->community);
}

void community_id(uint8_t id[WIRE_ID_BYTES], const char *purpose, const void *a, size_t a_bytes,
                  const void *b, size_t b_bytes)
{
    crypto_generichash_state state;
    uint64_t lengths[3] = {strlen(purpose), a_bytes, b_bytes};
    crypto_generichash_init(&state, NULL, 0, WIRE_ID_BYTES);
    crypto_generichash_update(&state, (const uint8_t *)lengths, sizeof lengths);
    crypto_generichash_update(&state, (const uint8_t *)purpose, lengths[0]);
    crypto_generichash_update(&state, a, a_bytes);
    crypto_generichash_update(&state, b, b_bytes);
    crypto_generichash_final(&state, id, WIRE_ID_BYTES);
}

int community_path(struct base_error *error, char path[COMMUNITY_PATH], const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(path, COMMUNITY_PATH, format, args);
    va_end(args);
    if (n < 0 || n >= COMMUNITY_PATH)
        return base_fail(error, BASE_EXIT_USAGE, "path too long: %.60s...", path);
    return 0;
}

int community_write_secret(struct base_error *error, const char *path, const void *data, size_t bytes)
{
    char temporary[COMMUNITY_PATH];
    if (community_path(error, temporary, "%s.XXXXXX", path))
        return -1;
    int fd = mkostemp(temporary, O_CLOEXEC); /* mode 0600 */
    if (fd < 0)
        return base_fail(error, BASE_EXIT_ENVIRONMENT, "cannot create %s: %s", path, strerror(errno));
    const char *at = data;
    size_t left = bytes;
    while (left) {
        ssize_t n = write(fd, at, left);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        at += n;
        left -= (size_t)n;
    }
    int failed = left || fsync(fd) || rename(temporary, path);
    int reason = errno;
    close(fd);
    if (!failed)
        return 0;
    unlink(temporary);
    return base_fail(error, BASE_EXIT_ENVIRONMENT, "cannot write %s: %s", path, strerror(reason));
}

int community_write_json(struct base_error *error, const char *path, json_t *value)
{
    char *text = json_dumps(value, JSON_INDENT(2));
    json_decref(value);
    if (!text)
        return base_fail(error, BASE_EXIT_FAILURE, "out of memory writing %s", path);
    int result = community_write_secret(error, path, text, strlen(text));
    sodium_memzero(text, strlen(text));
    free(text);
    return result;
}

int community_read_json(struct base_error *error, json_t **value, const char *path)
{
    char *text;
    size_t bytes;
    json_error_t where;
    if (base_read_file(error, &text, &bytes, path))
        return -1;
    *value = json_loadb(text, bytes, 0, &where);
    free(text);
    if (!*value || !json_is_object(*value)) {
        json_decref(*value);
        *value = NULL;
        return base_fail(error, BASE_EXIT_INPUT, "%s:%d: not JSON: %s", path, where.line, where.text);
    }
    return 0;
}
