/* Short cuts for the library functions that programs call by the million. When all that is touched is addressable, the real
   function runs at once, or the result stands already; anything else goes the long way of intrinsic_entry.S, from its
   beginning, with the arguments as they came. So nothing here decides that something is a fault.

   Strings are looked at first and asked of shadow memory afterwards, as far as they were read: vectors are loaded whole
   and aligned, so that none crosses into a page that the string does not reach. A touch that faults goes the long way too: the
   signal handler resumes at the address in r9.

   Arguments stay in their registers; rax, rcx, r8, r10, r11 and vectors are free, unless a line says that they are arguments. */
        .text
        .globl  stem_fast_begin, stem_fast_end
        .hidden stem_fast_begin, stem_fast_end
stem_fast_begin:

        .macro  FAST name
        .balign 16
        .globl  stem_fast_\name
        .hidden stem_fast_\name
        .type   stem_fast_\name, @function
stem_fast_\name:
        lea     9f(%rip), %r9
        .endm

        /* To the real function with all arguments. */
        .macro  RUN name
        jmp     *stem_fast_real_\name(%rip)
        .endm

        .macro  FAST_END name
9:      jmp     *stem_fast_long_\name(%rip)
        .size   stem_fast_\name, . - stem_fast_\name
        .endm

        /* [\pointer, r10] addressable? Else to the long way. Changes rax, rcx, r11. Up to eight granules are one word of shadow
           memory; what lies behind the range is shifted out, so that the last one's state is on top: it may be partial. */
        .macro  CHECK pointer
        mov     %r10, %rax
        shr     $3, %rax
        mov     \pointer, %rcx
        shr     $3, %rcx
        mov     %gs:(%rcx), %r11
        sub     %rax, %rcx                      /* 1 - granules */
        add     $7, %rcx
        cmp     $7, %rcx
        ja      3f
        shl     $3, %ecx
        shl     %cl, %r11
1:      test    %r11, %r11
        jz      2f
        mov     %r11, %rax
        sar     $56, %rax
        shl     $8, %r11
        jnz     9f
        mov     %r10d, %ecx
        and     $7, %ecx
        cmp     %eax, %ecx
        jl      2f
        jmp     9f
3:      mov     \pointer, %rcx                  /* more than eight granules */
        shr     $3, %rcx
        sub     $7, %rax
        jmp     5f
4:      cmpq    $0, %gs:(%rcx)
        jne     9f
        add     $8, %rcx
        cmp     %rax, %rcx
        jae     7f
5:      lea     64(%rcx), %r11
        cmp     %rax, %r11
        ja      4b
        movdqu  %gs:(%rcx), %xmm3               /* 64 granules at a time */
        movdqu  %gs:16(%rcx), %xmm4
        por     %xmm3, %xmm4
        movdqu  %gs:32(%rcx), %xmm3
        por     %xmm3, %xmm4
        movdqu  %gs:48(%rcx), %xmm3
        por     %xmm3, %xmm4
        pxor    %xmm3, %xmm3
        pcmpeqb %xmm3, %xmm4
        pmovmskb %xmm4, %ecx
        cmp     $0xffff, %ecx
        jne     9f
        mov     %r11, %rcx
        cmp     %rax, %rcx
        jb      5b
7:      mov     %gs:(%rax), %r11
        jmp     1b
