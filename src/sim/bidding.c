/* Bidding over a bad network: the members' own state machines, with messages that are lost, doubled and out of order,
   members that die in the middle of it, a network that falls apart for a while, and members that want more than their part. */
#include "sim/private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ROUNDS_MAX = 20, VERSIONS = 2 };

/* What goes wrong. */
struct trouble {
    const char *name;
    double loss;    /* part of messages */
    double doubled; /* part of messages that arrive twice */
    double dying;   /* part of members, after the first round; the roster says so in the second */
    double cut;     /* part of members that the others do not reach in the first round */
    double greedy;  /* part of members that bid for everything, at every auctioneer */
    bool extreme;   /* beyond what the limit on messages is meant for */
};

static const struct trouble troubles[] = {
    {"none", 0, 0, 0, 0, 0, false},
    {"5% lost", 0.05, 0.02, 0, 0, 0, false},
    {"1% die", 0, 0, 0.01, 0, 0, false},
    {"5% lost, 1% die", 0.05, 0.02, 0.01, 0, 0, false},
    {"30% cut off in round 1", 0.05, 0, 0, 0.3, 0, true},
    {"10% bid for all", 0.05, 0, 0.01, 0, 0.1, false},
};
enum { TROUBLES = sizeof troubles / sizeof *troubles };

/* The table of one version of the roster, and each member's deals. */
struct table {
    struct model_part *parts;
    struct model_deal *deals; /* those of member m: first[m] .. first[m + 1] - 1 */
    size_t part_count, *first;
    double *load;
    struct model_bid_state *state; /* as deals */
};

/* One community in conversation. */
struct talk {
    struct model_task task;
    const struct trouble *trouble;
    uint8_t *died;
    struct table table[VERSIONS];
    uint8_t *version; /* that each member has, from 0 */
    struct model_bidder *bidders;
    struct model_bid_message *queue;
    size_t queued, room;
    bool is_cut;
    struct core_rng rng;
};

static bool lives(const struct talk *t, uint32_t member)
{
    return !t->died[member];
}

static bool is_greedy(const struct talk *t, uint32_t member)
{
    return member < (uint32_t)ceil(t->trouble->greedy * t->task.members);
}

static void compute(struct talk *t, unsigned version)
{
    struct table *table = &t->table[version];
    uint32_t members = t->task.members;
    uint32_t *scratch = sim_allocate(model_scratch_room(&t->task), sizeof *scratch);
    table->load = sim_allocate(members, sizeof *table->load);
    size_t room = model_bid_parts(NULL, 0, table->load, scratch, &t->task, t->died, version + 1);
    table->parts = sim_allocate(room, sizeof *table->parts);
    table->part_count =
        model_bid_parts(table->parts, room, table->load, scratch, &t->task, t->died, version + 1);
    struct model_deal *all = sim_allocate(2 * table->part_count, sizeof *all);
    size_t count = model_bid_deals(all, table->parts, table->part_count, MODEL_EVERYONE);
    /* Each deal stands with both; filled from behind, in the order that all of them have. */
    table->first = sim_allocate(members + 1, sizeof *table->first);
    table->deals = sim_allocate(2 * count, sizeof *table->deals);
    table->state = sim_allocate(2 * count, sizeof *table->state);
    for (size_t i = 0; i < count; i++) {
        table->first[all[i].seller]++;
        table->first[all[i].buyer]++;
    }
    for (uint32_t m = 0; m < members; m++)
        table->first[m + 1] += table->first[m];
    for (size_t i = count; i-- > 0;) {
        table->deals[--table->first[all[i].seller]] = all[i];
        table->deals[--table->first[all[i].buyer]] = all[i];
    }
    free(all);
    free(scratch);
}

static void free_table(struct table *table)
{
    free(table->parts);
    free(table->deals);
    free(table->first);
    free(table->load);
    free(table->state);
}

/* The roster's version reaches a member. */
static void give(struct talk *t, uint32_t member, unsigned version)
{
    struct table *table = &t->table[version];
    size_t first = table->first[member], count = table->first[member + 1] - first;
    if (version == 0)
        model_bidder_start(&t->bidders[member], table->state + first, member, 1, table->deals + first, count);
    else
        model_bidder_move(&t->bidders[member], table->state + first, table->deals + first, count);
    t->version[member] = (uint8_t)version;
}

static bool reaches(const struct talk *t, uint32_t from, uint32_t to)
{
    uint32_t edge = (uint32_t)(t->trouble->cut * t->task.members);
    return !t->is_cut || (from < edge) == (to < edge);
}

