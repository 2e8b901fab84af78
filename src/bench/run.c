/* One execution of a program: natively, under a peer, or supervised, and what it used.

   A keeper process stands between us and the program in every way alike. Its children are the program alone, so that what the
   kernel sums up for it is the program's; in supervised ways the keeper is also the supervisor, whose own time is its own. */
#define _GNU_SOURCE
#include "bench/private.h"
#include "member/member.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SERVE_MS = 100, LIMIT_S = 1800 };

/* What the keeper tells us. */
struct told {
    int failed; /* 1: `error` stands */
    struct base_error error;
    struct bench_run run;
};

static enum wire_level choose(void *context, const struct member_object *object,
                              const struct member_function *function)
{
    const struct bench_job *job = context;
    bool wanted = function->name
                      ? bench__listed(job->watched, function->name)
                      : object->image && image_matches(object->image, function->offset, job->watched);
    return wanted ? WIRE_LEVEL_MONITOR : WIRE_LEVEL_NATIVE;
}

static int keep_supervised(struct base_error *error, struct bench_run *run, const struct bench_way *way,
                           const struct bench_job *job)
{
    struct member *member;
    const struct member_options options = {
        .mode = way->mode,
        .on_fault = way->mode == WIRE_MODE_FULL ? WIRE_ON_FAULT_HEAL : WIRE_ON_FAULT_REPORT,
        .default_level = job->watched ? WIRE_LEVEL_NATIVE : WIRE_LEVEL_MONITOR,
        .stop_status = BASE_EXIT_FAULTS,
        .no_heap_stacks = !way->heap_stacks,
    };
    const struct member_hooks hooks = {.context = (void *)(uintptr_t)job,
                                       .level = job->watched ? choose : NULL};
    if (member_vet(error, job->argv[0]) || member_open(error, &member, &options, &hooks))
        return -1;
    if (member_start(error, member, job->argv)) {
        member_close(member);
        return -1;
    }
    while (!member_serve(member, &run->status, SERVE_MS))
        ;
    struct member_stats stats;
    member_stats(member, &stats);
    run->faults = stats.faults;
    member_close(member);
    return 0;
}

static int keep_plain(struct base_error *error, struct bench_run *run, const struct bench_way *way,
                      const struct bench_job *job)
{
    char *words[64];
    size_t count = 0;
    for (size_t i = 0; i < BENCH_PREFIX_MAX && way->prefix[i]; i++)
        words[count++] = (char *)(uintptr_t)way->prefix[i];
    for (size_t i = 0; job->argv[i] && count < 63; i++)
        words[count++] = job->argv[i];
    words[count] = NULL;
    pid_t pid = fork();
    if (pid < 0)
        return base_fail(error, BASE_EXIT_ENVIRONMENT, "cannot start a process: %s", strerror(errno));
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        execvp(words[0], words);
        _exit(127);
    }
    while (waitpid(pid, &run->status, 0) < 0 && errno == EINTR)
        ;
    if (WIFEXITED(run->status) && WEXITSTATUS(run->status) == 127)
        return base_fail(error, BASE_EXIT_ENVIRONMENT, "cannot start %s", words[0]);
    return 0;
}

