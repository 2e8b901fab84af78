/* Errors, clocks, whole files, hexadecimal. */
#define _GNU_SOURCE
#include "base/base.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

int base_fail(struct base_error *error, enum base_exit exit, const char *format, ...)
{
    if (error) {
        va_list args;
        va_start(args, format);
        error->exit = exit;
        vsnprintf(error->text, sizeof error->text, format, args);
        va_end(args);
    }
    return -1;
}

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t base_monotonic_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

uint64_t base_realtime_ns(void)
{
    return clock_ns(CLOCK_REALTIME);
}

int base_read_file(struct base_error *error, char **data, size_t *bytes, const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return base_fail(error, BASE_EXIT_INPUT, "cannot open %s: %s", path, strerror(errno));
    size_t room = 65536, used = 0;
    char *buffer = malloc(room + 1);
    while (buffer) {
        if (used == room) {
            char *larger = realloc(buffer, 2 * room + 1);
            if (!larger)
                break;
            buffer = larger;
            room *= 2;
        }
        ssize_t n = read(fd, buffer + used, room - used);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            base_fail(error, BASE_EXIT_INPUT, "cannot read %s: %s", path, strerror(errno));
            free(buffer);
            close(fd);
            return -1;
        }
        if (n == 0) {
            close(fd);
            buffer[used] = 0;
            *data = buffer;
            *bytes = used;
            return 0;
        }
        used += (size_t)n;
    }
    free(buffer);
    close(fd);
    return base_fail(error, BASE_EXIT_FAILURE, "out of memory reading %s", path);
}

static int write_all(int fd, const char *data, size_t bytes)
{
    while (bytes) {
        ssize_t n = write(fd, data, bytes);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        data += n;
        bytes -= (size_t)n;
    }
    return 0;
}

/* Devices and pipes, and what /dev/stdout and its like lead to, are written to as they are: a rename would put a file in their place. */
static bool is_in_place(const char *path)
{
    struct stat st;
    bool leads_on = !lstat(path, &st) && S_ISLNK(st.st_mode) &&
                    (strncmp(path, "/dev/", 5) == 0 || strncmp(path, "/proc/", 6) == 0);
    return leads_on || (!stat(path, &st) && !S_ISREG(st.st_mode));
}

static int write_in_place(struct base_error *error, const char *path, const void *data, size_t bytes)
{
    int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
    if (fd < 0)
        return base_fail(error, BASE_EXIT_FAILURE, "cannot open %s: %s", path, strerror(errno));
    int failed = write_all(fd, data, bytes), reason = errno;
    if (close(fd) && !failed) {
        failed = 1;
        reason = errno;
    }
    return failed ? base_fail(error, BASE_EXIT_FAILURE, "cannot write %s: %s", path, strerror(reason)) : 0;
}

int base_write_file(struct base_error *error, const char *path, const void *data, size_t bytes)
{
    char temporary[4096], target[PATH_MAX];
    if (is_in_place(path))
        return write_in_place(error, path, data, bytes);
    if (realpath(path, target)) /* a link stays, what it leads to is replaced */
        path = target;
    if (snprintf(temporary, sizeof temporary, "%s.XXXXXX", path) >= (int)sizeof temporary)
        return base_fail(error, BASE_EXIT_FAILURE, "path too long: %s", path);
    int fd = mkostemp(temporary, O_CLOEXEC);
    if (fd < 0)
        return base_fail(error, BASE_EXIT_FAILURE, "cannot create %s: %s", path, strerror(errno));
    /* fsync before rename: after a power cut the name must not stand for an empty file. */
    int failed = write_all(fd, data, bytes) || fchmod(fd, 0644) || fsync(fd);
    int reason = errno;
    if (close(fd) && !failed) {
        failed = 1;
        reason = errno;
    }
    if (!failed && rename(temporary, path)) {
        failed = 1;
        reason = errno;
    }
    if (failed) {
        unlink(temporary);
        return base_fail(error, BASE_EXIT_FAILURE, "cannot write %s: %s", path, strerror(reason));
    }
    return 0;
}

void base_hex(char *text, const void *data, size_t bytes)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *p = data;
    for (size_t i = 0; i < bytes; i++) {
        *text++ = digits[p[i] >> 4];
        *text++ = digits[p[i] & 15];
    }
    *text = 0;
}

static int digit_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

int base_unhex(void *data, size_t room, const char *text)
{
    uint8_t *out = data;
    size_t n = 0;
    for (; *text; text += 2, n++) {
        int high = digit_value(text[0]);
        int low = high < 0 ? -1 : digit_value(text[1]);
        if (low < 0 || n == room)
            return -1;
        out[n] = (uint8_t)(high << 4 | low);
    }
    return (int)n;
}
