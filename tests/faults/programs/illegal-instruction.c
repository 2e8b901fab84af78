#include "fault.h"

int unreachable_case(int bad)
{
    if (bad < 0)
        return -1;
    ledger_write(3, "switching");
    if (fault_hide(bad))
        __asm__ volatile("ud2");
    return 0;
}

int main(int argc, char **argv)
{
    return fault_run(argc, argv, unreachable_case);
}
