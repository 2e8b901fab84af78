/* testudo community: keys, invitations, the steward, the manifest. */
#define _GNU_SOURCE
#include "base/base.h"
#include "cli/cli.h"
#include "cli/view.h"
#include "community/community.h"

#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

static bool json;

/* ---- create -------------------------------------------------------------------------------------------- */

static const char *community_name;

static const struct base_option create_options[] = {
    BASE_TEXT("name", 0, "NAME", &community_name, "community", "what the community is called"),
    BASE_JSON(&json),
    BASE_END,
};
static const struct base_command create_command = {
    .name = "community create",
    .summary = "make a community: its key, its engine's configuration",
    .operands = "DIR",
    .description =
        "DIR holds the community's key from then on: whoever can read it can speak for the community. "
        "Nothing is started.",
    .example = "testudo community create /var/lib/testudo/shop\n",
    .options = create_options,
    .operands_min = 1,
    .operands_max = 1,
};

static int run_create(int argc, char **argv)
{
    struct base_args args;
    struct base_error error;
    int status = base_options_parse(&create_command, &args, argc, argv);
    if (status >= 0)
        return status;
    if (community_create(&error, args.list[0], community_name))
        return base_fail_exit(&error);
    if (json)
        cli_print_json(json_pack("{s:s,s:s}", "community", community_name, "dir", args.list[0]));
    else
        printf("created community %s in %s; start it with: testudo community serve %s\n", community_name,
               args.list[0], args.list[0]);
    return BASE_EXIT_OK;
}

/* ---- invite, revoke ------------------------------------------------------------------------------------ */

static bool renew;
static int role;

static const struct base_option invite_options[] = {
    BASE_CHOICE("role", 0, "member|observer", &role, "member", "what the invited one may do"),
    BASE_FLAG("renew", 0, &renew, "make new keys even if there is an invitation"),
    BASE_JSON(&json),
    BASE_END,
};
static const struct base_command invite_command = {
    .name = "community invite",
    .summary = "make the invitation of a member",
    .operands = "DIR NAME",
    .description =
        "The invitation is one file, DIR/members/NAME.json, with the member's key, its certificate and its "
        "credentials. Carry it to the member's machine and give it there to `testudo run --community "
        "FILE`; put the engine's address into its \"urls\". Members on this machine need none: they invite "
        "themselves.",
    .example = "testudo community invite /var/lib/testudo/shop web7\n",
    .options = invite_options,
    .operands_min = 2,
    .operands_max = 2,
};

static int run_invite(int argc, char **argv)
{
    struct base_args args;
    struct base_error error;
    char path[COMMUNITY_PATH];
    int status = base_options_parse(&invite_command, &args, argc, argv);
    if (status >= 0)
        return status;
    if (community_invite(&error, path, args.list[0], args.list[1],
                         role ? WIRE_ROLE_OBSERVER : WIRE_ROLE_MEMBER, renew))
        return base_fail_exit(&error);
    if (json)
        cli_print_json(json_pack("{s:s,s:s}", "name", args.list[1], "invitation", path));
    else
        printf("%s\n", path);
    return BASE_EXIT_OK;
}

static const struct base_option revoke_options[] = {
    BASE_JSON(&json),
    BASE_END,
};
static const struct base_command revoke_command = {
    .name = "community revoke",
    .summary = "refuse a member from now on",
    .operands = "DIR NAME",
    .description =
        "All certificates and credentials that NAME has are refused: the engine lets it in no more, the "
        "steward takes nothing from it. A new invitation of the same name is valid again.",
    .example = "testudo community revoke /var/lib/testudo/shop web7\n",
    .options = revoke_options,
    .operands_min = 2,
    .operands_max = 2,
};

