#include "fault.h"

int read_session(int bad)
{
    if (bad < 0)
        return -1;
    int *session = malloc(40);
    if (!session)
        return -1;
    session[3] = 1;
    int *stale = fault_hide(session);
    ledger_write(8, "session");
    if (bad)
        free(session);
    int value = stale[fault_hide(3)] & 1;
    if (!bad)
        free(session);
    return value;
}

int main(int argc, char **argv)
{
    return fault_run(argc, argv, read_session);
}
