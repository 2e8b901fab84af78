/* Local variables that lie at a fixed place of their function's frame, from debug information: named objects with known bounds,
   which an access that begins inside one must not leave for another.

   C only: there every named variable is an object of its own. C++ names parts of one object (structured bindings), other languages
   lay out storage by their own rules. */
#include "image/private.h"

#include <dwarf.h>
#include <stdlib.h>
#include <string.h>

enum { NESTING_MAX = 64, LOCAL_BYTES_MAX = 1 << 24 };

struct reading {
    struct image *image;
    uint64_t function;
    enum image_frame_base base;
    int64_t bias; /* added to offsets */
    bool is_alone;
};

static bool is_c(Dwarf_Die *unit)
{
    switch (dwarf_srclang(unit)) {
    case DW_LANG_C89:
    case DW_LANG_C:
    case DW_LANG_C99:
    case DW_LANG_C11:
    case 0x2c: /* DW_LANG_C17 */
        return true;
    default:
        return false;
    }
}

/* An attribute that holds one location for all of its scope, of one operation. */
static bool one_operation(Dwarf_Op *op, Dwarf_Die *die, unsigned name)
{
    Dwarf_Attribute attribute;
    Dwarf_Op *ops;
    size_t count;
    if (!dwarf_attr_integrate(die, name, &attribute))
        return false;
    switch (dwarf_whatform(&attribute)) {
    case DW_FORM_exprloc:
    case DW_FORM_block1:
    case DW_FORM_block2:
    case DW_FORM_block4:
    case DW_FORM_block:
        break;
    default:
        return false; /* a list: it lies there some of the time */
    }
    if (dwarf_getlocation(&attribute, &ops, &count) || count != 1)
        return false;
    *op = ops[0];
    return true;
}

static bool read_frame_base(struct reading *r, Dwarf_Die *function)
{
    Dwarf_Op op;
    r->bias = 0;
    if (!one_operation(&op, function, DW_AT_frame_base))
        return false;
    switch (op.atom) {
    case DW_OP_call_frame_cfa:
        r->base = IMAGE_FRAME_CFA;
        return true;
    case DW_OP_breg6:
        r->bias = (int64_t)op.number;
        __attribute__((fallthrough));
    case DW_OP_reg6:
        r->base = IMAGE_FRAME_RBP;
        return true;
    case DW_OP_breg7:
        r->bias = (int64_t)op.number;
        __attribute__((fallthrough));
    case DW_OP_reg7:
        r->base = IMAGE_FRAME_RSP;
        return true;
    default:
        return false;
    }
}

static void add_variable(const struct reading *r, Dwarf_Die *variable)
{
    struct image *image = r->image;
    Dwarf_Attribute attribute;
    Dwarf_Die type;
    Dwarf_Word bytes;
    Dwarf_Op op;
    if (!one_operation(&op, variable, DW_AT_location) || op.atom != DW_OP_fbreg ||
        !dwarf_attr_integrate(variable, DW_AT_type, &attribute) || !dwarf_formref_die(&attribute, &type) ||
        dwarf_aggregate_size(&type, &bytes) || !bytes || bytes > LOCAL_BYTES_MAX)
        return;
    int64_t offset = (int64_t)op.number + r->bias;
    /* Above the frame base lies what the caller passed. */
    if (offset < -LOCAL_BYTES_MAX || offset > LOCAL_BYTES_MAX ||
        (r->base != IMAGE_FRAME_RSP && offset + (int64_t)bytes > 0) ||
        !image__grow((void **)&image->locals, &image->local_room, image->local_count, sizeof *image->locals))
        return;
    image->locals[image->local_count++] = (struct image_local){.function = r->function,
                                                               .offset = (int32_t)offset,
                                                               .bytes = (uint32_t)bytes,
                                                               .base = (uint8_t)r->base,
                                                               .is_alone = r->is_alone};
}

static void read_scope(const struct reading *r, Dwarf_Die *scope, unsigned depth)
{
    Dwarf_Die child;
    if (depth == NESTING_MAX || dwarf_child(scope, &child))
        return;
    do {
        switch (dwarf_tag(&child)) {
        case DW_TAG_variable:
        case DW_TAG_formal_parameter:
            add_variable(r, &child);
            break;
        case DW_TAG_lexical_block:
        case DW_TAG_inlined_subroutine:
            read_scope(r, &child, depth + 1);
            break;
        default:
            break;
        }
    } while (dwarf_siblingof(&child, &child) == 0);
}

/* clang without optimisation: it keeps rbp as the frame's base and says nothing of calls. gcc lets large variables share a place
   even so. */
static bool keeps_apart(Dwarf_Die *function, const struct reading *r)
{
    Dwarf_Attribute attribute;
    Dwarf_Die unit;
    const char *producer = dwarf_diecu(function, &unit, NULL, NULL)
                               ? dwarf_formstring(dwarf_attr(&unit, DW_AT_producer, &attribute))
                               : NULL;
    return producer && strstr(producer, "clang") && r->base == IMAGE_FRAME_RBP &&
           !dwarf_hasattr(function, DW_AT_call_all_calls) &&
           !dwarf_hasattr(function, DW_AT_GNU_all_call_sites);
}

static int read_function(Dwarf_Die *function, void *context)
{
    struct reading r = {.image = context};
    if (!dwarf_entrypc(function, &r.function) && read_frame_base(&r, function)) {
        r.is_alone = keeps_apart(function, &r);
        read_scope(&r, function, 0);
    }
    return DWARF_CB_OK;
}

static int by_function(const void *left, const void *right)
{
    const struct image_local *l = left, *r = right;
    if (l->function != r->function)
        return l->function < r->function ? -1 : 1;
    return l->offset < r->offset ? -1 : l->offset > r->offset;
}

size_t image_locals(struct image *image, const struct image_local **locals)
{
    Dwarf *debug = image__dwarf(image);
    Dwarf_CU *cu = NULL;
    Dwarf_Die unit;
    if (debug && !image->locals_read) {
        while (dwarf_get_units(debug, cu, &cu, NULL, NULL, &unit, NULL) == 0)
            if (is_c(&unit))
                dwarf_getfuncs(&unit, read_function, image, 0);
        if (image->local_count)
            qsort(image->locals, image->local_count, sizeof *image->locals, by_function);
    }
    image->locals_read = true;
    *locals = image->locals;
    return image->local_count;
}
