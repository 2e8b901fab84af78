#include "fault.h"

int previous_item(int bad)
{
    if (bad < 0)
        return -1;
    uint32_t *items = malloc(10 * sizeof *items);
    if (!items)
        return -1;
    memset(items, 0, 10 * sizeof *items);
    ledger_write(2, "looking back");
    int before = (int)(items[fault_hide((ptrdiff_t)(bad ? -1 : 0))] & 1);
    free(items);
    return before;
}

int main(int argc, char **argv)
{
    return fault_run(argc, argv, previous_item);
}
