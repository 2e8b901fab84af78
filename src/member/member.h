/* member: the supervisor of one application. It makes the control page, starts the program with the injected
   runtime, answers the runtime's objects with levels, collects its fault records, unwinds its crashes from
   outside and passes signals and exit status through. It never trusts the page: what stands there was written
   by a program that may be under attack, so every index is checked and every text cut before use.

   One thread calls member_serve in a loop; it sleeps until the runtime rings the page's doorbell, the program ends (our
   SIGCHLD handler) or member_wake is called. A thread of ours copies fault records out of the page meanwhile. */
#ifndef MEMBER_MEMBER_H
#define MEMBER_MEMBER_H

#include "base/base.h"
#include "community/community.h"
#include "image/image.h"
#include "report/report.h"
#include "wire/wire.h"

struct member;

/* What is chosen once, before the program starts. Zero is a valid default for every field but `mode`. */
struct member_options {
    enum wire_mode mode;
    enum wire_on_fault on_fault;
    enum wire_level default_level; /* of own functions until they are answered */
    int stop_status;               /* exit status of WIRE_ON_FAULT_STOP */
    unsigned answer_ms, crash_ms;  /* 0: 2000 each */
    bool no_heap_stacks;
    const char *objects; /* comma-separated patterns of file names; NULL or empty: the default */
    const struct wire_allocator
        *allocators;          /* pool allocators besides those that the runtime knows itself; borrowed */
    unsigned allocator_count; /* at most WIRE_ALLOCATORS_MAX */
    const char *stem;         /* path of the runtime; NULL: $TESTUDO_STEM, else beside our own program */
    const char *name;         /* this member's name in reports; NULL: none */
    bool
        native_if_refused; /* a program that member_vet refuses, but that can be started, runs without the runtime */
    bool counting;         /* count what the program executes, for member_counts; with mode TRANSLATE only */
    uint32_t knobs;        /* bits of enum core_knob, besides those of TESTUDO_KNOBS */
    uint32_t sample_us; /* with `counting`: period of CPU-time samples; 0: none */
};

/* One loaded object, and one function of it, as shown to the level hook. */
struct member_object {
    const char *path;
    const uint8_t *build_id;
    size_t build_id_bytes;
    struct image *image; /* NULL: its file could not be read, or is another build */
};
struct member_function {
    uint32_t offset;
    uint32_t bytes;
    const char *name; /* or NULL */
    bool refused;     /* the runtime cannot supervise it: the level has no effect */
};

/* What the caller decides and hears. Both run on the thread that calls member_serve. */
struct member_hooks {
    void *context;
    /* Level of a function of an own object when it is first seen. Runs with the member's lock held: it must
       not call member_*; a caller with a lock of its own must not hold that while it calls member_set_level.
       NULL: the default level for all. */
    enum wire_level (*level)(void *context, const struct member_object *object,
                             const struct member_function *function);
    /* One fault. The struct is valid during the call, its strings until member_close. NULL: dropped. */
    void (*fault)(void *context, const struct report_fault *fault);
};

/* Makes the control page. Returns 0, or -1 with `error`. Owns: `*member` is the caller's until member_close;
   `options` and `hooks` are copied, the strings they point to are borrowed. */
int member_open(struct base_error *error, struct member **member, const struct member_options *options,
                const struct member_hooks *hooks);
/* Lets go of the page; the program, if it still runs, runs on. NULL is allowed. */
void member_close(struct member *member);

/* Whether a program can be supervised at all. Returns 0, or -1 with `error` (BASE_EXIT_ENVIRONMENT) that
   names the reason: missing, no ELF file, not for x86-64, static, setuid. In: `program` as for a shell. */
int member_vet(struct base_error *error, const char *program);

/* Starts the program; after its end it may be called again: levels stay as they are, so that it comes back
   immune. Returns 0, or -1 with `error`. In: `argv`, ended by NULL; argv[0] is looked for in PATH. The first
   call installs handlers that pass INT, TERM, HUP, QUIT, USR1, USR2 and CONT on to the program. */
