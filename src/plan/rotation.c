/* Rotation: what a plan's members bear over several epochs, and whether the divided functions are watched at all times. */
#include "plan/private.h"

#include <string.h>

/* Fewest members that watch any divided function at any quantum. `edge`: own_count * (Q + 1) numbers, zero before and
   after. */
static uint32_t fewest_watchers(int32_t *edge, const struct plan *plan)
{
    uint32_t least = UINT32_MAX;
    size_t ring = (size_t)plan->quanta + 1;
    for (size_t i = 0; i < plan->holding_count; i++) {
        const struct model_holding *h = &plan->holdings[i];
        int32_t *at = edge + h->function * ring;
        uint32_t end = h->first + h->quanta;
        at[h->first]++;
        at[end > plan->quanta ? plan->quanta : end]--;
        if (end > plan->quanta) {
            at[0]++;
            at[end - plan->quanta]--;
        }
    }
    for (size_t f = 0; f < plan->own_count; f++) {
        int64_t watchers = 0;
        if (plan->functions[f].everyone || plan->functions[f].tokens == 0)
            continue;
        for (uint32_t q = 0; q < plan->quanta; q++) {
            watchers += edge[f * ring + q];
            least = watchers < least ? (uint32_t)watchers : least;
        }
    }
    memset(edge, 0, plan->own_count * ring * sizeof *edge);
    return least == UINT32_MAX ? plan->members : least;
}

int plan_rotate(struct base_error *error, struct plan_rotation *rotation, const struct profile *profile,
                const struct plan_options *options, uint32_t epochs)
{
    double *sum = NULL;
    int32_t *edge = NULL;
    int status = 0;
    *rotation = (struct plan_rotation){.epochs = plan_allocate(epochs, sizeof *rotation->epochs)};
    for (uint32_t e = 0; e < epochs && status == 0; e++) {
        struct plan_options how = *options;
        struct plan plan;
        how.epoch = options->epoch + e;
        status = plan_make(error, &plan, profile, &how);
        if (status)
            break;
        if (!sum) {
            sum = plan_allocate(plan.members, sizeof *sum);
            edge = plan_allocate(plan.own_count * ((size_t)plan.quanta + 1), sizeof *edge);
        }
        for (uint32_t m = 0; m < plan.members; m++)
            sum[m] += plan.load[m];
        rotation->epochs[rotation->count++] =
            (struct plan_epoch){.epoch = how.epoch,
                                .unfairness = plan.unfairness,
                                .so_far = model_unfairness(sum, plan.members),
                                .watchers = fewest_watchers(edge, &plan)};
        plan_free(&plan);
    }
    free(sum);
    free(edge);
    if (status)
        plan_rotation_free(rotation);
    return status;
}

void plan_rotation_free(struct plan_rotation *rotation)
{
    free(rotation->epochs);
    *rotation = (struct plan_rotation){0};
}
