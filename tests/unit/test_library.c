/* Checked library calls, function by function: on blocks of exact size they report nothing and do what the function alone does;
   on a block that is one element short they report that element. And with random arguments: always what libc says. */
#include "calls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <iconv.h>
#include <locale.h>
#include <poll.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <time.h>
#include <wchar.h>

static wchar_t *wide_block(size_t characters, const wchar_t *text)
{
    wchar_t *p = room(characters * sizeof *p);
    for (size_t i = 0; i < characters; i++)
        p[i] = i && !p[i - 1] ? 0 : text[i];
    return p;
}

/* Runs `call` with `p` on a block that holds `bytes`, then on one that lacks `less`; the result of the first is expected. */
#define EXACT(name, bytes, less, is_write, call)                                                             \
    do {                                                                                                     \
        size_t exact_bytes = (bytes);                                                                        \
        char *p = room(exact_bytes);                                                                         \
        memset(p, 0, exact_bytes);                                                                           \
        (void)(call);                                                                                        \
        good();                                                                                              \
        free(p);                                                                                             \
        p = room(exact_bytes - (less));                                                                      \
        memset(p, 0, exact_bytes - (less));                                                                  \
        (void)(call);                                                                                        \
        bad(name, p + exact_bytes - (less), is_write);                                                       \
        free(p);                                                                                             \
    } while (0)

/* ---- wide and multibyte text ---- */

static void wide(void **state)
{
    (void)state;
    wchar_t *open = wide_block(5, L"hello"), *closed = wide_block(6, L"hello");
    assert_ptr_equal(CALL(wcschr, open, L'l'), open + 2);
    assert_ptr_equal(CALL(wmemchr, open, L'o', 100), open + 4);
    assert_ptr_equal(CALL(wcsrchr, closed, L'l'), closed + 3);
    assert_ptr_equal(CALL(wcsstr, open, L"ll"), open + 2);
    assert_ptr_equal(CALL(wcspbrk, open, L"xo"), open + 4);
    assert_int_equal(CALL(wcsspn, closed, L"leh"), 4);
    assert_int_equal(CALL(wcscspn, open, L"o"), 4);
    assert_int_equal(CALL(wcscasecmp, closed, L"HELLO"), 0);
    good();
    CALL(wcschr, open, L'z');
    bad("wcschr", open + 5, false);
    CALL(wmemchr, open, L'z', 6);
    bad("wmemchr", open + 5, false);
    CALL(wcsrchr, open, L'l');
    bad("wcsrchr", open + 5, false);
    CALL(wcscspn, closed, L"z");
    good();
    EXACT("wcsncpy", 24, 4, true, CALL(wcsncpy, (wchar_t *)p, L"abcdefgh", 6));
    EXACT("mbstowcs", 24, 4, true, CALL(mbstowcs, (wchar_t *)p, "hello", 100));
    EXACT("mbstowcs", 24, 4, true, CALL(mbstowcs, (wchar_t *)p, "hello, you", 6));
    EXACT("wcstombs", 6, 1, true, CALL(wcstombs, p, L"hello", 100));
    EXACT("swprintf", 32, 4, true, CALL(swprintf, (wchar_t *)p, 100, L"%ls %d", L"is", 1234));
    EXACT("swprintf", 24, 4, true, CALL(swprintf, (wchar_t *)p, 7, L"%s", "longer than that"));
    EXACT("wcscpy", 24, 4, true, CALL(wcscpy, (wchar_t *)p, closed));
    wchar_t *end, *number = wide_block(4, L"12.5");
    assert_int_equal(CALL(wcstol, closed, &end, 10), 0);
    good();
    assert_true(CALL(wcstod, number, NULL) == 12.5);
    bad("wcstod", number + 4, false);
    wchar_t *words = wide_block(6, L"ab,cd"), *at;
    assert_ptr_equal(CALL(wcstok, words, L",", &at), words);
    assert_ptr_equal(CALL(wcstok, NULL, L",", &at), words + 3);
    good();
    free(words);
    free(number);
    free(open);
    free(closed);
}