static int run_revoke(int argc, char **argv)
{
    struct base_args args;
    struct base_error error;
    int status = base_options_parse(&revoke_command, &args, argc, argv);
    if (status >= 0)
        return status;
    if (community_revoke(&error, args.list[0], args.list[1]))
        return base_fail_exit(&error);
    if (json)
        cli_print_json(json_pack("{s:s,s:b}", "name", args.list[1], "revoked", 1));
    else
        printf("%s is refused from now on\n", args.list[1]);
    return BASE_EXIT_OK;
}

/* ---- publish ------------------------------------------------------------------------------------------- */

static const struct base_option publish_options[] = {
    BASE_JSON(&json),
    BASE_END,
};
static const struct base_command publish_command = {
    .name = "community publish",
    .summary = "give a manifest to all members",
    .operands = "DIR MANIFEST",
    .description =
        "Signs the manifest that `testudo plan` wrote. A running steward sends it within a second, one that "
        "is started later at once; members that join get it too.",
    .example = "testudo plan httpd.profile --members 16 -o httpd.manifest\n"
               "testudo community publish /var/lib/testudo/shop httpd.manifest\n",
    .options = publish_options,
    .operands_min = 2,
    .operands_max = 2,
};

static int run_publish(int argc, char **argv)
{
    struct base_args args;
    struct base_error error;
    char *data;
    size_t bytes;
    int status = base_options_parse(&publish_command, &args, argc, argv);
    if (status >= 0)
        return status;
    if (base_read_file(&error, &data, &bytes, args.list[1]))
        return base_fail_exit(&error);
    int failed = community_publish_manifest(&error, args.list[0], data, bytes);
    free(data);
    if (failed)
        return base_fail_exit(&error);
    if (json)
        cli_print_json(json_pack("{s:s,s:I}", "manifest", args.list[1], "bytes", (json_int_t)bytes));
    else
        printf("published %s, %zu bytes\n", args.list[1], bytes);
    return BASE_EXIT_OK;
}

/* ---- serve --------------------------------------------------------------------------------------------- */

static const char *listen_at;
static const char *steward_name;
static bool no_engine;
static int64_t alerts_per_second, unconfirmed_max;

static const struct base_option serve_options[] = {
    BASE_TEXT("listen", 0, "HOST:PORT", &listen_at, "127.0.0.1:0",
              "where the engine listens; port 0: any free one"),
    BASE_FLAG("no-engine", 0, &no_engine, "be one more steward of a community whose engine runs already"),
    BASE_TEXT("name", 0, "NAME", &steward_name, "steward", "this steward's name"),
    BASE_INTEGER("alerts-per-second", 0, "N", &alerts_per_second, "10", 1, 100000,
                 "alerts taken from one member on average"),
    BASE_INTEGER("unconfirmed", 0, "N", &unconfirmed_max, "64", 1, 1000000,
                 "vaccines on the word of one member alone; more wait for a second member"),
    BASE_JSON(&json),
    BASE_END,
};
static const struct base_command serve_command = {
    .name = "community serve",
    .summary = "be the steward: run the engine, turn alerts into vaccines",
    .operands = "DIR",
    .description =
        "Starts a private nats-server, writes its address to DIR/url, publishes the manifest, checks alerts and "
        "answers members that join, until it gets INT or TERM. A server that dies is started again. Members "
        "go on without the steward with what they know.",
    .example = "testudo community serve /var/lib/testudo/shop\n",
    .options = serve_options,
    .operands_min = 1,
    .operands_max = 1,
};

/* A line at once, also into a pipe: others wait for "serving". */
static void say(const char *what)
{
    if (json)
        cli_print_json(
            json_pack("{s:I,s:s}", "time_ms", (json_int_t)(base_realtime_ns() / 1000000u), "note", what));
    else
        printf("%s\n", what);
    fflush(stdout);
}

static void on_note(void *ctx, const char *what)
{
    (void)ctx;
    say(what);
}

static void on_refused(void *ctx, const char *subject, enum wire_verdict verdict)
{
    char text[256];
    (void)ctx;
    snprintf(text, sizeof text, "refused %s: %s (%s)", subject, wire_verdict_name(verdict),
             wire_verdict_meaning(verdict));
    say(text);
}

