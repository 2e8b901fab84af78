/* Bidding among many: random communities, a network that loses, doubles and delays messages, members that die in several
   versions of the roster, learn of them late, and are started anew with nothing in their memory. In all of them:

   - a token that somebody holds goes on being held, except through the death or the new start of who holds it;
   - once the network is good again all deals are done within a few rounds, and every token has exactly one holder;
   - no living member then bears more than (1 + eps) W/N and one token. */
#include "property.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { FUNCTIONS_MAX = 60, MEMBERS_MAX = 120, VERSIONS_MAX = 5, DELAY_MAX = 4 };

struct flight {
    struct model_bid_message message;
    unsigned tick; /* at which it arrives */
};

struct world {
    struct model_task task;
    double relative[FUNCTIONS_MAX];
    uint64_t tokens[FUNCTIONS_MAX];
    uint8_t died[MEMBERS_MAX];
    unsigned versions; /* computed so far */
    struct property_table table[VERSIONS_MAX];
    unsigned version[MEMBERS_MAX]; /* that each member has, from 0 */
    struct model_bidder bidder[MEMBERS_MAX];
    struct model_bid_state *state[MEMBERS_MAX];
    uint32_t lives;
    struct flight *net;
    size_t net_count, net_room;
    uint8_t *held, *kept; /* by token */
    double loss;
    unsigned now;
    struct core_rng rng;
};

static bool lives(const struct world *w, uint32_t m)
{
    return w->died[m] == 0;
}

static void send(struct world *w, const struct model_bid_message *message)
{
    int copies = core_rng_unit(&w->rng) < w->loss ? 0 : core_rng_below(&w->rng, 12) == 0 ? 2 : 1;
    for (; copies > 0; copies--) {
        if (w->net_count == w->net_room) {
            w->net_room = 2 * w->net_room + 256;
            w->net = realloc(w->net, w->net_room * sizeof *w->net);
            if (!w->net)
                abort();
        }
        w->net[w->net_count++] = (struct flight){
            *message, w->now + (w->loss > 0 ? (unsigned)core_rng_below(&w->rng, DELAY_MAX) : 0)};
    }
}

static void arrive(struct world *w)
{
    struct model_bid_message answer;
    for (size_t due = 1; due;) {
        due = 0;
        for (size_t i = 0; i < w->net_count; i++)
            due += w->net[i].tick <= w->now;
        if (!due)
            return;
        /* Any of those that are due. */
        size_t pick = core_rng_below(&w->rng, due), i = 0;
        for (;; i++)
            if (w->net[i].tick <= w->now && pick-- == 0)
                break;
        struct model_bid_message message = w->net[i].message;
        w->net[i] = w->net[--w->net_count];
        if (lives(w, message.to) && model_bidder_receive(&answer, &w->bidder[message.to], &message))
            send(w, &answer);
    }
}

/* What a member acknowledged is gone when it dies or is started anew, though the word be still under way. */
static void settle(struct world *w, uint32_t m)
{
    for (bool found = true; found;) {
        found = false;
        for (size_t i = 0; i < w->net_count; i++)
            if (w->net[i].message.from == m) {
                w->net[i].tick = w->now;
                found = true;
            }
        arrive(w);
    }
}

static void give(struct world *w, uint32_t m, unsigned version)
{
    const struct property_table *t = &w->table[version];
    struct model_bid_state *state = calloc(t->deal_count + 1, sizeof *state);
    if (!state)
        abort();
    if (w->state[m])
        model_bidder_move(&w->bidder[m], state, t->deals, t->deal_count);
    else
        model_bidder_start(&w->bidder[m], state, m, ++w->lives, t->deals, t->deal_count);
    free(w->state[m]);
    w->state[m] = state;
    w->version[m] = version;
}

/* How many living members hold each token, each by its own version; guards, which only bridge a gap, when wanted. */
static void watch(struct world *w, bool guards)
{
    memset(w->held, 0, property_tokens(&w->task));
    for (unsigned v = 0; v < w->versions; v++)
        for (size_t i = 0; i < w->table[v].part_count; i++) {
            const struct model_part *p = &w->table[v].parts[i];
            const uint32_t who[] = {p->seller, p->buyer, p->guard};
            for (int k = 0; k < 2 + guards; k++) {
                if (who[k] == MODEL_NO_FUNCTION || (k == 1 && who[1] == who[0]) ||
                    (k == 2 && who[2] == who[1]))
                    continue;
                if (lives(w, who[k]) && w->version[who[k]] == v && model_bidder_holds(&w->bidder[who[k]], p))
                    for (uint32_t q = 0; q < p->quanta; q++)
                        w->held[w->table[v].token[i] + q]++;
            }
        }
}

/* What is held now must stay so. A guard's holding tells nothing: who it guards for may have been started anew. */
static void keep(struct world *w)
{
    watch(w, false);
    memcpy(w->kept, w->held, property_tokens(&w->task));
}

static void check_kept(struct world *w, int round)
{
    watch(w, true);
    for (size_t token = 0; token < property_tokens(&w->task); token++)
        if (w->kept[token] && !w->held[token])
            property_fail("community %d, tick %u: nobody holds token %zu any more", round, w->now, token);
}

