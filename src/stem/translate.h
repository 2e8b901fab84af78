/* The emitter's state, shared by translate.c (control flow) and memory.c (checks and undo log). */
#ifndef STEM_TRANSLATE_H
#define STEM_TRANSLATE_H

#include "stem/emit.h"

enum { FACTS_MAX = 24, GROUP_MAX = 24 };

struct stem_fixup { /* rel32 field that leads to a block */
    uint8_t *field;
    uint32_t block;
};
struct stem_constant { /* rel32 field that addresses an 8-byte constant */
    uint8_t *field;
    uint64_t value;
};
/* A register on loan: `reg` is free and its value waits in the slot (OUT), both hold it (BACK), or the register alone does (CHANGED, of
   a standing one only). A standing loan is the block's, and of its loop. */
struct stem_loan {
    uint8_t reg, state;
    bool standing;
};
struct stem_edge { /* a conditional jump between blocks with different loans */
    uint8_t *field;
    uint32_t block;
    uint16_t lent; /* where it comes from */
};
struct stem_cold {  /* slow half of a check */
    uint8_t *field; /* of the jne that leads to it */
    uint8_t *back;  /* where it returns to */
    uint32_t insn;
    uint8_t pending;
    uint8_t
        scratch; /* register that holds the shadow index, or NO_REGISTER: registers are restored, call at once */
    int8_t x;    /* the ring position's, or -1 */
    struct stem_loan loans[LENT_MAX];
    bool saved_flags; /* flags parked in rax, rax in slot 1 */
    bool rax_in_slot;
    uint8_t borrowed; /* guard.c: register whose value waits in slot 0, or NO_REGISTER */
    bool leaves;      /* guard.c: compares the return address */
};

struct stem_wanted_link { /* rel32 that leads to a gate for now */
    uint8_t *field;
    struct stem_function *function;
};

/* A range of memory relative to registers that is known to be checked (or logged) at this point of the block. */
struct stem_fact {
    uint8_t base, index, scale;
    int32_t from, to;
};

/* In front of this instruction `count` registers have been saved below the return address, whose frame address is base + cfa. */
enum { GUARD_PLACES = 4 };
struct stem_guard_place {
    uint32_t insn;
    int32_t cfa;
    uint8_t base, count;
};

/* What an instruction's access needs, and the check that it makes for others. */
struct stem_need {
    bool check, log;
    uint8_t granules,
        mask; /* of a merged check: bit k for the k-th granule from the lowest; 0: of its own access only */
    int32_t last;  /* displacement of a merged check's last byte */
    uint32_t next; /* instruction whose access is checked as well, or 0 */
};

struct stem_emitter {
    struct stem_unit *unit;
    struct stem_object *object;
    struct stem_function *function;
    enum stem_flavour flavour;
    enum wire_mode mode;
    uint32_t knobs; /* bits of enum core_knob */
    bool marks, poisons_frame;
    uint8_t saved[GUARD_SAVED_MAX], saved_count; /* registers below the return address, guarded with it */
    struct stem_guard_place guard[GUARD_PLACES];
    uint8_t guard_count;
    stem_cursor p;
    uint8_t *code, *code_end, *cold_end;
    struct stem_map_entry *map;
    uint32_t map_count;
    struct stem_site *sites;
    uint32_t site_count;
    struct stem_fixup *fixups;
    uint32_t fixup_count;
    struct stem_constant *constants;
    uint32_t constant_count;
    struct stem_cold *colds;
    uint32_t cold_count;
    struct stem_function **callees; /* of the program's own */
    uint32_t callee_count;
    bool calls_unknown; /* through pointers */
    bool calls_library; /* functions whose stores nobody logs */
    struct stem_wanted_link *wanted;
    uint32_t wanted_count;
    bool has_targets;     /* of indirect jumps */
    core_cache_pc *table; /* of these */
    int32_t table_disp;   /* its distance from the gs base */
    const uint8_t *body;  /* behind the level test */
    /* log group in progress: register that holds the ring position, entries written behind it and not published */
    int x;
    unsigned pending;
    uint32_t group_last; /* instruction whose append ends the group */
    struct stem_loan loans[LENT_MAX];
    uint16_t lent;      /* at the beginning of the block */
    uint32_t last_need; /* last instruction of the block with a check or an append */
    struct stem_edge *edges;
    uint32_t edge_count;
    const struct stem_need *needs; /* of the unit's instructions */
    /* provenance.c: by instruction, the bounds of what it accesses, counted from 1, or 0; NULL: of none */
    const uint16_t *bounded;
    const struct stem_bounds *bounds;
    uint32_t bounds_count;
    const struct stem_bounded_call *bounded_calls;
    uint32_t bounded_call_count;
    const struct stem_gap *gaps;
    uint32_t gap_count;
    const uint8_t
        *exact; /* of the function's local variables: whether nothing in its place reaches further */
    uint32_t exact_count;
    /* segments.c */
    bool counts, entry_apart;
    uint32_t segment_next, segment_end; /* numbers claimed for the unit and not yet used */
    uint32_t count_segment,
        count_at; /* the segment in progress, and the instruction before which it is counted */
    uint32_t returns_zero, returns_negative;
};

