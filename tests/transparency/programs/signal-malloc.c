/* A timer strikes inside the allocator and inside library copies; blocks must keep their contents. */
#include "transparent.h"
#include <signal.h>
#include <sys/time.h>

static volatile sig_atomic_t ticks;
static char copied[512];

static void on_tick(int number)
{
    char from[512];
    memset(from, number, sizeof from);
    memcpy(copied, from, sizeof copied);
    ticks++;
}

int main(void)
{
    struct sigaction action = {.sa_handler = on_tick, .sa_flags = SA_RESTART};
    struct itimerval often = {{0, 200}, {0, 200}}, never = {{0, 0}, {0, 0}};
    char *blocks[64] = {0};
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &often, NULL);
    for (unsigned round = 0; round < 300 || ticks < 20; round++)
        for (unsigned i = 0; i < 64; i++) {
            if (blocks[i])
                must(blocks[i][0] == (char)i && blocks[i][i] == (char)i);
            free(blocks[i]);
            blocks[i] = malloc(64 + (round * 7 + i * 13) % 900);
            must(blocks[i]);
            memset(blocks[i], (int)i, 64 + (round * 7 + i * 13) % 900);
        }
    setitimer(ITIMER_REAL, &never, NULL);
    for (unsigned i = 0; i < 64; i++)
        free(blocks[i]);
    puts("ok");
    return 0;
}
