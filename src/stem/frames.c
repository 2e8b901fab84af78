/* Call-frame information: .eh_frame interpreted in place. Debian's binaries carry it for every instruction, so the
   canonical frame address and the callee-saved registers of any activation can be computed at any pc, without
   anything having been saved at entry. Used for undo, for aborts and for backtraces; all of it signal-safe. */
#include "stem/engine.h"

struct cursor {
    const uint8_t *at, *end;
    bool bad;
};

static uint64_t take(struct cursor *c, unsigned bytes)
{
    uint64_t v = 0;
    if ((size_t)(c->end - c->at) < bytes) {
        c->bad = true;
        return 0;
    }
    for (unsigned i = 0; i < bytes; i++)
        v |= (uint64_t)c->at[i] << 8 * i;
    c->at += bytes;
    return v;
}

static uint64_t take_uleb(struct cursor *c)
{
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        uint8_t byte = (uint8_t)take(c, 1);
        v |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80))
            return v;
    }
    c->bad = true;
    return 0;
}

static int64_t take_sleb(struct cursor *c)
{
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 64;) {
        uint8_t byte = (uint8_t)take(c, 1);
        v |= (uint64_t)(byte & 0x7f) << shift;
        shift += 7;
        if (!(byte & 0x80)) {
            if (byte & 0x40 && shift < 64)
                v |= ~0ull << shift;
            return (int64_t)v;
        }
    }
    c->bad = true;
    return 0;
}

enum {
    PE_ABSOLUTE = 0,
    PE_UDATA2 = 2,
    PE_UDATA4 = 3,
    PE_UDATA8 = 4,
    PE_SDATA2 = 10,
    PE_SDATA4 = 11,
    PE_SDATA8 = 12,
    PE_PCREL = 0x10
};

static uint64_t take_encoded(struct cursor *c, uint8_t encoding)
{
    uint64_t here = (uint64_t)c->at, v;
    switch (encoding & 0x0f) {
    case PE_UDATA2:
        v = take(c, 2);
        break;
    case PE_SDATA2:
        v = (uint64_t)(int16_t)take(c, 2);
        break;
    case PE_UDATA4:
        v = take(c, 4);
        break;
    case PE_SDATA4:
        v = (uint64_t)(int32_t)take(c, 4);
        break;
    case PE_ABSOLUTE:
    case PE_UDATA8:
    case PE_SDATA8:
        v = take(c, 8);
        break;
    default:
        c->bad = true;
        return 0;
    }
    return (encoding & 0x70) == PE_PCREL ? v + here : v;
}

struct cie {
    uint64_t code_align;
    int64_t data_align;
    uint8_t pointer_encoding;
    bool has_augmentation, is_signal;
    struct cursor program;
};

/* A record whole: its length word says how far it reaches, and it may lie. Returns false when it leaves its segment. */
static bool open_record(struct cursor *c, const struct stem_object *object, const uint8_t *record)
{
    size_t room = stem_object_room(object, record);
    *c = (struct cursor){record, record + 4, false};
    uint32_t length = room < 4 ? 0 : (uint32_t)take(c, 4);
    if (!length || length > room - 4)
        return false;
    c->end = record + 4 + length;
    return true;
}

static void skip(struct cursor *c, uint64_t bytes)
{
    if (bytes > (size_t)(c->end - c->at))
        c->bad = true;
    else
        c->at += bytes;
}

static bool read_cie(struct cie *cie, const struct stem_object *object, const uint8_t *record)
{
    struct cursor c;
    if (!open_record(&c, object, record) || take(&c, 4) || c.bad) /* id 0 */
        return false;
    uint8_t version = (uint8_t)take(&c, 1);
    const char *augmentation = (const char *)c.at;
    while (take(&c, 1) && !c.bad)
        ;
    cie->code_align = take_uleb(&c);
    cie->data_align = take_sleb(&c);
    uint64_t return_column = version == 1 ? take(&c, 1) : take_uleb(&c);
    cie->pointer_encoding = PE_ABSOLUTE;
    cie->has_augmentation = cie->is_signal = false;
    if (*augmentation == 'z') {
        cie->has_augmentation = true;
        uint64_t bytes = take_uleb(&c);
        struct cursor program = c;
        skip(&program, bytes);
        for (const char *a = augmentation + 1; *a && !c.bad; a++) {
            if (*a == 'R')
                cie->pointer_encoding = (uint8_t)take(&c, 1);
            else if (*a == 'L')
                take(&c, 1);
            else if (*a == 'P') {
                uint8_t encoding = (uint8_t)take(&c, 1);
                take_encoded(&c, encoding);
            } else if (*a == 'S')
                cie->is_signal = true;
        }
        program.bad |= c.bad;
        c = program;
    } else if (*augmentation) {
        return false;
    }
    cie->program = c;
    return !c.bad && (version == 1 || version == 3) && return_column == DWARF_RA;
}

