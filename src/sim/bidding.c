/* Bidding over a bad network: the members' own state machines, with messages that are lost, doubled and out of order, and
   members that die in the middle of it. */
#include "sim/private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ROUNDS_MAX = 20 };

/* One community in conversation. */
struct talk {
    struct model_task task;
    bool *alive;
    struct model_part *parts;
    struct model_deal *deals;
    size_t part_count, deal_count;
    double *load;
    struct model_bidder *bidders;
    uint8_t *state;
    struct model_bid_message *queue;
    size_t queued, room;
    double loss;
    struct core_rng rng;
};

static void compute(struct talk *t, uint32_t version)
{
    uint32_t *scratch = sim_allocate(model_scratch_room(&t->task), sizeof *scratch);
    free(t->parts);
    free(t->deals);
    free(t->state);
    size_t room = model_bid_parts(NULL, 0, t->load, scratch, &t->task, t->alive);
    t->parts = sim_allocate(room, sizeof *t->parts);
    t->part_count = model_bid_parts(t->parts, room, t->load, scratch, &t->task, t->alive);
    t->deals = sim_allocate(t->part_count, sizeof *t->deals);
    t->deal_count = model_bid_deals(t->deals, t->parts, t->part_count);
    t->state = sim_allocate((size_t)t->task.members * t->deal_count, 1);
    for (uint32_t m = 0; m < t->task.members; m++)
        model_bidder_start(&t->bidders[m], t->state + m * t->deal_count, m, version, t->deals, t->deal_count);
    free(scratch);
}

static void push(struct talk *t, const struct model_bid_message *message)
{
    if (core_rng_unit(&t->rng) < t->loss)
        return;
    if (t->queued == t->room) {
        t->room = 2 * t->room + 256;
        t->queue = reallocarray(t->queue, t->room, sizeof *t->queue);
        if (!t->queue)
            abort();
    }
    t->queue[t->queued++] = *message;
}

/* One round: everybody's timer, then all that is under way in random order. Returns whether all deals are done. */
static bool round_of(struct talk *t)
{
    struct model_bid_message *out = sim_allocate(t->deal_count, sizeof *out), answer;
    bool done = true;
    for (uint32_t m = 0; m < t->task.members; m++) {
        size_t count = t->alive[m] ? model_bidder_tick(out, &t->bidders[m]) : 0;
        for (size_t i = 0; i < count; i++)
            push(t, &out[i]);
    }
    while (t->queued) {
        size_t i = core_rng_below(&t->rng, t->queued);
        struct model_bid_message message = t->queue[i];
        t->queue[i] = t->queue[--t->queued];
        if (t->alive[message.to] && model_bidder_receive(&answer, &t->bidders[message.to], &message))
            push(t, &answer);
    }
    for (uint32_t m = 0; m < t->task.members && done; m++)
        done = !t->alive[m] || model_bidder_is_done(&t->bidders[m]);
    free(out);
    return done;
}

/* Part of the demanded tokens that a live member watches. */
static double demand_met(const struct talk *t)
{
    double met = 0, all = 0;
    for (size_t i = 0; i < t->part_count; i++) {
        const struct model_part *p = &t->parts[i];
        bool held = (t->alive[p->seller] && model_bidder_holds(&t->bidders[p->seller], p)) ||
                    (t->alive[p->buyer] && model_bidder_holds(&t->bidders[p->buyer], p));
        met += held ? p->quanta : 0;
        all += p->quanta;
    }
    return all > 0 ? met / all : 1;
}

/* Largest distance of a live member's load from their mean. */
static double unfairness(const struct talk *t)
{
    double *load = sim_allocate(t->task.members, sizeof *load);
    size_t count = 0;
    for (uint32_t m = 0; m < t->task.members; m++) {
        if (!t->alive[m])
            continue;
        load[count++] = t->load[m];
    }
    double worst = model_unfairness(load, count);
    free(load);
    return worst;
}

