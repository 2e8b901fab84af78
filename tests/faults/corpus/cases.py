"""The corpus as tables: what is done to which memory through which function, and what must be reported.

A case becomes one C program around the body of its function `work`, which sees `bad`. Every table is a list of rows; the
cases are the products that the functions at the end form of them. The order is fixed, nothing is random."""

import dataclasses

HEAP, UNDER, FREED, SMASH, NULL = "heap-overflow", "heap-underflow", "use-after-free", "stack-smash", "null-dereference"


@dataclasses.dataclass
class Case:
    name: str
    group: str  # line of the comparison table
    kinds: str  # a|b: the compiler's layout decides
    access: str  # read, write, - (neither), * (the compiler decides)
    body: str
    object: int = 0  # size of the heap block that is missed; 0: none, or not certain
    function: str = "work"
    before: str = ""  # declarations before work
    flags: tuple = ()
    levels: tuple = ("O0", "O2")  # at which it is the fault that it says

    def source(self):
        lines = "\n".join("    " + line.strip() for line in self.body.strip().splitlines())
        before = self.before.strip() + "\n\n" if self.before else ""
        return f'#include "corpus.h"\n\n{before}int work(int bad)\n{{\n{lines}\n    return 0;\n}}\n'


# ---- plain accesses to heap blocks ---------------------------------------------------------------------------------

WIDTHS = [1, 2, 4, 8, 16]

# allocator: expression for a block of `n` bytes
ALLOCATORS = {
    "malloc": "malloc(n)",
    "calloc": "calloc(n, 1)",
    "calloc2": "calloc(1, n)",
    "realloc": "realloc(malloc(8), n)",
    "realloc-null": "realloc(NULL, n)",
    "reallocarray": "reallocarray(NULL, n, 1)",
    "memalign": "memalign(64, n)",
    "aligned_alloc": "aligned_alloc(64, n)",
    "posix_memalign": "({ void *q; posix_memalign(&q, 128, n) ? NULL : q; })",
    "valloc": "valloc(n)",
    "strdup": "strdup(text(n - 1))",
    "strndup": "strndup(text(n + 9), n - 1)",
    "wcsdup": "wcsdup(wide_text(n / 4 - 1))",
}


def touch(width, write, where):
    return f"*(volatile u{width} *)({where}) = (u{width}){{7}};" if write else f"use(*(volatile u{width} *)({where}));" \
        if width < 16 else f"{{ u16 value = *(volatile u16 *)({where}); use(value[0]); }}"


def heap_case(name, group, kinds, write, bytes_, bad_at, good_at, width, allocator="malloc", more=""):
    return Case(name, group, kinds, "write" if write else "read", f"""
        size_t n = hide((size_t){bytes_});
        unsigned char *p = (unsigned char *){ALLOCATORS[allocator]};
        if (!p)
            return 1;
        {more}
        unsigned char *at = p + hide((ptrdiff_t)(bad ? {bad_at} : {good_at}));
        {touch(width, write, 'at')}
        free(hide(p));""", bytes_, before="#include <malloc.h>")


def heap_plain():
    for write in (False, True):
        how = "write" if write else "read"
        for w in WIDTHS:
            yield heap_case(f"heap-next-{how}-{w}", "heap overflow", HEAP, write, 48, 48, 48 - w, w)
            yield heap_case(f"heap-padding-{how}-{w}", "heap overflow into padding", HEAP, write, 45, 45 - w + 1, 45 - w, w)
            yield heap_case(f"heap-before-{how}-{w}", "heap underflow", UNDER, write, 48, -w, 0, w)
        for a in list(ALLOCATORS)[1:]:
            yield heap_case(f"heap-{a}-{how}", "heap overflow", HEAP, write, 52, 52, 51, 1, a)
        for far in (8, 15, 31, 100, 500):
            yield heap_case(f"heap-far-{far}-{how}", "heap overflow, far", HEAP, write, 48, 48 + far, 47, 1)
        for far in (16, 200, 1000):
            yield heap_case(f"heap-far-large-{far}-{how}", "heap overflow, far", HEAP, write, 70000, 70000 + far, 69999, 1)
        for far in (8, 15, 40):
            yield heap_case(f"heap-far-before-{far}-{how}", "heap underflow", UNDER, write, 70000, -far, 0, 1)
        for size in (1, 7, 16, 1000, 4096, 33000, 1000000):
            yield heap_case(f"heap-size-{size}-{how}", "heap overflow", HEAP, write, size, size, size - 1, 1)
        yield heap_case(f"heap-straddle-{how}", "heap overflow", HEAP, write, 44, 40, 36, 8)
        yield heap_case(f"heap-shrunk-{how}", "heap overflow", HEAP, write, 40, 60, 39, 1,
                        more="p = realloc(p, 200); p = realloc(p, n);")
        yield heap_case(f"heap-grown-{how}", "heap overflow", HEAP, write, 300, 300, 299, 1,
                        more="p = realloc(p, 40); p = realloc(p, n);")
        yield heap_case(f"heap-usable-{how}", "heap overflow", HEAP, write, 25, 25, 24, 1, more="use(malloc_usable_size(p));")


