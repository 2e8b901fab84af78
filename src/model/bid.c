/* Bidding: who auctions what, who buys, and the conversation that carries it out. AC appendix A. */
#include "model/assign.h"

#include <math.h>

/* A lot is at most this part of a fair load, so that auctioneers' loads are even before anything is sold: sums of many
   small random weights. */
enum { LOTS_PER_LOAD = 16, BUYERS_TRIED_MAX = 32 };

/* Surplus or room below this part of a fair load, or below half a token, is not worth a message. */
#define LITTLE 0.001
/* The wider the band, the fewer members share a rest. */
#define BAND 0.0075

/* ---- round 1: the table ---- */

struct auction {
    const struct model_task *task;
    const bool *alive;
    struct model_part *parts;
    size_t room, made;
    double *load;
    uint32_t *head; /* parts of each holder, linked by `next` */
};

static bool lives(const struct auction *a, uint32_t member)
{
    return !a->alive || a->alive[member];
}

static bool overlap(const struct model_part *p, uint32_t first, uint32_t quanta, uint32_t ring)
{
    /* Arcs on a ring meet when one's start lies in the other. */
    uint32_t from_p = first >= p->first ? first - p->first : first + ring - p->first;
    uint32_t to_p = p->first >= first ? p->first - first : p->first + ring - first;
    return from_p < p->quanta || to_p < quanta;
}

/* Whether the member watches the function in some of these quanta already: it cannot do so twice. */
static bool is_taken(const struct auction *a, uint32_t member, uint32_t function, uint32_t first,
                     uint32_t quanta)
{
    for (uint32_t i = a->head[member]; i != MODEL_NO_FUNCTION; i = a->parts[i].next)
        if (a->parts[i].function == function && overlap(&a->parts[i], first, quanta, a->task->quanta))
            return true;
    return false;
}

static double token_of(const struct auction *a, uint32_t function)
{
    return a->task->relative[function] / a->task->quanta;
}

static void add_part(struct auction *a, struct model_part part)
{

    a->load[part.buyer] += part.quanta * token_of(a, part.function);
    part.next = a->head[part.buyer];
    a->parts[a->made] = part;
    a->head[part.buyer] = (uint32_t)a->made++;
}

/* The live member that ranks first for a lot and can take it. Ranks are drawn one by one: the k-th is the k-th number of
   the lot's own random sequence, which orders the members as hashing each of them would, without touching them all. */
static uint32_t auctioneer_of(const struct auction *a, uint32_t function, uint32_t first, uint32_t quanta,
                              uint64_t lot)
{
    uint64_t name[4] = {a->task->seed, a->task->epoch, function, lot};
    struct core_rng rng;
    core_rng_seed(&rng, core_hash(CORE_HASH_SEED, name, sizeof name));
    uint32_t member = 0;
    for (uint32_t tried = 0; tried < 4 * a->task->members + 64; tried++) {
        member = (uint32_t)core_rng_below(&rng, a->task->members);
        if (lives(a, member) && !is_taken(a, member, function, first, quanta))
            return member;
    }
    /* Nearly all of few members hold it: the first that can, or at least lives. */
    uint32_t found = MODEL_NO_FUNCTION;
    for (uint32_t m = 0; m < a->task->members; m++)
        if (lives(a, m) && (found == MODEL_NO_FUNCTION || !is_taken(a, m, function, first, quanta))) {
            found = m;
            if (!is_taken(a, m, function, first, quanta))
                break;
        }
    return found;
}

static void cut_lots(struct auction *a, double fair)
{
    const struct model_task *t = a->task;
    for (uint32_t f = 0; f < t->functions; f++) {
        if (!model_is_divided(t, f))
            continue;
        double pieces = ceil(t->relative[f] * LOTS_PER_LOAD / fair);
        uint32_t step = pieces >= t->quanta ? 1
                        : pieces <= 1       ? t->quanta
                                            : (uint32_t)ceil(t->quanta / pieces);
        uint64_t lot = 0;
        for (uint64_t left = t->tokens[f]; left;) {
            /* Lots do not run across the ring's start, so that every copy is cut at the same places. */
            uint32_t first = (uint32_t)((t->tokens[f] - left) % t->quanta), quanta = step;
            if (quanta > t->quanta - first)
                quanta = t->quanta - first;
            if (quanta > left)
                quanta = (uint32_t)left;
            uint32_t member = auctioneer_of(a, f, first, quanta, lot++);
            add_part(a, (struct model_part){f, first, quanta, member, member, 0});
            left -= quanta;
        }
    }
}

