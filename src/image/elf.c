/* Opens an ELF file and reads the facts that concern the file as a whole: what it is, build-id, libraries. */
#define _GNU_SOURCE
#include "image/private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

enum { NEEDED_MAX = 4096 };

bool image__grow(void **array, size_t *room, size_t count, size_t element)
{
    if (count < *room)
        return true;
    size_t larger = *room ? 2 * *room : 64;
    void *moved = realloc(*array, larger * element);
    if (!moved)
        return false;
    *array = moved;
    *room = larger;
    return true;
}

const uint8_t *image__at_address(const struct image *image, size_t *bytes, uint64_t address)
{
    size_t count = 0;
    if (elf_getphdrnum(image->elf, &count))
        return NULL;
    for (size_t i = 0; i < count; i++) {
        GElf_Phdr p;
        if (!gelf_getphdr(image->elf, (int)i, &p) || p.p_type != PT_LOAD || address < p.p_vaddr ||
            address - p.p_vaddr >= p.p_filesz)
            continue;
        uint64_t within = address - p.p_vaddr;
        if (p.p_offset > image->raw_bytes || within >= image->raw_bytes - p.p_offset)
            return NULL;
        uint64_t in_segment = p.p_filesz - within, in_file = image->raw_bytes - p.p_offset - within;
        *bytes = in_segment < in_file ? in_segment : in_file;
        return image->raw + p.p_offset + within;
    }
    return NULL;
}

static uint32_t word_at(const uint8_t *bytes)
{
    uint32_t word;
    memcpy(&word, bytes, sizeof word);
    return word;
}

/* GNU notes of one segment: the build-id, and whether the file asks for shadow stacks. */
static void read_notes(struct image *image, const uint8_t *note, size_t bytes, size_t align)
{
    while (bytes >= 12) {
        uint32_t name_bytes = word_at(note), desc_bytes = word_at(note + 4), type = word_at(note + 8);
        uint64_t desc_at = (12 + (uint64_t)name_bytes + align - 1) / align * align;
        if (desc_at > bytes || desc_bytes > bytes - desc_at)
            return;
        const uint8_t *desc = note + desc_at;
        bool gnu = name_bytes == 4 && !memcmp(note + 12, "GNU", 4);
        if (gnu && type == NT_GNU_BUILD_ID && !image->build_id_bytes) {
            image->build_id_bytes = desc_bytes < IMAGE_BUILD_ID_MAX ? desc_bytes : IMAGE_BUILD_ID_MAX;
            memcpy(image->build_id, desc, image->build_id_bytes);
        }
        if (gnu && type == NT_GNU_PROPERTY_TYPE_0) {
            for (size_t i = 0; i + 12 <= desc_bytes;) {
                uint32_t property = word_at(desc + i), size = word_at(desc + i + 4);
                if (property == GNU_PROPERTY_X86_FEATURE_1_AND && size >= 4)
                    image->traits.shadow_stack = word_at(desc + i + 8) & GNU_PROPERTY_X86_FEATURE_1_SHSTK;
                if (size > desc_bytes - i - 8)
                    break;
                i += 8 + ((size_t)size + 7) / 8 * 8;
            }
        }
        uint64_t next = desc_at + ((uint64_t)desc_bytes + align - 1) / align * align;
        if (next > bytes)
            return;
        note += next;
        bytes -= next;
    }
}

/* Walks the program headers. Returns false when there are none: the kernel would not load such a file. */
static bool read_segments(struct image *image, bool *dynamic)
{
    size_t count = 0;
    if (elf_getphdrnum(image->elf, &count) || !count)
        return false;
    for (size_t i = 0; i < count; i++) {
        GElf_Phdr p;
        if (!gelf_getphdr(image->elf, (int)i, &p))
            return false;
        if (p.p_type == PT_INTERP)
            image->traits.program = true;
        if (p.p_type == PT_DYNAMIC)
            *dynamic = true;
        if (p.p_type == PT_NOTE && p.p_offset < image->raw_bytes) {
            uint64_t left = image->raw_bytes - p.p_offset;
            read_notes(image, image->raw + p.p_offset, p.p_filesz < left ? p.p_filesz : left,
                       p.p_align == 8 ? 8 : 4);
        }
    }
    return true;
}

