/* bench: measures what supervision costs on this machine, against native and against peers. It prints figures and judges
   none: whether a speed is good enough is for the reader. Everything is measured in the same run as what it is compared
   with, in turns (A B A B), and each ratio belongs to one turn.

   The cast:
     way       one way to run a program: natively, under a peer, or supervised at a level
     run       one execution of a program in one way, and what it used
     turn      one run in every way; ratios are formed within a turn
     server    a program that is asked over loopback while its slice changes (table1, figure2, peers) */
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H

#include "base/base.h"

/* ---- what comes out (result.c) ------------------------------------------------------------------------ */

enum bench_kind { BENCH_TEXT, BENCH_NUMBER, BENCH_FLAG };

struct bench_column {
    const char *key;   /* for machines */
    const char *title; /* for people, with its unit */
    enum bench_kind kind;
    int decimals; /* as report_column's */
};

struct bench_cell {
    char *text;    /* BENCH_TEXT */
    double number; /* NaN: none; BENCH_FLAG: 0 or 1 */
};

/* A figure about the whole table, such as a mean of a column. */
struct bench_sum {
    const char *group; /* key of the object that holds it, or NULL: stands by itself */
    char key[40];
    double value;
};

enum { BENCH_SUMS_MAX = 48, BENCH_CURVES_MAX = 4 };

/* Curves of one plot: a column against another; rows with equal text in column `group` make a curve each. */
struct bench_plot {
    const char *x_label, *y_label;
    int x;                   /* column; -1: the place of a row's `label` text among the labels */
    int label;               /* column of texts, when x is -1 */
    int group;               /* column of texts, or -1 */
    int y[BENCH_CURVES_MAX]; /* columns, `y_count` of them */
    int y_count;
    bool x_log, y_log;
};

/* Owned as a whole: bench_result_free. Starts as {0}. */
struct bench_result {
    const char *name, *title;
    struct base_text setting; /* lines: machine, programs, how it was done, what was left out */
    const struct bench_column *columns;
    unsigned column_count;
    struct bench_cell *cells; /* row by row */
    size_t cell_count, cell_room;
    struct bench_sum sums[BENCH_SUMS_MAX];
    unsigned sum_count;
    struct bench_plot plot; /* y_count 0: none */
};

void bench_result_free(struct bench_result *result);
/* Makes the folder that results are to be saved in: before they are measured, since that takes long. Returns 0, or -1 with
   `error`. */
int bench_result_folder(struct base_error *error, const char *out);
/* Writes NAME.csv, NAME.md and, with a plot, NAME.svg and NAME.png into the folder `out`, which is made. Returns 0, or -1
   with `error`. */
int bench_result_save(struct base_error *error, const struct bench_result *result, const char *out);
/* The table with what stands around it. In: `markdown`: for a document, else aligned text. */
void bench_result_print(FILE *file, const struct bench_result *result, bool markdown);
/* The same as an object for machines. Owns: the text is the caller's, free(). */
char *bench_result_json(const struct bench_result *result);

/* ---- what is measured --------------------------------------------------------------------------------- */

/* Zero or NULL: the benchmark's own choice. */
struct bench_options {
    unsigned runs;         /* turns */
    const char *only;      /* comma-separated shell patterns of programs, or of probes */
    const char *levels;    /* comma-separated: off translate check full check-stacks full-stacks */
    bool peers;            /* also under the peers that are installed */
    double scale;          /* size of inputs; 1: a native run takes seconds */
    const char *cache;     /* folder of generated inputs; NULL: in the user's cache folder */
    const char *server;    /* apache, nginx, redis */
    const char *profile;   /* of the server; NULL: recorded with callgrind first */
    const char *constants; /* transition: file to write; table1: file to read, for the prediction */
    unsigned requests, concurrency;
    bool instructions; /* constants are for profiles in instructions instead of time */
    bool cold;         /* every member also watches all cold code */
    /* Progress; may be NULL. */
    void (*progress)(void *context, uint64_t done, uint64_t total);
    void *context;
};

/* Each measures, fills `result` and returns 0; or -1 with `error`: BASE_EXIT_ENVIRONMENT when something is not installed,
   BASE_EXIT_USAGE for words it does not know. Interrupted by a signal: -1 with an error that says so, everything that was
   started ended, temporary files gone. Context: main thread, one at a time; they install signal handlers.
   Source of table1 and figure2: AC §3. */
int bench_engine(struct base_error *error, struct bench_result *result, const struct bench_options *options);
int bench_transition(struct base_error *error, struct bench_result *result,
                     const struct bench_options *options);
int bench_heap(struct base_error *error, struct bench_result *result, const struct bench_options *options);
int bench_table1(struct base_error *error, struct bench_result *result, const struct bench_options *options);
int bench_figure2(struct base_error *error, struct bench_result *result, const struct bench_options *options);
int bench_memory(struct base_error *error, struct bench_result *result, const struct bench_options *options);
int bench_peers(struct base_error *error, struct bench_result *result, const struct bench_options *options);

/* ---- arithmetic (figures.c) --------------------------------------------------------------------------- */

/* Median, smallest and largest of `count` numbers, NaN left out; all NaN when nothing is left. `values` is reordered. */
struct bench_spread {
    double median, min, max;
    size_t count;
};
struct bench_spread bench_spread_of(double *values, size_t count);
/* Geometric mean, NaN left out. Returns NaN when nothing is left. */
double bench_geomean(const double *values, size_t count);
/* Part of the throughput that is lost when a share `s` of the user code runs `k` times as long, and user code is a share
   `u` of all time. Returns 0..1. Source: AC §2, by Amdahl's law. */
double bench_predicted_loss(double u, double s, double k);
/* The k that explains a loss: the other way round. Returns NaN when none does. In: u > 0, s > 0, loss < 1. */
double bench_slowdown_from(double u, double s, double loss);

#endif
