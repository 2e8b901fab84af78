/* stem: the selective transactional emulator, libtestudo-stem.so, injected into the application.

   A function of the application that is supervised runs from a code cache: its own instructions, copied, with memory
   accesses checked against shadow memory and stores logged so that a fault undoes them. Registers and stack
   are native at every application instruction, so that control passes between cache and native code freely.

   Rules of this place (checked by tools/symbols and by review):
   * no libc call, no stdio, no host heap: system calls through sys.h, memory through stem_pages_*; the imports are
     the decoder, errno's address and the loader's list of objects;
   * general registers only (-mgeneral-regs-only): a stub need not save vector state before it calls C;
   * anything may run in a signal handler, on any thread, after fork, with any credentials;
   * a broken invariant disarms (stem_disarm): the program goes on natively, with a counter.

   One library, one process: there is no public interface but the exported symbols (stem.map) and the control
   page (wire/control.h). This header is what the folder's files and its tests share. */
#ifndef STEM_STEM_H
#define STEM_STEM_H

#include "core/core.h"
#include "wire/wire.h"

#include <string.h> /* declarations; pages.c has the functions */

/* Freestanding, the compiler would call these even for four bytes. */
#ifndef STEM_DEFINES_MEMORY_FUNCTIONS
#define memcpy(to, from, bytes)  __builtin_memcpy(to, from, bytes)
#define memset(to, value, bytes) __builtin_memset(to, value, bytes)
#define memcmp(a, b, bytes)      __builtin_memcmp(a, b, bytes)
#endif

/* ---- memory and kernel (pages.c, sys.h) ---------------------------------------------------------------- */

/* An address, used only as a hint, where a mapping of ours of this size does not get in the application's way. What is mapped
   there counts as ours (limits.c). */
uintptr_t stem_pages_place(size_t bytes);
/* The same for what does not count. */
uintptr_t stem_pages_room(size_t bytes);
/* Fresh zeroed pages, never returned to libc. Returns NULL when the kernel refuses. `bytes` is rounded up. */
void *stem_pages_map(size_t bytes);
void stem_pages_unmap(void *pages, size_t bytes);
/* The same for what holds nothing between two translations; and gives the memory of all of it back, the pages stay mapped. Lock held. */
void *stem_pages_scratch(size_t bytes);
void stem_pages_drop_scratch(void);
/* A number that is another one in a forked child, however it was forked, and the same in whoever shares our memory: a lock
   that names another generation was held by a thread that is not here. Without a system call: filters may forbid gettid. */
uint32_t stem_pages_generation(void);
/* Bump arena for records that live as long as the process (tables, site maps). 16-byte aligned, zeroed. Not
   signal-safe: callers hold the translator lock or run before main. Returns NULL when out of memory. */
void *stem_arena(size_t bytes);

/* ---- limits on address space (limits.c) --------------------------------------------------------------- */

/* Tells that so much more of the address space, or less, is ours: the program's limits do not count it. */
void stem_limits_ours(int64_t bytes);
/* The heap is about to hand out so much more of what it has reserved. Returns false when a limit of the program's forbids it. */
bool stem_limits_heap(uint64_t bytes);
/* First of all, before anything is mapped: a limit that an earlier program of this process set for itself holds on. */
void stem_limits_start(void);

/* ---- per-thread state (thread.c) ------------------------------------------------------------------------ */

enum { STEM_SLOTS = 8, STEM_LENT = 4 };

/* The latest abort on a thread, to tell when it did not help (rescue.c). All-zero: none. */
struct stem_rescued {
    uint64_t slot, caller_slot; /* places of the return addresses of the aborted activation and its caller */
    uint64_t position;          /* of its mark in the undo ring */
    uint32_t function;          /* page index + 1 */
    uint32_t again;
};

/* Lives in initial-exec TLS, reached by generated code as fs:[offset]. All-zero but for `ring` is a valid state, that of
   a thread nobody has prepared. */
