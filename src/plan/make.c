/* Makes a plan: the paper's columns, the number of members, tokens, slices and what they promise. */
#include "plan/private.h"

#include <math.h>
#include <string.h>

/* Columns of own functions as the model's arrays. */
struct columns {
    double *cost, *risk, *relative, *demand, *weight, *scratch;
    uint64_t *tokens;
    size_t count;
};

static void take_columns(struct columns *c, const struct plan *plan)
{
    size_t n = c->count = plan->own_count;
    c->cost = plan_allocate(n, sizeof *c->cost);
    c->risk = plan_allocate(n, sizeof *c->risk);
    c->relative = plan_allocate(n, sizeof *c->relative);
    c->demand = plan_allocate(n, sizeof *c->demand);
    c->scratch = plan_allocate(n, sizeof *c->scratch);
    c->weight = plan_allocate(n, sizeof *c->weight);
    c->tokens = plan_allocate(n, sizeof *c->tokens);
    for (size_t f = 0; f < n; f++) {
        c->cost[f] = c->weight[f] = (double)plan->functions[f].cost;
        c->risk[f] = plan->functions[f].risk;
    }
}

static void free_columns(struct columns *c)
{
    free(c->cost);
    free(c->risk);
    free(c->relative);
    free(c->demand);
    free(c->scratch);
    free(c->weight);
    free(c->tokens);
}

/* Z, W and N. */
static int count_members(struct base_error *error, struct plan *plan, struct columns *c,
                         const struct plan_options *options)
{
    double weighted = model_work(NULL, NULL, c->cost, c->risk, c->count, plan->total);
    plan->weighted_percent = 100 * weighted;
    plan->unit = options->size == PLAN_SIZE_SLICE
                     ? plan->total * options->slice_percent / 100
                     : model_work_unit(c->scratch, c->cost, c->count, options->unit_functions);
    plan->total_work = model_work(c->relative, c->demand, c->cost, c->risk, c->count, plan->unit);
    double members = options->members;
    if (options->size == PLAN_SIZE_SLICE)
        members = model_members(plan->weighted_percent, options->slice_percent);
    else if (options->size == PLAN_SIZE_UNIT)
        members = model_members(plan->total_work, 1);
    plan->members_wanted = members;
    if (members > MODEL_MEMBERS_MAX && options->without_slices)
        members = MODEL_MEMBERS_MAX;
    if (members > MODEL_MEMBERS_MAX)
        return base_fail(
            error, BASE_EXIT_USAGE,
            "a work unit of %g %s asks for %.0f members, more than %u; choose --members, a --slice, or a "
            "larger --unit",
            plan->unit, plan->metric == PROFILE_INSTRUCTIONS ? "instructions" : "ns", members,
            MODEL_MEMBERS_MAX);
    plan->members = (uint32_t)members;
    plan->slice_percent = options->size == PLAN_SIZE_SLICE  ? options->slice_percent
                          : options->size == PLAN_SIZE_UNIT ? 100 * plan->unit / plan->total
                                                            : plan->weighted_percent / plan->members;
    return 0;
}

/* Marks the cheapest functions that together stay below a percentage of T. Functions are ordered by falling cost. */
static void mark_cold(struct plan *plan, double percent)
{
    double room = plan->total * percent / 100;
    for (size_t f = plan->own_count; f-- > 0;) {
        room -= (double)plan->functions[f].cost;
        if (room < 0)
            break;
        plan->functions[f].cold = true;
    }
}

/* Predicted part of the run time that watching a function always costs. */
static double overhead_of(const struct plan *plan, const struct plan_function *f,
                          const struct plan_constants *k)
{
    double all = plan->total + (double)plan->excluded_cost;
    return ((double)f->calls * k->transition + (k->slowdown - 1) * (double)f->cost) / all;
}

/* An hour lets every member watch every function within days, and makes a change of slice cost nothing. Ten
   milliseconds are what a member's timer keeps reliably. */
