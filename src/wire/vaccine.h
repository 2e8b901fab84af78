/* The vaccine: which function to protect, and nothing else. It carries no code, no value and no address to
   write: what an aborted call returns is chosen by each member from the function itself. */
#ifndef WIRE_VACCINE_H
#define WIRE_VACCINE_H

#include "wire/alert.h"

#define WIRE_VACCINE_MAGIC 0x31565354u /* "TSV1" */
#define WIRE_RESCUE_MAX    8u
#define WIRE_EVIDENCE_MAX  8u
#define WIRE_VACCINE_ROOM  4096u

enum wire_vaccine_state {
    WIRE_VACCINE_PROPOSED = 0,
    WIRE_VACCINE_TRIED = 1,     /* a member's call was aborted by it and the process lived */
    WIRE_VACCINE_ADOPTED = 2,   /* several such, or approved by hand */
    WIRE_VACCINE_WITHDRAWN = 3, /* take the protection off again */
};

struct wire_vaccine {
    uint8_t id[WIRE_ID_BYTES]; /* derived from build-id, offset and kind: two stewards give it the same */
    uint8_t state;             /* enum wire_vaccine_state */
    uint8_t kind;              /* enum core_fault_kind */
    uint64_t created_ns;       /* CLOCK_REALTIME of the first alert's acceptance */
    uint32_t alerts;           /* accepted alerts it rests on */
    uint32_t undone;           /* of them: faults in the protected function that were undone */
    uint32_t crashed;          /* of them: crashes although the function was protected */
    uint16_t members;          /* distinct members among the alerts */
    struct wire_place function;
    uint8_t rescue_points; /* in order of preference; the first is tried first */
    struct wire_place rescue[WIRE_RESCUE_MAX];
    uint8_t evidence_ids; /* the first alerts */
    uint8_t evidence[WIRE_EVIDENCE_MAX][WIRE_ID_BYTES];
};

const char *wire_vaccine_state_name(unsigned state);
size_t wire_vaccine_encode(void *data, size_t room, const struct wire_vaccine *vaccine);
enum wire_verdict wire_vaccine_decode(struct wire_vaccine *vaccine, const void *data, size_t bytes);

#endif
