/* Round 1 of bidding, the table: who auctions what, and who buys. Every member computes the same one. AC appendix A. */
#include "model/assign.h"

#include <math.h>

/* A lot is at most this part of a fair load, so that auctioneers' loads are even before anything is sold: sums of many
   small random weights. */
enum { LOTS_PER_LOAD = 16, BUYERS_TRIED_MAX = 32 };

/* Surplus or room below this part of a fair load, or below half a token, is not worth a message. */
#define LITTLE 0.001
/* The wider the band, the fewer members share a rest. */
#define BAND 0.0075

struct auction {
    const struct model_task *task;
    const uint8_t *died; /* by member, NULL: all live */
    unsigned version;    /* that is computed */
    struct model_part *parts;
    size_t room, made;
    double *load;
    uint32_t *head;  /* parts of each holder, linked by `next` */
    uint32_t *order; /* scratch, a word for each member */
    bool cutting;    /* lots are being cut: order[m] is the function of member m's newest part */
};

static bool lives(const struct auction *a, uint32_t member)
{
    return !a->died || a->died[member] == 0 || a->died[member] > a->version;
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
    /* Lots are cut function by function, so that a member whose newest is of another has none of this one. Its list lies all
       over memory, and walking it would be three quarters of the work for 100,000 members. */
    if (a->cutting && a->order[member] != function)
        return false;
    for (uint32_t i = a->head[member]; i != MODEL_NO_FUNCTION; i = a->parts[i].next)
        if (a->parts[i].function == function && overlap(&a->parts[i], first, quanta, a->task->quanta))
            return true;
    return false;
}

static double token_of(const struct auction *a, uint32_t function)
{
    return a->task->relative[function] / a->task->quanta;
}

/* Enters a part into its holder's list and load. */
static void link_part(struct auction *a, uint32_t i)
{
    struct model_part *p = &a->parts[i];
    a->load[p->buyer] += p->quanta * token_of(a, p->function);
    p->next = a->head[p->buyer];
    a->head[p->buyer] = i;
}

static void add_part(struct auction *a, struct model_part part)
{
    part.since = (uint8_t)a->version;
    a->parts[a->made] = part;
    link_part(a, (uint32_t)a->made++);
}

/* The live member that ranks first for a lot, can take it, and bears no more than `most` so far. Ranks are drawn one by one: the k-th is the k-th number of
   the lot's own random sequence, which orders the members as hashing each of them would, without touching them all. */
