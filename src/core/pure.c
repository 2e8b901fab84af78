/* Pure helpers: pattern match, hash, seeded generator. */
#include "core/core.h"

bool core_glob(const char *pattern, const char *text)
{
    /* One star is remembered at a time: when a mismatch comes after it, it swallows one more character. */
    const char *star = NULL, *resume = NULL;
    while (*text) {
        if (*pattern == '*') {
            star = pattern++;
            resume = text;
        } else if (*pattern == '?' || *pattern == *text) {
            pattern++;
            text++;
        } else if (star) {
            pattern = star + 1;
            text = ++resume;
        } else {
            return false;
        }
    }
    while (*pattern == '*')
        pattern++;
    return !*pattern;
}

uint64_t core_hash(uint64_t seed, const void *data, size_t bytes)
{
    const uint8_t *p = data;
    for (size_t i = 0; i < bytes; i++)
        seed = (seed ^ p[i]) * 0x100000001b3ull;
    return seed;
}

void core_rng_seed(struct core_rng *rng, uint64_t seed)
{
    /* splitmix64 spreads a small seed over the whole state, which must not be all zero. */
    for (int i = 0; i < 4; i++) {
        uint64_t z = seed += 0x9e3779b97f4a7c15ull;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
        rng->s[i] = z ^ (z >> 31);
    }
}

static uint64_t rotate_left(uint64_t x, int bits)
{
    return (x << bits) | (x >> (64 - bits));
}

uint64_t core_rng_next(struct core_rng *rng)
{
    uint64_t *s = rng->s;
    uint64_t result = rotate_left(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate_left(s[3], 45);
    return result;
}

uint64_t core_rng_below(struct core_rng *rng, uint64_t bound)
{
    /* Values below `threshold` would make the low remainders likelier. */
    uint64_t threshold = -bound % bound, value;
    do
        value = core_rng_next(rng);
    while (value < threshold);
    return value % bound;
}
