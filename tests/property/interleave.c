/* Bidding on a small community in every order of events: each message in flight is delivered, lost or doubled, each
   member's round begins, a member dies, and each living one learns of it, whenever that may be. All states that can be
   reached are visited once. In all of them:

   - before a death every token is held;
   - after a death, and while some know of it and some do not, what a living member held goes on being held;
   - when all living members know of it, every token is held again. */
#include "property.h"

#include <stdlib.h>
#include <string.h>

enum {
    MEMBERS = 3,
    FUNCTIONS_MAX = 4,
    QUANTA = 12,
    DEALS_MAX = 5,
    NET_MAX = 3,
    STATES_MAX = 1 << 20,
    TOKENS_MAX = 8 * QUANTA,
    LIFE = 1
};

/* What is the same in all states of one run. */
struct world {
    struct model_task task;
    double relative[FUNCTIONS_MAX];
    uint64_t tokens[FUNCTIONS_MAX];
    uint8_t died[MEMBERS];
    uint32_t victim;
    struct property_table table[2];
};

/* One state. All are made from one that was zero to the last byte, so that equal states have equal bytes. */
struct state {
    struct model_bid_state deal[MEMBERS][DEALS_MAX];
    uint8_t version[MEMBERS]; /* 0 or 1 */
    uint8_t ticks[MEMBERS];   /* rounds left */
    uint8_t dead, doubles, net_count;
    struct {
        uint8_t from, to, since, kind;
    } net[NET_MAX];
    uint8_t kept[TOKENS_MAX]; /* which tokens a living member held when the other died */
};

static struct state *states;
static uint32_t *slots;
static size_t count;

/* Enters a state. Returns whether it is new. */
static bool enter(const struct state *state)
{
    uint32_t at = (uint32_t)core_hash(CORE_HASH_SEED, state, sizeof *state) & (2 * STATES_MAX - 1);
    for (; slots[at]; at = (at + 1) & (2 * STATES_MAX - 1))
        if (memcmp(&states[slots[at] - 1], state, sizeof *state) == 0)
            return false;
    if (count == STATES_MAX)
        property_fail("more than %u states", STATES_MAX);
    states[count] = *state;
    slots[at] = (uint32_t)++count;
    return true;
}

static struct model_bidder bidder_of(const struct world *w, struct state *s, uint32_t m)
{
    const struct property_table *t = &w->table[s->version[m]];
    struct model_bidder b;
    struct model_bid_state saved[DEALS_MAX];
    memcpy(saved, s->deal[m], sizeof saved);
    model_bidder_start(&b, s->deal[m], m, LIFE, t->deals, t->deal_count);
    memcpy(s->deal[m], saved, sizeof saved);
    return b;
}

static bool lives(const struct world *w, const struct state *s, uint32_t m)
{
    return !s->dead || m != w->victim;
}

/* Tokens that a living member holds, each by the version that it has. */
static void watch(uint8_t held[TOKENS_MAX], const struct world *w, const struct state *s)
{
    struct state copy = *s;
    memset(held, 0, TOKENS_MAX);
    for (uint32_t m = 0; m < MEMBERS; m++) {
        if (!lives(w, s, m))
            continue;
        struct model_bidder b = bidder_of(w, &copy, m);
        const struct property_table *t = &w->table[s->version[m]];
        for (size_t i = 0; i < t->part_count; i++)
            if (model_bidder_holds(&b, &t->parts[i]))
                memset(held + t->token[i], 1, t->parts[i].quanta);
    }
}

static void check(const struct world *w, const struct state *s)
{
    uint8_t held[TOKENS_MAX];
    bool all_know = true;
    watch(held, w, s);
    for (uint32_t m = 0; m < MEMBERS; m++)
        all_know &= !lives(w, s, m) || s->version[m];
    for (size_t token = 0; token < property_tokens(&w->task); token++)
        if (!held[token] && (!s->dead || all_know || s->kept[token]))
            property_fail("nobody holds token %zu, %s", token,
                          !s->dead   ? "all alive"
                          : all_know ? "all know of the death"
                                     : "some know of the death");
}

static void put(struct state *s, const struct model_bid_message *message)
{
    if (s->net_count == NET_MAX)
        return; /* lost, which is allowed to happen anyway */
    s->net[s->net_count].from = (uint8_t)message->from;
    s->net[s->net_count].to = (uint8_t)message->to;
    s->net[s->net_count].since = (uint8_t)message->since;
    s->net[s->net_count++].kind = (uint8_t)message->kind;
}

/* Messages in flight have no order. */
static void tidy(struct state *s)
{
    for (unsigned i = 1; i < s->net_count; i++)
        for (unsigned k = i; k > 0 && memcmp(&s->net[k - 1], &s->net[k], sizeof s->net[k]) > 0; k--) {
            uint8_t swap[sizeof s->net[k]];
            memcpy(swap, &s->net[k], sizeof swap);
            memcpy(&s->net[k], &s->net[k - 1], sizeof swap);
            memcpy(&s->net[k - 1], swap, sizeof swap);
        }
    memset(&s->net[s->net_count], 0, (NET_MAX - s->net_count) * sizeof s->net[0]);
}

