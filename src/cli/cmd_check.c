/* testudo check: supervises one program, no community. */
#include "base/base.h"
#include "cli/cli.h"
#include "member/member.h"
#include "report/report.h"

#include <inttypes.h>
#include <jansson.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

enum { SERVE_MS = 100, LEVEL_BY_POLICY = -1 };

static const char *objects, *functions, *report_path, *sarif_path, *stats_path, *suppress_path,
    *allocators_path;
static int on_fault, level;
static int64_t fault_exitcode;
static bool json;

static const struct base_option options[] = {
    BASE_TEXT("objects", 0, "LIST", &objects, NULL,
              "supervise these objects: comma-separated shell patterns of file names, `main` is the program "
              "itself; "
              "without it all but the C library family"),
    BASE_TEXT("functions", 0, "GLOB", &functions, NULL,
              "supervise these functions: comma-separated shell patterns of names, OBJECT!NAME, or 0xOFFSET; "
              "without it all"),
    BASE_CHOICE("on-fault", 0, "report|heal|stop", &on_fault, "report",
                "report it and go on; heal: undo the function's effects and let it return an error; or stop "
                "the program"),
    BASE_TEXT("report", 0, "FILE", &report_path, NULL, "write each fault as a line of JSON to FILE"),
    BASE_TEXT("sarif", 0, "FILE", &sarif_path, NULL, "write the faults to FILE as SARIF 2.1.0"),
    BASE_TEXT("suppress", 0, "FILE", &suppress_path, NULL,
              "do not report the faults that a rule in FILE names, one KIND FUNCTION [OBJECT] a line, each a "
              "shell pattern; they are counted"),
    BASE_TEXT(
        "allocators", 0, "FILE", &allocators_path, NULL,
        "find overflows between blocks of the memory pools that FILE declares, too; Apache's and nginx's are "
        "known"),
    BASE_TEXT("stats", 0, "FILE", &stats_path, NULL,
              "write what was supervised, and what refused, to FILE as JSON"),
    BASE_CHOICE(
        "level", 0, "off|translate|check|full", &level, NULL,
        "off: loaded only; translate: run from the code cache; check: reads and writes checked; full: "
        "checked and undoable; default check, with heal full"),
    BASE_INTEGER("fault-exitcode", 0, "N", &fault_exitcode, "99", 0, 255,
                 "exit status when faults were found"),
    BASE_JSON(&json),
    BASE_END,
};

static const struct base_command command = {
    .name = "check",
    .summary = "run a program and find its memory faults",
    .operands = "-- PROGRAM [ARG...]",
    .operands_min = 1,
    .operands_max = 1 << 20,
    .program = true,
    .description = "Runs PROGRAM, unmodified, with its functions supervised, and reports each fault on "
                   "standard error: what "
                   "happened, where, to which memory. With --json the reports are lines of JSON.\n\n"
                   "The exit status is the program's own (128 + N when signal N ended it), or 99 when faults "
                   "were found.",
    .example = "testudo check -- ./server --config test.conf\n"
               "testudo check --on-fault heal --report faults.jsonl -- jq . data.json\n",
    .options = options,
};

struct check {
    struct member *member;
    struct report_tally *tally;
    struct report_suppressions *suppressions;
    bool colour;
};

static bool wanted(const struct image *image, uint32_t offset)
{
    char pattern[512];
    for (const char *at = functions; *at;) {
        size_t bytes = strcspn(at, ",");
        if (bytes && bytes < sizeof pattern) {
            memcpy(pattern, at, bytes);
            pattern[bytes] = 0;
            if (image && image_matches(image, offset, pattern))
                return true;
        }
        at += bytes + (at[bytes] == ',');
    }
    return false;
}

static enum wire_level choose_level(void *context, const struct member_object *object,
                                    const struct member_function *function)
{
    (void)context;
    return !functions || wanted(object->image, function->offset) ? WIRE_LEVEL_MONITOR : WIRE_LEVEL_NATIVE;
}

static void print_fault(const struct report_fault *fault, bool colour)
{
    if (json) {
        char *line = report_fault_json(fault);
        fprintf(stderr, "%s\n", line ? line : "{}");
        fflush(stderr);
        free(line);
    } else {
        report_fault_text(stderr, fault, colour);
    }
}

/* What was not reported is said all the same. */
static void print_suppressed(const struct check *check)
{
    if (!json)
        report_suppressions_text(stderr, check->suppressions);
    else if (report_suppressions_total(check->suppressions))
        fprintf(stderr, "{\"suppressed\":%" PRIu64 "}\n", report_suppressions_total(check->suppressions));
    fflush(stderr);
}

static void on_found(void *context, const struct report_fault *fault)
{
    struct check *check = context;
    if (report_suppressions_match(check->suppressions, fault))
        return;
    if (report_tally_add(check->tally, fault))
        print_fault(fault, check->colour);
    /* A stopped worker must not leave its master running. */
    if (on_fault == WIRE_ON_FAULT_STOP && fault->pid != member_pid(check->member))
        member_signal(check->member, SIGTERM);
}

