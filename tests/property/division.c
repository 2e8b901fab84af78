/* How tokens are divided, for every small program and for random large ones:

   - central and bid: every quantum of a function has floor or ceil of its demand of watchers, nobody watches one twice at a
     time, loads are what the holdings add up to, and fair within eps or the grain of a token;
   - bid: every lot's auctioneer is who ranks first for it among those that do not watch these quanta yet;
   - coin: nobody above W/N and a token, and the uncovered part is what the coins' closed form says;
   - eq. 3: the part of (member, quantum) pairs that watch a function is its demand over the members. */
#include "property.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Checks coverage and loads. Returns the unfairness. */
static double check(const struct property_division *d, const struct model_task *t, const char *name)
{
    uint32_t quanta = t->quanta;
    int32_t *edge = calloc(t->functions * (quanta + 1), sizeof *edge);
    double *load = calloc(t->members, sizeof *load), pairs = 0, demand = 0;
    if (!edge || !load)
        abort();
    for (size_t i = 0; i < d->count; i++) {
        const struct model_holding *h = &d->holdings[i];
        if (h->member >= t->members || h->function >= t->functions || h->quanta < 1 || h->quanta > quanta ||
            h->first >= quanta)
            property_fail("%s: holding %zu is out of range", name, i);
        load[h->member] += t->relative[h->function] * h->quanta / quanta;
        int32_t *ring = edge + h->function * (size_t)(quanta + 1);
        uint32_t end = h->first + h->quanta;
        ring[h->first]++;
        ring[end > quanta ? quanta : end]--;
        if (end > quanta) {
            ring[0]++;
            ring[end - quanta]--;
        }
        pairs += h->quanta;
    }
    for (size_t f = 0; f < t->functions; f++) {
        bool divided = t->tokens[f] && t->tokens[f] < (uint64_t)t->members * quanta;
        int64_t watchers = 0, low = (int64_t)(t->tokens[f] / quanta),
                high = (int64_t)((t->tokens[f] + quanta - 1) / quanta);
        demand += divided ? (double)t->tokens[f] : 0;
        for (uint32_t q = 0; q < quanta; q++) {
            watchers += edge[f * (quanta + 1) + q];
            if (divided ? watchers < low || watchers > high : watchers != 0)
                property_fail("%s: function %zu has %lld watchers at quantum %u, wanted %lld", name, f,
                              (long long)watchers, q, (long long)low);
        }
    }
    if (pairs != demand)
        property_fail("%s: %.0f tokens given of %.0f", name, pairs, demand);
    for (uint32_t m = 0; m < t->members; m++)
        if (fabs(load[m] - d->load[m]) > 1e-9 * fmax(1, load[m]))
            property_fail("%s: member %u is said to bear %g and bears %g", name, m, d->load[m], load[m]);
    double worst = model_unfairness(load, t->members);
    free(edge);
    free(load);
    return worst;
}

/* Nobody watches a function twice at the same time: sorted by (member, function, first), neighbours must not meet. */
static int by_holder(const void *left, const void *right)
{
    const struct model_holding *a = left, *b = right;
    if (a->member != b->member)
        return a->member < b->member ? -1 : 1;
    if (a->function != b->function)
        return a->function < b->function ? -1 : 1;
    return a->first < b->first ? -1 : a->first > b->first;
}

static void check_once(const struct property_division *d, const struct model_task *t, const char *name)
{
    struct model_holding *sorted = malloc((d->count + 1) * sizeof *sorted);
    if (!sorted)
        abort();
    memcpy(sorted, d->holdings, d->count * sizeof *sorted);
    qsort(sorted, d->count, sizeof *sorted, by_holder);
    for (size_t i = 0, run; i < d->count; i = run) {
        uint64_t quanta = 0;
        for (run = i; run < d->count && sorted[run].member == sorted[i].member &&
                      sorted[run].function == sorted[i].function;
             run++) {
            quanta += sorted[run].quanta;
            if (run > i && sorted[run - 1].first + sorted[run - 1].quanta > sorted[run].first)
                property_fail("%s: member %u watches function %u twice at quantum %u", name, sorted[i].member,
                              sorted[i].function, sorted[run].first);
        }
        uint32_t end = sorted[run - 1].first + sorted[run - 1].quanta;
        if (quanta > t->quanta || (run > i + 1 && end > t->quanta && end - t->quanta > sorted[i].first))
            property_fail("%s: member %u watches function %u for more than all the time", name,
                          sorted[i].member, sorted[i].function);
    }
    free(sorted);
}

