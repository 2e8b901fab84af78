/* Slices as members work them out: together they watch what the manifest says, at every moment. */
#include "member/slice.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { FUNCTIONS = 20, MEMBERS = 7, QUANTA = 12, QUANTUM_MS = 1000 };
static const uint8_t build_id[2][20] = {{1}, {2}};

static uint64_t tokens_of(int f)
{
    const uint64_t all = (uint64_t)MEMBERS * QUANTA;
    return f % 5 == 4 ? all : f == 7 ? 0 : (uint64_t)QUANTA * (uint64_t)(1 + f % 3);
}

static enum wire_manifest_assign assign;

static size_t manifest(uint8_t *data, size_t room, uint32_t members)
{
    struct wire_manifest header = {.assign = (uint8_t)assign,
                                   .members = members,
                                   .quanta = QUANTA,
                                   .quantum_ms = QUANTUM_MS,
                                   .total = 100000,
                                   .object_count = 2,
                                   .function_count = FUNCTIONS};
    struct wire_manifest_writer writer = {.data = data, .room = room};
    wire_manifest_begin(&writer, &header);
    for (int o = 0; o < 2; o++)
        wire_manifest_add_object(&writer, &(struct wire_manifest_object){build_id[o], 20, "object", 6});
    for (int f = 0; f < FUNCTIONS; f++)
        wire_manifest_add_function(
            &writer, &(struct wire_manifest_function){.object = f >= 10,
                                                      .offset = (uint32_t)(f % 10 * 16),
                                                      .cost = (uint64_t)(f * f),
                                                      .risk_ppm = 1000000,
                                                      .tokens = members == 1 ? QUANTA : tokens_of(f),
                                                      .name = "function",
                                                      .name_bytes = 8});
    wire_manifest_end(&writer);
    return writer.used;
}

static void together_they_cover(void **state)
{
    (void)state;
    uint8_t data[4096];
    size_t bytes = manifest(data, sizeof data, MEMBERS);
    struct member__slice *slices[MEMBERS];
    struct base_error error;
    for (uint32_t m = 0; m < MEMBERS; m++)
        assert_int_equal(member__slice_make(&error, &slices[m], data, bytes, m), 0);
    /* Three epochs, the clock of the day somewhere in this century. */
    uint64_t start = 1750000000000000000ull;
    for (uint64_t quantum = 0; quantum < 3 * QUANTA; quantum++) {
        int watchers[FUNCTIONS] = {0};
        for (int m = 0; m < MEMBERS; m++) {
            member__slice_set_time(slices[m], start + quantum * QUANTUM_MS * 1000000ull);
            for (int f = 0; f < FUNCTIONS; f++)
                watchers[f] +=
                    member__slice_watches(slices[m], build_id[f >= 10], 20, (uint64_t)(f % 10 * 16));
        }
        for (int f = 0; f < FUNCTIONS; f++)
            assert_int_equal(watchers[f], tokens_of(f) / QUANTA);
    }
    assert_false(member__slice_watches(slices[0], build_id[0], 20, 8));
    assert_false(member__slice_watches(slices[0], build_id[0], 19, 64));
    assert_true(member__slice_knows(slices[0], build_id[1], 20));
    const uint8_t other[20] = {3};
    assert_false(member__slice_knows(slices[0], other, 20));
    for (int m = 0; m < MEMBERS; m++)
        member__slice_free(slices[m]);
}

/* Bidding cuts functions into several lots for one member. */
static void together_they_cover_by_bids(void **state)
{
    assign = WIRE_MANIFEST_BID;
    together_they_cover(state);
    assign = WIRE_MANIFEST_CENTRAL;
}

/* Between the moments that are announced nothing changes. */
static void changes_are_announced(void **state)
{
    (void)state;
    uint8_t data[4096];
    size_t bytes = manifest(data, sizeof data, MEMBERS);
    struct member__slice *slice;
    struct base_error error;
    for (uint32_t m = 0; m < MEMBERS; m++) {
        assert_int_equal(member__slice_make(&error, &slice, data, bytes, m), 0);
        bool before[FUNCTIONS], now[FUNCTIONS];
        uint64_t change = 0;
        for (uint64_t t = 1; t < 30 * QUANTUM_MS; t += 250) {
            member__slice_set_time(slice, t * 1000000);
            uint32_t at = 0;
            struct member__slice_part part;
            memset(now, 0, sizeof now);
            while (member__slice_next(&part, &at, slice))
                now[part.offset / 16 + (size_t)(part.build_id[0] == 2 ? 10 : 0)] = part.now;
            if (t * 1000000 < change)
                assert_memory_equal(before, now, sizeof now);
            memcpy(before, now, sizeof now);
            change = member__slice_changes_at(slice);
            assert_true(change > t * 1000000);
        }
        member__slice_free(slice);
    }
}

static void alone(void **state)
{
    (void)state;
    uint8_t data[4096];
    size_t bytes = manifest(data, sizeof data, 1);
    struct member__slice *slice;
    struct base_error error;
    assert_int_equal(member__slice_make(&error, &slice, data, bytes, 5), 0);
    member__slice_set_time(slice, 12345678901ull);
    for (int f = 0; f < FUNCTIONS; f++)
        assert_true(member__slice_watches(slice, build_id[f >= 10], 20, (uint64_t)(f % 10 * 16)));
    assert_true(member__slice_changes_at(slice) == UINT64_MAX);
    member__slice_free(slice);
}

static void refused(void **state)
{
    (void)state;
    uint8_t data[4096];
    size_t bytes = manifest(data, sizeof data, MEMBERS);
    struct member__slice *slice;
    struct base_error error;
    data[30] ^= 1;
    assert_int_equal(member__slice_make(&error, &slice, data, bytes, 0), -1);
    assert_int_equal(error.exit, BASE_EXIT_INPUT);
    assert_int_equal(member__slice_make(&error, &slice, data, 0, 0), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(together_they_cover),
        cmocka_unit_test(together_they_cover_by_bids),
        cmocka_unit_test(changes_are_announced),
        cmocka_unit_test(alone),
        cmocka_unit_test(refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
