/* Entry of hooked functions. The stub in front of the function's gate has pushed the hook's number; a struct stem_call
   (stem.h) is laid out below it and C looks at it. All of them take whole numbers only, and our C code touches no vector
   register, so that none is saved. */
        .set    CALL_RAX, 48
        .set    CALL_RBX, 56
        .set    CALL_INDEX, 104
        .set    CALL_TARGET, 240

        .text
        .globl  stem_hook_common
        .hidden stem_hook_common
        .balign 16
        .type   stem_hook_common, @function
stem_hook_common:
        .cfi_startproc
        .cfi_def_cfa_offset 16          /* the number stands where the target will */
        sub     $CALL_TARGET, %rsp
        .cfi_adjust_cfa_offset CALL_TARGET
        mov     %rdi, 0(%rsp)
        mov     %rsi, 8(%rsp)
        mov     %rdx, 16(%rsp)
        mov     %rcx, 24(%rsp)
        mov     %r8, 32(%rsp)
        mov     %r9, 40(%rsp)
        mov     %rax, CALL_RAX(%rsp)
        mov     %rbx, CALL_RBX(%rsp)
        .cfi_rel_offset rbx, CALL_RBX
        mov     %rbp, 64(%rsp)
        mov     %r12, 72(%rsp)
        mov     %r13, 80(%rsp)
        mov     %r14, 88(%rsp)
        mov     %r15, 96(%rsp)
        mov     CALL_TARGET(%rsp), %rdi
        mov     %rdi, CALL_INDEX(%rsp)
        mov     %rsp, %rbx
        .cfi_def_cfa rbx, CALL_TARGET+16
        mov     %rsp, %rdi
        and     $-16, %rsp
        cld
        call    stem_hook_enter
        mov     %rbx, %rsp
        .cfi_def_cfa rsp, CALL_TARGET+16
        test    %eax, %eax
        mov     CALL_RAX(%rsp), %rax
        jnz     1f
        mov     0(%rsp), %rdi
        mov     8(%rsp), %rsi
        mov     16(%rsp), %rdx
        mov     24(%rsp), %rcx
        mov     32(%rsp), %r8
        mov     40(%rsp), %r9
        mov     CALL_RBX(%rsp), %rbx
        mov     CALL_TARGET(%rsp), %r11
        .cfi_remember_state
        .cfi_restore rbx
        add     $CALL_TARGET+8, %rsp
        .cfi_adjust_cfa_offset -(CALL_TARGET+8)
        jmp     *%r11
        .cfi_restore_state
1:      mov     CALL_RBX(%rsp), %rbx
        .cfi_restore rbx
        add     $CALL_TARGET+8, %rsp
        .cfi_adjust_cfa_offset -(CALL_TARGET+8)
        ret
        .cfi_endproc
        .size   stem_hook_common, . - stem_hook_common

/* The same for pool functions that take the pool and a size and return a block (pools.c), without a stem_call: the function runs
   from here with a larger size, then C puts the redzone behind the block. What is too large goes the common way. */
        .set    HOOK_BYTES_SHIFT, 5
        .set    BLOCK_MAX, 1 << 31
        .set    TAIL, 24

        .globl  stem_hook_take
        .hidden stem_hook_take
        .balign 16
        .type   stem_hook_take, @function
stem_hook_take:
        .cfi_startproc
        .cfi_def_cfa_offset 16
        cmp     $BLOCK_MAX - 1, %rsi
        ja      stem_hook_common
        mov     (%rsp), %r11d
        push    %rdi
        .cfi_adjust_cfa_offset 8
        push    %rsi
        .cfi_adjust_cfa_offset 8
        shl     $HOOK_BYTES_SHIFT, %r11
        lea     stem_hooks(%rip), %rax
        add     $7 + TAIL, %rsi
        and     $-8, %rsi
        call    *(%r11, %rax)
        pop     %rdx
        .cfi_adjust_cfa_offset -8
        pop     %rsi
        .cfi_adjust_cfa_offset -8
        add     $8, %rsp
        .cfi_adjust_cfa_offset -8
        mov     %rax, %rdi
        test    %rax, %rax
        jnz     stem_pool_taken
        ret
        .cfi_endproc
        .size   stem_hook_take, . - stem_hook_take

        .section .note.GNU-stack, "", @progbits
