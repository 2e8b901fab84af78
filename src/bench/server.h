/* The server's inside, for server.c and visits.c. */
#ifndef BENCH_SERVER_H
#define BENCH_SERVER_H

#include "bench/private.h"
#include "member/member.h"

#include <signal.h>

struct bench_server {
    enum bench_server_kind kind;
    struct bench_way way;
    char folder[BENCH_PATH];
    unsigned port, concurrency;
    bool single; /* one process, for a recorder */
    bool drops;  /* becomes another user by itself */
    char *prefix[4];
    size_t prefix_count;
    pid_t pid;             /* when it is not supervised */
    struct member *member; /* when it is */
    bool ended;
    struct bench_watch *all; /* all functions that can be watched */
    size_t all_count, all_room;
    struct bench_watch *watched; /* ordered */
    size_t watched_count;
};

pid_t bench__server_pid(const struct bench_server *server);

#endif
