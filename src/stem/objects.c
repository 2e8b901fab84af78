/* Loaded objects: found through the loader's own list (r_debug, the interface debuggers use), so that no libc function is
   called and objects are seen as soon as they are mapped, before any of their code runs. Each is listed on the control
   page; those of the program itself are scanned for functions, given a code cache and patched. */
#include "stem/globals.h"
#include "stem/intrinsics_private.h"
#include "stem/sys.h"

#include <elf.h>
#include <link.h>

struct elf_symbol {
    Elf64_Sym s;
};
struct elf_rela {
    Elf64_Rela r;
};

void stem_scan_functions(struct stem_object *object);

static struct stem_object objects[WIRE_OBJECTS_MAX];
static uint32_t object_count;
/* Objects that were unloaded keep their code caches for the time that the same files come again at the same places, as a server's
   modules do that are reloaded with its configuration. The oldest are given up first. */
enum { GONE_KEPT = 128 };
static uint32_t gone_count, gone_ever;

/* Never supervised: the C library family, the compiler's runtime, and our own parts. */
static const char *const never[] = {"ld-linux*",
                                    "libc.so*",
                                    "libc-2*",
                                    "libm.so*",
                                    "libm-2*",
                                    "libpthread*",
                                    "libdl.so*",
                                    "librt.so*",
                                    "libresolv*",
                                    "libnss_*",
                                    "libnsl*",
                                    "libutil.so*",
                                    "libanl*",
                                    "libgcc_s*",
                                    "libstdc++*",
                                    "libmvec*",
                                    "libthread_db*",
                                    "libtestudo-*",
                                    "libZydis*",
                                    "libZycore*",
                                    "linux-vdso*",
                                    "linux-gate*",
                                    "libc_malloc_debug*",
                                    "libmemusage*",
                                    "libasan*",
                                    "libubsan*",
                                    "libtsan*",
                                    "libpcprofile*",
                                    "libcrypt_testudo*"};

static const char *file_name(const char *path)
{
    const char *name = path;
    for (; *path; path++)
        if (*path == '/')
            name = path + 1;
    return name;
}

static bool is_own(const char *path, bool is_program)
{
    const char *name = file_name(path);
    const char *pattern = stem_control->config.objects;
    if (*pattern) {
        const char *end = pattern + WIRE_PATTERNS_BYTES;
        while (pattern < end && *pattern) {
            if (core_glob(pattern, name) || (is_program && core_glob(pattern, "main")))
                return true;
            while (pattern < end && *pattern++)
                ;
        }
        return false;
    }
    for (unsigned i = 0; i < sizeof never / sizeof *never; i++)
        if (core_glob(never[i], name))
            return false;
    return true;
}

static bool same_text(const char *a, const char *b)
{
    while (*a && *a == *b)
        a++, b++;
    return *a == *b;
}

/* ---- reading one ELF image where the loader put it ------------------------------------------------------ */

static uint32_t count_gnu_symbols(const uint32_t *hash)
{
    /* The hash table does not say how many symbols there are: walk the longest chain to its end. */
    uint32_t buckets = hash[0], first = hash[1], bloom = hash[2], last = 0;
    const uint32_t *bucket = (const uint32_t *)((const uint64_t *)(hash + 4) + bloom),
                   *chain = bucket + buckets;
    for (uint32_t i = 0; i < buckets; i++)
        if (bucket[i] > last)
            last = bucket[i];
    if (last < first)
        return first;
    while (!(chain[last - first] & 1))
        last++;
    return last + 1;
}

/* The hash table of a file that exports nothing may name no symbol at all; what the loader binds is one all the same. */
static void count_relocated(struct stem_object *o, const struct elf_rela *r, uint32_t count)
{
    size_t room = o->symbols ? stem_object_room(o, o->symbols) / sizeof *o->symbols : 0;
    for (uint32_t i = 0; r && i < count && stem_object_room(o, &r[i]) >= sizeof *r; i++) {
        uint32_t symbol = ELF64_R_SYM(r[i].r.r_info);
        if (symbol >= o->symbol_count && symbol < room)
            o->symbol_count = symbol + 1;
    }
}

