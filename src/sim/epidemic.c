/* Attacks on a community: the questions that a user has, asked of the paper's policy and of ours at equal overhead.

   Programs are like real servers: a quarter of the functions do the work, log-normally (sigma 1.45, which is what
   Apache's profile shows: half of the work in 7 percent of these functions, 90 percent in 44), the rest is cold. */
#include "sim/private.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PAPER, OURS, POLICIES };
enum fault { ANY, BY_RISK, COLD, FAULTS };
enum { POINTS_MAX = 8, WORKERS_MAX = 16 };

static const char *const policy_names[POLICIES] = {"paper", "testudo"};
static const char *const attack_names[] = {"attacker", "worm"};
static const char *const fault_names[FAULTS] = {"any function", "by risk", "cold code"};

#define HOT_PART       0.25
#define HOT_SIGMA      1.45
#define HEAL_S         30.0
#define EPS            0.01
#define SAMPLES_BUDGET 1.0e7 /* default replicates x members: keeps a million members below a minute */

/* A program with what the draws of a fault need. */
struct target {
    struct sim_program program;
    double *cumulated; /* risk */
    size_t hot;        /* functions before this one do the work */
};

static void make_target(struct target *t, size_t count, double alpha, struct core_rng *rng)
{
    struct sim_program *p = &t->program;
    sim_program_make(p, rng, count, SIM_EVEN, 1);
    t->hot = (size_t)fmax(1, HOT_PART * (double)count);
    for (size_t f = 0; f < count; f++)
        p->cost[f] = f < t->hot ? exp(HOT_SIGMA * sim_normal(rng)) : 0;
    sim_program_risk_share(p, rng, alpha, SIM_RISK_PART);
    /* Cold functions are as likely to be at risk as any. */
    for (size_t f = t->hot; f < count; f++)
        p->risk[f] = core_rng_unit(rng) < SIM_RISK_PART ? alpha : 1;
    t->cumulated = sim_allocate(count, sizeof *t->cumulated);
    double sum = 0;
    for (size_t f = 0; f < count; f++)
        t->cumulated[f] = sum += p->risk[f];
}

/* Where the fault is, by how likely faults are in functions. */
static uint32_t draw(const struct target *t, enum fault fault, struct core_rng *rng)
{
    size_t n = t->program.count, low = 0, high = n - 1;
    if (fault == ANY)
        return (uint32_t)core_rng_below(rng, n);
    if (fault == COLD && t->hot < n)
        return (uint32_t)(t->hot + core_rng_below(rng, n - t->hot));
    double at = core_rng_unit(rng) * t->cumulated[n - 1];
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (t->cumulated[middle] <= at)
            low = middle + 1;
        else
            high = middle;
    }
    return (uint32_t)low;
}

static void make_community(struct sim_community *c, const struct sim_program *p, uint32_t members, int policy)
{
    size_t n = p->count;
    double total = model_total(p->cost, n), heaviest = 0, load = 0;
    double *share = sim_allocate(n, sizeof *share), *overhead = sim_allocate(n, sizeof *overhead);
    uint32_t *order = sim_allocate(n, sizeof *order);
    c->tokens = sim_allocate(n, sizeof *c->tokens);
    for (size_t f = 0; f < n; f++) {
        overhead[f] = p->cost[f] / total;
        share[f] = fmin(1, p->risk[f] / members);
        load += share[f] * overhead[f];
        heaviest = fmax(heaviest, p->cost[f]);
    }
    /* Ours spends what the paper's policy costs, where it buys most. */
    if (policy == OURS)
        model_budget(share, order, overhead, p->risk, n, load, 1.0 / members);
    struct model_task task = {.functions = n, .members = members, .relative = p->cost, .tokens = c->tokens};
    task.quanta = model_quanta(heaviest, load * total, EPS);
    c->load_percent = 0;
    for (size_t f = 0; f < n; f++) {
        c->tokens[f] = model_tokens(share[f] * members, members, task.quanta);
        c->load_percent += 100 * (double)c->tokens[f] / ((double)members * task.quanta) * overhead[f];
    }
    sim_divide(&c->division, &task);
    free(share);
    free(overhead);
    free(order);
}