enum { EPOCH_MS = 3600000, QUANTUM_MIN_MS = 10 };

static uint32_t quantum_for(uint32_t quanta)
{
    uint32_t ms = EPOCH_MS / quanta;
    return ms > QUANTUM_MIN_MS ? ms : QUANTUM_MIN_MS;
}

/* What the paper's policy makes of the same members and slow-down, and what both need for full coverage. */
static void compare_at_budget(struct plan *plan, const struct columns *c, const double *overhead,
                              double budget)
{
    double *share = plan_allocate(c->count, sizeof *share), ours = 0, paper = 0;
    model_budget_paper(share, overhead, c->risk, c->count, budget);
    plan->paper_at_budget = (struct plan_coverage){model_p_first(share, c->risk, c->count),
                                                   model_p_first(share, c->cost, c->count)};
    for (size_t f = 0; f < c->count; f++) {
        ours += overhead[f];
        paper += c->risk[f] * overhead[f];
    }
    plan->members_needed = fmax(1, ceil(ours * (1 + plan->eps) / budget));
    plan->members_needed_paper = fmax(1, ceil(paper / budget));
    free(share);
}

/* How many tokens each function gets: the risk's, all of them for cold code, or what the budget allows. */
static int give_tokens(struct base_error *error, struct plan *plan, struct columns *c,
                       const struct plan_options *options)
{
    double heaviest = plan->functions[0].cost / plan->unit, fair = plan->total_work / plan->members,
           grain = plan->eps;
    if (options->size == PLAN_SIZE_BUDGET) {
        /* Half the grain, for here eps is a limit that no member may pass. */
        heaviest = 0;
        for (size_t f = 0; f < c->count; f++)
            heaviest = fmax(heaviest, overhead_of(plan, &plan->functions[f], options->constants));
        fair = options->budget_percent / 100;
        grain = plan->eps / 2;
    }
    plan->quanta = options->quanta ? options->quanta : model_quanta(heaviest, fair, grain);
    if (!plan->quantum_ms)
        plan->quantum_ms = quantum_for(plan->quanta);
    double *share = plan_allocate(c->count, sizeof *share);
    double used = 0;
    if (options->size == PLAN_SIZE_BUDGET) {
        double *overhead = plan_allocate(c->count, sizeof *overhead);
        uint32_t *order = plan_allocate(c->count, sizeof *order);
        for (size_t f = 0; f < c->count; f++)
            overhead[f] = overhead_of(plan, &plan->functions[f], options->constants);
        /* Room for members that are heavier than the mean by eps. */
        used = model_budget(share, order, overhead, c->risk, c->count,
                            options->budget_percent / 100 / (1 + plan->eps), 1.0 / plan->members);
        compare_at_budget(plan, c, overhead, options->budget_percent / 100);
        free(overhead);
        free(order);
    }
    /* A budget below that leaves code that nobody watches at some moments; better told than done. */
    if (used > options->budget_percent / 100 / (1 + plan->eps) * (1 + 1e-9)) {
        free(share);
        return base_fail(
            error, BASE_EXIT_USAGE,
            "to watch every function by one of %u members always slows each down by %.3g%%; allow that much with "
            "--budget, or have about %.0f members",
            plan->members, 100 * used, plan->members_needed);
    }
    uint64_t all = (uint64_t)plan->members * plan->quanta;
    for (size_t f = 0; f < c->count; f++) {
        struct plan_function *function = &plan->functions[f];
        if (options->size == PLAN_SIZE_BUDGET)
            c->tokens[f] = model_tokens(share[f] * plan->members, plan->members, plan->quanta);
        else if (options->cold == PLAN_COLD_ALL && function->cold)
            c->tokens[f] = all;
        else
            c->tokens[f] = model_tokens(c->risk[f], plan->members, plan->quanta);
        function->tokens = c->tokens[f];
        /* A budget is levelled by what watching costs; whole units, for the manifest knows no others. */
        if (options->size == PLAN_SIZE_BUDGET)
            c->weight[f] = round(overhead_of(plan, function, options->constants) *
                                 (plan->total + (double)plan->excluded_cost));
        function->weight = (uint64_t)c->weight[f];
        function->everyone = c->tokens[f] == all;
    }
    free(share);
    return 0;
}

