#include "fault.h"

/* Stores of every kind before the fault: library copies, whole structures, fills. */
struct row {
    char cells[200];
};
static struct row rows[8];

int shuffle_rows(int bad)
{
    if (bad < 0)
        return -1;
    ledger_write(2, "moving");
    rows[fault_hide(0)] = rows[fault_hide(5)];
    memmove(&rows[1], &rows[2], fault_hide(sizeof rows[0] * 3));
    memset(fault_hide(&rows[6]), 0x55, fault_hide(sizeof rows[6]));
    strncpy(rows[7].cells, fault_text(30), fault_hide(sizeof rows[7].cells));
    snprintf(rows[5].cells, fault_hide(sizeof rows[5].cells), "%s and %.3f", fault_text(9), 2.5);
    return 4 / fault_hide(bad ? 0 : 5);
}

static int (*volatile shuffle)(int) = shuffle_rows;

int move_rows(int bad)
{
    static struct row before[8];
    for (size_t i = 0; i < sizeof rows; i++)
        ((char *)rows)[i] = (char)(i * 7);
    memcpy(before, rows, sizeof rows);
    int result = shuffle(bad);
    if (result == -1 && memcmp(before, rows, sizeof rows) != 0)
        return 1;
    return result;
}

int main(int argc, char **argv)
{
    return fault_run(argc, argv, move_rows);
}
