/* Locked instructions of every width by several threads at once, and a spin lock made of them. */
/* flags: -pthread -mcx16 */
#include "transparent.h"
#include <pthread.h>

enum { THREADS = 4, ROUNDS = 20000 };

static uint8_t byte;
static uint16_t word;
static uint32_t longword, spin, guarded;
static uint64_t quad, bits[4];
static unsigned __int128 wide __attribute__((aligned(16)));

static NOINLINE void guarded_add(void)
{
    while (__atomic_exchange_n(&spin, 1, __ATOMIC_ACQUIRE))
        __builtin_ia32_pause();
    guarded++;
    __atomic_store_n(&spin, 0, __ATOMIC_RELEASE);
}

static void *worker(void *argument)
{
    unsigned self = (unsigned)(uintptr_t)argument;
    for (unsigned i = 0; i < ROUNDS; i++) {
        __atomic_fetch_add(&byte, 1, __ATOMIC_SEQ_CST);
        __atomic_fetch_sub(&word, 3, __ATOMIC_SEQ_CST);
        __atomic_fetch_xor(&longword, 1u << (i % 32), __ATOMIC_SEQ_CST);
        uint64_t seen = __atomic_load_n(&quad, __ATOMIC_RELAXED);
        while (!__atomic_compare_exchange_n(&quad, &seen, seen + i, 0, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
            ;
        uint64_t bit = (uint64_t)(self * 64 + i % 64);
        __asm__ volatile("lock btcq %1, %0" : "+m"(bits) : "r"(bit) : "cc", "memory");
        unsigned __int128 old = wide, new;
        do
            new = old + ((unsigned __int128)1 << 64) + 1;
        while (({
            uint64_t low = (uint64_t)old, high = (uint64_t)(old >> 64);
            unsigned char done;
            __asm__ volatile("lock cmpxchg16b %1; sete %0"
                             : "=q"(done), "+m"(wide), "+a"(low), "+d"(high)
                             : "b"((uint64_t) new), "c"((uint64_t)(new >> 64))
                             : "cc", "memory");
            old = (unsigned __int128)high << 64 | low;
            !done;
        }));
        guarded_add();
    }
    return NULL;
}

int main(void)
{
    pthread_t threads[THREADS];
    for (uintptr_t i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, worker, (void *)i);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    printf("%u %u %x %llu %llx %llu %llu %u\n", byte, word, longword, (unsigned long long)quad,
           (unsigned long long)(bits[0] ^ bits[3]), (unsigned long long)wide,
           (unsigned long long)(wide >> 64), guarded);
    return 0;
}