static void push(struct talk *t, const struct model_bid_message *message)
{
    int copies = core_rng_unit(&t->rng) < t->trouble->loss      ? 0
                 : core_rng_unit(&t->rng) < t->trouble->doubled ? 2
                                                                : 1;
    if (!reaches(t, message->from, message->to))
        copies = 0;
    for (; copies > 0; copies--) {
        if (t->queued == t->room) {
            t->room = 2 * t->room + 256;
            t->queue = reallocarray(t->queue, t->room, sizeof *t->queue);
            if (!t->queue)
                abort();
        }
        t->queue[t->queued++] = *message;
    }
}

/* What greedy members send besides: a bid to every auctioneer. It is not theirs to count against the limit. */
static void grab(struct talk *t, uint32_t member)
{
    for (uint32_t m = 0; m < t->task.members; m++)
        if (m != member)
            push(t, &(struct model_bid_message){member, m, 1, MODEL_BID_BID, 1});
}

/* One tick: everybody's timer, then all that is under way in random order. */
static void tick(struct talk *t)
{
    struct model_bid_message *out = sim_allocate(t->task.members * 4 + 4096, sizeof *out), answer;
    size_t room = t->task.members * 4 + 4096;
    for (uint32_t m = 0; m < t->task.members; m++) {
        if (!lives(t, m))
            continue;
        if (t->bidders[m].deal_count > room) {
            room = t->bidders[m].deal_count;
            out = reallocarray(out, room, sizeof *out);
            if (!out)
                abort();
        }
        size_t count = model_bidder_tick(out, &t->bidders[m]);
        for (size_t i = 0; i < count; i++)
            push(t, &out[i]);
        if (is_greedy(t, m))
            grab(t, m);
    }
    while (t->queued) {
        size_t i = core_rng_below(&t->rng, t->queued);
        struct model_bid_message message = t->queue[i];
        t->queue[i] = t->queue[--t->queued];
        if (lives(t, message.to) && model_bidder_receive(&answer, &t->bidders[message.to], &message))
            push(t, &answer);
    }
    free(out);
}

static bool all_done(const struct talk *t, unsigned version)
{
    for (uint32_t m = 0; m < t->task.members; m++)
        if (lives(t, m) && (t->version[m] != version || !model_bidder_is_done(&t->bidders[m])))
            return false;
    return true;
}

/* What members really watch now, each by the version that it has. Returns the part of the demanded tokens that is met.
   Out: load[members]. */
static double watched(const struct talk *t, double *load)
{
    uint32_t quanta = t->task.quanta;
    size_t functions = t->task.functions;
    int32_t *edge = sim_allocate(functions * (quanta + 1), sizeof *edge);
    for (uint32_t m = 0; m < t->task.members; m++)
        load[m] = 0;
    for (unsigned v = 0; v < VERSIONS; v++)
        for (size_t i = 0; i < t->table[v].part_count; i++) {
            const struct model_part *p = &t->table[v].parts[i];
            const uint32_t holders[] = {p->seller, p->buyer, p->guard};
            for (int h = 0; h < 3; h++) {
                uint32_t m = holders[h];
                if (m == MODEL_NO_FUNCTION || (h == 1 && m == p->seller) || (h == 2 && m == p->buyer))
                    continue;
                if (!lives(t, m) || t->version[m] != v || !model_bidder_holds(&t->bidders[m], p))
                    continue;
                load[m] += t->task.relative[p->function] * p->quanta / quanta;
                int32_t *ring = edge + (size_t)p->function * (quanta + 1);
                uint32_t end = p->first + p->quanta;
                ring[p->first]++;
                ring[end > quanta ? quanta : end]--;
                if (end > quanta) {
                    ring[0]++;
                    ring[end - quanta]--;
                }
            }
        }
    double met = 0, all = 0;
    for (size_t f = 0; f < functions; f++) {
        uint64_t tokens = t->task.tokens[f];
        if (tokens == 0 || tokens >= (uint64_t)t->task.members * quanta)
            continue;
        int64_t watchers = 0;
        for (uint32_t q = 0; q < quanta; q++) {
            int64_t wanted = (int64_t)(tokens / quanta + (q < tokens % quanta));
            watchers += edge[f * (quanta + 1) + q];
            met += (double)(watchers < wanted ? watchers : wanted);
            all += (double)wanted;
        }
    }
    free(edge);
    return all > 0 ? met / all : 1;
}

