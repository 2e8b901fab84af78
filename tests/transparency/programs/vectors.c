/* SSE, AVX and AVX2 code where the processor has it, values alive in vector registers across calls and
 * signals. */
/* flags: -pthread */
#include "transparent.h"
#include <immintrin.h>
#include <signal.h>

static float floats[1024] __attribute__((aligned(64)));
static int32_t ints[1024] __attribute__((aligned(64)));

static NOINLINE float sse_dot(const float *a, const float *b, int n)
{
    __m128 sum = _mm_setzero_ps();
    for (int i = 0; i < n; i += 4) {
        sum = _mm_add_ps(sum, _mm_mul_ps(_mm_loadu_ps(a + i), _mm_load_ps(b + i)));
        if (i % 128 == 0)
            raise(SIGUSR1);
    }
    float out[4];
    _mm_storeu_ps(out, sum);
    return out[0] + out[1] + out[2] + out[3];
}

static NOINLINE uint32_t sse_bytes(const char *text)
{
    uint32_t mask = 0;
    for (int i = 0; i < 64; i += 16) {
        __m128i chunk = _mm_loadu_si128((const __m128i *)(const void *)(text + i));
        chunk = _mm_shuffle_epi32(_mm_add_epi8(chunk, _mm_set1_epi8(3)), 0x1b);
        mask = mask * 31 + (uint32_t)_mm_movemask_epi8(_mm_cmpgt_epi8(chunk, _mm_set1_epi8('m')));
        mask ^= (uint32_t)_mm_extract_epi16(_mm_sad_epu8(chunk, _mm_setzero_si128()), 4);
    }
    return mask;
}

__attribute__((target("avx2,fma"))) static NOINLINE float avx_sum(const float *a, const int32_t *b, int n)
{
    __m256 sum = _mm256_setzero_ps();
    for (int i = 0; i < n; i += 8) {
        __m256i index = _mm256_and_si256(_mm256_load_si256((const __m256i *)(const void *)(b + i)),
                                         _mm256_set1_epi32(1023));
        __m256 gathered = _mm256_i32gather_ps(a, index, 4);
        sum = _mm256_fmadd_ps(gathered, _mm256_loadu_ps(a + i), sum);
        if (i % 256 == 0)
            raise(SIGUSR1);
    }
    __m256i shuffled = _mm256_permute4x64_epi64(_mm256_castps_si256(sum), 0x4e);
    sum = _mm256_add_ps(sum, _mm256_castsi256_ps(shuffled));
    float out[8];
    _mm256_storeu_ps(out, sum);
    return out[0] + out[1] + out[2] + out[3];
}

__attribute__((target("avx"))) static NOINLINE void avx_copy(float *to, const float *from)
{
    __m256i mask = _mm256_setr_epi32(-1, 0, -1, -1, 0, 0, -1, 0);
    _mm256_maskstore_ps(to, mask, _mm256_maskload_ps(from, mask));
}

static void on_signal(int number)
{
    __m128 noise = _mm_set1_ps((float)number);
    for (int i = 0; i < 100; i++)
        noise = _mm_sqrt_ps(_mm_add_ps(noise, noise));
    floats[1023] = _mm_cvtss_f32(noise) * 0;
}

int main(void)
{
    signal(SIGUSR1, on_signal);
    for (int i = 0; i < 1024; i++) {
        floats[i] = (float)(i % 37) * 0.25f;
        ints[i] = i * 7919;
    }
    printf("%a %x\n", (double)sse_dot(floats + 3, floats, 1000),
           sse_bytes("the quick brown fox jumps over the lazy dog, again and again...."));
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        float out[8] = {0};
        avx_copy(out, floats + 5);
        printf("%a %a %a %a\n", (double)avx_sum(floats, ints, 1000), (double)out[0], (double)out[1],
               (double)out[6]);
    }
    typedef int32_t v8 __attribute__((vector_size(32)));
    v8 sum = {0};
    for (int i = 0; i < 1024; i += 8) {
        v8 row;
        memcpy(&row, ints + i, sizeof row);
        sum = (sum ^ row) * 3 + (row > 100000);
    }
    for (int i = 0; i < 8; i++)
        printf("%d ", sum[i]);
    puts("");
    return 0;
}
