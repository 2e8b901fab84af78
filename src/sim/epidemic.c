/* An attack on a community, event by event, until every member is immune.

   One function has a fault. The attacker strikes random members; in a worm every fallen member strikes too. A struck
   member that watches the function at that moment detects and undoes the fault, and tells all; the alert reaches each member
   after its own delay, lost messages a retransmission later, and from then on nothing happens there. Another member falls. A
   single attacker's victims restart as they were; a worm's stay infected. Subverted members watch nothing and tell nothing.

   Programs are like real servers: a quarter of the functions do the work, log-normally (sigma 1.45, which is what
   Apache's profile shows: half of the work in 7 percent of these functions, 90 percent in 44), the rest is cold. */
#include "sim/private.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PAPER, OURS, POLICIES };
enum { ATTACKER, WORM, ATTACKS };
enum { POINTS_MAX = 8 };

static const char *const policy_names[POLICIES] = {"paper", "testudo"};
static const char *const attack_names[ATTACKS] = {"attacker", "worm"};

#define HOT_PART       0.25
#define HOT_SIGMA      1.45
#define RISK_PART      0.5893 /* of the work, as in Table 1 */
#define RETRANSMIT_S   1.0
#define QUANTUM_S      1.0
#define SAMPLES_BUDGET 3.0e7 /* default replicates x members: keeps a million members below a minute */

struct setting {
    uint32_t members;
    double latency_s, loss, subverted, scans_per_s;
};

/* One policy's slices for a number of members. */
struct community {
    struct sim_division division;
    uint64_t *tokens;
    double load_percent; /* of T that a member watches on average */
    double p_first;      /* faults uniform over functions */
};

struct outcome {
    double victims_before, victims, detect_s, immune_s;
};

/* Memory of one replicate, used again for the next. */
struct arena {
    uint32_t *target; /* members that a strike can still change */
    uint32_t *slot;   /* holding of the faulty function + 1, by member */
};

static void make_program(struct sim_program *p, size_t count, double alpha, struct core_rng *rng)
{
    sim_program_make(p, rng, count, SIM_EVEN, 1);
    for (size_t f = 0; f < count; f++)
        p->cost[f] = f < fmax(1, HOT_PART * (double)count) ? exp(HOT_SIGMA * sim_normal(rng)) : 0;
    sim_program_risk_share(p, rng, alpha, RISK_PART);
    /* Cold functions are as likely to be at risk as any. */
    for (size_t f = 0; f < count; f++)
        if (p->cost[f] == 0)
            p->risk[f] = core_rng_unit(rng) < RISK_PART ? alpha : 1;
}

static void make_community(struct community *c, const struct sim_program *p, uint32_t members, int policy)
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
    task.quanta = model_quanta(heaviest, load * total, 0.05);
    c->load_percent = c->p_first = 0;
    for (size_t f = 0; f < n; f++) {
        c->tokens[f] = model_tokens(share[f] * members, members, task.quanta);
        double part = (double)c->tokens[f] / ((double)members * task.quanta);
        c->load_percent += 100 * part * overhead[f];
        c->p_first += part / (double)n;
    }
    sim_divide(&c->division, &task);
    free(share);
    free(overhead);
    free(order);
}

static void free_community(struct community *c)
{
    sim_division_free(&c->division);
    free(c->tokens);
}

/* A number in [0, 1) that belongs to a member in a replicate: the same whenever it is asked for. `stream` tells replicates
   and purposes apart. splitmix64's finaliser, because a million members ask in every replicate. */
static double lot(uint64_t stream, uint64_t member)
{
    uint64_t z = stream + member * 0x9e3779b97f4a7c15ull;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return (double)((z ^ (z >> 31)) >> 11) * 0x1p-53;
}

/* How long an alert takes to a member. */
static double delay(const struct setting *s, const uint64_t *streams, uint32_t member)
{
    double seconds = -s->latency_s * log(1 - lot(streams[0], member));
    if (s->loss > 0)
        seconds += RETRANSMIT_S * floor(log(1 - lot(streams[1], member)) / log(s->loss));
    return seconds;
}

static double exponential(struct core_rng *rng, double rate)
{
    return -log(1 - core_rng_unit(rng)) / rate;
}

/* A worm's strikes at members that have fallen already change nothing, nor do later ones at an immune member: so those
   leave the list of targets, and the rate of strikes falls with it. The events that remain have the same law, and
   there are no more of them than members. */
