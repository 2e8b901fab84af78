/* model: the paper's mathematics as pure functions. Arrays in, arrays out; nothing here allocates, reads a clock,
   does I/O or keeps state, and randomness comes in as a core_rng. The planner, the simulator and the members call the
   same functions.

   The cast of names (paper's symbols in brackets):
     function [f_i]         one function of the program, here an index 0..n-1
     cost [x_i]             exclusive work of a function: instructions, or nanoseconds
     total [T]              sum of costs
     share [C]              100 x_i / T, percent
     work unit [Z]          cost that counts as one unit of work
     relative weight [r_i]  x_i / Z
     risk [v_i]             >= 1: how many members should watch the function at any moment
     demand                 v_i r_i, work units
     total work [W]         sum of demands
     quantum, epoch         the smallest time for which a supervised set stays fixed; an epoch has Q quanta
     token                  one quantum of supervision of one function, held by one member
     load                   work units that a member bears, averaged over an epoch

   Arithmetic is IEEE double in a fixed order, so that every member computes the same slices from the same table. */
#ifndef MODEL_MODEL_H
#define MODEL_MODEL_H

#include "core/core.h"

#define MODEL_MEMBERS_MAX  1000000u
#define MODEL_QUANTA_MIN   120u
#define MODEL_QUANTA_MAX   600000000u
#define MODEL_RISK_MAX     1000000.0
#define MODEL_UNREACHABLE  0xffffffffu
#define MODEL_NO_FUNCTION  0xffffffffu
#define MODEL_DISTANCE_MAX 64u

/* ---- work: costs, units, members (AC §2) ---- */

/* Total cost. Returns T in the unit of `cost`. In: n costs >= 0. Context: any. Source: AC §2. */
double model_total(const double *cost, size_t n);

/* Summed cost of the k cheapest functions that did any work; functions that cost nothing cannot be a unit.
   Returns Z > 0, or 0 when no function has a cost. In: n costs >= 0, k >= 1 (taken as the count of working functions
   when larger). Out: `scratch`, n doubles, destroyed. Source: AC §2. */
double model_work_unit(double *scratch, const double *cost, size_t n, size_t k);

/* Fills relative weights and demands. Returns W, work units. Out: relative[n] = x_i / Z, demand[n] = v_i r_i; either may
   be NULL. In: cost[n], risk[n] (NULL: all 1), unit Z > 0. Source: AC §2 eq. 2. */
double model_work(double *relative, double *demand, const double *cost, const double *risk, size_t n,
                  double unit);

/* Members for full coverage when each takes one slice. Returns floor(sum v_i C_i / s), at least 1.
   In: weighted_percent = sum v_i C_i, percent of T; slice_percent = s > 0. A quotient within 1e-9 of an integer counts
   as that integer, since s comes from decimal digits. Source: AC §2 eq. 2, §3 Table 1. */
double model_members(double weighted_percent, double slice_percent);

/* ---- coverage (AC §2 eq. 3) ---- */

/* Probability that the first occurrence of a fault, at a member drawn uniformly, is detected.
   Returns (1/N) sum k_i. In: coverage[members], fractions 0..1. Source: AC §2 eq. 3. */
double model_p_detect(const double *coverage, size_t members);

/* Members that fall before the first detection when every occurrence is detected with probability p: the mean of the
   geometric distribution. Returns (1 - p) / p, infinity for p = 0. */
double model_expected_victims(double p);

/* Largest deviation of a load from the mean load, as a fraction of the mean: the eps that the loads keep.
   Returns 0 for a mean of 0. Source: AC appendix A. */
double model_unfairness(const double *load, size_t members);

/* ---- risk (AC §2 eq. 1 and the analytical results) ---- */

enum model_risk_policy {
    MODEL_RISK_FLAT, /* alpha when the distance is at most D */
    MODEL_RISK_EXP,  /* alpha^(D + 1 - d) when the distance is at most D */
    MODEL_RISK_NONE, /* 1 */
};

/* Sorts a call graph's edges by callee. Out: first[n + 1] and caller[m]: the callers of f are
   caller[first[f]] .. caller[first[f + 1] - 1]. In: m edges as two arrays of function indices < n. */
