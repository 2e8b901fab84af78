/* The conversation over a bus in memory: who may say what, alert to vaccine, what survives what. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "community/community.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- a community in a temporary folder ----------------------------------------------------------------- */

static char folder[64];
static struct community_identity steward_identity, stranger;

static void remove_tree(const char *path)
{
    char inner[512];
    DIR *dir = opendir(path);
    struct dirent *entry;
    while (dir && (entry = readdir(dir))) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
            continue;
        snprintf(inner, sizeof inner, "%s/%s", path, entry->d_name);
        if (unlink(inner))
            remove_tree(inner);
    }
    if (dir)
        closedir(dir);
    rmdir(path);
}

static int set_up(void **state)
{
    char other[80];
    struct base_error error;
    (void)state;
    strcpy(folder, "/tmp/testudo-unit-XXXXXX");
    assert_non_null(mkdtemp(folder));
    assert_int_equal(community_create(&error, folder, "test"), 0);
    assert_int_equal(community_identity_load(&error, &steward_identity, folder, "steward", WIRE_ROLE_STEWARD),
                     0);
    snprintf(other, sizeof other, "%s/other", folder);
    assert_int_equal(community_create(&error, other, "other"), 0);
    assert_int_equal(community_identity_load(&error, &stranger, other, "web1", WIRE_ROLE_MEMBER), 0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    community_identity_free(&steward_identity);
    community_identity_free(&stranger);
    remove_tree(folder);
    return 0;
}

static void load_member(struct community_identity *identity, const char *name)
{
    struct base_error error;
    if (community_identity_load(&error, identity, folder, name, WIRE_ROLE_MEMBER))
        fail_msg("%s", error.text);
}

static void make_alert(struct wire_alert *alert, uint64_t offset, enum core_outcome outcome)
{
    memset(alert, 0, sizeof *alert);
    alert->time_ns = base_realtime_ns();
    alert->kind = CORE_FAULT_HEAP_OVERFLOW;
    alert->outcome = (uint8_t)outcome;
    alert->count = 1;
    alert->has_function = 1;
    alert->function.build_id_bytes = 20;
    memset(alert->function.build_id, 7, 20);
    alert->function.offset = offset;
    strcpy(alert->function.object, "server");
    strcpy(alert->function.symbol, "handle");
}

/* ---- a member that remembers what it was told ---------------------------------------------------------- */

struct heard {
    unsigned vaccines, manifests, receipts;
    struct wire_vaccine last;
    char manifest[64];
    enum wire_verdict verdict;
};

static void on_vaccine(void *ctx, const struct wire_vaccine *vaccine)
{
    struct heard *heard = ctx;
    heard->vaccines++;
    heard->last = *vaccine;
}
static void on_manifest(void *ctx, const void *data, size_t bytes, uint64_t sequence)
{
    struct heard *heard = ctx;
    assert_true(sequence > 0);
    heard->manifests++;
    snprintf(heard->manifest, sizeof heard->manifest, "%.*s", (int)bytes, (const char *)data);
}
static void on_receipt(void *ctx, const struct wire_receipt *receipt)
{
    struct heard *heard = ctx;
    heard->receipts++;
    heard->verdict = receipt->verdict;
}

static struct community_session *join(struct community_hub *hub, const struct community_identity *identity,
                                      struct heard *heard)
{
    struct base_error error;
    struct community_session *session;
    const struct community_callbacks callbacks = {
        .on_vaccine = on_vaccine, .on_manifest = on_manifest, .on_receipt = on_receipt, .ctx = heard};
    memset(heard, 0, sizeof *heard);
    if (community_join(&error, &session, identity, &callbacks, community_bus_memory(hub), false))
        fail_msg("%s", error.text);
    return session;
}

static struct community_steward *serve(struct community_hub *hub,
                                       const struct community_steward_policy *policy)
{
    struct base_error error;
    struct community_steward *steward;
    static const struct community_steward_policy usual;
    assert_int_equal(community_steward_start(&error, &steward, &steward_identity, policy ? policy : &usual,
                                             community_bus_memory(hub), folder),
                     0);
    return steward;
}

static void send(struct community_session *session, uint64_t offset, enum core_outcome outcome)
{
    static struct wire_alert alert;
    make_alert(&alert, offset, outcome);
    assert_int_equal(community_send_alert(NULL, session, &alert), 0);
}

/* ---- invitations --------------------------------------------------------------------------------------- */

static void test_invitations(void **state)
{
    struct community_identity a, b;
    struct base_error error;
    char path[COMMUNITY_PATH], again[COMMUNITY_PATH];
    (void)state;
    load_member(&a, "inv-a");
    load_member(&b, "inv-b");
    assert_int_equal(b.number, a.number + 1);
    assert_memory_not_equal(a.certificate.key, b.certificate.key, 32);
    assert_memory_equal(a.certificate.community, b.certificate.community, 32);
    community_identity_free(&b);
    assert_int_equal(community_invite(&error, path, folder, "inv-a", WIRE_ROLE_MEMBER, false), 0);
    load_member(&b, "inv-a");
    assert_memory_equal(a.certificate.key, b.certificate.key, 32);
    community_identity_free(&b);
    assert_int_equal(community_invite(&error, again, folder, "inv-a", WIRE_ROLE_MEMBER, true), 0);
    load_member(&b, "inv-a");
    assert_memory_not_equal(a.certificate.key, b.certificate.key, 32);
    assert_int_equal(b.number, a.number);
    community_identity_free(&a);
    community_identity_free(&b);
    assert_int_equal(community_invite(&error, path, folder, "no.dots", WIRE_ROLE_MEMBER, false), -1);
    assert_int_equal(error.exit, BASE_EXIT_USAGE);
    assert_int_equal(community_identity_load(&error, &a, folder, "steward", WIRE_ROLE_MEMBER), -1);
    assert_int_equal(error.exit, BASE_EXIT_INPUT);
    assert_int_equal(community_create(&error, folder, "test"), -1);
    assert_int_equal(error.exit, BASE_EXIT_ENVIRONMENT);
    assert_int_equal(community_identity_load(&error, &a, "/nonexistent", "x", WIRE_ROLE_MEMBER), -1);
    assert_int_equal(error.exit, BASE_EXIT_INPUT);
}

/* Any damage to an invitation is found. */
static void test_damaged_invitation(void **state)
{
    struct community_identity a;
    struct base_error error;
    char path[COMMUNITY_PATH], *text;
    size_t bytes;
    (void)state;
    assert_int_equal(community_invite(&error, path, folder, "damaged", WIRE_ROLE_MEMBER, true), 0);
    assert_int_equal(base_read_file(&error, &text, &bytes, path), 0);
    for (size_t cut = 0; cut < bytes - 1; cut += 37) {
        assert_int_equal(base_write_file(&error, path, text, cut), 0);
        assert_int_equal(community_identity_load(&error, &a, path, "", WIRE_ROLE_MEMBER), -1);
        assert_int_equal(error.exit, BASE_EXIT_INPUT);
    }
    char *certificate = strstr(text, "\"certificate\": \"") + 40;
    *certificate = *certificate == 'a' ? 'b' : 'a';
    assert_int_equal(base_write_file(&error, path, text, bytes), 0);
    assert_int_equal(community_identity_load(&error, &a, path, "", WIRE_ROLE_MEMBER), -1);
    free(text);
}

/* ---- messages ------------------------------------------------------------------------------------------ */

static enum wire_verdict open_message(struct community_checker *checker, const char *subject,
                                      const void *data, size_t bytes)
{
    struct wire_envelope envelope;
    return community_open(checker, &envelope, subject, data, bytes, base_realtime_ns());
}

static enum wire_verdict seal_and_open(struct community_checker *checker,
                                       const struct community_identity *identity, enum wire_type type,
                                       const char *subject, const char *came_on)
{
    struct community_sender sender = {.identity = identity};
    uint8_t *message;
    size_t n = community_seal(&sender, &message, type, subject, "x", 1);
    assert_true(n > 0);
    enum wire_verdict verdict = open_message(checker, came_on, message, n);
    free(message);
    return verdict;
}

static void test_who_may_say_what(void **state)
{
    struct community_identity a;
    (void)state;
    load_member(&a, "web1");
    struct community_checker *c = community_checker_new(a.certificate.community);
    const char *own = "alert.web1.fault";
    assert_int_equal(seal_and_open(c, &a, WIRE_TYPE_ALERT, own, own), WIRE_OK);
    assert_int_equal(seal_and_open(c, &a, WIRE_TYPE_ALERT, own, "alert.web2.fault"), WIRE_SUBJECT);
    assert_int_equal(seal_and_open(c, &a, WIRE_TYPE_ALERT, "alert.web2.fault", "alert.web2.fault"),
                     WIRE_SENDER);
    assert_int_equal(seal_and_open(c, &a, WIRE_TYPE_ALERT, "alert.web1.fault.x", "alert.web1.fault.x"),
                     WIRE_SENDER);
    assert_int_equal(seal_and_open(c, &a, WIRE_TYPE_ALERT, "manifest", "manifest"), WIRE_SENDER);
    assert_int_equal(seal_and_open(c, &a, WIRE_TYPE_STATUS, "status.web1", "status.web1"), WIRE_OK);
    assert_int_equal(seal_and_open(c, &a, WIRE_TYPE_VACCINE, "vaccine.00", "vaccine.00"), WIRE_ROLE);
    assert_int_equal(seal_and_open(c, &a, WIRE_TYPE_MANIFEST, "manifest", "manifest"), WIRE_ROLE);
    assert_int_equal(seal_and_open(c, &a, WIRE_TYPE_RECEIPT, "inbox.web1.receipt", "inbox.web1.receipt"),
                     WIRE_ROLE);
    assert_int_equal(seal_and_open(c, &a, WIRE_TYPE_BUNDLE, "inbox.web2.bundle", "inbox.web2.bundle"),
                     WIRE_SENDER);
    assert_int_equal(seal_and_open(c, &a, WIRE_TYPE_NONE, own, own), WIRE_TYPE);
    assert_int_equal(seal_and_open(c, &steward_identity, WIRE_TYPE_VACCINE, "vaccine.00", "vaccine.00"),
                     WIRE_OK);
    assert_int_equal(
        seal_and_open(c, &steward_identity, WIRE_TYPE_ALERT, "alert.steward.fault", "alert.steward.fault"),
        WIRE_ROLE);
    /* Of the same name, in another community: its own messages, and its key under our community's name. */
    assert_int_equal(seal_and_open(c, &stranger, WIRE_TYPE_ALERT, own, own), WIRE_COMMUNITY);
    struct community_identity liar = stranger;
    memcpy(liar.certificate.community, a.certificate.community, 32);
    assert_int_equal(seal_and_open(c, &liar, WIRE_TYPE_ALERT, own, own), WIRE_CERTIFICATE);
    /* A genuine certificate with another's key behind it. */
    liar = a;
    memcpy(liar.secret, stranger.secret, 64);
    assert_int_equal(seal_and_open(c, &liar, WIRE_TYPE_ALERT, own, own), WIRE_SIGNATURE);
    /* A member that makes itself steward. */
    liar = a;
    liar.certificate.role = WIRE_ROLE_STEWARD;
    assert_int_equal(seal_and_open(c, &liar, WIRE_TYPE_VACCINE, "vaccine.00", "vaccine.00"),
                     WIRE_CERTIFICATE);
    community_checker_free(c);
    community_identity_free(&a);
}

static void test_tampering(void **state)
{
    struct community_identity a;
    uint8_t *message;
    (void)state;
    load_member(&a, "web1");
    struct community_sender sender = {.identity = &a};
    size_t n = community_seal(&sender, &message, WIRE_TYPE_ALERT, "alert.web1.fault", "payload", 7);
    for (size_t at = 0; at < n; at++) {
        struct community_checker *c = community_checker_new(a.certificate.community);
        message[at] ^= 0x10;
        assert_int_not_equal(open_message(c, "alert.web1.fault", message, n), WIRE_OK);
        message[at] ^= 0x10;
        community_checker_free(c);
    }
    struct community_checker *c = community_checker_new(a.certificate.community);
    for (size_t cut = 0; cut < n; cut++)
        assert_int_not_equal(open_message(c, "alert.web1.fault", message, cut), WIRE_OK);
    assert_int_equal(open_message(c, "alert.web1.fault", message, n), WIRE_OK);
    assert_int_equal(open_message(c, "alert.web1.fault", message, n), WIRE_REPLAY);
    uint8_t *huge = calloc(1, WIRE_MESSAGE_MAX + 1);
    assert_int_equal(open_message(c, "alert.web1.fault", huge, WIRE_MESSAGE_MAX + 1), WIRE_OVERSIZE);
    free(huge);
    community_checker_free(c);
    free(message);
    community_identity_free(&a);
}

static void test_replay_clock_revoked(void **state)
{
    struct community_identity a;
    uint8_t *first, *second, *vaccine;
    struct wire_envelope envelope;
    const char *own = "alert.web1.fault";
    (void)state;
    load_member(&a, "web1");
    struct community_sender sender = {.identity = &a};
    size_t n1 = community_seal(&sender, &first, WIRE_TYPE_ALERT, own, "1", 1);
    size_t n2 = community_seal(&sender, &second, WIRE_TYPE_ALERT, own, "2", 1);
    struct community_checker *c = community_checker_new(a.certificate.community);
    assert_int_equal(open_message(c, own, second, n2), WIRE_OK);
    assert_int_equal(open_message(c, own, first, n1), WIRE_REPLAY);
    community_checker_free(c);
    c = community_checker_new(a.certificate.community);
    uint64_t now = base_realtime_ns(), hour = 3600000000000u;
    assert_int_equal(community_open(c, &envelope, own, first, n1, now + hour), WIRE_CLOCK);
    assert_int_equal(community_open(c, &envelope, own, first, n1, now - hour), WIRE_CLOCK);
    community_checker_revoke(c, "somebody", now);
    assert_int_equal(open_message(c, own, first, n1), WIRE_OK);
    community_checker_revoke(c, "web1", now);
    assert_int_equal(open_message(c, own, second, n2), WIRE_REVOKED);
    /* What is retained may be as old as it likes, and be read twice. */
    struct community_sender steward = {.identity = &steward_identity};
    size_t n = community_seal(&steward, &vaccine, WIRE_TYPE_VACCINE, "vaccine.00", "x", 1);
    for (int i = 0; i < 2; i++)
        assert_int_equal(community_open(c, &envelope, "vaccine.00", vaccine, n, now + hour), WIRE_OK);
    community_checker_free(c);
    free(first);
    free(second);
    free(vaccine);
    community_identity_free(&a);
}

/* ---- from alert to vaccine ----------------------------------------------------------------------------- */

static void test_alert_to_vaccine(void **state)
{
    struct community_identity a, b;
    struct heard by_a, by_b;
    struct community_hub *hub = community_hub_new();
    (void)state;
    load_member(&a, "flow-a");
    load_member(&b, "flow-b");
    struct community_steward *steward = serve(hub, NULL);
    struct community_session *sa = join(hub, &a, &by_a), *sb = join(hub, &b, &by_b);
    community_hub_pump(hub);
    assert_true(community_session_state(sa).answered);
    send(sa, 64, CORE_OUTCOME_CRASHED);
    assert_int_equal(by_a.vaccines, 1); /* its own at once, before anything was delivered */
    assert_int_equal(community_session_state(sa).queued, 1);
    community_hub_pump(hub);
    assert_int_equal(by_b.vaccines, 1);
    assert_int_equal(by_b.last.function.offset, 64);
    assert_int_equal(by_b.last.state, WIRE_VACCINE_PROPOSED);
    assert_int_equal(by_a.vaccines, 1); /* the community's changes nothing for it */
    assert_int_equal(by_a.receipts, 1);
    assert_int_equal(by_a.verdict, WIRE_OK);
    assert_int_equal(community_session_state(sa).queued, 0);
    /* The same again is counted; undone, it is progress. */
    send(sb, 64, CORE_OUTCOME_CRASHED);
    community_hub_pump(hub);
    assert_int_equal(by_b.verdict, WIRE_DUPLICATE);
    send(sb, 64, CORE_OUTCOME_UNDONE);
    community_hub_pump(hub);
    assert_int_equal(by_a.last.state, WIRE_VACCINE_TRIED);
    send(sb, 64, CORE_OUTCOME_UNDONE);
    send(sa, 64, CORE_OUTCOME_UNDONE);
    community_hub_pump(hub);
    assert_int_equal(by_b.last.state, WIRE_VACCINE_ADOPTED);
    assert_int_equal(by_b.last.members, 2);
    assert_int_equal(by_b.last.undone, 3);
    /* No function known: told and kept, no vaccine. */
    static struct wire_alert alert;
    make_alert(&alert, 0, CORE_OUTCOME_CRASHED);
    alert.has_function = 0;
    community_send_alert(NULL, sa, &alert);
    community_hub_pump(hub);
    assert_int_equal(by_a.verdict, WIRE_OK);
    struct community_steward_counts counts = community_steward_counts(steward);
    assert_int_equal(counts.vaccines, 1);
    assert_int_equal(counts.alerts, 6);
    community_leave(sa, 0);
    community_leave(sb, 0);
    community_steward_stop(steward);
    community_hub_free(hub);
    community_identity_free(&a);
    community_identity_free(&b);
}

static void test_late_joiner_and_restarts(void **state)
{
    struct community_identity a, b;
    struct heard by_a, by_b;
    struct community_hub *hub = community_hub_new();
    struct base_error error;
    (void)state;
    load_member(&a, "late-a");
    load_member(&b, "late-b");
    assert_int_equal(community_publish_manifest(&error, folder, "the plan", 8), 0);
    struct community_steward *steward = serve(hub, NULL);
    community_steward_tick(steward);
    struct community_session *sa = join(hub, &a, &by_a), *sb;
    community_hub_pump(hub);
    assert_int_equal(by_a.manifests, 1);
    for (uint64_t offset = 1; offset <= 50; offset++)
        send(sa, offset * 16, CORE_OUTCOME_CRASHED);
    community_hub_pump(hub);
    sb = join(hub, &b, &by_b);
    community_hub_pump(hub);
    assert_int_equal(by_b.vaccines, 50);
    assert_string_equal(by_b.manifest, "the plan");
    /* A member that comes back has them before it is connected. */
    community_leave(sb, 0);
    community_hub_up(hub, false);
    sb = join(hub, &b, &by_b);
    assert_int_equal(by_b.vaccines, 50);
    assert_int_equal(by_b.manifests, 1);
    /* A steward that comes back has them from the engine. */
    community_steward_stop(steward);
    community_hub_up(hub, true);
    steward = serve(hub, NULL);
    community_hub_pump(hub);
    assert_int_equal(community_steward_counts(steward).vaccines, 50);
    assert_int_equal(by_b.vaccines, 50); /* nothing was told twice */
    send(sb, 16, CORE_OUTCOME_CRASHED);
    community_hub_pump(hub);
    assert_int_equal(by_b.verdict, WIRE_DUPLICATE);
    community_leave(sa, 0);
    community_leave(sb, 0);
    community_steward_stop(steward);
    community_hub_free(hub);
    community_identity_free(&a);
    community_identity_free(&b);
}

/* The engine's disk is lost: what the members hold comes back from them. */
static void test_lost_engine(void **state)
{
    struct community_identity a, b;
    struct heard by_a, by_b;
    struct community_hub *hub = community_hub_new();
    (void)state;
    load_member(&a, "lost-a");
    load_member(&b, "lost-b");
    struct community_steward *steward = serve(hub, NULL);
    struct community_session *sa = join(hub, &a, &by_a);
    send(sa, 160, CORE_OUTCOME_CRASHED);
    send(sa, 320, CORE_OUTCOME_CRASHED);
    community_hub_pump(hub);
    community_leave(sa, 0);
    community_steward_stop(steward);
    community_hub_free(hub);

    hub = community_hub_new();
    steward = serve(hub, NULL);
    assert_int_equal(community_steward_counts(steward).vaccines, 0);
    sa = join(hub, &a, &by_a);
    community_hub_pump(hub);
    assert_int_equal(community_steward_counts(steward).vaccines, 2);
    struct community_session *sb = join(hub, &b, &by_b);
    community_hub_pump(hub);
    assert_int_equal(by_b.vaccines, 2);
    community_leave(sa, 0);
    community_leave(sb, 0);
    community_steward_stop(steward);
    community_hub_free(hub);
    community_identity_free(&a);
    community_identity_free(&b);
}

static void test_without_engine(void **state)
{
    struct community_identity a, b;
    struct heard by_a, by_b;
    struct community_hub *hub = community_hub_new();
    (void)state;
    load_member(&a, "alone-a");
    load_member(&b, "alone-b");
    community_hub_up(hub, false);
    struct community_session *sa = join(hub, &a, &by_a);
    send(sa, 480, CORE_OUTCOME_CRASHED);
    assert_int_equal(by_a.vaccines, 1);
    assert_int_equal(community_session_state(sa).queued, 1);
    /* It dies and comes back: the vaccine and the unsent alert are still there. */
    community_leave(sa, 0);
    sa = join(hub, &a, &by_a);
    assert_int_equal(by_a.vaccines, 1);
    assert_int_equal(community_session_state(sa).queued, 1);
    struct community_session *sb = join(hub, &b, &by_b);
    struct community_steward *steward = serve(hub, NULL);
    community_hub_up(hub, true);
    community_hub_pump(hub);
    if (community_session_state(sa).queued) { /* the steward was told to wait until it had read the engine */
        community_session_tick(sa, base_monotonic_ns() + 10000000000u);
        community_hub_pump(hub);
    }
    assert_int_equal(community_session_state(sa).queued, 0);
    assert_int_equal(by_b.vaccines, 1);
    community_leave(sa, 0);
    /* Acknowledged once is acknowledged for good. */
    sa = join(hub, &a, &by_a);
    assert_int_equal(community_session_state(sa).queued, 0);
    community_leave(sa, 0);
    community_leave(sb, 0);
    community_steward_stop(steward);
    community_hub_free(hub);
    community_identity_free(&a);
    community_identity_free(&b);
}

/* ---- subverted members --------------------------------------------------------------------------------- */

static void test_flood(void **state)
{
    struct community_identity a, b;
    struct heard by_a, by_b;
    struct community_hub *hub = community_hub_new();
    const struct community_steward_policy policy = {
        .alerts_per_second = 1, .alerts_burst = 40, .unconfirmed_max = 10};
    (void)state;
    load_member(&a, "flood-a");
    load_member(&b, "flood-b");
    struct community_steward *steward = serve(hub, &policy);
    struct community_session *sa = join(hub, &a, &by_a), *sb = join(hub, &b, &by_b);
    community_hub_pump(hub);
    for (uint64_t offset = 1; offset <= 100; offset++)
        send(sa, offset * 16, CORE_OUTCOME_CRASHED);
    community_hub_pump(hub);
    struct community_steward_counts counts = community_steward_counts(steward);
    assert_int_equal(counts.vaccines, 10);
    assert_true(counts.refused[WIRE_UNCONFIRMED] >= 29);
    assert_true(counts.refused[WIRE_RATE] >= 50);
    assert_int_equal(by_b.vaccines, 10);
    /* A second member's word releases one that waits. */
    send(sb, 20 * 16, CORE_OUTCOME_CRASHED);
    community_hub_pump(hub);
    assert_int_equal(community_steward_counts(steward).vaccines, 11);
    assert_int_equal(by_b.vaccines, 11);
    community_leave(sa, 0);
    community_leave(sb, 0);
    community_steward_stop(steward);
    community_hub_free(hub);
    community_identity_free(&a);
    community_identity_free(&b);
}

/* A slice is 19.9 percent of the run time here, and 5 percent of it is 0.995: what one word may cost. Two of three members do
   not watch offset 16 anyway, so that a vaccine for it costs 0.67 percent; the one for 48 0.33, for 112 0.8, for 32 20, for 80
   nothing. */
static void publish_costs(void)
{
    static const uint8_t build_id[20] = {[0 ... 19] = 7};
    static const struct wire_manifest_object object = {build_id, 20, "server", 6};
    static const uint64_t costs[][3] = {
        {16, 10, 120}, {32, 300, 120}, {48, 5, 120}, {80, 90, 360}, {112, 12, 120}};
    const struct wire_manifest header = {.members = 3,
                                         .quanta = 120,
                                         .quantum_ms = 1000,
                                         .eps_ppm = 50000,
                                         .total = 1000,
                                         .object_count = 1,
                                         .function_count = 5};
    uint8_t data[1024];
    struct wire_manifest_writer writer = {.data = data, .room = sizeof data};
    struct base_error error;
    wire_manifest_begin(&writer, &header);
    wire_manifest_add_object(&writer, &object);
    for (int i = 0; i < 5; i++)
        wire_manifest_add_function(&writer, &(struct wire_manifest_function){.offset = (uint32_t)costs[i][0],
                                                                             .cost = costs[i][1],
                                                                             .risk_ppm = 1000000,
                                                                             .tokens = costs[i][2],
                                                                             .name = "f",
                                                                             .name_bytes = 1});
    wire_manifest_end(&writer);
    assert_true(writer.used <= sizeof data);
    assert_int_equal(community_publish_manifest(&error, folder, data, writer.used), 0);
}

static void test_costly_words(void **state)
{
    struct community_identity a, b;
    struct heard by_a, by_b;
    struct community_hub *hub = community_hub_new();
    char path[COMMUNITY_PATH];
    (void)state;
    load_member(&a, "cost-a");
    load_member(&b, "cost-b");
    publish_costs();
    struct community_steward *steward = serve(hub, NULL);
    community_steward_tick(steward);
    struct community_session *sa = join(hub, &a, &by_a), *sb = join(hub, &b, &by_b);
    community_hub_pump(hub);
    static const struct {
        uint64_t offset;
        bool by_second, goes_out;
    } steps[] = {
        {16, false, true},                     /* 0.67 of 0.995 percent */
        {48, false, false},                    /* 0.33 more are too much */
        {32, false, false}, {80, false, true}, /* all watch it anyway */
        {96, false, true},                     /* did no work */
        {32, true, true},                      /* two vouch for it, and it takes nothing from others */
        {48, false, false}, {16, true, false}, /* out already; it rests on one word no more */
        {48, false, true},
    };
    unsigned out = 0;
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        send(steps[i].by_second ? sb : sa, steps[i].offset, CORE_OUTCOME_CRASHED);
        community_hub_pump(hub);
        out += steps[i].goes_out;
        assert_int_equal(community_steward_counts(steward).vaccines, out);
    }
    assert_int_equal(community_steward_counts(steward).refused[WIRE_UNCONFIRMED], 3);
    /* A steward that reads it all back knows what is spent: 0.33, and 0.8 are too much. */
    community_steward_stop(steward);
    steward = serve(hub, NULL);
    community_steward_tick(steward);
    community_hub_pump(hub);
    send(sa, 112, CORE_OUTCOME_CRASHED);
    community_hub_pump(hub);
    assert_int_equal(community_steward_counts(steward).vaccines, out);
    assert_int_equal(community_steward_counts(steward).refused[WIRE_UNCONFIRMED], 1);
    snprintf(path, sizeof path, "%s/manifest.signed", folder);
    assert_int_equal(unlink(path), 0);
    community_leave(sa, 0);
    community_leave(sb, 0);
    community_steward_stop(steward);
    community_hub_free(hub);
    community_identity_free(&a);
    community_identity_free(&b);
}

