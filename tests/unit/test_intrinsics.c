/* Checked library calls: each function is called through its entry as supervised code would, on heap blocks of exact size.
   A good call must report nothing and give the real function's result; one byte less must be found, at that byte. */
#include "calls.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/uio.h>
#include <time.h>
#include <ucontext.h>
#include <wchar.h>

/* ---- memory and strings ---- */

static void memory(void **state)
{
    (void)state;
    for (size_t n = 1; n < 70; n++) {
        char *a = block(n, ""), *b = block(n + 1, "");
        assert_ptr_equal(CALL(memcpy, a, b, n), a);
        good();
        assert_int_equal(logged.address, (uintptr_t)a);
        assert_int_equal(logged.bytes, n);
        CALL(memcpy, a, b, n + 1);
        bad("memcpy", a + n, true);
        CALL(memcpy, b, a, n + 1);
        bad("memcpy", a + n, false);
        CALL(memmove, a, a, n);
        CALL(memset, a, 7, n);
        good();
        CALL(memset, a, 7, n + 1);
        bad("memset", a + n, true);
        assert_ptr_equal(CALL(mempcpy, a, b, n), a + n);
        memset(a, 1, n);
        memset(b, 1, n + 1);
        assert_int_equal(CALL(memcmp, a, b, n), 0);
        good();
        CALL(memcmp, a, b, n + 1);
        bad("memcmp", a + n, false);
        a[n - 1] = 2; /* it need not look further */
        assert_true(CALL(memcmp, a, b, n + 1) > 0);
        assert_ptr_equal(CALL(memchr, a, 2, 1000), a + n - 1);
        assert_ptr_equal(CALL(rawmemchr, a, 2), a + n - 1);
        assert_ptr_equal(CALL(memrchr, a, 2, n), a + n - 1);
        assert_ptr_equal(CALL(memccpy, b, a, 2, 1000), b + n);
        good();
        CALL(memchr, a, 3, n + 1);
        bad("memchr", a + n, false);
        free(a);
        free(b);
    }
    CALL(memcpy, hide((void *)16), hide((void *)16), 0);
    good();
}

static void strings(void **state)
{
    (void)state;
    static const char text[] = "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz";
    for (size_t n = 1; n < 50; n++) {
        const char *source = text + sizeof text - 1 - n; /* of length n */
        char *exact = block(n + 1, source), *open = block(n, source), *small = block(n, "");
        assert_int_equal(CALL(strlen, exact), n);
        assert_int_equal(CALL(strnlen, open, n), n);
        good();
        CALL(strlen, open);
        bad("strlen", open + n, false);
        assert_ptr_equal(CALL(strcpy, exact, source), exact);
        assert_ptr_equal(CALL(stpcpy, exact, source), exact + n);
        good();
        assert_int_equal(logged.bytes, n + 1);
        CALL(strcpy, small, exact);
        bad("strcpy", small + n, true);
        CALL(strncpy, small, exact, n);
        CALL(strncpy, exact, open, n);
        good();
        CALL(strncpy, small, exact, n + 1);
        bad("strncpy", small + n, true);
        exact[n / 2] = 0;
        CALL(strcat, exact, text + sizeof text - 1 - (n - n / 2));
        good();
        assert_int_equal(strlen(exact), n);
        CALL(strncat, exact, open, 0);
        good();
        exact[n / 2] = 0;
        CALL(strncat, exact, open, n - n / 2);
        good();
        exact[n / 2] = 0;
        CALL(strcat, exact, text + sizeof text - 1 - (n - n / 2 + 1));
        bad("strcat", exact + n + 1, true);
        free(exact);
        exact = block(n + 1, source);
        assert_int_equal(CALL(strncmp, open, exact, n), 0);
        assert_int_equal(CALL(strcmp, exact, source), 0);
        good();
        CALL(strcmp, open, exact);
        bad("strcmp", open + n, false);
        small[n - 1] = 'Z' + 33 == exact[n - 1] ? '!' : 'Z';
        small[0] = n > 1 ? exact[0] : small[0];
        CALL(strcmp, small, exact); /* they differ before the end */
        assert_ptr_equal(CALL(strchr, open, source[n - 1]), strchr(source, source[n - 1]) - source + open);
        assert_ptr_equal(CALL(strchr, exact, 0), exact + n);
        assert_ptr_equal(CALL(strrchr, exact, 0), exact + n);
        good();
        CALL(strchr, open, '\n');
        bad("strchr", open + n, false);
        free(exact);
        free(open);
        free(small);
    }
    char *s = block(6, "hello"), *t = block(5, "hello");
    assert_ptr_equal(CALL(strstr, t, "ll"), t + 2);
    assert_null(CALL(strstr, s, "world"));
    assert_int_equal(CALL(strspn, s, "leh"), 4);
    assert_int_equal(CALL(strcspn, t, "l"), 2);
    assert_ptr_equal(CALL(strpbrk, t, "xo"), t + 4);
    good();
    assert_int_equal(CALL(strcasecmp, s, "HELLO"), 0);
    char *copy = CALL(strdup, s);
    assert_string_equal(copy, "hello");
    assert_int_equal(compensation, (uintptr_t)copy);
    free(copy);
    copy = CALL(strndup, t, 5);
    assert_string_equal(copy, "hello");
    good();
    free(copy);
    free(s);
    free(t);
    s = block(3, "12a");
    t = block(3, " -7");
    assert_int_equal(CALL(atoi, s), 12);
    assert_int_equal(CALL(strtol, s, &copy, 10), 12);
    assert_ptr_equal(copy, s + 2);
    good();
    CALL(atoi, t);
    bad("atoi", t + 3, false);
    free(s);
    free(t);
}

