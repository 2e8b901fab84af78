/* Objects of an obstack, cut inline by its macros. `store` writes one element into, or behind, a finished object. */
#include <obstack.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define obstack_chunk_alloc malloc
#define obstack_chunk_free  free

static struct obstack stack;

static volatile char *hide(void *p)
{
    void *volatile hidden = p;
    return hidden;
}

__attribute__((noinline)) static void store(void *p, size_t at)
{
    hide(p)[at] = 1;
}

static void churn(void)
{
    for (int round = 0; round < 20; round++) {
        void *first = obstack_alloc(&stack, 8);
        for (int i = 1; i < 200; i++)
            memset(obstack_alloc(&stack, i % 50 + 1), i, (size_t)i % 50 + 1);
        for (int i = 0; i < 3000; i++)
            obstack_1grow(&stack, (char)i);
        char *grown = obstack_finish(&stack);
        for (int i = 0; i < 3000; i++)
            if (grown[i] != (char)i)
                abort();
        char *text = obstack_copy0(&stack, "text", 4);
        obstack_grow(&stack, text, 4);
        obstack_blank(&stack, 500);
        obstack_free(&stack, obstack_finish(&stack));
        obstack_free(&stack, first);
    }
}

int main(int count, char **arguments)
{
    obstack_init(&stack);
    churn();
    char *p = obstack_alloc(&stack, 40), *q = obstack_alloc(&stack, 40);
    memset(q, 0, 40);
    if (count > 1 && !strcmp(arguments[1], "over"))
        store(p, 40);
    store(p, 39);
    obstack_free(&stack, NULL);
    puts("went on");
    return 0;
}
