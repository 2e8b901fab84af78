/* Ordinary visitors: ApacheBench in short bursts, so that a machine of two cores has room for the rest. */
#define _GNU_SOURCE
#include "demo/private.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { BURST = 50, BREAK_MS = 200 };

struct demo_load {
    pthread_t thread;
    unsigned port;
    atomic_bool end;
    unsigned long answered, failed;
};

static unsigned long number_after(const char *text, const char *label)
{
    const char *found = strstr(text, label);
    return found ? strtoul(found + strlen(label), NULL, 10) : 0;
}

static void *visit_often(void *argument)
{
    struct demo_load *load = argument;
    char url[64], burst[16];
    snprintf(url, sizeof url, "http://127.0.0.1:%u/fragile/ok", load->port);
    snprintf(burst, sizeof burst, "%d", BURST);
    while (!atomic_load(&load->end)) {
        char *output = NULL;
        if (demo_command(NULL, &output, (char *[]){"ab", "-q", "-n", burst, "-c", "1", url, NULL})) {
            load->failed += BURST;
        } else {
            unsigned long bad =
                number_after(output, "Failed requests:") + number_after(output, "Non-2xx responses:");
            unsigned long complete = number_after(output, "Complete requests:");
            load->answered += complete > bad ? complete - bad : 0;
            load->failed += bad;
        }
        free(output);
        if (!demo_pause(BREAK_MS))
            break;
    }
    return NULL;
}

struct demo_load *demo_load_start(unsigned port)
{
    struct demo_load *load = calloc(1, sizeof *load);
    if (!load)
        return NULL;
    load->port = port;
    if (pthread_create(&load->thread, NULL, visit_often, load)) {
        free(load);
        return NULL;
    }
    return load;
}

void demo_load_end(struct demo_load *load, unsigned long *answered, unsigned long *failed)
{
    if (!load)
        return;
    atomic_store(&load->end, true);
    pthread_join(load->thread, NULL);
    *answered += load->answered;
    *failed += load->failed;
    free(load);
}
