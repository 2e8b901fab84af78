/* rep movs, stos, scas, cmps, lods in every width and in both directions. */
#include "transparent.h"

static unsigned char from[256], to[256];

static NOINLINE void copy(void *out, const void *in, size_t count, int width)
{
    switch (width) {
    case 1:
        __asm__ volatile("rep movsb" : "+D"(out), "+S"(in), "+c"(count)::"memory");
        break;
    case 2:
        __asm__ volatile("rep movsw" : "+D"(out), "+S"(in), "+c"(count)::"memory");
        break;
    case 4:
        __asm__ volatile("rep movsl" : "+D"(out), "+S"(in), "+c"(count)::"memory");
        break;
    default:
        __asm__ volatile("rep movsq" : "+D"(out), "+S"(in), "+c"(count)::"memory");
    }
}

static NOINLINE void copy_down(void *out, const void *in, size_t count)
{
    __asm__ volatile("std; rep movsb; cld" : "+D"(out), "+S"(in), "+c"(count)::"memory", "cc");
}

static NOINLINE void fill(void *out, uint64_t value, size_t count)
{
    __asm__ volatile("rep stosq" : "+D"(out), "+c"(count) : "a"(value) : "memory");
    __asm__ volatile("stosb; stosl" : "+D"(out) : "a"(value) : "memory");
}

static NOINLINE size_t find(const void *in, int byte, size_t count)
{
    size_t left = count;
    __asm__ volatile("repne scasb" : "+D"(in), "+c"(left) : "a"(byte) : "cc", "memory");
    return count - left;
}

static NOINLINE size_t differ(const void *a, const void *b, size_t count)
{
    size_t left = count;
    __asm__ volatile("repe cmpsb" : "+D"(a), "+S"(b), "+c"(left)::"cc", "memory");
    return count - left;
}

static NOINLINE uint64_t load(const void *in)
{
    uint64_t sum, value;
    __asm__ volatile("lodsq; mov %%rax, %1; xor %%eax, %%eax; lodsb; add %%rax, %1"
                     : "+S"(in), "=&r"(sum), "=&a"(value)::"memory", "cc");
    return sum;
}

static uint64_t sum(void)
{
    uint64_t all = 0;
    for (int i = 0; i < 256; i++)
        all = work_mix(all, to[i]);
    return all;
}

int main(void)
{
    for (int i = 0; i < 256; i++)
        from[i] = (unsigned char)(i * 73 + 5);
    for (int width = 1; width <= 8; width *= 2) {
        copy(to + width, from + 3, 20, width);
        printf("%llx\n", (unsigned long long)sum());
    }
    copy(to, from, 0, 1);
    copy_down(to + 200, from + 150, 100);
    printf("%llx\n", (unsigned long long)sum());
    fill(to + 9, 0x1122334455667788, 11);
    printf("%llx %zu %zu %zu %llx\n", (unsigned long long)sum(), find(from, from[99], 200),
           find(from, 300, 20), differ(from, to, 256), (unsigned long long)load(from + 7));
    return 0;
}
