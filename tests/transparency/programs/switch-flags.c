/* A jump through a table with something tested before it: its targets want the flags, as a compiler leaves them that tests once
 * what several cases ask. */
#include "transparent.h"

int pick(unsigned which, const int *value);
__asm__(".text\n"
        ".globl pick\n"
        ".type pick, @function\n"
        "pick: .cfi_startproc\n"
        "  mov (%rsi), %r8d\n"
        "  xor %eax, %eax\n"
        "  cmp $3, %edi\n"
        "  ja 9f\n"
        "  mov %edi, %edi\n"
        "  lea 20f(%rip), %rdx\n"
        "  movslq (%rdx,%rdi,4), %rcx\n"
        "  add %rdx, %rcx\n"
        "  cmp $5, %r8d\n"
        "  mov (%rsi), %r9d\n"
        "  jmp *%rcx\n"
        "10: je 19f\n"
        "  mov $1, %eax\n"
        "  ret\n"
        "11: ja 19f\n"
        "  mov $2, %eax\n"
        "  ret\n"
        "12: mov (%rsi), %eax\n"
        "  js 19f\n"
        "  add $100, %eax\n"
        "  ret\n"
        "13: setb %al\n"
        "  adc $0, %eax\n"
        "9: ret\n"
        "19: lea 1000(%r8), %eax\n"
        "  ret\n"
        ".cfi_endproc\n"
        ".size pick, . - pick\n"
        ".section .rodata\n"
        ".balign 4\n"
        "20: .long 10b - 20b, 11b - 20b, 12b - 20b, 13b - 20b\n"
        ".text\n");

int main(void)
{
    uint64_t sum = 1;
    for (unsigned round = 0; round < 3; round++)
        for (unsigned which = 0; which < 6; which++)
            for (int value = 0; value < 12; value++) {
                int got = pick(which, &value);
                if (round == 0)
                    printf("%d ", got);
                sum = work_mix(sum, (uint64_t)got);
            }
    printf("sum %llx\n", (unsigned long long)sum);
    return 0;
}
