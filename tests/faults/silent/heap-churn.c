/* Random growing, shrinking, freeing and aligned allocation; contents are checked at every step. */
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SLOTS = 256, STEPS = 40000 };

static struct {
    unsigned char *block;
    size_t bytes;
    unsigned char mark;
} slots[SLOTS];

static uint64_t seed = 88172645463325252u;

static uint64_t next(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

static size_t size(void)
{
    return next() % 64 ? next() % 500 : next() % 300000;
}

static void fill(int i, unsigned char *block, size_t bytes)
{
    slots[i].block = block;
    slots[i].bytes = bytes;
    slots[i].mark = (unsigned char)next();
    memset(block, slots[i].mark, bytes);
}

static void check(int i)
{
    for (size_t k = 0; k < slots[i].bytes; k++)
        if (slots[i].block[k] != slots[i].mark) {
            printf("slot %d byte %zu changed\n", i, k);
            exit(1);
        }
}

int main(void)
{
    for (int step = 0; step < STEPS; step++) {
        int i = (int)(next() % SLOTS);
        check(i);
        size_t bytes = size(), kept = slots[i].bytes < bytes ? slots[i].bytes : bytes;
        void *block;
        switch (next() % 6) {
        case 0:
            free(slots[i].block);
            fill(i, calloc(1, bytes + 1), bytes + 1);
            break;
        case 1:
            block = realloc(slots[i].block, bytes + 1);
            for (size_t k = 0; k < kept; k++)
                if (((unsigned char *)block)[k] != slots[i].mark)
                    return 1;
            fill(i, block, bytes + 1);
            break;
        case 2:
            free(slots[i].block);
            if (posix_memalign(&block, (size_t)16 << next() % 9, bytes + 1) != 0)
                return 1;
            fill(i, block, bytes + 1);
            break;
        case 3:
            free(slots[i].block);
            block = aligned_alloc(64, (bytes | 63) + 1);
            if ((uintptr_t)block % 64)
                return 1;
            fill(i, block, (bytes | 63) + 1);
            break;
        case 4:
            free(slots[i].block);
            slots[i].block = NULL;
            slots[i].bytes = 0;
            break;
        default:
            free(slots[i].block);
            fill(i, malloc(bytes + 1), bytes + 1);
        }
    }
    for (int i = 0; i < SLOTS; i++) {
        check(i);
        free(slots[i].block);
    }
    puts("ok");
    return 0;
}
