#include "fault.h"

int keep_name(int bad)
{
    char name[64];
    if (bad < 0)
        return -1;
    ledger_write(7, "keeping");
    strcpy(fault_hide(&name[0]), fault_text(bad ? 400 : 20));
    return name[1] & 1;
}

int main(int argc, char **argv)
{
    return fault_run(argc, argv, keep_name);
}
