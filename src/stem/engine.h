/* What the files of the translator share: decoded instructions, units, objects, translations.

   unit        one function as the translator sees it: its FDE's code and that of its .cold fragments
   instruction one decoded application instruction, with what liveness and checks need to know
   block       maximal run of instructions entered at its first only
   site        a place in translated code that calls a slow path
   translation the published result: code in the cache, and the map from it back to the application's code */
#ifndef STEM_ENGINE_H
#define STEM_ENGINE_H

#include "stem/stem.h"

/* ---- registers and flags as one mask ------------------------------------------------------------------- */

enum stem_register {
    RAX,
    RCX,
    RDX,
    RBX,
    RSP,
    RBP,
    RSI,
    RDI,
    R8,
    R9,
    R10,
    R11,
    R12,
    R13,
    R14,
    R15,
    NO_REGISTER
};

enum {
    ALL_REGISTERS = 0xffff,
    FLAG_C = 1 << 16,
    FLAG_P = 1 << 17,
    FLAG_A = 1 << 18,
    FLAG_Z = 1 << 19,
    FLAG_S = 1 << 20,
    FLAG_O = 1 << 21,
    ALL_FLAGS = 0x3f << 16,
    /* Registers that a call may change: spills take these, so that callee-saved ones are always native and
       an abort can trust them. */
    CALLER_SAVED =
        1 << RAX | 1 << RCX | 1 << RDX | 1 << RSI | 1 << RDI | 1 << R8 | 1 << R9 | 1 << R10 | 1 << R11
};

/* ---- instructions (decode.c) --------------------------------------------------------------------------- */

enum stem_insn_kind {
    INSN_PLAIN,
    INSN_JUMP,          /* direct, unconditional */
    INSN_BRANCH,        /* direct, conditional: jcc, jrcxz, loop */
    INSN_JUMP_INDIRECT, /* through register or memory */
    INSN_CALL,          /* direct */
    INSN_CALL_INDIRECT,
    INSN_RETURN,
    INSN_TRAP /* ud2, int3, hlt: control does not go on */
};

/* How an instruction sets rax: tells what kind of value a function returns. */
enum stem_rax_write {
    RAX_UNTOUCHED,
    RAX_WORD,     /* 32 bits: an integer */
    RAX_WIDE,     /* 64 bits: a pointer, or a long */
    RAX_EXTENDED, /* 64 bits, sign-extended from 32 */
    RAX_SMALL,    /* a byte or a flag */
    RAX_ZERO,     /* constant 0 */
    RAX_NEGATIVE, /* constant -1 or another small negative */
};

enum stem_segment { SEGMENT_NONE, SEGMENT_FS, SEGMENT_GS };

/* A memory operand: [base + index * scale + disp]. RIP-relative: rip_relative set, disp = offset in the object. */
struct stem_mem {
    uint8_t base, index; /* enum stem_register */
    uint8_t scale;       /* 1 2 4 8 */
    uint8_t segment;     /* enum stem_segment */
    uint8_t rip_relative;
    uint8_t is_read, is_write;
    uint16_t bytes; /* accessed */
    int32_t disp;
};

