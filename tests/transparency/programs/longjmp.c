/* Jumps out of deep frames, out of handlers, out of callbacks of the C library; values of locals afterwards.
 */
#define _GNU_SOURCE
#include "transparent.h"
#include <setjmp.h>
#include <signal.h>

static jmp_buf back;
static sigjmp_buf back_from_signal;

static NOINLINE int dive(int depth, int value)
{
    char frame[64];
    memset(frame, depth, sizeof frame);
    if (depth == 0)
        longjmp(back, value);
    return dive(depth - 1, value) + frame[depth % 64];
}

static void on_signal(int number)
{
    siglongjmp(back_from_signal, number);
}

static int compare(const void *a, const void *b)
{
    static int calls;
    if (++calls % 50 == 0)
        longjmp(back, 4);
    return *(const int *)a - *(const int *)b;
}

int main(void)
{
    volatile int rounds = 0, sum = 0;
    for (; rounds < 2000; rounds++) {
        int got = setjmp(back);
        if (got == 0)
            dive(rounds % 30, 5);
        sum += got;
    }
    printf("%d %d\n", rounds, sum);

    signal(SIGUSR1, on_signal);
    for (rounds = 0; rounds < 100; rounds++) {
        int got = sigsetjmp(back_from_signal, 1);
        if (got == 0) {
            sum += (int)(work(1) & 1);
            raise(SIGUSR1);
        }
        sum += got;
    }
    printf("%d %d\n", rounds, sum);

    volatile int jumped = 0, finished = 0;
    for (rounds = 0; rounds < 30; rounds++) {
        int numbers[40];
        for (int i = 0; i < 40; i++)
            numbers[i] = (i * 37 + rounds) % 41;
        if (setjmp(back) == 0) {
            qsort(numbers, 40, sizeof numbers[0], compare);
            finished++;
        } else {
            jumped++;
        }
    }
    printf("finished %d jumped %d sum %llx\n", finished, jumped, (unsigned long long)work(9));
    return 0;
}