void model_graph_by_callee(uint32_t *first, uint32_t *caller, const uint32_t *from, const uint32_t *to,
                           size_t n, size_t m);

/* Fewest call edges from each function to an input function.
   Out: distance[n], MODEL_UNREACHABLE when no path leads there; `next[n]`: the callee through which the shortest path
   goes (MODEL_NO_FUNCTION at an input function or when unreachable), may be NULL; queue[n] scratch.
   In: the graph by callee; is_input[n]. */
void model_distances(uint32_t *distance, uint32_t *next, uint32_t *queue, const uint32_t *first,
                     const uint32_t *caller, const bool *is_input, size_t n);

/* Risk of one function. Returns v_i >= 1, at most MODEL_RISK_MAX. In: alpha > 1, reach = D. Source: AC §2 eq. 1. */
double model_risk(enum model_risk_policy policy, uint32_t distance, double alpha, uint32_t reach);

/* ---- slices ---- */

/* One member's part of one function in an epoch: quanta first .. first + quanta - 1, modulo Q. */
struct model_holding {
    uint32_t member; /* 0..N-1 */
    uint32_t function;
    uint32_t first;
    uint32_t quanta; /* 1..Q */
};

/* What is to be divided. A function with tokens = 0 is in nobody's slice; one with tokens = members * quanta is held by
   every member always and is not listed as holdings (model_assign_* leaves it out; its load is the same for all). */
struct model_task {
    size_t functions;       /* n */
    uint32_t members;       /* N, 1..MODEL_MEMBERS_MAX */
    uint32_t quanta;        /* Q */
    const double *relative; /* r_i, load of one function watched through the whole epoch */
    const uint64_t *tokens; /* demand of tokens, 0..N*Q */
    uint64_t seed;          /* community */
    uint64_t epoch;
};

/* Quanta for an epoch: enough that one token of the heaviest function is at most eps of a member's fair load.
   Returns Q, 120 times 1, 2 or 5 times a power of ten, within [MODEL_QUANTA_MIN, MODEL_QUANTA_MAX].
   In: heaviest r_i, fair = W/N > 0, eps > 0. */
uint32_t model_quanta(double heaviest, double fair, double eps);

/* Tokens that a risk asks for: `risk` members at every moment, at most all of them. Returns 0..members*quanta. */
uint64_t model_tokens(double risk, uint32_t members, uint32_t quanta);

/* Fair load of a member, without the functions that every member holds. Returns work units. */
double model_fair_load(const struct model_task *task);

/* A way to distribute the work (AC §2 "Work Distribution", appendix A). */
struct model_policy {
    const char *name, *meaning;
    /* Divides the task's tokens. Returns the number of holdings; when that is more than `room` nothing useful was
       written, and a second call with so much room succeeds. Out: holdings[room]; load[members], work units, without the
       functions that all hold. `scratch`: model_scratch_room(task) words, destroyed. Deterministic. Source: AC §2. */
    size_t (*assign)(struct model_holding *holdings, size_t room, double *load, uint32_t *scratch,
                     const struct model_task *task);
};

/* Words of scratch memory that an assignment of this task needs. */
size_t model_scratch_room(const struct model_task *task);

/* Longest processing time first: functions by descending risk, then weight; each takes the least loaded members, whole
   where it fits, else as many quanta as bring the member to its fair load. Every function with tokens has exactly
   floor or ceil of tokens / Q watchers at every quantum, and nobody holds one function twice. */
extern const struct model_policy model_central;

/* Every member flips weighted coins over its own random order of the functions until its load is W/N: no messages, and
   statistical coverage only. Source: AC §2 "Work Distribution". */
extern const struct model_policy model_coin;

/* What all members' coins have in common. */
struct model_coin_table {
    const uint32_t *order; /* functions by descending demand */
    size_t count;
    double fair; /* W/N */
    double
        scale; /* c of the probability min(1, v_i r_i c): one walk offers a member its fair load on average */
};

/* Prepares the coins of a task. Out: *table, which keeps `order`; order[functions]. Source: AC §2 "Work Distribution". */
void model_coin_begin(struct model_coin_table *table, uint32_t *order, const struct model_task *task);

