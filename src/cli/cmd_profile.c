/* testudo profile: reads what other profilers recorded, and shows a profile. */
#include "base/base.h"
#include "cli/cli.h"
#include "profile/profile.h"
#include "report/report.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *output, *graph;
static bool json, all, returns;
static int64_t top;

/* ---- import ---- */

static const struct base_option import_options[] = {
    BASE_TEXT("output", 'o', "FILE", &output, NULL, "write the profile to FILE instead of standard output"),
    BASE_END,
};

static const struct base_command import_command = {
    .name = "profile import",
    .summary = "turn another profiler's output into a profile",
    .operands = "callgrind|gprof|perf FILE...",
    .description = "FILE may be gzip-compressed. Several files of one form are summed, function by function.",
    .example = "testudo profile import callgrind callgrind.out.4711 -o apache.profile\n",
    .options = import_options,
    .operands_min = 2,
    .operands_max = 1001,
};

static int load_all(struct base_error *error, struct profile *out, char **paths, size_t count,
                    const struct profile_reader *reader)
{
    if (count == 1)
        return profile_load(error, out, paths[0], reader);
    struct profile *parts = calloc(count, sizeof *parts);
    if (!parts)
        return base_fail(error, BASE_EXIT_FAILURE, "out of memory");
    size_t loaded = 0;
    int status = 0;
    while (status == 0 && loaded < count)
        if ((status = profile_load(error, &parts[loaded], paths[loaded], reader)) == 0)
            loaded++;
    if (status == 0)
        status = profile_merge(error, out, parts, count);
    while (loaded)
        profile_free(&parts[--loaded]);
    free(parts);
    return status;
}

static int import(int argc, char **argv)
{
    struct base_args args;
    struct base_error error;
    struct profile profile;
    int status = base_options_parse(&import_command, &args, argc, argv);
    if (status >= 0)
        return status;
    const struct profile_reader *reader = profile_reader_named(args.list[0]);
    if (!reader)
        return base_usage(&import_command, "\"%s\" is no form this reads; it reads callgrind, gprof and perf",
                          args.list[0]);
    if (load_all(&error, &profile, args.list + 1, (size_t)args.count - 1, reader))
        return base_fail_exit(&error);
    struct base_text text = {0};
    profile_write(&text, &profile);
    status = BASE_EXIT_OK;
    if (!output)
        fwrite(text.data, 1, text.used, stdout);
    else if (base_write_file(&error, output, text.data, text.used))
        status = base_fail_exit(&error);
    else
        base_note("%zu functions, %zu calls between them, %" PRIu64 " %s: %s", profile.function_count,
                  profile.edge_count, profile.total,
                  profile.metric == PROFILE_INSTRUCTIONS ? "instructions" : "ns", output);
    base_text_free(&text);
    profile_free(&profile);
    return status;
}

/* ---- show ---- */

static const struct base_option show_options[] = {
    BASE_INTEGER("top", 0, "N", &top, "0", 0, 1000000000,
                 "show the N most costly functions only (0: no limit)"),
    BASE_FLAG("all", 'a', &all, "show functions without cost, too"),
    BASE_FLAG(
        "returns", 0, &returns,
        "list how often functions returned 0 or a negative number instead: what callers take for failure"),
    BASE_TEXT(
        "graph", 0, "FILE", &graph, NULL,
        "draw who calls whom into FILE.svg, FILE.png or FILE.dot, with graphviz: the N most costly functions, "
        "without --top 40"),
    BASE_JSON(&json),
    BASE_END,
};

static const struct base_command show_command = {
    .name = "profile show",
    .summary = "list a profile's functions by their cost",
    .operands = "FILE",
    .description = "FILE is a profile, or the output of callgrind, gprof or perf script as it is.\n"
                   "Self cost is a function's own work without that of the functions it calls.",
    .example = "testudo profile show apache.profile --top 20\n"
               "testudo profile show apache.profile --top 60 --graph apache.svg\n",
    .options = show_options,
    .operands_min = 1,
    .operands_max = 1,
};

static void show_json(const struct profile *profile, size_t shown)
{
    json_t *functions = json_array();
    for (size_t i = 0; i < shown; i++) {
        const struct profile_function *f = &profile->functions[i];
        json_array_append_new(
            functions,
            json_pack("{s:s, s:s, s:o, s:I, s:I, s:I, s:I, s:i}", "name", f->name, "object",
                      profile->objects[f->object].path, "offset",
                      f->offset == PROFILE_NO_OFFSET ? json_null() : json_integer((json_int_t)f->offset),
                      "self", (json_int_t)f->self, "calls", (json_int_t)f->calls, "returns_zero",
                      (json_int_t)f->zero, "returns_negative", (json_int_t)f->negative, "last_negative",
                      (int)f->last_negative));
    }
    json_t *root = json_pack("{s:s, s:I, s:s, s:o}", "metric", profile_metric_name(profile->metric), "total",
                             (json_int_t)profile->total, "source", profile->source, "functions", functions);
    json_dumpf(root, stdout, JSON_INDENT(1));
    putchar('\n');
    json_decref(root);
}

