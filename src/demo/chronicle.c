/* What a member tells: the events that `testudo run --events` writes, one JSON object a line. */
#define _GNU_SOURCE
#include "demo/private.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void take_text(char *to, size_t bytes, const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    snprintf(to, bytes, "%s", text ? text : "");
}

/* "2026-11-23T20:05:52.011651Z" as nanoseconds, 0 when it is none. */
static uint64_t time_of(const char *text)
{
    struct tm date = {0};
    const char *rest = text ? strptime(text, "%Y-%m-%dT%H:%M:%S", &date) : NULL;
    if (!rest)
        return 0;
    return (uint64_t)timegm(&date) * 1000000000u + (uint64_t)(strtod(rest, NULL) * 1e9);
}

static void take_event(struct demo_server *server, const json_t *line)
{
    if (server->event_count == DEMO_EVENTS_MAX)
        return;
    struct demo_event *event = &server->events[server->event_count++];
    const json_t *fault = json_object_get(line, "fault");
    *event = (struct demo_event){.time_ns = (uint64_t)json_integer_value(json_object_get(line, "time_ns"))};
    take_text(event->name, sizeof event->name, line, "event");
    take_text(event->function, sizeof event->function, fault ? fault : line, "function");
    take_text(event->kind, sizeof event->kind, fault ? fault : line, "kind");
    take_text(event->outcome, sizeof event->outcome, fault, "outcome");
    event->fault_ns = time_of(json_string_value(json_object_get(fault, "time")));
    event->entries = (unsigned)json_integer_value(json_object_get(line, "entries"));
}

static void read_on(struct demo_server *server)
{
    char path[DEMO_PATH + 16];
    snprintf(path, sizeof path, "%s/events", server->folder);
    FILE *file = fopen(path, "r");
    char *line = NULL;
    size_t room = 0;
    if (!file)
        return;
    fseek(file, server->told_bytes, SEEK_SET);
    /* a line without its end is still being written */
    for (ssize_t bytes; (bytes = getline(&line, &room, file)) > 0 && line[bytes - 1] == '\n';) {
        json_t *object = json_loads(line, 0, NULL);
        server->told_bytes += bytes;
        if (object)
            take_event(server, object);
        json_decref(object);
    }
    free(line);
    fclose(file);
}

unsigned demo_events_so_far(struct demo_server *server)
{
    read_on(server);
    return server->event_count;
}

const struct demo_event *demo_await(struct demo_server *server, unsigned from, const char *name,
                                    const char *function, unsigned patience_ms)
{
    uint64_t end = base_monotonic_ns() + patience_ms * 1000000ull;
    do {
        read_on(server);
        for (unsigned i = from; i < server->event_count; i++) {
            const struct demo_event *event = &server->events[i];
            if (strcmp(event->name, name) == 0 && (!function || strcmp(event->function, function) == 0))
                return event;
        }
    } while (base_monotonic_ns() < end && demo_pause(5));
    return NULL;
}
