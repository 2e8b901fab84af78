/* From a fault report to the alert that goes over the bus. */
#define _GNU_SOURCE
#include "member/private.h"

#include <signal.h>
#include <string.h>

static void copy(char *to, size_t room, const char *from)
{
    size_t bytes = from ? strnlen(from, room - 1) : 0;
    if (bytes)
        memcpy(to, from, bytes);
    to[bytes] = 0;
}

/* File name without its folders: those are the machine's own business. */
static const char *base_name(const char *path)
{
    const char *slash = path ? strrchr(path, '/') : NULL;
    return slash ? slash + 1 : path;
}

static uint8_t index_of(const char *name, const char *(*name_of)(unsigned), unsigned count)
{
    for (unsigned i = 0; name && i < count; i++)
        if (!strcmp(name, name_of(i)))
            return (uint8_t)i;
    return 0;
}

static uint8_t tell_stack(struct wire_place *out, unsigned room, const struct report_stack *stack)
{
    unsigned count = stack->count < room ? stack->count : room;
    for (unsigned i = 0; i < count; i++) {
        const struct report_frame *frame = &stack->frame[i];
        out[i].offset = frame->offset;
        copy(out[i].object, sizeof out[i].object, base_name(frame->object));
        copy(out[i].symbol, sizeof out[i].symbol, frame->function);
    }
    return (uint8_t)count;
}

static uint32_t not_undone_bits(const struct report_fault *fault)
{
    uint32_t bits = 0;
    for (unsigned i = 0; i < REPORT_NOT_UNDONE_MAX && fault->not_undone[i]; i++)
        for (unsigned bit = 0; bit < 32; bit++) {
            const char *name = member_not_undone_name(bit);
            if (name && !strcmp(name, fault->not_undone[i]))
                bits |= 1u << bit;
        }
    return bits;
}

void member__alert_of(struct wire_alert *alert, const struct report_fault *fault)
{
    memset(alert, 0, sizeof *alert);
    alert->time_ns = fault->time_ns;
    alert->kind = (uint8_t)core_fault_from_name(fault->kind);
    if (alert->kind == CORE_FAULT_NONE)
        alert->kind = CORE_FAULT_WILD_ACCESS;
    alert->detector = index_of(fault->detected_by, core_detector_name, CORE_DETECTOR_COUNT);
    alert->outcome = index_of(fault->outcome, core_outcome_name, CORE_OUTCOME_COUNT);
    alert->access = !fault->access ? 2 : !strcmp(fault->access, "write") ? 1 : 0;
    alert->signal = fault->signal > 0 && fault->signal <= 64 ? fault->signal : 0;
    alert->not_undone = not_undone_bits(fault);
    alert->count = 1;
    alert->address = fault->has_address ? fault->address : 0;
    alert->bytes = fault->access_bytes;
    alert->distance = fault->has_distance ? fault->distance_bytes : 0;
    alert->object_bytes = fault->object_bytes;
    alert->returned = (uint64_t)fault->returned;
    int build_id_bytes =
        base_unhex(alert->function.build_id, sizeof alert->function.build_id, fault->build_id);
    if (build_id_bytes > 0 && fault->object && fault->offset <= UINT32_MAX) {
        alert->has_function = 1;
        alert->function.build_id_bytes = (uint8_t)build_id_bytes;
        alert->function.offset = fault->offset;
        copy(alert->function.object, sizeof alert->function.object, base_name(fault->object));
        copy(alert->function.symbol, sizeof alert->function.symbol, fault->function);
    }
    /* The report does not say which file the rescue point is in: it is told only where there is no doubt. */
    if (fault->undone && alert->has_function && fault->rescue_offset == fault->offset) {
        alert->has_rescue = 1;
        alert->rescue = alert->function;
    }
    alert->stack_frames = tell_stack(alert->stack, WIRE_FRAMES_MAX, &fault->stack);
    alert->alloc_frames = tell_stack(alert->alloc_stack, WIRE_HEAP_FRAMES_MAX, &fault->alloc_stack);
    alert->free_frames = tell_stack(alert->free_stack, WIRE_HEAP_FRAMES_MAX, &fault->free_stack);
}

void member__alert_of_death(struct wire_alert *alert, int number)
{
    memset(alert, 0, sizeof *alert);
    alert->time_ns = base_realtime_ns();
    alert->kind = number == SIGABRT  ? CORE_FAULT_ABORT
                  : number == SIGFPE ? CORE_FAULT_DIVISION_BY_ZERO
                  : number == SIGILL ? CORE_FAULT_ILLEGAL_INSTRUCTION
                                     : CORE_FAULT_WILD_ACCESS;
    alert->detector = CORE_DETECTOR_SIGNAL;
    alert->outcome = CORE_OUTCOME_CRASHED;
    alert->access = 2;
    alert->signal = number;
    alert->count = 1;
}
