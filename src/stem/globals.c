/* Global variables: where each begins and ends, from the symbol table in the object's file or in its debug file, else
   from the dynamic symbols.

   Two uses. A library function that starts inside a variable must stay inside it. And the padding between two variables is poison,
   as redzones are, so that plain stores into it are found.

   Padding must be nothing else. Only .data and .bss are looked at, where every object of a compiler has a symbol (constants without
   one lie elsewhere); only when the table holds local symbols, known by the one that every program has from its start-up code;
   only when all code in the file comes from compilers that are known to name their variables; never behind a symbol
   without size, which may begin anything; and only gaps that alignment explains. */
#include "stem/globals.h"
#include "stem/sys.h"

#include <elf.h>
#include <fcntl.h>

enum {
    SYMBOLS_MAX = 1 << 20,
    SECTIONS_MAX = 128,
    PADDING_MAX = 64,
    OBJECTS_MAX = WIRE_OBJECTS_MAX,
    WHOLE_FILE_MAX = 1 << 30
};

struct variable {
    uint32_t offset, bytes; /* bytes 0: a label */
    uint32_t reach;         /* largest end of all up to this one */
    bool labelled;          /* a label stands at its beginning */
};

struct table {
    uintptr_t base, low, high; /* addresses that its variables span */
    uint32_t count;
    const struct variable *variable; /* by offset; labels are not kept */
};
static struct table tables[OBJECTS_MAX];
static uint32_t table_count;

/* ---- the file ---------------------------------------------------------------------------------------------------------- */

struct file {
    long fd;
    Elf64_Ehdr header;
    uint32_t section_count;
    Elf64_Shdr section[SECTIONS_MAX];
    char *names; /* of sections */
    size_t names_bytes;
};

static bool read_at(const struct file *f, void *to, size_t bytes, uint64_t offset)
{
    uint8_t *at = to;
    while (bytes) {
        long n = sys_call4(SYS_pread64, f->fd, at, bytes, offset);
        if (n <= 0)
            return false;
        at += n, offset += (uint64_t)n, bytes -= (size_t)n;
    }
    return true;
}

/* A section's contents in pages of our own, or NULL. */
static void *load(const struct file *f, const Elf64_Shdr *s)
{
    if (s->sh_type == SHT_NOBITS || !s->sh_size || s->sh_size > WHOLE_FILE_MAX)
        return NULL;
    void *contents = stem_pages_map(s->sh_size);
    if (contents && !read_at(f, contents, s->sh_size, s->sh_offset)) {
        stem_pages_unmap(contents, s->sh_size);
        return NULL;
    }
    return contents;
}

static const char *section_name(const struct file *f, const Elf64_Shdr *s)
{
    return f->names && s->sh_name < f->names_bytes ? f->names + s->sh_name : "";
}

static bool is_named(const struct file *f, const Elf64_Shdr *s, const char *name)
{
    const char *own = section_name(f, s);
    while (*name && *own == *name)
        own++, name++;
    return *own == *name;
}

static void close_file(struct file *f)
{
    if (f->names)
        stem_pages_unmap(f->names, f->names_bytes);
    sys_call1(SYS_close, f->fd);
}

