/* testudo status: the community as it stands. */
#include "base/base.h"
#include "cli/cli.h"
#include "cli/view.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static const char *where;
static bool json;

static const struct base_option options[] = {
    CLI_COMMUNITY(&where),
    BASE_JSON(&json),
    BASE_END,
};
static const struct base_command command = {
    .name = "status",
    .summary = "show the members of a community and how they are",
    .description =
        "Asks the steward, which keeps a roster; without one it lists the members that speak within a second. "
        "A member not heard for three of its intervals is dead.",
    .example = "testudo status --community /var/lib/testudo/shop\n",
    .options = options,
};

static const char *role_name(unsigned role)
{
    return role == WIRE_ROLE_STEWARD ? "steward" : "member";
}

static json_t *member_json(const struct community_member_seen *m)
{
    const struct wire_status *s = &m->status;
    json_t *refusals = json_object(), *counters = json_object();
    for (unsigned i = 1; i < s->refusal_count && i < WIRE_VERDICT_COUNT; i++)
        if (s->refusals[i])
            json_object_set_new(refusals, wire_verdict_name(i), json_integer(s->refusals[i]));
    for (unsigned i = 0; i < s->counter_count && i < CORE_COUNTER_COUNT; i++)
        json_object_set_new(counters, core_counter_name(i), json_integer((json_int_t)s->counters[i]));
    json_t *o = json_pack("{s:s,s:s,s:b,s:s,s:I,s:i}", "name", m->name, "role", role_name(m->role), "alive",
                          m->alive, "state", wire_member_state_name(s->state), "heard_ns",
                          (json_int_t)m->heard_ns, "pid", (int)s->program_pid);
    const struct {
        const char *name;
        uint32_t value;
    } numbers[] = {{"functions", s->functions}, {"supervised", s->supervised}, {"refused", s->refused},
                   {"vaccines", s->vaccines},   {"applied", s->applied},       {"faults", s->faults},
                   {"healed", s->healed},       {"crashes", s->crashes},       {"restarts", s->restarts},
                   {"queued", s->queued}};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        json_object_set_new(o, numbers[i].name, json_integer(numbers[i].value));
    json_object_set_new(o, "manifest", json_integer((json_int_t)s->manifest));
    json_object_set_new(o, "messages_refused", refusals);
    json_object_set_new(o, "counters", counters);
    return o;
}

static void print_json(const struct community_view *view)
{
    json_t *members = json_array();
    for (unsigned i = 0; i < view->member_count; i++)
        json_array_append_new(members, member_json(&view->members[i]));
    cli_print_json(json_pack("{s:b,s:i,s:I,s:o}", "steward", view->steward, "vaccines",
                             (int)view->vaccine_count, "manifest", (json_int_t)view->manifest, "members",
                             members));
}

static void print_text(const struct community_view *view)
{
    static const struct report_column columns[] = {
        {"name", false, 0},    {"state", false, 0},   {"watched", true, 0},
        {"vaccines", true, 0}, {"faults", true, 0},   {"healed", true, 0},
        {"crashes", true, 0},  {"restarts", true, 0}, {"waiting alerts", true, 0}};
    struct report_table *table = report_table_new(columns, sizeof columns / sizeof *columns);
    unsigned alive = 0;
    for (unsigned i = 0; i < view->member_count; i++) {
        const struct community_member_seen *m = &view->members[i];
        const struct wire_status *s = &m->status;
        if (m->role != WIRE_ROLE_MEMBER)
            continue;
        alive += m->alive;
        report_table_text(table, m->name);
        report_table_text(
            table, m->alive || s->state == WIRE_MEMBER_STOPPED ? wire_member_state_name(s->state) : "dead");
        const uint32_t numbers[] = {s->supervised, s->vaccines, s->faults, s->healed,
                                    s->crashes,    s->restarts, s->queued};
        for (size_t n = 0; n < sizeof numbers / sizeof *numbers; n++)
            report_table_number(table, numbers[n]);
    }
    printf("%u member%s alive, %u vaccine%s, %s\n", alive, alive == 1 ? "" : "s", view->vaccine_count,
           view->vaccine_count == 1 ? "" : "s", view->manifest ? "a manifest is in force" : "no manifest");
    report_table_write(stdout, table, REPORT_TEXT);
    report_table_free(table);
    /* Refused messages deserve a line each: somebody lies, or a clock is wrong. */
    for (unsigned i = 0; i < view->member_count; i++) {
        const struct wire_status *s = &view->members[i].status;
        for (unsigned v = WIRE_DUPLICATE + 1; v < s->refusal_count && v < WIRE_VERDICT_COUNT; v++)
            if (s->refusals[v])
                printf("%s %s refused %u message%s: %s\n", role_name(view->members[i].role),
                       view->members[i].name, s->refusals[v], s->refusals[v] == 1 ? "" : "s",
                       wire_verdict_meaning(v));
        /* What members' runtimes had to refuse or gave up, which nobody would see otherwise. */
        if (s->counter_count > CORE_COUNTER_DISARMED && s->counters[CORE_COUNTER_DISARMED])
            printf("member %s: the runtime disarmed itself in %llu process%s\n", view->members[i].name,
                   (unsigned long long)s->counters[CORE_COUNTER_DISARMED],
                   s->counters[CORE_COUNTER_DISARMED] == 1 ? "" : "es");
    }
    if (!view->steward)
        printf(
            "no steward answers: the members go on with what they know; start one with: testudo community serve\n");
}

int cli_status(int argc, char **argv)
{
    struct base_args args;
    struct base_error error;
    struct community_view view;
    int status = base_options_parse(&command, &args, argc, argv);
    if (status >= 0)
        return status;
    if (cli_observe(&error, &view, where, WIRE_ASK_ROSTER | WIRE_ASK_VACCINES | WIRE_ASK_MANIFEST))
        return base_fail_exit(&error);
    if (json)
        print_json(&view);
    else
        print_text(&view);
    community_view_free(&view);
    return BASE_EXIT_OK;
}
