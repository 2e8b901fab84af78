/* testudo run: one member of a community. */
#define _GNU_SOURCE
#include "base/base.h"
#include "cli/cli.h"
#include "community/community.h"
#include "member/member.h"
#include "report/report.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *where, *invitation, *name, *functions, *objects, *events_path;
static int level, watch, restart;
static bool json;

static const struct base_option options[] = {
    BASE_TEXT(
        "community", 0, "DIR|URL", &where, NULL,
        "the community's folder on this machine, an invitation file, or with --invitation the engine's address"),
    BASE_TEXT("invitation", 0, "FILE", &invitation, NULL, "who we are, when --community is an address"),
    BASE_TEXT("member", 0, "NAME", &name, NULL, "this member's name; without it the machine's"),
    BASE_CHOICE(
        "watch", 0, "slice|all|none", &watch, "slice",
        "what is watched beside what vaccines protect: this member's slice of the manifest, or all functions"),
    BASE_TEXT(
        "functions", 0, "GLOB", &functions, NULL,
        "watch these functions besides: comma-separated shell patterns of names, OBJECT!NAME, or 0xOFFSET"),
    BASE_TEXT(
        "objects", 0, "LIST", &objects, NULL,
        "supervise these objects: comma-separated shell patterns of file names, `main` is the program itself"),
    BASE_CHOICE("level", 0, "off|translate|check|full", &level, "full",
                "how watched functions run; only full can undo a fault"),
    BASE_CHOICE("restart", 0, "crash|always|never", &restart, "crash", "when to start the program again"),
    BASE_TEXT("events", 0, "FILE", &events_path, NULL, "append what happens to FILE, one JSON object a line"),
    BASE_JSON(&json),
    BASE_END,
};

static const struct base_command command = {
    .name = "run",
    .summary = "run a program as a member of a community",
    .operands = "-- PROGRAM [ARG...]",
    .operands_min = 1,
    .operands_max = 1 << 20,
    .program = true,
    .description =
        "Starts PROGRAM, unmodified, with the functions watched that are this member's slice and those protected that "
        "the community has a vaccine for. A fault in a watched function is undone; a crash is located and told, and "
        "the program is started again, immune against what killed it. Vaccines that arrive take effect in the "
        "running program at once.\n\n"
        "Works also while the engine cannot be reached: own faults protect at once and are told later. With --json "
        "events go to standard error as lines of JSON. The exit status is the program's own (128 + N when signal N "
        "ended it).",
    .example = "testudo run --community /var/lib/testudo/shop --member web1 -- apache2 -DFOREGROUND\n",
    .options = options,
};

static FILE *events;

static const char *const event_names[] = {"started",  "ended", "fault",  "vaccine",
                                          "manifest", "link",  "receipt"};

static json_t *event_json(const struct member_event *event)
{
    json_t *o = json_pack("{s:s,s:s,s:I}", "event", event_names[event->kind], "member", name, "time_ns",
                          (json_int_t)event->time_ns);
    char id[2 * WIRE_ID_BYTES + 1], *text;
    switch (event->kind) {
    case MEMBER_EVENT_STARTED:
        json_object_set_new(o, "pid", json_integer(event->pid));
        break;
    case MEMBER_EVENT_ENDED:
        json_object_set_new(
            o, WIFSIGNALED(event->status) ? "signal" : "status",
            json_integer(WIFSIGNALED(event->status) ? WTERMSIG(event->status) : WEXITSTATUS(event->status)));
        json_object_set_new(o, "restarts", json_boolean(event->restarts));
        json_object_set_new(o, "pause_ms", json_integer(event->pause_ms));
        break;
    case MEMBER_EVENT_FAULT:
        text = report_fault_json(event->fault);
        if (text)
            json_object_set_new(o, "fault", json_loads(text, 0, NULL));
        free(text);
        break;
    case MEMBER_EVENT_VACCINE:
        base_hex(id, event->vaccine->id, WIRE_ID_BYTES);
        json_object_set_new(o, "id", json_string(id));
        json_object_set_new(o, "state", json_string(wire_vaccine_state_name(event->vaccine->state)));
        json_object_set_new(o, "kind", json_string(core_fault_name(event->vaccine->kind)));
        json_object_set_new(o, "function", json_string(event->vaccine->function.symbol));
        json_object_set_new(o, "object", json_string(event->vaccine->function.object));
        json_object_set_new(o, "offset", json_integer((json_int_t)event->vaccine->function.offset));
        json_object_set_new(o, "entries", json_integer(event->entries));
        break;
    case MEMBER_EVENT_MANIFEST:
        json_object_set_new(o, "bytes", json_integer((json_int_t)event->bytes));
        json_object_set_new(o, "watched", json_integer(event->entries));
        break;
    case MEMBER_EVENT_LINK:
        json_object_set_new(o, "up", json_boolean(event->up));
        break;
    case MEMBER_EVENT_RECEIPT:
        json_object_set_new(o, "verdict", json_string(wire_verdict_name(event->verdict)));
        break;
    }
    return o;
}