LOOPS = {  # name: (access, loop over `count` elements of the 40-byte block at p)
    "up": ("write", "for (size_t i = 0; i < count; i++) p[i] = (char)i;"),
    "down": ("write", "for (size_t i = count; i-- > 0;) p[i] = (char)i;"),
    "sum": ("read", "unsigned sum = 0; for (size_t i = 0; i < count; i++) sum += p[i]; use(sum);"),
    "words": ("write", "for (size_t i = 0; i < (count + 3) / 4; i++) ((u4 *)p)[i] = (uint32_t)i;"),
    "doubles": ("write", "for (size_t i = 0; i < (count + 7) / 8; i++) ((volatile double *)p)[i] = (double)i;"),
    "search": ("read", "size_t i = 0; while (i < count && p[i] != 1) i++; use(i);"),
    "pointer": ("write", "for (volatile char *q = p, *end = p + count; q != end; q++) *q = 1;"),
    "increment": ("*", "for (size_t i = 0; i < count; i++) p[i]++;"),
    "struct": ("write", "struct pair { u4 a, b; } *q = (void *)p; for (size_t i = 0; i < (count + 7) / 8; i++) q[i].b = 1;"),
    "xor": ("*", "for (size_t i = 0; i < count; i++) p[i] ^= (char)i;"),
    "stos": ("write", 'void *q = (void *)p; size_t c = count; __asm__ volatile("rep stosb" : "+D"(q), "+c"(c) : "a"(0) : "memory");'),
    "movs": ("write", 'void *q = (void *)p; const void *s = letters(); size_t c = count;'
             ' __asm__ volatile("rep movsb" : "+D"(q), "+S"(s), "+c"(c) : : "memory");'),
    "lods": ("read", 'const void *s = (void *)p; size_t c = (count + 7) / 8;'
             ' __asm__ volatile("rep lodsq" : "+S"(s), "+c"(c) : : "rax", "memory");'),
    "sse": ("write", 'for (size_t i = 0; i + 8 < count + 8; i += 8) __asm__ volatile("pxor %%xmm0, %%xmm0; movq %%xmm0, (%0)"'
            ' : : "r"(p + i) : "xmm0", "memory");'),
    "exchange": ("*", "for (size_t i = 0; i < count; i++) __atomic_exchange_n(p + i, 1, __ATOMIC_SEQ_CST);"),
    "add-locked": ("*", "for (size_t i = 0; i < count; i++) __atomic_fetch_add(p + i, 1, __ATOMIC_SEQ_CST);"),
}


def heap_loops():
    for name, (access, loop) in LOOPS.items():
        for place in ("heap", "freed"):
            heap = place == "heap"
            yield Case(f"{place}-loop-{name}", "heap overflow, loop" if heap else "use after free", HEAP if heap else FREED,
                       access, f"""
                volatile char *p = calloc(hide((size_t)40), 1);
                if (!p)
                    return 1;
                size_t count = hide((size_t)(bad && {int(heap)} ? 41 : 40));
                if (bad && {int(not heap)})
                    release((void *)p);
                {loop}
                if (!bad || {int(heap)})
                    release((void *)p);""", 40)


# ---- use after free ------------------------------------------------------------------------------------------------------

FREES = {  # name: (size, how the block is given back when bad, and what happens before the access)
    "free": (40, "free(hide(p));"),
    "free-large": (200000, "free(hide(p));"),
    "free-huge": (40000000, "free(hide(p));"),
    "release": (56, "release(p);"),
    "realloc": (40, "use(realloc(hide(p), 4000));"),
    "realloc-large": (300000, "use(realloc(hide(p), 900000));"),
    "realloc-zero": (40, "use(realloc(hide(p), hide((size_t)0)));"),
    "reallocarray": (40, "use(reallocarray(hide(p), 100, 100));"),
    "churn-100": (40, "free(hide(p)); churn(100, 40);"),
    "churn-2000": (40, "free(hide(p)); churn(2000, 40);"),
    "churn-other": (40, "free(hide(p)); churn(5000, 200);"),
    "churn-large": (100000, "free(hide(p)); churn(20, 100000);"),
    "reused": (48, "free(hide(p)); use(malloc(48)); use(malloc(48)); use(malloc(48));"),
    "thread": (40, "pthread_t t; pthread_create(&t, NULL, (void *(*)(void *))(uintptr_t)release, p); pthread_join(t, NULL);"),
    "free-other-size": (24, "free(hide(p)); use(malloc(1000)); use(calloc(3, 8));"),
}


def freed_plain():
    for name, (size, give) in FREES.items():
        for write in (False, True):
            how = "write" if write else "read"
            yield Case(f"freed-{name}-{how}", "use after free", FREED, how, f"""
                unsigned char *p = malloc(hide((size_t){size}));
                if (!p)
                    return 1;
                p[0] = 1;
                if (bad) {{
                    {give}
                }}
                {touch(4, write, 'hide(p) + hide(12)')}
                if (!bad)
                    free(hide(p));""", 0 if name in ("churn-large", "free-huge") else size, flags=("-pthread",))
    for w in WIDTHS:
        for write in (False, True):
            how = "write" if write else "read"
            yield Case(f"freed-width-{w}-{how}", "use after free", FREED, how, f"""
                unsigned char *p = calloc(hide((size_t)32), 1);
                if (!p)
                    return 1;
                if (bad)
                    free(hide(p));
                {touch(w, write, 'hide(p) + hide(8)')}
                if (!bad)
                    free(hide(p));""", 32)


# ---- frees --------------------------------------------------------------------------------------------------------------

def bad_frees():
    def case(name, group, kind, body, object_=0):
        return Case(f"{kind}-{name}", group, kind, "-", body, object_)
    for size in (1, 24, 1000, 40000, 2000000):
        yield case(f"size-{size}", "double free", "double-free", f"""
            void *p = malloc(hide((size_t){size}));
            free(hide(p));
            if (bad)
                free(hide(p));""", size)
    for name, between in {"other": "void *q = malloc(40); free(hide(q));", "churn": "churn(1000, 40);",
                          "release": "release(malloc(99));"}.items():
        yield case(name, "double free", "double-free", f"""
            void *p = malloc(hide((size_t)40));
            release(p);
            {between}
            if (bad)
                free(hide(p));""", 40)
    yield case("realloc", "double free", "double-free", """
        void *p = malloc(hide((size_t)40));
        free(hide(p));
        if (bad)
            use(realloc(hide(p), 100));""", 40)
    yield case("after-realloc", "double free", "double-free", """
        void *p = malloc(hide((size_t)40));
        void *q = realloc(hide(p), 100000);
        free(hide(q));
        if (bad)
            free(hide(p));""", 40)
    yield case("strdup", "double free", "double-free", """
        char *p = strdup(text(30));
        free(hide(p));
        if (bad)
            free(hide(p));""", 31)
    yield case("memalign", "double free", "double-free", """
        char *p = aligned_alloc(256, hide((size_t)512));
        free(hide(p));
        if (bad)
            free(hide(p));""", 512)
    bad_pointers = {"local": "char local[64]; void *q = local;", "static": "static char room[64]; void *q = room;",
                    "literal": 'void *q = (void *)"a constant text";', "middle-16": "void *q = (char *)p + 16;",
                    "middle-1": "void *q = (char *)p + 1;", "end": "void *q = (char *)p + 64;", "before": "void *q = (char *)p - 16;",
                    "code": "void *q = (void *)(uintptr_t)work;", "small": "void *q = (void *)16;",
                    "argument": "void *q = &bad;", "environment": "extern char **environ; void *q = environ[0];"}
    for name, make in bad_pointers.items():
        for how in ("free", "realloc"):
            call = "free(hide(q));" if how == "free" else "use(realloc(hide(q), 200));"
            yield case(f"{name}-{how}", "invalid free", "invalid-free", f"""
                void *p = malloc(hide((size_t)64));
                {make}
                if (bad) {{
                    {call}
                }}
                free(hide(p));""")


