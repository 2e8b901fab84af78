/* The story, scene by scene. Whatever a scene claims it has looked at: claim() prints it and remembers what was not so. */
#define _GNU_SOURCE
#include "demo/private.h"
#include "report/report.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ATTACKS = 3, NAME_BYTES = 3000, MISSING_MAX = 32, ALERT_MS = 5000 };

static const char *const functions[ATTACKS] = {"sign_guest", "item_price", "note_agent"};
static const char *const faults[ATTACKS] = {"heap overflow", "null dereference", "stack smash"};

struct story {
    struct demo_stage stage;
    struct demo_options options;
    struct base_error *error;
    bool colour;
    char missing[MISSING_MAX][200];
    unsigned missing_count, claims;
    char urls[ATTACKS][NAME_BYTES + 64];
    char profile[DEMO_PATH];
    unsigned long answered, failed;
    struct report_table *table;
};

static void line(const struct story *story, const char *mark, const char *format, va_list list)
{
    char text[400];
    vsnprintf(text, sizeof text, format, list);
    printf("%7.2f s  %s%s\n", (double)(base_monotonic_ns() - story->stage.start_ns) / 1e9, mark, text);
    fflush(stdout);
}

static __attribute__((format(printf, 2, 3))) void say(const struct story *story, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    line(story, "", format, list);
    va_end(list);
}

static void scene(const struct story *story, const char *title)
{
    printf("\n%s%s%s\n", story->colour ? "\033[1m" : "", title, story->colour ? "\033[0m" : "");
}

/* Says what was observed or, when it was not, that it was not, and goes on. Returns `seen`. */
static __attribute__((format(printf, 3, 4))) bool claim(struct story *story, bool seen, const char *format,
                                                        ...)
{
    va_list list;
    va_start(list, format);
    line(story, seen ? "" : story->colour ? "\033[31mNOT SEEN:\033[0m " : "NOT SEEN: ", format, list);
    va_end(list);
    story->claims++;
    if (!seen && story->missing_count < MISSING_MAX && !demo_stopped()) {
        va_start(list, format);
        vsnprintf(story->missing[story->missing_count++], sizeof story->missing[0], format, list);
        va_end(list);
    }
    return seen;
}

/* ---- attacks ---- */

struct outcome {
    struct demo_visit visit;
    pid_t killed; /* child that died of it, or 0 */
    bool undone;  /* answered with an error, the child lives, and what it had written is as before */
};

static struct outcome attack(const struct story *story, const struct demo_server *server, unsigned which)
{
    struct outcome outcome = {.killed = 0};
    pid_t children[DEMO_CHILDREN_MAX];
    char before[DEMO_CHILDREN_MAX][256], after[256];
    unsigned count = demo_children(server, children);
    for (unsigned i = 0; i < count; i++)
        if (!demo_state(server, children[i], before[i], sizeof before[i]))
            before[i][0] = 0;
    outcome.visit = demo_visit(server->port, story->urls[which]);
    /* the connection of a dying process closes before its end is to be seen */
    for (int wait = 0; outcome.visit.status == 0 && !outcome.killed && wait < 200; wait++) {
        for (unsigned i = 0; i < count; i++)
            outcome.killed = demo_alive(children[i]) ? outcome.killed : children[i];
        demo_pause(10);
    }
    for (unsigned i = 0; i < count; i++)
        if (outcome.visit.status == 500 && outcome.visit.child == children[i] && before[i][0])
            outcome.undone =
                demo_state(server, children[i], after, sizeof after) && strcmp(before[i], after) == 0;
    return outcome;
}

static void tell(struct story *story, const char *where, unsigned which, const char *result,
                 double protected_ms)
{
    report_table_text(story->table, where);
    report_table_text(story->table, faults[which]);
    report_table_text(story->table, result);
    report_table_number(story->table, protected_ms);
}

static bool claim_survival(struct story *story, const struct demo_server *server, unsigned which)
{
    struct outcome outcome = attack(story, server, which);
    return claim(story, outcome.undone,
                 "%s: %s answered with an error (%d), child %d lives, what it had written is undone",
                 server->name, faults[which], outcome.visit.status, outcome.visit.child);
}

/* ---- scenes ---- */

