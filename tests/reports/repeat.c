/* One bug, met `argv[1]` times: on blocks of other sizes at other addresses, by way of other callers, in forked children
   and in threads; and a second one in another function, once. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

__attribute__((noinline)) int parse_record(volatile char *record, size_t bytes)
{
    record[bytes] = 1;
    return 0;
}

__attribute__((noinline)) int by_one_way(size_t bytes)
{
    char *record = malloc(bytes);
    int result = parse_record(record, bytes);
    free(record);
    return result + 1;
}

__attribute__((noinline)) int by_another(size_t bytes)
{
    char *record = calloc(1, bytes);
    int result = parse_record(record, bytes) + by_one_way(bytes + 3);
    free(record);
    return result;
}

__attribute__((noinline)) void close_session(volatile int *session)
{
    *session = 0;
}

static void *in_thread(void *bytes)
{
    by_another((size_t)bytes);
    return NULL;
}

int main(int argc, char **argv)
{
    int times = argc > 1 ? atoi(argv[1]) : 1000;
    for (int i = 0; i < times; i += 2)
        switch (i % 100) {
        case 10: /* a child */
            if (!fork()) {
                by_another(17);
                _exit(0);
            }
            wait(NULL);
            break;
        case 20: { /* a thread */
            pthread_t thread;
            if (!pthread_create(&thread, NULL, in_thread, (void *)(size_t)29))
                pthread_join(thread, NULL);
            break;
        }
        default:
            by_another(8 + (size_t)i % 500);
        }
    volatile int *volatile session = malloc(sizeof *session);
    free((void *)session);
    close_session(session);
    return 0;
}
