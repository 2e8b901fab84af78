#include "fault.h"

/* Too short to reach the return address in most layouts: only the compiler's canary sees it. */
int pad_name(int bad)
{
    char name[64];
    if (bad < 0)
        return -1;
    ledger_write(7, "padding");
    char *out = fault_hide(&name[0]);
    for (size_t i = 0; i < fault_hide((size_t)(bad ? 73 : 64)); i++)
        out[i] = (char)(i ^ fault_hide(0x41));
    return (fault_hide(&name[0])[1] + name[7]) & 1;
}

int main(int argc, char **argv)
{
    return fault_run(argc, argv, pad_name);
}
