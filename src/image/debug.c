/* Debug information: source lines and return types, from the file itself or its separate debug file. Opened
   at first need, because most questions about a binary are answered without it. */
#include "image/private.h"

#include <dwarf.h>
#include <stdlib.h>
#include <string.h>

enum { PEEL_MAX = 32 }; /* typedefs and qualifiers around a type: a hostile file can make them a ring */

Dwarf *image__dwarf(struct image *image)
{
    if (!image->dwarf_tried) {
        image->dwarf_tried = true;
        image->dwarf = dwarf_begin_elf(image->elf, DWARF_C_READ, NULL);
        if (!image->dwarf && image->debug_elf)
            image->dwarf = dwarf_begin_elf(image->debug_elf, DWARF_C_READ, NULL);
    }
    return image->dwarf;
}

bool image_has_debug_info(struct image *image)
{
    return image__dwarf(image) != NULL;
}

/* Compilation unit of an address. gcc writes .debug_aranges for the fast way; clang does not. */
static Dwarf_Die *find_unit(Dwarf *debug, Dwarf_Die *unit, uint64_t address)
{
    if (dwarf_addrdie(debug, address, unit))
        return unit;
    Dwarf_CU *cu = NULL;
    while (dwarf_get_units(debug, cu, &cu, NULL, NULL, unit, NULL) == 0)
        if (dwarf_haspc(unit, address) > 0)
            return unit;
    return NULL;
}

unsigned image_line(struct image *image, const char **file, uint64_t offset)
{
    Dwarf *debug = image__dwarf(image);
    Dwarf_Die unit;
    if (!debug || !find_unit(debug, &unit, offset))
        return 0;
    Dwarf_Line *line = dwarf_getsrc_die(&unit, offset);
    int number = 0;
    const char *name = line ? dwarf_linesrc(line, NULL, NULL) : NULL;
    if (!name || dwarf_lineno(line, &number) || number <= 0)
        return 0;
    *file = name;
    return (unsigned)number;
}

static bool has_negative_enumerator(Dwarf_Die *type)
{
    Dwarf_Die child;
    if (dwarf_child(type, &child))
        return false;
    do {
        Dwarf_Attribute attribute;
        Dwarf_Sword value;
        if (dwarf_tag(&child) == DW_TAG_enumerator && dwarf_attr(&child, DW_AT_const_value, &attribute) &&
            !dwarf_formsdata(&attribute, &value) && value < 0)
            return true;
    } while (dwarf_siblingof(&child, &child) == 0);
    return false;
}

static enum image_returns base_type(Dwarf_Die *type)
{
    Dwarf_Attribute attribute;
    Dwarf_Word encoding = 0, bytes = 0;
    if (!dwarf_attr(type, DW_AT_encoding, &attribute) || dwarf_formudata(&attribute, &encoding))
        return IMAGE_RETURNS_UNKNOWN;
    if (dwarf_attr(type, DW_AT_byte_size, &attribute))
        dwarf_formudata(&attribute, &bytes);
    switch (encoding) {
    case DW_ATE_signed:
    case DW_ATE_signed_char:
        return IMAGE_RETURNS_INTEGER;
    case DW_ATE_boolean:
    case DW_ATE_unsigned:
    case DW_ATE_unsigned_char:
    case DW_ATE_UTF:
        return IMAGE_RETURNS_ZERO;
    case DW_ATE_float:
        return bytes <= 8 ? IMAGE_RETURNS_FLOAT
                          : IMAGE_RETURNS_UNKNOWN; /* long double returns on the x87 stack */
    default:
        return IMAGE_RETURNS_UNKNOWN;
    }
}

static enum image_returns kind_of(Dwarf_Die *function)
{
    Dwarf_Attribute attribute;
    Dwarf_Die type, inner;
    if (!dwarf_attr_integrate(function, DW_AT_type, &attribute))
        return IMAGE_RETURNS_VOID;
    if (!dwarf_formref_die(&attribute, &type))
        return IMAGE_RETURNS_UNKNOWN;
    for (unsigned i = 0; i < PEEL_MAX; i++) {
        switch (dwarf_tag(&type)) {
        case DW_TAG_pointer_type:
        case DW_TAG_reference_type:
        case DW_TAG_rvalue_reference_type:
            return IMAGE_RETURNS_POINTER;
        case DW_TAG_base_type:
            return base_type(&type);
        case DW_TAG_enumeration_type:
            /* -1 is an error value only where the type has negative ones; else the code says more. */
            return has_negative_enumerator(&type) ? IMAGE_RETURNS_INTEGER : IMAGE_RETURNS_UNKNOWN;
        case DW_TAG_typedef:
        case DW_TAG_const_type:
        case DW_TAG_volatile_type:
        case DW_TAG_restrict_type:
        case DW_TAG_atomic_type:
            if (!dwarf_attr(&type, DW_AT_type, &attribute))
                return IMAGE_RETURNS_VOID; /* const void, a typedef of void */
            if (!dwarf_formref_die(&attribute, &inner))
                return IMAGE_RETURNS_UNKNOWN;
            type = inner;
            break;
        default:
            return IMAGE_RETURNS_UNKNOWN; /* structures return in several registers or through memory */
        }
    }
    return IMAGE_RETURNS_UNKNOWN;
}

static int add_type(Dwarf_Die *function, void *context)
{
    struct image *image = context;
    Dwarf_Addr entry;
    if (dwarf_entrypc(function, &entry) ||
        !image__grow((void **)&image->types, &image->type_room, image->type_count, sizeof *image->types))
        return DWARF_CB_OK; /* a declaration, or inlined everywhere */
    image->types[image->type_count++] =
        (struct image_type){.offset = entry, .returns = (uint8_t)kind_of(function)};
    return DWARF_CB_OK;
}

static int by_offset(const void *left, const void *right)
{
    const struct image_type *l = left, *r = right;
    return l->offset < r->offset ? -1 : l->offset > r->offset;
}

static void read_types(struct image *image, Dwarf *debug)
{
    Dwarf_CU *cu = NULL;
    Dwarf_Die unit;
    while (dwarf_get_units(debug, cu, &cu, NULL, NULL, &unit, NULL) == 0)
        dwarf_getfuncs(&unit, add_type, image, 0);
    if (image->type_count)
        qsort(image->types, image->type_count, sizeof *image->types, by_offset);
    else
        image__grow((void **)&image->types, &image->type_room, 0, sizeof *image->types); /* read, and empty */
}

enum image_returns image_returns(struct image *image, uint64_t offset)
{
    Dwarf *debug = image__dwarf(image);
    if (!debug)
        return IMAGE_RETURNS_UNKNOWN;
    if (!image->types)
        read_types(image, debug);
    size_t low = 0, high = image->type_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (image->types[middle].offset < offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low < image->type_count && image->types[low].offset == offset
               ? (enum image_returns)image->types[low].returns
               : IMAGE_RETURNS_UNKNOWN;
}
