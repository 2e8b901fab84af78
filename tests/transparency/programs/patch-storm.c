/* Everything that changes code at once: levels of all functions flip, plug-ins come and go, functions are called for the first time,
 * and timers strike each thread ten thousand times a second, with a handler that runs supervised code itself. */
/* flags: -pthread -ldl */
/* plugin: yes */
#define _GNU_SOURCE
#include "transparent.h"
#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

typedef uint64_t (*mixer)(uint64_t);

#ifdef PLUGIN

/* Many small functions, so that some are entered for the first time in every round. */
#define ONE(n)                                                                                               \
    uint64_t NOINLINE plugin_##n(uint64_t a)                                                                 \
    {                                                                                                        \
        uint64_t table[4] = {a, a + n, a ^ n, a * (n + 3)};                                                  \
        return work_mix(table[a & 3], table[(a >> 2) & 3]);                                                  \
    }
/* clang-format off */
ONE(0) ONE(1) ONE(2) ONE(3) ONE(4) ONE(5) ONE(6) ONE(7)
    /* clang-format on */
    mixer plugin_all[8] = {plugin_0, plugin_1, plugin_2, plugin_3, plugin_4, plugin_5, plugin_6, plugin_7};

uint64_t plugin_call(uint64_t a, mixer back)
{
    for (int i = 0; i < 8; i++)
        a = back(plugin_all[(a >> i) & 7](a));
    return a;
}

#else

#include "wire/control.h"

enum { THREADS = 3, ROUNDS = 60, CALLS = 40 };

static char path[4200];
static struct wire_control *page;
static volatile int stop;
static volatile uint64_t expected_tick;

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
    uint64_t state = 11;
    while (!stop) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        uint32_t count = page ? __atomic_load_n(&page->function_count, __ATOMIC_ACQUIRE) : 0;
        if (count && count <= WIRE_FUNCTIONS_MAX)
            __atomic_store_n(&page->level[(state >> 33) % count], (uint8_t)((state >> 20) % 3),
                             __ATOMIC_RELEASE);
    }
    return argument;
}

static uint64_t NOINLINE tick_work(uint64_t a)
{
    unsigned char bytes[24];
    for (int i = 0; i < 24; i++)
        bytes[i] = (unsigned char)(a >> (i & 7));
    for (int i = 1; i < 24; i++)
        bytes[i] = (unsigned char)(bytes[i] + bytes[i - 1]);
    return work_mix(a, bytes[23]);
}

static void on_tick(int number, siginfo_t *info, void *context)
{
    (void)info, (void)context;
    must(tick_work((uint64_t)number) == expected_tick);
}

static timer_t start_timer(void)
{
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGPROF};
    event._sigev_un._tid = (int)syscall(SYS_gettid);
    struct itimerspec often = {{0, 100000}, {0, 100000}};
    timer_t timer;
    must(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0 && timer_settime(timer, 0, &often, NULL) == 0);
    return timer;
}

static uint64_t NOINLINE back(uint64_t a)
{
    return work_mix(a, a >> 7);
}

static void *runs(void *argument)
{
    uint64_t sum = (uint64_t)(uintptr_t)argument;
    timer_t timer = start_timer();
    for (int round = 0; round < ROUNDS; round++) {
        void *plugin = dlopen(path, RTLD_NOW);
        must(plugin != NULL);
        uint64_t (*call)(uint64_t, mixer) =
            (uint64_t(*)(uint64_t, mixer))(uintptr_t)dlsym(plugin, "plugin_call");
        must(call != NULL);
        for (int i = 0; i < CALLS; i++)
            sum = call(sum + (uint64_t)i, back);
        must(dlclose(plugin) == 0);
        sum = tick_work(back(sum));
    }
    timer_delete(timer);
    return (void *)(uintptr_t)sum;
}

int main(int argc, char **argv)
{
    pthread_t ids[THREADS], flipper;
    (void)argc;
    snprintf(path, sizeof path, "%s.so", argv[0]);
    find_page();
    expected_tick = tick_work(SIGPROF);
    struct sigaction action = {.sa_sigaction = on_tick, .sa_flags = SA_RESTART | SA_SIGINFO};
    sigaction(SIGPROF, &action, NULL);
    must(pthread_create(&flipper, NULL, flips, NULL) == 0);
    for (int i = 0; i < THREADS; i++)
        must(pthread_create(&ids[i], NULL, runs, (void *)(uintptr_t)(i + 1)) == 0);
    for (int i = 0; i < THREADS; i++) {
        void *answer;
        must(pthread_join(ids[i], &answer) == 0);
        printf("%d %llx\n", i, (unsigned long long)(uintptr_t)answer);
    }
    stop = 1;
    pthread_join(flipper, NULL);
    return 0;
}
#endif
