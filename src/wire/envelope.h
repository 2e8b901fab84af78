/* The envelope: every message of the community travels in one. Its signature covers type, sequence, time,
   subject, the sender's certificate and the payload, so that a message cannot be moved to another subject,
   community or sender. Signing and checking are community's work; this is the layout.

   Certificate and envelope begin with different magic numbers inside what is signed: a signature over one is
   never one over the other. */
#ifndef WIRE_ENVELOPE_H
#define WIRE_ENVELOPE_H

#include "wire/bytes.h"

#define WIRE_ENVELOPE_MAGIC    0x31455354u /* "TSE1" */
#define WIRE_CERTIFICATE_MAGIC 0x32435354u /* "TSC2" */
#define WIRE_RECORD_VERSION    1u
#define WIRE_KEY_BYTES         32u
#define WIRE_SIGNATURE_BYTES   64u
#define WIRE_ID_BYTES          16u
#define WIRE_MEMBER_NAME       33u /* with the NUL */
#define WIRE_SUBJECT           96u /* with the NUL */
#define WIRE_MESSAGE_MAX       (7u << 20)
/* What an envelope adds to its payload, at most. */
#define WIRE_ENVELOPE_ROOM 512u

enum wire_type {
    WIRE_TYPE_NONE = 0,
    WIRE_TYPE_ALERT = 1,
    WIRE_TYPE_VACCINE = 2,
    WIRE_TYPE_MANIFEST = 3,
    WIRE_TYPE_STATUS = 4,
    WIRE_TYPE_ASK = 5,
    WIRE_TYPE_BUNDLE = 6,
    WIRE_TYPE_RECEIPT = 7,
    WIRE_TYPE_FAULT = 8, /* an alert as the steward accepted it, with its count */
    WIRE_TYPE_ROSTER = 9,
    WIRE_TYPE_BID = 10,
    WIRE_TYPE_COUNT
};

enum wire_role { WIRE_ROLE_NONE = 0, WIRE_ROLE_MEMBER = 1, WIRE_ROLE_OBSERVER = 2, WIRE_ROLE_STEWARD = 3 };

/* Says that `key` speaks for `name`. Signed by the community's key, which is also the community's identity.
 */
struct wire_certificate {
    uint8_t community[WIRE_KEY_BYTES];
    uint8_t key[WIRE_KEY_BYTES];
    uint8_t role;    /* enum wire_role */
    uint64_t serial; /* time of issue in ns: tells a member's certificates apart */
    uint32_t number; /* order of invitation, from 0: which slice a member takes */
    char name[WIRE_MEMBER_NAME];
    uint8_t signature[WIRE_SIGNATURE_BYTES];
};

struct wire_envelope {
    uint8_t type;      /* enum wire_type */
    uint64_t sequence; /* grows with every message of one sender */
    uint64_t time_ns;  /* CLOCK_REALTIME of the sender */
    char subject[WIRE_SUBJECT];
    struct wire_certificate sender;
    const uint8_t *payload;
    size_t payload_bytes;
    /* after decoding: the signature is over the first `signed_bytes` of the buffer */
    size_t signed_bytes;
    const uint8_t *signature;
};

/* A member's name: 1 to 32 letters, digits, '-' and '_', so that it is one token of a subject and a file
 * name. */
bool wire_name_valid(const char *name);

/* The certificate's bytes that its signature covers (the encoding is unique, so a receiver makes them again
   from the decoded fields). Returns their number, 0 when they do not fit. */
size_t wire_certificate_signed(void *data, size_t room, const struct wire_certificate *certificate);
size_t wire_certificate_encode(void *data, size_t room, const struct wire_certificate *certificate);
enum wire_verdict wire_certificate_decode(struct wire_certificate *certificate, const void *data,
                                          size_t bytes);

/* Everything but the signature, which the caller appends (WIRE_SIGNATURE_BYTES). Returns the bytes written, 0
   when they do not fit with the signature. */
size_t wire_envelope_encode(void *data, size_t room, const struct wire_envelope *envelope);
/* `payload` and `signature` point into `data`. */
enum wire_verdict wire_envelope_decode(struct wire_envelope *envelope, const void *data, size_t bytes);

#endif
