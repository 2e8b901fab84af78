/* The generator of random blocks: what it knows of the registers while it writes one.

   A block is a function of random instructions for the driver to call. It may read and write only mapped memory, must keep
   rsp, and nothing that it computes may depend on an address that differs from run to run. So the generator tracks which
   registers are good as addresses and how far around them memory reaches, which hold small indices, which must not be
   read as data, and which flags the manual leaves undefined. */
#ifndef FUZZ_H
#define FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, REGISTERS = 16 };

/* What the driver puts into a register before it calls a block; driver.c has the same list. */
enum fuzz_role {
    ROLE_ANY,
    ROLE_POINTER_A, /* FUZZ_REACH mapped bytes on either side */
    ROLE_POINTER_B,
    ROLE_POINTER_LOW, /* the same, below 2 GiB */
    ROLE_HEAP_END,    /* behind a heap block of FUZZ_HEAP bytes */
    ROLE_INDEX,       /* 0..15 */
    ROLE_NEGATIVE,    /* -16..-1 */
    ROLE_COUNT,       /* 0..20 */
    ROLE_FLAGS        /* arithmetic flags */
};

enum {
    FUZZ_REACH = 2000,
    FUZZ_HEAP = 1021,
    FUZZ_TABLE = 2048,
    FUZZ_LOCAL = 1024, /* bytes of a variable of the thread */
    FUZZ_COUNT = 20,
    FUZZ_INDEX_LANE = 63
};
enum { TEXT_BYTES = 1 << 16 };

struct fuzz_register {
    bool address;  /* memory at [value + low, value + high) may be accessed */
    bool opaque;   /* the value differs from run to run: a base of addresses, never data */
    bool below_2g; /* so is the address */
    bool index;    /* holds a value from smallest to largest */
    int low, high, smallest, largest;
};

struct fuzz_text {
    char bytes[TEXT_BYTES];
    size_t used;
};

struct fuzz_block {
    struct fuzz_register registers[REGISTERS];
    uint32_t protected; /* registers that must keep their value: loop counters, and all known ones inside a loop */
    uint32_t undefined; /* flags that the manual calls undefined, or that nobody set; ZYDIS_CPUFLAG_* */
    uint8_t roles[REGISTERS];
    bool wide; /* the processor has AVX-512 */
    bool looping;
    unsigned depth, number, labels;
    struct fuzz_text *text;               /* where lines go: one of the following */
    struct fuzz_text main, apart, helper; /* the function itself; its cold part; functions that it calls */
};

/* xorshift64*. Returns a number in [0, below). */
uint32_t fuzz_random(uint32_t below);
void fuzz_seed(uint64_t seed);

extern const char *const fuzz_names64[REGISTERS], *const fuzz_names32[REGISTERS];
/* May the register be overwritten? */
bool fuzz_writable(const struct fuzz_block *b, unsigned number);
/* A register that may be overwritten and is not the last address; -1: none. */
int fuzz_pick_data(const struct fuzz_block *b);
/* A register that holds an address which may be moved; -1: none. */
int fuzz_pick_pointer(const struct fuzz_block *b);
/* Nothing is known of its value from now on; it may be data. */
void fuzz_forget(struct fuzz_block *b, int number);

/* Adds one line of assembler text. */
void fuzz_line(struct fuzz_block *b, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Finds a random instruction that the block may hold at this point, adds it and notes its effects. */
void fuzz_instruction(struct fuzz_block *b);

/* Adds the string instruction at `bytes` if its operands are addresses now. `down`: the direction flag is set.
   Returns false when they are not. */
bool fuzz_string(struct fuzz_block *b, const uint8_t *bytes, size_t count, bool down);

/* Adds what random bytes do not make: state saved and restored whole, sixteen bytes exchanged, divisions, a question for its own
   address (special.c). */
void fuzz_special(struct fuzz_block *b);
/* Adds a string instruction, with or without a repeat prefix. */
void fuzz_repeated(struct fuzz_block *b);

/* Writes a block with its helpers and its entry in the driver's table to standard output. */
void fuzz_block(struct fuzz_block *b, uint64_t seed, unsigned number, bool wide);

enum { FLAGS_ARITHMETIC = 0x8d5 };

#endif
