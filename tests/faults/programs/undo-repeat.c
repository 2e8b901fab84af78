#include "fault.h"

int one_try(int bad)
{
    if (bad < 0)
        return -1;
    ledger_write(1, "trying");
    int *place = fault_hide(bad ? (int *)NULL : &bad);
    return *place;
}
static int (*volatile try_call)(int) = one_try;

int try_often(int bad)
{
    for (int i = 0; bad && i < 500; i++)
        if (try_call(bad) != -1)
            return 1;
    return try_call(bad);
}

int main(int argc, char **argv)
{
    return fault_run(argc, argv, try_often);
}
