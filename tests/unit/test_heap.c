/* The runtime's allocator, linked into this program in place of libc's: every allocation here, cmocka's included, is
   its. The shadow is armed in the middle of the first test; all later ones run armed. */
#include "stem/stem.h"

#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- what the rest of the runtime would provide ---- */

_Thread_local struct stem_thread stem_thread;
struct wire_control *stem_control;
/* Volatile: libc declares that free calls nothing back in this file. */
static volatile enum core_fault_kind last_fault;
static volatile uintptr_t last_pointer;

void stem_fault_free(enum core_fault_kind kind, uintptr_t pointer, uintptr_t return_pc, uintptr_t frame)
{
    assert_int_equal(*(uintptr_t *)frame, return_pc);
    last_fault = kind;
    last_pointer = pointer;
}

unsigned stem_backtrace(uintptr_t *frames, unsigned room, uintptr_t pc, uintptr_t sp, uintptr_t rbp)
{
    (void)sp, (void)rbp;
    assert_true(room >= 2);
    frames[0] = pc;
    frames[1] = 0x1234;
    return 2;
}

/* ---- turned on late ---- */

static volatile bool all_armed, late_enough;

/* What is alive is open in shadow memory, whenever the redzones were turned on. While that is being done, shadow may lag
   behind: nothing is supervised yet. */
static void *late_worker(void *seed)
{
    struct core_rng rng;
    struct {
        char *p;
        size_t bytes;
    } block[64] = {0};
    core_rng_seed(&rng, (uintptr_t)seed);
    while (!late_enough) {
        unsigned i = (unsigned)core_rng_below(&rng, 64);
        free(block[i].p);
        block[i].bytes = 1 + core_rng_below(&rng, core_rng_below(&rng, 100) ? 300 : 40000);
        block[i].p = malloc(block[i].bytes);
        i = (unsigned)core_rng_below(&rng, 64);
        if (!block[i].p || !stem_shadow_find_bad((uintptr_t)block[i].p, block[i].bytes))
            continue;
        while (!all_armed && !late_enough)
            usleep(100);
        if (all_armed && stem_shadow_find_bad((uintptr_t)block[i].p, block[i].bytes))
            return seed;
    }
    return NULL;
}

