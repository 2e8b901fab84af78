#include "fault.h"

int sum_record(int bad)
{
    if (bad < 0)
        return -1;
    unsigned char *record = malloc(24);
    if (!record)
        return -1;
    memset(record, 3, 24);
    ledger_write(5, "summing");
    int sum = record[fault_hide((size_t)(bad ? 24 : 23))];
    free(record);
    return sum & 0x7f;
}

int main(int argc, char **argv)
{
    return fault_run(argc, argv, sum_record);
}