static struct outcome attack(struct arena *arena, const struct community *c, const struct setting *s,
                             uint32_t function, int kind, uint64_t seed, uint64_t replicate)
{
    const struct model_task *task = &c->division.task;
    const struct model_holding *holdings = c->division.holdings;
    size_t first = c->division.first[function], end = c->division.first[function + 1];
    uint32_t members = s->members, targets = members;
    bool everyone = c->tokens[function] == (uint64_t)members * task->quanta, detected = false;
    struct core_rng rng = sim_stream(seed, replicate, 3), names = sim_stream(seed, replicate, 4);
    const uint64_t streams[] = {core_rng_next(&names), core_rng_next(&names), core_rng_next(&names)};
    double time = 0, start = core_rng_unit(&rng) * task->quanta, last = INFINITY;
    struct outcome o = {.detect_s = NAN, .immune_s = NAN};
    for (uint32_t m = 0; m < members; m++)
        arena->target[m] = m;
    for (size_t h = first; h < end; h++)
        arena->slot[holdings[h].member] = (uint32_t)(h + 1);
    while (targets) {
        double attackers = kind == WORM ? (1 + o.victims) * targets / members : 1;
        time += exponential(&rng, s->scans_per_s * attackers);
        if (time > last)
            break;
        uint32_t at = (uint32_t)core_rng_below(&rng, targets), member = arena->target[at];
        bool immune = detected && time >= o.detect_s + delay(s, streams, member), watches = everyone;
        if (!immune && !watches && arena->slot[member]) {
            uint32_t quantum = (uint32_t)fmod(start + time / QUANTUM_S, task->quanta);
            watches = model_holds(&holdings[arena->slot[member] - 1], quantum, task->quanta);
        }
        bool survives = immune || (watches && !(s->subverted > 0 && lot(streams[2], member) < s->subverted));
        if (survives && !immune && !detected) {
            detected = true;
            o.detect_s = time;
            o.victims_before = o.victims;
            last = time;
            for (uint32_t m = 0; m < members; m++)
                last = fmax(last, time + delay(s, streams, m));
            o.immune_s = last;
        }
        o.victims += !survives;
        if (kind == WORM)
            arena->target[at] = arena->target[--targets];
        else if (o.victims > 100.0 * members + 1000)
            break; /* nobody who watches is honest: it never ends */
    }
    if (!detected)
        o.victims_before = o.victims;
    for (size_t h = first; h < end; h++)
        arena->slot[holdings[h].member] = 0;
    return o;
}

/* Expected victims of a single attacker before the first detection, faults uniform over functions: the mean of
   (1 - p_f) / p_f. */
static double closed_form(const struct community *c, const struct setting *s)
{
    const struct model_task *task = &c->division.task;
    double sum = 0;
    for (size_t f = 0; f < task->functions; f++)
        sum += model_expected_victims((1 - s->subverted) * (double)c->tokens[f] /
                                      ((double)s->members * task->quanta));
    return sum / (double)task->functions;
}

static const struct sim_column columns[] = {
    {"question", "question", SIM_TEXT, 0},
    {"attack", "attack", SIM_TEXT, 0},
    {"policy", "policy", SIM_TEXT, 0},
    {"members", "members", SIM_NUMBER, 0},
    {"latency_ms", "latency ms", SIM_NUMBER, -4},
    {"subverted_percent", "subverted %", SIM_NUMBER, -3},
    {"load_percent", "watched % of work", SIM_NUMBER, -3},
    {"p_first", "P(first)", SIM_NUMBER, -3},
    {"victims_before_detection", "victims before detection", SIM_INTERVAL, -4},
    {"closed_form", "(1-p)/p", SIM_NUMBER, -4},
    {"victims", "victims", SIM_INTERVAL, -4},
    {"detected_s", "detected after s", SIM_INTERVAL, -3},
    {"immune_s", "all immune after s", SIM_INTERVAL, -3},
};
enum { COLUMNS = sizeof columns / sizeof *columns, VICTIMS = 10 };

enum { WORKERS_MAX = 16 };

struct run {
    struct sim_result *result;
    const struct sim_options *options;
    const struct sim_program *program;
    struct arena arena[WORKERS_MAX];
    unsigned workers;
    uint64_t replicates, done, total;
    double farthest; /* largest distance of a simulated mean from its closed form, in half intervals */
};

/* One worker's share of a row: every workers-th replicate, so that the outcomes do not depend on how many there are. */
struct share {
    struct run *run;
    const struct community *community;
    const struct setting *setting;
    struct outcome *outcomes;
    int kind;
    unsigned worker;
};

