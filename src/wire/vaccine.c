/* Vaccines: encode, decode, validate. */
#include "wire/wire.h"

const char *wire_vaccine_state_name(unsigned state)
{
    static const char *const names[] = {"proposed", "tried", "adopted", "withdrawn"};
    return state <= WIRE_VACCINE_WITHDRAWN ? names[state] : "unknown";
}

size_t wire_vaccine_encode(void *data, size_t room, const struct wire_vaccine *v)
{
    struct wire_writer w;
    if (v->rescue_points > WIRE_RESCUE_MAX || v->evidence_ids > WIRE_EVIDENCE_MAX)
        return 0;
    wire_writer_start(&w, data, room);
    wire_put(&w, WIRE_VACCINE_MAGIC, 4);
    wire_put(&w, WIRE_RECORD_VERSION, 1);
    wire_put_bytes(&w, v->id, sizeof v->id);
    wire_put(&w, v->state, 1);
    wire_put(&w, v->kind, 1);
    wire_put(&w, v->created_ns, 8);
    wire_put(&w, v->alerts, 4);
    wire_put(&w, v->undone, 4);
    wire_put(&w, v->crashed, 4);
    wire_put(&w, v->members, 2);
    wire_put_place(&w, &v->function);
    wire_put(&w, v->rescue_points, 1);
    for (unsigned i = 0; i < v->rescue_points; i++)
        wire_put_place(&w, &v->rescue[i]);
    wire_put(&w, v->evidence_ids, 1);
    for (unsigned i = 0; i < v->evidence_ids; i++)
        wire_put_bytes(&w, v->evidence[i], WIRE_ID_BYTES);
    return wire_writer_end(&w);
}

enum wire_verdict wire_vaccine_decode(struct wire_vaccine *v, const void *data, size_t bytes)
{
    struct wire_reader r;
    wire_reader_start(&r, data, bytes);
    __builtin_memset(v, 0, sizeof *v);
    if (wire_get(&r, 4) != WIRE_VACCINE_MAGIC)
        wire_refuse(&r, WIRE_MAGIC);
    if (wire_get(&r, 1) != WIRE_RECORD_VERSION)
        wire_refuse(&r, WIRE_VERSION);
    wire_get_bytes(&r, v->id, sizeof v->id);
    v->state = (uint8_t)wire_get_upto(&r, 1, WIRE_VACCINE_WITHDRAWN);
    v->kind = (uint8_t)wire_get_upto(&r, 1, CORE_FAULT_COUNT - 1);
    v->created_ns = wire_get(&r, 8);
    v->alerts = (uint32_t)wire_get(&r, 4);
    v->undone = (uint32_t)wire_get(&r, 4);
    v->crashed = (uint32_t)wire_get(&r, 4);
    v->members = (uint16_t)wire_get(&r, 2);
    wire_get_place(&r, &v->function);
    v->rescue_points = (uint8_t)wire_get_upto(&r, 1, WIRE_RESCUE_MAX);
    for (unsigned i = 0; i < v->rescue_points; i++)
        wire_get_place(&r, &v->rescue[i]);
    v->evidence_ids = (uint8_t)wire_get_upto(&r, 1, WIRE_EVIDENCE_MAX);
    for (unsigned i = 0; i < v->evidence_ids; i++)
        wire_get_bytes(&r, v->evidence[i], WIRE_ID_BYTES);
    if (v->kind == CORE_FAULT_NONE || !v->function.build_id_bytes || v->function.offset > UINT32_MAX)
        wire_refuse(&r, WIRE_RANGE);
    return wire_reader_end(&r);
}