enum stem_insn_flags {
    INSN_HAS_MEM = 1 << 0,
    INSN_STRING = 1 << 1,        /* movs stos cmps scas lods, with or without rep */
    INSN_FRAME_ESCAPES = 1 << 2, /* takes the address of its own frame */
    INSN_LEA_RIP = 1 << 3,       /* lea r, [rip + disp]: may be a jump table */
    INSN_LEADER = 1 << 4,
    INSN_INDIRECT_TARGET = 1 << 5, /* a jump table leads here */
    INSN_OWN_FRAME = 1 << 6,       /* memory operand lies in the function's own frame */
    INSN_SHORT_ONLY = 1 << 7,      /* jrcxz, loop: no rel32 form */
    INSN_UNSUPPORTED = 1 << 8,     /* decoded, but not carried over */
    INSN_SETS_FRAME = 1 << 9,      /* mov rbp, rsp */
    INSN_ABI_CALL = 1 << 12,       /* through PLT or GOT */
    INSN_EXOTIC = 1 << 11,         /* its accesses are found at run time (exotic.c) */
    INSN_PUSHES_PC =
        1 << 10, /* a call to an instruction that pops the return address: a jump within the function */
    INSN_SAVES_X87 = 1 << 14,     /* stores the x87 state, with the address of its last instruction */
    INSN_FREES_NOTHING = 1 << 15, /* a call to a library function that leaves all memory allocated */
    INSN_DIVIDES = 1 << 16,       /* may trap whatever its operands' addresses */
    INSN_SYSTEM_CALL = 1 << 17,
    INSN_ORDINARY = 1 << 18, /* a call, return or jump whose uses and kills say what it means to registers */
    INSN_EIP_RELATIVE = 1 << 13, /* [eip + disp]: mem.disp as with rip, the address cut to 32 bits */
};

struct stem_insn {
    uint32_t offset; /* in the object */
    uint8_t length;
    uint8_t kind;                /* enum stem_insn_kind */
    uint32_t flags;              /* enum stem_insn_flags */
    uint8_t disp_at, disp_bytes; /* position of the displacement within the bytes; 0 bytes: none */
    uint8_t string_bytes;        /* element size of a string instruction */
    uint8_t string_op;           /* its opcode byte */
    uint8_t string_rep;          /* with a repeat prefix */
    uint8_t condition;           /* of a conditional jump, as encoded */
    uint32_t uses, kills;        /* register and flag masks */
    uint32_t writes;             /* every register written, partially or not */
    uint32_t live;               /* live before it (liveness.c) */
    uint32_t target;             /* of a direct branch: offset in the object */
    uint8_t rax;                 /* enum stem_rax_write: how it sets rax */
    uint8_t move_to, move_from;  /* it only sets move_to to move_from + move_by; else NO_REGISTER */
    int32_t move_by;
    uint32_t block;
    struct stem_mem mem;
};

/* Decodes one instruction at `code`, of at most `room` bytes; `offset` is its place in the object.
   Returns whether the decoder knows it. Not for signal handlers: uses vector registers. */
bool stem_decode(struct stem_insn *insn, const uint8_t *code, size_t room, uint32_t offset);

/* ---- objects (objects.c, frames.c, scan.c) ------------------------------------------------------------- */

enum stem_flavour { FLAVOUR_MONITOR, FLAVOUR_PROTECT, FLAVOURS };

struct stem_translation;

/* A call that still goes to a gate. */
struct stem_link {
    uint8_t *field; /* its rel32, 4-aligned */
    struct stem_link *next;
};

/* How a function treats registers (conventions.c). */
enum stem_convention { CONVENTION_UNKNOWN, CONVENTION_OWN, CONVENTION_ORDINARY };

