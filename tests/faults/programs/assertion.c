#include "fault.h"
#include <assert.h>

int must_be_zero(int bad)
{
    if (bad < 0)
        return -1;
    ledger_write(3, "asserting");
    assert(fault_hide(bad) == 0);
    return 0;
}

int main(int argc, char **argv)
{
    return fault_run(argc, argv, must_be_zero);
}
