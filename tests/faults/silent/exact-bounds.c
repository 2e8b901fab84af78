/* Blocks of every small size, written and read to their last byte and to their usable size. */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(void)
{
    unsigned long sum = 0;
    for (size_t bytes = 1; bytes < 600; bytes++) {
        unsigned char *block = malloc(bytes);
        if (!block)
            return 1;
        for (size_t i = 0; i < bytes; i++)
            block[i] = (unsigned char)(i ^ bytes);
        for (size_t i = bytes; i-- > 0;)
            sum = sum * 31 + block[i];
        memset(block, 1, malloc_usable_size(block));
        free(block);
    }
    printf("%lu\n", sum);
    return 0;
}
