/* Function entries of an object without symbols. Every piece of compiled code has an FDE; what remains to be told is which
   are functions and which are fragments (`.cold` parts) that only their function jumps to. A fragment must not be
   patched as an entry: its flags are live and its frame is set up.

   An FDE begins a function when its first row says CFA = rsp + 8, and something calls it or holds its address, or
   nothing at all jumps to it. An FDE that begins in the middle of a function lies: what is called lies shortly before
   its start, or inside it and nothing calls the start. Calls, address computations and jumps are found by looking at every
   byte position of the code without decoding; where a jump into an FDE makes the difference, what seems to call it is decoded. */
#include "stem/engine.h"

void stem_scan_functions(struct stem_object *object);
void stem_object_each_pointer(struct stem_object *o, void (*mark)(void *context, uint32_t offset),
                              void *context);

struct scan {
    struct stem_object *object;
    struct stem_fde *fdes;
    uint32_t count;
    uint8_t *seen;    /* bits per FDE */
    uint8_t *entered; /* distance from its start, below ENTERED_MAX, to which another FDE jumps, or 0 */
    uint8_t *maybe;   /* the same, or only seems to jump */
    uint32_t *parent; /* the FDE that jumps into it, NONE without one */
    uint32_t *caller; /* the only place that seems to call it, or to take its address; NONE without one */
};
enum { NONE = 0xffffffff, ENTERED_MAX = 5 /* bytes that a patch replaces */, PADDING = 5 };
enum {
    SEEN_CALLED = 1,
    SEEN_JUMPED = 2,
    SEEN_ABSOLUTE = 4,
    SEEN_BEFORE = 8,   /* a call leads shortly before its start */
    SEEN_INSIDE = 16,  /* a call leads into it */
    SEEN_OUTSIDE = 32, /* its address stands outside the code */
    FRAGMENT = 0xff
};
enum { SHORTLY = 16, LIES_SHARE = 4 /* if one function in four is wrong, the table is */ };