/* A lot, put together again from the parts that were sold of it. */
struct lot {
    uint32_t function, lot, seller, first, end;
    size_t next; /* of the same seller and function */
};

static int by_lot(const void *left, const void *right)
{
    const struct lot *a = left, *b = right;
    if (a->function != b->function)
        return a->function < b->function ? -1 : 1;
    return a->lot < b->lot ? -1 : a->lot > b->lot;
}

/* Whether the member, whose lots of this function begin with `at`, watches any of the lot's quanta. */
static bool has_any(const struct lot *lots, size_t at, const struct lot *wanted)
{
    for (; at != SIZE_MAX; at = lots[at].next)
        if (lots[at].first < wanted->end && wanted->first < lots[at].end)
            return true;
    return false;
}

/* The rule that docs/model.md states, drawn out lot by lot, without what makes the model's own code fast. */
static void check_ranks(const struct model_task *t)
{
    struct property_table table;
    property_table_make(&table, t, NULL, 1);
    struct lot *lots = calloc(table.part_count + 1, sizeof *lots);
    size_t *head = malloc(t->members * sizeof *head), count = 0;
    if (!lots || !head)
        abort();
    for (size_t i = 0; i < table.part_count; i++) {
        const struct model_part *p = &table.parts[i];
        lots[i] = (struct lot){p->function, p->lot, p->seller, p->first, p->first + p->quanta, 0};
    }
    qsort(lots, table.part_count, sizeof *lots, by_lot);
    for (size_t i = 0; i < table.part_count; i++)
        if (count && by_lot(&lots[count - 1], &lots[i]) == 0) {
            struct lot *whole = &lots[count - 1];
            if (whole->seller != lots[i].seller)
                property_fail("lot %u of function %u has two auctioneers", whole->lot, whole->function);
            whole->first = lots[i].first < whole->first ? lots[i].first : whole->first;
            whole->end = lots[i].end > whole->end ? lots[i].end : whole->end;
        } else {
            lots[count++] = lots[i];
        }
    for (size_t i = 0; i < count; i++) {
        struct lot *lot = &lots[i];
        uint64_t name[4] = {t->seed, t->epoch, lot->function, lot->lot};
        struct core_rng rng;
        if (i == 0 || lots[i - 1].function != lot->function)
            for (uint32_t m = 0; m < t->members; m++)
                head[m] = SIZE_MAX;
        core_rng_seed(&rng, core_hash(CORE_HASH_SEED, name, sizeof name));
        uint32_t first = MODEL_NO_FUNCTION;
        for (uint32_t tried = 0; tried < 4 * t->members + 64 && first == MODEL_NO_FUNCTION; tried++) {
            uint32_t m = (uint32_t)core_rng_below(&rng, t->members);
            if (!has_any(lots, head[m], lot))
                first = m;
        }
        for (uint32_t m = 0; m < t->members && first == MODEL_NO_FUNCTION; m++)
            if (!has_any(lots, head[m], lot))
                first = m;
        if (lot->seller != first)
            property_fail("lot %u of function %u is auctioned by %u, and %u ranks first", lot->lot,
                          lot->function, lot->seller, first);
        lot->next = head[first];
        head[first] = i;
    }
    free(lots);
    free(head);
    property_table_free(&table);
}

/* All programs of up to three functions with costs 0..3 and risks 1..3, for 1 to 4 members. */
static size_t all_small(void)
{
    enum { QUANTA = 120 };
    static const struct model_policy *const policies[] = {&model_central, &model_bid};
    size_t cases = 0;
    for (size_t n = 1; n <= 3; n++) {
        size_t programs = 1;
        for (size_t f = 0; f < n; f++)
            programs *= 12;
        for (size_t program = 0; program < programs; program++)
            for (uint32_t members = 1; members <= 4; members++) {
                double relative[3], heaviest = 0;
                uint64_t tokens[3];
                size_t code = program;
                for (size_t f = 0; f < n; f++, code /= 12) {
                    relative[f] = (double)(code % 4);
                    tokens[f] = model_tokens(1 + (double)(code / 4 % 3), members, QUANTA);
                    heaviest = fmax(heaviest, relative[f]);
                }
                struct model_task task = {.functions = n,
                                          .members = members,
                                          .quanta = QUANTA,
                                          .relative = relative,
                                          .tokens = tokens,
                                          .seed = program};
                for (int p = 0; p < 2; p++, cases++) {
                    struct property_division d;
                    property_divide(&d, policies[p], &task);
                    double unfair = check(&d, &task, policies[p]->name), fair = model_fair_load(&task);
                    if (p == 0)
                        check_once(&d, &task, policies[p]->name);
                    if (p == 0 && unfair * fair > 2 * heaviest / QUANTA + 1e-9)
                        property_fail("central: program %zu, %u members: unfair by %g of %g", program,
                                      members, unfair, fair);
                    property_division_free(&d);
                }
                check_ranks(&task);
            }
    }
    return cases;
}

