/* Code cache regions, gates and entry patches.

   Every candidate's entry is patched once, when its object appears and nobody runs in it yet; from then on one byte decides
   where a call goes. The patch leads to the function's gate:

       cmp byte [level], 1
       ja  protect          -> jmp [slot]: translated code, or at first the translator
       je  monitor          -> translated code, or at first jmp [slot]
       the instructions that the patch displaced, moved; jmp back behind them

   Preferred patch: a 5-byte jump over the first instructions, when no branch leads into them. Else a 2-byte jump into 5 bytes of
   padding before the entry, where the jump to the gate stands: one jump more for each call. */
#define _GNU_SOURCE
#include "stem/emit.h"
#include "stem/panics.h"
#include "stem/pools.h"
#include "stem/sys.h"

#include <sys/mman.h>

enum { GATE_BYTES_MAX = 192, REACH = 0x7ff00000 };

/* ---- free memory within reach --------------------------------------------------------------------------- */

/* The largest-to-nearest free range of `bytes` within 2 GiB of [low, high). Returns 0 when there is none. `below`: only there,
   because brk grows above the program. */
static uintptr_t find_gap(uintptr_t low, uintptr_t high, size_t bytes, bool below)
{
    enum { ROOM = 1 << 20 };
    char *text = stem_pages_map(ROOM);
    if (!text)
        return 0;
    long fd = sys_call4(SYS_openat, -100, "/proc/self/maps", 0, 0);
    size_t used = 0;
    while (!sys_failed(fd) && used < ROOM - 1) {
        long n = sys_call3(SYS_read, fd, text + used, ROOM - 1 - used);
        if (n <= 0)
            break;
        used += (size_t)n;
    }
    if (!sys_failed(fd))
        sys_call1(SYS_close, fd);
    uintptr_t previous_end = 65536, best = 0, best_distance = ~(uintptr_t)0, far = 0;
    bool previous_is_heap = false;
    const char *p = text;
    while (*p) {
        uintptr_t bound[2] = {0, 0};
        for (int i = 0; i < 2; i++, p++)
            for (; *p != '-' && *p != ' ' && *p; p++)
                bound[i] = bound[i] << 4 | (uintptr_t)(*p <= '9' ? *p - '0' : *p - 'a' + 10);
        bool is_heap = false, is_stack = false;
        for (; *p && *p != '\n'; p++) {
            is_heap |= p[0] == '[' && p[1] == 'h';
            is_stack |= p[0] == '[' && p[1] == 's' && p[2] == 't';
        }
        if (*p)
            p++;
        /* The gap [previous_end, bound[0]): leave room for brk above the heap, for the stack to grow below it, and 64 KB
           on both sides so that neighbours stay distinguishable. */
        uintptr_t from = previous_end + (previous_is_heap ? 1ul << 30 : 65536);
        uintptr_t to = bound[0] - (is_stack ? 1ul << 30 : 65536);
        if (to > from && bound[0] > previous_end && to - from >= bytes + 65536) {
            /* A program at a fixed low place has no room below: as far above it as reaches, for brk's sake. */
            uintptr_t highest = ((low + REACH < to ? low + REACH : to) - bytes) & ~65535ul;
            if (below && from > high && highest >= from)
                far = highest;
            uintptr_t candidates[2] = {(to - bytes) & ~65535ul, (from + 65535) & ~65535ul};
            for (int i = 0; i < 2; i++) {
                uintptr_t a = candidates[i];
                uintptr_t distance = a < low ? high - a : a + bytes - low;
                if (distance < REACH && distance < best_distance && (a < low || !below)) {
                    best = a;
                    best_distance = distance;
                }
            }
        }
        previous_end = bound[1];
        previous_is_heap = is_heap;
    }
    stem_pages_unmap(text, ROOM);
    return best ? best : far;
}