static void read_dynamic(struct stem_object *o, const Elf64_Dyn *d)
{
    uint64_t plt_bytes = 0, rela_bytes = 0;
    for (; d && d->d_tag != DT_NULL; d++) {
        /* The loader has relocated these pointers for ordinary objects, not for the vDSO, which never gets here. */
        uintptr_t at = d->d_un.d_ptr < o->base ? o->base + d->d_un.d_ptr : d->d_un.d_ptr;
        switch (d->d_tag) {
        case DT_SYMTAB:
            o->symbols = (const void *)at;
            break;
        case DT_STRTAB:
            o->strings = (const void *)at;
            break;
        case DT_JMPREL:
            o->plt_relocations = (const void *)at;
            break;
        case DT_PLTRELSZ:
            plt_bytes = d->d_un.d_val;
            break;
        case DT_RELA:
            o->relocations = (const void *)at;
            break;
        case DT_RELASZ:
            rela_bytes = d->d_un.d_val;
            break;
        case DT_GNU_HASH:
            o->symbol_count = count_gnu_symbols((const void *)at);
            break;
        case DT_HASH:
            o->symbol_count = ((const uint32_t *)at)[1];
            break;
        default:
            break;
        }
    }
    o->plt_count = (uint32_t)(plt_bytes / sizeof(Elf64_Rela));
    o->relocation_count = (uint32_t)(rela_bytes / sizeof(Elf64_Rela));
    count_relocated(o, o->plt_relocations, o->plt_count);
    count_relocated(o, o->relocations, o->relocation_count);
}

static void read_notes(struct stem_object *o, const uint8_t *note, size_t bytes)
{
    while (bytes >= 12) {
        const Elf64_Nhdr *n = (const void *)note;
        size_t name = (n->n_namesz + 3) & ~3u, whole = 12 + name + ((n->n_descsz + 3) & ~3u);
        if (whole > bytes)
            return;
        if (n->n_type == NT_GNU_BUILD_ID && n->n_namesz == 4 && n->n_descsz <= sizeof o->build_id) {
            memcpy(o->build_id, note + 12 + name, n->n_descsz);
            o->build_id_bytes = n->n_descsz;
        }
        note += whole;
        bytes -= whole;
    }
}

size_t stem_object_room(const struct stem_object *o, const void *address)
{
    for (uint32_t i = 0; i < o->load_count; i++)
        if ((uintptr_t)address >= o->loads[i].low && (uintptr_t)address < o->loads[i].high)
            return o->loads[i].high - (uintptr_t)address;
    return 0;
}

static void read_unwind_table(struct stem_object *o, const uint8_t *hdr, size_t bytes)
{
    size_t room = stem_object_room(o, hdr);
    if (bytes > room)
        bytes = room;
    /* version 1, table of pairs of 4-byte offsets from the header: the one form linkers make. */
    if (bytes < 12 || hdr[0] != 1 || hdr[1] != 0x1b || hdr[2] != 0x03 || hdr[3] != 0x3b)
        return;
    o->eh_frame_hdr = hdr;
    memcpy(&o->fde_count, hdr + 8, 4);
    if (o->fde_count > (bytes - 12) / 8) /* a lie */
        o->fde_count = 0;
    o->fde_table = (const int32_t *)(hdr + 12);
}

static bool read_image(struct stem_object *o, const Elf64_Ehdr *e)
{
    if (memcmp(e->e_ident, ELFMAG, SELFMAG) || e->e_machine != EM_X86_64 ||
        e->e_phentsize != sizeof(Elf64_Phdr))
        return false;
    const Elf64_Phdr *p = (const void *)((const uint8_t *)e + e->e_phoff);
    const Elf64_Phdr *unwind = NULL;
    const Elf64_Dyn *dynamic = NULL;
    o->low = ~(uintptr_t)0;
    for (unsigned i = 0; i < e->e_phnum; i++, p++) {
        uintptr_t at = o->base + p->p_vaddr;
        if (p->p_type == PT_LOAD) {
            if (at < o->low)
                o->low = at;
            if (at + p->p_memsz > o->high)
                o->high = at + p->p_memsz;
            if (p->p_flags & PF_R && o->load_count < STEM_LOADS_MAX) {
                o->loads[o->load_count].low = at;
                o->loads[o->load_count].is_code = p->p_flags & PF_X;
                o->loads[o->load_count++].high = at + p->p_memsz;
            }
            if (p->p_flags & PF_X) {
                if (!o->code_low || at < o->code_low)
                    o->code_low = at;
                if (at + p->p_memsz > o->code_high)
                    o->code_high = at + p->p_memsz;
            }
        } else if (p->p_type == PT_DYNAMIC) {
            dynamic = (const void *)at;
        } else if (p->p_type == PT_NOTE) {
            read_notes(o, (const void *)at, p->p_memsz);
        } else if (p->p_type == PT_GNU_EH_FRAME) {
            unwind = p;
        }
    }
    read_dynamic(o, dynamic);
    if (unwind)
        read_unwind_table(o, (const uint8_t *)(o->base + unwind->p_vaddr), unwind->p_memsz);
    return o->high > o->low;
}