int member_start(struct base_error *error, struct member *member, char *const argv[]);
/* One round: sleeps until something happened or `timeout_ms` passed, then answers objects and collects
   faults. Returns whether the program has ended; then `*status` is what waitpid gave and all its records are
   collected. */
bool member_serve(struct member *member, int *status, unsigned timeout_ms);
/* Ends member_serve's sleep. Context: any thread, signal-safe. */
void member_wake(struct member *member);
/* Process id of the program, or 0 when it does not run. */
int member_pid(const struct member *member);
/* Sends a signal to the program. Context: any thread. */
void member_signal(struct member *member, int signal);

/* The last TERM, INT or QUIT that came, 0 none: whoever restarts programs must not restart one that was to end.
   Context: any thread. */
int member_stop_signal(void);

/* Sets the level of one function in all processes of the program, at once: one byte store. Returns how many
   entries have it (0: not loaded; the level hook will be asked when it is). Context: any thread. */
unsigned member_set_level(struct member *member, const uint8_t *build_id, size_t build_id_bytes,
                          uint64_t offset, enum wire_level level);
/* Everything runs natively from now on. Context: any thread. */
void member_disarm(struct member *member);

struct member_stats {
    unsigned objects_own;                  /* own objects seen */
    uint32_t functions_found;              /* functions of own objects */
    uint32_t functions_supervised;         /* not refused, and their level is not native */
    uint32_t functions_refused;            /* for any reason */
    uint32_t refused[CORE_REFUSAL_COUNT];  /* by reason */
    uint32_t entries;                      /* entries that are patched */
    uint64_t faults, healed;               /* as the runtime counted them */
    uint64_t counters[CORE_COUNTER_COUNT]; /* the runtime's own words: numbers of no authority */
};
/* Context: any thread. */
void member_stats(struct member *member, struct member_stats *stats);

/* ---- what a program executed (counting.c) ------------------------------------------------------------------ */

#define MEMBER_NO_OFFSET UINT64_MAX

struct member_counted_object {
    const char *path; /* the member's */
    char build_id[41];
};
struct member_counted_function {
    const char *name; /* no two of an object have the same */
    uint64_t offset;  /* or MEMBER_NO_OFFSET */
    uint64_t self;    /* instructions; 0 for system objects, whose code is not counted */
    uint64_t time_ns; /* CPU time sampled in it */
    uint64_t calls, zero,
        negative; /* calls; returns of 0 and of negative numbers, as far as it returns any */
    int32_t last_negative;
    uint32_t object, page_index;
    bool refused; /* runs natively: nothing is counted but the calls that counted code makes */
};
struct member_counted_edge {
    uint32_t caller, callee;
    uint64_t calls;
};
/* All processes and threads added up. */
struct member_counts {
    struct member_counted_object objects[256];
    struct member_counted_function *functions; /* own ones first: all of them, executed or not */
    struct member_counted_edge *edges;         /* an edge may stand here several times */
    size_t function_count, own_count, edge_count;
    /* Where the counts are not exact: threads beyond 1023 that lived at the same time, functions without room for counters,
       calls through pointers without room, activations that went on natively. */
    uint64_t shared_areas, uncounted_functions, lost_calls, left;
};
/* Adds up what was counted so far. Returns 0, or -1 with `error`. Owns: *counts is the caller's, member_counts_free, before
   member_close. Context: the thread that calls member_serve. */
int member_counts(struct base_error *error, struct member_counts *counts, struct member *member);
void member_counts_free(struct member_counts *counts);

