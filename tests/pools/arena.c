/* A pool allocator that nobody knows, in a library of its own; with -DPROGRAM a program that uses it.

   overflow  one byte behind a block
   native    the same behind a block that was handed out where nothing is supervised
   good      blocks of all sizes, cleared and dealt out anew, also by a function that is not declared */
#include <stddef.h>
#include <stdint.h>

struct arena {
    size_t used;
    char room[1 << 16];
};

struct arena *arena_open(void);
void *arena_take(const char *label, struct arena *arena, size_t bytes);
/* Like it, but not declared. */
void *arena_take_quietly(struct arena *arena, size_t bytes);
void arena_clear(struct arena *arena);
void arena_close(int how, struct arena *arena);

#ifndef PROGRAM
#include <stdlib.h>

struct arena *arena_open(void)
{
    return calloc(1, sizeof(struct arena));
}

void *arena_take_quietly(struct arena *arena, size_t bytes)
{
    size_t at = (arena->used + 15) & ~(size_t)15;
    if (bytes > sizeof arena->room - at)
        return NULL;
    arena->used = at + bytes;
    return arena->room + at;
}

void *arena_take(const char *label, struct arena *arena, size_t bytes)
{
    return *label ? arena_take_quietly(arena, bytes) : NULL;
}

void arena_clear(struct arena *arena)
{
    arena->used = 0;
}

void arena_close(int how, struct arena *arena)
{
    if (how)
        free(arena);
}
#else
#include <stdio.h>
#include <string.h>

__attribute__((noinline)) void store(volatile char *block, size_t at)
{
    block[at] = 1;
}

/* Supervised or not: the test chooses. */
__attribute__((noinline)) char *hand_out(struct arena *arena, size_t bytes)
{
    return arena_take("some", arena, bytes);
}

__attribute__((noinline)) void start_anew(struct arena *arena)
{
    arena_clear(arena);
}

static void good(struct arena *arena)
{
    for (unsigned round = 0; round < 300; round++) {
        for (size_t bytes = 0; bytes < 120; bytes++) {
            char *block = bytes % 3 ? hand_out(arena, bytes) : arena_take_quietly(arena, bytes + round);
            for (size_t i = 0; block && i < bytes; i++)
                store(block, i);
        }
        start_anew(arena);
    }
    puts("went on");
}

int main(int argc, char **argv)
{
    struct arena *arena = arena_open();
    if (argc < 2 || !arena)
        return 3;
    if (!strcmp(argv[1], "good")) {
        good(arena);
    } else {
        char *block = hand_out(arena, 50);
        hand_out(arena, 50);
        store(block, 50);
    }
    arena_close(1, arena);
    return 0;
}
#endif
