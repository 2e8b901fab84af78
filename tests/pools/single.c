/* Blocks of allocators that free them one by one: GLib's slices and talloc's pools. `work` writes one element into, or behind,
   the first of two blocks that lie side by side. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef TALLOC
#include <talloc.h>
static void *pool;
#define TAKE(bytes)        talloc_size(pool, bytes)
#define GIVE(p, bytes)     talloc_free(p)
#define GIVE_ALL(p, bytes) talloc_free_children(pool)
#else
#include <glib.h>
#define TAKE(bytes)        g_slice_alloc(bytes)
#define GIVE(p, bytes)     g_slice_free1(bytes, p)
#define GIVE_ALL(p, bytes) g_slice_free_chain_with_offset(bytes, p, 0)
#endif

enum { BYTES = 40 };

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
    for (int round = 0; round < 50; round++) {
        void *blocks[100], *list = NULL;
        for (int i = 0; i < 100; i++) {
            size_t bytes = (size_t)i % 7 * 24 + 8;
            blocks[i] = TAKE(bytes);
            memset(blocks[i], i, bytes);
        }
        for (int i = 0; i < 100; i++)
            GIVE(blocks[i], (size_t)i % 7 * 24 + 8);
        for (int i = 0; i < 20; i++) {
            void **link = TAKE(BYTES);
            *link = list;
            list = link;
        }
        GIVE_ALL(list, BYTES);
    }
#ifndef TALLOC
    GList *list = NULL;
    GHashTable *table = g_hash_table_new(NULL, NULL);
    for (int i = 0; i < 1000; i++) {
        list = g_list_prepend(list, &list);
        g_hash_table_insert(table, GINT_TO_POINTER(i), list);
    }
    g_hash_table_destroy(table);
    g_list_free(list);
#endif
}

int main(int count, char **arguments)
{
    const char *mode = count > 1 ? arguments[1] : "good";
#ifdef TALLOC
    pool = talloc_pool(NULL, 1 << 16);
#endif
    churn();
    char *p = TAKE(BYTES), *q = TAKE(BYTES);
    if (!p || !q)
        return 1;
    memset(q, 0, BYTES);
    if (!strcmp(mode, "over"))
        store(p, BYTES);
    store(p, BYTES - 1);
    GIVE(p, BYTES);
    if (!strcmp(mode, "freed"))
        store(p, 24);
    GIVE(q, BYTES);
    puts("went on");
    return 0;
}
