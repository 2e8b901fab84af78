/* Short cut for movs and stos, with or without a repeat prefix, whose check generated code calls for first: where all that they touch
   is addressable and the direction is up, the old bytes are logged and the instruction may run. Anything else, and what the shadow
   memory is not sure of, goes the long way of entry.S with everything as it was. Nothing here can fault. All registers, flags
   and vectors are the application's. */
        .text

        .set    SITE_OP, 28                     /* in struct stem_site */
        .set    SITE_BYTES, 29
        .set    SITE_REPEATED, 30
        .set    SITE_SHIFT, 5                   /* of its size */
        .set    THREAD_RING_BASE, 72            /* in struct stem_thread */

        /* [\pointer, \pointer + r8) addressable, r8 > 0? Changes rax, rcx, r9 to r11. */
        .macro  CHECK_RANGE pointer
        lea     -1(\pointer,%r8), %r10
        mov     %r10, %rax
        or      \pointer, %rax
        shr     $47, %rax
        jnz     9f
        mov     \pointer, %rax                  /* the shadow of our own memory cannot be read */
        sub     stem_shadow_own(%rip), %rax
        cmp     stem_shadow_own_bytes(%rip), %rax
        jb      9f
        mov     %r10, %rax
        sub     stem_shadow_own(%rip), %rax
        cmp     stem_shadow_own_bytes(%rip), %rax
        jb      9f
        mov     %r10, %rax
        shr     $3, %rax
        mov     \pointer, %rcx
        shr     $3, %rcx
1:      mov     %gs:(%rcx), %r11
        lea     -8(%rax), %r9
        cmp     %r9, %rcx                       /* more than eight granules are left */
        jge     2f
        test    %r11, %r11
        jnz     9f
        add     $8, %rcx
        jmp     1b
2:      sub     %rax, %rcx                      /* 1 - granules left; the last one's state comes to the top */
        add     $7, %rcx
        js      4f
        shl     $3, %ecx
        shl     %cl, %r11
3:      test    %r11, %r11
        jz      5f
        mov     %r11, %rax
        sar     $56, %rax
        shl     $8, %r11
        jnz     9f
        mov     %r10d, %ecx
        and     $7, %ecx
        cmp     %eax, %ecx
        jl      5f
        jmp     9f
4:      test    %r11, %r11                      /* nine: eight, and the last one */
        jnz     9f
        movzbl  %gs:(%rax), %r11d
        shl     $56, %r11
        jmp     3b
5:
        .endm

        .macro  RESTORE
        pop     %r11
        pop     %r10
        pop     %r9
        pop     %r8
        pop     %rcx
        pop     %rax
        add     $127, %al                       /* overflows as it did */
        sahf
        pop     %rax
        .endm

        .globl  stem_fast_string
        .hidden stem_fast_string
        .type   stem_fast_string, @function
stem_fast_string:
        push    %rax
        lahf
        seto    %al
        push    %rax
        push    %rcx
        push    %r8
        push    %r9
        push    %r10
        push    %r11
        pushfq
        testb   $4, 1(%rsp)                     /* direction */
        lea     8(%rsp), %rsp
        jnz     9f
        mov     56(%rsp), %r10                  /* behind the call lies a nop with the site's number */
        mov     3(%r10), %r10d
        shl     $SITE_SHIFT, %r10
        add     stem_sites(%rip), %r10
        movzbl  SITE_BYTES(%r10), %r8d
        cmpb    $0, SITE_REPEATED(%r10)
        je      1f
        mov     %rcx, %rax
        shr     $40, %rax
        jnz     9f
        imul    %rcx, %r8
1:      test    %r8, %r8
        jz      8f
        movzbl  SITE_OP(%r10), %eax
        and     $0xfe, %eax
        cmp     $0xaa, %eax                     /* stos */
        je      2f
        cmp     $0xa4, %eax                     /* movs */
        jne     9f
        CHECK_RANGE %rsi
2:      CHECK_RANGE %rdi
        mov     stem_thread@gottpoff(%rip), %rax
        cmpq    $0, %fs:THREAD_RING_BASE(%rax)
        je      8f
        push    %rdi
        push    %rsi
        push    %rdx
        mov     %r8, %rsi
        call    stem_undo_log
        pop     %rdx
        pop     %rsi
        pop     %rdi
8:      RESTORE
        ret
9:      RESTORE
        jmp     stem_stub_string
        .size   stem_fast_string, . - stem_fast_string

        .section .note.GNU-stack, "", @progbits
