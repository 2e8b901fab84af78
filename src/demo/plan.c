/* From what Apache does for ordinary visitors to who watches what: valgrind's callgrind, `testudo profile import`, `testudo
   plan`, `testudo community publish`. */
#define _GNU_SOURCE
#include "demo/private.h"

#include <jansson.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Many ask for the plain page, one each for the others: their code is as good as cold, as most code is. */
enum { PLAIN_VISITS = 150, READY_MS = 40000, END_MS = 30000 };
static const char *const seldom[] = {"/fragile/sign?name=marcus", "/fragile/price?item=shield",
                                     "/fragile/agent?name=lucius"};

static int visit_all(struct base_error *error, const struct demo_server *server)
{
    for (int i = 0; i < PLAIN_VISITS && !demo_stopped(); i++)
        if (demo_visit(server->port, "/fragile/ok?name=gaius").status != 200)
            return base_fail(error, BASE_EXIT_FAILURE, "the profiled Apache does not answer; see %s/output",
                             server->folder);
    for (unsigned i = 0; i < sizeof seldom / sizeof seldom[0]; i++)
        if (demo_visit(server->port, seldom[i]).status != 200)
            return base_fail(error, BASE_EXIT_FAILURE, "the profiled Apache refuses %s", seldom[i]);
    return 0;
}

int demo_profile(struct base_error *error, struct demo_stage *stage, char *profile)
{
    struct demo_server server = {.name = "profiled"};
    char temporary[DEMO_PATH + 16], conf[DEMO_PATH + 32], out[DEMO_PATH + 64], file[DEMO_PATH + 32],
        log[DEMO_PATH + 32];
    const struct passwd *user = geteuid() == 0 ? getpwnam("www-data") : NULL;
    if (snprintf(server.folder, DEMO_PATH, "%s/profiled", stage->folder) >= DEMO_PATH ||
        snprintf(profile, DEMO_PATH, "%s/apache.profile", stage->folder) >= DEMO_PATH)
        return base_fail(error, BASE_EXIT_ENVIRONMENT, "the path of %s is too long", stage->folder);
    /* valgrind keeps files in TMPDIR, which may be for root only */
    snprintf(temporary, sizeof temporary, "TMPDIR=%s", server.folder);
    snprintf(conf, sizeof conf, "%s/apache.conf", server.folder);
    snprintf(file, sizeof file, "%s/callgrind.out", server.folder);
    snprintf(out, sizeof out, "--callgrind-out-file=%s", file);
    snprintf(log, sizeof log, "%s/profiled.log", stage->folder);
    server.port = demo_free_port();
    if (demo_server_lay_out(error, stage, &server, false))
        return -1;
    /* callgrind cannot write its file after the server has changed its user: it starts as that user */
    if (user && chown(server.folder, user->pw_uid, user->pw_gid))
        return base_fail(error, BASE_EXIT_ENVIRONMENT, "cannot give %s to www-data", server.folder);
    server.pid = demo_start(error, stage,
                            (char *[]){"env", temporary, "valgrind", "-q", "--vgdb=no", "--tool=callgrind",
                                       out, "/usr/sbin/apache2", "-X", "-f", conf, NULL},
                            log, true);
    if (server.pid < 0)
        return -1;
    int result =
        demo_server_ready(&server, READY_MS)
            ? visit_all(error, &server)
            : base_fail(error, BASE_EXIT_ENVIRONMENT, "Apache does not start under valgrind; see %s", log);
    demo_end(stage, server.pid, END_MS);
    return result ? result
                  : demo_command(
                        error, NULL,
                        (char *[]){stage->self, "profile", "import", "callgrind", file, "-o", profile, NULL});
}

static int take_plan(struct base_error *error, struct demo_slices *slices, const char *text)
{
    json_t *plan = json_loads(text, 0, NULL);
    if (!plan)
        return base_fail(error, BASE_EXIT_FAILURE, "testudo plan --json does not write JSON");
    *slices = (struct demo_slices){0};
    slices->expected_victims = json_number_value(json_object_get(plan, "expected_victims"));
    slices->slice_percent = json_number_value(json_object_get(plan, "slice_percent"));
    slices->functions = (unsigned)json_array_size(json_object_get(plan, "functions"));
    json_decref(plan);
    return 0;
}

int demo_plan(struct base_error *error, struct demo_stage *stage, struct demo_slices *slices,
              const char *profile, const char *community, unsigned members, const char *policy,
              const char *const functions[3])
{
    char count[16], manifest[DEMO_PATH + 32], *text = NULL;
    snprintf(count, sizeof count, "%u", members);
    snprintf(manifest, sizeof manifest, "%s/manifest", community);
    /* Apache's own code: libraries that it hardly touches would only lengthen the list. A quantum of an hour: slices
       hold still while the story is told. 2 percent: a profile of so few requests has little that is colder. */
    char *const make[] = {stage->self,
                          "plan",
                          (char *)profile,
                          "--members",
                          count,
                          "--policy",
                          (char *)policy,
                          "--objects",
                          "apache2,mod_*,libapr*",
                          "--quantum",
                          "3600000",
                          "--cold",
                          "2",
                          "--json",
                          "--top",
                          "0",
                          "-o",
                          manifest,
                          NULL};
    int result = demo_command(error, &text, make);
    result = result ? result : take_plan(error, slices, text);
    result = result ? result : demo_slices(error, slices, manifest, functions);
    free(text);
    return result ? result
                  : demo_command(
                        error, NULL,
                        (char *[]){stage->self, "community", "publish", (char *)community, manifest, NULL});
}
