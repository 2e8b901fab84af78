/* The manifest: what a community watches. Every member computes its own slice from it, so it holds the work table and the
   parameters, not the slices.

   Little-endian, no padding. A header, `object_count` objects, `function_count` functions, and the FNV-1a hash of all
   that stands before it. Names serve people and matching by name; what counts is (build-id, offset). Costs are whole
   units of the metric, risks millionths: the runtime's side of the project knows no floating point.

       header    "TMANIFST"  u16 version  u8 metric  u8 assign  u32 members  u32 quanta  u32 quantum_ms  u32 eps_ppm
                 u64 seed  u64 epoch  u64 total  u16 object_count  u32 function_count
       object    u8 build_id_bytes  build_id  u16 name_bytes  name
       function  u16 object  u32 offset  u64 cost  u64 calls  u64 risk_ppm  u64 tokens  u32 distance  u16 name_bytes
                 name
       end       u64 hash

   Functions are in the order of (object, offset), each once. Decoding allocates nothing and trusts nothing. */
#ifndef WIRE_MANIFEST_H
#define WIRE_MANIFEST_H

#include "core/core.h"

#define WIRE_MANIFEST_MAGIC       "TMANIFST"
#define WIRE_MANIFEST_VERSION     1u
#define WIRE_MANIFEST_OBJECTS_MAX 256u
#define WIRE_MANIFEST_FUNCS_MAX   (1u << 18)
#define WIRE_MANIFEST_MEMBERS_MAX 1000000u
#define WIRE_MANIFEST_QUANTA_MAX  (1u << 30)
#define WIRE_MANIFEST_NAME_MAX    1024u
#define WIRE_MANIFEST_RISK_MAX    1000000000000ull /* a risk of 10^6 */
#define WIRE_MANIFEST_NO_DISTANCE 0xffffffffu

enum wire_manifest_metric {
    WIRE_MANIFEST_INSTRUCTIONS = 0,
    WIRE_MANIFEST_NANOSECONDS = 1,
};

enum wire_manifest_assign {
    WIRE_MANIFEST_CENTRAL = 0,
    WIRE_MANIFEST_COIN = 1,
    WIRE_MANIFEST_BID = 2,
};

/* Why a manifest is refused; names by wire_manifest_problem. */
enum wire_manifest_error {
    WIRE_MANIFEST_OK = 0,
    WIRE_MANIFEST_SHORT = -1,    /* ends before its last record */
    WIRE_MANIFEST_FOREIGN = -2,  /* not a manifest, or of another version */
    WIRE_MANIFEST_RANGE = -3,    /* a number outside its range */
    WIRE_MANIFEST_ORDER = -4,    /* functions out of order or twice */
    WIRE_MANIFEST_TEXT = -5,     /* a name with control characters, empty or too long */
    WIRE_MANIFEST_TRAILING = -6, /* bytes behind the end */
    WIRE_MANIFEST_HASH = -7,     /* damaged on the way */
};

struct wire_manifest {
    uint8_t metric, assign;
    uint32_t members;    /* N */
    uint32_t quanta;     /* Q of an epoch */
    uint32_t quantum_ms; /* how long one lasts */
    uint32_t eps_ppm;    /* fairness */
    uint64_t seed, epoch;
    uint64_t total; /* T, at least the sum of the functions' costs */
    uint32_t object_count, function_count;
    /* set by wire_manifest_open */
    const uint8_t *data;
    size_t bytes, objects_at, functions_at;
};

struct wire_manifest_object {
    const uint8_t *build_id;
    uint32_t build_id_bytes; /* 1..20 */
    const char *name;        /* file name without folder; not NUL-terminated */
    uint32_t name_bytes;
};

struct wire_manifest_function {
    uint32_t object; /* index */
    uint32_t offset; /* of the entry, ELF virtual address */
    uint64_t
        cost; /* what loads are levelled by: work, or in a plan for a budget the predicted cost of watching it */
    uint64_t calls;
    uint64_t risk_ppm; /* v_i, at least 1,000,000 */
    uint64_t tokens;   /* 0..members * quanta; the latter: every member watches it always */
    uint32_t distance; /* calls to an input function, or WIRE_MANIFEST_NO_DISTANCE */
    const char *name;  /* not NUL-terminated */
    uint32_t name_bytes;
};

/* Place in a manifest; starts as {0}. */
struct wire_manifest_cursor {
    size_t at;
    uint32_t index;
};

/* Checks every byte. Returns WIRE_MANIFEST_OK or why it is refused. Out: `manifest`, which points into `data`.
   Owns: `data` must outlive `manifest`. Context: any. */
int wire_manifest_open(struct wire_manifest *manifest, const void *data, size_t bytes);
/* Walk an opened manifest. Returns false behind the last one. Names point into the manifest's data. */
bool wire_manifest_next_object(struct wire_manifest_object *object, struct wire_manifest_cursor *cursor,
                               const struct wire_manifest *manifest);
bool wire_manifest_next_function(struct wire_manifest_function *function, struct wire_manifest_cursor *cursor,
                                 const struct wire_manifest *manifest);

/* Writes a manifest: begin, then the objects, then the functions in order, then end. Starts as {data, room}; when `room` is
   too small nothing is written beyond it, and `used` tells in the end how many bytes are needed. */
struct wire_manifest_writer {
    uint8_t *data;
    size_t room, used;
};
void wire_manifest_begin(struct wire_manifest_writer *writer, const struct wire_manifest *manifest);
void wire_manifest_add_object(struct wire_manifest_writer *writer, const struct wire_manifest_object *object);
void wire_manifest_add_function(struct wire_manifest_writer *writer,
                                const struct wire_manifest_function *function);
void wire_manifest_end(struct wire_manifest_writer *writer);

/* One line for people. */
const char *wire_manifest_problem(int error);

#endif