struct stem_function {
    uint32_t offset, bytes; /* of its FDE */
    uint32_t index;         /* on the control page */
    uint8_t refusal;
    uint8_t entered; /* distance to the first byte behind its start that another function jumps to, or 0 */
    uint8_t maybe_entered; /* the same, where another function only may jump to it */
    uint8_t returns;       /* enum wire_returns as the code tells, set when it is translated */
    bool hooked;           /* pools.c stands before its gate: no call may go round it */
    uint8_t convention;    /* enum stem_convention, set when it or a caller is translated; when ordinary: */
    bool public; /* a symbol or a pointer outside the code leads there, so that its callers may be anybody */
    bool quiet;  /* neither frees nor unmaps, nor does what it calls */
    uint16_t reads,
        changes; /* caller-saved registers that it reads first, and that may have changed at its return */
    uint8_t patched_bytes; /* 0: not patched; else how many bytes of `original` the entry lost */
    uint8_t original[8];
    const uint8_t *linked;      /* its translation, for direct calls; NULL: none yet */
    struct stem_link *links;    /* calls to be led there */
    const uint8_t *door;        /* where its patched entry leads: the gate, or what stands before it */
    int32_t *gate_monitor;      /* aligned rel32 of its jump to the monitored translation */
    const uint8_t *gate_native; /* its native way: */
    struct {
        uint8_t gate,
            entry; /* where an instruction stands in the gate, and where it stood behind the entry */
    } moved[6];    /* those that the patch displaced, and the jump back behind them */
    uint8_t moved_count, native_bytes; /* of the native way, with the jump back */
    uint8_t *gate;                     /* entry of the gate: level test */
    uint8_t *gate_cached[FLAVOURS];    /* its tail that goes to the cache whatever the level */
    core_cache_pc *slot[FLAVOURS];     /* where that tail jumps: translator stub, then translated code */
};

struct stem_fde {
    uint32_t offset, bytes;
    const uint8_t *record;
};

/* Code outside a function's main part that only the function jumps into. */
struct stem_fragment {
    uint32_t offset, bytes;
    struct stem_function *function;
};

enum stem_stub {
    STUB_TRANSLATE,
    STUB_CHECK,
    STUB_STRING,
    STUB_INDIRECT,
    STUB_EXOTIC,
    STUB_PROTECT,
    STUB_POINTER,
    STUB_RETURN,
    STUB_PROVE,
    STUB_PROVE_ENTRY,
    STUB_STRING_EXACT, /* against the bounds of variables, too */
    STUBS
};

enum { STEM_LOADS_MAX = 16 };

struct stem_object {
    uintptr_t base;                /* load address: file addresses are relative to it */
    uintptr_t low, high;           /* mapped range */
    uintptr_t code_low, code_high; /* its executable part */
    struct {
        uintptr_t low, high;
        bool is_code;        /* executable; there may be holes between such segments */
    } loads[STEM_LOADS_MAX]; /* its readable segments, by rising address */
    uint32_t load_count;
    uint32_t page_index; /* on the control page */
    bool own, gone;
    bool
        exact; /* its variables are known, and time matters less than finding all: calls are checked against their bounds */
    const char *path;
    uint8_t build_id[20];
    uint32_t build_id_bytes;
    /* from the dynamic section */
    const struct elf_symbol *symbols;
    const char *strings;
    const struct elf_rela *plt_relocations, *relocations;
    uint32_t plt_count, relocation_count;
    uint32_t symbol_count;
    uint32_t entry; /* e_entry of a program, else 0 */
    const uint8_t *eh_frame_hdr;
    uint32_t fde_count;              /* of its search table */
    const int32_t *fde_table;        /* pairs: code address, FDE address, relative to eh_frame_hdr; sorted */
    struct stem_function *functions; /* sorted by offset */
    uint32_t function_count;
    void *callers;                   /* conventions.c: some calls of each function */
    struct stem_fragment *fragments; /* sorted by offset */
    uint32_t fragment_count;
    /* code cache region, within 2 GiB of the whole object */
    uint8_t *region, *region_end;
    uint8_t *next;       /* next free byte */
    uint8_t *code_start; /* translated code; gates lie before it */
    /* Slow halves of checks lie apart, so that what runs lies close together: half of the region is theirs. */
    uint8_t *cold_start, *cold_next;
    uint8_t *gates_end;       /* of their slots and ways, which lie first there */
    const void *const *stubs; /* enum stem_stub: addresses of entry.S, within reach of the code */
    const uint8_t *levels;    /* levels[i]: of functions[i], the page's bytes mapped once more */
    struct stem_translation **translations; /* in order of cache address */
    uint32_t translation_count, translation_room;
    /* Of one that can be unloaded: what its code, and the list of objects before it, were when it was loaded; and, while it is
       gone, since when (a serial number). */
    uint64_t code_hash, before_hash;
    uint32_t gone_since;
};

