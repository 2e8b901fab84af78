/* One member of a community: between the program (page, restarts) and the bus (alerts, vaccines, manifest).

   Locks, outer first: the session's (around its callbacks), `apply`, the member's, `table`. The level hook runs under the
   member's lock and takes `table` alone; `apply` is held from reading the table to storing the byte, so that
   whoever stores last has read what is newest. */
#define _GNU_SOURCE
#include "member/private.h"
#include "member/slice.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    SERVE_MS = 100,
    STATUS_MS = 1000,
    REPEAT_MS = 1000,
    CLASSES_MAX = 256,
    LEAVE_MS = 1000,
    BIDS_MS = 500
};
/* How long a starting member waits: for the engine, and for the steward's answer. A program must not wait for either for
   long; one that starts without them is as well off as before it had a community. */
enum { LINK_WAIT_MS = 600, ANSWER_WAIT_MS = 1500 };
#define MS 1000000ull

/* A function under a vaccine. */
struct protected
{
    uint8_t id[WIRE_ID_BYTES];
    struct wire_place place;
    bool withdrawn;
};

/* A function by build and entry alone. */
struct spot {
    uint8_t build_id[WIRE_BUILD_ID_BYTES];
    uint32_t build_id_bytes;
    uint64_t offset;
};

/* Equal faults: the first is told at once, the others once a second by number. */
struct repeated {
    char id[17];
    uint8_t outcome;
    uint32_t waiting;
    uint64_t told_ns;
    struct wire_alert alert;
};

struct agent {
    const struct member_agent_options *options;
    struct member *member;
    struct community_session *session;
    struct repeated *classes;
    unsigned class_count;
    int fault_pid; /* process of the last fault record */
    uint32_t crashes, restarts;
    uint64_t started_ns, next_status_ns;
    bool running;

    pthread_mutex_t apply;
    pthread_mutex_t table; /* all below */
    struct protected *list;
    unsigned count, room;
    struct spot *fixed; /* named by --functions */
    unsigned fixed_count, fixed_room;
    struct member__slice *slice; /* NULL: no manifest, or slices are not wanted */
    uint64_t slice_changes_ns;   /* realtime */
    uint64_t manifest_sequence;  /* of the slice's manifest */
    uint64_t next_bids_ns;
    struct spot strangers[16]; /* builds not in the manifest that were spoken of */
    unsigned stranger_count;

    pthread_mutex_t events;
};

static void tell(struct agent *agent, struct member_event *event)
{
    if (!agent->options->event)
        return;
    pthread_mutex_lock(&agent->events);
    event->time_ns = base_realtime_ns();
    agent->options->event(agent->options->context, event);
    pthread_mutex_unlock(&agent->events);
}

/* ---- levels -------------------------------------------------------------------------------------------- */

static bool same_spot(const struct spot *spot, const uint8_t *build_id, size_t bytes, uint64_t offset)
{
    return spot->offset == offset && spot->build_id_bytes == bytes &&
           !memcmp(spot->build_id, build_id, bytes);
}

static struct spot make_spot(const uint8_t *build_id, size_t bytes, uint64_t offset)
{
    struct spot spot = {.build_id_bytes =
                            (uint32_t)(bytes < WIRE_BUILD_ID_BYTES ? bytes : WIRE_BUILD_ID_BYTES),
                        .offset = offset};
    memcpy(spot.build_id, build_id, spot.build_id_bytes);
    return spot;
}

static bool under_vaccine_locked(const struct agent *agent, const uint8_t *build_id, size_t bytes,
                                 uint64_t offset)
{
    for (unsigned i = 0; i < agent->count; i++) {
        const struct protected *entry = &agent->list[i];
        if (!entry->withdrawn && entry->place.offset == offset && entry->place.build_id_bytes == bytes &&
            !memcmp(entry->place.build_id, build_id, bytes))
            return true;
    }
    return false;
}

