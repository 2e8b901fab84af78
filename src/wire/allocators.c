/* Reads the declarations of pool allocators:

       pool NAME
       alloc FUNCTION POOL SIZE
       reset FUNCTION POOL
       heap  FUNCTION SIZE
       free  FUNCTION BLOCK
       chain FUNCTION BLOCK OFFSET
       empty FUNCTION SIZE

   POOL, SIZE and so on are the numbers of arguments, from 1. The lines behind `pool` belong to it. */
#include "wire/allocators.h"

enum { FAMILIES_MAX = 32, ARGUMENTS_MAX = 6, WORDS_MAX = 4 };

struct word {
    const char *text;
    unsigned length;
};

struct reader {
    struct wire_allocator *out;
    unsigned count, line, families, family_line;
    bool takes, gives; /* the family has lines of either sort */
    const char *why;
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

/* Cuts one line into words. Returns their number, WORDS_MAX + 1 when there are more. */
static unsigned cut(struct word words[WORDS_MAX], const char **at)
{
    unsigned count = 0;
    const char *p = *at;
    while (*p && *p != '\n' && *p != '#') {
        if (is_blank(*p)) {
            p++;
            continue;
        }
        const char *start = p;
        while (*p && *p != '\n' && *p != '#' && !is_blank(*p))
            p++;
        if (count < WORDS_MAX)
            words[count] = (struct word){start, (unsigned)(p - start)};
        count++;
    }
    while (*p && *p != '\n')
        p++;
    *at = *p ? p + 1 : p;
    return count > WORDS_MAX ? WORDS_MAX + 1 : count;
}

static bool is(const struct word *word, const char *text)
{
    unsigned i = 0;
    while (i < word->length && text[i] && word->text[i] == text[i])
        i++;
    return i == word->length && !text[i];
}

static bool same(const char *name, const struct word *word)
{
    return is(word, name);
}

/* An argument's number. Returns false when it is none. */
static bool argument(uint8_t *out, const struct word *word)
{
    if (word->length != 1 || word->text[0] < '1' || word->text[0] > '0' + ARGUMENTS_MAX)
        return false;
    *out = (uint8_t)(word->text[0] - '1');
    return true;
}

static bool fail(struct reader *r, const char *why)
{
    r->why = why;
    return false;
}

/* What a line about a function begins with. */
static const struct kind {
    const char *word, *usage;
    uint8_t role;
    bool takes, gives;       /* hands out memory; takes it back */
    bool has_pool, has_size; /* arguments it names */
} kinds[] = {
    {"alloc", "this is written `alloc FUNCTION POOL SIZE`", WIRE_ALLOCATOR_ALLOC, true, false, true, true},
    {"reset", "this is written `reset FUNCTION POOL`", WIRE_ALLOCATOR_RESET, false, true, true, false},
    {"heap", "this is written `heap FUNCTION SIZE`", WIRE_ALLOCATOR_HEAP, true, false, false, true},
    {"free", "this is written `free FUNCTION BLOCK`", WIRE_ALLOCATOR_FREE, false, true, true, false},
    {"chain", "this is written `chain FUNCTION BLOCK OFFSET`", WIRE_ALLOCATOR_CHAIN, false, true, true, true},
    {"empty", "this is written `empty FUNCTION SIZE`", WIRE_ALLOCATOR_EMPTY, true, true, false, true},
};

static const struct kind *kind_of(const struct word *word)
{
    for (unsigned i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (is(word, kinds[i].word))
            return &kinds[i];
    return NULL;
}

static bool end_family(struct reader *r)
{
    if (!r->families || (r->takes && r->gives))
        return true;
    r->line = r->family_line;
    return fail(r, r->takes
                       ? "a pool needs at least one `reset` or `free` line: without it its memory could be "
                         "dealt out anew unseen"
                       : "a pool needs at least one `alloc` or `heap` line");
}

static bool read_function(struct reader *r, const struct kind *kind, const struct word *words, unsigned count)
{
    struct wire_allocator entry = {.role = kind->role, .family = (uint8_t)(r->families - 1)};
    if (!r->families)
        return fail(r, "a line `pool NAME` must come before");
    if (count != 2u + kind->has_pool + kind->has_size)
        return fail(r, kind->usage);
    if (words[1].length >= sizeof entry.function)
        return fail(r, "the function's name is too long");
    for (unsigned i = 0; i < r->count; i++)
        if (same(r->out[i].function, &words[1]))
            return fail(r, "the function was declared before");
    if ((kind->has_pool && !argument(&entry.pool, &words[2])) ||
        (kind->has_size && !argument(&entry.size, &words[2 + kind->has_pool])))
        return fail(r, "an argument is named by its number, 1 to 6");
    if (kind->has_pool && kind->has_size && entry.pool == entry.size)
        return fail(r, "two things cannot be one argument");
    if (r->count == WIRE_ALLOCATORS_MAX)
        return fail(r, "there are more functions than the 64 that fit");
    for (unsigned i = 0; i < words[1].length; i++)
        entry.function[i] = words[1].text[i];
    r->out[r->count++] = entry;
    r->takes |= kind->takes;
    r->gives |= kind->gives;
    return true;
}

static bool read_line(struct reader *r, const struct word *words, unsigned count)
{
    if (!count)
        return true;
    if (is(&words[0], "pool")) {
        if (count != 2)
            return fail(r, "this is written `pool NAME`");
        if (!end_family(r))
            return false;
        if (r->families == FAMILIES_MAX)
            return fail(r, "there are more pools than the 32 that fit");
        r->families++;
        r->family_line = r->line;
        r->takes = r->gives = false;
        return true;
    }
    const struct kind *kind = kind_of(&words[0]);
    return kind ? read_function(r, kind, words, count)
                : fail(r, "a line begins with pool, alloc, reset, heap, free, chain or empty");
}

int wire_allocators_read(struct wire_allocator *allocators, unsigned *line, const char **why,
                         const char *text)
{
    struct reader reader = {.out = allocators};
    bool good = true;
    while (good && *text) {
        struct word words[WORDS_MAX];
        unsigned count = cut(words, &text);
        reader.line++;
        good = read_line(&reader, words, count);
    }
    if (good && end_family(&reader))
        return (int)reader.count;
    *line = reader.line;
    *why = reader.why;
    return -1;
}