static void free_community(struct sim_community *c)
{
    sim_division_free(&c->division);
    free(c->tokens);
}

/* Chance that a strike on the function is detected. */
static double detection(const struct sim_community *c, const struct sim_setting *s, size_t function)
{
    return (1 - s->subverted) * (double)c->tokens[function] / ((double)s->members * c->division.task.quanta);
}

/* What a kind of fault meets: chance that the first strike is detected, and expected victims of a single attacker. */
static void expect(double *p_first, double *victims, const struct target *t, const struct sim_community *c,
                   const struct sim_setting *s, enum fault fault)
{
    double weights = 0;
    *p_first = *victims = 0;
    for (size_t f = 0; f < t->program.count; f++) {
        double weight = fault == BY_RISK ? t->program.risk[f] : fault == COLD ? f >= t->hot : 1;
        double p = detection(c, s, f);
        weights += weight;
        *p_first += weight * p;
        *victims += weight > 0 ? weight * model_expected_victims(p) : 0;
    }
    *p_first /= weights;
    *victims /= weights;
}

static const struct sim_column columns[] = {
    {"question", "question", SIM_TEXT, 0},
    {"variant", "variant", SIM_TEXT, 0},
    {"policy", "policy", SIM_TEXT, 0},
    {"attack", "attack", SIM_TEXT, 0},
    {"members", "members", SIM_NUMBER, 0},
    {"value", "value", SIM_NUMBER, -4},
    {"overhead_percent", "slow-down %", SIM_NUMBER, -3},
    {"fairness_percent", "fairness %", SIM_NUMBER, -2},
    {"p_first", "P(first)", SIM_NUMBER, -3},
    {"victims_before_detection", "victims before detection", SIM_INTERVAL, -4},
    {"closed_form", "(1-p)/p", SIM_NUMBER, -4},
    {"victims", "victims", SIM_INTERVAL, -4},
    {"fallen_percent", "fallen %", SIM_INTERVAL, -3},
    {"detected_s", "detected after s", SIM_INTERVAL, -3},
    {"immune_s", "all immune after s", SIM_INTERVAL, -3},
};
enum { COLUMNS = sizeof columns / sizeof *columns, VALUE = 5, OVERHEAD = 6, VICTIMS = 11, FALLEN = 12 };

struct run {
    struct sim_result *result;
    const struct sim_options *options;
    const struct target *target;
    struct sim_arena arena[WORKERS_MAX];
    float *until[WORKERS_MAX];
    unsigned workers;
    uint64_t replicates, done, total;
    double overhead_factor; /* slow-down of a member that watches all */
    double farthest; /* largest distance of a simulated mean from its closed form, in standard deviations */
    const char *question;
    int policy;
};

/* One worker's share of a row: every workers-th replicate, so that the outcomes do not depend on how many there are. */
struct share {
    struct run *run;
    const struct sim_community *community;
    const struct sim_setting *setting;
    struct sim_outcome *outcomes;
    uint32_t *functions;
    uint64_t *curves; /* NULL, or two of each replicate: immune and fallen */
    double step_s;
    enum fault fault;
    unsigned worker;
};

