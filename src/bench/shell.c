/* Signals, folders, ports and commands: what benchmarks do as a shell would. */
#define _GNU_SOURCE
#include "bench/private.h"
#include "member/member.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

enum { IDLE_MS = 20 };

static volatile sig_atomic_t stopped;

static void on_stop(int number)
{
    stopped = number;
}

void bench__catch_signals(void)
{
    static const int caught[] = {SIGINT, SIGTERM, SIGHUP};
    struct sigaction action = {.sa_handler = on_stop};
    for (size_t i = 0; i < sizeof caught / sizeof *caught; i++)
        sigaction(caught[i], &action, NULL);
    signal(SIGPIPE, SIG_IGN);
    /* Servers double-fork: what they leave behind becomes our child, and bench__end finds it. */
    prctl(PR_SET_CHILD_SUBREAPER, 1);
}

bool bench__stopped(void)
{
    /* A supervised server's member takes the handlers over and keeps the signal. */
    return stopped || member_stop_signal();
}

int bench__stop_error(struct base_error *error)
{
    int number = stopped ? (int)stopped : member_stop_signal();
    return base_fail(error, (enum base_exit)(128 + number), "interrupted");
}

bool bench__sleep_ms(unsigned ms)
{
    poll(NULL, 0, (int)ms);
    return !bench__stopped();
}

int bench__make_folder(struct base_error *error, char path[BENCH_PATH])
{
    const char *parent = getenv("TMPDIR");
    if (snprintf(path, BENCH_PATH, "%s/testudo-bench-XXXXXX", parent && *parent ? parent : "/tmp") >
            BENCH_PATH / 2 ||
        !mkdtemp(path))
        return base_fail(error, BASE_EXIT_ENVIRONMENT, "cannot make a folder %s: %s; set TMPDIR", path,
                         strerror(errno));
    /* Servers started by root serve it as another user. */
    if (chmod(path, 0755))
        return base_fail(error, BASE_EXIT_ENVIRONMENT, "cannot open up %s: %s", path, strerror(errno));
    return 0;
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
    (void)status;
    (void)kind;
    (void)walk;
    remove(path);
    return 0;
}

void bench__remove_folder(const char *path)
{
    if (*path)
        nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* ---- commands ---- */

static int spawn(struct base_error *error, pid_t *pid, char *const argv[], int output, const char *log,
                 short flags)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none, fallback;
    sigemptyset(&none);
    sigemptyset(&fallback);
    sigaddset(&fallback, SIGPIPE);
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &fallback);
    posix_spawnattr_setflags(&attributes, (short)(flags | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF));
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    if (output >= 0)
        posix_spawn_file_actions_adddup2(&actions, output, 1);
    else
        posix_spawn_file_actions_addopen(&actions, 1, log ? log : "/dev/null", O_WRONLY | O_CREAT | O_APPEND,
                                         0644);
    if (log)
        posix_spawn_file_actions_adddup2(&actions, 1, 2);
    else
        posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
    int code = posix_spawnp(pid, argv[0], &actions, &attributes, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    return code ? base_fail(error, BASE_EXIT_ENVIRONMENT, "cannot start %s: %s", argv[0], strerror(code)) : 0;
}

pid_t bench__start(struct base_error *error, char *const argv[], const char *log)
{
    pid_t pid;
    /* In a session of its own: a server that ends may send the signal to its whole process group, as Apache does. */
    return spawn(error, &pid, argv, -1, log, POSIX_SPAWN_SETSID) ? -1 : pid;
}

