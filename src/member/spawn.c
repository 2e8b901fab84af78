/* Starts the program with the runtime injected, passes signals on to it and sees it end. */
#define _GNU_SOURCE
#include "member/private.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* After this long a program is no short run any more, and time is spent to make its reports fast. */
static const uint64_t settled_ns = 300000000u;
enum { LAST_ROUNDS = 16 }; /* a bound for what processes that outlive the program keep writing */

/* What signal handlers may see: the program's pid and the member that started it last. */
static volatile pid_t signal_target;
static struct member *volatile signal_member;

/* Counts up the sleeper's futex word instead of setting a flag: the sleeper compares it with the value it saw before it
   looked, so a signal between its look and its sleep is not lost. */
static void ring(void)
{
    struct member *member = signal_member;
    if (member)
        member_wake(member);
}

static void on_child(int number)
{
    (void)number;
    int saved = errno;
    ring();
    errno = saved;
}

/* Last signal that asked for an end, whoever got it: the program may have been dead already. */
static volatile sig_atomic_t stop_signal;

int member_stop_signal(void)
{
    return stop_signal;
}

static void on_signal(int number, siginfo_t *info, void *context)
{
    (void)context;
    int saved = errno;
    pid_t target = signal_target;
    if (number == SIGTERM || number == SIGINT || number == SIGQUIT)
        stop_signal = number;
    /* The terminal's own signals (SI_KERNEL) go to the whole foreground group: the program has it too. */
    if (target > 0 && info->si_code != SI_KERNEL && info->si_pid != target)
        kill(target, number);
    ring();
    errno = saved;
}

void member__forget(const struct member *member)
{
    if (signal_member == member) {
        signal_target = 0;
        signal_member = NULL;
    }
}

static const int forwarded[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGCONT};

static void install_handlers(void)
{
    struct sigaction child = {.sa_handler = on_child, .sa_flags = SA_RESTART};
    sigaction(SIGCHLD, &child, NULL);
    struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_RESTART};
    for (size_t i = 0; i < sizeof forwarded / sizeof *forwarded; i++) {
        struct sigaction old;
        /* What we were told to ignore (nohup) the program ignores too: it inherits that, and we leave it. */
        if (!sigaction(forwarded[i], NULL, &old) && old.sa_handler != SIG_IGN)
            sigaction(forwarded[i], &action, NULL);
    }
}

/* Environment of the program: ours, the runtime first in LD_PRELOAD, the way to the page. Owns: free() of the
   array and of its first two strings. */
static char **make_environment(const struct member *member)
{
    size_t count = 0, kept = 2;
    while (environ[count])
        count++;
    char **list = calloc(count + 3, sizeof *list);
    const char *preload = getenv("LD_PRELOAD");
    if (!list)
        return NULL;
    if (asprintf(&list[0], "LD_PRELOAD=%s%s%s", member->stem, preload && *preload ? ":" : "",
                 preload ? preload : "") < 0)
        list[0] = NULL;
    if (asprintf(&list[1], "%s=%d:/proc/%d/fd/%d", WIRE_CONTROL_VARIABLE, member->page_fd, getpid(),
                 member->page_fd) < 0)
        list[1] = NULL;
    if (!list[0] || !list[1]) {
        free(list[0]);
        free(list[1]);
        free(list);
        return NULL;
    }
    for (size_t i = 0; i < count; i++)
        if (strncmp(environ[i], "LD_PRELOAD=", 11) != 0 &&
            strncmp(environ[i], WIRE_CONTROL_VARIABLE "=", sizeof WIRE_CONTROL_VARIABLE) != 0)
            list[kept++] = environ[i];
    return list;
}

/* In the new process, between fork and exec: async-signal-safe calls only, the caller may have threads. */
static void become_program(const struct member *member, const char *path, char *const argv[],
                           char *const environment[], int report, const sigset_t *mask)
{
    int error;
    fcntl(member->page_fd, F_SETFD, 0);
    if (member->counting_fd >= 0)
        fcntl(member->counting_fd, F_SETFD, 0);
    /* A signal that came meanwhile is the program's: our handlers must not swallow it when the mask opens. */
    for (size_t i = 0; i < sizeof forwarded / sizeof *forwarded; i++) {
        struct sigaction now;
        if (!sigaction(forwarded[i], NULL, &now) && now.sa_handler != SIG_IGN)
            signal(forwarded[i], SIG_DFL);
    }
    if (!member->pipe_ignored)
        signal(SIGPIPE,
               SIG_DFL); /* a command of ours may ignore it by now: that is not the program's affair */
    sigprocmask(SIG_SETMASK, mask, NULL);
    if (member->traced)
        ptrace(PTRACE_TRACEME, 0, NULL, NULL);
    execve(path, argv, environment);
    error = errno;
    if (write(report, &error, sizeof error) < 0)
        _exit(126);
    _exit(127);
}

