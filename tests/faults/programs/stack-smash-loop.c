#include "fault.h"

int fold_name(int bad)
{
    char name[64];
    if (bad < 0)
        return -1;
    ledger_write(7, "folding");
    /* In registers: without optimisation they would lie behind the array and be overwritten first. */
    register const char *text = fault_text(bad ? 300 : 30);
    register char *out = fault_hide(&name[0]);
    for (; *text; text++)
        *out++ = (char)(*text & 0x5f);
    return (fault_hide(&name[0])[1] + name[7]) & 1;
}

int main(int argc, char **argv)
{
    return fault_run(argc, argv, fold_name);
}
