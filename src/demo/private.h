/* What the files of this folder share. */
#ifndef DEMO_PRIVATE_H
#define DEMO_PRIVATE_H

#include "demo/demo.h"

#include <sys/types.h>

enum { DEMO_PATH = 512, DEMO_CHILDREN_MAX = 8, DEMO_EVENTS_MAX = 512 };

/* ---- processes and files (stage.c) ---- */

/* The folder of everything, and whoever must end with us. */
struct demo_stage {
    char folder[DEMO_PATH];
    char self[DEMO_PATH];   /* the testudo that runs */
    char module[DEMO_PATH]; /* mod_fragile.so */
    pid_t running[64];
    unsigned running_count;
    uint64_t start_ns;
};

/* Makes the folder, finds programs and module, takes over signals. Returns 0, or -1 with `error`. */
int demo_stage_open(struct base_error *error, struct demo_stage *stage);
/* Ends everything that was started, politely first, and removes the folder unless `keep`. */
void demo_stage_close(struct demo_stage *stage, bool keep);
/* The signal that asks us to end, or 0. Every wait gives up when there is one. */
int demo_stopped(void);
/* Sleeps. Returns false at once when we are to end. */
bool demo_pause(unsigned ms);

/* Starts a program with output into `log`. In: `argv` ended by NULL; `dropped`: as www-data when we are root. Returns its
   process id, or -1 with `error`. */
pid_t demo_start(struct base_error *error, struct demo_stage *stage, char *const argv[], const char *log,
                 bool dropped);
/* Sends TERM and waits; after `patience_ms` KILL. */
void demo_end(struct demo_stage *stage, pid_t pid, unsigned patience_ms);
/* Runs a program to its end; its standard output becomes `*output` (owned by the caller; NULL: dropped). Returns 0, or -1
   with `error`, which quotes what it said. Context: any thread. */
int demo_command(struct base_error *error, char **output, char *const argv[]);
unsigned demo_free_port(void);
/* Whether the process runs: neither gone nor a zombie. */
bool demo_alive(pid_t pid);

/* ---- one Apache (server.c, visit.c, chronicle.c) ---- */

struct demo_visit {
    int status;  /* of the answer; 0: the connection broke */
    pid_t child; /* that answered, 0 unknown */
    char body[256];
};

struct demo_event {
    char name[16], function[64], kind[32], outcome[16];
    uint64_t time_ns;  /* realtime of the event */
    uint64_t fault_ns; /* of its fault */
    unsigned entries;
};

struct demo_server {
    char name[32], folder[DEMO_PATH];
    unsigned port;
    pid_t pid; /* of apache2, or of testudo run */
    bool member;
    /* what its member told so far */
    long told_bytes;
    unsigned event_count;
    struct demo_event events[DEMO_EVENTS_MAX];
};

/* examples/apache.conf.in, word for word. */
extern const char demo_apache_template[];

/* Starts Apache and waits until it answers. In: `community` NULL: natively; else as member `name` of the community in that
   folder. A port that somebody else took meanwhile is exchanged for another. Returns 0, or -1 with `error`. */
int demo_server_start(struct base_error *error, struct demo_stage *stage, struct demo_server *server,
                      const char *name, const char *community);
void demo_server_end(struct demo_stage *stage, struct demo_server *server);
/* Makes server->folder with a configuration for `port`. In: `identity`: User and Group lines. */
int demo_server_lay_out(struct base_error *error, const struct demo_stage *stage, struct demo_server *server,
                        bool identity);
bool demo_server_ready(const struct demo_server *server, unsigned patience_ms);

struct demo_visit demo_visit(unsigned port, const char *path);
/* What a child of the server tells of itself at /fragile/state. Returns false when it did not answer. */
bool demo_state(const struct demo_server *server, pid_t child, char *text, size_t bytes);
/* The children that answer, two when all is well; waits a little for the second. Returns their number. */
unsigned demo_children(const struct demo_server *server, pid_t children[DEMO_CHILDREN_MAX]);

/* The first event from number `from` on with this name and, when not NULL, function; waits for it. Returns NULL when it did
   not come. */
const struct demo_event *demo_await(struct demo_server *server, unsigned from, const char *name,
                                    const char *function, unsigned patience_ms);
unsigned demo_events_so_far(struct demo_server *server);

/* ---- load (load.c) ---- */

struct demo_load;
/* Asks the server for normal pages, with `ab`, in bursts until it is ended. */
struct demo_load *demo_load_start(unsigned port);
/* Out: requests answered and not. */
void demo_load_end(struct demo_load *load, unsigned long *answered, unsigned long *failed);

/* ---- profile and plan (plan.c, slices.c) ---- */

/* Who watches what. */
struct demo_slices {
    unsigned holds[3]; /* by attack: bit m: the slice of member m holds its function, all the time */
    unsigned turns[3]; /* the same, but for a part of the time */
    bool everyone[3];  /* everybody watches it: it is cold code */
    unsigned sizes[DEMO_MEMBERS_MAX]; /* functions in the member's slice */
    double loads[DEMO_MEMBERS_MAX];   /* percent of all work */
    double expected_victims, slice_percent;
    unsigned functions;
};

/* Records what Apache does for ordinary visitors. Out: `profile`, a path (DEMO_PATH). Returns 0 or -1. */
int demo_profile(struct base_error *error, struct demo_stage *stage, char *profile);
/* Adds who holds what, and who holds the `functions`, from a manifest. Returns 0 or -1. */
int demo_slices(struct base_error *error, struct demo_slices *slices, const char *manifest,
                const char *const functions[3]);
/* Plans for `members` by `policy` ("paper" or "cold") and publishes the manifest to a community. */
int demo_plan(struct base_error *error, struct demo_stage *stage, struct demo_slices *slices,
              const char *profile, const char *community, unsigned members, const char *policy,
              const char *const functions[3]);

#endif
