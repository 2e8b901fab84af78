/* redis-server under redis-benchmark: one run is a server's whole life. */
#define _GNU_SOURCE
#include "bench/private.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* A client sends its requests in batches of DEPTH, and the load ends with the last one counted, wherever the others' batches
   are. Only when all batches together are what was asked for, every one of them is carried out, and what they leave is the
   same each time. */
enum { READY_MS = 60000, DEPTH = 16, BATCHES = 10000 };

struct drive {
    unsigned port, requests;
};

/* What the load has left in the server, in an order that is the same every time. The list is long, so its ends must do. */
static const char questions[] =
    "DBSIZE\r\nGET key:__rand_int__\r\nGET counter:__rand_int__\r\nLLEN mylist\r\n"
    "LRANGE mylist 0 20\r\nSCARD myset\r\nHGETALL myhash\r\nZCARD myzset\r\n"
    "SHUTDOWN NOSAVE\r\n";

static int ask(struct base_error *error, uint64_t *hash, unsigned port)
{
    char buffer[4096];
    ssize_t got;
    int one = bench__connect(port);
    if (one < 0 ||
        send(one, questions, sizeof questions - 1, MSG_NOSIGNAL) != (ssize_t)sizeof questions - 1) {
        if (one >= 0)
            close(one);
        return base_fail(error, BASE_EXIT_FAILURE, "redis-server does not answer after the load");
    }
    *hash = CORE_HASH_SEED;
    /* The server closes the connection when it ends. */
    while ((got = recv(one, buffer, sizeof buffer, 0)) > 0)
        *hash = core_hash(*hash, buffer, (size_t)got);
    close(one);
    return 0;
}

static int drive_redis(struct base_error *error, uint64_t *hash, void *context)
{
    const struct drive *drive = context;
    char port[16], requests[16], depth[16];
    uint64_t end = base_monotonic_ns() + READY_MS * 1000000ull;
    while (!bench__answers(drive->port)) {
        if (base_monotonic_ns() > end)
            return base_fail(error, BASE_EXIT_FAILURE, "redis-server did not start");
        if (!bench__sleep_ms(10))
            return bench__stop_error(error);
    }
    snprintf(port, sizeof port, "%u", drive->port);
    snprintf(requests, sizeof requests, "%u", drive->requests);
    snprintf(depth, sizeof depth, "%d", DEPTH);
    char *const argv[] = {"redis-benchmark",
                          "-h",
                          "127.0.0.1",
                          "-p",
                          port,
                          "-n",
                          requests,
                          "-c",
                          "20",
                          "-P",
                          depth,
                          "-q",
                          "-t",
                          "set,get,incr,lpush,rpop,sadd,hset,zadd,lrange_100,mset",
                          NULL};
    return bench__command(error, NULL, argv, NULL, NULL) ? -1 : ask(error, hash, drive->port);
}

int bench__run_redis(struct base_error *error, struct bench_run *run, const struct bench_way *way,
                     double scale)
{
    char folder[BENCH_PATH], port[16];
    if (!bench__installed("redis-benchmark"))
        return base_fail(error, BASE_EXIT_ENVIRONMENT, "redis-benchmark is not installed (redis-tools)");
    if (bench__make_folder(error, folder))
        return -1;
    struct drive drive = {.port = bench__free_port(), .requests = DEPTH * ((unsigned)(BATCHES * scale) + 5)};
    snprintf(port, sizeof port, "%u", drive.port);
    char *argv[] = {
        "redis-server", "--port", port,   "--bind",      "127.0.0.1", "--save",    "", "--appendonly",
        "no",           "--dir",  folder, "--daemonize", "no",        "--logfile", "", NULL};
    const struct bench_job job = {.argv = argv, .drive = drive_redis, .context = &drive};
    int status = bench__run(error, run, way, &job);
    bench__remove_folder(folder);
    return status;
}
