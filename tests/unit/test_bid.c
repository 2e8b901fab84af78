/* Bidding: the table is fair and complete, and the conversation keeps every quantum watched, whatever happens to its
   messages. */
#include "model/model.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { FUNCTIONS_MAX = 200, MEMBERS_MAX = 300 };

struct world {
    struct model_task task;
    double relative[FUNCTIONS_MAX];
    uint64_t tokens[FUNCTIONS_MAX];
    uint8_t died[MEMBERS_MAX]; /* version, 0: lives */
    unsigned version;
    struct model_part *parts;
    struct model_deal *deals;
    size_t count, deal_count;
    double load[MEMBERS_MAX];
};

static void make_world(struct world *w, struct core_rng *rng, size_t functions, uint32_t members,
                       uint32_t quanta, double spread)
{
    memset(w, 0, sizeof *w);
    w->task = (struct model_task){.functions = functions,
                                  .members = members,
                                  .quanta = quanta,
                                  .relative = w->relative,
                                  .tokens = w->tokens,
                                  .seed = core_rng_next(rng)};
    for (size_t f = 0; f < functions; f++) {
        w->relative[f] = pow(10, spread * core_rng_unit(rng));
        w->tokens[f] = model_tokens(1 + (double)core_rng_below(rng, 3), members, quanta);
    }
    w->version = 1;
}

static bool lives(const struct world *w, uint32_t member)
{
    return w->died[member] == 0 || w->died[member] > w->version;
}

static void compute(struct world *w)
{
    uint32_t *scratch = malloc(model_scratch_room(&w->task) * sizeof *scratch);
    free(w->parts);
    free(w->deals);
    size_t room = model_bid_parts(NULL, 0, w->load, scratch, &w->task, w->died, w->version);
    w->parts = malloc(room * sizeof *w->parts);
    w->count = model_bid_parts(w->parts, room, w->load, scratch, &w->task, w->died, w->version);
    assert_true(w->count <= room);
    w->deals = malloc((2 * w->count + 1) * sizeof *w->deals);
    w->deal_count = model_bid_deals(w->deals, w->parts, w->count, MODEL_EVERYONE);
    free(scratch);
}

static void drop(struct world *w)
{
    free(w->parts);
    free(w->deals);
}

/* Watchers of every quantum of every function by holders that `holds` names are at least (exactly) what is asked for. */
static void check_covered(const struct world *w, const struct model_bidder *bidders, bool exactly)
{
    uint32_t quanta = w->task.quanta;
    uint32_t *watchers = calloc(w->task.functions * quanta, sizeof *watchers);
    for (size_t i = 0; i < w->count; i++) {
        const struct model_part *p = &w->parts[i];
        uint32_t holders = 0;
        if (!bidders)
            holders = 1;
        else if (p->seller == p->buyer)
            holders = lives(w, p->seller);
        else
            holders = (lives(w, p->seller) && model_bidder_holds(&bidders[p->seller], p)) +
                      (lives(w, p->buyer) && model_bidder_holds(&bidders[p->buyer], p));
        for (uint32_t q = 0; q < p->quanta; q++)
            watchers[p->function * quanta + (p->first + q) % quanta] += holders;
    }
    for (size_t f = 0; f < w->task.functions; f++) {
        uint64_t tokens = w->tokens[f];
        bool divided = tokens && tokens < (uint64_t)w->task.members * quanta;
        for (uint32_t q = 0; divided && q < quanta; q++) {
            assert_true(watchers[f * quanta + q] >= tokens / quanta);
            if (exactly)
                assert_true(watchers[f * quanta + q] <= (tokens + quanta - 1) / quanta);
        }
    }
    free(watchers);
}

