/* Library calls at the exact end of their blocks, zero lengths past the end, overlapping moves. */
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int format(char *out, size_t room, const char *how, ...)
{
    va_list list;
    va_start(list, how);
    int written = vsnprintf(out, room, how, list);
    va_end(list);
    return written;
}

int main(int argc, char **argv)
{
    (void)argv;
    for (size_t bytes = 8; bytes < 80; bytes++) {
        char *a = malloc(bytes), *b = malloc(bytes);
        if (!a || !b)
            return 1;
        memset(a, 'a', bytes);
        a[bytes - 1] = 0;
        strcpy(b, a);
        memcpy(a + bytes, b + bytes, (size_t)argc - 1);
        memmove(a + 1, a, bytes - 1);
        a[bytes - 1] = 0;
        strncpy(b, "xyz", bytes);
        strncat(b, a, bytes - 4);
        if (strlen(b) != bytes - 1 || strnlen(a, bytes) != bytes - 1)
            return 1;
        char *c = strdup(b), *d = strndup(b, bytes / 2);
        if (strcmp(b, c) != 0 || strncmp(b, d, bytes / 2) != 0 || memcmp(b, c, bytes) != 0)
            return 1;
        if (memchr(c, 0, bytes) != c + bytes - 1 || strchr(c, 0) != c + bytes - 1 || !strstr(c, "zaa"))
            return 1;
        if (snprintf(a, bytes, "%0*d", (int)bytes - 1, 7) != (int)bytes - 1)
            return 1;
        if (format(a, bytes, "%s%s", c, d) < (int)bytes)
            return 1;
        /* no terminator needed when the precision ends it */
        memset(d, 'q', strlen(d) + 1);
        printf("%.*s\n", (int)(bytes / 2), d);
        for (char *p = a; *p; p++)
            *p = (char)toupper((unsigned char)*p);
        puts(a);
        free(a);
        free(b);
        free(c);
        free(d);
    }
    return 0;
}
