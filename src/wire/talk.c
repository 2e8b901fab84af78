/* Asks, bundles, receipts: encode, decode, validate. */
#include "wire/wire.h"

enum { HELD_BYTES = WIRE_ID_BYTES + 8 };

static void get_head(struct wire_reader *r, uint32_t magic)
{
    if (wire_get(r, 4) != magic)
        wire_refuse(r, WIRE_MAGIC);
    if (wire_get(r, 1) != WIRE_RECORD_VERSION)
        wire_refuse(r, WIRE_VERSION);
}

size_t wire_ask_encode(void *data, size_t room, const struct wire_ask *ask)
{
    struct wire_writer w;
    if (ask->held_count > WIRE_HELD_MAX)
        return 0;
    wire_writer_start(&w, data, room);
    wire_put(&w, WIRE_ASK_MAGIC, 4);
    wire_put(&w, WIRE_RECORD_VERSION, 1);
    wire_put(&w, ask->wanted, 1);
    wire_put(&w, ask->token, 8);
    wire_put(&w, ask->manifest_sequence, 8);
    wire_put(&w, ask->held_count, 4);
    for (uint32_t i = 0; i < ask->held_count; i++) {
        wire_put_bytes(&w, ask->held[i].id, WIRE_ID_BYTES);
        wire_put(&w, ask->held[i].sequence, 8);
    }
    return wire_writer_end(&w);
}

enum wire_verdict wire_ask_decode(struct wire_ask *ask, const void *data, size_t bytes)
{
    struct wire_reader r;
    wire_reader_start(&r, data, bytes);
    __builtin_memset(ask, 0, sizeof *ask);
    get_head(&r, WIRE_ASK_MAGIC);
    ask->wanted = (uint8_t)wire_get_upto(&r, 1, WIRE_ASK_ALL);
    ask->token = wire_get(&r, 8);
    ask->manifest_sequence = wire_get(&r, 8);
    ask->held_count = (uint32_t)wire_get_upto(&r, 4, WIRE_HELD_MAX);
    ask->held_bytes = wire_get_span(&r, (size_t)ask->held_count * HELD_BYTES);
    return wire_reader_end(&r);
}

struct wire_held wire_ask_held(const struct wire_ask *ask, uint32_t index)
{
    struct wire_reader r;
    struct wire_held held;
    wire_reader_start(&r, ask->held_bytes + (size_t)index * HELD_BYTES, HELD_BYTES);
    wire_get_bytes(&r, held.id, sizeof held.id);
    held.sequence = wire_get(&r, 8);
    return held;
}

size_t wire_bundle_encode(void *data, size_t room, const struct wire_bundle *bundle)
{
    struct wire_writer w;
    if (bundle->wanted_count > WIRE_HELD_MAX || bundle->envelope_count > WIRE_HELD_MAX)
        return 0;
    wire_writer_start(&w, data, room);
    wire_put(&w, WIRE_BUNDLE_MAGIC, 4);
    wire_put(&w, WIRE_RECORD_VERSION, 1);
    wire_put(&w, bundle->more, 1);
    wire_put(&w, bundle->token, 8);
    wire_put(&w, bundle->wanted_count, 4);
    wire_put_bytes(&w, bundle->wanted, (size_t)bundle->wanted_count * WIRE_ID_BYTES);
    wire_put(&w, bundle->envelope_count, 4);
    wire_put_bytes(&w, bundle->envelopes, bundle->envelopes_bytes);
    return wire_writer_end(&w);
}

enum wire_verdict wire_bundle_decode(struct wire_bundle *bundle, const void *data, size_t bytes)
{
    struct wire_reader r;
    wire_reader_start(&r, data, bytes);
    __builtin_memset(bundle, 0, sizeof *bundle);
    get_head(&r, WIRE_BUNDLE_MAGIC);
    bundle->more = (uint8_t)wire_get_upto(&r, 1, 1);
    bundle->token = wire_get(&r, 8);
    bundle->wanted_count = (uint32_t)wire_get_upto(&r, 4, WIRE_HELD_MAX);
    bundle->wanted = wire_get_span(&r, (size_t)bundle->wanted_count * WIRE_ID_BYTES);
    bundle->envelope_count = (uint32_t)wire_get_upto(&r, 4, WIRE_HELD_MAX);
    bundle->envelopes = r.at;
    for (uint32_t i = 0; i < bundle->envelope_count && !r.failed; i++)
        wire_get_span(&r, wire_get_upto(&r, 4, WIRE_MESSAGE_MAX));
    bundle->envelopes_bytes = (size_t)(r.at - bundle->envelopes);
    return wire_reader_end(&r);
}

bool wire_bundle_next(const struct wire_bundle *bundle, size_t *at, const uint8_t **envelope, size_t *bytes)
{
    struct wire_reader r;
    wire_reader_start(&r, bundle->envelopes + *at, bundle->envelopes_bytes - *at);
    *bytes = wire_get(&r, 4);
    *envelope = wire_get_span(&r, *bytes);
    if (!*envelope)
        return false;
    *at += 4 + *bytes;
    return true;
}

size_t wire_receipt_encode(void *data, size_t room, const struct wire_receipt *receipt)
{
    struct wire_writer w;
    wire_writer_start(&w, data, room);
    wire_put(&w, WIRE_RECEIPT_MAGIC, 4);
    wire_put(&w, WIRE_RECORD_VERSION, 1);
    wire_put_bytes(&w, receipt->alert, WIRE_ID_BYTES);
    wire_put_bytes(&w, receipt->vaccine, WIRE_ID_BYTES);
    wire_put(&w, receipt->verdict, 1);
    return wire_writer_end(&w);
}

enum wire_verdict wire_receipt_decode(struct wire_receipt *receipt, const void *data, size_t bytes)
{
    struct wire_reader r;
    wire_reader_start(&r, data, bytes);
    __builtin_memset(receipt, 0, sizeof *receipt);
    get_head(&r, WIRE_RECEIPT_MAGIC);
    wire_get_bytes(&r, receipt->alert, WIRE_ID_BYTES);
    wire_get_bytes(&r, receipt->vaccine, WIRE_ID_BYTES);
    receipt->verdict = (uint8_t)wire_get_upto(&r, 1, WIRE_VERDICT_COUNT - 1);
    return wire_reader_end(&r);
}