/* Whatever the program and whoever is dead: complete, nobody twice, fair within a percent or two tokens. */
static void tables(void **state)
{
    (void)state;
    struct core_rng rng;
    core_rng_seed(&rng, 1);
    static struct world w;
    for (int round = 0; round < 60; round++) {
        uint32_t members = 8 + (uint32_t)core_rng_below(&rng, 200);
        make_world(&w, &rng, 20 + core_rng_below(&rng, 150), members, 1200, 2);
        uint32_t living = members;
        for (uint32_t m = 0; m < members; m++)
            if (core_rng_below(&rng, 20) == 0 && living > 5) {
                w.died[m] = 1;
                living--;
            }
        compute(&w);
        check_covered(&w, NULL, true);
        double fair = 0, heaviest = 0, worst = 0;
        for (uint32_t m = 0; m < members; m++) {
            assert_true(lives(&w, m) || w.load[m] == 0);
            fair += w.load[m] / living;
        }
        for (size_t f = 0; f < w.task.functions; f++)
            heaviest = fmax(heaviest, w.relative[f]);
        for (uint32_t m = 0; m < members; m++)
            worst = lives(&w, m) ? fmax(worst, fabs(w.load[m] - fair)) : worst;
        assert_true(worst <= fmax(0.01 * fair, 2 * heaviest / 1200));
        /* Peers see that, and would see more than one's part. */
        assert_int_equal(model_bid_excess(w.load, &w.task, w.died, 1, fmax(0.01, heaviest / 600 / fair)),
                         MODEL_NO_FUNCTION);
        uint32_t greedy = 0;
        while (!lives(&w, greedy))
            greedy++;
        w.load[greedy] = 1.02 * fair + 2 * heaviest / 1200;
        assert_int_equal(model_bid_excess(w.load, &w.task, w.died, 1, 0.01), greedy);
        for (size_t i = 0; i < w.count; i++)
            assert_true(lives(&w, w.parts[i].seller) && lives(&w, w.parts[i].buyer));
        drop(&w);
    }
}

/* ---- every order of events on a small community ---- */

enum { SMALL_MEMBERS = 3, SMALL_DEALS_MAX = 6, NET_MAX = 6 };

struct small {
    struct model_bidder bidders[SMALL_MEMBERS];
    struct model_bid_state state[SMALL_MEMBERS][SMALL_DEALS_MAX];
    struct model_bid_message net[NET_MAX];
    size_t net_count;
    unsigned ticks, doubles;
};

static size_t explored;

static void put(struct small *s, const struct model_bid_message *messages, size_t count)
{
    /* What does not fit is lost, which is allowed to happen anyway. */
    for (size_t i = 0; i < count && s->net_count < NET_MAX; i++)
        s->net[s->net_count++] = messages[i];
}

static void bind_states(struct small *s)
{
    for (int m = 0; m < SMALL_MEMBERS; m++)
        s->bidders[m].state = s->state[m];
}

/* Depth first over: deliver any message in flight, lose it, double it, or let a member's round begin. After every
   step each quantum is watched. */
static void explore(const struct world *w, const struct small *before, unsigned depth)
{
    explored++;
    check_covered(w, before->bidders, false);
    if (depth == 0)
        return;
    for (size_t i = 0; i < before->net_count; i++)
        for (int what = 0; what < 3; what++) {
            struct small s = *before;
            bind_states(&s);
            struct model_bid_message message = s.net[i], answer;
            if (what == 2 && (s.doubles == 0 || s.net_count == NET_MAX))
                continue;
            if (what == 2) {
                s.doubles--;
                s.net[s.net_count++] = message;
            } else {
                s.net[i] = s.net[--s.net_count];
                if (what == 0 && model_bidder_receive(&answer, &s.bidders[message.to], &message))
                    put(&s, &answer, 1);
            }
            explore(w, &s, depth - 1);
        }
    for (int m = 0; before->ticks && m < SMALL_MEMBERS; m++) {
        struct small s = *before;
        bind_states(&s);
        struct model_bid_message messages[SMALL_DEALS_MAX];
        s.ticks--;
        size_t count = model_bidder_tick(messages, &s.bidders[m]);
        if (count == 0)
            continue;
        put(&s, messages, count);
        explore(w, &s, depth - 1);
    }
}

static void all_interleavings(void **state)
{
    (void)state;
    struct core_rng rng;
    core_rng_seed(&rng, 8);
    static struct world w;
    explored = 0;
    for (int program = 0; program < 6; program++) {
        do {
            drop(&w);
            make_world(&w, &rng, 4, SMALL_MEMBERS, 12, 0.5);
            for (int f = 0; f < 4; f++)
                w.tokens[f] = 12;
            compute(&w);
        } while (w.deal_count == 0 || w.deal_count > SMALL_DEALS_MAX);
        struct small s = {.ticks = 4, .doubles = 1};
        for (uint32_t m = 0; m < SMALL_MEMBERS; m++)
            model_bidder_start(&s.bidders[m], s.state[m], m, 1, w.deals, w.deal_count);
        explore(&w, &s, 7);
        drop(&w);
        w.parts = NULL;
        w.deals = NULL;
    }
    assert_true(explored > 1000);
}

/* ---- many members, a bad network, deaths ---- */

struct net {
    struct model_bid_message *queue;
    size_t count, room;
};

static void push(struct net *net, struct core_rng *rng, const struct model_bid_message *message, double loss)
{
    int copies = core_rng_unit(rng) < loss ? 0 : core_rng_below(rng, 50) == 0 ? 2 : 1;
    for (int i = 0; i < copies; i++) {
        if (net->count == net->room) {
            net->room = 2 * net->room + 64;
            net->queue = realloc(net->queue, net->room * sizeof *net->queue);
        }
        net->queue[net->count++] = *message;
    }
}