static void *work(void *argument)
{
    const struct share *share = argument;
    struct run *run = share->run;
    struct sim_arena *arena = &run->arena[share->worker];
    bool restarts = share->setting->kind == SIM_ATTACKER && share->setting->restart_s > 0;
    arena->until = restarts ? run->until[share->worker] : NULL;
    arena->step_s = share->step_s;
    for (uint64_t i = share->worker; i < run->replicates; i += run->workers) {
        /* The same faults for every row, so that rows differ by their setting alone. */
        struct core_rng rng = sim_stream(run->options->seed, i, 5);
        share->functions[i] = draw(run->target, share->fault, &rng);
        if (share->curves) {
            arena->immune = share->curves + 2 * i * SIM_CURVE_POINTS;
            arena->fallen = arena->immune + SIM_CURVE_POINTS;
        }
        share->outcomes[i] =
            sim_attack(arena, share->community, share->setting, share->functions[i], run->options->seed, i);
        if (share->worker == 0)
            sim_step(run->options, run->done + i, run->total);
    }
    return NULL;
}

/* Runs all replicates of a row on all processors. */
static void work_all(const struct share *all)
{
    struct run *run = all->run;
    pthread_t threads[WORKERS_MAX];
    struct share shares[WORKERS_MAX];
    bool started[WORKERS_MAX] = {false};
    for (unsigned w = 0; w < run->workers; w++) {
        shares[w] = *all;
        shares[w].worker = w;
    }
    for (unsigned w = 1; w < run->workers; w++)
        started[w] = pthread_create(&threads[w], NULL, work, &shares[w]) == 0;
    work(&shares[0]);
    for (unsigned w = 1; w < run->workers; w++)
        if (!started[w])
            work(&shares[w]);
        else
            pthread_join(threads[w], NULL);
    run->done += run->replicates;
}

static struct sim_cell mean_of(const struct sim_outcome *outcomes, uint64_t count, size_t field, double unit)
{
    double *samples = sim_allocate(count, sizeof *samples);
    size_t kept = 0;
    for (uint64_t i = 0; i < count; i++) {
        double sample;
        memcpy(&sample, (const char *)&outcomes[i] + field, sizeof sample);
        if (!isnan(sample))
            samples[kept++] = sample * unit;
    }
    struct sim_cell cell = kept ? sim_mean(samples, kept) : (struct sim_cell){NAN, NAN, NAN, NULL};
    /* What is counted is never below nothing, however skewed. */
    cell.low = fmax(0, cell.low);
    free(samples);
    return cell;
}

/* How far the victims of a single attacker are from the geometric distribution's mean, given which functions were struck:
   in standard deviations of the sum. */
static double distance_from_law(const struct share *all)
{
    double off = 0, variance = 0;
    for (uint64_t i = 0; i < all->run->replicates; i++) {
        double p = detection(all->community, all->setting, all->functions[i]);
        off += all->outcomes[i].victims_before - model_expected_victims(p);
        variance += (1 - p) / (p * p);
    }
    return variance > 0 ? fabs(off) / sqrt(variance) : 0;
}

/* Part of members over time, with its interval. */
static void add_curves(struct run *run, const uint64_t *curves, double step_s, uint32_t members)
{
    static const char *const names[] = {"immune", "fallen"};
    double *samples = sim_allocate(run->replicates, sizeof *samples);
    uint64_t *sums = sim_allocate(run->replicates, sizeof *sums);
    for (int k = 0; k < 2; k++) {
        struct sim_series *series =
            sim_result_series(run->result, SIM_CURVE_POINTS, "%s: %s", policy_names[run->policy], names[k]);
        memset(sums, 0, run->replicates * sizeof *sums);
        for (size_t point = 0; point < SIM_CURVE_POINTS; point++) {
            for (uint64_t i = 0; i < run->replicates; i++) {
                sums[i] += curves[(2 * i + (uint64_t)k) * SIM_CURVE_POINTS + point];
                samples[i] = 100.0 * (double)sums[i] / members;
            }
            series->x[point] = step_s * (double)point;
            series->y[point] = sim_mean(samples, run->replicates);
        }
    }
    free(samples);
    free(sums);
}

