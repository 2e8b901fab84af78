#include "fault.h"

/* Only the caller's frame pointer, saved beside the return address, is overwritten. */
int pad_title(int bad)
{
    char title[16];
    if (bad < 0)
        return -1;
    ledger_write(6, "padding");
    char *at = fault_hide(bad ? (char *)__builtin_frame_address(0) : &title[0]);
    for (int i = 0; i < 5; i++)
        at[i] = (char)i;
    return fault_hide(&title[0])[1] & 1;
}

int main(int argc, char **argv)
{
    return fault_run(argc, argv, pad_title);
}