/* How many bytes of the object's segment follow an address in it; 0: it lies in none. Signal-safe. */
size_t stem_object_room(const struct stem_object *object, const void *address);
struct stem_object *stem_object_of(uintptr_t application_address);
struct stem_object *stem_object_of_cache(uintptr_t cache_address);
struct stem_function *stem_function_at(struct stem_object *object, uint32_t offset);
/* The function whose main part or fragment contains `offset`; fragments answer NULL. */
struct stem_function *stem_function_containing(struct stem_object *object, uint32_t offset);
/* The FDE that covers `offset`. Signal-safe. Returns whether there is one. */
bool stem_fde_find(struct stem_fde *fde, const struct stem_object *object, uint32_t offset);
/* Whether an object that is loaded has this entry. */
bool stem_object_uses(uint32_t page_index);
struct stem_function *stem_function_by_index(struct stem_object **object, uint32_t page_index);
/* Scans objects that the loader has mapped since the last call, forgets those it has unmapped. */
void stem_objects_refresh(void);
/* Gives back the code cache of the object that was unloaded first. Returns false when there is none. */
bool stem_objects_drop_oldest(void);
/* Copies application bytes as they were before any entry was patched. */
void stem_object_bytes(uint8_t *out, const struct stem_object *object, uint32_t offset, uint32_t bytes);
/* The program's own function that a dynamic symbol stands for, or NULL. */
struct stem_function *stem_function_named(const char *symbol);
/* The GOT slot that a PLT entry at `offset` jumps through, or 0 when there is no PLT entry. */
uint32_t stem_object_plt_slot(const struct stem_object *object, uint32_t offset);
/* A table of `count` zeroed entries at a fixed distance, *disp, from the gs base. Returns NULL when there is no room. */
core_cache_pc *stem_jump_table(int32_t *disp, uint32_t count);
/* The dynamic symbol that a direct call to `offset` reaches through its PLT entry, or NULL. */
const char *stem_object_plt_name(struct stem_object *object, uint32_t offset);
/* Where the object defines a dynamic symbol, or 0. */
uintptr_t stem_object_symbol(const struct stem_object *object, const char *name);
/* The dynamic symbol whose address the loader stores at `offset` (a GOT slot), or NULL. */
const char *stem_object_got_name(struct stem_object *object, uint32_t offset);

/* ---- entries on the control page (listing.c) ------------------------------------------------------------ */

/* Gives the object and its functions their places on the control page: those that another process has made for the same file,
   or new ones. Returns false when the tables are full. Translator lock held, or before main. */
bool stem_listing_make(struct stem_object *object);
/* This process uses the entry no longer, unless another of its objects does. */
void stem_listing_leave(uint32_t page_index);
/* Waits a bounded time until the supervisor has set the levels of the object's functions. */
void stem_listing_await(const struct stem_object *object);

/* ---- call-frame information (frames.c) ------------------------------------------------------------------ */

