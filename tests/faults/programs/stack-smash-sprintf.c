#include "fault.h"

int describe(int bad)
{
    char line[32];
    if (bad < 0)
        return -1;
    ledger_write(7, "describing");
    sprintf(fault_hide(&line[0]), "name=%s;", fault_text(bad ? 60 : 12));
    return line[1] & 1;
}

int main(int argc, char **argv)
{
    return fault_run(argc, argv, describe);
}