static void show_text(const struct profile *profile, size_t shown, size_t working)
{
    static const double parts[] = {50, 90, 99, 99.9};
    const char *unit = profile->metric == PROFILE_INSTRUCTIONS ? "instructions" : "ns";
    printf("%s\n%" PRIu64 " %s in %zu functions (%zu more did no work)\n", profile->source, profile->total,
           unit, working, profile->function_count - working);
    uint64_t sum = 0;
    unsigned part = 0;
    for (size_t i = 0; i < working && part < 4; i++) {
        sum += profile->functions[i].self;
        while (part < 4 && (double)sum * 100 >= parts[part] * (double)profile->total) {
            printf("%s%g%% in %zu", part ? ", " : "", parts[part], i + 1);
            part++;
        }
    }
    printf(" functions\n\n%8s %8s %14s %12s  %s\n", "percent", "sum", "self", "calls", "function");
    sum = 0;
    for (size_t i = 0; i < shown; i++) {
        const struct profile_function *f = &profile->functions[i];
        const char *path = profile->objects[f->object].path, *slash = strrchr(path, '/');
        sum += f->self;
        printf("%7.2f%% %7.2f%% %14" PRIu64 " %12" PRIu64 "  %s (%s)\n",
               100 * (double)f->self / (double)profile->total, 100 * (double)sum / (double)profile->total,
               f->self, f->calls, f->name, slash ? slash + 1 : path);
    }
}

/* The costly functions and the calls among them. */
static int draw(struct base_error *error, const struct profile *profile, size_t working)
{
    enum { NODES = 40, NOTE_BYTES = 64 };
    size_t limit = top ? (size_t)top : NODES, count = limit < working ? limit : working, links = 0;
    struct report_node *nodes = calloc(count + 1, sizeof *nodes);
    struct report_link *arrows = calloc(profile->edge_count + 1, sizeof *arrows);
    char(*notes)[NOTE_BYTES] = calloc(count + profile->edge_count + 1, sizeof *notes);
    char title[512];
    uint64_t most = 1;
    int result;
    if (!nodes || !arrows || !notes) {
        result = base_fail(error, BASE_EXIT_FAILURE, "out of memory");
        goto out;
    }
    for (size_t i = 0; i < count; i++) {
        const struct profile_function *f = &profile->functions[i];
        snprintf(notes[i], NOTE_BYTES, "%.2f%%, %" PRIu64 " calls",
                 100 * (double)f->self / (double)profile->total, f->calls);
        nodes[i] = (struct report_node){
            .name = f->name, .note = notes[i], .heat = (double)f->self / (double)profile->functions[0].self};
    }
    for (size_t e = 0; e < profile->edge_count; e++)
        if (profile->edges[e].caller < count && profile->edges[e].callee < count &&
            profile->edges[e].calls > most)
            most = profile->edges[e].calls;
    for (size_t e = 0; e < profile->edge_count; e++) {
        const struct profile_edge *edge = &profile->edges[e];
        if (edge->caller >= count || edge->callee >= count)
            continue;
        snprintf(notes[count + links], NOTE_BYTES, "%" PRIu64, edge->calls);
        arrows[links] = (struct report_link){.from = edge->caller,
                                             .to = edge->callee,
                                             .note = notes[count + links],
                                             .weight = (double)edge->calls / (double)most};
        links++;
    }
    snprintf(title, sizeof title, "%.400s: %zu of %zu functions", profile->source, count, working);
    result = report_graph_save(error, title, nodes, count, arrows, links, graph);
out:
    free(nodes);
    free(arrows);
    free(notes);
    return result;
}

/* What callers take for failure, costliest functions first. */
static void show_returns(const struct profile *profile)
{
    static const struct report_column columns[] = {{"function", false, 0}, {"object", false, 0},
                                                   {"calls", true, 0},     {"returned 0", true, 0},
                                                   {"negative", true, 0},  {"last one", true, 0}};
    struct report_table *table = report_table_new(columns, sizeof columns / sizeof *columns);
    size_t shown = 0;
    for (size_t i = 0; i < profile->function_count && (!top || shown < (size_t)top); i++) {
        const struct profile_function *f = &profile->functions[i];
        const char *path = profile->objects[f->object].path, *slash = strrchr(path, '/');
        if (!f->zero && !f->negative)
            continue;
        shown++;
        report_table_text(table, f->name);
        report_table_text(table, slash ? slash + 1 : path);
        report_table_number(table, (double)f->calls);
        report_table_number(table, (double)f->zero);
        report_table_number(table, (double)f->negative);
        report_table_number(table, f->negative ? f->last_negative : NAN);
    }
    report_table_write(stdout, table, REPORT_TEXT);
    report_table_free(table);
}

static int show(int argc, char **argv)
{
    struct base_args args;
    struct base_error error;
    struct profile profile;
    int status = base_options_parse(&show_command, &args, argc, argv);
    if (status >= 0)
        return status;
    if (profile_load(&error, &profile, args.list[0], NULL))
        return base_fail_exit(&error);
    /* Functions are ordered by cost: those without come last. */
    size_t working = profile.function_count;
    while (working && profile.functions[working - 1].self == 0)
        working--;
    size_t shown = all ? profile.function_count : working;
    if (top && (size_t)top < shown)
        shown = (size_t)top;
    status = BASE_EXIT_OK;
    if (graph && draw(&error, &profile, working))
        status = base_fail_exit(&error);
    else if (json)
        show_json(&profile, shown);
    else if (returns)
        show_returns(&profile);
    else
        show_text(&profile, shown, working);
    profile_free(&profile);
    return status;
}

static const struct base_action actions[] = {
    {"record", "run a program and count what each function of it costs", cli_profile_record},
    {"import", "turn another profiler's output into a profile", import},
    {"show", "list a profile's functions by their cost", show},
    {0},
};

static const struct base_menu menu = {
    .name = "profile",
    .summary = "What each function of a program costs.",
    .example = "testudo profile record -o lua.profile -- lua5.4 script.lua\n"
               "testudo profile import callgrind callgrind.out.4711 -o apache.profile\n"
               "testudo profile show apache.profile --top 20\n",
    .actions = actions,
};

int cli_profile(int argc, char **argv)
{
    return base_menu_run(&menu, argc, argv);
}