size_t image_needed(const struct image *image, const char **names, size_t room)
{
    size_t count = 0, found = 0;
    if (elf_getphdrnum(image->elf, &count))
        return 0;
    for (size_t i = 0; i < count; i++) {
        GElf_Phdr p;
        if (!gelf_getphdr(image->elf, (int)i, &p) || p.p_type != PT_DYNAMIC || p.p_offset >= image->raw_bytes)
            continue;
        uint64_t left = image->raw_bytes - p.p_offset;
        size_t entries = (p.p_filesz < left ? p.p_filesz : left) / sizeof(Elf64_Dyn);
        const uint8_t *table = image->raw + p.p_offset, *text = NULL;
        size_t text_bytes = 0;
        Elf64_Dyn d;
        for (size_t k = 0; k < entries && k < NEEDED_MAX && !text; k++) {
            memcpy(&d, table + k * sizeof d, sizeof d);
            if (d.d_tag == DT_STRTAB)
                text = image__at_address(image, &text_bytes, d.d_un.d_ptr);
        }
        for (size_t k = 0; text && k < entries && k < NEEDED_MAX; k++) {
            memcpy(&d, table + k * sizeof d, sizeof d);
            if (d.d_tag == DT_NULL)
                break;
            if (d.d_tag != DT_NEEDED || d.d_un.d_val >= text_bytes ||
                !memchr(text + d.d_un.d_val, 0, text_bytes - d.d_un.d_val))
                continue;
            if (found < room)
                names[found] = (const char *)text + d.d_un.d_val;
            found++;
        }
    }
    return found;
}

/* Every function pointer of an allocator that programs carry with them has one of these beside its malloc. */
static const struct {
    const char *symbol, *name;
} allocators[] = {
    {"mallctl", "jemalloc"},   {"je_mallctl", "jemalloc"}, {"MallocExtension_ReleaseFreeMemory", "tcmalloc"},
    {"tc_malloc", "tcmalloc"}, {"mi_malloc", "mimalloc"},  {"rpmalloc_initialize", "rpmalloc"},
    {"hoard_malloc", "Hoard"}, {"dlmalloc", "dlmalloc"},
};

static void find_allocator(struct image *image)
{
    for (size_t i = 0; i < image->symbol_count; i++) {
        const struct image_symbol *s = &image->symbols[i];
        if (s->rank < 2 && !strcmp(s->name, "malloc"))
            image->traits.own_malloc = true;
        for (size_t k = 0; k < sizeof allocators / sizeof *allocators; k++)
            if (!strcmp(s->name, allocators[k].symbol))
                image->traits.allocator = allocators[k].name;
    }
}