static void wide(void **state)
{
    (void)state;
    wchar_t *s = room(6 * sizeof *s), *t = room(5 * sizeof *t);
    assert_ptr_equal(CALL(wcscpy, s, L"hello"), s);
    assert_int_equal(CALL(wcslen, s), 5);
    CALL(wmemcpy, t, s, 5);
    assert_int_equal(CALL(wcsncmp, s, t, 5), 0);
    good();
    CALL(wcscpy, t, s);
    bad("wcscpy", t + 5, true);
    free(t);
    t = room(5 * sizeof *t);
    wmemcpy(t, L"hello", 5);
    CALL(wcslen, t);
    bad("wcslen", t + 5, false);
    wchar_t *copy = CALL(wcsdup, s);
    CALL(wmemset, copy, L'a', 6);
    good();
    free(copy);
    free(s);
    free(t);
}

/* ---- printf ---- */

__attribute__((format(printf, 3, 4))) static int list(bool bounded, char *to, const char *format, ...)
{
    va_list values;
    va_start(values, format);
    int n = bounded ? CALL(vsnprintf, to, 1000, format, values) : CALL(vsprintf, to, format, values);
    va_end(values);
    return n;
}

static void formats(void **state)
{
    (void)state;
    char expected[400];
    double pi = 3.25;
    long double e = 2.5L;
    char *part = block(3, "abc");
    int n = snprintf(expected, sizeof expected, "%d %s %5.2f %Lg %.3s %c %ld %g %g %g %g %g %g %g %g %g|%s",
                     7, "text", pi, e, part, 'x', 123456789012L, 1., 2., 3., 4., 5., 6., 7., 8., 9., "end");
    char *exact = room((size_t)n + 1), *small = room((size_t)n);
    for (int i = 0; i < 2; i++) {
        char *to = i ? small : exact;
        assert_int_equal(CALL(sprintf, to, "%d %s %5.2f %Lg %.3s %c %ld %g %g %g %g %g %g %g %g %g|%s", 7,
                              "text", pi, e, part, 'x', 123456789012L, 1., 2., 3., 4., 5., 6., 7., 8., 9.,
                              "end"),
                         n);
        if (i)
            bad("sprintf", small + n, true);
        else
            good();
    }
    assert_string_equal(exact, expected);
    assert_int_equal(CALL(snprintf, exact, 1000, "%.*s %lf", 2, part, pi), 11);
    assert_int_equal(CALL(snprintf, exact, 4, "%s", "longer than four"), 16);
    assert_int_equal(CALL(snprintf, NULL, 0, "%s", "nothing"), 7);
    assert_string_equal(exact, "lon");
    list(false, exact, "%d %s %f %f %s", 1, "two", 3., 4., "five");
    assert_string_equal(exact, "1 two 3.000000 4.000000 five");
    list(true, exact, "%*d|%-8s|%a", 4, 1, "two", 1.);
    assert_string_equal(exact, "   1|two     |0x1p+0");
    good();
    CALL(snprintf, exact, 50, "%d %s", 1, part);
    bad("snprintf", part + 3, false);
    int counted = 0;
    char wanted[] = "ab%ncd"; /* in memory that can be written: hardened libraries refuse %n otherwise */
    CALL(sprintf, exact, hide(wanted), &counted);
    assert_int_equal(counted, 2);
    good();
    free(small);
    small = room(20);
    list(false, small, "%s and %d", "eighteen letters..", 1);
    bad("vsprintf", small + 20, true);
    free(small);
    free(exact);
    free(part);
}