/* Adds a row. Returns its mean number of victims. */
static double simulate(struct run *run, const char *variant, double value, const struct sim_community *c,
                       const struct sim_setting *s, enum fault fault, bool curves)
{
    struct share all = {.run = run, .community = c, .setting = s, .fault = fault};
    all.outcomes = sim_allocate(run->replicates, sizeof *all.outcomes);
    all.functions = sim_allocate(run->replicates, sizeof *all.functions);
    if (curves) {
        all.curves = sim_allocate(2 * run->replicates * SIM_CURVE_POINTS, sizeof *all.curves);
        /* A worm's time to all members grows with the logarithm of their number. */
        all.step_s = (2 * log(s->members) / s->scans_per_s + 10 * s->latency_s) / (SIM_CURVE_POINTS - 1);
    }
    work_all(&all);
    double p_first, closed;
    expect(&p_first, &closed, run->target, c, s, fault);
    bool lawful = s->kind == SIM_ATTACKER && s->away <= 0 && s->cut <= 0 && s->restart_s <= 0;
    const struct sim_cell row[] = {
        sim_text(run->question),
        sim_text(variant),
        sim_text(policy_names[run->policy]),
        sim_text(attack_names[s->kind]),
        sim_number(s->members),
        sim_number(value),
        sim_number(c->load_percent * run->overhead_factor),
        sim_number(100 * c->division.unfairness),
        sim_number(p_first),
        mean_of(all.outcomes, run->replicates, offsetof(struct sim_outcome, victims_before), 1),
        sim_number(lawful ? closed : NAN),
        mean_of(all.outcomes, run->replicates, offsetof(struct sim_outcome, victims), 1),
        mean_of(all.outcomes, run->replicates, offsetof(struct sim_outcome, victims), 100.0 / s->members),
        mean_of(all.outcomes, run->replicates, offsetof(struct sim_outcome, detect_s), 1),
        mean_of(all.outcomes, run->replicates, offsetof(struct sim_outcome, immune_s), 1)};
    _Static_assert(sizeof row / sizeof *row == COLUMNS, "a cell for each column");
    memcpy(sim_result_row(run->result), row, sizeof row);
    if (lawful)
        run->farthest = fmax(run->farthest, distance_from_law(&all));
    if (curves)
        add_curves(run, all.curves, all.step_s, s->members);
    free(all.outcomes);
    free(all.functions);
    free(all.curves);
    return row[VICTIMS].number;
}

/* Adds the row of an equal setting once more, under another question. */
static double repeat(struct run *run, const char *variant, double value, size_t row)
{
    struct sim_cell *copy = sim_result_row(run->result);
    memcpy(copy, run->result->cells + row * COLUMNS, COLUMNS * sizeof *copy);
    copy[0].text = run->question;
    copy[1].text = variant;
    copy[VALUE] = sim_number(value);
    run->done += run->replicates;
    return copy[VICTIMS].number;
}

/* False alerts: what honest members watch for nothing, in percent of T. Liars alert for functions drawn at random, or all for
   the same costly ones; a vaccine on one word may cost so much, one that two members vouch for anything. */
static double false_alerts(const struct target *t, const struct sim_community *c, uint64_t seed,
                           uint64_t replicate, uint32_t liars, bool together)
{
    enum { ALERTS_EACH = 64 };
    const struct sim_program *p = &t->program;
    const struct model_task *task = &c->division.task;
    struct core_rng rng = sim_stream(seed, replicate, 7);
    double total = model_total(p->cost, p->count), watched = 0;
    struct model_trust trust = {.budget = EPS * c->load_percent / 100, .vouchers = 2};
    uint32_t *words = sim_allocate(p->count, sizeof *words), *last = sim_allocate(p->count, sizeof *last);
    for (uint32_t liar = 0; liar < liars; liar++)
        for (uint32_t alert = 0; alert < ALERTS_EACH; alert++) {
            uint32_t f = together ? alert % (uint32_t)p->count : (uint32_t)core_rng_below(&rng, p->count);
            if (last[f] == liar + 1)
                continue;
            last[f] = liar + 1;
            double cost = model_vaccine_cost(p->cost[f], total, task->tokens[f], task->members, task->quanta);
            bool before = words[f] > 0 && words[f] != UINT32_MAX;
            if (words[f] == UINT32_MAX)
                continue;
            if (model_admits(&trust, cost, before ? 2 : 1)) {
                watched += cost;
                words[f] = UINT32_MAX; /* its vaccine is out */
            } else {
                words[f]++;
            }
        }
    free(words);
    free(last);
    return 100 * watched;
}

