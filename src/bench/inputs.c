/* Inputs of the measured programs, made from a seed: the same bytes on every machine. They stand in a cache folder, since
   making them takes longer than reading them. */
#define _GNU_SOURCE
#include "bench/private.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SEED = 20051, VOCABULARY = 6000, WORD_MAX = 16 };

int bench__cache(struct base_error *error, char path[BENCH_PATH], const char *given)
{
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    int used;
    if (given)
        used = snprintf(path, BENCH_PATH, "%s", given);
    else if (cache && *cache)
        used = snprintf(path, BENCH_PATH, "%s/testudo/bench", cache);
    else if (home && *home)
        used = snprintf(path, BENCH_PATH, "%s/.cache/testudo/bench", home);
    else
        return base_fail(error, BASE_EXIT_USAGE, "HOME is not set: name a folder for inputs with --cache");
    if (used > BENCH_PATH / 2)
        return base_fail(error, BASE_EXIT_USAGE, "the path of the cache folder is too long: %.80s...", path);
    for (char *slash = path + 1;; slash++) {
        char kept = *slash;
        if (kept && kept != '/')
            continue;
        *slash = 0;
        int made = mkdir(path, 0777);
        *slash = kept;
        if (made && errno != EEXIST)
            return base_fail(error, BASE_EXIT_ENVIRONMENT,
                             "cannot make the folder %s: %s; choose another with --cache", path,
                             strerror(errno));
        if (!kept)
            return 0;
    }
}

/* Returns whether the input stands already. Out: `path`. */
static bool stands(char path[BENCH_PATH], const char *cache, const char *name, double scale)
{
    snprintf(path, BENCH_PATH, "%s/1-%g-%s", cache, scale, name);
    return access(path, R_OK) == 0;
}

static const char *store(struct base_error *error, const char *path, struct base_text *text)
{
    int status = base_write_file(error, path, text->data, text->used);
    base_text_free(text);
    return status ? NULL : path;
}

/* ---- prose ---- */

struct prose {
    struct core_rng rng;
    char words[VOCABULARY][WORD_MAX];
};

static struct prose *open_prose(void)
{
    static const char *const syllables[] = {"ta",  "re",  "mi",  "so", "an", "tor", "es", "ver", "li", "qua",
                                            "ne",  "cum", "ip",  "ar", "on", "dis", "te", "ius", "fa", "bel",
                                            "gra", "vi",  "pro", "lo", "st", "um",  "ex", "ca",  "ri", "den"};
    struct prose *prose = bench__allocate(1, sizeof *prose);
    core_rng_seed(&prose->rng, SEED);
    for (size_t w = 0; w < VOCABULARY; w++) {
        uint64_t count = 1 + core_rng_below(&prose->rng, 4);
        for (uint64_t i = 0; i < count; i++)
            strcat(prose->words[w],
                   syllables[core_rng_below(&prose->rng, sizeof syllables / sizeof *syllables)]);
    }
    return prose;
}

/* A word; low numbers are much more frequent, as in language. */
static const char *word(struct prose *prose)
{
    double u = core_rng_unit(&prose->rng);
    return prose->words[(size_t)(VOCABULARY * u * u * u)];
}

static void add_prose(struct base_text *text, struct prose *prose, size_t bytes)
{
    size_t end = text->used + bytes, column = 0;
    while (text->used < end) {
        const char *next = word(prose);
        uint64_t mark = core_rng_below(&prose->rng, 40);
        base_text_puts(text, next);
        column += strlen(next) + 1;
        if (mark == 0)
            base_text_printf(text, " %u", (unsigned)core_rng_below(&prose->rng, 100000));
        if (mark < 3)
            base_text_puts(text, mark == 1 ? "." : ",");
        if (column > 90) {
            base_text_puts(text, "\n");
            column = 0;
        } else {
            base_text_puts(text, " ");
        }
    }
    base_text_puts(text, "\n");
}

const char *bench__input_text(struct base_error *error, char path[BENCH_PATH], const char *cache,
                              double scale)
{
    if (stands(path, cache, "prose.txt", scale))
        return path;
    struct base_text text = {0};
    struct prose *prose = open_prose();
    add_prose(&text, prose, (size_t)(24e6 * scale));
    free(prose);
    return store(error, path, &text);
}

