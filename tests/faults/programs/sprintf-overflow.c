#include "fault.h"

int format_line(int bad)
{
    if (bad < 0)
        return -1;
    char *line = malloc(40);
    if (!line)
        return -1;
    ledger_write(6, "formatting");
    sprintf(fault_hide(line), "%s %d", fault_text(bad ? 60 : 20), bad);
    free(line);
    return 0;
}

int main(int argc, char **argv)
{
    return fault_run(argc, argv, format_line);
}
