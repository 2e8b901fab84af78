/* The control page's life: made, filled, sealed, given up. */
#define _GNU_SOURCE
#include "member/private.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <linux/futex.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

_Static_assert((int)IMAGE_RETURNS_FLOAT == (int)WIRE_RETURNS_FLOAT &&
                   (int)IMAGE_RETURNS_ZERO == (int)WIRE_RETURNS_ZERO &&
                   (int)IMAGE_RETURNS_POINTER == (int)WIRE_RETURNS_POINTER &&
                   (int)IMAGE_RETURNS_VOID == (int)WIRE_RETURNS_VOID &&
                   (int)IMAGE_RETURNS_INTEGER == (int)WIRE_RETURNS_INTEGER,
               "return kinds of image and wire agree");

enum { DEFAULT_WAIT_MS = 2000, HIGH_FD = 600 };

void member__futex_wake(uint32_t *word)
{
    syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

void member__futex_wait(uint32_t *word, uint32_t seen, unsigned timeout_ms)
{
    struct timespec timeout = {.tv_sec = timeout_ms / 1000, .tv_nsec = (long)(timeout_ms % 1000) * 1000000};
    syscall(SYS_futex, word, FUTEX_WAIT, seen, &timeout, NULL, 0);
}

/* Comma-separated patterns to NUL-separated ones, ended by an empty one. */
static int fill_patterns(struct base_error *error, char *out, const char *list)
{
    size_t used = 0;
    while (*list) {
        size_t bytes = strcspn(list, ",");
        if (bytes && used + bytes + 2 > WIRE_PATTERNS_BYTES)
            return base_fail(error, BASE_EXIT_USAGE, "the list of objects is longer than %u bytes",
                             WIRE_PATTERNS_BYTES - 2);
        memcpy(out + used, list, bytes);
        used += bytes ? bytes + 1 : 0;
        list += bytes + (list[bytes] == ',');
    }
    return 0;
}

static bool is_file(const char *path)
{
    return access(path, R_OK) == 0;
}

/* LD_PRELOAD takes a list that spaces and colons separate, and has no way to quote them. */
static int find_stem(struct base_error *error, char path[4096], const char *given)
{
    static const char *const places[] = {"libtestudo-stem.so", "../lib/testudo/libtestudo-stem.so",
                                         "../lib/x86_64-linux-gnu/libtestudo-stem.so",
                                         "../lib/libtestudo-stem.so", "../libtestudo-stem.so"};
    const char *variable = given ? given : getenv("TESTUDO_STEM");
    char found[4096] = "";
    if (variable && *variable) {
        if (!is_file(variable))
            return base_fail(error, BASE_EXIT_ENVIRONMENT, "the runtime %s cannot be read: %s%s", variable,
                             strerror(errno), given ? "" : "; correct or unset TESTUDO_STEM");
        snprintf(found, sizeof found, "%s", variable);
    } else {
        char self[PATH_MAX];
        ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
        self[n > 0 ? n : 0] = 0;
        char *slash = strrchr(self, '/');
        if (slash)
            slash[1] = 0;
        for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
            snprintf(found, sizeof found, "%.3000s%s", self, places[i]);
            if (is_file(found))
                break;
            found[0] = 0;
        }
        if (!found[0])
            return base_fail(error, BASE_EXIT_ENVIRONMENT,
                             "libtestudo-stem.so is not beside %stestudo; name it in TESTUDO_STEM", self);
    }
    char *real = realpath(found, NULL);
    bool fits = real && strlen(real) < 4096 && !strpbrk(real, " :\t\n");
    if (fits)
        strcpy(path, real);
    free(real);
    return fits ? 0
                : base_fail(error, BASE_EXIT_ENVIRONMENT,
                            "%s: LD_PRELOAD cannot hold a path with a space or colon; move the runtime",
                            found);
}

int member__move_high(int fd)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit))
        return fd;
    int lowest = limit.rlim_cur > HIGH_FD + 64 ? HIGH_FD : limit.rlim_cur > 64 ? (int)limit.rlim_cur - 32 : 3;
    int high = fcntl(fd, F_DUPFD_CLOEXEC, lowest);
    if (high < 0)
        return fd;
    close(fd);
    return high;
}