static bool knows_nothing(void *ctx, const struct wire_place *function)
{
    (void)ctx;
    return function->offset == 16;
}

static void test_implausible_and_revoked(void **state)
{
    struct community_identity a;
    struct heard by_a;
    struct community_hub *hub = community_hub_new();
    const struct community_steward_policy policy = {.knows = knows_nothing};
    struct base_error error;
    (void)state;
    load_member(&a, "bad-a");
    struct community_steward *steward = serve(hub, &policy);
    struct community_session *sa = join(hub, &a, &by_a);
    send(sa, 32, CORE_OUTCOME_CRASHED);
    community_hub_pump(hub);
    assert_int_equal(by_a.verdict, WIRE_IMPLAUSIBLE);
    assert_int_equal(community_session_state(sa).queued, 0);
    send(sa, 16, CORE_OUTCOME_CRASHED);
    community_hub_pump(hub);
    assert_int_equal(by_a.verdict, WIRE_OK);
    unsigned receipts = by_a.receipts;
    assert_int_equal(community_revoke(&error, folder, "bad-a"), 0);
    assert_int_equal(community_revoke(&error, folder, "never-invited"), -1);
    community_steward_tick(steward);
    send(sa, 16, CORE_OUTCOME_CRASHED);
    community_hub_pump(hub);
    assert_int_equal(by_a.receipts, receipts);
    assert_true(community_steward_counts(steward).refused[WIRE_REVOKED] > 0);
    community_leave(sa, 0);
    community_identity_free(&a);
    /* Invited again it is welcome. */
    load_member(&a, "bad-a");
    sa = join(hub, &a, &by_a);
    community_hub_pump(hub);
    assert_int_equal(community_session_state(sa).queued, 0);
    community_leave(sa, 0);
    community_steward_stop(steward);
    community_hub_free(hub);
    community_identity_free(&a);
}