static int open_elf(struct base_error *error, struct image *image, const char *path)
{
    /* Asked before it is opened: to open a device can do things, and the name may come from an attacker. */
    struct stat st;
    if (stat(path, &st))
        return base_fail(error, BASE_EXIT_ENVIRONMENT, "cannot open %s: %s", path, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return base_fail(error, BASE_EXIT_ENVIRONMENT, "%s is no regular file; name a program's ELF file",
                         path);
    image->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (image->fd < 0)
        return base_fail(error, BASE_EXIT_ENVIRONMENT, "cannot open %s: %s", path, strerror(errno));
    char capability[64];
    image->traits.set_id = (st.st_mode & (S_ISUID | S_ISGID)) ||
                           fgetxattr(image->fd, "security.capability", capability, sizeof capability) > 0;
    elf_version(EV_CURRENT);
    image->elf = elf_begin(image->fd, ELF_C_READ_MMAP, NULL);
    if (!image->elf || elf_kind(image->elf) != ELF_K_ELF)
        return base_fail(error, BASE_EXIT_ENVIRONMENT, "%s is no ELF file; name a compiled program", path);
    GElf_Ehdr header;
    if (!gelf_getehdr(image->elf, &header))
        return base_fail(error, BASE_EXIT_ENVIRONMENT, "%s: damaged ELF header: %s", path, elf_errmsg(-1));
    if (gelf_getclass(image->elf) != ELFCLASS64 || header.e_machine != EM_X86_64)
        return base_fail(error, BASE_EXIT_ENVIRONMENT,
                         "%s is not for x86-64 (ELF machine %u, %s-bit): cannot be supervised", path,
                         header.e_machine, gelf_getclass(image->elf) == ELFCLASS64 ? "64" : "32");
    if (header.e_type != ET_EXEC && header.e_type != ET_DYN)
        return base_fail(error, BASE_EXIT_ENVIRONMENT, "%s is neither a program nor a shared library", path);
    image->raw = (const uint8_t *)elf_rawfile(image->elf, &image->raw_bytes);
    bool dynamic = false;
    if (!image->raw || !read_segments(image, &dynamic))
        return base_fail(error, BASE_EXIT_ENVIRONMENT, "%s: damaged or cut off: no program headers", path);
    image->traits.is_static = !image->traits.program && (header.e_type == ET_EXEC || !dynamic);
    return 0;
}

/* A static PIE has a dynamic section but no interpreter, like a library; what sets it apart is DF_1_PIE. */
static bool is_static_pie(const struct image *image)
{
    size_t count = 0;
    if (image->traits.program || elf_getphdrnum(image->elf, &count))
        return false;
    for (size_t i = 0; i < count; i++) {
        GElf_Phdr p;
        if (!gelf_getphdr(image->elf, (int)i, &p) || p.p_type != PT_DYNAMIC || p.p_offset >= image->raw_bytes)
            continue;
        uint64_t left = image->raw_bytes - p.p_offset;
        size_t entries = (p.p_filesz < left ? p.p_filesz : left) / sizeof(Elf64_Dyn);
        for (size_t k = 0; k < entries && k < NEEDED_MAX; k++) {
            Elf64_Dyn d;
            memcpy(&d, image->raw + p.p_offset + k * sizeof d, sizeof d);
            if (d.d_tag == DT_FLAGS_1)
                return d.d_un.d_val & DF_1_PIE;
        }
    }
    return false;
}

int image_open(struct base_error *error, struct image **out, const char *path)
{
    *out = NULL;
    struct image *image = calloc(1, sizeof *image);
    if (!image)
        return base_fail(error, BASE_EXIT_FAILURE, "out of memory reading %s", path);
    image->fd = image->debug_fd = -1;
    image->path = strdup(path);
    if (!image->path || open_elf(error, image, path)) {
        if (!image->path)
            base_fail(error, BASE_EXIT_FAILURE, "out of memory reading %s", path);
        image_close(image);
        return -1;
    }
    if (is_static_pie(image))
        image->traits.is_static = true;
    image__frames(image);
    image__symbols(image);
    find_allocator(image);
    *out = image;
    return 0;
}

void image_close(struct image *image)
{
    if (!image)
        return;
    if (image->dwarf)
        dwarf_end(image->dwarf);
    if (image->debug_elf)
        elf_end(image->debug_elf);
    if (image->elf)
        elf_end(image->elf);
    if (image->debug_fd >= 0)
        close(image->debug_fd);
    if (image->fd >= 0)
        close(image->fd);
    free(image->symbols);
    free(image->functions);
    free(image->types);
    free(image->locals);
    free(image->calls);
    free(image->by_name);
    free(image->path);
    free(image);
}

const char *image_path(const struct image *image)
{
    return image->path;
}

struct image_traits image_traits(const struct image *image)
{
    return image->traits;
}

size_t image_build_id(const struct image *image, const uint8_t **id)
{
    *id = image->build_id;
    return image->build_id_bytes;
}
