#include "fault.h"

/* Eight bytes of which only the last two lie past the end. */
int store_total(int bad)
{
    if (bad < 0)
        return -1;
    char *record = malloc(22);
    if (!record)
        return -1;
    ledger_write(5, "total");
    *(uint64_t *)(fault_hide(record) + fault_hide((size_t)(bad ? 16 : 8))) = 77;
    free(record);
    return 0;
}

int main(int argc, char **argv)
{
    return fault_run(argc, argv, store_total);
}