/* Integer registers in DWARF order, as in a fault record. */
enum { DWARF_RSP = 7, DWARF_RBP = 6, DWARF_RA = 16, DWARF_REGISTERS = 17 };
struct stem_frame {
    uint64_t reg[DWARF_REGISTERS]; /* reg[16]: pc */
    /* Registers saved below this address are back in their places, though the call-frame information does not say so, and something
       else lies there. 0 as a rule. */
    uintptr_t given_up_below;
};
struct stem_cfi_row {
    uint8_t cfa_register; /* DWARF number */
    int32_t cfa_offset;
    uint32_t saved; /* bit r: register r lies at CFA + saved_at[r] */
    int32_t saved_at[DWARF_REGISTERS];
};
/* The row in force at `offset`. Returns false when there is none or it needs an expression. Signal-safe. */
bool stem_cfi_row(struct stem_cfi_row *row, const struct stem_object *object, uint32_t offset);
/* Reads the extent of an FDE record. */
bool stem_fde_read(struct stem_fde *fde, const struct stem_object *object, const uint8_t *record);
/* PLT entries have an FDE too, one for the whole section; they are doors, not functions or fragments. */
bool stem_fde_is_plt(const struct stem_fde *fde, const struct stem_object *object);
/* Forgets rows that backtraces remember: an object is gone. */
void stem_frames_forget(void);
/* Does the FDE begin as a function does (CFA = rsp + 8)? Also false for signal trampolines. */
bool stem_cfi_begins_as_function(const struct stem_object *object, const struct stem_fde *fde);
/* One step outward: from a frame whose pc is an instruction (exact) or a return address (exact = false), cache
   addresses mapped back, to its caller's; *cfa is the frame's canonical address: the caller's rsp. Returns false
   at the end or where nothing is known. Signal-safe; reads the stack only within the same mapping. */
bool stem_frame_step(struct stem_frame *frame, uintptr_t *cfa, bool exact);
/* The frame that an address of the stack lies in, outward from a return address, with the stack pointer after that return and rbp by
   value. Looks at `depth` frames at most. Returns whether it was found. Signal-safe. */
struct stem_frame_place {
    uintptr_t pc; /* application code, a byte before the return address: inside the call */
    uintptr_t sp, rbp, cfa;
};
bool stem_frame_holding(struct stem_frame_place *place, uintptr_t address, uintptr_t pc, uintptr_t sp,
                        uintptr_t rbp, unsigned depth);

/* Asks, of a range of the stack, whether it begins inside a local variable of a frame, from the one with this return address, stack
   pointer after it, and rbp outward, and leaves it. Returns the first byte outside, or 0 (locals.c). */
uintptr_t stem_local_overrun(uintptr_t pc, uintptr_t sp, uintptr_t rbp, uintptr_t address, size_t bytes);
/* The local variables of the object's function with this page index, as far as they are known (locals.c). Signal-safe. */
const struct wire_local *stem_locals_of(uint32_t *count, const struct stem_object *object, uint32_t function);

/* ---- units (unit.c, liveness.c) --------------------------------------------------------------------------- */

enum { UNIT_INSNS_MAX = 1 << 16, UNIT_RANGES_MAX = 64 };

struct stem_block {
    uint32_t first, end; /* instructions [first, end) */
    uint32_t live_out;
    int32_t next, target; /* successor blocks, or -1 */
    uint8_t *code;        /* where it was emitted */
    uint16_t lent;        /* registers on loan where it begins: see stem_lent_register */
};

struct stem_range {
    uint32_t offset, bytes;
    uint32_t first, end; /* its instructions */
};

/* One function being translated; the arrays are the translator's own scratch memory, one unit at a time. */
struct stem_unit {
    struct stem_object *object;
    struct stem_function *function;
    enum core_refusal refusal;
    struct stem_insn *insns;
    uint32_t insn_count;
    struct stem_block *blocks;
    uint32_t block_count;
    struct stem_range ranges[UNIT_RANGES_MAX]; /* [0] is the main part */
    uint32_t range_count;
    bool frame_escapes, has_call, has_indirect_jump, has_log;
    bool has_frame_pointer; /* rbp, as the call-frame information says */
    uint32_t unsupported;   /* offset of the instruction that caused a refusal */
    uint8_t convention;     /* enum stem_convention */
    bool learns; /* only to learn what it reads: callees that are not known are taken to be ordinary */
    uint32_t free_at_return; /* registers, when it is ordinary */
};
/* Decodes and cuts into blocks, in memory behind that of another unit which is still wanted, or NULL. Returns false with `refusal`
   set. Translator lock held. */
bool stem_unit_build(struct stem_unit *unit, struct stem_object *object, struct stem_function *function,
                     const struct stem_unit *behind);
