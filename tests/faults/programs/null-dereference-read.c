#include "fault.h"

struct option {
    char name[24];
    int value;
};

int read_option(int bad)
{
    if (bad < 0)
        return -1;
    struct option option = {"depth", 3};
    struct option *found = fault_hide(bad ? NULL : &option);
    ledger_write(1, "option");
    return found->value;
}

int main(int argc, char **argv)
{
    return fault_run(argc, argv, read_option);
}
