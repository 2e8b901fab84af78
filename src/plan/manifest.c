/* Writes a plan down as a manifest: the functions that were found in this machine's binaries, in wire's order. */
#include "plan/private.h"
#include "wire/wire.h"

#include <math.h>
#include <string.h>

/* An object is refused when more than this part of its work cannot be found in its file: it is another build. */
#define LOST_MAX 0.05

static const struct plan *sorted;

static int by_place(const void *left, const void *right)
{
    const struct plan_function *a = &sorted->functions[*(const uint32_t *)left];
    const struct plan_function *b = &sorted->functions[*(const uint32_t *)right];
    if (a->object != b->object)
        return a->object < b->object ? -1 : 1;
    return (a->offset > b->offset) - (a->offset < b->offset);
}

/* Refuses objects that cannot be used. Out: used[object]; returns 0 or -1. */
static int check_objects(struct base_error *error, bool *used, const struct plan *plan)
{
    for (uint32_t o = 0; o < plan->object_count; o++) {
        double work = 0, lost = 0;
        size_t count = 0, missing = 0;
        if (!plan->objects[o].own)
            continue;
        for (size_t f = 0; f < plan->function_count; f++) {
            const struct plan_function *function = &plan->functions[f];
            if (function->object != o || function->lost == PLAN_LOST_BETWEEN)
                continue;
            work += (double)function->cost;
            count++;
            if (function->lost) {
                lost += (double)function->cost;
                missing++;
            } else {
                used[o] = true;
            }
        }
        const char *path = plan->objects[o].path;
        if (count && plan->objects[o].problem)
            return base_fail(error, BASE_EXIT_INPUT, "no manifest for %s: %s", path,
                             plan->objects[o].problem);
        if (lost > LOST_MAX * work)
            return base_fail(
                error, BASE_EXIT_INPUT,
                "%s is another build than the profile's: %zu of %zu functions with %.0f%% of its work are "
                "not in it; record the profile anew",
                path, missing, count, 100 * lost / work);
    }
    return 0;
}

/* T, or the sum of what loads are levelled by when that is more. */
static uint64_t manifest_total(const struct plan *plan)
{
    uint64_t weights = 0, total = (uint64_t)plan->total;
    for (size_t f = 0; f < plan->own_count; f++)
        weights += plan->functions[f].weight;
    return weights > total ? weights : total;
}

int plan_manifest(struct base_error *error, void **data, size_t *bytes, const struct plan *plan)
{
    int status = -1;
    uint32_t *order = plan_allocate(plan->own_count, sizeof *order);
    uint32_t *number = plan_allocate(plan->object_count, sizeof *number);
    bool *used = plan_allocate(plan->object_count, sizeof *used);
    struct wire_manifest manifest = {
        .metric = plan->metric == PROFILE_TIME ? WIRE_MANIFEST_NANOSECONDS : WIRE_MANIFEST_INSTRUCTIONS,
        .assign = plan->assign == &model_coin  ? WIRE_MANIFEST_COIN
                  : plan->assign == &model_bid ? WIRE_MANIFEST_BID
                                               : WIRE_MANIFEST_CENTRAL,
        .members = plan->members,
        .quanta = plan->quanta,
        .quantum_ms = plan->quantum_ms,
        .eps_ppm = (uint32_t)lround(plan->eps * 1e6),
        .seed = plan->seed,
        .epoch = plan->epoch,
        .total = manifest_total(plan),
    };
    if (check_objects(error, used, plan))
        goto out;
    size_t count = 0;
    for (size_t f = 0; f < plan->own_count; f++)
        order[count++] = (uint32_t)f;
    sorted = plan;
    qsort(order, count, sizeof *order, by_place);
    for (uint32_t o = 0; o < plan->object_count; o++)
        if (used[o])
            number[o] = manifest.object_count++;
    manifest.function_count = (uint32_t)count;
    if (count == 0 || count > WIRE_MANIFEST_FUNCS_MAX || manifest.object_count > WIRE_MANIFEST_OBJECTS_MAX) {
        base_fail(error, BASE_EXIT_INPUT,
                  "a manifest holds 1 to %u functions of 1 to %u objects, this plan %zu of %u",
                  WIRE_MANIFEST_FUNCS_MAX, WIRE_MANIFEST_OBJECTS_MAX, count, manifest.object_count);
        goto out;
    }
    /* The first round measures, the second writes. */
    struct wire_manifest_writer writer = {0};
    for (int round = 0; round < 2; round++) {
        if (round)
            writer =
                (struct wire_manifest_writer){.data = plan_allocate(writer.used, 1), .room = writer.used};
        wire_manifest_begin(&writer, &manifest);
        for (uint32_t o = 0; o < plan->object_count; o++) {
            if (!used[o])
                continue;
            const char *slash = strrchr(plan->objects[o].path, '/');
            const char *name = slash && slash[1] ? slash + 1 : plan->objects[o].path;
            wire_manifest_add_object(&writer,
                                     &(struct wire_manifest_object){
                                         .build_id = plan->objects[o].build_id,
                                         .build_id_bytes = plan->objects[o].build_id_bytes,
                                         .name = name,
                                         .name_bytes = (uint32_t)strnlen(name, WIRE_MANIFEST_NAME_MAX)});
        }
        for (size_t i = 0; i < count; i++) {
            const struct plan_function *f = &plan->functions[order[i]];
            wire_manifest_add_function(&writer,
                                       &(struct wire_manifest_function){
                                           .object = number[f->object],
                                           .offset = (uint32_t)f->offset,
                                           .cost = f->weight,
                                           .calls = f->calls,
                                           .risk_ppm = (uint64_t)llround(f->risk * 1e6),
                                           .tokens = f->tokens,
                                           .distance = f->distance,
                                           .name = f->name,
                                           .name_bytes = (uint32_t)strnlen(f->name, WIRE_MANIFEST_NAME_MAX)});
        }
        wire_manifest_end(&writer);
    }
    *data = writer.data;
    *bytes = writer.used;
    int problem = wire_manifest_open(&manifest, writer.data, writer.used);
    if (problem) {
        base_fail(error, BASE_EXIT_INPUT, "cannot make a manifest of this profile: %s",
                  wire_manifest_problem(problem));
        free(writer.data);
        goto out;
    }
    status = 0;
out:
    free(order);
    free(number);
    free(used);
    return status;
}