static int native_scene(struct story *story)
{
    struct demo_server server;
    scene(story, "1. Apache as it is");
    if (demo_server_start(story->error, &story->stage, &server, "native", NULL))
        return -1;
    say(story, "a native Apache with two children answers on port %u", server.port);
    for (unsigned i = 0; i < ATTACKS && !demo_stopped(); i++) {
        struct outcome outcome = attack(story, &server, i);
        claim(story, outcome.visit.status == 0 && outcome.killed,
              "%s: no answer; child %d, which served it, is dead", faults[i], outcome.killed);
        tell(story, "native Apache", i, outcome.killed ? "child dies, every time" : "?", (double)NAN);
    }
    claim(story, demo_server_ready(&server, 5000),
          "Apache starts another child each time, as vulnerable as the first");
    demo_server_end(&story->stage, &server);
    return 0;
}

static int found_community(struct story *story, char *folder, const char *name)
{
    char log[DEMO_PATH + 32], url[DEMO_PATH + 32];
    snprintf(folder, DEMO_PATH, "%.*s/%s", DEMO_PATH - 64, story->stage.folder, name);
    if (demo_command(story->error, NULL, (char *[]){story->stage.self, "community", "create", folder, NULL}))
        return -1;
    snprintf(log, sizeof log, "%s/serve.log", folder);
    snprintf(url, sizeof url, "%s/url", folder);
    if (demo_start(story->error, &story->stage,
                   (char *[]){story->stage.self, "community", "serve", folder, NULL}, log, false) < 0)
        return -1;
    for (int i = 0; i < 500 && access(url, R_OK) && demo_pause(20); i++)
        ;
    if (access(url, R_OK))
        return base_fail(story->error, BASE_EXIT_FAILURE,
                         "the community's engine does not start; see %s with --keep", log);
    return 0;
}

static int start_members(struct story *story, struct demo_server *members, struct demo_load **loads,
                         unsigned first, unsigned count, const char *community)
{
    for (unsigned i = first; i < first + count; i++) {
        char name[32];
        snprintf(name, sizeof name, "member-%u", i + 1);
        if (demo_server_start(story->error, &story->stage, &members[i], name, community))
            return -1;
        if (!demo_await(&members[i], 0, "manifest", NULL, ALERT_MS))
            return base_fail(story->error, BASE_EXIT_FAILURE, "%s does not hear of the manifest", name);
        loads[i] = demo_load_start(members[i].port);
    }
    return 0;
}

static void plan_words(struct story *story, const struct demo_slices *slices, unsigned count)
{
    for (unsigned m = 0; m < count; m++) {
        char holds[100] = "";
        for (unsigned a = 0; a < ATTACKS; a++)
            if (slices->holds[a] & 1u << m)
                snprintf(holds + strlen(holds), sizeof holds - strlen(holds), "%s%s",
                         *holds ? ", " : "; among them ", functions[a]);
        say(story, "member-%u watches %u functions, %.1f%% of the work%s", m + 1, slices->sizes[m],
            slices->loads[m], holds);
    }
}

/* How long after the fault each other member held the vaccine in its running processes. Returns the slowest in
   milliseconds, or -1 when one did not get it. */
static double protection_ms(struct demo_server *members, const unsigned *from, unsigned count,
                            unsigned victim, const char *function)
{
    const struct demo_event *fault = demo_await(&members[victim], from[victim], "fault", function, ALERT_MS);
    double slowest = 0;
    if (!fault)
        return -1;
    for (unsigned m = 0; m < count; m++) {
        const struct demo_event *vaccine =
            m == victim ? fault : demo_await(&members[m], from[m], "vaccine", function, ALERT_MS);
        if (!vaccine || (m != victim && !vaccine->entries))
            return -1;
        double ms = ((double)vaccine->time_ns - (double)fault->fault_ns) / 1e6;
        slowest = m != victim && ms > slowest ? ms : slowest;
    }
    return slowest;
}

