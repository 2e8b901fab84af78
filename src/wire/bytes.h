/* Bounded little-endian reading and writing, shared by the records of this folder. Both sides remember the
   first failure, so that a record is read or written straight through and asked once at its end. */
#ifndef WIRE_BYTES_H
#define WIRE_BYTES_H

#include "core/core.h"

enum wire_verdict {
#define VERDICT(id, name, meaning) WIRE_##id,
#include "wire/verdicts.def"
#undef VERDICT
    WIRE_VERDICT_COUNT
};

/* Name and meaning for reports; an index out of range answers "unknown". */
const char *wire_verdict_name(unsigned verdict);
const char *wire_verdict_meaning(unsigned verdict);

struct wire_writer {
    uint8_t *start, *at, *end;
    bool failed; /* no room */
};

struct wire_reader {
    const uint8_t *at, *end;
    enum wire_verdict failed; /* first failure, or WIRE_OK; after it everything reads as zero */
};

void wire_writer_start(struct wire_writer *w, void *data, size_t room);
/* Returns the bytes written, or 0 when they did not fit. */
size_t wire_writer_end(const struct wire_writer *w);
void wire_put(struct wire_writer *w, uint64_t value, unsigned bytes);
void wire_put_bytes(struct wire_writer *w, const void *data, size_t bytes);
/* A text of at most 255 bytes, cut there; whatever is not printable ASCII goes out as '?': a symbol of the
   supervised program must not make its own fault report unsendable. */
void wire_put_text(struct wire_writer *w, const char *text);

void wire_reader_start(struct wire_reader *r, const void *data, size_t bytes);
/* Everything read and nothing left over. Returns the first failure, else TRAILING or OK. */
enum wire_verdict wire_reader_end(const struct wire_reader *r);
void wire_refuse(struct wire_reader *r, enum wire_verdict why);
uint64_t wire_get(struct wire_reader *r, unsigned bytes);
/* The same, refused (RANGE, reads as 0) above `highest`. */
uint64_t wire_get_upto(struct wire_reader *r, unsigned bytes, uint64_t highest);
void wire_get_bytes(struct wire_reader *r, void *data, size_t bytes);
/* A span inside the buffer, not copied; NULL after a failure. */
const uint8_t *wire_get_span(struct wire_reader *r, size_t bytes);
/* A text into `room` bytes, NUL included. Longer is RANGE, unprintable is TEXT. */
void wire_get_text(struct wire_reader *r, char *text, size_t room);

#endif