struct stem_thread {
    uint64_t slot[STEM_SLOTS]; /* generated code: spilled registers, saved by the signal wrapper */
    uint64_t ring;             /* generated code: next free entry of the undo ring */
    uint64_t ring_base; /* 0: thread not prepared; `ring` then points into a scratch ring nobody reads */
    uint64_t copies;    /* next free byte of the block-copy arena beside the ring (undo.c) */
    uint64_t stack_low, stack_high; /* bounds of the thread's stack as far as known, else 0 */
    void *heap;                     /* heap.c: per-thread cache */
    uint32_t in_runtime;            /* > 0: inside our own C code; faults here are ours */
    uint32_t tid;
    uint32_t
        crash_reported; /* a fault of this thread was reported as fatal: the signal that follows is not reported again */
    uint32_t
        tail_site; /* generated code: number + 1 of the site of the latest tail jump to a checked library function */
    uint64_t call;       /* struct stem_call * of the checked library call in progress, or 0 */
    uint64_t counts;     /* generated code: the thread's area of counters, from the gs base */
    uint64_t sampled_ns; /* CPU time of the thread at its last sample */
    struct stem_rescued rescued;
    uint64_t
        probation_slot; /* of the activation in which a read was let go last (probation.c), and its site's number + 1 */
    uint32_t probation_site;
    uint64_t lent
        [STEM_LENT]; /* generated code: values of registers on loan (loans.c), saved by the signal wrapper */
};
extern _Thread_local struct stem_thread stem_thread __attribute__((tls_model("initial-exec")));

/* ---- shadow memory (shadow.c) ------------------------------------------------------------------------------ */

/* One byte for 8 bytes of address space: 0 addressable, 1..7 only the first k bytes, >= 0x80 poisoned. */
enum stem_poison {
    STEM_POISON_REDZONE = 0xfa, /* beside a heap block */
    /* the first granule of it behind a block handed out before the redzones were turned on, by whichever function */
    STEM_POISON_REDZONE_UNSURE = 0xf9,
    /* the first granule of it behind a block that came from operator new, or new[] (operators.c) */
    STEM_POISON_REDZONE_NEW = 0xfb,
    STEM_POISON_REDZONE_ARRAY = 0xfc,
    STEM_POISON_FREED = 0xfd,  /* freed heap block in quarantine */
    STEM_POISON_POOL = 0xf8,   /* behind a block of a memory pool */
    STEM_POISON_GLOBAL = 0xf7, /* padding between global variables */
    STEM_POISON_GAP = 0xf3,    /* behind a local variable of a live activation (gaps.c) */
    STEM_POISON_FRAME =
        0xf5, /* saved registers of a live activation; its return address: 0x80..0xbf (guard.c) */
};
static inline bool stem_poison_is_frame(uint8_t state)
{
    return state == STEM_POISON_FRAME || state >> 6 == 2;
}
extern uint8_t *stem_shadow_base; /* NULL: no shadow, nothing is poisoned or checked */

/* Our tables and shadow memory: 0 bytes while there is no shadow. No address in there is the program's, and the shadow of this
   range cannot be read: a wild access that lands in it faults at its check (signals.c), C code asks first. */
enum { STEM_TABLES_BYTES = 1 << 30 };
extern uintptr_t stem_shadow_own, stem_shadow_own_bytes;
static inline bool stem_shadow_is_own(uintptr_t address)
{
    return address - stem_shadow_own < stem_shadow_own_bytes;
}

/* Marks [address, address + bytes) addressable: whole granules 0, a last partial one 1..7. address 8-aligned. */
void stem_shadow_open(uintptr_t address, size_t bytes);
/* Poisons the granules of [address, address + bytes), both 8-aligned. */
void stem_shadow_close(uintptr_t address, size_t bytes, enum stem_poison poison);
/* First bad byte of [address, address + bytes), or 0 when all are addressable. Exact; bytes may be 0; a range
   that wraps or leaves user space is bad at `address`. Signal-safe. */
uintptr_t stem_shadow_find_bad(uintptr_t address, size_t bytes);

/* ---- heap (heap.c) ------------------------------------------------------------------------------------------- */

