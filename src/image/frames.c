/* Functions from call-frame information: every FDE of .eh_frame is one contiguous piece of code with an
   entry, and the ABI wants one for each function, so stripped binaries list their functions here. Only the
   pointer encodings that x86-64 toolchains write are decoded; anything else ends the walk. */
#include "image/private.h"

#include <stdlib.h>
#include <string.h>

enum {
    PE_OMIT = 0xff,
    PE_FORMAT = 0x0f,
    PE_RELATIVE = 0x70,
    PE_PCREL = 0x10,
    PE_ABSPTR = 0x00,
    PE_UDATA4 = 0x03,
    PE_UDATA8 = 0x04,
    PE_SDATA4 = 0x0b,
    PE_SDATA8 = 0x0c,
    FUNCTIONS_MAX = 1 << 22, /* a bound for hostile files: no real one comes near */
};

/* A cursor that never leaves its bytes: after a read beyond the end `bad` stays set and every read answers 0.
 */
struct reader {
    const uint8_t *at, *end;
    bool bad;
};

static uint64_t take(struct reader *r, size_t bytes)
{
    uint64_t value = 0;
    if (r->bad || (size_t)(r->end - r->at) < bytes) {
        r->bad = true;
        return 0;
    }
    memcpy(&value, r->at, bytes);
    r->at += bytes;
    return value;
}

static uint64_t take_leb(struct reader *r)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        uint64_t byte = take(r, 1);
        value |= (byte & 0x7f) << shift;
        if (!(byte & 0x80))
            return value;
    }
    r->bad = true;
    return 0;
}

/* One encoded pointer; `address` is the cursor's. A length has no base: give it the format alone. */
static uint64_t take_encoded(struct reader *r, uint64_t address, uint8_t encoding)
{
    uint64_t value;
    switch (encoding & PE_FORMAT) {
    case PE_ABSPTR:
    case PE_UDATA8:
    case PE_SDATA8:
        value = take(r, 8);
        break;
    case PE_UDATA4:
        value = take(r, 4);
        break;
    case PE_SDATA4:
        value = (uint64_t)(int64_t)(int32_t)take(r, 4);
        break;
    default:
        r->bad = true;
        return 0;
    }
    if ((encoding & PE_RELATIVE) == PE_PCREL)
        return value + address;
    if (encoding & PE_RELATIVE)
        r->bad = true;
    return value;
}

/* Pointer encoding of a CIE's FDEs. `cie` stands behind the length field. Returns PE_OMIT: unknown. */
static uint8_t cie_encoding(struct reader cie)
{
    take(&cie, 4); /* id */
    uint64_t version = take(&cie, 1);
    const char *augmentation = (const char *)cie.at;
    const uint8_t *nul = cie.bad ? NULL : memchr(cie.at, 0, (size_t)(cie.end - cie.at));
    if (!nul || (version != 1 && version != 3))
        return PE_OMIT;
    cie.at = nul + 1;
    if (augmentation[0] == 0)
        return PE_ABSPTR;
    if (augmentation[0] != 'z')
        return PE_OMIT;
    take_leb(&cie); /* code alignment */
    take_leb(&cie); /* data alignment: signed, same length */
    if (version == 1)
        take(&cie, 1);
    else
        take_leb(&cie);
    take_leb(&cie); /* length of augmentation data */
    for (const char *a = augmentation + 1; *a; a++) {
        if (*a == 'R') {
            uint8_t encoding = (uint8_t)take(&cie, 1);
            return cie.bad ? PE_OMIT : encoding;
        }
        if (*a == 'L') {
            take(&cie, 1);
        } else if (*a == 'P') {
            uint8_t encoding = (uint8_t)take(&cie, 1);
            take_encoded(&cie, 0, encoding & PE_FORMAT);
        } else if (*a != 'S' && *a != 'B') {
            return PE_OMIT;
        }
    }
    return cie.bad ? PE_OMIT : PE_ABSPTR;
}

/* Whether [offset, offset + bytes) is code that the file maps executable. */
static bool is_code(const struct image *image, uint64_t offset, uint64_t bytes)
{
    size_t count = 0;
    if (elf_getphdrnum(image->elf, &count))
        return false;
    for (size_t i = 0; i < count; i++) {
        GElf_Phdr p;
        if (gelf_getphdr(image->elf, (int)i, &p) && p.p_type == PT_LOAD && (p.p_flags & PF_X) &&
            offset >= p.p_vaddr && offset - p.p_vaddr < p.p_filesz &&
            bytes <= p.p_filesz - (offset - p.p_vaddr))
            return true;
    }
    return false;
}

static void walk(struct image *image, const uint8_t *start, size_t bytes, uint64_t address)
{
    const uint8_t *end = start + bytes, *at = start;
    const uint8_t *known_cie = NULL; /* neighbours nearly always share one: remember the last */
    uint8_t encoding = PE_OMIT;
    while (end - at >= 8 && image->function_count < FUNCTIONS_MAX) {
        struct reader r = {.at = at, .end = end};
        uint64_t length = take(&r, 4);
        if (length == 0)
            return;
        if (length == 0xffffffffu)
            length = take(&r, 8);
        if (r.bad || length < 4 || length > (uint64_t)(end - r.at))
            return;
        const uint8_t *next = r.at + length, *id_at = r.at;
        r.end = next;
        uint64_t id = take(&r, 4);
        at = next;
        if (id == 0 || id > (uint64_t)(id_at - start))
            continue; /* a CIE, or a pointer out of the section */
        const uint8_t *cie = id_at - id;
        if (cie != known_cie) {
            struct reader c = {.at = cie, .end = end};
            uint64_t cie_length = take(&c, 4);
            if (cie_length == 0xffffffffu)
                cie_length = take(&c, 8);
            if (c.bad || cie_length > (uint64_t)(end - c.at))
                continue;
            c.end = c.at + cie_length;
            encoding = cie_encoding(c);
            known_cie = cie;
        }
        if (encoding == PE_OMIT)
            continue;
        uint64_t first = take_encoded(&r, address + (uint64_t)(r.at - start), encoding);
        uint64_t range = take_encoded(&r, 0, encoding & PE_FORMAT);
        if (r.bad || !range || !is_code(image, first, range) ||
            !image__grow((void **)&image->functions, &image->function_room, image->function_count,
                         sizeof *image->functions))
            continue;
        image->functions[image->function_count++] = (struct image_function){.offset = first, .bytes = range};
    }
}

void image__frames(struct image *image)
{
    size_t count = 0;
    if (elf_getphdrnum(image->elf, &count))
        return;
    for (size_t i = 0; i < count; i++) {
        GElf_Phdr p;
        size_t bytes, frame_bytes;
        if (!gelf_getphdr(image->elf, (int)i, &p) || p.p_type != PT_GNU_EH_FRAME)
            continue;
        /* The header names the start of .eh_frame; its end is a zero length, or that of the segment. */
        const uint8_t *header = image__at_address(image, &bytes, p.p_vaddr);
        if (!header || bytes < 8 || header[0] != 1)
            return;
        struct reader r = {.at = header + 4, .end = header + bytes};
        uint64_t address = take_encoded(&r, p.p_vaddr + 4, header[1]);
        const uint8_t *frames = r.bad ? NULL : image__at_address(image, &frame_bytes, address);
        if (frames)
            walk(image, frames, frame_bytes, address);
        return;
    }
}
