#include "fault.h"

int average(int bad)
{
    if (bad < 0)
        return -1;
    int items = fault_hide(bad ? 0 : 4);
    ledger_write(3, "average");
    return fault_hide(100) / items;
}

int main(int argc, char **argv)
{
    return fault_run(argc, argv, average);
}