/* ---- heap ---- */

static void heap(void **state)
{
    (void)state;
    char *p = CALL(malloc, 24);
    assert_int_equal(compensated[STEM_COMPENSATE_MALLOC], 1);
    assert_int_equal(compensation, (uintptr_t)p);
    strcpy(p, "content");
    assert_ptr_equal(CALL(realloc, p, 25), p); /* there is room up to the redzone */
    assert_int_equal(compensated[STEM_COMPENSATE_FREE], 0);
    char *q = CALL(realloc, p, 100);
    assert_ptr_not_equal(p, q);
    assert_string_equal(q, "content");
    assert_int_equal(compensated[STEM_COMPENSATE_FREE], 1);
    assert_int_equal(compensation, (uintptr_t)p);
    good();
    CALL(free, hide(p));
    assert_int_equal(fault.kind, CORE_FAULT_DOUBLE_FREE);
    CALL(free, hide(q + 8));
    assert_int_equal(fault.kind, CORE_FAULT_INVALID_FREE);
    CALL(free, hide(&state));
    assert_int_equal(fault.kind, CORE_FAULT_INVALID_FREE);
    assert_int_equal(fault.count, 3);
    fault.count = 0;
    CALL(free, q);
    CALL(free, NULL);
    assert_int_equal(compensated[STEM_COMPENSATE_FREE], 2);
    errno = 0;
    assert_null(CALL(malloc, (size_t)PTRDIFF_MAX + (size_t)(uintptr_t)hide((void *)1)));
    assert_int_equal(errno, ENOMEM);
    unsigned *zero = CALL(calloc, 100, sizeof *zero);
    for (int i = 0; i < 100; i++)
        assert_int_equal(zero[i], 0);
    CALL(free, zero);
    void *aligned;
    assert_int_equal(CALL(posix_memalign, &aligned, 256, 10), 0);
    assert_int_equal((uintptr_t)aligned % 256, 0);
    CALL(free, aligned);
    good();
}

/* ---- streams, descriptors, locks ---- */

static void descriptors(void **state)
{
    (void)state;
    int zero = CALL(open, "/dev/zero", O_RDONLY | O_CLOEXEC);
    assert_true(zero >= 0);
    assert_int_equal(compensated[STEM_COMPENSATE_OPEN], 1);
    assert_int_equal(compensation, zero);
    char *p = room(64);
    assert_int_equal(CALL(read, zero, p, 64), 64);
    good();
    assert_int_equal(logged.address, (uintptr_t)p);
    assert_int_equal(logged.bytes, 64);
    CALL(read, zero, p, 65);
    bad("read", p + 64, true);
    free(p);
    p = room(64);
    struct iovec pieces[2] = {{p, 32}, {p + 32, 33}};
    CALL(readv, zero, pieces, 2);
    bad("readv", p + 64, true);
    CALL(close, zero);
    free(p);
    int ends[2];
    assert_int_equal(CALL(pipe, ends), 0);
    p = block(5, "hello");
    assert_int_equal(CALL(write, ends[1], p, 5), 5);
    char *q = room(5);
    /* More is asked for than there is room, but not more comes: no fault. */
    assert_int_equal(CALL(read, ends[0], q, 100), 5);
    good();
    CALL(write, ends[1], p, 6);
    bad("write", p + 5, false);
    FILE *in = fdopen(ends[0], "r");
    assert_int_equal(write(ends[1], "ab\nlonger\n", 10), 10);
    free(q);
    q = room(11);
    assert_ptr_equal(CALL(fgets, q, 100, in), q);
    good();
    free(q);
    q = room(4);
    CALL(fgets, q, 100, in);
    bad("fgets", q + 4, true);
    fclose(in);
    close(ends[1]);
    free(p);
    free(q);
    pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    CALL(pthread_mutex_lock, &mutex);
    assert_int_equal(compensated[STEM_COMPENSATE_LOCK], 1);
    CALL(pthread_mutex_unlock, &mutex);
    struct timespec *when = room(sizeof *when);
    CALL(clock_gettime, CLOCK_REALTIME, when);
    good();
    free(when);
}

/* ---- missing memory ---- */

static volatile uint64_t blamed;

extern uint8_t stem_fast_begin[], stem_fast_end[];

