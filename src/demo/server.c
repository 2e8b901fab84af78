/* One Apache with mod_fragile in a folder of its own, natively or as a member. */
#define _GNU_SOURCE
#include "demo/private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define APACHE  "/usr/sbin/apache2"
#define MODULES "/usr/lib/apache2/modules"

enum { READY_MS = 20000, TRIES = 3 };

static void fill_in(struct base_text *out, const char *const keys[][2], const char *template)
{
    while (*template) {
        bool replaced = false;
        for (unsigned i = 0; keys[i][0] && !replaced && *template == '@'; i++) {
            size_t length = strlen(keys[i][0]);
            if (strncmp(template + 1, keys[i][0], length) == 0 && template[1 + length] == '@') {
                base_text_puts(out, keys[i][1]);
                template += length + 2;
                replaced = true;
            }
        }
        if (!replaced)
            base_text_add(out, template ++, 1);
    }
}

int demo_server_lay_out(struct base_error *error, const struct demo_stage *stage, struct demo_server *server,
                        bool identity)
{
    char port[16], path[DEMO_PATH + 32];
    struct base_text text = {0};
    if (mkdir(server->folder, 0755) && errno != EEXIST)
        return base_fail(error, BASE_EXIT_ENVIRONMENT, "cannot make %s: %s", server->folder, strerror(errno));
    snprintf(port, sizeof port, "%u", server->port);
    fill_in(&text,
            (const char *const[][2]){
                {"PORT", port},
                {"FOLDER", server->folder},
                {"MODULES", MODULES},
                {"FRAGILE", stage->module},
                {"IDENTITY", identity && geteuid() == 0 ? "User www-data\nGroup www-data" : ""},
                {NULL, NULL}},
            demo_apache_template);
    snprintf(path, sizeof path, "%s/apache.conf", server->folder);
    int result = base_write_file(error, path, text.data, text.used);
    base_text_free(&text);
    return result;
}

bool demo_server_ready(const struct demo_server *server, unsigned patience_ms)
{
    uint64_t end = base_monotonic_ns() + patience_ms * 1000000ull;
    while (base_monotonic_ns() < end && demo_alive(server->pid)) {
        if (demo_visit(server->port, "/fragile/ok").status == 200)
            return true;
        if (!demo_pause(20))
            break;
    }
    return false;
}

int demo_server_start(struct base_error *error, struct demo_stage *stage, struct demo_server *server,
                      const char *name, const char *community)
{
    char conf[DEMO_PATH + 32], events[DEMO_PATH + 32], log[DEMO_PATH + 32];
    *server = (struct demo_server){.member = community != NULL};
    snprintf(server->name, sizeof server->name, "%s", name);
    /* beside the community's folder: that one is for its owner only, and Apache's children are somebody else */
    if (snprintf(server->folder, sizeof server->folder, "%s%c%s", community ? community : stage->folder,
                 community ? '-' : '/', name) >= DEMO_PATH)
        return base_fail(error, BASE_EXIT_ENVIRONMENT,
                         "the path of %s is too long; set TMPDIR to a shorter one", name);
    snprintf(conf, sizeof conf, "%s/apache.conf", server->folder);
    snprintf(events, sizeof events, "%s/events", server->folder);
    snprintf(log, sizeof log, "%s/output", server->folder);
    for (int i = 0; i < TRIES && !demo_stopped(); i++) {
        server->port = demo_free_port();
        if (demo_server_lay_out(error, stage, server, true))
            return -1;
        char *const native[] = {APACHE, "-D", "FOREGROUND", "-f", conf, NULL};
        char *const member[] = {stage->self, "run",        "--community", (char *)community,
                                "--member",  server->name, "--events",    events,
                                "--",        APACHE,       "-D",          "FOREGROUND",
                                "-f",        conf,         NULL};
        server->pid = demo_start(error, stage, community ? member : native, log, false);
        if (server->pid < 0)
            return -1;
        if (demo_server_ready(server, READY_MS))
            return 0;
        demo_end(stage, server->pid, 3000);
    }
    char *said = NULL;
    size_t bytes;
    const char *last = "it said nothing";
    if (base_read_file(NULL, &said, &bytes, log) == 0 && bytes > 1) {
        said[bytes - 1] = 0;
        last = strrchr(said, '\n') ? strrchr(said, '\n') + 1 : said;
    }
    base_fail(error, BASE_EXIT_ENVIRONMENT, "%s did not start: %.300s", name, last);
    free(said);
    return -1;
}

void demo_server_end(struct demo_stage *stage, struct demo_server *server)
{
    if (server->pid > 0)
        demo_end(stage, server->pid, 8000);
    server->pid = 0;
}
