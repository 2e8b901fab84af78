/* A server on loopback in a folder of its own: configured, started natively, under a peer or supervised, and ended with
   everything that it started. */
#define _GNU_SOURCE
#include "bench/private.h"
#include "bench/server.h"
#include "image/image.h"

#include <errno.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define APACHE_MODULES "/usr/lib/apache2/modules"
#define SERVED_BY      "www-data" /* Debian's user for web servers */

enum { READY_MS = 60000, TRIES = 3, PAGE_BYTES = 6144, STOP_MS = 15000 };

/* ---- configurations ---- */

/* The modules that Debian enables, prefork in place of the threads. */
static const char *const apache_modules[] = {
    "mpm_prefork", "access_compat", "alias",      "auth_basic", "authn_core", "authn_file", "authz_core",
    "authz_host",  "authz_user",    "autoindex",  "deflate",    "dir",        "env",        "filter",
    "mime",        "negotiation",   "reqtimeout", "setenvif",   "status",
};

static void configure_apache(struct base_text *text, const struct bench_server *server)
{
    unsigned children = server->single ? 1 : server->concurrency + 1;
    base_text_printf(text,
                     "ServerName localhost\nServerRoot \"%s\"\nDefaultRuntimeDir \"%s\"\nPidFile \"%s/pid\"\n"
                     "ErrorLog \"%s/error.log\"\nListen 127.0.0.1:%u\n",
                     server->folder, server->folder, server->folder, server->folder, server->port);
    if (server->drops)
        base_text_puts(text, "User " SERVED_BY "\nGroup " SERVED_BY "\n");
    for (size_t i = 0; i < sizeof apache_modules / sizeof *apache_modules; i++)
        base_text_printf(text, "LoadModule %s_module \"" APACHE_MODULES "/mod_%s.so\"\n", apache_modules[i],
                         apache_modules[i]);
    base_text_printf(
        text,
        "StartServers %u\nMinSpareServers 1\nMaxSpareServers %u\nServerLimit %u\nMaxRequestWorkers %u\n"
        "MaxConnectionsPerChild 0\nKeepAlive On\nTypesConfig /etc/mime.types\n"
        "LogFormat \"%%h %%l %%u %%t \\\"%%r\\\" %%>s %%O\" common\nCustomLog \"%s/access.log\" common\n"
        "DocumentRoot \"%s/www\"\nDirectoryIndex index.html\nAccessFileName .htaccess\n"
        "<Directory />\nOptions FollowSymLinks\nAllowOverride None\nRequire all denied\n</Directory>\n"
        "<Directory \"%s/www\">\nOptions FollowSymLinks\nAllowOverride None\nRequire all granted\n</Directory>\n",
        children, children + 1, children, children, server->folder, server->folder, server->folder);
}

static void configure_nginx(struct base_text *text, const struct bench_server *server)
{
    const char *f = server->folder;
    if (server->drops)
        base_text_puts(text, "user " SERVED_BY ";\n");
    base_text_printf(
        text,
        "daemon off;\nmaster_process %s;\nworker_processes 1;\npid %s/pid;\nerror_log %s/error.log;\n"
        "events { worker_connections 256; }\nhttp {\ninclude /etc/nginx/mime.types;\nsendfile on;\n"
        "access_log %s/access.log;\nclient_body_temp_path %s/body;\nproxy_temp_path %s/proxy;\n"
        "fastcgi_temp_path %s/fastcgi;\nuwsgi_temp_path %s/uwsgi;\nscgi_temp_path %s/scgi;\n"
        "server { listen 127.0.0.1:%u; root %s/www; }\n}\n",
        server->single ? "off" : "on", f, f, f, f, f, f, f, f, server->port, f);
}

static void configure_redis(struct base_text *text, const struct bench_server *server)
{
    base_text_printf(
        text, "bind 127.0.0.1\nport %u\ndir %s\ndaemonize no\nsave \"\"\nappendonly no\nlogfile %s/output\n",
        server->port, server->folder, server->folder);
}

static const struct {
    const char *name, *program;
    void (*configure)(struct base_text *, const struct bench_server *);
    const char *words[6], *single; /* "@" is the configuration; `single`: one more for one process */
    bool drops;
} kinds[] = {
    [BENCH_APACHE] = {"apache", "apache2", configure_apache, {"-D", "FOREGROUND", "-f", "@"}, "-X", true},
    [BENCH_NGINX] = {"nginx", "nginx", configure_nginx, {"-c", "@"}, NULL, true},
    [BENCH_REDIS] = {"redis", "redis-server", configure_redis, {"@"}, NULL, false},
};

const char *bench__server_name(enum bench_server_kind kind)
{
    return kinds[kind].name;
}

