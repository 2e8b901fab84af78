/* Load on a server, what it cost, and a profile under it. */
#define _GNU_SOURCE
#include "bench/server.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FAMILY_MAX = 256 };

/* ---- what a server and its children have used ---- */

struct used {
    double cpu_ns;
    double user_ticks, all_ticks;
};

static void weigh(struct bench_load *load, const pid_t *family, size_t count)
{
    load->pss_kib = load->rss_kib = 0;
    load->processes = (double)count;
    for (size_t i = 0; i < count; i++) {
        char path[64], line[256];
        snprintf(path, sizeof path, "/proc/%d/smaps_rollup", family[i]);
        FILE *file = fopen(path, "re");
        double kib;
        while (file && fgets(line, sizeof line, file))
            if (sscanf(line, "Pss: %lf", &kib) == 1)
                load->pss_kib += kib;
            else if (sscanf(line, "Rss: %lf", &kib) == 1)
                load->rss_kib += kib;
        if (file)
            fclose(file);
    }
}

static struct used look(const struct bench_server *server)
{
    pid_t family[FAMILY_MAX];
    size_t count = bench__family(family, FAMILY_MAX, bench__server_pid(server));
    struct used used = {0};
    for (size_t i = 0; i < count; i++) {
        char path[64], line[512];
        double ran, user, system, dead_user, dead_system;
        snprintf(path, sizeof path, "/proc/%d/schedstat", family[i]);
        FILE *file = fopen(path, "re");
        if (file && fscanf(file, "%lf", &ran) == 1)
            used.cpu_ns += ran;
        if (file)
            fclose(file);
        snprintf(path, sizeof path, "/proc/%d/stat", family[i]);
        file = fopen(path, "re");
        const char *close = file && fgets(line, sizeof line, file) ? strrchr(line, ')') : NULL;
        if (close && sscanf(close + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lf %lf %lf %lf", &user,
                            &system, &dead_user, &dead_system) == 4) {
            used.user_ticks += user + dead_user;
            used.all_ticks += user + dead_user + system + dead_system;
        }
        if (file)
            fclose(file);
    }
    return used;
}

/* ---- load ---- */

struct idle {
    struct bench_server *server;
    struct bench_slices *slices;
    double share_sum;
    unsigned draws;
};

static void tend(void *context)
{
    struct idle *idle = context;
    bench__server_tend(idle->server);
    if (!idle->slices)
        return;
    const struct bench_watch *list;
    double share;
    size_t count = bench__slices_draw(&list, &share, idle->slices);
    bench__server_watch(idle->server, list, count);
    idle->share_sum += share;
    idle->draws++;
}

static double number_after(const char *text, const char *label)
{
    const char *found = strstr(text, label);
    return found ? strtod(found + strlen(label), NULL) : 0;
}

/* Lines "SET","12345.67",...: as many requests each, one after the other. Returns requests per second, or 0. */
static double redis_rate(const char *csv)
{
    double time = 0, rate;
    unsigned tests = 0;
    for (const char *line = csv; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL)
        if (sscanf(line, "\"%*[^\"]\",\"%lf\"", &rate) == 1 && rate > 0) {
            time += 1 / rate;
            tests++;
        }
    return tests ? tests / time : 0;
}

static int visit(struct base_error *error, double *rate, struct idle *idle, unsigned requests,
                 unsigned concurrency)
{
    const struct bench_server *server = idle->server;
    char number[16], clients[16], port[16], url[64], *output = NULL;
    snprintf(number, sizeof number, "%u", server->kind == BENCH_REDIS ? requests / 2 : requests);
    snprintf(clients, sizeof clients, "%u", concurrency);
    snprintf(port, sizeof port, "%u", server->port);
    snprintf(url, sizeof url, "http://127.0.0.1:%u/", server->port);
    char *const ab[] = {"ab", "-q", "-n", number, "-c", clients, url, NULL};
    char *const redis[] = {"redis-benchmark", "-p",    port, "-n",      number, "-c",
                           clients,           "--csv", "-t", "set,get", NULL};
    if (bench__command(error, &output, server->kind == BENCH_REDIS ? redis : ab, tend, idle))
        return -1;
    double bad = 0;
    if (server->kind == BENCH_REDIS) {
        *rate = redis_rate(output);
    } else {
        *rate = number_after(output, "Requests per second:");
        bad = number_after(output, "Failed requests:") + number_after(output, "Non-2xx responses:") +
              (requests - number_after(output, "Complete requests:"));
    }
    free(output);
    if (bad > 0 || !(*rate > 0))
        return base_fail(error, BASE_EXIT_FAILURE, "%s %s left %.0f of %u requests without a good answer",
                         bench__server_name(server->kind), server->way.name, bad, requests);
    return 0;
}

int bench__server_load(struct base_error *error, struct bench_load *load, struct bench_server *server,
                       unsigned requests, unsigned concurrency, struct bench_slices *slices)
{
    struct idle idle = {.server = server, .slices = slices};
    pid_t family[FAMILY_MAX];
    if (!bench__server_tend(server))
        return base_fail(error, BASE_EXIT_FAILURE, "%s %s has ended", bench__server_name(server->kind),
                         server->way.name);
    tend(&idle);
    struct used before = look(server);
    if (visit(error, &load->requests_per_s, &idle, requests, concurrency))
        return -1;
    struct used after = look(server);
    load->cpu_us = (after.cpu_ns - before.cpu_ns) / 1000 / requests;
    load->user_ticks = after.user_ticks - before.user_ticks;
    load->all_ticks = after.all_ticks - before.all_ticks;
    weigh(load, family, bench__family(family, FAMILY_MAX, bench__server_pid(server)));
    load->share = idle.draws ? idle.share_sum / idle.draws : NAN;
    return 0;
}

/* ---- profile ---- */

int bench__server_profile(struct base_error *error, char path[BENCH_PATH], enum bench_server_kind kind,
                          const char *folder, unsigned requests, unsigned concurrency)
{
    static const struct bench_way callgrind = {
        .name = "under callgrind",
        /* What the start cost is not what requests cost: Apache's ends with this function. */
        .prefix = {"valgrind", "-q", "--tool=callgrind", "--zero-before=ap_run_mpm",
                   "--callgrind-out-file=callgrind.out"},
        .peer = true};
    struct bench_server *server;
    struct bench_load load;
    char out[BENCH_PATH + 64], *data = NULL;
    size_t bytes;
    if (!bench__installed("valgrind"))
        return base_fail(error, BASE_EXIT_ENVIRONMENT,
                         "valgrind is not installed, which records a profile: name one with --profile");
    if (bench__server_open(error, &server, kind, &callgrind, concurrency, true))
        return -1;
    /* The recorder must write where the server's user may. */
    snprintf(out, sizeof out, "--callgrind-out-file=%s/callgrind.out", server->folder);
    server->way.prefix[4] = out;
    int status = bench__server_start(error, server);
    if (status == 0)
        status = bench__server_load(error, &load, server, requests, concurrency, NULL);
    bench__server_halt(server);
    if (status == 0)
        status = base_read_file(error, &data, &bytes, out + sizeof "--callgrind-out-file=" - 1);
    snprintf(path, BENCH_PATH, "%.900s/%s.callgrind.out", folder, bench__server_name(kind));
    if (status == 0)
        status = base_write_file(error, path, data, bytes);
    free(data);
    bench__server_stop(server);
    return status;
}
