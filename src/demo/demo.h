/* demo: the story that `testudo demo` tells: a community over a real Apache on this machine, attacked and immunised. It starts
   the product's own commands and Debian's programs, attacks, looks at what happened, and says so; it takes no short cut
   that a user could not take. */
#ifndef DEMO_DEMO_H
#define DEMO_DEMO_H

#include "base/base.h"

enum { DEMO_MEMBERS_MIN = 2, DEMO_MEMBERS_MAX = 8 };

struct demo_options {
    unsigned members; /* DEMO_MEMBERS_MIN..DEMO_MEMBERS_MAX */
    bool keep;        /* leave the folder with all logs */
};

/* Tells the story on standard output. Returns the exit status: 0 when everything it claims was observed,
   BASE_EXIT_FAILURE when something was not (named at the end), 128 + N after signal N; or -1 with `error` when it could
   not be told at all (BASE_EXIT_ENVIRONMENT: a program is missing). Nothing it started or wrote is left. Context: main
   thread, once; installs signal handlers and becomes the reaper of its descendants. */
int demo_run(struct base_error *error, const struct demo_options *options);

#endif
