/* A program with a malloc of its own, which the libraries use too: it goes on with that, unchecked. */
/* flags: -pthread -fno-builtin */
/* checks say: brings its own malloc */
#define _GNU_SOURCE
#include "transparent.h"
#include <pthread.h>
#include <unistd.h>

enum { ROOM = 32 << 20 };
static char room[ROOM] __attribute__((aligned(64)));
static size_t used;
static int calls;

void *malloc(size_t bytes)
{
    size_t whole = (bytes + 16 + 63) & ~(size_t)63, at = __atomic_fetch_add(&used, whole, __ATOMIC_RELAXED);
    __atomic_fetch_add(&calls, 1, __ATOMIC_RELAXED);
    if (whole < bytes || at + whole > ROOM)
        return NULL;
    *(size_t *)(void *)(room + at) = bytes;
    return room + at + 16;
}

void free(void *block)
{
    (void)block;
}

void *calloc(size_t count, size_t bytes)
{
    return malloc(count * bytes); /* never used before, so zero */
}

void *realloc(void *block, size_t bytes)
{
    void *fresh = malloc(bytes);
    if (fresh && block) {
        size_t had = *(size_t *)(void *)((char *)block - 16);
        memcpy(fresh, block, had < bytes ? had : bytes);
    }
    return fresh;
}

static void *thread(void *argument)
{
    char *text = NULL;
    must(asprintf(&text, "thread %d %llx", *(int *)argument, (unsigned long long)work(3)) > 0);
    return text;
}

static int is_ours(const void *p)
{
    return (const char *)p >= room && (const char *)p < room + ROOM;
}

int main(void)
{
    pthread_t ids[4];
    int numbers[4] = {1, 2, 3, 4};
    char *copy = strdup("a copy");
    must(is_ours(copy) && calls > 0);
    for (int i = 0; i < 4; i++)
        must(pthread_create(&ids[i], NULL, thread, &numbers[i]) == 0);
    for (int i = 0; i < 4; i++) {
        void *text;
        must(pthread_join(ids[i], &text) == 0 && is_ours(text));
        printf("%s\n", (char *)text);
        free(text);
    }
    char *line = NULL;
    size_t length = 0;
    FILE *self = fopen("/proc/self/comm", "r");
    must(self && getline(&line, &length, self) > 0 && is_ours(line));
    fclose(self);
    line = realloc(line, 5000);
    must(is_ours(line) && strlen(line) > 3);
    printf("%s sum %llx\n", copy, (unsigned long long)work(4));
    return 0;
}
