/* The counting file: shared memory beside the control page in which the processes of a program count what they execute, for
   `testudo profile record`. The supervisor makes it and names its descriptor in the control page's configuration; the
   runtime writes it; what stands there outlives whoever wrote it, so that killed processes are not lost.

   Counted is by segment: instructions of one function that are all executed when the first one is, up to a branch target, a
   branch or a call. A segment's number is the same in all processes. Each thread has an area of its own, one word a segment,
   so that counting needs no lock; a process that comes later takes over the areas of threads that are gone and goes on adding.

   The supervisor distrusts all of it. */
#ifndef WIRE_COUNTING_H
#define WIRE_COUNTING_H

#include "wire/control.h"

#define WIRE_COUNTING_MAGIC 0x31544e434455ull /* "UDCNT1" */
#define WIRE_SEGMENTS_MAX   (1u << 22)
#define WIRE_AREAS_MAX      1024u
#define WIRE_EDGES_MAX      (1u << 18)
#define WIRE_NAMES_MAX      (1u << 14)
#define WIRE_NAME_BYTES     120u
#define WIRE_AREA_BYTES     ((size_t)WIRE_SEGMENTS_MAX * 8)
#define WIRE_COUNTING_BYTES (sizeof(struct wire_counting) + WIRE_AREAS_MAX * WIRE_AREA_BYTES)

/* Who is called: one of the functions on the control page, a name in `names`, or an address in an object that is not the
   program's own. */
#define WIRE_CALLEE_NONE                   0u
#define WIRE_CALLEE_FUNCTION(i)            (1ull << 40 | (uint64_t)(i))
#define WIRE_CALLEE_NAME(i)                (2ull << 40 | (uint64_t)(i))
#define WIRE_CALLEE_NATIVE(object, offset) (3ull << 40 | (uint64_t)(object) << 32 | (uint32_t)(offset))
#define WIRE_CALLEE_KIND(callee)           ((unsigned)((callee) >> 40) & 3u)
#define WIRE_CALLEE_BITS                   42

enum wire_segment_kind {
    WIRE_SEGMENT_FREE = 0,
    WIRE_SEGMENT_RUN = 1,    /* times executed: each is `instructions`; with a callee, as many calls of it */
    WIRE_SEGMENT_ENTRY = 2,  /* times executed: as RUN, and as many calls of the function itself */
    WIRE_SEGMENT_REPEAT = 3, /* repetitions of a string instruction: each is one instruction more */
    WIRE_SEGMENT_POINTER =
        4, /* three words: target last called (an address), the same as callee, calls of it not yet
                                  among `edges` */
    WIRE_SEGMENT_ZERO = 5,     /* returns of 0 */
    WIRE_SEGMENT_NEGATIVE = 6, /* returns of a negative number; the word behind holds the last one */
    WIRE_SEGMENT_LEFT =
        7, /* activations that went on natively, uncounted, behind a call that looks at its caller */
};

/* Written by the runtime before the segment is first counted. */
struct wire_segment {
    uint64_t callee; /* WIRE_CALLEE_... */
    uint32_t function;
    uint16_t instructions;
    uint8_t kind, reserved;
};

/* Calls through pointers, by open addressing. */
struct wire_counted_edge {
    uint64_t key;   /* (caller's function index << WIRE_CALLEE_BITS | callee) + 1, 0: free; atomic */
    uint64_t calls; /* atomic */
};

/* What could not be counted. */
enum wire_lost {
    WIRE_LOST_AREAS,    /* threads that shared an area with others */
    WIRE_LOST_SEGMENTS, /* functions without segments: they ran natively */
    WIRE_LOST_EDGES,    /* calls through pointers */
    WIRE_LOST_COUNT
};

struct wire_counting {
    uint64_t magic;
    uint64_t bytes;         /* of the whole file */
    uint32_t sample_us;     /* supervisor: period of CPU-time samples, 0: none */
    uint32_t segment_count; /* runtime: claimed, atomic */
    uint32_t name_count;    /* runtime: claimed, atomic, may exceed WIRE_NAMES_MAX when full */
    uint32_t area_count;    /* runtime: used so far, atomic; area 0 serves threads that have none */
    uint64_t lost[WIRE_LOST_COUNT];
    uint64_t owner[WIRE_AREAS_MAX]; /* pid << 32 | tid, atomic */
    char names[WIRE_NAMES_MAX]
              [WIRE_NAME_BYTES + 8]; /* byte 0: object index, then the name, NUL-terminated; complete
                                                        once byte 1 is not 0 */
    struct wire_counted_edge edges[WIRE_EDGES_MAX];
    uint64_t segments_of
        [WIRE_FUNCTIONS_MAX]; /* first << 32 | count, atomic: whoever translates it next uses them, too */
    uint64_t function_ns[WIRE_FUNCTIONS_MAX]; /* CPU time sampled in the function, atomic */
    uint64_t object_ns[WIRE_OBJECTS_MAX]; /* in an object that is not the program's own, or not translated */
    uint64_t elsewhere_ns;
    struct wire_segment segments[WIRE_SEGMENTS_MAX];
    uint8_t areas[] __attribute__((aligned(4096))); /* WIRE_AREAS_MAX of WIRE_AREA_BYTES */
};

_Static_assert(sizeof(struct wire_segment) == 16, "wire_segment layout");
_Static_assert(WIRE_OBJECTS_MAX <= 256, "an object's number fits into a byte");

#endif
