#include "fault.h"

/* Length taken from the input, as parsers do. */
int decode_field(int bad)
{
    if (bad < 0)
        return -1;
    char *field = malloc(100);
    if (!field)
        return -1;
    ledger_write(9, "decoding");
    const char *text = fault_text(bad ? 300 : 99);
    size_t i = 0;
    for (; text[i]; i++)
        fault_hide(field)[i] = (char)(text[i] ^ 0x20);
    field[i] = 0;
    free(field);
    return 0;
}

int main(int argc, char **argv)
{
    return fault_run(argc, argv, decode_field);
}