/* ---- tokens and numbers ---- */

static void tokens(void **state)
{
    (void)state;
    char *text = block(10, ",,ab;,cd;"), *at = NULL, *expected_at = NULL, expected[] = ",,ab;,cd;";
    const char *got = CALL(strtok_r, text, ",;", &at), *wanted = strtok_r(expected, ",;", &expected_at);
    while (wanted) {
        assert_string_equal(got, wanted);
        assert_int_equal(at - text, expected_at - expected);
        got = CALL(strtok_r, NULL, ",;", &at);
        wanted = strtok_r(NULL, ",;", &expected_at);
    }
    assert_null(got);
    assert_memory_equal(text, expected, 10);
    good();
    memcpy(text, "ab,cd,,ef", 10);
    at = text;
    assert_string_equal(CALL(strsep, &at, ","), "ab");
    assert_int_equal(logged.address, (uintptr_t)text + 2);
    assert_string_equal(CALL(strsep, &at, ","), "cd");
    assert_string_equal(CALL(strsep, &at, ","), "");
    assert_string_equal(CALL(strsep, &at, ","), "ef");
    assert_null(CALL(strsep, &at, ","));
    good();
    memcpy(text, "ab cd efgh", 10);
    assert_string_equal(CALL(strtok, text, " "), "ab");
    assert_string_equal(CALL(strtok, NULL, " "), "cd");
    good();
    at = text + 6;
    CALL(strsep, &at, ",");
    bad("strsep", text + 10, false);
    free(text);
    static const char *const numbers[] = {"12.5e3x", "-0x1.8p3z", "inf,", "1e+q", "  7 ", "nan(12)", "abc"};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        size_t n = strlen(numbers[i]);
        char *exact = block(n, numbers[i]), *end, *end_alone;
        double a = CALL(strtod, exact, &end), b = strtod(numbers[i], &end_alone);
        assert_memory_equal(&a, &b, sizeof a);
        assert_int_equal(end - exact, end_alone - numbers[i]);
        assert_true(CALL(strtold, exact, NULL) == strtold(numbers[i], NULL) || a != a);
        a = CALL(atof, exact);
        assert_memory_equal(&a, &b, sizeof a);
        good();
        free(exact);
    }
    char *open = block(3, "1.5");
    assert_true(CALL(strtof, open, NULL) >= 1.5f);
    bad("strtof", open + 3, false);
    free(open);
}

/* ---- scanf ---- */

__attribute__((format(scanf, 2, 3))) static int scan_list(const char *text, const char *format, ...)
{
    va_list values;
    va_start(values, format);
    int n = CALL(vsscanf, text, format, values);
    va_end(values);
    return n;
}

static void scans(void **state)
{
    (void)state;
    int n[8] = {0};
    char word[20], set[20];
    double d;
    char *made = NULL;
    assert_int_equal(
        CALL(sscanf, "12 word 3.5 <abc> q", "%d %19s %lf <%19[a-z]> %c", n, word, &d, set, &n[1]), 5);
    assert_int_equal(n[0], 12);
    assert_string_equal(word, "word");
    assert_string_equal(set, "abc");
    assert_true(d == 3.5);
    assert_int_equal(CALL(sscanf, "1 2 3 4 5 6 7 8", "%d%d%d%d%d%d%d%d", n, n + 1, n + 2, n + 3, n + 4, n + 5,
                          n + 6, n + 7),
                     8);
    assert_int_equal(n[7], 8);
    assert_int_equal(CALL(sscanf, "skip this", "%*s %ms%n", &made, n), 1);
    assert_string_equal(made, "this");
    assert_int_equal(compensation, (uintptr_t)made);
    assert_int_equal(n[0], 9);
    free(made);
    assert_int_equal(scan_list("7 seven", "%d %s", n, word), 2);
    good();
    EXACT("sscanf", 6, 1, true, CALL(sscanf, "hello 1", "%s", p));
    EXACT("sscanf", 4, 1, true, CALL(sscanf, "hello", "%3s", p));
    EXACT("sscanf", 5, 1, true, CALL(sscanf, "hello", "%5c", p));
    EXACT("sscanf", 4, 1, true, CALL(sscanf, "1", "%d", (int *)p));
    EXACT("sscanf", 2, 1, true, CALL(sscanf, "1", "%hd", (short *)p));
    EXACT("sscanf", 24, 4, true, CALL(sscanf, "hello 1", "%ls", (wchar_t *)p));
    EXACT("sscanf", 4, 1, true, CALL(sscanf, "]]]x", "%[]]", p));
    EXACT("sscanf", 4, 1, true, CALL(sscanf, "abc]", "%[^]]", p));
    EXACT("swscanf", 6, 1, true, CALL(swscanf, L"hello", L"%s", p));
    char *tiny = room(1);
    assert_int_equal(CALL(sscanf, "x", "%d%s", n, tiny), 0); /* nothing is stored: nothing is wrong */
    good();
    FILE *file = fmemopen((char[]){"twelve 13"}, 9, "r");
    CALL(fscanf, file, "%s", tiny);
    bad("fscanf", tiny + 1, true);
    fclose(file);
    free(tiny);
}

