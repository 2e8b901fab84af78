/* Between the files of plan. */
#ifndef PLAN_PRIVATE_H
#define PLAN_PRIVATE_H

#include "plan/plan.h"

#include <stdlib.h>

/* calloc that ends the process when memory is out: a plan cannot be half made. */
void *plan_allocate(size_t count, size_t size);

/* nodes.c: fills objects, functions (names, costs, own) and edges. */
int plan_nodes(struct base_error *error, struct plan *plan, const struct profile *profile,
               const struct plan_options *options);

/* graph.c: fills others and calls from the binaries of the program's own objects, as far as they are here. */
void plan_calls(struct plan *plan, const struct plan_options *options);

/* risk.c: fills distance, next and risk of all functions. */
int plan_risks(struct base_error *error, struct plan *plan, const struct plan_options *options);

#endif
