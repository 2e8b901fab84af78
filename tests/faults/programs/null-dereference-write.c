#include "fault.h"

int set_option(int bad)
{
    if (bad < 0)
        return -1;
    int value = 1;
    int *place = fault_hide(bad ? NULL : &value);
    ledger_write(1, "option");
    *place = 0;
    return value;
}

int main(int argc, char **argv)
{
    return fault_run(argc, argv, set_option);
}
