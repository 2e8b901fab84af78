/* The end of a process: constructors, atexit, on_exit, destructors, what stdio still holds, the status. */
#define _GNU_SOURCE
#include "transparent.h"
#include <unistd.h>

__attribute__((constructor(200))) static void early(void)
{
    printf("early %llx\n", (unsigned long long)work(1));
}
__attribute__((constructor)) static void late(void)
{
    puts("late");
}
__attribute__((destructor)) static void last(void)
{
    printf("last %llx\n", (unsigned long long)work(2));
}

static void at_exit(void)
{
    printf("at exit %llx\n", (unsigned long long)work(3));
}
static void at_exit_too(void)
{
    puts("at exit too");
    atexit(at_exit);
}
static void on_exiting(int status, void *argument)
{
    printf("on exit %d %s\n", status, (char *)argument);
}

int main(void)
{
    atexit(at_exit);
    atexit(at_exit_too);
    on_exit(on_exiting, "argument");
    fputs("held back by stdio\n", stdout);
    fputs("said at once\n", stderr);
    exit(77);
}
