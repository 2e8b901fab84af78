/* Pictures that another program draws from a script. Private to this folder. */
#ifndef REPORT_DRAWING_H
#define REPORT_DRAWING_H

#include "report/report.h"

enum report_picture { REPORT_SVG, REPORT_PNG, REPORT_DOT, REPORT_NO_PICTURE };
/* By the ending of a name. */
enum report_picture report__picture(const char *path);

struct report_drawing {
    const char *path;
    char folder[4096], script[4200], picture[4200];
};
/* Makes the folder in which script and picture come to be. Returns 0, or -1 with `error`. */
int report__drawing_begin(struct base_error *error, struct report_drawing *drawing, const char *path);
/* Writes the script, runs the command and gives the picture its name; removes the folder in any case. In: command ended by NULL;
   the package that has it. Returns 0, or -1 with `error`. */
int report__drawing_end(struct base_error *error, struct report_drawing *drawing,
                        const struct base_text *script, const char *const *command, const char *package);

#endif