/* Rows of false alerts, which need no attack: their price is overhead. Returns what one liar costs at most. */
static double lie(struct run *run, const struct sim_community *c, uint32_t members)
{
    const uint32_t liars[] = {1, 2, (uint32_t)ceil(0.1 * members)};
    double worst = 0, *samples = sim_allocate(run->replicates, sizeof *samples);
    for (int together = 0; together < 2; together++)
        for (int k = 0; k < 3; k++) {
            for (uint64_t i = 0; i < run->replicates; i++) {
                samples[i] = false_alerts(run->target, c, run->options->seed, i, liars[k], together) *
                             run->overhead_factor;
                if (k == 0)
                    worst = fmax(worst, samples[i]);
            }
            struct sim_cell *row = sim_result_row(run->result), none = {NAN, NAN, NAN, NULL};
            for (int i = 0; i < COLUMNS; i++)
                row[i] = none;
            row[0] = sim_text(run->question);
            row[1] = sim_text(together ? "in concert" : "each alone");
            row[2] = sim_text(policy_names[run->policy]);
            row[3] = sim_text("false alerts");
            row[4] = sim_number(members);
            row[VALUE] = sim_number(100.0 * liars[k] / members);
            row[OVERHEAD] = sim_number(c->load_percent * run->overhead_factor +
                                       sim_mean(samples, run->replicates).number);
        }
    free(samples);
    return worst;
}

/* All questions about one policy. */
struct answers {
    double worm, slow[2], one[2], away[2], cut[2], liar;
    uint32_t needed; /* members from which on a worm takes less than a tenth of them; 0: none of the sizes */
};

