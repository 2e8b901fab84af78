/* Statuses: encode, decode, validate. */
#include "wire/wire.h"

const char *wire_member_state_name(unsigned state)
{
    static const char *const names[] = {"starting", "running", "native", "restarting", "stopped"};
    return state <= WIRE_MEMBER_STOPPED ? names[state] : "unknown";
}

size_t wire_status_encode(void *data, size_t room, const struct wire_status *s)
{
    struct wire_writer w;
    if (s->counter_count > WIRE_STATUS_COUNTERS || s->refusal_count > WIRE_STATUS_VERDICTS)
        return 0;
    wire_writer_start(&w, data, room);
    wire_put(&w, WIRE_STATUS_MAGIC, 4);
    wire_put(&w, WIRE_RECORD_VERSION, 1);
    wire_put(&w, s->state, 1);
    wire_put(&w, s->interval_ms, 4);
    wire_put(&w, s->started_ns, 8);
    wire_put(&w, (uint32_t)s->program_pid, 4);
    const uint32_t numbers[] = {s->functions, s->supervised, s->refused, s->vaccines, s->applied,
                                s->faults,    s->healed,     s->crashes, s->restarts, s->queued};
    for (unsigned i = 0; i < sizeof numbers / sizeof *numbers; i++)
        wire_put(&w, numbers[i], 4);
    wire_put(&w, s->manifest, 8);
    wire_put_place(&w, &s->program);
    wire_put(&w, s->counter_count, 1);
    for (unsigned i = 0; i < s->counter_count; i++)
        wire_put(&w, s->counters[i], 8);
    wire_put(&w, s->refusal_count, 1);
    for (unsigned i = 0; i < s->refusal_count; i++)
        wire_put(&w, s->refusals[i], 4);
    return wire_writer_end(&w);
}

enum wire_verdict wire_status_decode(struct wire_status *s, const void *data, size_t bytes)
{
    struct wire_reader r;
    wire_reader_start(&r, data, bytes);
    __builtin_memset(s, 0, sizeof *s);
    if (wire_get(&r, 4) != WIRE_STATUS_MAGIC)
        wire_refuse(&r, WIRE_MAGIC);
    if (wire_get(&r, 1) != WIRE_RECORD_VERSION)
        wire_refuse(&r, WIRE_VERSION);
    s->state = (uint8_t)wire_get_upto(&r, 1, WIRE_MEMBER_STOPPED);
    s->interval_ms = (uint32_t)wire_get_upto(&r, 4, 3600000);
    s->started_ns = wire_get(&r, 8);
    s->program_pid = (int32_t)wire_get(&r, 4);
    uint32_t *const numbers[] = {&s->functions, &s->supervised, &s->refused, &s->vaccines, &s->applied,
                                 &s->faults,    &s->healed,     &s->crashes, &s->restarts, &s->queued};
    for (unsigned i = 0; i < sizeof numbers / sizeof *numbers; i++)
        *numbers[i] = (uint32_t)wire_get(&r, 4);
    s->manifest = wire_get(&r, 8);
    wire_get_place(&r, &s->program);
    s->counter_count = (uint8_t)wire_get_upto(&r, 1, WIRE_STATUS_COUNTERS);
    for (unsigned i = 0; i < s->counter_count; i++)
        s->counters[i] = wire_get(&r, 8);
    s->refusal_count = (uint8_t)wire_get_upto(&r, 1, WIRE_STATUS_VERDICTS);
    for (unsigned i = 0; i < s->refusal_count; i++)
        s->refusals[i] = (uint32_t)wire_get(&r, 4);
    if (s->interval_ms == 0)
        wire_refuse(&r, WIRE_RANGE);
    return wire_reader_end(&r);
}
