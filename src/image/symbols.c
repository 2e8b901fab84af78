/* Names: the symbol tables of the file and of its separate debug file, joined with the functions that the
   call-frame information listed. */
#define _GNU_SOURCE
#include "image/private.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SYMBOLS_MAX = 1 << 23 }; /* a bound for hostile files */

/* Whether `elf` carries the build-id of `image`: another build's would name wrong functions. */
static bool same_build(const struct image *image, Elf *elf)
{
    const void *id = NULL;
    ssize_t bytes = dwelf_elf_gnu_build_id(elf, &id);
    return bytes > 0 && (size_t)bytes >= image->build_id_bytes &&
           !memcmp(id, image->build_id, image->build_id_bytes);
}

static void open_debug_file(struct image *image)
{
    if (image->build_id_bytes < 2)
        return;
    char hex[2 * IMAGE_BUILD_ID_MAX + 1], path[128];
    base_hex(hex, image->build_id, image->build_id_bytes);
    snprintf(path, sizeof path, "/usr/lib/debug/.build-id/%.2s/%s.debug", hex, hex + 2);
    image->debug_fd = open(path, O_RDONLY | O_CLOEXEC);
    if (image->debug_fd < 0)
        return;
    image->debug_elf = elf_begin(image->debug_fd, ELF_C_READ_MMAP, NULL);
    if (image->debug_elf && same_build(image, image->debug_elf))
        return;
    if (image->debug_elf)
        elf_end(image->debug_elf);
    close(image->debug_fd);
    image->debug_elf = NULL;
    image->debug_fd = -1;
}

static void add_table(struct image *image, Elf *elf, Elf_Scn *section, const GElf_Shdr *header)
{
    Elf_Data *data = elf_getdata(section, NULL);
    if (!data || !data->d_buf || header->sh_entsize != sizeof(Elf64_Sym))
        return;
    size_t count = data->d_size / sizeof(Elf64_Sym);
    for (size_t i = 0; i < count && i < SYMBOLS_MAX; i++) {
        GElf_Sym s;
        if (!gelf_getsym(data, (int)i, &s) || s.st_shndx == SHN_UNDEF || s.st_value == 0)
            continue;
        unsigned type = GELF_ST_TYPE(s.st_info), binding = GELF_ST_BIND(s.st_info);
        if (type != STT_FUNC && type != STT_GNU_IFUNC && type != STT_NOTYPE)
            continue;
        /* elf_strptr answers only strings that end inside their section. */
        const char *name = elf_strptr(elf, header->sh_link, s.st_name);
        if (!name || !*name || (type == STT_NOTYPE && s.st_size == 0))
            continue;
        if (!image__grow((void **)&image->symbols, &image->symbol_room, image->symbol_count,
                         sizeof *image->symbols))
            return;
        image->symbols[image->symbol_count++] = (struct image_symbol){
            .offset = s.st_value,
            .bytes = s.st_size,
            .name = name,
            .rank = binding == STB_GLOBAL ? 0
                    : binding == STB_WEAK ? 1
                                          : 2,
        };
    }
}

static void add_tables(struct image *image, Elf *elf)
{
    Elf_Scn *section = NULL;
    while ((section = elf_nextscn(elf, section))) {
        GElf_Shdr header;
        if (gelf_getshdr(section, &header) && (header.sh_type == SHT_DYNSYM || header.sh_type == SHT_SYMTAB))
            add_table(image, elf, section, &header);
    }
}

/* Lazy-binding stubs have call-frame information too, one entry for all of them: no functions. */
static void drop_stubs(struct image *image)
{
    size_t names;
    if (elf_getshdrstrndx(image->elf, &names))
        return;
    Elf_Scn *section = NULL;
    while ((section = elf_nextscn(image->elf, section))) {
        GElf_Shdr header;
        const char *name;
        if (!gelf_getshdr(section, &header) || !(header.sh_flags & SHF_EXECINSTR) ||
            !(name = elf_strptr(image->elf, names, header.sh_name)) || strncmp(name, ".plt", 4) != 0)
            continue;
        size_t kept = 0;
        for (size_t i = 0; i < image->function_count; i++)
            if (image->functions[i].offset - header.sh_addr >= header.sh_size)
                image->functions[kept++] = image->functions[i];
        image->function_count = kept;
    }
}

static int by_symbol(const void *left, const void *right)
{
    const struct image_symbol *l = left, *r = right;
    if (l->offset != r->offset)
        return l->offset < r->offset ? -1 : 1;
    if (l->rank != r->rank)
        return l->rank < r->rank ? -1 : 1;
    return strcmp(l->name, r->name);
}

static int by_offset(const void *left, const void *right)
{
    const struct image_function *l = left, *r = right;
    return l->offset < r->offset ? -1 : l->offset > r->offset;
}

