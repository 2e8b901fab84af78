#include "fault.h"

/* An address in the largest mapping of the process: under supervision that is the supervisor's own. Without one as
   large an address where nothing lies. */
static int *find_large_mapping(void)
{
    uintptr_t from, to, start = 0x3bad00000000, largest = (uintptr_t)1 << 40;
    char line[512];
    FILE *maps = fopen("/proc/self/maps", "r");
    while (maps && fgets(line, sizeof line, maps))
        if (sscanf(line, "%lx-%lx", &from, &to) == 2 && to - from > largest) {
            largest = to - from;
            start = from + largest / 2;
        }
    if (maps)
        fclose(maps);
    return (int *)start;
}

int follow_stray(int bad)
{
    if (bad < 0)
        return -1;
    int here = 1;
    int *link = fault_hide(bad ? find_large_mapping() : &here);
    ledger_write(3, "following");
    return *link;
}

int main(int argc, char **argv)
{
    return fault_run(argc, argv, follow_stray);
}
