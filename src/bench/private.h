/* What the files of this folder share. */
#ifndef BENCH_PRIVATE_H
#define BENCH_PRIVATE_H

#include "bench/bench.h"
#include "wire/wire.h"

#include <sys/types.h>

enum { BENCH_PATH = 1024, BENCH_WAYS_MAX = 12, BENCH_PREFIX_MAX = 6 };

/* ---- rows (result.c) ---- */

void bench__begin(struct bench_result *result, const char *name, const char *title,
                  const struct bench_column *columns, unsigned count);
void bench__text(struct bench_result *result, const char *text);
void bench__number(struct bench_result *result, double number);
void bench__sum(struct bench_result *result, const char *group, const char *key, double value);
/* A line of the setting. */
void bench__note(struct bench_result *result, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Processor, cores, kernel, date and load of this machine, as a line. */
void bench__note_machine(struct bench_result *result);

/* Memory, or the end of the process: benchmarks have no way on without. */
void *bench__allocate(size_t count, size_t bytes);

/* ---- signals, folders, commands (shell.c) ---- */

/* From now on INT, TERM and HUP only make bench__stopped true. */
void bench__catch_signals(void);
/* Whether a signal asked us to end. */
bool bench__stopped(void);
/* Sets the error that says so. Returns -1. */
int bench__stop_error(struct base_error *error);
/* Sleeps. Returns false when we are to end. */
bool bench__sleep_ms(unsigned ms);
/* Makes a folder that only we know. Out: `path`. Returns 0, or -1 with `error`. */
int bench__make_folder(struct base_error *error, char path[BENCH_PATH]);
/* Removes a folder with all that is in it. */
void bench__remove_folder(const char *path);
/* Starts a program. In: output and error go to `log` (NULL: nowhere). Returns its process id, or -1 with `error`. */
pid_t bench__start(struct base_error *error, char *const argv[], const char *log);
/* Runs a program to its end. Out: `*output`, what it wrote to standard output (NULL: dropped; owned by the caller). `idle` is
   called fifty times a second meanwhile, may be NULL. Returns 0, or -1 with `error`: not found, ended badly, interrupted. */
int bench__command(struct base_error *error, char **output, char *const argv[], void (*idle)(void *),
                   void *context);
/* TERM, and after `patience_ms` KILL, for a process and all that it started. Collects it. */
void bench__end(pid_t pid, unsigned patience_ms);
/* KILL for those of a list that have become our children, because whoever started them has ended. */
void bench__end_orphans(const pid_t *list, size_t count);
/* A process and all that it started, directly or not. Returns their number; the process itself is the first. */
size_t bench__family(pid_t *family, size_t room, pid_t pid);
/* A port of 127.0.0.1 that nobody uses now, or 0. */
unsigned bench__free_port(void);
/* A connection to that port, which gives up reading after seconds. Returns a socket, or -1. */
int bench__connect(unsigned port);
/* Whether somebody accepts connections there. */
bool bench__answers(unsigned port);
/* Path of a program of this project: beside our own, or in `folder` there. Returns 0, or -1 with `error`. */
int bench__find_own(struct base_error *error, char path[BENCH_PATH], const char *folder, const char *name);
/* Whether an installed program can be found in PATH. */
bool bench__installed(const char *program);
/* Whether a comma-separated list of patterns (NULL: everything) means `name`. */
bool bench__listed(const char *list, const char *name);

/* ---- one execution (run.c) ---- */

struct bench_way {
    const char *name;
    const char *prefix[BENCH_PREFIX_MAX]; /* of a peer: words before the command line */
    bool peer, supervised;
    bool asan;           /* built with the address sanitizer: not every program is */
    enum wire_mode mode; /* of a supervised one */
    bool heap_stacks;    /* allocation stacks are recorded */
};
struct bench_run {
    double cpu_s;  /* user and system, of the program with all its children */
    double user_s; /* user part of it */
    double wall_s;
    double rss_kib;       /* peak */
    int status;           /* as waitpid gives it */
    uint64_t hash, bytes; /* of standard output */
    uint64_t faults;
};
struct bench_job {
    char *const *argv;
    const char *input; /* file on standard input, or NULL */
    char *output; /* where to leave standard output as text, or NULL: `output_room` bytes, NUL-terminated */
    size_t output_room;
    const char *watched; /* patterns of the functions to supervise, or NULL: all */
    /* For servers: called while the program runs; talks to it and makes it end. Its hash stands for the output. */
    int (*drive)(struct base_error *error, uint64_t *hash, void *context);
    void *context;
};
/* Returns 0 and `*run` (also when the program ended badly: see its status), or -1 with `error`. */
int bench__run(struct base_error *error, struct bench_run *run, const struct bench_way *way,
               const struct bench_job *job);
/* The ways that `levels` and `peers` ask for, native first. Returns their number, or -1 with `error`. */
int bench__ways(struct base_error *error, struct bench_way ways[BENCH_WAYS_MAX], const char *levels,
                bool peers);

/* ---- the programs and their inputs (programs.c, inputs.c) ---- */

enum { BENCH_WORDS_MAX = 10 };

struct bench_program {
    const char *name;                   /* as the table shows it */
    const char *program;                /* looked for in PATH */
    const char *words[BENCH_WORDS_MAX]; /* arguments; "@" stands for the input's path */
    const char *(*input)(struct base_error *error, char path[BENCH_PATH], const char *cache, double scale);
    bool server; /* driven by redis.c */
};
/* Ended by an entry without a name. */
extern const struct bench_program bench__programs[];

/* The folder of inputs: `given`, or in the user's cache; made when missing. Returns 0, or -1 with `error`. */
int bench__cache(struct base_error *error, char path[BENCH_PATH], const char *given);
/* Each makes sure that an input stands in `cache` and returns its path (`path`), or NULL with `error`. Equal scales give
   equal bytes everywhere. */
const char *bench__input_text(struct base_error *error, char path[BENCH_PATH], const char *cache,
                              double scale);
const char *bench__input_bzip2(struct base_error *error, char path[BENCH_PATH], const char *cache,
                               double scale);
const char *bench__input_json(struct base_error *error, char path[BENCH_PATH], const char *cache,
                              double scale);
const char *bench__input_lua(struct base_error *error, char path[BENCH_PATH], const char *cache,
                             double scale);
const char *bench__input_perl(struct base_error *error, char path[BENCH_PATH], const char *cache,
                              double scale);
const char *bench__input_sql(struct base_error *error, char path[BENCH_PATH], const char *cache,
                             double scale);

/* One run of a program of the table in one way. */
int bench__run_program(struct base_error *error, struct bench_run *run, const struct bench_program *program,
                       const struct bench_way *way, const char *cache, double scale);
/* The same for redis-server under redis-benchmark. */
int bench__run_redis(struct base_error *error, struct bench_run *run, const struct bench_way *way,
                     double scale);

/* ---- programs built with gcc's address sanitizer (asan.c) ---- */

/* Whether it is known how a program is built. */
bool bench__asan_knows(const char *program);
/* Where it stands. Returns whether it is there. */
bool bench__asan_path(char path[BENCH_PATH], const char *cache, const char *program);
/* Builds it in the cache folder from its Debian source package, unless it stands there already. Takes seconds, and the network.
   Returns 0, or -1 with `error`: something is not installed, or the package cannot be had. In: a program that is known. */
int bench__asan_build(struct base_error *error, const char *cache, const char *program);

/* Ratio of the time of supervised code over native time, by quick runs of a few programs at level full. Out: `*slowdown`,
   geometric mean; `names`: which ones. */
int bench__quick_slowdown(struct base_error *error, double *slowdown, char *names, size_t room,
                          const struct bench_options *options);

/* ---- slices of a server (slices.c) ---- */

struct bench_slices;
struct bench_watch {
    uint8_t build_id[20];
    uint32_t build_id_bytes;
    uint64_t offset;
};

/* Reads a profile and weighs functions as in the paper: at risk, with weight 2, are `at_risk` percent of the work, those
   nearest to input first. Returns 0, or -1 with `error`. Owns: the caller's, bench__slices_free. */
int bench__slices_open(struct base_error *error, struct bench_slices **slices, const char *profile);
void bench__slices_free(struct bench_slices *slices);
/* Plans slices of a size. Out: *members. */
int bench__slices_plan(struct base_error *error, struct bench_slices *slices, uint32_t *members,
                       double slice_percent, double at_risk_percent, bool cold);
/* What a member drawn at random watches at a moment drawn at random, by the last plan. Returns their number. Out: *list, owned
   by `slices` until the next call; *share: their part of the program's own work, 0..1. */
size_t bench__slices_draw(const struct bench_watch **list, double *share, struct bench_slices *slices);
/* Part of the profile's work that is the program's own. */
double bench__slices_own(const struct bench_slices *slices);

/* ---- a server on loopback (server.c, visits.c) ---- */

struct bench_server;
enum bench_server_kind { BENCH_APACHE, BENCH_NGINX, BENCH_REDIS };

const char *bench__server_name(enum bench_server_kind kind);
/* Which one `name` means (NULL: Apache). Returns 0, or -1 with `error`: there is none, or it is not installed. */
int bench__server_kind(struct base_error *error, enum bench_server_kind *kind, const char *name);
/* Makes a server's folder. In: `concurrency`, which the server's children suffice for; `single`: as one process. Returns 0, or -1
   with `error`. Owns: the caller's, bench__server_stop. */
int bench__server_open(struct base_error *error, struct bench_server **server, enum bench_server_kind kind,
                       const struct bench_way *way, unsigned concurrency, bool single);
/* Starts it and waits until it answers; a supervised one begins with nothing watched. Returns 0, or -1 with `error`. */
int bench__server_start(struct base_error *error, struct bench_server *server);
/* Ends it; its folder stays. */
void bench__server_halt(struct bench_server *server);
/* Ends it and removes all of it. NULL is allowed. */
void bench__server_stop(struct bench_server *server);
/* What is watched from now on, in a supervised server: these functions, or all. Returns how many the runtime knows. */
size_t bench__server_watch(struct bench_server *server, const struct bench_watch *list, size_t count);
size_t bench__server_watch_all(struct bench_server *server);
/* Answers the runtime; to be called often. Returns false when the server has ended. */
bool bench__server_tend(struct bench_server *server);

struct bench_load {
    double requests_per_s;
    double cpu_us;                /* of the server, per request */
    double user_ticks, all_ticks; /* of the server's time; too coarse for one trial, good for a sum */
    double pss_kib, rss_kib;      /* of all its processes, at the end */
    double processes;
    double share; /* mean part of the own work that was watched; NaN without `slices` */
};
/* One trial: requests as fast as they are answered. In: `slices`, NULL: what is watched stays as it is; else it is drawn
   anew fifty times a second. Returns 0, or -1 with `error`: some were not answered. */
int bench__server_load(struct base_error *error, struct bench_load *load, struct bench_server *server,
                       unsigned requests, unsigned concurrency, struct bench_slices *slices);
/* Records a profile of such a server under such a load with callgrind. Out: `path`, in `folder`. */
int bench__server_profile(struct base_error *error, char path[BENCH_PATH], enum bench_server_kind kind,
                          const char *folder, unsigned requests, unsigned concurrency);

#endif
