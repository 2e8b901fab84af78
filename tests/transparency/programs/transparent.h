/* What the transparency programs share: work worth supervising, and a checksum of it to print. */
#ifndef TRANSPARENT_H
#define TRANSPARENT_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOINLINE __attribute__((noinline))

/* The value itself, of which the compiler knows nothing. */
#define hide(value)                                                                                          \
    ({                                                                                                       \
        __typeof__(value) hidden_ = (value);                                                                 \
        __asm__ volatile("" : "+r"(hidden_));                                                                \
        hidden_;                                                                                             \
    })

/* Ends the program with status 1 and a line when a condition does not hold. */
#define must(condition)                                                                                      \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            printf("line %d: not %s\n", __LINE__, #condition);                                               \
            fflush(stdout);                                                                                  \
            _Exit(1);                                                                                        \
        }                                                                                                    \
    } while (0)

/* Loads, stores, branches and calls: a table that is filled, sorted by insertion and summed. */
static NOINLINE uint64_t work_mix(uint64_t a, uint64_t b)
{
    a ^= b + 0x9e3779b97f4a7c15u + (a << 6) + (a >> 2);
    return a * 0x2545f4914f6cdd1du;
}

static NOINLINE uint64_t work(unsigned rounds)
{
    uint32_t table[64];
    uint64_t sum = rounds;
    for (unsigned round = 0; round < rounds; round++) {
        for (unsigned i = 0; i < 64; i++)
            table[i] = (uint32_t)work_mix(round, i) % 1000;
        for (unsigned i = 1; i < 64; i++)
            for (unsigned k = i; k > 0 && table[k - 1] > table[k]; k--) {
                uint32_t swap = table[k];
                table[k] = table[k - 1];
                table[k - 1] = swap;
            }
        for (unsigned i = 0; i < 64; i++)
            sum = work_mix(sum, table[i]);
    }
    return sum;
}

#endif
