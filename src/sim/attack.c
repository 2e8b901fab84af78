/* One attack on a community, event by event, until every member is immune.

   One function has a fault. The attacker strikes random members; in a worm every fallen member strikes too. A struck
   member that watches the function at that moment detects and undoes the fault, and tells all; the alert reaches each member
   after its own delay, lost messages a retransmission later, and from then on nothing happens there. Another member falls. A
   single attacker's victims crash, restart, and are then as they were; a worm's stay infected.

   Subverted members watch nothing and tell nothing. Members come and go: who is away neither falls nor detects, and asks
   for what it missed when it is back. While the network is cut, alerts stay on their side. */
#include "sim/private.h"

#include <math.h>
#include <stdlib.h>

#define RETRANSMIT_S 1.0
#define QUANTUM_S    1.0
#define AWAY_MEAN_S  30.0 /* how long a member is away */

/* What the random numbers of a replicate belong to. */
enum { DELAY, LOST, SUBVERTED, PRESENCE, SIDE, STREAMS };

struct attack {
    const struct sim_community *community;
    const struct sim_setting *s;
    struct sim_arena *arena;
    uint64_t streams[STREAMS];
    double detect_s[2]; /* on each side of the cut; INFINITY: not yet */
    size_t first, end;  /* holdings of the faulty function */
    bool everyone;      /* watches it always */
    double start;       /* quantum at time 0 */
};

/* A number in [0, 1) that belongs to a member in a replicate: the same whenever it is asked for. splitmix64's finaliser,
   because a million members ask in every replicate. */
static double lot(uint64_t stream, uint64_t member)
{
    uint64_t z = stream + member * 0x9e3779b97f4a7c15ull;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return (double)((z ^ (z >> 31)) >> 11) * 0x1p-53;
}

/* How long an alert takes to a member. */
static double delay(const struct attack *a, uint32_t member)
{
    double seconds = -a->s->latency_s * log(1 - lot(a->streams[DELAY], member));
    if (a->s->loss > 0)
        seconds += RETRANSMIT_S * floor(log(1 - lot(a->streams[LOST], member)) / log(a->s->loss));
    return seconds;
}

/* When the member is there next: `time` itself, when it is there then. Times of presence and absence are exponential. */
static double present_from(const struct attack *a, uint32_t member, double time)
{
    double away = a->s->away;
    if (away <= 0)
        return time;
    bool is_there = lot(a->streams[PRESENCE], member) >= away;
    double t = 0;
    for (uint64_t k = 1;; k++) {
        double mean = is_there ? AWAY_MEAN_S * (1 - away) / away : AWAY_MEAN_S;
        t += -mean * log(1 - lot(a->streams[PRESENCE] + k * 0xd1b54a32d192ed03ull, member));
        if (t > time)
            return is_there ? time : t;
        is_there = !is_there;
    }
}

static int side_of(const struct attack *a, uint32_t member)
{
    return a->s->cut > 0 && lot(a->streams[SIDE], member) < a->s->cut;
}

/* When the member becomes immune, as far as is known by now. */
static double immune_from(const struct attack *a, uint32_t member)
{
    int side = side_of(a, member);
    double told = fmin(a->detect_s[side], fmax(a->detect_s[!side], a->s->heal_s));
    return told == INFINITY ? INFINITY : present_from(a, member, told + delay(a, member));
}

static bool watches(const struct attack *a, uint32_t member, double time)
{
    const struct sim_division *d = &a->community->division;
    bool now = a->everyone;
    if (!now && a->arena->slot[member]) {
        uint32_t quantum = (uint32_t)fmod(a->start + time / QUANTUM_S, d->task.quanta);
        now = model_holds(&d->holdings[a->arena->slot[member] - 1], quantum, d->task.quanta);
    }
    return now && !(a->s->subverted > 0 && lot(a->streams[SUBVERTED], member) < a->s->subverted);
}