enum stem_heap_state { STEM_HEAP_NONE, STEM_HEAP_LIVE, STEM_HEAP_FREED };
struct stem_heap_block {
    enum stem_heap_state state;
    uintptr_t start;
    size_t bytes; /* as requested */
    /* application code addresses (return addresses), innermost first; counts are 0 when not recorded */
    uint32_t alloc_frames, free_frames;
    uintptr_t alloc_stack[WIRE_HEAP_FRAMES_MAX], free_stack[WIRE_HEAP_FRAMES_MAX];
};
/* Before any allocation that matters; cheap, idempotent: the first malloc of the process may come before us. */
void stem_heap_start(void);
/* Turns redzone poisoning on: blocks handed out from now on, and those already live. */
void stem_heap_arm(void);
/* The block that an address lies in or, in a redzone or quarantined memory, next to. Never faults, whatever the address.
   Returns whether one was found. Signal-safe. */
bool stem_heap_describe(struct stem_heap_block *block, uintptr_t address);
/* Undo of a malloc: frees a block that an aborted activation allocated. Undo of a free: takes a block back out of
   quarantine. Returns whether it could be done. */
bool stem_heap_undo_malloc(uintptr_t start);
bool stem_heap_undo_free(uintptr_t start);
/* Around fork: the calling thread holds the heap's locks meanwhile, so that the child finds it whole. In the parent
   afterwards stem_heap_fork_done, in the child stem_heap_after_fork, also when nothing was called before the fork:
   locks that other threads held are then free again. */
void stem_heap_before_fork(void);
void stem_heap_fork_done(void);
void stem_heap_after_fork(void);
/* What a bad access at this address is: by its shadow byte and the block nearest to it. CORE_FAULT_WILD_ACCESS when
   neither knows. Signal-safe. */
enum core_fault_kind stem_fault_classify(uintptr_t bad);

/* ---- pools (pools.c) ---------------------------------------------------------------------------------------------- */

/* Poisons a tail of STEM_POOL_TAIL bytes behind a block that the call cuts from larger memory, and seals it with the block's
   place, so that a report can describe it. The memory of the tail, from the next multiple of 8, must be free. */
enum { STEM_POOL_TAIL = 24 };
struct stem_call;
void stem_pool_seal(const struct stem_call *call, uintptr_t start, size_t bytes);

/* ---- undo (undo.c) ---------------------------------------------------------------------------------------------- */

/* Logs the present contents of a range that C code of ours, or a library function called from supervised code, is
   about to write. Does nothing when the mode has no undo. */
void stem_undo_log(uintptr_t address, size_t bytes);
/* Logs a compensation, run when the activation is undone: newest first, among the stores. */
enum stem_compensation {
    STEM_COMPENSATE_MALLOC = 1, /* argument: block allocated */
    STEM_COMPENSATE_FREE = 2,   /* argument: block freed */
    STEM_COMPENSATE_LOCK = 3,   /* argument: pthread_mutex_t * taken */
    STEM_COMPENSATE_OPEN = 4,   /* argument: descriptor opened */
    STEM_COMPENSATE_EFFECT = 5, /* nothing can be done: WIRE_NOT_UNDONE_SYSCALL is reported */
    STEM_COMPENSATE_POOL = 7,   /* argument: tail behind a block that a pool handed out */
    STEM_COMPENSATE_NATIVE =
        8, /* code of the program's own went on natively: WIRE_NOT_UNDONE_NATIVE is reported */
    STEM_COMPENSATE_LARGE = 6, /* a range too large for the log: WIRE_NOT_UNDONE_LARGE is reported */
};
void stem_undo_compensate(enum stem_compensation what, uintptr_t argument);

/* ---- library calls made by supervised code (intrinsics.c, intrinsic_entry.S) ------------------------------------- */

/* Laid out by the entry thunk on the stack: what the caller passed, and what an abort needs. The word at
   `return_pc` is the caller's return address (a cache address) at its place on the stack. */
