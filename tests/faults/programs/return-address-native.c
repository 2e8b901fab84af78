#define _GNU_SOURCE
#include "fault.h"

/* The overflow happens out of sight, inside a library function that is called through a pointer: found when this one returns. */
int scramble(int bad)
{
    char bytes[32] = {0};
    if (bad < 0)
        return -1;
    ledger_write(7, "scrambling");
    size_t whole = (size_t)((char *)__builtin_dwarf_cfa() - bytes);
    fault_hide (&memfrob)(fault_hide(&bytes[0]), fault_hide(bad ? whole : sizeof bytes));
    return bytes[5] & 1;
}

int main(int argc, char **argv)
{
    return fault_run(argc, argv, scramble);
}