static bool open_file(struct file *f, const char *path)
{
    f->names = NULL;
    f->fd = sys_call4(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
    if (sys_failed(f->fd))
        return false;
    f->section_count = 0;
    if (read_at(f, &f->header, sizeof f->header, 0) && !memcmp(f->header.e_ident, ELFMAG, SELFMAG) &&
        f->header.e_shentsize == sizeof(Elf64_Shdr) && f->header.e_shnum <= SECTIONS_MAX &&
        f->header.e_shstrndx < f->header.e_shnum &&
        read_at(f, f->section, f->header.e_shnum * sizeof(Elf64_Shdr), f->header.e_shoff)) {
        f->section_count = f->header.e_shnum;
        f->names_bytes = f->section[f->header.e_shstrndx].sh_size;
        f->names = load(f, &f->section[f->header.e_shstrndx]);
        if (f->names)
            f->names[f->names_bytes - 1] = 0;
    }
    if (f->names)
        return true;
    close_file(f);
    return false;
}

static const Elf64_Shdr *section_of_type(const struct file *f, uint32_t type)
{
    for (uint32_t i = 0; i < f->section_count; i++)
        if (f->section[i].sh_type == type && f->section[i].sh_entsize == sizeof(Elf64_Sym))
            return &f->section[i];
    return NULL;
}

/* Whether this file, or debug file, belongs to the object: by the build-id in its notes. */
static bool is_of(const struct file *f, const struct stem_object *o)
{
    uint8_t note[16 + sizeof o->build_id];
    for (uint32_t i = 0; i < f->section_count; i++) {
        const Elf64_Shdr *s = &f->section[i];
        size_t wanted = 16 + o->build_id_bytes;
        if (s->sh_type == SHT_NOTE && is_named(f, s, ".note.gnu.build-id") && s->sh_size >= wanted)
            return o->build_id_bytes && read_at(f, note, wanted, s->sh_offset) &&
                   !memcmp(note + 16, o->build_id, o->build_id_bytes);
    }
    return !o->build_id_bytes;
}

static bool open_debug_file(struct file *f, const struct stem_object *o)
{
    static const char digits[] = "0123456789abcdef", folder[] = "/usr/lib/debug/.build-id/", end[] = ".debug";
    char path[sizeof folder + 2 * sizeof o->build_id + sizeof end + 1], *at = path;
    if (!o->build_id_bytes)
        return false;
    memcpy(at, folder, sizeof folder - 1);
    at += sizeof folder - 1;
    for (uint32_t i = 0; i < o->build_id_bytes; i++) {
        *at++ = digits[o->build_id[i] >> 4];
        *at++ = digits[o->build_id[i] & 15];
        if (!i)
            *at++ = '/';
    }
    memcpy(at, end, sizeof end);
    return open_file(f, path);
}

/* Code from a compiler that leaves variables without a symbol: Rust and others name themselves here. */
static bool has_strange_code(const struct file *f)
{
    enum { COMMENT_MAX = 4096 };
    static char text[COMMENT_MAX];
    for (uint32_t i = 0; i < f->section_count; i++) {
        const Elf64_Shdr *s = &f->section[i];
        if (!is_named(f, s, ".comment"))
            continue;
        if (s->sh_type == SHT_NOBITS || s->sh_size >= sizeof text ||
            !read_at(f, text, s->sh_size, s->sh_offset))
            return true;
        text[s->sh_size] = 0;
        for (const char *at = text; at < text + s->sh_size; at++) {
            if (*at && !core_glob("GCC:*", at) && !core_glob("*clang version*", at) &&
                !core_glob("Linker: LLD*", at))
                return true;
            while (*at)
                at++;
        }
        return false;
    }
    return true; /* nobody says where it comes from */
}

/* ---- variables ---------------------------------------------------------------------------------------------------------- */

static bool before(const struct variable *a, const struct variable *b)
{
    return a->offset != b->offset ? a->offset < b->offset : a->bytes < b->bytes;
}

static void sift(struct variable *v, uint32_t root, uint32_t count)
{
    for (uint32_t child; (child = 2 * root + 1) < count; root = child) {
        if (child + 1 < count && before(&v[child], &v[child + 1]))
            child++;
        if (!before(&v[root], &v[child]))
            return;
        struct variable swapped = v[root];
        v[root] = v[child];
        v[child] = swapped;
    }
}

static void sort(struct variable *v, uint32_t count)
{
    for (uint32_t i = count / 2; i-- > 0;)
        sift(v, i, count);
    for (uint32_t i = count; i-- > 1;) {
        struct variable largest = v[0];
        v[0] = v[i];
        v[i] = largest;
        sift(v, 0, i);
    }
}

static bool is_variable_section(const struct file *f, const Elf64_Shdr *s)
{
    return s->sh_flags & SHF_ALLOC && s->sh_flags & SHF_WRITE && !(s->sh_flags & SHF_TLS) &&
           (is_named(f, s, ".data") || is_named(f, s, ".bss"));
}

/* Start-up code has a static variable of this name in every program and library: locals were not stripped. */
static bool is_startup_local(const struct file *f, const Elf64_Sym *s, const Elf64_Shdr *strings)
{
    char name[10];
    return ELF64_ST_BIND(s->st_info) == STB_LOCAL && s->st_size == 1 &&
           read_at(f, name, sizeof name, strings->sh_offset + s->st_name) && !memcmp(name, "completed.", 10);
}

/* Collects variables and labels of the sections looked at. Returns their number. */
static uint32_t collect(struct variable *v, bool *whole, const struct file *f, const Elf64_Sym *symbols,
                        uint32_t count, const Elf64_Shdr *strings, const struct stem_object *o)
{
    uint32_t n = 0;
    *whole = false;
    for (uint32_t i = 1; i < count; i++) {
        const Elf64_Sym *s = &symbols[i];
        unsigned type = ELF64_ST_TYPE(s->st_info);
        if (!s->st_shndx || s->st_shndx >= f->section_count || type == STT_SECTION || type == STT_TLS ||
            !is_variable_section(f, &f->section[s->st_shndx]))
            continue;
        const Elf64_Shdr *section = &f->section[s->st_shndx];
        if (s->st_value < section->sh_addr || s->st_value > section->sh_addr + section->sh_size ||
            s->st_size > section->sh_addr + section->sh_size - s->st_value ||
            s->st_value + s->st_size > o->high - o->base)
            continue;
        v[n++] =
            (struct variable){(uint32_t)s->st_value, type == STT_OBJECT ? (uint32_t)s->st_size : 0, 0, false};
        *whole |= type == STT_OBJECT && is_startup_local(f, s, strings);
    }
    sort(v, n);
    return n;
}

/* Poison over [from, to), as far as a shadow byte can say it: its first bytes good, or none. */
static void poison(uintptr_t from, uintptr_t to)
{
    for (uintptr_t granule = from & ~7ul; granule < to && granule + 8 <= ((to + 7) & ~7ul); granule += 8)
        if (granule + 8 <= to)
            stem_shadow_base[granule >> 3] = granule < from ? from & 7 : STEM_POISON_GLOBAL;
}

static void poison_padding(const struct variable *v, uint32_t count, const Elf64_Shdr *section,
                           uintptr_t base)
{
    uint32_t low = (uint32_t)section->sh_addr, high = low + (uint32_t)section->sh_size, reach = 0;
    bool labelled = false;
    for (uint32_t i = 0; i < count; i++) {
        if (v[i].offset < low || v[i].offset >= high)
            continue;
        if (!v[i].bytes) {
            /* A label at the very start of a variable stands for it; any other begins what nobody knows. */
            labelled |= v[i].offset >= reach;
            continue;
        }
        if (reach && !labelled && v[i].offset > reach && v[i].offset - reach < PADDING_MAX)
            poison(base + reach, base + v[i].offset);
        labelled = false;
        if (v[i].offset + v[i].bytes > reach)
            reach = v[i].offset + v[i].bytes;
    }
}

static void keep(const struct stem_object *o, const struct variable *v, uint32_t count)
{
    struct variable *kept = stem_arena((count + 1) * sizeof *kept);
    uint32_t n = 0, reach = 0, label = UINT32_MAX;
    if (!kept || table_count == OBJECTS_MAX)
        return;
    for (uint32_t i = 0; i < count; i++) {
        if (!v[i].bytes) {
            label = v[i].offset;
            continue;
        }
        if (v[i].offset + v[i].bytes > reach)
            reach = v[i].offset + v[i].bytes;
        kept[n++] = (struct variable){v[i].offset, v[i].bytes, reach, v[i].offset == label};
    }
    if (!n)
        return;
    tables[table_count] = (struct table){o->base, o->base + kept[0].offset, o->base + reach, n, kept};
    __atomic_store_n(&table_count, table_count + 1, __ATOMIC_RELEASE);
}

static bool read_variables(const struct stem_object *o, const struct file *f, const Elf64_Shdr *table,
                           bool strange)
{
    uint32_t count = (uint32_t)(table->sh_size / sizeof(Elf64_Sym));
    bool whole = false;
    if (count > SYMBOLS_MAX || table->sh_link >= f->section_count)
        return false;
    Elf64_Sym *symbols = load(f, table);
    struct variable *v = stem_pages_map(count * sizeof *v);
    if (symbols && v) {
        uint32_t n = collect(v, &whole, f, symbols, count, &f->section[table->sh_link], o);
        for (uint32_t i = 0; whole && !strange && i < f->section_count; i++)
            if (is_variable_section(f, &f->section[i]))
                poison_padding(v, n, &f->section[i], o->base);
        keep(o, v, n);
    }
    if (symbols)
        stem_pages_unmap(symbols, table->sh_size);
    if (v)
        stem_pages_unmap(v, count * sizeof *v);
    return whole;
}

bool stem_globals_add(const struct stem_object *o)
{
    static struct file own, debug;
    bool whole = false;
    if (!stem_shadow_base || !open_file(&own, o->entry ? "/proc/self/exe" : o->path))
        return false;
    const Elf64_Shdr *table = section_of_type(&own, SHT_SYMTAB), *there = NULL;
    if (is_of(&own, o)) {
        bool strange = has_strange_code(&own);
        if (!table && open_debug_file(&debug, o)) {
            there = section_of_type(&debug, SHT_SYMTAB);
            if (there && is_of(&debug, o))
                whole = read_variables(o, &debug, there, strange);
            close_file(&debug);
        }
        if (!table && !whole)
            table = section_of_type(&own, SHT_DYNSYM);
        if (table)
            whole = read_variables(o, &own, table, strange);
    }
    close_file(&own);
    return whole;
}

void stem_globals_forget(const struct stem_object *o)
{
    for (uint32_t i = 0; i < table_count; i++) {
        struct table *t = &tables[i];
        if (t->base != o->base || !t->count)
            continue;
        for (uintptr_t granule = t->low >> 3; granule <= t->high >> 3; granule++) {
            uint8_t *state = &stem_shadow_base[granule];
            if (*state == STEM_POISON_GLOBAL || *state < 8)
                *state = 0;
        }
        t->count = 0;
    }
}

/* ---- questions, also from signal handlers ---------------------------------------------------------------------------------- */

/* The last variable that begins at or before the address. */
static const struct variable *find(const struct table **table, uintptr_t address)
{
    uint32_t n = __atomic_load_n(&table_count, __ATOMIC_ACQUIRE);
    for (uint32_t i = 0; i < n; i++) {
        const struct table *t = &tables[i];
        /* Padding behind the last one counts. */
        if (!t->count || address < t->low || address >= t->high + PADDING_MAX)
            continue;
        uint32_t offset = (uint32_t)(address - t->base), low = 0, high = t->count;
        while (low < high) {
            uint32_t middle = (low + high) / 2;
            if (t->variable[middle].offset <= offset)
                low = middle + 1;
            else
                high = middle;
        }
        *table = t;
        return low ? &t->variable[low - 1] : NULL;
    }
    return NULL;
}

uintptr_t stem_global_end(uintptr_t address)
{
    const struct table *t;
    const struct variable *v = find(&t, address);
    return v && address < t->base + v->reach ? t->base + v->reach : 0;
}

bool stem_global_span(uintptr_t *low, uintptr_t *high, uintptr_t address)
{
    const struct table *t;
    const struct variable *v = find(&t, address), *end;
    if (!v || address >= t->base + v->reach)
        return false;
    const struct variable *first = v;
    while (first > t->variable && (first[-1].reach > first->offset || first[-1].offset == first->offset))
        first--;
    for (end = v + 1; end < t->variable + t->count && end->offset < end[-1].reach; end++)
        ;
    *low = t->base + first->offset;
    *high = t->base + end[-1].reach;
    return !first->labelled;
}

bool stem_global_describe(uintptr_t *start, size_t *bytes, uintptr_t address)
{
    const struct table *t;
    const struct variable *v = find(&t, address);
    if (!v)
        return false;
    *start = t->base + v->offset;
    *bytes = v->bytes;
    return true;
}
