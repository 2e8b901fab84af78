/* Between the files of sim. */
#ifndef SIM_PRIVATE_H
#define SIM_PRIVATE_H

#include "sim/sim.h"

/* calloc that ends the process when memory is out. */
void *sim_allocate(size_t count, size_t size);

/* ---- building a result ---- */
void sim_result_start(struct sim_result *result, const char *name, const char *title,
                      const struct sim_column *columns, unsigned column_count);
/* Appends a row. Returns its cells, to be filled in column order; valid until the next row. */
struct sim_cell *sim_result_row(struct sim_result *result);
void sim_result_claim(struct sim_result *result, bool holds, const char *claimed, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
void sim_result_plot(struct sim_result *result, struct sim_plot plot);
/* Adds a series of `count` points, to be filled. */
struct sim_series *sim_result_series(struct sim_result *result, size_t count, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
struct sim_cell sim_number(double number);
struct sim_cell sim_text(const char *text);
void sim_step(const struct sim_options *options, uint64_t done, uint64_t total);

/* Part of the work that is at risk when Table 1's weighted work is 158.93 percent and alpha 2. */
#define SIM_RISK_PART 0.5893

/* ---- synthetic programs (program.c) ---- */
enum sim_shape { SIM_EVEN, SIM_NORM, SIM_SKEW, SIM_SHAPES };
extern const char *const sim_shape_names[SIM_SHAPES];

struct sim_program {
    size_t count;
    double *cost;       /* work units */
    uint32_t *distance; /* calls to input */
    double *risk;
};
/* A program of `count` functions with `level` work units each on average. */
void sim_program_make(struct sim_program *program, struct core_rng *rng, size_t count, enum sim_shape shape,
                      double level);
/* Risk by distance. */
void sim_program_risk(struct sim_program *program, enum model_risk_policy policy, double alpha,
                      uint32_t reach);
/* Risk alpha for random functions, until `share` of the work is at risk; costs are then scaled so that the share is exact. */
void sim_program_risk_share(struct sim_program *program, struct core_rng *rng, double alpha, double share);
void sim_program_free(struct sim_program *program);
/* Independent stream of a replicate: the same for the same seed, whatever ran before it. */
struct core_rng sim_stream(uint64_t seed, uint64_t replicate, uint64_t purpose);
/* Standard normal. */
double sim_normal(struct core_rng *rng);

/* ---- a community's slices (program.c) ---- */
struct sim_division {
    struct model_task task;
    struct model_holding *holdings; /* by function: those of f are first[f] .. first[f + 1] - 1 */
    size_t *first;
    double unfairness;
};
/* Divides by the central policy. The task's arrays must outlive the division. */
void sim_divide(struct sim_division *division, const struct model_task *task);
void sim_division_free(struct sim_division *division);

/* ---- one attack (attack.c) ---- */
enum sim_attack_kind { SIM_ATTACKER, SIM_WORM };

struct sim_setting {
    enum sim_attack_kind kind;
    uint32_t members;
    double latency_s, loss; /* of alerts */
    double subverted;       /* part of members that watch nothing and tell nothing */
    double scans_per_s;     /* of each attacker */
    double away;            /* part of members that are away at any time */
    double cut, heal_s;     /* part of members that are cut off from the others, and until when */
    double restart_s;       /* a single attacker's victims are down for so long */
};

/* One policy's slices for a number of members. */
struct sim_community {
    struct sim_division division;
    uint64_t *tokens;
    double load_percent; /* of T that a member watches on average */
};

struct sim_outcome {
    double victims_before, victims; /* before the detection; in all */
    double detect_s, immune_s;      /* NaN: never */
};

enum { SIM_CURVE_POINTS = 60 };
/* Memory of one replicate, used again for the next. */
struct sim_arena {
    uint32_t *target;          /* members that a strike can still change */
    uint32_t *slot;            /* holding of the faulty function + 1, by member */
    float *until;              /* when a fallen member is back, 0: it is; NULL: not needed */
    double step_s;             /* between the points of the curves; 0: none wanted */
    uint64_t *immune, *fallen; /* members that became it before each point and after the one before */
};

struct sim_outcome sim_attack(struct sim_arena *arena, const struct sim_community *c,
                              const struct sim_setting *s, uint32_t function, uint64_t seed,
                              uint64_t replicate);

/* ---- the simulations ---- */
int sim_table1(struct base_error *error, struct sim_result *result, const struct sim_options *options);
int sim_table2(struct base_error *error, struct sim_result *result, const struct sim_options *options);
int sim_figure1(struct base_error *error, struct sim_result *result, const struct sim_options *options);
int sim_figure2(struct base_error *error, struct sim_result *result, const struct sim_options *options);
int sim_apache_like(struct base_error *error, struct sim_result *result, const struct sim_options *options);
int sim_bidding(struct base_error *error, struct sim_result *result, const struct sim_options *options);
int sim_epidemic(struct base_error *error, struct sim_result *result, const struct sim_options *options);

#endif