/* Counts into the curve over time. */
static void mark(uint64_t *curve, const struct sim_arena *arena, double time)
{
    double at = ceil(time / arena->step_s);
    if (at < SIM_CURVE_POINTS)
        curve[at < 0 ? 0 : (size_t)at]++;
}

/* The last member's immunity; with the curve, everybody's. */
static double last_immune(struct attack *a)
{
    double last = 0;
    for (uint32_t m = 0; m < a->s->members; m++) {
        double at = immune_from(a, m);
        last = fmax(last, at);
        if (a->arena->step_s > 0)
            mark(a->arena->immune, a->arena, at);
    }
    return last;
}

static double exponential(struct core_rng *rng, double rate)
{
    return -log(1 - core_rng_unit(rng)) / rate;
}

/* A worm's strikes at members that have fallen already change nothing, nor do later ones at an immune member: so those
   leave the list of targets, and the rate of strikes falls with it. The events that remain have the same law, and
   there are no more of them than members. */
struct sim_outcome sim_attack(struct sim_arena *arena, const struct sim_community *c,
                              const struct sim_setting *s, uint32_t function, uint64_t seed,
                              uint64_t replicate)
{
    const struct model_task *task = &c->division.task;
    struct attack a = {.community = c, .s = s, .arena = arena, .detect_s = {INFINITY, INFINITY}};
    uint32_t members = s->members, targets = members;
    struct core_rng rng = sim_stream(seed, replicate, 3), names = sim_stream(seed, replicate, 4);
    struct sim_outcome o = {.detect_s = NAN, .immune_s = NAN};
    double time = 0, last = INFINITY;
    a.first = c->division.first[function];
    a.end = c->division.first[function + 1];
    a.everyone = c->tokens[function] == (uint64_t)members * task->quanta;
    a.start = core_rng_unit(&rng) * task->quanta;
    for (int i = 0; i < STREAMS; i++)
        a.streams[i] = core_rng_next(&names);
    for (uint32_t m = 0; m < members; m++)
        arena->target[m] = m;
    for (size_t h = a.first; h < a.end; h++)
        arena->slot[c->division.holdings[h].member] = (uint32_t)(h + 1);
    while (targets) {
        double attackers = s->kind == SIM_WORM ? (1 + o.victims) * targets / members : 1;
        time += exponential(&rng, s->scans_per_s * attackers);
        if (time > last)
            break;
        uint32_t at = (uint32_t)core_rng_below(&rng, targets), member = arena->target[at];
        if (present_from(&a, member, time) > time ||
            (arena->until && arena->until[member] > 0 && time < (double)arena->until[member]))
            continue;
        bool immune = time >= immune_from(&a, member), survives = immune || watches(&a, member, time);
        int side = side_of(&a, member);
        if (survives && !immune && time < a.detect_s[side]) {
            if (isnan(o.detect_s)) {
                o.detect_s = time;
                o.victims_before = o.victims;
            }
            a.detect_s[side] = time;
            last = 0;
            for (uint32_t m = 0; m < members; m++)
                last = fmax(last, immune_from(&a, m));
        }
        if (!survives) {
            o.victims++;
            if (arena->step_s > 0)
                mark(arena->fallen, arena, time);
            if (arena->until)
                arena->until[member] = (float)(time + s->restart_s);
        }
        if (s->kind == SIM_WORM)
            arena->target[at] = arena->target[--targets];
        else if (o.victims > 100.0 * members + 1000)
            break; /* nobody who watches is honest: it never ends */
    }
    if (isnan(o.detect_s))
        o.victims_before = o.victims;
    else
        o.immune_s = last_immune(&a);
    for (size_t h = a.first; h < a.end; h++)
        arena->slot[c->division.holdings[h].member] = 0;
    for (uint32_t m = 0; arena->until && m < members; m++)
        arena->until[m] = 0;
    return o;
}
