/* report: a fault as text and as JSON against golden files, and the tally. */
#include "report/report.h"

#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const struct report_fault overflow = {
    .id = "0123456789abcdef",
    .time_ns = 1700000000123456789u,
    .pid = 4711,
    .member = "web1",
    .kind = "heap-overflow",
    .detected_by = "intrinsic",
    .outcome = "undone",
    .access = "write",
    .intrinsic = "memcpy",
    .access_bytes = 16,
    .has_address = true,
    .address = 0x7f0000001028,
    .region = "heap block",
    .has_distance = true,
    .distance_bytes = 1,
    .object_bytes = 40,
    .object_start = 0x7f0000001000,
    .function = "parse_record",
    .offset = 0x1240,
    .object = "/usr/lib/apache2/modules/mod_fragile.so",
    .build_id = "00112233445566778899aabbccddeeff00112233",
    .stack = {.count = 3,
              .frame = {{.function = "parse_record",
                         .into = 0x1c,
                         .object = "/usr/lib/apache2/modules/mod_fragile.so",
                         .offset = 0x125c,
                         .file = "examples/mod_fragile.c",
                         .line = 42},
                        {.function = "ap_invoke_handler",
                         .into = 0x90,
                         .object = "/usr/sbin/apache2",
                         .offset = 0x51230},
                        {.offset = 0x7f1234567000}}},
    .alloc_stack = {.count = 1, .frame = {{.object = "/usr/sbin/apache2", .offset = 0x4000}}},
    .undone = true,
    .returned = -1,
    .rescue_point = "parse_record",
    .rescue_offset = 0x1240,
    .not_undone = {"output or another effect outside the process", "stores made by unsupervised callees"},
    .count = 1,
};

/* Everything unknown, and a name that would drive a terminal and is no UTF-8. */
static const struct report_fault bare = {.kind = "abort",
                                         .function = "evil\033[2J\xff",
                                         .outcome = "crashed",
                                         .signal = 6,
                                         .count = 3,
                                         .object = "/x\ny"};

static void same_as_golden(const char *name, const char *text)
{
    char path[512];
    struct base_error error;
    char *golden = NULL;
    size_t bytes;
    const char *folder = getenv("GOLDEN");
    snprintf(path, sizeof path, "%s/%s", folder ? folder : "tests/golden", name);
    if (getenv("GOLDEN_UPDATE")) {
        assert_int_equal(base_write_file(&error, path, text, strlen(text)), 0);
        return;
    }
    if (base_read_file(&error, &golden, &bytes, path))
        fail_msg("%s", error.text);
    assert_string_equal(text, golden);
    free(golden);
}

static char *as_text(const struct report_fault *fault, bool colour)
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *memory = open_memstream(&text, &bytes);
    report_fault_text(memory, fault, colour);
    fclose(memory);
    return text;
}

static void text_is_golden(void **state)
{
    (void)state;
    char *text = as_text(&overflow, false);
    same_as_golden("fault.txt", text);
    free(text);
    text = as_text(&bare, false);
    assert_null(strchr(text, 033));
    assert_non_null(strstr(text, "signal 6"));
    free(text);
    text = as_text(&overflow, true);
    assert_non_null(strstr(text, "\033[1;31mheap-overflow\033[0m"));
    free(text);
}

static void recursion_is_folded(void **state)
{
    (void)state;
    struct report_fault deep = {.kind = "stack-overflow", .stack = {.count = 32}};
    for (unsigned i = 0; i < 32; i++)
        deep.stack.frame[i] =
            (struct report_frame){.function = i < 30 ? "descend" : "main", .offset = i < 30 ? 16 : 64};
    char *text = as_text(&deep, false);
    assert_non_null(strstr(text, "    #0  descend (0x10)\n    ... the same again, to #29\n"
                                 "    #30 main (0x40)\n    #31 main (0x40)\n"));
    free(text);
}

static void json_is_golden(void **state)
{
    (void)state;
    char *line = report_fault_json(&overflow);
    assert_null(strchr(line, '\n'));
    same_as_golden("fault.json", line);
    free(line);
    line = report_fault_json(&bare);
    assert_non_null(strstr(line, "\"function\":\"evil\\u001B[2J?\""));
    assert_non_null(strstr(line, "\"returned\":null"));
    assert_non_null(strstr(line, "\"count\":3"));
    free(line);
}

static void tally_counts_identical_faults(void **state)
{
    (void)state;
    struct base_error error;
    struct report_tally *tally;
    char path[] = "/tmp/test_tally.XXXXXX", *data;
    size_t bytes;
    close(mkstemp(path));
    assert_int_equal(report_tally_open(&error, &tally, path), 0);
    struct report_fault other = overflow;
    strcpy(other.id, "fedcba9876543210");
    assert_true(report_tally_add(tally, &overflow));
    assert_int_equal(base_read_file(&error, &data, &bytes, path), 0);
    assert_non_null(strstr(data, "\"count\":1}\n")); /* there at once */
    free(data);
    assert_false(report_tally_add(tally, &overflow));
    assert_true(report_tally_add(tally, &other));
    assert_false(report_tally_add(tally, &overflow));
    assert_int_equal(report_tally_total(tally), 4);
    const struct report_fault *faults;
    assert_int_equal(report_tally_faults(tally, &faults), 2);
    assert_int_equal(faults[0].count, 3);
    char *text = NULL;
    FILE *memory = open_memstream(&text, &bytes);
    report_tally_text(memory, tally, 5);
    fclose(memory);
    assert_string_equal(text,
                        "testudo: fault 0123456789abcdef, heap-overflow in parse_record, happened 3 times\n"
                        "testudo: 4 faults, 2 distinct, 4 undone\n"
                        "testudo: 5 more came faster than they could be recorded\n");
    free(text);
    assert_int_equal(report_tally_close(&error, tally), 0);
    assert_int_equal(base_read_file(&error, &data, &bytes, path), 0);
    assert_non_null(strstr(data, "\"count\":3}\n"));
    assert_non_null(strstr(data, "\"id\":\"fedcba9876543210\""));
    free(data);
    unlink(path);
    assert_int_equal(report_tally_open(&error, &tally, "/does/not/exist/file"), -1);
    assert_null(tally);
    assert_int_equal(report_tally_open(&error, &tally, NULL), 0);
    assert_true(report_tally_add(tally, &overflow));
    assert_int_equal(report_tally_close(&error, tally), 0);
}

