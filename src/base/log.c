/* Lines for people on standard error. */
#include "base/base.h"

#include <string.h>
#include <unistd.h>

bool base_quiet;

static void write_line(const char *format, va_list args)
{
    char line[1024] = "testudo: ";
    size_t used = strlen(line);
    int n = vsnprintf(line + used, sizeof line - used - 1, format, args);
    if (n < 0)
        return;
    used += (size_t)n < sizeof line - used - 1 ? (size_t)n : sizeof line - used - 2;
    line[used++] = '\n';
    /* Nobody is left to tell when standard error itself fails. */
    ssize_t written = write(STDERR_FILENO, line, used);
    (void)written;
}

void base_warn(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    write_line(format, args);
    va_end(args);
}

void base_note(const char *format, ...)
{
    if (base_quiet)
        return;
    va_list args;
    va_start(args, format);
    write_line(format, args);
    va_end(args);
}

int base_fail_exit(const struct base_error *error)
{
    base_warn("%s", error->text);
    return error->exit;
}
