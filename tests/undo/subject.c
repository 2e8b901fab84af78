/* Stores of every kind, with a fault at each step in turn; callers compare memory with what it was before the call. `subject MODE`:

     threads  four threads at once, each with memory of its own
     fork     the same in forked children, one of them forked inside an activation
     signals  a signal at every instruction of a row of stores; its handler stores, faults and is undone too
     plain    once through without a fault, for the self-test prove-undo

   An aborted function returns -1 to its caller; a function that passes an error on returns -2. */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

enum { ROOM = 2048, STEPS = 48, THREADS = 4, ROUNDS = 3 };
#ifdef __clang__
#define NOINLINE __attribute__((noinline))
#else
#define NOINLINE __attribute__((noinline, noclone))
#endif

struct place {
    uint8_t bytes[ROOM];
    int until; /* steps to the fault */
    long undone, wrong;
};

/* ---- faults ---- */

static NOINLINE __attribute__((cold)) void seldom(struct place *p)
{
    memset(p->bytes + 1500, 0x5a, 100);
}

/* gcc moves this branch to a part of its own, NAME.cold. */
#define STEP(p)                                                                                              \
    do {                                                                                                     \
        if (__builtin_expect(--(p)->until == 0, 0)) {                                                        \
            seldom(p);                                                                                       \
            (p)->bytes[7] ^= 0xff;                                                                           \
            *(volatile int *)(uintptr_t)(p)->undone = 1; /* near zero: nothing is mapped */                  \
        }                                                                                                    \
    } while (0)

/* Before anything was stored. */
static NOINLINE int at_once(const struct place *p, const int *where)
{
    return *where + p->bytes[3] > 1000 ? -2 : 1;
}

/* ---- comparing ---- */

typedef int worker(struct place *, int);

/* Calls, and sees to it that an aborted call has left nothing behind. */
static NOINLINE int call(worker *w, struct place *p, int depth)
{
    uint8_t before[ROOM];
    memcpy(before, p->bytes, sizeof before);
    int result = w(p, depth);
    if (result == -1) {
        p->undone++;
        p->wrong += memcmp(before, p->bytes, sizeof before) != 0;
        return -2;
    }
    return result;
}

/* ---- work ---- */

static NOINLINE int sizes(struct place *p, int depth)
{
    uint8_t *b = p->bytes + (depth & 7) * 64;
    b[0]++;
    STEP(p);
    *(uint16_t *)(b + 2) ^= 0x1234;
    *(uint32_t *)(b + 4) += 77;
    STEP(p);
    *(uint64_t *)(b + 8) *= 3;
    *(__uint128_t *)(b + 16) ^= ~(__uint128_t)depth;
    STEP(p);
    for (int i = 32; i < 64; i++)
        b[i] = (uint8_t)(b[i - 1] + i);
    STEP(p);
    return 1;
}

static NOINLINE int calls_of_library(struct place *p, int depth)
{
    char *text = (char *)p->bytes + 700;
    memcpy(p->bytes + 600, p->bytes + depth, 90);
    STEP(p);
    snprintf(text, 60, "%d of %s", depth, "many");
    STEP(p);
    strcat(text, " more");
    memmove(p->bytes + 605, p->bytes + 600, 50);
    STEP(p);
    memset(p->bytes + 800, depth, 300);
    STEP(p);
    char *copy = strdup(text);
    if (!copy)
        return -2;
    strncpy((char *)p->bytes + 1200, copy, 40);
    STEP(p);
    free(copy);
    return 1;
}

/* A frame found by rbp. */
static NOINLINE int with_room(struct place *p, int depth)
{
    uint8_t *room = __builtin_alloca(16u + ((unsigned)depth & 3) * 16);
    for (int i = 0; i < 16; i++)
        room[i] = (uint8_t)(p->bytes[i] + depth);
    STEP(p);
    memcpy(p->bytes + 1300, room, 16);
    STEP(p);
    return call(sizes, p, depth);
}

static NOINLINE int recurse(struct place *p, int depth)
{
    p->bytes[1400 + depth]++;
    STEP(p);
    int result = depth ? call(recurse, p, depth - 1) : call(with_room, p, 5);
    if (result < 0) {
        p->bytes[1450 + depth]++; /* an error that was passed on is no abort: this stays */
        return -2;
    }
    p->bytes[1420 + depth] ^= 0x80;
    STEP(p);
    return depth & 1 ? call(sizes, p, depth) : call(calls_of_library, p, depth);
}

static NOINLINE int all(struct place *p, int depth)
{
    if (call(calls_of_library, p, 9) < 0 || call(recurse, p, depth) < 0)
        return -2;
    return 1;
}

static NOINLINE int first_thing(struct place *p, int depth)
{
    return at_once(p, (const int *)(uintptr_t)(unsigned)depth);
}

