/* Writes nonsense into the tables of the control page that it shares with its supervisor, then executes itself: what stands on
   the page must harm neither the next process nor the supervisor. Arguments: how, rounds left. */
#define _GNU_SOURCE
#include "wire/control.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct wire_control *find_page(void)
{
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[600];
    void *page = NULL;
    unsigned long low, high;
    while (maps && fgets(line, sizeof line, maps))
        if (strstr(line, "testudo-control") && sscanf(line, "%lx-%lx", &low, &high) == 2 &&
            high - low >= sizeof(struct wire_control))
            page = (void *)low; /* NOLINT: an address */
    if (maps)
        fclose(maps);
    return page;
}

static uint32_t noise(void)
{
    static uint32_t state = 12345;
    return state = state * 1664525u + 1013904223u;
}

static void scribble(struct wire_control *page, const char *how)
{
    if (!strcmp(how, "counters")) {
        page->object_count = page->function_count = 0xfffffff0u;
    } else if (!strcmp(how, "runs")) {
        for (unsigned i = 0; i < WIRE_OBJECTS_MAX; i++) {
            page->objects[i].first_function = noise();
            page->objects[i].room = page->objects[i].function_count = noise();
        }
    } else if (!strcmp(how, "offsets")) {
        for (unsigned i = 0; i < WIRE_FUNCTIONS_MAX; i++)
            page->functions[i].offset = noise();
    } else if (!strcmp(how, "noise")) {
        for (uint32_t *p = (uint32_t *)page->objects; p < (uint32_t *)(page->objects + WIRE_OBJECTS_MAX); p++)
            *p = noise();
    } else { /* a state for all */
        for (unsigned i = 0; i < WIRE_OBJECTS_MAX; i++) {
            page->objects[i].room = 0xffffffffu;
            page->objects[i].state = (uint32_t)atoi(how);
        }
        page->object_count = WIRE_OBJECTS_MAX;
    }
}

static __attribute__((noinline)) unsigned work(unsigned rounds)
{
    unsigned sum = 1;
    for (unsigned i = 0; i < rounds; i++)
        sum = sum * 31 + (unsigned)strlen(&"abcdefgh"[i % 8]);
    return sum;
}

int main(int argc, char **argv)
{
    int left = argc > 2 ? atoi(argv[2]) : 0;
    struct wire_control *page = find_page();
    printf("%s %d %x\n", argv[1], left, work(1000));
    fflush(stdout);
    if (page)
        scribble(page, argv[1]);
    if (left == 0)
        return 7;
    char next[12];
    snprintf(next, sizeof next, "%d", left - 1);
    execl("/proc/self/exe", argv[0], argv[1], next, (char *)NULL);
    return 120;
}
