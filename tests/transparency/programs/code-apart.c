/* Code in two executable segments with a hole between them, as linkers lay it out for programs that bring their text to huge pages. */
/* flags: -no-pie -Wl,--section-start=.far=0x900000 */
#include "transparent.h"

__attribute__((section(".far"))) NOINLINE uint64_t far_away(unsigned rounds)
{
    return work(rounds) * 3 + 1;
}

__attribute__((section(".far"))) NOINLINE uint64_t switches(unsigned what, uint64_t x)
{
    switch (what) {
    case 0:
        return x + 5;
    case 1:
        return x * 7;
    case 2:
        return far_away((unsigned)x & 7);
    case 3:
        return x >> 3;
    case 4:
        return x ^ 0x55;
    case 5:
        return work((unsigned)x & 3);
    default:
        return 0;
    }
}

int main(void)
{
    uint64_t sum = far_away(4);
    for (unsigned i = 0; i < 70; i++)
        sum = work_mix(sum, switches(hide(i) % 7, sum));
    printf("%llx\n", (unsigned long long)sum);
    return 0;
}
