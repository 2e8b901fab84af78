/* One random block: a prologue, instructions with branches, loops, calls, switch tables, a frame of its own and string
   instructions between them, and an epilogue that saves the flags. */
#include "fuzz.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const fuzz_names64[REGISTERS] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                             "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
const char *const fuzz_names32[REGISTERS] = {"eax", "ecx", "edx",  "ebx",  "esp",  "ebp",  "esi",  "edi",
                                             "r8d", "r9d", "r10d", "r11d", "r12d", "r13d", "r14d", "r15d"};
enum { RED_ZONE_BYTES = 64, DEEPEST = 3 };

static uint64_t random_state = 1;

void fuzz_seed(uint64_t seed)
{
    random_state = (seed + 0x9e3779b97f4a7c15) * 0xbf58476d1ce4e5b9 | 1;
    for (int i = 0; i < 4; i++)
        fuzz_random(2);
}

uint32_t fuzz_random(uint32_t below)
{
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return (uint32_t)((random_state * 0x2545f4914f6cdd1d >> 32) * below >> 32);
}

void fuzz_line(struct fuzz_block *b, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    struct fuzz_text *t = b->text;
    int bytes = vsnprintf(t->bytes + t->used, TEXT_BYTES - t->used, format, list);
    va_end(list);
    if (bytes < 0 || t->used + (size_t)bytes + 2 > TEXT_BYTES) {
        fprintf(stderr, "fuzz-generate: a block grew too long\n");
        exit(1);
    }
    t->used += (size_t)bytes;
    t->bytes[t->used++] = '\n';
    t->bytes[t->used] = '\0';
}

bool fuzz_writable(const struct fuzz_block *b, unsigned number)
{
    return number != RSP && !(b->protected & 1u << number);
}

int fuzz_pick_data(const struct fuzz_block *b)
{
    unsigned start = fuzz_random(REGISTERS);
    for (unsigned i = 0; i < REGISTERS; i++) {
        unsigned number = (start + i) % REGISTERS;
        if (fuzz_writable(b, number) && !b->registers[number].address && !b->registers[number].index)
            return (int)number;
    }
    return -1;
}

int fuzz_pick_pointer(const struct fuzz_block *b)
{
    unsigned start = fuzz_random(REGISTERS);
    for (unsigned i = 0; i < REGISTERS; i++) {
        unsigned number = (start + i) % REGISTERS;
        if (fuzz_writable(b, number) && b->registers[number].address && !b->registers[number].opaque)
            return (int)number;
    }
    return -1;
}

/* Two ways lead to here: only what holds on both is known. */
static void merge(struct fuzz_block *b, const struct fuzz_register *other, uint32_t undefined)
{
    b->undefined |= undefined;
    for (int i = 0; i < REGISTERS; i++) {
        bool opaque = b->registers[i].opaque || other[i].opaque;
        if (memcmp(&b->registers[i], &other[i], sizeof other[i]) != 0)
            b->registers[i] = (struct fuzz_register){.opaque = opaque};
    }
}

void fuzz_forget(struct fuzz_block *b, int number)
{
    b->registers[number] = (struct fuzz_register){0};
}

static void add_items(struct fuzz_block *b, unsigned count);

/* A conditional jump whose flags are defined. */
static const char *condition(struct fuzz_block *b)
{
    static const struct {
        const char *name;
        uint32_t flags;
    } all[] = {{"o", 0x800}, {"no", 0x800}, {"b", 1},      {"ae", 1},    {"e", 0x40}, {"ne", 0x40},
               {"be", 0x41}, {"a", 0x41},   {"s", 0x80},   {"ns", 0x80}, {"p", 4},    {"np", 4},
               {"l", 0x880}, {"ge", 0x880}, {"le", 0x8c0}, {"g", 0x8c0}};
    for (int i = 0; i < 8; i++) {
        unsigned which = fuzz_random(16);
        if (!(all[which].flags & b->undefined))
            return all[which].name;
    }
    int number = fuzz_pick_data(b);
    if (number < 0 || b->registers[number].opaque)
        fuzz_line(b, "cmp dword ptr fuzz_table[rip + %u], %d", 4 * fuzz_random(64), (int)fuzz_random(9) - 4);
    else
        fuzz_line(b, "cmp %s, %d", fuzz_names32[number], (int)fuzz_random(256) - 128);
    b->undefined = 0;
    return all[fuzz_random(16)].name;
}

