#include "fault.h"

static char *buffer;

int drop_buffer(int bad)
{
    if (bad < 0)
        return -1;
    ledger_write(4, "dropping");
    free(buffer);
    return 0;
}

static int (*volatile drop)(int) = drop_buffer;

int drop_twice(int bad)
{
    buffer = fault_hide((char *)malloc(64));
    if (bad)
        free(buffer);
    return drop(bad);
}

int main(int argc, char **argv)
{
    return fault_run(argc, argv, drop_twice);
}
