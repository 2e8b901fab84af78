/* profile: what a program's functions cost, read from callgrind, gprof, perf script or our own neutral text, all into
   one form (docs/profile-format.md). It knows nothing of slices or members.

   A function is named by (object, name) as the recorder knew it; its offset is known when the recorder gave it. Self
   cost is exclusive of callees. Functions without cost are kept: they are cold, not absent. Edges are calls that
   were seen. */
#ifndef PROFILE_PROFILE_H
#define PROFILE_PROFILE_H

#include "base/base.h"

#define PROFILE_NO_OFFSET UINT64_MAX
#define PROFILE_MAIN      "main" /* object of functions whose recorder names none: the program itself */

enum profile_metric {
    PROFILE_INSTRUCTIONS,
    PROFILE_TIME, /* nanoseconds */
};

struct profile_object {
    char *path;
    char build_id[41]; /* hexadecimal, or empty when the recorder does not say */
};

struct profile_function {
    char *name;
    uint32_t object; /* index */
    uint64_t offset; /* of the entry, an ELF virtual address, or PROFILE_NO_OFFSET */
    uint64_t self;   /* in the metric's unit */
    uint64_t calls;
    /* Returns of 0 and of negative numbers: what a caller takes for failure. 0 where the recorder does not say. */
    uint64_t zero, negative;
    int32_t last_negative;
};

struct profile_edge {
    uint32_t caller, callee; /* function indices */
    uint64_t calls;
};

/* Owned as a whole: profile_free. Functions are ordered by falling self cost, then object, then name. */
struct profile {
    enum profile_metric metric;
    char *source; /* recorder, and the command line when it is known; never NULL */
    uint64_t total;
    struct profile_object *objects;
    struct profile_function *functions;
    struct profile_edge *edges;
    size_t object_count, function_count, edge_count;
};

/* A form that can be read. */
struct profile_reader {
    const char *name, *meaning;
    /* Whether `data` looks like this form. */
    bool (*sniff)(const char *data, size_t bytes);
    /* Parses NUL-terminated `data`. Returns 0, or -1 with `error` (BASE_EXIT_INPUT, names `path` and line). */
    int (*read)(struct base_error *error, struct profile *out, const char *data, size_t bytes,
                const char *path);
};
/* Ended by NULL. */
extern const struct profile_reader *const profile_readers[];

/* Finds a reader by name ("callgrind", "gprof", "perf", "testudo"). Returns NULL when there is none. */
const struct profile_reader *profile_reader_named(const char *name);

/* Reads a profile; a gzip-compressed file is decompressed. In: reader, or NULL to recognise the form.
   Out: *out, owned by the caller. Returns 0, or -1 with `error`: file, line, what was wrong. */
int profile_load(struct base_error *error, struct profile *out, const char *path,
                 const struct profile_reader *reader);

/* Sum of several runs of one metric, functions joined by (object, build-id, name).
   Returns 0, or -1 with `error` when the metrics differ. */
int profile_merge(struct base_error *error, struct profile *out, const struct profile *in, size_t count);

/* A profile from a recorder's own figures, piece by piece. */
struct profile_draft;
struct profile_draft *profile_draft_new(enum profile_metric metric, const char *source);
/* An object, made at first mention. In: build_id hexadecimal, or empty. Returns its number. */
uint32_t profile_draft_object(struct profile_draft *draft, const char *path, const char *build_id);
/* A function, told apart by object and name; figures of one named again add up. Everything is copied. Returns its number. */
uint32_t profile_draft_function(struct profile_draft *draft, const struct profile_function *function);
void profile_draft_edge(struct profile_draft *draft, uint32_t caller, uint32_t callee, uint64_t calls);
/* Returns 0, or -1 with `error` when there is no cost at all, or a sum leaves 64 bits. The draft is gone in either case.
   In: `what` names the profile in an error. */
int profile_draft_finish(struct base_error *error, struct profile *out, struct profile_draft *draft,
                         const char *what);

/* The neutral text. Returns nothing; `text` grows. */
void profile_write(struct base_text *text, const struct profile *profile);

void profile_free(struct profile *profile);

/* "instructions" or "time". */
const char *profile_metric_name(enum profile_metric metric);

#endif
