#include "fault.h"

int copy_path(int bad)
{
    if (bad < 0)
        return -1;
    char *path = malloc(50);
    if (!path)
        return -1;
    ledger_write(6, "copying");
    strcpy(fault_hide(path), fault_text(bad ? 50 : 49));
    free(path);
    return 0;
}

int main(int argc, char **argv)
{
    return fault_run(argc, argv, copy_path);
}
