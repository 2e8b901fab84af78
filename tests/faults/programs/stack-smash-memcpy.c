#include "fault.h"

int unpack_header(int bad)
{
    char header[48];
    if (bad < 0)
        return -1;
    ledger_write(7, "unpacking");
    memcpy(fault_hide(&header[0]), fault_text(400), fault_hide((size_t)(bad ? 300 : 48)));
    return header[1] & 1;
}

int main(int argc, char **argv)
{
    return fault_run(argc, argv, unpack_header);
}
