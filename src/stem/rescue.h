/* Undoing an activation and returning an error from it (rescue.c). */
#ifndef STEM_RESCUE_H
#define STEM_RESCUE_H

#include "stem/engine.h"

/* The function that a frame belongs to; a fragment's is that of the translation. NULL when it is none of the program's. */
struct stem_function *stem_function_of_frame(const struct stem_frame *frame, bool exact);
/* Undoes and unwinds the innermost supervised activation, or the next one up the stack when that has not helped. In: where the fault
   is, with log entries not yet published there. Out: *frame is the aborted one's caller's, about to go on behind the call;
   `returned` the error value; bits of enum wire_not_undone. Returns the function that was aborted, or NULL when there is
   none to return from. */
struct stem_function *stem_rescue(struct stem_frame *frame, uint64_t *returned, uint32_t *not_undone,
                                  const struct stem_frame *inner, bool exact, unsigned pending);

#endif