/* One member's coin tosses, as that member does them alone. Returns its number of holdings.
   Out: *load; holdings[table->count]. `taken`: task->functions words, zero before the first call and left alone
   between calls. Deterministic in (seed, epoch, member). */
size_t model_coin_member(struct model_holding *holdings, double *load, uint32_t *taken,
                         const struct model_task *task, const struct model_coin_table *table,
                         uint32_t member);

/* ---- bidding (AC appendix A) ----

   Round 1: every member computes the same table. Functions are cut into lots; a lot's auctioneer is the live member that
   ranks first for it by hashing. An auctioneer keeps lots up to W/N and sells the rest; who has room buys. Surplus and
   room follow from the table, so nobody has to be believed about its load, and nobody gets more than the table gives it.

   Round 2: deals are carried out by messages. The auctioneer holds what it sells until the buyer has acknowledged the token;
   so whatever is lost, doubled or late, every quantum stays watched.

   Deaths make a new version of the roster. Only what the dead held or auctioned changes hands: their lots fall to the next
   in rank, to whom buyers show the tokens that they have. Who joins waits for the next epoch.

   A member repeats what is not answered at every tick, MODEL_BID_TICKS of them in a round, and after two rounds once a round. */
enum { MODEL_BID_TICKS = 6, MODEL_BID_VERSIONS_MAX = 255 };
#define MODEL_EVERYONE 0xffffffffu

/* A stretch of one function's ring, and who answers for it. */
struct model_part {
    uint32_t function, first, quanta;
    uint32_t lot;    /* of the function: names the order of rank */
    uint32_t seller; /* its auctioneer */
    uint32_t buyer;  /* who is to hold it: the auctioneer itself when it was not sold */
    uint32_t
        guard; /* the auctioneer before, who watches until this one says that it does; MODEL_NO_FUNCTION: none */
    uint32_t next;  /* private */
    uint8_t since;  /* version in which it came to these members */
    bool inherited; /* the buyer has it from an auctioneer that died */
};

/* Computes all parts for a version of the roster. Returns their number; when that is more than `room` nothing useful was
   written, and a second call with so much room succeeds. Out: parts; load[members] once all deals are done. In:
   died[members]: 0 lives, 1 was not there when the epoch began, k: died in version k; at least one lives; NULL: all live.
   version: 1..MODEL_BID_VERSIONS_MAX. `scratch`: model_scratch_room(task) words. Deterministic. Source: AC appendix A. */
size_t model_bid_parts(struct model_part *parts, size_t room, double *load, uint32_t *scratch,
                       const struct model_task *task, const uint8_t *died, unsigned version);

/* What peers check of a table before they follow it: nobody holds more than (1 + eps) W/N and one token of the heaviest
   function. Returns the first member that does, or MODEL_NO_FUNCTION. In: load as model_bid_parts gave it. */
uint32_t model_bid_excess(const double *load, const struct model_task *task, const uint8_t *died,
                          unsigned version, double eps);

/* All parts that one member sold or handed on to another in one version are one deal. */
struct model_deal {
    uint32_t seller, buyer, since;
};
/* Collects the deals of one member, or of MODEL_EVERYONE, ordered by (seller, buyer, since). Returns their number.
   Out: deals[2 * count]. */
size_t model_bid_deals(struct model_deal *deals, const struct model_part *parts, size_t count,
                       uint32_t member);

enum model_bid_kind {
    MODEL_BID_BID,   /* buyer to auctioneer: I take what the table gives me */
    MODEL_BID_TOKEN, /* auctioneer to buyer: it is yours */
    MODEL_BID_ACK,   /* buyer to auctioneer: I hold it */
};

struct model_bid_message {
    uint32_t from, to;
    uint32_t since; /* of the deal */
    enum model_bid_kind kind;
    uint32_t life; /* of the buyer */
};

/* How far a deal is. Private. */
struct model_bid_state {
    uint32_t life; /* of the buyer whose bid was answered */
    uint8_t flags;
};

/* One member's side of the conversation. Arrays are the caller's. */
struct model_bidder {
    uint32_t id;
    uint32_t
        life; /* larger each time that the member is started: tells its messages from those of a former life */
    const struct model_deal *deals; /* all of its own, maybe others */
    size_t deal_count;
    struct model_bid_state *state; /* per deal */
    uint32_t ticks;                /* of this version */
    uint32_t age;                  /* ticks of this epoch */
    uint32_t sent;                 /* messages so far */
    uint32_t refused;              /* messages about deals that the table does not hold */
};

