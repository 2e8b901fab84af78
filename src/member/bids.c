/* Bids on the bus: model's state machine with the roster's memory. AC appendix A. */
#include "member/bids.h"
#include "base/base.h"

#include <stdlib.h>
#include <string.h>

struct member__bids {
    uint32_t number, members;
    uint64_t sitting;
    unsigned version; /* 0: no roster yet */
    uint8_t *died;
    struct model_part *parts; /* those of this member */
    size_t part_count;
    struct model_deal *deals;
    struct model_bid_state *state;
    struct model_bid_message *said;
    struct wire_bid *messages;
    struct model_bidder bidder;
};

struct member__bids *member__bids_new(uint32_t number)
{
    struct member__bids *b = calloc(1, sizeof *b);
    if (b)
        b->number = number;
    return b;
}

void member__bids_free(struct member__bids *b)
{
    if (!b)
        return;
    free(b->died);
    free(b->parts);
    free(b->deals);
    free(b->state);
    free(b->said);
    free(b->messages);
    free(b);
}

/* The parts of the table that are this member's business. Returns NULL when out of memory or when the table gives somebody more
   than its due. */
static struct model_part *own_parts(size_t *count, const struct member__bids *b, const uint8_t *died,
                                    unsigned version, const struct model_task *task, double eps)
{
    double *load = calloc(task->members, sizeof *load);
    uint32_t *scratch = calloc(model_scratch_room(task), sizeof *scratch);
    struct model_part *parts = NULL;
    size_t room = 0, all = 0, own = 0;
    if (load && scratch) {
        room = model_bid_parts(NULL, 0, load, scratch, task, died, version);
        parts = calloc(room, sizeof *parts);
    }
    if (parts) {
        all = model_bid_parts(parts, room, load, scratch, task, died, version);
        /* A few members cannot be level to the last percent; then the grain of a lot is what fairness can be. */
        double bound = eps > 0.1 ? eps : 0.1;
        if (model_bid_excess(load, task, died, version, bound) != MODEL_NO_FUNCTION) {
            free(parts);
            parts = NULL;
        }
    }
    for (size_t i = 0; parts && i < all; i++)
        if (parts[i].seller == b->number || parts[i].buyer == b->number || parts[i].guard == b->number)
            parts[own++] = parts[i];
    free(load);
    free(scratch);
    *count = own;
    return parts;
}

bool member__bids_take(struct member__bids *b, const struct wire_roster *roster,
                       const struct model_task *task, double eps)
{
    bool same_sitting = b->version && roster->sitting == b->sitting;
    if (roster->members != task->members || b->number >= task->members ||
        (b->version && (roster->sitting < b->sitting || (same_sitting && roster->version <= b->version))))
        return false;
    struct model_task now = *task;
    now.epoch = roster->epoch;
    size_t count = 0;
    uint8_t *died = calloc(task->members, 1);
    struct model_part *parts = NULL;
    if (died) {
        wire_roster_died(died, roster);
        parts = died[b->number] ? NULL : own_parts(&count, b, died, roster->version, &now, eps);
    }
    struct model_deal *deals = parts ? calloc(2 * count + 1, sizeof *deals) : NULL;
    size_t deal_count = deals ? model_bid_deals(deals, parts, count, b->number) : 0;
    struct model_bid_state *state = calloc(deal_count + 1, sizeof *state);
    struct model_bid_message *said = calloc(deal_count + 1, sizeof *said);
    struct wire_bid *messages = calloc(deal_count + 1, sizeof *messages);
    if (!deals || !state || !said || !messages) {
        free(died);
        free(parts);
        free(deals);
        free(state);
        free(said);
        free(messages);
        return false;
    }
    if (same_sitting)
        model_bidder_move(&b->bidder, state, deals, deal_count);
    else /* Seconds of the day's clock tell this life from the one before a crash. */
        model_bidder_start(&b->bidder, state, b->number, (uint32_t)(base_realtime_ns() / 1000000000u), deals,
                           deal_count);
    free(b->died);
    free(b->parts);
    free(b->deals);
    free(b->state);
    free(b->said);
    free(b->messages);
    b->died = died;
    b->parts = parts;
    b->part_count = count;
    b->deals = deals;
    b->state = state;
    b->said = said;
    b->messages = messages;
    b->members = task->members;
    b->sitting = roster->sitting;
    b->version = roster->version;
    return true;
}

static struct wire_bid to_wire(const struct member__bids *b, const struct model_bid_message *m)
{
    return (struct wire_bid){b->sitting, m->from, m->to, m->life, (uint8_t)m->since, (uint8_t)m->kind};
}

size_t member__bids_tick(struct member__bids *b, const struct wire_bid **messages)
{
    *messages = b->messages;
    if (!b->version)
        return 0;
    size_t count = model_bidder_tick(b->said, &b->bidder);
    for (size_t i = 0; i < count; i++)
        b->messages[i] = to_wire(b, &b->said[i]);
    return count;
}

bool member__bids_receive(struct member__bids *b, bool *changed, struct wire_bid *answer,
                          const struct wire_bid *m)
{
    struct model_bid_message said,
        message = {m->from, m->to, m->since, (enum model_bid_kind)m->kind, m->life};
    *changed = false;
    if (!b->version || m->sitting != b->sitting)
        return false;
    bool done = model_bidder_is_done(&b->bidder);
    bool answers = model_bidder_receive(&said, &b->bidder, &message) > 0;
    /* Tokens and acknowledgements move a deal; so does a bid in another life. */
    *changed = !done || !model_bidder_is_done(&b->bidder);
    if (answers)
        *answer = to_wire(b, &said);
    return answers;
}

const struct model_part *member__bids_next(const struct member__bids *b, size_t *at)
{
    while (b->version && *at < b->part_count) {
        const struct model_part *part = &b->parts[(*at)++];
        if (model_bidder_holds(&b->bidder, part))
            return part;
    }
    return NULL;
}

bool member__bids_done(const struct member__bids *b)
{
    return b->version && model_bidder_is_done(&b->bidder);
}
