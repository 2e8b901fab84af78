/* Frames of every size filled to the last byte, also by callees, variable-length arrays and alloca, and
   longjmp out of them: memory that was a frame is used again by others. */
#include <alloca.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>

static jmp_buf out;

static __attribute__((noinline)) void fill(char *to, size_t bytes, int value)
{
    for (size_t i = 0; i < bytes; i++)
        to[i] = (char)(value + (int)i);
}

static __attribute__((noinline)) int leave(int depth)
{
    char frame[96];
    fill(frame, sizeof frame, depth);
    if (depth == 0)
        longjmp(out, 3);
    return leave(depth - 1) + frame[95];
}

static __attribute__((noinline)) int variable(size_t bytes)
{
    char array[bytes];
    char *more = alloca(bytes * 2);
    fill(array, bytes, 1);
    fill(more, bytes * 2, 2);
    memcpy(more, array, bytes);
    return array[bytes - 1] + more[bytes * 2 - 1];
}

static __attribute__((noinline)) long wide(void)
{
    long table[3000];
    memset(table, 1, sizeof table);
    fill((char *)table, sizeof table, 9);
    return table[2999] & 0xff;
}

int main(void)
{
    volatile long sum = 0;
    for (int i = 0; i < 300; i++) {
        if (setjmp(out) == 0)
            sum += leave(i % 40);
        sum += variable((size_t)i + 1);
        sum += wide();
    }
    printf("%ld\n", sum);
    return 0;
}