/* ---- finding ---------------------------------------------------------------------------------------------------- */

struct stem_object *stem_object_of(uintptr_t address)
{
    uint32_t n = __atomic_load_n(&object_count, __ATOMIC_ACQUIRE);
    for (uint32_t i = 0; i < n; i++)
        if (!objects[i].gone && address - objects[i].low < objects[i].high - objects[i].low)
            return &objects[i];
    return NULL;
}

struct stem_object *stem_object_of_cache(uintptr_t address)
{
    uint32_t n = __atomic_load_n(&object_count, __ATOMIC_ACQUIRE);
    for (uint32_t i = 0; i < n; i++)
        if (__atomic_load_n(&objects[i].levels, __ATOMIC_ACQUIRE) && /* the region's bounds stand */
            address - (uintptr_t)objects[i].region < (uintptr_t)(objects[i].region_end - objects[i].region))
            return &objects[i];
    return NULL;
}

bool stem_object_uses(uint32_t page_index)
{
    for (uint32_t i = 0; i < object_count; i++)
        if (!objects[i].gone && objects[i].page_index == page_index)
            return true;
    return false;
}

struct stem_function *stem_function_at(struct stem_object *o, uint32_t offset)
{
    struct stem_function *f = stem_function_containing(o, offset);
    return f && f->offset == offset ? f : NULL;
}

struct stem_function *stem_function_containing(struct stem_object *o, uint32_t offset)
{
    uint32_t low = 0, high = o->function_count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (o->functions[middle].offset <= offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low && offset - o->functions[low - 1].offset < o->functions[low - 1].bytes ? &o->functions[low - 1]
                                                                                      : NULL;
}

struct stem_function *stem_function_by_index(struct stem_object **object, uint32_t index)
{
    uint32_t n = __atomic_load_n(&object_count, __ATOMIC_ACQUIRE);
    for (uint32_t i = 0; i < n; i++) {
        struct stem_object *o = &objects[i];
        if (o->function_count && !o->gone && index - o->functions[0].index < o->function_count) {
            *object = o;
            return &o->functions[index - o->functions[0].index];
        }
    }
    return NULL;
}

void stem_object_bytes(uint8_t *out, const struct stem_object *o, uint32_t offset, uint32_t bytes)
{
    memcpy(out, (const void *)(o->base + offset), bytes);
    /* Entries are sorted: only the functions whose patched bytes can touch the range matter. A patch may also use
       padding before the entry, which nobody decodes. */
    uint32_t low = 0, high = o->function_count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (o->functions[middle].offset + sizeof o->functions[0].original <= offset)
            low = middle + 1;
        else
            high = middle;
    }
    for (; low < o->function_count && o->functions[low].offset < offset + bytes; low++) {
        const struct stem_function *f = &o->functions[low];
        for (uint32_t i = 0; i < f->patched_bytes; i++)
            if (f->offset + i - offset < bytes)
                out[f->offset + i - offset] = f->original[i];
    }
}

const char *stem_object_got_name(struct stem_object *o, uint32_t offset)
{
    for (int table = 0; table < 2; table++) {
        const struct elf_rela *r = table ? o->relocations : o->plt_relocations;
        uint32_t n = table ? o->relocation_count : o->plt_count;
        for (uint32_t i = 0; i < n; i++) {
            uint32_t type = ELF64_R_TYPE(r[i].r.r_info), symbol = ELF64_R_SYM(r[i].r.r_info);
            if (r[i].r.r_offset == offset && symbol && symbol < o->symbol_count &&
                (type == R_X86_64_JUMP_SLOT || type == R_X86_64_GLOB_DAT))
                return o->strings + o->symbols[symbol].s.st_name;
        }
    }
    return NULL;
}