/* Index of the instruction at an offset, or -1 when none begins there. */
int32_t stem_unit_find(const struct stem_unit *unit, uint32_t offset);
void stem_liveness(struct stem_unit *unit);
/* conventions.c: learns how the unit's function and those that it calls treat registers, and writes that to its calls and
   returns. Before stem_liveness. */
void stem_conventions(struct stem_unit *unit);
/* Registers that matter where the unit jumps to another function. */
uint32_t stem_convention_beyond(const struct stem_unit *unit, uint32_t offset);
/* What any of the targets of the unit's jump tables wants. */
uint32_t stem_live_at_targets(const struct stem_unit *unit);

/* ---- translations (translate.c) ---------------------------------------------------------------------------- */

struct stem_map_entry {
    uint32_t cache;  /* relative to the translation's code */
    uint32_t offset; /* of the application instruction, in the object */
    uint8_t pending; /* log entries written and not yet published when it starts */
    uint8_t length;  /* of the application instruction */
    uint16_t flags;  /* MAP_... */
    uint16_t lent;   /* registers whose values lie in the thread's slots */
};
enum { MAP_INDIRECT_TARGET = 1, MAP_READS = 2, MAP_WRITES = 4 };
enum { MAP_BOUNDS_SHIFT = 4 }; /* above: index of the access's bounds + 1, or 0 */
/* Registers on loan, a nibble for each of the slots. Returns RSP, which never is, when none waits in slot k. */
enum { LENT_MAX = STEM_LENT };
static inline unsigned stem_lent_register(unsigned lent, unsigned k)
{
    return (lent >> 4 * k & 15) ^ RSP;
}
/* Registers on loan at a cache address: 0 anywhere else. Signal-safe. */
unsigned stem_lent_at(uintptr_t pc);
/* The variable that accesses mean whose pointer came from it (provenance.c). */
struct stem_bounds {
    int32_t low; /* its place: from rbp; of a global variable, in the object */
    uint32_t bytes;
    uint32_t local; /* index on the control page + 1, or 0 */
    bool is_global;
    bool is_dynamic; /* taken from the stack as the function goes: from rsp to `low` */
    bool is_walked;  /* whole words may be read on from its address: collectors do */
};
/* An argument of a call that points into a variable. */
struct stem_bounded_call {
    uint32_t offset; /* of the call, in the object */
    uint16_t bounds;
    uint8_t argument;
};
/* Bytes behind a local variable that are nobody's (gaps.c): [from, to) from the canonical frame address. */
struct stem_gap {
    int32_t from, to;
    uint32_t bytes; /* of the variable that ends there */
    uint32_t local; /* index on the control page + 1 */
};
enum { STEM_GAPS_MAX = 24 };
struct stem_translation;
struct stem_site {
    const struct stem_translation *translation;
    uint32_t map; /* index of its instruction in the translation's map */
    struct stem_mem mem;
    uint8_t string_op, string_bytes, string_rep;
    uint8_t probation; /* probation.c: how often it was let go */
};
struct stem_translation {
    struct stem_object *object;
    struct stem_function *function;
    enum stem_flavour flavour;
    uint8_t *code, *code_end;
    uint8_t *cold, *cold_end;   /* slow halves of checks; in the map they follow the code */
    const uint8_t *body;        /* behind the level test, for who has tested it */
    struct stem_map_entry *map; /* sorted by cache */
    uint32_t map_count;
    bool marks;         /* writes a mark into the undo ring at entry */
    bool calls_unknown; /* through pointers */
    bool has_call;
    bool calls_library;             /* library functions whose stores nobody logs */
    struct stem_function **callees; /* of the program's own, directly or through PLT and GOT */
    uint32_t callee_count;
    const struct stem_bounds *bounds;
    const struct stem_bounded_call *bounded_calls; /* by rising offset within each part of the function */
    uint32_t bounded_call_count;
    const struct stem_gap *gaps;
    uint32_t gap_count;
    const uint8_t *exact; /* by local variable of the function: nothing in its place reaches further */
    uint32_t exact_count;
};
struct stem_translation *stem_translation_of(uintptr_t cache_address);
const struct stem_map_entry *stem_map_find(const struct stem_translation *t, uintptr_t cache_address);
/* Application address for a cache address: of the instruction (exact), or of the instruction after the call whose
   return address it is. Returns the address itself when it is no cache address. Signal-safe. */