/* Reads rules from a text. Returns the list, or NULL with `error`. */
static struct report_suppressions *rules(struct base_error *error, const char *text, size_t bytes)
{
    char path[] = "/tmp/test_rules.XXXXXX";
    struct report_suppressions *list;
    close(mkstemp(path));
    assert_int_equal(base_write_file(error, path, text, bytes), 0);
    int result = report_suppressions_read(error, &list, path);
    unlink(path);
    assert_int_equal(result, list ? 0 : -1);
    return list;
}

static bool hides(const char *text, const struct report_fault *fault)
{
    struct base_error error;
    struct report_suppressions *list = rules(&error, text, strlen(text));
    assert_non_null(list);
    bool hidden = report_suppressions_match(list, fault);
    assert_int_equal(report_suppressions_total(list), hidden);
    report_suppressions_free(list);
    return hidden;
}

static void rules_compare_kind_function_and_object(void **state)
{
    (void)state;
    assert_true(hides("heap-overflow parse_record mod_fragile.so", &overflow));
    assert_true(hides("* 0x1240", &overflow));
    assert_true(hides("null-* *\n\r\n\t # none\n heap-* parse_* */modules/mod_*.so # known\r\n", &overflow));
    assert_true(hides("abort evil*", &bare));
    assert_true(hides("* 0x0 x?y", &bare));
    assert_false(hides("", &overflow));
    assert_false(hides("heap-underflow *", &overflow));
    assert_false(hides("* parse_recor", &overflow));
    assert_false(hides("* * fragile.so", &overflow));
    assert_false(hides("* * /mod_fragile.so", &overflow));
    assert_false(report_suppressions_match(NULL, &overflow));
}

static void rules_say_which_line_is_wrong(void **state)
{
    (void)state;
    struct base_error error;
    assert_null(rules(&error, "* *\n*\n", 6));
    assert_non_null(strstr(error.text, ":2: a rule is"));
    assert_null(rules(&error, "* a b c\n", 8));
    assert_int_equal(error.exit, BASE_EXIT_INPUT);
    assert_null(rules(&error, "none *\n", 7));
    assert_non_null(strstr(error.text, ":1: no kind of fault matches `none`"));
    assert_null(rules(&error, "* *\0\n", 5));
    assert_non_null(strstr(error.text, "not a text file"));
}

static void rules_tell_what_they_hid(void **state)
{
    (void)state;
    struct base_error error;
    struct report_suppressions *list = rules(&error, "* parse_*\n* *\n", 14);
    for (int i = 0; i < 3; i++)
        assert_true(report_suppressions_match(list, &overflow));
    assert_true(report_suppressions_match(list, &bare));
    char text[300];
    size_t at = 0;
    assert_true(report_suppressions_said(text, sizeof text, list, &at));
    assert_non_null(strstr(text, "3 faults suppressed by "));
    assert_non_null(strstr(text, ":1 (* parse_* *)"));
    assert_true(report_suppressions_said(text, sizeof text, list, &at));
    assert_non_null(strstr(text, "1 fault suppressed by "));
    assert_false(report_suppressions_said(text, sizeof text, list, &at));
    report_suppressions_free(list);
}

static void sarif_is_golden(void **state)
{
    (void)state;
    struct base_error error;
    struct report_tally *tally;
    char path[] = "/tmp/test_sarif.XXXXXX", *data;
    size_t bytes;
    close(mkstemp(path));
    assert_int_equal(report_tally_open(&error, &tally, NULL), 0);
    report_tally_add(tally, &overflow);
    report_tally_add(tally, &overflow);
    report_tally_add(tally, &bare);
    assert_int_equal(report_sarif_save(&error, tally, NULL, path), 0);
    assert_int_equal(base_read_file(&error, &data, &bytes, path), 0);
    same_as_golden("fault.sarif", data);
    free(data);
    unlink(path);
    assert_int_equal(report_sarif_save(&error, tally, NULL, "/does/not/exist/file"), -1);
    assert_int_equal(report_tally_close(&error, tally), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_is_golden),
        cmocka_unit_test(recursion_is_folded),
        cmocka_unit_test(json_is_golden),
        cmocka_unit_test(tally_counts_identical_faults),
        cmocka_unit_test(rules_compare_kind_function_and_object),
        cmocka_unit_test(rules_say_which_line_is_wrong),
        cmocka_unit_test(rules_tell_what_they_hid),
        cmocka_unit_test(sarif_is_golden),
    };
    return cmocka_run_group_tests_name("fault_report", tests, NULL, NULL);
}