static void late(void **state)
{
    (void)state;
    for (unsigned turn = 0; turn < 12; turn++) {
        pid_t child = fork();
        if (child) {
            int status;
            assert_int_equal(waitpid(child, &status, 0), child);
            assert_int_equal(status, 0);
            continue;
        }
        alarm(60);
        pthread_t thread[3];
        stem_heap_after_fork();
        stem_shadow_base = mmap(NULL, 1ull << 44, PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        for (uintptr_t i = 0; i < 3; i++)
            if (pthread_create(&thread[i], NULL, late_worker, (void *)(turn * 3 + i + 1)))
                _exit(2);
        usleep(500 * turn);
        stem_heap_arm();
        all_armed = true;
        usleep(3000);
        late_enough = true;
        int bad = 0;
        for (unsigned i = 0; i < 3; i++) {
            void *result;
            pthread_join(thread[i], &result);
            bad += result != NULL;
        }
        _exit(bad);
    }
}

/* ---- random operations against a model ---- */

enum { BLOCKS = 600 };
struct model {
    uint8_t *p;
    size_t bytes;
    uint8_t tag;
};
static struct model blocks[BLOCKS];

/* The compiler must not know what it frees twice. */
static void *hide(void *p)
{
    void *volatile hidden = p;
    return hidden;
}

static size_t hide_size(size_t n)
{
    volatile size_t hidden = n;
    return hidden;
}

static void paint(struct model *m, size_t from)
{
    for (size_t i = from; i < m->bytes; i++)
        m->p[i] = (uint8_t)(m->tag + i * 7);
}

static void check(const struct model *m, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        if (m->p[i] != (uint8_t)(m->tag + i * 7))
            fail_msg("block of %zu bytes changed at %zu", m->bytes, i);
}

static void check_shadow(const struct model *m)
{
    uintptr_t p = (uintptr_t)m->p, end = p + m->bytes;
    assert_int_equal(malloc_usable_size(m->p), m->bytes);
    if (!stem_shadow_base)
        return;
    assert_int_equal(stem_shadow_find_bad(p, m->bytes), 0);
    for (unsigned i = 0; i < 16; i++)
        assert_int_equal(stem_shadow_find_bad(end + i, 1), end + i);
    for (unsigned i = 1; i <= 16; i++)
        assert_int_equal(stem_shadow_find_bad(p - i, 1), p - i);
    struct stem_heap_block found;
    assert_true(stem_heap_describe(&found, p));
    assert_int_equal(found.state, STEM_HEAP_LIVE);
    assert_int_equal(found.start, p);
    assert_int_equal(found.bytes, m->bytes);
    if (m->bytes)
        assert_true(stem_heap_describe(&found, end - 1) && found.start == p);
    assert_true(stem_heap_describe(&found, end) && found.start == p);
    assert_true(stem_heap_describe(&found, p - 1) && found.start == p);
    assert_int_equal(stem_fault_classify(end), CORE_FAULT_HEAP_OVERFLOW);
    assert_int_equal(stem_fault_classify(p - 1), CORE_FAULT_HEAP_UNDERFLOW);
}

static size_t random_size(struct core_rng *rng)
{
    uint64_t shape = core_rng_below(rng, 100);
    return core_rng_below(rng, shape < 60 ? 200 : shape < 85 ? 5000 : shape < 98 ? 70000 : 3000000);
}

static void step(struct core_rng *rng)
{
    struct model *m = &blocks[core_rng_below(rng, BLOCKS)];
    size_t bytes = random_size(rng);
    uint64_t what = core_rng_below(rng, 10);
    if (m->p && what < 4) {
        check(m, m->bytes);
        uintptr_t p = (uintptr_t)m->p;
        free(m->p);
        if (stem_shadow_base && m->bytes && m->bytes < 100000) {
            assert_int_equal(stem_shadow_find_bad(p, 1), p);
            assert_int_equal(stem_fault_classify(p), CORE_FAULT_USE_AFTER_FREE);
        }
        m->p = NULL;
    } else if (m->p) {
        uint8_t *before = m->p;
        size_t kept = m->bytes < bytes ? m->bytes : bytes;
        m->p = realloc(m->p, bytes);
        if (!bytes) {
            assert_null(m->p);
            return;
        }
        assert_non_null(m->p);
        m->bytes = bytes;
        check(m, kept);
        paint(m, kept);
        if (m->p != before)
            assert_int_equal(malloc_usable_size(hide(before)), 0);
    } else {
        size_t align = 16;
        m->tag = (uint8_t)core_rng_next(rng);
        m->bytes = bytes;
        if (what < 5) {
            m->p = malloc(bytes);
        } else if (what < 7) {
            m->p = calloc(1, bytes);
            for (size_t i = 0; i < bytes; i++)
                if (m->p[i])
                    fail_msg("calloc: byte %zu of %zu is not zero", i, bytes);
        } else {
            align = (size_t)1 << core_rng_below(rng, 18);
            if (what < 9)
                m->p = aligned_alloc(align, bytes);
            else if (posix_memalign((void **)&m->p, align < 8 ? 8 : align, bytes))
                m->p = NULL;
        }
        assert_non_null(m->p);
        assert_int_equal((uintptr_t)m->p % (align < 16 ? 16 : align), 0);
        paint(m, 0);
    }
    if (m->p)
        check_shadow(m);
}

static void release_all(void)
{
    for (int i = 0; i < BLOCKS; i++) {
        if (blocks[i].p) {
            check(&blocks[i], blocks[i].bytes);
            check_shadow(&blocks[i]);
        }
        free(blocks[i].p);
        blocks[i].p = NULL;
    }
}

static void random_operations(void **state)
{
    (void)state;
    struct core_rng rng;
    core_rng_seed(&rng, 1);
    for (int i = 0; i < 20000; i++)
        step(&rng);
    stem_control =
        mmap(NULL, sizeof *stem_control, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    stem_control->config.heap_stacks = 1;
    stem_control->config.mode = WIRE_MODE_FULL;
    stem_shadow_base =
        mmap(NULL, 1ull << 44, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    assert_ptr_not_equal(stem_shadow_base, MAP_FAILED);
    stem_heap_arm();
    for (int i = 0; i < BLOCKS; i++)
        if (blocks[i].p)
            check_shadow(&blocks[i]);
    for (int i = 0; i < 30000; i++)
        step(&rng);
    release_all();
    assert_int_equal(last_fault, CORE_FAULT_NONE);
}

/* ---- glibc's corner cases ---- */

static void corners(void **state)
{
    (void)state;
    errno = 7;
    free(NULL);
    void *p = malloc(0);
    assert_non_null(p);
    assert_int_equal(malloc_usable_size(p), 0);
    assert_null(realloc(p, 0));
    assert_int_equal(malloc_usable_size(NULL), 0);
    assert_int_equal(errno, 7);
    assert_null(malloc(hide_size((size_t)PTRDIFF_MAX + 1)));
    assert_int_equal(errno, ENOMEM);
    errno = 0;
    assert_null(malloc(hide_size(PTRDIFF_MAX - 100)));
    assert_int_equal(errno, ENOMEM);
    errno = 0;
    assert_null(calloc(hide_size(SIZE_MAX / 2), 3));
    assert_int_equal(errno, ENOMEM);
    p = malloc(10);
    errno = 0;
    assert_null(reallocarray(hide(p), hide_size(SIZE_MAX / 2), 3));
    assert_int_equal(errno, ENOMEM);
    assert_int_equal(malloc_usable_size(p), 10);
    free(p);
    errno = 0;
    void *q = &q;
    assert_int_equal(posix_memalign(&q, hide_size(24), 10), EINVAL);
    assert_int_equal(posix_memalign(&q, hide_size(4), 10), EINVAL);
    assert_int_equal(posix_memalign(&q, 64, hide_size((size_t)PTRDIFF_MAX + 1)), ENOMEM);
    assert_ptr_equal(q, &q);
    assert_int_equal(errno, 0);
    p = memalign(hide_size(48), 10);
    assert_int_equal((uintptr_t)p % 64, 0);
    free(p);
    p = valloc(1);
    q = pvalloc(1);
    assert_int_equal((uintptr_t)p % 4096, 0);
    assert_int_equal((uintptr_t)q % 4096, 0);
    assert_int_equal(malloc_usable_size(q), 4096);
    free(p);
    free(q);
    assert_int_equal(mallopt(M_MMAP_THRESHOLD, 1), 1);
}

/* ---- faults and undo ---- */

static void bad_frees(void **state)
{
    static char variable[64] __attribute__((aligned(16)));
    char local[64] __attribute__((aligned(16)));
    (void)state;
    char *p = malloc(100);
    free(hide(p));
    free(hide(p));
    assert_int_equal(last_fault, CORE_FAULT_DOUBLE_FREE);
    assert_ptr_equal((void *)last_pointer, p);
    p = malloc(100000);
    free(hide(p));
    last_fault = CORE_FAULT_NONE;
    free(hide(p));
    assert_int_equal(last_fault, CORE_FAULT_DOUBLE_FREE);
    p = malloc(100);
    void *wrong[] = {p + 16, p + 8, variable, local, (void *)0x10, (void *)0x123456780000, p + 1};
    for (unsigned i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        last_fault = CORE_FAULT_NONE;
        free(hide(wrong[i]));
        assert_int_equal(last_fault, CORE_FAULT_INVALID_FREE);
        assert_ptr_equal((void *)last_pointer, wrong[i]);
    }
    last_fault = CORE_FAULT_NONE;
    assert_null(realloc(hide(p + 16), 50));
    assert_int_equal(last_fault, CORE_FAULT_INVALID_FREE);
    /* Another allocator's memory: mapped, aligned, no variable. */
    last_fault = CORE_FAULT_NONE;
    void *foreign = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    free(hide(foreign));
    assert_int_equal(last_fault, CORE_FAULT_NONE);
    free(p);
}

static void undo(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 24, 1000, 20000, 100000, 5000000};
    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct model m = {malloc(sizes[i]), sizes[i], (uint8_t)i};
        paint(&m, 0);
        uint8_t *p = m.p;
        free(hide(p));
        for (int k = 0; k < 50; k++)
            free(hide(malloc(sizes[i] < 2000 ? sizes[i] : 1)));
        assert_true(stem_heap_undo_free((uintptr_t)p));
        assert_false(stem_heap_undo_free((uintptr_t)p));
        check(&m, m.bytes);
        check_shadow(&m);
        assert_true(stem_heap_undo_malloc((uintptr_t)p));
        assert_int_equal(malloc_usable_size(hide(p)), 0);
    }
    assert_false(stem_heap_undo_free((uintptr_t)&state));
}

static void described(void **state)
{
    (void)state;
    struct stem_heap_block block;
    char *p = malloc(40);
    free(hide(p));
    assert_true(stem_heap_describe(&block, (uintptr_t)p + 39));
    assert_int_equal(block.state, STEM_HEAP_FREED);
    assert_int_equal(block.start, (uintptr_t)p);
    assert_int_equal(block.bytes, 40);
    assert_int_equal(block.alloc_frames, 2);
    assert_int_equal(block.free_frames, 2);
    assert_in_range(block.alloc_stack[0], (uintptr_t)described, (uintptr_t)described + 512);
    assert_true(block.free_stack[0] > block.alloc_stack[0]);
    for (uint64_t a = 1; a; a <<= 1)
        stem_heap_describe(&block, a);
    assert_false(stem_heap_describe(&block, (uintptr_t)&block));
    assert_int_equal(stem_fault_classify(8), CORE_FAULT_NULL_DEREFERENCE);
    assert_int_equal(stem_fault_classify((uintptr_t)&block), CORE_FAULT_WILD_ACCESS);
}

/* ---- threads, fork, signals ---- */

enum { THREADS = 4, ROUNDS = 20000, BOXES = 64 };
static void *box[BOXES];

static void *worker(void *seed)
{
    struct core_rng rng;
    core_rng_seed(&rng, (uintptr_t)seed);
    for (int i = 0; i < ROUNDS; i++) {
        size_t bytes = 8 + core_rng_below(&rng, core_rng_below(&rng, 50) ? 400 : 60000);
        uint64_t *p = malloc(bytes);
        p[0] = bytes;
        p[(bytes - 8) / 8] = bytes;
        p = __atomic_exchange_n(&box[core_rng_below(&rng, BOXES)], p, __ATOMIC_ACQ_REL);
        if (!p)
            continue;
        bytes = malloc_usable_size(p);
        if (p[0] != bytes || p[(bytes - 8) / 8] != bytes)
            return seed;
        free(p);
    }
    return NULL;
}

static void run_threads(void)
{
    pthread_t thread[THREADS];
    for (uintptr_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, worker, (void *)(i + 1)), 0);
    for (int i = 0; i < THREADS; i++) {
        void *bad;
        pthread_join(thread[i], &bad);
        assert_null(bad);
    }
    for (int i = 0; i < BOXES; i++)
        free(__atomic_exchange_n(&box[i], NULL, __ATOMIC_RELAXED));
}

