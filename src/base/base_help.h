/* base, private: what options.c and help.c share. */
#ifndef BASE_HELP_H
#define BASE_HELP_H

#include "base/base.h"

/* Prints a command's help on standard output. `form` is NULL for people, "man" for roff, "words" for shell
   completion. Returns 0, or -1 when there is no such form. */
int base_help_command(const struct base_command *command, const char *form);
int base_help_menu(const struct base_menu *menu, const char *form);

#endif
