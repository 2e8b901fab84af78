/* Records of the bus: what is written is read back, whatever is cut, lengthened or out of bounds is refused by name. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "wire/wire.h"

#include <stdlib.h>
#include <string.h>

static void fill_place(struct wire_place *place, uint64_t offset)
{
    memset(place, 0, sizeof *place);
    place->build_id_bytes = 20;
    memset(place->build_id, (int)offset, 20);
    place->offset = offset;
    strcpy(place->object, "mod_fragile.so");
    strcpy(place->symbol, "price_of");
}

static void fill_alert(struct wire_alert *alert)
{
    memset(alert, 0, sizeof *alert);
    memset(alert->id, 5, sizeof alert->id);
    alert->time_ns = 1234567890123456789u;
    alert->kind = CORE_FAULT_HEAP_OVERFLOW;
    alert->detector = CORE_DETECTOR_INTRINSIC;
    alert->outcome = CORE_OUTCOME_UNDONE;
    alert->access = 1;
    alert->is_protected = alert->has_function = alert->has_rescue = 1;
    alert->signal = 11;
    alert->not_undone = 3;
    alert->count = 7;
    alert->address = 0x7fffdeadbeef;
    alert->bytes = 16;
    alert->distance = -8;
    alert->object_bytes = 24;
    alert->returned = UINT64_MAX;
    fill_place(&alert->function, 0x1230);
    fill_place(&alert->rescue, 0x4560);
    alert->stack_frames = 3;
    alert->alloc_frames = 2;
    alert->free_frames = 1;
    for (unsigned i = 0; i < 3; i++)
        fill_place(&alert->stack[i], 100 + i);
    fill_place(&alert->alloc_stack[0], 200);
    fill_place(&alert->alloc_stack[1], 201);
    fill_place(&alert->free_stack[0], 300);
}

static void fill_vaccine(struct wire_vaccine *vaccine)
{
    memset(vaccine, 0, sizeof *vaccine);
    memset(vaccine->id, 9, sizeof vaccine->id);
    vaccine->state = WIRE_VACCINE_TRIED;
    vaccine->kind = CORE_FAULT_STACK_SMASH;
    vaccine->created_ns = 77;
    vaccine->alerts = 3;
    vaccine->undone = 2;
    vaccine->crashed = 1;
    vaccine->members = 2;
    fill_place(&vaccine->function, 0x40);
    vaccine->rescue_points = 2;
    fill_place(&vaccine->rescue[0], 0x40);
    fill_place(&vaccine->rescue[1], 0x80);
    vaccine->evidence_ids = 1;
    memset(vaccine->evidence[0], 4, WIRE_ID_BYTES);
}

static void fill_status(struct wire_status *status)
{
    memset(status, 0, sizeof *status);
    status->state = WIRE_MEMBER_RUNNING;
    status->interval_ms = 1000;
    status->started_ns = 5;
    status->program_pid = 4711;
    status->functions = 2000;
    status->supervised = 20;
    status->queued = 1;
    status->manifest = 99;
    fill_place(&status->program, 0);
    status->counter_count = 3;
    status->counters[2] = UINT64_MAX;
    status->refusal_count = 2;
    status->refusals[1] = 8;
}

static void fill_envelope(struct wire_envelope *envelope, const void *payload, size_t bytes)
{
    memset(envelope, 0, sizeof *envelope);
    envelope->type = WIRE_TYPE_ALERT;
    envelope->sequence = 12;
    envelope->time_ns = 13;
    strcpy(envelope->subject, "alert.web1.fault");
    memset(envelope->sender.community, 1, 32);
    memset(envelope->sender.key, 2, 32);
    envelope->sender.role = WIRE_ROLE_MEMBER;
    envelope->sender.serial = 3;
    strcpy(envelope->sender.name, "web1");
    memset(envelope->sender.signature, 4, 64);
    envelope->payload = payload;
    envelope->payload_bytes = bytes;
}

/* Decoders of all records behind one type. */
static union {
    struct wire_alert alert;
    struct wire_vaccine vaccine;
    struct wire_status status;
    struct wire_ask ask;
    struct wire_bundle bundle;
    struct wire_receipt receipt;
    struct wire_envelope envelope;
    struct wire_certificate certificate;
    struct wire_roster roster;
    struct wire_bid bid;
} out;
static char told_by[WIRE_MEMBER_NAME];