static int write_stats(struct base_error *error, const struct check *check)
{
    struct member_stats stats;
    member_stats(check->member, &stats);
    json_t *refused = json_object();
    for (unsigned i = CORE_REFUSAL_NONE + 1; i < CORE_REFUSAL_COUNT; i++)
        if (stats.refused[i])
            json_object_set_new(refused, core_refusal_name(i), json_integer(stats.refused[i]));
    json_t *document = json_object();
    json_object_set_new(document, "functions_supervised", json_integer(stats.functions_supervised));
    json_object_set_new(document, "functions_refused", refused);
    json_object_set_new(document, "entries", json_integer(stats.entries));
    json_object_set_new(document, "faults", json_integer((json_int_t)stats.faults));
    json_object_set_new(document, "healed", json_integer((json_int_t)stats.healed));
    json_object_set_new(document, "suppressed",
                        json_integer((json_int_t)report_suppressions_total(check->suppressions)));
    json_t *counters = json_object();
    for (unsigned i = 0; i < CORE_COUNTER_COUNT; i++)
        json_object_set_new(counters, core_counter_name(i), json_integer((json_int_t)stats.counters[i]));
    json_object_set_new(document, "counters", counters);
    char *text = json_dumps(document, JSON_INDENT(2));
    json_decref(document);
    if (!text)
        return base_fail(error, BASE_EXIT_FAILURE, "out of memory");
    int result = base_write_file(error, stats_path, text, strlen(text));
    free(text);
    return result;
}

static int read_allocators(struct base_error *error, struct wire_allocator *allocators, unsigned *count)
{
    char *text = NULL;
    size_t bytes;
    unsigned line = 0;
    const char *why = NULL;
    if (base_read_file(error, &text, &bytes, allocators_path))
        return -1;
    int found = wire_allocators_read(allocators, &line, &why, text);
    free(text);
    if (found < 0)
        return base_fail(error, BASE_EXIT_INPUT, "%s:%u: %s", allocators_path, line, why);
    *count = (unsigned)found;
    return 0;
}

/* Starts the program, serves it until it ends. Returns the exit status, or -1 with `error`. */
static int supervise(struct base_error *error, struct check *check, char **argv)
{
    int status;
    if (member_start(error, check->member, argv))
        return -1;
    signal(SIGPIPE, SIG_IGN); /* a reader of our reports that goes away must not end the supervision */
    while (!member_serve(check->member, &status, SERVE_MS))
        ;
    struct member_stats stats;
    member_stats(check->member, &stats);
    if (!json)
        report_tally_text(stderr, check->tally, stats.counters[CORE_COUNTER_FAULT_SLOTS_FULL]);
    print_suppressed(check);
    if (report_tally_total(check->tally))
        return (int)fault_exitcode;
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

int cli_check(int argc, char **argv)
{
    struct base_args args;
    level = LEVEL_BY_POLICY;
    int status = base_options_parse(&command, &args, argc, argv);
    if (status >= 0)
        return status;
    if (level == LEVEL_BY_POLICY)
        level = on_fault == WIRE_ON_FAULT_HEAL ? WIRE_MODE_FULL : WIRE_MODE_CHECK;
    if (on_fault == WIRE_ON_FAULT_HEAL && level != WIRE_MODE_FULL)
        return base_usage(&command,
                          "--on-fault heal needs --level full: what is not undoable cannot be undone");
    if (on_fault == WIRE_ON_FAULT_STOP && suppress_path)
        return base_usage(&command,
                          "--suppress needs --on-fault report or heal: stop ends the program in the "
                          "fault, before a rule is asked");

    /* A report leaves in one piece: the program writes to the same terminal. */
    static char buffer[1 << 16];
    setvbuf(stderr, buffer, _IOFBF, sizeof buffer);

    struct base_error error;
    struct check check = {.colour = report_colour(stderr)};
    struct wire_allocator allocators[WIRE_ALLOCATORS_MAX];
    struct member_options member_options = {
        .mode = (enum wire_mode)level,
        .on_fault = (enum wire_on_fault)on_fault,
        .default_level = functions ? WIRE_LEVEL_NATIVE : WIRE_LEVEL_MONITOR,
        .stop_status = (int)fault_exitcode,
        .objects = objects,
        .allocators = allocators,
    };
    const struct member_hooks hooks = {.context = &check, .level = choose_level, .fault = on_found};
    if (member_vet(&error, args.list[0]) ||
        (suppress_path && report_suppressions_read(&error, &check.suppressions, suppress_path)) ||
        (allocators_path && read_allocators(&error, allocators, &member_options.allocator_count)) ||
        report_tally_open(&error, &check.tally, report_path) ||
        member_open(&error, &check.member, &member_options, &hooks)) {
        report_tally_close(NULL, check.tally);
        report_suppressions_free(check.suppressions);
        return base_fail_exit(&error);
    }
    status = supervise(&error, &check, args.list);
    if (status >= 0 && stats_path && write_stats(&error, &check))
        status = -1;
    if (status >= 0 && sarif_path && report_sarif_save(&error, check.tally, check.suppressions, sarif_path))
        status = -1;
    int closed = report_tally_close(status >= 0 ? &error : NULL, check.tally);
    report_suppressions_free(check.suppressions);
    member_close(check.member);
    return status < 0 || closed ? base_fail_exit(&error) : status;
}
