/* report: findings and numbers turned into text for people and JSON for machines. Knows nothing of where they
   come from. */
#ifndef REPORT_REPORT_H
#define REPORT_REPORT_H

#include "base/base.h"

/* ---- fault reports (fault_text.c, fault_json.c) -----------------------------------------------------------
 */

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

/* ---- faults of one run, identical ones counted (tally.c)
 * ----------------------------------------------------- */

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
/* Brings the file up to date and releases all. NULL is allowed. Returns 0, or -1 with `error` when the file
   is not whole. */
int report_tally_close(struct base_error *error, struct report_tally *tally);

/* ---- terminals
 * ------------------------------------------------------------------------------------------------- */

/* Whether emphasis suits `out`: a terminal, and NO_COLOR is not set. */
bool report_colour(FILE *out);

#endif