static enum wire_verdict decode_alert(const void *data, size_t bytes)
{
    return wire_alert_decode(&out.alert, data, bytes);
}
static enum wire_verdict decode_told(const void *data, size_t bytes)
{
    return wire_told_decode(told_by, &out.alert, data, bytes);
}
static enum wire_verdict decode_vaccine(const void *data, size_t bytes)
{
    return wire_vaccine_decode(&out.vaccine, data, bytes);
}
static enum wire_verdict decode_status(const void *data, size_t bytes)
{
    return wire_status_decode(&out.status, data, bytes);
}
static enum wire_verdict decode_ask(const void *data, size_t bytes)
{
    return wire_ask_decode(&out.ask, data, bytes);
}
static enum wire_verdict decode_bundle(const void *data, size_t bytes)
{
    return wire_bundle_decode(&out.bundle, data, bytes);
}
static enum wire_verdict decode_receipt(const void *data, size_t bytes)
{
    return wire_receipt_decode(&out.receipt, data, bytes);
}
static enum wire_verdict decode_envelope(const void *data, size_t bytes)
{
    return wire_envelope_decode(&out.envelope, data, bytes);
}
static enum wire_verdict decode_certificate(const void *data, size_t bytes)
{
    return wire_certificate_decode(&out.certificate, data, bytes);
}

static enum wire_verdict decode_roster(const void *data, size_t bytes)
{
    return wire_roster_decode(&out.roster, data, bytes);
}
static enum wire_verdict decode_bid(const void *data, size_t bytes)
{
    return wire_bid_decode(&out.bid, data, bytes);
}

/* One good example of each record. */
struct example {
    const char *name;
    enum wire_verdict (*decode)(const void *data, size_t bytes);
    uint8_t data[WIRE_ALERT_ROOM + 64];
    size_t bytes;
};

enum { EXAMPLES = 11 };
static struct example examples[EXAMPLES];

static int make_examples(void **state)
{
    static struct wire_alert alert;
    struct wire_vaccine vaccine;
    struct wire_status status;
    struct wire_envelope envelope;
    const struct wire_held held[2] = {{.id = {1}, .sequence = 2}, {.id = {3}, .sequence = 4}};
    const struct wire_ask ask = {
        .wanted = 3, .token = 5, .manifest_sequence = 6, .held_count = 2, .held = held};
    const uint8_t envelopes[] = {3, 0, 0, 0, 'a', 'b', 'c', 0, 0, 0, 0}, wanted[WIRE_ID_BYTES] = {8};
    const struct wire_bundle bundle = {.token = 5,
                                       .more = 1,
                                       .wanted_count = 1,
                                       .wanted = wanted,
                                       .envelope_count = 2,
                                       .envelopes = envelopes,
                                       .envelopes_bytes = sizeof envelopes};
    const struct wire_receipt receipt = {.alert = {1}, .vaccine = {2}, .verdict = WIRE_DUPLICATE};
    const struct wire_roster roster = {.manifest = 1, .epoch = 2, .sitting = 3, .version = 2, .members = 5};
    const uint8_t died[5] = {0, 1, 0, 0, 2};
    const struct wire_bid bid = {.sitting = 3, .from = 1, .to = 2, .life = 9, .since = 2, .kind = 1};
    (void)state;
    fill_alert(&alert);
    fill_vaccine(&vaccine);
    fill_status(&status);
    fill_envelope(&envelope, "payload", 7);
    struct example *e = examples;
    size_t room = sizeof e->data;
    *e = (struct example){.name = "alert", .decode = decode_alert};
    e->bytes = wire_alert_encode(e->data, room, &alert);
    *++e = (struct example){.name = "told", .decode = decode_told};
    e->bytes = wire_told_encode(e->data, room, "web1", &alert);
    *++e = (struct example){.name = "vaccine", .decode = decode_vaccine};
    e->bytes = wire_vaccine_encode(e->data, room, &vaccine);
    *++e = (struct example){.name = "status", .decode = decode_status};
    e->bytes = wire_status_encode(e->data, room, &status);
    *++e = (struct example){.name = "ask", .decode = decode_ask};
    e->bytes = wire_ask_encode(e->data, room, &ask);
    *++e = (struct example){.name = "bundle", .decode = decode_bundle};
    e->bytes = wire_bundle_encode(e->data, room, &bundle);
    *++e = (struct example){.name = "receipt", .decode = decode_receipt};
    e->bytes = wire_receipt_encode(e->data, room, &receipt);
    *++e = (struct example){.name = "envelope", .decode = decode_envelope};
    e->bytes = wire_envelope_encode(e->data, room, &envelope);
    memset(e->data + e->bytes, 6, WIRE_SIGNATURE_BYTES);
    e->bytes += WIRE_SIGNATURE_BYTES;
    *++e = (struct example){.name = "certificate", .decode = decode_certificate};
    e->bytes = wire_certificate_encode(e->data, room, &envelope.sender);
    *++e = (struct example){.name = "roster", .decode = decode_roster};
    e->bytes = wire_roster_encode(e->data, room, &roster, died);
    *++e = (struct example){.name = "bid", .decode = decode_bid};
    e->bytes = wire_bid_encode(e->data, room, &bid);
    return 0;
}

