/* Deterministic work of every form that the counting code treats in its own way. */
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define APART __attribute__((noinline, noclone))

static jmp_buf back;

APART unsigned mix(unsigned x)
{
    for (int i = 0; i < 7; i++)
        x = x * 1664525u + 1013904223u;
    return x;
}

APART int fibonacci(int n)
{
    return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2);
}

APART int chosen(int x)
{
    switch (x & 7) {
    case 0:
        return 3;
    case 1:
        return x * 2;
    case 2:
        return -1;
    case 3:
        return x ^ 5;
    case 4:
        return 9;
    case 5:
        return x + x;
    case 6:
        return 0;
    default:
        return (int)mix((unsigned)x);
    }
}

/* A computed goto through a table of addresses. */
APART unsigned interpreted(const unsigned char *code, unsigned x)
{
    static const void *const labels[] = {&&add, &&twice, &&flip, &&end};
    goto *labels[*code];
add:
    x += 3;
    goto *labels[*++code];
twice:
    x *= 2;
    goto *labels[*++code];
flip:
    x ^= 0x55aa;
    goto *labels[*++code];
end:
    return x;
}

APART unsigned plus(unsigned x)
{
    return x + 1;
}

APART unsigned times(unsigned x)
{
    return x * 3;
}

APART unsigned flipped(unsigned x)
{
    return x ^ 0x55;
}

static unsigned (*const table[])(unsigned) = {plus, times, flipped};

/* Jumps to another function at its end, always and sometimes. */
APART unsigned ends_in_jump(unsigned x)
{
    return mix(x + 1);
}

APART unsigned may_end_in_jump(unsigned x)
{
    if (x & 1)
        return mix(x);
    return x;
}

APART unsigned through_pointer(unsigned x)
{
    return table[x % 3](x);
}

/* A loop that leads back to the first instruction of the function. */
APART void count_down(volatile int *n)
{
    while (--*n > 0)
        ;
}

APART void clear(char *p, size_t bytes)
{
    __asm__ volatile("rep stosb" : "+D"(p), "+c"(bytes) : "a"(0) : "memory");
}

APART void copy(void *to, const void *from, size_t words)
{
    __asm__ volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(words) : : "memory");
}

APART int jumps_back(int n)
{
    volatile int kept = 0;
    if (setjmp(back) == 0) {
        kept = n;
        if (n & 1)
            longjmp(back, 1);
    }
    return kept;
}

APART unsigned carries(const unsigned char *p, int n)
{
    unsigned __int128 sum = 0;
    for (int i = 0; i < n; i++)
        sum = sum * 31 + p[i];
    return (unsigned)(sum >> 64) + (unsigned)sum;
}

APART int by_value(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

APART const char *found(int n)
{
    return n % 4 ? "something" : NULL;
}

APART void leave(int status)
{
    exit(status);
}

int main(void)
{
    static const unsigned char code[] = {0, 1, 2, 1, 0, 2, 2, 1, 3};
    unsigned sum = 0;
    char buffer[300];
    long from[20], to[20] = {0};
    int numbers[200];
    for (unsigned i = 0; i < 6000; i++) {
        sum += table[i % 3](sum) + (unsigned)chosen((int)i) + ends_in_jump(sum) + may_end_in_jump(i);
        sum += through_pointer(i / 500) + interpreted(code + i % 5, i);
    }
    for (int i = 0; i < 50; i++) {
        int n = i;
        clear(buffer, sizeof buffer - (size_t)i);
        memset(from, i, sizeof from);
        copy(to, from, (size_t)i % 20);
        count_down(&n);
        sum += (unsigned)(jumps_back(i) + (int)to[3] + (found(i) != NULL));
    }
    for (int i = 0; i < 200; i++)
        numbers[i] = (int)(mix((unsigned)i) % 1000);
    qsort(numbers, 200, sizeof *numbers, by_value);
    sum += carries((unsigned char *)numbers, sizeof numbers);
    printf("%u %d %d\n", sum, fibonacci(18), numbers[7]);
    leave(0);
}
