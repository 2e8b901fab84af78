#include "fault.h"

static int *session;

/* Freed by its caller: undoing this function does not bring the block back. */
int update_session(int bad)
{
    if (bad < 0)
        return -1;
    ledger_write(8, "update");
    session[fault_hide(4)] = bad;
    return 0;
}

static int (*volatile update)(int) = update_session;

int update_closed(int bad)
{
    session = fault_hide((int *)malloc(56));
    if (!session)
        return -1;
    int *kept = session;
    if (bad)
        free(kept);
    int result = update(bad);
    if (!bad)
        free(kept);
    return result;
}

int main(int argc, char **argv)
{
    return fault_run(argc, argv, update_closed);
}
