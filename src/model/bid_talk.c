/* Round 2 of bidding, the conversation that carries the table's deals out: bid, token, acknowledgement. AC appendix A.

   The auctioneer watches what it sells until the buyer has acknowledged the token, so a message that is lost, doubled or
   late costs fairness for a while and coverage never. */
#include "model/assign.h"

/* A deal's state: the buyer's flag, the auctioneer's two, and above them how often the buyer bid anew. */
enum { BOUGHT = 1, SENT = 2, RELEASED = 4, ANEW = 8, ANEW_MAX = 31 };

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

void model_bidder_start(struct model_bidder *b, struct model_bid_state *state, uint32_t id, uint32_t life,
                        const struct model_deal *deals, size_t deal_count)
{
    *b = (struct model_bidder){
        .id = id, .life = life, .deals = deals, .deal_count = deal_count, .state = state};
    for (size_t i = 0; i < deal_count; i++)
        state[i] = (struct model_bid_state){0};
}

void model_bidder_move(struct model_bidder *b, struct model_bid_state *state, const struct model_deal *deals,
                       size_t deal_count)
{
    struct model_bidder before = *b;
    b->state = state;
    b->deals = deals;
    b->deal_count = deal_count;
    b->ticks = 0;
    for (size_t i = 0; i < deal_count; i++) {
        size_t old = deal_at(&before, deals[i]);
        state[i] = old < before.deal_count ? before.state[old] : (struct model_bid_state){0};
    }
}

static struct model_bid_message say(struct model_bidder *b, size_t deal, enum model_bid_kind kind)
{
    const struct model_deal *d = &b->deals[deal];
    bool sells = d->seller == b->id;
    b->sent++;
    return (struct model_bid_message){b->id, sells ? d->buyer : d->seller, d->since, kind,
                                      sells ? b->state[deal].life : b->life};
}

/* Who bids again in another life was started anew and has lost what it had; or it only wants to keep us busy. So the k-th
   time counts only when the epoch is 2^k - 1 rounds old: nobody can make us send more than the logarithm of it. */
static bool may_bid_anew(const struct model_bidder *b, size_t deal)
{
    unsigned times = b->state[deal].flags / ANEW;
    return times < ANEW_MAX && b->age / MODEL_BID_TICKS >= (1u << times) - 1;
}

size_t model_bidder_tick(struct model_bid_message *messages, struct model_bidder *b)
{
    size_t count = 0;
    uint32_t now = b->ticks++;
    b->age++;
    if (now >= EAGER_TICKS && now % MODEL_BID_TICKS != 0)
        return 0;
    for (size_t i = 0; i < b->deal_count; i++) {
        const struct model_deal *deal = &b->deals[i];
        if (deal->buyer == b->id && !(b->state[i].flags & BOUGHT))
            messages[count++] = say(b, i, MODEL_BID_BID);
        /* Who has not bid within a round may hold it from before we were started: it is asked by a token of no life. */
        bool silent = !(b->state[i].flags & SENT) && now > 0 && now % MODEL_BID_TICKS == 0;
        if (deal->seller == b->id && (silent || (b->state[i].flags & (SENT | RELEASED)) == SENT))
            messages[count++] = say(b, i, MODEL_BID_TOKEN);
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
    struct model_bid_state *state = &b->state[i];
    switch (message->kind) {
    case MODEL_BID_BID:
        if (!(state->flags & SENT)) {
            state->flags |= SENT;
            state->life = message->life;
            *answer = say(b, i, MODEL_BID_TOKEN);
            return 1;
        }
        /* The next tick answers. */
        if (message->life > state->life && (!(state->flags & RELEASED) || may_bid_anew(b, i))) {
            if (state->flags & RELEASED)
                state->flags = (uint8_t)((state->flags & ~RELEASED) + ANEW);
            state->life = message->life;
        }
        return 0;
    case MODEL_BID_TOKEN:
        /* One for a former life, or none: its auctioneer was started anew itself. */
        if (message->life != b->life) {
            *answer = say(b, i, MODEL_BID_BID);
            return 1;
        }
        state->flags |= BOUGHT;
        *answer = say(b, i, MODEL_BID_ACK);
        return 1;
    case MODEL_BID_ACK:
        /* Only for a token that was sent, and by the buyer as it lives now: an acknowledgement out of nothing, or out of a
           former life, must not unwatch a function. */
        if ((state->flags & SENT) && message->life == state->life)
            state->flags |= RELEASED;
        return 0;
    }
    return 0;
}

bool model_bidder_holds(const struct model_bidder *b, const struct model_part *part)
{
    if (part->guard == b->id) {
        size_t i = deal_at(b, (struct model_deal){part->guard, part->seller, part->since});
        if (i < b->deal_count && !(b->state[i].flags & RELEASED))
            return true;
    }
    if (part->seller == part->buyer)
        return part->seller == b->id;
    if (part->seller != b->id && part->buyer != b->id)
        return false;
    size_t i = deal_at(b, (struct model_deal){part->seller, part->buyer, part->since});
    if (i == b->deal_count)
        return false;
    if (part->inherited && part->buyer == b->id)
        return true;
    return part->seller == b->id ? !(b->state[i].flags & RELEASED) : (b->state[i].flags & BOUGHT) != 0;
}

bool model_bidder_is_done(const struct model_bidder *b)
{
    for (size_t i = 0; i < b->deal_count; i++)
        if ((b->deals[i].buyer == b->id && !(b->state[i].flags & BOUGHT)) ||
            (b->deals[i].seller == b->id && !(b->state[i].flags & RELEASED)))
            return false;
    return true;
}
