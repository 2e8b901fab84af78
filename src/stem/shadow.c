/* Shadow memory: marking and exact search. Generated code has its own inline form of the check. */
#include "stem/stem.h"

#define USER_END 0x7ffffffff000ull

uint8_t *stem_shadow_base;
uintptr_t stem_shadow_own, stem_shadow_own_bytes;

/* Stores by words: most ranges are a few granules of a pool's block. No vector registers, which are the application's here. */
static void fill(uint8_t *s, size_t count, uint8_t value)
{
    uint64_t word = value * 0x0101010101010101ull;
    if (count >= 8) {
        *(uint64_t *)(s + count - 8) = word;
        for (size_t i = 0; i < count - 8; i += 8)
            *(uint64_t *)(s + i) = word;
    } else if (count >= 4) {
        *(uint32_t *)(s + count - 4) = (uint32_t)word;
        *(uint32_t *)s = (uint32_t)word;
    } else if (count) {
        s[0] = s[count >> 1] = s[count - 1] = value;
    }
}

void stem_shadow_open(uintptr_t address, size_t bytes)
{
    uint8_t *s = stem_shadow_base;
    if (!s)
        return;
    s += address >> 3;
    fill(s, bytes >> 3, 0);
    if (bytes & 7)
        s[bytes >> 3] = bytes & 7;
}

void stem_shadow_close(uintptr_t address, size_t bytes, enum stem_poison poison)
{
    uint8_t *s = stem_shadow_base;
    if (s)
        fill(s + (address >> 3), bytes >> 3, (uint8_t)poison);
}

uintptr_t stem_shadow_find_bad(uintptr_t address, size_t bytes)
{
    uint8_t *base = stem_shadow_base;
    if (!base || !bytes)
        return 0;
    uintptr_t last = address + bytes - 1;
    if (last < address || last >= USER_END)
        return address ? address : 1;
    if (stem_shadow_is_own(address))
        return address;
    /* What begins elsewhere and reaches into it is bad from there on at the latest. */
    bool reaches = stem_shadow_own_bytes && address < stem_shadow_own && last >= stem_shadow_own;
    if (reaches)
        last = stem_shadow_own - 1;
    for (uintptr_t granule = address >> 3; granule <= last >> 3; granule++) {
        /* Eight granules at a time where all are addressable: long ranges are the common case. */
        if (!(granule & 7) && granule + 7 <= last >> 3 && *(uint64_t *)(base + granule) == 0) {
            granule += 7;
            continue;
        }
        uint8_t state = base[granule];
        if (!state)
            continue;
        uintptr_t from = granule << 3 > address ? granule << 3 : address;
        uintptr_t to = (granule << 3 | 7) < last ? granule << 3 | 7 : last;
        if (state >= 8)
            return from;
        if ((to & 7) >= state)
            return (from & 7) >= state ? from : (granule << 3) + state;
    }
    return reaches ? stem_shadow_own : 0;
}