static int make_page(struct base_error *error, struct member *member)
{
    int fd = memfd_create("testudo-control", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return base_fail(error, BASE_EXIT_ENVIRONMENT, "cannot make the control page (memfd_create): %s",
                         strerror(errno));
    member->page_fd = member__move_high(fd);
    /* Sealed: a process of the program that shrank the file would make our next read a SIGBUS. */
    if (ftruncate(member->page_fd, sizeof *member->page) ||
        fcntl(member->page_fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL))
        return base_fail(error, BASE_EXIT_ENVIRONMENT, "cannot size the control page: %s", strerror(errno));
    void *page = mmap(NULL, sizeof *member->page, PROT_READ | PROT_WRITE, MAP_SHARED, member->page_fd, 0);
    if (page == MAP_FAILED)
        return base_fail(error, BASE_EXIT_ENVIRONMENT, "cannot map the control page: %s", strerror(errno));
    member->page = page;
    return 0;
}

/* TESTUDO_KNOBS: names of core/knobs.def with commas, for measurements and self-tests. */
static int read_knobs(struct base_error *error, uint32_t *knobs)
{
    const char *text = getenv("TESTUDO_KNOBS");
    *knobs = 0;
    while (text && *text) {
        size_t length = strcspn(text, ",");
        unsigned knob = 0;
        while (knob < CORE_KNOB_COUNT &&
               (strlen(core_knob_name(knob)) != length || strncmp(core_knob_name(knob), text, length)))
            knob++;
        if (knob == CORE_KNOB_COUNT)
            return base_fail(error, BASE_EXIT_USAGE, "TESTUDO_KNOBS: no knob is called %.*s", (int)length,
                             text);
        *knobs |= 1u << knob;
        text += length + (text[length] == ',');
    }
    return 0;
}

static int fill_page(struct base_error *error, struct member *member)
{
    const struct member_options *o = &member->options;
    struct wire_control *page = member->page;
    uint32_t knobs;
    if (read_knobs(error, &knobs))
        return -1;
    page->version = WIRE_CONTROL_VERSION;
    page->bytes = sizeof *page;
    page->supervisor_pid = getpid();
    page->config = (struct wire_config){
        .mode = o->mode,
        .on_fault = o->on_fault,
        .default_level = o->default_level,
        .stop_status = (uint32_t)o->stop_status,
        .knobs = knobs | o->knobs,
        .answer_ms = o->answer_ms ? o->answer_ms : DEFAULT_WAIT_MS,
        .crash_ms = o->crash_ms ? o->crash_ms : DEFAULT_WAIT_MS,
        .heap_stacks = !o->no_heap_stacks,
    };
    for (unsigned i = 0; i < o->allocator_count && i < WIRE_ALLOCATORS_MAX; i++)
        page->config.allocators[page->config.allocator_count++] = o->allocators[i];
    if (o->objects && fill_patterns(error, page->config.objects, o->objects))
        return -1;
    page->magic = WIRE_CONTROL_MAGIC;
    return 0;
}

int member_open(struct base_error *error, struct member **out, const struct member_options *options,
                const struct member_hooks *hooks)
{
    *out = NULL;
    struct member *member = calloc(1, sizeof *member);
    if (!member)
        return base_fail(error, BASE_EXIT_FAILURE, "out of memory");
    member->options = *options;
    member->hooks = *hooks;
    member->page_fd = member->counting_fd = -1;
    struct sigaction pipe_action;
    member->pipe_ignored = !sigaction(SIGPIPE, NULL, &pipe_action) && pipe_action.sa_handler == SIG_IGN;
    pthread_mutex_init(&member->lock, NULL);
    pthread_mutex_init(&member->queue_lock, NULL);
    member->queue_end = &member->queue_first;
    for (uint32_t i = 0; i < WIRE_OBJECTS_MAX; i++)
        member->objects[i].path = "";
    if (find_stem(error, member->stem, options->stem) || make_page(error, member) ||
        fill_page(error, member) || (options->counting && member__counting_start(error, member))) {
        member_close(member);
        return -1;
    }
    *out = member;
    return 0;
}

void member_close(struct member *member)
{
    if (!member)
        return;
    member__forget(member);
    if (member->page)
        member__collector_stop(member);
    while (member->extras) {
        struct extra *extra = member->extras;
        member->extras = extra->next;
        image_close(extra->image);
        free(extra->path);
        free(extra);
    }
    /* Processes of the program that live on must not wait for answers from nobody. */
    if (member->page)
        __atomic_store_n(&member->page->supervisor_pid, 0, __ATOMIC_RELEASE);
    if (member->page)
        munmap(member->page, sizeof *member->page);
    if (member->page_fd >= 0)
        close(member->page_fd);
    member__counting_stop(member);
    pthread_mutex_destroy(&member->lock);
    pthread_mutex_destroy(&member->queue_lock);
    free(member);
}

void member_wake(struct member *member)
{
    __atomic_fetch_add(&member->work, 1, __ATOMIC_SEQ_CST);
    member__futex_wake(&member->work);
}

void member_disarm(struct member *member)
{
    __atomic_store_n(&member->page->disarm, 1, __ATOMIC_RELEASE);
}
