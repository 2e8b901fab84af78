/* Alerts: encode, decode, validate. */
#include "wire/wire.h"

void wire_put_place(struct wire_writer *w, const struct wire_place *place)
{
    wire_put(w, place->build_id_bytes, 1);
    wire_put_bytes(w, place->build_id, place->build_id_bytes);
    wire_put(w, place->offset, 8);
    wire_put_text(w, place->object);
    wire_put_text(w, place->symbol);
}

void wire_get_place(struct wire_reader *r, struct wire_place *place)
{
    __builtin_memset(place, 0, sizeof *place);
    place->build_id_bytes = (uint8_t)wire_get_upto(r, 1, WIRE_BUILD_ID_BYTES);
    wire_get_bytes(r, place->build_id, place->build_id_bytes);
    place->offset = wire_get(r, 8);
    wire_get_text(r, place->object, sizeof place->object);
    wire_get_text(r, place->symbol, sizeof place->symbol);
}

bool wire_place_equal(const struct wire_place *a, const struct wire_place *b)
{
    return a->build_id_bytes == b->build_id_bytes && a->offset == b->offset &&
           !__builtin_memcmp(a->build_id, b->build_id, a->build_id_bytes);
}

static void put_stack(struct wire_writer *w, const struct wire_place *stack, unsigned frames, unsigned room)
{
    if (frames > room) {
        w->failed = true;
        return;
    }
    wire_put(w, frames, 1);
    for (unsigned i = 0; i < frames; i++)
        wire_put_place(w, &stack[i]);
}

static uint8_t get_stack(struct wire_reader *r, struct wire_place *stack, unsigned room)
{
    uint8_t frames = (uint8_t)wire_get_upto(r, 1, room);
    for (unsigned i = 0; i < frames; i++)
        wire_get_place(r, &stack[i]);
    return frames;
}

enum { FLAG_PROTECTED = 1, FLAG_RESTARTED = 2, FLAG_FUNCTION = 4, FLAG_RESCUE = 8, FLAGS = 15 };

size_t wire_alert_encode(void *data, size_t room, const struct wire_alert *a)
{
    struct wire_writer w;
    wire_writer_start(&w, data, room);
    wire_put(&w, WIRE_ALERT_MAGIC, 4);
    wire_put(&w, WIRE_RECORD_VERSION, 1);
    wire_put(&w,
             (a->is_protected ? FLAG_PROTECTED : 0u) | (a->restarted ? FLAG_RESTARTED : 0u) |
                 (a->has_function ? FLAG_FUNCTION : 0u) | (a->has_rescue ? FLAG_RESCUE : 0u),
             1);
    wire_put_bytes(&w, a->id, sizeof a->id);
    wire_put(&w, a->time_ns, 8);
    wire_put(&w, a->kind, 1);
    wire_put(&w, a->detector, 1);
    wire_put(&w, a->outcome, 1);
    wire_put(&w, a->access, 1);
    wire_put(&w, a->function_rank, 1);
    wire_put(&w, (uint32_t)a->signal, 4);
    wire_put(&w, a->not_undone, 4);
    wire_put(&w, a->count, 4);
    wire_put(&w, a->address, 8);
    wire_put(&w, a->bytes, 8);
    wire_put(&w, (uint64_t)a->distance, 8);
    wire_put(&w, a->object_bytes, 8);
    wire_put(&w, a->returned, 8);
    if (a->has_function)
        wire_put_place(&w, &a->function);
    if (a->has_rescue)
        wire_put_place(&w, &a->rescue);
    put_stack(&w, a->stack, a->stack_frames, WIRE_FRAMES_MAX);
    put_stack(&w, a->alloc_stack, a->alloc_frames, WIRE_HEAP_FRAMES_MAX);
    put_stack(&w, a->free_stack, a->free_frames, WIRE_HEAP_FRAMES_MAX);
    return wire_writer_end(&w);
}

enum wire_verdict wire_alert_decode(struct wire_alert *a, const void *data, size_t bytes)
{
    struct wire_reader r;
    wire_reader_start(&r, data, bytes);
    __builtin_memset(a, 0, sizeof *a);
    if (wire_get(&r, 4) != WIRE_ALERT_MAGIC)
        wire_refuse(&r, WIRE_MAGIC);
    if (wire_get(&r, 1) != WIRE_RECORD_VERSION)
        wire_refuse(&r, WIRE_VERSION);
    unsigned flags = (unsigned)wire_get_upto(&r, 1, FLAGS);
    a->is_protected = flags & FLAG_PROTECTED ? 1 : 0;
    a->restarted = flags & FLAG_RESTARTED ? 1 : 0;
    a->has_function = flags & FLAG_FUNCTION ? 1 : 0;
    a->has_rescue = flags & FLAG_RESCUE ? 1 : 0;
    wire_get_bytes(&r, a->id, sizeof a->id);
    a->time_ns = wire_get(&r, 8);
    a->kind = (uint8_t)wire_get_upto(&r, 1, CORE_FAULT_COUNT - 1);
    a->detector = (uint8_t)wire_get_upto(&r, 1, CORE_DETECTOR_COUNT - 1);
    a->outcome = (uint8_t)wire_get_upto(&r, 1, CORE_OUTCOME_COUNT - 1);
    a->access = (uint8_t)wire_get_upto(&r, 1, 2);
    a->function_rank = (uint8_t)wire_get_upto(&r, 1, WIRE_FRAMES_MAX - 1);
    a->signal = (int32_t)wire_get_upto(&r, 4, 64);
    a->not_undone = (uint32_t)wire_get(&r, 4);
    a->count = (uint32_t)wire_get(&r, 4);
    a->address = wire_get(&r, 8);
    a->bytes = wire_get(&r, 8);
    a->distance = (int64_t)wire_get(&r, 8);
    a->object_bytes = wire_get(&r, 8);
    a->returned = wire_get(&r, 8);
    if (a->has_function)
        wire_get_place(&r, &a->function);
    if (a->has_rescue)
        wire_get_place(&r, &a->rescue);
    a->stack_frames = get_stack(&r, a->stack, WIRE_FRAMES_MAX);
    a->alloc_frames = get_stack(&r, a->alloc_stack, WIRE_HEAP_FRAMES_MAX);
    a->free_frames = get_stack(&r, a->free_stack, WIRE_HEAP_FRAMES_MAX);
    if (a->kind == CORE_FAULT_NONE || a->count == 0 ||
        (a->has_function && (!a->function.build_id_bytes || a->function.offset > UINT32_MAX)))
        wire_refuse(&r, WIRE_RANGE);
    return wire_reader_end(&r);
}

size_t wire_told_encode(void *data, size_t room, const char *member, const struct wire_alert *alert)
{
    struct wire_writer w;
    wire_writer_start(&w, data, room);
    wire_put_text(&w, member);
    size_t head = wire_writer_end(&w);
    size_t body = head ? wire_alert_encode((uint8_t *)data + head, room - head, alert) : 0;
    return body ? head + body : 0;
}

enum wire_verdict wire_told_decode(char member[WIRE_MEMBER_NAME], struct wire_alert *alert, const void *data,
                                   size_t bytes)
{
    struct wire_reader r;
    wire_reader_start(&r, data, bytes);
    wire_get_text(&r, member, WIRE_MEMBER_NAME);
    if (!wire_name_valid(member))
        wire_refuse(&r, WIRE_TEXT);
    if (r.failed)
        return r.failed;
    return wire_alert_decode(alert, r.at, (size_t)(r.end - r.at));
}
