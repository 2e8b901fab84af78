/* Opens and closes plug-ins: `each FILE...` one after the other, calling a function that does wrong; `again N A B` the two in
   turn, N times, doing wrong only the last time. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int call(const char *path, int bad)
{
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    int (*spoil)(int) = NULL;
    if (handle)
        *(void **)&spoil = dlsym(handle, "spoil");
    int result = spoil ? spoil(bad) : -1;
    if (handle)
        dlclose(handle);
    return result;
}

int main(int argc, char **argv)
{
    long sum = 0;
    if (argc > 2 && !strcmp(argv[1], "each")) {
        for (int i = 2; i < argc; i++)
            sum += call(argv[i], 1);
    } else if (argc == 5) {
        int rounds = atoi(argv[2]);
        for (int i = 0; i < rounds; i++)
            sum += call(argv[3], i == rounds - 1) + call(argv[4], i == rounds - 1);
    }
    printf("%ld\n", sum);
    return 0;
}