static void threads(void **state)
{
    (void)state;
    run_threads();
    size_t after_one = mallinfo2().arena;
    for (int i = 0; i < 5; i++)
        run_threads();
    /* Caches and slabs of threads that are gone are used again. */
    assert_true(mallinfo2().arena < 4 * after_one);
    assert_int_equal(last_fault, CORE_FAULT_NONE);
}

static volatile bool enough;

static void *churn(void *unused)
{
    (void)unused;
    while (!enough) {
        void *p[64];
        for (int i = 0; i < 64; i++)
            p[i] = malloc((size_t)i * 700);
        for (int i = 0; i < 64; i++)
            free(p[i]);
    }
    return NULL;
}

static void forks(void **state)
{
    (void)state;
    pthread_t thread[2];
    enough = false;
    for (int i = 0; i < 2; i++)
        pthread_create(&thread[i], NULL, churn, NULL);
    for (int i = 0; i < 30; i++) {
        stem_heap_before_fork();
        pid_t child = fork();
        if (!child) {
            stem_heap_after_fork();
            alarm(60);
            struct core_rng rng;
            core_rng_seed(&rng, (uint64_t)i);
            for (int k = 0; k < 1000; k++)
                step(&rng);
            _exit(0);
        }
        stem_heap_fork_done();
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(status, 0);
    }
    enough = true;
    for (int i = 0; i < 2; i++)
        pthread_join(thread[i], NULL);
}