struct fde_view {
    struct cie cie;
    uint64_t begin, bytes; /* addresses */
    struct cursor program;
};

static bool read_fde(struct fde_view *fde, const struct stem_object *object, const uint8_t *record)
{
    struct cursor c;
    if (!open_record(&c, object, record))
        return false;
    const uint8_t *id_at = c.at;
    uint32_t id = (uint32_t)take(&c, 4);
    if (!id || !read_cie(&fde->cie, object, (const uint8_t *)((uintptr_t)id_at - id)))
        return false;
    fde->begin = take_encoded(&c, fde->cie.pointer_encoding);
    fde->bytes = take_encoded(&c, fde->cie.pointer_encoding & 0x0f);
    if (fde->cie.has_augmentation) {
        uint64_t bytes = take_uleb(&c);
        skip(&c, bytes);
    }
    fde->program = c;
    return !c.bad;
}

/* Runs call-frame instructions until `stop` (an address); `initial` is the CIE's row, for restore. Returns
   false on what it does not know. */
static bool run_program(struct stem_cfi_row *row, const struct stem_cfi_row *initial, struct cursor c,
                        const struct cie *cie, uint64_t at, uint64_t stop)
{
    struct stem_cfi_row stack[8];
    unsigned depth = 0;
    while (c.at < c.end && !c.bad) {
        uint8_t op = (uint8_t)take(&c, 1);
        uint8_t low = op & 0x3f;
        uint64_t reg;
        switch (op & 0xc0 ? op & 0xc0 : op) {
        case 0x40: /* advance_loc */
            at += low * cie->code_align;
            break;
        case 0x80: { /* offset */
            int64_t offset = (int64_t)take_uleb(&c) * cie->data_align;
            if (low < DWARF_REGISTERS) {
                row->saved |= 1u << low;
                row->saved_at[low] = (int32_t)offset;
            }
            break;
        }
        case 0xc0: /* restore */
            if (low < DWARF_REGISTERS) {
                row->saved = (row->saved & ~(1u << low)) | (initial->saved & 1u << low);
                row->saved_at[low] = initial->saved_at[low];
            }
            break;
        case 0x00: /* nop */
            break;
        case 0x02: /* advance_loc1, 2, 4 */
            at += take(&c, 1) * cie->code_align;
            break;
        case 0x03:
            at += take(&c, 2) * cie->code_align;
            break;
        case 0x04:
            at += take(&c, 4) * cie->code_align;
            break;
        case 0x05: { /* offset_extended */
            reg = take_uleb(&c);
            int64_t offset = (int64_t)take_uleb(&c) * cie->data_align;
            if (reg < DWARF_REGISTERS) {
                row->saved |= 1u << reg;
                row->saved_at[reg] = (int32_t)offset;
            }
            break;
        }
        case 0x06: /* restore_extended */
        case 0x07: /* undefined */
        case 0x08: /* same_value */
            reg = take_uleb(&c);
            if (reg < DWARF_REGISTERS)
                row->saved &= ~(1u << reg);
            if (op == 0x07 && reg == DWARF_RA)
                return false; /* outermost frame */
            break;
        case 0x0a: /* remember_state */
            if (depth == 8)
                return false;
            stack[depth++] = *row;
            break;
        case 0x0b: /* restore_state */
            if (!depth)
                return false;
            *row = stack[--depth];
            break;
        case 0x0c: /* def_cfa */
            row->cfa_register = (uint8_t)take_uleb(&c);
            row->cfa_offset = (int32_t)take_uleb(&c);
            break;
        case 0x0d: /* def_cfa_register */
            row->cfa_register = (uint8_t)take_uleb(&c);
            break;
        case 0x0e: /* def_cfa_offset */
            row->cfa_offset = (int32_t)take_uleb(&c);
            break;
        case 0x11: { /* offset_extended_sf */
            reg = take_uleb(&c);
            int64_t offset = take_sleb(&c) * cie->data_align;
            if (reg < DWARF_REGISTERS) {
                row->saved |= 1u << reg;
                row->saved_at[reg] = (int32_t)offset;
            }
            break;
        }
        case 0x12: /* def_cfa_sf */
            row->cfa_register = (uint8_t)take_uleb(&c);
            row->cfa_offset = (int32_t)(take_sleb(&c) * cie->data_align);
            break;
        case 0x13: /* def_cfa_offset_sf */
            row->cfa_offset = (int32_t)(take_sleb(&c) * cie->data_align);
            break;
        case 0x2e: /* GNU_args_size */
            take_uleb(&c);
            break;
        default: /* expressions among others */
            return false;
        }
        if (at > stop)
            return !c.bad;
    }
    return !c.bad;
}

