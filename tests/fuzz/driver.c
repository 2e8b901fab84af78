/* Calls every random block with random registers, flags, vectors, masks and x87 state, and hashes all that comes out.

   A block that faults ends there: what its handler is told (signal, address, registers), and memory, count instead.

   usage: driver learn FILE    natively: writes to FILE the hashes of each block that does not differ in a second run
          driver compare exact|fair FILE PROGRESS [AFTER]   runs the blocks of FILE and prints a line for each whose hash is
                               another; fair: at a fault, registers are left out, for those that nobody reads any more may hold
                               anything, and always behind a switch; PROGRESS holds the number of the block that runs, AFTER leaves out those up to that one
          driver show NUMBER   prints everything that goes into and comes out of one block */
#define _GNU_SOURCE
#include <alloca.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include "fuzz.h"

enum { ROUNDS = 4, WINDOW = 8192, PAGE = 4096, LINE = 64, POOL = 1 << 16, VECTOR_BYTES = 64 };

struct fuzz_state {
    uint64_t general[REGISTERS];
    uint32_t mxcsr, padding[15];
    uint64_t masks[8];
    uint8_t vectors[32][VECTOR_BYTES];
    uint8_t x87[512];
} __attribute__((aligned(64)));
_Static_assert(offsetof(struct fuzz_state, masks) == 192 && offsetof(struct fuzz_state, vectors) == 256 &&
                   offsetof(struct fuzz_state, x87) == 2304,
               "state.S knows these");

void call_block(struct fuzz_state *state, void (*function)(void), uint64_t width);

struct block {
    void (*function)(void);
    uint64_t number;
    uint8_t roles[REGISTERS];
};
extern const struct block __start_fuzz_blocks[], __stop_fuzz_blocks[];

uint8_t fuzz_table[FUZZ_TABLE] __attribute__((aligned(64)));
_Thread_local uint8_t fuzz_local[FUZZ_LOCAL] __attribute__((aligned(64)));
/* As dwords: small ones and zeroes; as quadwords: small ones. */
const uint64_t fuzz_indices[8] __attribute__((aligned(64))) = {0, 17, 63, 4, 31, 9, 50, 42};

struct memory {
    const char *name;
    uint8_t *bytes, *start;
    size_t size;
};
enum { A, B, LOW, HEAP, TABLE, LOCAL, MEMORIES };
static struct memory memories[MEMORIES] = {
    {.name = "a", .size = WINDOW},         {.name = "b", .size = WINDOW},
    {.name = "low", .size = WINDOW},       {.name = "heap", .size = FUZZ_HEAP},
    {.name = "table", .size = FUZZ_TABLE}, {.name = "local", .size = FUZZ_LOCAL}};
static uint8_t pool[POOL];
static uint64_t random_state = 88172645463325252u, width;

static uint64_t random64(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state * 0x2545f4914f6cdd1d;
}

/* Half of them anything, half of them near what makes flags and carries change. */
static uint64_t random_value(void)
{
    static const uint64_t edges[] = {0,      1,          0x7f,       0x80,       0xff,      0x7fff,    0x8000,
                                     0xffff, 0x7fffffff, 0x80000000, 0xffffffff, INT64_MAX, 1ull << 63};
    uint64_t value = random64();
    if (value & 1024)
        return random64();
    value = edges[random64() % (sizeof edges / sizeof edges[0])] + random64() % 3 - 1;
    return random64() & 1024 ? value : -value;
}

