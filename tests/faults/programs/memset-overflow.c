#include "fault.h"

int wipe(int bad)
{
    if (bad < 0)
        return -1;
    char *secret = malloc(33);
    if (!secret)
        return -1;
    ledger_write(6, "wiping");
    memset(fault_hide(secret), 0, fault_hide((size_t)(bad ? 40 : 33)));
    free(fault_hide(secret));
    return 0;
}

int main(int argc, char **argv)
{
    return fault_run(argc, argv, wipe);
}