int bench__command(struct base_error *error, char **output, char *const argv[], void (*idle)(void *),
                   void *context)
{
    int ends[2], status = 0;
    pid_t pid;
    struct base_text text = {0};
    if (pipe2(ends, O_CLOEXEC))
        return base_fail(error, BASE_EXIT_ENVIRONMENT, "cannot make a pipe: %s", strerror(errno));
    int failed = spawn(error, &pid, argv, ends[1], NULL, 0);
    close(ends[1]);
    while (!failed && !bench__stopped()) {
        char buffer[4096];
        struct pollfd wait = {.fd = ends[0], .events = POLLIN};
        if (poll(&wait, 1, IDLE_MS) > 0) {
            ssize_t got = read(ends[0], buffer, sizeof buffer);
            if (got == 0)
                break;
            if (got > 0)
                base_text_add(&text, buffer, (size_t)got);
        }
        if (idle)
            idle(context);
    }
    close(ends[0]);
    if (!failed && bench__stopped()) {
        bench__end(pid, 1000);
        failed = bench__stop_error(error);
    } else if (!failed) {
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
            ;
        if (status)
            failed = base_fail(error, BASE_EXIT_ENVIRONMENT, "%s failed with status %d", argv[0],
                               WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
    }
    if (failed || !output)
        base_text_free(&text);
    else
        *output = text.data;
    if (!failed && output && !*output)
        *output = bench__allocate(1, 1);
    return failed;
}

enum { FAMILY_MAX = 256 };

void bench__end(pid_t pid, unsigned patience_ms)
{
    pid_t family[FAMILY_MAX];
    uint64_t end = base_monotonic_ns() + patience_ms * 1000000ull;
    if (pid <= 0)
        return;
    size_t count = bench__family(family, FAMILY_MAX, pid);
    kill(pid, SIGTERM);
    bool gone = false;
    while (!gone && base_monotonic_ns() < end) {
        gone = waitpid(pid, NULL, WNOHANG) != 0;
        if (!gone)
            poll(NULL, 0, 10);
    }
    if (!gone) {
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
    }
    bench__end_orphans(family, count);
}

void bench__end_orphans(const pid_t *list, size_t count)
{
    pid_t own[FAMILY_MAX];
    size_t own_count = bench__family(own, FAMILY_MAX, getpid());
    /* Orphans are our children, so a pid that is in both lists has not been given to a stranger. */
    for (size_t i = 0; i < count; i++)
        for (size_t o = 1; o < own_count; o++)
            if (own[o] == list[i]) {
                kill(own[o], SIGKILL);
                waitpid(own[o], NULL, 0);
            }
}

size_t bench__family(pid_t *family, size_t room, pid_t pid)
{
    struct pair {
        pid_t pid, parent;
    } *pairs = bench__allocate(65536, sizeof *pairs);
    size_t pair_count = 0, count = 0;
    DIR *folder = opendir("/proc");
    struct dirent *entry;
    while (folder && (entry = readdir(folder)) && pair_count < 65536) {
        char path[300], line[512];
        if (*entry->d_name < '0' || *entry->d_name > '9')
            continue;
        snprintf(path, sizeof path, "/proc/%s/stat", entry->d_name);
        FILE *file = fopen(path, "re");
        if (!file)
            continue;
        /* The name in brackets may hold anything, brackets too. */
        const char *close = fgets(line, sizeof line, file) ? strrchr(line, ')') : NULL;
        int parent;
        if (close && sscanf(close + 1, " %*c %d", &parent) == 1)
            pairs[pair_count++] = (struct pair){atoi(entry->d_name), parent};
        fclose(file);
    }
    if (folder)
        closedir(folder);
    if (room)
        family[count++] = pid;
    for (size_t i = 0; i < count; i++)
        for (size_t p = 0; p < pair_count && count < room; p++)
            if (pairs[p].parent == family[i])
                family[count++] = pairs[p].pid;
    free(pairs);
    return count;
}

/* ---- loopback and programs ---- */

unsigned bench__free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof address;
    int one = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    unsigned port = 0;
    if (one >= 0 && !bind(one, (struct sockaddr *)&address, bytes) &&
        !getsockname(one, (struct sockaddr *)&address, &bytes))
        port = ntohs(address.sin_port);
    if (one >= 0)
        close(one);
    return port;
}

int bench__connect(unsigned port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int one = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (one < 0)
        return -1;
    struct timeval patience = {.tv_sec = 60}; /* under memcheck on a busy machine 10 were too few */
    setsockopt(one, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (connect(one, (struct sockaddr *)&address, sizeof address)) {
        close(one);
        return -1;
    }
    return one;
}

bool bench__answers(unsigned port)
{
    int one = bench__connect(port);
    if (one < 0)
        return false;
    close(one);
    return true;
}

int bench__find_own(struct base_error *error, char path[BENCH_PATH], const char *folder, const char *name)
{
    char self[BENCH_PATH / 2];
    ssize_t bytes = readlink("/proc/self/exe", self, sizeof self - 1);
    if (bytes < 0)
        return base_fail(error, BASE_EXIT_ENVIRONMENT, "cannot read /proc/self/exe: is /proc mounted?");
    self[bytes] = 0;
    *strrchr(self, '/') = 0;
    const char *const folders[] = {"", folder};
    for (int i = 0; i < 2; i++) {
        snprintf(path, BENCH_PATH, "%s/%s%s%s", self, folders[i], *folders[i] ? "/" : "", name);
        if (access(path, R_OK) == 0)
            return 0;
    }
    return base_fail(error, BASE_EXIT_ENVIRONMENT, "%s is missing beside %s: build it with make", name, self);
}

bool bench__installed(const char *program)
{
    char path[4096];
    return image_find_file(NULL, path, program) == 0;
}

bool bench__listed(const char *list, const char *name)
{
    char pattern[128];
    if (!list)
        return true;
    for (const char *at = list; *at;) {
        size_t bytes = strcspn(at, ",");
        if (bytes && bytes < sizeof pattern) {
            memcpy(pattern, at, bytes);
            pattern[bytes] = 0;
            if (core_glob(pattern, name))
                return true;
        }
        at += bytes + (at[bytes] == ',');
    }
    return false;
}
