/* Plug-ins opened and closed at any time, while other threads run through their functions and the program's, call dlsym, throw
 * signals about and begin and end; a private copy in a namespace of its own. */
/* flags: -pthread -ldl */
/* plugin: yes */
#define _GNU_SOURCE
#include "transparent.h"
#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>

#ifdef PLUGIN

static int calls;
uint64_t plugin_call(unsigned rounds)
{
    __atomic_fetch_add(&calls, 1, __ATOMIC_RELAXED);
    return work(rounds);
}
int plugin_calls(void)
{
    return calls;
}

#else

static char path[4200];
static uint64_t expected;
static volatile int stop, finished;
static volatile sig_atomic_t ticks;

static void on_signal(int number)
{
    ticks += number != 0 && work(1) != 0;
}

static void *opens(void *argument)
{
    for (int i = 0; i < 60; i++) {
        void *plugin = dlopen(path, i % 2 ? RTLD_NOW : RTLD_LAZY | RTLD_GLOBAL);
        must(plugin != NULL);
        uint64_t (*call)(unsigned) = (uint64_t(*)(unsigned))(uintptr_t)dlsym(plugin, "plugin_call");
        must(call != NULL && call(3) == expected && dlsym(plugin, "none") == NULL && dlerror() != NULL);
        must(dlclose(plugin) == 0);
    }
    __atomic_fetch_add(&finished, 1, __ATOMIC_RELAXED);
    while (!stop)
        work(1);
    return argument;
}

static void *works(void *argument)
{
    while (!stop)
        must(work(3) == expected);
    return argument;
}

static void *signals(void *argument)
{
    pthread_t *others = argument;
    while (!stop)
        for (int i = 0; i < 3; i++)
            pthread_kill(others[i], SIGUSR1);
    return NULL;
}

int main(int argc, char **argv)
{
    (void)argc;
    snprintf(path, sizeof path, "%s.so", argv[0]);
    expected = work(3);
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigaction(SIGUSR1, &action, NULL);
    pthread_t ids[4];
    must(pthread_create(&ids[0], NULL, works, NULL) == 0 && pthread_create(&ids[1], NULL, opens, NULL) == 0 &&
         pthread_create(&ids[2], NULL, opens, NULL) == 0 && pthread_create(&ids[3], NULL, signals, ids) == 0);
    while (finished < 2 || ticks == 0)
        work(1);
    stop = 1;
    for (int i = 3; i >= 0; i--) /* first the one that signals the others */
        pthread_join(ids[i], NULL);
    void *kept = dlopen(path, RTLD_NOW), *own = dlmopen(LM_ID_NEWLM, path, RTLD_NOW);
    must(kept != NULL && own != NULL);
    for (int i = 0; i < 5; i++) {
        uint64_t (*call)(unsigned) =
            (uint64_t(*)(unsigned))(uintptr_t)dlsym(i < 2 ? kept : own, "plugin_call");
        must(call(3) == expected);
    }
    int (*one)(void) = (int (*)(void))(uintptr_t)dlsym(kept, "plugin_calls"),
        (*two)(void) = (int (*)(void))(uintptr_t)dlsym(own, "plugin_calls");
    printf("calls %d %d, signals %d\n", one(), two(), ticks > 0);
    must(dlclose(own) == 0 && dlclose(kept) == 0);
    return 0;
}

#endif
