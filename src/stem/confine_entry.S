/* long syscall(long number, ...): the C library's own, but for seccomp, of which confine.c hears first. No frame: a child that
   begins here on another stack returns from it as it does from the C library's. */
        .text
        .globl  syscall
        .type   syscall, @function
syscall:
        .cfi_startproc
        cmp     $317, %rdi              /* SYS_seccomp */
        je      2f
1:      mov     %rdi, %rax
        mov     %rsi, %rdi
        mov     %rdx, %rsi
        mov     %rcx, %rdx
        mov     %r8, %r10
        mov     %r9, %r8
        mov     8(%rsp), %r9
        syscall
        cmp     $-4095, %rax
        jae     3f
        ret
2:      push    %rdi
        .cfi_adjust_cfa_offset 8
        push    %rsi
        .cfi_adjust_cfa_offset 8
        push    %rdx
        .cfi_adjust_cfa_offset 8
        push    %rcx
        .cfi_adjust_cfa_offset 8
        push    %rcx
        .cfi_adjust_cfa_offset 8
        mov     %rsi, %rdi
        mov     %rdx, %rsi
        mov     %rcx, %rdx
        call    stem_confine_seccomp
        pop     %rcx
        .cfi_adjust_cfa_offset -8
        pop     %rcx
        .cfi_adjust_cfa_offset -8
        pop     %rdx
        .cfi_adjust_cfa_offset -8
        pop     %rsi
        .cfi_adjust_cfa_offset -8
        pop     %rdi
        .cfi_adjust_cfa_offset -8
        jmp     1b
3:      neg     %eax
        push    %rax
        .cfi_adjust_cfa_offset 8
        call    __errno_location@PLT
        pop     %rcx
        .cfi_adjust_cfa_offset -8
        mov     %ecx, (%rax)
        mov     $-1, %rax
        ret
        .cfi_endproc
        .size   syscall, . - syscall

        .section .note.GNU-stack, "", @progbits
