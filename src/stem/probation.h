/* Reads on probation: reported and let go, until the site is demoted or convicted (probation.c). */
#ifndef STEM_PROBATION_H
#define STEM_PROBATION_H

#include "stem/engine.h"

enum stem_verdict {
    STEM_VERDICT_HEAL,   /* as any fault */
    STEM_VERDICT_REPORT, /* and go on */
    STEM_VERDICT_DEMOTE, /* say that it is demoted, and go on */
    STEM_VERDICT_IGNORE, /* demoted: only count */
};

/* Whether an access whose first bad byte is `bad` is of the kind that may be harmless. */
bool stem_probation_applies(uintptr_t address, size_t bytes, uintptr_t bad, bool is_write);
/* What to do about it this time. In: the place, and the frame at it. */
enum stem_verdict stem_probation_judge(const struct stem_site *site, const struct stem_frame *frame);
/* Another fault is about to be healed here: a site that was let go in this activation was no harmless one. */
void stem_probation_convict(const struct stem_frame *frame, bool exact);

#endif
