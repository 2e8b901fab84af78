/* Parsing of a command line by a command's table. */
#include "base/base.h"
#include "base/base_help.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { OPTIONS_MAX = 40, LONG_BASE = 256, HELP = LONG_BASE + OPTIONS_MAX };

int base_usage(const struct base_command *command, const char *format, ...)
{
    struct base_text text = {0};
    char message[512];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    base_text_printf(&text, "testudo %s: %s; see testudo %s --help\n", command->name, message, command->name);
    fputs(text.data, stderr);
    base_text_free(&text);
    return BASE_EXIT_USAGE;
}

/* Index of `value` among the words that `|` separates, or -1. */
static int find_word(const char *words, const char *value)
{
    size_t bytes = strlen(value);
    for (int index = 0;; index++) {
        size_t span = strcspn(words, "|");
        if (span == bytes && !memcmp(words, value, bytes))
            return index;
        if (!words[span])
            return -1;
        words += span + 1;
    }
}

/* Parses a whole number or a real one, all of `text`. Returns whether it is one within the option's bounds.
 */
static bool parse_number(const struct base_option *option, const char *text)
{
    char *end;
    double value;
    errno = 0;
    if (option->kind == BASE_OPTION_INTEGER) {
        long long whole = strtoll(text, &end, 10);
        value = (double)whole;
        *option->into.integer = whole;
    } else {
        value = strtod(text, &end);
        if (option->kind == BASE_OPTION_PERCENT && *end == '%')
            end++;
        *option->into.real = value;
    }
    return end != text && !*end && !errno && isfinite(value) && value >= option->min && value <= option->max;
}

/* Stores one value. Returns 0, or BASE_EXIT_USAGE after a line that says what is allowed. */
static int store(const struct base_command *command, const struct base_option *option, const char *value)
{
    switch (option->kind) {
    case BASE_OPTION_FLAG:
        *option->into.flag = true;
        return 0;
    case BASE_OPTION_TEXT:
        *option->into.text = value;
        return 0;
    case BASE_OPTION_CHOICE:
        *option->into.choice = find_word(option->argument, value);
        if (*option->into.choice >= 0)
            return 0;
        return base_usage(command, "--%s is '%s', must be one of %s", option->name, value, option->argument);
    default:
        if (parse_number(option, value))
            return 0;
        return base_usage(command, "--%s is '%s', must be a %s from %.10g to %.10g", option->name, value,
                          option->kind == BASE_OPTION_INTEGER   ? "whole number"
                          : option->kind == BASE_OPTION_PERCENT ? "percentage"
                                                                : "number",
                          option->min, option->max);
    }
}

/* Every variable gets its default through the same parser as a given value, so that help cannot tell another
 * one. */
static void set_defaults(const struct base_command *command)
{
    for (const struct base_option *o = command->options; o && o->kind; o++) {
        if (o->kind == BASE_OPTION_FLAG)
            *o->into.flag = false;
        else if (o->fallback && store(command, o, o->fallback))
            abort(); /* a table that contradicts itself */
    }
}

static int check_operands(const struct base_command *command, struct base_args *args, int argc, char **argv)
{
    args->count = argc;
    args->list = argv;
    if (argc > command->operands_max) {
        if (!command->operands_max)
            return base_usage(command, "unexpected argument '%s'", argv[0]);
        return base_usage(command, "unexpected argument '%s' after %s", argv[command->operands_max],
                          command->operands);
    }
    if (argc < command->operands_min)
        return base_usage(command, "%s is missing", command->operands);
    return -1;
}

int base_options_parse(const struct base_command *command, struct base_args *args, int argc, char **argv)
{
    struct option longs[OPTIONS_MAX + 2] = {0};
    char letters[2 * OPTIONS_MAX + 4];
    int count = 0, used = 0;
    /* '+': stop at the first operand; ':': tell a missing value from an unknown option. */
    if (command->program)
        letters[used++] = '+';
    letters[used++] = ':';
    for (const struct base_option *o = command->options; o && o->kind; o++, count++) {
        if (count == OPTIONS_MAX)
            abort();
        int takes = o->kind == BASE_OPTION_FLAG ? no_argument : required_argument;
        longs[count] = (struct option){o->name, takes, NULL, LONG_BASE + count};
        if (o->letter)
            letters[used++] = o->letter;
        if (o->letter && takes)
            letters[used++] = ':';
    }
    longs[count] = (struct option){"help", optional_argument, NULL, HELP};
    letters[used] = 0;

    set_defaults(command);
    opterr = 0;
    optind = 0; /* glibc: start afresh, also in the middle of an earlier cluster */
    int code;
    while ((code = getopt_long(argc, argv, letters, longs, NULL)) != -1) {
        if (code == HELP) {
            if (base_help_command(command, optarg))
                return base_usage(command, "--help has no form '%s'", optarg);
            return BASE_EXIT_OK;
        }
        if (code == ':')
            return base_usage(command, "%s needs a value", argv[optind - 1]);
        if (code == '?' && optopt >= LONG_BASE)
            return base_usage(command, "--%s takes no value", longs[optopt - LONG_BASE].name);
        if (code == '?' && optopt)
            return base_usage(command, "unknown option -%c", optopt);
        if (code == '?')
            return base_usage(command, "unknown option %s", argv[optind - 1]);
        int index = code - LONG_BASE;
        for (int i = 0; code < LONG_BASE && i < count; i++)
            if (command->options[i].letter == code)
                index = i;
        if (store(command, &command->options[index], optarg))
            return BASE_EXIT_USAGE;
    }
    return check_operands(command, args, argc - optind, argv + optind);
}

int base_menu_run(const struct base_menu *menu, int argc, char **argv)
{
    const char *space = menu->name ? " " : "", *name = menu->name ? menu->name : "";
    const char *word = argc > 1 ? argv[1] : NULL;
    if (word && !strncmp(word, "--help", 6) && (!word[6] || word[6] == '=')) {
        if (!base_help_menu(menu, word[6] ? word + 7 : NULL))
            return BASE_EXIT_OK;
        fprintf(stderr, "testudo%s%s: --help has no form '%s'\n", space, name, word + 7);
        return BASE_EXIT_USAGE;
    }
    bool help = word && !strcmp(word, "help");
    if (help && argc == 2)
        return base_help_menu(menu, NULL);
    if (help)
        word = argv[2];
    for (const struct base_action *action = menu->actions; word && action->name; action++) {
        if (strcmp(word, action->name))
            continue;
        char help_word[] = "--help", *help_argv[] = {argv[help ? 2 : 1], help_word, NULL};
        return help ? action->run(2, help_argv) : action->run(argc - 1, argv + 1);
    }
    struct base_text text = {0};
    if (word)
        base_text_printf(&text, "testudo%s%s: unknown command '%s'; there are", space, name, word);
    else
        base_text_printf(&text, "testudo%s%s: which command? there are", space, name);
    for (const struct base_action *action = menu->actions; action->name; action++)
        base_text_printf(&text, "%s %s", action == menu->actions ? "" : ",", action->name);
    fprintf(stderr, "%s; see testudo%s%s --help\n", text.data, space, name);
    base_text_free(&text);
    return BASE_EXIT_USAGE;
}
