/* A program that confines itself. Before a seccomp filter comes into force it is run here, for the system calls that translating
   and our heap's bookkeeping need. One that it forbids would be the program's death, at some later time and for no
   reason of its own: then nothing more is translated, and that is said. What is translated already goes on, by itself. */
#include "stem/engine.h"
#include "stem/sys.h"

#define EXPORT __attribute__((visibility("default")))

int *__errno_location(void);
void stem_confine_seccomp(unsigned long operation, unsigned long flags, const void *program);

/* As the kernel's linux/filter.h and linux/seccomp.h have them. */
struct instruction {
    uint16_t code;
    uint8_t if_true, if_false;
    uint32_t k;
};
struct program {
    uint16_t length;
    const struct instruction *code;
};
struct data {
    int32_t number;
    uint32_t architecture;
    uint64_t pc, argument[6];
};
enum { MODE_STRICT = 1, MODE_FILTER = 2, SET_STRICT = 0, SET_FILTER = 1 };
enum { PR_SET_SECCOMP = 22, X86_64 = 0xc000003e, LENGTH_MAX = 4096, CELLS = 16 };
#define RETURN_ALLOW 0x7fff0000u
#define RETURN_LOG   0x7ffc0000u

static uint32_t calculate(uint32_t a, unsigned how, uint32_t by)
{
    switch (how) {
    case 0x00:
        return a + by;
    case 0x10:
        return a - by;
    case 0x20:
        return a * by;
    case 0x30:
        return by ? a / by : 0;
    case 0x40:
        return a | by;
    case 0x50:
        return a & by;
    case 0x60:
        return by < 32 ? a << by : 0;
    case 0x70:
        return by < 32 ? a >> by : 0;
    case 0x80:
        return 0 - a;
    default: /* 0xa0 */
        return a ^ by;
    }
}

static bool holds(uint32_t a, unsigned how, uint32_t with)
{
    return how == 0x10 ? a == with : how == 0x20 ? a > with : how == 0x30 ? a >= with : (a & with) != 0;
}

/* What a filter answers. One that makes no sense is refused by the kernel: whatever stands here then has no effect. */
static uint32_t answer_of(const struct instruction *code, unsigned length, const struct data *data)
{
    uint32_t a = 0, x = 0, cell[CELLS] = {0}, word;
    for (unsigned at = 0; at < length; at++) {
        const struct instruction *i = &code[at];
        unsigned how = i->code & 0xf0;
        uint32_t operand = i->code & 8 ? x : i->k;
        switch (i->code & 7) {
        case 0: /* load: of the data, a constant, a cell, or the data's length */
            if (how == 0x20 && i->k <= sizeof *data - 4) {
                memcpy(&word, (const uint8_t *)data + i->k, 4);
                a = word;
            } else {
                a = how == 0x60 ? cell[i->k % CELLS] : how == 0x80 ? (uint32_t)sizeof *data : i->k;
            }
            break;
        case 1:
            x = how == 0x60 ? cell[i->k % CELLS] : how == 0x80 ? (uint32_t)sizeof *data : i->k;
            break;
        case 2:
            cell[i->k % CELLS] = a;
            break;
        case 3:
            cell[i->k % CELLS] = x;
            break;
        case 4:
            a = calculate(a, how, operand);
            break;
        case 5:
            at += how == 0 ? i->k : holds(a, how, operand) ? i->if_true : i->if_false;
            break;
        case 6:
            return i->code & 0x10 ? a : i->k;
        default: /* 7 */
            if (i->code & 0x80)
                a = x;
            else
                x = a;
        }
    }
    return RETURN_ALLOW;
}

/* Arguments as we use them; 3 is readable and writable. */
static const struct data needed[] = {
    {.number = SYS_rt_sigprocmask, .argument = {2, 0, 0, 8}},
    {.number = SYS_futex, .argument = {0, 0x81, 1}},
    {.number = SYS_mmap, .argument = {0x100000000000, 1 << 20, 3, 0x4022, ~0ull, 0}},
    {.number = SYS_mprotect, .argument = {0x100000000000, 1 << 19, 3}},
    {.number = SYS_munmap, .argument = {0x100000000000, 4096}},
};

bool stem_pid_forbidden;

static bool allows(const struct program *p, const struct data *wanted)
{
    struct data data = *wanted;
    data.architecture = X86_64;
    uint32_t answer = answer_of(p->code, p->length, &data) & 0xffff0000u;
    return answer == RETURN_ALLOW || answer == RETURN_LOG;
}

static bool forbids_us(const struct program *given)
{
    static struct instruction code[LENGTH_MAX];
    struct program p;
    if (!stem_safe_copy(&p, given, sizeof p) || p.length > LENGTH_MAX ||
        !stem_safe_copy(code, p.code, p.length * sizeof *code))
        return false; /* the kernel refuses it too */
    p.code = code;
    stem_pid_forbidden |= !allows(&p, &(struct data){.number = SYS_getpid});
    for (unsigned i = 0; i < sizeof needed / sizeof *needed; i++)
        if (!allows(&p, &needed[i]))
            return true;
    return false;
}

static void confine(void)
{
    stem_confined = stem_pid_forbidden = true;
    stem_disarm(
        "testudo: the program forbids itself system calls (seccomp) that supervision needs; running natively");
}

void stem_confine_seccomp(unsigned long operation, unsigned long flags, const void *program)
{
    if (operation == SET_STRICT ? !flags && !program : operation == SET_FILTER && forbids_us(program))
        confine();
}

EXPORT int prctl(int option, unsigned long a, unsigned long b, unsigned long c, unsigned long d);
EXPORT int prctl(int option, unsigned long a, unsigned long b, unsigned long c, unsigned long d)
{
    if (option == PR_SET_SECCOMP && (a == MODE_STRICT || a == MODE_FILTER))
        stem_confine_seccomp(a == MODE_STRICT ? SET_STRICT : SET_FILTER, 0,
                             a == MODE_FILTER ? (const void *)(uintptr_t)b : NULL);
    long result = sys_call5(SYS_prctl, option, a, b, c, d);
    if (!sys_failed(result))
        return (int)result;
    *__errno_location() = (int)-result;
    return -1;
}
