#include "fault.h"

int fold_name(int bad)
{
    char name[64];
    if (bad < 0)
        return -1;
    ledger_write(7, "folding");
    const char *text = fault_text(bad ? 300 : 30);
    char *out = fault_hide(&name[0]);
    for (; *text; text++)
        *out++ = (char)(*text & 0x5f);
    return (fault_hide(&name[0])[1] + name[7]) & 1;
}

int main(int argc, char **argv)
{
    return fault_run(argc, argv, fold_name);
}