static void check_end(struct world *w, int round)
{
    uint32_t living = 0;
    double fair = model_fair_load(&w->task) * w->task.members, most = 0, token = 0;
    size_t at = 0;
    watch(w, true);
    for (size_t f = 0; f < w->task.functions; f++) {
        bool divided = w->tokens[f] && w->tokens[f] < (uint64_t)w->task.members * w->task.quanta;
        for (uint64_t i = 0; divided && i < w->tokens[f]; i++)
            if (w->held[at + i] != 1)
                property_fail("community %d: token %llu of function %zu ends with %d members", round,
                              (unsigned long long)i, f, w->held[at + i]);
        at += (w->tokens[f] + w->task.quanta - 1) / w->task.quanta * w->task.quanta;
    }
    for (uint32_t m = 0; m < w->task.members; m++)
        living += lives(w, m);
    for (uint32_t m = 0; m < w->task.members; m++)
        if (lives(w, m))
            most = fmax(most, w->table[w->versions - 1].load[m]);
    for (size_t f = 0; f < w->task.functions; f++)
        token = fmax(token, w->relative[f] / w->task.quanta);
    if (most > 1.01 * fair / living + 2 * token)
        property_fail("community %d: a load of %.4f W/N", round, most / fair * living);
}

/* One community's life. */
static void live(struct world *w, int round)
{
    for (uint32_t m = 0; m < w->task.members; m++)
        give(w, m, 0);
    keep(w);
    unsigned next = 4, bad = 30;
    for (w->now = 0; w->now < bad + 60; w->now++) {
        if (w->now == bad)
            w->loss = 0;
        /* A few die, and the table of the next version is made. */
        if (w->now == next && w->versions < VERSIONS_MAX && w->now < bad) {
            next += 2 + (unsigned)core_rng_below(&w->rng, 8);
            uint32_t dying = 1 + (uint32_t)core_rng_below(&w->rng, 1 + w->task.members / 20);
            for (uint32_t i = 0; i < dying; i++) {
                uint32_t m = (uint32_t)core_rng_below(&w->rng, w->task.members);
                if (lives(w, m))
                    w->died[m] = (uint8_t)(w->versions + 1);
            }
            for (uint32_t m = 0; m < w->task.members; m++)
                if (!lives(w, m))
                    settle(w, m);
            property_table_make(&w->table[w->versions], &w->task, w->died, w->versions + 1);
            w->versions++;
            keep(w);
        }
        if (w->now < bad && core_rng_below(&w->rng, 6) == 0) {
            uint32_t m = (uint32_t)core_rng_below(&w->rng, w->task.members);
            if (lives(w, m)) { /* started anew */
                settle(w, m);
                free(w->state[m]);
                w->state[m] = NULL;
                give(w, m, w->version[m]);
                keep(w);
            }
        }
        for (uint32_t m = 0; m < w->task.members; m++) {
            if (!lives(w, m))
                continue;
            if (w->version[m] + 1 < w->versions && (w->now >= bad || core_rng_below(&w->rng, 4) == 0))
                give(w, m, w->version[m] + 1);
            struct model_bid_message *out = calloc(w->bidder[m].deal_count + 1, sizeof *out);
            size_t count = model_bidder_tick(out, &w->bidder[m]);
            for (size_t i = 0; i < count; i++)
                send(w, &out[i]);
            free(out);
        }
        arrive(w);
        check_kept(w, round);
    }
    for (uint32_t m = 0; m < w->task.members; m++)
        if (lives(w, m) && !model_bidder_is_done(&w->bidder[m]))
            property_fail("community %d: member %u is not done in the end", round, m);
    check_end(w, round);
}

int main(int argc, char **argv)
{
    int rounds = argc > 1 ? atoi(argv[1]) : 40;
    struct core_rng rng;
    core_rng_seed(&rng, 12);
    for (int round = 0; round < rounds; round++) {
        static struct world w;
        memset(&w, 0, sizeof w);
        core_rng_seed(&w.rng, core_rng_next(&rng));
        w.task = (struct model_task){.functions = 20 + core_rng_below(&w.rng, FUNCTIONS_MAX - 20),
                                     .members = 30 + (uint32_t)core_rng_below(&w.rng, MEMBERS_MAX - 30),
                                     .seed = core_rng_next(&w.rng)};
        do
            property_program(&w.task, w.relative, w.tokens, &w.rng, 1.5, 3, 0.01);
        while (w.task.quanta > 12000);
        w.loss = 0.3 * core_rng_unit(&w.rng);
        w.held = calloc(property_tokens(&w.task), 1);
        w.kept = calloc(property_tokens(&w.task), 1);
        if (!w.held || !w.kept)
            abort();
        property_table_make(&w.table[0], &w.task, w.died, 1);
        w.versions = 1;
        live(&w, round);
        for (unsigned v = 0; v < w.versions; v++)
            property_table_free(&w.table[v]);
        for (uint32_t m = 0; m < w.task.members; m++)
            free(w.state[m]);
        free(w.net);
        free(w.held);
        free(w.kept);
    }
    return property_end("network", "%d communities of 30 to %d members, up to %d versions of the roster",
                        rounds, MEMBERS_MAX, VERSIONS_MAX);
}
