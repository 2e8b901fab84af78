/* Entries of the control page that no living process uses, taken back when the page runs full.

   A process that uses an entry maps that entry's mark (WIRE_MARK_OFFSET): forked children inherit the mapping, and it ends with
   the process, whatever ends it. So who uses what stands in /proc/PID/maps, and nothing has to be tidied up after anybody. What the
   search cannot see through, a process whose mappings we may not read, keeps everything. */
#define _GNU_SOURCE
#include "member/private.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

enum { SHORT_OF = 4, PASSES = 2, TRIES = 8 };
static const uint64_t stuck_patience_ns = 10000000000u, pause_ns = 200000000u;

struct search {
    uint64_t inode;
    unsigned device_major, device_minor;
    char *text;
    size_t room;
    bool blind; /* there is a process that could not be looked at */
    bool used[WIRE_OBJECTS_MAX];
};

/* ---- who uses what --------------------------------------------------------------------------------------------- */

static void look_at_line(struct search *s, const char *line)
{
    uint64_t low, high, offset, inode;
    unsigned device_major, device_minor;
    if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %*s %" SCNx64 " %x:%x %" SCNu64, &low, &high, &offset,
               &device_major, &device_minor, &inode) != 6 ||
        inode != s->inode || device_major != s->device_major || device_minor != s->device_minor)
        return;
    /* Marks of neighbouring entries are one mapping. The page itself begins at 0, views of levels lie behind all marks. */
    for (uint64_t at = offset; at >= WIRE_MARK_OFFSET(0) && at < offset + (high - low); at += 4096) {
        uint64_t index = (at - WIRE_MARK_OFFSET(0)) / 4096;
        if (index < WIRE_OBJECTS_MAX)
            s->used[index] = true;
    }
}

static ssize_t read_file(char *text, size_t room, int proc, const char *pid, const char *name)
{
    char path[64];
    snprintf(path, sizeof path, "%.20s/%s", pid, name);
    int fd = openat(proc, path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, room - 1);
    if (fd >= 0)
        close(fd);
    text[n > 0 ? n : 0] = 0;
    return n;
}

/* When a process began, in ticks since the machine did. 0: it is gone. */
static uint64_t began(int proc, const char *pid)
{
    char text[1024], *at;
    if (read_file(text, sizeof text, proc, pid, "stat") <= 0 || !(at = strrchr(text, ')')))
        return 0;
    for (unsigned field = 2; at && field < 22; field++)
        at = strchr(at + 1, ' ');
    return at ? strtoull(at, NULL, 10) : 0;
}

/* A process that we may not look at matters when it can be one of the program's: younger than we are, and of our user unless
   we are root. */
static bool may_be_ours(int proc, const char *pid)
{
    char text[2048], *line;
    if (began(proc, pid) < began(proc, "self") || read_file(text, sizeof text, proc, pid, "status") <= 0)
        return false;
    line = strstr(text, "\nUid:");
    return geteuid() == 0 || (line && strtoul(line + 5, NULL, 10) == getuid());
}

static void look_at_process(struct search *s, int proc, const char *pid)
{
    char path[64];
    snprintf(path, sizeof path, "%.20s/maps", pid);
    int fd = openat(proc, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        s->blind |= errno != ENOENT && errno != ESRCH && may_be_ours(proc, pid);
        return;
    }
    size_t used = 0;
    for (;;) {
        if (s->room - used < 8192) {
            char *larger = realloc(s->text, s->room * 2);
            if (!larger) {
                s->blind = true;
                break;
            }
            s->text = larger;
            s->room *= 2;
        }
        ssize_t n = read(fd, s->text + used, s->room - used - 1);
        if (n <= 0)
            break;
        used += (size_t)n;
    }
    close(fd);
    s->text[used] = 0;
    for (char *at = s->text; (at = strstr(at, "/memfd:testudo-control"));) {
        char *line = at;
        while (line > s->text && line[-1] != '\n')
            line--;
        look_at_line(s, line);
        at += strcspn(at, "\n");
    }
}

/* Returns whether all processes were looked at. */
static bool search(struct search *s, const struct member *member)
{
    struct stat status;
    DIR *directory = opendir("/proc");
    if (!directory || fstat(member->page_fd, &status)) {
        if (directory)
            closedir(directory);
        return false;
    }
    s->inode = status.st_ino;
    s->device_major = major(status.st_dev);
    s->device_minor = minor(status.st_dev);
    s->room = 1 << 16;
    s->text = malloc(s->room);
    /* Numbers rise, and so does the order of this list: a child is behind its parent, unless the numbers began anew between the
       two. Then it is met in the second pass. */
    for (unsigned pass = 0; s->text && pass < PASSES && !s->blind; pass++) {
        rewinddir(directory);
        for (const struct dirent *entry; (entry = readdir(directory)) && !s->blind;)
            if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9')
                look_at_process(s, dirfd(directory), entry->d_name);
    }
    bool whole = s->text && !s->blind;
    free(s->text);
    closedir(directory);
    return whole;
}

