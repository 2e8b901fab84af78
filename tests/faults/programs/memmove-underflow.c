#include "fault.h"

int shift_down(int bad)
{
    if (bad < 0)
        return -1;
    char *line = malloc(64);
    if (!line)
        return -1;
    memset(line, 'x', 64);
    ledger_write(6, "shifting");
    memmove(fault_hide(line) - fault_hide((size_t)(bad ? 8 : 0)), line + 8, 32);
    free(line);
    return 0;
}

int main(int argc, char **argv)
{
    return fault_run(argc, argv, shift_down);
}
