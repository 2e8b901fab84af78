/* base: what the command-line side shares and the injected runtime must not have: error object, options table, files,
   clocks, text buffers. */
#ifndef BASE_BASE_H
#define BASE_BASE_H

#include "core/core.h"

#include <stdarg.h>
#include <stdio.h>

/* Exit statuses of every command (product.md). */
enum base_exit {
    BASE_EXIT_OK = 0,
    BASE_EXIT_FAILURE = 1,
    BASE_EXIT_USAGE = 2,       /* wrong usage */
    BASE_EXIT_ENVIRONMENT = 3, /* the machine or the program lacks something; doctor says what */
    BASE_EXIT_INPUT = 4,       /* bad input file, with line */
    BASE_EXIT_FAULTS = 99,     /* faults were found */
};

/* What went wrong, where and what to do: one line of text and the exit status that fits it. */
struct base_error {
    enum base_exit exit;
    char text[512];
};

/* Fills `error` (which may be NULL). Returns -1, so that a caller can `return base_fail(...)`. */
int base_fail(struct base_error *error, enum base_exit exit, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Nanoseconds of CLOCK_MONOTONIC and CLOCK_REALTIME. */
uint64_t base_monotonic_ns(void);
uint64_t base_realtime_ns(void);

/* Reads a whole file. Out: `*data` (NUL behind the last byte, owned by the caller, free()), `*bytes`.
   Returns 0, or -1 with `error` (BASE_EXIT_INPUT). */
int base_read_file(struct base_error *error, char **data, size_t *bytes, const char *path);

/* Writes a whole file through a temporary name in the same folder and a rename, so that a reader or a full disk never
   sees half of it. Returns 0, or -1 with `error`. */
int base_write_file(struct base_error *error, const char *path, const void *data, size_t bytes);

/* Lower-case hexadecimal of `bytes` bytes into `text` (2 * bytes + 1 characters). */
void base_hex(char *text, const void *data, size_t bytes);
/* Back. Returns the number of bytes, or -1 when `text` is no even-length hexadecimal or longer than `room` bytes. */
int base_unhex(void *data, size_t room, const char *text);

#endif
