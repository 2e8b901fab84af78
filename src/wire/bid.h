/* What members that bid for their slices say, and what the steward tells them of who is there. The steward's roster names
   versions: 1 when a sitting begins, one more for each time that members died since. Bids name the deal by its members and
   the version in which it came about; model/model.h says what they mean. */
#ifndef WIRE_BID_H
#define WIRE_BID_H

#include "wire/envelope.h"

#define WIRE_ROSTER_MAGIC       0x314f5354u /* "TSO1" */
#define WIRE_BID_MAGIC          0x31445354u /* "TSD1" */
#define WIRE_ROSTER_MEMBERS_MAX 100000u     /* the list of the absent has to fit a message */
#define WIRE_BID_ROOM           64u

struct wire_roster {
    uint64_t manifest;   /* sequence of the manifest that is divided */
    uint64_t epoch;      /* whose lots they are */
    uint64_t sitting;    /* grows: a new one when the epoch begins or members have come */
    uint8_t version;     /* of the sitting, from 1 */
    uint32_t members;    /* N */
    uint32_t absent;     /* of them */
    const uint8_t *list; /* decoded: 5 bytes for each absent member; read with wire_roster_died */
};

struct wire_bid {
    uint64_t sitting;
    uint32_t from, to; /* numbers of members */
    uint32_t life;     /* of the buyer */
    uint8_t since;     /* version in which the deal came about */
    uint8_t kind;      /* 0 bid, 1 token, 2 acknowledgement */
};

/* In: died[members], by member: 0 lives, 1 was not there at the beginning, k: died in version k. Returns the bytes written, 0
   when they do not fit. */
size_t wire_roster_encode(void *data, size_t room, const struct wire_roster *roster, const uint8_t *died);
enum wire_verdict wire_roster_decode(struct wire_roster *roster, const void *data, size_t bytes);
/* Out: died[members]. */
void wire_roster_died(uint8_t *died, const struct wire_roster *roster);

size_t wire_bid_encode(void *data, size_t room, const struct wire_bid *bid);
enum wire_verdict wire_bid_decode(struct wire_bid *bid, const void *data, size_t bytes);

#endif
