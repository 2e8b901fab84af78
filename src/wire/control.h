/* The control page: one shared memory file between a supervisor (testudo check, testudo run) and every process
   of the program it supervises. It is the whole interface between the two.

   The supervisor makes it with memfd_create, fills `config`, and starts the program with
       LD_PRELOAD=.../libtestudo-stem.so
       TESTUDO_CONTROL=FD:PATH      the descriptor's number, and /proc/SUPERVISOR/fd/FD for a process that
                                    has closed it
   The runtime maps it, forked children inherit the mapping. Every field says who writes it; the other side only
   reads, and the supervisor distrusts all of it: indices are range-checked, text is cut at its field's end.

   An object is a loaded ELF file. The runtime lists it with its functions (state LISTED) and rings the doorbell;
   the supervisor fills `level` and `returns` of its functions and answers (state ANSWERED). The runtime waits
   a bounded time for the answer and goes on with what stands there. Objects and functions are told apart by
   build-id + offset, so that all processes of the program share the entries, whatever address each has them at. When the
   tables run full, the supervisor takes back the entries that no living process uses.

   A function is named by its index in `functions`; its level byte is `level[index]`, and the code at the function's
   entry reads that byte on every call: one store by the supervisor changes what all processes do.

   Append only: a change of meaning takes a new version. */
#ifndef WIRE_CONTROL_H
#define WIRE_CONTROL_H

#include "core/core.h"

#define WIRE_CONTROL_MAGIC    0x31304f4455545354ull /* "TSTUDO01" */
#define WIRE_CONTROL_VERSION  1u
#define WIRE_CONTROL_VARIABLE "TESTUDO_CONTROL"
#define WIRE_OBJECTS_MAX      256u
#define WIRE_FUNCTIONS_MAX    (1u << 18)
#define WIRE_LOCALS_MAX       (1u << 18)
#define WIRE_FAULTS_MAX       64u
#define WIRE_FRAMES_MAX       32u
#define WIRE_HEAP_FRAMES_MAX  16u
#define WIRE_STACK_COPY_BYTES 16384u
#define WIRE_PATTERNS_BYTES   2048u
#define WIRE_ALLOCATORS_MAX   64u
#define WIRE_NO_OBJECT        0xffffffffu
#define WIRE_NO_FUNCTION      0xffffffffu

/* How functions are translated: one choice for the whole process, made at start. */
enum wire_mode {
    WIRE_MODE_OFF = 0,       /* runtime loaded, nothing patched */
    WIRE_MODE_TRANSLATE = 1, /* code cache without checks */
    WIRE_MODE_CHECK = 2,     /* reads and writes checked */
    WIRE_MODE_FULL = 3,      /* checked, and stores can be undone */
};

/* Level of one function, read by its entry on every call. */
enum wire_level {
    WIRE_LEVEL_NATIVE = 0,
    WIRE_LEVEL_MONITOR = 1, /* own instructions; callees by their own level */
    WIRE_LEVEL_PROTECT = 2, /* the whole dynamic extent: application callees run in the cache too */
};

enum wire_on_fault {
    WIRE_ON_FAULT_REPORT = 0, /* record it and go on with the access */
    WIRE_ON_FAULT_HEAL = 1,   /* undo, return an error from the function */
    WIRE_ON_FAULT_STOP = 2,   /* record it and end the process with `stop_status` */
};

/* What a function returns; chooses the error value of an aborted call. */
enum wire_returns {
    WIRE_RETURNS_UNKNOWN = 0, /* the runtime derives it from the code */
    WIRE_RETURNS_VOID = 1,
    WIRE_RETURNS_INTEGER = 2, /* -1 */
    WIRE_RETURNS_POINTER = 3, /* NULL */
    WIRE_RETURNS_ZERO = 4,    /* declared: 0 is the error (booleans, unsigned counts) */
    WIRE_RETURNS_FLOAT = 5,   /* NaN */
    WIRE_RETURNS_CLOSED = 6,  /* fail-closed: never virtualised, the process ends */
};