/* Sells as much of one part as fits into `gap`. */
static void sell(struct auction *a, uint32_t part, uint32_t buyer, double gap)
{
    struct model_part *p = &a->parts[part];
    double token = token_of(a, p->function), wanted = token > 0 ? round(gap / token) : 0;
    uint32_t quanta = wanted < p->quanta ? (uint32_t)fmax(0, wanted) : p->quanta;
    if (quanta == 0 || a->made == a->room || is_taken(a, buyer, p->function, p->first, quanta))
        return;
    struct model_part sold = {p->function, p->first, quanta, p->seller, buyer, 0};
    p->first = (uint32_t)(((uint64_t)p->first + quanta) % a->task->quanta);
    p->quanta -= quanta;
    a->load[p->seller] -= quanta * token;
    add_part(a, sold);
}

/* Who sells in a pass and down to which load, who buys and up to which. */
struct pass {
    double sells_above, down_to, buys_below, up_to;
};

/* Sellers in order meet buyers in order. A buyer that has no room left has none for later sellers either. */
static void match(struct auction *a, const struct pass *pass)
{
    uint32_t members = a->task->members, buyer = 0;
    for (uint32_t seller = 0; seller < members; seller++) {
        if (!lives(a, seller) || a->load[seller] <= pass->sells_above)
            continue;
        for (uint32_t i = a->head[seller], next; i != MODEL_NO_FUNCTION; i = next) {
            next = a->parts[i].next;
            if (a->parts[i].seller != seller)
                continue;
            while (buyer < members && (!lives(a, buyer) || a->load[buyer] >= pass->buys_below))
                buyer++;
            double half = token_of(a, a->parts[i].function) / 2;
            for (uint32_t b = buyer, tried = 0; b < members && tried < BUYERS_TRIED_MAX && a->parts[i].quanta;
                 b++) {
                if (a->load[seller] - pass->down_to <= half)
                    break;
                if (b == seller || !lives(a, b) || a->load[b] >= pass->buys_below)
                    continue;
                tried++;
                sell(a, i, b, fmin(a->load[seller] - pass->down_to, pass->up_to - a->load[b]));
            }
        }
    }
}

/* First all to the fair load; what rounding left undone then adds up at a few members, who are levelled with everyone
   inside a band. */
static void match_all(struct auction *a, double fair)
{
    double little = fair * LITTLE;
    for (uint32_t f = 0; f < a->task->functions; f++)
        if (model_is_divided(a->task, f))
            little = fmax(little, token_of(a, f) / 2);
    double band = fmax(2 * little, fair * BAND);
    const struct pass passes[] = {
        {fair + little, fair, fair - little, fair},
        {fair + band, fair, fair + band / 2, fair + band},
        {fair - band / 2, fair - band, fair - band, fair},
    };
    for (unsigned i = 0; i < sizeof passes / sizeof *passes; i++)
        match(a, &passes[i]);
}

/* Lots, and what selling adds: each sale ends a seller's part, a surplus or a buyer's room. */
static size_t bound(const struct model_task *task, double fair)
{
    double parts = 4096 + 8.0 * task->members;
    for (size_t f = 0; f < task->functions; f++)
        if (model_is_divided(task, f)) {
            double pieces = fmin(task->quanta, fmax(1, ceil(task->relative[f] * LOTS_PER_LOAD / fair)) + 1);
            parts += 2 * ceil(pieces * ((double)task->tokens[f] / task->quanta + 1));
        }
    return parts < 4e9 ? (size_t)parts : SIZE_MAX;
}

size_t model_bid_parts(struct model_part *parts, size_t room, double *load, uint32_t *scratch,
                       const struct model_task *task, const bool *alive)
{
    struct auction a = {task, alive, parts, room, 0, load, scratch};
    uint32_t living = 0;
    for (uint32_t m = 0; m < task->members; m++) {
        load[m] = 0;
        a.head[m] = MODEL_NO_FUNCTION;
        living += lives(&a, m);
    }
    double fair = model_fair_load(task) * task->members / living;
    size_t wanted = bound(task, fair);
    if (room < wanted)
        return wanted;
    cut_lots(&a, fair);
    match_all(&a, fair);
    size_t kept = 0;
    for (size_t i = 0; i < a.made; i++)
        if (parts[i].quanta)
            parts[kept++] = parts[i];
    return kept;
}

static bool deal_before(const struct model_deal *a, const struct model_deal *b)
{
    return a->seller < b->seller || (a->seller == b->seller && a->buyer < b->buyer);
}

