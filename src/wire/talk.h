/* What members and steward say to each other directly: asking for what one lacks, handing it over, and
   acknowledging an alert. Lists are read in place from the decoded buffer, so that no record needs memory of
   its own. */
#ifndef WIRE_TALK_H
#define WIRE_TALK_H

#include "wire/envelope.h"

#define WIRE_ASK_MAGIC     0x31515354u /* "TSQ1" */
#define WIRE_BUNDLE_MAGIC  0x31425354u /* "TSB1" */
#define WIRE_RECEIPT_MAGIC 0x31525354u /* "TSR1" */
#define WIRE_HELD_MAX      65536u
#define WIRE_RECEIPT_ROOM  64u

enum wire_ask_bits {
    WIRE_ASK_VACCINES = 1,
    WIRE_ASK_MANIFEST = 2,
    WIRE_ASK_FAULTS = 4, /* observers and stewards only, like the next */
    WIRE_ASK_ROSTER = 8,
    WIRE_ASK_ALL = 15,
};

/* One thing held: its id and the sequence of the envelope it came in. */
struct wire_held {
    uint8_t id[WIRE_ID_BYTES];
    uint64_t sequence;
};

struct wire_ask {
    uint8_t wanted;               /* bits of enum wire_ask_bits */
    uint64_t token;               /* comes back in the answer */
    uint64_t manifest_sequence;   /* held by the asker, 0 none */
    uint32_t held_count;          /* vaccines that the asker has */
    const struct wire_held *held; /* to encode */
    const uint8_t *held_bytes;    /* decoded: read with wire_ask_held */
};

/* A list of whole envelopes, each still signed by its own author, and of ids that the sender lacks and wants.
 */
struct wire_bundle {
    uint64_t token; /* of the ask, 0 when unasked */
    uint8_t more;   /* 1: another bundle for the same ask follows */
    uint32_t wanted_count;
    const uint8_t *wanted; /* wanted_count * WIRE_ID_BYTES */
    uint32_t envelope_count;
    const uint8_t *envelopes; /* each: 4 bytes length, then the envelope */
    size_t envelopes_bytes;
};

struct wire_receipt {
    uint8_t alert[WIRE_ID_BYTES];
    uint8_t vaccine[WIRE_ID_BYTES]; /* all zero: none followed */
    uint8_t verdict;                /* enum wire_verdict */
};

size_t wire_ask_encode(void *data, size_t room, const struct wire_ask *ask);
enum wire_verdict wire_ask_decode(struct wire_ask *ask, const void *data, size_t bytes);
struct wire_held wire_ask_held(const struct wire_ask *ask, uint32_t index);

size_t wire_bundle_encode(void *data, size_t room, const struct wire_bundle *bundle);
/* Checks that the lengths of all envelopes add up; not what is in them. */
enum wire_verdict wire_bundle_decode(struct wire_bundle *bundle, const void *data, size_t bytes);
/* Walks the envelopes of a decoded bundle; `*at` begins as 0. Returns false at the end. */
bool wire_bundle_next(const struct wire_bundle *bundle, size_t *at, const uint8_t **envelope, size_t *bytes);

size_t wire_receipt_encode(void *data, size_t room, const struct wire_receipt *receipt);
enum wire_verdict wire_receipt_decode(struct wire_receipt *receipt, const void *data, size_t bytes);

#endif
