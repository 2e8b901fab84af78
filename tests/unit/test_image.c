/* image: this very test, Debian's stripped binaries, damaged files. */
#include "image/image.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

/* One function of each return kind; `used` keeps them. */
typedef unsigned long length;
typedef const void *handle;
struct pair {
    long a, b, c;
};
enum plain { PLAIN_A, PLAIN_B };
enum with_error { FAILED = -1, FINE };
#define KEEP __attribute__((noinline, used))
int kind_int(int x);
void kind_void(int x);
char *kind_pointer(char *x);
handle kind_handle(char *x);
bool kind_bool(int x);
length kind_length(int x);
double kind_double(double x);
long double kind_long_double(double x);
struct pair kind_struct(int x);
enum plain kind_plain(int x);
enum with_error kind_with_error(int x);
KEEP int kind_int(int x)
{
    return x + 1;
}
static volatile int sink;
KEEP void kind_void(int x)
{
    sink = x;
}
KEEP char *kind_pointer(char *x)
{
    return x + 1;
}
KEEP handle kind_handle(char *x)
{
    return x;
}
KEEP bool kind_bool(int x)
{
    return x != 0;
}
KEEP length kind_length(int x)
{
    return (length)x;
}
KEEP double kind_double(double x)
{
    return 2 * x;
}
KEEP long double kind_long_double(double x)
{
    return x;
}
KEEP struct pair kind_struct(int x)
{
    return (struct pair){x, x, x};
}
KEEP enum plain kind_plain(int x)
{
    return x ? PLAIN_A : PLAIN_B;
}
KEEP enum with_error kind_with_error(int x)
{
    return x ? FINE : FAILED;
}

static struct image *open_image(const char *path)
{
    struct base_error error;
    struct image *image;
    if (image_open(&error, &image, path))
        fail_msg("%s", error.text);
    return image;
}

/* Offset of a function of this test, by its name. */
static uint64_t offset_of(const struct image *image, const char *name)
{
    const struct image_function *f;
    size_t count = image_functions(image, &f);
    for (size_t i = 0; i < count; i++)
        if (f[i].name && !strcmp(f[i].name, name))
            return f[i].offset;
    fail_msg("no function %s", name);
    return 0;
}

static void finds_itself(void **state)
{
    (void)state;
    struct image *image = open_image("/proc/self/exe");
    struct image_traits traits = image_traits(image);
    assert_true(traits.program && !traits.is_static && !traits.set_id);
    uint64_t at = offset_of(image, "kind_struct"), into;
    const struct image_function *f = image_function_at(image, at + 1);
    assert_non_null(f);
    assert_int_equal(f->offset, at);
    assert_string_equal(image_name(image, &into, at + 3), "kind_struct");
    assert_int_equal(into, 3);
    const char *file = NULL;
    assert_true(image_has_debug_info(image));
    assert_true(image_line(image, &file, at) > 0);
    assert_non_null(strstr(file, "test_image.c"));
    assert_null(image_function_at(image, 0));
    assert_null(image_name(image, &into, UINT64_MAX));
    const char *needed[64];
    size_t count = image_needed(image, needed, 64);
    bool libc = false;
    for (size_t i = 0; i < count && i < 64; i++)
        libc |= !strcmp(needed[i], "libc.so.6");
    assert_true(libc);
    image_close(image);
}

static void knows_return_kinds(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        enum image_returns returns;
    } expected[] = {
        {"kind_int", IMAGE_RETURNS_INTEGER},        {"kind_void", IMAGE_RETURNS_VOID},
        {"kind_pointer", IMAGE_RETURNS_POINTER},    {"kind_handle", IMAGE_RETURNS_POINTER},
        {"kind_bool", IMAGE_RETURNS_ZERO},          {"kind_length", IMAGE_RETURNS_ZERO},
        {"kind_double", IMAGE_RETURNS_FLOAT},       {"kind_long_double", IMAGE_RETURNS_UNKNOWN},
        {"kind_struct", IMAGE_RETURNS_UNKNOWN},     {"kind_plain", IMAGE_RETURNS_UNKNOWN},
        {"kind_with_error", IMAGE_RETURNS_INTEGER},
    };
    struct image *image = open_image("/proc/self/exe");
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++)
        assert_int_equal(image_returns(image, offset_of(image, expected[i].name)), expected[i].returns);
    assert_int_equal(image_returns(image, 1), IMAGE_RETURNS_UNKNOWN);
    image_close(image);
}

