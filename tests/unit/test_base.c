/* base: options tables, texts, files. */
#include "base/base.h"

#include <setjmp.h>
#include <sys/stat.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static bool verbose, json;
static const char *output;
static int64_t members;
static double alpha, slice;
static int policy;

static const struct base_option options[] = {
    BASE_FLAG("verbose", 'v', &verbose, "say more"),
    BASE_TEXT("output", 'o', "FILE", &output, NULL, "write to FILE"),
    BASE_INTEGER("members", 'n', "N", &members, "3", 1, 100, "members"),
    BASE_REAL("alpha", 0, "A", &alpha, "0.5", 0, 10, "exponent"),
    BASE_PERCENT("slice", 0, "PCT", &slice, "10", 0, 100, "slice"),
    BASE_CHOICE("assign", 0, "central|coin|bid", &policy, "central", "policy"),
    BASE_JSON(&json),
    BASE_END,
};
static const struct base_command plan = {.name = "plan",
                                         .summary = "cut",
                                         .operands = "PROFILE",
                                         .operands_min = 1,
                                         .operands_max = 1,
                                         .options = options,
                                         .example = "testudo plan x\n"};
static const struct base_command check = {.name = "check",
                                          .summary = "supervise",
                                          .operands = "-- PROGRAM [ARG...]",
                                          .operands_min = 1,
                                          .operands_max = 1 << 20,
                                          .program = true,
                                          .options = options,
                                          .example = "testudo check -- ls\n"};

static struct base_args args;

#define PARSE(command, ...) parse(command, (char *[]){"x", __VA_ARGS__, NULL})
static int parse(const struct base_command *command, char **argv)
{
    int argc = 0;
    while (argv[argc])
        argc++;
    return base_options_parse(command, &args, argc, argv);
}

static void options_take_defaults(void **state)
{
    (void)state;
    assert_int_equal(PARSE(&plan, "p"), -1);
    assert_int_equal(members, 3);
    assert_true(alpha == 0.5 && slice == 10 && policy == 0 && !verbose && !json);
    assert_null(output);
    assert_int_equal(args.count, 1);
    assert_string_equal(args.list[0], "p");
    assert_null(args.list[1]);
}

static void options_take_values(void **state)
{
    (void)state;
    assert_int_equal(PARSE(&plan, "-vn7", "p", "--slice=12.5%", "--assign", "bid", "-o", "f", "--json"), -1);
    assert_int_equal(members, 7);
    assert_true(slice == 12.5 && policy == 2 && verbose && json);
    assert_string_equal(output, "f");
    assert_string_equal(args.list[0], "p");
}

static void options_refuse_nonsense(void **state)
{
    (void)state;
    assert_int_equal(PARSE(&plan, "p", "--members", "0"), BASE_EXIT_USAGE);
    assert_int_equal(PARSE(&plan, "p", "--members", "101"), BASE_EXIT_USAGE);
    assert_int_equal(PARSE(&plan, "p", "--members", "7x"), BASE_EXIT_USAGE);
    assert_int_equal(PARSE(&plan, "p", "--members", ""), BASE_EXIT_USAGE);
    assert_int_equal(PARSE(&plan, "p", "--members", "99999999999999999999"), BASE_EXIT_USAGE);
    assert_int_equal(PARSE(&plan, "p", "--alpha", "nan"), BASE_EXIT_USAGE);
    assert_int_equal(PARSE(&plan, "p", "--alpha", "inf"), BASE_EXIT_USAGE);
    assert_int_equal(PARSE(&plan, "p", "--assign", "centra"), BASE_EXIT_USAGE);
    assert_int_equal(PARSE(&plan, "p", "--nonsense"), BASE_EXIT_USAGE);
    assert_int_equal(PARSE(&plan, "p", "-z"), BASE_EXIT_USAGE);
    assert_int_equal(PARSE(&plan, "p", "--verbose=1"), BASE_EXIT_USAGE);
    assert_int_equal(PARSE(&plan, "p", "--output"), BASE_EXIT_USAGE);
    assert_int_equal(PARSE(&plan, "p", "q"), BASE_EXIT_USAGE);
    assert_int_equal(PARSE(&plan, "--verbose"), BASE_EXIT_USAGE);
}

