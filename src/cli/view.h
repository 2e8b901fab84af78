/* What the commands that only look at a community share: status, faults, vaccines. */
#ifndef CLI_VIEW_H
#define CLI_VIEW_H

#include "community/community.h"
#include "report/report.h"

#include <jansson.h>

#define CLI_COMMUNITY(into_)                                                                                 \
    BASE_TEXT("community", 0, "DIR", into_, NULL,                                                            \
              "the community's folder, or an observer's invitation; without it $TESTUDO_COMMUNITY")

/* The folder that was named, or the environment's. Returns NULL with `error` when there is none. */
const char *cli_community_place(struct base_error *error, const char *where);
/* Asks the steward as an observer. In: `wanted`, bits of enum wire_ask_bits. Returns 0, or -1 with `error`.
   Owns: `view` is the caller's, community_view_free. */
int cli_observe(struct base_error *error, struct community_view *view, const char *where, unsigned wanted);
/* One line of JSON; takes the value. */
void cli_print_json(json_t *value);
/* Build-id of a place in hexadecimal: 2 * WIRE_BUILD_ID_BYTES + 1 characters. */
void cli_build_id(char *text, const struct wire_place *place);

#endif