size_t image__symbol_index(const struct image *image, uint64_t offset)
{
    size_t low = 0, high = image->symbol_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (image->symbols[middle].offset < offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Functions of the symbol tables that no FDE starts at or covers: hand-written assembly. */
static void add_without_frames(struct image *image)
{
    size_t from_frames = image->function_count;
    uint64_t last = UINT64_MAX;
    for (size_t i = 0, f = 0; i < image->symbol_count; i++) {
        const struct image_symbol *s = &image->symbols[i];
        if (!s->bytes || s->offset == last)
            continue;
        while (f < from_frames && image->functions[f].offset + image->functions[f].bytes <= s->offset)
            f++;
        if (f < from_frames && image->functions[f].offset <= s->offset)
            continue;
        last = s->offset;
        if (image__grow((void **)&image->functions, &image->function_room, image->function_count,
                        sizeof *image->functions))
            image->functions[image->function_count++] =
                (struct image_function){.offset = s->offset, .bytes = s->bytes};
    }
}

static void sort_functions(struct image *image)
{
    if (!image->function_count)
        return;
    qsort(image->functions, image->function_count, sizeof *image->functions, by_offset);
    size_t kept = 0;
    for (size_t i = 0; i < image->function_count; i++)
        if (!kept || image->functions[i].offset != image->functions[kept - 1].offset)
            image->functions[kept++] = image->functions[i];
    image->function_count = kept;
}

void image__symbols(struct image *image)
{
    open_debug_file(image);
    add_tables(image, image->elf);
    if (image->debug_elf)
        add_tables(image, image->debug_elf);
    if (image->symbol_count) {
        qsort(image->symbols, image->symbol_count, sizeof *image->symbols, by_symbol);
        size_t kept = 1; /* dynsym and symtab repeat each other */
        for (size_t i = 1; i < image->symbol_count; i++)
            if (image->symbols[i].offset != image->symbols[kept - 1].offset ||
                strcmp(image->symbols[i].name, image->symbols[kept - 1].name) != 0)
                image->symbols[kept++] = image->symbols[i];
        image->symbol_count = kept;
    }
    drop_stubs(image);
    sort_functions(image);
    add_without_frames(image);
    sort_functions(image);
    for (size_t i = 0; i < image->function_count; i++) {
        size_t s = image__symbol_index(image, image->functions[i].offset);
        if (s < image->symbol_count && image->symbols[s].offset == image->functions[i].offset)
            image->functions[i].name = image->symbols[s].name;
    }
}

size_t image_functions(const struct image *image, const struct image_function **functions)
{
    *functions = image->functions;
    return image->function_count;
}

const struct image_function *image_function_at(const struct image *image, uint64_t offset)
{
    size_t low = 0, high = image->function_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (image->functions[middle].offset <= offset)
            low = middle + 1;
        else
            high = middle;
    }
    if (!low)
        return NULL;
    const struct image_function *f = &image->functions[low - 1];
    return offset - f->offset < (f->bytes ? f->bytes : 1) ? f : NULL;
}

const char *image_name(const struct image *image, uint64_t *into, uint64_t offset)
{
    const struct image_function *f = image_function_at(image, offset);
    if (f && f->name) {
        *into = offset - f->offset;
        return f->name;
    }
    /* No function, or a nameless one: the nearest symbol that reaches here. */
    for (size_t i = image__symbol_index(image, offset + 1); i-- > 0;) {
        const struct image_symbol *s = &image->symbols[i];
        if (f && s->offset < f->offset)
            break;
        if (offset - s->offset < s->bytes) {
            *into = offset - s->offset;
            return s->name;
        }
        if (s->bytes)
            break;
    }
    return NULL;
}

/* Compilers derive names: foo.part.0, foo.constprop.0, foo.cold. A pattern for foo means them all. */
static bool name_matches(const char *pattern, const char *name)
{
    if (core_glob(pattern, name))
        return true;
    const char *dot = strchr(name, '.');
    char plain[256];
    if (!dot || dot == name || (size_t)(dot - name) >= sizeof plain)
        return false;
    memcpy(plain, name, (size_t)(dot - name));
    plain[dot - name] = 0;
    return core_glob(pattern, plain);
}

bool image_matches(const struct image *image, uint64_t offset, const char *pattern)
{
    const char *bang = strchr(pattern, '!');
    if (bang) {
        char object[256];
        const char *slash = strrchr(image->path, '/');
        if ((size_t)(bang - pattern) >= sizeof object)
            return false;
        memcpy(object, pattern, (size_t)(bang - pattern));
        object[bang - pattern] = 0;
        if (!core_glob(object, slash ? slash + 1 : image->path))
            return false;
        pattern = bang + 1;
    }
    if (pattern[0] == '0' && (pattern[1] == 'x' || pattern[1] == 'X')) {
        char *end;
        uint64_t number = strtoull(pattern + 2, &end, 16);
        return end != pattern + 2 && !*end && number == offset;
    }
    if (!strcmp(pattern, "*"))
        return true; /* nameless functions too */
    for (size_t i = image__symbol_index(image, offset); i < image->symbol_count; i++) {
        if (image->symbols[i].offset != offset)
            break;
        if (name_matches(pattern, image->symbols[i].name))
            return true;
    }
    return false;
}
