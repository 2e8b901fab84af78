/* Risk of a function from its distance to the program's input: AC §2 equation 1, policies flat and exp. */
#include "model/model.h"

#include <math.h>

void model_graph_by_callee(uint32_t *first, uint32_t *caller, const uint32_t *from, const uint32_t *to,
                           size_t n, size_t m)
{
    /* Counting sort: counts, then ends, then filling backwards turns ends into starts. */
    for (size_t f = 0; f <= n; f++)
        first[f] = 0;
    for (size_t e = 0; e < m; e++)
        first[to[e]]++;
    for (size_t f = 1; f <= n; f++)
        first[f] += first[f - 1];
    for (size_t e = m; e-- > 0;)
        caller[--first[to[e]]] = from[e];
}

void model_distances(uint32_t *distance, uint32_t *next, uint32_t *queue, const uint32_t *first,
                     const uint32_t *caller, const bool *is_input, size_t n)
{
    /* Breadth first against the direction of calls, from all input functions at once. */
    size_t head = 0, tail = 0;
    for (size_t f = 0; f < n; f++) {
        distance[f] = is_input[f] ? 0 : MODEL_UNREACHABLE;
        if (next)
            next[f] = MODEL_NO_FUNCTION;
        if (is_input[f])
            queue[tail++] = (uint32_t)f;
    }
    while (head < tail) {
        uint32_t callee = queue[head++];
        for (uint32_t e = first[callee]; e < first[callee + 1]; e++) {
            uint32_t f = caller[e];
            if (distance[f] != MODEL_UNREACHABLE)
                continue;
            distance[f] = distance[callee] + 1;
            if (next)
                next[f] = callee;
            queue[tail++] = f;
        }
    }
}

double model_risk(enum model_risk_policy policy, uint32_t distance, double alpha, uint32_t reach)
{
    if (policy == MODEL_RISK_NONE || distance == MODEL_UNREACHABLE || distance > reach)
        return 1;
    double risk = policy == MODEL_RISK_FLAT ? alpha : pow(alpha, (double)reach + 1 - distance);
    return fmin(risk, MODEL_RISK_MAX);
}
