/* The bus in memory, for tests: publishing queues, pumping delivers, so that a test decides when anything
 * arrives. */
#define _GNU_SOURCE
#include "community/internal.h"

#include <stdlib.h>
#include <string.h>

enum { SUBSCRIPTIONS = 8, BUSES = 32 };

struct message {
    struct message *next;
    char subject[WIRE_SUBJECT];
    size_t bytes;
    uint8_t data[];
};

struct memory_bus {
    struct community_bus calls; /* first */
    struct community_hub *hub;
    struct {
        char subject[WIRE_SUBJECT];
        bool grouped;
        community_handler handler;
        void *ctx;
    } subscriptions[SUBSCRIPTIONS];
    unsigned subscription_count;
    void (*on_change)(void *ctx, bool up);
    void *change_ctx;
    bool started;
};

struct community_hub {
    struct memory_bus *buses[BUSES];
    unsigned bus_count;
    bool up;
    struct message *first, **last;
    struct message *kept; /* newest per subject */
};

/* Subject matching of the engine: '*' one token, '>' all the rest. */
static bool subject_matches(const char *filter, const char *subject)
{
    while (*filter) {
        if (*filter == '>')
            return *subject != 0;
        if (*filter == '*') {
            filter++;
            subject += strcspn(subject, ".");
        } else if (*filter++ != *subject++) {
            return false;
        }
    }
    return *subject == 0;
}

static struct message *new_message(const char *subject, const void *data, size_t bytes)
{
    struct message *m = malloc(sizeof *m + bytes);
    if (!m)
        abort();
    m->next = NULL;
    snprintf(m->subject, sizeof m->subject, "%s", subject);
    m->bytes = bytes;
    memcpy(m->data, data, bytes);
    return m;
}

static int memory_subscribe(struct community_bus *calls, struct base_error *error, const char *subject,
                            const char *queue, community_handler handler, void *ctx)
{
    struct memory_bus *bus = (struct memory_bus *)calls;
    if (bus->subscription_count == SUBSCRIPTIONS)
        return base_fail(error, BASE_EXIT_FAILURE, "too many subscriptions");
    unsigned i = bus->subscription_count++;
    snprintf(bus->subscriptions[i].subject, WIRE_SUBJECT, "%s", subject);
    bus->subscriptions[i].grouped = queue != NULL;
    bus->subscriptions[i].handler = handler;
    bus->subscriptions[i].ctx = ctx;
    return 0;
}

static int memory_start(struct community_bus *calls, struct base_error *error,
                        void (*on_change)(void *ctx, bool up), void *ctx)
{
    struct memory_bus *bus = (struct memory_bus *)calls;
    (void)error;
    bus->on_change = on_change;
    bus->change_ctx = ctx;
    bus->started = true;
    if (bus->hub->up && on_change)
        on_change(ctx, true);
    return 0;
}

static int memory_publish(struct community_bus *calls, struct base_error *error, const char *subject,
                          const void *data, size_t bytes)
{
    struct community_hub *hub = ((struct memory_bus *)calls)->hub;
    if (!hub->up)
        return base_fail(error, BASE_EXIT_ENVIRONMENT, "cannot publish %s: the hub is down", subject);
    struct message *m = new_message(subject, data, bytes);
    *hub->last = m;
    hub->last = &m->next;
    return 0;
}

static int memory_publish_kept(struct community_bus *calls, struct base_error *error, const char *subject,
                               const void *data, size_t bytes)
{
    struct community_hub *hub = ((struct memory_bus *)calls)->hub;
    if (memory_publish(calls, error, subject, data, bytes))
        return -1;
    for (struct message **at = &hub->kept; *at; at = &(*at)->next) {
        if (!strcmp((*at)->subject, subject)) {
            struct message *old = *at;
            *at = old->next;
            free(old);
            break;
        }
    }
    struct message *m = new_message(subject, data, bytes);
    m->next = hub->kept;
    hub->kept = m;
    return 0;
}

static int memory_replay(struct community_bus *calls, struct base_error *error, const char *filter,
                         community_handler handler, void *ctx)
{
    struct community_hub *hub = ((struct memory_bus *)calls)->hub;
    if (!hub->up)
        return base_fail(error, BASE_EXIT_ENVIRONMENT, "cannot read %s: the hub is down", filter);
    for (struct message *m = hub->kept; m; m = m->next)
        if (subject_matches(filter, m->subject))
            handler(ctx, m->subject, m->data, m->bytes);
    return 0;
}

static void memory_close(struct community_bus *calls)
{
    struct memory_bus *bus = (struct memory_bus *)calls;
    struct community_hub *hub = bus->hub;
    for (unsigned i = 0; i < hub->bus_count; i++)
        if (hub->buses[i] == bus)
            hub->buses[i] = hub->buses[--hub->bus_count];
    free(bus);
}

struct community_bus *community_bus_memory(struct community_hub *hub)
{
    static const struct community_bus calls = {memory_subscribe,    memory_start,  memory_publish,
                                               memory_publish_kept, memory_replay, memory_close};
    struct memory_bus *bus = calloc(1, sizeof *bus);
    if (!bus || hub->bus_count == BUSES)
        abort();
    bus->calls = calls;
    bus->hub = hub;
    hub->buses[hub->bus_count++] = bus;
    return &bus->calls;
}

struct community_hub *community_hub_new(void)
{
    struct community_hub *hub = calloc(1, sizeof *hub);
    if (!hub)
        abort();
    hub->up = true;
    hub->last = &hub->first;
    return hub;
}

static void free_list(struct message *m)
{
    while (m) {
        struct message *next = m->next;
        free(m);
        m = next;
    }
}

void community_hub_free(struct community_hub *hub)
{
    free_list(hub->first);
    free_list(hub->kept);
    free(hub);
}

void community_hub_up(struct community_hub *hub, bool up)
{
    if (hub->up == up)
        return;
    hub->up = up;
    if (!up) {
        free_list(hub->first);
        hub->first = NULL;
        hub->last = &hub->first;
    }
    for (unsigned i = 0; i < hub->bus_count; i++)
        if (hub->buses[i]->started && hub->buses[i]->on_change)
            hub->buses[i]->on_change(hub->buses[i]->change_ctx, up);
}

static void deliver(struct community_hub *hub, const struct message *m)
{
    bool group_served = false; /* of a group, one gets it */
    for (unsigned i = 0; i < hub->bus_count; i++) {
        struct memory_bus *bus = hub->buses[i];
        for (unsigned s = 0; bus->started && s < bus->subscription_count; s++) {
            if (!subject_matches(bus->subscriptions[s].subject, m->subject))
                continue;
            if (bus->subscriptions[s].grouped && group_served)
                continue;
            group_served |= bus->subscriptions[s].grouped;
            bus->subscriptions[s].handler(bus->subscriptions[s].ctx, m->subject, m->data, m->bytes);
        }
    }
}

unsigned community_hub_pump(struct community_hub *hub)
{
    unsigned delivered = 0;
    while (hub->first) {
        struct message *m = hub->first;
        hub->first = m->next;
        if (!hub->first)
            hub->last = &hub->first;
        deliver(hub, m);
        free(m);
        delivered++;
    }
    return delivered;
}