/* A member speaks as steward on the bus itself: nobody listens. */
static void test_false_steward(void **state)
{
    struct community_identity a, b;
    struct heard by_b;
    struct community_hub *hub = community_hub_new();
    struct wire_vaccine vaccine;
    static struct wire_alert alert;
    uint8_t payload[WIRE_VACCINE_ROOM], *message;
    char id[33], subject[WIRE_SUBJECT];
    struct base_error error;
    (void)state;
    load_member(&a, "false-a");
    load_member(&b, "false-b");
    struct community_session *sb = join(hub, &b, &by_b);
    struct community_bus *bus = community_bus_memory(hub);
    make_alert(&alert, 16, CORE_OUTCOME_CRASHED);
    assert_true(community_vaccine_of(&vaccine, &alert));
    base_hex(id, vaccine.id, 16);
    snprintf(subject, sizeof subject, "vaccine.%s", id);
    struct community_sender sender = {.identity = &a};
    size_t n = wire_vaccine_encode(payload, sizeof payload, &vaccine);
    n = community_seal(&sender, &message, WIRE_TYPE_VACCINE, subject, payload, n);
    bus->publish(bus, &error, subject, message, n);
    community_hub_pump(hub);
    assert_int_equal(by_b.vaccines, 0);
    free(message);
    /* Nor does a true steward's vaccine count under another id. */
    sender.identity = &steward_identity;
    n = wire_vaccine_encode(payload, sizeof payload, &vaccine);
    n = community_seal(&sender, &message, WIRE_TYPE_VACCINE, "vaccine.00", payload, n);
    bus->publish(bus, &error, "vaccine.00", message, n);
    community_hub_pump(hub);
    assert_int_equal(by_b.vaccines, 0);
    free(message);
    bus->close(bus);
    community_leave(sb, 0);
    community_hub_free(hub);
    community_identity_free(&a);
    community_identity_free(&b);
}