uint32_t stem_object_plt_slot(const struct stem_object *o, uint32_t offset)
{
    const uint8_t *p = (const uint8_t *)(o->base + offset);
    if ((uintptr_t)p < o->code_low || (uintptr_t)p + 16 > o->code_high || stem_object_room(o, p) < 16)
        return 0;
    if (!memcmp(p, "\xf3\x0f\x1e\xfa", 4)) /* endbr64 */
        p += 4;
    if (*p == 0xf2) /* bnd */
        p++;
    if (p[0] != 0xff || p[1] != 0x25)
        return 0;
    int32_t disp;
    memcpy(&disp, p + 2, 4);
    return (uint32_t)((uintptr_t)p + 6 + (uintptr_t)(intptr_t)disp - o->base);
}

const char *stem_object_plt_name(struct stem_object *o, uint32_t offset)
{
    uint32_t slot = stem_object_plt_slot(o, offset);
    return slot ? stem_object_got_name(o, slot) : NULL;
}

struct stem_function *stem_function_named(const char *symbol)
{
    uintptr_t address = stem_elf_find(symbol);
    struct stem_object *o = address ? stem_object_of(address) : NULL;
    return o && o->own ? stem_function_at(o, (uint32_t)(address - o->base)) : NULL;
}

/* Marks call targets that other objects or data can name: dynamic symbols, relocated pointers. scan.c asks. */
void stem_object_each_pointer(struct stem_object *o, void (*mark)(void *context, uint32_t offset),
                              void *context);
void stem_object_each_pointer(struct stem_object *o, void (*mark)(void *context, uint32_t offset),
                              void *context)
{
    for (uint32_t i = 0; i < o->symbol_count; i++) {
        const Elf64_Sym *s = &o->symbols[i].s;
        if (ELF64_ST_TYPE(s->st_info) == STT_FUNC && s->st_shndx != SHN_UNDEF)
            mark(context, (uint32_t)s->st_value);
    }
    for (uint32_t i = 0; i < o->relocation_count; i++)
        if (ELF64_R_TYPE(o->relocations[i].r.r_info) == R_X86_64_RELATIVE)
            mark(context, (uint32_t)o->relocations[i].r.r_addend);
}

uintptr_t stem_object_symbol(const struct stem_object *o, const char *name)
{
    for (uint32_t i = 0; i < o->symbol_count; i++) {
        const Elf64_Sym *s = &o->symbols[i].s;
        if (ELF64_ST_TYPE(s->st_info) == STT_FUNC && s->st_shndx != SHN_UNDEF &&
            same_text(o->strings + s->st_name, name))
            return o->base + s->st_value;
    }
    return 0;
}

/* ---- the loader's list ------------------------------------------------------------------------------------------- */

static struct r_debug *loader;

static const char *program_path(void)
{
    static char path[512];
    if (!*path) {
        long n = sys_call3(SYS_readlink, "/proc/self/exe", path, sizeof path - 1);
        if (sys_failed(n))
            path[0] = '?';
    }
    return path;
}

/* ---- places for objects ------------------------------------------------------------------------------------------- */

/* Gives up the code cache of an object that is gone. */
static void drop(struct stem_object *o)
{
    __atomic_store_n(&o->levels, NULL, __ATOMIC_SEQ_CST); /* nobody looks at the region from here on */
    if (o->region) {
        sys_call2(SYS_munmap, o->region, o->region_end - o->region);
        stem_limits_ours(-(int64_t)(o->region_end - o->region));
    }
    o->region = o->region_end = NULL;
}

static struct stem_object *oldest_gone(bool with_region)
{
    struct stem_object *oldest = NULL;
    for (uint32_t i = 0; i < object_count; i++)
        if (objects[i].gone && (!with_region || objects[i].region) &&
            (!oldest || objects[i].gone_since < oldest->gone_since))
            oldest = &objects[i];
    return oldest;
}

bool stem_objects_drop_oldest(void)
{
    struct stem_object *oldest = oldest_gone(true);
    if (oldest)
        drop(oldest);
    return oldest != NULL;
}

/* A place for a new object, that nobody finds until it is published. */
static struct stem_object *place(void)
{
    if (gone_count < GONE_KEPT && object_count < WIRE_OBJECTS_MAX)
        return &objects[object_count];
    struct stem_object *o = oldest_gone(false);
    if (o)
        drop(o);
    return o;
}