2:
        .endm

        /* A touch of both ends: what is missing is the caller's fault. */
        .macro  TOUCH pointer
        movzbl  (\pointer), %eax
        movzbl  (%r10), %eax
        .endm

        /* [\pointer, \pointer + rdx), rdx > 0. */
        .macro  CHECK_BYTES pointer
        lea     -1(\pointer,%rdx), %r10
        cmp     \pointer, %r10
        jb      9f
        TOUCH   \pointer
        CHECK   \pointer
        .endm

        /* \to: ones where a byte at \from ends the search. xmm0 is zero, xmm2 the wanted byte throughout. */
        .macro  MATCH what, from, to
        movdqa  \from, \to
        .ifc    \what, NUL
        pcmpeqb %xmm0, \to
        .endif
        .ifc    \what, BYTE
        pcmpeqb %xmm2, \to
        .endif
        .ifc    \what, EITHER
        movdqa  \to, %xmm5
        pcmpeqb %xmm0, %xmm5
        pcmpeqb %xmm2, \to
        por     %xmm5, \to
        .endif
        .endm

        /* r10: the first byte from \pointer on that matches. \limit: BEFORE_R8 (then to \none when there is none before r8),
           SHORT (to the long way when it does not come soon: some functions seldom read on to the end), or empty.
           Changes rax, rcx, xmm1, xmm3 to xmm5. */
        .macro  SCAN pointer, pointer32, what, limit, none
        mov     \pointer, %rax
        and     $-16, %rax
        MATCH   \what, (%rax), %xmm1
        pmovmskb %xmm1, %r10d
        mov     \pointer32, %ecx
        and     $15, %ecx
        shr     %cl, %r10d
        shl     %cl, %r10d
        test    %r10d, %r10d
        jnz     4f
1:      add     $16, %rax
        .ifc    \limit, BEFORE_R8
        cmp     %r8, %rax
        jae     \none
        .endif
        .ifc    \limit, SHORT
        mov     %rax, %rcx
        sub     \pointer, %rcx
        cmp     $128, %rcx
        ja      9f
        .else
        test    $63, %al
        jz      3f
        .endif
2:      MATCH   \what, (%rax), %xmm1
        pmovmskb %xmm1, %r10d
        test    %r10d, %r10d
        jz      1b
        jmp     4f
        .ifnc   \limit, SHORT
3:
        .ifc    \limit, BEFORE_R8
        lea     64(%rax), %rcx
        cmp     %r8, %rcx
        ja      2b
        .endif
        MATCH   \what, (%rax), %xmm1
        MATCH   \what, 16(%rax), %xmm3
        por     %xmm3, %xmm1
        MATCH   \what, 32(%rax), %xmm3
        MATCH   \what, 48(%rax), %xmm4
        por     %xmm4, %xmm3
        por     %xmm3, %xmm1
        pmovmskb %xmm1, %ecx
        test    %ecx, %ecx
        jnz     2b
        add     $64, %rax
        .ifc    \limit, BEFORE_R8
        cmp     %r8, %rax
        jae     \none
        .endif
        jmp     3b
        .endif
4:      bsf     %r10d, %r10d
        add     %rax, %r10
        .ifc    \limit, BEFORE_R8
        cmp     %r8, %r10
        jae     \none
        .endif
        .endm

        /* The string at \pointer with its NUL, which r10 then points to. xmm0 is zero. */
        .macro  CHECK_TEXT pointer, pointer32, limit
        SCAN    \pointer, \pointer32, NUL, \limit
        CHECK   \pointer
        .endm

        /* r8 := \pointer + \bytes, or the end of the world. */
        .macro  LIMIT pointer, bytes
        mov     \pointer, %r8
        add     \bytes, %r8
        sbb     %rax, %rax
        or      %rax, %r8
        .endm

        /* xmm2 := sixteen times the byte in esi. */
        .macro  SPREAD
        movd    %esi, %xmm2
        punpcklbw %xmm2, %xmm2
        pshuflw $0, %xmm2, %xmm2
        punpcklqdq %xmm2, %xmm2
        .endm

        /* What [rcx, rcx + r8) holds goes to the undo log, where there is one. r8 > 0. */
        .macro  LOG
        cmpb    $0, stem_fast_logs(%rip)
        je      1f
        call    fast_log
1:
        .endm

/* ---- memory ---- */

        .macro  FAST_COPY name
        FAST    \name
        test    %rdx, %rdx
        jz      8f
        CHECK_BYTES %rsi
        CHECK_BYTES %rdi
        mov     %rdi, %rcx
        mov     %rdx, %r8
        LOG
8:      RUN     \name
        FAST_END \name
        .endm

        FAST_COPY memcpy
        FAST_COPY memmove
        FAST_COPY mempcpy
        FAST_COPY __mempcpy

        FAST    memset
        test    %rdx, %rdx
        jz      8f
        CHECK_BYTES %rdi
        mov     %rdi, %rcx
        mov     %rdx, %r8
        LOG