/* An attack on a member, what becomes of it, and what the others learn. `held`: the member watches the function. */
static void first_attack(struct story *story, struct demo_server *members, unsigned count, unsigned victim,
                         unsigned which, bool held, const char *row)
{
    unsigned from[DEMO_MEMBERS_MAX + 1];
    for (unsigned m = 0; m < count; m++)
        from[m] = demo_events_so_far(&members[m]);
    say(story, "%s on %s, %s", faults[which], members[victim].name,
        held ? "which watches the function" : "whose slice does not hold the function");
    struct outcome outcome = attack(story, &members[victim], which);
    if (held)
        claim(story, outcome.undone,
              "%s answers with an error (%d), child %d lives, what it had written is undone",
              members[victim].name, outcome.visit.status, outcome.visit.child);
    else
        claim(story, outcome.visit.status == 0 && outcome.killed, "no answer: child %d is dead, as natively",
              outcome.killed);
    double ms = protection_ms(members, from, count, victim, functions[which]);
    const struct demo_event *fault = demo_await(&members[victim], from[victim], "fault", functions[which], 0);
    claim(story, fault && strcmp(fault->outcome, held ? "undone" : "crashed") == 0,
          "the member tells the community: %s in %s, %s", fault ? fault->kind : "no fault",
          fault ? fault->function : "no function", fault ? fault->outcome : "nothing heard");
    claim(story, ms >= 0, "all others protect %s within %.1f ms of the fault, in their running processes",
          functions[which], ms);
    if (!held) {
        const struct demo_event *own =
            demo_await(&members[victim], from[victim], "vaccine", functions[which], ALERT_MS);
        claim(story, own && own->entries, "the victim protects it too, %.1f ms after its fault",
              own && fault ? ((double)own->time_ns - (double)fault->fault_ns) / 1e6 : -1);
        claim_survival(story, &members[victim], which);
    }
    tell(story, row, which,
         held             ? (outcome.undone ? "undone, nobody dies" : "?")
         : outcome.killed ? "one child dies, once"
                          : "?",
         ms);
}

/* A member whose slice holds the function of an attack all the time, or never. Returns count when there is none. */
static unsigned choose(const struct demo_slices *slices, unsigned count, unsigned which, bool holding)
{
    unsigned unfit = holding ? ~slices->holds[which] : slices->holds[which] | slices->turns[which];
    unsigned m = 0;
    while (m < count && unfit & 1u << m)
        m++;
    return m;
}

static void end_members(struct story *story, struct demo_server *members, struct demo_load **loads,
                        unsigned count)
{
    for (unsigned m = 0; m < count; m++)
        demo_load_end(loads[m], &story->answered, &story->failed);
    for (unsigned m = 0; m < count; m++)
        demo_server_end(&story->stage, &members[m]);
}

static int plan_scene(struct story *story, struct demo_slices *slices, char *community)
{
    unsigned count = story->options.members;
    scene(story, "2. The plan");
    if (demo_profile(story->error, &story->stage, story->profile) ||
        found_community(story, community, "legion") ||
        demo_plan(story->error, &story->stage, slices, story->profile, community, count, "paper", functions))
        return -1;
    say(story, "profiled under callgrind: %u functions; a slice is %.1f%% of the work", slices->functions,
        slices->slice_percent);
    plan_words(story, slices, count);
    say(story,
        "the paper's policy, each watches its slice only: a new fault is expected to kill %.2f times before one meets it watching",
        slices->expected_victims);
    for (unsigned a = 0; a < ATTACKS; a++)
        claim(story, slices->holds[a] != 0 && choose(slices, count, a, false) < count,
              "%s is watched by some and not by all", functions[a]);
    return 0;
}

static int members_scene(struct story *story, const struct demo_slices *slices, const char *community)
{
    struct demo_server *members = calloc(DEMO_MEMBERS_MAX + 1, sizeof *members);
    struct demo_load *loads[DEMO_MEMBERS_MAX + 1] = {NULL};
    unsigned count = story->options.members, started = count;
    scene(story, "3. The first attacks");
    int result = start_members(story, members, loads, 0, count, community);
    if (result == 0) {
        say(story, "%u members run, each an Apache of its own, with visitors", count);
        /* the second fault is met by one who watches, the others by one who does not */
        for (unsigned a = 0; a < ATTACKS && !demo_stopped(); a++) {
            bool held = a == 1;
            unsigned victim = choose(slices, count, a, held);
            if (victim < count)
                first_attack(story, members, count, victim, a, held,
                             held ? "met by one who watches" : "met by one who does not");
        }
        scene(story, "4. The same attacks on everybody");
        unsigned survived = 0;
        for (unsigned m = 0; m < count && !demo_stopped(); m++)
            for (unsigned a = 0; a < ATTACKS; a++)
                survived += claim_survival(story, &members[m], a);
        say(story, "%u of %u survived", survived, ATTACKS * count);

        scene(story, "5. One who joins late");
        result = demo_stopped() ? 0 : start_members(story, members, loads, count, 1, community);
        started += result == 0;
        if (result == 0 && !demo_stopped()) {
            for (unsigned a = 0; a < ATTACKS; a++)
                claim(story, demo_await(&members[count], 0, "vaccine", functions[a], ALERT_MS),
                      "%s was told of %s when it joined", members[count].name, functions[a]);
            for (unsigned a = 0; a < ATTACKS; a++) {
                bool survives = claim_survival(story, &members[count], a);
                tell(story, "one who joins late", a, survives ? "undone, nobody dies" : "?", (double)NAN);
            }
        }
    }
    end_members(story, members, loads, started);
    free(members);
    return result;
}