/* What doctor finds out. `advice` says what to do about it, or is empty. */
enum member_verdict { MEMBER_GOOD, MEMBER_LIMITED, MEMBER_BAD };
struct member_finding {
    const char *subject; /* a few words, fixed: machines compare it */
    enum member_verdict verdict;
    char text[256];
    char advice[200];
};
enum { MEMBER_FINDINGS_MAX = 32 };
/* Whether this machine, as this process sees it, lets programs be supervised. Tries each thing, changes nothing that
   lasts. Returns the number of findings. Out: `findings`, room for MEMBER_FINDINGS_MAX. */
unsigned member_examine_machine(struct member_finding *findings);
/* Whether a program can be supervised, from its file. Returns and Out: as above. */
unsigned member_examine_program(struct member_finding *findings, const char *program);

/* One function that stays native, and why. */
struct member_refusal {
    const char *object;   /* path */
    uint64_t offset;      /* of its entry */
    const char *function; /* or NULL */
    enum core_refusal reason;
};
/* Loads a program with its libraries and the runtime, lets the runtime list and patch what it would supervise, and ends
   the process before the program's first instruction. Returns 0, or -1 with `error` (BASE_EXIT_ENVIRONMENT). Out:
   `stats`. In: `each`: called for every refused function; may be NULL. */
int member_scan(struct base_error *error, struct member_stats *stats,
                void (*each)(void *context, const struct member_refusal *refusal), void *context,
                const char *program);

/* How long to wait before a program that ended is started again: none the first time, doubling to 30 s while
   it keeps dying young, forgotten when it lived for a minute. */
struct member_backoff {
    unsigned early_deaths;
};
/* Returns the pause in milliseconds. In: how long the program has lived. */
unsigned member_backoff_ms(struct member_backoff *backoff, uint64_t lived_ns);

/* What a report calls bit `bit` of enum wire_not_undone. Returns NULL when there is no such bit. */
const char *member_not_undone_name(unsigned bit);

/* ---- one member of a community (agent.c) --------------------------------------------------------------- */

enum member_watch {
    MEMBER_WATCH_SLICE, /* what the manifest gives this member */
    MEMBER_WATCH_ALL,
    MEMBER_WATCH_NONE, /* vaccines only */
};
enum member_restart { MEMBER_RESTART_CRASH, MEMBER_RESTART_ALWAYS, MEMBER_RESTART_NEVER };

enum member_event_kind {
    MEMBER_EVENT_STARTED,  /* pid */
    MEMBER_EVENT_ENDED,    /* pid, status, pause_ms: until the restart; restarts: whether there is one */
    MEMBER_EVENT_FAULT,    /* fault */
    MEMBER_EVENT_VACCINE,  /* vaccine, entries: how many functions of the program changed their level by it */
    MEMBER_EVENT_MANIFEST, /* bytes, entries: functions that are watched now because of it */
    MEMBER_EVENT_LINK,     /* up */
    MEMBER_EVENT_RECEIPT,  /* verdict */
};
/* What a member does and hears; the fields that the kind names. */
struct member_event {
    enum member_event_kind kind;
    uint64_t time_ns; /* CLOCK_REALTIME */
    int pid, status;
    unsigned pause_ms, entries;
    bool up, restarts;
    size_t bytes;
    unsigned verdict; /* enum wire_verdict */
    const struct report_fault *fault;
    const struct wire_vaccine *vaccine;
};

struct member_agent_options {
    struct member_options member;
    const struct community_identity *identity;
    enum member_watch watch;
    const char *functions; /* watched besides: comma-separated patterns as of image_matches, or NULL */
    enum member_restart restart;
    /* Every event; never two at a time. Context: the caller's thread and threads of the bus. NULL: not wanted. */
    void (*event)(void *context, const struct member_event *event);
    void *context;
};

/* A member: joins, starts the program with what the community knows already, tells of its faults, applies vaccines,
   and starts it again when it dies; until it ends for good. Works without an engine. Returns 0 and `*status`, as
   waitpid gave it for the program's last end; or -1 with `error`. Context: main thread; installs signal handlers. */
int member_agent_run(struct base_error *error, int *status, const struct member_agent_options *options,
                     char *const argv[]);

#endif
