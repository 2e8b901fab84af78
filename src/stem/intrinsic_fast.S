/* Short cut for the library functions that programs call by the million: memcpy, memmove, memset and memcmp. When all that is
   touched is addressable, found with a few loads of shadow memory, the real function runs at once; anything else goes the
   long way of intrinsic_entry.S, from its beginning. Arguments stay in their registers throughout; rax, rcx, r8, r10 and r11
   are free, and r9 holds the long way's entry, where the signal handler resumes when a touch here faults. */
        .text
        .globl  stem_fast_begin, stem_fast_end
        .hidden stem_fast_begin, stem_fast_end
stem_fast_begin:

        /* [\pointer, \pointer + rdx) addressable? Else to the long way. rdx > 0. */
        .macro  CHECK_RANGE pointer
        lea     -1(\pointer,%rdx), %r10         /* last byte */
        mov     %r10, %rax
        or      \pointer, %rax
        or      %rdx, %rax
        shr     $47, %rax
        jnz     9f
        movzbl  (\pointer), %eax                /* a fault here is the caller's */
        movzbl  (%r10), %eax
        mov     \pointer, %r11
        shr     $3, %r11
        mov     %r10, %rcx
        shr     $3, %rcx
        movsbl  %gs:(%rcx), %eax                /* its granule may be partial */
        test    %eax, %eax
        jz      1f
        and     $7, %r10d
        cmp     %eax, %r10d
        jge     9f
1:      sub     %r11, %rcx                      /* whole granules before it */
        jz      3f
2:      mov     %gs:(%r11), %r8
        cmp     $8, %rcx
        jbe     4f
        test    %r8, %r8
        jnz     9f
        add     $8, %r11
        sub     $8, %rcx
        jmp     2b
4:      neg     %ecx                            /* shift out what lies beyond */
        lea     64(,%rcx,8), %ecx
        shl     %cl, %r8
        test    %r8, %r8
        jnz     9f
3:
        .endm

        /* What [rdi, rdi + rdx) held goes to the undo log, where there is one. */
        .macro  LOG_DESTINATION
        cmpb    $0, stem_fast_logs(%rip)
        je      5f
        push    %rdi
        push    %rsi
        push    %rdx
        mov     %rdx, %rsi
        call    stem_undo_log
        pop     %rdx
        pop     %rsi
        pop     %rdi
5:
        .endm

        .macro  FAST name
        .balign 16
        .globl  stem_fast_\name
        .hidden stem_fast_\name
        .type   stem_fast_\name, @function
stem_fast_\name:
        mov     stem_fast_long_\name(%rip), %r9
        .endm

        .macro  FAST_END name
        jmp     *stem_fast_real_\name(%rip)
9:      jmp     *%r9
        .size   stem_fast_\name, . - stem_fast_\name
        .endm

        .macro  FAST_COPY name
        FAST    \name
        test    %rdx, %rdx
        jz      8f
        CHECK_RANGE %rsi
        CHECK_RANGE %rdi
        LOG_DESTINATION
8:
        FAST_END \name
        .endm

        FAST_COPY memcpy
        FAST_COPY memmove

        FAST    memset
        test    %rdx, %rdx
        jz      8f
        CHECK_RANGE %rdi
        LOG_DESTINATION
8:
        FAST_END memset

        FAST    memcmp
        test    %rdx, %rdx
        jz      8f
        CHECK_RANGE %rdi
        CHECK_RANGE %rsi
8:
        FAST_END memcmp

stem_fast_end:
        .section .note.GNU-stack, "", @progbits
