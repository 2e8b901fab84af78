/* What random bytes do not make, or make too seldom: whole state saved and restored, sixteen bytes exchanged, divisions that may
   trap, the thread's base, a function that asks for its own address. */
#include "fuzz.h"

#include <stddef.h>

enum { AREA_BYTES = 2944 }; /* a multiple of 64: room for the state of every vector register */

/* A pointer that still stands in the middle of its memory; *middle: the displacement of that middle. */
static int pick_whole(const struct fuzz_block *b, int *middle)
{
    unsigned start = fuzz_random(REGISTERS);
    for (unsigned i = 0; i < REGISTERS; i++) {
        unsigned number = (start + i) % REGISTERS;
        const struct fuzz_register *r = &b->registers[number];
        *middle = r->low + FUZZ_REACH;
        if (r->address && !r->opaque && r->high - r->low == 2 * FUZZ_REACH)
            return (int)number;
    }
    return -1;
}

static bool all_writable(const struct fuzz_block *b, uint32_t registers)
{
    for (unsigned i = 0; i < REGISTERS; i++)
        if (registers & 1u << i && (!fuzz_writable(b, i) || b->registers[i].address ||
                                    b->registers[i].index || b->registers[i].opaque))
            return false;
    return true;
}

static void forget_all(struct fuzz_block *b, uint32_t registers)
{
    for (int i = 0; i < REGISTERS; i++)
        if (registers & 1u << i)
            fuzz_forget(b, i);
}

/* Names its own operand, so that the address of the last x87 operand is the same in every run. */
static void add_x87(struct fuzz_block *b)
{
    static const char *const all[] = {"fld dword ptr",  "fadd dword ptr", "fild qword ptr", "fmul qword ptr",
                                      "fist dword ptr", "fld tbyte ptr",  "fstp tbyte ptr", "fcom dword ptr"};
    static const char *const plain[] = {"fld1", "fabs", "fchs", "fxch", "fincstp", "faddp", "fldpi", "ftst"};
    fuzz_line(b, "%s fuzz_table[rip + %u]", all[fuzz_random(8)], 4 * fuzz_random(400));
    if (fuzz_random(2))
        fuzz_line(b, "%s", plain[fuzz_random(8)]);
}

static void add_x87_state(struct fuzz_block *b)
{
    static const char *const saves[] = {"fnstenv", "fnsave", "fxsave", "fxsave64"}, *const loads[] = {
                                                                                        "fldenv", "frstor",
                                                                                        "fxrstor",
                                                                                        "fxrstor64"};
    int middle, base = pick_whole(b, &middle);
    unsigned kind = fuzz_random(4);
    if (base < 0)
        return;
    int at = middle - 1024 + 16 * (int)fuzz_random(64);
    add_x87(b);
    fuzz_line(b, "%s [%s + %d]", saves[kind], fuzz_names64[base], at);
    if (fuzz_random(2))
        return;
    add_x87(b);
    fuzz_line(b, "%s [%s + %d]", loads[kind], fuzz_names64[base], at);
}

static void add_extended_state(struct fuzz_block *b)
{
    /* Not xsaveopt: what it leaves out depends on what the system restored last. */
    static const char *const saves[] = {"xsave", "xsave64", "xsavec", "xsavec64"};
    static const uint8_t masks[] = {7, 7, 3, 4, 1, 2, 0, 6, 0xe7, 0xe7, 0xe0, 0xe6, 0x60, 0x27};
    int middle, base = pick_whole(b, &middle);
    unsigned how = fuzz_random(4), mask = masks[fuzz_random(b->wide ? sizeof masks : 8)];
    if (base < 0 || base == RAX || base == RDX || !all_writable(b, 1u << RAX | 1u << RDX))
        return;
    const char *name = fuzz_names64[base];
    middle -= AREA_BYTES;
    for (int i = 512; i < 576; i += 8) /* its header must be clean */
        fuzz_line(b, "mov qword ptr [%s + %d], 0", name, middle + i);
    add_x87(b);
    /* The processor may take a part that is all zero for unused, or not, and leave its room as it was: none may be zero. */
    if (b->wide)
        fuzz_line(b, "vmovdqu64 zmm5, fuzz_indices[rip]\nvmovdqu64 zmm21, fuzz_indices[rip]\n"
                     "kmovw k5, word ptr fuzz_indices[rip + 8]");
    else
        fuzz_line(b, "vmovdqu ymm5, ymmword ptr fuzz_indices[rip]");
    fuzz_line(b, "mov eax, %u\nmov edx, 0", mask);
    fuzz_line(b, "%s [%s + %d]", saves[how], name, middle);
    forget_all(b, 1u << RAX | 1u << RDX);
    if (fuzz_random(3) == 0)
        return;
    if (b->wide)
        fuzz_line(b, "vpxord zmm%u, zmm%u, zmm%u", fuzz_random(32), fuzz_random(32), fuzz_random(32));
    fuzz_line(b, "pxor xmm%u, xmm%u", fuzz_random(16), fuzz_random(16));
    if (fuzz_random(2))
        fuzz_line(b, "mov eax, %u", masks[fuzz_random(b->wide ? sizeof masks : 8)]);
    fuzz_line(b, "%s [%s + %d]", fuzz_random(2) ? "xrstor" : "xrstor64", name, middle);
}

