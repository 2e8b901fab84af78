/* Calls every instruction case with random registers, flags, vectors and memory, and prints a hash of all that came out,
   one line a case. Two runs with the same seed must print the same, whoever executes the cases: natively and from a
   code cache. Addresses are the same in every run (mappings at fixed places; heap addresses relative to their block).

   usage: driver [--seed N] [--rounds N] [--case NAME] [--after NAME] [--dump] [--list]
   --after leaves out all cases up to this one; --dump prints every register, vector and changed byte instead of the hash. */
#define _GNU_SOURCE
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15 };
enum { PAGE = 4096, HEAP_BYTES = 61, TABLE_BYTES = 512 };

struct insn_state {
    uint64_t general[16];
    uint32_t mxcsr;
    uint16_t x87_status, padding;
    uint32_t scratch[6];
    uint8_t vector[16][32];
};
_Static_assert(offsetof(struct insn_state, mxcsr) == 128 && offsetof(struct insn_state, vector) == 160,
               "trampoline.S knows these");

void insn_call(struct insn_state *state, void (*function)(void), uint64_t wide);

enum { NEEDS_AVX2 = 1, NEEDS_BMI = 2, NEEDS_AVX512 = 4 };

struct insn_case {
    void (*function)(void);
    const char *name;
    uint64_t needs;
};
extern const struct insn_case __start_insn_cases[], __stop_insn_cases[];

/* Memory of the cases: what they may write to is compared byte by byte. */
struct memory {
    const char *name;
    uint8_t *bytes, *before;
    size_t size;
};

uint8_t insn_table[TABLE_BYTES] __attribute__((aligned(64)));
_Thread_local uint64_t insn_local;

static uint64_t random_state[2];

/* xorshift128+ */
static uint64_t random64(void)
{
    uint64_t a = random_state[0], b = random_state[1];
    random_state[0] = b;
    a ^= a << 23;
    random_state[1] = a ^ b ^ (a >> 17) ^ (b >> 26);
    return random_state[1] + b;
}

/* Half of them anything, half of them near what makes flags and carries change. */
static uint64_t random_value(void)
{
    static const uint64_t edges[] = {0,      1,          0x7f,       0x80,       0xff,      0x7fff,    0x8000,
                                     0xffff, 0x7fffffff, 0x80000000, 0xffffffff, INT64_MAX, 1ull << 63};
    uint64_t value = random64();
    if (value & 1)
        return random64();
    value = edges[random64() % (sizeof edges / sizeof edges[0])] + random64() % 3 - 1;
    return random64() & 1 ? value : -value;
}

/* A third of the words are all zeroes or all ones, so that comparisons, carries and masks see them. */
static void random_bytes(uint8_t *bytes, size_t count)
{
    for (size_t i = 0; i < count; i += 8) {
        uint64_t word = random64(), kind = word % 6;
        word = kind == 0 ? 0 : kind == 1 ? ~0ull : word * 0x9e3779b97f4a7c15;
        memcpy(bytes + i, &word, count - i < 8 ? count - i : 8);
    }
}