static void add_branch(struct fuzz_block *b)
{
    struct fuzz_register before[REGISTERS];
    unsigned label = b->labels++;
    const char *how = condition(b);
    uint32_t undefined = b->undefined;
    if (fuzz_random(12) == 0 && !b->registers[RCX].opaque)
        fuzz_line(b, "%s 1f; jmp 2f; 1: jmp .L%u_%u; 2:", fuzz_random(3) ? "jrcxz" : "jecxz", b->number,
                  label);
    else /* with a hint, or a prefix that means nothing, at times */
        fuzz_line(b, "%sj%s .L%u_%u",
                  fuzz_random(8) ? "" : &".byte 0x3e; \0.byte 0x2e; \0.byte 0xf2; "[13 * fuzz_random(3)], how,
                  b -> number, label);
    memcpy(before, b->registers, sizeof before);
    add_items(b, 1 + fuzz_random(3));
    fuzz_line(b, ".L%u_%u:", b->number, label);
    merge(b, before, undefined);
}

/* The other way around: a part of the function that stands apart, with call-frame information of its own. */
static void add_cold(struct fuzz_block *b)
{
    if (b->text != &b->main || b->registers[RSP].address)
        return;
    struct fuzz_register before[REGISTERS];
    unsigned label = b->labels++;
    const char *how = condition(b);
    uint32_t undefined = b->undefined;
    fuzz_line(b, "j%s .Lcold%u_%u", how, b->number, label);
    fuzz_line(b, ".L%u_%u:", b->number, label);
    memcpy(before, b->registers, sizeof before);
    b->text = &b->apart;
    fuzz_line(b, ".Lcold%u_%u:", b->number, label);
    add_items(b, 1 + fuzz_random(2));
    fuzz_line(b, "jmp .L%u_%u", b->number, label);
    b->text = &b->main;
    merge(b, before, undefined);
}

static void add_loop(struct fuzz_block *b)
{
    int counter = fuzz_random(4) ? fuzz_pick_data(b) : RCX;
    if (b->looping || counter < 0 || !fuzz_writable(b, (unsigned)counter))
        return;
    unsigned label = b->labels++;
    uint32_t protected = b->protected;
    fuzz_forget(b, counter);
    fuzz_line(b, "mov %s, %u", fuzz_names32[counter], 1 + fuzz_random(6));
    fuzz_line(b, ".L%u_%u:", b->number, label);
    b->looping = true;
    b->undefined = FLAGS_ARITHMETIC;
    b->protected |= 1u << counter;
    for (int i = 0; i < REGISTERS; i++)
        if (b->registers[i].address || b->registers[i].index || b->registers[i].opaque)
            b->protected |= 1u << i;
    add_items(b, 1 + fuzz_random(4));
    b->protected = protected;
    b->looping = false;
    if (counter == RCX && fuzz_random(2)) {
        static const char *const ends[] = {
            "dec rcx; jrcxz 1f; jmp .L%1$u_%2$u; 1:", "loop 1f; jmp 2f; 1: jmp .L%1$u_%2$u; 2:",
            "loopne 1f; jmp 2f; 1: jmp .L%1$u_%2$u; 2:", "dec ecx; jecxz 1f; jmp .L%1$u_%2$u; 1:"};
        unsigned how = fuzz_random(4);
        if (how == 2 && b->undefined & 0x40) /* tests the zero flag */
            how = 1;
        fuzz_line(b, ends[how], b->number, label);
        b->undefined &= how == 0 || how == 3 ? 1 : FLAGS_ARITHMETIC;
    } else if (fuzz_random(2)) {
        fuzz_line(b, "dec %s; jne .L%u_%u", fuzz_names64[counter], b->number, label);
        b->undefined &= 1;
    } else {
        fuzz_line(b, "sub %s, 1; ja .L%u_%u", fuzz_names32[counter], b->number, label);
        b->undefined = 0;
    }
}