/* What a function's level is to be now. */
static enum wire_level level_of(struct agent *agent, const uint8_t *build_id, size_t bytes, uint64_t offset)
{
    enum wire_level level =
        agent->options->watch == MEMBER_WATCH_ALL ? WIRE_LEVEL_MONITOR : WIRE_LEVEL_NATIVE;
    pthread_mutex_lock(&agent->table);
    for (unsigned i = 0; i < agent->fixed_count && !level; i++)
        if (same_spot(&agent->fixed[i], build_id, bytes, offset))
            level = WIRE_LEVEL_MONITOR;
    if (!level && agent->slice && member__slice_watches(agent->slice, build_id, bytes, offset))
        level = WIRE_LEVEL_MONITOR;
    if (under_vaccine_locked(agent, build_id, bytes, offset))
        level = WIRE_LEVEL_PROTECT;
    pthread_mutex_unlock(&agent->table);
    return level;
}

/* Gives a function the level it is to have. Returns how many entries of the program have it. */
static unsigned apply(struct agent *agent, const uint8_t *build_id, size_t bytes, uint64_t offset)
{
    pthread_mutex_lock(&agent->apply);
    unsigned entries =
        member_set_level(agent->member, build_id, bytes, offset, level_of(agent, build_id, bytes, offset));
    pthread_mutex_unlock(&agent->apply);
    return entries;
}

static bool matches(const struct image *image, uint32_t offset, const char *patterns)
{
    char pattern[512];
    for (const char *at = patterns; at && *at;) {
        size_t bytes = strcspn(at, ",");
        if (bytes && bytes < sizeof pattern) {
            memcpy(pattern, at, bytes);
            pattern[bytes] = 0;
            if (image && image_matches(image, offset, pattern))
                return true;
        }
        at += bytes + (at[bytes] == ',');
    }
    return false;
}

/* A member of another build than the manifest's watches nothing of it: that must not go unsaid. */
static void note_stranger(struct agent *agent, const struct member_object *object)
{
    struct spot build = make_spot(object->build_id, object->build_id_bytes, 0);
    bool told = false;
    pthread_mutex_lock(&agent->table);
    bool stranger =
        agent->slice && !member__slice_knows(agent->slice, object->build_id, object->build_id_bytes);
    for (unsigned i = 0; stranger && i < agent->stranger_count; i++)
        told |= same_spot(&agent->strangers[i], build.build_id, build.build_id_bytes, 0);
    stranger =
        stranger && !told && agent->stranger_count < sizeof agent->strangers / sizeof *agent->strangers;
    if (stranger)
        agent->strangers[agent->stranger_count++] = build;
    pthread_mutex_unlock(&agent->table);
    if (!stranger)
        return;
    char id[2 * WIRE_BUILD_ID_BYTES + 1];
    base_hex(id, build.build_id, build.build_id_bytes);
    base_warn("%s (build-id %s) is not in the manifest: none of its functions is in this member's slice; "
              "if it was replaced, profile it and publish a new manifest",
              object->path, id);
}

static void keep_fixed(struct agent *agent, const struct member_object *object, uint32_t offset)
{
    pthread_mutex_lock(&agent->table);
    if (agent->fixed_count == agent->fixed_room) {
        unsigned room = agent->fixed_room ? 2 * agent->fixed_room : 64;
        struct spot *larger = realloc(agent->fixed, room * sizeof *larger);
        if (larger) {
            agent->fixed = larger;
            agent->fixed_room = room;
        }
    }
    if (agent->fixed_count < agent->fixed_room)
        agent->fixed[agent->fixed_count++] = make_spot(object->build_id, object->build_id_bytes, offset);
    pthread_mutex_unlock(&agent->table);
}

static enum wire_level choose_level(void *context, const struct member_object *object,
                                    const struct member_function *function)
{
    struct agent *agent = context;
    note_stranger(agent, object);
    if (matches(object->image, function->offset, agent->options->functions))
        keep_fixed(agent, object, function->offset);
    return level_of(agent, object->build_id, object->build_id_bytes, function->offset);
}

/* ---- slices -------------------------------------------------------------------------------------------- */

/* Spots of a slice, for applying without the table's lock. Owns: the caller's. */
static struct spot *slice_spots(const struct member__slice *slice, unsigned *count)
{
    struct member__slice_part part;
    struct spot *spots = NULL;
    uint32_t at = 0;
    unsigned room = 0;
    *count = 0;
    while (slice && member__slice_next(&part, &at, slice)) {
        if (*count == room) {
            room = room ? 2 * room : 256;
            struct spot *larger = realloc(spots, room * sizeof *larger);
            if (!larger)
                break;
            spots = larger;
        }
        spots[(*count)++] = make_spot(part.build_id, part.build_id_bytes, part.offset);
    }
    return spots;
}

