/* What a manifest gives one member to watch. Private to member.

   All members follow the clock of the day: quantum number and epoch come from it, so that slices change everywhere at the
   same moment without a message. */
#ifndef MEMBER_SLICE_H
#define MEMBER_SLICE_H

#include "base/base.h"
#include "wire/wire.h"

struct member__slice;

/* Works out a member's slice. In: the manifest's bytes (copied); `number`, which of its N members this is, taken modulo N.
   Returns 0, or -1 with `error` (BASE_EXIT_INPUT): a manifest that is refused. Owns: the caller's, member__slice_free. */
int member__slice_make(struct base_error *error, struct member__slice **slice, const void *data, size_t bytes,
                       uint32_t number);
/* Bidding, when the manifest asks for it. Without a roster for ROSTER_LEASE, or before the first, the slice is the table's as
   if all members were there. Each returns whether what is watched may have changed. */
bool member__slice_roster(struct member__slice *slice, const struct wire_roster *roster,
                          uint64_t realtime_ns);
bool member__slice_bid(struct member__slice *slice, bool *answers, struct wire_bid *answer,
                       const struct wire_bid *bid);
/* What is to be said now; call it MODEL_BID_TICKS times a round. Returns the number of messages. Out: *bids, valid until the
   next call. */
size_t member__slice_bids(const struct wire_bid **bids, struct member__slice *slice);
/* Whether it bids, and all its deals are done. */
bool member__slice_settled(const struct member__slice *slice);

/* Brings the slice to a moment: works out the next epoch's when that has come. Call it before asking. In: realtime. */
void member__slice_set_time(struct member__slice *slice, uint64_t realtime_ns);
/* Whether the member watches the function now. */
bool member__slice_watches(const struct member__slice *slice, const uint8_t *build_id, size_t build_id_bytes,
                           uint64_t offset);
/* Whether the manifest names this build at all: another build is not covered by it. */
bool member__slice_knows(const struct member__slice *slice, const uint8_t *build_id, size_t build_id_bytes);
/* When watching changes next, realtime; UINT64_MAX: never, for the slice holds nothing by turns. */
uint64_t member__slice_changes_at(const struct member__slice *slice);

/* Walk the functions that are watched at some time of this epoch. `at` starts as 0. Returns false behind the last. */
struct member__slice_part {
    const uint8_t *build_id;
    uint32_t build_id_bytes;
    uint64_t offset;
    const char *name;
    uint32_t name_bytes;
    bool always, now;
};
bool member__slice_next(struct member__slice_part *part, uint32_t *at, const struct member__slice *slice);

void member__slice_free(struct member__slice *slice);

#endif