static void add_push(struct fuzz_block *b)
{
    /* A red zone would be overwritten. */
    unsigned from = fuzz_random(REGISTERS);
    int to = fuzz_pick_data(b);
    struct fuzz_register frame = b->registers[RSP];
    if (to < 0 || b->registers[from].opaque || from == RSP || frame.low < 0 || b->text != &b->main)
        return;
    switch (fuzz_random(3)) {
    case 0:
        fuzz_line(b, "push %s", fuzz_names64[from]);
        break;
    case 1:
        fuzz_line(b, "push %d", (int)fuzz_random(0x20000) - 0x10000);
        break;
    default:
        fuzz_line(b, "push qword ptr fuzz_table[rip + %u]", fuzz_random(1000));
    }
    fuzz_line(b, ".cfi_adjust_cfa_offset 8");
    b->registers[RSP] = (struct fuzz_register){.address = true, .opaque = true, .high = 8};
    fuzz_instruction(b);
    if (fuzz_random(2))
        fuzz_instruction(b);
    b->registers[RSP] = frame;
    if (fuzz_writable(b, (unsigned)to) && fuzz_random(4)) {
        fuzz_line(b, "pop %s", fuzz_names64[to]);
        fuzz_forget(b, to);
    } else {
        fuzz_line(b, "pop qword ptr fuzz_table[rip + %u]", fuzz_random(1000));
    }
    fuzz_line(b, ".cfi_adjust_cfa_offset -8");
}

/* Pointers move, are copied, and the address of an own array is taken. */
static void add_pointer(struct fuzz_block *b)
{
    int from = fuzz_pick_pointer(b), to = fuzz_pick_data(b), by = (int)fuzz_random(160) - 80;
    if (b->looping || from < 0 || to < 0)
        return;
    switch (fuzz_random(4)) {
    case 0:
        fuzz_line(b, "mov %s, %s", fuzz_names64[to], fuzz_names64[from]);
        b->registers[to] = b->registers[from];
        return;
    case 1:
        fuzz_line(b, "lea %s, [%s + %d]", fuzz_names64[from], fuzz_names64[from], by);
        break;
    case 2:
        fuzz_line(b, "add %s, %d", fuzz_names64[from], by);
        b->undefined = 0;
        break;
    default:
        if (!b->registers[RSP].address || b->registers[RSP].low < 0 || b->text != &b->main)
            return;
        by = (int)fuzz_random((uint32_t)b->registers[RSP].high);
        fuzz_line(b, "lea %s, [rsp + %d]", fuzz_names64[to], by);
        b->registers[to] = (struct fuzz_register){
            .address = true, .opaque = true, .low = -by, .high = b->registers[RSP].high - by};
        return;
    }
    b->registers[from].low -= by;
    b->registers[from].high -= by;
}

/* Lines go to another function from here on. */
static void begin_helper(struct fuzz_block *b, unsigned label)
{
    b->text = &b->helper;
    b->undefined = FLAGS_ARITHMETIC;
    fuzz_line(b, "%s\n.type fuzz_%u_helper%u, @function", fuzz_random(2) ? ".p2align 4" : "", b->number,
              label);
    fuzz_line(b, "fuzz_%u_helper%u: .cfi_startproc", b->number, label);
}

static void end_helper(struct fuzz_block *b, unsigned label)
{
    fuzz_line(b, "%s\n.cfi_endproc\n.size fuzz_%u_helper%u, . - fuzz_%u_helper%u",
              fuzz_random(8) ? "ret" : ".byte 0xf3, 0xc3", b->number, label, b->number, label);
    b->text = &b->main;
}