static void test_round_trip(void **state)
{
    static struct wire_alert alert;
    struct wire_vaccine vaccine;
    struct wire_status status;
    (void)state;
    for (unsigned i = 0; i < EXAMPLES; i++) {
        assert_true(examples[i].bytes > 0);
        assert_int_equal(examples[i].decode(examples[i].data, examples[i].bytes), WIRE_OK);
    }
    fill_alert(&alert);
    decode_alert(examples[0].data, examples[0].bytes);
    assert_memory_equal(&out.alert, &alert, sizeof alert);
    memset(&out.alert, 0, sizeof out.alert);
    decode_told(examples[1].data, examples[1].bytes);
    assert_memory_equal(&out.alert, &alert, sizeof alert);
    assert_string_equal(told_by, "web1");
    fill_vaccine(&vaccine);
    decode_vaccine(examples[2].data, examples[2].bytes);
    assert_memory_equal(&out.vaccine, &vaccine, sizeof vaccine);
    fill_status(&status);
    decode_status(examples[3].data, examples[3].bytes);
    assert_memory_equal(&out.status, &status, sizeof status);
    decode_ask(examples[4].data, examples[4].bytes);
    assert_int_equal(wire_ask_held(&out.ask, 1).sequence, 4);
    assert_int_equal(wire_ask_held(&out.ask, 1).id[0], 3);
    decode_bundle(examples[5].data, examples[5].bytes);
    const uint8_t *inner;
    size_t at = 0, bytes;
    assert_true(wire_bundle_next(&out.bundle, &at, &inner, &bytes));
    assert_int_equal(bytes, 3);
    assert_memory_equal(inner, "abc", 3);
    assert_true(wire_bundle_next(&out.bundle, &at, &inner, &bytes));
    assert_int_equal(bytes, 0);
    assert_false(wire_bundle_next(&out.bundle, &at, &inner, &bytes));
    decode_envelope(examples[7].data, examples[7].bytes);
    assert_int_equal(out.envelope.payload_bytes, 7);
    assert_memory_equal(out.envelope.payload, "payload", 7);
    assert_string_equal(out.envelope.sender.name, "web1");
    assert_int_equal(out.envelope.signed_bytes, examples[7].bytes - WIRE_SIGNATURE_BYTES);
    uint8_t died[5] = {9, 9, 9, 9, 9};
    const uint8_t wanted[5] = {0, 1, 0, 0, 2};
    decode_roster(examples[9].data, examples[9].bytes);
    assert_true(out.roster.epoch == 2 && out.roster.sitting == 3 && out.roster.members == 5);
    wire_roster_died(died, &out.roster);
    assert_memory_equal(died, wanted, sizeof died);
    decode_bid(examples[10].data, examples[10].bytes);
    assert_true(out.bid.from == 1 && out.bid.to == 2 && out.bid.life == 9 && out.bid.since == 2 &&
                out.bid.kind == 1);
}

/* Somebody is there; the absent stand in order, once, and died in a version that there has been. */
static void test_roster_range(void **state)
{
    struct wire_roster roster = {.epoch = 2, .sitting = 3, .version = 2, .members = 3};
    const uint8_t nobody[3] = {1, 1, 2}, later[3] = {0, 3, 0}, fine[3] = {0, 1, 1};
    uint8_t data[128];
    (void)state;
    assert_int_equal(decode_roster(data, wire_roster_encode(data, sizeof data, &roster, nobody)), WIRE_RANGE);
    assert_int_equal(decode_roster(data, wire_roster_encode(data, sizeof data, &roster, later)), WIRE_RANGE);
    size_t bytes = wire_roster_encode(data, sizeof data, &roster, fine);
    assert_int_equal(decode_roster(data, bytes), WIRE_OK);
    data[bytes - 5] = 1; /* the second absent member is the first once more */
    assert_int_equal(decode_roster(data, bytes), WIRE_RANGE);
    roster.version = 0;
    assert_int_equal(wire_roster_encode(data, sizeof data, &roster, fine), 0);
}