8:      RUN     memset
        FAST_END memset

        .macro  FAST_COMPARE name
        FAST    \name
        test    %rdx, %rdx
        jz      8f
        CHECK_BYTES %rdi
        CHECK_BYTES %rsi
8:      RUN     \name
        FAST_END \name
        .endm

        FAST_COMPARE memcmp
        FAST_COMPARE bcmp

        /* With the room that the destination is known to have in rcx. Once asked, it is no limit any more: rcx is wanted. */
        .macro  FAST_FORTIFIED name, reads
        FAST    \name
        cmp     %rcx, %rdx
        ja      6f
        test    %rdx, %rdx
        jz      8f
        .ifnb   \reads
        CHECK_BYTES \reads
        .endif
        CHECK_BYTES %rdi
        mov     %rdi, %rcx
        mov     %rdx, %r8
        LOG
8:      or      $-1, %rcx
        RUN     \name
9:      or      $-1, %rcx
6:      jmp     *stem_fast_long_\name(%rip)
        .size   stem_fast_\name, . - stem_fast_\name
        .endm

        FAST_FORTIFIED __memcpy_chk, %rsi
        FAST_FORTIFIED __memmove_chk, %rsi
        FAST_FORTIFIED __mempcpy_chk, %rsi
        FAST_FORTIFIED __memset_chk

        FAST    memchr
        test    %rdx, %rdx
        jz      8f
        SPREAD
        LIMIT   %rdi, %rdx
        SCAN    %rdi, %edi, BYTE, BEFORE_R8, 6f
        CHECK   %rdi
        mov     %r10, %rax
        ret
6:      lea     -1(%r8), %r10
        CHECK   %rdi
8:      xor     %eax, %eax
        ret
        FAST_END memchr

/* ---- strings ---- */

        FAST    strlen
        pxor    %xmm0, %xmm0
        CHECK_TEXT %rdi, %edi
        mov     %r10, %rax
        sub     %rdi, %rax
        ret
        FAST_END strlen

        FAST    strnlen
        test    %rsi, %rsi
        jz      8f
        pxor    %xmm0, %xmm0
        LIMIT   %rdi, %rsi
        SCAN    %rdi, %edi, NUL, BEFORE_R8, 6f
        CHECK   %rdi
        mov     %r10, %rax
        sub     %rdi, %rax
        ret
6:      lea     -1(%r8), %r10
        CHECK   %rdi
8:      mov     %rsi, %rax
        ret
        FAST_END strnlen

        .macro  FAST_FIND name
        FAST    \name
        pxor    %xmm0, %xmm0
        SPREAD
        SCAN    %rdi, %edi, EITHER
        CHECK   %rdi
        xor     %eax, %eax
        cmp     %sil, (%r10)
        cmove   %r10, %rax
        ret
        FAST_END \name
        .endm

        FAST_FIND strchr
        FAST_FIND index

        FAST    strchrnul
        pxor    %xmm0, %xmm0
        SPREAD
        SCAN    %rdi, %edi, EITHER
        CHECK   %rdi
        mov     %r10, %rax
        ret
        FAST_END strchrnul

        /* r8: where rdi's and rsi's strings differ or end. To \equal when nothing does before rdx, if that is given. Loads need not
           be aligned here, so that near the end of a page single bytes are compared. */
        .macro  SCAN_PAIR equal
        pxor    %xmm0, %xmm0
        xor     %r8d, %r8d
1:
        .ifnb   \equal
        cmp     %rdx, %r8
        jae     \equal
        .endif
        lea     (%rdi,%r8), %eax
        lea     (%rsi,%r8), %ecx
        or      %ecx, %eax
        and     $4095, %eax
        cmp     $4080, %eax
        ja      2f
        movdqu  (%rdi,%r8), %xmm1
        movdqu  (%rsi,%r8), %xmm2
        pcmpeqb %xmm1, %xmm2
        pminub  %xmm1, %xmm2                    /* zero: they differ, or end */
        pcmpeqb %xmm0, %xmm2
        pmovmskb %xmm2, %r10d
        test    %r10d, %r10d
        jnz     4f
        add     $16, %r8
        jmp     1b