static uint32_t auctioneer_of(const struct auction *a, uint32_t function, uint32_t first, uint32_t quanta,
                              uint32_t lot, double most)
{
    uint64_t name[4] = {a->task->seed, a->task->epoch, function, lot};
    struct core_rng rng;
    core_rng_seed(&rng, core_hash(CORE_HASH_SEED, name, sizeof name));
    uint32_t member = 0;
    for (uint32_t tried = 0; tried < 4 * a->task->members + 64; tried++) {
        member = (uint32_t)core_rng_below(&rng, a->task->members);
        if (lives(a, member) && a->load[member] <= most && !is_taken(a, member, function, first, quanta))
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

/* Who keeps a dead auctioneer's word to a buyer: one for all that the two had to do with each other, or the buyer would have
   to show its tokens to many. */
static uint32_t heir_of(const struct auction *a, uint32_t seller, uint32_t buyer)
{
    uint64_t name[4] = {a->task->seed, a->task->epoch, seller, buyer};
    struct core_rng rng;
    core_rng_seed(&rng, core_hash(CORE_HASH_SEED, name, sizeof name));
    for (uint32_t tried = 0; tried < 4 * a->task->members + 64; tried++) {
        uint32_t member = (uint32_t)core_rng_below(&rng, a->task->members);
        if (lives(a, member) && member != buyer)
            return member;
    }
    return buyer;
}

static void cut_lots(struct auction *a, double fair)
{
    const struct model_task *t = a->task;
    a->cutting = true;
    for (uint32_t m = 0; m < t->members; m++)
        a->order[m] = MODEL_NO_FUNCTION;
    for (uint32_t f = 0; f < t->functions; f++) {
        if (!model_is_divided(t, f))
            continue;
        double pieces = fair > 0 ? ceil(t->relative[f] * LOTS_PER_LOAD / fair) : 1;
        uint32_t step = pieces >= t->quanta ? 1
                        : pieces <= 1       ? t->quanta
                                            : (uint32_t)ceil(t->quanta / pieces);
        uint32_t lot = 0;
        for (uint64_t left = t->tokens[f]; left;) {
            /* Lots do not run across the ring's start, so that every copy is cut at the same places. */
            uint32_t first = (uint32_t)((t->tokens[f] - left) % t->quanta), quanta = step;
            if (quanta > t->quanta - first)
                quanta = t->quanta - first;
            if (quanta > left)
                quanta = (uint32_t)left;
            uint32_t member = auctioneer_of(a, f, first, quanta, lot, INFINITY);
            add_part(a, (struct model_part){.function = f,
                                            .first = first,
                                            .quanta = quanta,
                                            .lot = lot++,
                                            .seller = member,
                                            .buyer = member,
                                            .guard = MODEL_NO_FUNCTION});
            a->order[member] = f;
            left -= quanta;
        }
    }
    a->cutting = false;
}

/* Sells as much of one part as fits into `gap`. */
static void sell(struct auction *a, uint32_t part, uint32_t buyer, double gap)
{
    struct model_part *p = &a->parts[part];
    double token = token_of(a, p->function), wanted = token > 0 ? round(gap / token) : 0;
    uint32_t quanta = wanted < p->quanta ? (uint32_t)fmax(0, wanted) : p->quanta;
    if (quanta == 0 || a->made == a->room || is_taken(a, buyer, p->function, p->first, quanta))
        return;
    struct model_part sold = *p;
    sold.quanta = quanta;
    sold.buyer = buyer;
    sold.inherited = false;
    p->first = (uint32_t)(((uint64_t)p->first + quanta) % a->task->quanta);
    p->quanta -= quanta;
    a->load[p->seller] -= quanta * token;
    add_part(a, sold);
}

/* Who sells in a pass and down to which load, who buys and up to which. */
struct pass {
    double sells_above, down_to, buys_below, up_to;
};

static bool lighter(const struct auction *a, uint32_t left, uint32_t right)
{
    return a->load[left] < a->load[right] || (a->load[left] == a->load[right] && left > right);
}

/* Orders the living members by falling load, then number. Returns how many there are. */
static uint32_t order_by_load(uint32_t *order, const struct auction *a)
{
    uint32_t count = 0;
    for (uint32_t m = 0; m < a->task->members; m++)
        if (lives(a, m))
            order[count++] = m;
    /* Heap sort: the lightest on top goes to the end. */
    for (uint32_t start = count / 2, end = count; end > 1;) {
        uint32_t value, at = 0;
        if (start > 0) {
            at = --start;
            value = order[at];
        } else {
            value = order[--end];
            order[end] = order[0];
        }
        for (uint32_t child; (child = 2 * at + 1) < end; at = child) {
            child += child + 1 < end && lighter(a, order[child + 1], order[child]);
            if (!lighter(a, order[child], value))
                break;
            order[at] = order[child];
        }
        order[at] = value;
    }
    return count;
}

/* Sellers from the heaviest down meet buyers from the lightest up, so that a large surplus fills large gaps and nobody has
   many to deal with. */
static void match(struct auction *a, const struct pass *pass)
{
    uint32_t count = order_by_load(a->order, a), full = 0;
    for (uint32_t s = 0; s < count; s++) {
        uint32_t seller = a->order[s];
        if (a->load[seller] <= pass->sells_above)
            continue;
        for (uint32_t i = a->head[seller], next; i != MODEL_NO_FUNCTION; i = next) {
            next = a->parts[i].next;
            if (a->parts[i].seller != seller)
                continue;
            /* A buyer that has no room left has none for later sellers either. */
            while (full < count && a->load[a->order[count - 1 - full]] >= pass->buys_below)
                full++;
            double half = token_of(a, a->parts[i].function) / 2;
            for (uint32_t b = full, tried = 0; b < count && tried < BUYERS_TRIED_MAX && a->parts[i].quanta;
                 b++) {
                uint32_t buyer = a->order[count - 1 - b];
                if (a->load[seller] - pass->down_to <= half)
                    break;
                if (buyer == seller || a->load[buyer] >= pass->buys_below)
                    continue;
                tried++;
                sell(a, i, buyer, fmin(a->load[seller] - pass->down_to, pass->up_to - a->load[buyer]));
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

/* Deaths since the last version. What a dead auctioneer answered for falls to the next in rank, who has it in custody
   until its buyer shows the token; what a dead buyer held falls back to its auctioneer, or to the next in rank when that has
   enough. Nobody else's part changes hands.
   Then the loads are levelled anew. */
static void repair(struct auction *a, double fair)
{
    /* Who has taken over one lot is not asked for a second: it would have to sell to too many. */
    double most = fair * (1 + BAND);
    for (uint32_t m = 0; m < a->task->members; m++) {
        a->load[m] = 0;
        a->head[m] = MODEL_NO_FUNCTION;
    }
    for (size_t i = 0; i < a->made; i++)
        if (a->parts[i].quanta && lives(a, a->parts[i].buyer))
            link_part(a, (uint32_t)i);
    for (size_t i = 0; i < a->made; i++) {
        struct model_part *p = &a->parts[i];
        bool orphaned = !lives(a, p->seller), returns = !lives(a, p->buyer);
        if (p->guard != MODEL_NO_FUNCTION && !lives(a, p->guard))
            p->guard = MODEL_NO_FUNCTION;
        if (p->quanta == 0 || !(orphaned || returns))
            continue;
        if (orphaned && !returns) {
            p->seller = heir_of(a, p->seller, p->buyer);
        } else if (orphaned || a->load[p->seller] > most ||
                   is_taken(a, p->seller, p->function, p->first, p->quanta)) {
            if (!orphaned)
                p->guard = p->seller;
            p->seller = auctioneer_of(a, p->function, p->first, p->quanta, p->lot, most);
        }
        if (p->guard == p->seller)
            p->guard = MODEL_NO_FUNCTION;
        p->since = (uint8_t)a->version;
        p->inherited = !returns && p->seller != p->buyer;
        if (returns) {
            p->buyer = p->seller;
            link_part(a, (uint32_t)i);
        }
    }
}

/* Lots, and what selling adds: each sale ends a seller's part, a surplus or a buyer's room. */
static size_t bound(const struct model_task *task, double fair, unsigned version)
{
    double parts = 4096 + 8.0 * task->members;
    for (size_t f = 0; f < task->functions; f++)
        if (model_is_divided(task, f)) {
            double pieces =
                fair > 0 ? fmin(task->quanta, fmax(1, ceil(task->relative[f] * LOTS_PER_LOAD / fair)) + 1)
                         : 1;
            parts += 2 * ceil(pieces * ((double)task->tokens[f] / task->quanta + 1));
        }
    parts += (version - 1) * (1024 + 3.0 * task->members);
    return parts < 4e9 ? (size_t)parts : SIZE_MAX;
}

size_t model_bid_parts(struct model_part *parts, size_t room, double *load, uint32_t *scratch,
                       const struct model_task *task, const uint8_t *died, unsigned version)
{
    /* Every member must stop at the same number of parts, whatever room it has. */
    size_t wanted = bound(task, model_fair_load(task), version);
    if (room < wanted)
        return wanted;
    struct auction a = {.task = task,
                        .died = died,
                        .version = 1,
                        .parts = parts,
                        .room = wanted,
                        .load = load,
                        .head = scratch,
                        .order = scratch + task->members};
    for (uint32_t m = 0; m < task->members; m++) {
        load[m] = 0;
        a.head[m] = MODEL_NO_FUNCTION;
    }
    for (; a.version <= version; a.version++) {
        uint32_t living = 0;
        for (uint32_t m = 0; m < task->members; m++)
            living += lives(&a, m);
        double fair = model_fair_load(task) * task->members / living;
        if (a.version == 1)
            cut_lots(&a, fair);
        else
            repair(&a, fair);
        match_all(&a, fair);
    }
    size_t kept = 0;
    for (size_t i = 0; i < a.made; i++)
        if (parts[i].quanta)
            parts[kept++] = parts[i];
    return kept;
}

uint32_t model_bid_excess(const double *load, const struct model_task *task, const uint8_t *died,
                          unsigned version, double eps)
{
    double most = 0, token = 0;
    uint32_t living = 0;
    for (uint32_t m = 0; m < task->members; m++)
        living += !died || died[m] == 0 || died[m] > version;
    for (size_t f = 0; f < task->functions; f++)
        if (model_is_divided(task, f))
            token = fmax(token, task->relative[f] / task->quanta);
    most = (1 + eps) * model_fair_load(task) * task->members / living + token;
    for (uint32_t m = 0; m < task->members; m++)
        if (load[m] > most * (1 + 1e-9))
            return m;
    return MODEL_NO_FUNCTION;
}

size_t model_bid_deals(struct model_deal *deals, const struct model_part *parts, size_t count,
                       uint32_t member)
{
    size_t made = 0;
    for (size_t i = 0; i < count; i++) {
        const struct model_part *p = &parts[i];
        if (p->seller != p->buyer && (member == MODEL_EVERYONE || p->seller == member || p->buyer == member))
            deals[made++] = (struct model_deal){p->seller, p->buyer, p->since};
        if (p->guard != MODEL_NO_FUNCTION &&
            (member == MODEL_EVERYONE || p->guard == member || p->seller == member))
            deals[made++] = (struct model_deal){p->guard, p->seller, p->since};
    }
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
            child += child + 1 < end && model_deal_before(&deals[child], &deals[child + 1]);
            if (!model_deal_before(&value, &deals[child]))
                break;
            deals[at] = deals[child];
        }
        deals[at] = value;
    }
    size_t kept = 0;
    for (size_t i = 0; i < made; i++)
        if (i == 0 || model_deal_before(&deals[i - 1], &deals[i]))
            deals[kept++] = deals[i];
    return kept;
}

static size_t assign(struct model_holding *holdings, size_t room, double *load, uint32_t *scratch,
                     const struct model_task *task)
{
    /* A part takes more room than a holding, and is turned into one in place: front to back, the holding that is written
       never reaches the part that is read next. */
    size_t parts_room = room * sizeof *holdings / sizeof(struct model_part);
    struct model_part *parts = (struct model_part *)holdings;
    size_t count = model_bid_parts(parts, parts_room, load, scratch, task, NULL, 1);
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
