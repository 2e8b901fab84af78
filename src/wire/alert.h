/* The alert: one fault of one member, as it goes over the bus. Code offsets, sizes and distances; no memory
   contents, no registers, no stack copy. */
#ifndef WIRE_ALERT_H
#define WIRE_ALERT_H

#include "wire/envelope.h"
#include "wire/control.h"

#define WIRE_ALERT_MAGIC    0x31415354u /* "TSA1" */
#define WIRE_OBJECT_NAME    64u         /* with the NUL */
#define WIRE_SYMBOL_NAME    96u
#define WIRE_BUILD_ID_BYTES 20u
/* Longest encoded alert. */
#define WIRE_ALERT_ROOM 16384u

/* A place in a program's code, the same in every process that runs this build. */
struct wire_place {
    uint8_t build_id_bytes; /* 0: unknown; without `object` too, `offset` is an absolute address */
    uint8_t build_id[WIRE_BUILD_ID_BYTES];
    uint64_t offset;               /* ELF virtual address; of a function: its entry */
    char object[WIRE_OBJECT_NAME]; /* file name without folders, or empty */
    char symbol[WIRE_SYMBOL_NAME]; /* or empty */
};

struct wire_alert {
    uint8_t id[WIRE_ID_BYTES]; /* random, given by the member: a repeated sending is recognised by it */
    uint64_t time_ns;          /* CLOCK_REALTIME of the fault */
    uint8_t kind;              /* enum core_fault_kind */
    uint8_t detector;          /* enum core_detector */
    uint8_t outcome;           /* enum core_outcome */
    uint8_t access;            /* 0 read, 1 write, 2 neither */
    uint8_t is_protected;      /* 1: the function was supervised when it happened */
    uint8_t restarted;         /* 1: the member has restarted the program because of it */
    uint8_t has_function;      /* 0: `function` is unknown, no vaccine can follow */
    uint8_t has_rescue;        /* 1: `rescue` returned `returned` */
    uint8_t function_rank;     /* stack[rank] is the frame that `function` was taken from */
    int32_t signal;
    uint32_t not_undone; /* bits of enum wire_not_undone */
    uint32_t count;      /* of equal faults this stands for, from 1 */
    uint64_t address;
    uint64_t bytes; /* of the access */
    int64_t distance;
    uint64_t object_bytes;
    uint64_t returned;
    struct wire_place function;
    struct wire_place rescue;
    uint8_t stack_frames, alloc_frames, free_frames;
    struct wire_place stack[WIRE_FRAMES_MAX];
    struct wire_place alloc_stack[WIRE_HEAP_FRAMES_MAX];
    struct wire_place free_stack[WIRE_HEAP_FRAMES_MAX];
};

/* Returns the bytes written, 0 when they do not fit or a count is out of bounds. */
size_t wire_alert_encode(void *data, size_t room, const struct wire_alert *alert);
/* Everything is bounds-checked; on refusal `*alert` holds nothing to be used. */
enum wire_verdict wire_alert_decode(struct wire_alert *alert, const void *data, size_t bytes);

/* Payload of WIRE_TYPE_FAULT: an alert as the steward accepted it, with the member that sent it. */
size_t wire_told_encode(void *data, size_t room, const char *member, const struct wire_alert *alert);
enum wire_verdict wire_told_decode(char member[WIRE_MEMBER_NAME], struct wire_alert *alert, const void *data,
                                   size_t bytes);

/* Shared with vaccine.c and status.c. */
void wire_put_place(struct wire_writer *w, const struct wire_place *place);
void wire_get_place(struct wire_reader *r, struct wire_place *place);
/* Whether both name the same code: build-id and offset, names aside. */
bool wire_place_equal(const struct wire_place *a, const struct wire_place *b);

#endif