static int cold_scene(struct story *story)
{
    struct demo_server *members = calloc(DEMO_MEMBERS_MAX + 1, sizeof *members);
    struct demo_load *loads[DEMO_MEMBERS_MAX + 1] = {NULL};
    struct demo_slices slices;
    char community[DEMO_PATH];
    unsigned count = story->options.members;
    scene(story, "6. A fresh community that also watches all cold code");
    int result = found_community(story, community, "cohort");
    if (result == 0)
        result = demo_plan(story->error, &story->stage, &slices, story->profile, community, count, "cold",
                           functions);
    if (result == 0)
        result = start_members(story, members, loads, 0, count, community);
    if (result == 0) {
        say(story, "beside its slice everybody watches the functions that together do 2%% of the work");
        claim(story, slices.everyone[0], "%s is cold code: everybody watches it", functions[0]);
        first_attack(story, members, count, 0, 0, true, "cold code watched by all");
        for (unsigned m = 0; m < count && !demo_stopped(); m++)
            claim_survival(story, &members[m], 0);
    }
    end_members(story, members, loads, count);
    free(members);
    return result;
}

static int closing(struct story *story)
{
    scene(story, "7. In short");
    claim(story, story->answered > 0 && story->failed == 0,
          "visitors of the members: %lu requests answered, %lu failed, all the while", story->answered,
          story->failed);
    putchar('\n');
    report_table_write(stdout, story->table, REPORT_TEXT);
    if (story->missing_count == 0) {
        printf("\nAll %u claims were observed, in %.0f s.\n", story->claims,
               (double)(base_monotonic_ns() - story->stage.start_ns) / 1e9);
        return BASE_EXIT_OK;
    }
    printf("\n%u of %u claims were not observed:\n", story->missing_count, story->claims);
    for (unsigned i = 0; i < story->missing_count; i++)
        printf("  %s\n", story->missing[i]);
    return BASE_EXIT_FAILURE;
}

static void make_urls(struct story *story)
{
    char name[NAME_BYTES + 1];
    memset(name, 'A', NAME_BYTES);
    name[NAME_BYTES] = 0;
    snprintf(story->urls[0], sizeof story->urls[0], "/fragile/sign?name=%s", name);
    snprintf(story->urls[1], sizeof story->urls[1], "/fragile/price?item=toga");
    snprintf(story->urls[2], sizeof story->urls[2], "/fragile/agent?name=%s", name);
}

static int all_scenes(struct story *story)
{
    struct demo_slices slices;
    char community[DEMO_PATH];
    int result = native_scene(story);
    if (result == 0 && !demo_stopped())
        result = plan_scene(story, &slices, community);
    if (result == 0 && !demo_stopped())
        result = members_scene(story, &slices, community);
    if (result == 0 && !demo_stopped())
        result = cold_scene(story);
    return result;
}

int demo_run(struct base_error *error, const struct demo_options *options)
{
    static const struct report_column columns[] = {
        {.name = "first met"},
        {.name = "fault"},
        {.name = "what happens"},
        {.name = "others protected ms", .number = true, .decimals = 1}};
    struct story *story = calloc(1, sizeof *story);
    if (!story)
        return base_fail(error, BASE_EXIT_FAILURE, "out of memory");
    story->options = *options;
    story->error = error;
    story->colour = report_colour(stdout);
    story->table = report_table_new(columns, 4);
    make_urls(story);
    int result = demo_stage_open(error, &story->stage);
    if (result == 0) {
        result = all_scenes(story);
        /* what went wrong because we were told to end is no error */
        if (demo_stopped())
            result = 128 + demo_stopped();
        else if (result == 0)
            result = closing(story);
    }
    demo_stage_close(&story->stage, options->keep);
    if (options->keep && story->stage.folder[0])
        printf("everything is kept in %s\n", story->stage.folder);
    report_table_free(story->table);
    free(story);
    return result;
}