enum wire_object_state {
    WIRE_OBJECT_FREE = 0,
    WIRE_OBJECT_FILLING = 1,  /* claimed by a runtime, by compare-and-swap */
    WIRE_OBJECT_LISTED = 2,   /* all fields and functions stand; the supervisor has not looked yet */
    WIRE_OBJECT_ANSWERED = 3, /* the supervisor has set levels and return kinds */
    WIRE_OBJECT_NAMED = 4,    /* a runtime has written which file it is, its functions are to follow */
    WIRE_OBJECT_RETIRED = 5,  /* nobody has it loaded: may be claimed again, with its run of functions */
    WIRE_OBJECT_DOUBTED =
        6, /* the supervisor looks whether anybody has it loaded: who loads it makes it ANSWERED again */
};

/* A process that uses entry i of objects[] maps this page of the file once more, read from nowhere: forked children inherit the mark,
   exec and every kind of death take it away, and the supervisor finds it in /proc/PID/maps. First the mark, then a look at
   the state; the supervisor makes the entry DOUBTED first and then looks for marks: one of the two sees the other. */
#define WIRE_MARK_OFFSET(i) (((uint64_t)(i) + 1) * 4096)

/* An allocator that an object brings with it. */
enum wire_own_malloc {
    WIRE_OWN_MALLOC_NONE = 0,
    WIRE_OWN_MALLOC_USED = 1, /* the program's malloc is this object's: heap checks do not see its blocks */
    WIRE_OWN_MALLOC_REPLACED = 2, /* ours stands before it, and serves the program */
};

/* One loaded ELF file. Written by the runtime, except the step to ANSWERED. */
struct wire_object {
    uint32_t state;          /* enum wire_object_state, atomic; futex word of the waiting runtime */
    uint32_t first_function; /* index into functions[]; contiguous */
    uint32_t function_count; /* 0 for objects that are never supervised (the C library family) */
    uint32_t own;            /* 1: an object of the program itself */
    uint32_t build_id_bytes; /* 0..20 */
    uint32_t own_malloc;     /* enum wire_own_malloc */
    uint8_t build_id[20];
    uint32_t room;  /* runtime: length of the run of functions[] that is this entry's, >= function_count */
    char path[512]; /* as the loader knows it, NUL-terminated; the program itself by /proc/self/exe */
};

/* One function. */
struct wire_function {
    uint32_t offset; /* runtime: entry, relative to the object's load address (its ELF virtual address) */
    uint32_t bytes;  /* runtime: of its main part */
    uint8_t refusal; /* runtime: enum core_refusal */
    uint8_t returns; /* supervisor: enum wire_returns */
    uint8_t object;  /* runtime: index into objects[] */
    uint8_t patched; /* runtime: 1 when its entry was patched in at least one process */
    uint32_t aborts; /* runtime: calls aborted, atomic */
};

/* One code address in a fault record. */
struct wire_frame {
    uint32_t object; /* index, or WIRE_NO_OBJECT: `offset` is an absolute address */
    uint32_t reserved;
    /* relative to the object's load address; of a return address: as it stands on the stack */
    uint64_t offset;
};

/* Where the accessed address lies. */
enum wire_region {
    WIRE_REGION_UNKNOWN = 0,
    WIRE_REGION_HEAP_LIVE = 1,
    WIRE_REGION_HEAP_FREED = 2,
    WIRE_REGION_STACK = 3,
    WIRE_REGION_GLOBAL = 4,
};

enum wire_fault_state {
    WIRE_FAULT_FREE = 0,
    WIRE_FAULT_FILLING = 1,
    WIRE_FAULT_READY = 2, /* filled; a dying process waits a bounded time for TAKEN */
    WIRE_FAULT_TAKEN = 3, /* the supervisor has copied it; it sets FREE after the process went on or died */
};

/* What could not be undone, bits of `not_undone`. */
enum wire_not_undone {
    WIRE_NOT_UNDONE_LAPPED = 1u << 0,  /* stores older than the undo ring reaches: none were undone */
    WIRE_NOT_UNDONE_SYSCALL = 1u << 1, /* output, or another effect outside the process */
    WIRE_NOT_UNDONE_NATIVE = 1u << 2,  /* stores made by native callees */
    WIRE_NOT_UNDONE_UNARMED = 1u << 3, /* thread without an undo ring */
    WIRE_NOT_UNDONE_LARGE = 1u << 4,   /* a library call wrote more than the log takes */
};