/* ---- fortified ---- */

int __snprintf_chk(char *, size_t, int, size_t, const char *, ...);
int __sprintf_chk(char *, int, size_t, const char *, ...);
int __swprintf_chk(wchar_t *, size_t, int, size_t, const wchar_t *, ...);
int __asprintf_chk(char **, int, const char *, ...);
ssize_t __read_chk(int, void *, size_t, size_t);
wchar_t *__wcscpy_chk(wchar_t *, const wchar_t *, size_t);
size_t __fread_chk(void *, size_t, size_t, size_t, FILE *);
char *__realpath_chk(const char *, char *, size_t);
long __fdelt_chk(long);

static void expect_fortify(const char *function)
{
    assert_int_equal(fault.count, 1);
    assert_int_equal(fault.kind, CORE_FAULT_FORTIFY);
    assert_string_equal(fault.function, function);
    fault.count = 0;
}

static void fortified(void **state)
{
    (void)state;
    char *p = room(8), *made;
    assert_int_equal(CALL(__sprintf_chk, p, 1, 8, "%d", 1234567), 7);
    assert_int_equal(CALL(__snprintf_chk, p, 8, 1, 8, "%d", 123456789), 9);
    assert_string_equal(p, "1234567");
    assert_int_equal(CALL(__asprintf_chk, &made, 1, "%s-%d", "x", 5), 3);
    assert_string_equal(made, "x-5");
    free(made);
    good();
    CALL(__sprintf_chk, p, 1, 4, "%d", 1234);
    expect_fortify("__sprintf_chk");
    CALL(__snprintf_chk, p, 8, 1, 4, "%d", 1);
    expect_fortify("__snprintf_chk");
    CALL(__sprintf_chk, p, 1, 4, "%d", 12345678); /* the exact report first */
    bad("__sprintf_chk", p + 8, true);
    wchar_t *w = room(8);
    CALL(__wcscpy_chk, w, L"a", 2);
    good();
    assert_int_equal(CALL(__swprintf_chk, w, 2, 1, 2, L"%d", 1), 1);
    good();
    CALL(__swprintf_chk, w, 2, 1, 1, L"%d", 1);
    expect_fortify("__swprintf_chk");
    assert_int_equal(CALL(__fdelt_chk, 1023), 15);
    assert_non_null(CALL(__realpath_chk, "/", room(4096), 4096));
    good();
    free(w);
    free(p);
}

/* ---- the system ---- */

