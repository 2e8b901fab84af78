/* Bounded little-endian reading and writing; names of verdicts. */
#include "wire/wire.h"

static const char *const verdict_names[] = {
#define VERDICT(id, name, meaning) name,
#include "wire/verdicts.def"
#undef VERDICT
};
static const char *const verdict_meanings[] = {
#define VERDICT(id, name, meaning) meaning,
#include "wire/verdicts.def"
#undef VERDICT
};

const char *wire_verdict_name(unsigned verdict)
{
    return verdict < WIRE_VERDICT_COUNT ? verdict_names[verdict] : "unknown";
}

const char *wire_verdict_meaning(unsigned verdict)
{
    return verdict < WIRE_VERDICT_COUNT ? verdict_meanings[verdict] : "unknown";
}

void wire_writer_start(struct wire_writer *w, void *data, size_t room)
{
    w->start = w->at = data;
    w->end = w->start + room;
    w->failed = false;
}

size_t wire_writer_end(const struct wire_writer *w)
{
    return w->failed ? 0 : (size_t)(w->at - w->start);
}

static bool has_room(struct wire_writer *w, size_t bytes)
{
    if ((size_t)(w->end - w->at) < bytes)
        w->failed = true;
    return !w->failed;
}

void wire_put(struct wire_writer *w, uint64_t value, unsigned bytes)
{
    if (!has_room(w, bytes))
        return;
    for (unsigned i = 0; i < bytes; i++)
        *w->at++ = (uint8_t)(value >> (8 * i));
}

void wire_put_bytes(struct wire_writer *w, const void *data, size_t bytes)
{
    if (!bytes || !has_room(w, bytes))
        return;
    __builtin_memcpy(w->at, data, bytes);
    w->at += bytes;
}

static bool printable(char c)
{
    return c >= 0x20 && c <= 0x7e;
}

void wire_put_text(struct wire_writer *w, const char *text)
{
    size_t bytes = 0;
    while (bytes < 255 && text[bytes])
        bytes++;
    wire_put(w, bytes, 1);
    if (!has_room(w, bytes))
        return;
    for (size_t i = 0; i < bytes; i++)
        *w->at++ = (uint8_t)(printable(text[i]) ? text[i] : '?');
}

void wire_reader_start(struct wire_reader *r, const void *data, size_t bytes)
{
    r->at = data;
    r->end = r->at + bytes;
    r->failed = WIRE_OK;
}

enum wire_verdict wire_reader_end(const struct wire_reader *r)
{
    if (r->failed)
        return r->failed;
    return r->at == r->end ? WIRE_OK : WIRE_TRAILING;
}

void wire_refuse(struct wire_reader *r, enum wire_verdict why)
{
    if (!r->failed)
        r->failed = why;
}

const uint8_t *wire_get_span(struct wire_reader *r, size_t bytes)
{
    if (r->failed)
        return NULL;
    if ((size_t)(r->end - r->at) < bytes) {
        r->failed = WIRE_TRUNCATED;
        return NULL;
    }
    const uint8_t *span = r->at;
    r->at += bytes;
    return span;
}

uint64_t wire_get(struct wire_reader *r, unsigned bytes)
{
    const uint8_t *span = wire_get_span(r, bytes);
    uint64_t value = 0;
    for (unsigned i = 0; span && i < bytes; i++)
        value |= (uint64_t)span[i] << (8 * i);
    return value;
}

uint64_t wire_get_upto(struct wire_reader *r, unsigned bytes, uint64_t highest)
{
    uint64_t value = wire_get(r, bytes);
    if (value <= highest)
        return value;
    wire_refuse(r, WIRE_RANGE);
    return 0;
}

void wire_get_bytes(struct wire_reader *r, void *data, size_t bytes)
{
    const uint8_t *span = wire_get_span(r, bytes);
    if (span && bytes)
        __builtin_memcpy(data, span, bytes);
    else if (bytes)
        __builtin_memset(data, 0, bytes);
}

void wire_get_text(struct wire_reader *r, char *text, size_t room)
{
    text[0] = 0;
    size_t bytes = wire_get_upto(r, 1, room - 1);
    const uint8_t *span = wire_get_span(r, bytes);
    if (!span)
        return;
    for (size_t i = 0; i < bytes; i++) {
        if (!printable((char)span[i])) {
            wire_refuse(r, WIRE_TEXT);
            text[0] = 0;
            return;
        }
        text[i] = (char)span[i];
    }
    text[bytes] = 0;
}