int bench__server_kind(struct base_error *error, enum bench_server_kind *kind, const char *name)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (!name || strcmp(kinds[i].name, name) == 0) {
            char path[4096];
            *kind = (enum bench_server_kind)i;
            bool http = i != BENCH_REDIS;
            const char *needed[] = {kinds[i].program, http ? "ab" : "redis-benchmark"};
            for (int n = 0; n < 2; n++)
                if (image_find_file(NULL, path, needed[n]))
                    return base_fail(error, BASE_EXIT_ENVIRONMENT, "%s is not installed (Debian: %s)",
                                     needed[n],
                                     n == 0 ? kinds[i].program
                                     : http ? "apache2-utils"
                                            : "redis-tools");
            return 0;
        }
    return base_fail(error, BASE_EXIT_USAGE, "there is no server '%s'; there are apache, nginx and redis",
                     name);
}

static int lay_out(struct base_error *error, struct bench_server *server)
{
    char path[BENCH_PATH + 32], page[PAGE_BYTES];
    struct base_text text = {0};
    kinds[server->kind].configure(&text, server);
    snprintf(path, sizeof path, "%s/conf", server->folder);
    int status = base_write_file(error, path, text.data, text.used);
    base_text_free(&text);
    snprintf(path, sizeof path, "%s/www", server->folder);
    if (status == 0 && mkdir(path, 0755) && errno != EEXIST)
        status = base_fail(error, BASE_EXIT_ENVIRONMENT, "cannot make %s: %s", path, strerror(errno));
    for (size_t i = 0; i < PAGE_BYTES; i++)
        page[i] = i % 64 == 63 ? '\n' : "The testudo goes forward. "[i % 26];
    snprintf(path, sizeof path, "%s/www/index.html", server->folder);
    return status ? status : base_write_file(error, path, page, sizeof page);
}

/* ---- processes ---- */

/* Learns which functions there are. All are watched at first, so that they are translated before a server forks; what is loaded
   once it is known what to watch is not. */
static enum wire_level on_function(void *context, const struct member_object *object,
                                   const struct member_function *function)
{
    struct bench_server *server = context;
    if (function->refused || object->build_id_bytes > sizeof server->all->build_id)
        return WIRE_LEVEL_NATIVE;
    if (server->all_count == server->all_room) {
        server->all_room = server->all_room ? 2 * server->all_room : 4096;
        struct bench_watch *more = bench__allocate(server->all_room, sizeof *more);
        if (server->all_count)
            memcpy(more, server->all, server->all_count * sizeof *more);
        free(server->all);
        server->all = more;
    }
    struct bench_watch *watch = &server->all[server->all_count++];
    watch->build_id_bytes = (uint32_t)object->build_id_bytes;
    memcpy(watch->build_id, object->build_id, object->build_id_bytes);
    watch->offset = function->offset;
    return server->watched ? WIRE_LEVEL_NATIVE : WIRE_LEVEL_MONITOR;
}

bool bench__server_tend(struct bench_server *server)
{
    int status;
    if (server->ended)
        return false;
    if (server->member)
        server->ended = member_serve(server->member, &status, 1);
    else
        server->ended = waitpid(server->pid, &status, WNOHANG) == server->pid;
    return !server->ended;
}

static int launch(struct base_error *error, struct bench_server *server)
{
    char conf[BENCH_PATH + 32], log[BENCH_PATH + 32];
    char *words[24];
    size_t count = 0;
    const struct bench_way *way = &server->way;
    snprintf(conf, sizeof conf, "%s/conf", server->folder);
    snprintf(log, sizeof log, "%s/output", server->folder);
    /* As in bench__start: members have their program in their own process group. */
    if (way->supervised)
        words[count++] = "setsid";
    for (size_t i = 0; i < server->prefix_count; i++)
        words[count++] = server->prefix[i];
    for (size_t i = 0; i < BENCH_PREFIX_MAX && way->prefix[i]; i++)
        words[count++] = (char *)(uintptr_t)way->prefix[i];
    words[count++] = (char *)(uintptr_t)kinds[server->kind].program;
    for (size_t i = 0; i < 6 && kinds[server->kind].words[i]; i++) {
        const char *word = kinds[server->kind].words[i];
        words[count++] = strcmp(word, "@") == 0 ? conf : (char *)(uintptr_t)word;
    }
    if (server->single && kinds[server->kind].single)
        words[count++] = (char *)(uintptr_t)kinds[server->kind].single;
    words[count] = NULL;
    if (!way->supervised)
        return (server->pid = bench__start(error, words, log)) < 0 ? -1 : 0;
    const struct member_options options = {.mode = way->mode,
                                           .on_fault = WIRE_ON_FAULT_HEAL,
                                           .default_level = WIRE_LEVEL_NATIVE,
                                           .knobs = 1u << CORE_KNOB_TRANSLATE_ARMED,
                                           .no_heap_stacks = !way->heap_stacks};
    const struct member_hooks hooks = {.context = server, .level = on_function};
    return member_vet(error, words[0]) || member_open(error, &server->member, &options, &hooks) ||
                   member_start(error, server->member, words)
               ? -1
               : 0;
}

