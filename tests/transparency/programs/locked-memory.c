/* Everything locked in memory, now and later. */
#define _GNU_SOURCE
#include "transparent.h"
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

int main(void)
{
    char *before = malloc(1 << 20);
    must(before != NULL);
    memset(before, 1, 1 << 20);
    if (geteuid() == 0) /* others may lock little */
        must(mlockall(MCL_CURRENT | MCL_FUTURE) == 0);
    char *after = malloc(1 << 20);
    must(after != NULL);
    memset(after, 2, 1 << 20);
    errno = 0;
    int refused = mlockall(0);
    printf("%d %d %d %d sum %llx\n", before[77], after[77], refused, errno, (unsigned long long)work(30));
    must(munlockall() == 0);
    char locked[4096];
    must(mlock(locked, sizeof locked) == 0 && munlock(locked, sizeof locked) == 0);
    free(before);
    free(after);
    return 0;
}
