#include "fault.h"

int scale(int bad)
{
    if (bad < 0)
        return -1;
    long by = fault_hide(-1L);
    ledger_write(3, "scaling");
    return (int)(fault_hide(bad ? INT64_MIN : -4L) / by);
}

int main(int argc, char **argv)
{
    return fault_run(argc, argv, scale);
}
