#include "fault.h"

/* Frees a block before the fault: the block must be live again, with its contents. */
static char *record;

int retire(int bad)
{
    if (bad < 0)
        return -1;
    ledger_write(4, "retiring");
    memset(record, 0, 48);
    free(record);
    int *none = fault_hide(bad ? (int *)NULL : &bad);
    return *none;
}

static int (*volatile retire_call)(int) = retire;

int retire_record(int bad)
{
    record = fault_hide((char *)malloc(48));
    if (!record)
        return 1;
    strcpy(record, fault_text(40));
    int result = retire_call(bad);
    if (result == -1) {
        /* a block that is still in quarantine would be handed out again */
        if (strcmp(record, fault_text(40)) != 0)
            return 1;
        free(record);
    }
    return result;
}

int main(int argc, char **argv)
{
    return fault_run(argc, argv, retire_record);
}