uintptr_t stem_application_pc(uintptr_t pc, bool exact);
/* Called on the private stack with the lock held; returns NULL when the function is refused. */
struct stem_translation *stem_translate(struct stem_object *object, struct stem_function *function,
                                        enum stem_flavour flavour);

/* ---- gates and patches (patch.c, entry.S) -------------------------------------------------------------------- */

bool stem_region_make(struct stem_object *object);
enum { GATE_TEST_BYTES = 7 }; /* a gate begins with them: cmp byte [level], 1 */
/* Translates all functions of an object that was patched just now, so that what is refused is known; or those that are supervised
   already, so that calls do not wait for it and forked processes share the code. Lock held. */
void stem_dispatch_translate_all(struct stem_object *object, bool armed_only);
void stem_patch_all(struct stem_object *object);
/* Patches the entries of an object that was unloaded and has come back as it was: its gates still stand. */
void stem_patch_again(struct stem_object *object);
/* Leads the entries of functions that are translated to their translations, which test the level themselves: no gate on the way.
   The object has just been loaded: nobody runs in it yet. */
void stem_patch_lead_on(struct stem_object *object);
void stem_patch_loader_hook(uintptr_t r_brk);

/* Registers at a slow call, as the entry stubs lay them out. `flags` is rflags. */
struct stem_context {
    uint64_t reg[16]; /* by enum stem_register */
    uint64_t flags;
    uint64_t rip; /* where to go on */
};
/* entry.S */
extern uint8_t stem_stub_translate[], stem_stub_check[], stem_stub_string[], stem_stub_indirect[],
    stem_stub_exotic[], stem_stub_protect[], stem_stub_pointer[], stem_stub_return[], stem_stub_prove[],
    stem_stub_prove_entry[], stem_stub_objects[];
extern uint8_t stem_fast_string[]; /* string_fast.S: before stem_stub_string */
extern uint8_t stem_safe_copy_from[], stem_safe_copy_end[], stem_safe_copy_failed[];
/* Copies bytes; returns false when either side is unmapped. The signal handler knows its address range. */
bool stem_safe_copy(void *to, const void *from, size_t bytes);
/* The same for one word, as cheap as a load. */
bool stem_safe_read(uint64_t *word, uintptr_t address);
extern uint8_t stem_safe_read_from[];
/* intrinsic_fast.S: a fault in this range goes on at the address in r9. */
extern uint8_t stem_fast_begin[], stem_fast_end[];
void stem_resume(const struct stem_context *context) __attribute__((noreturn));
uint64_t stem_on_stack(uint64_t (*function)(void *), void *argument, void *stack_top);
void stem_save_vector(void *area);
void stem_restore_vector(const void *area);

/* ---- undo and faults ---------------------------------------------------------------------------------------------- */

void stem_undo_thread_start(void);
void stem_undo_after_fork(void);
void stem_prove_after_fork(void);
/* Undoes everything logged since the activation whose return-address slot is `mark` was entered. `pending` entries
   beyond the published position belong to it. Returns 0, or bits of enum wire_not_undone when nothing was undone
   (LAPPED, UNARMED) or something could not be. In: `sp`, the stack pointer at the fault: below it nothing is restored, for there
   our own frames are now. */