const char *bench__input_bzip2(struct base_error *error, char path[BENCH_PATH], const char *cache,
                               double scale)
{
    char plain[BENCH_PATH], draft[BENCH_PATH + 16];
    if (stands(path, cache, "prose.txt.bz2", scale))
        return path;
    if (!bench__input_text(error, plain, cache, 2 * scale))
        return NULL;
    snprintf(draft, sizeof draft, "%s.bz2", plain);
    char *const argv[] = {"bzip2", "-kf", plain, NULL};
    if (bench__command(error, NULL, argv, NULL, NULL))
        return NULL;
    if (rename(draft, path)) {
        base_fail(error, BASE_EXIT_ENVIRONMENT, "cannot rename %s: %s", draft, strerror(errno));
        return NULL;
    }
    return path;
}

const char *bench__input_json(struct base_error *error, char path[BENCH_PATH], const char *cache,
                              double scale)
{
    if (stands(path, cache, "records.json", scale))
        return path;
    struct base_text text = {0};
    struct prose *prose = open_prose();
    unsigned records = (unsigned)(110000 * scale) + 10;
    base_text_puts(&text, "[");
    for (unsigned i = 0; i < records; i++) {
        base_text_printf(
            &text,
            "%s{\"id\":%u,\"name\":\"%s %s\",\"price\":%u.%02u,\"stock\":{\"here\":%u,\"there\":%u},"
            "\"tags\":[\"%s\",\"%s\",\"%s\"],\"note\":null,\"sold\":%s}",
            i ? ",\n" : "\n", i, word(prose), word(prose), (unsigned)core_rng_below(&prose->rng, 900),
            (unsigned)core_rng_below(&prose->rng, 100), (unsigned)core_rng_below(&prose->rng, 50),
            (unsigned)core_rng_below(&prose->rng, 50), word(prose), word(prose), word(prose),
            core_rng_below(&prose->rng, 2) ? "true" : "false");
    }
    base_text_puts(&text, "\n]\n");
    free(prose);
    return store(error, path, &text);
}

/* ---- programs in languages; %u is how long they run ---- */

static const char lua_script[] =
    "-- A mix of what scripts do: arithmetic, tables, strings, calls, sorting.\n"
    "local rounds = %u\n"
    "local seed = 42\n"
    "local function random(bound) seed = (seed * 1103515245 + 12345) %% 2147483648 return seed %% bound end\n"
    "local function fib(n) if n < 2 then return n end return fib(n - 1) + fib(n - 2) end\n"
    "local function sieve(n)\n"
    "  local composite, count = {}, 0\n"
    "  for i = 2, n do\n"
    "    if not composite[i] then\n"
    "      count = count + 1\n"
    "      for j = i * i, n, i do composite[j] = true end\n"
    "    end\n"
    "  end\n"
    "  return count\n"
    "end\n"
    "local function words()\n"
    "  local list, seen = {}, {}\n"
    "  for i = 1, 4000 do list[i] = string.format('%%x-%%d', random(5000), random(300)) end\n"
    "  for _, w in ipairs(list) do local k = w:match('^(%%x+)') seen[k] = (seen[k] or 0) + 1 end\n"
    "  table.sort(list)\n"
    "  return #table.concat(list, ','):gsub('1', 'one'), seen\n"
    "end\n"
    "local Point = {}\n"
    "Point.__index = Point\n"
    "function Point.new(x, y) return setmetatable({x = x, y = y}, Point) end\n"
    "function Point:move(dx, dy) self.x, self.y = self.x + dx, self.y * 0.5 + dy return self end\n"
    "local sum = 0\n"
    "for round = 1, rounds do\n"
    "  sum = sum + fib(20) + sieve(20000) + words()\n"
    "  local p = Point.new(0, 0)\n"
    "  for i = 1, 20000 do p:move(i %% 7, 1) end\n"
    "  sum = sum + p.x + p.y\n"
    "end\n"
    "print(string.format('%%.3f', sum))\n";