static inline bool stem_knob(const struct stem_emitter *e, enum core_knob knob)
{
    return e->knobs & 1u << knob;
}

static inline int32_t stem_slot_offset(unsigned slot)
{
    return (int32_t)(stem_thread_offset + (int64_t)(offsetof(struct stem_thread, slot) + 8 * slot));
}

static inline int32_t stem_ring_offset(void)
{
    return (int32_t)(stem_thread_offset + (int64_t)offsetof(struct stem_thread, ring));
}

void stem_emit_map(struct stem_emitter *e, const struct stem_insn *insn);
/* The same within the code of an instruction: nothing jumps here. */
void stem_emit_map_inner(struct stem_emitter *e, const struct stem_insn *insn);
/* A call of a slow path, with the stack moved below the red zone; adds its site. */
void stem_emit_slow_call(struct stem_emitter *e, enum stem_stub stub, const struct stem_insn *insn);

/* control.c */
bool stem_emit_control(struct stem_emitter *e, const struct stem_block *block, uint32_t block_index,
                       const struct stem_insn *insn, const uint8_t *bytes);
bool stem_control_begin_table(struct stem_emitter *e);
void stem_control_fill_table(struct stem_emitter *e);
/* Remembers the unit's calls that still go to gates, once its code is published. */
void stem_control_keep_links(const struct stem_emitter *e);
/* Whom a direct call or jump out of the unit, or one through the GOT, reaches: a function of the program, or NULL and the
   dynamic symbol's name, when either is known. */
struct stem_function *stem_control_callee(const struct stem_emitter *e, const struct stem_insn *insn,
                                          const char **name);
/* The register of [notrack] [REX.B] ff /2 or /4. */
unsigned stem_control_pointer_register(const struct stem_insn *insn, const uint8_t *bytes);
/* Jumps where a direct jump out of the unit does. */
void stem_control_leave(struct stem_emitter *e, const struct stem_insn *insn);
/* Leads the calls that wait for this function's translation to it. */
void stem_control_link(struct stem_function *f, const uint8_t *code);

/* provenance.c: tells the variables that the unit's accesses and calls mean. Returns whether anything is known. */
bool stem_provenance(struct stem_emitter *e);
/* Whether the instruction takes an address relative to rbp, and which. */
bool stem_takes_frame(int32_t *at, const struct stem_object *object, const struct stem_insn *insn);
static inline uint32_t stem_bounds_of(const struct stem_emitter *e, uint32_t insn)
{
    return e->bounded ? e->bounded[insn] : 0;
}

/* facts.c: decides what the unit's accesses need. Returns false when there is no memory for it. */
bool stem_facts(struct stem_emitter *e);

/* loans.c */
void stem_loans_begin(struct stem_emitter *e, const struct stem_block *block);
/* In front of an instruction: gives back what it wants. Behind it: what it has changed is on loan no more. */
void stem_loans_before(struct stem_emitter *e, uint32_t index);
void stem_loans_after(struct stem_emitter *e, const struct stem_insn *insn);
/* In front of the block's last jump, or at its end. */
void stem_loans_end(struct stem_emitter *e, const struct stem_block *block);
/* Gives back everything: between an instruction's check and the instruction. */
void stem_loans_give_back(struct stem_emitter *e);
/* A register, not one of `except`, that may be overwritten in front of the instruction: dead or borrowed. */
unsigned stem_loans_take(struct stem_emitter *e, const struct stem_block *block, uint32_t index,
                         uint32_t except);
/* The first instruction from `index` on that wants or changes the register, or the block's end. */
uint32_t stem_loans_until(const struct stem_emitter *e, const struct stem_block *block, uint32_t index,
                          unsigned reg);
/* All values back for a slow call; and behind it, the ring position where it is kept in one of these registers. */
void stem_loans_repay(struct stem_emitter *e);
void stem_loans_again(struct stem_emitter *e);
/* What waits in slots: as a map entry has it; as a mask of registers. */
uint16_t stem_loans_out(const struct stem_emitter *e);
uint32_t stem_loans_mask(const struct stem_emitter *e);
/* Whether standing loans may be kept over the instruction. */
bool stem_loans_may_span(const struct stem_insn *insn);
/* From a block's loans to those of its successor. */
void stem_loans_move(struct stem_emitter *e, uint16_t from, const struct stem_block *to);
void stem_loans_emit_edges(struct stem_emitter *e);

/* loops.c: chooses the standing loans of loops. */
void stem_loops_plan(const struct stem_emitter *e);

/* memory.c */
bool stem_wants_check(const struct stem_emitter *e, const struct stem_insn *insn);
bool stem_wants_log(const struct stem_emitter *e, const struct stem_insn *insn);
void stem_memory_begin_block(struct stem_emitter *e);
void stem_emit_memory(struct stem_emitter *e, const struct stem_block *block, uint32_t insn);
void stem_emit_cold(struct stem_emitter *e, const struct stem_cold *cold);

#endif