/* One fault. Written by the runtime while FILLING; offsets, sizes and addresses only, never memory contents, except
   the registers and the stack copy of a crash, which do not leave the machine. */
struct wire_fault {
    uint32_t state;       /* enum wire_fault_state, atomic, futex word */
    uint32_t kind;        /* enum core_fault_kind */
    uint32_t outcome;     /* enum core_outcome */
    uint32_t detector;    /* enum core_detector */
    uint64_t sequence;    /* order of claim, from 1 */
    uint64_t time_ns;     /* CLOCK_REALTIME */
    uint64_t detected_ns; /* CLOCK_MONOTONIC */
    int32_t pid, tid;
    int32_t signal;        /* or 0 */
    uint32_t is_write;     /* 0 read, 1 write, 2 neither */
    uint64_t address;      /* accessed, or freed */
    uint64_t bytes;        /* of the access */
    uint32_t region;       /* enum wire_region */
    uint32_t not_undone;   /* bits of enum wire_not_undone */
    int64_t distance;      /* bytes past the object's end (> 0), before its start (< 0), inside it: offset */
    uint64_t object_bytes; /* of the heap block or variable; 0 unknown */
    uint64_t object_start; /* its address */
    uint32_t function;     /* index of the function in which it happened, or WIRE_NO_FUNCTION */
    uint32_t rescue;       /* index of the function that returned the error, or WIRE_NO_FUNCTION */
    uint64_t returned;     /* error value */
    uint32_t is_crash;     /* 1: registers and stack copy stand, the supervisor unwinds */
    uint32_t stack_frames, alloc_frames, free_frames;
    uint32_t variable; /* index of the local variable that was meant, in locals[], + 1; 0: unknown */
    uint32_t reserved_too;
    struct wire_frame stack[WIRE_FRAMES_MAX]; /* [0] is the fault itself, then return addresses outward */
    struct wire_frame alloc_stack[WIRE_HEAP_FRAMES_MAX];
    struct wire_frame free_stack[WIRE_HEAP_FRAMES_MAX];
    char intrinsic[32]; /* library function in whose checked form it was found, or empty */
    /* crash only: order rax rdx rcx rbx rsi rdi rbp rsp r8..r15 rip (DWARF numbering) */
    uint64_t registers[17];
    uint64_t stack_copy_base;  /* address of stack_copy[0] in the program */
    uint32_t stack_copy_bytes; /* valid bytes; return addresses into the code cache already mapped back */
    uint32_t reserved;
    uint8_t stack_copy[WIRE_STACK_COPY_BYTES];
};

/* One function of a pool allocator; the functions of one family belong together (docs/allocators.md). */
enum wire_allocator_role {
    WIRE_ALLOCATOR_ALLOC = 1, /* takes a block of argument `size` bytes from the pool in argument `pool` */
    WIRE_ALLOCATOR_RESET = 2, /* takes back all blocks of the pool in argument `pool` */
    WIRE_ALLOCATOR_HEAP =
        3, /* returns a block of argument `size` bytes that is freed by itself: taken from the heap instead */
    WIRE_ALLOCATOR_FREE = 4, /* frees the block in argument `pool` */
    WIRE_ALLOCATOR_CHAIN =
        5, /* frees the list of blocks in argument `pool`, linked at the offset in argument `size` */
    WIRE_ALLOCATOR_EMPTY =
        6, /* prepares room of argument `size` bytes: none, so that blocks come from the heap each */
};
struct wire_allocator {
    char function[60]; /* NUL-terminated */
    uint8_t role;      /* enum wire_allocator_role */
    uint8_t family;
    uint8_t pool, size; /* arguments, counted from 0; at most 5 */
};