int member_vet(struct base_error *error, const char *program)
{
    char path[4096];
    struct image *image;
    if (image_find_program(error, path, program) || image_open(error, &image, path))
        return -1;
    struct image_traits traits = image_traits(image);
    image_close(image);
    if (traits.is_static)
        return base_fail(error, BASE_EXIT_ENVIRONMENT,
                         "%s is statically linked: no runtime can be loaded into it; link it dynamically",
                         path);
    if (!traits.program)
        return base_fail(error, BASE_EXIT_ENVIRONMENT, "%s is a shared library, not a program", path);
    if (traits.set_id)
        return base_fail(error, BASE_EXIT_ENVIRONMENT,
                         "%s is setuid, setgid or has file capabilities: the loader drops preloads; "
                         "supervise a copy without",
                         path);
    return 0;
}

/* Whether the program runs without the runtime because it cannot be supervised. Returns -1 when it is not to be started. */
static int decide_native(struct base_error *error, struct member *member, const char *program)
{
    char path[4096];
    if (!member_vet(error, program))
        return 0;
    if (!member->options.native_if_refused || image_find_program(NULL, path, program))
        return -1;
    if (!member->told_native)
        base_warn("%s; it runs unsupervised", error->text);
    member->told_native = true;
    return 1;
}

int member_start(struct base_error *error, struct member *member, char *const argv[])
{
    char path[4096];
    int report[2], native = decide_native(error, member, argv[0]);
    if (native < 0 || image_find_file(error, path, argv[0]) || member__collector_start(error, member))
        return -1;
    char **injected = make_environment(member), **environment = native ? environ : injected;
    if (!injected)
        return base_fail(error, BASE_EXIT_FAILURE, "out of memory");
    if (!member->signals) {
        install_handlers();
        member->signals = true;
    }
    /* Forwarded signals wait until the handlers know the new pid: none of them is lost or goes to nobody. */
    sigset_t all, old;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &old);
    signal_member = member;
    int result = -1, code = 0;
    pid_t pid = -1;
    if (pipe2(report, O_CLOEXEC)) {
        base_fail(error, BASE_EXIT_ENVIRONMENT, "cannot make a pipe: %s", strerror(errno));
    } else {
        pid = fork();
        if (pid == 0)
            become_program(member, path, argv, environment, report[1], &old);
        close(report[1]);
        if (pid < 0)
            base_fail(error, BASE_EXIT_ENVIRONMENT, "cannot start a process: %s", strerror(errno));
        else if (read(report[0], &code, sizeof code) == (ssize_t)sizeof code) {
            waitpid(pid, NULL, 0);
            base_fail(error, BASE_EXIT_ENVIRONMENT, "cannot start %s: %s", argv[0], strerror(code));
        } else {
            result = 0;
        }
        close(report[0]);
    }
    if (!result) {
        member->started_ns = base_monotonic_ns();
        __atomic_store_n(&member->pid, pid, __ATOMIC_RELEASE);
        signal_target = pid;
    }
    sigprocmask(SIG_SETMASK, &old, NULL);
    free(injected[0]);
    free(injected[1]);
    free(injected);
    return result;
}

int member_pid(const struct member *member)
{
    return __atomic_load_n(&member->pid, __ATOMIC_ACQUIRE);
}

void member_signal(struct member *member, int signal)
{
    int pid = member_pid(member);
    if (pid > 0)
        kill(pid, signal);
}

bool member_serve(struct member *member, int *status, unsigned timeout_ms)
{
    uint32_t seen = __atomic_load_n(&member->work, __ATOMIC_SEQ_CST);
    int pid = member_pid(member), got = 0;
    bool ended = false;
    /* Forget the pid before its end is collected: a signal sent after that could meet a stranger. */
    siginfo_t info = {.si_pid = 0};
    if (pid > 0 && !waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) && info.si_pid == pid) {
        signal_target = 0;
        __atomic_store_n(&member->pid, 0, __ATOMIC_RELEASE);
        ended = waitpid(pid, &got, 0) == pid;
    }
    member__answer(member);
    bool all = member__collect(member);
    if (ended) {
        for (unsigned i = 0; i < LAST_ROUNDS && !all; i++)
            all = member__collect(member);
        *status = got;
        return true;
    }
    if (all)
        member__reclaim(member);
    bool settled = base_monotonic_ns() - member->started_ns > settled_ns;
    if (all && !(settled && member__warm(member)))
        member__futex_wait(&member->work, seen, timeout_ms);
    return false;
}

unsigned member_backoff_ms(struct member_backoff *backoff, uint64_t lived_ns)
{
    const uint64_t young_ns = 10000000000u, grown_up_ns = 60000000000u;
    if (lived_ns >= grown_up_ns)
        backoff->early_deaths = 0;
    unsigned deaths = backoff->early_deaths;
    if (lived_ns < young_ns && backoff->early_deaths < 16)
        backoff->early_deaths++;
    if (!deaths)
        return 0;
    unsigned pause = deaths < 10 ? 100u << (deaths - 1) : 30000;
    return pause < 30000 ? pause : 30000;
}
