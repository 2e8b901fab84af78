/* A peer that needs source: programs built with gcc's address sanitizer from Debian's source packages, where those can be had.
   apt works with lists and a cache of its own, below the folder of inputs, so that nothing of the system's changes and nobody has
   to be root. What was built once is used again. */
#define _GNU_SOURCE
#include "bench/private.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* How a program comes out of its source package: the files of one call of the compiler, in the package's folder. */
static const struct recipe {
    const char *program, *package, *before, *build;
} recipes[] = {
    {"bzip2", "bzip2", ":",
     "-D_FILE_OFFSET_BITS=64 bzip2.c blocksort.c huffman.c crctable.c randtable.c compress.c decompress.c bzlib.c"},
    {"bunzip2", "bzip2", ":",
     "-D_FILE_OFFSET_BITS=64 bzip2.c blocksort.c huffman.c crctable.c randtable.c compress.c decompress.c bzlib.c"},
    {"lua5.4", "lua5.4",
     "rm src/luac.c; echo '#define DEB_HOST_MULTIARCH \"'$(gcc -print-multiarch)'\"' >src/lua5.4-deb-multiarch.h",
     "-std=gnu99 -DLUA_USE_LINUX -DLUA_COMPAT_5_3 src/*.c -Wl,-E -lm -ldl"},
};

/* $1: the folder, $2: the package, $3: the program's new path, $4: what comes before, $5: the compiler's words. */
static const char script[] =
    "set -e\n"
    "mkdir -p \"$1/state/lists/partial\" \"$1/cache/archives/partial\"\n"
    "cd \"$1\"\n"
    "apt-get indextargets --format 'deb-src $(SITE) $(CODENAME) $(COMPONENT)' 'Created-By: Packages' 'Origin: Debian' |"
    " sort -u >sources.list\n"
    "apt() { apt-get -q -o Dir::Etc::sourcelist=\"$PWD/sources.list\" -o Dir::Etc::sourceparts=-"
    " -o Dir::State=\"$PWD/state\" -o Dir::Cache=\"$PWD/cache\" -o APT::Sandbox::User=root -o Acquire::Retries=0"
    " -o Acquire::http::Timeout=20 \"$@\"; }\n"
    "[ -s sources.list ]\n"
    "[ -e listed ] || apt -o APT::Update::Error-Mode=any update\n"
    "touch listed\n"
    "rm -rf \"$2\"-*/\n"
    "apt source \"$2\"\n"
    "cd \"$2\"-*/\n"
    "eval \"$4\"\n"
    "eval \"gcc -O2 -g -w -fsanitize=address -o built $5\"\n"
    "mv built \"$3\"\n";

bool bench__asan_knows(const char *program)
{
    for (size_t i = 0; i < sizeof recipes / sizeof *recipes; i++)
        if (strcmp(recipes[i].program, program) == 0)
            return true;
    return false;
}

bool bench__asan_path(char path[BENCH_PATH], const char *cache, const char *program)
{
    return snprintf(path, BENCH_PATH, "%s/asan/%s", cache, program) < BENCH_PATH && access(path, X_OK) == 0;
}

int bench__asan_build(struct base_error *error, const char *cache, const char *program)
{
    static const char *const tools[] = {"gcc", "apt-get", "dpkg-source"};
    const struct recipe *recipe = recipes;
    char folder[BENCH_PATH + 8], path[BENCH_PATH];
    if (bench__asan_path(path, cache, program))
        return 0;
    for (size_t i = 0; i < sizeof tools / sizeof *tools; i++)
        if (!bench__installed(tools[i]))
            return base_fail(error, BASE_EXIT_ENVIRONMENT, "%s is not installed", tools[i]);
    while (strcmp(recipe->program, program) != 0)
        recipe++;
    snprintf(folder, sizeof folder, "%s/asan", cache);
    char *const words[] = {"sh",
                           "-c",
                           (char *)(uintptr_t)script,
                           "asan",
                           folder,
                           (char *)(uintptr_t)recipe->package,
                           path,
                           (char *)(uintptr_t)recipe->before,
                           (char *)(uintptr_t)recipe->build,
                           NULL};
    if (bench__command(NULL, NULL, words, NULL, NULL))
        return bench__stopped()
                   ? bench__stop_error(error)
                   : base_fail(error, BASE_EXIT_ENVIRONMENT,
                               "the source package %s could not be had or built", recipe->package);
    return 0;
}