/* Cut anywhere it is refused; so with a byte too many. The copy ends where the record does, for the sanitizers. */
static void test_truncated_and_longer(void **state)
{
    (void)state;
    for (unsigned i = 0; i < EXAMPLES; i++) {
        for (size_t cut = 0; cut < examples[i].bytes; cut++) {
            uint8_t *copy = malloc(cut ? cut : 1);
            memcpy(copy, examples[i].data, cut);
            assert_int_not_equal(examples[i].decode(copy, cut), WIRE_OK);
            free(copy);
        }
        uint8_t *longer = malloc(examples[i].bytes + 1);
        memcpy(longer, examples[i].data, examples[i].bytes);
        longer[examples[i].bytes] = 0;
        assert_int_equal(examples[i].decode(longer, examples[i].bytes + 1), WIRE_TRAILING);
        free(longer);
    }
}

/* Any byte changed in any way: read or refused, never out of bounds (the sanitizers watch), never out of range. */
static void test_mutated(void **state)
{
    struct core_rng rng;
    (void)state;
    core_rng_seed(&rng, 42);
    for (unsigned i = 0; i < EXAMPLES; i++) {
        uint8_t *copy = malloc(examples[i].bytes);
        for (size_t at = 0; at < examples[i].bytes; at++) {
            for (unsigned change = 0; change < 8; change++) {
                memcpy(copy, examples[i].data, examples[i].bytes);
                copy[at] = change == 0 ? 0 : change == 1 ? 0xff : (uint8_t)core_rng_next(&rng);
                if (examples[i].decode(copy, examples[i].bytes) == WIRE_OK &&
                    examples[i].decode == decode_alert) {
                    assert_true(out.alert.kind < CORE_FAULT_COUNT);
                    assert_true(out.alert.stack_frames <= WIRE_FRAMES_MAX);
                    assert_true(out.alert.function.build_id_bytes <= WIRE_BUILD_ID_BYTES);
                }
            }
        }
        free(copy);
    }
}

static void test_no_room(void **state)
{
    static struct wire_alert alert;
    struct wire_vaccine vaccine;
    struct wire_status status;
    struct wire_envelope envelope;
    uint8_t data[WIRE_ALERT_ROOM];
    (void)state;
    fill_alert(&alert);
    fill_vaccine(&vaccine);
    fill_status(&status);
    fill_envelope(&envelope, "payload", 7);
    for (size_t room = 0; room < examples[0].bytes; room++)
        assert_int_equal(wire_alert_encode(data, room, &alert), 0);
    for (size_t room = 0; room < examples[2].bytes; room++)
        assert_int_equal(wire_vaccine_encode(data, room, &vaccine), 0);
    for (size_t room = 0; room < examples[3].bytes; room++)
        assert_int_equal(wire_status_encode(data, room, &status), 0);
    for (size_t room = 0; room < examples[7].bytes; room++)
        assert_int_equal(wire_envelope_encode(data, room, &envelope), 0);
}

/* The largest records fit the rooms that the headers promise. */
static void test_largest(void **state)
{
    static struct wire_alert alert;
    static uint8_t data[WIRE_ALERT_ROOM];
    struct wire_vaccine vaccine;
    struct wire_status status;
    struct wire_place place;
    (void)state;
    fill_place(&place, UINT32_MAX);
    memset(place.object, 'o', sizeof place.object - 1);
    memset(place.symbol, 's', sizeof place.symbol - 1);
    fill_alert(&alert);
    alert.stack_frames = WIRE_FRAMES_MAX;
    alert.alloc_frames = alert.free_frames = WIRE_HEAP_FRAMES_MAX;
    alert.function = alert.rescue = place;
    for (unsigned i = 0; i < WIRE_FRAMES_MAX; i++)
        alert.stack[i] = place;
    for (unsigned i = 0; i < WIRE_HEAP_FRAMES_MAX; i++)
        alert.alloc_stack[i] = alert.free_stack[i] = place;
    size_t n = wire_alert_encode(data, sizeof data, &alert);
    assert_true(n > 0);
    assert_int_equal(wire_alert_decode(&out.alert, data, n), WIRE_OK);
    alert.stack_frames = WIRE_FRAMES_MAX + 1;
    assert_int_equal(wire_alert_encode(data, sizeof data, &alert), 0);
    fill_vaccine(&vaccine);
    vaccine.rescue_points = WIRE_RESCUE_MAX;
    vaccine.evidence_ids = WIRE_EVIDENCE_MAX;
    vaccine.function = place;
    for (unsigned i = 0; i < WIRE_RESCUE_MAX; i++)
        vaccine.rescue[i] = place;
    n = wire_vaccine_encode(data, WIRE_VACCINE_ROOM, &vaccine);
    assert_true(n > 0);
    assert_int_equal(wire_vaccine_decode(&out.vaccine, data, n), WIRE_OK);
    fill_status(&status);
    status.counter_count = WIRE_STATUS_COUNTERS;
    status.refusal_count = WIRE_STATUS_VERDICTS;
    status.program = place;
    n = wire_status_encode(data, WIRE_STATUS_ROOM, &status);
    assert_true(n > 0);
    assert_int_equal(wire_status_decode(&out.status, data, n), WIRE_OK);
}

