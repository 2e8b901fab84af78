/* Slices of a profiled server, and draws from them. A trial does not follow one member for an hour: it shows the server, for a
   fiftieth of a second each, as members drawn at random at moments drawn at random. The mean over draws is the community's mean. */
#define _GNU_SOURCE
#include "bench/private.h"
#include "plan/plan.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { SEED = 1, ALPHA = 2, COLD_PPM = 1000 };

struct bench_slices {
    struct profile profile;
    struct plan plan;
    bool planned;
    struct core_rng rng;
    struct bench_watch *drawn;
};

int bench__slices_open(struct base_error *error, struct bench_slices **slices, const char *profile)
{
    *slices = bench__allocate(1, sizeof **slices);
    core_rng_seed(&(*slices)->rng, SEED);
    if (profile_load(error, &(*slices)->profile, profile, NULL) == 0)
        return 0;
    free(*slices);
    *slices = NULL;
    return -1;
}

static void forget_plan(struct bench_slices *slices)
{
    if (slices->planned)
        plan_free(&slices->plan);
    slices->planned = false;
    free(slices->drawn);
    slices->drawn = NULL;
}

void bench__slices_free(struct bench_slices *slices)
{
    if (!slices)
        return;
    forget_plan(slices);
    profile_free(&slices->profile);
    free(slices);
}

double bench__slices_own(const struct bench_slices *slices)
{
    double own = slices->plan.total, all = own + (double)slices->plan.excluded_cost;
    return all > 0 ? own / all : NAN;
}

static const struct plan *sorted;

/* Nearest to input first, heavier ones before lighter. */
static int by_distance(const void *left, const void *right)
{
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
    uint32_t near = sorted->functions[a].distance, far = sorted->functions[b].distance;
    return near != far ? (near > far) - (near < far) : (a > b) - (a < b);
}

/* Weights so that the functions nearest to input, with `percent` of the work together, count twice. The last of them counts
   only in part, so that the sum is exact. Returns a descriptor of a file as plan reads them, or -1. */
static int write_weights(struct base_error *error, const struct plan *plan, double percent)
{
    struct base_text text = {0};
    uint32_t *order = bench__allocate(plan->own_count, sizeof *order);
    for (uint32_t f = 0; f < plan->own_count; f++)
        order[f] = f;
    sorted = plan;
    qsort(order, plan->own_count, sizeof *order, by_distance);
    double left = plan->total * percent / 100;
    for (size_t i = 0; i < plan->own_count && left > 0; i++) {
        const struct plan_function *f = &plan->functions[order[i]];
        const char *path = plan->objects[f->object].path, *slash = strrchr(path, '/');
        double part = (double)f->cost <= left ? 1 : left / (double)f->cost;
        left -= (double)f->cost;
        if (f->cost)
            base_text_printf(&text, "%s!%s,%.9f\n", slash ? slash + 1 : path, f->name,
                             1 + (ALPHA - 1) * part);
    }
    free(order);
    int file = memfd_create("weights", MFD_CLOEXEC);
    if (file >= 0 && text.used && write(file, text.data, text.used) != (ssize_t)text.used) {
        close(file);
        file = -1;
    }
    base_text_free(&text);
    return file >= 0 ? file : base_fail(error, BASE_EXIT_ENVIRONMENT, "cannot make a file in memory");
}

int bench__slices_plan(struct base_error *error, struct bench_slices *slices, uint32_t *members,
                       double slice_percent, double at_risk_percent, bool cold)
{
    char weights[64];
    struct plan_options how = {.size = PLAN_SIZE_SLICE,
                               .slice_percent = slice_percent,
                               .unit_functions = 1,
                               .risk = PLAN_RISK_NONE,
                               .alpha = ALPHA,
                               .assign = &model_central,
                               .cold = cold ? PLAN_COLD_ALL : PLAN_COLD_PAPER,
                               .cold_percent = COLD_PPM / 1e4,
                               .eps = 0.01,
                               .seed = SEED};
    struct plan flat;
    forget_plan(slices);
    if (plan_make(error, &flat, &slices->profile, &how))
        return -1;
    int file = write_weights(error, &flat, at_risk_percent);
    plan_free(&flat);
    if (file < 0)
        return -1;
    snprintf(weights, sizeof weights, "/proc/self/fd/%d", file);
    how.risk = PLAN_RISK_FILE;
    how.risk_file = weights;
    int status = plan_make(error, &slices->plan, &slices->profile, &how);
    close(file);
    if (status)
        return -1;
    slices->planned = true;
    *members = slices->plan.members;
    slices->drawn = bench__allocate(slices->plan.own_count, sizeof *slices->drawn);
    return 0;
}

static size_t take(struct bench_slices *slices, size_t count, double *work, uint32_t number)
{
    const struct plan_function *f = &slices->plan.functions[number];
    const struct plan_object *object = &slices->plan.objects[f->object];
    *work += (double)f->cost;
    /* A function that is in no binary of this machine cannot be watched; plan_manifest refuses profiles of other builds. */
    if (!object->build_id_bytes || f->offset == PLAN_NO_OFFSET)
        return count;
    struct bench_watch *watch = &slices->drawn[count];
    memcpy(watch->build_id, object->build_id, sizeof watch->build_id);
    watch->build_id_bytes = object->build_id_bytes;
    watch->offset = f->offset;
    return count + 1;
}

size_t bench__slices_draw(const struct bench_watch **list, double *share, struct bench_slices *slices)
{
    const struct plan *plan = &slices->plan;
    size_t count = 0;
    double work = 0;
    uint64_t member = core_rng_below(&slices->rng, plan->members);
    uint32_t quantum = (uint32_t)core_rng_below(&slices->rng, plan->quanta);
    for (uint32_t f = 0; f < plan->own_count; f++)
        if (plan->functions[f].everyone)
            count = take(slices, count, &work, f);
    for (size_t i = plan->holding_first[member]; i < plan->holding_first[member + 1]; i++)
        if (model_holds(&plan->holdings[i], quantum, plan->quanta))
            count = take(slices, count, &work, plan->holdings[i].function);
    *list = slices->drawn;
    *share = work / plan->total;
    return count;
}
