#include "fault.h"

int mark_record(int bad)
{
    if (bad < 0)
        return -1;
    char *record = malloc(30);
    if (!record)
        return -1;
    ledger_write(5, "marking");
    fault_hide(record)[fault_hide((size_t)(bad ? 30 : 29))] = 1;
    free(record);
    return 0;
}

int main(int argc, char **argv)
{
    return fault_run(argc, argv, mark_record);
}
