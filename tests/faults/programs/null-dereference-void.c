#include "fault.h"

void clear_entry(int bad)
{
    if (bad < 0)
        return;
    long value = 1;
    long *place = fault_hide(bad ? NULL : &value);
    ledger_write(1, "clearing");
    place[2 - fault_hide(2)] = 0;
}

int main(int argc, char **argv)
{
    return fault_run_void(argc, argv, clear_entry);
}