2:      lea     16(%r8), %r10
3:      movzbl  (%rdi,%r8), %eax
        cmp     (%rsi,%r8), %al
        jne     5f
        test    %al, %al
        jz      5f
        inc     %r8
        .ifnb   \equal
        cmp     %rdx, %r8
        jae     \equal
        .endif
        cmp     %r10, %r8
        jne     3b
        jmp     1b
4:      bsf     %r10d, %r10d
        add     %r10, %r8
        .ifnb   \equal
        cmp     %rdx, %r8
        jae     \equal
        .endif
5:
        .endm

        .macro  DIFFERENCE
        lea     (%rdi,%r8), %r10
        CHECK   %rdi
        lea     (%rsi,%r8), %r10
        CHECK   %rsi
        movzbl  (%rdi,%r8), %eax
        movzbl  (%rsi,%r8), %ecx
        sub     %ecx, %eax
        ret
        .endm

        FAST    strcmp
        SCAN_PAIR
        DIFFERENCE
        FAST_END strcmp

        FAST    strncmp
        SCAN_PAIR 6f
        DIFFERENCE
6:      test    %rdx, %rdx
        jz      8f
        lea     -1(%rdi,%rdx), %r10
        CHECK   %rdi
        lea     -1(%rsi,%rdx), %r10
        CHECK   %rsi
8:      xor     %eax, %eax
        ret
        FAST_END strncmp

        /* Where both strings are good to their ends, it does not matter how much of them is read. */
        .macro  FAST_TEXTS name, limit
        FAST    \name
        pxor    %xmm0, %xmm0
        CHECK_TEXT %rdi, %edi, \limit
        CHECK_TEXT %rsi, %esi, \limit
        RUN     \name
        FAST_END \name
        .endm

        FAST_TEXTS strcoll
        FAST_TEXTS strcasecmp
        FAST_TEXTS strspn, SHORT
        FAST_TEXTS strcspn, SHORT
        FAST_TEXTS strpbrk, SHORT
        FAST_TEXTS strstr, SHORT

        .macro  FAST_TEXT name, limit
        FAST    \name
        pxor    %xmm0, %xmm0
        CHECK_TEXT %rdi, %edi, \limit
        RUN     \name
        FAST_END \name
        .endm

        FAST_TEXT strrchr
        FAST_TEXT rindex
        FAST_TEXT atoi, SHORT
        FAST_TEXT atol, SHORT
        FAST_TEXT atoll, SHORT

        /* Numbers, with a place for where they end. */
        .macro  FAST_NUMBER name
        FAST    \name
        pxor    %xmm0, %xmm0
        CHECK_TEXT %rdi, %edi, SHORT
        test    %rsi, %rsi
        jz      8f
        lea     7(%rsi), %r10
        TOUCH   %rsi
        CHECK   %rsi
        mov     %rsi, %rcx
        mov     $8, %r8d
        LOG
8:      RUN     \name
        FAST_END \name
        .endm

        FAST_NUMBER strtol
        FAST_NUMBER strtoll
        FAST_NUMBER strtoul
        FAST_NUMBER strtoull
        FAST_NUMBER strtod

        .macro  FAST_COPY_TEXT name, room
        FAST    \name
        pxor    %xmm0, %xmm0
        CHECK_TEXT %rsi, %esi
        sub     %rsi, %r10
        lea     1(%r10), %r8
        .ifnb   \room
        cmp     \room, %r8
        ja      9f
        .endif
        add     %rdi, %r10
        TOUCH   %rdi
        CHECK   %rdi
        mov     %rdi, %rcx
        LOG
        RUN     \name
        FAST_END \name
        .endm

        FAST_COPY_TEXT strcpy
        FAST_COPY_TEXT stpcpy
        FAST_COPY_TEXT __stpcpy
        FAST_COPY_TEXT __strcpy_chk, %rdx
        FAST_COPY_TEXT __stpcpy_chk, %rdx

        FAST    strncpy
        test    %rdx, %rdx
        jz      8f
        pxor    %xmm0, %xmm0
        LIMIT   %rsi, %rdx
        SCAN    %rsi, %esi, NUL, BEFORE_R8, 6f
        jmp     7f