/* The end of a block in another function: by a jump to its start, on a condition or not, by a pointer, or into its middle. */
static void add_tail_call(struct fuzz_block *b)
{
    unsigned label = b->labels++, how = fuzz_random(5);
    int pointer = fuzz_pick_data(b);
    if (how == 3 && pointer < 0)
        how = 0;
    bool only_middle = how == 4 && fuzz_random(2);
    if (how == 1 || (how == 4 && !only_middle))
        fuzz_line(b, "j%s fuzz_%u_helper%u", condition(b), b->number, label);
    switch (how) {
    case 0:
        fuzz_line(b, "jmp fuzz_%u_helper%u", b->number, label);
        break;
    case 1:
        fuzz_line(b, "ret");
        break;
    case 2:
        fuzz_line(b, ".section .data.rel.local, \"aw\"\n.balign 8\n.L%u_%u: .quad fuzz_%u_helper%u\n.text",
                  b->number, label, b->number, label);
        fuzz_line(b, "jmp qword ptr .L%u_%u[rip]", b->number, label);
        break;
    case 3:
        fuzz_line(b, "lea %s, fuzz_%u_helper%u[rip]\njmp %s", fuzz_names64[pointer], b->number, label,
                  fuzz_names64[pointer]);
        fuzz_forget(b, pointer);
        break;
    default:
        fuzz_line(b, "jmp .L%u_%u", b->number, label);
        if (fuzz_random(2)) /* somebody may call it */
            fuzz_line(b, ".section .data.rel.local, \"aw\"\n.balign 8\n.quad fuzz_%u_helper%u\n.text",
                      b->number, label);
    }
    uint32_t undefined = b->undefined;
    struct fuzz_register before[REGISTERS];
    memcpy(before, b->registers, sizeof before);
    begin_helper(b, label);
    fuzz_line(b, "nop"); /* the middle is not the start, where flags are nobody's */
    add_items(b, 1 + fuzz_random(3));
    if (how == 4) {
        fuzz_line(b, ".L%u_%u:", b->number, label);
        merge(b, before, FLAGS_ARITHMETIC);
        if (only_middle) /* with the flags as they were */
            memcpy(b->registers, before, sizeof before), b->undefined = undefined;
        add_items(b, 1 + fuzz_random(3));
    }
    end_helper(b, label);
}

/* Flags are dead at a call and after it, by the ABI that the translator relies on. */
static void add_call(struct fuzz_block *b)
{
    if (b->text != &b->main || b->registers[RSP].low < 0)
        return;
    unsigned label = b->labels++;
    struct fuzz_register frame = b->registers[RSP];
    int pointer = fuzz_random(3) ? -1 : fuzz_pick_data(b);
    if (pointer >= 0) {
        fuzz_line(b, "lea %s, fuzz_%u_helper%u[rip]\ncall %s", fuzz_names64[pointer], b->number, label,
                  fuzz_names64[pointer]);
        fuzz_forget(b, pointer);
    } else if (fuzz_random(4) == 0) {
        fuzz_line(b, ".section .data.rel.local, \"aw\"\n.balign 8\n.L%u_%u: .quad fuzz_%u_helper%u\n.text",
                  b->number, label, b->number, label);
        fuzz_line(b, "call qword ptr .L%u_%u[rip]", b->number, label);
    } else {
        fuzz_line(b, "call fuzz_%u_helper%u", b->number, label);
    }
    fuzz_forget(b, RSP);
    begin_helper(b, label);
    add_items(b, 1 + fuzz_random(4));
    end_helper(b, label);
    b->registers[RSP] = frame;
    b->undefined = FLAGS_ARITHMETIC;
}

