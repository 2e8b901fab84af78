/* alloca, variable-length arrays, frames of a megabyte, addresses of locals handed down and up. */
#include "transparent.h"
#include <alloca.h>

struct link {
    struct link *up;
    int value;
};

static NOINLINE uint64_t chain(int depth, struct link *up)
{
    struct link mine = {up, depth};
    if (depth > 0)
        return chain(depth - 1, &mine);
    uint64_t sum = 0;
    for (struct link *each = &mine; each; each = each->up) {
        sum = work_mix(sum, (uint64_t)each->value);
        each->value++;
    }
    return sum;
}

static NOINLINE uint64_t arrays(size_t n)
{
    uint32_t array[n], *more = alloca(n * sizeof *more), grid[3][n];
    for (size_t i = 0; i < n; i++) {
        array[i] = (uint32_t)(i * n);
        more[n - 1 - i] = array[i] ^ 5;
        grid[i % 3][i] = more[n - 1 - i];
    }
    uint64_t sum = 0;
    for (size_t i = 0; i < n; i++)
        sum = work_mix(sum, array[i] + more[i] + grid[i % 3][i]);
    return sum;
}

static NOINLINE uint64_t huge(int seed)
{
    unsigned char frame[1 << 20];
    memset(frame, seed, sizeof frame);
    for (size_t i = 0; i < sizeof frame; i += 4001)
        frame[i] = (unsigned char)(i >> 3);
    uint64_t sum = 0;
    for (size_t i = 0; i < sizeof frame; i += 997)
        sum = work_mix(sum, frame[i]);
    return sum;
}

int main(void)
{
    uint64_t sum = 0;
    for (int i = 0; i < 200; i++)
        sum += chain(i, NULL) + arrays((size_t)i + 1) + (i % 20 ? 0 : huge(i));
    printf("%llx\n", (unsigned long long)sum);
    return 0;
}
