/* One program that does what its first argument says: the subject of tests/check/run. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

int overflow(char *block, int at);
int also_overflow(char *block, int at);
int dereference(const int *where);

/* An access that is wrong when `at` is the block's size; noipa so that the compiler cannot see that. */
#define KEEP __attribute__((noinline, used))
KEEP int overflow(char *block, int at)
{
    block[at] = 1;
    return 0;
}

KEEP int also_overflow(char *block, int at)
{
    block[at] = 2;
    return 0;
}

KEEP int dereference(const int *where)
{
    return *where + 1;
}

static volatile sig_atomic_t interrupts, terminated;

static void on_interrupt(int number)
{
    interrupts += number == SIGINT;
}

static void on_terminate(int number)
{
    terminated = number;
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    char *block = malloc(24);
    if (!strcmp(what, "overflow") || !strcmp(what, "both")) {
        for (int i = 0; i < 3; i++)
            printf("overflow returned %d\n", overflow(block, 24));
        if (!strcmp(what, "both"))
            printf("also returned %d\n", also_overflow(block, 25));
    } else if (!strcmp(what, "crash")) {
        printf("dereference returned %d\n", dereference(NULL));
    } else if (!strcmp(what, "child")) {
        fflush(stdout);
        if (fork() == 0)
            _exit(overflow(block, 24) ? 1 : 2);
        wait(NULL);
        overflow(block, 24);
    } else if (!strcmp(what, "interrupt")) {
        signal(SIGINT, on_interrupt);
        puts("ready");
        fflush(stdout);
        for (int i = 0; i < 200 && !interrupts; i++)
            usleep(50000);
        usleep(300000); /* a second one would come now */
        printf("interrupts %d\n", (int)interrupts);
    } else if (!strcmp(what, "terminate")) {
        signal(SIGTERM, on_terminate);
        puts("ready");
        fflush(stdout);
        for (int i = 0; i < 200 && !terminated; i++)
            usleep(50000);
        return 5;
    } else {
        return atoi(what);
    }
    free(block);
    return 0;
}
