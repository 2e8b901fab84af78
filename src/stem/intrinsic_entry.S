/* Entries of checked library calls, one per line of intrinsics.def, 16 bytes each, and what they share: a struct stem_call
   (stem.h) is laid out below the return address, C looks at it, and either the real function runs in its caller's place,
   with all arguments as they were, or the result is already there. */
        .text

        .set    intrinsic_number, 0
        .macro  INTRINSIC_ENTRY
        .balign 16
        pushq   $intrinsic_number
        jmp     intrinsic_common
        .set    intrinsic_number, intrinsic_number + 1
        .endm

        .globl  stem_intrinsic_entries
        .hidden stem_intrinsic_entries
        .balign 16
stem_intrinsic_entries:
#define INTRINSIC(...) INTRINSIC_ENTRY
#include "stem/intrinsics.def"

        .set    CALL_RAX, 48
        .set    CALL_RBX, 56
        .set    CALL_INDEX, 104
        .set    CALL_VECTOR, 112
        .set    CALL_TARGET, 240

        .balign 16
        .type   intrinsic_common, @function
intrinsic_common:
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
        /* Most functions here are not variadic and leave any number in al: at worst eight stores too many. */
        test    %al, %al
        jz      1f
        movups  %xmm0, CALL_VECTOR(%rsp)
        movups  %xmm1, CALL_VECTOR+16(%rsp)
        movups  %xmm2, CALL_VECTOR+32(%rsp)
        movups  %xmm3, CALL_VECTOR+48(%rsp)
        movups  %xmm4, CALL_VECTOR+64(%rsp)
        movups  %xmm5, CALL_VECTOR+80(%rsp)
        movups  %xmm6, CALL_VECTOR+96(%rsp)
        movups  %xmm7, CALL_VECTOR+112(%rsp)
1:      mov     %rsp, %rbx
        .cfi_def_cfa rbx, CALL_TARGET+16
        mov     %rsp, %rdi
        and     $-16, %rsp
        cld
        call    stem_intrinsic_enter
        mov     %rbx, %rsp
        .cfi_def_cfa rsp, CALL_TARGET+16
        test    %eax, %eax
        mov     CALL_RAX(%rsp), %rax
        jnz     3f
        test    %al, %al
        jz      2f
        movups  CALL_VECTOR(%rsp), %xmm0
        movups  CALL_VECTOR+16(%rsp), %xmm1
        movups  CALL_VECTOR+32(%rsp), %xmm2
        movups  CALL_VECTOR+48(%rsp), %xmm3
        movups  CALL_VECTOR+64(%rsp), %xmm4
        movups  CALL_VECTOR+80(%rsp), %xmm5
        movups  CALL_VECTOR+96(%rsp), %xmm6
        movups  CALL_VECTOR+112(%rsp), %xmm7
2:      mov     0(%rsp), %rdi
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
3:      mov     CALL_RBX(%rsp), %rbx
        .cfi_restore rbx
        add     $CALL_TARGET+8, %rsp
        .cfi_adjust_cfa_offset -(CALL_TARGET+8)
        ret
        .cfi_endproc
        .size   intrinsic_common, . - intrinsic_common

        .section .note.GNU-stack, "", @progbits