static const char perl_script[] =
    "use strict;\n"
    "my ($rounds, %%count, %%pair) = (%u);\n"
    "my $seed = 7;\n"
    "sub chance { $seed = ($seed * 1103515245 + 12345) %% 2147483648; return $seed %% $_[0]; }\n"
    "my @words = map { join '', map { chr(97 + chance(26)) } 1 .. 2 + chance(7) } 1 .. 3000;\n"
    "my $sum = 0;\n"
    "for my $round (1 .. $rounds) {\n"
    "    my $text = join ' ', map { $words[chance(3000)] } 1 .. 4000;\n"
    "    $count{$1}++ while $text =~ /\\b([a-m]\\w+)\\b/g;\n"
    "    (my $other = $text) =~ s/([aeiou])([^aeiou ])/$2$1/g;\n"
    "    my $last = '';\n"
    "    for my $word (split / /, $other) { $pair{\"$last $word\"} += length $word; $last = $word; }\n"
    "    $sum += unpack('%%32C*', $other);\n"
    "    my @sorted = sort { $count{$b} <=> $count{$a} || $a cmp $b } keys %%count;\n"
    "    $sum += index($text, $sorted[0]);\n"
    "    %%pair = () if $round %% 16 == 0;\n"
    "}\n"
    "print scalar(keys %%count), ' ', scalar(keys %%pair), ' ', $sum, \"\\n\";\n"
    "print join(' ', (sort { $count{$b} <=> $count{$a} || $a cmp $b } keys %%count)[0 .. 9]), \"\\n\";\n";

static const char sql_script[] =
    "PRAGMA journal_mode=off; PRAGMA synchronous=off;\n"
    "CREATE TABLE item(id INTEGER PRIMARY KEY, kind INTEGER, price REAL, name TEXT);\n"
    "CREATE TABLE sale(item INTEGER, day INTEGER, pieces INTEGER);\n"
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %u)\n"
    "  INSERT INTO item SELECT i, (i * 7919) %% 97, (i * 31 %% 10007) / 100.0, printf('item-%%06d-%%s', i, hex(i * 2654435761 %% 65521)) FROM n;\n"
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %u)\n"
    "  INSERT INTO sale SELECT (i * 48271) %% %u + 1, i %% 365, i %% 9 + 1 FROM n;\n"
    "CREATE INDEX sale_item ON sale(item);\n"
    "CREATE INDEX item_kind ON item(kind, price);\n"
    "SELECT kind, count(*), round(sum(price * pieces), 2) FROM item JOIN sale ON sale.item = item.id GROUP BY kind ORDER BY 3 DESC LIMIT 20;\n"
    "SELECT day, sum(pieces) s FROM sale WHERE day BETWEEN 100 AND 160 GROUP BY day HAVING s > 10 ORDER BY s, day LIMIT 20;\n"
    "UPDATE item SET price = price * 1.1 WHERE kind IN (SELECT kind FROM item GROUP BY kind HAVING avg(price) > 50);\n"
    "DELETE FROM sale WHERE item %% 13 = 5;\n"
    "SELECT count(*), round(avg(price), 4), max(name) FROM item WHERE name LIKE '%%A1%%' OR substr(name, 6, 2) = '00';\n"
    "SELECT substr(name, 6, 3) p, count(DISTINCT kind) FROM item GROUP BY p ORDER BY p LIMIT 10;\n"
    "PRAGMA integrity_check;\n";

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"

const char *bench__input_lua(struct base_error *error, char path[BENCH_PATH], const char *cache, double scale)
{
    struct base_text text = {0};
    if (stands(path, cache, "mix.lua", scale))
        return path;
    base_text_printf(&text, lua_script, (unsigned)ceil(260 * scale));
    return store(error, path, &text);
}

const char *bench__input_perl(struct base_error *error, char path[BENCH_PATH], const char *cache,
                              double scale)
{
    struct base_text text = {0};
    if (stands(path, cache, "mix.pl", scale))
        return path;
    base_text_printf(&text, perl_script, (unsigned)ceil(350 * scale));
    return store(error, path, &text);
}

const char *bench__input_sql(struct base_error *error, char path[BENCH_PATH], const char *cache, double scale)
{
    struct base_text text = {0};
    if (stands(path, cache, "shop.sql", scale))
        return path;
    unsigned items = (unsigned)(150000 * scale) + 100;
    base_text_printf(&text, sql_script, items, 4 * items, items);
    return store(error, path, &text);
}

#pragma GCC diagnostic pop
