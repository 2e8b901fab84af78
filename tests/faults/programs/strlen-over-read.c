#include "fault.h"

/* A text whose end was forgotten. */
int measure(int bad)
{
    if (bad < 0)
        return -1;
    char *text = malloc(24);
    if (!text)
        return -1;
    memset(text, 'x', 24);
    if (!bad)
        text[23] = 0;
    ledger_write(6, "measuring");
    int length = (int)(strlen(fault_hide(text)) & 0xfff);
    free(text);
    return length;
}

int main(int argc, char **argv)
{
    return fault_run(argc, argv, measure);
}
