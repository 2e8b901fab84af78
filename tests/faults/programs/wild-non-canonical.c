#include "fault.h"

/* The processor gives no address for these: they must not pass for a null pointer. */
int untag(int bad)
{
    if (bad < 0)
        return -1;
    int here = 1;
    uintptr_t tag = bad ? (uintptr_t)0x5a5a << 48 : 0;
    int *tagged = (int *)((uintptr_t)fault_hide(&here) | fault_hide(tag));
    ledger_write(3, "untagging");
    return *tagged;
}

int main(int argc, char **argv)
{
    return fault_run(argc, argv, untag);
}
