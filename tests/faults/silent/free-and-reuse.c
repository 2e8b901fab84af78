/* Lists built, walked and freed by different functions and threads; free of NULL; realloc to nothing. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

struct node {
    struct node *next;
    long value;
    char pad[40];
};

static __attribute__((noinline)) struct node *build(long count)
{
    struct node *list = NULL;
    while (count-- > 0) {
        struct node *node = calloc(1, sizeof *node);
        if (!node)
            abort();
        node->value = count;
        node->next = list;
        list = node;
    }
    return list;
}

static __attribute__((noinline)) long drop(struct node *list)
{
    long sum = 0;
    while (list) {
        struct node *next = list->next;
        sum += list->value;
        free(list);
        list = next;
    }
    return sum;
}

static void *built_elsewhere(void *argument)
{
    return build(*(long *)argument);
}

int main(void)
{
    long sum = 0;
    for (long round = 0; round < 40; round++) {
        pthread_t threads[3];
        long count = 200 + round;
        for (int i = 0; i < 3; i++)
            pthread_create(&threads[i], NULL, built_elsewhere, &count);
        for (int i = 0; i < 3; i++) {
            void *list;
            pthread_join(threads[i], &list);
            sum += drop(list);
        }
        sum += drop(build(round));
        free(NULL);
        char *grown = NULL;
        for (size_t bytes = 1; bytes < 5000; bytes *= 3) {
            grown = realloc(grown, bytes);
            if (!grown)
                return 1;
            grown[bytes - 1] = 1;
        }
        free(grown);
    }
    printf("%ld\n", sum);
    return 0;
}