static void add_exchange(struct fuzz_block *b)
{
    const uint32_t used = 1u << RAX | 1u << RDX | 1u << RCX | 1u << RBX;
    int middle, base = pick_whole(b, &middle);
    if (base < 0 || used & 1u << base || !all_writable(b, 1u << RAX | 1u << RDX))
        return;
    if (b->registers[RCX].opaque || b->registers[RBX].opaque)
        return;
    int at = middle - 1024 + 16 * (int)fuzz_random(128);
    if (fuzz_random(2))
        fuzz_line(b, "mov rax, [%1$s + %2$d]\nmov rdx, [%1$s + %2$d + 8]", fuzz_names64[base], at);
    fuzz_line(b, "%scmpxchg16b xmmword ptr [%s + %d]", fuzz_random(2) ? "lock " : "", fuzz_names64[base],
              at + (fuzz_random(20) == 0 ? 8 : 0));
    b->undefined &= ~0x40u;
    forget_all(b, 1u << RAX | 1u << RDX);
}

/* Half of these trap: by zero, or because the quotient has no room. */
static void add_division(struct fuzz_block *b)
{
    static const char *const operands[] = {"byte", "word", "dword", "qword"};
    int by = fuzz_pick_data(b);
    unsigned size = fuzz_random(4);
    const char *name = fuzz_random(2) ? "div" : "idiv";
    if (by < 0 || by == RAX || by == RDX || b->registers[by].opaque ||
        !all_writable(b, 1u << RAX | 1u << RDX))
        return;
    if (fuzz_random(3))
        fuzz_line(b, "%s", size == 3 ? "cqo" : size == 2 ? "cdq" : size == 1 ? "cwd" : "cbw");
    if (fuzz_random(3) == 0)
        fuzz_line(b, "mov %s, %u", fuzz_names32[by], fuzz_random(3)), fuzz_forget(b, by);
    if (fuzz_random(2))
        fuzz_line(b, "%s %s ptr fuzz_table[rip + %u]", name, operands[size], 8 * fuzz_random(200));
    else
        fuzz_line(b, "%s %s", name, size == 3 ? fuzz_names64[by] : fuzz_names32[by]);
    forget_all(b, 1u << RAX | 1u << RDX);
    b->undefined = FLAGS_ARITHMETIC;
}

static void add_thread_base(struct fuzz_block *b)
{
    int to = fuzz_pick_data(b);
    if (to < 0)
        return;
    fuzz_line(b, "rdfsbase %1$s\nsub %1$s, qword ptr fs:[0]", fuzz_names64[to]);
    fuzz_forget(b, to);
    b->undefined = 0;
}

/* Needs room on the stack, and no red zone in use. */
static void add_own_address(struct fuzz_block *b)
{
    int to = fuzz_pick_data(b);
    if (to < 0 || b->registers[RSP].low < 0 || b->text != &b->main)
        return;
    fuzz_line(b, "call 1f\n1: .cfi_adjust_cfa_offset 8\npop %s\n.cfi_adjust_cfa_offset -8", fuzz_names64[to]);
    fuzz_forget(b, to);
}

void fuzz_special(struct fuzz_block *b)
{
    unsigned kind = fuzz_random(20);
    if (kind < 4)
        add_x87_state(b);
    else if (kind < 8)
        add_extended_state(b);
    else if (kind < 12)
        add_exchange(b);
    else if (kind < 17)
        add_division(b);
    else if (kind < 18)
        add_thread_base(b);
    else
        add_own_address(b);
}

void fuzz_repeated(struct fuzz_block *b)
{
    static const uint8_t codes[] = {0xa4, 0xa5, 0xa6, 0xa7, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf};
    uint8_t bytes[4], code = codes[fuzz_random(sizeof codes)];
    size_t count = 0;
    unsigned repeat = fuzz_random(4);
    bool down = fuzz_random(8) == 0;
    if (b->looping || (repeat && (!fuzz_writable(b, RCX) || b->registers[RCX].opaque)))
        return;
    if (repeat)
        bytes[count++] = repeat == 1 ? 0xf2 : 0xf3;
    if (fuzz_random(5) == 0)
        bytes[count++] = 0x66;
    if (fuzz_random(3) == 0)
        bytes[count++] = 0x48;
    bytes[count++] = code;
    if (repeat && !(b->registers[RCX].index && b->registers[RCX].smallest >= 0)) {
        fuzz_line(b, "mov ecx, %u", fuzz_random(FUZZ_COUNT + 1));
        fuzz_forget(b, RCX);
    }
    if (down)
        fuzz_line(b, "std");
    if (!fuzz_string(b, bytes, count, down))
        fuzz_line(b, "nop");
    if (down)
        fuzz_line(b, "cld");
}
