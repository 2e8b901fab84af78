#include "fault.h"

/* The caller does not expect the error value and faults on it. The second time it is the caller that returns an error at once. */
const char *find_name(int bad)
{
    static const char *name = "name";
    if (bad < 0)
        return NULL;
    ledger_write(9, "finding");
    return *fault_hide(bad ? (const char **)NULL : &name);
}
static const char *(*volatile find_name_call)(int) = find_name;

int first_letter(int bad)
{
    if (bad < 0)
        return -1;
    ledger_write(4, "reading");
    return *find_name_call(bad);
}
static int (*volatile first_letter_call)(int) = first_letter;

int both_letters(int bad)
{
    int first = first_letter_call(bad), second = first_letter_call(bad);
    return first == second ? first : 1;
}

int main(int argc, char **argv)
{
    return fault_run(argc, argv, both_letters);
}
