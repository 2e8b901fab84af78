#include "fault.h"

int join_path(int bad)
{
    if (bad < 0)
        return -1;
    char *path = malloc(50);
    if (!path)
        return -1;
    ledger_write(6, "joining");
    strcpy(fault_hide(path), "/srv/");
    strcat(fault_hide(path), fault_text(bad ? 90 : 40));
    free(path);
    return 0;
}

int main(int argc, char **argv)
{
    return fault_run(argc, argv, join_path);
}
