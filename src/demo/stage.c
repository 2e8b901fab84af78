/* Processes and files of the story: everything lives in one temporary folder, every process is a descendant of ours, and
   all of it is gone afterwards, whatever happened. We are the reaper of our descendants (PR_SET_CHILD_SUBREAPER): a
   process whose parent died becomes our child, so that none escapes. */
#define _GNU_SOURCE
#include "demo/private.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <grp.h>
#include <netinet/in.h>
#include <pwd.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t stop_signal;

static void on_stop(int number)
{
    stop_signal = number;
}

int demo_stopped(void)
{
    return stop_signal;
}

bool demo_pause(unsigned ms)
{
    struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    if (!stop_signal)
        nanosleep(&pause, NULL);
    return !stop_signal;
}

unsigned demo_free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t bytes = sizeof address;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) ||
        getsockname(fd, (struct sockaddr *)&address, &bytes))
        address.sin_port = 0;
    if (fd >= 0)
        close(fd);
    return ntohs(address.sin_port);
}

/* The third field of /proc/PID/stat, behind the name in parentheses, which may hold anything. */
static char process_state(pid_t pid)
{
    char path[64], text[512];
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    FILE *file = fopen(path, "r");
    if (!file)
        return 0;
    size_t bytes = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[bytes] = 0;
    const char *end = strrchr(text, ')');
    return end && end[1] ? end[2] : 0;
}

bool demo_alive(pid_t pid)
{
    char state = pid > 0 ? process_state(pid) : 0;
    return state && state != 'Z' && state != 'X';
}

/* ---- programs ---- */

static bool in_path(const char *program)
{
    char *path = strdup(getenv("PATH") ? getenv("PATH") : "/usr/bin:/bin"), *rest = path, full[DEMO_PATH];
    bool found = access(program, X_OK) == 0 && strchr(program, '/');
    for (const char *folder; !found && (folder = strsep(&rest, ":"));)
        found = snprintf(full, sizeof full, "%s/%s", folder, program) < DEMO_PATH && access(full, X_OK) == 0;
    free(path);
    return found;
}

static int need_programs(struct base_error *error)
{
    static const char *const needed[][2] = {{"/usr/sbin/apache2", "apache2"},
                                            {"ab", "apache2-utils"},
                                            {"nats-server", "nats-server"},
                                            {"valgrind", "valgrind"}};
    for (unsigned i = 0; i < sizeof needed / sizeof needed[0]; i++)
        if (!in_path(needed[i][0]))
            return base_fail(error, BASE_EXIT_ENVIRONMENT, "%s is missing: install Debian's package %s",
                             needed[i][0], needed[i][1]);
    return 0;
}

/* Beside the program in the build folder, or where it is installed. */
static int find_module(struct base_error *error, char *module, const char *self)
{
    static const char *const places[] = {"examples/mod_fragile/mod_fragile.so",
                                         "../lib/testudo/mod_fragile.so"};
    int folder = (int)(strrchr(self, '/') - self);
    for (unsigned i = 0; i < sizeof places / sizeof places[0]; i++)
        if (snprintf(module, DEMO_PATH, "%.*s/%s", folder, self, places[i]) < DEMO_PATH &&
            access(module, R_OK) == 0)
            return 0;
    return base_fail(error, BASE_EXIT_ENVIRONMENT, "mod_fragile.so is not beside %s: build it with make",
                     self);
}

static int copy_file(struct base_error *error, const char *to, const char *from)
{
    char *data;
    size_t bytes;
    if (base_read_file(error, &data, &bytes, from))
        return -1;
    int result = base_write_file(error, to, data, bytes);
    free(data);
    return result ? result : chmod(to, 0644);
}

/* Whether the children of an Apache that root started, who are somebody else, get at what lies in the folder: root's
   TMPDIR may be for root alone. */
static bool reachable(const char *folder)
{
    char path[DEMO_PATH];
    struct stat status;
    if (*folder != '/' || snprintf(path, sizeof path, "%s", folder) >= (int)sizeof path - 64)
        return false;
    if (geteuid() != 0)
        return true;
    for (char *end = path + strlen(path); end; end = strrchr(path, '/')) {
        *end = 0;
        if (stat(*path ? path : "/", &status) || !S_ISDIR(status.st_mode) || !(status.st_mode & S_IXOTH))
            return false;
    }
    return true;
}

int demo_stage_open(struct base_error *error, struct demo_stage *stage)
{
    char module[DEMO_PATH];
    const char *place = getenv("TMPDIR") && reachable(getenv("TMPDIR")) ? getenv("TMPDIR") : "/tmp";
    struct sigaction action = {.sa_handler = on_stop};
    stage->start_ns = base_monotonic_ns();
    ssize_t bytes = readlink("/proc/self/exe", stage->self, sizeof stage->self - 1);
    if (bytes <= 0)
        return base_fail(error, BASE_EXIT_ENVIRONMENT, "cannot read /proc/self/exe: is /proc mounted?");
    stage->self[bytes] = 0;
    if (need_programs(error) || find_module(error, module, stage->self))
        return -1;
    snprintf(stage->folder, sizeof stage->folder, "%s/testudo-demo-XXXXXX", place);
    if (!mkdtemp(stage->folder))
        return base_fail(error, BASE_EXIT_ENVIRONMENT, "cannot make a folder %s: %s", stage->folder,
                         strerror(errno));
    /* the children of Apache run as another user */
    if (chmod(stage->folder, 0755) ||
        snprintf(stage->module, sizeof stage->module, "%s/mod_fragile.so", stage->folder) >= DEMO_PATH)
        return base_fail(error, BASE_EXIT_ENVIRONMENT, "cannot use %s", stage->folder);
    if (copy_file(error, stage->module, module))
        return -1;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    return 0;
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
    (void)status;
    (void)kind;
    (void)walk;
    return remove(path), 0;
}

