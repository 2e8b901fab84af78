/* Local variables that lie at a fixed place of their function's frame, from debug information: named objects with known bounds,
   which an access that begins inside one must not leave for another.

   In C every named variable is an object of its own. C++ names parts of one object (structured bindings): what is declared on one
   line may be such. Other languages lay out storage by their own rules.

   A variable is alone in its place when no other can share it, named or not: clang shares nothing without optimisation; gcc, without
   stack protector, gives each variable of the outermost scope, and each of less than 32 bytes, a place of its own.

   With optimisation, gcc lets objects share a place that are not alive together. A variable of the outermost scope lives to the
   function's end, and so do temporaries without a name: only objects of inner scopes can end before it is first mentioned. Where
   all of these that have a name show where they lie, the code tells about the others (compound literals). */
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
    enum { OPTIMISED, PLAIN_GCC, PLAIN_CLANG } compiled;
    bool protects, is_cpp;
    bool is_clear; /* by gcc, and all its objects show where they lie */
};

static bool is_cpp(Dwarf_Die *unit)
{
    switch (dwarf_srclang(unit)) {
    case DW_LANG_C_plus_plus:
    case DW_LANG_C_plus_plus_03:
    case DW_LANG_C_plus_plus_11:
    case DW_LANG_C_plus_plus_14:
    case 0x2b: /* DW_LANG_C_plus_plus_17 */
    case 0x2e: /* DW_LANG_C_plus_plus_20 */
        return true;
    default:
        return false;
    }
}

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

/* Without typedefs and qualifiers. */
static bool peel(Dwarf_Die *type, Dwarf_Attribute *attribute)
{
    for (unsigned i = 0; i < NESTING_MAX; i++) {
        if (!dwarf_formref_die(attribute, type))
            return false;
        switch (dwarf_tag(type)) {
        case DW_TAG_typedef:
        case DW_TAG_const_type:
        case DW_TAG_volatile_type:
        case DW_TAG_restrict_type:
        case DW_TAG_atomic_type:
            if (!dwarf_attr(type, DW_AT_type, attribute))
                return false;
            break;
        default:
            return true;
        }
    }
    return false;
}

static bool is_signed_or_small(Dwarf_Die *element)
{
    Dwarf_Attribute attribute;
    Dwarf_Word encoding = 0, bytes = 0;
    return dwarf_tag(element) == DW_TAG_base_type && dwarf_attr(element, DW_AT_encoding, &attribute) &&
           !dwarf_formudata(&attribute, &encoding) && dwarf_attr(element, DW_AT_byte_size, &attribute) &&
           !dwarf_formudata(&attribute, &bytes) &&
           (bytes != 8 || encoding == DW_ATE_signed || encoding == DW_ATE_float);
}

static unsigned flags_of_type(Dwarf_Die *type)
{
    Dwarf_Attribute attribute;
    Dwarf_Die element;
    switch (dwarf_tag(type)) {
    case DW_TAG_structure_type:
    case DW_TAG_class_type:
    case DW_TAG_union_type:
        return IMAGE_LOCAL_RECORD;
    case DW_TAG_array_type:
        return IMAGE_LOCAL_ARRAY | (dwarf_attr(type, DW_AT_type, &attribute) && peel(&element, &attribute) &&
                                            is_signed_or_small(&element)
                                        ? 0
                                        : IMAGE_LOCAL_WORDS);
    default:
        return 0;
    }
}