int sim_bidding(struct base_error *error, struct sim_result *result, const struct sim_options *options)
{
    static const struct sim_column columns[] = {
        {"members", "members", SIM_NUMBER, 0},
        {"loss_percent", "lost %", SIM_NUMBER, -3},
        {"dying_percent", "dying %", SIM_NUMBER, -3},
        {"rounds", "rounds", SIM_INTERVAL, -3},
        {"messages_mean", "messages a member", SIM_INTERVAL, -3},
        {"messages_most", "most by one", SIM_INTERVAL, -3},
        {"fairness_percent", "fairness %", SIM_INTERVAL, -3},
        {"demand_met_percent", "demand met %", SIM_INTERVAL, -6},
        {"least_met_percent", "least during a round %", SIM_INTERVAL, -6},
    };
    enum { COLUMNS = sizeof columns / sizeof *columns, MEASURES = 6, NETWORKS = 4 };
    static const double losses[NETWORKS] = {0, 0.05, 0, 0.05}, deaths[NETWORKS] = {0, 0, 0.01, 0.01};
    size_t n = options->functions ? options->functions : 200;
    uint32_t most = options->members ? (uint32_t)options->members : 1000;
    double alpha = options->alpha > 0 ? options->alpha : 2, worst[MEASURES] = {0}, least = 1,
           quiet_rounds = 0;
    (void)error;
    sim_result_start(result, "bidding", "Sharing the work by auction", columns, COLUMNS);
    result->plot = (struct sim_curve_choice){.x = 0, .y = 5, .group = {-1, -1}, .x_log = true};
    snprintf(
        result->setting, sizeof result->setting,
        "%zu functions, norm distribution, %.4g percent of the work at risk with alpha = %g; members die after the first "
        "round, and the roster says so before the second",
        n, 58.93, alpha);
    double *samples[MEASURES];
    for (int k = 0; k < MEASURES; k++)
        samples[k] = sim_allocate(options->replicates, sizeof *samples[k]);
    uint64_t steps = 0, total = 0;
    for (uint32_t members = most; members >= 10; members /= 10)
        total += NETWORKS * options->replicates;
    for (uint32_t members = most; members >= 10; members /= 10)
        for (int network = 0; network < NETWORKS; network++) {
            for (uint64_t i = 0; i < options->replicates; i++) {
                struct sim_program p = {0};
                struct talk t = {.loss = losses[network], .rng = sim_stream(options->seed, i, 9)};
                uint64_t *tokens = sim_allocate(n, sizeof *tokens);
                double heaviest = 0;
                sim_program_make(&p, &t.rng, n, SIM_NORM, 50000);
                sim_program_risk_share(&p, &t.rng, alpha, 0.5893);
                for (size_t f = 0; f < n; f++)
                    heaviest = fmax(heaviest, p.cost[f]);
                t.task = (struct model_task){.functions = n,
                                             .members = members,
                                             .relative = p.cost,
                                             .tokens = tokens,
                                             .seed = core_rng_next(&t.rng)};
                t.task.quanta =
                    model_quanta(heaviest, model_work(NULL, NULL, p.cost, p.risk, n, 1) / members, 0.002);
                for (size_t f = 0; f < n; f++)
                    tokens[f] = model_tokens(p.risk[f], members, t.task.quanta);
                t.alive = sim_allocate(members, sizeof *t.alive);
                t.load = sim_allocate(members, sizeof *t.load);
                t.bidders = sim_allocate(members, sizeof *t.bidders);
                for (uint32_t m = 0; m < members; m++)
                    t.alive[m] = true;
                compute(&t, 1);
                double met = demand_met(&t);
                unsigned rounds = 1, dead = (unsigned)ceil(deaths[network] * members);
                bool done = round_of(&t);
                met = fmin(met, demand_met(&t));
                if (dead) {
                    for (unsigned d = 0; d < dead; d++)
                        t.alive[core_rng_below(&t.rng, members)] = false;
                    compute(&t, 2);
                    done = false;
                }
                while (!done && rounds < ROUNDS_MAX) {
                    done = round_of(&t);
                    met = fmin(met, demand_met(&t));
                    rounds++;
                }
                double sent = 0, sent_most = 0;
                for (uint32_t m = 0; m < members; m++) {
                    sent += t.bidders[m].sent;
                    sent_most = fmax(sent_most, t.bidders[m].sent);
                }
                const double measured[MEASURES] = {
                    rounds, sent / members, sent_most, 100 * unfairness(&t), 100 * demand_met(&t), 100 * met};
                for (int k = 0; k < MEASURES; k++) {
                    samples[k][i] = measured[k];
                    worst[k] = fmax(worst[k], measured[k]);
                }
                least = fmin(least, measured[4] / 100);
                if (network == 0)
                    quiet_rounds = fmax(quiet_rounds, rounds);
                free(t.alive);
                free(t.load);
                free(t.bidders);
                free(t.parts);
                free(t.deals);
                free(t.state);
                free(t.queue);
                free(tokens);
                sim_program_free(&p);
                sim_step(options, ++steps, total);
            }
            struct sim_cell *row = sim_result_row(result);
            row[0] = sim_number(members);
            row[1] = sim_number(100 * losses[network]);
            row[2] = sim_number(100 * deaths[network]);
            for (int k = 0; k < MEASURES; k++)
                row[3 + k] = sim_mean(samples[k], options->replicates);
        }
    sim_result_claim(
        result, worst[3] <= 1 && quiet_rounds <= 3,
        "fairness of 1 percent in at most 3 rounds: at worst %.2f percent, %g rounds without loss", worst[3],
        quiet_rounds);
    sim_result_claim(result, worst[2] <= 32, "at most 32 messages sent by a member in an epoch: at worst %g",
                     worst[2]);
    sim_result_claim(
        result, least == 1,
        "all demand met with 5 percent of messages lost and 1 percent of members dying: at worst %.4f percent",
        100 * least);
    for (int k = 0; k < MEASURES; k++)
        free(samples[k]);
    return 0;
}