/* Kills our children, and theirs as they become ours, until there are none. */
static void kill_descendants(void)
{
    for (int round = 0; round < 200; round++) {
        char path[64];
        pid_t pid;
        snprintf(path, sizeof path, "/proc/self/task/%d/children", getpid());
        FILE *file = fopen(path, "r");
        bool any = false;
        while (file && fscanf(file, "%d", &pid) == 1) {
            any = true;
            kill(pid, SIGKILL);
        }
        if (file)
            fclose(file);
        while (waitpid(-1, NULL, WNOHANG) > 0)
            ;
        if (!any)
            return;
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    }
}

void demo_stage_close(struct demo_stage *stage, bool keep)
{
    while (stage->running_count)
        demo_end(stage, stage->running[stage->running_count - 1], 5000);
    kill_descendants();
    if (stage->folder[0] && !keep)
        nftw(stage->folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* In the child, between fork and exec: only what is safe there. */
static void become(const char *log, const struct passwd *user)
{
    int in = open("/dev/null", O_RDONLY), out = open(log, O_WRONLY | O_CREAT | O_APPEND, 0644);
    dup2(in, 0);
    dup2(out, 1);
    dup2(out, 2);
    /* a group of its own: a terminal's Ctrl-C is for us, who end the others in order */
    setpgid(0, 0);
    signal(SIGPIPE, SIG_DFL);
    /* by system calls: the library's functions speak to threads that a forked child does not have */
    if (user && (syscall(SYS_setgroups, 0, NULL) || syscall(SYS_setgid, user->pw_gid) ||
                 syscall(SYS_setuid, user->pw_uid)))
        _exit(126);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
}

pid_t demo_start(struct base_error *error, struct demo_stage *stage, char *const argv[], const char *log,
                 bool dropped)
{
    const struct passwd *user = dropped && geteuid() == 0 ? getpwnam("www-data") : NULL;
    if (stage->running_count == sizeof stage->running / sizeof stage->running[0])
        return base_fail(error, BASE_EXIT_FAILURE, "too many processes");
    pid_t pid = fork();
    if (pid == 0) {
        become(log, user);
        execvp(argv[0], argv);
        _exit(127);
    }
    if (pid < 0)
        return base_fail(error, BASE_EXIT_ENVIRONMENT, "cannot start %s: %s", argv[0], strerror(errno));
    stage->running[stage->running_count++] = pid;
    return pid;
}

void demo_end(struct demo_stage *stage, pid_t pid, unsigned patience_ms)
{
    uint64_t end = base_monotonic_ns() + patience_ms * 1000000ull;
    kill(pid, SIGTERM);
    while (waitpid(pid, NULL, WNOHANG) == 0) {
        if (base_monotonic_ns() > end) {
            kill(-pid, SIGKILL);
            kill(pid, SIGKILL);
            waitpid(pid, NULL, 0);
            break;
        }
        nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
    }
    for (unsigned i = 0; i < stage->running_count; i++)
        if (stage->running[i] == pid)
            stage->running[i] = stage->running[--stage->running_count];
}

int demo_command(struct base_error *error, char **output, char *const argv[])
{
    struct base_text text = {0};
    int ends[2], status = 0, complaints = memfd_create("complaints", MFD_CLOEXEC);
    if (complaints < 0 || pipe2(ends, O_CLOEXEC))
        return base_fail(error, BASE_EXIT_ENVIRONMENT, "no pipe: %s", strerror(errno));
    pid_t pid = fork();
    if (pid == 0) {
        become("/dev/null", NULL);
        dup2(ends[1], 1);
        dup2(complaints, 2);
        execvp(argv[0], argv);
        _exit(127);
    }
    close(ends[1]);
    char part[4096];
    for (ssize_t got;
         pid > 0 && ((got = read(ends[0], part, sizeof part)) > 0 || (got < 0 && errno == EINTR));)
        if (got > 0)
            base_text_add(&text, part, (size_t)got);
    close(ends[0]);
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    bool well = pid > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
    if (!well) {
        ssize_t said = pread(complaints, part, sizeof part - 1, 0);
        base_fail(error, BASE_EXIT_FAILURE, "%s %s failed: %.*s", argv[0], argv[1] ? argv[1] : "",
                  said > 0 ? (int)said : 0, part);
    }
    close(complaints);
    if (well && output) {
        *output = text.data ? text.data : calloc(1, 1);
    } else {
        base_text_free(&text);
    }
    return well ? 0 : -1;
}