static void add_variable(const struct reading *r, Dwarf_Die *variable, unsigned depth)
{
    enum { GCC_SHARES_FROM = 32 };
    struct image *image = r->image;
    Dwarf_Attribute attribute;
    Dwarf_Die type;
    Dwarf_Word bytes;
    Dwarf_Op op;
    int line = 0;
    dwarf_decl_line(variable, &line);
    if (!one_operation(&op, variable, DW_AT_location) || op.atom != DW_OP_fbreg ||
        !dwarf_attr_integrate(variable, DW_AT_type, &attribute) || !peel(&type, &attribute) ||
        dwarf_aggregate_size(&type, &bytes) || !bytes || bytes > LOCAL_BYTES_MAX)
        return;
    int64_t offset = (int64_t)op.number + r->bias;
    /* Above the frame base lies what the caller passed. */
    if (offset < -LOCAL_BYTES_MAX || offset > LOCAL_BYTES_MAX ||
        (r->base != IMAGE_FRAME_RSP && offset + (int64_t)bytes > 0) ||
        !image__grow((void **)&image->locals, &image->local_room, image->local_count, sizeof *image->locals))
        return;
    unsigned flags = flags_of_type(&type) | (r->is_cpp ? IMAGE_LOCAL_FOREIGN : 0);
    if (r->compiled != OPTIMISED)
        flags |= IMAGE_LOCAL_PLAIN;
    if (r->compiled == PLAIN_CLANG ||
        (r->compiled == PLAIN_GCC && !r->protects && (!depth || bytes < GCC_SHARES_FROM)))
        flags |= IMAGE_LOCAL_ALONE;
    else if ((r->compiled == PLAIN_GCC && !r->protects && !r->is_cpp) || (r->is_clear && !depth))
        flags |= IMAGE_LOCAL_SCOPED;
    image->locals[image->local_count++] = (struct image_local){.function = r->function,
                                                               .offset = (int32_t)offset,
                                                               .bytes = (uint32_t)bytes,
                                                               .base = (uint8_t)r->base,
                                                               .flags = (uint8_t)flags,
                                                               .line = (uint32_t)line,
                                                               .name = dwarf_diename(variable)};
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
            add_variable(r, &child, depth);
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

/* Whether a variable lies in different places at different times: no compiler does that without optimising. */
static bool has_lists(Dwarf_Die *scope, unsigned depth)
{
    Dwarf_Attribute attribute;
    Dwarf_Die child;
    if (depth == NESTING_MAX || dwarf_child(scope, &child))
        return false;
    do {
        switch (dwarf_tag(&child)) {
        case DW_TAG_variable:
        case DW_TAG_formal_parameter:
            if (dwarf_attr(&child, DW_AT_location, &attribute)) {
                unsigned form = dwarf_whatform(&attribute);
                if (form == DW_FORM_sec_offset || form == DW_FORM_loclistx || form == DW_FORM_data4 ||
                    form == DW_FORM_data8)
                    return true;
            }
            break;
        case DW_TAG_lexical_block:
        case DW_TAG_inlined_subroutine:
            if (has_lists(&child, depth + 1))
                return true;
            break;
        default:
            break;
        }
    } while (dwarf_siblingof(&child, &child) == 0);
    return false;
}

/* Whether some array or structure of the scope lies where nobody says. */
static bool has_hidden(Dwarf_Die *scope, unsigned depth)
{
    Dwarf_Attribute attribute;
    Dwarf_Die child, type;
    Dwarf_Op op;
    if (depth == NESTING_MAX)
        return true;
    if (dwarf_child(scope, &child))
        return false;
    do {
        switch (dwarf_tag(&child)) {
        case DW_TAG_variable:
        case DW_TAG_formal_parameter:
            if (!dwarf_attr_integrate(&child, DW_AT_type, &attribute) || !peel(&type, &attribute))
                return true;
            if (flags_of_type(&type) && !dwarf_hasattr_integrate(&child, DW_AT_external) &&
                !(one_operation(&op, &child, DW_AT_location) &&
                  (op.atom == DW_OP_fbreg || op.atom == DW_OP_addr)))
                return true;
            break;
        case DW_TAG_lexical_block:
        case DW_TAG_inlined_subroutine:
            if (has_hidden(&child, depth + 1))
                return true;
            break;
        default:
            break;
        }
    } while (dwarf_siblingof(&child, &child) == 0);
    return false;
}

/* gcc names its options, clang does not: but it keeps rbp as the frame's base and says nothing of calls when it does not optimise. */
static void read_producer(struct reading *r, Dwarf_Die *function)
{
    Dwarf_Attribute attribute;
    Dwarf_Die unit;
    const char *producer = dwarf_diecu(function, &unit, NULL, NULL)
                               ? dwarf_formstring(dwarf_attr(&unit, DW_AT_producer, &attribute))
                               : NULL;
    r->compiled = OPTIMISED;
    r->protects = false;
    r->is_clear = producer && !strncmp(producer, "GNU C", 5) && strncmp(producer, "GNU C++", 7) &&
                  !strstr(producer, "-fsanitize") && !has_hidden(function, 0);
    if (!producer || has_lists(function, 0))
        return;
    if (strstr(producer, "clang")) {
        r->compiled = r->base == IMAGE_FRAME_RBP && !dwarf_hasattr(function, DW_AT_call_all_calls) &&
                              !dwarf_hasattr(function, DW_AT_GNU_all_call_sites)
                          ? PLAIN_CLANG
                          : OPTIMISED;
    } else if (!strncmp(producer, "GNU C", 5)) {
        r->compiled = PLAIN_GCC;
        for (const char *at = producer; (at = strstr(at, " -O")); at += 3)
            r->compiled = at[3] == '0' ? PLAIN_GCC : OPTIMISED;
        r->protects = strstr(producer, "-fstack-protector") || strstr(producer, "-fsanitize");
    }
}

static int read_function(Dwarf_Die *function, void *context)
{
    struct reading r = {.image = context};
    Dwarf_Die unit;
    if (dwarf_entrypc(function, &r.function) || !read_frame_base(&r, function))
        return DWARF_CB_OK;
    r.is_cpp = dwarf_diecu(function, &unit, NULL, NULL) && is_cpp(&unit);
    read_producer(&r, function);
    /* Of C++, only plain code is told apart well enough. */
    if (!r.is_cpp || r.compiled != OPTIMISED)
        read_scope(&r, function, 0);
    return DWARF_CB_OK;
}

static int by_function(const void *left, const void *right)
{
    const struct image_local *l = left, *r = right;
    if (l->function != r->function)
        return l->function < r->function ? -1 : 1;
    return l->offset < r->offset ? -1 : l->offset > r->offset;
}

/* What overlaps another is not alone: parts of one object, or a place that is shared in spite of all. */
static void find_overlaps(struct image_local *locals, size_t count)
{
    for (size_t i = 0, last = 0; i + 1 < count; i++) {
        struct image_local *next = &locals[i + 1];
        if (locals[last].function != locals[i].function || locals[last].base != locals[i].base ||
            (int64_t)locals[last].offset + locals[last].bytes < (int64_t)locals[i].offset + locals[i].bytes)
            last = i;
        if (next->function == locals[last].function && next->base == locals[last].base &&
            next->offset < (int64_t)locals[last].offset + locals[last].bytes) {
            next->flags &= (uint8_t) ~(IMAGE_LOCAL_ALONE | IMAGE_LOCAL_SCOPED);
            locals[last].flags &= (uint8_t) ~(IMAGE_LOCAL_ALONE | IMAGE_LOCAL_SCOPED);
        }
        for (size_t k = i + 1;
             locals[i].flags & IMAGE_LOCAL_FOREIGN && k < count && locals[k].function == locals[i].function;
             k++)
            if (locals[k].line == locals[i].line) {
                locals[k].flags &= (uint8_t)~IMAGE_LOCAL_ALONE;
                locals[i].flags &= (uint8_t)~IMAGE_LOCAL_ALONE;
            }
    }
}

size_t image_locals(struct image *image, const struct image_local **locals)
{
    Dwarf *debug = image__dwarf(image);
    Dwarf_CU *cu = NULL;
    Dwarf_Die unit;
    if (debug && !image->locals_read) {
        while (dwarf_get_units(debug, cu, &cu, NULL, NULL, &unit, NULL) == 0)
            if (is_c(&unit) || is_cpp(&unit))
                dwarf_getfuncs(&unit, read_function, image, 0);
        if (image->local_count)
            qsort(image->locals, image->local_count, sizeof *image->locals, by_function);
        find_overlaps(image->locals, image->local_count);
    }
    image->locals_read = true;
    *locals = image->locals;
    return image->local_count;
}
