/* The levels of all functions change at random while threads run through them: every call is supervised, protected or native as it
 * happens. Natively there is no page to change them on. */
/* flags: -pthread */
#define _GNU_SOURCE
#include "transparent.h"
#include <pthread.h>
#include <signal.h>

#include "wire/control.h"

static struct wire_control *page;
static volatile int stop;

static void find_page(void)
{
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[600];
    while (maps && fgets(line, sizeof line, maps)) {
        unsigned long low, high;
        if (strstr(line, "testudo-control") && sscanf(line, "%lx-%lx", &low, &high) == 2 &&
            high - low >= sizeof(struct wire_control))
            page = (void *)low;
    }
    if (maps)
        fclose(maps);
}

static void *flips(void *argument)
{
    uint64_t state = 7;
    while (!stop) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        uint32_t count = page ? page->function_count : 1000;
        if (page && count <= WIRE_FUNCTIONS_MAX && count)
            __atomic_store_n(&page->level[(state >> 33) % count], (uint8_t)((state >> 20) % 3),
                             __ATOMIC_RELEASE);
    }
    return argument;
}

typedef uint64_t (*step)(uint64_t, int);

static uint64_t NOINLINE leaf(uint64_t a, int depth)
{
    return work_mix(a, (uint64_t)depth);
}

static uint64_t NOINLINE stores(uint64_t a, int depth)
{
    uint64_t table[16];
    for (int i = 0; i < 16; i++)
        table[i] = leaf(a + (uint64_t)i, depth);
    for (int i = 1; i < 16; i++)
        table[i] ^= table[i - 1];
    return table[15];
}

static uint64_t NOINLINE deep(uint64_t a, int depth)
{
    static const step steps[] = {leaf, stores, deep};
    for (int i = 0; depth > 0 && i < 3; i++)
        a = steps[(a + (uint64_t)i) % 3](a, depth - 1);
    return a;
}

static int compare(const void *a, const void *b)
{
    return (int)(leaf(*(const unsigned char *)a, 0) & 0xff) -
           (int)(leaf(*(const unsigned char *)b, 0) & 0xff);
}

static void *runs(void *argument)
{
    uint64_t sum = (uint64_t)(uintptr_t)argument;
    for (int round = 0; round < 1500; round++) {
        unsigned char bytes[64];
        char *text = malloc(100);
        for (int i = 0; i < 64; i++)
            bytes[i] = (unsigned char)(i * 7 + round);
        qsort(bytes, 64, 1, compare);
        snprintf(text, 100, "%d %d", bytes[3], bytes[60]);
        sum = work_mix(deep(sum, 4), strlen(text) + bytes[11]);
        free(text);
    }
    return (void *)(uintptr_t)sum;
}

int main(void)
{
    pthread_t ids[3], flipper;
    find_page();
    must(pthread_create(&flipper, NULL, flips, NULL) == 0);
    for (int i = 0; i < 3; i++)
        must(pthread_create(&ids[i], NULL, runs, (void *)(uintptr_t)(i + 1)) == 0);
    for (int i = 0; i < 3; i++) {
        void *answer;
        must(pthread_join(ids[i], &answer) == 0);
        printf("%d %llx\n", i, (unsigned long long)(uintptr_t)answer);
    }
    stop = 1;
    pthread_join(flipper, NULL);
    return 0;
}