6:      lea     -1(%r8), %r10
7:      CHECK   %rsi
        CHECK_BYTES %rdi
        mov     %rdi, %rcx
        mov     %rdx, %r8
        LOG
8:      RUN     strncpy
        FAST_END strncpy

        .macro  FAST_APPEND name, room
        FAST    \name
        pxor    %xmm0, %xmm0
        CHECK_TEXT %rdi, %edi
        mov     %r10, %r8
        CHECK_TEXT %rsi, %esi
        sub     %rsi, %r10
        add     %r8, %r10                       /* where the NUL will be */
        .ifnb   \room
        mov     %r10, %rax
        sub     %rdi, %rax
        cmp     \room, %rax
        jae     9f
        .endif
        TOUCH   %r8
        CHECK   %r8
        mov     %r8, %rcx
        sub     %rcx, %r10
        lea     1(%r10), %r8
        LOG
        RUN     \name
        FAST_END \name
        .endm

        FAST_APPEND strcat
        FAST_APPEND __strcat_chk, %rdx

/* ---- what cannot be undone, and locks ---- */

        .macro  EFFECT
        cmpb    $0, stem_fast_logs(%rip)
        je      1f
        mov     $(5 << 3 | 6), %r8d             /* STEM_COMPENSATE_EFFECT */
        call    fast_compensate
1:
        .endm

        .macro  FAST_EFFECT name
        FAST    \name
        EFFECT
        RUN     \name
        FAST_END \name
        .endm

        FAST_EFFECT pthread_mutex_unlock
        FAST_EFFECT putchar
        FAST_EFFECT fputc
        FAST_EFFECT putc
        FAST_EFFECT fgetc
        FAST_EFFECT getc
        FAST_EFFECT ungetc
        FAST_EFFECT fflush

        FAST    fputs
        pxor    %xmm0, %xmm0
        CHECK_TEXT %rdi, %edi
        EFFECT
        RUN     fputs
        FAST_END fputs

        .macro  FAST_LOCK name
        FAST    \name
        .cfi_startproc
        push    %rdi
        .cfi_adjust_cfa_offset 8
        call    *stem_fast_real_\name(%rip)
        pop     %rdi
        .cfi_adjust_cfa_offset -8
        test    %eax, %eax
        jnz     1f
        cmpb    $0, stem_fast_logs(%rip)
        je      1f
        mov     $(3 << 3 | 6), %r8d             /* STEM_COMPENSATE_LOCK */
        call    fast_compensate
        xor     %eax, %eax
1:      ret
        .cfi_endproc
        FAST_END \name
        .endm

        FAST_LOCK pthread_mutex_lock
        FAST_LOCK pthread_mutex_trylock

stem_fast_end:

/* ---- heap: C does the work, unless it is rare ---- */

        .macro  FAST_HEAP name, function
        .balign 16
        .globl  stem_fast_\name
        .hidden stem_fast_\name
        .type   stem_fast_\name, @function
stem_fast_\name:
        .cfi_startproc
        push    %rdi
        .cfi_adjust_cfa_offset 8
        push    %rsi
        .cfi_adjust_cfa_offset 8
        cld
        call    \function
        pop     %rsi
        .cfi_adjust_cfa_offset -8
        pop     %rdi
        .cfi_adjust_cfa_offset -8
        test    %rax, %rax
        jz      1f
        ret
1:      jmp     *stem_fast_long_\name(%rip)
        .cfi_endproc
        .size   stem_fast_\name, . - stem_fast_\name
        .endm

        FAST_HEAP malloc, stem_fast_take
        FAST_HEAP calloc, stem_fast_take_clear
        FAST_HEAP realloc, stem_fast_resize
        FAST_HEAP free, stem_fast_give