static void sockets(void **state)
{
    (void)state;
    int pair[2];
    assert_int_equal(CALL(socketpair, AF_UNIX, SOCK_DGRAM, 0, pair), 0);
    char *p = block(10, "0123456789"), *q = room(10);
    struct iovec from[2] = {{p, 4}, {p + 4, 6}}, into[2] = {{q, 3}, {q + 3, 100}};
    struct msghdr message = {.msg_iov = from, .msg_iovlen = 2};
    assert_int_equal(CALL(sendmsg, pair[0], &message, 0), 10);
    message.msg_iov = into;
    assert_int_equal(CALL(recvmsg, pair[1], &message, 0), 10);
    assert_memory_equal(p, q, 10);
    good();
    from[1].iov_len = 7;
    message.msg_iov = from;
    CALL(sendmsg, pair[0], &message, 0);
    bad("sendmsg", p + 10, false);
    message.msg_iov = into;
    CALL(recvmsg, pair[1], &message, 0);
    bad("recvmsg", q + 10, true);
    /* More than was asked for is said to have come, not written. */
    assert_int_equal(send(pair[0], "0123456789", 10, 0), 10);
    assert_int_equal(CALL(recv, pair[1], q, 5, MSG_TRUNC), 10);
    good();
    socklen_t bytes = sizeof(int);
    int type = 0;
    assert_int_equal(CALL(getsockopt, pair[0], SOL_SOCKET, SO_TYPE, &type, &bytes), 0);
    assert_int_equal(type, SOCK_DGRAM);
    good();
    bytes = 100;
    struct sockaddr *short_name = room(1);
    CALL(getsockname, pair[0], short_name, &bytes);
    bad("getsockname", (char *)short_name + 1, true);
    free(short_name);
    struct pollfd *polled = room(sizeof *polled);
    *polled = (struct pollfd){.fd = pair[0], .events = POLLOUT};
    assert_int_equal(CALL(poll, polled, 1, 0), 1);
    good();
    CALL(poll, polled, 2, 0);
    bad("poll", polled + 1, true);
    free(polled);
    fd_set *set = room(sizeof *set);
    FD_ZERO(set);
    FD_SET(pair[0], set);
    struct timeval none = {0};
    assert_int_equal(CALL(select, pair[0] + 1, NULL, set, NULL, &none), 1);
    good();
    free(set);
    set = room(8);
    memset(set, 0, 8);
    CALL(select, 64, set, NULL, NULL, &none);
    good();
    CALL(select, 65, set, NULL, NULL, &none);
    bad("select", (char *)set + 8, true);
    free(set);
    int epoll = CALL(epoll_create1, 0);
    struct epoll_event event = {.events = EPOLLOUT}, *events = room(sizeof *events);
    CALL(epoll_ctl, epoll, EPOLL_CTL_ADD, pair[0], &event);
    assert_int_equal(CALL(epoll_wait, epoll, events, 100, 0), 1);
    good();
    assert_int_equal(CALL(epoll_wait, -1, events, 100, 0), -1);
    good();
    CALL(epoll_ctl, epoll, EPOLL_CTL_ADD, pair[1], &event);
    assert_int_equal(CALL(epoll_wait, epoll, events, 100, 0), 2);
    bad("epoll_wait", events + 1, true);
    close(epoll);
    free(events);
    close(pair[0]);
    close(pair[1]);
    free(p);
    free(q);
}