/* Written by the supervisor before the program starts. */
struct wire_config {
    uint32_t mode;          /* enum wire_mode */
    uint32_t on_fault;      /* enum wire_on_fault */
    uint32_t default_level; /* of functions of own objects, until the supervisor answers */
    uint32_t stop_status;   /* exit status of WIRE_ON_FAULT_STOP */
    uint32_t knobs;         /* bits of enum core_knob */
    uint32_t answer_ms;     /* longest wait for the supervisor's answer to a new object */
    uint32_t crash_ms;      /* longest wait of a dying process for its record to be taken */
    uint32_t heap_stacks;   /* 1: record allocation and free stacks */
    /* NUL-separated shell patterns, ended by an empty one, matched against an object's file name. Empty: the default,
       everything but the C library family and our own. "main" is the program itself. */
    char objects[WIRE_PATTERNS_BYTES];
    /* Pool allocators besides those that the runtime knows itself. */
    uint32_t allocator_count;
    uint32_t counting; /* descriptor of the counting file (wire/counting.h) at the supervisor, + 1; 0: none */
    struct wire_allocator allocators[WIRE_ALLOCATORS_MAX];
};

/* A local variable at a fixed place of its function's frame, from debug information. */
enum wire_frame_base { WIRE_FRAME_CFA = 0, WIRE_FRAME_RBP = 1, WIRE_FRAME_RSP = 2 };
struct wire_local {
    uint32_t function; /* page index */
    int32_t offset;    /* from what `base` says */
    uint32_t bytes;
    uint16_t base;  /* enum wire_frame_base */
    uint16_t flags; /* bits of enum wire_local_flags */
};
enum wire_local_flags {
    WIRE_LOCAL_ALONE = 1,    /* nothing else shares its place */
    WIRE_LOCAL_PLAIN = 2,    /* its function was compiled without optimisation */
    WIRE_LOCAL_ARRAY = 4,    /* an array */
    WIRE_LOCAL_RECORD = 8,   /* a structure or union */
    WIRE_LOCAL_WORDS = 16,   /* array of pointers or of unsigned words */
    WIRE_LOCAL_FOREIGN = 32, /* C++ */
    WIRE_LOCAL_SCOPED = 64,  /* only unnamed objects of other scopes may share its place */
};
/* Those of one object, by rising function: locals[first ... first + count). */
struct wire_locals {
    uint32_t first;
    uint32_t count; /* stored last, atomic; 0: none, or not yet */
};

struct wire_control {
    uint64_t magic;
    uint32_t version;
    uint32_t bytes;         /* sizeof(struct wire_control) */
    int32_t supervisor_pid; /* supervisor */
    uint32_t disarm;        /* supervisor: 1 = every process runs natively from now on */
    uint32_t doorbell;      /* runtime: incremented when something is to be looked at; futex word, atomic; the
                                supervisor increments it to wake its own sleeper */
    uint32_t object_count;  /* runtime: entries ever claimed, atomic */
    uint32_t function_count; /* runtime: entries ever claimed, atomic */
    uint32_t fault_count;    /* runtime: faults so far, atomic: the source of `sequence` */
    struct wire_config config;
    uint64_t counters[64]; /* runtime: enum core_counter, atomic */
    struct wire_object objects[WIRE_OBJECTS_MAX];
    struct wire_fault faults[WIRE_FAULTS_MAX];
    struct wire_function functions[WIRE_FUNCTIONS_MAX];
    /* Supervisor, one atomic byte each: enum wire_level. Page-aligned: the runtime maps it once more beside each code
       cache, so that an entry can test it with a RIP-relative compare. */
    uint8_t level[WIRE_FUNCTIONS_MAX] __attribute__((aligned(4096)));
    /* Supervisor. */
    struct wire_locals locals_of[WIRE_OBJECTS_MAX];
    struct wire_local locals[WIRE_LOCALS_MAX];
    uint32_t wanted; /* runtime: incremented when the tables are full, atomic; then the doorbell is rung */
    uint32_t
        cleared; /* supervisor: incremented when it has looked for entries that nobody uses, futex word */
};

_Static_assert(sizeof(struct wire_object) == 560, "wire_object layout");
_Static_assert(sizeof(struct wire_function) == 16, "wire_function layout");
_Static_assert(offsetof(struct wire_control, level) % 4096 == 0, "level is mapped by page");
_Static_assert(CORE_COUNTER_COUNT <= 64, "counters fit");
_Static_assert(offsetof(struct wire_control, level) >= WIRE_MARK_OFFSET(WIRE_OBJECTS_MAX),
               "a view of levels is no mark");

#endif
