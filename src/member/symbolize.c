/* A fault record turned into a report: every index checked, every address resolved as far as its file allows.
 */
#include "member/private.h"

#include <inttypes.h>
#include <signal.h>
#include <string.h>

static const struct {
    uint32_t bit;
    const char *text;
} not_undone[] = {
    {WIRE_NOT_UNDONE_LAPPED, "stores older than the undo log reaches: none were undone"},
    {WIRE_NOT_UNDONE_SYSCALL, "output or another effect outside the process"},
    {WIRE_NOT_UNDONE_NATIVE, "stores made by unsupervised callees"},
    {WIRE_NOT_UNDONE_UNARMED, "stores of a thread without an undo log"},
    {WIRE_NOT_UNDONE_LARGE, "a library call that wrote more than the log takes"},
};

const char *member_not_undone_name(unsigned bit)
{
    for (size_t i = 0; i < sizeof not_undone / sizeof *not_undone; i++)
        if (bit < 32 && not_undone[i].bit == 1u << bit)
            return not_undone[i].text;
    return NULL;
}

static bool is_own(const struct member *member, const char *path)
{
    for (uint32_t i = 0; i < WIRE_OBJECTS_MAX; i++)
        if (member->objects[i].known && member->objects[i].own && !strcmp(member->objects[i].path, path))
            return true;
    return false;
}

static void look_up(struct member *member, struct report_frame *frame, const struct site *site)
{
    *frame = (struct report_frame){.object = site->path, .offset = site->offset};
    struct image *image = site->path ? member__image_of(member, site->path) : NULL;
    if (!image)
        return;
    /* A return address may be the first byte of the next line, or of the next function when the call never returns. */
    uint64_t at = site->is_return && site->offset ? site->offset - 1 : site->offset;
    uint64_t into = 0;
    frame->function = image_name(image, &into, at);
    frame->into = frame->function ? into + (site->offset - at) : 0;
    /* Lines of the program's own code only: the C library's debug file takes 40 ms to open, and its lines say little. */
    if (is_own(member, site->path))
        frame->line = image_line(image, &frame->file, at);
}

static void resolve(struct member *member, struct report_frame *frame, const struct site *site)
{
    uint64_t hash = core_hash(CORE_HASH_SEED, &site->path, sizeof site->path);
    hash = core_hash(hash, &site->offset, sizeof site->offset);
    struct resolved *entry = &member->resolved[hash % RESOLVED_COUNT];
    if (!entry->used || entry->site.path != site->path || entry->site.offset != site->offset ||
        entry->site.is_return != site->is_return) {
        look_up(member, &entry->frame, site);
        entry->site = *site;
        entry->used = true;
    }
    *frame = entry->frame;
}

static struct object *find_object(struct member *member, uint32_t index)
{
    return index < WIRE_OBJECTS_MAX && member->objects[index].known ? &member->objects[index] : NULL;
}

/* Frames as the runtime wrote them. `first_is_pc`: the innermost is the faulting instruction, no return address. */
static void resolve_frames(struct member *member, struct report_stack *stack, const struct wire_frame *frames,
                           uint32_t count, uint32_t room, bool first_is_pc)
{
    stack->count = count < room ? count : room;
    for (unsigned i = 0; i < stack->count; i++) {
        struct object *object = find_object(member, frames[i].object);
        struct site site = {
            .path = object ? object->path : NULL,
            .offset = frames[i].offset,
            .is_return = !(first_is_pc && i == 0),
        };
        resolve(member, &stack->frame[i], &site);
    }
}

/* The object that a function's index belongs to. Returns NULL for an index out of every object. */
static struct object *owner(struct member *member, uint32_t function)
{
    for (uint32_t i = 0; i < WIRE_OBJECTS_MAX; i++) {
        struct object *o = &member->objects[i];
        if (o->known && function >= o->first && function - o->first < o->count)
            return o;
    }
    return NULL;
}

static const char *function_name(struct object *object, uint64_t offset)
{
    struct image *image = member__image(object);
    uint64_t into;
    return image ? image_name(image, &into, offset) : NULL;
}

static void set_place(struct report_fault *fault, struct object *object, uint64_t offset)
{
    fault->object = object->path;
    fault->offset = offset;
    fault->function = function_name(object, offset);
    base_hex(fault->build_id, object->build_id, object->build_id_bytes);
}

/* Entry of the listed function that holds `offset` of `object`. Returns whether there is one. */
static bool entry_of(const struct member *member, uint64_t *entry, const struct object *object,
                     uint64_t offset)
{
    for (uint32_t i = object->first; i < object->first + object->count; i++) {
        uint32_t start = __atomic_load_n(&member->page->functions[i].offset, __ATOMIC_RELAXED);
        uint32_t bytes = __atomic_load_n(&member->page->functions[i].bytes, __ATOMIC_RELAXED);
        if (offset >= start && offset - start < bytes) {
            *entry = start;
            return true;
        }
    }
    return false;
}

