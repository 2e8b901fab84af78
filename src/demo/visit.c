/* A visitor: one request, one answer, the connection closed. */
#define _GNU_SOURCE
#include "demo/private.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum { ANSWER_BYTES = 8192, TIMEOUT_S = 2 };

/* A child that died is replaced within a second or two. */
#define PATIENCE_NS 4000000000ull

static int connect_to(unsigned port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct timeval patience = {.tv_sec = TIMEOUT_S};
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    if (connect(fd, (struct sockaddr *)&address, sizeof address)) {
        close(fd);
        return -1;
    }
    return fd;
}

/* Asks and reads one answer. With `stay` the connection is kept alive. */
static struct demo_visit ask(int fd, const char *path, bool stay)
{
    struct demo_visit visit = {0};
    struct base_text request = {0};
    char answer[ANSWER_BYTES + 1] = "";
    size_t got = 0;
    base_text_printf(&request, "GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: %s\r\n\r\n", path,
                     stay ? "keep-alive" : "close");
    if (send(fd, request.data, request.used, MSG_NOSIGNAL) == (ssize_t)request.used) {
        ssize_t now;
        while (got < ANSWER_BYTES && (now = recv(fd, answer + got, ANSWER_BYTES - got, 0)) > 0) {
            got += (size_t)now;
            answer[got] = 0;
            /* pages that are asked so are one line: the newline behind the head ends them */
            const char *body = stay ? strstr(answer, "\r\n\r\n") : NULL;
            if (body && strchr(body + 4, '\n'))
                break;
        }
    }
    base_text_free(&request);
    if (sscanf(answer, "HTTP/1.%*d %d", &visit.status) != 1)
        return visit;
    const char *child = strcasestr(answer, "\nX-Fragile-Child:"), *body = strstr(answer, "\r\n\r\n");
    if (child)
        visit.child = atoi(child + strlen("\nX-Fragile-Child:"));
    if (body)
        snprintf(visit.body, sizeof visit.body, "%.*s", (int)strcspn(body + 4, "\r\n"), body + 4);
    return visit;
}

struct demo_visit demo_visit(unsigned port, const char *path)
{
    struct demo_visit visit = {0};
    int fd = connect_to(port);
    if (fd >= 0) {
        visit = ask(fd, path, false);
        close(fd);
    }
    return visit;
}

/* Looks at each child in turn. A prefork child serves one connection until it closes: one that was asked is kept
   busy by its open connection, so that the next connection is another child's. Calls `each` until it returns true
   or patience ends. Returns whether it did. */
static bool each_child(const struct demo_server *server,
                       bool (*each)(void *context, const struct demo_visit *visit), void *context)
{
    int held[2];
    unsigned count = 0;
    bool done = false;
    uint64_t end = base_monotonic_ns() + PATIENCE_NS;
    while (!done && base_monotonic_ns() < end && !demo_stopped()) {
        int fd = connect_to(server->port);
        struct demo_visit visit = fd >= 0 ? ask(fd, "/fragile/state", true) : (struct demo_visit){0};
        done = visit.status == 200 && each(context, &visit);
        if (fd >= 0)
            held[count++] = fd;
        if (!done && count < 2 && visit.status == 200)
            continue;
        while (count)
            close(held[--count]);
        if (!done)
            demo_pause(20);
    }
    while (count)
        close(held[--count]);
    return done;
}

struct wanted {
    pid_t child;
    char *text;
    size_t bytes;
};

static bool take_state(void *context, const struct demo_visit *visit)
{
    const struct wanted *wanted = context;
    if (visit->child == wanted->child)
        snprintf(wanted->text, wanted->bytes, "%s", visit->body);
    return visit->child == wanted->child || !demo_alive(wanted->child);
}

bool demo_state(const struct demo_server *server, pid_t child, char *text, size_t bytes)
{
    struct wanted wanted = {child, text, bytes};
    *text = 0;
    return each_child(server, take_state, &wanted) && *text;
}

struct seen {
    pid_t *children;
    unsigned count;
};

static bool take_child(void *context, const struct demo_visit *visit)
{
    struct seen *seen = context;
    for (unsigned i = 0; i < seen->count; i++)
        if (seen->children[i] == visit->child)
            return false;
    seen->children[seen->count++] = visit->child;
    return seen->count == 2;
}

unsigned demo_children(const struct demo_server *server, pid_t children[DEMO_CHILDREN_MAX])
{
    struct seen seen = {children, 0};
    each_child(server, take_child, &seen);
    return seen.count;
}
