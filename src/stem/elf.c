/* Loaded objects, read through the link map and the dynamic sections themselves: dlsym would allocate, take
   the loader's lock and look at its return address. */
#include "stem/stem.h"

#include <elf.h>
#include <link.h>

/* The loader keeps the list of objects consistent for debuggers and hands it out under this name; DT_DEBUG of
   the program points to it as well, but is missing in some. */
extern struct r_debug _r_debug;

struct dynamic {
    const Elf64_Sym *symbols;
    const char *strings;
    const uint32_t *hash; /* DT_GNU_HASH */
    const uint16_t *versions;
};

/* The loader has relocated these entries of its own and the objects' dynamic sections, except in the vdso. */
static bool read_dynamic(struct dynamic *d, const struct link_map *map)
{
    *d = (struct dynamic){0};
    if (!map->l_ld)
        return false;
    for (const Elf64_Dyn *e = map->l_ld; e->d_tag != DT_NULL; e++) {
        uintptr_t p = e->d_un.d_ptr;
        if (e->d_tag != DT_SYMTAB && e->d_tag != DT_STRTAB && e->d_tag != DT_GNU_HASH &&
            e->d_tag != DT_VERSYM)
            continue;
        if (p < map->l_addr)
            return false;
        if (e->d_tag == DT_SYMTAB)
            d->symbols = (const Elf64_Sym *)p;
        else if (e->d_tag == DT_STRTAB)
            d->strings = (const char *)p;
        else if (e->d_tag == DT_GNU_HASH)
            d->hash = (const uint32_t *)p;
        else
            d->versions = (const uint16_t *)p;
    }
    return d->symbols && d->strings && d->hash;
}

static bool equal(const char *a, const char *b)
{
    for (; *a && *a == *b; a++, b++)
        ;
    return *a == *b;
}

/* The default version of a defined symbol. */
static const Elf64_Sym *find_symbol(const struct dynamic *d, const char *name)
{
    uint32_t h = 5381;
    for (const char *c = name; *c; c++)
        h = h * 33 + (uint8_t)*c;
    uint32_t buckets = d->hash[0], first = d->hash[1], bloom_words = d->hash[2];
    if (!buckets)
        return NULL;
    const uint32_t *bucket = d->hash + 4 + 2 * (size_t)bloom_words, *chain = bucket + buckets;
    for (uint32_t i = bucket[h % buckets]; i >= first && i; i++) {
        uint32_t entry = chain[i - first];
        const Elf64_Sym *s = &d->symbols[i];
        bool hidden = d->versions && d->versions[i] & 0x8000;
        if ((entry | 1) == (h | 1) && s->st_shndx != SHN_UNDEF && !hidden &&
            equal(d->strings + s->st_name, name))
            return s;
        if (entry & 1)
            break;
    }
    return NULL;
}

static const char *file_name(const char *path)
{
    const char *name = path;
    for (; *path; path++)
        if (*path == '/')
            name = path + 1;
    return name;
}

static void *symbol_of(const struct dynamic *d, uintptr_t base, const char *name)
{
    const Elf64_Sym *s = base ? find_symbol(d, name) : NULL;
    if (!s)
        return NULL;
    void *address = (void *)(base + s->st_value);
    if (ELF64_ST_TYPE(s->st_info) == STT_GNU_IFUNC)
        address = ((void *(*)(void))address)();
    return address;
}

static uintptr_t find_library(struct dynamic *d, const char *pattern)
{
    for (const struct link_map *map = _r_debug.r_map; map; map = map->l_next)
        if (core_glob(pattern, file_name(map->l_name)) && read_dynamic(d, map))
            return map->l_addr;
    return 0;
}

void *stem_libc_symbol(const char *name)
{
    static struct dynamic libc;
    static uintptr_t base;
    if (!base)
        base = find_library(&libc, "libc.so*");
    return symbol_of(&libc, base, name);
}

uintptr_t stem_elf_find(const char *name)
{
    struct dynamic d;
    for (const struct link_map *map = _r_debug.r_map; map; map = map->l_next) {
        const Elf64_Sym *s = read_dynamic(&d, map) ? find_symbol(&d, name) : NULL;
        if (s)
            return ELF64_ST_TYPE(s->st_info) == STT_FUNC ? map->l_addr + s->st_value : 0;
    }
    return 0;
}

void *stem_library_symbol(const char *pattern, const char *name)
{
    struct dynamic library;
    return symbol_of(&library, find_library(&library, pattern), name);
}

bool stem_elf_is_static(uintptr_t address)
{
    for (const struct link_map *map = _r_debug.r_map; map; map = map->l_next) {
        const Elf64_Ehdr *header = (const Elf64_Ehdr *)map->l_addr;
        /* The loader's own data holds what it allocated before there was a heap. */
        if (!map->l_addr || !map->l_ld || core_glob("ld-linux*", file_name(map->l_name)) ||
            address < map->l_addr)
            continue;
        if (header->e_ident[0] != ELFMAG0 || header->e_ident[1] != 'E' ||
            header->e_phentsize != sizeof(Elf64_Phdr))
            continue;
        const Elf64_Phdr *segment = (const Elf64_Phdr *)(map->l_addr + header->e_phoff);
        for (unsigned i = 0; i < header->e_phnum; i++)
            if (segment[i].p_type == PT_LOAD &&
                address - (map->l_addr + segment[i].p_vaddr) < segment[i].p_memsz)
                return true;
    }
    return false;
}

void *stem_elf_bound(const char *name)
{
    for (const struct link_map *map = _r_debug.r_map; map; map = map->l_next) {
        struct dynamic d;
        if (core_glob("linux-vdso*", map->l_name) || !read_dynamic(&d, map) || !find_symbol(&d, name))
            continue;
        bool known = map->l_ld == _DYNAMIC || core_glob("libc.so*", file_name(map->l_name));
        return known ? symbol_of(&d, map->l_addr, name) : NULL;
    }
    return NULL;
}
