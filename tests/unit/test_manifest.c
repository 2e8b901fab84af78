/* Manifests: what is written is read, and nothing else is. */
#include "wire/manifest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { ROOM = 4096 };

static const uint8_t build_id[20] = {1, 2, 3, 4, 5};
static const struct wire_manifest_object objects[] = {
    {build_id, 20, "apache2", 7},
    {build_id, 8, "libapr-1.so.0", 13},
};
static const struct wire_manifest_function functions[] = {
    {0, 0x1000, 500, 7, 10000000, 200, 3, "ap_read_request", 15},
    {0, 0x2000, 0, 0, 1000000, 60, WIRE_MANIFEST_NO_DISTANCE, "0x2000", 6},
    {1, 0x1000, 400, 9, 1500000, 30, 0, "operator<<(int, char)", 21},
};

static struct wire_manifest valid_header(void)
{
    return (struct wire_manifest){.metric = WIRE_MANIFEST_INSTRUCTIONS,
                                  .assign = WIRE_MANIFEST_CENTRAL,
                                  .members = 3,
                                  .quanta = 120,
                                  .quantum_ms = 1000,
                                  .eps_ppm = 10000,
                                  .seed = 42,
                                  .epoch = 1ull << 40,
                                  .total = 1000,
                                  .object_count = 2,
                                  .function_count = 3};
}

static size_t encode(uint8_t *data, size_t room, const struct wire_manifest *header,
                     const struct wire_manifest_function *list)
{
    struct wire_manifest_writer writer = {.data = data, .room = room};
    wire_manifest_begin(&writer, header);
    for (int i = 0; i < 2; i++)
        wire_manifest_add_object(&writer, &objects[i]);
    for (int i = 0; i < 3; i++)
        wire_manifest_add_function(&writer, &list[i]);
    wire_manifest_end(&writer);
    return writer.used;
}

static void round_trip(void **state)
{
    (void)state;
    uint8_t data[ROOM];
    struct wire_manifest header = valid_header(), m;
    size_t bytes = encode(NULL, 0, &header, functions);
    assert_int_equal(encode(data, sizeof data, &header, functions), bytes);
    assert_int_equal(wire_manifest_open(&m, data, bytes), WIRE_MANIFEST_OK);
    assert_true(m.members == 3 && m.quanta == 120 && m.quantum_ms == 1000 && m.eps_ppm == 10000 &&
                m.seed == 42 && m.epoch == 1ull << 40 && m.total == 1000 && m.object_count == 2 &&
                m.function_count == 3);
    struct wire_manifest_cursor at = {0};
    struct wire_manifest_object o;
    int count = 0;
    for (; wire_manifest_next_object(&o, &at, &m); count++) {
        assert_int_equal(o.build_id_bytes, objects[count].build_id_bytes);
        assert_memory_equal(o.build_id, objects[count].build_id, o.build_id_bytes);
        assert_int_equal(o.name_bytes, objects[count].name_bytes);
        assert_memory_equal(o.name, objects[count].name, o.name_bytes);
    }
    assert_int_equal(count, 2);
    at = (struct wire_manifest_cursor){0};
    struct wire_manifest_function f;
    for (count = 0; wire_manifest_next_function(&f, &at, &m); count++) {
        const struct wire_manifest_function *want = &functions[count];
        assert_true(f.object == want->object && f.offset == want->offset && f.cost == want->cost &&
                    f.calls == want->calls && f.risk_ppm == want->risk_ppm && f.tokens == want->tokens &&
                    f.distance == want->distance && f.name_bytes == want->name_bytes);
        assert_memory_equal(f.name, want->name, f.name_bytes);
    }
    assert_int_equal(count, 3);
}

