#include "fault.h"

/* Its caller asks again for as long as it fails, and it always fails: the way out is the caller's own error. */
int parse_one(int bad)
{
    int here = 1;
    int *at = fault_hide(bad ? (int *)NULL : &here);
    return bad < 0 ? -1 : *at;
}
static int (*volatile parse_one_call)(int) = parse_one;

int parse_all(int bad)
{
    int result;
    if (bad < 0)
        return -1;
    ledger_write(2, "parsing");
    do
        result = parse_one_call(bad);
    while (result < 0);
    return result;
}

int main(int argc, char **argv)
{
    return fault_run(argc, argv, parse_all);
}
