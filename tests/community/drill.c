/* A member without a program: does what it reads on standard input, prints what it hears, each with the time of
   CLOCK_MONOTONIC in ns, so that the runner can compare several.

       drill COMMUNITY NAME [ENGINE-INVITATION]

   With a third argument it reaches the engine with that invitation's credentials ("-": its own) but only to forge: what a
   subverted member, or a thief of credentials, could do. Input lines:
       alert OFFSET KIND OUTCOME    a fault in the function at OFFSET
       forge WHAT OFFSET            an alert that lies: signature, sender, community, garbage, replay
       status                       send a status
       state                        print queued, held, up, answered
       quit                         leave, waiting for acknowledgements
       drop                         end at once */
#define _GNU_SOURCE
#include "community/community.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void say(const char *format, ...)
{
    char text[512];
    va_list args;
    int n = snprintf(text, sizeof text, "%llu ", (unsigned long long)base_monotonic_ns());
    va_start(args, format);
    n += vsnprintf(text + n, sizeof text - (size_t)n - 1, format, args);
    va_end(args);
    text[n++] = '\n';
    if (write(1, text, (size_t)n) != n)
        _exit(1);
}

static void on_vaccine(void *ctx, const struct wire_vaccine *vaccine)
{
    char id[2 * WIRE_ID_BYTES + 1];
    (void)ctx;
    base_hex(id, vaccine->id, WIRE_ID_BYTES);
    say("vaccine %s %s %llu %s", id, wire_vaccine_state_name(vaccine->state),
        (unsigned long long)vaccine->function.offset, core_fault_name(vaccine->kind));
}

static void on_manifest(void *ctx, const void *data, size_t bytes, uint64_t sequence)
{
    (void)ctx;
    (void)sequence;
    say("manifest %zu %.*s", bytes, bytes < 40 ? (int)bytes : 40, (const char *)data);
}

static void on_link(void *ctx, bool up)
{
    (void)ctx;
    say("link %s", up ? "up" : "down");
}

static void on_receipt(void *ctx, const struct wire_receipt *receipt)
{
    (void)ctx;
    say("receipt %s", wire_verdict_name(receipt->verdict));
}

static void make_alert(struct wire_alert *alert, unsigned long offset, const char *kind, const char *outcome)
{
    memset(alert, 0, sizeof *alert);
    alert->time_ns = base_realtime_ns();
    alert->kind = (uint8_t)core_fault_from_name(kind);
    alert->outcome = !strcmp(outcome, "undone") ? CORE_OUTCOME_UNDONE : CORE_OUTCOME_CRASHED;
    alert->is_protected = alert->outcome == CORE_OUTCOME_UNDONE;
    alert->detector = CORE_DETECTOR_SIGNAL;
    alert->signal = 11;
    alert->count = 1;
    alert->has_function = 1;
    alert->function.build_id_bytes = 20;
    memset(alert->function.build_id, 0xab, 20);
    alert->function.offset = offset;
    snprintf(alert->function.object, sizeof alert->function.object, "drill");
    snprintf(alert->function.symbol, sizeof alert->function.symbol, "function_%lu", offset);
    alert->stack_frames = 2;
    alert->stack[0] = alert->stack[1] = alert->function;
    alert->stack[1].offset += 64;
}

/* Publishes a false alert over a bus of its own. */
static void forge(struct community_bus *bus, const struct community_identity *identity, const char *what,
                  unsigned long offset)
{
    struct community_identity liar = *identity;
    struct community_sender sender = {.identity = &liar};
    struct wire_alert alert;
    uint8_t payload[WIRE_ALERT_ROOM], *message;
    char subject[WIRE_SUBJECT];
    struct base_error error = {0};
    make_alert(&alert, offset, "heap-overflow", "crashed");
    memset(alert.id, 7, sizeof alert.id);
    snprintf(subject, sizeof subject, "alert.%s.fault", identity->certificate.name);
    if (!strcmp(what, "sender"))
        snprintf(subject, sizeof subject, "alert.somebody.fault");
    if (!strcmp(what, "community"))
        memset(liar.certificate.community, 3, 32);
    size_t n = wire_alert_encode(payload, sizeof payload, &alert);
    n = community_seal(&sender, &message, WIRE_TYPE_ALERT, subject, payload, n);
    if (!strcmp(what, "signature"))
        message[n - 1] ^= 1;
    if (!strcmp(what, "garbage"))
        memset(message, 0xee, n);
    int failed = bus->publish(bus, &error, subject, message, n);
    if (!failed && !strcmp(what, "replay"))
        failed = bus->publish(bus, &error, subject, message, n);
    say("forged %s %s", what, failed ? error.text : "sent");
    free(message);
}

int main(int argc, char **argv)
{
    static struct community_identity identity, engine;
    static struct wire_alert alert;
    struct base_error error;
    struct community_session *session;
    const struct community_callbacks callbacks = {
        .on_vaccine = on_vaccine, .on_manifest = on_manifest, .on_link = on_link, .on_receipt = on_receipt};
    char line[256], word[64], kind[64], outcome[64];
    unsigned long offset;
    if (argc < 3 || community_identity_load(&error, &identity, argv[1], argv[2], WIRE_ROLE_MEMBER))
        return argc < 3 ? BASE_EXIT_USAGE : base_fail_exit(&error);
    struct community_bus *bus = NULL;
    if (argc > 3) {
        bool own = !strcmp(argv[3], "-");
        if (!own && community_identity_load(&error, &engine, argv[3], "", WIRE_ROLE_STEWARD))
            return base_fail_exit(&error);
        bus = community_bus_nats(own ? &identity : &engine);
        if (bus->start(bus, &error, on_link, NULL))
            return base_fail_exit(&error);
    } else {
        if (community_join(&error, &session, &identity, &callbacks, NULL, true))
            return base_fail_exit(&error);
    }
    say("joined");
    while (fgets(line, sizeof line, stdin)) {
        if (sscanf(line, "alert %lu %63s %63s", &offset, kind, outcome) == 3) {
            make_alert(&alert, offset, kind, outcome);
            say("alerting %lu", offset);
            if (community_send_alert(&error, session, &alert))
                say("failed %s", error.text);
        } else if (sscanf(line, "forge %63s %lu", word, &offset) == 2 && bus) {
            forge(bus, &identity, word, offset);
        } else if (!strcmp(line, "status\n")) {
            struct wire_status status = {.state = WIRE_MEMBER_RUNNING, .interval_ms = 1000};
            community_send_status(session, &status);
        } else if (!strcmp(line, "state\n")) {
            struct community_session_state s = community_session_state(session);
            say("state %u %u %s %s", s.queued, s.vaccines, s.up ? "up" : "down",
                s.answered ? "answered" : "alone");
        } else if (!strcmp(line, "drop\n")) {
            _exit(0);
        } else if (!strcmp(line, "quit\n")) {
            break;
        }
    }
    if (bus)
        bus->close(bus);
    else
        community_leave(session, 2000);
    community_identity_free(&identity);
    say("left");
    return 0;
}