struct stem_call {
    uint64_t arg[6]; /* rdi rsi rdx rcx r8 r9 */
    uint64_t rax;    /* al: vector registers used by a variadic call */
    uint64_t rbx, rbp, r12, r13, r14, r15;
    uint64_t index;      /* into the intrinsics table */
    uint64_t vector[16]; /* xmm0..7, variadic functions only */
    uint64_t target;     /* the real library function */
    uint64_t return_pc;
    uint64_t stack_args[];
};

/* What the translator emits for a call whose target is the named dynamic symbol. */
enum stem_callee {
    STEM_CALLEE_PLAIN,   /* call it as it is */
    STEM_CALLEE_CHECKED, /* call `*thunk` instead, same arguments and result */
    STEM_CALLEE_ESCAPE, /* call it with the application's return address: it returns into native code (setjmp, vfork,
                           dlsym and others that look at, or keep, their return address) */
};
enum stem_callee stem_intrinsic_find(core_cache_pc *thunk, const char *symbol);
/* The thunk of a checked function that takes no short cut: calls are checked against the bounds of variables, too. */
void stem_intrinsic_long_way(core_cache_pc *thunk, const char *symbol);

/* ---- loaded objects (elf.c) ---------------------------------------------------------------------------------------- */

/* Address of a function exported by the C library that is loaded in this process (default version; an IFUNC is resolved),
   found through the link map without dlsym. Returns NULL when there is none. Not for signal handlers. */
void *stem_libc_symbol(const char *name);
/* Address of the function that a dynamic symbol is bound to: the first definition in the loader's order, or 0. */
uintptr_t stem_elf_find(const char *name);
/* The same in another library, by a pattern of its file name. */
void *stem_library_symbol(const char *pattern, const char *name);
/* What a global reference to `name` is bound to, when that is the C library's function or ours in its place; NULL when an
   object before them in the search order defines it, or none does. Not for signal handlers. */
void *stem_elf_bound(const char *name);
/* Whether an address lies in a segment (code, constants, variables) of an object loaded from a file. */
bool stem_elf_is_static(uintptr_t address);

/* ---- faults (fault.c) ------------------------------------------------------------------------------------------------ */

/* A checked library call found a bad range. Returns when the policy is to go on (report); otherwise the activation is
   aborted or the process ended, and it does not return. */
void stem_fault_call(struct stem_call *call, enum core_fault_kind kind, bool is_write, uintptr_t bad,
                     size_t bytes, const char *function);
/* The first bad byte of a range that counts, `bad` being the first that shadow memory names; or 0. */
uintptr_t stem_fault_settle(const struct stem_call *call, uintptr_t address, size_t bytes, uintptr_t bad);
/* The same for abort, __assert_fail, __stack_chk_fail, __fortify_fail: never returns to a caller that cannot go on. */
void stem_fault_fatal(struct stem_call *call, enum core_fault_kind kind, const char *function);
/* free or realloc of a bad pointer: DOUBLE_FREE or INVALID_FREE. `return_pc` and `frame` of the exported
   function (its return address and the address of that slot). Returns when the policy is to go on: the free is ignored. */
void stem_fault_free(enum core_fault_kind kind, uintptr_t pointer, uintptr_t return_pc, uintptr_t frame);

/* Application code addresses of the callers, innermost first, by call-frame information; cache addresses mapped back.
   `pc` and `sp` are a return address and the stack pointer after that return; rbp by value. Returns the count. */
unsigned stem_backtrace(uintptr_t *frames, unsigned room, uintptr_t pc, uintptr_t sp, uintptr_t rbp);

/* ---- whole runtime (start.c) -------------------------------------------------------------------------------------------- */

extern struct wire_control
    *stem_control; /* never NULL after start: a private page when there is no supervisor */
void stem_count(enum core_counter counter, uint64_t n);
/* A broken invariant of ours: from now on everything runs natively. `why` goes out once, as one line. */
void stem_disarm(const char *why);
/* The program has forbidden itself system calls that we would like to use (confine.c). */
extern bool stem_confined;
/* A filter of its own forbids it to ask for its process id. */
extern bool stem_pid_forbidden;

#endif