static uint8_t *map_near(uintptr_t low, uintptr_t high, size_t bytes, bool below)
{
    uintptr_t at = find_gap(low, high, bytes, below);
    if (!at)
        return NULL;
    stem_limits_ours((int64_t)bytes);
    long p = sys_call6(SYS_mmap, at, bytes, PROT_READ | PROT_WRITE | PROT_EXEC,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
    return sys_failed(p) || (uintptr_t)p != at ? NULL : (uint8_t *)p;
}

/* Maps the level bytes of the object's functions at the start of its region. */
static bool map_levels(struct stem_object *o)
{
    uintptr_t first = (uintptr_t)&stem_control->level[o->functions[0].index];
    uintptr_t last = first + o->function_count;
    uintptr_t page = first & ~4095ul;
    size_t bytes = ((last + 4095) & ~4095ul) - page;
    /* mremap of a shared mapping with old size 0 makes a second view of it, without needing the descriptor. */
    long p = sys_call5(SYS_mremap, page, 0, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, o->region);
    if (sys_failed(p))
        return false;
    __atomic_store_n(&o->levels, o->region + (first - page), __ATOMIC_RELEASE);
    o->next = o->region + bytes;
    return true;
}

static const void *stubs[STUBS] = {
    [STUB_TRANSLATE] = stem_stub_translate,     [STUB_CHECK] = stem_stub_check,
    [STUB_STRING_EXACT] = stem_stub_string,     [STUB_STRING] = stem_fast_string,
    [STUB_INDIRECT] = stem_stub_indirect,       [STUB_EXOTIC] = stem_stub_exotic,
    [STUB_PROTECT] = stem_stub_protect,         [STUB_POINTER] = stem_stub_pointer,
    [STUB_RETURN] = stem_stub_return,           [STUB_PROVE] = stem_stub_prove,
    [STUB_PROVE_ENTRY] = stem_stub_prove_entry,
};

static void refuse_all(struct stem_object *o, enum core_refusal why)
{
    for (uint32_t i = 0; i < o->function_count; i++) {
        o->functions[i].refusal = (uint8_t)why;
        stem_control->functions[o->functions[i].index].refusal = (uint8_t)why;
    }
    stem_count(CORE_COUNTER_FUNCTIONS_REFUSED, o->function_count);
}

bool stem_region_make(struct stem_object *o)
{
    size_t code = o->code_high - o->code_low;
    size_t bytes =
        code * (code < 32u << 20 ? 28 : 14) + o->function_count * (size_t)(GATE_BYTES_MAX / 2) + (1 << 20);
    bytes = (bytes + 65535) & ~65535ul;
    do
        o->region = map_near(o->low, o->high, bytes, o->entry != 0);
    while (!o->region && stem_objects_drop_oldest());
    if (!o->region) {
        refuse_all(o, CORE_REFUSAL_NO_REACH);
        return false;
    }
    o->region_end = o->region + bytes;
    if (!map_levels(o)) {
        stem_disarm("testudo: cannot map the control page beside a code cache; running natively");
        return false;
    }
    /* A table of pointers to the stubs, which may lie further than 2 GiB away. */
    o->stubs = (const void *const *)o->next;
    if (stem_control->config.knobs & 1u << CORE_KNOB_NO_SHORT_CUTS)
        stubs[STUB_STRING] = stem_stub_string;
    stem_emit_bytes(&o->next, stubs, sizeof stubs);
    o->cold_start = o->cold_next = o->region + (bytes / 2 & ~4095ul);
    return true;
}

/* ---- relocating displaced instructions -------------------------------------------------------------------- */

static bool relocate(stem_cursor *p, const struct stem_insn *insn, const uint8_t *bytes,
                     const struct stem_object *o)
{
    const uint8_t *target = (const uint8_t *)(o->base + insn->target);
    if (insn->flags & INSN_UNSUPPORTED)
        return false;
    switch (insn->kind) {
    case INSN_JUMP:
        stem_emit_jump(p, target);
        return true;
    case INSN_BRANCH:
        if (insn->flags & INSN_SHORT_ONLY)
            return false;
        stem_emit_jcc(p, insn->condition, target);
        return true;
    case INSN_CALL: { /* with the application's return address, which lies behind the patch */
        uintptr_t back = o->base + insn->offset + insn->length;
        stem_emit_byte(p, 0xff); /* push [rip + 5]: behind the jump */
        stem_emit_byte(p, 0x35);
        stem_emit_u32(p, 5);
        stem_emit_jump(p, target);
        stem_emit_bytes(p, &back, 8);
        return true;
    }
    case INSN_CALL_INDIRECT:
        return false;
    default:
        return stem_emit_copy(p, insn, bytes, o);
    }
}

/* ---- where an entry can be patched --------------------------------------------------------------------------- */

static unsigned nop_length(const uint8_t *p, size_t room)
{
    size_t i = 0;
    while (i < room && (p[i] == 0x66 || p[i] == 0x2e))
        i++;
    if (i < room && (p[i] == 0x90 || p[i] == 0xcc))
        return (unsigned)i + 1;
    if (i + 2 < room && p[i] == 0x0f && p[i + 1] == 0x1f) {
        uint8_t modrm = p[i + 2];
        size_t n = i + 3 + ((modrm & 7) == 4) + (modrm >> 6 == 1 ? 1 : modrm >> 6 == 2 ? 4 : 0);
        return n <= room ? (unsigned)n : 0;
    }
    return 0;
}

/* Are the five bytes before the function padding that nothing reaches? */
static bool has_padding(const struct stem_object *o, const struct stem_function *f)
{
    struct stem_fde before;
    uint32_t end;
    if (f > o->functions && stem_fde_find(&before, o, f->offset - 1))
        return false;
    /* The nearest FDE that ends before us: padding is shorter than 64 bytes. */
    for (end = f->offset; f->offset - end < 64 && end > 0; end--)
        if (stem_fde_find(&before, o, end - 1))
            break;
    if (f->offset - end < 5 || f->offset - end >= 64)
        return false;
    const uint8_t *p = (const uint8_t *)(o->base + end), *entry = (const uint8_t *)(o->base + f->offset);
    while (p < entry) {
        unsigned n = nop_length(p, (size_t)(entry - p));
        if (!n)
            return false;
        p += n;
    }
    return true;
}

/* Does something that looks like a branch lead into the function's bytes [1, bytes)? Looks at every byte position: quick, but it takes
   operands for branches. */
static bool may_branch_into(const uint8_t *code, uint32_t length, unsigned bytes)
{
    for (uint32_t i = 0; i + 2 <= length; i++) {
        uint8_t b = code[i];
        int64_t to = -1;
        if ((b & 0xf0) == 0x70 || b == 0xeb || (b >= 0xe0 && b <= 0xe3))
            to = (int64_t)i + 2 + (int8_t)code[i + 1];
        if (to >= 1 && to < bytes)
            return true;
        int32_t rel;
        to = -1;
        if (b == 0xe9 && i + 5 <= length) {
            memcpy(&rel, code + i + 1, 4);
            to = (int64_t)i + 5 + rel;
        } else if (b == 0x0f && (code[i + 1] & 0xf0) == 0x80 && i + 6 <= length) {
            memcpy(&rel, code + i + 2, 4);
            to = (int64_t)i + 6 + rel;
        }
        if (to >= 1 && to < bytes)
            return true;
    }
    return false;
}

/* Does any branch of the function lead into its bytes [1, bytes)? Decodes only where the quick look says so. */
static bool branches_into(const struct stem_object *o, const struct stem_function *f, unsigned bytes)
{
    const uint8_t *code = (const uint8_t *)(o->base + f->offset);
    if (!may_branch_into(code, f->bytes, bytes))
        return false;
    struct stem_insn insn;
    for (uint32_t at = 0; at < f->bytes; at += insn.length) {
        if (!stem_decode(&insn, code + at, f->bytes - at, f->offset + at))
            return true;
        if ((insn.kind == INSN_JUMP || insn.kind == INSN_BRANCH) && insn.target - f->offset >= 1 &&
            insn.target - f->offset < bytes)
            return true;
    }
    return false;
}

static uint32_t room_after(const struct stem_object *o, const struct stem_function *f)
{
    uint32_t room = f->bytes;
    struct stem_fde next;
    const uint8_t *p = (const uint8_t *)(o->base + f->offset);
    while (room < 16 && !stem_fde_find(&next, o, f->offset + room)) {
        unsigned n = stem_object_room(o, p + room) < 16 ? 0 : nop_length(p + room, 16);
        if (!n || (uintptr_t)p + room + n > o->code_high)
            break;
        room += n;
    }
    return room;
}

/* ---- gates ---------------------------------------------------------------------------------------------------- */

static void emit_gate_tail(const struct stem_object *o, struct stem_function *f, enum stem_flavour flavour,
                           stem_cursor *p)
{
    f->gate_cached[flavour] = *p;
    stem_emit_jump_through(p, f->slot[flavour]);
    /* Until it is translated the slot leads here: which function and flavour, then the translator. */
    f->slot[flavour]->v = (uintptr_t)*p;
    stem_emit_byte(p, 0x68);
    stem_emit_u32(p, f->index << 1 | (uint32_t)flavour);
    stem_emit_jump_through(p, &o->stubs[STUB_TRANSLATE]);
}

static void lead_to_door(const struct stem_object *o, const struct stem_function *f)
{
    uint8_t *entry = (uint8_t *)(o->base + f->offset), *jump = f->patched_bytes == 2 ? entry - 5 : entry;
    stem_emit_jump(&jump, f->door);
    if (f->patched_bytes == 2)
        *(volatile uint16_t *)entry = 0xf9eb; /* jmp -7 */
}

/* Decodes the instructions that a patch of `wanted` bytes displaces. Returns CORE_REFUSAL_NONE, or why there can be none. */
static enum core_refusal cover(struct stem_insn insns[5], unsigned *count, unsigned *covered,
                               const struct stem_object *o, const struct stem_function *f, unsigned wanted)
{
    const uint8_t *entry = (const uint8_t *)(o->base + f->offset);
    unsigned entered = wanted == 2 ? f->entered : f->maybe_entered;
    uint32_t room = wanted == 2 ? f->bytes : room_after(o, f);
    *count = *covered = 0;
    while (*covered < wanted) {
        struct stem_insn *insn = &insns[*count];
        if (*covered >= f->bytes) { /* padding behind a tiny function: nothing to move */
            *covered = wanted;
            break;
        }
        if (!stem_decode(insn, entry + *covered, f->bytes - *covered, f->offset + *covered))
            return CORE_REFUSAL_UNDECODABLE;
        *covered += insn->length;
        ++*count;
        if (insn->kind == INSN_CALL && *covered < wanted)
            return CORE_REFUSAL_NO_ROOM;
    }
    if (room < wanted || (entered && entered < wanted) || (*count > 1 && branches_into(o, f, *covered)))
        return CORE_REFUSAL_NO_ROOM;
    return CORE_REFUSAL_NONE;
}

/* The gate itself takes 32 bytes as a rule, half a cache line: code that runs natively comes by one at each call. Slots and the ways
   from them lie with the cold code. */
static enum core_refusal patch_bytes(struct stem_object *o, struct stem_function *f, unsigned wanted)
{
    uint8_t *entry = (uint8_t *)(o->base + f->offset);
    struct stem_insn insns[5];
    unsigned count, covered;
    enum core_refusal refusal = cover(insns, &count, &covered, o, f, wanted);
    if (refusal != CORE_REFUSAL_NONE)
        return refusal;
    stem_cursor p = (uint8_t *)(((uintptr_t)o->next + 31) & ~31ul),
                tail = (uint8_t *)(((uintptr_t)o->cold_next + 15) & ~15ul);
    if (o->cold_start - p < GATE_BYTES_MAX || o->region_end - tail < GATE_BYTES_MAX)
        return CORE_REFUSAL_TABLE_FULL;
    f->gate = p;
    stem_emit_byte(&p, 0x80); /* cmp byte [level], 1 */
    stem_emit_byte(&p, 0x3d);
    p += 4;
    stem_emit_rel32(p - 4, o->levels + (f - o->functions), 1);
    stem_emit_byte(&p, WIRE_LEVEL_MONITOR);
    stem_emit_byte(&p, 0x77); /* ja */
    uint8_t *to_protect = p++;
    stem_emit_bytes(&p, "\x90\x0f\x84",
                    3); /* nop, for alignment; je, led to the translation once there is one */
    f->gate_monitor = (int32_t *)p;
    p += 4;
    f->gate_native = p;
    bool falls_through = true;
    f->moved_count = 0;
    for (unsigned i = 0; i < count; i++) {
        f->moved[f->moved_count].gate = (uint8_t)(p - f->gate_native);
        f->moved[f->moved_count++].entry = (uint8_t)(insns[i].offset - f->offset);
        if (!relocate(&p, &insns[i], entry + (insns[i].offset - f->offset), o)) {
            f->gate = NULL; /* it stays unfinished: nobody may be led to it */
            return CORE_REFUSAL_NO_ROOM;
        }
        falls_through = insns[i].kind != INSN_JUMP && insns[i].kind != INSN_RETURN &&
                        insns[i].kind != INSN_CALL && insns[i].kind != INSN_JUMP_INDIRECT &&
                        insns[i].kind != INSN_TRAP;
    }
    f->moved[f->moved_count].gate = (uint8_t)(p - f->gate_native);
    f->moved[f->moved_count++].entry = (uint8_t)covered;
    if (falls_through)
        stem_emit_jump(&p, entry + (insns[count - 1].offset + insns[count - 1].length - f->offset));
    f->native_bytes = (uint8_t)(p - f->gate_native);
    for (int flavour = 0; flavour < FLAVOURS; flavour++) { /* slots first, 8-aligned */
        f->slot[flavour] = (core_cache_pc *)tail;
        tail += sizeof(core_cache_pc);
    }
    stem_emit_rel32((uint8_t *)f->gate_monitor, tail, 0);
    emit_gate_tail(o, f, FLAVOUR_MONITOR, &tail);
    *to_protect = (uint8_t)(p - (to_protect + 1));
    stem_emit_jump(&p, tail);
    emit_gate_tail(o, f, FLAVOUR_PROTECT, &tail);
    o->next = p;
    o->cold_next = tail;
    memcpy(f->original, entry, sizeof f->original);
    f->patched_bytes = (uint8_t)wanted;
    f->door = f->gate;
    lead_to_door(o, f);
    return CORE_REFUSAL_NONE;
}

static bool patch(struct stem_object *o, struct stem_function *f)
{
    enum core_refusal refusal = patch_bytes(o, f, 5);
    if (refusal != CORE_REFUSAL_NONE && has_padding(o, f))
        refusal = patch_bytes(o, f, 2);
    f->refusal = (uint8_t)refusal;
    return refusal == CORE_REFUSAL_NONE;
}

/* Segment by segment: there may be holes between them. Returns whether all could be changed. */
static bool protect_code(const struct stem_object *o, int protection)
{
    bool good = true;
    for (uint32_t i = 0; i < o->load_count; i++) {
        uintptr_t low = o->loads[i].low & ~4095ul, high = (o->loads[i].high + 4095) & ~4095ul;
        if (o->loads[i].is_code)
            good &= !sys_failed(sys_call3(SYS_mprotect, low, high - low, protection));
    }
    return good;
}

void stem_patch_all(struct stem_object *o)
{
    if (!protect_code(o, PROT_READ | PROT_WRITE | PROT_EXEC)) {
        protect_code(o, PROT_READ | PROT_EXEC);
        refuse_all(o, CORE_REFUSAL_NO_REACH);
        return;
    }
    uint32_t patched = 0;
    for (uint32_t i = 0; i < o->function_count; i++) {
        struct stem_function *f = &o->functions[i];
        if (!f->refusal && patch(o, f)) {
            patched++;
            stem_control->functions[f->index].patched = 1;
        }
        stem_control->functions[f->index].refusal = f->refusal;
    }
    stem_pools_hook(o);
    stem_panics_hook(o);
    protect_code(o, PROT_READ | PROT_EXEC);
    stem_count(CORE_COUNTER_FUNCTIONS_PATCHED, patched);
    stem_count(CORE_COUNTER_FUNCTIONS_REFUSED, o->function_count - patched);
    o->next = (uint8_t *)(((uintptr_t)o->next + 4095) & ~4095ul); /* code begins on its own page */
    o->code_start = o->next;
    o->gates_end = o->cold_next;
}

void stem_patch_lead_on(struct stem_object *o)
{
    uintptr_t low = o->code_low & ~4095ul, high = (o->code_high + 4095) & ~4095ul;
    if (sys_failed(sys_call3(SYS_mprotect, low, high - low, PROT_READ | PROT_WRITE | PROT_EXEC)))
        return;
    for (uint32_t i = 0; i < o->function_count; i++) {
        struct stem_function *f = &o->functions[i];
        if (!f->linked || !f->patched_bytes || f->door != f->gate)
            continue;
        f->door = f->linked;
        lead_to_door(o, f);
    }
    sys_call3(SYS_mprotect, low, high - low, PROT_READ | PROT_EXEC);
}

void stem_patch_again(struct stem_object *o)
{
    uint32_t patched = 0;
    bool writable = protect_code(o, PROT_READ | PROT_WRITE | PROT_EXEC);
    for (uint32_t i = 0; writable && i < o->function_count; i++) {
        struct stem_function *f = &o->functions[i];
        if (!f->patched_bytes)
            continue;
        lead_to_door(o, f);
        stem_control->functions[f->index].patched = 1;
        patched++;
    }
    protect_code(o, PROT_READ | PROT_EXEC);
    stem_count(CORE_COUNTER_FUNCTIONS_PATCHED, patched);
    stem_count(CORE_COUNTER_FUNCTIONS_REFUSED, o->function_count - patched);
}

/* The loader calls this empty function whenever its list of objects has changed; debuggers put a breakpoint there. */
void stem_patch_loader_hook(uintptr_t r_brk)
{
    uint8_t *at = (uint8_t *)r_brk;
    if (!memcmp(at, "\xf3\x0f\x1e\xfa", 4))
        at += 4;
    if (*at != 0xc3 || nop_length(at + 1, 16) < 4) {
        stem_count(CORE_COUNTER_FUNCTIONS_REFUSED, 1);
        return;
    }
    uint8_t *near = map_near(r_brk, r_brk, 4096, false);
    uintptr_t page = (uintptr_t)at & ~4095ul;
    if (!near || sys_failed(sys_call3(SYS_mprotect, page, 8192, PROT_READ | PROT_WRITE | PROT_EXEC)))
        return;
    const void *hook = stem_stub_objects;
    stem_cursor p = near + 16;
    memcpy(near, &hook, 8);
    stem_emit_jump_through(&p, near);
    stem_emit_jump(&at, near + 16);
    sys_call3(SYS_mprotect, page, 8192, PROT_READ | PROT_EXEC);
}