static void add_switch(struct fuzz_block *b)
{
    int at = fuzz_pick_data(b);
    if (at < 0)
        return;
    int table = at;
    unsigned label = b->labels, by_address = fuzz_random(2);
    b->labels += 5;
    b->roles[RSP] = ROLE_COUNT; /* tells the driver that there is a switch */
    fuzz_forget(b, at);
    if (!by_address) {
        b->protected |= 1u << at;
        table = fuzz_pick_data(b);
        b->protected &= ~(1u << at);
        if (table < 0 || table == at)
            return;
        fuzz_forget(b, table);
    }
    fuzz_line(b, "mov %s, dword ptr fuzz_table[rip + %u]", fuzz_names32[at], 4 * fuzz_random(200));
    fuzz_line(b, "and %s, 3", fuzz_names32[at]);
    if (by_address) {
        fuzz_line(b, "jmp qword ptr .L%u_%u[%s * 8]", b->number, label + 4, fuzz_names64[at]);
    } else {
        fuzz_line(b, "lea %s, .L%u_%u[rip]", fuzz_names64[table], b->number, label + 4);
        fuzz_line(b, "movsxd %s, dword ptr [%s + %s * 4]", fuzz_names64[at], fuzz_names64[table],
                  fuzz_names64[at]);
        fuzz_line(b, "add %s, %s", fuzz_names64[at], fuzz_names64[table]);
        fuzz_line(b, "jmp %s", fuzz_names64[at]);
    }
    fuzz_line(b, ".section .rodata\n.balign 8\n.L%u_%u:", b->number, label + 4);
    for (unsigned i = 0; i < 4; i++)
        if (by_address)
            fuzz_line(b, ".quad .L%u_%u", b->number, label + i);
        else
            fuzz_line(b, ".long .L%u_%u - .L%u_%u", b->number, label + i, b->number, label + 4);
    fuzz_line(b, ".text");
    struct fuzz_register before[REGISTERS];
    memcpy(before, b->registers, sizeof before);
    b->undefined = FLAGS_ARITHMETIC;
    for (unsigned i = 0; i < 4; i++) {
        fuzz_line(b, ".L%u_%u:", b->number, label + i);
        merge(b, before, FLAGS_ARITHMETIC);
        if (i < 3)
            fuzz_instruction(b);
    }
}

static void add_items(struct fuzz_block *b, unsigned count)
{
    b->depth++;
    for (unsigned i = 0; i < count; i++) {
        unsigned kind = b->depth >= DEEPEST ? 0 : fuzz_random(100);
        if (kind < 70)
            fuzz_instruction(b);
        else if (kind < 78)
            add_branch(b);
        else if (kind < 82)
            fuzz_repeated(b);
        else if (kind < 86)
            add_push(b);
        else if (kind < 90)
            add_pointer(b);
        else if (kind < 94)
            add_loop(b);
        else if (kind < 96)
            add_call(b);
        else if (kind < 97)
            add_cold(b);
        else if (kind < 99)
            fuzz_special(b);
        else if (b->text == &b->main)
            add_switch(b);
    }
    b->depth--;
}

static void give(struct fuzz_block *b, unsigned number, enum fuzz_role role)
{
    struct fuzz_register *r = &b->registers[number];
    if (number == RSP || b->roles[number] != ROLE_ANY)
        return;
    b->roles[number] = (uint8_t)role;
    switch (role) {
    case ROLE_POINTER_A:
    case ROLE_POINTER_B:
    case ROLE_POINTER_LOW:
        *r = (struct fuzz_register){
            .address = true, .below_2g = role == ROLE_POINTER_LOW, .low = -FUZZ_REACH, .high = FUZZ_REACH};
        break;
    case ROLE_HEAP_END:
        *r = (struct fuzz_register){.address = true, .opaque = true, .low = -FUZZ_HEAP};
        break;
    case ROLE_INDEX:
        *r = (struct fuzz_register){.index = true, .smallest = 0, .largest = 15};
        break;
    case ROLE_NEGATIVE:
        *r = (struct fuzz_register){.index = true, .smallest = -16, .largest = -1};
        break;
    case ROLE_COUNT:
        *r = (struct fuzz_register){.index = true, .smallest = 0, .largest = FUZZ_COUNT};
        break;
    default:
        break;
    }
}

