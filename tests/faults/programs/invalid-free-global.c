#include "fault.h"

static char default_name[32] __attribute__((aligned(16))) = "anonymous";

int drop_name(int bad)
{
    if (bad < 0)
        return -1;
    ledger_write(4, "dropping");
    char *name = fault_hide(bad ? default_name : (char *)malloc(32));
    free(name);
    return 0;
}

int main(int argc, char **argv)
{
    return fault_run(argc, argv, drop_name);
}
