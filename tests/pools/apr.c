/* Blocks of Apache's memory pools. What it does, by its first argument:

   overflow LIBRARY  a byte behind a block, in a loop; over-read; through memcpy, strcpy and sprintf
   good              every way of the library to hand out and take back memory, pools within pools, many of them, threads */
#include <apr_general.h>
#include <apr_hash.h>
#include <apr_pools.h>
#include <apr_strings.h>
#include <apr_tables.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define hide(value)                                                                                          \
    ({                                                                                                       \
        __typeof__(value) hidden_ = (value);                                                                 \
        __asm__ volatile("" : "+r"(hidden_) : : "memory");                                                   \
        hidden_;                                                                                             \
    })

__attribute__((noinline)) static int store(volatile char *block, size_t at)
{
    block[at] = 1;
    return 0;
}

__attribute__((noinline)) static int load(volatile char *block, size_t at)
{
    return block[at];
}

__attribute__((noinline)) static int fill(volatile char *block, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        block[i] = (char)i;
    return 0;
}

__attribute__((noinline)) static int copy(char *block, const char *from, size_t bytes)
{
    memcpy(block, from, bytes);
    return hide(0);
}

static int overflow(apr_pool_t *pool, const char *how)
{
    char *block = apr_palloc(pool, hide((size_t)40)), *next = apr_pcalloc(pool, hide((size_t)40));
    memset(next, 7, 40);
    if (!strcmp(how, "store"))
        return store(block, 40);
    if (!strcmp(how, "padding"))
        return store(apr_palloc(pool, hide((size_t)37)), 37);
    if (!strcmp(how, "load"))
        return load(next, 40);
    if (!strcmp(how, "fill"))
        return fill(block, 60);
    if (!strcmp(how, "copy"))
        return copy(block, "a text of more than forty bytes, by one.", 41);
    if (!strcmp(how, "strdup"))
        return store(apr_pstrdup(pool, "twelve bytes"), 13);
    if (!strcmp(how, "child")) {
        apr_pool_t *child;
        apr_pool_create(&child, pool);
        char *old = apr_palloc(child, 100);
        apr_pool_clear(child);
        char *again = apr_palloc(child, 40);
        return store(again, 40) + (old == again);
    }
    return 3;
}

/* Uses `room` whole, `bytes` at a time. */
static void work_through(apr_pool_t *pool, unsigned seed)
{
    apr_hash_t *hash = apr_hash_make(pool);
    apr_table_t *table = apr_table_make(pool, 3);
    apr_array_header_t *array = apr_array_make(pool, 2, 24);
    for (unsigned i = 0; i < 200; i++) {
        size_t bytes = (seed + i * 37) % 700;
        char *block = i & 1 ? apr_palloc(pool, bytes) : apr_pcalloc(pool, bytes);
        for (size_t k = 0; k < bytes; k++)
            if (!(i & 1) && ((volatile char *)block)[k])
                abort();
            else
                ((volatile char *)block)[k] = (char)k;
        /* Cuts its text from the pool's memory by itself. */
        char *text = apr_psprintf(pool, "%u %0*d %s", i, (int)(bytes % 90), 1, "end");
        if (strlen(text) < 7 || strcmp(text + strlen(text) - 3, "end"))
            abort();
        apr_hash_set(hash, text, APR_HASH_KEY_STRING, block);
        apr_table_addn(table, text, apr_pstrcat(pool, text, text, NULL));
        memset(apr_array_push(array), 1, 24);
    }
    if (apr_hash_count(hash) != 200)
        abort();
}

static void *churn(void *parent)
{
    apr_pool_t *pool, *child;
    apr_pool_create(&pool, parent);
    for (unsigned round = 0; round < 20; round++) {
        apr_pool_create(&child, pool);
        work_through(child, round);
        work_through(pool, round * 3);
        if (round % 3 == 0)
            apr_pool_destroy(child);
        if (round % 4 == 3)
            apr_pool_clear(pool); /* with the children in it */
    }
    apr_pool_destroy(pool);
    return NULL;
}

static void good(void)
{
    pthread_t thread[3];
    for (unsigned i = 0; i < 3; i++) {
        apr_pool_t *own;
        apr_allocator_t *allocator;
        apr_allocator_create(&allocator);
        apr_pool_create_ex(&own, NULL, NULL, allocator);
        apr_allocator_owner_set(allocator, own);
        pthread_create(&thread[i], NULL, churn, own);
    }
    for (unsigned i = 0; i < 3; i++)
        pthread_join(thread[i], NULL);
    puts("went on");
}

int main(int argc, char **argv)
{
    apr_pool_t *pool;
    if (argc < 2 || apr_initialize() || apr_pool_create(&pool, NULL))
        return 3;
    int result = 0;
    if (!strcmp(argv[1], "good"))
        good();
    else
        result = overflow(pool, argv[1]);
    apr_pool_destroy(pool);
    apr_terminate();
    return result & 0;
}