static unsigned apply_all(struct agent *agent, const struct spot *spots, unsigned count)
{
    unsigned entries = 0;
    for (unsigned i = 0; i < count; i++)
        entries += apply(agent, spots[i].build_id, spots[i].build_id_bytes, spots[i].offset);
    return entries;
}

/* When the clock says so: the functions that are watched by turns change, or the whole slice does. */
static void turn_slice(struct agent *agent)
{
    uint64_t now = base_realtime_ns();
    unsigned before_count = 0, after_count = 0;
    pthread_mutex_lock(&agent->table);
    if (!agent->slice || now < agent->slice_changes_ns) {
        pthread_mutex_unlock(&agent->table);
        return;
    }
    struct spot *before = slice_spots(agent->slice, &before_count);
    member__slice_set_time(agent->slice, now);
    agent->slice_changes_ns = member__slice_changes_at(agent->slice);
    struct spot *after = slice_spots(agent->slice, &after_count);
    pthread_mutex_unlock(&agent->table);
    apply_all(agent, before, before_count);
    apply_all(agent, after, after_count);
    free(before);
    free(after);
}

/* ---- bidding for slices -------------------------------------------------------------------------------- */

/* Lets `follow` change the slice, and gives the program's functions the levels that follow. */
static void change_slice(struct agent *agent, bool (*follow)(struct member__slice *slice, void *argument),
                         void *argument)
{
    unsigned before_count = 0, after_count = 0;
    struct spot *before = NULL, *after = NULL;
    pthread_mutex_lock(&agent->table);
    if (agent->slice) {
        before = slice_spots(agent->slice, &before_count);
        if (follow(agent->slice, argument)) {
            agent->slice_changes_ns = member__slice_changes_at(agent->slice);
            after = slice_spots(agent->slice, &after_count);
        } else {
            before_count = 0;
        }
    }
    pthread_mutex_unlock(&agent->table);
    apply_all(agent, before, before_count);
    apply_all(agent, after, after_count);
    free(before);
    free(after);
}

static bool follow_roster(struct member__slice *slice, void *argument)
{
    return member__slice_roster(slice, argument, base_realtime_ns());
}

static void on_roster(void *context, const struct wire_roster *roster)
{
    struct agent *agent = context;
    struct wire_roster own = *roster;
    pthread_mutex_lock(&agent->table);
    bool fits = agent->manifest_sequence == roster->manifest;
    pthread_mutex_unlock(&agent->table);
    if (fits)
        change_slice(agent, follow_roster, &own);
}

struct talk {
    const struct wire_bid *bid;
    struct wire_bid *answer;
    bool answers;
};

static bool follow_bid(struct member__slice *slice, void *argument)
{
    struct talk *talk = argument;
    return member__slice_bid(slice, &talk->answers, talk->answer, talk->bid);
}

static bool on_bid(void *context, struct wire_bid *answer, const struct wire_bid *bid)
{
    struct talk talk = {.bid = bid, .answer = answer};
    change_slice(context, follow_bid, &talk);
    return talk.answers;
}

/* Says what is to be said at a tick: not under the lock, which the session takes in the other order. */
static void send_bids(struct agent *agent)
{
    uint64_t now = base_monotonic_ns();
    if (now < agent->next_bids_ns)
        return;
    agent->next_bids_ns = now + BIDS_MS * MS;
    pthread_mutex_lock(&agent->table);
    const struct wire_bid *bids = NULL;
    size_t count = agent->slice ? member__slice_bids(&bids, agent->slice) : 0;
    struct wire_bid *copy = count ? malloc(count * sizeof *copy) : NULL;
    if (copy)
        memcpy(copy, bids, count * sizeof *copy);
    pthread_mutex_unlock(&agent->table);
    for (size_t i = 0; copy && i < count; i++)
        community_send_bid(agent->session, &copy[i]);
    free(copy);
}

/* ---- what the community says --------------------------------------------------------------------------- */

