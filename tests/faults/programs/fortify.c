#include "fault.h"

/* Built with _FORTIFY_SOURCE: the C library's own check finds it. */
int copy_fixed(int bad)
{
    char fixed[40];
    if (bad < 0)
        return -1;
    ledger_write(6, "copying");
    memcpy(fixed, fault_text(500), fault_hide((size_t)(bad ? 41 : 40)));
    return fault_hide(&fixed[0])[3] & 1;
}

int main(int argc, char **argv)
{
    return fault_run(argc, argv, copy_fixed);
}
