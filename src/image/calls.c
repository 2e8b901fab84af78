/* Who can call whom, as the code says: direct calls and jumps, calls through PLT and GOT, and addresses of functions that are
   taken. Every function is decoded from its first byte to its last; what an indirect call reaches cannot be told from it. */
#include "image/private.h"

#include <Zydis/Zydis.h>
#include <stdlib.h>
#include <string.h>

enum { RELOCATIONS_MAX = 1 << 22, TABLE_MAX = 256 };

/* What the loader stores in a word: the address of a dynamic symbol, or of a place in this file. */
struct slot {
    uint64_t at;
    const char *name; /* or NULL: `target` */
    uint64_t target;
};

struct scan {
    struct image *image;
    struct slot *slots; /* by address */
    size_t slot_count, slot_room;
    size_t room; /* of image->calls */
    ZydisDecoder decoder;
    uint64_t caller, caller_bytes;
    bool fixed; /* at its own addresses: tables need no loader */
    bool failed;
};

/* ---- relocations -------------------------------------------------------------------------------------------- */

static int by_address(const void *left, const void *right)
{
    const struct slot *a = left, *b = right;
    return (a->at > b->at) - (a->at < b->at);
}

static void add_relocations(struct scan *s, uint64_t at, uint64_t bytes, const uint8_t *symbols,
                            size_t symbol_bytes, const char *text, size_t text_bytes)
{
    size_t left = 0;
    const uint8_t *p = at ? image__at_address(s->image, &left, at) : NULL;
    uint64_t count = (bytes < left ? bytes : left) / sizeof(Elf64_Rela);
    for (uint64_t i = 0; p && i < count && i < RELOCATIONS_MAX && !s->failed; i++) {
        Elf64_Rela r;
        Elf64_Sym symbol;
        memcpy(&r, p + i * sizeof r, sizeof r);
        uint64_t type = ELF64_R_TYPE(r.r_info), number = ELF64_R_SYM(r.r_info);
        struct slot slot = {.at = r.r_offset, .target = (uint64_t)r.r_addend};
        if (type == R_X86_64_JUMP_SLOT || type == R_X86_64_GLOB_DAT || type == R_X86_64_64) {
            if (number >= symbol_bytes / sizeof symbol)
                continue;
            memcpy(&symbol, symbols + number * sizeof symbol, sizeof symbol);
            if (symbol.st_name >= text_bytes ||
                !memchr(text + symbol.st_name, 0, text_bytes - symbol.st_name) || !text[symbol.st_name])
                continue;
            slot.name = text + symbol.st_name;
        } else if (type != R_X86_64_RELATIVE && type != R_X86_64_IRELATIVE) {
            continue;
        }
        if (!image__grow((void **)&s->slots, &s->slot_room, s->slot_count, sizeof *s->slots))
            s->failed = true;
        else
            s->slots[s->slot_count++] = slot;
    }
}

static void read_relocations(struct scan *s)
{
    size_t count = 0;
    uint64_t tag[DT_NUM] = {0};
    if (elf_getphdrnum(s->image->elf, &count))
        return;
    for (size_t i = 0; i < count; i++) {
        GElf_Phdr p;
        if (!gelf_getphdr(s->image->elf, (int)i, &p) || p.p_type != PT_DYNAMIC ||
            p.p_offset >= s->image->raw_bytes)
            continue;
        uint64_t left = s->image->raw_bytes - p.p_offset;
        size_t entries = (p.p_filesz < left ? p.p_filesz : left) / sizeof(Elf64_Dyn);
        for (size_t k = 0; k < entries; k++) {
            Elf64_Dyn d;
            memcpy(&d, s->image->raw + p.p_offset + k * sizeof d, sizeof d);
            if (d.d_tag == DT_NULL)
                break;
            if (d.d_tag > 0 && d.d_tag < DT_NUM)
                tag[d.d_tag] = d.d_un.d_val;
        }
    }
    size_t symbol_bytes = 0, text_bytes = 0;
    const uint8_t *symbols = image__at_address(s->image, &symbol_bytes, tag[DT_SYMTAB]);
    const uint8_t *text = image__at_address(s->image, &text_bytes, tag[DT_STRTAB]);
    if (!symbols || !text)
        symbol_bytes = text_bytes = 0;
    add_relocations(s, tag[DT_JMPREL], tag[DT_PLTRELSZ], symbols, symbol_bytes, (const char *)text,
                    text_bytes);
    add_relocations(s, tag[DT_RELA], tag[DT_RELASZ], symbols, symbol_bytes, (const char *)text, text_bytes);
    if (s->slot_count)
        qsort(s->slots, s->slot_count, sizeof *s->slots, by_address);
}

static const struct slot *slot_at(const struct scan *s, uint64_t at)
{
    const struct slot wanted = {.at = at};
    return s->slot_count ? bsearch(&wanted, s->slots, s->slot_count, sizeof wanted, by_address) : NULL;
}

