/* What the files of this folder share. */
#ifndef MEMBER_PRIVATE_H
#define MEMBER_PRIVATE_H

#include "member/member.h"

#include <pthread.h>
#include <sys/types.h>

/* Our own copy of what an object's entry said when we first saw it, checked. Later changes are ignored. */
struct object {
    bool known;
    bool own;
    uint32_t own_malloc;                 /* enum wire_own_malloc, unchecked */
    uint32_t first, count;               /* within functions[] */
    uint32_t locals_first, locals_count; /* within locals[] */
    uint8_t build_id[IMAGE_BUILD_ID_MAX];
    uint32_t build_id_bytes;
    const char *path;   /* kept until member_close */
    struct extra *file; /* whose path that is, or NULL */
};

/* A file: one that was listed at some time, or one met in a crash that the runtime had not listed. */
struct extra {
    char *path;
    bool listed; /* its build-id is known */
    uint8_t build_id[IMAGE_BUILD_ID_MAX];
    uint32_t build_id_bytes;
    bool allocator_told;
    bool image_tried;
    struct image *image; /* or NULL: unreadable */
    /* Its entry was taken back: what stood there. */
    bool is_past;
    struct member_stats past;
    struct extra *next;
};

/* A fault record without what only a crash has, waiting to be reported. */
struct queued {
    struct queued *next;
    uint8_t record[offsetof(struct wire_fault, registers)];
};

enum slot_stage { SLOT_IDLE, SLOT_FILLING, SLOT_TAKEN };
struct slot {
    enum slot_stage stage;
    uint64_t since_ns; /* in this stage */
    int pid;
};

/* A code address before it is resolved: what must be learnt while the process still waits. */
struct site {
    const char *path; /* of the ELF file, or NULL; lives until member_close */
    uint64_t offset;  /* from its load address; absolute when `path` is NULL */
    bool is_return;   /* a return address: the call stands before it */
};
struct sites {
    unsigned count;
    struct site site[REPORT_FRAMES_MAX];
};

/* Names and lines of places met before: a fault that repeats costs no second search. */
enum { RESOLVED_COUNT = 4096 };
struct resolved {
    bool used;
    struct site site;
    struct report_frame frame;
};

struct member {
    struct member_options options;
    struct member_hooks hooks;
    char stem[4096];
    bool pipe_ignored; /* SIGPIPE was ignored when we were called */
    bool told_native;  /* that the program runs unsupervised was said: restarts do not repeat it */
    bool traced;       /* the next program stops at its first instruction, for scan.c */
    struct wire_control *page;
    int page_fd;
    struct wire_counting *counting; /* or NULL */
    int counting_fd;

    uint64_t started_ns; /* monotonic */
    int pid;             /* of the program, 0: not running; atomic */
    bool signals;        /* handlers are installed */

    pthread_mutex_t lock; /* objects[].known and all level bytes */
    struct object objects[WIRE_OBJECTS_MAX];
    struct reclaim {
        uint64_t ended_ns, took_ns;          /* the last search for unused entries, monotonic */
        uint32_t wanted;                     /* page->wanted as it was answered */
        uint64_t stuck_ns[WIRE_OBJECTS_MAX]; /* since when an entry is being filled by nobody; 0: it is not */
    } reclaim;

    uint32_t work; /* atomic, futex word: incremented when member_serve has something to look at */
    /* The collector thread and its queue (collector.c); `queue_lock` guards the queue. */
    pthread_t collector;
    bool collecting;
    uint32_t collector_ends; /* atomic */
    pthread_mutex_t queue_lock;
    struct queued *queue_first, **queue_end;
    unsigned queue_count;

    struct slot slots[WIRE_FAULTS_MAX];
    struct wire_fault record; /* the one that is being looked at: too large for a stack, as is its report */
    struct report_fault fault;
    struct {
        char name[sizeof((struct wire_fault *)0)->intrinsic];
    } intrinsics[256]; /* names of library functions met so far: reports borrow them */
    unsigned intrinsic_count;
    struct extra *extras;
    struct resolved resolved[RESOLVED_COUNT]; /* by hash of the site; a newer one replaces an older one */
};

/* page.c */
void member__futex_wake(uint32_t *word);
/* Sleeps while `*word` is `seen`, at most `timeout_ms`. */
void member__futex_wait(uint32_t *word, uint32_t seen, unsigned timeout_ms);

/* page.c: a descriptor far above those that programs expect to get next, where the limit allows one. */
int member__move_high(int fd);
/* counting.c */
int member__counting_start(struct base_error *error, struct member *member);
void member__counting_stop(struct member *member);

/* spawn.c: signal handlers no longer reach this member. */
void member__forget(const struct member *member);

/* objects.c: answers every newly listed object. */
void member__answer(struct member *member);
/* Image of a listed object, opened at first need. Returns NULL when it cannot be read or is another build. */
struct image *member__image(struct object *object);
/* Opens the file of one object that no question has needed yet, so that a fault's report need not wait for it. Returns
   whether there was one. */
bool member__warm(struct member *member);
/* Adds what stands in an object's entry. */
void member__count(const struct member *member, struct member_stats *stats, const struct object *object);
/* reclaim.c: takes back entries of files that no living process has loaded, when the page runs full. */
void member__reclaim(struct member *member);
/* locals.c: lays the object's local variables down on the page. Lock held. */
void member__locals(struct member *member, struct image *image, struct object *object);
/* A file's name, kept until member_close: that of the runtime's object when it listed the file. NULL: out of memory. */
const char *member__keep_path(struct member *member, const char *path);
/* Image of a kept path, opened at first need. Returns NULL when there is none. */
struct image *member__image_of(struct member *member, const char *path);

/* collector.c: the thread that empties the page's fault slots while member_serve's is busy with names and lines. */
int member__collector_start(struct base_error *error, struct member *member);
void member__collector_stop(struct member *member);
/* Queues every ready record that nobody waits to be unwound for. Context: any thread. */
void member__drain(struct member *member);
/* Ready record that comes next, of a crash (`crash`) or not. Returns its slot, or WIRE_FAULTS_MAX. */
uint32_t member__next_ready(const struct member *member, bool crash);
/* Oldest queued record, or NULL. Owns: the caller's, free(). */
struct queued *member__dequeue(struct member *member);

/* records.c: reports faults that are queued or ready, frees slots. Returns false when there were more than it takes on in one
   round: a program that faults without end must not keep us from seeing its own. */
bool member__collect(struct member *member);
/* symbolize.c: `crash` is what member__unwind found, or NULL. Takes its time: names and lines are looked up. */
void member__report(struct member *member, struct report_fault *fault, const struct wire_fault *record,
                    const struct sites *crash);

/* tell.c: the alert that a fault report makes; the id is left to the session. */
void member__alert_of(struct wire_alert *alert, const struct report_fault *fault);
/* The alert for a program that a signal ended without a fault record. */
void member__alert_of_death(struct wire_alert *alert, int signal);

/* crash.c: unwinds the waiting process of `record` from outside. Returns false when it cannot be read. */
bool member__unwind(struct member *member, struct sites *sites, const struct wire_fault *record);

#endif
