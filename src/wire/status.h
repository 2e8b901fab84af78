/* The status: what a member says of itself at every interval. It is also its lease: a member not heard for
   three intervals is dead. */
#ifndef WIRE_STATUS_H
#define WIRE_STATUS_H

#include "wire/alert.h"

#define WIRE_STATUS_MAGIC    0x31535354u /* "TSS1" */
#define WIRE_STATUS_COUNTERS 64u
#define WIRE_STATUS_VERDICTS 64u
#define WIRE_STATUS_ROOM     2048u

enum wire_member_state {
    WIRE_MEMBER_STARTING = 0,
    WIRE_MEMBER_RUNNING = 1,    /* the program runs, supervised */
    WIRE_MEMBER_NATIVE = 2,     /* the program runs, but cannot be supervised */
    WIRE_MEMBER_RESTARTING = 3, /* it died and is being restarted */
    WIRE_MEMBER_STOPPED = 4,
};

struct wire_status {
    uint8_t state;        /* enum wire_member_state */
    uint32_t interval_ms; /* until the next status */
    uint64_t started_ns;  /* CLOCK_REALTIME */
    int32_t program_pid;
    uint32_t functions;  /* found in the program */
    uint32_t supervised; /* switched on at present */
    uint32_t refused;
    uint32_t vaccines; /* held */
    uint32_t applied;  /* of them: switched on in the program */
    uint32_t faults, healed, crashes, restarts;
    uint32_t queued;           /* alerts not acknowledged yet */
    uint64_t manifest;         /* sequence of the manifest in force, 0 none */
    struct wire_place program; /* build-id and file name */
    uint8_t counter_count;
    uint64_t counters[WIRE_STATUS_COUNTERS]; /* by enum core_counter; a steward's are 0 */
    uint8_t refusal_count;
    uint32_t refusals[WIRE_STATUS_VERDICTS]; /* messages refused, by enum wire_verdict */
};

const char *wire_member_state_name(unsigned state);
size_t wire_status_encode(void *data, size_t room, const struct wire_status *status);
enum wire_verdict wire_status_decode(struct wire_status *status, const void *data, size_t bytes);

#endif
