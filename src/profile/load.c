/* Opens a profile of any form, compressed or not, and merges several. */
#include "profile/build.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

/* Sniffed in this order: perf last, for its text has no signature. */
const struct profile_reader *const profile_readers[] = {&profile_text, &profile_callgrind, &profile_gprof,
                                                        &profile_perf, NULL};

const struct profile_reader *profile_reader_named(const char *name)
{
    for (const struct profile_reader *const *reader = profile_readers; *reader; reader++)
        if (strcmp((*reader)->name, name) == 0)
            return *reader;
    return NULL;
}

/* zlib passes files that are not compressed through as they are. */
static int read_file(struct base_error *error, char **data, size_t *bytes, const char *path)
{
    gzFile file = gzopen(path, "rbe");
    if (!file)
        return base_fail(error, BASE_EXIT_INPUT, "cannot open %s: %s", path, strerror(errno));
    gzbuffer(file, 1 << 17);
    size_t room = 1 << 20, used = 0;
    char *buffer = malloc(room + 1);
    int status = -1;
    while (buffer) {
        if (used == room) {
            char *larger = realloc(buffer, 2 * room + 1);
            if (!larger)
                break;
            buffer = larger;
            room *= 2;
        }
        size_t want = room - used;
        int got = gzread(file, buffer + used, want > 1 << 30 ? 1 << 30 : (unsigned)want);
        if (got > 0) {
            used += (size_t)got;
            continue;
        }
        int code;
        const char *reason = gzerror(file, &code);
        if (got < 0 || code != Z_OK) {
            base_fail(error, BASE_EXIT_INPUT, "cannot read %s: %s", path,
                      code == Z_BUF_ERROR ? "the compressed file is cut off"
                      : code == Z_ERRNO   ? strerror(errno)
                                          : reason);
            goto out;
        }
        buffer[used] = 0;
        *data = buffer;
        *bytes = used;
        buffer = NULL;
        status = 0;
        goto out;
    }
    base_fail(error, BASE_EXIT_FAILURE, "out of memory reading %s", path);
out:
    free(buffer);
    gzclose(file);
    return status;
}

int profile_load(struct base_error *error, struct profile *out, const char *path,
                 const struct profile_reader *reader)
{
    char *data = NULL;
    size_t bytes = 0;
    if (read_file(error, &data, &bytes, path))
        return -1;
    int status;
    if (bytes == 0) {
        status = base_fail(
            error, BASE_EXIT_INPUT,
            "%s: the file is empty; valgrind started as root writes such a file when the server drops "
            "to another user: run it as that user",
            path);
        goto out;
    }
    if (memchr(data, 0, bytes)) {
        status = base_fail(error, BASE_EXIT_INPUT, "%s: binary data, not a profile's text", path);
        goto out;
    }
    if (!reader)
        for (const struct profile_reader *const *r = profile_readers; *r && !reader; r++)
            if ((*r)->sniff(data, bytes))
                reader = *r;
    if (reader)
        status = reader->read(error, out, data, bytes, path);
    else
        status = base_fail(
            error, BASE_EXIT_INPUT,
            "%s:1: not a profile: neither testudo's own, callgrind's, gprof's nor perf script's text", path);
out:
    free(data);
    return status;
}

int profile_merge(struct base_error *error, struct profile *out, const struct profile *in, size_t count)
{
    struct profile_builder b = {0};
    struct base_text source = {0};
    for (size_t i = 0; i < count; i++) {
        if (in[i].metric != in[0].metric) {
            profile_build_drop(&b);
            base_text_free(&source);
            return base_fail(error, BASE_EXIT_INPUT, "cannot merge a profile of %s with one of %s",
                             profile_metric_name(in[0].metric), profile_metric_name(in[i].metric));
        }
        b.p.metric = in[i].metric;
        base_text_printf(&source, "%s%s", i ? " + " : "", in[i].source);
        uint32_t *place = calloc(in[i].function_count + 1, sizeof *place);
        if (!place)
            abort();
        for (size_t f = 0; f < in[i].function_count; f++) {
            const struct profile_function *from = &in[i].functions[f];
            const struct profile_object *object = &in[i].objects[from->object];
            uint32_t o = profile_build_object(&b, object->path, strlen(object->path));
            if (!*b.p.objects[o].build_id)
                memcpy(b.p.objects[o].build_id, object->build_id, sizeof object->build_id);
            else if (*object->build_id && strcmp(b.p.objects[o].build_id, object->build_id) != 0) {
                free(place);
                profile_build_drop(&b);
                base_text_free(&source);
                return base_fail(error, BASE_EXIT_INPUT,
                                 "cannot merge profiles of different builds of %s; record them anew",
                                 object->path);
            }
            place[f] = profile_build_function(&b, o, from->name, strlen(from->name));
            if (b.p.functions[place[f]].offset == PROFILE_NO_OFFSET)
                b.p.functions[place[f]].offset = from->offset;
            profile_build_self(&b, place[f], from->self);
            profile_build_calls(&b, place[f], from->calls);
            profile_build_returns(&b, place[f], from);
        }
        for (size_t e = 0; e < in[i].edge_count; e++)
            profile_build_edge(&b, place[in[i].edges[e].caller], place[in[i].edges[e].callee],
                               in[i].edges[e].calls);
        free(place);
    }
    b.p.source = source.data;
    return profile_build_finish(error, out, &b, "merged profile");
}