static int by_value(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

static void the_rest(void **state)
{
    (void)state;
    EXACT("uname", sizeof(struct utsname), 1, true, CALL(uname, (struct utsname *)p));
    EXACT("getrlimit", 16, 1, true, CALL(getrlimit, RLIMIT_CORE, (struct rlimit *)p));
    EXACT("inet_pton", 4, 1, true, CALL(inet_pton, AF_INET, "127.0.0.1", p));
    EXACT("inet_pton", 16, 1, true, CALL(inet_pton, AF_INET6, "::1", p));
    EXACT("inet_ntop", 8, 1, true, CALL(inet_ntop, AF_INET, "\x01\x02\x03\x04", p, 100));
    EXACT("asctime_r", 26, 1, true, CALL(asctime_r, &(struct tm){.tm_mday = 1}, p));
    EXACT("ctime_r", 26, 1, true, CALL(ctime_r, &(time_t){0}, p));
    EXACT("strftime", 5, 1, true, CALL(strftime, p, 100, "%Y", &(struct tm){.tm_year = 100}));
    EXACT("getentropy", 30, 1, true, CALL(getentropy, p, 30));
    EXACT("strxfrm", 6, 1, true, CALL(strxfrm, p, "hello", 100));
    EXACT("realpath", 5, 1, true, CALL(realpath, "/proc/../usr/bin/../../tmp/..//usr", p));
    EXACT("getcwd", strlen(getcwd((char[4096]){0}, 4096)) + 1, 1, true, CALL(getcwd, p, 4096));
    EXACT("gcvt", 4, 1, true, CALL(gcvt, 1.5, 5, p));
    EXACT("qsort", 40, 4, true, (CALL(qsort, p, 10, 4, by_value), 0));
    EXACT("bsearch", 40, 4, false, CALL(bsearch, &(int){0}, p, 10, 4, by_value));
    char host[300];
    assert_int_equal(gethostname(host, sizeof host), 0);
    EXACT("gethostname", strlen(host) + 1, 1, true, CALL(gethostname, p, 300));
    int values[5] = {3, 1, 2, 5, 4};
    CALL(qsort, values, 5, sizeof *values, by_value);
    for (int i = 0; i < 5; i++)
        assert_int_equal(values[i], i + 1);
    char *path = CALL(realpath, "/", NULL);
    assert_string_equal(path, "/");
    assert_int_equal(compensation, (uintptr_t)path);
    free(path);
    char *made;
    assert_int_equal(CALL(asprintf, &made, "%d %s %g", 1, "two", 3.5), 9);
    assert_string_equal(made, "1 two 3.5");
    assert_int_equal(compensation, (uintptr_t)made);
    free(made);
    iconv_t to_utf16 = iconv_open("UTF-16LE", "UTF-8");
    char source[] = "abc", *from = source, *units = room(5), *to = units;
    size_t left = 3, space = 6;
    CALL(iconv, to_utf16, &from, &left, &to, &space);
    bad("iconv", units + 5, true);
    iconv_close(to_utf16);
    free(units);
    good();
}

/* ---- below the stack ---- */

static void below(void **state)
{
    (void)state;
    char word[16] = "text", *sp;
    __asm__ volatile("mov %%rsp, %0" : "=r"(sp));
    fault.count = 0;
    CALL(strlen, word);
    good();
    CALL(memrchr, hide(sp - 64), 0, 1);
    assert_int_equal(fault.count, 1);
    assert_int_equal(fault.kind, CORE_FAULT_STACK_SMASH);
    fault.count = 0;
}

/* ---- random arguments ---- */

static uint64_t seed = 0x5eed;

static uint32_t any(uint32_t below_this)
{
    seed = seed * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)(seed >> 33) % below_this;
}

static void random_text(char *text, size_t length, const char *alphabet)
{
    for (size_t i = 0; i < length; i++)
        text[i] = alphabet[any((uint32_t)strlen(alphabet))];
    text[length] = 0;
}

static void printed(void **state)
{
    (void)state;
    static const char *const formats[] = {"%d|%s|%g", "%-*d|%.*s",    "%c%5.2f%s%lld", "%x %p %%%s",
                                          "%s%s%s%s", "%020d%-300s|", "%La %s"};
    for (int round = 0; round < 3000; round++) {
        char text[1200], to[4000], alone[4000];
        random_text(text, any(10) ? any(60) : any(1100), "abcdefgh %");
        size_t limit = any(3) ? any(50) : any(4000);
        memset(to, 'x', sizeof to);
        memset(alone, 'x', sizeof alone);
        int a, b, n = (int)any(100000) - 50000, width = (int)any(40);
        double d = n * 0.37;
        long double e = d;
#define BOTH(...)                                                                                            \
    a = CALL(snprintf, to, limit, __VA_ARGS__), b = snprintf(alone, limit, __VA_ARGS__);                     \
    assert_int_equal(a, b);                                                                                  \
    assert_memory_equal(to, alone, sizeof to);                                                               \
    if (limit > 3900)                                                                                        \
    a = CALL(sprintf, to, __VA_ARGS__), b = sprintf(alone, __VA_ARGS__)
        switch (any(7)) {
        case 0:
            BOTH(formats[0], n, text, d);
            break;
        case 1:
            BOTH(formats[1], width, n, width, text);
            break;
        case 2:
            BOTH(formats[2], 'y', d, text, (long long)n * n);
            break;
        case 3:
            BOTH(formats[3], n, text, text);
            break;
        case 4:
            BOTH(formats[4], text, "", "mid", text + strlen(text) / 2);
            break;
        case 5:
            BOTH(formats[5], n, text);
            break;
        default:
            BOTH(formats[6], e, text);
            break;
        }
        assert_int_equal(a, b);
        assert_memory_equal(to, alone, sizeof to);
        good();
    }
}

