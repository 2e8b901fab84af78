/* Pages that come, go, move and change: and code that the program writes itself and calls. */
#define _GNU_SOURCE
#include "transparent.h"
#include <sys/mman.h>

static NOINLINE uint64_t walk(unsigned char *pages, size_t bytes)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < bytes; i += 61) {
        pages[i] = (unsigned char)(pages[i] + i);
        sum = work_mix(sum, pages[i]);
    }
    return sum;
}

int main(void)
{
    uint64_t sum = 0;
    for (size_t round = 1; round < 30; round++) {
        size_t bytes = round * 4096;
        unsigned char *pages = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        must(pages != MAP_FAILED);
        sum += walk(pages, bytes);
        pages = mremap(pages, bytes, bytes * 3, MREMAP_MAYMOVE);
        must(pages != MAP_FAILED);
        sum += walk(pages, bytes * 3);
        must(mprotect(pages, 4096, PROT_READ) == 0);
        sum += walk(pages + 4096, bytes);
        must(madvise(pages + 4096, 4096, MADV_DONTNEED) == 0);
        sum += pages[4096];
        must(munmap(pages, bytes * 3) == 0);
    }
    printf("%llx\n", (unsigned long long)sum);

    /* lea eax, [rdi + rdi*4 + N]; ret */
    unsigned char *code =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    must(code != MAP_FAILED);
    for (unsigned n = 0; n < 20; n++) {
        unsigned char bytes[] = {0x8d, 0x84, 0xbf, (unsigned char)n, 0, 0, 0, 0xc3};
        memcpy(code, bytes, sizeof bytes);
        int (*function)(int) = (int (*)(int))(uintptr_t)hide(code);
        printf("%d ", function((int)n));
    }
    puts("");
    return 0;
}
