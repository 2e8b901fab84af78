/* Faults so far, identical ones once with a count. The file gets a line for a fault when it first happens, so
   that nothing is lost if we are killed; at the end it is written anew with the final counts. */
#include "report/report.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { DISTINCT_MAX = 4096 }; /* a program that faults everywhere must not fill our memory */

struct report_tally {
    struct report_fault *faults;
    size_t count, room;
    uint64_t total;
    char *path; /* or NULL: no file */
    FILE *file;
};

int report_tally_open(struct base_error *error, struct report_tally **out, const char *path)
{
    struct report_tally *tally = calloc(1, sizeof *tally);
    *out = tally;
    if (!tally)
        return base_fail(error, BASE_EXIT_FAILURE, "out of memory");
    if (!path)
        return 0;
    tally->path = strdup(path);
    tally->file = fopen(path, "we");
    if (tally->path && tally->file)
        return 0;
    base_fail(error, BASE_EXIT_ENVIRONMENT, "cannot write %s: %s", path, strerror(errno));
    report_tally_close(NULL, tally);
    *out = NULL;
    return -1;
}

static bool put_line(FILE *out, const struct report_fault *fault)
{
    char *line = report_fault_json(fault);
    bool good = line && fprintf(out, "%s\n", line) > 0 && !fflush(out);
    free(line);
    return good;
}

bool report_tally_add(struct report_tally *tally, const struct report_fault *fault)
{
    tally->total++;
    for (size_t i = 0; i < tally->count; i++) {
        struct report_fault *known = &tally->faults[i];
        if (!strcmp(known->id, fault->id) && known->outcome == fault->outcome &&
            known->undone == fault->undone) {
            known->count++;
            return false;
        }
    }
    if (tally->count == DISTINCT_MAX)
        return false;
    if (tally->count == tally->room) {
        size_t larger = tally->room ? 2 * tally->room : 16;
        struct report_fault *moved = realloc(tally->faults, larger * sizeof *moved);
        if (!moved)
            return true;
        tally->faults = moved;
        tally->room = larger;
    }
    tally->faults[tally->count] = *fault;
    tally->faults[tally->count].count = 1;
    tally->count++;
    if (tally->file)
        put_line(tally->file, &tally->faults[tally->count - 1]);
    return true;
}

uint64_t report_tally_total(const struct report_tally *tally)
{
    return tally->total;
}

size_t report_tally_faults(const struct report_tally *tally, const struct report_fault **faults)
{
    *faults = tally->faults;
    return tally->count;
}

/* The whole file again, when it is one that can be replaced and a count has changed. */
static int rewrite(struct base_error *error, struct report_tally *tally)
{
    struct stat st;
    if (tally->total == tally->count || fstat(fileno(tally->file), &st) || !S_ISREG(st.st_mode))
        return 0;
    char *text = NULL;
    size_t bytes = 0;
    FILE *memory = open_memstream(&text, &bytes);
    if (!memory)
        return base_fail(error, BASE_EXIT_FAILURE, "out of memory writing %s", tally->path);
    bool good = true;
    for (size_t i = 0; i < tally->count; i++)
        good = put_line(memory, &tally->faults[i]) && good;
    good = !fclose(memory) && good;
    int result = good ? base_write_file(error, tally->path, text, bytes)
                      : base_fail(error, BASE_EXIT_FAILURE, "out of memory writing %s", tally->path);
    free(text);
    return result;
}

int report_tally_close(struct base_error *error, struct report_tally *tally)
{
    int result = 0;
    if (!tally)
        return 0;
    if (tally->file) {
        result = rewrite(error, tally);
        bool failed = ferror(tally->file);
        if ((fclose(tally->file) || failed) && !result)
            result =
                base_fail(error, BASE_EXIT_ENVIRONMENT, "cannot write all of %s: disk full?", tally->path);
    }
    free(tally->path);
    free(tally->faults);
    free(tally);
    return result;
}
