/* A community that bids for its slices over a real engine: six members without programs, in one process, each with its own
   session and slice. The steward runs outside.

       bidders manifest FILE      write the manifest that they divide
       bidders COMMUNITY          bid; prints what held, one line a check, and ends with status 0 when all did */
#define _GNU_SOURCE
#include "community/community.h"
#include "member/slice.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MEMBERS = 6, FUNCTIONS = 24, QUANTA = 120, QUANTUM_MS = 250, MARK = 250 };
static const uint8_t build_id[20] = {7};

static struct member {
    struct community_identity identity;
    struct community_session *session;
    pthread_mutex_t lock; /* all below */
    struct member__slice *slice;
    uint64_t sequence;
    unsigned marked, forged, rosters;
    bool joined;
} members[MEMBERS];

static uint64_t tokens_of(int f)
{
    return (uint64_t)QUANTA * (uint64_t)(f % 6 == 5 ? MEMBERS : 1 + f % 2);
}

static int write_manifest(const char *path)
{
    static uint8_t data[1 << 16];
    struct base_error error;
    uint64_t total = 0;
    for (int f = 0; f < FUNCTIONS; f++)
        total += (uint64_t)(100 + 37 * f);
    const struct wire_manifest header = {.assign = WIRE_MANIFEST_BID,
                                         .members = MEMBERS,
                                         .quanta = QUANTA,
                                         .quantum_ms = QUANTUM_MS,
                                         .eps_ppm = 10000,
                                         .seed = 5,
                                         .total = total,
                                         .object_count = 1,
                                         .function_count = FUNCTIONS};
    struct wire_manifest_writer writer = {.data = data, .room = sizeof data};
    wire_manifest_begin(&writer, &header);
    wire_manifest_add_object(&writer, &(struct wire_manifest_object){build_id, 20, "object", 6});
    for (int f = 0; f < FUNCTIONS; f++)
        wire_manifest_add_function(&writer, &(struct wire_manifest_function){.offset = (uint32_t)(16 * f),
                                                                             .cost = (uint64_t)(100 + 37 * f),
                                                                             .risk_ppm = 1000000,
                                                                             .tokens = tokens_of(f),
                                                                             .name = "function",
                                                                             .name_bytes = 8});
    wire_manifest_end(&writer);
    return base_write_file(&error, path, data, writer.used) ? base_fail_exit(&error) : 0;
}

static void on_manifest(void *ctx, const void *data, size_t bytes, uint64_t sequence)
{
    struct member *m = ctx;
    struct base_error error;
    pthread_mutex_lock(&m->lock);
    member__slice_free(m->slice);
    m->slice = NULL;
    if (member__slice_make(&error, &m->slice, data, bytes, m->identity.number) == 0)
        member__slice_set_time(m->slice, base_realtime_ns());
    m->sequence = sequence;
    pthread_mutex_unlock(&m->lock);
}

static void on_roster(void *ctx, const struct wire_roster *roster)
{
    struct member *m = ctx;
    pthread_mutex_lock(&m->lock);
    if (m->slice && roster->manifest == m->sequence)
        m->rosters += member__slice_roster(m->slice, roster, base_realtime_ns());
    pthread_mutex_unlock(&m->lock);
}

static bool on_bid(void *ctx, struct wire_bid *answer, const struct wire_bid *bid)
{
    struct member *m = ctx;
    bool answers = false;
    pthread_mutex_lock(&m->lock);
    m->marked += bid->since == MARK;
    m->forged += bid->since == MARK + 1;
    if (m->slice)
        member__slice_bid(m->slice, &answers, answer, bid);
    pthread_mutex_unlock(&m->lock);
    return answers;
}

static int join(struct member *m, const char *community, int number)
{
    static const struct community_callbacks calls = {
        .on_manifest = on_manifest, .on_roster = on_roster, .on_bid = on_bid};
    struct community_callbacks own = calls;
    struct base_error error;
    char name[32];
    snprintf(name, sizeof name, "bidder%d", number);
    own.ctx = m;
    if (!m->joined && community_identity_load(&error, &m->identity, community, name, WIRE_ROLE_MEMBER))
        return base_fail_exit(&error);
    if (community_join(&error, &m->session, &m->identity, &own, NULL, true))
        return base_fail_exit(&error);
    m->joined = true;
    return 0;
}

static void leave(struct member *m)
{
    community_leave(m->session, 0);
    m->session = NULL;
    member__slice_free(m->slice);
    m->slice = NULL;
}

/* What every member does ten times a second. */
static void step(unsigned turn)
{
    for (int i = 0; i < MEMBERS; i++) {
        struct member *m = &members[i];
        struct wire_bid copy[256];
        const struct wire_bid *bids;
        size_t count = 0;
        if (!m->session)
            continue;
        pthread_mutex_lock(&m->lock);
        if (m->slice) {
            member__slice_set_time(m->slice, base_realtime_ns());
            count = turn % 3 == 0 ? member__slice_bids(&bids, m->slice) : 0;
            count = count > 256 ? 256 : count;
            if (count)
                memcpy(copy, bids, count * sizeof *copy);
        }
        pthread_mutex_unlock(&m->lock);
        for (size_t k = 0; k < count; k++)
            community_send_bid(m->session, &copy[k]);
        if (turn % 5 == 0)
            community_send_status(m->session,
                                  &(struct wire_status){.state = WIRE_MEMBER_RUNNING, .interval_ms = 1000});
    }
    usleep(100000);
}