/* Two stewards share the work; one dies between taking and publishing: the alert is not lost. */
static void test_two_stewards(void **state)
{
    struct community_identity a;
    struct heard by_a;
    struct community_hub *hub = community_hub_new();
    (void)state;
    load_member(&a, "two-a");
    struct community_steward *one = serve(hub, NULL), *two = serve(hub, NULL);
    struct community_session *sa = join(hub, &a, &by_a);
    community_hub_pump(hub);
    send(sa, 16, CORE_OUTCOME_CRASHED);
    community_hub_pump(hub);
    assert_int_equal(community_steward_counts(one).vaccines, 1);
    assert_int_equal(community_steward_counts(two).vaccines, 1);
    send(sa, 32, CORE_OUTCOME_CRASHED);
    community_steward_stop(one); /* with the alert on its way to it */
    community_hub_up(hub, false);
    community_hub_up(hub, true);
    community_hub_pump(hub);
    assert_int_equal(community_session_state(sa).queued, 0);
    assert_int_equal(community_steward_counts(two).vaccines, 2);
    community_leave(sa, 0);
    community_steward_stop(two);
    community_hub_free(hub);
    community_identity_free(&a);
}

/* A torn or foreign record file costs what is torn and nothing else. */
static void test_torn_store(void **state)
{
    struct community_identity a;
    struct heard by_a;
    struct community_hub *hub = community_hub_new();
    struct base_error error;
    char path[COMMUNITY_PATH + 16], *data;
    size_t bytes;
    (void)state;
    load_member(&a, "torn-a");
    community_hub_up(hub, false);
    struct community_session *sa = join(hub, &a, &by_a);
    send(sa, 16, CORE_OUTCOME_CRASHED);
    send(sa, 32, CORE_OUTCOME_CRASHED);
    community_leave(sa, 0);
    snprintf(path, sizeof path, "%s/records", a.state);
    assert_int_equal(base_read_file(&error, &data, &bytes, path), 0);
    for (size_t cut = bytes; cut-- > 0;) {
        assert_int_equal(base_write_file(&error, path, data, cut), 0);
        sa = join(hub, &a, &by_a);
        assert_true(by_a.vaccines <= 2);
        community_leave(sa, 0);
    }
    free(data);
    community_hub_free(hub);
    community_identity_free(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_invitations),
        cmocka_unit_test(test_damaged_invitation),
        cmocka_unit_test(test_who_may_say_what),
        cmocka_unit_test(test_tampering),
        cmocka_unit_test(test_replay_clock_revoked),
        cmocka_unit_test(test_alert_to_vaccine),
        cmocka_unit_test(test_late_joiner_and_restarts),
        cmocka_unit_test(test_lost_engine),
        cmocka_unit_test(test_without_engine),
        cmocka_unit_test(test_flood),
        cmocka_unit_test(test_costly_words),
        cmocka_unit_test(test_implausible_and_revoked),
        cmocka_unit_test(test_false_steward),
        cmocka_unit_test(test_two_stewards),
        cmocka_unit_test(test_torn_store),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
