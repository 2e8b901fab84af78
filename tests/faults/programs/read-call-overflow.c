#include "fault.h"
#include <fcntl.h>
#include <unistd.h>

/* The kernel writes past the block: more is asked for than there is room. */
int receive(int bad)
{
    if (bad < 0)
        return -1;
    int zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);
    char *packet = malloc(72);
    if (!packet || zero < 0)
        return -1;
    ledger_write(6, "receiving");
    ssize_t got = read(zero, fault_hide(packet), fault_hide((size_t)(bad ? 80 : 72)));
    close(zero);
    free(packet);
    return got < 0 ? -1 : 0;
}

int main(int argc, char **argv)
{
    return fault_run(argc, argv, receive);
}