static void publish(struct stem_object *o)
{
    if (o == &objects[object_count])
        __atomic_store_n(&object_count, object_count + 1, __ATOMIC_RELEASE);
    else
        gone_count--;
    __atomic_store_n(&o->gone, false, __ATOMIC_RELEASE);
}

static void set_gone(struct stem_object *o)
{
    o->gone = true;
    o->gone_since = ++gone_ever;
    gone_count++;
    stem_frames_forget();
    stem_globals_forget(o);
    stem_listing_leave(o->page_index);
}

/* ---- loading and reloading ---------------------------------------------------------------------------------------- */

static void find_exact(struct stem_object *o)
{
    o->exact |= __atomic_load_n(&stem_control->locals_of[o->page_index].count, __ATOMIC_ACQUIRE) != 0;
    o->exact &= stem_control->config.heap_stacks && stem_shadow_base;
    if (o->exact)
        stem_intrinsic_overrun = stem_variable_overrun;
}

static uint64_t hash_of_code(const struct stem_object *o)
{
    uint64_t hash = o->code_high - o->code_low;
    for (uint32_t i = 0; i < o->load_count; i++)
        if (o->loads[i].is_code)
            for (const uint64_t *p = (const uint64_t *)o->loads[i].low;
                 (uintptr_t)(p + 1) <= o->loads[i].high; p++)
                hash = ((hash ^ *p) * 0x9e3779b97f4a7c15ull) ^ hash >> 29;
    return hash;
}

static bool is_same(const struct stem_object *a, const struct stem_object *b)
{
    return a->base == b->base && a->low == b->low && a->high == b->high && a->code_low == b->code_low &&
           a->code_high == b->code_high && a->code_hash == b->code_hash && a->before_hash == b->before_hash &&
           same_text(a->path, b->path) && a->build_id_bytes == b->build_id_bytes &&
           !memcmp(a->build_id, b->build_id, sizeof a->build_id);
}

/* An object that is loaded again as it was: the same file at the same place, behind the same other objects, so that its symbols
   mean what they meant. Its gates and translations stand; only the entries must be patched again. */
static bool revive(const struct stem_object *fresh)
{
    struct stem_object *o = NULL;
    for (uint32_t i = 0; i < object_count && !o; i++)
        if (objects[i].gone && objects[i].levels && objects[i].code_start && is_same(&objects[i], fresh))
            o = &objects[i];
    if (!o)
        return false;
    uint32_t index = o->page_index, first = o->functions[0].index;
    bool listed = stem_listing_make(o);
    if (!listed || o->page_index != index || o->functions[0].index != first) {
        if (listed)
            stem_listing_leave(o->page_index);
        o->page_index = WIRE_NO_OBJECT;
        drop(o);
        return false;
    }
    publish(o);
    o->exact = stem_globals_add(o);
    stem_count(CORE_COUNTER_OBJECTS, 1);
    stem_count(CORE_COUNTER_FUNCTIONS_FOUND, o->function_count);
    stem_patch_again(o);
    stem_listing_await(o);
    find_exact(o);
    return true;
}

/* `before`: of the objects that stand before it in the loader's list, 0 when it can never be unloaded. */
static void add(const struct link_map *map, const Elf64_Ehdr *header, bool is_program, uint64_t before)
{
    static struct stem_object fresh; /* its path is the loader's, which frees it at dlclose */
    fresh = (struct stem_object){
        .base = map->l_addr, .gone = true, .page_index = WIRE_NO_OBJECT, .before_hash = before};
    fresh.path = is_program ? program_path() : map->l_name;
    if (!read_image(&fresh, header))
        return;
    if (is_program)
        fresh.entry = (uint32_t)header->e_entry;
    fresh.own = is_own(fresh.path, is_program);
    if (before && fresh.own && fresh.code_low) {
        fresh.code_hash = hash_of_code(&fresh);
        if (revive(&fresh))
            return;
    }
    struct stem_object *o = place();
    if (!o)
        return;
    if (!is_program) {
        size_t n = 0;
        while (map->l_name[n])
            n++;
        char *copy = stem_arena(n + 1);
        if (!copy)
            return;
        memcpy(copy, map->l_name, n + 1);
        fresh.path = copy;
    }
    *o = fresh;
    if (o->own && o->code_low && stem_control->config.mode != WIRE_MODE_OFF)
        stem_scan_functions(o);
    if (!stem_listing_make(o)) {
        stem_count(CORE_COUNTER_FUNCTIONS_REFUSED, o->function_count);
        o->function_count = 0;
        o->own = false;
        o->page_index = WIRE_NO_OBJECT;
    }
    /* Published before it is patched: a lookup by address must already find it. */
    publish(o);
    o->exact = o->own && stem_globals_add(o);
    if (o->function_count) {
        stem_count(CORE_COUNTER_OBJECTS, 1);
        stem_count(CORE_COUNTER_FUNCTIONS_FOUND, o->function_count);
        if (stem_region_make(o)) {
            stem_patch_all(o);
            if (stem_control->config.knobs & 1u << CORE_KNOB_TRANSLATE_ALL)
                stem_dispatch_translate_all(o, false);
            stem_listing_await(o);
            if (stem_control->config.knobs & 1u << CORE_KNOB_TRANSLATE_ARMED)
                stem_dispatch_translate_all(o, true);
            find_exact(o);
        }
    }
}

