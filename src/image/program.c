/* Finds the file that the kernel will start for a command's name. */
#define _GNU_SOURCE
#include "image/image.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_ROOM = 4096, SCRIPT_DEPTH = 4 /* the kernel's own limit on interpreters of interpreters */ };

static bool is_executable_file(const char *path)
{
    struct stat st;
    return !access(path, X_OK) && !stat(path, &st) && S_ISREG(st.st_mode);
}

int image_find_file(struct base_error *error, char path[PATH_ROOM], const char *name)
{
    if (!*name)
        return base_fail(error, BASE_EXIT_ENVIRONMENT, "the program's name is empty");
    if (strchr(name, '/')) {
        if ((size_t)snprintf(path, PATH_ROOM, "%s", name) >= PATH_ROOM)
            return base_fail(error, BASE_EXIT_ENVIRONMENT, "the program's name is too long");
        struct stat st;
        if (stat(path, &st))
            return base_fail(error, BASE_EXIT_ENVIRONMENT, "cannot start %s: %s", name, strerror(errno));
        if (!is_executable_file(path))
            return base_fail(error, BASE_EXIT_ENVIRONMENT, "cannot start %s: %s", name,
                             S_ISREG(st.st_mode) ? "not executable" : "no program file");
        return 0;
    }
    const char *list = getenv("PATH");
    for (const char *at = list ? list : "/usr/bin:/bin"; at;) {
        const char *colon = strchr(at, ':');
        int bytes = (int)(colon ? colon - at : (ptrdiff_t)strlen(at));
        int used = bytes ? snprintf(path, PATH_ROOM, "%.*s/%s", bytes, at, name)
                         : snprintf(path, PATH_ROOM, "./%s", name);
        if (used < PATH_ROOM && is_executable_file(path))
            return 0;
        at = colon ? colon + 1 : NULL;
    }
    return base_fail(error, BASE_EXIT_ENVIRONMENT, "program %s not found in PATH; name its path", name);
}

/* Interpreter of a script. Returns 1 when `path` is a script, 0 when not. */
static int interpreter(char line[256], const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    ssize_t n = read(fd, line, 255);
    close(fd);
    if (n < 3 || line[0] != '#' || line[1] != '!')
        return 0;
    line[n] = 0;
    char *start = line + 2 + strspn(line + 2, " \t");
    start[strcspn(start, " \t\n")] = 0;
    memmove(line, start, strlen(start) + 1);
    return *line != 0;
}

int image_find_program(struct base_error *error, char path[PATH_ROOM], const char *name)
{
    if (image_find_file(error, path, name))
        return -1;
    char line[256];
    for (unsigned i = 0; i < SCRIPT_DEPTH && interpreter(line, path); i++) {
        if (!is_executable_file(line))
            return base_fail(error, BASE_EXIT_ENVIRONMENT, "cannot start %s: its interpreter %s is missing",
                             name, line);
        snprintf(path, PATH_ROOM, "%s", line);
    }
    return 0;
}