static void divide(struct plan *plan, const struct columns *c)
{
    struct model_task task = {.functions = c->count,
                              .members = plan->members,
                              .quanta = plan->quanta,
                              .relative = c->weight,
                              .tokens = c->tokens,
                              .seed = plan->seed,
                              .epoch = plan->epoch};
    uint32_t *scratch = plan_allocate(model_scratch_room(&task), sizeof *scratch);
    plan->load = plan_allocate(plan->members, sizeof *plan->load);
    size_t room = (size_t)plan->members + 2 * c->count, made;
    struct model_holding *holdings = plan_allocate(room, sizeof *holdings);
    while ((made = plan->assign->assign(holdings, room, plan->load, scratch, &task)) > room) {
        free(holdings);
        room = made;
        holdings = plan_allocate(room, sizeof *holdings);
    }
    free(scratch);

    /* By member: slices rotate with the epoch, so slice numbers become member numbers here. */
    uint32_t *member_of = plan_allocate(plan->members, sizeof *member_of);
    double *load = plan_allocate(plan->members, sizeof *load);
    bool rotates = plan->assign == &model_central;
    for (uint32_t m = 0; m < plan->members; m++) {
        uint32_t slice = rotates ? model_rotate(m, plan->epoch, plan->members) : m;
        member_of[slice] = m;
        load[m] = plan->load[slice];
    }
    free(plan->load);
    plan->load = load;
    plan->holding_first = plan_allocate((size_t)plan->members + 1, sizeof *plan->holding_first);
    plan->holdings = plan_allocate(made, sizeof *plan->holdings);
    plan->holding_count = made;
    for (size_t i = 0; i < made; i++)
        plan->holding_first[holdings[i].member = member_of[holdings[i].member]]++;
    for (uint32_t m = 0; m < plan->members; m++)
        plan->holding_first[m + 1] += plan->holding_first[m];
    for (size_t i = made; i-- > 0;)
        plan->holdings[--plan->holding_first[holdings[i].member]] = holdings[i];
    free(member_of);
    free(holdings);
}

/* What the slices promise: loads, eq. 3 by two measures, for this plan and for the paper's policy. */
static void predict(struct plan *plan, struct columns *c, const struct plan_options *options)
{
    double *share = plan_allocate(c->count, sizeof *share);
    uint64_t *held = plan_allocate(c->count, sizeof *held);
    uint64_t all = (uint64_t)plan->members * plan->quanta;
    for (size_t i = 0; i < plan->holding_count; i++)
        held[plan->holdings[i].function] += plan->holdings[i].quanta;
    double overhead = 0, common_overhead = 0, common_weight = 0;
    for (size_t f = 0; f < c->count; f++) {
        double watching = options->constants ? overhead_of(plan, &plan->functions[f], options->constants) : 0;
        if (plan->functions[f].everyone) {
            common_overhead += watching;
            common_weight += c->weight[f];
            held[f] = all;
            plan->everyone_count++;
            plan->common_load += c->relative[f];
        }
        plan->uncovered_count += held[f] == 0;
        share[f] = (double)held[f] / (double)all;
        overhead += share[f] * watching;
    }
    for (uint32_t m = 0; m < plan->members; m++)
        plan->load[m] += common_weight;
    plan->unfairness = model_unfairness(plan->load, plan->members);
    double worst = 0;
    for (uint32_t m = 0; m < plan->members; m++) {
        double own = common_overhead;
        plan->load[m] = plan->common_load;
        for (size_t i = plan->holding_first[m]; i < plan->holding_first[m + 1]; i++) {
            const struct model_holding *h = &plan->holdings[i];
            double part = (double)h->quanta / plan->quanta;
            plan->load[m] += part * c->relative[h->function];
            if (options->constants)
                own += part * overhead_of(plan, &plan->functions[h->function], options->constants);
        }
        worst = fmax(worst, own);
    }
    plan->coverage = (struct plan_coverage){model_p_first(share, c->risk, c->count),
                                            model_p_first(share, c->cost, c->count)};
    plan->expected_victims = model_expected_victims(plan->coverage.by_risk);
    plan->overhead_percent = options->constants ? 100 * overhead : NAN;
    plan->overhead_worst_percent = options->constants ? 100 * worst : NAN;
    for (size_t f = 0; f < c->count; f++)
        share[f] = (double)model_tokens(c->risk[f], plan->members, plan->quanta) / (double)all;
    plan->paper = (struct plan_coverage){model_p_first(share, c->risk, c->count),
                                         model_p_first(share, c->cost, c->count)};
    free(share);
    free(held);
}

