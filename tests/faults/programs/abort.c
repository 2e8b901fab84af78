#include "fault.h"

int must_be_even(int bad)
{
    if (bad < 0)
        return -1;
    ledger_write(3, "checking");
    if (fault_hide(bad) & 1)
        abort();
    return 0;
}

int main(int argc, char **argv)
{
    return fault_run(argc, argv, must_be_even);
}
