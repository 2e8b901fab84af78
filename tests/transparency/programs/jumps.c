/* Jumps of all kinds: each form of setjmp, the checked longjmp, out of handlers on an alternate stack, in threads, back and forth by
 * setcontext, and coroutines in several threads. */
/* flags: -pthread -O2 -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2 */
#define _GNU_SOURCE
#include "transparent.h"
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <ucontext.h>
#include <unistd.h>

static NOINLINE void fly(jmp_buf to, int depth, int value)
{
    volatile char frame[100];
    frame[depth % 100] = (char)value;
    if (depth > 0)
        fly(to, depth - 1, value + (frame[0] == 120));
    if (depth == 0 && value % 2)
        longjmp(to, value);
    if (depth == 0)
        _longjmp(to, value);
}

static uint64_t NOINLINE forms(int rounds)
{
    volatile uint64_t sum = 0;
    for (volatile int i = 1; i < rounds; i++) {
        jmp_buf outer, inner;
        int got = i % 3 == 0 ? setjmp(outer) : i % 3 == 1 ? _setjmp(outer) : sigsetjmp(outer, i & 1);
        if (got == 0) {
            int deeper = setjmp(inner);
            if (deeper == 0)
                fly(inner, i % 20, i);
            sum += (uint64_t)deeper;
            fly(outer, i % 7, deeper + 3);
        }
        sum = work_mix(sum, (uint64_t)got);
    }
    return sum;
}

static sigjmp_buf back;
static _Thread_local sigjmp_buf thread_back;

static void on_usr1(int number)
{
    siglongjmp(back, number);
}

static void on_usr2(int number)
{
    siglongjmp(thread_back, number);
}

static void *thread(void *argument)
{
    volatile uint64_t sum = forms(100 + *(int *)argument);
    for (volatile int i = 0; i < 50; i++) {
        if (sigsetjmp(thread_back, 1) == 0) {
            work(1);
            pthread_kill(pthread_self(), SIGUSR2);
            sum += 1000000;
        }
        sum++;
    }
    return (void *)(uintptr_t)sum;
}

enum { STACK = 65536 };
static _Thread_local ucontext_t home, away;
static _Thread_local uint64_t carried;

static void coroutine(void)
{
    for (int i = 0; i < 30; i++) {
        jmp_buf here;
        if (setjmp(here) == 0)
            fly(here, i % 9, i + 1);
        carried = work_mix(carried, work((unsigned)i % 2 + 1));
        swapcontext(&away, &home);
    }
}

static void *travels(void *argument)
{
    char *stack = malloc(STACK);
    carried = (uint64_t) * (int *)argument;
    must(stack && getcontext(&away) == 0);
    away.uc_stack.ss_sp = stack;
    away.uc_stack.ss_size = STACK;
    away.uc_link = &home;
    makecontext(&away, coroutine, 0);
    for (int i = 0; i < 31; i++) {
        must(swapcontext(&home, &away) == 0);
        carried ^= (uint64_t)i;
    }
    free(stack);
    return (void *)(uintptr_t)carried;
}

int main(void)
{
    static char own_stack[1 << 16];
    printf("forms %llx\n", (unsigned long long)forms(300));
    must(sigaltstack(&(stack_t){.ss_sp = own_stack, .ss_size = sizeof own_stack}, NULL) == 0);
    struct sigaction action = {.sa_handler = on_usr1, .sa_flags = SA_ONSTACK};
    sigaction(SIGUSR1, &action, NULL);
    signal(SIGUSR2, on_usr2);
    volatile uint64_t sum = 0;
    for (volatile int i = 0; i < 100; i++) {
        if (sigsetjmp(back, 1) == 0) {
            sum += work(1) & 7;
            raise(SIGUSR1);
            sum += 1000000;
        }
        sum += 3;
    }
    printf("off the alternate stack %llx\n", (unsigned long long)sum);
    volatile int laps = 0;
    ucontext_t again;
    getcontext(&again);
    if (laps++ < 40) {
        sum = work_mix(sum, work(1));
        setcontext(&again);
    }
    printf("laps %d %llx\n", laps, (unsigned long long)sum);
    void *(*const kinds[])(void *) = {thread, travels};
    for (int kind = 0; kind < 2; kind++) {
        pthread_t ids[4];
        int numbers[4] = {1, 2, 3, 4};
        for (int i = 0; i < 4; i++)
            must(pthread_create(&ids[i], NULL, kinds[kind], &numbers[i]) == 0);
        for (int i = 0; i < 4; i++) {
            void *answer;
            must(pthread_join(ids[i], &answer) == 0);
            printf("%d %d %llx\n", kind, i, (unsigned long long)(uintptr_t)answer);
        }
    }
    return 0;
}
