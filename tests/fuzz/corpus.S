/* Blocks that once came out differently under supervision, reduced. The form is that of the generator's output: function,
   then its line in the driver's table (roles of the registers as in fuzz.h). */
        .intel_syntax noprefix
        .text

/* A callee whose entry cannot be patched: a jump that exists only in the short form lies in its first bytes. */
        .type fuzz_1_helper, @function
fuzz_1_helper:
        .cfi_startproc
        cmp r13d, -48
        jrcxz 1f
        jmp 2f
1:      jmp 3f
2:      mov r14d, 7
3:      ret
        .cfi_endproc
        .size fuzz_1_helper, . - fuzz_1_helper
        .type fuzz_1, @function
fuzz_1: .cfi_startproc
        sub rsp, 8
        .cfi_adjust_cfa_offset 8
        call fuzz_1_helper
        add rsp, 8
        .cfi_adjust_cfa_offset -8
        xor eax, eax
        ret
        .cfi_endproc
        .size fuzz_1, . - fuzz_1
        .section fuzz_blocks, "aw"
        .quad fuzz_1, 1
        .fill 16, 1, 0
        .text

/* A function that begins like an entry of a procedure linkage table, and its cold part, where flags are alive. */
        .p2align 4
        .type fuzz_2, @function
fuzz_2: .cfi_startproc
        push qword ptr fuzz_table[rip + 8]
        .cfi_adjust_cfa_offset 8
        pop r13
        .cfi_adjust_cfa_offset -8
        cmp r14d, 31
        js fuzz_2.cold
1:      pushfq
        .cfi_adjust_cfa_offset 8
        pop r10
        .cfi_adjust_cfa_offset -8
        and r10d, 0x8d5
        ret
        .cfi_endproc
        .size fuzz_2, . - fuzz_2
        .section .text.unlikely, "ax", @progbits
        .type fuzz_2.cold, @function
fuzz_2.cold:
        .cfi_startproc
        setb bpl
        jmp 1b
        .cfi_endproc
        .size fuzz_2.cold, . - fuzz_2.cold
        .section fuzz_blocks, "aw"
        .quad fuzz_2, 2
        .fill 16, 1, 0
        .text

/* An address relative to the instruction pointer, cut to 32 bits. */
        .p2align 4
        .type fuzz_3, @function
fuzz_3: .cfi_startproc
        lea ebx, fuzz_table[eip]
        lea r9, fuzz_table[eip + 64]
        mov eax, dword ptr fuzz_table[eip + 16]
        ret
        .cfi_endproc
        .size fuzz_3, . - fuzz_3
        .section fuzz_blocks, "aw"
        .quad fuzz_3, 3
        .fill 16, 1, 0
        .text
        .section .note.GNU-stack, "", @progbits
