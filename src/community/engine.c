/* The private nats-server: configuration, start, supervision, stop. */
#define _GNU_SOURCE
#include "community/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

struct community_engine {
    char folder[COMMUNITY_PATH];
    char host[256];
    unsigned port;      /* wanted: 0 any */
    unsigned last_port; /* where it listened before */
    int lock;
    pid_t pid;
    char url[320];
};

static const char *find_server(void)
{
    static const char *const places[] = {"/usr/sbin/nats-server", "/usr/bin/nats-server",
                                         "/usr/local/bin/nats-server"};
    const char *wanted = getenv("TESTUDO_NATS_SERVER");
    if (wanted)
        return access(wanted, X_OK) ? NULL : wanted;
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        if (!access(places[i], X_OK))
            return places[i];
    return NULL;
}

/* `port` 0: the server chooses one that is free, so that no other process can take it in between. */
static int write_configuration(struct base_error *error, const struct community_engine *engine, unsigned port)
{
    char path[COMMUNITY_PATH], *text;
    struct community_tokens tokens;
    if (strpbrk(engine->folder, "\"\\\n"))
        return base_fail(error, BASE_EXIT_USAGE,
                         "the engine cannot live below %s: no quotes or backslashes, please", engine->folder);
    if (community_path(error, path, "%s/engine/server.conf", engine->folder) ||
        community_tokens_make(error, &tokens, engine->folder))
        return -1;
    int n = asprintf(&text,
                     "listen: \"%s:%d\"\n"
                     "server_name: \"testudo-%.12s\"\n"
                     "ports_file_dir: \"%s/engine\"\n"
                     "log_file: \"%s/engine/server.log\"\n"
                     "max_payload: 8388608\n"
                     "max_pending: 67108864\n"
                     "operator: %s\n"
                     "system_account: %s\n"
                     "resolver: MEMORY\n"
                     "resolver_preload: {\n  %s: %s\n  %s: %s\n}\n"
                     "jetstream { store_dir: \"%s/engine/data\", max_memory_store: 16777216,"
                     " max_file_store: 1073741824 }\n",
                     engine->host, port ? (int)port : -1, tokens.account + 1, engine->folder, engine->folder,
                     tokens.operator_jwt, tokens.system, tokens.system, tokens.system_jwt, tokens.account,
                     tokens.account_jwt, engine->folder);
    community_tokens_free(&tokens);
    if (n < 0)
        return base_fail(error, BASE_EXIT_FAILURE, "out of memory");
    int result = community_write_secret(error, path, text, (size_t)n);
    free(text);
    return result;
}

/* A server that ends in order removes its ports file itself; one that was killed cannot. */
static void reaped(struct community_engine *engine)
{
    char path[COMMUNITY_PATH];
    if (!community_path(NULL, path, "%s/engine/nats-server_%d.ports", engine->folder, (int)engine->pid))
        unlink(path);
    engine->pid = 0;
}

/* Waits until the server has written where it listens. Returns the port, 0 when it died first, -1 on
 * time-out. */
static int await_port(struct community_engine *engine)
{
    char path[COMMUNITY_PATH];
    uint64_t until = base_monotonic_ns() + 15000000000u;
    if (community_path(NULL, path, "%s/engine/nats-server_%d.ports", engine->folder, (int)engine->pid))
        return -1;
    while (base_monotonic_ns() < until) {
        json_t *json;
        if (!access(path, R_OK) && !community_read_json(NULL, &json, path)) {
            const char *url = json_string_value(json_array_get(json_object_get(json, "nats"), 0));
            const char *colon = url ? strrchr(url, ':') : NULL;
            int port = colon ? atoi(colon + 1) : 0;
            json_decref(json);
            if (port > 0)
                return port;
        }
        if (waitpid(engine->pid, NULL, WNOHANG) == engine->pid) {
            reaped(engine);
            return 0;
        }
        usleep(3000);
    }
    return -1;
}