/* ---- taking back ------------------------------------------------------------------------------------------------ */

static bool change(struct wire_object *shared, uint32_t from, uint32_t to)
{
    return __atomic_compare_exchange_n(&shared->state, &from, to, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
}

/* Whether records wait that name objects by their number. */
static bool has_records(struct member *member)
{
    pthread_mutex_lock(&member->queue_lock);
    bool waiting = member->queue_count != 0;
    for (uint32_t i = 0; i < WIRE_FAULTS_MAX; i++)
        waiting |= __atomic_load_n(&member->page->faults[i].state, __ATOMIC_ACQUIRE) == WIRE_FAULT_READY;
    pthread_mutex_unlock(&member->queue_lock);
    return waiting;
}

/* Our part of an entry that is ours alone now. */
static void clear_entry(struct member *member, uint32_t index)
{
    struct object *object = &member->objects[index];
    bool again = false;
    pthread_mutex_lock(&member->lock);
    for (uint32_t i = 0; i < WIRE_OBJECTS_MAX; i++)
        again |= i != index && member->objects[i].known && member->objects[i].file == object->file;
    if (object->known && object->own && object->file && !again) {
        object->file->past = (struct member_stats){.objects_own = 0};
        member__count(member, &object->file->past, object);
        object->file->is_past = true;
    }
    __atomic_store_n(&member->page->locals_of[index].count, 0, __ATOMIC_RELEASE);
    *object = (struct object){.path = ""};
    pthread_mutex_unlock(&member->lock);
}

/* An entry whose maker was killed over it is recognised by having been nobody's for long. */
static bool is_stuck(struct member *member, uint32_t index, uint64_t now)
{
    uint64_t *since = &member->reclaim.stuck_ns[index];
    if (!*since)
        *since = now;
    return now - *since > stuck_patience_ns;
}

static void take_back(struct member *member, const struct search *s, bool whole)
{
    uint64_t now = base_monotonic_ns();
    for (uint32_t i = 0; i < WIRE_OBJECTS_MAX; i++) {
        struct wire_object *shared = &member->page->objects[i];
        uint32_t state = __atomic_load_n(&shared->state, __ATOMIC_ACQUIRE);
        bool filling = state == WIRE_OBJECT_FILLING || state == WIRE_OBJECT_NAMED;
        bool unused = whole && !s->used[i];
        if (!filling || !unused)
            member->reclaim.stuck_ns[i] = 0;
        if (state == WIRE_OBJECT_DOUBTED && !unused)
            change(shared, state, WIRE_OBJECT_ANSWERED);
        else if (unused && (state == WIRE_OBJECT_DOUBTED || (filling && is_stuck(member, i, now))) &&
                 change(shared, state, WIRE_OBJECT_FILLING)) {
            clear_entry(member, i);
            __atomic_store_n(&shared->state, WIRE_OBJECT_RETIRED, __ATOMIC_RELEASE);
        }
    }
}

/* ---- runs of functions -------------------------------------------------------------------------------------------- */

struct run {
    uint32_t first, end;
};

static int by_first(const void *a, const void *b)
{
    uint32_t x = ((const struct run *)a)->first, y = ((const struct run *)b)->first;
    return (x > y) - (x < y);
}

static int by_length(const void *a, const void *b)
{
    const struct run *x = a, *y = b;
    uint32_t m = x->end - x->first, n = y->end - y->first;
    return (m < n) - (m > n);
}

/* What no entry in use has, below `end`, longest first. Returns how many. */
static unsigned find_gaps(struct run *gaps, struct run *runs, unsigned count, uint32_t end)
{
    unsigned n = 0;
    uint32_t from = 0;
    qsort(runs, count, sizeof *runs, by_first);
    for (unsigned i = 0; i <= count; i++) {
        uint32_t to = i < count ? runs[i].first : end;
        if (to > from && to <= end)
            gaps[n++] = (struct run){from, to};
        if (i < count && runs[i].end > from)
            from = runs[i].end;
    }
    qsort(gaps, n, sizeof *gaps, by_length);
    return n;
}

/* Small runs of entries given back become large ones. Only while nobody is claiming: who claims counts its entry first and takes its
   functions then, so that a number of entries that has not changed tells that all runs taken are to be seen. */
static void join_runs(struct member *member)
{
    struct wire_control *page = member->page;
    struct run runs[WIRE_OBJECTS_MAX], gaps[WIRE_OBJECTS_MAX + 1];
    uint32_t held[WIRE_OBJECTS_MAX], held_count = 0, run_count = 0;
    uint32_t count = __atomic_load_n(&page->object_count, __ATOMIC_SEQ_CST);
    bool settled = count <= WIRE_OBJECTS_MAX;
    for (uint32_t i = 0; settled && i < count; i++) {
        struct wire_object *shared = &page->objects[i];
        if (change(shared, WIRE_OBJECT_RETIRED, WIRE_OBJECT_FILLING)) {
            held[held_count++] = i;
            continue;
        }
        uint32_t state = __atomic_load_n(&shared->state, __ATOMIC_SEQ_CST);
        uint32_t first = shared->first_function, room = shared->room;
        settled = (state == WIRE_OBJECT_LISTED || state == WIRE_OBJECT_ANSWERED) &&
                  first <= WIRE_FUNCTIONS_MAX && room <= WIRE_FUNCTIONS_MAX - first;
        if (settled && room)
            runs[run_count++] = (struct run){first, first + room};
    }
    uint32_t end = __atomic_load_n(&page->function_count, __ATOMIC_SEQ_CST);
    settled &= __atomic_load_n(&page->object_count, __ATOMIC_SEQ_CST) == count && end <= WIRE_FUNCTIONS_MAX;
    unsigned gap_count = settled ? find_gaps(gaps, runs, run_count, end) : 0;
    for (uint32_t i = 0; i < held_count; i++) {
        struct wire_object *shared = &page->objects[held[i]];
        if (settled) {
            shared->first_function = i < gap_count ? gaps[i].first : 0;
            shared->room = i < gap_count ? gaps[i].end - gaps[i].first : 0;
        }
        __atomic_store_n(&shared->state, WIRE_OBJECT_RETIRED, __ATOMIC_RELEASE);
    }
}

/* ---- when --------------------------------------------------------------------------------------------------------- */

static bool is_short(const struct member *member)
{
    const struct wire_control *page = member->page;
    uint32_t objects = __atomic_load_n(&page->object_count, __ATOMIC_RELAXED);
    uint32_t functions = __atomic_load_n(&page->function_count, __ATOMIC_RELAXED);
    if (objects <= WIRE_OBJECTS_MAX - WIRE_OBJECTS_MAX / SHORT_OF &&
        functions <= WIRE_FUNCTIONS_MAX - WIRE_FUNCTIONS_MAX / SHORT_OF)
        return false;
    uint64_t free_objects = objects < WIRE_OBJECTS_MAX ? WIRE_OBJECTS_MAX - objects : 0;
    uint64_t free_functions = functions < WIRE_FUNCTIONS_MAX ? WIRE_FUNCTIONS_MAX - functions : 0;
    for (uint32_t i = 0; i < WIRE_OBJECTS_MAX; i++)
        if (__atomic_load_n(&page->objects[i].state, __ATOMIC_RELAXED) == WIRE_OBJECT_RETIRED) {
            free_objects++;
            free_functions += page->objects[i].room;
        }
    return free_objects < WIRE_OBJECTS_MAX / SHORT_OF || free_functions < WIRE_FUNCTIONS_MAX / SHORT_OF;
}

/* Returns whether all processes could be looked at. Out: `done`, whether nobody's entries were taken back: not while records wait,
   whose numbers must mean what they meant. */
static bool look(struct member *member, bool *done)
{
    struct search s = {.inode = 0};
    if (has_records(member))
        return true;
    for (uint32_t i = 0; i < WIRE_OBJECTS_MAX; i++)
        if (member->objects[i].known)
            change(&member->page->objects[i], WIRE_OBJECT_ANSWERED, WIRE_OBJECT_DOUBTED);
    bool whole = search(&s, member);
    *done = whole && !has_records(member);
    take_back(member, &s, *done);
    return whole;
}

void member__reclaim(struct member *member)
{
    struct wire_control *page = member->page;
    uint32_t wanted = __atomic_load_n(&page->wanted, __ATOMIC_ACQUIRE);
    bool asked = wanted != member->reclaim.wanted;
    uint64_t now = base_monotonic_ns();
    /* Not all the time when all that stands there is in use: at most one part in twenty of our time. */
    uint64_t pause = 20 * member->reclaim.took_ns > pause_ns ? 20 * member->reclaim.took_ns : pause_ns;
    bool soon = now - member->reclaim.ended_ns < pause;
    if (!asked && (soon || !is_short(member)))
        return;
    /* A recording needs its functions to the end. */
    if (!member->counting) {
        bool whole = true, done = false;
        for (unsigned tries = 0; tries < TRIES && whole && !done; tries++) {
            member__collect(member);
            whole = look(member, &done);
        }
        join_runs(member);
        member->reclaim.ended_ns = base_monotonic_ns();
        member->reclaim.took_ns = member->reclaim.ended_ns - now;
    }
    member->reclaim.wanted = wanted;
    __atomic_fetch_add(&page->cleared, 1, __ATOMIC_SEQ_CST);
    member__futex_wake(&page->cleared);
}
