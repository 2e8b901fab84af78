/* base: what the command-line side shares and the injected runtime must not have: error object, options
   table, files, clocks, text buffers. */
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

/* Writes a whole file through a temporary name in the same folder and a rename, so that a reader or a full
   disk never sees half of it. A link stays, what it leads to is replaced; devices and pipes are written to as they are.
   Returns 0, or -1 with `error`. */
int base_write_file(struct base_error *error, const char *path, const void *data, size_t bytes);

/* Lower-case hexadecimal of `bytes` bytes into `text` (2 * bytes + 1 characters). */
void base_hex(char *text, const void *data, size_t bytes);
/* Back. Returns the number of bytes, or -1 when `text` is no even-length hexadecimal or longer than `room`
 * bytes. */
int base_unhex(void *data, size_t room, const char *text);

/* ---- errors and messages for people (log.c) ----------------------------------------------------------- */

/* Prints `testudo: TEXT` on standard error. Returns the exit status that the error carries. */
int base_fail_exit(const struct base_error *error);

/* One line `testudo: ...` on standard error in a single write, so that lines of several processes on one
   terminal stay whole. `warn` always; `note` unless base_quiet. Context: any thread, not a signal handler. */
void base_warn(const char *format, ...) __attribute__((format(printf, 1, 2)));
void base_note(const char *format, ...) __attribute__((format(printf, 1, 2)));
extern bool base_quiet;

/* ---- growable text (text.c) --------------------------------------------------------------------------- */

/* Starts as {0}; `data` is NULL or NUL-terminated after `used` bytes, owned by the struct. Out of memory ends
   the process: the texts are messages and small documents. */
