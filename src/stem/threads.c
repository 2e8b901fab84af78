/* Threads and forked children: a prepared thread has an undo ring and a stack for the fault handler. Threads that are made
   in another way than by pthread_create run all the same; undo is refused there. */
#include "stem/counting.h"
#include "stem/pools.h"
#include "stem/sys.h"

#include <pthread.h>

void stem_signals_thread_start(void);

typedef int (*create_function)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);

struct start {
    void *(*routine)(void *);
    void *argument;
};

static create_function real_create;

static void prepare(void)
{
    stem_undo_thread_start();
    stem_signals_thread_start();
    stem_counting_thread_start();
}

static void *begin(void *argument)
{
    struct start start = *(struct start *)argument;
    stem_pages_unmap(argument, sizeof start);
    prepare();
    return start.routine(start.argument);
}

__attribute__((visibility("default"))) int pthread_create(pthread_t *restrict thread,
                                                          const pthread_attr_t *restrict attributes,
                                                          void *(*routine)(void *), void *restrict argument)
{
    if (!real_create)
        real_create = (create_function)(uintptr_t)stem_libc_symbol("pthread_create");
    struct start *start = stem_armed() ? stem_pages_map(sizeof *start) : NULL;
    if (!start)
        return real_create(thread, attributes, routine, argument);
    *start = (struct start){routine, argument};
    int result = real_create(thread, attributes, begin, start);
    if (result)
        stem_pages_unmap(start, sizeof *start);
    return result;
}

static void in_child(void)
{
    stem_lock_after_fork();
    stem_heap_after_fork();
    stem_undo_after_fork();
    stem_prove_after_fork();
    stem_pools_after_fork();
    stem_counting_thread_start();
}

void stem_threads_start(void)
{
    int (*at_fork)(void (*)(void), void (*)(void), void (*)(void), void *) =
        stem_libc_symbol("__register_atfork");
    real_create = (create_function)(uintptr_t)stem_libc_symbol("pthread_create");
    if (at_fork)
        at_fork(stem_heap_before_fork, stem_heap_fork_done, in_child, NULL);
    prepare();
}
