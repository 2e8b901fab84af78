/* testudo vaccines: which functions the community protects, and an operator's word on it. */
#include "base/base.h"
#include "cli/cli.h"
#include "cli/view.h"

#include <stdlib.h>
#include <string.h>

static const char *where;
static bool json;

static const struct base_option options[] = {
    CLI_COMMUNITY(&where),
    BASE_JSON(&json),
    BASE_END,
};
static const struct base_command list_command = {
    .name = "vaccines",
    .summary = "list the functions that the community protects",
    .operands = "[show ID | approve ID | revoke ID]",
    .operands_max = 2,
    .description =
        "A vaccine names a function that a member met a fault in, and nothing more; every member protects that "
        "function. proposed: it stands on a report; tried: a call was undone by it and the process lived; "
        "adopted: several such, or approved by hand; withdrawn: the protection is off again. IDs may be cut "
        "to their first 4 digits.\n\n"
        "approve and revoke need the community's folder, for its key.",
    .example = "testudo vaccines --community /var/lib/testudo/shop\n"
               "testudo vaccines revoke 9a51 --community /var/lib/testudo/shop\n",
    .options = options,
};

static json_t *place_json(const struct wire_place *place)
{
    char build_id[2 * WIRE_BUILD_ID_BYTES + 1], offset[24];
    cli_build_id(build_id, place);
    snprintf(offset, sizeof offset, "0x%llx", (unsigned long long)place->offset);
    return json_pack("{s:s*,s:s,s:s,s:s}", "function", place->symbol[0] ? place->symbol : NULL, "object",
                     place->object, "offset", offset, "build_id", build_id);
}

static json_t *vaccine_json(const struct community_vaccine_seen *seen)
{
    const struct wire_vaccine *v = &seen->vaccine;
    char id[2 * WIRE_ID_BYTES + 1];
    base_hex(id, v->id, WIRE_ID_BYTES);
    json_t *o = json_pack("{s:s,s:s,s:s}", "id", id, "state", wire_vaccine_state_name(v->state), "kind",
                          core_fault_name(v->kind));
    json_t *place = place_json(&v->function), *rescue = json_array(), *evidence = json_array();
    json_object_update(o, place);
    json_decref(place);
    for (unsigned i = 0; i < v->rescue_points; i++)
        json_array_append_new(rescue, place_json(&v->rescue[i]));
    for (unsigned i = 0; i < v->evidence_ids; i++) {
        base_hex(id, v->evidence[i], WIRE_ID_BYTES);
        json_array_append_new(evidence, json_string(id));
    }
    json_object_set_new(o, "alerts", json_integer(v->alerts));
    json_object_set_new(o, "members", json_integer(v->members));
    json_object_set_new(o, "undone", json_integer(v->undone));
    json_object_set_new(o, "crashed", json_integer(v->crashed));
    json_object_set_new(o, "created_ns", json_integer((json_int_t)v->created_ns));
    json_object_set_new(o, "changed_ns", json_integer((json_int_t)seen->time_ns));
    json_object_set_new(o, "rescue_points", rescue);
    json_object_set_new(o, "evidence", evidence);
    return o;
}

static void print_list(const struct community_view *view)
{
    static const struct report_column columns[] = {
        {"id", false, 0},     {"state", false, 0},   {"function", false, 0},
        {"object", false, 0}, {"against", false, 0}, {"members", true, 0},
        {"alerts", true, 0},  {"undone", true, 0},   {"crashed", true, 0}};
    if (json) {
        for (unsigned i = 0; i < view->vaccine_count; i++)
            cli_print_json(vaccine_json(&view->vaccines[i]));
        return;
    }
    struct report_table *table = report_table_new(columns, sizeof columns / sizeof *columns);
    for (unsigned i = 0; i < view->vaccine_count; i++) {
        const struct wire_vaccine *v = &view->vaccines[i].vaccine;
        char id[2 * WIRE_ID_BYTES + 1], offset[24];
        base_hex(id, v->id, WIRE_ID_BYTES);
        id[12] = 0;
        snprintf(offset, sizeof offset, "0x%llx", (unsigned long long)v->function.offset);
        report_table_text(table, id);
        report_table_text(table, wire_vaccine_state_name(v->state));
        report_table_text(table, v->function.symbol[0] ? v->function.symbol : offset);
        report_table_text(table, v->function.object);
        report_table_text(table, core_fault_name(v->kind));
        report_table_number(table, v->members);
        report_table_number(table, v->alerts);
        report_table_number(table, v->undone);
        report_table_number(table, v->crashed);
    }
    report_table_write(stdout, table, REPORT_TEXT);
    report_table_free(table);
}

static int show(struct base_error *error, const struct community_view *view, const char *prefix)
{
    const struct community_vaccine_seen *found = NULL;
    for (unsigned i = 0; i < view->vaccine_count; i++) {
        char id[2 * WIRE_ID_BYTES + 1];
        base_hex(id, view->vaccines[i].vaccine.id, WIRE_ID_BYTES);
        if (strncmp(id, prefix, strlen(prefix)))
            continue;
        if (found)
            return base_fail(error, BASE_EXIT_INPUT, "more than one vaccine begins with %s", prefix);
        found = &view->vaccines[i];
    }
    if (!found)
        return base_fail(error, BASE_EXIT_INPUT, "no vaccine begins with %s; see testudo vaccines", prefix);
    json_t *o = vaccine_json(found);
    if (json) {
        cli_print_json(o);
        return 0;
    }
    const char *key;
    json_t *value;
    json_object_foreach(o, key, value)
    {
        char *text = json_is_string(value) ? NULL : json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
        printf("%-14s %s\n", key, text ? text : json_string_value(value));
        free(text);
    }
    json_decref(o);
    return 0;
}

static int judge(struct base_error *error, const char *id, enum wire_vaccine_state state)
{
    const char *folder = cli_community_place(error, where);
    if (!folder || community_judge_vaccine(error, folder, id, state))
        return -1;
    if (json)
        cli_print_json(json_pack("{s:s,s:s}", "id", id, "state", wire_vaccine_state_name(state)));
    else
        printf("%s is %s\n", id, wire_vaccine_state_name(state));
    return 0;
}

int cli_vaccines(int argc, char **argv)
{
    struct base_args args;
    struct base_error error;
    struct community_view view;
    int status = base_options_parse(&list_command, &args, argc, argv);
    if (status >= 0)
        return status;
    const char *action = args.count ? args.list[0] : "list";
    bool shows = !strcmp(action, "show"), approves = !strcmp(action, "approve"),
         revokes = !strcmp(action, "revoke");
    if (args.count == 1 || (args.count == 2 && !shows && !approves && !revokes))
        return base_usage(&list_command, "give show, approve or revoke, and an ID");
    if (approves || revokes)
        return judge(&error, args.list[1], approves ? WIRE_VACCINE_ADOPTED : WIRE_VACCINE_WITHDRAWN)
                   ? base_fail_exit(&error)
                   : BASE_EXIT_OK;
    if (cli_observe(&error, &view, where, WIRE_ASK_VACCINES))
        return base_fail_exit(&error);
    int failed = 0;
    if (!view.steward)
        failed = base_fail(&error, BASE_EXIT_ENVIRONMENT,
                           "no steward answers; start one: testudo community serve");
    else if (shows)
        failed = show(&error, &view, args.list[1]);
    else
        print_list(&view);
    community_view_free(&view);
    return failed ? base_fail_exit(&error) : BASE_EXIT_OK;
}