/* Cut off at every byte, in memory of exactly that size, so that a sanitizer sees a read beyond it. */
static void cut_off(void **state)
{
    (void)state;
    uint8_t data[ROOM];
    struct wire_manifest header = valid_header(), m;
    size_t bytes = encode(data, sizeof data, &header, functions);
    for (size_t cut = 0; cut < bytes; cut++) {
        uint8_t *part = malloc(cut ? cut : 1);
        memcpy(part, data, cut);
        assert_int_equal(wire_manifest_open(&m, part, cut), WIRE_MANIFEST_SHORT);
        free(part);
    }
    data[bytes] = 0;
    assert_int_equal(wire_manifest_open(&m, data, bytes + 1), WIRE_MANIFEST_TRAILING);
}

/* Every single bit turned over is noticed, whatever it does to the lengths. */
static void damaged(void **state)
{
    (void)state;
    uint8_t data[ROOM];
    struct wire_manifest header = valid_header(), m;
    size_t bytes = encode(data, sizeof data, &header, functions);
    for (size_t bit = 0; bit < 8 * bytes; bit++) {
        uint8_t *copy = malloc(bytes);
        memcpy(copy, data, bytes);
        copy[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_not_equal(wire_manifest_open(&m, copy, bytes), WIRE_MANIFEST_OK);
        free(copy);
    }
}

/* Well encoded, but not to be believed. */
static void out_of_range(void **state)
{
    (void)state;
    uint8_t data[ROOM];
    struct wire_manifest m;
#define HEADER(field, value, want)                                                                           \
    do {                                                                                                     \
        struct wire_manifest header = valid_header();                                                        \
        header.field = value;                                                                                \
        size_t bytes = encode(data, sizeof data, &header, functions);                                        \
        assert_int_equal(wire_manifest_open(&m, data, bytes), want);                                         \
    } while (0)
#define FUNCTION(number, field, value, want)                                                                 \
    do {                                                                                                     \
        struct wire_manifest header = valid_header();                                                        \
        struct wire_manifest_function list[3];                                                               \
        memcpy(list, functions, sizeof list);                                                                \
        list[number].field = value;                                                                          \
        size_t bytes = encode(data, sizeof data, &header, list);                                             \
        assert_int_equal(wire_manifest_open(&m, data, bytes), want);                                         \
    } while (0)
    HEADER(members, 0, WIRE_MANIFEST_RANGE);
    HEADER(members, WIRE_MANIFEST_MEMBERS_MAX + 1, WIRE_MANIFEST_RANGE);
    HEADER(quanta, 0, WIRE_MANIFEST_RANGE);
    HEADER(quantum_ms, 0, WIRE_MANIFEST_RANGE);
    HEADER(metric, 2, WIRE_MANIFEST_RANGE);
    HEADER(assign, 3, WIRE_MANIFEST_RANGE);
    HEADER(eps_ppm, 1000001, WIRE_MANIFEST_RANGE);
    HEADER(total, 899, WIRE_MANIFEST_RANGE);
    HEADER(object_count, 0, WIRE_MANIFEST_RANGE);
    HEADER(function_count, 0, WIRE_MANIFEST_RANGE);
    HEADER(function_count, WIRE_MANIFEST_FUNCS_MAX + 1, WIRE_MANIFEST_RANGE);
    FUNCTION(0, object, 2, WIRE_MANIFEST_RANGE);
    FUNCTION(0, risk_ppm, 999999, WIRE_MANIFEST_RANGE);
    FUNCTION(0, risk_ppm, WIRE_MANIFEST_RISK_MAX + 1, WIRE_MANIFEST_RANGE);
    FUNCTION(1, tokens, 361, WIRE_MANIFEST_RANGE);
    FUNCTION(1, tokens, 360, WIRE_MANIFEST_OK);
    FUNCTION(1, cost, UINT64_MAX, WIRE_MANIFEST_RANGE);
    FUNCTION(1, offset, 0x1000, WIRE_MANIFEST_ORDER);
    FUNCTION(0, object, 1, WIRE_MANIFEST_ORDER);
    FUNCTION(0, name, "ap_read\nrequest", WIRE_MANIFEST_TEXT);
    FUNCTION(0, name_bytes, 0, WIRE_MANIFEST_TEXT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),
        cmocka_unit_test(cut_off),
        cmocka_unit_test(damaged),
        cmocka_unit_test(out_of_range),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
