/* core: names, patterns, hash, generator. */
#include "core/core.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void names_are_there_and_differ(void **state)
{
    (void)state;
    for (unsigned a = 0; a < CORE_FAULT_COUNT; a++) {
        assert_int_equal(core_fault_from_name(core_fault_name(a)), a);
        for (unsigned b = 0; b < a; b++)
            assert_string_not_equal(core_fault_name(a), core_fault_name(b));
    }
    for (unsigned a = 0; a < CORE_COUNTER_COUNT; a++)
        for (unsigned b = 0; b < a; b++)
            assert_string_not_equal(core_counter_name(a), core_counter_name(b));
    for (unsigned a = 0; a < CORE_REFUSAL_COUNT; a++)
        for (unsigned b = 0; b < a; b++)
            assert_string_not_equal(core_refusal_name(a), core_refusal_name(b));
}

static void names_out_of_range_are_unknown(void **state)
{
    (void)state;
    assert_string_equal(core_fault_name(CORE_FAULT_COUNT), "unknown");
    assert_string_equal(core_detector_name(~0u), "unknown");
    assert_string_equal(core_outcome_name(CORE_OUTCOME_COUNT), "unknown");
    assert_string_equal(core_refusal_name(~0u), "unknown");
    assert_string_equal(core_counter_name(CORE_COUNTER_COUNT), "unknown");
    assert_int_equal(core_fault_from_name("heap"), CORE_FAULT_NONE);
    assert_int_equal(core_fault_from_name("heap-overflow-x"), CORE_FAULT_NONE);
    assert_int_equal(core_fault_from_name(""), CORE_FAULT_NONE);
}

/* The definition of a pattern, spelled out without any cleverness. */
static bool glob_by_definition(const char *pattern, const char *text)
{
    if (!*pattern)
        return !*text;
    if (*pattern == '*')
        return glob_by_definition(pattern + 1, text) || (*text && glob_by_definition(pattern, text + 1));
    return *text && (*pattern == '?' || *pattern == *text) && glob_by_definition(pattern + 1, text + 1);
}

/* The `index`-th word over `letters`: its digits in base strlen(letters) + 1, up to a zero. Returns false for
   an index that has none, because a zero digit stands in its middle. */
static bool word(char *out, unsigned index, const char *letters)
{
    unsigned base = (unsigned)strlen(letters) + 1;
    for (; index; index /= base) {
        if (index % base == 0)
            return false;
        *out++ = letters[index % base - 1];
    }
    *out = 0;
    return true;
}

static void glob_agrees_with_its_definition(void **state)
{
    (void)state;
    char pattern[16], text[16];
    unsigned compared = 0;
    for (unsigned p = 0; p < 5 * 5 * 5 * 5 * 5; p++) {
        if (!word(pattern, p, "ab*?"))
            continue;
        for (unsigned t = 0; t < 3 * 3 * 3 * 3 * 3 * 3; t++) {
            if (!word(text, t, "ab"))
                continue;
            assert_int_equal(core_glob(pattern, text), glob_by_definition(pattern, text));
            compared++;
        }
    }
    assert_true(compared > 100000);
}

static void hash_is_fnv_1a(void **state)
{
    (void)state;
    assert_true(core_hash(CORE_HASH_SEED, "", 0) == 0xcbf29ce484222325ull);
    assert_true(core_hash(CORE_HASH_SEED, "a", 1) == 0xaf63dc4c8601ec8cull);
    assert_true(core_hash(CORE_HASH_SEED, "foobar", 6) == 0x85944171f73967e8ull);
    assert_true(core_hash(core_hash(CORE_HASH_SEED, "foo", 3), "bar", 3) == 0x85944171f73967e8ull);
}

static void generator_is_xoshiro(void **state)
{
    (void)state;
    struct core_rng rng = {{1, 2, 3, 4}};
    static const uint64_t expected[] = {11520, 0, 1509978240, 1215971899390074240ull};
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++)
        assert_true(core_rng_next(&rng) == expected[i]);
}

static void generator_repeats_its_seed(void **state)
{
    (void)state;
    struct core_rng a, b, c;
    core_rng_seed(&a, 0);
    core_rng_seed(&b, 0);
    core_rng_seed(&c, 1);
    /* The first word of splitmix64 seeded with 0 is published with it. */
    assert_true(a.s[0] == 0xe220a8397b1dcdafull);
    for (int i = 0; i < 100; i++) {
        uint64_t value = core_rng_next(&a);
        assert_true(value == core_rng_next(&b));
        assert_true(value != core_rng_next(&c));
    }
}

static void unit_lies_in_its_interval(void **state)
{
    (void)state;
    struct core_rng rng;
    core_rng_seed(&rng, 7);
    double sum = 0;
    for (int i = 0; i < 100000; i++) {
        double value = core_rng_unit(&rng);
        assert_true(value >= 0 && value < 1);
        sum += value;
    }
    /* Standard error of the mean: 0.29 / sqrt(100000) = 0.0009; the bound is seven of these. */
    assert_true(sum / 100000 > 0.4936 && sum / 100000 < 0.5064);
}

static void below_is_even(void **state)
{
    (void)state;
    struct core_rng rng;
    core_rng_seed(&rng, 7);
    unsigned counts[6] = {0};
    for (int i = 0; i < 60000; i++) {
        uint64_t value = core_rng_below(&rng, 6);
        assert_true(value < 6);
        counts[value]++;
    }
    double chi_square = 0;
    for (int i = 0; i < 6; i++)
        chi_square += (counts[i] - 10000.0) * (counts[i] - 10000.0) / 10000.0;
    assert_true(chi_square < 25.7); /* five degrees of freedom, one in 10,000 */
    for (int i = 0; i < 100; i++) {
        assert_int_equal(core_rng_below(&rng, 1), 0);
        assert_true(core_rng_below(&rng, (1ull << 63) + 1) <= 1ull << 63);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_there_and_differ),
        cmocka_unit_test(names_out_of_range_are_unknown),
        cmocka_unit_test(glob_agrees_with_its_definition),
        cmocka_unit_test(hash_is_fnv_1a),
        cmocka_unit_test(generator_is_xoshiro),
        cmocka_unit_test(generator_repeats_its_seed),
        cmocka_unit_test(unit_lies_in_its_interval),
        cmocka_unit_test(below_is_even),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