static int32_t fde_starting_at(const struct scan *s, uint32_t offset)
{
    uint32_t low = 0, high = s->count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (s->fdes[middle].offset < offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low < s->count && s->fdes[low].offset == offset ? (int32_t)low : -1;
}

/* The first FDE that starts behind an offset; `count`: none. */
static uint32_t fde_behind(const struct scan *s, uint32_t offset)
{
    uint32_t low = 0, high = s->count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (s->fdes[middle].offset <= offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static uint32_t fde_holding(const struct scan *s, uint32_t offset)
{
    uint32_t i = fde_behind(s, offset);
    return i && offset - s->fdes[i - 1].offset < s->fdes[i - 1].bytes ? i - 1 : NONE;
}

/* By a symbol, or a pointer outside the code. */
static void mark_called(void *context, uint32_t offset)
{
    struct scan *s = context;
    int32_t i = fde_starting_at(s, offset);
    if (i >= 0)
        s->seen[i] |= SEEN_CALLED | SEEN_OUTSIDE;
}

/* Is the byte at `here` part of an instruction that jumps to, calls, or takes the address of `to`? Decodes the FDE up to there. */
static bool leads(const struct scan *s, uint32_t fde, uint32_t here, uint32_t to)
{
    const struct stem_fde *f = &s->fdes[fde];
    struct stem_insn insn = {.length = 0};
    uint32_t at = f->offset;
    do {
        at += insn.length;
        if (!stem_decode(&insn, (const uint8_t *)(s->object->base + at), f->offset + f->bytes - at, at))
            return false;
    } while (at + insn.length <= here);
    if (insn.flags & INSN_LEA_RIP)
        return (uint32_t)insn.mem.disp == to;
    return (insn.kind == INSN_JUMP || insn.kind == INSN_BRANCH || insn.kind == INSN_CALL) &&
           insn.target == to;
}

/* Does code at `at` run into `start`, or even across it? Code without call-frame information may end shortly before a function. */
static bool runs_into(const struct scan *s, uint32_t at, uint32_t start)
{
    struct stem_insn insn;
    while (at < start) {
        if (!stem_decode(&insn, (const uint8_t *)(s->object->base + at), 15, at))
            return true;
        if (insn.kind == INSN_JUMP || insn.kind == INSN_JUMP_INDIRECT || insn.kind == INSN_RETURN ||
            insn.kind == INSN_TRAP)
            return at + insn.length > start;
        at += insn.length;
    }
    return true;
}

/* A call, or a pointer (from: NONE), that leads to no FDE's start. What only looks like a call is none. */
static void mark_astray(struct scan *s, uint32_t from, uint32_t here, uint32_t to)
{
    uint32_t next = fde_behind(s, to),
             into = next && to - s->fdes[next - 1].offset < s->fdes[next - 1].bytes ? next - 1 : NONE;
    if (next == s->count || s->fdes[next].offset - to >= SHORTLY)
        next = NONE;
    if ((into == NONE && next == NONE) || stem_object_plt_slot(s->object, to) ||
        (from != NONE && !leads(s, from, here, to)))
        return;
    if (into != NONE)
        s->seen[into] |= SEEN_INSIDE;
    if (next != NONE && runs_into(s, to, s->fdes[next].offset))
        s->seen[next] |= SEEN_BEFORE;
}

/* Bytes in code that look like a call or lea of an FDE's start. A few such are there by chance, never two for one FDE. */
static bool mark_reference(struct scan *s, uint32_t here, uint32_t to)
{
    int32_t i = fde_starting_at(s, to);
    if (i < 0)
        return false;
    if (s->caller[i] == NONE)
        s->caller[i] = here;
    else if (s->caller[i] != here)
        s->seen[i] |= SEEN_CALLED;
    return true;
}

static void mark_call(struct scan *s, uint32_t from, uint32_t here, uint32_t to)
{
    uint32_t code = (uint32_t)(s->object->code_low - s->object->base);
    if (to - code >= s->object->code_high - s->object->code_low)
        return;
    if (!mark_reference(s, here, to) && from != NONE)
        mark_astray(s, from, here, to);
}

/* A pointer outside the code, or a symbol: unlike a label's address, it may not lead astray. */
static void mark_pointer(void *context, uint32_t offset)
{
    struct scan *s = context;
    mark_called(s, offset);
    if (fde_holding(s, offset) == NONE)
        mark_astray(s, NONE, 0, offset);
}

/* Four bytes that are the address of an FDE's start: only programs at a fixed place have such operands, and by chance any code does.
   So this does not outweigh a jump from outside. */
static void mark_absolute(struct scan *s, uint32_t offset)
{
    int32_t i = fde_starting_at(s, offset);
    if (i >= 0)
        s->seen[i] |= SEEN_ABSOLUTE;
}

/* Hand-written code jumps behind another function's first instructions: no patch may lie there. Whether it does, or bytes only look
   so, is found out by decoding; not where the padding in front seems to suffice, which makes a patch of two bytes do. */
static void note_entered(struct scan *s, uint32_t into, uint32_t from, uint32_t here, uint32_t to)
{
    const struct stem_fde *f = &s->fdes[into];
    uint32_t behind = to - f->offset;
    if (!behind || behind >= ENTERED_MAX)
        return;
    bool padded = into && f->offset - (f[-1].offset + f[-1].bytes) >= PADDING;
    bool sure = (!padded || behind == 1) && leads(s, from, here, to);
    if (sure && (!s->entered[into] || behind < s->entered[into]))
        s->entered[into] = (uint8_t)behind;
    if ((sure || (padded && behind > 1)) && (!s->maybe[into] || behind < s->maybe[into]))
        s->maybe[into] = (uint8_t)behind;
}

/* A jump from one FDE into another. A function that is called as well stays one. */
static void mark_jump(struct scan *s, uint32_t from, uint32_t here, uint32_t to)
{
    if (from == NONE || to - s->fdes[from].offset < s->fdes[from].bytes)
        return;
    uint32_t into = fde_holding(s, to);
    if (into == NONE)
        return;
    note_entered(s, into, from, here, to);
    s->seen[into] |= SEEN_JUMPED;
    if (s->parent[into] == NONE)
        s->parent[into] = from;
}

static int32_t rel32(const uint8_t *p)
{
    int32_t v;
    memcpy(&v, p, 4);
    return v;
}

/* `p` itself, or the start of the next executable segment when fewer than seven bytes are left in this one; NULL behind the last. */
static inline const uint8_t *within_code(const struct stem_object *o, uint32_t *segment, const uint8_t *p)
{
    while (*segment < o->load_count &&
           (!o->loads[*segment].is_code || (uintptr_t)p + 7 > o->loads[*segment].high))
        ++*segment;
    if (*segment == o->load_count)
        return NULL;
    return (uintptr_t)p < o->loads[*segment].low ? (const uint8_t *)o->loads[*segment].low : p;
}

static void scan_code(struct scan *s)
{
    const struct stem_object *o = s->object;
    uint32_t start = (uint32_t)(o->code_low - o->base), next = 0, current = NONE;
    uint64_t code_bytes = o->code_high - o->code_low;
    uint32_t segment = 0;
    for (const uint8_t *p = (const uint8_t *)o->code_low; (p = within_code(o, &segment, p)); p++) {
        uint32_t here = (uint32_t)((uintptr_t)p - o->base);
        uint8_t b = *p;
        if (current != NONE && here - s->fdes[current].offset >= s->fdes[current].bytes)
            current = NONE;
        if (next < s->count && here >= s->fdes[next].offset)
            current = next++;
        if (!o->base && (uint32_t)rel32(p) - start < code_bytes)
            mark_absolute(s, (uint32_t)rel32(p));
        if (b == 0xe8)
            mark_call(s, current, here, here + 5 + (uint32_t)rel32(p + 1));
        else if (b == 0x8d && (p[1] & 0xc7) == 5)
            mark_reference(s, here, here + 6 + (uint32_t)rel32(p + 2));
        else if (b == 0xe9)
            mark_jump(s, current, here, here + 5 + (uint32_t)rel32(p + 1));
        else if (b == 0x0f && (p[1] & 0xf0) == 0x80)
            mark_jump(s, current, here, here + 6 + (uint32_t)rel32(p + 2));
        else if ((b & 0xf0) == 0x70 || b == 0xeb || (b >= 0xe0 && b <= 0xe3))
            mark_jump(s, current, here, here + 2 + (uint32_t)(int8_t)p[1]);
    }
}

/* One place that seems to call it makes an FDE a function; where a jump leads there too, that place is decoded first: a `.cold` part
   would become an entry, and its gate destroys live flags. */
static void settle_references(struct scan *s)
{
    for (uint32_t i = 0; i < s->count; i++) {
        if (s->caller[i] == NONE || s->seen[i] & SEEN_CALLED)
            continue;
        uint32_t from = s->seen[i] & SEEN_JUMPED ? fde_holding(s, s->caller[i]) : NONE;
        if (from == NONE || leads(s, from, s->caller[i], s->fdes[i].offset))
            s->seen[i] |= SEEN_CALLED;
    }
}

/* Pointers in the data of a program at a fixed place need no relocation: every word that could be one counts. */
static void scan_data(struct scan *s)
{
    const struct stem_object *o = s->object;
    uint64_t word;
    for (uintptr_t at = o->low & ~7ul; at + 8 <= o->high; at += 8) {
        if (at >= (o->code_low & ~7ul) && at < o->code_high)
            continue;
        if (!stem_safe_read(&word, at))
            at |= 4088; /* a hole between segments: on with the next page */
        else if (word >= o->code_low && word < o->code_high)
            mark_called(s, (uint32_t)word);
    }
}

/* Remembers which function each fragment belongs to, for reports: the one that jumps into it, perhaps through another. */
static void keep_fragments(struct stem_object *o, const struct scan *s)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < s->count; i++)
        count += s->seen[i] == FRAGMENT;
    o->fragments = count ? stem_arena(count * sizeof *o->fragments) : NULL;
    for (uint32_t i = 0; o->fragments && i < s->count; i++) {
        uint32_t owner = s->parent[i];
        for (int depth = 0; owner != NONE && s->seen[owner] == FRAGMENT && depth < 4; depth++)
            owner = s->parent[owner];
        if (s->seen[i] != FRAGMENT || owner == NONE || s->seen[owner] == FRAGMENT)
            continue;
        o->fragments[o->fragment_count++] = (struct stem_fragment){
            s->fdes[i].offset, s->fdes[i].bytes, stem_function_at(o, s->fdes[owner].offset)};
    }
}

static bool is_lie(uint8_t seen)
{
    return seen & SEEN_BEFORE || (seen & (SEEN_INSIDE | SEEN_CALLED)) == SEEN_INSIDE;
}

/* Code without call-frame information that holds together: one entry stands for all of it, so that it is named. */
static void keep_nothing(struct stem_object *o)
{
    o->fde_count = 0;
    o->functions = stem_arena(sizeof *o->functions);
    if (!o->functions)
        return;
    o->functions[0] = (struct stem_function){
        .offset = (uint32_t)(o->code_low - o->base), .bytes = 1, .refusal = CORE_REFUSAL_NO_FDE};
    o->function_count = 1;
}

void stem_scan_functions(struct stem_object *o)
{
    struct scan s = {.object = o};
    if (!o->fde_count) {
        keep_nothing(o);
        return;
    }
    size_t scratch = o->fde_count * (sizeof *s.fdes + sizeof *s.parent + sizeof *s.caller + 3);
    s.fdes = stem_pages_map(scratch);
    if (!s.fdes)
        return;
    s.parent = (uint32_t *)(s.fdes + o->fde_count);
    s.caller = s.parent + o->fde_count;
    s.seen = (uint8_t *)(s.caller + o->fde_count);
    s.entered = s.seen + o->fde_count;
    s.maybe = s.entered + o->fde_count;
    for (uint32_t i = 0; i < o->fde_count; i++) {
        struct stem_fde *fde = &s.fdes[s.count];
        if (stem_fde_read(fde, o, o->eh_frame_hdr + o->fde_table[2 * i + 1]) && fde->bytes &&
            !stem_fde_is_plt(fde, o) && (!s.count || fde->offset >= fde[-1].offset + fde[-1].bytes))
            s.parent[s.count] = s.caller[s.count] = NONE, s.count++;
    }
    stem_object_each_pointer(o, mark_pointer, &s);
    if (!o->base)
        scan_data(&s);
    scan_code(&s);
    settle_references(&s);
    uint32_t entries = 0, lies = 0;
    for (uint32_t i = 0; i < s.count; i++)
        if (((s.seen[i] & (SEEN_JUMPED | SEEN_CALLED)) == SEEN_JUMPED) ||
            !stem_cfi_begins_as_function(o, &s.fdes[i])) {
            s.seen[i] = FRAGMENT;
        } else {
            entries++;
            lies += is_lie(s.seen[i]);
        }
    bool all_lies = lies > entries / LIES_SHARE;
    o->functions = stem_arena(entries * sizeof *o->functions);
    for (uint32_t i = 0; o->functions && i < s.count; i++)
        if (s.seen[i] != FRAGMENT) {
            struct stem_function *f = &o->functions[o->function_count++];
            f->offset = s.fdes[i].offset;
            f->bytes = s.fdes[i].bytes;
            f->entered = s.entered[i];
            f->maybe_entered = s.maybe[i];
            f->public = s.seen[i] & SEEN_OUTSIDE;
            if (o->entry && f->offset == o->entry)
                f->refusal = CORE_REFUSAL_ENTRY;
            else if (all_lies || is_lie(s.seen[i]))
                f->refusal = CORE_REFUSAL_NO_FDE;
        }
    keep_fragments(o, &s);
    stem_pages_unmap(s.fdes, scratch);
    if (!o->function_count)
        keep_nothing(o);
}