static uint8_t *map_at(uintptr_t address, size_t bytes)
{
    void *pages = mmap((void *)address, bytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    if (pages != (void *)address) {
        fprintf(stderr, "driver: no memory at %#zx\n", (size_t)address);
        exit(3);
    }
    return pages;
}

static struct memory memories[] = {{.name = "a", .size = PAGE},    {.name = "b", .size = PAGE},
                                   {.name = "page", .size = PAGE}, {.name = "heap", .size = HEAP_BYTES},
                                   {.name = "low", .size = PAGE},  {.name = "table", .size = TABLE_BYTES}};
enum { A, B, PAGE_END, HEAP, LOW, TABLE, MEMORIES };

static void make_memories(void)
{
    memories[A].bytes = map_at(0x100000000000, PAGE);
    memories[B].bytes = map_at(0x100000010000, PAGE);
    memories[PAGE_END].bytes = map_at(0x100000020000, PAGE);
    memories[HEAP].bytes = malloc(HEAP_BYTES);
    memories[LOW].bytes = map_at(0x66660000, PAGE);
    memories[TABLE].bytes = insn_table;
    for (int i = 0; i < MEMORIES; i++)
        memories[i].before = malloc(memories[i].size);
}

static void make_state(struct insn_state *state)
{
    for (int i = 0; i < MEMORIES; i++) {
        random_bytes(memories[i].bytes, memories[i].size);
        memcpy(memories[i].before, memories[i].bytes, memories[i].size);
    }
    memset(state, 0, sizeof *state);
    for (int i = 0; i < 16; i++)
        state->general[i] = random_value();
    state->general[RDI] = (uintptr_t)memories[A].bytes + PAGE / 2;
    state->general[RSI] = (uintptr_t)memories[B].bytes + PAGE / 2;
    state->general[RDX] = random64() % 16;
    state->general[R9] = -(1 + random64() % 16);
    state->general[RCX] = random64() % 32;
    state->general[R10] = 2 | (random64() & 0x8d5);
    state->general[R12] = (uintptr_t)memories[PAGE_END].bytes + PAGE;
    state->general[R13] = (uintptr_t)memories[HEAP].bytes + HEAP_BYTES;
    state->general[R14] = (uintptr_t)memories[LOW].bytes + PAGE / 2;
    state->general[RSP] = 0;
    state->mxcsr = 0x1f80;
    random_bytes(&state->vector[0][0], sizeof state->vector);
    insn_local = random64();
}

/* An address into the heap block is told from its start; everything else is the same in every run. */
static uint64_t told(uint64_t value)
{
    uint64_t offset = value - (uintptr_t)memories[HEAP].bytes;
    return offset <= HEAP_BYTES ? 0x4ea900000000 + offset : value;
}

static uint64_t hash(uint64_t seed, const void *data, size_t bytes)
{
    const uint8_t *each = data;
    for (size_t i = 0; i < bytes; i += 8) {
        uint64_t word = 0;
        memcpy(&word, each + i, bytes - i < 8 ? bytes - i : 8);
        seed = (seed ^ word) * 0x9e3779b97f4a7c15;
        seed ^= seed >> 29;
    }
    return seed;
}

static uint64_t hash_all(uint64_t seed, const struct insn_state *state)
{
    for (int i = 0; i < 16; i++)
        seed = hash(seed, &(uint64_t){told(state->general[i])}, 8);
    seed = hash(seed, &state->mxcsr, 6);
    seed = hash(seed, &insn_local, 8);
    seed = hash(seed, state->vector, sizeof state->vector);
    for (int i = 0; i < MEMORIES; i++)
        seed = hash(seed, memories[i].bytes, memories[i].size);
    return seed;
}

static void dump(const char *name, unsigned round, const struct insn_state *in, const struct insn_state *out)
{
    static const char *const names[] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                        "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
    for (int i = 0; i < 16; i++)
        printf("%s round %u %s %llx -> %llx\n", name, round, names[i],
               (unsigned long long)told(in->general[i]), (unsigned long long)told(out->general[i]));
    printf("%s round %u mxcsr %x x87 %x local %llx\n", name, round, out->mxcsr, out->x87_status,
           (unsigned long long)insn_local);
    for (int i = 0; i < 16; i++) {
        printf("%s round %u vector %d ", name, round, i);
        for (int k = 31; k >= 0; k--)
            printf("%02x", out->vector[i][k]);
        puts("");
    }
    for (int i = 0; i < MEMORIES; i++)
        for (size_t k = 0; k < memories[i].size; k++)
            if (memories[i].bytes[k] != memories[i].before[k])
                printf("%s round %u memory %s+%zu %02x -> %02x\n", name, round, memories[i].name, k,
                       memories[i].before[k], memories[i].bytes[k]);
}

static uint64_t capabilities(void)
{
    uint64_t has = 0;
    has |= __builtin_cpu_supports("avx2") ? NEEDS_AVX2 : 0;
    has |= __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("popcnt")
               ? NEEDS_BMI
               : 0;
    has |= __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                   __builtin_cpu_supports("avx512vl")
               ? NEEDS_AVX512
               : 0;
    return has;
}

static void run_case(const struct insn_case *each, uint64_t has, uint64_t seed, unsigned rounds, int dumped)
{
    uint64_t sum = 0xcbf29ce484222325;
    /* each case from its own start, so that one alone does what it does among all */
    random_state[0] = hash(seed, each->name, strlen(each->name)) | 1;
    random_state[1] = seed;
    for (unsigned round = 0; round < rounds; round++) {
        struct insn_state in, out;
        make_state(&in);
        out = in;
        insn_call(&out, each->function, has & NEEDS_AVX2);
        if (dumped)
            dump(each->name, round, &in, &out);
        sum = hash_all(sum, &out);
    }
    if (!dumped)
        printf("%s %016llx\n", each->name, (unsigned long long)sum);
}

int main(int argc, char **argv)
{
    uint64_t seed = 1, has = capabilities();
    unsigned rounds = 24;
    const char *only = NULL, *after = NULL;
    int dumped = 0, list = 0;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc)
            seed = strtoull(argv[++i], NULL, 0);
        else if (strcmp(argv[i], "--rounds") == 0 && i + 1 < argc)
            rounds = (unsigned)strtoul(argv[++i], NULL, 0);
        else if (strcmp(argv[i], "--case") == 0 && i + 1 < argc)
            only = argv[++i];
        else if (strcmp(argv[i], "--after") == 0 && i + 1 < argc)
            after = argv[++i];
        else if (strcmp(argv[i], "--dump") == 0)
            dumped = 1;
        else if (strcmp(argv[i], "--list") == 0)
            list = 1;
        else
            return fprintf(
                       stderr,
                       "usage: driver [--seed N] [--rounds N] [--case NAME] [--after NAME] [--dump] [--list]\n"),
                   2;
    }
    make_memories();
    for (const struct insn_case *each = __start_insn_cases; each < __stop_insn_cases; each++) {
        if (after) {
            after = strcmp(after, each->name) == 0 ? NULL : after;
            continue;
        }
        if ((only && strcmp(only, each->name) != 0) || (each->needs & ~has))
            continue;
        if (list)
            puts(each->name);
        else
            run_case(each, has, seed, rounds, dumped);
        /* a case that ends the process is the one after the last line */
        fflush(stdout);
    }
    return 0;
}
