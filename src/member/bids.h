/* A member's part in the bidding for slices: the roster's table, its own deals, and what it watches by them. Private to
   member. Context: guarded by the caller. */
#ifndef MEMBER_BIDS_H
#define MEMBER_BIDS_H

#include "model/model.h"
#include "wire/wire.h"

struct member__bids;

/* In: number of the member. Returns NULL when out of memory. */
struct member__bids *member__bids_new(uint32_t number);
void member__bids_free(struct member__bids *bids);

/* Takes a roster that is newer than what we have. In: the manifest's task; its epoch is the roster's. Returns whether
   anything changed. A roster that does not fit the task, or whose table somebody would gain by, is not followed. */
bool member__bids_take(struct member__bids *bids, const struct wire_roster *roster,
                       const struct model_task *task, double eps);
/* Timer: what is to be sent. Returns the number of messages. Out: *messages, valid until the next call. */
size_t member__bids_tick(struct member__bids *bids, const struct wire_bid **messages);
/* A message came, from the member that it says. Out: *answer when it returns true; *changed: whether what we watch did. */
bool member__bids_receive(struct member__bids *bids, bool *changed, struct wire_bid *answer,
                          const struct wire_bid *message);
/* Walks what the member watches; `at` starts as 0. Returns NULL behind the last. */
const struct model_part *member__bids_next(const struct member__bids *bids, size_t *at);
/* Whether all its deals are done. */
bool member__bids_done(const struct member__bids *bids);

#endif