/* Until INT or TERM. The engine is looked at often: members wait while it is away. */
static void serve(struct community_engine *engine, struct community_steward *steward, int signals)
{
    struct base_error error;
    char text[600];
    unsigned round = 0;
    unsigned revoked_at = 0;
    struct community_steward_counts counts;
    for (;;) {
        struct pollfd wait = {.fd = signals, .events = POLLIN};
        if (poll(&wait, 1, 50) > 0)
            return;
        if (engine) {
            int changed = community_engine_watch(&error, engine);
            if (changed < 0 && round % 20 == 0)
                say(error.text);
            if (changed > 0) {
                snprintf(text, sizeof text, "the engine died; started again at %s",
                         community_engine_url(engine));
                say(text);
            }
        }
        if (++round % 10 == 0)
            community_steward_tick(steward);
        counts = community_steward_counts(steward);
        if (engine && counts.revocations != revoked_at) {
            revoked_at = counts.revocations;
            community_engine_reload(NULL, engine);
        }
    }
}

static int start_and_serve(struct base_error *error, const char *folder, int signals)
{
    struct community_engine *engine = NULL;
    struct community_steward *steward = NULL;
    struct community_identity identity;
    struct community_steward_policy policy = {.alerts_per_second = (unsigned)alerts_per_second,
                                              .alerts_burst = (unsigned)alerts_per_second * 10,
                                              .unconfirmed_max = (unsigned)unconfirmed_max,
                                              .on_note = on_note,
                                              .on_refused = on_refused};
    char text[512];
    if (community_identity_load(error, &identity, folder, steward_name, WIRE_ROLE_STEWARD))
        return -1;
    int result = -1;
    if (!no_engine && community_engine_start(error, &engine, folder, listen_at))
        goto out;
    if (community_steward_start(error, &steward, &identity, &policy, community_bus_nats(&identity), folder))
        goto out;
    snprintf(text, sizeof text, "serving %s at %s", folder,
             engine ? community_engine_url(engine) : "its engine");
    say(text);
    serve(engine, steward, signals);
    result = 0;
out:
    community_steward_stop(steward);
    community_engine_stop(engine);
    community_identity_free(&identity);
    return result;
}

static int run_serve(int argc, char **argv)
{
    struct base_args args;
    struct base_error error;
    sigset_t stop;
    int status = base_options_parse(&serve_command, &args, argc, argv);
    if (status >= 0)
        return status;
    /* Before any thread exists, so that all inherit it and the signals wait for signalfd. */
    sigemptyset(&stop);
    sigaddset(&stop, SIGINT);
    sigaddset(&stop, SIGTERM);
    sigaddset(&stop, SIGHUP);
    sigprocmask(SIG_BLOCK, &stop, NULL);
    signal(SIGPIPE, SIG_IGN);
    int signals = signalfd(-1, &stop, SFD_CLOEXEC);
    if (start_and_serve(&error, args.list[0], signals))
        return base_fail_exit(&error);
    return BASE_EXIT_OK;
}

static const struct base_action actions[] = {
    {"create", "make a community: its key, its engine's configuration", run_create},
    {"serve", "be the steward: run the engine, turn alerts into vaccines", run_serve},
    {"invite", "make the invitation of a member", run_invite},
    {"publish", "give a manifest to all members", run_publish},
    {"revoke", "refuse a member from now on", run_revoke},
    {0},
};

static const struct base_menu menu = {
    .name = "community",
    .summary = "Keys, engine, invitations and the manifest of a community.",
    .example = "testudo community create /var/lib/testudo/shop\n"
               "testudo community serve /var/lib/testudo/shop\n",
    .actions = actions,
};

int cli_community(int argc, char **argv)
{
    return base_menu_run(&menu, argc, argv);
}
