/* testudo doctor: can this machine, and this program, be supervised. */
#include "base/base.h"
#include "cli/cli.h"
#include "member/member.h"
#include "report/report.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static bool json, refused;

static const struct base_option options[] = {
    BASE_FLAG("refused", 0, &refused, "list every function that stays native, with the reason"),
    BASE_JSON(&json),
    BASE_END,
};

static const struct base_command command = {
    .name = "doctor",
    .summary = "say whether this machine and a program can be supervised",
    .operands = "[PROGRAM]",
    .operands_max = 1,
    .description =
        "Tries what supervision needs and reads PROGRAM's file. PROGRAM is loaded with the "
        "runtime, to see which functions could not be supervised, and ended before its first instruction.\n\n"
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

/* What the dry run tells. */
struct scan {
    bool done;
    struct base_error error;
    struct member_stats stats;
    struct member_refusal *list;
    size_t count, room;
};

static void add_refusal(void *context, const struct member_refusal *refusal)
{
    struct scan *scan = context;
    if (scan->count == scan->room) {
        size_t room = scan->room ? 2 * scan->room : 64;
        struct member_refusal *larger = realloc(scan->list, room * sizeof *larger);
        if (!larger)
            return;
        scan->list = larger;
        scan->room = room;
    }
    struct member_refusal *copy = &scan->list[scan->count++];
    *copy = *refusal;
    copy->object = strdup(refusal->object);
    copy->function = refusal->function ? strdup(refusal->function) : NULL;
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

static json_t *scan_as_json(const struct scan *scan)
{
    json_t *list = json_array();
    for (size_t i = 0; i < scan->count; i++) {
        const struct member_refusal *r = &scan->list[i];
        json_t *one = json_pack("{s:s, s:s?, s:o, s:s}", "object", r->object, "function", r->function,
                                "offset", json_sprintf("0x%llx", (unsigned long long)r->offset), "reason",
                                core_refusal_name(r->reason));
        if (one)
            json_array_append_new(list, one);
    }
    return json_pack("{s:I, s:I, s:I, s:o}", "objects", (json_int_t)scan->stats.objects_own,
                     "functions_found", (json_int_t)scan->stats.functions_found, "functions_supervised",
                     (json_int_t)scan->stats.functions_supervised, "functions_refused", list);
}

static void print_scan(const struct scan *scan)
{
    const struct member_stats *s = &scan->stats;
    if (!scan->done) {
        printf("  %-8s%-14s %s\n", "no", "dry run", scan->error.text);
        return;
    }
    printf("  %-8s%-14s %u of %u functions in %u objects can be supervised\n",
           s->functions_supervised ? "ok" : "no", "dry run", s->functions_supervised, s->functions_found,
           s->objects_own);
    for (unsigned i = 0; i < CORE_REFUSAL_COUNT; i++)
        if (s->refused[i])
            printf("  %-22s %u stay native: %s\n", "", s->refused[i], core_refusal_name(i));
    for (size_t i = 0; refused && i < scan->count; i++) {
        const struct member_refusal *r = &scan->list[i];
        printf("    %-24s %s+0x%llx %s\n", core_refusal_name(r->reason), r->object,
               (unsigned long long)r->offset, r->function ? r->function : "");
    }
}

static void release(struct scan *scan)
{
    for (size_t i = 0; i < scan->count; i++) {
        free((char *)scan->list[i].object);
        free((char *)scan->list[i].function);
    }
    free(scan->list);
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
    struct scan scan = {.done = false};
    bool scanned = args.count && !bad;
    if (scanned) {
        scan.done = !member_scan(&scan.error, &scan.stats, add_refusal, &scan, args.list[0]);
        bad = !scan.done || !scan.stats.functions_supervised;
    }
    if (json) {
        json_t *document = json_object();
        json_object_set_new(document, "supervisable", json_boolean(!bad));
        json_object_set_new(document, "machine", as_json(machine, machine_count));
        if (args.count)
            json_object_set_new(document, "program", as_json(program, program_count));
        if (scan.done)
            json_object_set_new(document, "scan", scan_as_json(&scan));
        json_dumpf(document, stdout, JSON_INDENT(2));
        putchar('\n');
        json_decref(document);
    } else {
        print("machine", machine, machine_count);
        if (args.count)
            print(args.list[0], program, program_count);
        if (scanned)
            print_scan(&scan);
    }
    release(&scan);
    return bad ? BASE_EXIT_ENVIRONMENT : BASE_EXIT_OK;
}
