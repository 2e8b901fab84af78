/* Writes one byte behind a heap block, in a function of its own file: a report must name this file, whichever of hundreds it
   is. As a program: argument `wait` reads a line first, `die` ends by SIGKILL. With -DPLUGIN only the function. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int spoil(int bad);
__attribute__((noinline)) int spoil(int bad)
{
    volatile unsigned char *block = malloc(24);
    int sum = 0;
    if (!block)
        return -1;
    for (int i = 0; i < 24 + (bad != 0); i++)
        block[i] = (unsigned char)i;
    for (int i = 0; i < 24; i++)
        sum += block[i];
    free((void *)block);
    return sum;
}

#ifndef PLUGIN
int main(int argc, char **argv)
{
    char line[16];
    const char *how = argc > 1 ? argv[1] : "";
    if (!strcmp(how, "wait") && !fgets(line, sizeof line, stdin))
        return 3;
    if (spoil(1) != 276)
        return 1;
    if (!strcmp(how, "die"))
        raise(SIGKILL);
    return 0;
}
#endif
