/* The programs that are measured, and one run of them. */
#include "bench/private.h"

#include <string.h>

/* "@" is the input's path; "<" before it: the input comes on standard input. */
const struct bench_program bench__programs[] = {
    {.name = "bzip2", .program = "bzip2", .words = {"-c", "@"}, .input = bench__input_text},
    {.name = "bunzip2", .program = "bunzip2", .words = {"-c", "@"}, .input = bench__input_bzip2},
    {.name = "gzip", .program = "gzip", .words = {"-n", "-c", "@"}, .input = bench__input_text},
    {.name = "xz", .program = "xz", .words = {"-T1", "-1", "-c", "@"}, .input = bench__input_text},
    {.name = "lua5.4", .program = "lua5.4", .words = {"@"}, .input = bench__input_lua},
    {.name = "sqlite3", .program = "sqlite3", .words = {":memory:", "<"}, .input = bench__input_sql},
    {.name = "jq",
     .program = "jq",
     .words =
         {"-c",
          "[group_by(.tags[0])[] | {tag: .[0].tags[0], pieces: (map(.stock.here + .stock.there) | add), "
          "dear: (map(select(.price > 500) | .name) | length), names: (map(.name | ascii_upcase) | unique | "
          ".[0:3])}]",
          "@"},
     .input = bench__input_json},
    {.name = "perl", .program = "perl", .words = {"@"}, .input = bench__input_perl},
    {.name = "redis", .program = "redis-server", .server = true},
    {.name = NULL},
};

int bench__run_program(struct base_error *error, struct bench_run *run, const struct bench_program *program,
                       const struct bench_way *way, const char *cache, double scale)
{
    char path[BENCH_PATH], built[BENCH_PATH];
    char *argv[BENCH_WORDS_MAX + 2];
    size_t count = 0;
    if (program->server)
        return bench__run_redis(error, run, way, scale);
    if (!program->input(error, path, cache, scale))
        return -1;
    struct bench_job job = {.argv = argv};
    argv[count++] = way->asan && bench__asan_path(built, cache, program->name)
                        ? built
                        : (char *)(uintptr_t)program->program;
    for (size_t i = 0; i < BENCH_WORDS_MAX && program->words[i]; i++) {
        const char *word = program->words[i];
        if (strcmp(word, "<") == 0)
            job.input = path;
        else
            argv[count++] = strcmp(word, "@") == 0 ? path : (char *)(uintptr_t)word;
    }
    argv[count] = NULL;
    return bench__run(error, run, way, &job);
}
