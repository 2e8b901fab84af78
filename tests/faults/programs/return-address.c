#define _GNU_SOURCE
#include "fault.h"
#include <unistd.h>

/* The overflow happens inside a library function that has no checked form: found when the function returns.
 */
int swap_bytes(int bad)
{
    char bytes[32];
    if (bad < 0)
        return -1;
    ledger_write(7, "swapping");
    swab(fault_text(400), fault_hide(&bytes[0]), fault_hide((ssize_t)(bad ? 96 : 32)));
    return bytes[1] & 1;
}

int main(int argc, char **argv)
{
    return fault_run(argc, argv, swap_bytes);
}