/* ---- calls ------------------------------------------------------------------------------------------------------ */

static void add_call(struct scan *s, enum image_call_kind kind, uint64_t callee, const char *name)
{
    struct image *image = s->image;
    if (s->failed || (!name && callee == s->caller))
        return;
    if (!image__grow((void **)&image->calls, &s->room, image->call_count, sizeof *image->calls)) {
        s->failed = true;
        return;
    }
    image->calls[image->call_count++] =
        (struct image_call){.caller = s->caller, .callee = callee, .name = name, .kind = kind};
}

static void add_slot(struct scan *s, enum image_call_kind kind, const struct slot *slot)
{
    if (slot->name) {
        add_call(s, kind, 0, slot->name);
        return;
    }
    const struct image_function *f = image_function_at(s->image, slot->target);
    if (f && f->offset == slot->target)
        add_call(s, kind, f->offset, NULL);
}

static bool decode(const struct scan *s, ZydisDecodedInstruction *in, ZydisDecodedOperand *ops, uint64_t at,
                   size_t most)
{
    size_t bytes = 0;
    const uint8_t *code = image__at_address(s->image, &bytes, at);
    return code &&
           ZYAN_SUCCESS(ZydisDecoderDecodeFull(&s->decoder, code, bytes < most ? bytes : most, in, ops));
}

static bool rip_target(uint64_t *target, const ZydisDecodedInstruction *in, const ZydisDecodedOperand *op,
                       uint64_t at)
{
    if (op->type != ZYDIS_OPERAND_TYPE_MEMORY || op->mem.base != ZYDIS_REGISTER_RIP)
        return false;
    *target = at + in->length + (uint64_t)op->mem.disp.value;
    return true;
}

/* A stub of the PLT: [endbr64] [bnd] jmp [rip + slot]. */
static const struct slot *slot_of_stub(const struct scan *s, uint64_t at)
{
    ZydisDecodedInstruction in;
    ZydisDecodedOperand ops[ZYDIS_MAX_OPERAND_COUNT];
    for (int i = 0; i < 2; i++, at += in.length) {
        uint64_t target;
        if (!decode(s, &in, ops, at, 15))
            return NULL;
        if (in.mnemonic == ZYDIS_MNEMONIC_JMP && rip_target(&target, &in, &ops[0], at))
            return slot_at(s, target);
        if (in.mnemonic != ZYDIS_MNEMONIC_ENDBR64)
            return NULL;
    }
    return NULL;
}

static void direct(struct scan *s, uint64_t target)
{
    if (target - s->caller < s->caller_bytes)
        return;
    const struct image_function *f = image_function_at(s->image, target);
    if (f) {
        add_call(s, IMAGE_CALL_DIRECT, f->offset, NULL);
        return;
    }
    const struct slot *slot = slot_of_stub(s, target);
    if (slot)
        add_slot(s, slot->name ? IMAGE_CALL_IMPORT : IMAGE_CALL_DIRECT, slot);
}

/* An address is computed or loaded: that of a function, or of a table of functions that the loader fills. */
static void taken(struct scan *s, uint64_t address, bool loaded)
{
    const struct slot *slot = slot_at(s, address);
    const struct image_function *f = image_function_at(s->image, address);
    if (!loaded && f && f->offset == address)
        add_call(s, IMAGE_CALL_TAKEN, address, NULL);
    else if (loaded && slot)
        add_slot(s, IMAGE_CALL_TAKEN, slot);
    for (unsigned i = 0; !loaded && slot && i < TABLE_MAX; i++, slot++) {
        if (slot == s->slots + s->slot_count || slot->at != address + 8 * (uint64_t)i)
            break;
        add_slot(s, IMAGE_CALL_TAKEN, slot);
    }
    for (unsigned i = 0; s->fixed && !loaded && !f && i < TABLE_MAX; i++, address += 8) {
        size_t bytes = 0;
        uint64_t word;
        const uint8_t *p = image__at_address(s->image, &bytes, address);
        if (!p || bytes < sizeof word)
            break;
        memcpy(&word, p, sizeof word);
        if (!(f = image_function_at(s->image, word)) || f->offset != word)
            break;
        add_call(s, IMAGE_CALL_TAKEN, word, NULL);
        f = NULL;
    }
}

/* A table by its address: [index * 8 + table]. */
static void taken_table(struct scan *s, const ZydisDecodedOperand *op)
{
    if (op->type == ZYDIS_OPERAND_TYPE_MEMORY && op->mem.base == ZYDIS_REGISTER_NONE &&
        op->mem.disp.value > 4096)
        taken(s, (uint64_t)op->mem.disp.value, false);
}