uint32_t stem_undo_to(uintptr_t mark, unsigned pending, uintptr_t sp);
bool stem_undo_reaches(uintptr_t mark, unsigned pending);
/* Where in the ring a mark lies. Returns false when it is out of reach. */
bool stem_undo_find(uint64_t *position, uintptr_t mark, unsigned pending);
/* Entries logged since the ring stood at `position`, modulo its length. */
unsigned stem_undo_distance(uint64_t position);

/* The site whose slow call returns to this address, or NULL: a nop stands there, whose operand is the site's number. */
const struct stem_site *stem_site_at(uintptr_t return_address);
/* All sites of all translations, by number. */
enum { SITES_MAX = 1 << 22 };
extern struct stem_site *stem_sites;
extern uint32_t stem_site_count;
/* Address that the site's operand means, with the registers as they were. */
uintptr_t stem_effective_address(const struct stem_site *site, const struct stem_context *context);
/* Checks a range for the site that called. Returns whether the fault was healed and the context says where to go on. */
int stem_check_access(struct stem_context *context, const struct stem_site *site, uintptr_t address,
                      size_t bytes, bool is_write);
/* guard.c: whether the return address at `slot` is another than the guarded one. */
bool stem_guard_is_changed(uintptr_t slot, uint64_t return_pc);
/* Takes away what poison is left of the frame below this canonical frame address. */
void stem_guard_clear(uintptr_t cfa);
enum { GUARD_SAVED_MAX = 6 };
bool stem_frame_poison_is_live(uintptr_t address, const struct stem_frame *frame, bool exact);
/* From the signal handler: a trap at the frame's pc. Returns true when it was healed: the frame then is the aborted
   function's caller's, `returned` its result. is_write: 0 read, 1 write, 2 unknown. */
bool stem_fault_trap(struct stem_frame *frame, uint64_t *returned, int signal, int code, uintptr_t address,
                     unsigned is_write);
/* From the signal handler: the process is about to die of a signal. Records it and waits for the record to be taken. */
void stem_fault_crash(const struct stem_frame *frame, int signal, int code, uintptr_t address,
                      unsigned is_write);
enum core_fault_kind stem_fault_classify(uintptr_t bad);
/* globals.c: end of the global variable that an address lies in, or 0; the variable at or before an address. Signal-safe. */
uintptr_t stem_global_end(uintptr_t address);
bool stem_global_describe(uintptr_t *start, size_t *bytes, uintptr_t address);
/* May stores of an activation of this function stand that were made by a callee running natively? Looks at what the function can
   call, `depth` levels deep: the log says nothing about calls that left nothing in it. */
bool stem_may_have_native_callee(const struct stem_function *function, enum stem_flavour flavour, int depth);
/* The frame in which the instruction of a slow call runs. */
void stem_fault_frame(struct stem_frame *frame, const struct stem_context *context);

/* Whether the instruction at `offset` is a call through PLT or GOT of a function that is checked. Signal-safe. */
bool stem_calls_library(struct stem_object *object, uint32_t offset, uint8_t length);
/* fault.c: the function that application code belongs to, fragments included, or NULL. */
struct stem_function *stem_function_of(uintptr_t application_pc);
/* Name of the library function of a checked call. */
const char *stem_intrinsic_name(const struct stem_call *call);
/* What a function returns, from how its code sets rax before it returns. */
enum wire_returns stem_unit_returns(const struct stem_unit *unit);

extern uint8_t stem_signal_return[];
/* At the return address of a handler: sets the frame to what the signal interrupted. Returns whether it was there. */
bool stem_signals_interrupted(struct stem_frame *frame);
extern uint8_t *stem_resume_exit;
void stem_lock_after_fork(void);
void stem_signals_start(void);
void stem_threads_start(void);
void stem_lock(uint64_t *saved_mask);
void stem_unlock(const uint64_t *saved_mask);
bool stem_armed(void);
extern int64_t stem_thread_offset; /* of stem_thread from the fs base */
extern uint32_t stem_vector_mask;

#endif