static double seconds(struct timeval time)
{
    return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

static _Noreturn void keep(int report, int output, const struct bench_way *way, const struct bench_job *job)
{
    static struct told told;
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    for (int i = 1; i < NSIG; i++)
        if (i == SIGINT || i == SIGTERM || i == SIGHUP || i == SIGPIPE)
            signal(i, SIG_DFL);
    int input = open(job->input ? job->input : "/dev/null", O_RDONLY);
    if (input < 0 || dup2(input, 0) < 0 || dup2(output, 1) < 0) {
        base_fail(&told.error, BASE_EXIT_ENVIRONMENT, "cannot open %s: %s",
                  job->input ? job->input : "/dev/null", strerror(errno));
        told.failed = 1;
    } else {
        if (input > 2)
            close(input);
        uint64_t start = base_monotonic_ns();
        told.failed = (way->supervised ? keep_supervised : keep_plain)(&told.error, &told.run, way, job) != 0;
        told.run.wall_s = (double)(base_monotonic_ns() - start) / 1e9;
        struct rusage used;
        getrusage(RUSAGE_CHILDREN, &used);
        told.run.user_s = seconds(used.ru_utime);
        told.run.cpu_s = told.run.user_s + seconds(used.ru_stime);
        told.run.rss_kib = (double)used.ru_maxrss;
    }
    ssize_t ignored = write(report, &told, sizeof told);
    (void)ignored;
    _exit(0);
}

/* What was written to the output file. */
static void take_output(struct bench_run *run, const struct bench_job *job, int output)
{
    off_t bytes = lseek(output, 0, SEEK_END);
    run->bytes = bytes > 0 ? (uint64_t)bytes : 0;
    run->hash = CORE_HASH_SEED;
    if (job->output)
        *job->output = 0;
    if (!run->bytes)
        return;
    void *data = mmap(NULL, run->bytes, PROT_READ, MAP_SHARED, output, 0);
    if (data == MAP_FAILED)
        return;
    run->hash = core_hash(CORE_HASH_SEED, data, run->bytes);
    if (job->output) {
        size_t kept = run->bytes < job->output_room ? run->bytes : job->output_room - 1;
        memcpy(job->output, data, kept);
        job->output[kept] = 0;
    }
    munmap(data, run->bytes);
}

/* Waits for the keeper's word. Returns whether it came whole. */
static bool hear(struct told *told, int report)
{
    uint64_t end = base_monotonic_ns() + LIMIT_S * 1000000000ull;
    size_t used = 0;
    while (used < sizeof *told && !bench__stopped() && base_monotonic_ns() < end) {
        struct pollfd wait = {.fd = report, .events = POLLIN};
        if (poll(&wait, 1, 1000) <= 0)
            continue;
        ssize_t got = read(report, (char *)told + used, sizeof *told - used);
        if (got == 0 || (got < 0 && errno != EINTR))
            break;
        used += got > 0 ? (size_t)got : 0;
    }
    return used == sizeof *told;
}

int bench__run(struct base_error *error, struct bench_run *run, const struct bench_way *way,
               const struct bench_job *job)
{
    static struct told told;
    int report[2];
    int output = memfd_create("output", MFD_CLOEXEC);
    if (output < 0 || pipe2(report, O_CLOEXEC)) {
        if (output >= 0)
            close(output);
        return base_fail(error, BASE_EXIT_ENVIRONMENT, "cannot make a file or a pipe: %s", strerror(errno));
    }
    /* What our buffers hold must not leave twice. And the peak size of a program begins with that of the process that became
       it: what we have freed must not count. */
    fflush(NULL);
    malloc_trim(0);
    pid_t keeper = fork();
    if (keeper == 0)
        keep(report[1], output, way, job);
    close(report[1]);
    int status = -1;
    uint64_t hash = 0;
    if (keeper < 0)
        base_fail(error, BASE_EXIT_ENVIRONMENT, "cannot start a process: %s", strerror(errno));
    else if (job->drive && job->drive(error, &hash, job->context))
        bench__end(keeper, 5000);
    else if (!hear(&told, report[0])) {
        bench__end(keeper, 5000);
        if (bench__stopped())
            bench__stop_error(error);
        else
            base_fail(error, BASE_EXIT_FAILURE, "%s %s did not end as it should", job->argv[0], way->name);
    } else {
        while (waitpid(keeper, NULL, 0) < 0 && errno == EINTR)
            ;
        status = told.failed ? -1 : 0;
        *run = told.run;
        if (told.failed && error)
            *error = told.error;
        take_output(run, job, output);
        if (job->drive)
            run->hash = hash;
    }
    close(report[0]);
    close(output);
    return status;
}

int bench__ways(struct base_error *error, struct bench_way ways[BENCH_WAYS_MAX], const char *levels,
                bool peers)
{
    static const struct bench_way supervised[] = {
        {.name = "off", .supervised = true, .mode = WIRE_MODE_OFF},
        {.name = "translate", .supervised = true, .mode = WIRE_MODE_TRANSLATE},
        {.name = "check", .supervised = true, .mode = WIRE_MODE_CHECK},
        {.name = "full", .supervised = true, .mode = WIRE_MODE_FULL},
        {.name = "check-stacks", .supervised = true, .mode = WIRE_MODE_CHECK, .heap_stacks = true},
        {.name = "full-stacks", .supervised = true, .mode = WIRE_MODE_FULL, .heap_stacks = true},
    };
    static const struct bench_way others[] = {
        /* Leaks are not what is measured, and would change the status. */
        {.name = "gcc-asan", .prefix = {"env", "ASAN_OPTIONS=detect_leaks=0"}, .peer = true, .asan = true},
        {.name = "valgrind-none", .prefix = {"valgrind", "-q", "--tool=none"}, .peer = true},
        {.name = "valgrind-memcheck", .prefix = {"valgrind", "-q", "--tool=memcheck"}, .peer = true},
    };
    int count = 0;
    ways[count++] = (struct bench_way){.name = "native"};
    for (const char *at = levels; *at;) {
        size_t bytes = strcspn(at, ","), i = 0, all = sizeof supervised / sizeof *supervised;
        while (i < all && (strlen(supervised[i].name) != bytes || memcmp(supervised[i].name, at, bytes) != 0))
            i++;
        if (i == all)
            return base_fail(
                error, BASE_EXIT_USAGE,
                "there is no level '%.*s'; there are off, translate, check, full, check-stacks and "
                "full-stacks",
                (int)bytes, at);
        if (count == BENCH_WAYS_MAX - 3)
            return base_fail(error, BASE_EXIT_USAGE, "too many levels");
        ways[count++] = supervised[i];
        at += bytes + (at[bytes] == ',');
    }
    for (size_t i = 0; peers && i < sizeof others / sizeof *others; i++)
        if (others[i].asan || bench__installed(others[i].prefix[0]))
            ways[count++] = others[i];
    return count;
}