static enum wire_verdict recode(const struct wire_alert *alert)
{
    static uint8_t data[WIRE_ALERT_ROOM];
    return wire_alert_decode(&out.alert, data, wire_alert_encode(data, sizeof data, alert));
}

static void test_ranges(void **state)
{
    static struct wire_alert alert;
    struct wire_vaccine vaccine;
    uint8_t data[WIRE_VACCINE_ROOM];
    (void)state;
    fill_alert(&alert);
    alert.kind = CORE_FAULT_COUNT;
    assert_int_equal(recode(&alert), WIRE_RANGE);
    alert.kind = CORE_FAULT_NONE;
    assert_int_equal(recode(&alert), WIRE_RANGE);
    fill_alert(&alert);
    alert.count = 0;
    assert_int_equal(recode(&alert), WIRE_RANGE);
    fill_alert(&alert);
    alert.signal = -1;
    assert_int_equal(recode(&alert), WIRE_RANGE);
    fill_alert(&alert);
    alert.function.offset = 1ull << 32;
    assert_int_equal(recode(&alert), WIRE_RANGE);
    fill_alert(&alert);
    alert.function.build_id_bytes = 0;
    assert_int_equal(recode(&alert), WIRE_RANGE);
    fill_vaccine(&vaccine);
    vaccine.function.build_id_bytes = 0;
    assert_int_equal(
        wire_vaccine_decode(&out.vaccine, data, wire_vaccine_encode(data, sizeof data, &vaccine)),
        WIRE_RANGE);
}

/* A program's symbols may be anything; they must not make the report unsendable, nor reach a terminal as they are. */
static void test_text(void **state)
{
    static struct wire_alert alert;
    uint8_t data[WIRE_ALERT_ROOM];
    (void)state;
    fill_alert(&alert);
    strcpy(alert.function.symbol, "bad\x1b[31m\xff");
    size_t n = wire_alert_encode(data, sizeof data, &alert);
    assert_int_equal(wire_alert_decode(&out.alert, data, n), WIRE_OK);
    assert_string_equal(out.alert.function.symbol, "bad?[31m?");
    uint8_t *found = memmem(data, n, "bad?[", 5);
    assert_non_null(found);
    found[3] = 0x1b;
    assert_int_equal(wire_alert_decode(&out.alert, data, n), WIRE_TEXT);
}

static void test_names(void **state)
{
    (void)state;
    assert_true(wire_name_valid("a"));
    assert_true(wire_name_valid("web-1_B"));
    assert_true(wire_name_valid("abcdefghijklmnopqrstuvwxyz123456"));
    assert_false(wire_name_valid("abcdefghijklmnopqrstuvwxyz1234567"));
    assert_false(wire_name_valid(""));
    assert_false(wire_name_valid("-a"));
    assert_false(wire_name_valid("a.b"));
    assert_false(wire_name_valid("a*"));
    assert_false(wire_name_valid("a>"));
    assert_false(wire_name_valid("../a"));
    assert_false(wire_name_valid("a b"));
    assert_string_equal(wire_verdict_name(WIRE_REPLAY), "replay");
    assert_string_equal(wire_verdict_name(WIRE_VERDICT_COUNT), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),   cmocka_unit_test(test_truncated_and_longer),
        cmocka_unit_test(test_mutated),      cmocka_unit_test(test_no_room),
        cmocka_unit_test(test_largest),      cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_roster_range), cmocka_unit_test(test_text),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, make_examples, NULL);
}
