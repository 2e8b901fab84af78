#include "fault.h"

struct entry {
    struct entry *next;
    int key;
};
static struct entry last = {NULL, 7}, first = {&last, 3};

/* Walks past the end of a list when the key is missing. */
void *find_entry(int bad)
{
    if (bad < 0)
        return NULL;
    struct entry *entry = fault_hide(&first);
    ledger_write(1, "walking");
    while (entry->key != (bad ? 8 : 7))
        entry = entry->next;
    return entry;
}

int main(int argc, char **argv)
{
    return fault_run_pointer(argc, argv, find_entry);
}
