/* Synthetic programs: how much work each function does, and how far it is from input. */
#include "sim/private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *const sim_shape_names[SIM_SHAPES] = {"even", "norm", "skew"};

struct core_rng sim_stream(uint64_t seed, uint64_t replicate, uint64_t purpose)
{
    struct core_rng rng;
    uint64_t name[3] = {seed, replicate, purpose};
    core_rng_seed(&rng, core_hash(CORE_HASH_SEED, name, sizeof name));
    return rng;
}

double sim_normal(struct core_rng *rng)
{
    /* Box and Muller; 1 - unit is never 0. */
    double radius = sqrt(-2 * log(1 - core_rng_unit(rng)));
    return radius * cos(6.283185307179586 * core_rng_unit(rng));
}

/* norm: standard deviation a third of the mean, whole work units, at least one. skew: Pareto with 80 percent of the work in
   20 percent of the functions. */
static double draw(struct core_rng *rng, enum sim_shape shape, double level)
{
    if (shape == SIM_EVEN)
        return level;
    if (shape == SIM_SKEW)
        return level * 0.1379 / pow(1 - core_rng_unit(rng), 1 / 1.16);
    double x;
    do
        x = level * (1 + sim_normal(rng) / 3);
    while (x < 0.5);
    return x;
}

/* Each function calls two others at random that were there before it; function 0 reads the input. Distances so grow
   with the logarithm of the size, as in real programs. */
static void make_distances(struct sim_program *p, struct core_rng *rng)
{
    size_t n = p->count, m = 0;
    uint32_t *from = sim_allocate(2 * n, sizeof *from), *to = sim_allocate(2 * n, sizeof *to);
    uint32_t *first = sim_allocate(n + 1, sizeof *first), *caller = sim_allocate(2 * n, sizeof *caller);
    uint32_t *queue = sim_allocate(n, sizeof *queue);
    bool *input = sim_allocate(n, sizeof *input);
    for (uint32_t f = 1; f < n; f++)
        for (int call = 0; call < 2; call++, m++) {
            from[m] = f;
            to[m] = (uint32_t)core_rng_below(rng, f);
        }
    input[0] = true;
    model_graph_by_callee(first, caller, from, to, n, m);
    model_distances(p->distance, NULL, queue, first, caller, input, n);
    free(from);
    free(to);
    free(first);
    free(caller);
    free(queue);
    free(input);
}

void sim_program_make(struct sim_program *p, struct core_rng *rng, size_t count, enum sim_shape shape,
                      double level)
{
    p->count = count;
    p->cost = sim_allocate(count, sizeof *p->cost);
    p->risk = sim_allocate(count, sizeof *p->risk);
    p->distance = sim_allocate(count, sizeof *p->distance);
    for (size_t f = 0; f < count; f++) {
        p->cost[f] = draw(rng, shape, level);
        p->risk[f] = 1;
    }
    /* The mean of so skewed a draw says little about the next one: the level is what the program's functions have on average. */
    double scale = shape == SIM_SKEW ? level * (double)count / model_total(p->cost, count) : 1;
    for (size_t f = 0; f < count; f++)
        p->cost[f] = fmax(1, round(p->cost[f] * scale));
    make_distances(p, rng);
}

void sim_program_risk(struct sim_program *p, enum model_risk_policy policy, double alpha, uint32_t reach)
{
    for (size_t f = 0; f < p->count; f++)
        p->risk[f] = model_risk(policy, p->distance[f], alpha, reach);
}

void sim_program_risk_share(struct sim_program *p, struct core_rng *rng, double alpha, double share)
{
    size_t n = p->count;
    uint32_t *order = sim_allocate(n, sizeof *order);
    double total = model_total(p->cost, n), at_risk = 0;
    for (size_t f = 0; f < n; f++) {
        order[f] = (uint32_t)f;
        p->risk[f] = 1;
    }
    for (size_t left = n; left > 1; left--) {
        size_t other = core_rng_below(rng, left);
        uint32_t swap = order[left - 1];
        order[left - 1] = order[other];
        order[other] = swap;
    }
    for (size_t i = 0; i < n && at_risk < share * total * (1 - 1e-12); i++) {
        p->risk[order[i]] = alpha;
        at_risk += p->cost[order[i]];
    }
    /* Scaling both sides makes the share exact without changing the total. */
    if (at_risk > 0 && at_risk < total)
        for (size_t f = 0; f < n; f++)
            p->cost[f] *= p->risk[f] > 1 ? share * total / at_risk : (1 - share) * total / (total - at_risk);
    free(order);
}

void sim_program_free(struct sim_program *p)
{
    free(p->cost);
    free(p->risk);
    free(p->distance);
    *p = (struct sim_program){0};
}

void sim_divide(struct sim_division *division, const struct model_task *task)
{
    uint32_t *scratch = sim_allocate(model_scratch_room(task), sizeof *scratch);
    double *load = sim_allocate(task->members, sizeof *load);
    size_t room = model_central.assign(NULL, 0, load, scratch, task);
    struct model_holding *made = sim_allocate(room, sizeof *made);
    size_t count = model_central.assign(made, room, load, scratch, task);
    *division = (struct sim_division){.task = *task, .unfairness = model_unfairness(load, task->members)};
    division->first = sim_allocate(task->functions + 1, sizeof *division->first);
    division->holdings = sim_allocate(count, sizeof *division->holdings);
    /* Counting sort by function, filled from behind. */
    for (size_t i = 0; i < count; i++)
        division->first[made[i].function]++;
    for (size_t f = 1; f <= task->functions; f++)
        division->first[f] += division->first[f - 1];
    for (size_t i = count; i-- > 0;)
        division->holdings[--division->first[made[i].function]] = made[i];
    free(made);
    free(load);
    free(scratch);
}

void sim_division_free(struct sim_division *division)
{
    free(division->holdings);
    free(division->first);
}