# The operators of C++ by the names that the compiler gives them.
OPERATORS = """void *_Znwm(size_t), *_Znam(size_t);
void _ZdlPv(void *), _ZdaPv(void *), _ZdlPvm(void *, size_t);"""
FAMILIES = {  # name: (takes, right way to give back, wrong ways)
    "malloc": ("malloc(40)", "free(p);", {"delete": "_ZdlPv(p);", "delete-sized": "_ZdlPvm(p, 40);", "delete-array": "_ZdaPv(p);"}),
    "calloc": ("calloc(5, 8)", "free(p);", {"delete": "_ZdlPv(p);"}),
    "strdup": ("strdup(text(39))", "free(p);", {"delete-array": "_ZdaPv(p);"}),
    "new": ("_Znwm(40)", "_ZdlPv(p);", {"free": "free(p);", "realloc": "p = realloc(p, 80);", "delete-array": "_ZdaPv(p);"}),
    "new-array": ("_Znam(40)", "_ZdaPv(p);", {"free": "free(p);", "delete": "_ZdlPv(p);", "delete-sized": "_ZdlPvm(p, 40);"}),
}


def mismatched_frees():
    for name, (take, right, wrong) in FAMILIES.items():
        for how, give in wrong.items():
            yield Case(f"mismatched-{name}-{how}", "mismatched allocator", "mismatched-free", "-", f"""
                void *p = {take};
                use(p);
                if (bad) {{
                    {give}
                }} else {{
                    {right}
                }}""", 40, before=OPERATORS, flags=("-Wl,--no-as-needed", "-lstdc++"))


# ---- library functions ------------------------------------------------------------------------------------------------------

# Writes exactly n bytes at p, which is at least 8; the block is at least 16 bytes long.
WRITERS = {
    "memcpy": "memcpy(p, letters(), n);",
    "memmove": "memmove(p, letters(), n);",
    "mempcpy": "use(mempcpy(p, letters(), n));",
    "memset": "memset(p, 7, n);",
    "bzero": "bzero(p, n);",
    "explicit_bzero": "explicit_bzero(p, n);",
    "bcopy": "bcopy(letters(), p, n);",
    "memccpy": "use(memccpy(p, letters(), 0, n));",
    "strcpy": "strcpy(p, text(n - 1));",
    "stpcpy": "use(stpcpy(p, text(n - 1)));",
    "strncpy": "strncpy(p, text(5), n);",
    "stpncpy": "use(stpncpy(p, text(5), n));",
    "strcat": "p[0] = 'x'; p[1] = 0; strcat(p, text(n - 2));",
    "strncat": "p[0] = 'x'; p[1] = 0; strncat(p, letters(), n - 2);",
    "sprintf": 'sprintf(p, "%s", text(n - 1));',
    "sprintf-number": 'sprintf(p, "%0*d", (int)n - 1, 12);',
    "sprintf-mixed": 'sprintf(p, "%c-%.*s", 65, (int)n - 3, letters());',
    "snprintf": 'snprintf(p, n, "%s", letters());',
    "vsprintf": 'formatted(p, "%s", text(n - 1));',
    "vsnprintf": 'formatted_n(p, n, "%s", letters());',
    "fgets": "FILE *f = stream(300); use(fgets(p, (int)n, f)); fclose(f);",
    "fread": "FILE *f = stream(300); use(fread(p, 1, n, f)); fclose(f);",
    "read": "int fd = feed(300); use(read(fd, p, n)); close(fd);",
    "pread": 'int fd = open("/proc/self/exe", O_RDONLY); use(pread(fd, p, n, 0)); close(fd);',
    "recv": "int fd = feed_socket(300); use(recv(fd, p, n, 0)); close(fd);",
    "recvfrom": "int fd = feed_socket(300); use(recvfrom(fd, p, n, 0, NULL, NULL)); close(fd);",
    "recvmsg": "int fd = feed_socket(300); struct iovec v = {p, n}; struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};"
               " use(recvmsg(fd, &m, 0)); close(fd);",
    "readv": "int fd = feed(300); struct iovec v[2] = {{p, 4}, {p + 4, n - 4}}; use(readv(fd, v, 2)); close(fd);",
    "preadv": 'int fd = open("/proc/self/exe", O_RDONLY); struct iovec v = {p, n}; use(preadv(fd, &v, 1, 0)); close(fd);',
    "getrandom": "use(getrandom(p, n, 0));",
    "getentropy": "use(getentropy(p, n));",
    "readlink": 'symlink(text(n), "link"); use(readlink("link", p, 300)); unlink("link");',
    "getcwd": "mkdir(text(n - 1 - root(p)), 0700); chdir(text(n - 1 - root(p))); use(getcwd(p, 300)); chdir(\"..\"); rmdir(text(n - 1 - root(p)));",
    "strftime": 'struct tm t = {.tm_year = 100, .tm_mday = 1}; use(strftime(p, 300, text(n - 1), &t));',
    "wmemcpy": "wmemcpy((wchar_t *)p, wide_text(300), n / 4);",
    "wmemmove": "wmemmove((wchar_t *)p, wide_text(300), n / 4);",
    "wmemset": "wmemset((wchar_t *)p, L'x', n / 4);",
    "wcscpy": "wcscpy((wchar_t *)p, wide_text(n / 4 - 1));",
    "wcsncpy": "wcsncpy((wchar_t *)p, wide_text(3), n / 4);",
    "wcscat": "((wchar_t *)p)[0] = 0; wcscat((wchar_t *)p, wide_text(n / 4 - 1));",
    "wcsncat": "((wchar_t *)p)[0] = 0; wcsncat((wchar_t *)p, wide_text(300), n / 4 - 1);",
    "swprintf": 'use(swprintf((wchar_t *)p, 300, L"%ls", wide_text(n / 4 - 1)));',
    "mbstowcs": "use(mbstowcs((wchar_t *)p, text(300), n / 4));",
    "wcstombs": "use(wcstombs(p, wide_text(300), n));",
    "sscanf": 'use(sscanf(text(n - 1), "%s", p));',
    "fscanf": 'FILE *f = stream(n - 1); use(fscanf(f, "%s", p)); fclose(f);',
    "strxfrm": "use(strxfrm(p, text(n - 1), 300));",
    "swab": "swab(letters(), p, (ssize_t)n & ~1);",
}

