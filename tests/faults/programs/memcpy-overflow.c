#include "fault.h"

int copy_body(int bad)
{
    if (bad < 0)
        return -1;
    char *body = malloc(120);
    if (!body)
        return -1;
    ledger_write(6, "copying");
    memcpy(fault_hide(body), fault_text(500), fault_hide((size_t)(bad ? 121 : 120)));
    free(body);
    return 0;
}

int main(int argc, char **argv)
{
    return fault_run(argc, argv, copy_body);
}