static void scanned(void **state)
{
    (void)state;
    static const char *const formats[] = {"%d %s %d", "%15[a-c] %n%s", "%*d %5c %lf",
                                          "%hhd%i%s", " %c%c %x",      "%s %[^ ]%d"};
    for (int round = 0; round < 3000; round++) {
        char text[64];
        random_text(text, any(60), "abc 123.-x]");
        uint64_t to[3][16], alone[3][16];
        memset(to, 'x', sizeof to);
        memset(alone, 'x', sizeof alone);
        const char *format = formats[any(6)];
        errno = 0;
        int a = CALL(sscanf, text, format, to[0], to[1], to[2]),
            b = sscanf(text, format, alone[0], alone[1], alone[2]);
        assert_int_equal(a, b);
        assert_memory_equal(to, alone, sizeof to);
        good();
    }
}

static void searched(void **state)
{
    (void)state;
    for (int round = 0; round < 5000; round++) {
        char text[200], copy[200], set[6], *at = text, *copy_at = copy;
        wchar_t wide_text[200], wide_copy[200], wide_set[6];
        random_text(text, any(190), "abcde");
        random_text(set, any(5), "abcdef");
        memcpy(copy, text, sizeof copy);
        mbstowcs(wide_text, text, 200);
        mbstowcs(wide_set, set, 6);
        assert_ptr_equal(CALL(strstr, text, set), strstr(text, set));
        assert_ptr_equal(CALL(strpbrk, text, set), strpbrk(text, set));
        assert_int_equal(CALL(strspn, text, set), strspn(text, set));
        assert_int_equal(CALL(strcspn, text, set), strcspn(text, set));
        assert_ptr_equal(CALL(wcsstr, wide_text, wide_set), wcsstr(wide_text, wide_set));
        assert_ptr_equal(CALL(wcspbrk, wide_text, wide_set), wcspbrk(wide_text, wide_set));
        assert_int_equal(CALL(wcsspn, wide_text, wide_set), wcsspn(wide_text, wide_set));
        assert_ptr_equal(CALL(wcschr, wide_text, L'c'), wcschr(wide_text, L'c'));
        assert_int_equal(CALL(mbstowcs, wide_copy, text, 200), strlen(text));
        assert_int_equal(wcscmp(wide_copy, wide_text), 0);
        assert_int_equal(CALL(wcstombs, copy, wide_text, 200), strlen(text));
        assert_string_equal(copy, text);
        for (int i = 0; i < 5; i++) {
            const char *got = CALL(strsep, &at, set), *wanted = strsep(&copy_at, set);
            assert_int_equal(got ? got - text : -1, wanted ? wanted - copy : -1);
        }
        assert_memory_equal(text, copy, strlen(text) + 1);
        good();
    }
}

int main(void)
{
    if (!prepare())
        return 77; /* no address space: skipped */
    setlocale(LC_ALL, "C.UTF-8");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(wide, forget),    cmocka_unit_test_setup(tokens, forget),
        cmocka_unit_test_setup(scans, forget),   cmocka_unit_test_setup(fortified, forget),
        cmocka_unit_test_setup(sockets, forget), cmocka_unit_test_setup(the_rest, forget),
        cmocka_unit_test_setup(below, forget),   cmocka_unit_test_setup(printed, forget),
        cmocka_unit_test_setup(scanned, forget), cmocka_unit_test_setup(searched, forget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
