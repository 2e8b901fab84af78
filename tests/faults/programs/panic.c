#include "fault.h"
#include <unistd.h>

/* As redis has it: the program's own assertion, which does much before it ends the process. */
__attribute__((noreturn, noinline, visibility("default"))) void _serverAssert(const char *what,
                                                                              const char *file, int line)
{
    fprintf(stderr, "=== ASSERTION FAILED ===\n%s:%d '%s' is not true\n", file, line, what);
    memset(&ledger_global, 0xff, sizeof ledger_global);
    abort();
}

int must_be_true(int bad)
{
    if (bad < 0)
        return -1;
    ledger_write(3, "asserting");
    if (fault_hide(bad))
        _serverAssert("!bad", __FILE__, __LINE__);
    return 0;
}

int main(int argc, char **argv)
{
    return fault_run(argc, argv, must_be_true);
}