static void ask_all(struct answers *answers, struct run *run, const struct sim_setting *base)
{
    struct sim_community c;
    struct sim_setting s;
    make_community(&c, &run->target->program, base->members, run->policy);
    run->question = "which policy";
    s = *base;
    s.kind = SIM_ATTACKER;
    simulate(run, "one attacker", NAN, &c, &s, ANY, false);
    answers->worm = simulate(run, "worm", NAN, &c, base, ANY, true);
    size_t worm_row = run->result->row_count - 1;

    run->question = "where is the fault";
    for (int fault = 0; fault < FAULTS; fault++)
        if (fault == ANY)
            repeat(run, fault_names[fault], NAN, worm_row);
        else
            simulate(run, fault_names[fault], NAN, &c, base, (enum fault)fault, false);

    run->question = "slow alerts";
    static const double latencies[] = {0.001, 0.1, 1, 10};
    for (int i = 0; i < 4; i++) {
        s = *base;
        s.latency_s = latencies[i];
        double victims = s.latency_s == base->latency_s
                             ? repeat(run, "mean, seconds", latencies[i], worm_row)
                             : simulate(run, "mean, seconds", latencies[i], &c, &s, ANY, false);
        if (i == 0 || i == 2)
            answers->slow[i / 2] = victims;
    }

    run->question = "subverted members";
    const double subverted[] = {0, 1.0 / base->members, 0.01, 0.1, 0.3};
    for (int i = 0; i < 5; i++) {
        s = *base;
        s.subverted = subverted[i];
        double victims = s.subverted == base->subverted
                             ? repeat(run, "silent, percent", 100 * subverted[i], worm_row)
                             : simulate(run, "silent, percent", 100 * subverted[i], &c, &s, ANY, false);
        if (i < 2)
            answers->one[i] = victims;
    }
    run->question = "false alerts";
    if (run->policy == OURS)
        answers->liar = lie(run, &c, base->members);

    run->question = "members come and go";
    static const double away[] = {0.01, 0.1};
    answers->away[0] = answers->worm;
    for (int i = 0; i < 2; i++) {
        s = *base;
        s.away = away[i];
        answers->away[1] = simulate(run, "away, percent", 100 * away[i], &c, &s, ANY, false);
    }

    run->question = "crash and restart";
    static const double restarts[] = {1, 60};
    for (int i = 0; i < 2; i++) {
        s = *base;
        s.kind = SIM_ATTACKER;
        s.restart_s = restarts[i];
        simulate(run, "takes, seconds", restarts[i], &c, &s, ANY, false);
    }

    run->question = "network cut for 30 s";
    static const double cuts[] = {0.1, 0.5};
    answers->cut[0] = answers->worm;
    for (int i = 0; i < 2; i++) {
        s = *base;
        s.cut = cuts[i];
        s.heal_s = HEAL_S;
        answers->cut[1] = simulate(run, "cut off, percent", 100 * cuts[i], &c, &s, ANY, false);
    }

    run->question = "how many members";
    repeat(run, "members", base->members, worm_row);
    double fallen = run->result->cells[worm_row * COLUMNS + FALLEN].number;
    answers->needed = fallen < 10 ? base->members : 0;
    free_community(&c);
    for (uint32_t size = base->members / 10; size >= 10; size /= 10) {
        s = *base;
        s.members = size;
        make_community(&c, &run->target->program, s.members, run->policy);
        if (simulate(run, "members", size, &c, &s, ANY, false) < 0.1 * size)
            answers->needed = size;
        free_community(&c);
    }
}

static void claim_all(struct run *run, const struct answers *paper, const struct answers *ours)
{
    struct sim_result *result = run->result;
    sim_result_claim(result, run->farthest <= 3.5,
                     "a single attacker's victims before detection follow from eq. 3: (1 - p) / p",
                     "off by %.2f standard deviations", run->farthest);
    sim_result_claim(result, ours->worm <= paper->worm,
                     "at equal overhead our policy loses fewer members to a worm than the paper's",
                     "%.4g of the paper's %.4g", ours->worm, paper->worm);
    sim_result_claim(result, ours->one[1] <= 1.5 * ours->one[0] + 5,
                     "one member that does not do its part costs next to nothing",
                     "a worm's victims go from %.4g to %.4g (paper's policy: %.4g to %.4g)", ours->one[0],
                     ours->one[1], paper->one[0], paper->one[1]);
    sim_result_claim(result, ours->liar <= EPS * run->overhead_factor * 100,
                     "vaccines on one member's word cost no more than eps of a slice",
                     "one member that raises 64 false alerts slows the others down by %.2g%% at most",
                     ours->liar);
    sim_result_claim(result, ours->slow[1] >= ours->slow[0],
                     "slow alerts cost members: a second instead of a millisecond",
                     "a worm's victims go from %.4g to %.4g (paper's policy: %.4g to %.4g)", ours->slow[0],
                     ours->slow[1], paper->slow[0], paper->slow[1]);
}