WRITERS_BEFORE = """
#include <stdarg.h>

static __attribute__((noinline)) void formatted(char *p, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    vsprintf(p, format, list);
    va_end(list);
}

static __attribute__((noinline)) void formatted_n(char *p, size_t n, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    vsnprintf(p, n, format, list);
    va_end(list);
}

/* Length of the folder's name and the slash behind it; written without the block. */
static __attribute__((noinline)) size_t root(const void *p)
{
    char here[4096];
    (void)p;
    return strlen(getcwd(here, sizeof here)) + 1;
}
"""
# In which function the faulty call stands, where it is not `work`.
INSIDE = {"vsprintf": "formatted|work", "vsnprintf": "formatted_n|work"}
WIDE = {name for name in WRITERS if name.startswith("w") or name in ("swprintf", "mbstowcs")} - {"write", "wcstombs"}
NEEDS_ROOM = {"getcwd": 100}  # the folder's own name must fit

# Writes a fixed structure at p: (bytes, statement)
FIXED = {
    "stat": (144, 'use(stat("/", (void *)p));'),
    "lstat": (144, 'use(lstat("/", (void *)p));'),
    "fstat": (144, "use(fstat(0, (void *)p));"),
    "clock_gettime": (16, "use(clock_gettime(CLOCK_MONOTONIC, (void *)p));"),
    "gettimeofday": (16, "use(gettimeofday((void *)p, NULL));"),
    "gmtime_r": (56, "time_t t = 1; use(gmtime_r(&t, (void *)p));"),
    "localtime_r": (56, "time_t t = 1; use(localtime_r(&t, (void *)p));"),
    "pipe": (8, "int *ends = (void *)p; if (!pipe(ends)) use(ends[0]);"),
    "socketpair": (8, "use(socketpair(AF_UNIX, SOCK_STREAM, 0, (void *)p));"),
    "uname": (390, "use(uname((void *)p));"),
    "getrlimit": (16, "use(getrlimit(RLIMIT_CORE, (void *)p));"),
    "getrusage": (144, "use(getrusage(RUSAGE_SELF, (void *)p));"),
    "time": (8, "use(time((void *)p));"),
    "inet_pton": (4, 'use(inet_pton(AF_INET, "127.0.0.1", p));'),
    "strtol": (8, 'use(strtol("12", (void *)p, 10));'),
}

