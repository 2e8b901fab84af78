/* report: findings and numbers turned into text for people and JSON for machines. Knows nothing of where they
   come from. */
#ifndef REPORT_REPORT_H
#define REPORT_REPORT_H

#include "base/base.h"

/* ---- fault reports (fault_text.c, fault_json.c) ------------------------------------------------------- */

enum { REPORT_FRAMES_MAX = 64, REPORT_NOT_UNDONE_MAX = 8 };

/* One code address, resolved as far as it could be. */
struct report_frame {
    const char *function; /* or NULL */
    uint64_t into;        /* bytes from the start of `function` */
    const char *object;   /* path of the ELF file, or NULL */
    uint64_t offset;      /* from the object's load address; absolute when `object` is NULL */
    const char *file;     /* source file, or NULL */
    unsigned line;
};

struct report_stack {
    unsigned count;
    struct report_frame frame[REPORT_FRAMES_MAX]; /* innermost first */
};

/* One fault, or `count` identical ones. Strings are borrowed: who fills the struct says how long they live.
   NULL is "unknown" everywhere. */
struct report_fault {
    char id[17];        /* of the place and the kind: equal for the same fault in every process and member */
    uint64_t time_ns;   /* realtime, of the first occurrence */
    int pid;            /* of the first occurrence */
    const char *member; /* NULL outside a community */
    const char *kind, *detected_by, *outcome;
    const char *access;    /* "read", "write" or NULL */
    const char *intrinsic; /* library function whose checked form found it, or NULL */
    uint64_t access_bytes; /* 0: unknown */
    bool has_address;
    uint64_t address;
    const char *region; /* "heap block", "freed heap block", "stack variable", "global variable" or NULL */
    bool has_distance;
    int64_t
        distance_bytes; /* past the object's end (> 0), before its start (< 0), inside it: from its start */
    uint64_t object_bytes; /* size of that object; 0 unknown */
    uint64_t object_start; /* its address */
    const char *variable;  /* its name, of a local variable, when that is known */
    const char *function;  /* in which it happened: name, or NULL for a stripped one */
    uint64_t offset;       /* entry of that function in its object */
    const char *object;    /* path of the ELF file that holds the function */
    char build_id[41];     /* of that file, hexadecimal, or empty */
    struct report_stack stack, alloc_stack, free_stack;
    bool undone; /* the call of `rescue_point` was undone and returned `returned` */
    int64_t returned;
    const char *rescue_point; /* name */
    uint64_t rescue_offset;
    const char *not_undone[REPORT_NOT_UNDONE_MAX]; /* what could not be undone, ended by NULL */
    int signal;                                    /* that ended the process, or 0 */
    uint64_t count;
};

/* Writes the report for a person: several lines, the first begins with "testudo: ". In: `colour`: emphasis by
   terminal sequences. */
void report_fault_text(FILE *out, const struct report_fault *fault, bool colour);
/* The report as one line of JSON without a newline, keys as product.md lists them. Returns the text, or NULL
   when out of memory. Owns: the text is the caller's, free(). */
char *report_fault_json(const struct report_fault *fault);

/* ---- faults of one run, identical ones counted (tally.c) ---------------------------------------------- */

struct report_tally;

/* In: `path`: file that gets one JSON line a fault, or NULL. Returns 0, or -1 with `error`.
   Owns: `*tally` is the caller's until report_tally_close. */
int report_tally_open(struct base_error *error, struct report_tally **tally, const char *path);
/* Counts a fault. Identical: same id and outcome. Returns whether it is the first of its kind. The fault is
   copied, its strings are not: they live until report_tally_close. */
bool report_tally_add(struct report_tally *tally, const struct report_fault *fault);
/* Faults counted, and the distinct ones (owned by the tally, valid until the next call that takes it). */
uint64_t report_tally_total(const struct report_tally *tally);
size_t report_tally_faults(const struct report_tally *tally, const struct report_fault **faults);
/* Closing lines for a person: what happened more than once, and the sums; nothing when there was no fault. In: `lost`:
   faults that nobody could record. */
void report_tally_text(FILE *out, const struct report_tally *tally, uint64_t lost);
/* Brings the file up to date and releases all. NULL is allowed. Returns 0, or -1 with `error` when the file
   is not whole. */
int report_tally_close(struct base_error *error, struct report_tally *tally);

/* ---- suppressions: known faults that are not reported (suppress.c, docs/suppressions.md) -------------------- */

struct report_suppressions;

/* Reads a file of rules. Returns 0, or -1 with `error` (BASE_EXIT_INPUT, with the line). Owns: `*list` is the caller's,
   report_suppressions_free. */
int report_suppressions_read(struct base_error *error, struct report_suppressions **list, const char *path);
/* NULL is allowed here and below: no rules. */
void report_suppressions_free(struct report_suppressions *list);
/* Whether a rule hides the fault. Counts it by the first rule that does. */
bool report_suppressions_match(struct report_suppressions *list, const struct report_fault *fault);
/* Faults hidden so far. */
uint64_t report_suppressions_total(const struct report_suppressions *list);
/* What was hidden, a line for each rule that hid something; nothing when none did. */
void report_suppressions_text(FILE *out, const struct report_suppressions *list);
/* The same one by one. Returns whether there was another. Out: `text`, `room` bytes. In and out: `at`, starts as 0. */
bool report_suppressions_said(char *text, size_t room, const struct report_suppressions *list, size_t *at);

