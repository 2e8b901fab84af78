/* void call_block(struct fuzz_state *state, void (*function)(void), uint64_t width): loads every register from the state
   (general, x87, vector, mask), calls the function and stores them all back. width: 2 zmm, 1 ymm, 0 xmm. */
#define VECTORS 256
#define X87     2304
        .intel_syntax noprefix
        .text
        .globl  call_block
        .type   call_block, @function
        .p2align 4
call_block:
        .cfi_startproc
        .irp    r, rbx, rbp, r12, r13, r14, r15
        push    \r
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset \r, 0
        .endr
        sub     rsp, 24
        .cfi_adjust_cfa_offset 24
        mov     [rsp], rdi
        mov     [rsp + 8], rsi
        mov     [rsp + 16], rdx
        fxrstor64 [rdi + X87]
        cmp     rdx, 1
        ja      2f
        je      1f
        .irp    n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15
        movups  xmm\n, [rdi + VECTORS + 64 * \n]
        .endr
        jmp     3f
1:      .irp    n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15
        vmovups ymm\n, [rdi + VECTORS + 64 * \n]
        .endr
        jmp     3f
2:      .irp    n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
        vmovups zmm\n, [rdi + VECTORS + 64 * \n]
        .endr
        .irp    n, 0,1,2,3,4,5,6,7
        kmovq   k\n, [rdi + 192 + 8 * \n]
        .endr
3:      mov     rax, [rdi]
        mov     rcx, [rdi + 8]
        mov     rdx, [rdi + 16]
        mov     rbx, [rdi + 24]
        mov     rbp, [rdi + 40]
        mov     rsi, [rdi + 48]
        mov     r8, [rdi + 64]
        mov     r9, [rdi + 72]
        mov     r10, [rdi + 80]
        mov     r11, [rdi + 88]
        mov     r12, [rdi + 96]
        mov     r13, [rdi + 104]
        mov     r14, [rdi + 112]
        mov     r15, [rdi + 120]
        mov     rdi, [rdi + 56]
        call    [rsp + 8]
        push    rdi
        .cfi_adjust_cfa_offset 8
        mov     rdi, [rsp + 8]
        mov     [rdi], rax
        pop     rax
        .cfi_adjust_cfa_offset -8
        mov     [rdi + 56], rax
        mov     [rdi + 8], rcx
        mov     [rdi + 16], rdx
        mov     [rdi + 24], rbx
        mov     [rdi + 40], rbp
        mov     [rdi + 48], rsi
        mov     [rdi + 64], r8
        mov     [rdi + 72], r9
        mov     [rdi + 80], r10
        mov     [rdi + 88], r11
        mov     [rdi + 96], r12
        mov     [rdi + 104], r13
        mov     [rdi + 112], r14
        mov     [rdi + 120], r15
        fxsave64 [rdi + X87]
        fninit
        mov     dword ptr [rdi + 128], 0x1f80
        ldmxcsr [rdi + 128]
        cmp     qword ptr [rsp + 16], 1
        ja      2f
        je      1f
        .irp    n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15
        movups  [rdi + VECTORS + 64 * \n], xmm\n
        .endr
        jmp     3f
1:      .irp    n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15
        vmovups [rdi + VECTORS + 64 * \n], ymm\n
        .endr
        vzeroupper
        jmp     3f
2:      .irp    n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
        vmovups [rdi + VECTORS + 64 * \n], zmm\n
        .endr
        .irp    n, 0,1,2,3,4,5,6,7
        kmovq   [rdi + 192 + 8 * \n], k\n
        .endr
        vzeroupper
3:      add     rsp, 24
        .cfi_adjust_cfa_offset -24
        .irp    r, r15, r14, r13, r12, rbp, rbx
        pop     \r
        .cfi_adjust_cfa_offset -8
        .cfi_restore \r
        .endr
        ret
        .cfi_endproc
        .size   call_block, . - call_block
        .section .note.GNU-stack, "", @progbits