/* Largest distance of a live member's load from their mean. */
static double unfairness(const struct talk *t, const double *load)
{
    double *living = sim_allocate(t->task.members, sizeof *living);
    size_t count = 0;
    for (uint32_t m = 0; m < t->task.members; m++)
        if (lives(t, m))
            living[count++] = load[m];
    double worst = model_unfairness(living, count);
    free(living);
    return worst;
}

enum { ROUNDS, MESSAGES, MOST, FAIRNESS, MET, LEAST, GREEDY, MEASURES };

/* One epoch's beginning, until all deals are done. */
static void converse(double *measured, struct talk *t)
{
    uint32_t members = t->task.members, dead = (uint32_t)ceil(t->trouble->dying * members);
    double *load = sim_allocate(members, sizeof *load), least = 1, met = 0;
    unsigned round = 0, version = 0;
    compute(t, 0);
    for (uint32_t m = 0; m < members; m++)
        give(t, m, 0);
    for (bool done = false; !done && round < ROUNDS_MAX; round++) {
        t->is_cut = t->trouble->cut > 0 && round == 0;
        if (round == 1 && dead) {
            while (dead) {
                uint32_t m = (uint32_t)core_rng_below(&t->rng, members);
                dead -= lives(t, m);
                t->died[m] = 2;
            }
            compute(t, version = 1);
        }
        for (int step = 0; step < MODEL_BID_TICKS && !done; step++) {
            /* The new version comes to a third of those who lack it at each tick, to the rest at the third. */
            for (uint32_t m = 0; m < members && version; m++)
                if (lives(t, m) && t->version[m] != version && (step >= 2 || core_rng_below(&t->rng, 3) == 0))
                    give(t, m, version);
            tick(t);
            done = all_done(t, version) && (round > 0 || t->trouble->dying == 0);
        }
        met = watched(t, load);
        least = fmin(least, met);
    }
    double sent = 0, most = 0, greedy = 0, fair = 0;
    uint32_t living = 0;
    for (uint32_t m = 0; m < members; m++)
        living += lives(t, m);
    fair = model_total(load, members) / living;
    for (uint32_t m = 0; m < members; m++) {
        sent += t->bidders[m].sent;
        if (is_greedy(t, m))
            greedy = fmax(greedy, load[m] / fair);
        else
            most = fmax(most, t->bidders[m].sent);
    }
    measured[ROUNDS] = round;
    measured[MESSAGES] = sent / members;
    measured[MOST] = most;
    measured[FAIRNESS] = 100 * unfairness(t, load);
    measured[MET] = 100 * met;
    measured[LEAST] = 100 * least;
    measured[GREEDY] = t->trouble->greedy > 0 ? 100 * greedy : NAN;
    free(load);
}

/* A program and a community of its own, by seed and replicate. */
static void replicate(double *measured, const struct trouble *trouble, uint32_t members, size_t functions,
                      double alpha, uint64_t seed, uint64_t number)
{
    struct sim_program p = {0};
    struct talk t = {.trouble = trouble, .rng = sim_stream(seed, number, 9)};
    uint64_t *tokens = sim_allocate(functions, sizeof *tokens);
    double heaviest = 0;
    sim_program_make(&p, &t.rng, functions, SIM_NORM, 50000);
    sim_program_risk_share(&p, &t.rng, alpha, SIM_RISK_PART);
    for (size_t f = 0; f < functions; f++)
        heaviest = fmax(heaviest, p.cost[f]);
    t.task = (struct model_task){.functions = functions,
                                 .members = members,
                                 .relative = p.cost,
                                 .tokens = tokens,
                                 .seed = core_rng_next(&t.rng)};
    t.task.quanta =
        model_quanta(heaviest, model_work(NULL, NULL, p.cost, p.risk, functions, 1) / members, 0.002);
    for (size_t f = 0; f < functions; f++)
        tokens[f] = model_tokens(p.risk[f], members, t.task.quanta);
    t.died = sim_allocate(members, sizeof *t.died);
    t.version = sim_allocate(members, sizeof *t.version);
    t.bidders = sim_allocate(members, sizeof *t.bidders);
    converse(measured, &t);
    for (int v = 0; v < VERSIONS; v++)
        free_table(&t.table[v]);
    free(t.died);
    free(t.version);
    free(t.bidders);
    free(t.queue);
    free(tokens);
    sim_program_free(&p);
}