static void give_roles(struct fuzz_block *b)
{
    if (fuzz_random(2)) {
        give(b, RDI, ROLE_POINTER_A);
        give(b, RSI, ROLE_POINTER_B);
    }
    if (fuzz_random(4) == 0)
        give(b, RCX, ROLE_COUNT);
    give(b, fuzz_random(REGISTERS), ROLE_POINTER_A);
    give(b, fuzz_random(REGISTERS), ROLE_INDEX);
    if (fuzz_random(3) == 0)
        give(b, fuzz_random(REGISTERS), ROLE_POINTER_LOW);
    if (fuzz_random(3) == 0)
        give(b, fuzz_random(REGISTERS), ROLE_HEAP_END);
    if (fuzz_random(3) == 0)
        give(b, fuzz_random(REGISTERS), ROLE_NEGATIVE);
}

static void fill(struct fuzz_block *b, const char *base, int from, int to)
{
    for (int at = from; at < to; at += 8) {
        unsigned number = fuzz_random(REGISTERS);
        if (number == RSP || b->registers[number].opaque ||
            (number == RBP && *base == 'r' && base[2] == 'p' && base[1] == 'b'))
            fuzz_line(b, "mov qword ptr [%s + %d], %d", base, at, at * 3);
        else
            fuzz_line(b, "mov qword ptr [%s + %d], %s", base, at, fuzz_names64[number]);
    }
}

enum frame { FRAME_NONE, FRAME_RED_ZONE, FRAME_STACK, FRAME_POINTER };

static void add_prologue(struct fuzz_block *b, enum frame frame, int bytes)
{
    struct fuzz_register *r = &b->registers[RSP];
    switch (frame) {
    case FRAME_NONE:
        return;
    case FRAME_RED_ZONE:
        fill(b, "rsp", -RED_ZONE_BYTES, 0);
        *r = (struct fuzz_register){.address = true, .opaque = true, .low = -RED_ZONE_BYTES};
        return;
    case FRAME_STACK:
        fuzz_line(b, "sub rsp, %d\n.cfi_adjust_cfa_offset %d", bytes, bytes);
        fill(b, "rsp", 0, bytes);
        *r = (struct fuzz_register){.address = true, .opaque = true, .high = bytes};
        return;
    case FRAME_POINTER:
        fuzz_line(b, "push rbp\n.cfi_def_cfa_offset 16\n.cfi_offset rbp, -16");
        fuzz_line(b, "mov rbp, rsp\n.cfi_def_cfa_register rbp\nsub rsp, %d", bytes);
        fill(b, "rbp", -bytes, 0);
        b->registers[RBP] = (struct fuzz_register){.address = true, .opaque = true, .low = -bytes};
        *r = (struct fuzz_register){.address = true, .opaque = true, .high = bytes};
        b->protected |= 1u << RBP;
    }
}