static void put_vaccine(struct agent *agent, const struct wire_vaccine *vaccine)
{
    pthread_mutex_lock(&agent->table);
    struct protected *entry = NULL;
    for (unsigned i = 0; i < agent->count && !entry; i++)
        if (!memcmp(agent->list[i].id, vaccine->id, WIRE_ID_BYTES))
            entry = &agent->list[i];
    if (!entry && agent->count == agent->room) {
        unsigned room = agent->room ? 2 * agent->room : 64;
        struct protected *larger = realloc(agent->list, room * sizeof *larger);
        if (larger) {
            agent->list = larger;
            agent->room = room;
        }
    }
    if (!entry && agent->count < agent->room)
        entry = &agent->list[agent->count++];
    if (entry) {
        memcpy(entry->id, vaccine->id, WIRE_ID_BYTES);
        entry->place = vaccine->function;
        entry->withdrawn = vaccine->state == WIRE_VACCINE_WITHDRAWN;
    }
    pthread_mutex_unlock(&agent->table);
}

static void on_vaccine(void *context, const struct wire_vaccine *vaccine)
{
    struct agent *agent = context;
    const struct wire_place *place = &vaccine->function;
    put_vaccine(agent, vaccine);
    /* Not simply off when it is withdrawn: another vaccine, or the slice, may want the function too. */
    unsigned entries = apply(agent, place->build_id, place->build_id_bytes, place->offset);
    struct member_event event = {.kind = MEMBER_EVENT_VACCINE, .vaccine = vaccine, .entries = entries};
    tell(agent, &event);
}

static void on_manifest(void *context, const void *data, size_t bytes, uint64_t sequence)
{
    struct agent *agent = context;
    struct base_error error;
    struct member__slice *slice = NULL;
    unsigned before_count = 0, after_count = 0, now = 0;
    if (agent->options->watch == MEMBER_WATCH_SLICE) {
        if (member__slice_make(&error, &slice, data, bytes, agent->options->identity->number)) {
            base_warn("%s; the last slice stays in force", error.text);
            return;
        }
        member__slice_set_time(slice, base_realtime_ns());
        struct spot *after = slice_spots(slice, &after_count);
        struct member__slice_part part;
        uint32_t at = 0;
        while (member__slice_next(&part, &at, slice))
            now += part.now;
        pthread_mutex_lock(&agent->table);
        struct member__slice *old = agent->slice;
        struct spot *before = slice_spots(old, &before_count);
        agent->slice = slice;
        agent->manifest_sequence = sequence;
        agent->slice_changes_ns = member__slice_changes_at(slice);
        agent->stranger_count = 0;
        pthread_mutex_unlock(&agent->table);
        member__slice_free(old);
        apply_all(agent, before, before_count);
        apply_all(agent, after, after_count);
        free(before);
        free(after);
    }
    struct member_event event = {.kind = MEMBER_EVENT_MANIFEST, .bytes = bytes, .entries = now};
    tell(agent, &event);
}

static void on_link(void *context, bool up)
{
    struct member_event event = {.kind = MEMBER_EVENT_LINK, .up = up};
    tell(context, &event);
}

static void on_receipt(void *context, const struct wire_receipt *receipt)
{
    struct member_event event = {.kind = MEMBER_EVENT_RECEIPT, .verdict = receipt->verdict};
    tell(context, &event);
}

/* ---- what the program does ----------------------------------------------------------------------------- */

static void send(struct agent *agent, struct wire_alert *alert)
{
    struct base_error error;
    memset(alert->id, 0, sizeof alert->id); /* the session gives a new one */
    if (community_send_alert(&error, agent->session, alert))
        base_warn("%s", error.text);
}

static struct repeated *class_of(struct agent *agent, const struct report_fault *fault, uint8_t outcome)
{
    struct repeated *oldest = NULL;
    for (unsigned i = 0; i < agent->class_count; i++) {
        struct repeated *c = &agent->classes[i];
        if (!strcmp(c->id, fault->id) && c->outcome == outcome)
            return c;
        if (!oldest || c->told_ns < oldest->told_ns)
            oldest = c;
    }
    struct repeated *c = agent->class_count < CLASSES_MAX ? &agent->classes[agent->class_count++] : oldest;
    if (c == oldest && c->waiting) {
        c->alert.count = c->waiting;
        send(agent, &c->alert);
    }
    memset(c, 0, sizeof *c);
    snprintf(c->id, sizeof c->id, "%s", fault->id);
    c->outcome = outcome;
    return c;
}