/* Rounds until all deals are done; messages are delivered in random order, some lost, some doubled. */
static unsigned converse(struct world *w, struct model_bidder *bidders, struct core_rng *rng, double loss)
{
    struct net net = {0};
    struct model_bid_message *out = malloc((w->deal_count + 1) * sizeof *out), answer;
    unsigned rounds = 0;
    for (bool done = false; !done && rounds < 50; rounds++) {
        for (uint32_t m = 0; m < w->task.members; m++) {
            size_t count = lives(w, m) ? model_bidder_tick(out, &bidders[m]) : 0;
            for (size_t i = 0; i < count; i++)
                push(&net, rng, &out[i], loss);
        }
        while (net.count) {
            size_t i = core_rng_below(rng, net.count);
            struct model_bid_message message = net.queue[i];
            net.queue[i] = net.queue[--net.count];
            if (lives(w, message.to) && model_bidder_receive(&answer, &bidders[message.to], &message))
                push(&net, rng, &answer, loss);
        }
        done = true;
        for (uint32_t m = 0; m < w->task.members; m++)
            done &= !lives(w, m) || model_bidder_is_done(&bidders[m]);
    }
    free(out);
    free(net.queue);
    return rounds;
}

static void start_all(struct world *w, struct model_bidder *bidders, struct model_bid_state *state)
{
    for (uint32_t m = 0; m < w->task.members; m++)
        model_bidder_start(&bidders[m], state + m * w->deal_count, m, 1, w->deals, w->deal_count);
}

static void loss_and_death(void **state)
{
    (void)state;
    struct core_rng rng;
    core_rng_seed(&rng, 77);
    static struct world w;
    static struct model_bidder bidders[MEMBERS_MAX];
    for (int round = 0; round < 20; round++) {
        double loss = round % 2 ? 0.05 : 0;
        memset(bidders, 0, sizeof bidders);
        make_world(&w, &rng, 100, 200, 1200, 2);
        compute(&w);
        struct model_bid_state *memory = malloc((w.task.members * w.deal_count + 1) * sizeof *memory);
        start_all(&w, bidders, memory);
        unsigned rounds = converse(&w, bidders, &rng, loss);
        assert_true(loss > 0 || rounds <= 3);
        check_covered(&w, bidders, true);
        /* One percent dies; the roster's next version has the others take over. */
        for (int dead = 0; dead < 2; dead++)
            w.died[core_rng_below(&rng, w.task.members)] = 2;
        w.version = 2;
        struct model_deal *before = w.deals;
        w.deals = NULL;
        compute(&w);
        struct model_bid_state *moved = malloc((w.task.members * w.deal_count + 1) * sizeof *moved);
        for (uint32_t m = 0; m < w.task.members; m++)
            model_bidder_move(&bidders[m], moved + m * w.deal_count, w.deals, w.deal_count);
        free(memory);
        free(before);
        memory = moved;
        check_covered(&w, bidders, false);
        assert_true(converse(&w, bidders, &rng, loss) < 50);
        check_covered(&w, bidders, true);
        for (uint32_t m = 0; m < w.task.members; m++)
            assert_true(bidders[m].sent <= 32);
        free(memory);
        drop(&w);
        w.parts = NULL;
        w.deals = NULL;
    }
}

/* Messages that no honest member sends change nothing that is watched. */
static void forged_messages(void **state)
{
    (void)state;
    struct core_rng rng;
    core_rng_seed(&rng, 5);
    static struct world w;
    static struct model_bidder bidders[MEMBERS_MAX];
    make_world(&w, &rng, 60, 20, 1200, 2);
    compute(&w);
    struct model_bid_state *memory = malloc((w.task.members * w.deal_count + 1) * sizeof *memory);
    start_all(&w, bidders, memory);
    for (int i = 0; i < 20000; i++) {
        struct model_bid_message answer, message = {.from = (uint32_t)core_rng_below(&rng, 25),
                                                    .to = (uint32_t)core_rng_below(&rng, 20),
                                                    .since = (uint32_t)core_rng_below(&rng, 3),
                                                    .kind = (enum model_bid_kind)core_rng_below(&rng, 2)};
        model_bidder_receive(&answer, &bidders[message.to], &message);
        if (i % 500 == 0)
            check_covered(&w, bidders, false);
    }
    free(memory);
    drop(&w);
    w.parts = NULL;
    w.deals = NULL;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tables),
        cmocka_unit_test(all_interleavings),
        cmocka_unit_test(loss_and_death),
        cmocka_unit_test(forged_messages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