static int spawn(struct base_error *error, struct community_engine *engine)
{
    char configuration[COMMUNITY_PATH], log[COMMUNITY_PATH];
    const char *server = find_server();
    if (!server)
        return base_fail(error, BASE_EXIT_ENVIRONMENT,
                         "no nats-server found; install the package nats-server or set TESTUDO_NATS_SERVER");
    if (community_path(error, configuration, "%s/engine/server.conf", engine->folder) ||
        community_path(error, log, "%s/engine/server.out", engine->folder))
        return -1;
    pid_t parent = getpid();
    int out = open(log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    engine->pid = fork();
    if (engine->pid == 0) {
        /* A steward that is killed must not leave a server behind. The check covers a parent that died before
         * prctl. */
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        if (getppid() != parent)
            _exit(1);
        sigset_t none;
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        setpgid(0, 0); /* Ctrl-C is for the steward, which stops the server in order */
        int null = open("/dev/null", O_RDONLY);
        dup2(null, 0);
        dup2(out >= 0 ? out : null, 1);
        dup2(out >= 0 ? out : null, 2);
        close_range(3, ~0u, 0);
        execl(server, "nats-server", "-c", configuration, (char *)NULL);
        _exit(127);
    }
    if (out >= 0)
        close(out);
    if (engine->pid < 0) {
        engine->pid = 0;
        return base_fail(error, BASE_EXIT_ENVIRONMENT, "cannot start %s: %s", server, strerror(errno));
    }
    char path[COMMUNITY_PATH], text[16];
    snprintf(text, sizeof text, "%d\n", (int)engine->pid);
    if (!community_path(NULL, path, "%s/engine/pid", engine->folder))
        base_write_file(NULL, path, text, strlen(text));
    return 0;
}

static void kill_server(struct community_engine *engine)
{
    if (engine->pid <= 0)
        return;
    kill(engine->pid, SIGTERM);
    for (int i = 0; i < 1000; i++) {
        if (waitpid(engine->pid, NULL, WNOHANG) == engine->pid) {
            reaped(engine);
            return;
        }
        usleep(5000);
    }
    kill(engine->pid, SIGKILL);
    waitpid(engine->pid, NULL, 0);
    reaped(engine);
}

static int note_address(struct base_error *error, struct community_engine *engine, unsigned port)
{
    char path[COMMUNITY_PATH], text[16];
    const char *host = !strcmp(engine->host, "0.0.0.0") ? "127.0.0.1" : engine->host;
    engine->last_port = port;
    snprintf(engine->url, sizeof engine->url, "nats://%s:%u", host, port);
    snprintf(text, sizeof text, "%u\n", port);
    if (community_path(error, path, "%s/engine/port", engine->folder) ||
        base_write_file(error, path, text, strlen(text)) ||
        community_path(error, path, "%s/url", engine->folder))
        return -1;
    return base_write_file(error, path, engine->url, strlen(engine->url));
}

/* First on the port it had, so that members elsewhere find it again; when another process has taken that, on
 * any. */
static int start_server(struct base_error *error, struct community_engine *engine)
{
    unsigned attempts[2] = {engine->port ? engine->port : engine->last_port, 0};
    for (int i = 0; i < 2; i++) {
        if (i > 0 && (engine->port || !attempts[0]))
            break;
        if (write_configuration(error, engine, attempts[i]) || spawn(error, engine))
            return -1;
        int port = await_port(engine);
        if (port > 0)
            return note_address(error, engine, (unsigned)port);
        kill_server(engine);
    }
    return base_fail(error, BASE_EXIT_ENVIRONMENT,
                     "nats-server does not start on %s:%u; see %s/engine/server.log and server.out",
                     engine->host, engine->port, engine->folder);
}

/* A server whose steward was killed gets a signal at that moment; give it time to close its files, for two
   servers on one store would damage it. */
static void await_predecessor(const struct community_engine *engine)
{
    char path[COMMUNITY_PATH], command[COMMUNITY_PATH], *text;
    size_t bytes;
    if (community_path(NULL, path, "%s/engine/pid", engine->folder) ||
        base_read_file(NULL, &text, &bytes, path))
        return;
    int pid = atoi(text);
    free(text);
    for (int i = 0; pid > 1 && i < 1000; i++) {
        /* The pid may be another process's by now: only one that was given our configuration counts. */
        snprintf(command, sizeof command, "/proc/%d/cmdline", pid);
        if (base_read_file(NULL, &text, &bytes, command))
            return;
        bool ours =
            memmem(text, bytes, engine->folder, strlen(engine->folder)) && strstr(text, "nats-server");
        free(text);
        if (!ours)
            return;
        if (i == 0 || i == 600)
            kill(pid, i ? SIGKILL : SIGTERM);
        usleep(5000);
    }
}

static unsigned read_port(const struct community_engine *engine)
{
    char path[COMMUNITY_PATH], *text;
    size_t bytes;
    if (community_path(NULL, path, "%s/engine/port", engine->folder) || access(path, R_OK) ||
        base_read_file(NULL, &text, &bytes, path))
        return 0;
    int port = atoi(text);
    free(text);
    return port > 0 && port < 65536 ? (unsigned)port : 0;
}

int community_engine_start(struct base_error *error, struct community_engine **out, const char *folder,
                           const char *listen)
{
    struct community_engine *engine = calloc(1, sizeof *engine);
    char path[COMMUNITY_PATH], absolute[PATH_MAX];
    if (!engine)
        return base_fail(error, BASE_EXIT_FAILURE, "out of memory");
    engine->lock = -1;
    const char *colon = strrchr(listen, ':');
    char *end = NULL;
    long port = colon ? strtol(colon + 1, &end, 10) : -1;
    if (port < 0 || port > 65535 || *end || colon == listen ||
        (size_t)(colon - listen) >= sizeof engine->host) {
        base_fail(error, BASE_EXIT_USAGE, "bad address '%.60s'; give HOST:PORT, port 0 for any free one",
                  listen);
        goto fail;
    }
    memcpy(engine->host, listen, (size_t)(colon - listen));
    engine->port = (unsigned)port;
    if (!realpath(folder, absolute)) {
        base_fail(error, BASE_EXIT_INPUT, "no folder %s: %s", folder, strerror(errno));
        goto fail;
    }
    if (community_path(error, engine->folder, "%s", absolute) ||
        community_path(error, path, "%s/engine/lock", absolute))
        goto fail;
    engine->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (engine->lock < 0 || flock(engine->lock, LOCK_EX | LOCK_NB)) {
        base_fail(error, BASE_EXIT_ENVIRONMENT, "%s is served already by another process (%s); stop it first",
                  folder, strerror(errno));
        goto fail;
    }
    await_predecessor(engine);
    engine->last_port = read_port(engine);
    if (start_server(error, engine))
        goto fail;
    *out = engine;
    return 0;
fail:
    kill_server(engine);
    if (engine->lock >= 0)
        close(engine->lock);
    free(engine);
    return -1;
}

int community_engine_watch(struct base_error *error, struct community_engine *engine)
{
    if (engine->pid > 0) {
        if (waitpid(engine->pid, NULL, WNOHANG) != engine->pid)
            return 0;
        reaped(engine);
    }
    return start_server(error, engine) ? -1 : 1;
}

const char *community_engine_url(const struct community_engine *engine)
{
    return engine->url;
}

int community_engine_pid(const struct community_engine *engine)
{
    return (int)engine->pid;
}

int community_engine_reload(struct base_error *error, struct community_engine *engine)
{
    if (write_configuration(error, engine, engine->last_port))
        return -1;
    if (engine->pid > 0)
        kill(engine->pid, SIGHUP);
    return 0;
}

void community_engine_stop(struct community_engine *engine)
{
    char path[COMMUNITY_PATH];
    if (!engine)
        return;
    kill_server(engine);
    /* Members wait for a new address rather than knock at a port that may be another's by now. */
    if (!community_path(NULL, path, "%s/url", engine->folder))
        unlink(path);
    if (!community_path(NULL, path, "%s/engine/pid", engine->folder))
        unlink(path);
    close(engine->lock);
    free(engine);
}
