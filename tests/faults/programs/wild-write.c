#include "fault.h"

static const char text_constant[16] = "read only";

/* A page that may only be read. */
int cut_link(int bad)
{
    if (bad < 0)
        return -1;
    char here = 1;
    char *link = fault_hide(bad ? (char *)(uintptr_t)text_constant : &here);
    ledger_write(3, "cutting");
    *link = 0;
    return here;
}

int main(int argc, char **argv)
{
    return fault_run(argc, argv, cut_link);
}
