/* A fault on its way from where it was found to its record (fault.c, fault_record.c). */
#ifndef STEM_FAULT_H
#define STEM_FAULT_H

#include "stem/engine.h"

struct stem_fault {
    enum core_fault_kind kind;
    enum core_detector detector;
    unsigned is_write;
    uintptr_t address;
    size_t bytes;
    int signal;
    const char *intrinsic;
    struct stem_frame frame; /* where it happened; reg[16] an application or cache address */
    bool exact;              /* pc is the instruction itself, not a return address */
    unsigned pending;        /* log entries not yet published there */
    uintptr_t object_start;  /* the variable that was meant, when that is known */
    size_t object_bytes;
    uint32_t local; /* of a local one: its index on the control page + 1 */
};

/* Fills a record. Returns NULL when there is no free slot. The caller publishes it. */
struct wire_fault *stem_fault_record(const struct stem_fault *f);
/* Lets the supervisor see the record. Does nothing with NULL. */
void stem_fault_publish(struct wire_fault *w, enum core_outcome outcome);
/* A process about to end gives the supervisor a bounded time to copy its record. */
void stem_fault_await_taken(struct wire_fault *w);

#endif
