/* The engine's own keys ("nkeys") and tokens (JWT), so that credentials can be made offline, one member at a
   time, without touching a running server. Text form of a key: base32 of a kind byte, 32 bytes and a CRC-16;
   a seed has two kind bytes, of which the second names the kind of key. Layout: NATS "nkeys" and "jwt"
   version 2, as documented by the NATS project. */
#define _GNU_SOURCE
#include "community/internal.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

enum { KIND_SEED = 18 << 3, PUBLIC_BYTES = 1 + 32 + 2, SEED_BYTES = 2 + 32 + 2 };

static uint16_t crc16(const uint8_t *data, size_t bytes)
{
    unsigned crc = 0;
    for (size_t i = 0; i < bytes; i++) {
        crc ^= (unsigned)data[i] << 8;
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 0x8000 ? crc << 1 ^ 0x1021 : crc << 1;
    }
    return (uint16_t)crc;
}

static const char base32_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

static void base32_encode(char *text, const uint8_t *data, size_t bytes)
{
    unsigned held = 0, bits = 0;
    for (size_t i = 0; i < bytes; i++) {
        held = held << 8 | data[i];
        for (bits += 8; bits >= 5; bits -= 5)
            *text++ = base32_digits[held >> (bits - 5) & 31];
    }
    if (bits)
        *text++ = base32_digits[held << (5 - bits) & 31];
    *text = 0;
}

static size_t base32_decode(uint8_t *data, size_t room, const char *text)
{
    unsigned held = 0, bits = 0;
    size_t n = 0;
    for (; *text; text++) {
        const char *digit = strchr(base32_digits, *text);
        if (!digit)
            return 0;
        held = held << 5 | (unsigned)(digit - base32_digits);
        bits += 5;
        if (bits >= 8) {
            bits -= 8;
            if (n == room)
                return 0;
            data[n++] = (uint8_t)(held >> bits);
        }
    }
    return n;
}

static void seal_text(char *text, uint8_t *data, size_t bytes_before_crc)
{
    uint16_t crc = crc16(data, bytes_before_crc);
    data[bytes_before_crc] = (uint8_t)crc;
    data[bytes_before_crc + 1] = (uint8_t)(crc >> 8);
    base32_encode(text, data, bytes_before_crc + 2);
}

void community_nkey_new(char *seed, enum community_nkey kind)
{
    uint8_t data[SEED_BYTES];
    data[0] = (uint8_t)(KIND_SEED | (unsigned)kind >> 5);
    data[1] = (uint8_t)((unsigned)kind << 3);
    randombytes_buf(data + 2, 32);
    seal_text(seed, data, 34);
    sodium_memzero(data, sizeof data);
}

int community_nkey_open(char *public_text, uint8_t secret[64], const char *seed)
{
    uint8_t data[SEED_BYTES], key[32], out[PUBLIC_BYTES];
    if (base32_decode(data, sizeof data, seed) != SEED_BYTES || (data[0] & 0xf8) != KIND_SEED ||
        crc16(data, 34) != (data[34] | data[35] << 8))
        return -1;
    crypto_sign_seed_keypair(key, secret, data + 2);
    out[0] = (uint8_t)((data[0] & 7) << 5 | data[1] >> 3);
    memcpy(out + 1, key, 32);
    seal_text(public_text, out, 33);
    sodium_memzero(data, sizeof data);
    return 0;
}

static char *base64url(const void *data, size_t bytes)
{
    size_t room = sodium_base64_encoded_len(bytes, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    char *text = malloc(room);
    if (text)
        sodium_bin2base64(text, room, data, bytes, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    return text;
}

char *community_jwt(const char *issuer_seed, const char *subject, const char *name, uint64_t issued_s,
                    json_t *nats)
{
    static const char header[] = "{\"typ\":\"JWT\",\"alg\":\"ed25519-nkey\"}";
    char issuer[COMMUNITY_NKEY_TEXT], unique[33];
    uint8_t secret[64], id[WIRE_ID_BYTES], signature[64];
    if (community_nkey_open(issuer, secret, issuer_seed)) {
        json_decref(nats);
        return NULL;
    }
    /* Not random: a reload must find the operator's token unchanged, or the server refuses it. */
    community_id(id, "token", subject, strlen(subject), &issued_s, sizeof issued_s);
    base_hex(unique, id, sizeof id);
    json_t *claims = json_pack("{s:s,s:I,s:s,s:s,s:s,s:o}", "jti", unique, "iat", (json_int_t)issued_s, "iss",
                               issuer, "name", name, "sub", subject, "nats", nats);
    char *text = json_dumps(claims, JSON_COMPACT);
    json_decref(claims);
    char *head = base64url(header, sizeof header - 1);
    char *body = text ? base64url(text, strlen(text)) : NULL;
    char *token = NULL, *whole = NULL, *tail = NULL;
    if (head && body && asprintf(&token, "%s.%s", head, body) > 0) {
        crypto_sign_detached(signature, NULL, (const uint8_t *)token, strlen(token), secret);
        tail = base64url(signature, sizeof signature);
        if (!tail || asprintf(&whole, "%s.%s", token, tail) < 0)
            whole = NULL;
    }
    sodium_memzero(secret, sizeof secret);
    free(text);
    free(head);
    free(body);
    free(token);
    free(tail);
    return whole;
}
