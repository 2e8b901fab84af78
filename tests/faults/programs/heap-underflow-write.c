#include "fault.h"

int push_front(int bad)
{
    if (bad < 0)
        return -1;
    uint64_t *items = malloc(6 * sizeof *items);
    if (!items)
        return -1;
    ledger_write(2, "pushing");
    fault_hide(items)[fault_hide((ptrdiff_t)(bad ? -1 : 0))] = 4;
    free(items);
    return 0;
}

int main(int argc, char **argv)
{
    return fault_run(argc, argv, push_front);
}
