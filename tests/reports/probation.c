/* Reads of whole words that go over the end of a block, whose last bytes are not used: harmless ones, `healthy`, and ones in
   a function that faults afterwards, `guilty`. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Length of an aligned text, a word at a time. */
__attribute__((noinline)) long measure(const char *text)
{
    const uint64_t *word = (const void *)text;
    while (!((*word - 0x0101010101010101) & ~*word & 0x8080808080808080))
        word++;
    const char *end = (const char *)word;
    while (*end)
        end++;
    return end - text;
}

__attribute__((noinline)) long use(const char *text)
{
    uint64_t word = *(const volatile uint64_t *)(text + 8);
    int *volatile nowhere = NULL;
    return *nowhere + (long)word;
}

int main(int argc, char **argv)
{
    int is_guilty = argc > 1 && !strcmp(argv[1], "guilty");
    long sum = 0;
    for (int i = 0; i < 10; i++) {
        char *text = malloc(13);
        memset(text, 'x', 12);
        text[12] = 0;
        sum += is_guilty ? use(text) : measure(text);
        free(text);
    }
    printf("%ld\n", sum);
    return 0;
}
