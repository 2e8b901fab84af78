/* The builder for recorders outside this folder. */
#include "profile/build.h"

#include <stdlib.h>
#include <string.h>

struct profile_draft {
    struct profile_builder build;
};

struct profile_draft *profile_draft_new(enum profile_metric metric, const char *source)
{
    struct profile_draft *draft = calloc(1, sizeof *draft);
    if (!draft || !(draft->build.p.source = strdup(source))) {
        fputs("testudo: out of memory\n", stderr);
        abort();
    }
    draft->build.p.metric = metric;
    return draft;
}

uint32_t profile_draft_object(struct profile_draft *draft, const char *path, const char *build_id)
{
    uint32_t index = profile_build_object(&draft->build, path, strlen(path));
    snprintf(draft->build.p.objects[index].build_id, sizeof draft->build.p.objects[index].build_id, "%s",
             build_id);
    return index;
}

uint32_t profile_draft_function(struct profile_draft *draft, const struct profile_function *f)
{
    uint32_t index = profile_build_function(&draft->build, f->object, f->name, strlen(f->name));
    if (draft->build.p.functions[index].offset == PROFILE_NO_OFFSET)
        draft->build.p.functions[index].offset = f->offset;
    profile_build_self(&draft->build, index, f->self);
    profile_build_calls(&draft->build, index, f->calls);
    profile_build_returns(&draft->build, index, f);
    return index;
}

void profile_draft_edge(struct profile_draft *draft, uint32_t caller, uint32_t callee, uint64_t calls)
{
    profile_build_edge(&draft->build, caller, callee, calls);
}

int profile_draft_finish(struct base_error *error, struct profile *out, struct profile_draft *draft,
                         const char *what)
{
    int status = profile_build_finish(error, out, &draft->build, what);
    free(draft);
    return status;
}