bool stem_fde_read(struct stem_fde *out, const struct stem_object *object, const uint8_t *record)
{
    struct fde_view fde;
    if (!read_fde(&fde, object, record) || fde.begin < object->code_low || fde.begin > object->code_high ||
        fde.bytes > stem_object_room(object, (const void *)fde.begin))
        return false;
    *out = (struct stem_fde){(uint32_t)(fde.begin - object->base), (uint32_t)fde.bytes, record};
    return true;
}

bool stem_fde_is_plt(const struct stem_fde *fde, const struct stem_object *object)
{
    const uint8_t *p = (const uint8_t *)(object->base + fde->offset);
    if (stem_object_room(object, p) < 16)
        return false;
    if (!memcmp(p, "\xf3\x0f\x1e\xfa", 4)) /* endbr64 */
        p += 4;
    if (*p == 0xf2) /* bnd */
        p++;
    if (p[0] == 0xff && p[1] == 0x35) { /* push [rip + x]: the first entry goes on with a jump */
        p += 6;
        if (*p == 0xf2)
            p++;
    }
    return p[0] == 0xff && p[1] == 0x25; /* jmp [rip + x] */
}

bool stem_fde_find(struct stem_fde *out, const struct stem_object *object, uint32_t offset)
{
    int64_t wanted = (int64_t)(object->base + offset) - (int64_t)(uintptr_t)object->eh_frame_hdr;
    uint32_t low = 0, high = object->fde_count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (object->fde_table[2 * middle] <= wanted)
            low = middle + 1;
        else
            high = middle;
    }
    return low && stem_fde_read(out, object, object->eh_frame_hdr + object->fde_table[2 * (low - 1) + 1]) &&
           offset - out->offset < out->bytes;
}

bool stem_cfi_row(struct stem_cfi_row *row, const struct stem_object *object, uint32_t offset)
{
    struct stem_fde entry;
    struct fde_view fde;
    if (!stem_fde_find(&entry, object, offset) || !read_fde(&fde, object, entry.record))
        return false;
    *row = (struct stem_cfi_row){0};
    struct stem_cfi_row initial;
    if (!run_program(row, row, fde.cie.program, &fde.cie, 0, 0))
        return false;
    initial = *row;
    return run_program(row, &initial, fde.program, &fde.cie, fde.begin, object->base + offset);
}

bool stem_cfi_begins_as_function(const struct stem_object *object, const struct stem_fde *entry)
{
    struct fde_view fde;
    struct stem_cfi_row row;
    return read_fde(&fde, object, entry->record) && !fde.cie.is_signal &&
           stem_cfi_row(&row, object, entry->offset) && row.cfa_register == DWARF_RSP && row.cfa_offset == 8;
}

bool stem_frame_step(struct stem_frame *frame, uintptr_t *cfa, bool exact)
{
    uintptr_t pc = stem_application_pc(frame->reg[DWARF_RA], exact);
    struct stem_object *object = stem_object_of(pc);
    struct stem_cfi_row row;
    if (!object || !stem_cfi_row(&row, object, (uint32_t)(pc - object->base - (exact ? 0 : 1))))
        return false;
    if (row.cfa_register >= 16)
        return false;
    uint64_t value = frame->reg[row.cfa_register] + (uint64_t)(int64_t)row.cfa_offset;
    /* Outward means upward: a frame that lies below its callee is a lie. */
    if (value <= frame->reg[DWARF_RSP] || value & 7)
        return false;
    *cfa = value;
    for (unsigned r = 0; r < DWARF_REGISTERS; r++)
        if (row.saved & 1u << r) {
            uint64_t word, at = value + (uint64_t)(int64_t)row.saved_at[r];
            if (at < frame->given_up_below)
                continue;
            if (!stem_safe_read(&word, at))
                return false;
            frame->reg[r] = word;
        }
    frame->given_up_below = 0;
    frame->reg[DWARF_RSP] = value;
    return frame->reg[DWARF_RA] != 0;
}