/* Begins an epoch. Out: *bidder; state[deal_count] is cleared. */
void model_bidder_start(struct model_bidder *bidder, struct model_bid_state *state, uint32_t id,
                        uint32_t life, const struct model_deal *deals, size_t deal_count);
/* Goes over to another version's deals; those that stand in both keep their state. In: state[deal_count] and deals, not the
   ones in use, which the bidder needs no more afterwards. */
void model_bidder_move(struct model_bidder *bidder, struct model_bid_state *state,
                       const struct model_deal *deals, size_t deal_count);
/* A tick: bids for what is still to come, and tokens whose acknowledgement is missing. Returns the number of messages,
   at most deal_count. Out: messages[deal_count]. */
size_t model_bidder_tick(struct model_bid_message *messages, struct model_bidder *bidder);
/* A message came. Returns 1 and *answer, or 0. What is in no deal of the table is refused and counted. */
size_t model_bidder_receive(struct model_bid_message *answer, struct model_bidder *bidder,
                            const struct model_bid_message *message);
/* Whether the member watches the part now. */
bool model_bidder_holds(const struct model_bidder *bidder, const struct model_part *part);
/* Whether all its deals are done. */
bool model_bidder_is_done(const struct model_bidder *bidder);

/* The outcome of bidding when all members live and all messages arrive. Source: AC appendix A. */
extern const struct model_policy model_bid;

/* Which slice a member holds in an epoch: slices rotate, so that over N epochs each member holds each slice once.
   Returns a slice number 0..members-1; a bijection of the members for every epoch. */
uint32_t model_rotate(uint32_t member, uint64_t epoch, uint32_t members);

/* Whether a holding covers a quantum. */
bool model_holds(const struct model_holding *holding, uint32_t quantum, uint32_t quanta);

/* ---- budget: the best slice for a given slow-down ---- */

/* Shares of time for which each member should watch each function so that the chance to detect the first occurrence of
   a fault is greatest, while the predicted overhead stays within the budget. Functions that cost nothing to watch
   are watched by all always; every function is watched by `at_least` of the members' time (1/N: someone always).
   Greedy by value density, which is optimal because the problem is a fractional knapsack.
   Returns the overhead used (> budget only when `at_least` alone needs more). Out: share[n] in [at_least, 1];
   order[n] scratch. In: overhead[n], fraction of run time when watched always; value[n] >= 0; budget, fraction. */
double model_budget(double *share, uint32_t *order, const double *overhead, const double *value, size_t n,
                    double budget, double at_least);

/* The paper's policy at a budget: shares in proportion to risk, whatever a function costs, as far as the budget goes.
   Returns the overhead used. Out: share[n] <= 1. In: as above. Source: AC §2 "Work Distribution". */
double model_budget_paper(double *share, const double *overhead, const double *risk, size_t n, double budget);

/* ---- trust: what false alerts may cost ---- */

/* What a vaccine adds to the run time when every member watches its function always, and not only as the plan says.
   Returns a fraction of the run time. In: cost of the function, total > 0 of the program, in one unit; tokens of the function
   among members * quanta. */
double model_vaccine_cost(double cost, double total, uint64_t tokens, uint32_t members, uint32_t quanta);

/* Vaccines on one member's word may cost so much of the run time together; what `vouchers` members vouch for, anything. */
struct model_trust {
    double budget; /* fraction of the run time: eps of a member's slice */
    double spent;  /* so far */
    unsigned vouchers;
};
/* Whether a vaccine goes out. Returns true, and what it costs is spent unless it is vouched for. In: cost by
   model_vaccine_cost; members: distinct ones that reported it. */
bool model_admits(struct model_trust *trust, double cost, unsigned members);

/* Weighted mean of the shares: the P that the shares give when faults fall in proportion to `value`.
   Returns 0..1 (1 when all values are 0). Source: AC §2 eq. 3. */
double model_p_first(const double *share, const double *value, size_t n);

#endif
