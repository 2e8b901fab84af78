/* testudo doctor: can this machine, and this program, be supervised. */
#include "base/base.h"
#include "cli/cli.h"
#include "member/member.h"
#include "report/report.h"

#include <jansson.h>
#include <stdlib.h>

static bool json;

static const struct base_option options[] = {
    BASE_JSON(&json),
    BASE_END,
};

static const struct base_command command = {
    .name = "doctor",
    .summary = "say whether this machine and a program can be supervised",
    .operands = "[PROGRAM]",
    .operands_max = 1,
    .description =
        "Tries what supervision needs and reads PROGRAM's file; PROGRAM is not started.\n\n"
        "Exit status 0: all can be supervised, perhaps with the limits it names; 3: something is missing.",
    .example = "testudo doctor /usr/sbin/apache2\n",
    .options = options,
};

static const char *const words[] = {[MEMBER_GOOD] = "ok", [MEMBER_LIMITED] = "limited", [MEMBER_BAD] = "no"};
static const char *const colours[] = {
    [MEMBER_GOOD] = "\033[32m", [MEMBER_LIMITED] = "\033[33m", [MEMBER_BAD] = "\033[1;31m"};

static void print(const char *title, const struct member_finding *findings, unsigned count)
{
    bool colour = report_colour(stdout);
    printf("%s\n", title);
    for (unsigned i = 0; i < count; i++) {
        const struct member_finding *f = &findings[i];
        printf("  %s%-8s%s%-14s %s\n", colour ? colours[f->verdict] : "", words[f->verdict],
               colour ? "\033[0m" : "", f->subject, f->text);
        if (f->advice[0])
            printf("  %-22s -> %s\n", "", f->advice);
    }
}

static json_t *as_json(const struct member_finding *findings, unsigned count)
{
    json_t *list = json_array();
    for (unsigned i = 0; i < count; i++)
        json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s}", "subject", findings[i].subject,
                                              "verdict", words[findings[i].verdict], "text", findings[i].text,
                                              "advice", findings[i].advice));
    return list;
}

static bool any_bad(const struct member_finding *findings, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        if (findings[i].verdict == MEMBER_BAD)
            return true;
    return false;
}

int cli_doctor(int argc, char **argv)
{
    struct base_args args;
    int status = base_options_parse(&command, &args, argc, argv);
    if (status >= 0)
        return status;
    struct member_finding machine[MEMBER_FINDINGS_MAX], program[MEMBER_FINDINGS_MAX];
    unsigned machine_count = member_examine_machine(machine), program_count = 0;
    if (args.count)
        program_count = member_examine_program(program, args.list[0]);
    bool bad = any_bad(machine, machine_count) || any_bad(program, program_count);
    if (json) {
        json_t *document = json_object();
        json_object_set_new(document, "supervisable", json_boolean(!bad));
        json_object_set_new(document, "machine", as_json(machine, machine_count));
        if (args.count)
            json_object_set_new(document, "program", as_json(program, program_count));
        json_dumpf(document, stdout, JSON_INDENT(2));
        putchar('\n');
        json_decref(document);
    } else {
        print("machine", machine, machine_count);
        if (args.count)
            print(args.list[0], program, program_count);
    }
    return bad ? BASE_EXIT_ENVIRONMENT : BASE_EXIT_OK;
}
