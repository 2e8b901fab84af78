/* What the files of this folder share. */
#ifndef IMAGE_PRIVATE_H
#define IMAGE_PRIVATE_H

#include "image/image.h"

#include <elfutils/libdw.h>
#include <elfutils/libdwelf.h>
#include <gelf.h>

struct image_symbol {
    uint64_t offset;
    uint64_t bytes;
    const char *name;
    uint8_t rank; /* smaller is the better name: 0 global, 1 weak, 2 local */
};

struct image_type {
    uint64_t offset;
    uint8_t returns; /* enum image_returns */
};

struct image {
    char *path;
    int fd;
    Elf *elf;
    const uint8_t *raw; /* the whole file as mapped by libelf */
    size_t raw_bytes;
    int debug_fd; /* separate debug file, or -1 */
    Elf *debug_elf;
    struct image_traits traits;
    uint8_t build_id[IMAGE_BUILD_ID_MAX];
    size_t build_id_bytes;

    struct image_symbol *symbols; /* by offset, then rank; code only */
    size_t symbol_count, symbol_room;
    struct image_function *functions;
    size_t function_count, function_room;

    struct image_call *calls; /* calls.c */
    size_t call_count;
    bool calls_known;
    const struct image_symbol **by_name; /* or NULL: not yet wanted */

    bool dwarf_tried; /* debug information is opened at first need */
    Dwarf *dwarf;
    struct image_type *types; /* by offset */
    size_t type_count, type_room;
    bool locals_read;
    struct image_local *locals; /* by function, then offset */
    size_t local_count, local_room;
};

/* Makes room for one more element of `element` bytes. Returns false when out of memory. */
bool image__grow(void **array, size_t *room, size_t count, size_t element);

/* elf.c: file bytes at a virtual address. Returns NULL when no loaded segment has it in the file; `*bytes` is
   what is left from there to the segment's end. */
const uint8_t *image__at_address(const struct image *image, size_t *bytes, uint64_t address);

/* frames.c: appends the range of every FDE to `functions`: unsorted, unnamed. Broken entries are skipped. */
void image__frames(struct image *image);

/* debug.c: the debug information, opened at first need, or NULL. */
Dwarf *image__dwarf(struct image *image);

/* symbols.c: opens the separate debug file, fills `symbols`, joins them with `functions`. */
void image__symbols(struct image *image);
/* Index of the first symbol whose offset is not below `offset`. */
size_t image__symbol_index(const struct image *image, uint64_t offset);

#endif
