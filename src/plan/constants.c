/* Measured costs of supervision, as `testudo bench transition` writes them: lines `key value`. */
#include "plan/plan.h"

#include <stdlib.h>
#include <string.h>

int plan_constants_load(struct base_error *error, struct plan_constants *constants, const char *path)
{
    char *text;
    size_t bytes, number = 0;
    if (base_read_file(error, &text, &bytes, path))
        return -1;
    *constants = (struct plan_constants){0};
    int status = 0;
    for (char *line = text, *next; line && *line && status == 0; line = next) {
        next = strchr(line, '\n');
        if (next)
            *next++ = 0;
        number++;
        char *value = line + strcspn(line, " "), *end;
        if (*line == 0 || *line == '#')
            continue;
        if (*value)
            *value++ = 0;
        double real = strtod(value, &end);
        bool is_number = end != value && *end == 0;
        if (strcmp(line, "source") == 0)
            snprintf(constants->source, sizeof constants->source, "%s", value);
        else if (strcmp(line, "transition") == 0 && is_number && real >= 0)
            constants->transition = real;
        else if (strcmp(line, "slowdown") == 0 && is_number && real >= 1)
            constants->slowdown = real;
        else
            status = base_fail(
                error, BASE_EXIT_INPUT,
                "%s:%zu: expected \"source TEXT\", \"transition COST\" (in the profile's unit, from 0 on) or "
                "\"slowdown K\" (from 1 on)",
                path, number);
    }
    if (status == 0 && constants->slowdown == 0)
        status = base_fail(error, BASE_EXIT_INPUT, "%s: no slowdown in it", path);
    free(text);
    return status;
}