static void matches_patterns(void **state)
{
    (void)state;
    struct image *image = open_image("/proc/self/exe");
    uint64_t at = offset_of(image, "kind_pointer");
    char number[32];
    snprintf(number, sizeof number, "0x%llx", (unsigned long long)at);
    static const char *const good[] = {"kind_pointer", "kind_*", "*", "*!kind_pointer", "exe!*"};
    static const char *const bad[] = {"kind_point", "other!*", "", "0x1", "0x", "*!"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(image_matches(image, at, good[i]));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(image_matches(image, at, bad[i]));
    assert_true(image_matches(image, at, number));
    image_close(image);
}

static void reads_stripped_binaries(void **state)
{
    (void)state;
    static const char *const programs[] = {"/bin/ls", "/usr/bin/env", "/lib/x86_64-linux-gnu/libc.so.6"};
    for (size_t p = 0; p < sizeof programs / sizeof *programs; p++) {
        struct image *image = open_image(programs[p]);
        const struct image_function *f;
        const uint8_t *id;
        size_t count = image_functions(image, &f);
        assert_true(count > 50);
        assert_int_equal(image_build_id(image, &id), 20);
        for (size_t i = 0; i < count; i++) {
            assert_true(i == 0 || f[i].offset > f[i - 1].offset);
            assert_ptr_equal(image_function_at(image, f[i].offset), &f[i]);
        }
        assert_int_equal(image_traits(image).own_malloc, p == 2);
        image_close(image);
    }
}

/* Every question that can be asked. */
static void ask_all(const char *path)
{
    struct base_error error;
    struct image *image;
    if (image_open(&error, &image, path)) {
        assert_int_equal(error.exit, BASE_EXIT_ENVIRONMENT);
        return;
    }
    const struct image_function *f;
    const char *names[8], *file;
    const struct image_call *calls;
    size_t call_count = image_calls(image, &calls);
    uint64_t at;
    image_find_name(image, &at, "main");
    for (size_t i = 0; i < call_count; i++)
        if (calls[i].name)
            assert_true(strlen(calls[i].name) > 0);
        else
            assert_non_null(image_function_at(image, calls[i].callee));
    size_t count = image_functions(image, &f);
    uint64_t into;
    for (size_t i = 0; i < count; i += 1 + count / 16) {
        image_name(image, &into, f[i].offset + 1);
        image_line(image, &file, f[i].offset);
        image_returns(image, f[i].offset);
        image_matches(image, f[i].offset, "ma*");
    }
    image_needed(image, names, 8);
    image_close(image);
}

static void write_file(const char *path, const char *data, size_t bytes)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0700);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, bytes), bytes);
    close(fd);
}

static void survives_damage(void **state)
{
    (void)state;
    char folder[] = "/tmp/test_image.XXXXXX", path[64], *data;
    size_t bytes;
    struct base_error error;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/damaged", folder);
    const char *source = getenv("FAKE_PROGRAM");
    assert_int_equal(base_read_file(&error, &data, &bytes, source ? source : "/usr/bin/env"), 0);
    for (size_t cut = 0; cut < bytes; cut += 1 + (cut > 1024 ? bytes / 97 : 61)) {
        write_file(path, data, cut);
        ask_all(path);
    }
    struct core_rng rng;
    core_rng_seed(&rng, 20);
    char *copy = malloc(bytes);
    for (int round = 0; round < 300; round++) {
        memcpy(copy, data, bytes);
        /* Half of the damage goes where it hurts: headers, dynamic section, tables at the end. */
        for (uint64_t n = 1 + core_rng_below(&rng, 40); n > 0; n--) {
            size_t at = core_rng_below(&rng, bytes);
            if (core_rng_below(&rng, 4) == 0)
                at = 16 + core_rng_below(&rng, 1024);
            copy[at] = (char)core_rng_next(&rng);
        }
        write_file(path, copy, bytes);
        ask_all(path);
    }
    free(copy);
    free(data);
    unlink(path);
    rmdir(folder);
}

static void refuses_by_name(void **state)
{
    (void)state;
    struct base_error error;
    struct image *image;
    static const struct {
        const char *path, *word;
    } bad[] = {{"/does/not/exist", "No such file"},
               {"/etc/passwd", "no ELF"},
               {"/", "no regular"},
               {"/dev/null", "no regular"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(image_open(&error, &image, bad[i].path), -1);
        assert_null(image);
        assert_int_equal(error.exit, BASE_EXIT_ENVIRONMENT);
        assert_non_null(strstr(error.text, bad[i].word));
        assert_non_null(strstr(error.text, bad[i].path));
    }
    char folder[] = "/tmp/test_image.XXXXXX", path[64], *data;
    size_t bytes;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/program", folder);
    assert_int_equal(base_read_file(&error, &data, &bytes, "/bin/true"), 0);
    data[18] = (char)183; /* e_machine: aarch64 */
    write_file(path, data, bytes);
    assert_int_equal(image_open(&error, &image, path), -1);
    assert_non_null(strstr(error.text, "x86-64"));
    data[18] = 62;
    write_file(path, data, bytes);
    chmod(path, 04755);
    image = open_image(path);
    assert_true(image_traits(image).set_id);
    image_close(image);
    free(data);
    unlink(path);
    rmdir(folder);
}

static void finds_programs(void **state)
{
    (void)state;
    struct base_error error;
    char path[4096], script[] = "/tmp/test_image_script.XXXXXX";
    assert_int_equal(image_find_program(&error, path, "env"), 0);
    assert_non_null(strstr(path, "/env"));
    assert_int_equal(image_find_program(&error, path, "no-such-program-anywhere"), -1);
    int fd = mkstemp(script);
    assert_int_equal(write(fd, "#! /bin/sh -e\n", 14), 14);
    fchmod(fd, 0700);
    close(fd);
    assert_int_equal(image_find_program(&error, path, script), 0);
    assert_string_equal(path, "/bin/sh");
    assert_int_equal(image_find_file(&error, path, script), 0);
    assert_string_equal(path, script);
    chmod(script, 0600);
    assert_int_equal(image_find_program(&error, path, script), -1);
    unlink(script);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_itself),     cmocka_unit_test(knows_return_kinds),
        cmocka_unit_test(matches_patterns), cmocka_unit_test(reads_stripped_binaries),
        cmocka_unit_test(survives_damage),  cmocka_unit_test(refuses_by_name),
        cmocka_unit_test(finds_programs),
    };
    return cmocka_run_group_tests_name("image", tests, NULL, NULL);
}
