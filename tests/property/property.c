/* What the property tests share. */
#include "property.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

void property_fail(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
    exit(1);
}

int property_end(const char *name, const char *format, ...)
{
    va_list args;
    printf("%s: holds for ", name);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
    return 0;
}

static void *allocate(size_t count, size_t size)
{
    void *memory = calloc(count ? count : 1, size);
    if (!memory)
        abort();
    return memory;
}

static size_t ring_of(const struct model_task *task, size_t f)
{
    return (size_t)((task->tokens[f] + task->quanta - 1) / task->quanta * task->quanta);
}

size_t property_tokens(const struct model_task *task)
{
    size_t tokens = 0;
    for (size_t f = 0; f < task->functions; f++)
        tokens += ring_of(task, f);
    return tokens;
}

/* Lots are cut in the order of tokens, and do not run across the ring's start: so a lot that begins where the one before did,
   or earlier, belongs to the next copy. */
static void number_tokens(struct property_table *t, const struct model_task *task)
{
    size_t *first_lot = allocate(task->functions + 1, sizeof *first_lot), base = 0;
    for (size_t i = 0; i < t->part_count; i++)
        first_lot[t->parts[i].function + 1] = t->parts[i].lot + 1 > first_lot[t->parts[i].function + 1]
                                                  ? t->parts[i].lot + 1
                                                  : first_lot[t->parts[i].function + 1];
    for (size_t f = 0; f < task->functions; f++)
        first_lot[f + 1] += first_lot[f];
    size_t lots = first_lot[task->functions];
    uint32_t *start = allocate(lots, sizeof *start);
    size_t *copy = allocate(lots, sizeof *copy);
    memset(start, 0xff, lots * sizeof *start);
    for (size_t i = 0; i < t->part_count; i++) {
        uint32_t *s = &start[first_lot[t->parts[i].function] + t->parts[i].lot];
        *s = t->parts[i].first < *s ? t->parts[i].first : *s;
    }
    for (size_t f = 0; f < task->functions; f++) {
        for (size_t lot = first_lot[f]; lot < first_lot[f + 1]; lot++)
            copy[lot] = lot == first_lot[f]
                            ? base
                            : copy[lot - 1] + (start[lot] <= start[lot - 1] ? task->quanta : 0);
        base += ring_of(task, f);
    }
    t->token = allocate(t->part_count, sizeof *t->token);
    for (size_t i = 0; i < t->part_count; i++)
        t->token[i] = copy[first_lot[t->parts[i].function] + t->parts[i].lot] + t->parts[i].first;
    free(first_lot);
    free(start);
    free(copy);
}

void property_table_make(struct property_table *t, const struct model_task *task, const uint8_t *died,
                         unsigned version)
{
    uint32_t *scratch = allocate(model_scratch_room(task), sizeof *scratch);
    t->load = allocate(task->members, sizeof *t->load);
    size_t room = model_bid_parts(NULL, 0, t->load, scratch, task, died, version);
    t->parts = allocate(room, sizeof *t->parts);
    t->part_count = model_bid_parts(t->parts, room, t->load, scratch, task, died, version);
    t->deals = allocate(2 * t->part_count, sizeof *t->deals);
    t->deal_count = model_bid_deals(t->deals, t->parts, t->part_count, MODEL_EVERYONE);
    number_tokens(t, task);
    free(scratch);
}

void property_table_free(struct property_table *t)
{
    free(t->parts);
    free(t->deals);
    free(t->load);
    free(t->token);
}

void property_divide(struct property_division *d, const struct model_policy *policy,
                     const struct model_task *task)
{
    uint32_t *scratch = allocate(model_scratch_room(task), sizeof *scratch);
    d->load = allocate(task->members, sizeof *d->load);
    size_t room = policy->assign(NULL, 0, d->load, scratch, task);
    d->holdings = allocate(room, sizeof *d->holdings);
    d->count = policy->assign(d->holdings, room, d->load, scratch, task);
    if (d->count > room)
        property_fail("%s says %zu holdings, then makes %zu", policy->name, room, d->count);
    free(scratch);
}

void property_division_free(struct property_division *d)
{
    free(d->holdings);
    free(d->load);
}

void property_program(struct model_task *task, double *relative, uint64_t *tokens, struct core_rng *rng,
                      double spread, double risk, double eps)
{
    size_t n = task->functions;
    double work = 0, heaviest = 0;
    double *v = allocate(n, sizeof *v);
    for (size_t f = 0; f < n; f++) {
        relative[f] = core_rng_below(rng, 20) == 0 ? 0 : pow(10, spread * core_rng_unit(rng));
        v[f] = core_rng_below(rng, 3) ? 1 : 1 + (risk - 1) * core_rng_unit(rng);
        work += relative[f];
    }
    if (core_rng_below(rng, 4) == 0)
        relative[core_rng_below(rng, n)] = work + 1;
    work = 0;
    for (size_t f = 0; f < n; f++) {
        work += relative[f] * fmin(v[f], task->members);
        heaviest = fmax(heaviest, relative[f]);
    }
    task->relative = relative;
    task->tokens = tokens;
    task->quanta = model_quanta(heaviest, work / task->members, eps);
    for (size_t f = 0; f < n; f++)
        tokens[f] = model_tokens(v[f], task->members, task->quanta);
    free(v);
}
