/* Probation: reads that may be how the program works, though they touch what is not the program's.

   A naturally aligned load of up to a word that begins inside a block and ends in the padding of the block's last word cannot fault
   and gives the program nothing it could not have had: word-wise string code loads so, and drops what lies behind the end. But
   a program may use those bytes as well, so the place is judged by what follows. Healing does not abort such a load at first: it is
   reported, and the program goes on. A fault in the same activation afterwards convicts the site, and from then on it is
   healed like any other. After HEALTHY loads without one it is demoted: reported once more as such, and from then on counted only. */
#include "stem/probation.h"

enum { HEALTHY = 3, CONVICTED = 0xff };

static uintptr_t slot_of(const struct stem_frame *frame, bool exact)
{
    struct stem_frame outer = *frame;
    uintptr_t cfa = 0;
    stem_frame_step(&outer, &cfa, exact);
    return cfa - 8;
}

bool stem_probation_applies(uintptr_t address, size_t bytes, uintptr_t bad, bool is_write)
{
    return !is_write && bytes <= 8 && !(address & (bytes - 1)) && bad > address && (bad ^ address) < 8;
}

enum stem_verdict stem_probation_judge(const struct stem_site *site, const struct stem_frame *frame)
{
    struct stem_site *own = &stem_sites[site - stem_sites];
    if (own->probation == CONVICTED)
        return STEM_VERDICT_HEAL;
    if (own->probation > HEALTHY)
        return STEM_VERDICT_IGNORE;
    stem_thread.probation_site = (uint32_t)(site - stem_sites) + 1;
    stem_thread.probation_slot = slot_of(frame, true);
    return own->probation++ == HEALTHY ? STEM_VERDICT_DEMOTE : STEM_VERDICT_REPORT;
}

void stem_probation_convict(const struct stem_frame *frame, bool exact)
{
    struct stem_thread *t = &stem_thread;
    if (t->probation_site && t->probation_slot == slot_of(frame, exact))
        stem_sites[t->probation_site - 1].probation = CONVICTED;
    t->probation_site = 0;
}
