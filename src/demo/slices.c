/* Who watches what, from the manifest itself: what each member works out when it gets it. The plan's table is another
   matter: it knows functions that the binaries do not have, which a manifest leaves out. */
#define _GNU_SOURCE
#include "demo/private.h"
#include "model/model.h"
#include "wire/wire.h"

#include <stdlib.h>
#include <string.h>

/* What an assignment needs and gives; released as one. */
struct work {
    struct wire_manifest_function *functions;
    double *relative, *load;
    uint64_t *tokens;
    uint32_t *scratch;
    struct model_holding *holdings;
    size_t count;
};

static void work_free(struct work *work)
{
    free(work->functions);
    free(work->relative);
    free(work->load);
    free(work->tokens);
    free(work->scratch);
    free(work->holdings);
}

/* Returns false when out of memory. */
static bool divide(struct work *work, const struct wire_manifest *manifest, uint64_t epoch)
{
    size_t n = manifest->function_count, room = n + manifest->members;
    struct model_task task = {.functions = n,
                              .members = manifest->members,
                              .quanta = manifest->quanta,
                              .seed = manifest->seed,
                              .epoch = epoch};
    work->functions = calloc(n, sizeof *work->functions);
    task.relative = work->relative = calloc(n, sizeof *work->relative);
    task.tokens = work->tokens = calloc(n, sizeof *work->tokens);
    work->load = calloc(manifest->members, sizeof *work->load);
    work->scratch = calloc(model_scratch_room(&task), sizeof *work->scratch);
    if (!work->functions || !work->relative || !work->tokens || !work->load || !work->scratch)
        return false;
    struct wire_manifest_cursor at = {0};
    for (size_t f = 0; wire_manifest_next_function(&work->functions[f], &at, manifest); f++) {
        work->relative[f] = (double)work->functions[f].cost;
        work->tokens[f] = work->functions[f].tokens;
    }
    for (;; room = work->count) {
        free(work->holdings);
        work->holdings = calloc(room, sizeof *work->holdings);
        if (!work->holdings)
            return false;
        work->count = model_central.assign(work->holdings, room, work->load, work->scratch, &task);
        if (work->count <= room)
            return true;
    }
}

static bool is_named(const struct wire_manifest_function *function, const char *name)
{
    return function->name_bytes == strlen(name) && memcmp(function->name, name, function->name_bytes) == 0;
}

static void take(struct demo_slices *slices, const struct work *work, const struct wire_manifest *manifest,
                 uint64_t epoch, const char *const functions[3])
{
    double total = 0;
    for (size_t f = 0; f < manifest->function_count; f++) {
        bool all = work->tokens[f] == (uint64_t)manifest->members * manifest->quanta;
        total += work->relative[f];
        for (unsigned a = 0; a < 3; a++)
            if (is_named(&work->functions[f], functions[a]))
                slices->everyone[a] = all;
    }
    for (unsigned m = 0; m < manifest->members && m < DEMO_MEMBERS_MAX; m++) {
        uint32_t slice = model_rotate(m, epoch, manifest->members);
        for (size_t i = 0; i < work->count; i++) {
            const struct model_holding *holding = &work->holdings[i];
            if (holding->member != slice)
                continue;
            slices->sizes[m]++;
            slices->loads[m] +=
                100 * work->relative[holding->function] * holding->quanta / manifest->quanta / total;
            for (unsigned a = 0; a < 3; a++)
                if (is_named(&work->functions[holding->function], functions[a]))
                    *(holding->quanta == manifest->quanta ? &slices->holds[a] : &slices->turns[a]) |= 1u << m;
        }
    }
}

int demo_slices(struct base_error *error, struct demo_slices *slices, const char *path,
                const char *const functions[3])
{
    struct wire_manifest manifest;
    struct work work = {0};
    char *data;
    size_t bytes;
    if (base_read_file(error, &data, &bytes, path))
        return -1;
    int problem = wire_manifest_open(&manifest, data, bytes), result = 0;
    if (problem || manifest.assign != WIRE_MANIFEST_CENTRAL) {
        result = base_fail(error, BASE_EXIT_FAILURE, "%s: %s", path,
                           problem ? wire_manifest_problem(problem) : "not assigned centrally");
    } else {
        uint64_t quantum = base_realtime_ns() / (manifest.quantum_ms * 1000000ull);
        uint64_t epoch = manifest.epoch + quantum / manifest.quanta;
        if (divide(&work, &manifest, epoch))
            take(slices, &work, &manifest, epoch, functions);
        else
            result = base_fail(error, BASE_EXIT_FAILURE, "out of memory for the slices");
    }
    work_free(&work);
    free(data);
    return result;
}
