/* errno belongs to the program: nothing but a failing call changes it. */
#include "transparent.h"
#include <errno.h>
#include <unistd.h>

static NOINLINE int quiet(char *buffer)
{
    for (int i = 1; i < 200; i++) {
        errno = i;
        char *block = malloc((size_t)i * 3);
        memset(block, i, (size_t)i * 3);
        memcpy(buffer, block, (size_t)i);
        free(block);
        block = calloc((size_t)i, 2);
        block = realloc(block, (size_t)i * 5);
        snprintf(buffer, 100, "%d %s", i, "text");
        free(block);
        work(1);
        if (errno != i)
            return i;
    }
    return 0;
}

int main(void)
{
    char buffer[300];
    printf("changed at %d\n", quiet(buffer));
    errno = 0;
    must(hide(malloc(hide((size_t)-1))) == NULL);
    printf("malloc %d\n", errno);
    errno = 0;
    must(hide(calloc(hide((size_t)1 << 40), (size_t)1 << 40)) == NULL);
    printf("calloc %d\n", errno);
    errno = 0;
    must(read(hide(999), buffer, 1) == -1);
    printf("read %d\n", errno);
    errno = 0;
    must(strtol("999999999999999999999999", NULL, 10) > 0);
    printf("strtol %d\n", errno);
    return 0;
}