static void reach(const struct world *w, struct state *s)
{
    tidy(s);
    if (enter(s))
        check(w, s);
}

/* Takes message i out. */
static struct model_bid_message take(struct state *s, unsigned i)
{
    struct model_bid_message message = {s->net[i].from, s->net[i].to, s->net[i].since,
                                        (enum model_bid_kind)s->net[i].kind, LIFE};
    memcpy(&s->net[i], &s->net[--s->net_count], sizeof s->net[i]);
    return message;
}

/* Everything that may happen next. */
static void expand(const struct world *w, const struct state *before)
{
    struct model_bid_message out[DEALS_MAX], answer;
    for (unsigned i = 0; i < before->net_count; i++) {
        struct state lost = *before;
        struct model_bid_message message = take(&lost, i);
        reach(w, &lost);
        struct state given = *before;
        take(&given, i);
        if (lives(w, &given, message.to)) {
            struct model_bidder b = bidder_of(w, &given, message.to);
            if (model_bidder_receive(&answer, &b, &message))
                put(&given, &answer);
        }
        reach(w, &given);
        if (before->doubles && before->net_count < NET_MAX) {
            struct state doubled = *before;
            doubled.doubles--;
            put(&doubled, &message);
            reach(w, &doubled);
        }
    }
    for (uint32_t m = 0; m < MEMBERS; m++) {
        if (!lives(w, before, m))
            continue;
        if (before->ticks[m]) {
            struct state s = *before;
            s.ticks[m]--;
            struct model_bidder b = bidder_of(w, &s, m);
            size_t sent = model_bidder_tick(out, &b);
            for (size_t i = 0; i < sent; i++)
                put(&s, &out[i]);
            reach(w, &s);
        }
        if (before->dead && before->version[m] == 0) {
            struct state s = *before;
            struct model_bidder b = bidder_of(w, &s, m);
            struct model_bid_state moved[DEALS_MAX] = {0};
            model_bidder_move(&b, moved, w->table[1].deals, w->table[1].deal_count);
            memcpy(s.deal[m], moved, sizeof moved);
            s.version[m] = 1;
            reach(w, &s);
        }
    }
    if (!before->dead) {
        struct state s = *before;
        s.dead = 1;
        /* What the dead one has acknowledged is gone with it, though the word be still under way. */
        struct state settled = s;
        for (unsigned i = settled.net_count; i-- > 0;)
            if (settled.net[i].from == w->victim && settled.net[i].kind == MODEL_BID_ACK) {
                struct model_bid_message last = take(&settled, i);
                struct model_bidder b = bidder_of(w, &settled, last.to);
                model_bidder_receive(&answer, &b, &last);
            }
        watch(s.kept, w, &settled);
        reach(w, &s);
    }
}

/* A program whose tables are small enough, but not trivial. Returns false when the draw was not. */
static bool make(struct world *w, struct core_rng *rng)
{
    memset(w, 0, sizeof *w);
    w->task = (struct model_task){.functions = 2 + core_rng_below(rng, FUNCTIONS_MAX - 1),
                                  .members = MEMBERS,
                                  .quanta = QUANTA,
                                  .relative = w->relative,
                                  .tokens = w->tokens,
                                  .seed = core_rng_next(rng)};
    for (size_t f = 0; f < w->task.functions; f++) {
        w->relative[f] = 1 + (double)core_rng_below(rng, 5);
        w->tokens[f] = QUANTA * (1 + core_rng_below(rng, 8) / 7);
    }
    w->victim = (uint32_t)core_rng_below(rng, MEMBERS);
    w->died[w->victim] = 2;
    for (unsigned v = 0; v < 2; v++)
        property_table_make(&w->table[v], &w->task, w->died, v + 1);
    bool good = property_tokens(&w->task) <= TOKENS_MAX && w->table[0].deal_count >= 1 &&
                w->table[1].deal_count >= 1 && w->table[0].deal_count <= DEALS_MAX &&
                w->table[1].deal_count <= DEALS_MAX;
    if (!good)
        for (unsigned v = 0; v < 2; v++)
            property_table_free(&w->table[v]);
    return good;
}

int main(int argc, char **argv)
{
    int worlds = argc > 1 ? atoi(argv[1]) : 24;
    struct core_rng rng;
    struct world w;
    size_t visited = 0;
    core_rng_seed(&rng, 4);
    states = malloc(STATES_MAX * sizeof *states);
    slots = malloc(2 * STATES_MAX * sizeof *slots);
    if (!states || !slots)
        abort();
    for (int world = 0; world < worlds; world++) {
        while (!make(&w, &rng))
            ;
        struct state start = {.doubles = 1};
        for (uint32_t m = 0; m < MEMBERS; m++)
            start.ticks[m] = 2;
        count = 0;
        memset(slots, 0, 2 * STATES_MAX * sizeof *slots);
        reach(&w, &start);
        for (size_t i = 0; i < count; i++) {
            struct state next = states[i];
            expand(&w, &next);
        }
        visited += count;
        for (unsigned v = 0; v < 2; v++)
            property_table_free(&w.table[v]);
    }
    free(states);
    free(slots);
    return property_end("interleave", "%d communities of %d, %zu states", worlds, MEMBERS, visited);
}