static int await(struct base_error *error, struct bench_server *server)
{
    uint64_t end = base_monotonic_ns() + READY_MS * 1000000ull;
    char path[BENCH_PATH + 32], *said = NULL;
    size_t bytes = 0;
    while (base_monotonic_ns() < end && bench__server_tend(server)) {
        if (bench__answers(server->port))
            return 0;
        if (!bench__sleep_ms(10))
            return bench__stop_error(error);
    }
    snprintf(path, sizeof path, "%s/output", server->folder);
    if (base_read_file(NULL, &said, &bytes, path) == 0 && bytes > 200)
        memmove(said, said + bytes - 200, 201);
    base_fail(error, BASE_EXIT_ENVIRONMENT, "%s %s did not start: %s", kinds[server->kind].name,
              server->way.name, said && *said ? said : "it said nothing");
    free(said);
    return -1;
}

int bench__server_open(struct base_error *error, struct bench_server **out, enum bench_server_kind kind,
                       const struct bench_way *way, unsigned concurrency, bool single)
{
    struct bench_server *server = *out = bench__allocate(1, sizeof *server);
    server->kind = kind;
    server->way = *way;
    server->concurrency = concurrency;
    server->single = single;
    const struct passwd *user = geteuid() == 0 && kinds[kind].drops ? getpwnam(SERVED_BY) : NULL;
    if (bench__make_folder(error, server->folder))
        goto failed;
    if (user && chown(server->folder, user->pw_uid, user->pw_gid)) {
        base_fail(error, BASE_EXIT_ENVIRONMENT, "cannot give %s away: %s", server->folder, strerror(errno));
        goto failed;
    }
    /* A recorder that is started by root cannot write once the server has become another user. */
    static char setpriv[] = "setpriv", uid[] = "--reuid=" SERVED_BY, gid[] = "--regid=" SERVED_BY,
                groups[] = "--clear-groups";
    if (user && single) {
        char *const words[] = {setpriv, uid, gid, groups};
        memcpy(server->prefix, words, sizeof words);
        server->prefix_count = 4;
    }
    server->drops = user && !single;
    return 0;
failed:
    bench__server_stop(server);
    *out = NULL;
    return -1;
}

int bench__server_start(struct base_error *error, struct bench_server *server)
{
    /* Somebody else may take the port between our look and the server's. */
    for (int i = 0; i < TRIES; i++) {
        server->port = bench__free_port();
        server->ended = false;
        if (lay_out(error, server) || launch(error, server))
            return -1;
        if (await(error, server) == 0)
            return 0;
        if (bench__stopped())
            return bench__stop_error(error);
        bench__server_halt(server);
    }
    return -1;
}

void bench__server_halt(struct bench_server *server)
{
    if (server->member) {
        uint64_t end = base_monotonic_ns() + STOP_MS * 1000000ull;
        pid_t family[256], pid = member_pid(server->member);
        size_t count = pid > 0 ? bench__family(family, 256, pid) : 0;
        if (pid > 0)
            member_signal(server->member, SIGTERM);
        while (pid > 0 && !server->ended && base_monotonic_ns() < end)
            server->ended = member_serve(server->member, &(int){0}, 50);
        if (pid > 0 && !server->ended) {
            kill(pid, SIGKILL);
            waitpid(pid, NULL, 0);
        }
        bench__end_orphans(family, count);
        member_close(server->member);
        server->member = NULL;
    } else if (server->pid > 0 && !server->ended) {
        bench__end(server->pid, STOP_MS);
    }
    server->pid = 0;
    server->ended = true;
}

void bench__server_stop(struct bench_server *server)
{
    if (!server)
        return;
    bench__server_halt(server);
    bench__remove_folder(server->folder);
    free(server->all);
    free(server->watched);
    free(server);
}

pid_t bench__server_pid(const struct bench_server *server)
{
    return server->member ? member_pid(server->member) : server->pid;
}

/* ---- what is watched ---- */

static int by_place(const void *left, const void *right)
{
    const struct bench_watch *a = left, *b = right;
    int order = memcmp(a->build_id, b->build_id, sizeof a->build_id);
    return order ? order : (a->offset > b->offset) - (a->offset < b->offset);
}

size_t bench__server_watch(struct bench_server *server, const struct bench_watch *list, size_t count)
{
    struct bench_watch *now = bench__allocate(count, sizeof *now);
    size_t reached = 0;
    if (count)
        memcpy(now, list, count * sizeof *now);
    qsort(now, count, sizeof *now, by_place);
    /* New ones first: what stays watched is never unwatched between. */
    for (size_t i = 0; i < count; i++)
        reached += member_set_level(server->member, now[i].build_id, now[i].build_id_bytes, now[i].offset,
                                    WIRE_LEVEL_MONITOR) > 0;
    for (size_t i = 0; i < server->watched_count; i++) {
        const struct bench_watch *old = &server->watched[i];
        if (!bsearch(old, now, count, sizeof *now, by_place))
            member_set_level(server->member, old->build_id, old->build_id_bytes, old->offset,
                             WIRE_LEVEL_NATIVE);
    }
    free(server->watched);
    server->watched = now;
    server->watched_count = count;
    return reached;
}

size_t bench__server_watch_all(struct bench_server *server)
{
    return bench__server_watch(server, server->all, server->all_count);
}
