#include "fault.h"

int drop_line(int bad)
{
    if (bad < 0)
        return -1;
    char *line = malloc(80);
    if (!line)
        return -1;
    ledger_write(4, "skipping blanks");
    free(fault_hide(line) + (bad ? 16 : 0));
    return 0;
}

int main(int argc, char **argv)
{
    return fault_run(argc, argv, drop_line);
}
