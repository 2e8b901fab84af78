/* The one way to make a struct profile: readers add what they find, the builder interns names and sums. Private. */
#ifndef PROFILE_BUILD_H
#define PROFILE_BUILD_H

#include "profile/profile.h"

struct profile_table {
    uint32_t *slots; /* index + 1, or 0 */
    size_t room, used;
};

struct profile_builder {
    struct profile p;
    size_t object_room, function_room, edge_room;
    struct profile_table objects, functions, edges;
    bool overflow; /* a sum left 64 bits */
};

/* Find or add; the name is copied. Returns the index. */
uint32_t profile_build_object(struct profile_builder *b, const char *path, size_t bytes);
uint32_t profile_build_function(struct profile_builder *b, uint32_t object, const char *name, size_t bytes);
/* Add to a function's self cost or call count, or to an edge's calls. */
void profile_build_self(struct profile_builder *b, uint32_t function, uint64_t cost);
void profile_build_calls(struct profile_builder *b, uint32_t function, uint64_t calls);
/* Adds the returns of 0 and of negative numbers that `from` holds. */
void profile_build_returns(struct profile_builder *b, uint32_t function, const struct profile_function *from);
void profile_build_edge(struct profile_builder *b, uint32_t caller, uint32_t callee, uint64_t calls);

/* Sorts, sums, and moves the profile out. Returns 0, or -1 with `error` when there is no cost at all or a sum
   overflowed. The builder is empty afterwards in either case. */
int profile_build_finish(struct base_error *error, struct profile *out, struct profile_builder *b,
                         const char *path);
void profile_build_drop(struct profile_builder *b);

/* Lines of a text, without their ends. */
struct profile_lines {
    const char *at, *end; /* rest of the text */
    const char *line;     /* current line, `bytes` long */
    size_t bytes, number;
};
bool profile_next_line(struct profile_lines *lines);

/* Decimal number at *at, which moves behind it. Returns false when there is none or it leaves 64 bits. */
bool profile_number(uint64_t *value, const char **at, const char *end);

extern const struct profile_reader profile_callgrind, profile_gprof, profile_perf, profile_text;

#endif
