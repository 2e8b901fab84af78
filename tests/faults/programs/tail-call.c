#include "fault.h"

/* With optimisation it ends in a jump to memcmp: its frame is gone when memcmp runs, the fault is its own all the same. */
int compare_tail(int bad)
{
    if (bad < 0)
        return -1;
    static char *block;
    block = malloc(24);
    ledger_write(8, "comparing");
    memcpy(block, fault_text(24), 24);
    return memcmp(block, fault_text(100), fault_hide((size_t)(bad ? 30 : 24)));
}

int main(int argc, char **argv)
{
    return fault_run(argc, argv, compare_tail);
}
