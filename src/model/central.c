/* Central distribution: longest processing time first, split into quanta so that it is fair to one token.

   A function of weight r and risk v asks for v Q tokens of weight r / Q. Giving whole copies to the least loaded
   member is the classic rule; it is unfair as soon as one function outweighs W/N. So a member that a copy would push
   over W/N takes only as many quanta as bring it there, and is then full. The rest of one rounding is carried into the
   next, which keeps the sum of the errors below one token.

   When few members remain that do not hold a function yet, it goes to full ones, and members are levelled afterwards:
   tokens move from one above the fair load to one below it that holds fewer of the same function.

   The tokens of a function lie on a ring of Q quanta, holder after holder. Nobody holds more than Q tokens of it, so no
   holder overlaps itself, and v Q tokens on a ring of Q cover every quantum v times. Functions with the most copies go
   first, while members are still empty: their copies need as many different members. */
#include "model/assign.h"

#include <math.h>

enum { LEVELLING_ROOM = 4096, OFFERS_MAX = 64 };

static bool by_copies_then_weight(const struct model_task *task, uint32_t a, uint32_t b)
{
    uint64_t copies_a = (task->tokens[a] - 1) / task->quanta, copies_b = (task->tokens[b] - 1) / task->quanta;
    if (copies_a != copies_b)
        return copies_a > copies_b;
    if (task->relative[a] != task->relative[b])
        return task->relative[a] > task->relative[b];
    return a < b;
}

/* Min-heap of members by load, then number. */
struct heap {
    uint32_t *member;
    size_t count;
    const double *load;
};

static bool lighter(const struct heap *heap, uint32_t a, uint32_t b)
{
    return heap->load[a] < heap->load[b] || (heap->load[a] == heap->load[b] && a < b);
}

static void heap_push(struct heap *heap, uint32_t member)
{
    size_t at = heap->count++;
    while (at > 0 && lighter(heap, member, heap->member[(at - 1) / 2])) {
        heap->member[at] = heap->member[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    heap->member[at] = member;
}

static uint32_t heap_pop(struct heap *heap)
{
    uint32_t top = heap->member[0], last = heap->member[--heap->count];
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= heap->count)
            break;
        if (child + 1 < heap->count && lighter(heap, heap->member[child + 1], heap->member[child]))
            child++;
        if (!lighter(heap, heap->member[child], last))
            break;
        heap->member[at] = heap->member[child];
        at = child;
    }
    heap->member[at] = last;
    return top;
}

/* The holdings under construction. While they are, `first` links a member's holdings into a list. */
struct slices {
    const struct model_task *task;
    struct model_holding *holdings;
    size_t room, made;
    double *load, fair;
    uint32_t *head; /* first holding of each member, MODEL_NO_FUNCTION behind the last */
};

static void hold(struct slices *s, uint32_t member, uint32_t function, uint32_t quanta)
{
    s->load[member] += quanta * (s->task->relative[function] / s->task->quanta);
    s->holdings[s->made] = (struct model_holding){member, function, s->head[member], quanta};
    s->head[member] = (uint32_t)s->made++;
}

/* Gives `need` tokens of f to members that are full: in turn to those that do not hold it, then on top of what others
   hold of it, which always ends because f has at most N Q tokens. Its holdings begin at `start`. Returns the load that this
   put on members. */
static double force(struct slices *s, const uint32_t *holder, uint32_t *cursor, uint32_t f, uint64_t need,
                    size_t start)
{
    double token = s->task->relative[f] / s->task->quanta, given = (double)need * token;
    for (uint32_t tried = 0; need && tried < s->task->members; tried++) {
        *cursor = *cursor + 1 < s->task->members ? *cursor + 1 : 0;
        if (holder[*cursor] == f)
            continue;
        uint32_t take = need < s->task->quanta ? (uint32_t)need : s->task->quanta;
        hold(s, *cursor, f, take);
        need -= take;
    }
    for (size_t i = start; need && i < s->made; i++) {
        uint32_t take = s->task->quanta - s->holdings[i].quanta;
        if (take > need)
            take = (uint32_t)need;
        s->holdings[i].quanta += take;
        s->load[s->holdings[i].member] += take * token;
        need -= take;
    }
    return given;
}

/* Moves tokens from one member to another that holds fewer of the same function, as long as that brings both nearer to
   the fair load. Whenever one load is above another such a function exists. `held`: a zero word for each function.
   Returns whether anything moved. */
