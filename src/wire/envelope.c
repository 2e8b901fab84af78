/* Certificates and envelopes: layout only. */
#include "wire/wire.h"

bool wire_name_valid(const char *name)
{
    size_t n = 0;
    for (; name[n]; n++) {
        char c = name[n];
        bool fine = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                    ((c == '-' || c == '_') && n > 0);
        if (!fine || n + 1 >= WIRE_MEMBER_NAME)
            return false;
    }
    return n > 0;
}

static void put_certificate(struct wire_writer *w, const struct wire_certificate *c)
{
    wire_put(w, WIRE_CERTIFICATE_MAGIC, 4);
    wire_put(w, WIRE_RECORD_VERSION, 1);
    wire_put(w, c->role, 1);
    wire_put(w, c->serial, 8);
    wire_put(w, c->number, 4);
    wire_put_bytes(w, c->community, sizeof c->community);
    wire_put_bytes(w, c->key, sizeof c->key);
    wire_put_text(w, c->name);
}

static void get_certificate(struct wire_reader *r, struct wire_certificate *c)
{
    if (wire_get(r, 4) != WIRE_CERTIFICATE_MAGIC)
        wire_refuse(r, WIRE_MAGIC);
    if (wire_get(r, 1) != WIRE_RECORD_VERSION)
        wire_refuse(r, WIRE_VERSION);
    c->role = (uint8_t)wire_get_upto(r, 1, WIRE_ROLE_STEWARD);
    c->serial = wire_get(r, 8);
    c->number = (uint32_t)wire_get(r, 4);
    wire_get_bytes(r, c->community, sizeof c->community);
    wire_get_bytes(r, c->key, sizeof c->key);
    wire_get_text(r, c->name, sizeof c->name);
    if (!wire_name_valid(c->name))
        wire_refuse(r, WIRE_TEXT);
    if (c->role == WIRE_ROLE_NONE)
        wire_refuse(r, WIRE_RANGE);
    wire_get_bytes(r, c->signature, sizeof c->signature);
}

size_t wire_certificate_signed(void *data, size_t room, const struct wire_certificate *certificate)
{
    struct wire_writer w;
    wire_writer_start(&w, data, room);
    put_certificate(&w, certificate);
    return wire_writer_end(&w);
}

size_t wire_certificate_encode(void *data, size_t room, const struct wire_certificate *certificate)
{
    struct wire_writer w;
    wire_writer_start(&w, data, room);
    put_certificate(&w, certificate);
    wire_put_bytes(&w, certificate->signature, sizeof certificate->signature);
    return wire_writer_end(&w);
}

enum wire_verdict wire_certificate_decode(struct wire_certificate *certificate, const void *data,
                                          size_t bytes)
{
    struct wire_reader r;
    wire_reader_start(&r, data, bytes);
    get_certificate(&r, certificate);
    return wire_reader_end(&r);
}

size_t wire_envelope_encode(void *data, size_t room, const struct wire_envelope *envelope)
{
    struct wire_writer w;
    if (room < WIRE_SIGNATURE_BYTES || envelope->payload_bytes > WIRE_MESSAGE_MAX)
        return 0;
    wire_writer_start(&w, data, room - WIRE_SIGNATURE_BYTES);
    wire_put(&w, WIRE_ENVELOPE_MAGIC, 4);
    wire_put(&w, WIRE_RECORD_VERSION, 1);
    wire_put(&w, envelope->type, 1);
    wire_put(&w, envelope->sequence, 8);
    wire_put(&w, envelope->time_ns, 8);
    wire_put_text(&w, envelope->subject);
    put_certificate(&w, &envelope->sender);
    wire_put_bytes(&w, envelope->sender.signature, WIRE_SIGNATURE_BYTES);
    wire_put(&w, envelope->payload_bytes, 4);
    wire_put_bytes(&w, envelope->payload, envelope->payload_bytes);
    return wire_writer_end(&w);
}

enum wire_verdict wire_envelope_decode(struct wire_envelope *envelope, const void *data, size_t bytes)
{
    struct wire_reader r;
    if (bytes > WIRE_MESSAGE_MAX)
        return WIRE_OVERSIZE;
    wire_reader_start(&r, data, bytes);
    if (wire_get(&r, 4) != WIRE_ENVELOPE_MAGIC)
        wire_refuse(&r, WIRE_MAGIC);
    if (wire_get(&r, 1) != WIRE_RECORD_VERSION)
        wire_refuse(&r, WIRE_VERSION);
    envelope->type = (uint8_t)wire_get_upto(&r, 1, WIRE_TYPE_COUNT - 1);
    envelope->sequence = wire_get(&r, 8);
    envelope->time_ns = wire_get(&r, 8);
    wire_get_text(&r, envelope->subject, sizeof envelope->subject);
    get_certificate(&r, &envelope->sender);
    envelope->payload_bytes = wire_get_upto(&r, 4, WIRE_MESSAGE_MAX);
    envelope->payload = wire_get_span(&r, envelope->payload_bytes);
    envelope->signed_bytes = envelope->payload ? (size_t)(r.at - (const uint8_t *)data) : 0;
    envelope->signature = wire_get_span(&r, WIRE_SIGNATURE_BYTES);
    return wire_reader_end(&r);
}
