/* The C library's larger parts with supervised callers: files, formats, scanning, wide text, regular
   expressions, users, time, environment, the program's own name. */
#define _GNU_SOURCE
#include "transparent.h"
#include <errno.h>
#include <locale.h>
#include <poll.h>
#include <pwd.h>
#include <regex.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <wchar.h>

static NOINLINE void files(void)
{
    FILE *file = fopen("written.txt", "w+");
    must(file);
    for (int i = 0; i < 500; i++)
        fprintf(file, "%d %s %.3f %c\n", i, i % 3 ? "some" : "more", i / 7.0, 'a' + i % 26);
    rewind(file);
    char *line = NULL, word[16], letter;
    size_t room = 0;
    int number, lines = 0;
    double real, sum = 0;
    while (getline(&line, &room, file) > 0)
        if (sscanf(line, "%d %15s %lf %c", &number, word, &real, &letter) == 4) {
            lines++;
            sum += real + number + letter + (double)strlen(word);
        }
    printf("%d %.3f %ld\n", lines, sum, ftell(file));
    free(line);
    fclose(file);
    struct stat status;
    must(stat("written.txt", &status) == 0 && rename("written.txt", "renamed.txt") == 0);
    char *text;
    size_t bytes;
    FILE *memory = open_memstream(&text, &bytes);
    fprintf(memory, "%ld bytes, %5s|%-5s|%05d|%#x|%e", (long)status.st_size, "ab", "cd", 42, 255, 12345.678);
    fclose(memory);
    printf("%s %zu\n", text, bytes);
    free(text);
}

static NOINLINE void texts(void)
{
    regex_t expression;
    regmatch_t match[3];
    must(regcomp(&expression, "([a-z]+)=([0-9]+)", REG_EXTENDED) == 0);
    const char *text = "alpha=12, beta=345; gamma=6";
    while (regexec(&expression, text, 3, match, 0) == 0) {
        printf("[%.*s]", (int)(match[1].rm_eo - match[1].rm_so), text + match[1].rm_so);
        text += match[0].rm_eo;
    }
    regfree(&expression);
    wchar_t wide[64];
    setlocale(LC_ALL, "C.UTF-8");
    size_t length = mbstowcs(wide,
                             "Gr\xc3\xb6\xc3\x9f"
                             "e \xe2\x82\xac",
                             64);
    printf(" %zu %lc\n", length, (wint_t)wide[2]);
    struct passwd *root = getpwuid(0);
    printf("%s %d\n", root ? root->pw_name : "none", root ? (int)root->pw_uid : -1);
    time_t when = 1700000000;
    char date[64];
    strftime(date, sizeof date, "%Y-%m-%d %H:%M:%S %j", gmtime(&when));
    struct timespec before, after, pause = {0, 2000000};
    clock_gettime(CLOCK_MONOTONIC, &before);
    nanosleep(&pause, NULL);
    clock_gettime(CLOCK_MONOTONIC, &after);
    printf("%s %d\n", date,
           (after.tv_sec - before.tv_sec) * 1000000000 + after.tv_nsec - before.tv_nsec >= 2000000);
}

int main(int argc, char **argv)
{
    files();
    texts();
    setenv("NEW", "value", 1);
    putenv("OTHER=thing");
    unsetenv("HOME");
    printf("%s %s %s %d %s\n", getenv("NEW"), getenv("OTHER"), getenv("HOME") ? "home" : "no home", argc,
           strrchr(argv[0], '/') + 1);
    char link[4096] = "";
    must(readlink("/proc/self/exe", link, sizeof link - 1) > 0);
    printf("%s %s\n", strrchr(link, '/') + 1, program_invocation_short_name);
    int pair[2];
    must(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    char buffer[32] = "";
    must(send(pair[0], "through a socket", 17, 0) == 17);
    struct pollfd ready = {pair[1], POLLIN, 0};
    printf("%d ", poll(&ready, 1, 1000));
    printf("%zd %s\n", recv(pair[1], buffer, sizeof buffer, 0), buffer);
    return 0;
}
