/* What all distributions share: tokens, fair load, rotation, sorting. */
#include "model/assign.h"

#include <math.h>

uint32_t model_quanta(double heaviest, double fair, double eps)
{
    /* One token of the heaviest function weighs heaviest / Q; it may be eps of the fair load. */
    double wanted = fair > 0 && eps > 0 ? heaviest / (fair * eps) : 0;
    /* Multiples of 120 divide by 2, 3, 4, 5, 6 and 8, so that small communities share evenly. */
    static const uint32_t steps[] = {1, 2, 5};
    for (uint32_t decade = MODEL_QUANTA_MIN; decade <= MODEL_QUANTA_MAX / 10; decade *= 10)
        for (unsigned i = 0; i < 3; i++)
            if (wanted <= (double)decade * steps[i])
                return decade * steps[i];
    return MODEL_QUANTA_MAX;
}

uint64_t model_tokens(double risk, uint32_t members, uint32_t quanta)
{
    uint64_t all = (uint64_t)members * quanta;
    double wanted = round(risk * quanta);
    return wanted >= (double)all ? all : wanted <= 0 ? 0 : (uint64_t)wanted;
}

double model_fair_load(const struct model_task *task)
{
    double work = 0;
    for (size_t f = 0; f < task->functions; f++)
        if (model_is_divided(task, f))
            work += task->relative[f] * (double)task->tokens[f] / task->quanta;
    return work / task->members;
}

size_t model_scratch_room(const struct model_task *task)
{
    /* central: four words a member, two a function; coin: order, stamps and one member's candidates. */
    return 4 * (size_t)task->members +
           (2 + sizeof(struct model_holding) / sizeof(uint32_t)) * task->functions;
}

uint32_t model_rotate(uint32_t member, uint64_t epoch, uint32_t members)
{
    /* A step near the golden section, coprime with N: it visits all slices, and the slices of heavy functions, which
       lie side by side, are met far apart in time. */
    uint64_t step = (uint64_t)(0.6180339887498949 * members);
    if (step == 0)
        step = 1;
    for (;; step++) {
        uint64_t a = members, b = step;
        while (b) {
            uint64_t rest = a % b;
            a = b;
            b = rest;
        }
        if (a == 1)
            break;
    }
    return (uint32_t)((member + (epoch % members) * (step % members)) % members);
}

bool model_holds(const struct model_holding *holding, uint32_t quantum, uint32_t quanta)
{
    uint32_t since = quantum >= holding->first ? quantum - holding->first : quantum + quanta - holding->first;
    return since < holding->quanta;
}

void model_sort(uint32_t *order, size_t count, const struct model_task *task,
                bool (*before)(const struct model_task *, uint32_t, uint32_t))
{
    for (size_t start = count / 2, end = count; end > 1;) {
        uint32_t value;
        size_t at;
        if (start > 0) {
            at = --start;
            value = order[at];
        } else {
            at = 0;
            value = order[--end];
            order[end] = order[0];
        }
        for (;;) {
            size_t child = 2 * at + 1;
            if (child >= end)
                break;
            if (child + 1 < end && before(task, order[child], order[child + 1]))
                child++;
            if (!before(task, value, order[child]))
                break;
            order[at] = order[child];
            at = child;
        }
        order[at] = value;
    }
}
