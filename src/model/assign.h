/* What the assignment policies share, private to model. */
#ifndef MODEL_ASSIGN_H
#define MODEL_ASSIGN_H

#include "model/model.h"

/* Whether a function is divided at all: somebody holds it, but not everybody always. */
static inline bool model_is_divided(const struct model_task *task, size_t f)
{
    return task->tokens[f] && task->tokens[f] < (uint64_t)task->members * task->quanta;
}

/* Sorts `order` so that for neighbours a, b `before(task, a, b)`; heap sort, for it needs neither memory nor recursion.
   `before` must be a strict total order. */
void model_sort(uint32_t *order, size_t count, const struct model_task *task,
                bool (*before)(const struct model_task *, uint32_t, uint32_t));

/* The order of deals: by seller, buyer, version. */
static inline bool model_deal_before(const struct model_deal *a, const struct model_deal *b)
{
    if (a->seller != b->seller)
        return a->seller < b->seller;
    return a->buyer < b->buyer || (a->buyer == b->buyer && a->since < b->since);
}

#endif
