/* Objects that share a place of the frame with a named one and reach further, and programs that look at the whole stack. */
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct big {
    char text[77];
    short number;
};
struct padded {
    long first[5];
    char last;
};
#define NOINLINE __attribute__((noinline))

static NOINLINE struct big make(int c)
{
    struct big b;
    memset(&b, c, sizeof b);
    return b;
}

static NOINLINE int fill(char *p, int n)
{
    for (int i = 0; i < n; i++)
        p[i] = (char)i;
    return p[n - 1];
}

static NOINLINE int whole(struct padded *to, const struct padded *from)
{
    *to = *from;
    return to->last;
}

static NOINLINE int by_value(struct big b)
{
    return b.text[70] + b.number;
}

static NOINLINE char *label(char *room, int n)
{
    snprintf(room, 32, "%031d", n);
    return room;
}

/* A literal of an inner scope ends before the array is first mentioned. */
static NOINLINE int literal_first(int n)
{
    char room[29];
    if (n > 1)
        n += (int)strlen(label((char[32]){0}, n));
    fill(room, 29);
    return n + room[28];
}

static NOINLINE int literals(int n)
{
    int sum = 0;
    for (int i = 0; i < n; i++) {
        {
            char room[41];
            sum += fill(room, 41);
        }
        {
            sum += fill((char[80]){1}, 80);
        }
        {
            struct padded other;
            sum += whole(&other, &(struct padded){{1, 2, 3, 4, 5}, 6});
        }
        {
            char room[45];
            memset(room, i, sizeof room);
            sum += room[44];
        }
    }
    return sum;
}

static NOINLINE int results(int n)
{
    int sum = 0;
    if (n) {
        char room[33];
        sum += fill(room, 33);
    }
    make(n);
    sum += by_value(make(n)) + make(n).number;
    if (n > 2) {
        char room[37];
        sum += fill(room, 37);
        sum += make(n).text[76];
    }
    return sum;
}

static NOINLINE int rooms(int n)
{
    char kept[21];
    int sum = fill(kept, 21);
    for (int i = 1; i < n; i++) {
        char room[i * 3];
        long *words = __builtin_alloca(sizeof *words * (size_t)i);
        sum += fill(room, i * 3);
        for (int k = 0; k < i; k++)
            words[k] = k;
        for (long *w = words + i; w > words;)
            sum += (int)*--w;
    }
    return sum + kept[20];
}

static char *bottom;

/* As collectors do: from a variable of this frame to the first one. */
static NOINLINE uintptr_t scan(void)
{
    jmp_buf registers;
    setjmp(registers);
    uintptr_t sum = 0;
    for (uintptr_t *p = (uintptr_t *)&registers; (char *)p + sizeof *p <= bottom; p++)
        sum ^= *p;
    return sum;
}

static NOINLINE int copied(void)
{
    char room[43];
    uintptr_t here = 0;
    fill(room, 43);
    scan();
    return room[42] + (int)here;
}

static jmp_buf back;

static NOINLINE void leap(int n)
{
    char room[27];
    fill(room, 27);
    if (n)
        longjmp(back, n);
}

static NOINLINE int leaps(void)
{
    char room[31];
    volatile int count = 0;
    if (setjmp(back) < 5)
        leap(++count);
    return fill(room, 31) + count;
}

static NOINLINE int ends(void)
{
    char text[20], *end = text + sizeof text;
    int numbers[8], sum = 0, *after = numbers + 8;
    *--end = 0;
    for (char c = 'a'; end > text; c++)
        *--end = c;
    while (after != numbers)
        *--after = 1;
    for (int *n = numbers; n != numbers + 8; n++)
        sum += *n;
    return sum + (int)strlen(text);
}

int main(void)
{
    char first = 0;
    bottom = (char *)((uintptr_t)&first & ~7ul);
    int sum = 0;
    for (int i = 0; i < 6; i++)
        sum += literal_first(i) + literals(i) + results(i) + rooms(i) + copied() + leaps() + ends();
    printf("%d\n", sum);
    return 0;
}