static bool level(struct slices *s, uint32_t *held, uint32_t from, uint32_t to)
{
    const struct model_task *t = s->task;
    double gap = fmin(s->load[from] - s->fair, s->fair - s->load[to]), best = 0;
    uint32_t best_holding = 0, best_quanta = 0;
    for (uint32_t i = s->head[to]; i != MODEL_NO_FUNCTION; i = s->holdings[i].first)
        held[s->holdings[i].function] = s->holdings[i].quanta;
    for (uint32_t i = s->head[from]; i != MODEL_NO_FUNCTION; i = s->holdings[i].first) {
        const struct model_holding *h = &s->holdings[i];
        double token = t->relative[h->function] / t->quanta, wanted = round(gap / token);
        if (h->quanta <= held[h->function] || !(wanted >= 1))
            continue;
        uint32_t more = h->quanta - held[h->function], quanta = wanted < more ? (uint32_t)wanted : more;
        if (quanta * token > best) {
            best = quanta * token;
            best_holding = i;
            best_quanta = quanta;
        }
    }
    for (uint32_t i = s->head[to]; i != MODEL_NO_FUNCTION; i = s->holdings[i].first)
        held[s->holdings[i].function] = 0;
    if (best <= 0)
        return false;
    struct model_holding *given = &s->holdings[best_holding];
    uint32_t f = given->function, i = s->head[to];
    while (i != MODEL_NO_FUNCTION && s->holdings[i].function != f)
        i = s->holdings[i].first;
    if (i == MODEL_NO_FUNCTION && s->made == s->room)
        return false;
    given->quanta -= best_quanta;
    s->load[from] -= best;
    if (i != MODEL_NO_FUNCTION) {
        s->holdings[i].quanta += best_quanta;
        s->load[to] += best;
    } else {
        hold(s, to, f, best_quanta);
    }
    return true;
}

/* Levels members above the fair load with those below it, until each is within half a token of the heaviest function. Nobody
   falls below the fair load or rises above it here, so who needs nothing now will never need anything: `to` only moves
   forward past such members, and one surplus is offered to a few members at most. */
static void level_all(struct slices *s, uint32_t *held, double heaviest)
{
    uint32_t members = s->task->members;
    double close = heaviest / s->task->quanta / 2, little = close / 4;
    for (uint32_t from = 0, to = 0; from < members; from++) {
        unsigned refused = 0;
        for (uint32_t at = to; at < members && refused < OFFERS_MAX && s->load[from] - s->fair > close;) {
            if (s->fair - s->load[at] <= little) {
                to += at == to;
                at++;
            } else if (!level(s, held, from, at)) {
                refused++;
                at++;
            }
        }
    }
}

/* Drops what was emptied and lays each function's holdings on its ring, holder behind holder. Rings start at different
   quanta, so that a member's partial holdings do not all fall into the same ones. `at`: a word for each function. */
static size_t lay_rings(struct slices *s, uint32_t *at)
{
    uint32_t quanta = s->task->quanta;
    size_t kept = 0;
    for (uint32_t f = 0; f < s->task->functions; f++)
        at[f] = (uint32_t)(core_hash(CORE_HASH_SEED, &f, sizeof f) % quanta);
    for (size_t i = 0; i < s->made; i++) {
        struct model_holding h = s->holdings[i];
        if (h.quanta == 0)
            continue;
        h.first = at[h.function];
        at[h.function] = (uint32_t)((h.first + (uint64_t)h.quanta) % quanta);
        s->holdings[kept++] = h;
    }
    return kept;
}

/* Each award gives a whole copy, completes a function or fills a member up; levelling adds a few more. */
static size_t bound(const struct model_task *task)
{
    size_t awards = 2 * (size_t)task->members + LEVELLING_ROOM;
    for (size_t f = 0; f < task->functions; f++)
        if (model_is_divided(task, f))
            awards += task->tokens[f] / task->quanta + 1;
    return awards;
}

static size_t assign(struct model_holding *holdings, size_t room, double *load, uint32_t *scratch,
                     const struct model_task *task)
{
    uint32_t *aside = scratch + task->members, *holder = aside + task->members,
             *head = holder + task->members;
    uint32_t *order = head + task->members, *per_function = order + task->functions;
    struct heap heap = {.member = scratch, .load = load};
    struct slices s = {task, holdings, room, 0, load, model_fair_load(task), head};
    size_t wanted = bound(task);
    if (room < wanted)
        return wanted;
    double carry = 0, heaviest = 0;
    size_t functions = 0;
    uint32_t cursor = 0;

    for (uint32_t m = 0; m < task->members; m++) {
        load[m] = 0;
        holder[m] = head[m] = MODEL_NO_FUNCTION;
        heap_push(&heap, m);
    }
    for (size_t f = 0; f < task->functions; f++) {
        per_function[f] = 0;
        if (model_is_divided(task, f)) {
            order[functions++] = (uint32_t)f;
            heaviest = fmax(heaviest, task->relative[f]);
        }
    }
    model_sort(order, functions, task, by_copies_then_weight);

    for (size_t i = 0; i < functions; i++) {
        uint32_t f = order[i];
        double token = task->relative[f] / task->quanta;
        uint64_t need = task->tokens[f];
        size_t set_aside = 0, start = s.made;
        while (need && token > 0 && heap.count) {
            uint32_t take = need < task->quanta ? (uint32_t)need : task->quanta, m = heap_pop(&heap);
            double free = s.fair - load[m] + carry, fit = fmax(1, round(free / token));
            if (fit < take) {
                take = (uint32_t)fit;
                carry = free - take * token;
            } else {
                aside[set_aside++] = m;
            }
            holder[m] = f;
            hold(&s, m, f, take);
            need -= take;
        }
        if (need)
            carry -= force(&s, holder, &cursor, f, need, start);
        while (set_aside)
            heap_push(&heap, aside[--set_aside]);
    }
    level_all(&s, per_function, heaviest);
    return lay_rings(&s, per_function);
}

const struct model_policy model_central = {
    .name = "central",
    .meaning = "one planner divides the work, longest processing time first",
    .assign = assign,
};