struct base_text {
    char *data;
    size_t used, room;
};
void base_text_add(struct base_text *text, const char *data, size_t bytes);
void base_text_puts(struct base_text *text, const char *string);
void base_text_printf(struct base_text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
void base_text_free(struct base_text *text);

/* ---- commands and their options (options.c, help.c) ---------------------------------------------------

   A command is one table. Parsing, `--help`, the man page and shell completion all come from it:

       static bool json;
       static int64_t members;
       static const char *output;
       static int policy;
       static const struct base_option options[] = {
           BASE_TEXT("output", 'o', "FILE", &output, NULL, "write the manifest to FILE"),
           BASE_INTEGER("members", 0, "N", &members, "3", 1, 10000, "how many members share the work"),
           BASE_CHOICE("assign", 0, "central|coin|bid", &policy, "central", "who decides on slices"),
           BASE_JSON(&json),
           BASE_END,
       };
       static const struct base_command command = {
           .name = "plan",
           .summary = "cut a profile into slices",
           .operands = "PROFILE",
           .operands_min = 1, .operands_max = 1,
           .options = options,
           .example = "testudo plan profile.json --members 16\n",
       };
       int cli_plan(int argc, char **argv)
       {
           struct base_args args;
           int status = base_options_parse(&command, &args, argc, argv);
           if (status >= 0)
               return status;
           ...
*/
enum base_option_kind {
    BASE_OPTION_END,
    BASE_OPTION_FLAG,    /* bool, false until given */
    BASE_OPTION_TEXT,    /* const char *, points into argv */
    BASE_OPTION_INTEGER, /* int64_t within min..max */
    BASE_OPTION_REAL,    /* double within min..max */
    BASE_OPTION_PERCENT, /* double within min..max, in percent; "10" and "10%" */
    BASE_OPTION_CHOICE,  /* int, index into the words of `argument`, which `|` separates */
};

/* One option. Build it with the macros below: they let the compiler check the variable's type. */
struct base_option {
    enum base_option_kind kind;
    const char *name;     /* long name without dashes */
    char letter;          /* short name, or 0 */
    const char *argument; /* what help calls the value */
    const char *fallback; /* default, parsed like a given value; NULL: the variable stays as it is */
    const char *help;     /* what it does, without default */
    double min, max;
    union {
        bool *flag;
        const char **text;
        int64_t *integer;
        double *real;
        int *choice;
    } into;
};

#define BASE_FLAG(name_, letter_, into_, help_)                                                              \
    {                                                                                                        \
        .kind = BASE_OPTION_FLAG, .name = name_, .letter = letter_, .help = help_, .into.flag = into_        \
    }
#define BASE_TEXT(name_, letter_, argument_, into_, fallback_, help_)                                        \
    {                                                                                                        \
        .kind = BASE_OPTION_TEXT, .name = name_, .letter = letter_, .argument = argument_,                   \
        .fallback = fallback_, .help = help_, .into.text = into_                                             \
    }
#define BASE_INTEGER(name_, letter_, argument_, into_, fallback_, min_, max_, help_)                         \
    {                                                                                                        \
        .kind = BASE_OPTION_INTEGER, .name = name_, .letter = letter_, .argument = argument_,                \
        .fallback = fallback_, .help = help_, .min = min_, .max = max_, .into.integer = into_                \
    }
#define BASE_REAL(name_, letter_, argument_, into_, fallback_, min_, max_, help_)                            \
    {                                                                                                        \
        .kind = BASE_OPTION_REAL, .name = name_, .letter = letter_, .argument = argument_,                   \
        .fallback = fallback_, .help = help_, .min = min_, .max = max_, .into.real = into_                   \
    }
#define BASE_PERCENT(name_, letter_, argument_, into_, fallback_, min_, max_, help_)                         \
    {                                                                                                        \
        .kind = BASE_OPTION_PERCENT, .name = name_, .letter = letter_, .argument = argument_,                \
        .fallback = fallback_, .help = help_, .min = min_, .max = max_, .into.real = into_                   \
    }
#define BASE_CHOICE(name_, letter_, words_, into_, fallback_, help_)                                         \
    {                                                                                                        \
        .kind = BASE_OPTION_CHOICE, .name = name_, .letter = letter_, .argument = words_,                    \
        .fallback = fallback_, .help = help_, .into.choice = into_                                           \
    }
#define BASE_JSON(into_) BASE_FLAG("json", 0, into_, "print JSON for machines")
#define BASE_END                                                                                             \
    {                                                                                                        \
        .kind = BASE_OPTION_END                                                                              \
    }

/* One command, or one action of a command. */
struct base_command {
    const char *name;     /* "check", "profile record" */
    const char *summary;  /* one line, no capital, no full stop */
    const char *operands; /* as help shows them, NULL when there are none: "PROFILE", "-- PROGRAM [ARG...]" */
    const char *description; /* what to know before using it; paragraphs, NULL when the summary says it all */
    const char *example;     /* one or more command lines, each ended by a newline */
    const struct base_option *options; /* ended by BASE_END */
    int operands_min, operands_max;    /* operands_max 0: none */
    bool program; /* the first operand is a program: it and all behind it is left alone, with or without `--`
                   */
};

/* Operands: `list` points into argv and ends with NULL. */
struct base_args {
    int count;
    char **list;
};

/* Sets every option's variable: default first, then what `argv` says. argv[0] is the command's own name.
   Every command also understands --help, and --help=man and --help=words for the man page and for shell
   completion. Returns -1 to go on; else the status to exit with at once: help was asked for and printed (0),
   or the usage is wrong and one line on standard error said so (2). Context: main thread (getopt's state is
   global). */
int base_options_parse(const struct base_command *command, struct base_args *args, int argc, char **argv);

/* For what a table cannot express (options that exclude each other): prints `testudo COMMAND: ...; see
   testudo COMMAND
   --help` on standard error. Returns BASE_EXIT_USAGE. */
int base_usage(const struct base_command *command, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* A command whose first word chooses among actions, or the program as a whole. */
struct base_action {
    const char *name, *summary;
    int (*run)(int argc, char **argv); /* argv[0] is the action's name */
};
struct base_menu {
    const char *name;                  /* "community"; NULL for the program itself */
    const char *summary;               /* one line */
    const char *example;               /* as of a command */
    const struct base_action *actions; /* ended by an entry without name */
};

/* Runs the action that argv[1] names; prints help when asked for (`--help`, `help [ACTION]`).
   Returns the action's exit status, or BASE_EXIT_USAGE after one line that names the actions there are. */
int base_menu_run(const struct base_menu *menu, int argc, char **argv);

#endif