static void on_fault(void *context, const struct report_fault *fault)
{
    struct agent *agent = context;
    static struct wire_alert alert; /* large; this hook runs on one thread */
    uint64_t now = base_monotonic_ns();
    member__alert_of(&alert, fault);
    agent->fault_pid = fault->pid;
    agent->crashes += alert.outcome == CORE_OUTCOME_CRASHED;
    alert.is_protected =
        alert.outcome == CORE_OUTCOME_UNDONE ||
        (alert.has_function && level_of(agent, alert.function.build_id, alert.function.build_id_bytes,
                                        alert.function.offset) != WIRE_LEVEL_NATIVE);
    struct repeated *c = class_of(agent, fault, alert.outcome);
    c->alert = alert;
    if (c->told_ns && now - c->told_ns < REPEAT_MS * MS) {
        c->waiting++;
    } else {
        c->alert.count = c->waiting + 1;
        c->waiting = 0;
        c->told_ns = now;
        send(agent, &c->alert);
    }
    struct member_event event = {.kind = MEMBER_EVENT_FAULT, .fault = fault, .pid = fault->pid};
    tell(agent, &event);
}

static void tell_waiting(struct agent *agent, bool all)
{
    uint64_t now = base_monotonic_ns();
    for (unsigned i = 0; i < agent->class_count; i++) {
        struct repeated *c = &agent->classes[i];
        if (!c->waiting || (!all && now - c->told_ns < REPEAT_MS * MS))
            continue;
        c->alert.count = c->waiting;
        c->waiting = 0;
        c->told_ns = now;
        send(agent, &c->alert);
    }
}

static void send_status(struct agent *agent, enum wire_member_state state)
{
    struct member_stats stats;
    struct wire_status status = {.state = (uint8_t)state,
                                 .interval_ms = STATUS_MS,
                                 .started_ns = agent->started_ns,
                                 .program_pid = member_pid(agent->member),
                                 .crashes = agent->crashes,
                                 .restarts = agent->restarts};
    member_stats(agent->member, &stats);
    status.functions = stats.functions_found;
    status.supervised = stats.functions_supervised;
    status.refused = stats.functions_refused;
    status.faults = (uint32_t)stats.faults;
    status.healed = (uint32_t)stats.healed;
    status.counter_count = CORE_COUNTER_COUNT;
    memcpy(status.counters, stats.counters, sizeof stats.counters);
    pthread_mutex_lock(&agent->table);
    for (unsigned i = 0; i < agent->count; i++)
        status.applied += !agent->list[i].withdrawn;
    pthread_mutex_unlock(&agent->table);
    community_send_status(agent->session, &status);
    agent->next_status_ns = base_monotonic_ns() + STATUS_MS * MS;
}

static void do_periodic(struct agent *agent, enum wire_member_state state)
{
    turn_slice(agent);
    send_bids(agent);
    tell_waiting(agent, false);
    if (base_monotonic_ns() >= agent->next_status_ns)
        send_status(agent, state);
}

/* ---- life ---------------------------------------------------------------------------------------------- */

/* A joiner is to be immune from its first instruction, if the community can be reached at all. */
static void await_knowledge(struct agent *agent)
{
    uint64_t begin = base_monotonic_ns();
    for (;;) {
        struct community_session_state state = community_session_state(agent->session);
        uint64_t waited = base_monotonic_ns() - begin;
        if (state.answered || waited > (state.up ? ANSWER_WAIT_MS : LINK_WAIT_MS) * MS)
            return;
        poll(NULL, 0, 1);
    }
}

static bool is_crash(int status)
{
    if (!WIFSIGNALED(status))
        return false;
    int number = WTERMSIG(status);
    return number != SIGTERM && number != SIGINT && number != SIGHUP && number != SIGQUIT;
}

static bool is_fault_signal(int number)
{
    return number == SIGSEGV || number == SIGBUS || number == SIGFPE || number == SIGILL ||
           number == SIGABRT || number == SIGTRAP || number == SIGSYS;
}