/* ---- backtraces ------------------------------------------------------------------------------------------ */

/* Every allocation wants one, so rows are remembered by return address. Compiled code finds its frame from rsp or rbp; of the
   callee-saved registers only rbp matters to that. An entry is read and written without a lock: `check` covers the other
   words, and a torn entry does not match. */
struct remembered {
    uint64_t check, row, application_pc;
};
enum { REMEMBERED = 8192, ROW_BY_RBP = 1, ROW_SAVES_RBP = 2, ROW_END = 4 };
static struct remembered rows[REMEMBERED];

void stem_frames_forget(void)
{
    for (unsigned i = 0; i < REMEMBERED; i++)
        rows[i].check = 0;
}

static uint64_t check_of(uint64_t pc, uint64_t row, uint64_t application_pc)
{
    return pc ^ (row << 17 | row >> 47) ^ (application_pc << 31 | application_pc >> 33) ^
           0x9e3779b97f4a7c15ull;
}

/* row: CFA offset in bits 8..31, place of the saved rbp relative to the CFA in bits 32..63, flags below. */
static void look_up(uint64_t *row, uint64_t *application_pc, uintptr_t pc)
{
    struct remembered *r = &rows[(pc ^ pc >> 13) % REMEMBERED];
    *row = r->row;
    *application_pc = r->application_pc;
    if (r->check == check_of(pc, *row, *application_pc))
        return;
    *application_pc = stem_application_pc(pc, false);
    struct stem_object *object = stem_object_of(*application_pc);
    struct stem_cfi_row cfi;
    if (!object || !stem_cfi_row(&cfi, object, (uint32_t)(*application_pc - object->base - 1)) ||
        (cfi.cfa_register != DWARF_RSP && cfi.cfa_register != DWARF_RBP) || cfi.cfa_offset < 0 ||
        cfi.cfa_offset >= 1 << 24 || !(cfi.saved & 1u << DWARF_RA) || cfi.saved_at[DWARF_RA] != -8)
        *row = ROW_END;
    else
        *row =
            (uint64_t)cfi.cfa_offset << 8 | (cfi.cfa_register == DWARF_RBP ? ROW_BY_RBP : 0) |
            (cfi.saved & 1u << DWARF_RBP ? ROW_SAVES_RBP | (uint64_t)(uint32_t)cfi.saved_at[DWARF_RBP] << 32
                                         : 0);
    r->row = *row;
    r->application_pc = *application_pc;
    r->check = check_of(pc, *row, *application_pc);
}

unsigned stem_backtrace(uintptr_t *frames, unsigned room, uintptr_t pc, uintptr_t sp, uintptr_t rbp)
{
    unsigned n = 0;
    while (n < room && pc) {
        uint64_t row, application_pc;
        look_up(&row, &application_pc, pc);
        frames[n++] = application_pc;
        if (row & ROW_END)
            break;
        uintptr_t cfa = (row & ROW_BY_RBP ? rbp : sp) + (row >> 8 & 0xffffff);
        if (cfa <= sp || cfa & 7 || !stem_safe_read(&pc, cfa - 8))
            break;
        if (row & ROW_SAVES_RBP && !stem_safe_read(&rbp, cfa + (uint64_t)(int64_t)(int32_t)(row >> 32)))
            break;
        sp = cfa;
    }
    return n;
}

bool stem_frame_holding(struct stem_frame_place *place, uintptr_t address, uintptr_t pc, uintptr_t sp,
                        uintptr_t rbp, unsigned depth)
{
    while (depth-- && pc) {
        uint64_t row, application_pc;
        look_up(&row, &application_pc, pc);
        if (row & ROW_END)
            return false;
        uintptr_t cfa = (row & ROW_BY_RBP ? rbp : sp) + (row >> 8 & 0xffffff);
        if (cfa <= sp || cfa & 7)
            return false;
        if (address < cfa) {
            *place = (struct stem_frame_place){application_pc - 1, sp, rbp, cfa};
            return true;
        }
        if (!stem_safe_read(&pc, cfa - 8) ||
            (row & ROW_SAVES_RBP && !stem_safe_read(&rbp, cfa + (uint64_t)(int64_t)(int32_t)(row >> 32))))
            return false;
        sp = cfa;
    }
    return false;
}
