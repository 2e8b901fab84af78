/* A plug-in that is opened, called and closed again and again, its constructor and destructor, symbols by
 * address. */
/* flags: -ldl */
/* plugin: yes */
#define _GNU_SOURCE
#include "transparent.h"
#include <dlfcn.h>

#ifdef PLUGIN

static int *report;
int plugin_version = 3;

__attribute__((constructor)) static void opened(void)
{
    plugin_version++;
}

__attribute__((destructor)) static void closed(void)
{
    if (report)
        *report += 1000;
}

uint64_t plugin_call(int *where, unsigned rounds, int (*callback)(int))
{
    uint64_t sum = work(rounds);
    report = where;
    *where += callback((int)rounds);
    return sum;
}

#else

static int twice(int value)
{
    return 2 * value;
}

int main(int argc, char **argv)
{
    char path[4096];
    int total = 0;
    uint64_t sum = 0;
    (void)argc;
    snprintf(path, sizeof path, "%s.so", argv[0]);
    for (unsigned round = 0; round < 40; round++) {
        void *plugin = dlopen(path, round % 2 ? RTLD_NOW : RTLD_LAZY | RTLD_LOCAL);
        must(plugin);
        uint64_t (*call)(int *, unsigned, int (*)(int)) = dlsym(plugin, "plugin_call");
        must(call && *(int *)dlsym(plugin, "plugin_version") == 4);
        Dl_info info;
        must(dladdr((void *)call, &info) && strcmp(info.dli_sname, "plugin_call") == 0 &&
             info.dli_saddr == (void *)call);
        sum += call(&total, round % 5, twice);
        must(dlclose(plugin) == 0);
    }
    must(dlopen("/nonexistent.so", RTLD_NOW) == NULL && dlerror() != NULL);
    must(dlsym(RTLD_DEFAULT, "plugin_call") == NULL);
    printf("%d %llx\n", total, (unsigned long long)sum);
    return 0;
}

#endif