static void on_fault(int signal, siginfo_t *info, void *context)
{
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    (void)info;
    if (registers[REG_RIP] >= (greg_t)stem_fast_begin && registers[REG_RIP] < (greg_t)stem_fast_end) {
        registers[REG_RIP] = registers[REG_R9]; /* as the runtime's own handler does */
        return;
    }
    (void)signal;
    blamed = stem_thread.call;
    stem_thread.call = 0;
    siglongjmp(out, 1);
}

/* A trap while a call is looked at must find the call, so that its caller is blamed; in the function itself there is none. */
static void missing(void **state)
{
    (void)state;
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO}, before[2];
    sigaction(SIGSEGV, &action, &before[0]);
    sigaction(SIGBUS, &action, &before[1]); /* what a non-canonical address in rbp raises */
    char *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), word[8] = "";
    munmap(page + 4096, 4096);
    memset(page, 'x', 4096);
    for (volatile int i = 0; i < 7; i++) {
        blamed = 0;
        if (!sigsetjmp(out, 1)) {
            if (i == 0)
                CALL(strlen, hide(NULL));
            else if (i == 1)
                CALL(memcpy, hide(NULL), word, 8);
            else if (i == 2)
                CALL(strcmp, word, hide((void *)8));
            else if (i == 3)
                CALL(strlen, page);
            else if (i == 4)
                CALL(memset, page, 0, 4097);
            else if (i == 5)
                CALL(memcmp, hide((void *)0x123456789000), word, 8);
            else
                CALL(fputs, hide((void *)0xdead00000000), stdout);
        }
        assert_true(blamed);
    }
    sigaction(SIGSEGV, &before[0], NULL);
    sigaction(SIGBUS, &before[1], NULL);
    munmap(page, 4096);
    good();
}

/* ---- short cuts ---- */

static const char *const short_cuts[] = {
#define SHORT_CUT(name, when) #when #name,
#include "stem/intrinsics_fast.def"
};
enum { SHORT_CUTS = sizeof short_cuts / sizeof *short_cuts };

static uint64_t random_state = 20051;

static size_t below(size_t bound)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state % bound;
}

static void *entry_without(const char *name, uint32_t knobs)
{
    stem_control->config.knobs = knobs;
    void *code = entry(name);
    stem_control->config.knobs = 0;
    return code;
}

enum { ARENA = 4096 };
struct outcome {
    uint64_t result;
    unsigned faults;
    uintptr_t bad;
    bool is_write;
    uintptr_t logged;
    size_t logged_bytes;
    char memory[2][ARENA];
};

/* One call, with the two texts as given; what it wrote and reported. */
static void observe(struct outcome *outcome, void *code, char *const text[2], const char (*was)[ARENA],
                    const size_t room[2], const uint64_t arg[4])
{
    for (int i = 0; i < 2; i++)
        memcpy(text[i], was[i], room[i]);
    fault.count = 0;
    fault.bad = 0;
    logged.address = logged.bytes = 0;
    uint64_t (*call)(uint64_t, uint64_t, uint64_t, uint64_t) =
        (uint64_t(*)(uint64_t, uint64_t, uint64_t, uint64_t))(uintptr_t)code;
    volatile uint64_t result;
    leave_at_fault = true;
    int left = sigsetjmp(out, 1);
    if (left)
        result = (uint64_t)left;
    else
        result = call(arg[0], arg[1], arg[2], arg[3]);
    leave_at_fault = false;
    *outcome = (struct outcome){.result = result,
                                .faults = fault.count,
                                .bad = fault.bad,
                                .is_write = fault.is_write,
                                .logged = logged.bytes ? logged.address : 0,
                                .logged_bytes = logged.bytes};
    for (int i = 0; i < 2; i++)
        memcpy(outcome->memory[i], text[i], room[i]);
    fault.count = 0;
}

static bool compares(const char *name)
{
    return strstr(name, "cmp") || strcmp(name, "strcoll") == 0;
}

static bool returns_int(const char *name)
{
    return compares(name) || strncmp(name, "atoi", 4) == 0;
}

static bool finds(const char *name)
{
    return strstr(name, "chr") || strstr(name, "index");
}

