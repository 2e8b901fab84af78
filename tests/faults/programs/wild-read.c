#include "fault.h"

int follow_link(int bad)
{
    if (bad < 0)
        return -1;
    int here = 1;
    int *link = fault_hide(bad ? (int *)0x3bad00000000 : &here);
    ledger_write(3, "following");
    return *link;
}

int main(int argc, char **argv)
{
    return fault_run(argc, argv, follow_link);
}