# Reads n bytes at p, of which the last is the NUL of a text, when it has one.
READERS = {
    "memcpy": "memcpy(corpus_to, p, n);",
    "memmove": "memmove(corpus_to, p, n);",
    "memcmp": "static char as[512]; memcpy(as, p, 24); use(memcmp(as, p, n));",
    "bcmp": "static char as[512]; memcpy(as, p, 24); use(bcmp(as, p, n));",
    "memchr": "use(memchr(p, 1, n));",
    "memrchr": "use(memrchr(p, 1, n));",
    "memmem": 'use(memmem(p, n, "xyzzy", 5));',
    "strlen": "use(strlen(p));",
    "strnlen": "use(strnlen(p, n));",
    "strcpy": "strcpy(corpus_to, p);",
    "strncpy": "strncpy(corpus_to, p, 400);",
    "strcat": "corpus_to[0] = 0; strcat(corpus_to, p);",
    "strdup": "char *q = strdup(p); use(q); free(q);",
    "strndup": "char *q = strndup(p, n); use(q); free(q);",
    "strcmp": "use(strcmp(p, text(300)));",
    "strncmp": "use(strncmp(p, text(300), 300));",
    "strcasecmp": "use(strcasecmp(p, text(300)));",
    "strncasecmp": "use(strncasecmp(p, text(300), 300));",
    "strchr": "use(strchr(p, '~'));",
    "strchrnul": "use(strchrnul(p, '~'));",
    "strrchr": "use(strrchr(p, 'a'));",
    "strstr": 'use(strstr(p, hide((char *)"xyzzy")));',
    "strcasestr": 'use(strcasestr(p, hide((char *)"xyzzy")));',
    "strspn": 'use(strspn(p, hide((char *)"abcdefghijklmnopqrstuvwxyz")));',
    "strcspn": 'use(strcspn(p, hide((char *)"~")));',
    "strpbrk": 'use(strpbrk(p, hide((char *)"~!")));',
    "strcoll": "use(strcoll(p, text(300)));",
    "strsep": "char *at = p; use(strsep(&at, hide((char *)\"~\")));",
    "strtok_r": "char *at; use(strtok_r(p, hide((char *)\"~\"), &at));",
    "strtol": "use(strtol(p, NULL, 36));",
    "write": "int fd = drain(); use(write(fd, p, n)); close(fd);",
    "pwrite": "int fd = drain(); use(pwrite(fd, p, n, 0)); close(fd);",
    "send": "int fd[2]; socketpair(AF_UNIX, SOCK_STREAM, 0, fd); use(send(fd[0], p, n, 0)); close(fd[0]); close(fd[1]);",
    "sendto": "int fd[2]; socketpair(AF_UNIX, SOCK_STREAM, 0, fd); use(sendto(fd[0], p, n, 0, NULL, 0)); close(fd[0]); close(fd[1]);",
    "sendmsg": "int fd[2]; socketpair(AF_UNIX, SOCK_STREAM, 0, fd); struct iovec v = {p, n};"
               " struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1}; use(sendmsg(fd[0], &m, 0)); close(fd[0]); close(fd[1]);",
    "writev": "int fd = drain(); struct iovec v = {p, n}; use(writev(fd, &v, 1)); close(fd);",
    "fwrite": "FILE *f = drain_stream(); use(fwrite(p, 1, n, f)); fclose(f);",
    "fputs": "FILE *f = drain_stream(); use(fputs(p, f)); fclose(f);",
    "fprintf": 'FILE *f = drain_stream(); use(fprintf(f, "%d %s", 5, p)); fclose(f);',
    "fprintf-width": 'FILE *f = drain_stream(); use(fprintf(f, "%.*s", (int)n, p)); fclose(f);',
    "snprintf": 'use(snprintf(corpus_to, 512, "[%s]", p));',
    "open": "use(open(p, O_RDONLY));",
    "access": "use(access(p, R_OK));",
    "unlink": "use(unlink(p));",
    "getenv": "use(getenv(p));",
    "setenv": 'use(setenv("CORPUS", p, 1));',
    "sscanf": 'use(sscanf(p, "%500s", corpus_to));',
    "wcslen": "use(wcslen((wchar_t *)p));",
    "wcscpy": "wcscpy((wchar_t *)corpus_to, (wchar_t *)p);",
    "wcscmp": "use(wcscmp((wchar_t *)p, wide_text(300)));",
    "wcschr": "use(wcschr((wchar_t *)p, L'~'));",
    "wcsrchr": "use(wcsrchr((wchar_t *)p, L'~'));",
    "wcsstr": "use(wcsstr((wchar_t *)p, L\"xyzzy\"));",
    "wmemcpy": "wmemcpy((wchar_t *)corpus_to, (wchar_t *)p, n / 4);",
    "wmemcmp": "static wchar_t as[512]; wmemcpy(as, (wchar_t *)p, 6); use(wmemcmp(as, (wchar_t *)p, n / 4));",
    "wmemchr": "use(wmemchr((wchar_t *)p, L'~', n / 4));",
}


def is_wide(name):
    return name.startswith("wc") or name.startswith("wm") or name in WIDE


def library_writes():
    for name, call in WRITERS.items():
        wide, room = is_wide(name), NEEDS_ROOM.get(name, 0)
        size = 48 + room
        function = INSIDE.get(name, "work")

        def case(place, group, kinds, body, object_, flags=()):
            return Case(f"{place}-{name}", group, kinds, "write", body, object_, function, WRITERS_BEFORE + "#include <malloc.h>", flags)
        block = f"char *p = calloc(hide((size_t)%d), 1);\nif (!p)\nreturn 1;"
        over = 4 if wide else 2 if name == "swab" else 1
        yield case("heap-through", "heap overflow, library", HEAP, f"""
            {block % size}
            size_t n = hide((size_t)(bad ? {size + over} : {size}));
            {call}
            release(p);""", size)
        odd = size - 3 if not wide else size - 4
        if name != "swab":
            yield case("padding-through", "heap overflow, library", HEAP, f"""
                {block % odd}
                size_t n = hide((size_t)(bad ? {odd + over} : {odd}));
                {call}
                release(p);""", odd)
        yield case("freed-through", "use after free, library", FREED, f"""
            {block % size}
            size_t n = hide((size_t){size});
            if (bad)
                release(p);
            {call}
            if (!bad)
                release(p);""", size)
        yield case("stack-through", "stack smash, library", SMASH, f"""
            char room[{size}];
            char *p = hide((char *)room);
            size_t n = hide((size_t)(bad ? {size + 112} : {size}));
            {call}
            use(room[0]);""", 0, ("-fno-stack-protector",))
    for name, (size, call) in FIXED.items():
        yield Case(f"heap-fixed-{name}", "heap overflow, library", HEAP, "write", f"""
            char *p = malloc(hide((size_t)(bad ? {size - 1} : {size})));
            if (!p)
                return 1;
            {call}
            release(p);""", size - 1)
        yield Case(f"freed-fixed-{name}", "use after free, library", FREED, "write", f"""
            char *p = malloc(hide((size_t){size}));
            if (!p)
                return 1;
            if (bad)
                release(p);
            {call}
            if (!bad)
                release(p);""", size)


def library_reads():
    for name, call in READERS.items():
        wide = is_wide(name)
        size, over = (24, 4 if wide else 1)
        fill = ("wmemset((wchar_t *)p, L'b', 6); if (!bad) ((wchar_t *)p)[5] = 0;" if wide else
                "memset(p, 'b', 24); if (!bad) p[23] = 0; else memcpy(p, letters(), 24);")
        if name in ("strcmp", "strncmp", "strcasecmp", "strncasecmp", "strcoll"):
            fill = "memcpy(p, text(300), 24); if (!bad) p[23] = 0;"
        if name == "wcscmp":
            fill = "wmemcpy((wchar_t *)p, wide_text(300), 6); if (!bad) ((wchar_t *)p)[5] = 0;"
        kept = fill.replace("if (!bad) ", "", 1).replace(" else memcpy(p, letters(), 24);", "")
        yield Case(f"heap-reads-{name}", "heap over-read, library", HEAP, "read", f"""
            char *p = malloc(hide((size_t){size}));
            if (!p)
                return 1;
            size_t n = hide((size_t)(bad ? {size + over} : {size}));
            {fill}
            {call}
            release(p);""", size)
        yield Case(f"freed-reads-{name}", "use after free, library", FREED, "read", f"""
            char *p = malloc(hide((size_t){size}));
            if (!p)
                return 1;
            size_t n = hide((size_t){size});
            {kept}
            if (bad)
                release(p);
            {call}
            if (!bad)
                release(p);""", size)


