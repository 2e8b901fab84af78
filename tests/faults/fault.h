/* What the planted-fault programs share.

   A program holds one faulty function with one planted fault. `bad` tells it what to do: 1 commit the fault,
   0 the same work done right, below 0 its own error return (so that its error value can be read off its
   code). Before the fault it writes to the ledger, which stands three times: in a global, on the heap and in
   a frame of its caller. A fault that is healed must leave all three byte for byte as they were at the
   function's entry.

   Sizes, indices and pointers that make the fault pass through fault_hide, so that no compiler can see it
   coming. */
#ifndef FAULT_H
#define FAULT_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct ledger {
    uint64_t count[6];
    uint32_t narrow;
    uint16_t narrower;
    uint8_t narrowest;
    char note[41];
    double rate;
};

extern struct ledger ledger_global;
extern struct ledger *ledger_heap;
extern struct ledger *ledger_frame;

/* Writes all three, with stores of every width and with a copy of `note`. */
void ledger_write(unsigned amount, const char *note);

/* The value itself, of which the compiler knows nothing. */
#define fault_hide(value)                                                                                    \
    ({                                                                                                       \
        __typeof__(value) hidden_ = (value);                                                                 \
        __asm__ volatile("" : "+r"(hidden_));                                                                \
        hidden_;                                                                                             \
    })

/* A NUL-terminated text of `length` letters in memory of its own. */
const char *fault_text(size_t length);

/* Runs the faulty function and says what became of it on standard output: "survived" when it returned its
   error value, "state restored" or where it differs, then "went on" once the same function has done its work
   right. With the program argument "good" only the last. Returns the program's exit status: 0, or 1 when any
   of it was missing. */
int fault_run(int argc, char **argv, int (*faulty)(int bad));
int fault_run_pointer(int argc, char **argv, void *(*faulty)(int bad));
int fault_run_void(int argc, char **argv, void (*faulty)(int bad));

#endif