/* The function to blame: the one the runtime named, else the innermost one of the program's own on the stack. */
static void blame(struct member *member, struct report_fault *fault, const struct wire_fault *record)
{
    struct object *named = record->function < WIRE_FUNCTIONS_MAX ? owner(member, record->function) : NULL;
    if (named) {
        set_place(fault, named,
                  __atomic_load_n(&member->page->functions[record->function].offset, __ATOMIC_RELAXED));
        return;
    }
    for (unsigned i = 0; i < fault->stack.count; i++) {
        const struct report_frame *f = &fault->stack.frame[i];
        for (uint32_t o = 0; f->object && o < WIRE_OBJECTS_MAX; o++) {
            struct object *object = &member->objects[o];
            uint64_t entry, at = f->offset - (i > 0 && f->offset > 0);
            if (object->known && object->own && !strcmp(object->path, f->object) &&
                entry_of(member, &entry, object, at)) {
                set_place(fault, object, entry);
                return;
            }
        }
    }
    /* No function of the program on the stack: the place itself. */
    if (fault->stack.count) {
        const struct report_frame *f = &fault->stack.frame[0];
        fault->object = f->object;
        fault->function = f->function;
        fault->offset = f->offset - f->into;
    }
}

static void set_memory(struct report_fault *fault, const struct wire_fault *record)
{
    static const char *const regions[] = {
        [WIRE_REGION_HEAP_LIVE] = "heap block",
        [WIRE_REGION_HEAP_FREED] = "freed heap block",
        [WIRE_REGION_STACK] = "stack frame",
        [WIRE_REGION_GLOBAL] = "global variable",
    };
    fault->access = record->is_write == 0 ? "read" : record->is_write == 1 ? "write" : NULL;
    switch (record->kind) {
    case CORE_FAULT_DIVISION_BY_ZERO:
    case CORE_FAULT_ILLEGAL_INSTRUCTION:
    case CORE_FAULT_ABORT:
    case CORE_FAULT_ASSERTION:
    case CORE_FAULT_FORTIFY:
        fault->access = NULL;
        break;
    case CORE_FAULT_DOUBLE_FREE:
    case CORE_FAULT_INVALID_FREE:
        fault->access = NULL;
        fault->has_address = true;
        break;
    case CORE_FAULT_NULL_DEREFERENCE:
        fault->has_address = true;
        break;
    default:
        fault->has_address = record->address != 0;
    }
    fault->access_bytes = fault->access ? record->bytes : 0;
    fault->address = record->address;
    if (record->region < sizeof regions / sizeof *regions)
        fault->region = regions[record->region];
    fault->object_bytes = record->object_bytes;
    fault->object_start = record->object_start;
    fault->has_distance = fault->region && record->object_bytes;
    fault->distance_bytes = record->distance;
}

/* The name of the local variable that a record means. */
static const char *variable_name(struct member *member, const struct wire_fault *record)
{
    if (!record->variable || record->variable > WIRE_LOCALS_MAX || !record->object_bytes)
        return NULL;
    struct wire_local local = member->page->locals[record->variable - 1];
    struct object *object = local.function < WIRE_FUNCTIONS_MAX ? owner(member, local.function) : NULL;
    struct image *image = object ? member__image(object) : NULL;
    if (!image)
        return NULL;
    const struct image_local *locals;
    size_t count = image_locals(image, &locals);
    uint64_t function = __atomic_load_n(&member->page->functions[local.function].offset, __ATOMIC_RELAXED);
    for (size_t i = 0; i < count; i++)
        if (locals[i].function == function && locals[i].offset == local.offset &&
            locals[i].bytes == local.bytes)
            return locals[i].name;
    return NULL;
}

static const char *intrinsic_name(struct member *member, const struct wire_fault *record)
{
    char name[sizeof record->intrinsic];
    memcpy(name, record->intrinsic, sizeof name);
    name[sizeof name - 1] = 0;
    if (!name[0])
        return NULL;
    for (unsigned i = 0; i < member->intrinsic_count; i++)
        if (!strcmp(member->intrinsics[i].name, name))
            return member->intrinsics[i].name;
    if (member->intrinsic_count == sizeof member->intrinsics / sizeof *member->intrinsics)
        return "a library function";
    memcpy(member->intrinsics[member->intrinsic_count].name, name, sizeof name);
    return member->intrinsics[member->intrinsic_count++].name;
}

