/* The program that test_member supervises: a few functions to be listed, named and blamed. The runtime's part
   is played by fake_stem.c, which is preloaded into it. */
#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int victim_integer(volatile int *where);
char *victim_pointer(char *text);
void caller(volatile int *where);

__attribute__((noinline)) int victim_integer(volatile int *where)
{
    *where = 1;
    return 0;
}

__attribute__((noinline)) char *victim_pointer(char *text)
{
    return text ? text + strlen(text) : NULL;
}

__attribute__((noinline)) void caller(volatile int *where)
{
    victim_integer(where);
    where[0] = 2; /* the call above is no tail call */
}

int main(int argc, char **argv)
{
    if (argc > 1 && !strcmp(argv[1], "crash"))
        caller(NULL);
    if (argc > 1 && !strcmp(argv[1], "wild")) {
        void (*volatile nowhere)(void) = (void (*)(void))8;
        nowhere();
    }
    if (argc > 1 && !strcmp(argv[1], "assert"))
        assert(argc == 1);
    if (argc > 1 && !strcmp(argv[1], "wait"))
        for (int i = 0; i < 100; i++)
            usleep(100000);
    return argc > 1 ? atoi(argv[1]) : (int)(victim_pointer(argv[0]) == NULL);
}