/* Each short cut against its own long way, on random texts in blocks of exact size: same result, same report, same memory. */
static void short_and_long(void **state)
{
    (void)state;
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO}, before[2];
    static char was[2][ARENA];
    static struct outcome fast, slow;
    sigaction(SIGSEGV, &action, &before[0]);
    sigaction(SIGBUS, &action, &before[1]);
    char *edge = mmap(NULL, 4 * ARENA, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    munmap(edge + ARENA, ARENA);
    munmap(edge + 3 * ARENA, ARENA);
    for (volatile unsigned turn = 0; turn < 40000; turn++) {
        if (strncmp(short_cuts[turn % SHORT_CUTS], "SHADOW", 6) != 0)
            continue; /* memory is different each time */
        const char *name = short_cuts[turn % SHORT_CUTS] + 6;
        void *code[2] = {entry_without(name, 0), entry_without(name, 1u << CORE_KNOB_NO_SHORT_CUTS)};
        assert_ptr_not_equal(code[0], code[1]);
        size_t most = below(8) ? 80 : 1500, bytes[2];
        char *text[2], *block[2] = {NULL, NULL};
        char letters = (char)(1 + below(3));
        for (int i = 0; i < 2; i++) {
            bytes[i] = 1 + below(most);
            text[i] = below(3) ? (block[i] = room(bytes[i])) : edge + (2 * i + 1) * ARENA - bytes[i];
            for (size_t k = 0; k < bytes[i]; k++)
                was[i][k] = (char)(strstr(name, "to") ? '0' : 'a' + below(letters));
            /* Mostly there is an end somewhere, and often it is the last byte. */
            if (below(8))
                was[i][below(2) ? bytes[i] - 1 : below(bytes[i])] = 0;
        }
        if (compares(name) && below(2)) { /* equal for a while */
            size_t same = bytes[0] < bytes[1] ? bytes[0] : bytes[1];
            memcpy(was[1], was[0], same - below(same));
        }
        uint64_t arg[4] = {(uintptr_t)text[0], (uintptr_t)text[1], 0, 0};
        if (below(4) == 0) /* not only from a block's beginning */
            arg[0] += below(bytes[0] < 40 ? bytes[0] : 40);
        if (below(4) == 0)
            arg[1] += below(bytes[1] < 40 ? bytes[1] : 40);
        size_t least = bytes[0] < bytes[1] ? bytes[0] : bytes[1];
        arg[2] = below(16) ? below(least + 2) : below(2) ? SIZE_MAX : 0;
        arg[3] = below(8) ? SIZE_MAX : arg[2] - below(2);
        if (strncmp(name, "strto", 5) == 0) {
            arg[1] = below(2) ? 0 : arg[1];
            arg[2] = 10;
        } else if (strncmp(name, "__st", 4) == 0) {
            arg[2] = below(8) ? SIZE_MAX : arg[2];
        } else if (finds(name)) {
            arg[1] = below(4) ? 'a' + below(4) : 0;
        } else if (strcmp(name, "memset") == 0 || strcmp(name, "__memset_chk") == 0) {
            arg[1] = 'M';
        } else if (strcmp(name, "strnlen") == 0) {
            arg[1] = arg[2];
        }
        observe(&slow, code[1], text, was, bytes, arg);
        observe(&fast, code[0], text, was, bytes, arg);
        if (returns_int(name)) { /* the sign is what is promised */
            slow.result = (uint64_t)(((int32_t)slow.result > 0) - ((int32_t)slow.result < 0));
            fast.result = (uint64_t)(((int32_t)fast.result > 0) - ((int32_t)fast.result < 0));
        }
        if (memcmp(&slow, &fast, sizeof slow))
            fail_msg("%s(%p, %p, %#lx, %#lx), blocks %p of %zu and %p of %zu: short %#lx, %u faults at %#lx, "
                     "long %#lx, %u at %#lx; logged %#lx %zu and %#lx %zu",
                     name, (void *)arg[0], (void *)arg[1], arg[2], arg[3], (void *)text[0], bytes[0],
                     (void *)text[1], bytes[1], fast.result, fast.faults, fast.bad, slow.result, slow.faults,
                     slow.bad, fast.logged, fast.logged_bytes, slow.logged, slow.logged_bytes);
        free(block[0]);
        free(block[1]);
    }
    sigaction(SIGSEGV, &before[0], NULL);
    sigaction(SIGBUS, &before[1], NULL);
    munmap(edge, 3 * ARENA);
    stem_thread.call = 0;
}