static void add_epilogue(struct fuzz_block *b, enum frame frame, int bytes)
{
    int number = fuzz_random(5) ? fuzz_pick_data(b) : -1;
    if (frame == FRAME_RED_ZONE) {
        /* pushfq would overwrite it: its last use is above */
        fuzz_forget(b, RSP);
    }
    if (number >= 0) {
        fuzz_line(b, "pushfq\n.cfi_adjust_cfa_offset 8\npop %s\n.cfi_adjust_cfa_offset -8",
                  fuzz_names64[number]);
        fuzz_line(b, "and %s, %#x", fuzz_names32[number], FLAGS_ARITHMETIC & ~b->undefined);
        fuzz_forget(b, number);
    }
    /* Registers that are overwritten without a read are dead above. */
    unsigned dead = fuzz_random(3) ? 0 : fuzz_random(10);
    for (unsigned i = 0; i < REGISTERS; i++) {
        const struct fuzz_register *r = &b->registers[i];
        bool heap = b->roles[i] == ROLE_HEAP_END && r->low == -FUZZ_HEAP && !r->high;
        bool tainted = r->opaque && !heap && i != RSP && !(b->protected & 1u << i);
        if (tainted || (fuzz_writable(b, i) && (int)i != number && fuzz_random(10) < dead)) {
            fuzz_line(b, fuzz_random(2) ? "xor %1$s, %1$s" : "mov %1$s, %2$u", fuzz_names32[i], i);
            fuzz_forget(b, (int)i);
        }
    }
    if (frame == FRAME_STACK) {
        fuzz_line(b, "add rsp, %d\n.cfi_adjust_cfa_offset -%d", bytes, bytes);
        b->undefined = FLAGS_ARITHMETIC; /* of an address */
    }
    if (frame == FRAME_POINTER)
        fuzz_line(b, "leave\n.cfi_def_cfa rsp, 8\n.cfi_restore rbp");
    if (fuzz_random(6)) {
        fuzz_line(b, fuzz_random(10) ? "ret" : ".byte 0xf3, 0xc3");
        return;
    }
    if (frame == FRAME_POINTER) {
        fuzz_forget(b, RBP);
        b->protected &= ~(1u << RBP);
    }
    fuzz_forget(b, RSP);
    add_tail_call(b);
}

void fuzz_block(struct fuzz_block *b, uint64_t seed, unsigned number, bool wide)
{
    b->main.used = b->apart.used = b->helper.used = 0;
    memset(b->registers, 0, sizeof b->registers);
    memset(b->roles, 0, sizeof b->roles);
    b->protected = b->depth = b->labels = 0;
    b->looping = false;
    b->number = number;
    b->wide = wide;
    b->text = &b->main;
    fuzz_seed(seed * 1000003 + number);
    give_roles(b);
    bool single = fuzz_random(3) == 0, flags = fuzz_random(4) != 0;
    if (flags) {
        int from = fuzz_pick_data(b);
        b->roles[from] = ROLE_FLAGS;
        fuzz_line(b, "push %s\n.cfi_adjust_cfa_offset 8\npopfq\n.cfi_adjust_cfa_offset -8",
                  fuzz_names64[from]);
    }
    b->undefined = flags ? 0 : FLAGS_ARITHMETIC;
    enum frame frame = single || fuzz_random(2) ? FRAME_NONE : 1 + fuzz_random(3);
    int bytes = 32 + 16 * (int)fuzz_random(4);
    if (frame == FRAME_POINTER && b->roles[RBP] != ROLE_ANY)
        frame = FRAME_STACK;
    if (frame == FRAME_STACK || frame == FRAME_POINTER)
        b->undefined = FLAGS_ARITHMETIC; /* sub set them from the address */
    add_prologue(b, frame, bytes);
    if (single)
        fuzz_instruction(b);
    else
        add_items(b, 2 + fuzz_random(11));
    add_epilogue(b, frame, bytes);

    fputs(b->helper.used ? b->helper.bytes : "", stdout);
    printf(
        ".p2align 4\n.type fuzz_%u, @function\nfuzz_%u: .cfi_startproc\n%s.cfi_endproc\n.size fuzz_%u, . - fuzz_%u\n",
        number, number, b->main.bytes, number, number);
    if (b->apart.used)
        printf(
            ".section .text.unlikely, \"ax\", @progbits\n.type fuzz_%u.cold, @function\nfuzz_%u.cold: .cfi_startproc\n"
            "%s.cfi_endproc\n.size fuzz_%u.cold, . - fuzz_%u.cold\n.text\n",
            number, number, b->apart.bytes, number, number);
    printf(".section fuzz_blocks, \"aw\"\n.quad fuzz_%u, %u\n.byte ", number, number);
    for (int i = 0; i < REGISTERS; i++)
        printf("%u%s", b->roles[i], i + 1 < REGISTERS ? ", " : "\n.text\n\n");
}