static bool already_known(uintptr_t base, const char *name, bool is_program)
{
    for (uint32_t i = 0; i < object_count; i++)
        if (!objects[i].gone && objects[i].base == base && (is_program || same_text(objects[i].path, name)))
            return true;
    return false;
}

static const Elf64_Ehdr *program_header_page(void)
{
    /* AT_PHDR lies in the first page of the program's image, behind its ELF header. */
    static uint64_t vector[64];
    long fd = sys_call4(SYS_openat, -100, "/proc/self/auxv", 0, 0);
    if (sys_failed(fd))
        return NULL;
    long n = sys_call3(SYS_read, fd, vector, sizeof vector);
    sys_call1(SYS_close, fd);
    for (long i = 0; i + 1 < n / 8; i += 2)
        if (vector[i] == 3 /* AT_PHDR */)
            return (const void *)((vector[i + 1] - sizeof(Elf64_Ehdr)) & ~4095ull);
    return NULL;
}

static struct r_debug *find_loader(const Elf64_Ehdr *program)
{
    const Elf64_Phdr *p = (const void *)((const uint8_t *)program + program->e_phoff);
    uintptr_t bias = 0;
    const Elf64_Phdr *dynamic = NULL;
    for (unsigned i = 0; i < program->e_phnum; i++) {
        if (p[i].p_type == PT_PHDR)
            bias = (uintptr_t)p - p[i].p_vaddr;
        if (p[i].p_type == PT_DYNAMIC)
            dynamic = &p[i];
    }
    if (!dynamic)
        return NULL;
    for (const Elf64_Dyn *d = (const void *)(bias + dynamic->p_vaddr); d->d_tag != DT_NULL; d++)
        if (d->d_tag == DT_DEBUG)
            return (struct r_debug *)d->d_un.d_ptr;
    return NULL;
}

void stem_objects_refresh(void)
{
    static const Elf64_Ehdr *program;
    bool at_start = !loader;
    if (!loader) {
        program = program_header_page();
        loader = program ? find_loader(program) : NULL;
        if (!loader) {
            stem_disarm("testudo: the loader's list of objects is not where it should be; running natively");
            return;
        }
        stem_patch_loader_hook(loader->r_brk);
    }
    if (loader->r_state != RT_CONSISTENT)
        return;
    for (uint32_t i = 0; i < object_count; i++) {
        if (objects[i].gone)
            continue;
        bool present = false;
        for (const struct link_map *m = loader->r_map; m && !present; m = m->l_next)
            present = m->l_addr == objects[i].base;
        if (!present)
            set_gone(&objects[i]);
    }
    bool first = true;
    uint64_t before = CORE_HASH_SEED;
    for (const struct link_map *m = loader->r_map; m; m = m->l_next, first = false) {
        size_t n = 0;
        const char *name = file_name(m->l_name);
        bool is_kernels = !first && (core_glob("linux-vdso*", name) || core_glob("linux-gate*", name));
        if (first ? !already_known(m->l_addr, "", true)
                  : *m->l_name && !is_kernels && !already_known(m->l_addr, m->l_name, false))
            add(m, first ? program : (const Elf64_Ehdr *)m->l_addr, first, at_start ? 0 : before);
        while (m->l_name[n])
            n++;
        before = core_hash(core_hash(before, &m->l_addr, sizeof m->l_addr), m->l_name, n);
    }
}