size_t model_bid_deals(struct model_deal *deals, const struct model_part *parts, size_t count)
{
    size_t made = 0;
    for (size_t i = 0; i < count; i++)
        if (parts[i].seller != parts[i].buyer)
            deals[made++] = (struct model_deal){parts[i].seller, parts[i].buyer};
    /* Heap sort, then one of each. */
    for (size_t start = made / 2, end = made; end > 1;) {
        struct model_deal value;
        size_t at = 0;
        if (start > 0) {
            at = --start;
            value = deals[at];
        } else {
            value = deals[--end];
            deals[end] = deals[0];
        }
        for (size_t child; (child = 2 * at + 1) < end; at = child) {
            child += child + 1 < end && deal_before(&deals[child], &deals[child + 1]);
            if (!deal_before(&value, &deals[child]))
                break;
            deals[at] = deals[child];
        }
        deals[at] = value;
    }
    size_t kept = 0;
    for (size_t i = 0; i < made; i++)
        if (i == 0 || deal_before(&deals[i - 1], &deals[i]))
            deals[kept++] = deals[i];
    return kept;
}

/* ---- round 2: the conversation ---- */

enum { BOUGHT = 1, SENT = 2, RELEASED = 4 };

/* The deal's index, or count when there is none. */
static size_t deal_at(const struct model_bidder *b, uint32_t seller, uint32_t buyer)
{
    struct model_deal wanted = {seller, buyer};
    size_t low = 0, high = b->deal_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (deal_before(&b->deals[middle], &wanted))
            low = middle + 1;
        else
            high = middle;
    }
    return low < b->deal_count && !deal_before(&wanted, &b->deals[low]) ? low : b->deal_count;
}

void model_bidder_start(struct model_bidder *b, uint8_t *state, uint32_t id, uint32_t version,
                        const struct model_deal *deals, size_t deal_count)
{
    *b = (struct model_bidder){.id = id,
                               .version = version,
                               .deals = deals,
                               .deal_count = deal_count,
                               .state = state,
                               .sent = b->sent};
    for (size_t i = 0; i < deal_count; i++)
        state[i] = 0;
}

static struct model_bid_message say(struct model_bidder *b, uint32_t to, enum model_bid_kind kind)
{
    b->sent++;
    return (struct model_bid_message){b->id, to, b->version, kind};
}

size_t model_bidder_tick(struct model_bid_message *messages, struct model_bidder *b)
{
    size_t count = 0;
    for (size_t i = 0; i < b->deal_count; i++) {
        const struct model_deal *deal = &b->deals[i];
        if (deal->buyer == b->id && !(b->state[i] & BOUGHT))
            messages[count++] = say(b, deal->seller, MODEL_BID_BID);
        else if (deal->seller == b->id && (b->state[i] & SENT) && !(b->state[i] & RELEASED))
            messages[count++] = say(b, deal->buyer, MODEL_BID_TOKEN);
    }
    return count;
}

size_t model_bidder_receive(struct model_bid_message *answer, struct model_bidder *b,
                            const struct model_bid_message *message)
{
    if (message->version != b->version || message->to != b->id)
        return 0;
    bool from_seller = message->kind == MODEL_BID_TOKEN;
    size_t i = from_seller ? deal_at(b, message->from, b->id) : deal_at(b, b->id, message->from);
    if (i == b->deal_count)
        return 0;
    switch (message->kind) {
    case MODEL_BID_BID:
        b->state[i] |= SENT;
        *answer = say(b, message->from, MODEL_BID_TOKEN);
        return 1;
    case MODEL_BID_TOKEN:
        b->state[i] |= BOUGHT;
        *answer = say(b, message->from, MODEL_BID_ACK);
        return 1;
    case MODEL_BID_ACK:
        /* Only for a token that was sent: an acknowledgement out of nothing must not unwatch a function. */
        if (b->state[i] & SENT)
            b->state[i] |= RELEASED;
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
    size_t i = deal_at(b, part->seller, part->buyer);
    if (i == b->deal_count)
        return false;
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

/* ---- as a policy ---- */

static size_t assign(struct model_holding *holdings, size_t room, double *load, uint32_t *scratch,
                     const struct model_task *task)
{
    /* A part takes more room than a holding, and is turned into one in place: front to back, the holding that is written
       never reaches the part that is read next. */
    size_t parts_room = room * sizeof *holdings / sizeof(struct model_part);
    struct model_part *parts = (struct model_part *)holdings;
    size_t count = model_bid_parts(parts, parts_room, load, scratch, task, NULL);
    if (count > parts_room)
        return (count * sizeof *parts + sizeof *holdings - 1) / sizeof *holdings;
    for (size_t i = 0; i < count; i++) {
        struct model_part part = parts[i];
        holdings[i] = (struct model_holding){part.buyer, part.function, part.first, part.quanta};
    }
    return count;
}

const struct model_policy model_bid = {
    .name = "bid",
    .meaning = "members auction what is beyond their fair load",
    .assign = assign,
};
