#include "fault.h"

/* Each level hands its callee's error on, as recursive parsers do. */
int descend(int depth)
{
    volatile char page[2048];
    if (depth < 0)
        return -1;
    if (depth == 0) {
        ledger_write(3, "bottom");
        return 0;
    }
    page[fault_hide(5)] = (char)depth;
    int below = descend(fault_hide(depth));
    return below < 0 ? -1 : below + page[5];
}

int main(int argc, char **argv)
{
    return fault_run(argc, argv, descend);
}
