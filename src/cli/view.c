/* What the commands that only look at a community share. */
#include "cli/view.h"

#include <stdlib.h>
#include <string.h>

enum { WAIT_MS = 3000 };

const char *cli_community_place(struct base_error *error, const char *where)
{
    if (!where)
        where = getenv("TESTUDO_COMMUNITY");
    if (!where || !*where) {
        base_fail(error, BASE_EXIT_USAGE, "which community? give --community DIR or set TESTUDO_COMMUNITY");
        return NULL;
    }
    return where;
}

int cli_observe(struct base_error *error, struct community_view *view, const char *where, unsigned wanted)
{
    struct community_identity identity;
    where = cli_community_place(error, where);
    if (!where || community_identity_load(error, &identity, where, "observer", WIRE_ROLE_OBSERVER))
        return -1;
    int result = community_observe(error, view, &identity, wanted, WAIT_MS);
    community_identity_free(&identity);
    return result;
}

void cli_print_json(json_t *value)
{
    char *text = json_dumps(value, JSON_COMPACT);
    printf("%s\n", text ? text : "{}");
    free(text);
    json_decref(value);
}

void cli_build_id(char *text, const struct wire_place *place)
{
    base_hex(text, place->build_id, place->build_id_bytes);
}