/* What short cuts log, walked back, gives the old bytes; the ring wraps many times meanwhile. */
static void short_logs(void **state)
{
    (void)state;
    enum { RING = 1 << 16 };
    uint8_t *whole =
        mmap(NULL, 3 * RING, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    uint8_t *ring = (uint8_t *)(((uintptr_t)whole + RING - 1) & ~(uintptr_t)(RING - 1));
    stem_thread.ring = stem_thread.ring_base = (uintptr_t)ring;
    char *block = room(64), old[64];
    for (unsigned turn = 0; turn < 20000; turn++) {
        size_t from = below(64), bytes = 1 + below(64 - from);
        for (size_t i = 0; i < 64; i++)
            old[i] = block[i] = (char)below(256);
        uint64_t start = stem_thread.ring;
        CALL(memset, block + from, 'X', bytes);
        good();
        for (uint64_t p = stem_thread.ring; p != start;) {
            /* Behind the ring lies its first page once more; here it is only memory. */
            p = (p & ~(uint64_t)(RING - 1)) | ((p - 16) & (RING - 1));
            const uint64_t *e = (uint64_t *)(p < start ? p + RING : p);
            unsigned code = e[1] & 7;
            assert_in_range(code, 1, 4);
            memcpy((void *)(e[1] >> 3), e, 1u << (code - 1));
        }
        assert_memory_equal(block, old, 64);
        assert_true(stem_thread.ring - stem_thread.ring_base < RING);
    }
    stem_thread.ring = stem_thread.ring_base = 0;
    munmap(whole, 3 * RING);
    free(block);
}

/* ---- registers ---- */

/* What the callee gets and what the caller keeps: entries may change only what every call may. */
static void registers(void **state)
{
    (void)state;
    uint64_t kept[5] = {11, 12, 13, 14, 15}, got[5];
    char from[16] = "0123456789abcde", to[16];
    void *function = entry("memcpy"), *result;
    __asm__ volatile(
        "push %%rbx\n push %%rbp\n push %%r12\n push %%r13\n push %%r14\n push %%r15\n push %[got]\n"
        "sub $8, %%rsp\n" /* at an odd word: entries align for themselves */
        "mov 0(%[kept]), %%rbx\n mov 8(%[kept]), %%r12\n mov 16(%[kept]), %%r13\n"
        "mov 24(%[kept]), %%r14\n mov 32(%[kept]), %%r15\n"
        "mov $16, %%edx\n"
        "call *%%rax\n"
        "add $8, %%rsp\n pop %%rcx\n"
        "mov %%rbx, 0(%%rcx)\n mov %%r12, 8(%%rcx)\n mov %%r13, 16(%%rcx)\n mov %%r14, 24(%%rcx)\n"
        "mov %%r15, 32(%%rcx)\n"
        "pop %%r15\n pop %%r14\n pop %%r13\n pop %%r12\n pop %%rbp\n pop %%rbx\n"
        : "=&a"(result)
        : "0"(function), "D"(to), "S"(from), [kept] "c"(kept), [got] "d"(got)
        : "r8", "r9", "r10", "r11", "memory", "cc");
    assert_ptr_equal(result, to);
    assert_memory_equal(to, from, 16);
    assert_memory_equal(kept, got, sizeof got);
    good();
}

static void names(void **state)
{
    (void)state;
    core_cache_pc thunk;
    assert_int_equal(stem_intrinsic_find(&thunk, "setjmp"), STEM_CALLEE_ESCAPE);
    assert_int_equal(stem_intrinsic_find(&thunk, "dlsym"), STEM_CALLEE_ESCAPE);
    assert_int_equal(stem_intrinsic_find(&thunk, "rand"), STEM_CALLEE_PLAIN);
    assert_int_equal(stem_intrinsic_find(&thunk, "my_own_function"), STEM_CALLEE_PLAIN);
    assert_ptr_equal(stem_libc_symbol("qsort"), (void *)(uintptr_t)qsort);
    assert_null(stem_libc_symbol("my_own_function"));
    assert_null(stem_elf_bound("my_own_function"));
    assert_true(stem_elf_is_static((uintptr_t)names));
    assert_false(stem_elf_is_static((uintptr_t)&thunk));
}

int main(void)
{
    if (!prepare())
        return 77; /* no address space: skipped */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(memory, forget),     cmocka_unit_test_setup(strings, forget),
        cmocka_unit_test_setup(wide, forget),       cmocka_unit_test_setup(formats, forget),
        cmocka_unit_test_setup(heap, forget),       cmocka_unit_test_setup(descriptors, forget),
        cmocka_unit_test_setup(registers, forget),  cmocka_unit_test_setup(names, forget),
        cmocka_unit_test_setup(missing, forget),    cmocka_unit_test_setup(short_and_long, forget),
        cmocka_unit_test_setup(short_logs, forget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
