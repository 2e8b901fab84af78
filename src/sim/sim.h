/* sim: seeded simulations of programs, communities and attacks. They call the same functions of model that planners and
   members call; here stand only the synthetic programs, the network, the attacks and the statistics.

   A simulation fills a table. A cell is a number, a text, or a mean with the ends of its interval; claims are sentences about
   the table that the simulation checked. */
#ifndef SIM_SIM_H
#define SIM_SIM_H

#include "base/base.h"
#include "model/model.h"

enum { SIM_COLUMNS_MAX = 16 };

enum sim_cell_kind { SIM_NUMBER, SIM_TEXT, SIM_INTERVAL };

struct sim_column {
    const char *key;   /* of JSON: snake_case with unit */
    const char *title; /* for people, with unit */
    enum sim_cell_kind kind;
    int decimals; /* as report's tables: negative: significant digits */
};

struct sim_cell {
    double number, low, high; /* NaN: none */
    const char *text;         /* static */
};

/* What the paper or the design says, and what the simulation found. */
struct sim_claim {
    const char *claimed;
    char found[256];
    bool holds;
};

enum { SIM_PLOTS_MAX = 6, SIM_SERIES_MAX = 8 };

/* A picture of the table: one column over another. */
struct sim_plot {
    const char *name, *title; /* the file's name is the simulation's and this one */
    int x, y;                 /* columns */
    const char *x_label;      /* NULL: the column's title */
    int group[2];             /* columns whose texts or numbers tell curves apart, -1: none */
    bool x_log, y_log;
    int only; /* not 0: rows alone whose cell in this column (-1: the first) is `only_text`, or `only_number` when that is
                 NULL */
    const char *only_text;
    double only_number;
    double limit; /* a line across, named `limit_name`; NULL: none */
    const char *limit_name;
    int paper; /* > 0: column of the paper's figures, drawn as points and named `paper_name`, NULL: "paper" */
    const char *paper_name;
};

/* A curve over time, which has no room in the table: a picture and a CSV file of their own. */
struct sim_series {
    char name[64];
    size_t count;
    double *x;
    struct sim_cell *y;
};

struct sim_result {
    const char *name, *title;
    char setting[512]; /* what was simulated, in words and numbers */
    const struct sim_column *columns;
    unsigned column_count;
    struct sim_cell *cells; /* row by row */
    size_t row_count, room;
    struct sim_claim *claims;
    size_t claim_count;
    struct sim_plot plots[SIM_PLOTS_MAX];
    unsigned plot_count;
    const char *series_name, *series_title, *series_x, *series_y; /* NULL: no series */
    bool series_x_log;
    struct sim_series series[SIM_SERIES_MAX];
    unsigned series_count;
    uint64_t seed, replicates;
};

/* What a user can choose; 0 or negative: the simulation's own default. */
struct sim_options {
    uint64_t seed;
    uint64_t replicates;
    bool replicates_given; /* by the user, not the default: then it is kept at any size */
    uint64_t functions, members;
    double alpha;
    uint32_t reach; /* D */
    double slice_percent;
    double slowdown;    /* of supervised code */
    double user_share;  /* part of the application's time that is its own code */
    double latency_ms;  /* mean of an alert's way to a member */
    double loss;        /* part of messages lost */
    double subverted;   /* part of members that do not do their share */
    double scans_per_s; /* of one infected member, or of the attacker */
    void (*progress)(void *context, uint64_t done, uint64_t total);
    void *context;
};

struct sim_simulation {
    const char *name, *summary, *description;
    uint64_t replicates; /* default */
    int (*run)(struct base_error *error, struct sim_result *result, const struct sim_options *options);
};
/* Ended by one without a name. */
extern const struct sim_simulation sim_simulations[];

void sim_result_free(struct sim_result *result);

/* ---- statistics (result.c) ---- */

/* Mean and 95 percent interval of the mean of `count` samples (Student's t). */
struct sim_cell sim_mean(const double *samples, size_t count);
/* Part of `count` trials that succeeded, and its 95 percent interval (Wilson), which never leaves 0..1. */
struct sim_cell sim_part(uint64_t succeeded, uint64_t count);
/* Median, and the range in which 95 percent of the samples lie. Sorts `samples`. */
struct sim_cell sim_range(double *samples, size_t count);

#endif