static void program_arguments_are_left_alone(void **state)
{
    (void)state;
    assert_int_equal(PARSE(&check, "-v", "--", "ls", "-l", "--json"), -1);
    assert_true(verbose && !json);
    assert_int_equal(args.count, 3);
    assert_string_equal(args.list[1], "-l");
    assert_int_equal(PARSE(&check, "ls", "-n", "0", "--", "a"), -1);
    assert_int_equal(members, 3);
    assert_int_equal(args.count, 5);
    assert_int_equal(PARSE(&check, "--"), BASE_EXIT_USAGE);
}

static void text_grows(void **state)
{
    (void)state;
    struct base_text text = {0};
    for (int i = 0; i < 1000; i++)
        base_text_printf(&text, "%d,", i);
    base_text_add(&text, NULL, 0);
    assert_int_equal(strlen(text.data), text.used);
    assert_int_equal(text.used, 10 * 2 + 90 * 3 + 900 * 4);
    base_text_free(&text);
    assert_null(text.data);
}

static void files_round_trip(void **state)
{
    (void)state;
    char folder[] = "/tmp/test_base.XXXXXX", path[64], *back;
    size_t bytes;
    struct base_error error;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/f", folder);
    char data[200000];
    memset(data, 'x', sizeof data);
    assert_int_equal(base_write_file(&error, path, data, sizeof data), 0);
    assert_int_equal(base_read_file(&error, &back, &bytes, path), 0);
    assert_int_equal(bytes, sizeof data);
    assert_memory_equal(back, data, bytes);
    free(back);
    unlink(path);
    assert_int_equal(base_read_file(&error, &back, &bytes, path), -1);
    assert_int_equal(error.exit, BASE_EXIT_INPUT);
    assert_non_null(strstr(error.text, path));
    rmdir(folder);
    assert_int_equal(base_write_file(&error, path, data, 1), -1);
}

static void hexadecimal_round_trips(void **state)
{
    (void)state;
    uint8_t data[256], back[256];
    char text[513];
    for (int i = 0; i < 256; i++)
        data[i] = (uint8_t)i;
    base_hex(text, data, sizeof data);
    assert_int_equal(base_unhex(back, sizeof back, text), 256);
    assert_memory_equal(data, back, 256);
    assert_int_equal(base_unhex(back, sizeof back, "0"), -1);
    assert_int_equal(base_unhex(back, sizeof back, "0g"), -1);
    assert_int_equal(base_unhex(back, 1, "0000"), -1);
    assert_int_equal(base_unhex(back, sizeof back, ""), 0);
}

/* Neither a pipe nor a link becomes a file: /dev/null must outlive `-o /dev/null`. */
static void special_files_stay(void **state)
{
    (void)state;
    struct base_error error;
    struct stat st;
    char folder[] = "/tmp/test-base-XXXXXX", pipe_path[64], link_path[64], file_path[64], got[8] = {0};
    char *text;
    size_t bytes;
    assert_non_null(mkdtemp(folder));
    snprintf(pipe_path, sizeof pipe_path, "%s/pipe", folder);
    snprintf(link_path, sizeof link_path, "%s/link", folder);
    snprintf(file_path, sizeof file_path, "%s/file", folder);
    assert_int_equal(mkfifo(pipe_path, 0600), 0);
    int reader = open(pipe_path, O_RDWR | O_NONBLOCK);
    assert_true(reader >= 0);
    assert_int_equal(base_write_file(&error, pipe_path, "word", 4), 0);
    assert_int_equal(read(reader, got, sizeof got), 4);
    assert_string_equal(got, "word");
    assert_true(!lstat(pipe_path, &st) && S_ISFIFO(st.st_mode));
    assert_int_equal(base_write_file(&error, file_path, "before", 6), 0);
    assert_int_equal(symlink(file_path, link_path), 0);
    assert_int_equal(base_write_file(&error, link_path, "now", 3), 0);
    assert_true(!lstat(link_path, &st) && S_ISLNK(st.st_mode));
    assert_int_equal(base_read_file(&error, &text, &bytes, file_path), 0);
    assert_string_equal(text, "now");
    free(text);
    close(reader);
    unlink(pipe_path);
    unlink(link_path);
    unlink(file_path);
    rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_take_defaults),
        cmocka_unit_test(options_take_values),
        cmocka_unit_test(options_refuse_nonsense),
        cmocka_unit_test(program_arguments_are_left_alone),
        cmocka_unit_test(text_grows),
        cmocka_unit_test(files_round_trip),
        cmocka_unit_test(special_files_stay),
        cmocka_unit_test(hexadecimal_round_trips),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
