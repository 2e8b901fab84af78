/* Writes random blocks as assembler text for the driver.

   usage: generate SEED FIRST COUNT [narrow]   blocks FIRST to FIRST + COUNT - 1 of a seed; narrow: no AVX-512 */
#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct fuzz_block block;

int main(int argc, char **argv)
{
    if (argc < 4 || argc > 5) {
        fprintf(stderr, "usage: generate SEED FIRST COUNT [narrow]\n");
        return 2;
    }
    uint64_t seed = strtoull(argv[1], NULL, 0);
    unsigned first = (unsigned)strtoul(argv[2], NULL, 0), count = (unsigned)strtoul(argv[3], NULL, 0);
    bool wide = argc == 4;
    puts(".intel_syntax noprefix\n.text");
    for (unsigned i = first; i < first + count; i++)
        fuzz_block(&block, seed, i, wide);
    puts(".section .note.GNU-stack, \"\", @progbits");
    return 0;
}
