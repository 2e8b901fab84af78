/* The way out of the cache. At every call boundary registers and stack are the application's, but for return addresses that lead
   into the cache. Replaced by the application's own, they make the stack an ordinary native one: unwinders, exceptions,
   backtraces and cancellation see nothing of us, and the activations concerned go on natively when they are returned to.

   Who looks at return addresses is interposed (entry.S): each such function first takes this way for the whole stack. */
#include "stem/engine.h"

/* Registers as the entry stub pushed them, below the return address of the interposed function. */
struct way_out {
    uint64_t padding, r15, r14, r13, r12, rbp, rbx, rcx, rdx, rsi, rdi;
    uint64_t return_pc;
    uint64_t above[];
};

void *stem_way_out(struct way_out *entered, const char *name);

static void replace(uint64_t *slot)
{
    uint64_t pc = *slot, application = stem_application_pc(pc, false);
    if (application != pc) {
        *slot = application;
        stem_count(CORE_COUNTER_NATIVE_EXITS, 1);
    }
}

/* Returns the real function. In: the registers at its entry; its name. */
void *stem_way_out(struct way_out *entered, const char *name)
{
    struct stem_frame frame = {0};
    uintptr_t cfa;
    frame.reg[3] = entered->rbx;
    frame.reg[DWARF_RBP] = entered->rbp;
    frame.reg[12] = entered->r12;
    frame.reg[13] = entered->r13;
    frame.reg[14] = entered->r14;
    frame.reg[15] = entered->r15;
    frame.reg[DWARF_RSP] = (uint64_t)entered->above;
    frame.reg[DWARF_RA] = entered->return_pc;
    replace(&entered->return_pc);
    for (;;) {
        bool exact = stem_signals_interrupted(&frame); /* beyond a handler: on with what it interrupted */
        if (!stem_frame_step(&frame, &cfa, exact))
            break;
        replace((uint64_t *)(cfa - 8));
        stem_guard_clear(cfa);
    }
    void *real = stem_library_symbol("libgcc_s.so*", name);
    return real ? real : stem_libc_symbol(name);
}