/* ---- SARIF (sarif.c) ----------------------------------------------------------------------------------- */

/* Writes the distinct faults of a tally as one SARIF 2.1.0 document, what was suppressed as notes of the run. In:
   `suppressed` may be NULL. Returns 0, or -1 with `error`. The file is whole or untouched. */
int report_sarif_save(struct base_error *error, const struct report_tally *tally,
                      const struct report_suppressions *suppressed, const char *path);

/* ---- terminals ---------------------------------------------------------------------------------------- */

/* Whether emphasis suits `out`: a terminal, and NO_COLOR is not set. */
bool report_colour(FILE *out);

/* ---- tables (table.c) --------------------------------------------------------------------------------- */

enum report_form {
    REPORT_TEXT,     /* aligned columns for people */
    REPORT_CSV,      /* RFC 4180, numbers in full precision, for machines */
    REPORT_MARKDOWN, /* for documents */
};

/* One column. Text stands left, numbers right. */
struct report_column {
    const char *name; /* with its unit: "load %" */
    bool number;
    int decimals; /* of a number as people see it; negative: up to -decimals significant digits */
};

struct report_table;

/* An empty table. In: `columns` (`count` of them) are borrowed. Returns NULL never: out of memory ends the process.
   Owns: the caller's, report_table_free. */
struct report_table *report_table_new(const struct report_column *columns, unsigned count);
/* The next cell, row by row from left to right. A number that is NaN stands for "none". The text is copied. */
void report_table_number(struct report_table *table, double number);
void report_table_text(struct report_table *table, const char *text);
/* Writes all rows. The last one must be complete. */
void report_table_write(FILE *out, const struct report_table *table, enum report_form form);
/* The same into a file, whole or not at all. Returns 0, or -1 with `error`. */
int report_table_save(struct base_error *error, const struct report_table *table, const char *path,
                      enum report_form form);
void report_table_free(struct report_table *table);

/* ---- plots (plot.c) ----------------------------------------------------------------------------------- */

/* One curve of a plot: `count` points. */
struct report_curve {
    const char *name;
    size_t count;
    const double *x, *y;
    const double *low, *high; /* ends of each point's interval, or NULL for none */
    bool points;              /* single points instead of a line */
    bool bars;                /* bars from zero instead; later curves stand before earlier ones */
    bool steps;               /* each y holds up to the next x */
};

struct report_plot {
    const char *title, *x_label, *y_label; /* labels with their unit */
    bool x_log, y_log;
    const struct report_curve *curves;
    size_t curve_count;
    const char *const *names; /* at x = 1, 2, ... stand names instead of numbers; NULL: numbers */
    size_t name_count;
};

/* Draws with gnuplot. In: `path` ends with .svg or .png and says the format. Points that are not finite are left out.
   Returns 0, or -1 with `error`: BASE_EXIT_ENVIRONMENT when gnuplot is not installed. The file is whole or untouched.
   Context: waits for its child process by id. */
int report_plot_save(struct base_error *error, const struct report_plot *plot, const char *path);
/* The same for several plots below each other in one picture, under one title. */
int report_plots_save(struct base_error *error, const char *title, const struct report_plot *plots,
                      size_t count, const char *path);

/* ---- graphs (graph.c) --------------------------------------------------------------------------------- */

struct report_node {
    const char *name, *note; /* note: a second line, or NULL */
    double heat;             /* 0 .. 1: how strongly it is coloured */
};
struct report_link {
    size_t from, to;
    const char *note; /* beside the arrow, or NULL */
    double weight;    /* 0 .. 1: how thick the arrow is */
};

/* Draws a directed graph with graphviz' dot. In: `path` ends with .svg, .png or .dot (the drawing's source). Returns 0, or -1
   with `error`: BASE_EXIT_ENVIRONMENT when dot is not installed. The file is whole or untouched. Context: waits for its child
   process by id. */
int report_graph_save(struct base_error *error, const char *title, const struct report_node *nodes,
                      size_t node_count, const struct report_link *links, size_t link_count,
                      const char *path);

/* ---- progress of long work (progress.c) --------------------------------------------------------------- */

/* A bar on standard error, only where that is a terminal; elsewhere silent. Starts as {.label, .total}. */
struct report_progress {
    const char *label;
    uint64_t total;    /* steps; 0: unknown, only a count is shown */
    uint64_t shown_ns; /* private */
    bool shown;        /* private */
};
/* Tells that `done` steps are behind us. Cheap: draws ten times a second at most. */
void report_progress_step(struct report_progress *progress, uint64_t done);
/* Removes the bar, so that what is printed next stands on a clean line. */
void report_progress_end(struct report_progress *progress);

#endif