static void *kept[32];
static volatile unsigned interrupts;

static void handler(int signal)
{
    (void)signal;
    unsigned i = interrupts++ % 32;
    free(kept[i]);
    kept[i] = malloc(i * 50);
    memset(kept[i], 0x5a, i * 50);
}

/* Not allowed by the standard, done by programs: a handler that allocates on a thread that it found allocating. */
static void signals(void **state)
{
    (void)state;
    struct sigaction action = {.sa_handler = handler};
    sigaction(SIGALRM, &action, NULL);
    struct itimerval often = {{0, 50}, {0, 50}}, never = {0};
    setitimer(ITIMER_REAL, &often, NULL);
    struct core_rng rng;
    core_rng_seed(&rng, 9);
    for (int i = 0; i < 20000; i++)
        step(&rng);
    setitimer(ITIMER_REAL, &never, NULL);
    release_all();
    assert_int_equal(last_fault, CORE_FAULT_NONE);
}

static int forget(void **state)
{
    (void)state;
    last_fault = CORE_FAULT_NONE;
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(late, forget),    cmocka_unit_test_setup(random_operations, forget),
        cmocka_unit_test_setup(corners, forget), cmocka_unit_test_setup(bad_frees, forget),
        cmocka_unit_test_setup(undo, forget),    cmocka_unit_test_setup(described, forget),
        cmocka_unit_test_setup(threads, forget), cmocka_unit_test_setup(forks, forget),
        cmocka_unit_test_setup(signals, forget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