int sim_bidding(struct base_error *error, struct sim_result *result, const struct sim_options *options)
{
    static const struct sim_column columns[] = {
        {"members", "members", SIM_NUMBER, 0},
        {"trouble", "trouble", SIM_TEXT, 0},
        {"rounds", "rounds", SIM_INTERVAL, -3},
        {"messages_mean", "messages a member", SIM_INTERVAL, -3},
        {"messages_most", "most by one", SIM_INTERVAL, -3},
        {"fairness_percent", "fairness %", SIM_INTERVAL, -3},
        {"demand_met_percent", "demand met %", SIM_INTERVAL, -6},
        {"least_met_percent", "least under way %", SIM_INTERVAL, -6},
        {"greedy_load_percent", "greediest % of W/N", SIM_INTERVAL, -5},
    };
    enum { COLUMNS = sizeof columns / sizeof *columns };
    size_t n = options->functions ? options->functions : 200;
    uint32_t most = options->members ? (uint32_t)options->members : 1000;
    double alpha = options->alpha > 0 ? options->alpha : 2, worst[MEASURES] = {0}, least = 100, busiest = 0;
    (void)error;
    sim_result_start(result, "bidding", "Sharing the work by auction", columns, COLUMNS);
    sim_result_plot(result, (struct sim_plot){.name = "messages",
                                              .title = "Messages sent by the busiest member in an epoch",
                                              .x = 0,
                                              .y = 4,
                                              .group = {1, -1},
                                              .x_log = true,
                                              .limit = 32,
                                              .limit_name = "at most 32"});
    sim_result_plot(result, (struct sim_plot){.name = "fairness",
                                              .title = "Farthest load from the mean when all deals are done",
                                              .x = 0,
                                              .y = 5,
                                              .group = {1, -1},
                                              .x_log = true,
                                              .limit = 1,
                                              .limit_name = "eps = 1%"});
    snprintf(
        result->setting, sizeof result->setting,
        "%zu functions, norm distribution, %.4g percent of the work at risk with alpha = %g; a round has %d ticks, at each of "
        "which what is not answered is repeated; members die after the first round, the roster says so in the second; where "
        "messages are lost, 2 percent come twice, and all come in any order",
        n, 100 * SIM_RISK_PART, alpha, MODEL_BID_TICKS);
    double *samples[MEASURES];
    for (int k = 0; k < MEASURES; k++)
        samples[k] = sim_allocate(options->replicates, sizeof *samples[k]);
    uint64_t steps = 0, total = 0;
    for (uint32_t members = most; members >= 10; members /= 10)
        total += TROUBLES * options->replicates;
    for (uint32_t members = most; members >= 10; members /= 10)
        for (int trouble = 0; trouble < TROUBLES; trouble++) {
            for (uint64_t i = 0; i < options->replicates; i++) {
                double measured[MEASURES];
                replicate(measured, &troubles[trouble], members, n, alpha, options->seed, i);
                for (int k = 0; k < MEASURES; k++) {
                    samples[k][i] = measured[k];
                    worst[k] = fmax(worst[k], measured[k]);
                }
                least = fmin(least, measured[MET]);
                if (!troubles[trouble].extreme)
                    busiest = fmax(busiest, measured[MOST]);
                sim_step(options, ++steps, total);
            }
            struct sim_cell *row = sim_result_row(result);
            row[0] = sim_number(members);
            row[1] = sim_text(troubles[trouble].name);
            for (int k = 0; k < MEASURES; k++)
                row[2 + k] = sim_mean(samples[k], options->replicates);
        }
    sim_result_claim(result, worst[FAIRNESS] <= 1 && worst[ROUNDS] <= 3,
                     "loads within eps = 1% of W/N (AC appendix A) in at most 3 rounds",
                     "at worst %.2f%%, %g rounds, whatever goes wrong", worst[FAIRNESS], worst[ROUNDS]);
    sim_result_claim(
        result, busiest <= 32,
        "at most 32 messages sent by a member in an epoch, 5% of messages lost and 1% of members dying",
        "at worst %g (when the network falls apart for a round: %g)", busiest, worst[MOST]);
    sim_result_claim(result, least == 100, "all demand met with 5% of messages lost and 1% of members dying",
                     "at worst %.4f%%", least);
    sim_result_claim(
        result, worst[GREEDY] <= 101,
        "nobody accumulates more tokens than eps allows (AC appendix A), not even who bids for everything",
        "at most %.2f%% of W/N", worst[GREEDY]);
    for (int k = 0; k < MEASURES; k++)
        free(samples[k]);
    return 0;
}
