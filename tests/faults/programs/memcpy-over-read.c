#include "fault.h"

int send_heartbeat(int bad)
{
    char reply[256];
    if (bad < 0)
        return -1;
    char *request = malloc(16);
    if (!request)
        return -1;
    memset(request, 1, 16);
    ledger_write(6, "answering");
    memcpy(fault_hide(&reply[0]), request, fault_hide((size_t)(bad ? 200 : 16)));
    free(request);
    return reply[2] & 1;
}

int main(int argc, char **argv)
{
    return fault_run(argc, argv, send_heartbeat);
}
