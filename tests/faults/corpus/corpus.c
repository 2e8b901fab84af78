#include "corpus.h"

char corpus_letters[8192];
char corpus_to[2048];

char *text(size_t length)
{
    static char room[8192];
    for (size_t i = 0; i < length; i++)
        room[i] = (char)('a' + i % 26);
    room[length] = 0;
    return hide((char *)room);
}

wchar_t *wide_text(size_t length)
{
    static wchar_t room[2048];
    for (size_t i = 0; i < length; i++)
        room[i] = (wchar_t)(L'a' + (wchar_t)i % 26);
    room[length] = 0;
    return hide((wchar_t *)room);
}

char *letters(void)
{
    for (size_t i = 0; i < sizeof corpus_letters - 1;
         i++) /* the last byte stays NUL: functions look for the end */
        corpus_letters[i] = (char)('a' + i % 26);
    return hide((char *)corpus_letters);
}

static int filled(int ends[2], size_t bytes)
{
    if (write(ends[1], letters(), bytes) != (ssize_t)bytes)
        exit(3);
    close(ends[1]);
    return ends[0];
}

int feed(size_t bytes)
{
    int ends[2];
    if (pipe(ends))
        exit(3);
    return filled(ends, bytes);
}

int feed_socket(size_t bytes)
{
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends))
        exit(3);
    return filled(ends, bytes);
}

FILE *stream(size_t bytes)
{
    FILE *file = fdopen(feed(bytes), "r");
    if (!file)
        exit(3);
    return file;
}

int drain(void)
{
    int fd = open("/dev/null", O_WRONLY);
    if (fd < 0)
        exit(3);
    return fd;
}

FILE *drain_stream(void)
{
    FILE *file = fopen("/dev/null", "w");
    if (!file)
        exit(3);
    return file;
}

void churn(unsigned times, size_t bytes)
{
    for (unsigned i = 0; i < times; i++) {
        char *block = malloc(bytes);
        if (!block)
            exit(3);
        block[0] = 1;
        free(hide(block));
    }
}

void release(void *block)
{
    free(hide(block));
}

static int (*volatile entry)(int) = work;

int main(int argc, char **argv)
{
    int good = argc > 1 && !strcmp(argv[1], "good");
    int result = entry(hide(!good));
    printf("%s\n", good && result == 0 ? "went on" : "came back");
    return good && result != 0;
}