static size_t random_large(void)
{
    enum { N = 400, ROUNDS = 60 };
    static double relative[N];
    static uint64_t tokens[N];
    static const struct model_policy *const policies[] = {&model_central, &model_bid};
    struct core_rng rng;
    core_rng_seed(&rng, 99);
    size_t cases = 0;
    for (int round = 0; round < ROUNDS; round++) {
        struct model_task task = {.functions = 5 + core_rng_below(&rng, N - 5),
                                  .members = 4 + (uint32_t)core_rng_below(&rng, round % 6 ? 300 : 20000),
                                  .seed = core_rng_next(&rng),
                                  .epoch = core_rng_below(&rng, 100)};
        property_program(&task, relative, tokens, &rng, 3, 10, 0.005);
        if (task.functions * task.quanta > 40000000)
            continue;
        double heaviest = 0, fair = model_fair_load(&task);
        for (size_t f = 0; f < task.functions; f++)
            heaviest = fmax(heaviest, relative[f]);
        for (int p = 0; p < 2; p++, cases++) {
            struct property_division d;
            property_divide(&d, policies[p], &task);
            double unfair = check(&d, &task, policies[p]->name);
            check_once(&d, &task, policies[p]->name);
            if (fair > 0 && unfair > fmax(0.01, 2 * heaviest / task.quanta / fair))
                property_fail("%s: round %d, %zu functions, %u members: unfair by %.3f%%", policies[p]->name,
                              round, task.functions, task.members, 100 * unfair);
            property_division_free(&d);
        }
        check_ranks(&task);
    }
    return cases;
}

/* Coins: with equal functions each heavier than W/N every member holds a part of one; so a function is held by a binomial
   number of members, and nobody holds it with probability (1 - 1/n)^N. */
static size_t coins(void)
{
    enum { N = 50, MEMBERS = 100, QUANTA = 12000, EPOCHS = 400 };
    double relative[N];
    uint64_t tokens[N];
    for (int f = 0; f < N; f++) {
        relative[f] = 10;
        tokens[f] = QUANTA;
    }
    size_t uncovered = 0;
    for (uint64_t epoch = 0; epoch < EPOCHS; epoch++) {
        struct model_task task = {.functions = N,
                                  .members = MEMBERS,
                                  .quanta = QUANTA,
                                  .relative = relative,
                                  .tokens = tokens,
                                  .seed = 3,
                                  .epoch = epoch};
        struct property_division d;
        bool held[N] = {false};
        property_divide(&d, &model_coin, &task);
        for (size_t i = 0; i < d.count; i++)
            held[d.holdings[i].function] = true;
        for (uint32_t m = 0; m < MEMBERS; m++)
            if (d.load[m] > model_fair_load(&task) + 10.0 / QUANTA)
                property_fail("coin: member %u bears %g of %g", m, d.load[m], model_fair_load(&task));
        for (int f = 0; f < N; f++)
            uncovered += !held[f];
        property_division_free(&d);
    }
    double p = pow(1 - 1.0 / N, MEMBERS), all = N * EPOCHS;
    if (fabs((double)uncovered / all - p) > 4 * sqrt(p * (1 - p) / all))
        property_fail("coin: %.4f of the functions uncovered, the closed form says %.4f",
                      (double)uncovered / all, p);
    return EPOCHS;
}

int main(void)
{
    size_t small = all_small(), large = random_large(), tosses = coins();
    return property_end("division", "%zu small and %zu large programs, %zu epochs of coins", small, large,
                        tosses);
}