static void look_at(struct scan *s, const ZydisDecodedInstruction *in, const ZydisDecodedOperand *ops,
                    uint64_t at)
{
    uint64_t target;
    bool call = in->meta.category == ZYDIS_CATEGORY_CALL;
    if (call || in->meta.category == ZYDIS_CATEGORY_UNCOND_BR ||
        in->meta.category == ZYDIS_CATEGORY_COND_BR) {
        if (ops[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE && ops[0].imm.is_relative) {
            direct(s, at + in->length + (uint64_t)ops[0].imm.value.s);
        } else if (rip_target(&target, in, &ops[0], at)) {
            const struct slot *slot = slot_at(s, target);
            if (slot)
                add_slot(s, slot->name ? IMAGE_CALL_IMPORT : IMAGE_CALL_DIRECT, slot);
        } else {
            taken_table(s, &ops[0]);
        }
        return;
    }
    for (unsigned i = 1; i < in->operand_count_visible; i++) {
        taken_table(s, &ops[i]);
        if (rip_target(&target, in, &ops[i], at))
            taken(s, target, in->mnemonic != ZYDIS_MNEMONIC_LEA);
        else if (ops[i].type == ZYDIS_OPERAND_TYPE_IMMEDIATE && in->mnemonic == ZYDIS_MNEMONIC_MOV &&
                 ops[i].imm.value.u > 4096)
            taken(s, ops[i].imm.value.u, false);
    }
}

static int by_ends(const void *left, const void *right)
{
    const struct image_call *a = left, *b = right;
    if (a->caller != b->caller)
        return a->caller < b->caller ? -1 : 1;
    if (a->callee != b->callee)
        return a->callee < b->callee ? -1 : 1;
    if (a->name && b->name && strcmp(a->name, b->name) != 0)
        return strcmp(a->name, b->name);
    return (int)a->kind - (int)b->kind;
}

size_t image_calls(struct image *image, const struct image_call **calls)
{
    struct scan s = {.image = image};
    if (!image->calls_known) {
        image->calls_known = true;
        ZydisDecoderInit(&s.decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
        GElf_Ehdr header;
        s.fixed = gelf_getehdr(image->elf, &header) && header.e_type == ET_EXEC;
        read_relocations(&s);
        /* Functions of a damaged file may overlap: no byte is worth many looks. */
        uint64_t looks = 8 * (uint64_t)image->raw_bytes;
        for (size_t f = 0; f < image->function_count && !s.failed; f++) {
            ZydisDecodedInstruction in;
            ZydisDecodedOperand ops[ZYDIS_MAX_OPERAND_COUNT];
            s.caller = image->functions[f].offset;
            s.caller_bytes = image->functions[f].bytes;
            for (uint64_t at = s.caller, end = at + s.caller_bytes; at < end && looks;
                 at += in.length, looks--) {
                if (!decode(&s, &in, ops, at, end - at))
                    break; /* data within code: what follows is not understood */
                look_at(&s, &in, ops, at);
            }
        }
        /* Each pair once, by the strongest word on it. */
        size_t kept = 0;
        if (image->call_count)
            qsort(image->calls, image->call_count, sizeof *image->calls, by_ends);
        for (size_t i = 0; i < image->call_count; i++) {
            const struct image_call *c = &image->calls[i], *last = kept ? &image->calls[kept - 1] : NULL;
            if (!last || c->caller != last->caller || c->callee != last->callee || !c->name != !last->name ||
                (c->name && strcmp(c->name, last->name) != 0))
                image->calls[kept++] = *c;
        }
        image->call_count = kept;
        free(s.slots);
    }
    *calls = image->calls;
    return image->call_count;
}

/* ---- exported names ------------------------------------------------------------------------------------------------ */

static int by_name(const void *left, const void *right)
{
    const struct image_symbol *a = *(const struct image_symbol *const *)left;
    const struct image_symbol *b = *(const struct image_symbol *const *)right;
    int order = strcmp(a->name, b->name);
    return order ? order : (int)a->rank - (int)b->rank;
}

static int name_against(const void *name, const void *symbol)
{
    return strcmp(name, (*(const struct image_symbol *const *)symbol)->name);
}

bool image_find_name(struct image *image, uint64_t *offset, const char *name)
{
    if (!image->by_name && image->symbol_count) {
        image->by_name = calloc(image->symbol_count, sizeof(struct image_symbol *));
        for (size_t i = 0; image->by_name && i < image->symbol_count; i++)
            image->by_name[i] = &image->symbols[i];
        if (image->by_name)
            qsort(image->by_name, image->symbol_count, sizeof *image->by_name, by_name);
    }
    const struct image_symbol *const *found =
        image->by_name
            ? bsearch(name, image->by_name, image->symbol_count, sizeof *image->by_name, name_against)
            : NULL;
    if (!found || (*found)->rank > 1)
        return false;
    *offset = (*found)->offset;
    return true;
}
