/* image: what a binary contains, seen from outside: can it be supervised, its build-id, its functions, their
   names, source lines and return kinds. Everything is read from the file, nothing from a running process.

   A function is named by the offset of its entry from the object's load address (its ELF virtual address), as
   everywhere in Testudo. Functions come from the call-frame information, which stripped binaries have too,
   and from the dynamic and static symbol tables; names, lines and types also from the separate debug file
   that the build-id leads to (/usr/lib/debug/.build-id), when it is installed.

   A file is hostile until proven otherwise: whatever it holds, a call answers or fails, it does not crash.
   Context: an image is used by one thread at a time; different images are independent. */
#ifndef IMAGE_IMAGE_H
#define IMAGE_IMAGE_H

#include "base/base.h"
#include "core/core.h"

struct image;

enum { IMAGE_BUILD_ID_MAX = 20 };

/* What a function returns, from its debug information. The order is that of enum wire_returns, which image
   may not see; member checks that at compile time. */
enum image_returns {
    IMAGE_RETURNS_UNKNOWN,
    IMAGE_RETURNS_VOID,
    IMAGE_RETURNS_INTEGER,
    IMAGE_RETURNS_POINTER,
    IMAGE_RETURNS_ZERO, /* boolean or unsigned: 0 is the only value that can mean failure */
    IMAGE_RETURNS_FLOAT,
};

struct image_function {
    uint64_t offset;
    uint64_t bytes;   /* 0: unknown */
    const char *name; /* the most public of its names, or NULL: stripped. Owned by the image */
};

/* Facts about the whole file. */
struct image_traits {
    bool program;          /* has an interpreter: can be started */
    bool is_static;        /* a program without an interpreter: nothing can be preloaded into it */
    bool set_id;           /* setuid, setgid or file capabilities: the loader drops preloads */
    bool own_malloc;       /* exports malloc: the heap checks see nothing of it */
    bool shadow_stack;     /* marked for shadow stacks (CET SHSTK) */
    const char *allocator; /* "jemalloc", "tcmalloc", ... when recognised, else NULL */
};

/* Opens an ELF file for x86-64. Returns 0, or -1 with `error`: BASE_EXIT_ENVIRONMENT and the reason by name
   when the file is missing, no ELF file, not for x86-64 Linux, or damaged. Owns: `*image` is the caller's,
   image_close(). */
int image_open(struct base_error *error, struct image **image, const char *path);
/* Releases everything, names included. NULL is allowed. */
void image_close(struct image *image);

const char *image_path(const struct image *image);
struct image_traits image_traits(const struct image *image);
/* Returns the number of bytes of the build-id (0: it has none), `*id` points into the image. */
size_t image_build_id(const struct image *image, const uint8_t **id);
/* Whether the separate debug file was found, or debug information stands in the file itself. */
bool image_has_debug_info(struct image *image);

/* All functions by rising offset. Owns: the array is the image's. */
size_t image_functions(const struct image *image, const struct image_function **functions);
/* The function an offset lies in. Returns NULL when it lies in none. */
const struct image_function *image_function_at(const struct image *image, uint64_t offset);
/* Name for a report: the symbol an offset lies in (functions of the file, or any symbol of code). Out:
   `*into` bytes from the symbol's start. Returns NULL when no symbol covers it. Owns: the string is the
   image's. */
const char *image_name(const struct image *image, uint64_t *into, uint64_t offset);
/* Whether a function is meant by `pattern`: a shell pattern against any of its names (a suffix such as
   .part.0 may be left out), 0xOFFSET, or OBJECT!PATTERN with a shell pattern against the file's base name
   before it. */
bool image_matches(const struct image *image, uint64_t offset, const char *pattern);
/* Source line of an instruction. Returns its number, or 0 when unknown. Out: `*file` (owned by the image). */
unsigned image_line(struct image *image, const char **file, uint64_t offset);
/* Return kind of the function that starts at `offset`. */
enum image_returns image_returns(struct image *image, uint64_t offset);

/* That one function can call another, as the code says it. */
enum image_call_kind {
    IMAGE_CALL_DIRECT, /* a call or jump to it */
    IMAGE_CALL_IMPORT, /* through PLT or GOT, by the name of a dynamic symbol, whoever defines it */
    IMAGE_CALL_TAKEN,  /* its address is computed or loaded, alone or in a table: it may be called */
};
struct image_call {
    uint64_t caller;  /* offset of a function */
    uint64_t callee;  /* the same, when `name` is NULL */
    const char *name; /* dynamic symbol, or NULL. Owned by the image */
    enum image_call_kind kind;
};
/* All calls by caller, each pair of functions once. Decodes the whole file at first call. Returns their number.
   Owns: the array is the image's. */
size_t image_calls(struct image *image, const struct image_call **calls);
/* Where a symbol that others can refer to is defined. Returns false when the file does not define it. */
bool image_find_name(struct image *image, uint64_t *offset, const char *name);

/* A local variable at a fixed place of its function's frame: what its offset is relative to. The order is that of enum
   wire_frame_base, which member checks at compile time. */
enum image_frame_base {
    IMAGE_FRAME_CFA, /* the canonical frame address: the caller's rsp */
    IMAGE_FRAME_RBP,
    IMAGE_FRAME_RSP,
};
enum image_local_flags {
    IMAGE_LOCAL_ALONE = 1,    /* nothing else shares its place */
    IMAGE_LOCAL_PLAIN = 2,    /* its function was compiled without optimisation */
    IMAGE_LOCAL_ARRAY = 4,    /* an array */
    IMAGE_LOCAL_RECORD = 8,   /* a structure or union */
    IMAGE_LOCAL_WORDS = 16,   /* array of pointers or of unsigned words: collectors scan on from such */
    IMAGE_LOCAL_FOREIGN = 32, /* C++, where a name may stand for a part of an object */
    IMAGE_LOCAL_SCOPED = 64,  /* only unnamed objects of other scopes may share its place */
};
struct image_local {
    uint64_t
        function; /* entry of its function; inlined variables count as those of the function that they are inlined into */
    int32_t offset;
    uint32_t bytes;
    uint8_t base;     /* enum image_frame_base */
    uint8_t flags;    /* enum image_local_flags */
    uint32_t line;    /* of its declaration, or 0 */
    const char *name; /* or NULL */
};
/* All such variables of code in C and C++, by function, from the debug information. Returns their number. Owns: the array and the
   names are the image's. */
size_t image_locals(struct image *image, const struct image_local **locals);

/* Names of the libraries that the loader is told to load (DT_NEEDED). Returns their number.
   Out: `names`, at most `room` of them. */
size_t image_needed(const struct image *image, const char **names, size_t room);

/* Finds a file to execute as execvp does: a path with a slash is itself, else the first executable in $PATH.
   Out: `path`. Returns 0, or -1 with `error` (environment). */
int image_find_file(struct base_error *error, char path[4096], const char *name);
/* The same, and follows `#!` lines to the interpreter that the kernel will start. */
int image_find_program(struct base_error *error, char path[4096], const char *name);

#endif
