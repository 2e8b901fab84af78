#include "fault.h"

int append_item(int bad)
{
    if (bad < 0)
        return -1;
    long *items = malloc(4 * sizeof *items);
    if (!items)
        return -1;
    long *stale = fault_hide(items);
    ledger_write(6, "growing");
    items = realloc(items, 4096 * sizeof *items);
    if (!items)
        return -1;
    *(bad ? stale : items) = 1;
    free(items);
    return 0;
}

int main(int argc, char **argv)
{
    return fault_run(argc, argv, append_item);
}
