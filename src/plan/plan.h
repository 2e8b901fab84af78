/* plan: joins what a profile says of a program's functions with the binaries and with the model, and so divides the
   program among the members of a community. The only home of this join.

   A function of the plan is one of the program's own (core/system_objects.def are nobody's own), told apart by object and
   offset; a recorder's recursion levels ("f'2") and aliases of one entry are one function. Functions of system objects
   stay in the call graph, because that is where input comes in, but are in no slice. */
#ifndef PLAN_PLAN_H
#define PLAN_PLAN_H

#include "model/model.h"
#include "profile/profile.h"

#define PLAN_NO_OFFSET UINT64_MAX

enum plan_size {
    PLAN_SIZE_UNIT,    /* one work unit each: N = floor(W) (AC §2 eq. 2) */
    PLAN_SIZE_MEMBERS, /* N is given */
    PLAN_SIZE_SLICE,   /* Z is a given percentage of T: N = floor(sum v_i C_i / s) */
    PLAN_SIZE_BUDGET,  /* N is given, and each member's slow-down in percent */
};

enum plan_risk { PLAN_RISK_FLAT, PLAN_RISK_EXP, PLAN_RISK_NONE, PLAN_RISK_FILE };

enum plan_cold {
    PLAN_COLD_ALL,   /* every member watches all cold functions */
    PLAN_COLD_PAPER, /* each member watches its own slice only */
};

/* Measured costs of supervision (`testudo bench transition` writes them). */
struct plan_constants {
    double transition; /* of one supervised call, in the profile's unit */
    double slowdown;   /* time of supervised code over native time, k >= 1 */
    char source[256];  /* who measured it, where and when */
};

struct plan_options {
    enum plan_size size;
    uint32_t members;
    double slice_percent, budget_percent;
    size_t unit_functions; /* k cheapest functions make one work unit */
    enum plan_risk risk;
    const char *risk_file; /* CSV of function,weight */
    double alpha;
    uint32_t reach; /* D */
    const char *
        inputs; /* file with one input function (shell pattern) a line instead of the built-in table, or NULL */
    const struct model_policy *assign;
    enum plan_cold cold;
    double cold_percent; /* the cheapest functions that cost less than this together are cold */
    double eps;          /* fairness, fraction */
    uint32_t quanta;     /* of an epoch; 0: as many as eps asks for */
    uint32_t quantum_ms; /* 0: an epoch takes an hour, but a quantum at least 10 ms */
    uint64_t seed, epoch;
    const char *program; /* file of the object "main", or NULL */
    const char
        *objects; /* comma-separated shell patterns of the objects to divide, or NULL: the program's own */
    const struct plan_constants *constants;
    bool
        without_slices; /* only functions matter: members beyond MODEL_MEMBERS_MAX are cut off, and no error */
    bool measured_only; /* the call graph is what was measured, without what the binaries' code says */
};

/* How it is known that one function calls another; a later word is a stronger one. */
enum plan_link {
    PLAN_LINK_NONE,
    PLAN_LINK_MAY,      /* its address is taken in the caller's code */
    PLAN_LINK_CODE,     /* a call in the caller's code */
    PLAN_LINK_MEASURED, /* seen in the profile */
};
struct plan_call {
    uint32_t caller, callee; /* nodes: functions, then others */
    enum plan_link link;
};

#define PLAN_NO_OBJECT UINT32_MAX
/* A function that the profile does not know: in one of the program's objects, or, by its name alone, elsewhere. */
struct plan_other {
    char *name;
    uint32_t object; /* or PLAN_NO_OBJECT */
    uint64_t offset;
    uint32_t distance, next; /* as of plan_function */
};

struct plan_object {
    const char *path; /* owned by the profile */
    uint8_t build_id[20];
    uint32_t build_id_bytes; /* 0: not resolved */
    bool own;
    const char *problem; /* why it is not resolved, or NULL */
};

/* Why a function of one of the program's own objects is not divided. */
enum plan_lost {
    PLAN_LOST_NOT,
    PLAN_LOST_BETWEEN, /* startup code, PLT stubs: no functions of any build */
    PLAN_LOST_MISSING, /* the binary does not have it */
};

struct plan_function {
    const char *name; /* as the profile knows it, without recursion level; owned by the plan */
    uint32_t object;
    uint64_t offset; /* or PLAN_NO_OFFSET */
    uint64_t cost, calls;
    bool own;
    uint8_t lost; /* enum plan_lost; then it is not `own` */
    /* of own functions */
    double share_percent, relative, risk, demand;
    uint32_t distance, next; /* MODEL_UNREACHABLE; node on the shortest way to input, or MODEL_NO_FUNCTION */
    uint64_t tokens;
    uint64_t
        weight; /* what members' loads are levelled by: the cost; at a budget, the predicted cost of watching it */
    bool everyone; /* every member watches it always */
    bool cold;
};

/* How a plan does by one measure of where faults fall. */
struct plan_coverage {
    double by_risk; /* P(first detection), faults in proportion to risk, whatever a function costs */
    double by_work; /* the same, faults in proportion to work (AC §2 eq. 3) */
};