NULL_CALLS = ["memcpy", "memset", "strcpy", "strncpy", "sprintf", "bcopy", "stpcpy", "wcscpy", "bzero"]
NULL_READS = ["memcpy", "strlen", "strcmp", "strchr", "strdup", "strstr", "strtol", "memchr", "memcmp", "strcasecmp", "fputs", "wcslen"]


def null_cases():
    for w in WIDTHS:
        for write in (False, True):
            how = "write" if write else "read"
            yield Case(f"null-{how}-{w}", "null dereference", NULL, how, f"""
                static char room[64];
                char *p = hide(bad ? NULL : (char *)room);
                {touch(w, write, 'p + hide(16)')}""")
    for offset in (0, 8, 200, 4000, 20000):
        yield Case(f"null-field-{offset}", "null dereference", NULL, "read", f"""
            static char room[24000];
            char *p = hide(bad ? NULL : (char *)room);
            use(*(volatile int *)(p + {offset}));""")
    for name in NULL_CALLS:
        yield Case(f"null-through-{name}", "null dereference", NULL, "write", f"""
            static char room[64];
            char *p = hide(bad ? NULL : (char *)room);
            size_t n = hide((size_t)40);
            {WRITERS[name]}""")
    for name in NULL_READS:
        wide = is_wide(name)
        yield Case(f"null-reads-{name}", "null dereference", NULL, "read", f"""
            static char room[64];
            char *p = hide(bad ? NULL : (char *)room);
            size_t n = hide((size_t)24);
            {READERS[name].replace('memcpy(as, p, 24); ', '')}""")
    yield Case("null-call", "null dereference", NULL, "*", "int (*f)(const char *) = hide(bad ? NULL : puts); if (!bad) return 0; f(\"x\");")


# ---- stack ----------------------------------------------------------------------------------------------------------------

# Their counters are out of the frame's reach: what they overwrite must not change where they write.
STACK_LOOPS = {
    "up": "static size_t i; for (i = 0; i < n; i++) p[i] = (char)i;",
    "pointer": "static volatile char *q, *end; end = p + n; for (q = p; q != end; q++) *q = 65;",
    "words": "static size_t i; for (i = 0; i < n / 4; i++) ((volatile u4 *)p)[i] = 0x41414141;",
    "quads": "static size_t i; for (i = 0; i < n / 8; i++) ((volatile u8 *)p)[i] = 0x4141414141414141;",
    "copy": "static const char *s; s = letters(); while (n--) *p++ = *s++;",
    "decode": "static const char *s; s = text(n); while (*s) { *p++ = (char)(*s ^ 32); s++; }",
}
NO_PROTECTOR, PROTECTOR = ("-fno-stack-protector",), ("-fstack-protector-all",)