/* Sleeps before a restart, but not through a signal that asks for the end. */
static void pause_for(struct agent *agent, unsigned ms)
{
    uint64_t until = base_monotonic_ns() + ms * MS;
    while (!member_stop_signal() && base_monotonic_ns() < until) {
        uint64_t left = (until - base_monotonic_ns()) / MS + 1;
        poll(NULL, 0, left < 50 ? (int)left : 50);
        do_periodic(agent, WIRE_MEMBER_RESTARTING);
    }
}

/* Runs the program once. Returns 0 and how it ended, -1 when it could not be started. */
static int run_once(struct base_error *error, struct agent *agent, int *status, char *const argv[])
{
    if (member_start(error, agent->member, argv))
        return -1;
    struct member_event started = {.kind = MEMBER_EVENT_STARTED, .pid = member_pid(agent->member)};
    int pid = started.pid;
    tell(agent, &started);
    send_status(agent, WIRE_MEMBER_RUNNING);
    while (!member_serve(agent->member, status, SERVE_MS))
        do_periodic(agent, WIRE_MEMBER_RUNNING);
    tell_waiting(agent, true);
    if (WIFSIGNALED(*status) && is_fault_signal(WTERMSIG(*status)) && agent->fault_pid != pid) {
        static struct wire_alert alert;
        member__alert_of_death(&alert, WTERMSIG(*status));
        agent->crashes++;
        send(agent, &alert);
    }
    return 0;
}

static int run(struct base_error *error, struct agent *agent, int *status, char *const argv[])
{
    struct member_backoff backoff = {0};
    for (;;) {
        uint64_t begin = base_monotonic_ns();
        if (run_once(error, agent, status, argv))
            return -1;
        bool again = agent->options->restart == MEMBER_RESTART_ALWAYS ||
                     (agent->options->restart == MEMBER_RESTART_CRASH && is_crash(*status));
        struct member_event ended = {.kind = MEMBER_EVENT_ENDED, .status = *status};
        ended.restarts = again && !member_stop_signal();
        ended.pause_ms = ended.restarts ? member_backoff_ms(&backoff, base_monotonic_ns() - begin) : 0;
        tell(agent, &ended);
        if (!ended.restarts)
            return 0;
        send_status(agent, WIRE_MEMBER_RESTARTING);
        pause_for(agent, ended.pause_ms);
        if (member_stop_signal())
            return 0;
        agent->restarts++;
    }
}

int member_agent_run(struct base_error *error, int *status, const struct member_agent_options *options,
                     char *const argv[])
{
    struct agent *agent = calloc(1, sizeof *agent);
    struct repeated *classes = calloc(CLASSES_MAX, sizeof *classes);
    if (!agent || !classes) {
        free(agent);
        free(classes);
        return base_fail(error, BASE_EXIT_FAILURE, "out of memory");
    }
    const struct member_hooks hooks = {.context = agent, .level = choose_level, .fault = on_fault};
    const struct community_callbacks callbacks = {on_vaccine, on_manifest, on_link, on_receipt,
                                                  agent,      on_roster,   on_bid};
    agent->options = options;
    agent->classes = classes;
    agent->started_ns = base_realtime_ns();
    pthread_mutex_init(&agent->apply, NULL);
    pthread_mutex_init(&agent->table, NULL);
    pthread_mutex_init(&agent->events, NULL);
    char path[4096];
    int result = options->member.native_if_refused ? image_find_program(error, path, argv[0])
                                                   : member_vet(error, argv[0]);
    if (!result)
        result = member_open(error, &agent->member, &options->member, &hooks);
    if (!result)
        result = community_join(error, &agent->session, options->identity, &callbacks, NULL, true);
    if (!result) {
        signal(SIGPIPE, SIG_IGN);
        await_knowledge(agent);
        result = run(error, agent, status, argv);
        send_status(agent, WIRE_MEMBER_STOPPED);
        community_leave(agent->session, LEAVE_MS);
    }
    member_close(agent->member);
    member__slice_free(agent->slice);
    free(agent->list);
    free(agent->fixed);
    free(classes);
    free(agent);
    return result;
}