int sim_epidemic(struct base_error *error, struct sim_result *result, const struct sim_options *options)
{
    size_t n = options->functions ? options->functions : 1000;
    struct sim_setting base = {.kind = SIM_WORM,
                               .members = options->members ? (uint32_t)options->members : 1000,
                               .latency_s = (options->latency_ms > 0 ? options->latency_ms : 100) / 1000,
                               .loss = options->loss > 0 ? options->loss : 0,
                               .subverted = options->subverted > 0 ? options->subverted : 0,
                               .scans_per_s = options->scans_per_s > 0 ? options->scans_per_s : 1};
    double alpha = options->alpha > 0 ? options->alpha : 2;
    double slowdown = options->slowdown > 0 ? options->slowdown : 30;
    double user = options->user_share > 0 ? options->user_share : 0.159;
    struct target target;
    struct core_rng rng = sim_stream(options->seed, 0, 0);
    (void)error;
    make_target(&target, n, alpha, &rng);
    sim_result_start(result, "epidemic", "An attack on a community until all are immune", columns, COLUMNS);
    static const struct sim_plot plots[] = {
        {.name = "members",
         .title = "A worm's victims by the number of members, at equal overhead",
         .x_label = "members",
         .y = FALLEN,
         .x_log = true,
         .only_text = "how many members"},
        {.name = "latency",
         .title = "A worm's victims by the time that alerts take",
         .x_label = "mean time of an alert to a member, seconds",
         .y = FALLEN,
         .x_log = true,
         .only_text = "slow alerts"},
        {.name = "subverted",
         .title = "A worm's victims by members that watch nothing",
         .x_label = "silent members, %",
         .y = FALLEN,
         .only_text = "subverted members"},
        {.name = "lies",
         .title = "What false alerts cost the honest",
         .x_label = "members that raise 64 false alerts each, %",
         .y = OVERHEAD,
         .x_log = true,
         .y_log = true,
         .only_text = "false alerts"},
    };
    for (unsigned i = 0; i < sizeof plots / sizeof *plots; i++) {
        struct sim_plot plot = plots[i];
        plot.x = VALUE;
        plot.only = -1;
        plot.group[0] = plot.y == OVERHEAD ? 1 : 2;
        plot.group[1] = -1;
        sim_result_plot(result, plot);
    }
    result->series_name = "time";
    result->series_title = "A worm: members immune and fallen over time";
    result->series_x = "seconds since the first strike";
    result->series_y = "% of members";
    uint64_t affordable = (uint64_t)fmax(5, SAMPLES_BUDGET / base.members);
    struct run run = {.result = result,
                      .options = options,
                      .target = &target,
                      .overhead_factor = user * (slowdown - 1),
                      .replicates = !options->replicates_given && affordable < options->replicates
                                        ? affordable
                                        : options->replicates};
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    run.workers = processors < 1 ? 1 : processors > WORKERS_MAX ? WORKERS_MAX : (unsigned)processors;
    for (unsigned w = 0; w < run.workers; w++) {
        run.arena[w].target = sim_allocate(base.members, sizeof *run.arena[w].target);
        run.arena[w].slot = sim_allocate(base.members, sizeof *run.arena[w].slot);
        run.until[w] = sim_allocate(base.members, sizeof *run.until[w]);
    }
    snprintf(
        result->setting, sizeof result->setting,
        "%zu functions, a quarter of them with all the work; alpha = %g; the fault is in any function; %g strikes a second "
        "by each attacker; alerts take %g ms on average, %g%% are lost; supervised code takes %g times as long, the "
        "program's own is %.3g%% of its time; %llu runs a row",
        n, alpha, base.scans_per_s, 1000 * base.latency_s, 100 * base.loss, slowdown, 100 * user,
        (unsigned long long)run.replicates);
    unsigned sizes = 0;
    for (uint32_t size = base.members; size >= 10; size /= 10)
        sizes++;
    run.total = run.replicates * POLICIES * (2 + 3 + 4 + 5 + 2 + 2 + 2 + sizes);
    struct answers answers[POLICIES] = {{0}};
    for (run.policy = 0; run.policy < POLICIES; run.policy++)
        ask_all(&answers[run.policy], &run, &base);
    claim_all(&run, &answers[PAPER], &answers[OURS]);
    result->replicates = run.replicates;
    for (unsigned w = 0; w < run.workers; w++) {
        free(run.arena[w].target);
        free(run.arena[w].slot);
        free(run.until[w]);
    }
    free(target.cumulated);
    sim_program_free(&target.program);
    return 0;
}