struct plan {
    enum profile_metric metric;
    struct plan_object *objects;
    struct plan_function *functions; /* own ones first, each group by falling cost */
    struct profile_edge *edges;      /* calls, by function index */
    size_t object_count, function_count, own_count, edge_count;
    struct plan_other *others; /* nodes function_count and up */
    struct plan_call *calls;   /* that the binaries' code says */
    size_t other_count, call_count;
    double total;           /* T of own functions */
    uint64_t excluded_cost; /* of system objects */
    uint64_t lost_cost;     /* of lost functions */
    size_t lost_count;
    double unit, total_work; /* Z, W */
    double weighted_percent; /* sum v_i C_i */
    double members_wanted;   /* N before it is cut to MODEL_MEMBERS_MAX */
    uint32_t members;
    double slice_percent; /* of T that a member watches, as given or W/N */
    uint32_t quanta, quantum_ms;
    double eps;
    uint64_t seed, epoch;
    const struct model_policy *assign;
    struct model_holding *holdings; /* ordered by member, without functions that everyone watches */
    size_t holding_count,
        *holding_first; /* those of member m: holding_first[m] .. holding_first[m + 1] - 1 */
    double *load;       /* of each member, work units, with what everyone watches */
    double common_load; /* of what everyone watches */
    double unfairness;
    size_t everyone_count, uncovered_count; /* uncovered: own functions that nobody watches */
    struct plan_coverage coverage, paper;   /* of this plan, and of the paper's policy at the same N */
    double expected_victims;
    /* Predicted slow-down of a member, on average and of the worst off; NaN without constants. */
    double overhead_percent, overhead_worst_percent;
    /* At a budget: the paper's policy with the same members and slow-down, and how many members the two need until every
       function is watched at all times as each asks for. 0: no budget was given. */
    struct plan_coverage paper_at_budget;
    double members_needed, members_needed_paper;
};

/* Makes a plan. Returns 0, or -1 with `error`: BASE_EXIT_USAGE for options that no plan can meet, BASE_EXIT_INPUT for bad
   files. Out: *plan, owned by the caller. The profile must outlive it. */
int plan_make(struct base_error *error, struct plan *plan, const struct profile *profile,
              const struct plan_options *options);
void plan_free(struct plan *plan);

/* What rotation does to a plan. */
struct plan_epoch {
    uint64_t epoch;
    double unfairness, so_far; /* of members' loads in this epoch; of their sums since the first */
    uint32_t watchers;         /* fewest that any divided function has at any quantum */
};
struct plan_rotation {
    struct plan_epoch *epochs;
    size_t count;
};
/* Plans `epochs` epochs one after the other. Returns 0, or -1 with `error`, like plan_make. Out: *rotation, owned by the
   caller. */
int plan_rotate(struct base_error *error, struct plan_rotation *rotation, const struct profile *profile,
                const struct plan_options *options, uint32_t epochs);
void plan_rotation_free(struct plan_rotation *rotation);

/* Writes the manifest for wire/manifest.h. Returns 0, or -1 with `error` when functions could not be found in the
   binaries of this machine: BASE_EXIT_INPUT, and which. Out: *data, *bytes (free()). It holds every own function. */
int plan_manifest(struct base_error *error, void **data, size_t *bytes, const struct plan *plan);

/* A node of the call graph: its name, the next one on its shortest way to input or MODEL_NO_FUNCTION, and how it is known that
   it calls another. Out: *calls: how often that was seen. */
const char *plan_name(const struct plan *plan, uint32_t node);
uint32_t plan_next(const struct plan *plan, uint32_t node);
enum plan_link plan_link(uint64_t *calls, const struct plan *plan, uint32_t from, uint32_t to);

/* Own functions and their work at a distance of `distance` calls or fewer. */
struct plan_reach {
    uint32_t distance;
    size_t functions, executed; /* executed: those of them that the profile saw work */
    double work;
};
/* Out: reach[0 .. MODEL_DISTANCE_MAX], cumulative; returns how many of them differ from the one before, so that the last holds all
   that can be reached. In: room >= 1. */
size_t plan_reaches(struct plan_reach *reach, size_t room, const struct plan *plan);

/* Loads for a picture, in work units. Out: member[room], load[room], common[room]: the part that everyone has; with more
   members than room the highest load of each group. In: room <= members. */
void plan_loads(double *member, double *load, double *common, size_t room, const struct plan *plan);
/* Share of members, in percent, that watch each own function at any moment. Out: watched[own_count]; x[own_count]: the function's
   number by falling cost, or with by_risk the percentage of all risk up to it, by falling risk. */
void plan_coverage_curve(double *x, double *watched, const struct plan *plan, bool by_risk);

/* Finds a function by name, OBJECT!NAME or 0xOFFSET. Returns its index, or MODEL_NO_FUNCTION. */
uint32_t plan_find(const struct plan *plan, const char *name);

/* Reads a file of measured constants. Returns 0, or -1 with `error`. */
int plan_constants_load(struct base_error *error, struct plan_constants *constants, const char *path);

#endif
