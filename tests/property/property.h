/* What the property tests share: tables of bids, and how a program ends. */
#ifndef PROPERTY_H
#define PROPERTY_H

#include "model/model.h"

#include <stdio.h>

/* A broken property: says which, and ends the program. */
_Noreturn void property_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* All hold: says of how many cases. Returns main's exit status. */
int property_end(const char *name, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The table of one version of the roster, with everybody's deals. */
struct property_table {
    struct model_part *parts;
    struct model_deal *deals;
    size_t part_count, deal_count;
    double *load;
    /* Of each part: where the token of its first quantum stands among all tokens of all functions. The token of a function's
       copy c at quantum q stands at c Q + q from the function's first. */
    size_t *token;
};
/* Tokens of all functions, up to the next multiple of Q each. */
size_t property_tokens(const struct model_task *task);
void property_table_make(struct property_table *table, const struct model_task *task, const uint8_t *died,
                         unsigned version);
void property_table_free(struct property_table *table);

/* A policy's holdings of a task, with what they add up to. */
struct property_division {
    struct model_holding *holdings;
    size_t count;
    double *load;
};
void property_divide(struct property_division *division, const struct model_policy *policy,
                     const struct model_task *task);
void property_division_free(struct property_division *division);

/* A random program: costs over `spread` decades, a third of the functions at a risk of up to `risk`, some of them as
   heavy as all others together, some without cost. Fills relative[n] and tokens[n]; sets the task's quanta for `eps`. */
void property_program(struct model_task *task, double *relative, uint64_t *tokens, struct core_rng *rng,
                      double spread, double risk, double eps);

#endif