static uint8_t *map_at(uintptr_t address)
{
    void *pages = mmap((void *)address, WINDOW, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    if (pages != (void *)address) {
        fprintf(stderr, "driver: no memory at %#zx\n", (size_t)address);
        exit(3);
    }
    return pages;
}

static void make_memories(void)
{
    memories[A].bytes = map_at(0x100000000000);
    memories[B].bytes = map_at(0x100000010000);
    memories[LOW].bytes = map_at(0x66660000);
    /* aligned alike everywhere: vector accesses fault or not by it */
    void *heap = NULL;
    if (posix_memalign(&heap, 64, FUZZ_HEAP) != 0)
        exit(3);
    memories[HEAP].bytes = heap;
    memories[TABLE].bytes = fuzz_table;
    memories[LOCAL].bytes = fuzz_local;
    /* A third of the words are all zeroes or all ones, so that comparisons, carries and masks see them. */
    for (size_t i = 0; i < POOL; i += 8) {
        uint64_t word = random64() >> 8, kind = word % 6;
        word = kind == 0 ? 0 : kind == 1 ? ~0ull : random64();
        memcpy(pool + i, &word, 8);
    }
    for (int i = 0; i < MEMORIES; i++) {
        struct memory *m = &memories[i];
        m->start = malloc(m->size);
        memcpy(m->start, pool + 8 * (random64() >> 20) % (POOL - WINDOW), m->size);
        memcpy(m->bytes, m->start, m->size);
    }
    width = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") ? 2
            : __builtin_cpu_supports("avx2")                                        ? 1
                                                                                    : 0;
}

static uint64_t given(enum fuzz_role role)
{
    switch (role) {
    case ROLE_POINTER_A:
        return (uintptr_t)memories[A].bytes + WINDOW / 2;
    case ROLE_POINTER_B:
        return (uintptr_t)memories[B].bytes + WINDOW / 2;
    case ROLE_POINTER_LOW:
        return (uintptr_t)memories[LOW].bytes + WINDOW / 2;
    case ROLE_HEAP_END:
        return (uintptr_t)memories[HEAP].bytes + FUZZ_HEAP;
    case ROLE_INDEX:
        return (random64() >> 20) % 16;
    case ROLE_NEGATIVE:
        return -(1 + (random64() >> 20) % 16);
    case ROLE_COUNT:
        return (random64() >> 20) % (FUZZ_COUNT + 1);
    case ROLE_FLAGS:
        return 2 | (random64() & FLAGS_ARITHMETIC);
    default:
        return random_value();
    }
}

static void make_state(struct fuzz_state *state, const struct block *block)
{
    memset(state->x87, 0, sizeof state->x87);
    for (int i = 0; i < REGISTERS; i++)
        state->general[i] = i == RSP ? 0 : given(block->roles[i]);
    for (int i = 0; i < 8; i++)
        state->masks[i] = random_value();
    memcpy(state->vectors, pool + 8 * (random64() >> 20) % (POOL - sizeof state->vectors),
           sizeof state->vectors);
    memcpy(state->x87, (const uint16_t[]){0x37f, 0, random64() & 1024 ? 0xff : 0}, 6);
    memcpy(state->x87 + 24, &(uint32_t){0x1f80}, 4);
    for (int i = 0; i < 8; i++)
        memcpy(state->x87 + 32 + 16 * i, pool + 8 * (random64() >> 20) % (POOL - 16), 10);
}

/* Heap addresses differ from run to run. */
static uint64_t told(uint64_t value)
{
    uint64_t offset = value - (uintptr_t)memories[HEAP].bytes;
    return offset <= FUZZ_HEAP ? 0x4ea900000000 + offset : value;
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

/* Hashes what changed in memory and puts it back. */
static uint64_t hash_memories(uint64_t sum)
{
    for (int i = 0; i < MEMORIES; i++) {
        struct memory *m = &memories[i];
        if (memcmp(m->bytes, m->start, m->size) == 0)
            continue;
        for (size_t at = 0; at < m->size; at += LINE) {
            size_t bytes = m->size - at < LINE ? m->size - at : LINE;
            if (memcmp(m->bytes + at, m->start + at, bytes) == 0)
                continue;
            sum = hash(sum ^ (at * MEMORIES + (unsigned)i), m->bytes + at, bytes);
            memcpy(m->bytes + at, m->start + at, bytes);
        }
    }
    return sum;
}

/* FUZZ_ABI=1: only what a function returns by the ABI counts, as where the runtime takes callers to be compiled. */
enum { ABI_RETURNS = 1 << RAX | 1 << RDX | 1 << RBX | 1 << RSP | 1 << RBP | 0xf << 12 };
static bool by_abi;

static uint64_t hash_all(uint64_t sum, const struct fuzz_state *state)
{
    for (int i = 0; i < REGISTERS; i++)
        if (!by_abi || ABI_RETURNS & 1 << i)
            sum = hash(sum, &(uint64_t){told(state->general[i])}, 8);
    if (width == 2)
        sum = hash(sum, state->masks, sizeof state->masks);
    sum = hash(sum, state->vectors, sizeof state->vectors);
    sum = hash(sum, state->x87,
               5); /* control, status, tags; behind them the addresses of the last instruction */
    sum = hash(sum, state->x87 + 24, 4);
    for (int i = 0; i < 8; i++)
        sum = hash(sum, state->x87 + 32 + 16 * i, 10);
    return hash_memories(sum);
}

/* ---- faults ------------------------------------------------------------------------------------------------------- */

/* What a run ends with. Where it faulted: `fair` without registers. */
struct sums {
    uint64_t exact, fair;
};

static sigjmp_buf escape;
static uintptr_t stack_mark;
static struct sums fault;
static uint64_t fault_words[20]; /* signal, code, address, rip; registers in the order of ucontext */

/* Addresses in the stack and in the thread's block differ from run to run too. */
static uint64_t told_at_fault(uint64_t value)
{
    uint64_t from_stack = value - stack_mark + 4096, from_thread = value - (uintptr_t)fuzz_local + PAGE;
    return from_stack < 8192        ? 0x57ac00000000 + from_stack
           : from_thread < 2 * PAGE ? 0x74ead0000000 + from_thread
                                    : told(value);
}

static void on_fault(int number, siginfo_t *info, void *context)
{
    const ucontext_t *u = context;
    const greg_t *general = u->uc_mcontext.gregs;
    memcpy(fault_words,
           (const uint64_t[]){(uint64_t)number, (uint64_t)info->si_code,
                              told_at_fault((uintptr_t)info->si_addr), (uint64_t)general[REG_RIP]},
           32);
    for (int i = REG_R8; i < REG_RIP; i++)
        fault_words[4 + i] = told_at_fault((uint64_t)general[i]);
    fault.fair = hash(0, fault_words, 32);
    uint64_t sum = hash(0, fault_words, sizeof fault_words);
    sum = hash(sum, u->uc_mcontext.fpregs->_xmm, sizeof u->uc_mcontext.fpregs->_xmm);
    fault.exact = hash(sum, &u->uc_mcontext.fpregs->mxcsr, 4);
    siglongjmp(escape, 1);
}

static void catch_faults(void)
{
    static char stack[64 << 10];
    sigaltstack(&(stack_t){.ss_sp = stack, .ss_size = sizeof stack}, NULL);
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_ONSTACK | SA_NODEFER | SA_SIGINFO};
    for (size_t i = 0; i < 5; i++)
        sigaction((const int[]){SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP}[i], &action, NULL);
}

/* Calls the block with a stack pointer that is the same modulo 64 in every run: aligned vector accesses to a block's frame
   fault or not by it. */
static __attribute__((noinline)) void enter(struct fuzz_state *state, const struct block *block)
{
    void *pad = alloca((uintptr_t)__builtin_frame_address(0) % 64);
    __asm__ volatile("" : : "r"(pad) : "memory");
    stack_mark = (uintptr_t)__builtin_frame_address(0) & ~63ul;
    call_block(state, block->function, width);
}

/* Returns whether it came back without a fault. */
static bool try_block(struct fuzz_state *state, const struct block *block)
{
    if (sigsetjmp(escape, 0))
        return false;
    enter(state, block);
    return true;
}

static struct sums run_block(const struct block *block)
{
    static struct fuzz_state state;
    uint64_t sum = 0xcbf29ce484222325;
    /* each block from its own start, so that one alone does what it does among all */
    random_state = (block->number + 1) * 0x9e3779b97f4a7c15 | 1;
    for (int round = 0; round < ROUNDS; round++) {
        make_state(&state, block);
        if (!try_block(&state, block)) {
            sum = hash_memories(sum);
            return (struct sums){hash(sum, &fault.exact, 8), hash(sum, &fault.fair, 8)};
        }
        sum = hash_all(sum, &state);
    }
    return (struct sums){sum, sum};
}

static int learn(const char *path)
{
    FILE *out = fopen(path, "w");
    if (!out)
        return perror(path), 3;
    for (const struct block *b = __start_fuzz_blocks; b < __stop_fuzz_blocks; b++) {
        struct sums once = run_block(b), again = run_block(b);
        if (once.exact == again.exact)
            fprintf(out, "%llu %016llx %016llx\n", (unsigned long long)b->number,
                    (unsigned long long)once.exact, (unsigned long long)once.fair);
    }
    return fclose(out) == 0 ? 0 : 3;
}

static int compare(bool exact, const char *path, const char *progress_path, const char *after_text)
{
    FILE *in = fopen(path, "r");
    int file = open(progress_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (!in || file < 0 || ftruncate(file, 8) != 0)
        return perror(path), 3;
    volatile uint64_t *progress = mmap(NULL, 8, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    unsigned long long number, wanted, fair, done = 0, after = after_text ? strtoull(after_text, NULL, 0) : 0;
    const struct block *b = __start_fuzz_blocks;
    while (fscanf(in, "%llu %llx %llx", &number, &wanted, &fair) == 3) {
        while (b < __stop_fuzz_blocks && b->number != number)
            b++;
        if (b == __stop_fuzz_blocks)
            return fprintf(stderr, "driver: no block %llu\n", number), 3;
        if (after_text && number <= after)
            continue;
        *progress = number;
        struct sums got = run_block(b);
        /* where a switch was taken, its register is left with what the jump needed */
        if (exact && !b->roles[RSP] ? got.exact != wanted : got.fair != fair)
            printf("differs %llu\n", number), fflush(stdout);
        done++;
    }
    printf("done %llu\n", done);
    return 0;
}

static void print_state(const char *when, const struct fuzz_state *state)
{
    static const char *const names[] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                        "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
    for (int i = 0; i < REGISTERS; i++)
        printf("%s %s %llx\n", when, names[i], (unsigned long long)told(state->general[i]));
    for (int i = 0; i < 8; i++)
        printf("%s k%d %llx\n", when, i, (unsigned long long)state->masks[i]);
    for (int i = 0; i < 32; i++) {
        printf("%s zmm%d ", when, i);
        for (int k = VECTOR_BYTES - 1; k >= 0; k--)
            printf("%02x", state->vectors[i][k]);
        puts("");
    }
    for (int i = 0; i < 160; i++)
        if (i < 5 || (i >= 24 && i < 28) || (i >= 32 && i % 16 < 10))
            printf("%s x87+%d %02x\n", when, i, state->x87[i]);
}

static int show(const char *text)
{
    static struct fuzz_state state;
    uint64_t number = strtoull(text, NULL, 0);
    const struct block *b = __start_fuzz_blocks;
    while (b < __stop_fuzz_blocks && b->number != number)
        b++;
    if (b == __stop_fuzz_blocks)
        return fprintf(stderr, "driver: no block %s\n", text), 2;
    random_state = (number + 1) * 0x9e3779b97f4a7c15 | 1;
    for (int round = 0; round < ROUNDS; round++) {
        char when[32];
        make_state(&state, b);
        snprintf(when, sizeof when, "round %d in", round);
        print_state(when, &state);
        bool whole = try_block(&state, b);
        snprintf(when, sizeof when, "round %d out", round);
        if (whole)
            print_state(when, &state);
        for (int i = 0; i < MEMORIES; i++)
            for (size_t k = 0; k < memories[i].size; k++)
                if (memories[i].bytes[k] != memories[i].start[k])
                    printf("%s %s+%zu %02x\n", when, memories[i].name, k, memories[i].bytes[k]);
        hash_memories(0);
        if (!whole) {
            for (int i = 0; i < 20; i++)
                printf("%s fault %d %llx\n", when, i, (unsigned long long)fault_words[i]);
            printf("%s fault %llx\n", when, (unsigned long long)fault.exact);
            break;
        }
    }
    return 0;
}

int main(int argc, char **argv)
{
    by_abi = getenv("FUZZ_ABI") != NULL;
    make_memories();
    catch_faults();
    if (argc == 3 && strcmp(argv[1], "learn") == 0)
        return learn(argv[2]);
    if ((argc == 5 || argc == 6) && strcmp(argv[1], "compare") == 0)
        return compare(strcmp(argv[2], "exact") == 0, argv[3], argv[4], argc == 6 ? argv[5] : NULL);
    if (argc == 3 && strcmp(argv[1], "show") == 0)
        return show(argv[2]);
    fprintf(stderr, "usage: driver learn FILE | compare exact|fair FILE PROGRESS [AFTER] | show NUMBER\n");
    return 2;
}
