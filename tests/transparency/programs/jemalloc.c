/* A program linked with jemalloc: malloc is ours in its place, what it asks jemalloc itself is answered by an idle allocator. */
/* flags: -pthread */
/* links: libjemalloc.so.2 */
#define _GNU_SOURCE
#include "transparent.h"
#include <pthread.h>

int mallctl(const char *name, void *old, size_t *old_bytes, void *fresh, size_t fresh_bytes);
void *mallocx(size_t bytes, int flags);
void dallocx(void *block, int flags);

static void *churn(void *argument)
{
    uint64_t sum = (uint64_t)(uintptr_t)argument;
    char *kept[16] = {NULL};
    for (unsigned i = 0; i < 5000; i++) {
        unsigned bytes = (unsigned)(work_mix(sum, i) % 3000 + 1);
        free(kept[i % 16]);
        kept[i % 16] = i % 3 ? malloc(bytes) : aligned_alloc(64, (bytes + 63) & ~63u);
        must(kept[i % 16] != NULL);
        memset(kept[i % 16], (int)i, bytes);
        sum = work_mix(sum, (uint64_t)kept[i % 16][bytes / 2]);
    }
    for (int i = 0; i < 16; i++)
        free(kept[i]);
    return (void *)(uintptr_t)sum;
}

int main(void)
{
    pthread_t ids[3];
    const char *version;
    size_t bytes = sizeof version;
    must(mallctl("version", &version, &bytes, NULL, 0) == 0 && strlen(version) > 3);
    for (int i = 0; i < 3; i++)
        must(pthread_create(&ids[i], NULL, churn, (void *)(uintptr_t)i) == 0);
    for (int i = 0; i < 3; i++) {
        void *answer;
        must(pthread_join(ids[i], &answer) == 0);
        printf("%llx\n", (unsigned long long)(uintptr_t)answer);
    }
    char *direct = mallocx(5000, 0);
    must(direct != NULL);
    memset(direct, 7, 5000);
    printf("%d\n", direct[4999]);
    dallocx(direct, 0);
    return 0;
}