static void *work(void *argument)
{
    const struct share *share = argument;
    struct run *run = share->run;
    for (uint64_t i = share->worker; i < run->replicates; i += run->workers) {
        /* The same faults for every row, so that rows differ by their setting alone. */
        struct core_rng rng = sim_stream(run->options->seed, i, 5);
        uint32_t function = (uint32_t)core_rng_below(&rng, run->program->count);
        share->outcomes[i] = attack(&run->arena[share->worker], share->community, share->setting, function,
                                    share->kind, run->options->seed, i);
        if (share->worker == 0)
            sim_step(run->options, run->done + i, run->total);
    }
    return NULL;
}

/* Runs all replicates of a row on all processors. */
static void work_all(struct run *run, struct outcome *outcomes, const struct community *c,
                     const struct setting *s, int kind)
{
    pthread_t threads[WORKERS_MAX];
    struct share shares[WORKERS_MAX];
    bool started[WORKERS_MAX] = {false};
    for (unsigned w = 0; w < run->workers; w++)
        shares[w] = (struct share){run, c, s, outcomes, kind, w};
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

static struct sim_cell mean_of(const struct outcome *outcomes, uint64_t count, size_t field)
{
    double *samples = sim_allocate(count, sizeof *samples);
    size_t kept = 0;
    for (uint64_t i = 0; i < count; i++) {
        double sample;
        memcpy(&sample, (const char *)&outcomes[i] + field, sizeof sample);
        if (!isnan(sample))
            samples[kept++] = sample;
    }
    struct sim_cell cell = kept ? sim_mean(samples, kept) : (struct sim_cell){NAN, NAN, NAN, NULL};
    free(samples);
    return cell;
}

/* Adds the row of an equal setting once more, under another question. */
static double repeat(struct run *run, const char *question, size_t row)
{
    struct sim_cell *copy = sim_result_row(run->result);
    memcpy(copy, run->result->cells + row * COLUMNS, COLUMNS * sizeof *copy);
    copy[0].text = question;
    run->done += run->replicates;
    return copy[VICTIMS].number;
}

/* Adds a row. Returns its mean number of victims. */
static double simulate(struct run *run, const char *question, const struct community *c,
                       const struct setting *s, int policy, int kind)
{
    struct outcome *outcomes = sim_allocate(run->replicates, sizeof *outcomes);
    work_all(run, outcomes, c, s, kind);
    double closed = kind == ATTACKER ? closed_form(c, s) : NAN;
    struct sim_cell before = mean_of(outcomes, run->replicates, offsetof(struct outcome, victims_before));
    struct sim_cell all = mean_of(outcomes, run->replicates, offsetof(struct outcome, victims));
    const struct sim_cell row[] = {sim_text(question),
                                   sim_text(attack_names[kind]),
                                   sim_text(policy_names[policy]),
                                   sim_number(s->members),
                                   sim_number(1000 * s->latency_s),
                                   sim_number(100 * s->subverted),
                                   sim_number(c->load_percent),
                                   sim_number(c->p_first),
                                   before,
                                   sim_number(closed),
                                   all,
                                   mean_of(outcomes, run->replicates, offsetof(struct outcome, detect_s)),
                                   mean_of(outcomes, run->replicates, offsetof(struct outcome, immune_s))};
    _Static_assert(sizeof row / sizeof *row == COLUMNS, "a cell for each column");
    memcpy(sim_result_row(run->result), row, sizeof row);
    if (kind == ATTACKER && isfinite(closed) && before.high > before.low)
        run->farthest = fmax(run->farthest, fabs(before.number - closed) / (before.high - before.number));
    free(outcomes);
    return all.number;
}

int sim_epidemic(struct base_error *error, struct sim_result *result, const struct sim_options *options)
{
    size_t n = options->functions ? options->functions : 1000;
    struct setting base = {.members = options->members ? (uint32_t)options->members : 1000,
                           .latency_s = (options->latency_ms > 0 ? options->latency_ms : 100) / 1000,
                           .loss = options->loss > 0 ? options->loss : 0,
                           .subverted = options->subverted > 0 ? options->subverted : 0,
                           .scans_per_s = options->scans_per_s > 0 ? options->scans_per_s : 1};
    double alpha = options->alpha > 0 ? options->alpha : 2;
    static const double latencies[] = {0.001, 0.1, 1, 10};
    double subverted[] = {0, 1.0 / base.members, 0.01, 0.1, 0.3};
    struct sim_program program = {0};
    struct core_rng rng = sim_stream(options->seed, 0, 0);
    (void)error;
    make_program(&program, n, alpha, &rng);
    sim_result_start(result, "epidemic", "An attack on a community until all are immune", columns, COLUMNS);
    uint64_t affordable = (uint64_t)fmax(5, SAMPLES_BUDGET / base.members);
    struct run run = {.result = result,
                      .options = options,
                      .program = &program,
                      .replicates = !options->replicates_given && affordable < options->replicates
                                        ? affordable
                                        : options->replicates};
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    run.workers = processors < 1 ? 1 : processors > WORKERS_MAX ? WORKERS_MAX : (unsigned)processors;
    for (unsigned w = 0; w < run.workers; w++) {
        run.arena[w].target = sim_allocate(base.members, sizeof *run.arena[w].target);
        run.arena[w].slot = sim_allocate(base.members, sizeof *run.arena[w].slot);
    }
    snprintf(
        result->setting, sizeof result->setting,
        "%zu functions, a quarter of them with all the work; alpha = %g; the fault is in any function; %g strikes a second "
        "by each attacker; alerts take %g ms on average, %g%% are lost; %llu runs a row",
        n, alpha, base.scans_per_s, 1000 * base.latency_s, 100 * base.loss,
        (unsigned long long)run.replicates);

    uint32_t sizes[POINTS_MAX], size_count = 0;
    for (double size = base.members; size >= 10 && size_count < POINTS_MAX; size /= 10)
        sizes[size_count++] = (uint32_t)size;
    run.total = run.replicates * POLICIES * (ATTACKS + size_count + 4 + 5);
    double worst[POLICIES] = {0}, slow[POLICIES][2] = {{0}}, one[POLICIES][2] = {{0}};
    for (int policy = 0; policy < POLICIES; policy++) {
        struct community c;
        make_community(&c, &program, base.members, policy);
        for (int kind = 0; kind < ATTACKS; kind++)
            worst[policy] = simulate(&run, "which policy", &c, &base, policy, kind);
        size_t worm_row = result->row_count - 1;
        for (unsigned i = 0; i < 4; i++) {
            struct setting s = base;
            s.latency_s = latencies[i];
            double victims = s.latency_s == base.latency_s
                                 ? repeat(&run, "slow alerts", worm_row)
                                 : simulate(&run, "slow alerts", &c, &s, policy, WORM);
            if (i == 0 || i == 2)
                slow[policy][i / 2] = victims;
        }
        for (unsigned i = 0; i < 5; i++) {
            struct setting s = base;
            s.subverted = subverted[i];
            double victims = s.subverted == base.subverted
                                 ? repeat(&run, "subverted members", worm_row)
                                 : simulate(&run, "subverted members", &c, &s, policy, WORM);
            if (i < 2)
                one[policy][i] = victims;
        }
        free_community(&c);
        repeat(&run, "how many members", worm_row);
        for (uint32_t i = 1; i < size_count; i++) {
            struct setting s = base;
            s.members = sizes[i];
            make_community(&c, &program, s.members, policy);
            simulate(&run, "how many members", &c, &s, policy, WORM);
            free_community(&c);
        }
    }
    sim_result_claim(
        result, run.farthest <= 2,
        "victims of a single attacker before detection agree with (1 - p) / p (off by %.2f half intervals)",
        run.farthest);
    sim_result_claim(result, worst[OURS] <= worst[PAPER],
                     "at equal overhead a worm takes %.4g members where the paper's policy loses %.4g",
                     worst[OURS], worst[PAPER]);
    sim_result_claim(
        result, one[OURS][1] <= 1.5 * one[OURS][0] + 5,
        "one subverted member (on average) changes the victims from %.4g to %.4g (paper's policy: %.4g to %.4g)",
        one[OURS][0], one[OURS][1], one[PAPER][0], one[PAPER][1]);
    sim_result_claim(
        result, slow[OURS][1] >= slow[OURS][0],
        "alerts that take a second instead of a millisecond change the victims from %.4g to %.4g (paper's policy: "
        "%.4g to %.4g)",
        slow[OURS][0], slow[OURS][1], slow[PAPER][0], slow[PAPER][1]);
    result->replicates = run.replicates;
    for (unsigned w = 0; w < run.workers; w++) {
        free(run.arena[w].target);
        free(run.arena[w].slot);
    }
    sim_program_free(&program);
    return 0;
}