int plan_make(struct base_error *error, struct plan *plan, const struct profile *profile,
              const struct plan_options *options)
{
    *plan = (struct plan){.assign = options->assign,
                          .quantum_ms = options->quantum_ms,
                          .eps = options->eps,
                          .seed = options->seed,
                          .epoch = options->epoch};
    struct columns columns = {0};
    int status = -1;
    if (options->size == PLAN_SIZE_BUDGET && !options->constants) {
        base_fail(
            error, BASE_EXIT_ENVIRONMENT,
            "a budget needs the measured cost of supervision on this machine; measure it with testudo bench "
            "transition and name the file with --constants");
        goto out;
    }
    if (plan_nodes(error, plan, profile, options) || plan_risks(error, plan, options))
        goto out;
    take_columns(&columns, plan);
    if (count_members(error, plan, &columns, options))
        goto out;
    for (size_t f = 0; f < plan->own_count; f++) {
        plan->functions[f].share_percent = 100 * columns.cost[f] / plan->total;
        plan->functions[f].relative = columns.relative[f];
        plan->functions[f].demand = columns.demand[f];
    }
    mark_cold(plan, options->cold_percent);
    if (give_tokens(error, plan, &columns, options))
        goto out;
    divide(plan, &columns);
    predict(plan, &columns, options);
    status = 0;
out:
    free_columns(&columns);
    if (status)
        plan_free(plan);
    return status;
}

void plan_free(struct plan *plan)
{
    for (size_t f = 0; f < plan->function_count; f++)
        free((void *)(uintptr_t)plan->functions[f].name);
    free(plan->functions);
    free(plan->objects);
    for (size_t i = 0; i < plan->other_count; i++)
        free(plan->others[i].name);
    free(plan->others);
    free(plan->calls);
    free(plan->edges);
    free(plan->holdings);
    free(plan->holding_first);
    free(plan->load);
    *plan = (struct plan){0};
}

uint32_t plan_find(const struct plan *plan, const char *name)
{
    const char *bang = strchr(name, '!'), *plain = bang ? bang + 1 : name;
    char *end;
    unsigned long long offset = strtoull(plain, &end, 16);
    bool is_offset = strncmp(plain, "0x", 2) == 0 && *end == 0;
    for (size_t f = 0; f < plan->function_count; f++) {
        const struct plan_function *function = &plan->functions[f];
        const char *path = plan->objects[function->object].path, *slash = strrchr(path, '/');
        const char *file = slash ? slash + 1 : path;
        if (bang &&
            (strlen(file) != (size_t)(bang - name) || strncmp(file, name, (size_t)(bang - name)) != 0))
            continue;
        if (strcmp(function->name, plain) == 0 || (is_offset && function->offset == offset))
            return (uint32_t)f;
    }
    return MODEL_NO_FUNCTION;
}