static uint32_t kind_of(const struct wire_fault *record)
{
    if (record->kind != CORE_FAULT_NONE && record->kind < CORE_FAULT_COUNT)
        return record->kind;
    switch (record->signal) {
    case SIGFPE:
        return CORE_FAULT_DIVISION_BY_ZERO;
    case SIGILL:
        return CORE_FAULT_ILLEGAL_INSTRUCTION;
    case SIGABRT:
        return CORE_FAULT_ABORT;
    default:
        return record->address < 4096 ? CORE_FAULT_NULL_DEREFERENCE : CORE_FAULT_WILD_ACCESS;
    }
}

/* An abort that no checked call foresaw: the C library's functions between it and the program say why. */
static void refine_abort(const struct member *member, struct report_fault *fault)
{
    static const struct {
        const char *function;
        enum core_fault_kind kind;
        enum core_detector detector;
    } reasons[] = {
        {"__stack_chk_fail", CORE_FAULT_STACK_SMASH,
         CORE_DETECTOR_CANARY}, /* calls __fortify_fail: it goes first */
        {"__assert_fail", CORE_FAULT_ASSERTION, CORE_DETECTOR_SIGNAL},
        {"__assert_perror_fail", CORE_FAULT_ASSERTION, CORE_DETECTOR_SIGNAL},
        {"__chk_fail", CORE_FAULT_FORTIFY, CORE_DETECTOR_SIGNAL},
        {"__fortify_fail", CORE_FAULT_FORTIFY, CORE_DETECTOR_SIGNAL},
    };
    for (size_t r = 0; r < sizeof reasons / sizeof *reasons; r++)
        for (unsigned i = 0; i < fault->stack.count; i++) {
            const struct report_frame *f = &fault->stack.frame[i];
            if (f->object && is_own(member, f->object))
                break; /* the program's own code from here on */
            if (f->function && !strcmp(f->function, reasons[r].function)) {
                fault->kind = core_fault_name(reasons[r].kind);
                fault->detected_by = core_detector_name(reasons[r].detector);
                return;
            }
        }
}

/* The id names a place and a kind, and is the same in every process and on every machine: no addresses in it. */
static void set_id(struct report_fault *fault)
{
    uint64_t hash = core_hash(CORE_HASH_SEED, fault->build_id, strlen(fault->build_id));
    hash = core_hash(hash, &fault->offset, sizeof fault->offset);
    hash = core_hash(hash, fault->kind, strlen(fault->kind));
    for (unsigned i = 0; i < fault->stack.count; i++) {
        const struct report_frame *f = &fault->stack.frame[i];
        if (!f->object || !fault->object || strcmp(f->object, fault->object) != 0)
            continue; /* the C library's part of the way does not tell places apart */
        hash = core_hash(hash, &f->offset, sizeof f->offset);
        break;
    }
    snprintf(fault->id, sizeof fault->id, "%016" PRIx64, hash);
}

void member__report(struct member *member, struct report_fault *fault, const struct wire_fault *record,
                    const struct sites *crash)
{
    *fault = (struct report_fault){
        .time_ns = record->time_ns,
        .pid = record->pid,
        .member = member->options.name,
        .kind = core_fault_name(kind_of(record)),
        .detected_by = core_detector_name(record->detector),
        .outcome = core_outcome_name(record->outcome),
        .intrinsic = intrinsic_name(member, record),
        .signal = record->signal,
        .count = 1,
    };
    set_memory(fault, record);
    fault->variable = variable_name(member, record);
    if (crash && (crash->site[0].path || !record->stack_frames)) {
        fault->stack.count = crash->count;
        for (unsigned i = 0; i < crash->count; i++)
            resolve(member, &fault->stack.frame[i], &crash->site[i]);
    } else {
        resolve_frames(member, &fault->stack, record->stack, record->stack_frames, WIRE_FRAMES_MAX, true);
    }
    resolve_frames(member, &fault->alloc_stack, record->alloc_stack, record->alloc_frames,
                   WIRE_HEAP_FRAMES_MAX, false);
    resolve_frames(member, &fault->free_stack, record->free_stack, record->free_frames, WIRE_HEAP_FRAMES_MAX,
                   false);
    blame(member, fault, record);
    if (record->is_crash && kind_of(record) == CORE_FAULT_ABORT)
        refine_abort(member, fault);
    if (record->outcome == CORE_OUTCOME_UNDONE && record->rescue < WIRE_FUNCTIONS_MAX) {
        struct object *object = owner(member, record->rescue);
        fault->undone = true;
        fault->returned = (int64_t)record->returned;
        fault->rescue_offset =
            __atomic_load_n(&member->page->functions[record->rescue].offset, __ATOMIC_RELAXED);
        fault->rescue_point = object ? function_name(object, fault->rescue_offset) : NULL;
    }
    for (unsigned i = 0, n = 0; i < sizeof not_undone / sizeof *not_undone && n + 1 < REPORT_NOT_UNDONE_MAX;
         i++)
        if (record->not_undone & not_undone[i].bit)
            fault->not_undone[n++] = not_undone[i].text;
    set_id(fault);
}
