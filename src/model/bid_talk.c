/* Round 2 of bidding, the conversation that carries the table's deals out: bid, token, acknowledgement. AC appendix A.

   The auctioneer watches what it sells until the buyer has acknowledged the token, so a message that is lost, doubled or
   late costs fairness for a while and coverage never. */
#include "model/assign.h"

/* A deal's state: the buyer's flag, the auctioneer's two, and above them the number of tokens sent. */
enum { BOUGHT = 1, SENT = 2, RELEASED = 4, TOKEN_ONE = 8, TOKENS_COUNTED = 31 };

/* Who bids again after its acknowledgement was started anew and has lost what it had; or it only wants to keep us busy. So
   it gets so many tokens in all and no more. */
enum { TOKENS_AGAIN = 3 };

/* What is not answered is repeated at every tick of two rounds, later once a round. */
enum { EAGER_TICKS = 2 * MODEL_BID_TICKS };

/* The deal's index, or count when there is none. */
static size_t deal_at(const struct model_bidder *b, struct model_deal wanted)
{
    size_t low = 0, high = b->deal_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (model_deal_before(&b->deals[middle], &wanted))
            low = middle + 1;
        else
            high = middle;
    }
    return low < b->deal_count && !model_deal_before(&wanted, &b->deals[low]) ? low : b->deal_count;
}

void model_bidder_start(struct model_bidder *b, uint8_t *state, uint32_t id, const struct model_deal *deals,
                        size_t deal_count)
{
    *b = (struct model_bidder){.id = id, .deals = deals, .deal_count = deal_count, .state = state};
    for (size_t i = 0; i < deal_count; i++)
        state[i] = 0;
}

void model_bidder_move(struct model_bidder *b, uint8_t *state, const struct model_deal *deals,
                       size_t deal_count)
{
    struct model_bidder before = *b;
    b->state = state;
    b->deals = deals;
    b->deal_count = deal_count;
    b->ticks = 0;
    for (size_t i = 0; i < deal_count; i++) {
        size_t old = deal_at(&before, deals[i]);
        state[i] = old < before.deal_count ? before.state[old] : 0;
    }
}

static struct model_bid_message say(struct model_bidder *b, size_t deal, enum model_bid_kind kind)
{
    const struct model_deal *d = &b->deals[deal];
    b->sent++;
    return (struct model_bid_message){b->id, d->seller == b->id ? d->buyer : d->seller, d->since, kind};
}

static struct model_bid_message token(struct model_bidder *b, size_t deal)
{
    if (b->state[deal] / TOKEN_ONE < TOKENS_COUNTED)
        b->state[deal] += TOKEN_ONE;
    return say(b, deal, MODEL_BID_TOKEN);
}

size_t model_bidder_tick(struct model_bid_message *messages, struct model_bidder *b)
{
    size_t count = 0;
    uint32_t now = b->ticks++;
    if (now >= EAGER_TICKS && now % MODEL_BID_TICKS != 0)
        return 0;
    for (size_t i = 0; i < b->deal_count; i++) {
        const struct model_deal *deal = &b->deals[i];
        if (deal->buyer == b->id && !(b->state[i] & BOUGHT))
            messages[count++] = say(b, i, MODEL_BID_BID);
        else if (deal->seller == b->id && (b->state[i] & SENT) && !(b->state[i] & RELEASED))
            messages[count++] = token(b, i);
    }
    return count;
}

size_t model_bidder_receive(struct model_bid_message *answer, struct model_bidder *b,
                            const struct model_bid_message *message)
{
    if (message->to != b->id)
        return 0;
    bool from_seller = message->kind == MODEL_BID_TOKEN;
    size_t i = deal_at(b, (struct model_deal){from_seller ? message->from : b->id,
                                              from_seller ? b->id : message->from, message->since});
    if (i == b->deal_count) {
        /* Not in the table: late, of a version that is not here yet, or from one who wants more than its part. */
        b->refused++;
        return 0;
    }
    uint8_t *state = &b->state[i];
    switch (message->kind) {
    case MODEL_BID_BID:
        if (!(*state & SENT)) {
            *state |= SENT;
            *answer = token(b, i);
            return 1;
        }
        /* The next tick answers. */
        if ((*state & RELEASED) && *state / TOKEN_ONE < TOKENS_AGAIN)
            *state &= (uint8_t)~RELEASED;
        return 0;
    case MODEL_BID_TOKEN:
        *state |= BOUGHT;
        *answer = say(b, i, MODEL_BID_ACK);
        return 1;
    case MODEL_BID_ACK:
        /* Only for a token that was sent: an acknowledgement out of nothing must not unwatch a function. */
        if (*state & SENT)
            *state |= RELEASED;
        return 0;
    }
    return 0;
}

bool model_bidder_holds(const struct model_bidder *b, const struct model_part *part)
{
    if (part->seller == part->buyer)
        return part->seller == b->id;
    if (part->seller != b->id && part->buyer != b->id)
        return false;
    size_t i = deal_at(b, (struct model_deal){part->seller, part->buyer, part->since});
    if (i == b->deal_count)
        return false;
    if (part->inherited && part->buyer == b->id)
        return true;
    return part->seller == b->id ? !(b->state[i] & RELEASED) : (b->state[i] & BOUGHT) != 0;
}

bool model_bidder_is_done(const struct model_bidder *b)
{
    for (size_t i = 0; i < b->deal_count; i++)
        if ((b->deals[i].buyer == b->id && !(b->state[i] & BOUGHT)) ||
            (b->deals[i].seller == b->id && !(b->state[i] & RELEASED)))
            return false;
    return true;
}