static void print_event(const struct member_event *event)
{
    const struct wire_vaccine *v = event->vaccine;
    switch (event->kind) {
    case MEMBER_EVENT_STARTED:
        base_note("%s: started, process %d", name, event->pid);
        break;
    case MEMBER_EVENT_ENDED:
        base_note("%s: ended by %s %d%s", name, WIFSIGNALED(event->status) ? "signal" : "status",
                  WIFSIGNALED(event->status) ? WTERMSIG(event->status) : WEXITSTATUS(event->status),
                  event->restarts ? "; starting it again" : "");
        break;
    case MEMBER_EVENT_FAULT:
        report_fault_text(stderr, event->fault, report_colour(stderr));
        break;
    case MEMBER_EVENT_VACCINE:
        base_note("%s: %s %s in %s against %s", name,
                  v->state == WIRE_VACCINE_WITHDRAWN ? "no longer protecting" : "protecting",
                  v->function.symbol[0] ? v->function.symbol : "a nameless function", v->function.object,
                  core_fault_name(v->kind));
        break;
    case MEMBER_EVENT_LINK:
        base_note("%s: %s", name,
                  event->up ? "connected to the community" : "the engine is away; going on alone");
        break;
    case MEMBER_EVENT_MANIFEST:
        base_note("%s: new manifest, %u functions to watch now", name, event->entries);
        break;
    case MEMBER_EVENT_RECEIPT:
        break;
    }
}

static void on_event(void *context, const struct member_event *event)
{
    (void)context;
    if (json || events) {
        json_t *o = event_json(event);
        char *line = json_dumps(o, JSON_COMPACT);
        if (events)
            fprintf(events, "%s\n", line ? line : "{}");
        if (json)
            fprintf(stderr, "%s\n", line ? line : "{}");
        free(line);
        json_decref(o);
    }
    if (!json)
        print_event(event);
}

/* The machine's name, made fit for a member's. */
static void default_name(char text[WIRE_MEMBER_NAME])
{
    char host[WIRE_MEMBER_NAME] = "";
    size_t n = 0;
    gethostname(host, sizeof host - 1);
    for (const char *p = host; *p && *p != '.'; p++)
        if ((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9') ||
            (*p == '-' && n))
            text[n++] = *p;
    text[n] = 0;
    if (!n)
        strcpy(text, "member");
}

static bool is_url(const char *text)
{
    return !strncmp(text, "nats://", 7) || !strncmp(text, "tls://", 6);
}

static int load(struct base_error *error, struct community_identity *identity)
{
    if (!is_url(where))
        return community_identity_load(error, identity, where, name, WIRE_ROLE_MEMBER);
    if (community_identity_load(error, identity, invitation, name, WIRE_ROLE_MEMBER))
        return -1;
    identity->url_file[0] = 0;
    if (strlen(where) >= sizeof identity->urls) {
        community_identity_free(identity);
        return base_fail(error, BASE_EXIT_USAGE, "address too long: %.60s...", where);
    }
    strcpy(identity->urls, where);
    return 0;
}

int cli_run(int argc, char **argv)
{
    struct base_args args;
    struct base_error error;
    static struct community_identity identity;
    char host_name[WIRE_MEMBER_NAME];
    int ended = 0;
    int status = base_options_parse(&command, &args, argc, argv);
    if (status >= 0)
        return status;
    if (!where)
        return base_usage(&command, "--community is missing");
    if (is_url(where) && !invitation)
        return base_usage(&command, "--community with an address needs --invitation FILE");
    default_name(host_name);
    if (!name)
        name = host_name;
    if (load(&error, &identity))
        return base_fail_exit(&error);
    name = identity.certificate.name;
    if (events_path && !(events = fopen(events_path, "ae"))) {
        base_fail(&error, BASE_EXIT_ENVIRONMENT, "cannot write %s: %s", events_path, strerror(errno));
        community_identity_free(&identity);
        return base_fail_exit(&error);
    }
    if (events)
        setvbuf(events, NULL, _IOLBF, 0);
    const struct member_agent_options agent = {
        .member =
            {.mode = (enum wire_mode)level,
             .knobs =
                 1u
                 << CORE_KNOB_TRANSLATE_ARMED, /* servers: not while a request waits, and before they fork */
             .on_fault = level == WIRE_MODE_FULL ? WIRE_ON_FAULT_HEAL : WIRE_ON_FAULT_REPORT,
             .default_level = watch == MEMBER_WATCH_ALL ? WIRE_LEVEL_MONITOR : WIRE_LEVEL_NATIVE,
             .stop_status = BASE_EXIT_FAULTS,
             .objects = objects,
             .name = name,
             .no_heap_stacks = true, /* they cost more than all else about a small block */
             .native_if_refused = true},
        .identity = &identity,
        .watch = (enum member_watch)watch,
        .functions = functions,
        .restart = (enum member_restart)restart,
        .event = on_event,
    };
    int failed = member_agent_run(&error, &ended, &agent, args.list);
    community_identity_free(&identity);
    if (events)
        fclose(events);
    if (failed)
        return base_fail_exit(&error);
    return WIFSIGNALED(ended) ? 128 + WTERMSIG(ended) : WEXITSTATUS(ended);
}
