#include "fault.h"

static int hook(void)
{
    return 0;
}

int run_hook(int bad)
{
    if (bad < 0)
        return -1;
    int (*call)(void) = fault_hide(bad ? (int (*)(void))NULL : hook);
    ledger_write(1, "calling");
    int result = call();
    ledger_write(2, "called");
    return result;
}

int main(int argc, char **argv)
{
    return fault_run(argc, argv, run_hook);
}