/* Watchers of each function at this moment, beside the demand: too few, and too many, over all functions. */
static void count(unsigned *few, unsigned *many)
{
    uint64_t now = base_realtime_ns();
    *few = *many = 0;
    for (int i = 0; i < MEMBERS; i++)
        if (members[i].session) {
            pthread_mutex_lock(&members[i].lock);
            if (members[i].slice)
                member__slice_set_time(members[i].slice, now);
            pthread_mutex_unlock(&members[i].lock);
        }
    for (int f = 0; f < FUNCTIONS; f++) {
        unsigned watchers = 0, wanted = (unsigned)(tokens_of(f) / QUANTA), living = 0;
        for (int i = 0; i < MEMBERS; i++) {
            if (!members[i].session)
                continue;
            living++;
            pthread_mutex_lock(&members[i].lock);
            watchers +=
                members[i].slice && member__slice_watches(members[i].slice, build_id, 20, (uint64_t)(16 * f));
            pthread_mutex_unlock(&members[i].lock);
        }
        wanted = wanted == MEMBERS ? living : wanted;
        *few += watchers < wanted ? wanted - watchers : 0;
        *many += watchers > wanted ? watchers - wanted : 0;
    }
}

static bool all_settled(void)
{
    bool settled = true;
    for (int i = 0; i < MEMBERS; i++)
        if (members[i].session) {
            pthread_mutex_lock(&members[i].lock);
            settled &= members[i].slice && member__slice_settled(members[i].slice);
            pthread_mutex_unlock(&members[i].lock);
        }
    return settled;
}

static int failures;

static void check(bool holds, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void check(bool holds, const char *format, ...)
{
    va_list args;
    printf("%s ", holds ? "ok" : "FAILED");
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    puts("");
    fflush(stdout);
    failures += !holds;
}

/* Steps until `wanted` quanta are watched as they are to be, all at once and by settled members, for a second; or `limit`
   steps. Returns the steps it took, or 0. */
static unsigned settle(unsigned *turn, unsigned limit)
{
    unsigned good = 0, few, many;
    for (unsigned i = 1; i <= limit; i++) {
        step((*turn)++);
        count(&few, &many);
        good = all_settled() && few == 0 && many == 0 ? good + 1 : 0;
        if (good == 10)
            return i;
    }
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "manifest") == 0)
        return write_manifest(argv[2]);
    if (argc != 2)
        return 2;
    unsigned turn = 0, few, many, worst = 0;
    for (int i = 0; i < MEMBERS; i++) {
        pthread_mutex_init(&members[i].lock, NULL);
        if (join(&members[i], argv[1], i))
            return 1;
    }
    check(settle(&turn, 400) > 0, "six members carry out their deals; every token has one holder");

    /* What one says in another's name is not heard; what it says in its own is. */
    community_send_bid(members[0].session, &(struct wire_bid){.from = 0, .to = 1, .since = MARK});
    community_send_bid(members[0].session, &(struct wire_bid){.from = 3, .to = 1, .since = MARK + 1});
    community_send_bid(members[0].session, &(struct wire_bid){.from = 0, .to = 1, .since = MARK});
    unsigned marked = 0, forged = 0;
    for (int i = 0; i < 200 && marked < 2; i++) {
        step(turn++);
        pthread_mutex_lock(&members[1].lock);
        marked = members[1].marked;
        forged = members[1].forged;
        pthread_mutex_unlock(&members[1].lock);
    }
    check(marked == 2 && forged == 0, "a bid in another's name is refused");

    /* A member goes silent. While nobody knows its tokens are unwatched; then the others take over. */
    leave(&members[2]);
    unsigned took = settle(&turn, 300);
    check(took > 0, "five take over from one that went silent");

    /* It comes back, with nothing in its memory. */
    for (unsigned i = 0; i < 20; i++)
        step(turn++);
    if (join(&members[2], argv[1], 2))
        return 1;
    check(settle(&turn, 400) > 0, "it comes back and gets a part again");

    /* One is started anew faster than a death is noticed: its token is watched again by its auctioneer or by itself. */
    leave(&members[4]);
    if (join(&members[4], argv[1], 4))
        return 1;
    check(settle(&turn, 300) > 0, "one that is started anew gets its part back");

    /* The next epoch begins, and nothing is unwatched meanwhile. */
    unsigned rosters = members[0].rosters;
    for (unsigned i = 0; i < 900 && members[0].rosters == rosters; i++) {
        step(turn++);
        count(&few, &many);
        worst = few > worst ? few : worst;
    }
    for (unsigned i = 0; i < 15; i++) {
        step(turn++);
        count(&few, &many);
        worst = few > worst ? few : worst;
    }
    check(members[0].rosters > rosters && worst == 0,
          "an epoch ends and the next begins: %u tokens unwatched", worst);
    check(settle(&turn, 300) > 0, "its deals are carried out");
    for (int i = 0; i < MEMBERS; i++)
        leave(&members[i]);
    return failures ? 1 : 0;
}