def stack_cases():
    for name, loop in STACK_LOOPS.items():
        for shield, flags in (("", NO_PROTECTOR), ("-canary", PROTECTOR)):
            yield Case(f"stack-loop-{name}{shield}", "stack smash", SMASH, "*" if shield else "write", f"""
                char room[32];
                static volatile char *p;
                static size_t n;
                p = hide((volatile char *)room);
                n = hide((size_t)(bad ? 160 : 32));
                {loop}
                use(room[0]);""", flags=flags)
    for name in ("memcpy", "strcpy", "sprintf", "memset", "read", "strcat"):
        yield Case(f"stack-canary-{name}", "stack smash, library", SMASH, "*", f"""
            char room[48];
            char *p = hide((char *)room);
            size_t n = hide((size_t)(bad ? 150 : 48));
            {WRITERS[name]}
            use(room[0]);""", flags=PROTECTOR)
    # Over the caller's own frame. A call that ends `fill` may have taken its frame over.
    before = """
        static char *p;
        static size_t n;

        __attribute__((noinline)) void fill(void)
        {
            %s
        }"""
    for name, loop in {**{k: STACK_LOOPS[k] for k in ("up", "words")}, "memcpy": "memcpy(p, letters(), n);",
                       "strcpy": "strcpy(p, text(n - 1));"}.items():
        yield Case(f"stack-caller-{name}", "stack smash", SMASH, "write", """
            char room[32];
            p = hide((char *)room);
            n = hide((size_t)(bad ? 160 : 32));
            fill();
            use(room[0]);""", function="fill|work", before=before % loop, flags=NO_PROTECTOR)
    # Only into what lies beside the array in the same frame.
    for name, call in {"loop": STACK_LOOPS["up"], "memcpy": "memcpy(p, letters(), n);", "strcpy": "strcpy(p, text(n - 1));",
                       "memset": "memset(p, 1, n);"}.items():
        yield Case(f"stack-neighbour-{name}", "stack array into neighbour", SMASH, "write", f"""
            struct {{ char guard[64]; }} below = {{{{0}}}}, above = {{{{0}}}};
            char room[32];
            char *p = hide((char *)room);
            use(hide(&below)); use(hide(&above));
            size_t n = hide((size_t)(bad ? 36 : 32));
            {call}
            use(room[0]);""", flags=(*NO_PROTECTOR, "-g"))
    # Out of room that is taken from the stack as the function goes, into an array.
    for name, call in {"memcpy": "memcpy(p, letters(), n);", "strcpy": "strcpy(p, text(n - 1));", "memset": "memset(p, 1, n);",
                       "snprintf": 'snprintf(p, n, "%s", text(n));', "read": "int fd = feed(300); use(read(fd, p, n)); close(fd);"}.items():
        for how, take in {"alloca": "char *p = hide((char *)__builtin_alloca(hide((size_t)40)));",
                          "variable": "char variable[hide((size_t)40)]; char *p = hide((char *)variable);"}.items():
            yield Case(f"stack-{how}-{name}", "stack array into neighbour", SMASH, "write", f"""
                char above[64] = {{0}};
                use(hide((char *)above));
                {take}
                size_t n = hide((size_t)(bad ? 80 : 40));
                {call}
                use(p[0]);""", flags=NO_PROTECTOR)
    for name, at in (("1", 32), ("7", 40)):
        yield Case(f"stack-neighbour-read-{name}", "stack array into neighbour", SMASH, "read", f"""
            char above[64] = {{0}}, room[32] = {{0}};
            char *p = hide((char *)room);
            use(hide((char *)above));
            use(*(volatile char *)(p + hide((size_t)(bad ? {at} : 31))));""", flags=NO_PROTECTOR)
    yield Case("stack-below", "stack array into neighbour", SMASH, "write", """
        char above[64] = {0}, room[32] = {0};
        char *p = hide((char *)room);
        use(hide((char *)above));
        *(volatile char *)(p + hide((ptrdiff_t)(bad ? -3 : 3))) = 1;""", flags=NO_PROTECTOR)
    # Into the bytes that alignment leaves behind an array, by a function that knows nothing of it.
    fill = """
        __attribute__((noinline)) void fill(char *p, size_t n)
        {
            for (size_t i = 0; i < n; i++)
                p[i] = (char)i;
        }

        __attribute__((noinline)) unsigned sum(const char *p, size_t n)
        {
            unsigned all = 0;
            for (size_t i = 0; i < n; i++)
                all += *(volatile const char *)(p + i);
            return all;
        }"""
    for size in (21, 45, 101):
        for how, function in (("write", "fill"), ("read", "sum")):
            call = {"fill": "fill(hide((char *)room), n);", "sum": "use(sum(hide((char *)room), n));"}[function]
            yield Case(f"stack-gap-{how}-{size}", "stack array into padding", SMASH, how, f"""
                char above[64] = {{0}}, room[{size}];
                use(hide((char *)above));
                size_t n = hide((size_t)(bad ? {size + 1} : {size}));
                use(hide((char *)room));
                {call}""", function=function, before=fill, flags=NO_PROTECTOR)
    # What the function itself does to its variables: only code that was not optimised says which one it means.
    for name, (variable, access) in {
            "index": ("int room[10] = {0}, other[10] = {0}; use(hide((int *)other));", "room[hide(bad ? AT : 3)] = 1;"),
            "record": ("struct { int a, b; } room[10] = {{0, 0}}, other[10] = {{0, 0}}; use(hide((void *)other));",
                       "room[hide(bad ? AT : 3)].b = 1;"),
            "walk": ("char room[10] = {0}, other[10] = {0}; use(hide((char *)other)); char *p = room;",
                     "p += hide(bad ? AT : 3); *p = 1;"),
            "alloca": ("char other[40] = {0}; use(hide((char *)other)); char *p = __builtin_alloca(hide((size_t)10));",
                       "p += hide(bad ? FAR : 3); *p = 1;")}.items():
        for where, at, far in (("above", 11, 100), ("below", -1, -3)):
            yield Case(f"stack-{name}-{where}", "stack array into neighbour", SMASH, "write", f"""
                {variable}
                use(hide(&bad));
                {access.replace("AT", str(at)).replace("FAR", str(far))}""", flags=NO_PROTECTOR, levels=("O0",))
    for where, at in (("above", 10), ("below", -1)):
        yield Case(f"global-index-{where}", "global array", "global-overflow", "write", f"""
            use(hide((int *)before)); use(hide((int *)behind));
            middle[hide(bad ? {at} : 3)] = 1;""",
                   before="static int before[10] = {1}, middle[10] = {1}, behind[10] = {1};", levels=("O0",))
    yield Case("stack-return-address", "stack smash", "return-address|stack-smash", "*", """
        char room[16] = {0};
        void **at = __builtin_frame_address(0);
        use(hide((char *)room));
        if (bad)
            *(void *volatile *)hide(at + 1) = (void *)letters();""", flags=(*NO_PROTECTOR, "-fno-omit-frame-pointer"))
    yield Case("stack-exhausted", "stack exhaustion", "stack-overflow", "*", "use(descend(hide(bad ? 100000000 : 10)));",
               function="descend", before="""
        int descend(int depth)
        {
            volatile char room[200];
            room[depth & 127] = (char)depth;
            return depth <= 0 ? 0 : descend(depth - 1) + room[depth & 127];
        }""")
    yield Case("stack-exhausted-thread", "stack exhaustion", "stack-overflow", "*", """
        pthread_t thread;
        pthread_attr_t attributes;
        pthread_attr_init(&attributes);
        pthread_attr_setstacksize(&attributes, 65536);
        pthread_create(&thread, &attributes, in_thread, (void *)(intptr_t)hide(bad ? 10000000 : 10));
        pthread_join(thread, NULL);""", function="descend", flags=("-pthread",), before="""
        int descend(int depth)
        {
            volatile char room[200];
            room[depth & 127] = (char)depth;
            return depth <= 0 ? 0 : descend(depth - 1) + room[depth & 127];
        }

        static void *in_thread(void *depth)
        {
            use(descend((int)(intptr_t)depth));
            return NULL;
        }""")


# ---- globals ----------------------------------------------------------------------------------------------------------------

def global_cases():
    places = {"data": "char room[40] = {1}, after[64] = {1};", "bss": "char room[40], after[64];",
              "static": "static char room[40], after[64];"}
    for place, declared in places.items():
        for name, call in {"loop": STACK_LOOPS["up"], "memcpy": "memcpy(p, letters(), n);", "strcpy": "strcpy(p, text(n - 1));"}.items():
            yield Case(f"global-{place}-{name}", "global array", "global-overflow", "write", f"""
                char *p = hide((char *)room);
                use(hide((char *)after));
                size_t n = hide((size_t)(bad ? 44 : 40));
                {call}""", before=declared)
        yield Case(f"global-{place}-read", "global array", "global-overflow", "read", """
            char *p = hide((char *)room);
            use(hide((char *)after));
            use(*(volatile char *)(p + hide((size_t)(bad ? 41 : 39))));""", before=declared)