/* ---- the undo log ---- */

        .set    THREAD_RING, 64                 /* in struct stem_thread */
        .set    THREAD_RING_BASE, 72

        .macro  ENTRY code                      /* the old value is in r8, its address in rcx */
        mov     %r8, (%r10)
        lea     \code(,%rcx,8), %r8
        mov     %r8, 8(%r10)
        .endm

        /* Logs [rcx, rcx + r8), both ends of which were just touched. Up to 64 bytes are at most eight entries, the last of which
           may overlap the one before: undone in turn, both give back the same old bytes. As a group they may reach into the page
           behind the ring, and their position is published at the end. Keeps rdi, rsi, rdx. */
        .type   fast_log, @function
fast_log:
        .cfi_startproc
        mov     stem_thread@gottpoff(%rip), %rax
        cmpq    $0, %fs:THREAD_RING_BASE(%rax)
        je      7f
        cmp     $64, %r8
        ja      7f
        mov     %fs:THREAD_RING(%rax), %r10
        lea     (%rcx,%r8), %r11                /* end */
        cmp     $8, %r8
        jb      2f
        sub     $8, %r11
        jmp     1f
0:      mov     (%rcx), %r8
        ENTRY   4
        add     $16, %r10
        add     $8, %rcx
1:      cmp     %r11, %rcx
        jb      0b
        mov     %r11, %rcx
        mov     (%rcx), %r8
        ENTRY   4
        jmp     6f
2:      cmp     $4, %r8
        jb      3f
        mov     (%rcx), %r8d
        ENTRY   3
        lea     -4(%r11), %rcx
        mov     (%rcx), %r8d
        add     $16, %r10
        ENTRY   3
        jmp     6f
3:      cmp     $2, %r8
        jb      4f
        movzwl  (%rcx), %r8d
        ENTRY   2
        lea     -1(%r11), %rcx
        add     $16, %r10
4:      movzbl  (%rcx), %r8d
        ENTRY   1
6:      add     $16, %r10
        mov     %fs:THREAD_RING(%rax), %rcx
        mov     %r10w, %cx                      /* the ring is 64 KiB long, and aligned */
        mov     %rcx, %fs:THREAD_RING(%rax)
        ret
7:      push    %rdi
        .cfi_adjust_cfa_offset 8
        push    %rsi
        .cfi_adjust_cfa_offset 8
        push    %rdx
        .cfi_adjust_cfa_offset 8
        mov     %rcx, %rdi
        mov     %r8, %rsi
        call    stem_undo_log
        pop     %rdx
        .cfi_adjust_cfa_offset -8
        pop     %rsi
        .cfi_adjust_cfa_offset -8
        pop     %rdi
        .cfi_adjust_cfa_offset -8
        ret
        .cfi_endproc
        .size   fast_log, . - fast_log

        /* Appends the compensation whose second word is in r8, with rdi as its argument. Keeps the arguments of three. */
        .type   fast_compensate, @function
fast_compensate:
        .cfi_startproc
        mov     stem_thread@gottpoff(%rip), %rax
        cmpq    $0, %fs:THREAD_RING_BASE(%rax)
        je      1f
        mov     %fs:THREAD_RING(%rax), %r10
        mov     %rdi, (%r10)
        mov     %r8, 8(%r10)
        mov     %r10, %r11
        add     $16, %r11w
        mov     %r11, %fs:THREAD_RING(%rax)
        ret
1:      push    %rdi
        .cfi_adjust_cfa_offset 8
        push    %rsi
        .cfi_adjust_cfa_offset 8
        push    %rdx
        .cfi_adjust_cfa_offset 8
        mov     %rdi, %rsi
        mov     %r8d, %edi
        shr     $3, %edi
        call    stem_undo_compensate
        pop     %rdx
        .cfi_adjust_cfa_offset -8
        pop     %rsi
        .cfi_adjust_cfa_offset -8
        pop     %rdi
        .cfi_adjust_cfa_offset -8
        ret
        .cfi_endproc
        .size   fast_compensate, . - fast_compensate

        .section .note.GNU-stack, "", @progbits
