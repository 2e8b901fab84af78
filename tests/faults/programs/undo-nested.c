#include "fault.h"

/* Undone at the innermost level only: what its callers wrote before and after the call stands. */
static int inner_writes, middle_writes, outer_writes;

int inner(int bad)
{
    if (bad < 0)
        return -1;
    inner_writes += 100;
    ledger_write(1, "inner");
    return 10 / fault_hide(bad ? 0 : 20);
}
static int (*volatile inner_call)(int) = inner;

int middle(int bad)
{
    middle_writes++;
    int result = inner_call(bad);
    middle_writes++;
    return result;
}
static int (*volatile middle_call)(int) = middle;

int outer_step(int bad)
{
    inner_writes = middle_writes = outer_writes = 0;
    outer_writes++;
    int result = middle_call(bad);
    outer_writes++;
    if (middle_writes != 2 || outer_writes != 2 || inner_writes != (bad ? 0 : 100))
        return 1;
    return result;
}

int main(int argc, char **argv)
{
    return fault_run(argc, argv, outer_step);
}
