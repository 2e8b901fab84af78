/* Distribution by weighted coins: each member alone, no messages.

   A walk over the functions in random order that keeps each with probability p_f = min(1, v_f r_f c) yields the kept
   functions in random order; so the kept set is drawn first, skipping over the functions by geometric jumps (the
   order is by descending p, and p at the start of a jump bounds all that follow), and shuffled afterwards. The
   distribution is the same, the time is that of the kept functions only. */
#include "model/assign.h"

#include <math.h>

#define WALKS_MAX 32

static double demand_of(const struct model_task *task, uint32_t f)
{
    return task->relative[f] * (double)task->tokens[f] / task->quanta;
}

static bool by_demand(const struct model_task *task, uint32_t a, uint32_t b)
{
    double da = demand_of(task, a), db = demand_of(task, b);
    return da > db || (da == db && a < b);
}

void model_coin_begin(struct model_coin_table *table, uint32_t *order, const struct model_task *task)
{
    *table = (struct model_coin_table){.order = order, .fair = model_fair_load(task)};
    for (size_t f = 0; f < task->functions; f++)
        if (model_is_divided(task, f))
            order[table->count++] = (uint32_t)f;
    model_sort(order, table->count, task, by_demand);

    /* Expected load of one walk, sum of p_f min(r_f, W/N), grows with c: bisection in the exponent. */
    double low = 1e-18, high = 1e18;
    for (int step = 0; step < 100; step++) {
        double middle = sqrt(low * high), expected = 0;
        for (size_t i = 0; i < table->count; i++)
            expected +=
                fmin(1, demand_of(task, order[i]) * middle) * fmin(task->relative[order[i]], table->fair);
        if (expected < table->fair)
            low = middle;
        else
            high = middle;
    }
    table->scale = high;
}

/* One walk's candidates: kept functions that the member does not hold yet, in random order, appended to `holdings`. */
static size_t walk(struct model_holding *holdings, uint32_t *taken, struct core_rng *rng,
                   const struct model_task *task, const struct model_coin_table *table, uint32_t member)
{
    size_t kept = 0;
    for (size_t i = 0; i < table->count; i++) {
        double bound = fmin(1, demand_of(task, table->order[i]) * table->scale);
        if (bound <= 0)
            break;
        if (bound < 1) {
            double jump = floor(log(1 - core_rng_unit(rng)) / log1p(-bound));
            if (jump >= (double)(table->count - i))
                break;
            i += (size_t)jump;
        }
        uint32_t f = table->order[i];
        if (taken[f] != member + 1 &&
            core_rng_unit(rng) * bound < fmin(1, demand_of(task, f) * table->scale)) {
            taken[f] = member + 1;
            holdings[kept++].function = f;
        }
    }
    for (size_t left = kept; left > 1; left--) {
        size_t other = core_rng_below(rng, left);
        struct model_holding held = holdings[left - 1];
        holdings[left - 1] = holdings[other];
        holdings[other] = held;
    }
    return kept;
}

size_t model_coin_member(struct model_holding *holdings, double *load, uint32_t *taken,
                         const struct model_task *task, const struct model_coin_table *table, uint32_t member)
{
    struct core_rng rng;
    uint64_t name[3] = {task->seed, task->epoch, member};
    core_rng_seed(&rng, core_hash(CORE_HASH_SEED, name, sizeof name));
    size_t made = 0;
    *load = 0;
    for (int walks = 0; walks < WALKS_MAX && made < table->count; walks++) {
        size_t end = made + walk(holdings + made, taken, &rng, task, table, member);
        for (; made < end; made++) {
            uint32_t f = holdings[made].function;
            double token = task->relative[f] / task->quanta, fit = round((table->fair - *load) / token);
            if (fit < 1)
                return made;
            uint32_t quanta = fit < task->quanta ? (uint32_t)fit : task->quanta;
            uint32_t first = (uint32_t)core_rng_below(&rng, task->quanta);
            holdings[made] =
                (struct model_holding){.member = member, .function = f, .first = first, .quanta = quanta};
            *load += quanta * token;
        }
    }
    return made;
}

static size_t assign(struct model_holding *holdings, size_t room, double *load, uint32_t *scratch,
                     const struct model_task *task)
{
    uint32_t *order = scratch, *taken = order + task->functions;
    struct model_holding *own = (struct model_holding *)(taken + task->functions);
    struct model_coin_table table;
    model_coin_begin(&table, order, task);
    for (size_t f = 0; f < task->functions; f++)
        taken[f] = 0;
    size_t made = 0;
    for (uint32_t m = 0; m < task->members; m++) {
        size_t count = model_coin_member(own, &load[m], taken, task, &table, m);
        for (size_t i = 0; i < count; i++, made++)
            if (made < room)
                holdings[made] = own[i];
    }
    return made;
}

const struct model_policy model_coin = {
    .name = "coin",
    .meaning = "every member tosses weighted coins: no messages, statistical coverage",
    .assign = assign,
};