# ---- sizes, wild addresses, arithmetic and the end -------------------------------------------------------------------------------

def size_cases():
    huge = {"negative": "-1", "minus-100": "-100", "gigantic": "0x7fffffffffff0000"}
    for name, call, access in (("memcpy", "memcpy(p, letters(), n);", "*"), ("memset", "memset(p, 0, n);", "write"),
                               ("memmove", "memmove(p, letters(), n);", "*"), ("strncpy", "strncpy(p, letters(), n);", "*"),
                               ("bzero", "bzero(p, n);", "write"), ("mempcpy", "use(mempcpy(p, letters(), n));", "*"),
                               ("memcmp", "memcpy(p, letters(), 40); use(memcmp(p, letters(), n));", "read"), ("memchr", "use(memchr(p, 1, n));", "read"),
                               ("wmemset", "wmemset((wchar_t *)p, 1, n);", "write"), ("strncat", "p[0] = 0; strncat(p, text(100), n);", "write"),
                               ("snprintf", 'snprintf(p, n, "%s", text(100));', "write"),
                               ("read", "int fd = feed(300); use(read(fd, p, n)); close(fd);", "write"),
                               ("recv", "int fd = feed_socket(300); use(recv(fd, p, n, 0)); close(fd);", "write"),
                               ("fread", "FILE *f = stream(300); use(fread(p, 1, n, f)); fclose(f);", "write"),
                               ("write", "int fd = drain(); use(write(fd, p, n)); close(fd);", "read")):
        for size in huge if name in ("memcpy", "memset", "memmove") else ["negative"]:
            # A kernel call refuses what a process cannot have: nothing is touched, so a size that it takes must be tried.
            bad = "1u << 30" if name in ("read", "recv", "write", "fread") else huge[size]
            yield Case(f"size-{size}-{name}", "negative or huge size", "heap-overflow|wild-access", access, f"""
                char *p = calloc(hide((size_t)40), 1);
                if (!p)
                    return 1;
                size_t n = (size_t)hide((long)(bad ? {bad} : 8));
                {call}
                release(p);""")


def other_cases():
    def case(name, group, kinds, access, body, **more):
        return Case(name, group, kinds, access, body, **more)
    for name, address in (("unmapped", "0x123456789000"), ("low", "0x10000000"), ("kernel", "0xffff888000000000"),
                          ("non-canonical", "0x4141414141414141")):
        for write in (False, True):
            how = "write" if write else "read"
            access = "*" if name in ("kernel", "non-canonical") else how
            yield case(f"wild-{name}-{how}", "wild access", "wild-access", access, f"""
                static int room;
                char *p = hide(bad ? (char *){address} : (char *)&room);
                {touch(4, write, 'p')}""")
    yield case("wild-constant", "wild access", "wild-access", "write", """
        static char room[8];
        char *p = hide(bad ? (char *)"constant" : room);
        *(volatile char *)p = 1;""")
    yield case("wild-code", "wild access", "wild-access", "write", """
        static char room[8];
        char *p = hide(bad ? (char *)(uintptr_t)work : room);
        *(volatile char *)p = 1;""")
    yield case("wild-unmapped-later", "wild access", "wild-access", "read", """
        char *p = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (bad)
            munmap(p, 8192);
        use(*(volatile char *)hide(p));""")
    yield case("wild-protected", "wild access", "wild-access", "write", """
        char *p = mmap(NULL, 8192, PROT_READ | (bad ? 0 : PROT_WRITE), MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        *(volatile char *)hide(p) = 1;""")
    for name, target in (("heap", "malloc(64)"), ("data", "corpus_letters"), ("wild", "(void *)0x123456789abc")):
        yield case(f"call-{name}", "call to no function", "wild-access|illegal-instruction", "*", f"""
            static char *(*const right)(void) = letters;
            char *(*f)(void) = hide(bad ? (char *(*)(void))(void *){target} : right);
            use(f());""")
    for type_, bits in (("int", 32), ("long", 64), ("unsigned", 32), ("uint64_t", 64), ("short", 16)):
        for name, op in (("divide", "/"), ("modulo", "%")):
            yield case(f"division-{type_}-{name}", "division", "division-by-zero", "-",
                       f"{type_} by = hide(({type_})(bad ? 0 : 3)); {type_} value = hide(({type_})77); use((long)(value {op} by));")
    for type_, low in (("int", "INT_MIN"), ("long", "LONG_MIN")):
        yield case(f"division-overflow-{type_}", "division", "division-by-zero", "-",
                   f"{type_} by = hide(({type_})(bad ? -1 : 1)); {type_} value = hide(({type_}){low}); use(value / by);")
    yield case("illegal-ud2", "illegal instruction", "illegal-instruction", "-", "if (hide(bad)) __builtin_trap();")
    yield case("abort", "abort and assertion", "abort", "-", "if (hide(bad)) abort();")
    yield case("assert", "abort and assertion", "assertion", "-", "assert(!hide(bad));")
    fortify = ("-D_FORTIFY_SOURCE=2", "-fno-stack-protector")
    for name, call in (("memcpy", "memcpy(room, letters(), n)"), ("strcpy", "strcpy(room, text(n - 1))"),
                       ("sprintf", 'sprintf(room, "%s", text(n - 1))'), ("strcat", "room[0] = 0; strcat(room, text(n - 1))")):
        yield case(f"fortify-{name}", "fortified call", "fortify|stack-smash", "*", f"""
            char room[24];
            size_t n = hide((size_t)(bad ? 30 : 24));
            {call};
            use(hide((char *)room));""", flags=fortify, levels=("O2",))


def all_cases():
    cases = [case for table in (heap_plain, heap_loops, freed_plain, bad_frees, mismatched_frees, library_writes, library_reads, null_cases,
                                stack_cases, global_cases, size_cases, other_cases) for case in table()]
    names = [case.name for case in cases]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ValueError(f"two cases of one name: {', '.join(sorted(twice))}")
    return cases
