/* testudo faults: the faults that the community's members have met. */
#include "base/base.h"
#include "cli/cli.h"
#include "cli/view.h"
#include "member/member.h"

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
    .name = "faults",
    .summary = "list the faults that members have met",
    .operands = "[show ID]",
    .operands_max = 2,
    .description =
        "Equal faults of one member (same build, function, kind and outcome) are one line with their number; the "
        "report is the last one's. With --json each is a line with the keys of testudo check --report.",
    .example = "testudo faults --community /var/lib/testudo/shop\n"
               "testudo faults show 51ba --community /var/lib/testudo/shop\n",
    .options = options,
};

static void fill_stack(struct report_stack *out, const struct wire_place *stack, unsigned frames)
{
    out->count = frames;
    for (unsigned i = 0; i < frames; i++) {
        out->frame[i].function = stack[i].symbol[0] ? stack[i].symbol : NULL;
        out->frame[i].object = stack[i].object[0] ? stack[i].object : NULL;
        out->frame[i].offset = stack[i].offset;
    }
}

/* What came over the wire, as a report; it borrows from `seen`. */
static void fill_report(struct report_fault *fault, const struct community_fault_seen *seen)
{
    const struct wire_alert *a = &seen->alert;
    unsigned told = 0;
    memset(fault, 0, sizeof *fault);
    base_hex(fault->id, a->id, 8);
    fault->time_ns = a->time_ns;
    fault->member = seen->member;
    fault->kind = core_fault_name(a->kind);
    fault->detected_by = core_detector_name(a->detector);
    fault->outcome = core_outcome_name(a->outcome);
    fault->access = a->access == 0 ? "read" : a->access == 1 ? "write" : NULL;
    fault->access_bytes = a->bytes;
    fault->has_address = a->address != 0;
    fault->address = a->address;
    fault->has_distance = a->object_bytes != 0;
    fault->distance_bytes = a->distance;
    fault->object_bytes = a->object_bytes;
    if (a->has_function) {
        fault->function = a->function.symbol[0] ? a->function.symbol : NULL;
        fault->offset = a->function.offset;
        fault->object = a->function.object;
        cli_build_id(fault->build_id, &a->function);
    }
    fill_stack(&fault->stack, a->stack, a->stack_frames);
    fill_stack(&fault->alloc_stack, a->alloc_stack, a->alloc_frames);
    fill_stack(&fault->free_stack, a->free_stack, a->free_frames);
    fault->undone = a->outcome == CORE_OUTCOME_UNDONE;
    fault->returned = (int64_t)a->returned;
    if (a->has_rescue) {
        fault->rescue_point = a->rescue.symbol[0] ? a->rescue.symbol : NULL;
        fault->rescue_offset = a->rescue.offset;
    }
    for (unsigned bit = 0; bit < 32 && told + 1 < REPORT_NOT_UNDONE_MAX; bit++)
        if (a->not_undone >> bit & 1 && member_not_undone_name(bit))
            fault->not_undone[told++] = member_not_undone_name(bit);
    fault->signal = a->signal;
    fault->count = a->count;
}

static int by_time(const void *left, const void *right)
{
    const struct community_fault_seen *a = left, *b = right;
    return (a->alert.time_ns > b->alert.time_ns) - (a->alert.time_ns < b->alert.time_ns);
}

static void print_one_json(const struct report_fault *fault)
{
    char *line = report_fault_json(fault);
    printf("%s\n", line ? line : "{}");
    free(line);
}

static void print_list(const struct community_view *view)
{
    static const struct report_column columns[] = {
        {"id", false, 0},     {"member", false, 0},  {"kind", false, 0}, {"function", false, 0},
        {"object", false, 0}, {"outcome", false, 0}, {"count", true, 0}};
    static struct report_fault fault; /* large */
    struct report_table *table = report_table_new(columns, sizeof columns / sizeof *columns);
    for (unsigned i = 0; i < view->fault_count; i++) {
        char offset[24];
        fill_report(&fault, &view->faults[i]);
        if (json) {
            print_one_json(&fault);
            continue;
        }
        snprintf(offset, sizeof offset, "0x%llx", (unsigned long long)fault.offset);
        fault.id[12] = 0;
        report_table_text(table, fault.id);
        report_table_text(table, fault.member);
        report_table_text(table, fault.kind);
        report_table_text(table, !view->faults[i].alert.has_function ? "unknown"
                                 : fault.function                    ? fault.function
                                                                     : offset);
        report_table_text(table, fault.object ? fault.object : "");
        report_table_text(table, fault.outcome);
        report_table_number(table, (double)fault.count);
    }
    if (!json)
        report_table_write(stdout, table, REPORT_TEXT);
    report_table_free(table);
}

static int show(struct base_error *error, const struct community_view *view, const char *prefix)
{
    static struct report_fault fault, found;
    unsigned matches = 0;
    for (unsigned i = 0; i < view->fault_count; i++) {
        fill_report(&fault, &view->faults[i]);
        if (strncmp(fault.id, prefix, strlen(prefix)))
            continue;
        found = fault;
        matches++;
    }
    if (matches != 1)
        return base_fail(error, BASE_EXIT_INPUT, "%s fault begins with %s; see testudo faults",
                         matches ? "more than one" : "no", prefix);
    if (json)
        print_one_json(&found);
    else
        report_fault_text(stdout, &found, report_colour(stdout));
    return 0;
}

int cli_faults(int argc, char **argv)
{
    struct base_args args;
    struct base_error error;
    struct community_view view;
    int status = base_options_parse(&command, &args, argc, argv);
    if (status >= 0)
        return status;
    if (args.count == 1 || (args.count == 2 && strcmp(args.list[0], "show")))
        return base_usage(&command, "give show and an ID, or nothing");
    if (cli_observe(&error, &view, where, WIRE_ASK_FAULTS))
        return base_fail_exit(&error);
    int failed = 0;
    if (view.fault_count)
        qsort(view.faults, view.fault_count, sizeof *view.faults, by_time);
    if (!view.steward)
        failed = base_fail(&error, BASE_EXIT_ENVIRONMENT,
                           "no steward answers; start one: testudo community serve");
    else if (args.count)
        failed = show(&error, &view, args.list[1]);
    else
        print_list(&view);
    community_view_free(&view);
    return failed ? base_fail_exit(&error) : BASE_EXIT_OK;
}