/* A fault at each step in turn. */
static void try_all(struct place *p)
{
    for (int round = 0; round < ROUNDS; round++)
        for (int step = 1; step <= STEPS; step++) {
            p->until = step;
            call(all, p, 3);
            long before = p->undone;
            if (call(first_thing, p, 0) >= 0 && p->undone == before)
                p->wrong += at_once(p, NULL) != -1; /* returned by a jump to it, or undone itself */
        }
}

static int tell(const char *mode, long undone, long wrong, long at_least)
{
    printf("%s: %s, %ld wrong\n", mode, undone >= at_least ? "enough undone" : "too few undone", wrong);
    if (undone < at_least)
        fprintf(stderr, "%ld undone\n", undone);
    return wrong != 0 || undone < at_least;
}

/* ---- threads ---- */

static void *in_thread(void *argument)
{
    try_all(argument);
    return NULL;
}

static int threads(void)
{
    static struct place places[THREADS];
    pthread_t thread[THREADS];
    long undone = 0, wrong = 0;
    for (int i = 0; i < THREADS; i++)
        pthread_create(&thread[i], NULL, in_thread, &places[i]);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(thread[i], NULL);
        undone += places[i].undone;
        wrong += places[i].wrong;
    }
    return tell("threads", undone, wrong, THREADS * ROUNDS * 30);
}

/* ---- forked children ---- */

static int in_child(struct place *p)
{
    p->undone = p->wrong = 0;
    try_all(p);
    return p->wrong != 0 || p->undone < ROUNDS * 30;
}

static NOINLINE int fork_inside(struct place *p, int depth)
{
    p->bytes[depth]++;
    pid_t pid = fork();
    if (!pid)
        _exit(in_child(p));
    int status = -1;
    waitpid(pid, &status, 0);
    return status ? -2 : 1;
}

static int forked(void)
{
    static struct place place;
    int status = -1;
    try_all(&place);
    pid_t pid = fork();
    if (!pid)
        _exit(in_child(&place));
    waitpid(pid, &status, 0);
    long wrong = place.wrong + (status != 0) + (fork_inside(&place, 5) != 1);
    try_all(&place);
    return tell("fork", place.undone, wrong + place.wrong, 2 * ROUNDS * 30);
}

/* ---- a signal at every instruction ---- */

static struct place of_main, of_handler;
static volatile int stepping;
static volatile long signals_taken;

static NOINLINE int in_handler(struct place *p, int depth)
{
    p->bytes[depth & 63]++;
    memcpy(p->bytes + 100, p->bytes + depth, 20);
    if (depth % 5 == 0)
        *(volatile int *)NULL = 1;
    return 1;
}

static void on_trap(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)info;
    if (!stepping) {
        ((ucontext_t *)context)->uc_mcontext.gregs[REG_EFL] &= ~0x100ll;
        return;
    }
    signals_taken++;
    call(in_handler, &of_handler, (int)(signals_taken & 63));
}

static void on_start(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)info;
    ((ucontext_t *)context)->uc_mcontext.gregs[REG_EFL] |= 0x100; /* a trap behind each instruction */
}

static NOINLINE int stepped(struct place *p, int depth)
{
    uint64_t *w = (uint64_t *)p->bytes;
    stepping = 1;
    kill(getpid(), SIGUSR1);
    for (int i = 0; i < 6; i++) {
        w[i] += (unsigned)depth;
        w[i + 8] ^= w[i];
        *(uint16_t *)(p->bytes + 200 + 2 * i) = (uint16_t)i;
        p->bytes[300 + i]++;
        *(uint32_t *)(p->bytes + 400 + 8 * i) ^= 0xffff;
    }
    stepping = 0;
    return *(volatile int *)(uintptr_t)(unsigned)(depth & 0x100) ? -2 : 1;
}

static int signals(void)
{
    struct sigaction trap = {.sa_sigaction = on_trap, .sa_flags = SA_SIGINFO | SA_NODEFER},
                     start = {.sa_sigaction = on_start, .sa_flags = SA_SIGINFO};
    sigaction(SIGTRAP, &trap, NULL);
    sigaction(SIGUSR1, &start, NULL);
    call(in_handler, &of_handler, 1);
    for (int i = 1; i <= 10; i++)
        call(stepped, &of_main, i);
    if (signals_taken < 1000)
        fprintf(stderr, "%ld signals\n", signals_taken);
    return tell("signals", of_main.undone + (of_handler.undone > 100 && signals_taken >= 1000 ? 0 : -100),
                of_main.wrong + of_handler.wrong, 10);
}

int main(int count, char **words)
{
    static struct place place;
    const char *mode = count > 1 ? words[1] : "";
    if (!strcmp(mode, "threads"))
        return threads();
    if (!strcmp(mode, "fork"))
        return forked();
    if (!strcmp(mode, "signals"))
        return signals();
    for (int i = 0; i < 3; i++)
        call(all, &place, 3);
    return tell("plain", place.undone, place.wrong, 0);
}
