/* Instruction cases: each a function of its own, called by the driver with random registers, flags, vectors and memory.

   On entry: rdi and rsi point into the middle of two pages of their own, with 2000 mapped bytes on either side; rdx is an
   index from 0 to 15, r9 one from -16 to -1; rcx a count from 0 to 31; r10 arithmetic flags; r12 the end of a mapped
   page with nothing behind it; r13 the end of a heap block of 61 bytes; r14 points to memory below 2 GiB; all other
   registers hold anything. A case keeps rsp and what a function must keep, for its call-frame information says so.

   Flags do not survive a function's entry or return, so each case loads and saves them itself: FLAGS_IN, FLAGS_OUT.
   Registers and vectors do survive, and the driver compares all of them. */

#define FLAGS_IN  pushq %r10; .cfi_adjust_cfa_offset 8; popfq; .cfi_adjust_cfa_offset -8;
#define FLAGS_OUT pushfq; .cfi_adjust_cfa_offset 8; popq %r11; .cfi_adjust_cfa_offset -8; andl $0x8d5, %r11d;
/* What makes the flags, or the flags and most registers, dead: a translator then has room, and takes another way. */
#define FLAGS_DEAD xorl %r11d, %r11d;
#define ALL_DEAD   xorl %r11d, %r11d; movl $1, %r8d; movl $2, %r10d; leaq 5(%rdx), %r9; movl $3, %ecx;

#define HEAD(name)                                                                                                     \
    .text; .p2align 4; .type insn_case_##name, @function; insn_case_##name: .cfi_startproc;
#define TAIL(name, needs)                                                                                              \
    .cfi_endproc; .size insn_case_##name, . - insn_case_##name;                                                        \
    .section .rodata; 77: .string #name; .section insn_cases, "aw"; .quad insn_case_##name, 77b, needs; .text;

#define NEEDS_NOTHING 0
#define NEEDS_AVX2    1
#define NEEDS_BMI     2
#define NEEDS_AVX512  4

#define CASE_IF(needs, name, ...) HEAD(name) __VA_ARGS__; ret; TAIL(name, needs)
#define CASE(name, ...)           CASE_IF(NEEDS_NOTHING, name, __VA_ARGS__)

/* ---- one memory operand, in every addressing form, with flags and registers alive or dead -------------------------- */

#define FORM(op, form, m, needs)                                                                                       \
    CASE_IF(needs, op##_##form, FLAGS_IN op(m) FLAGS_OUT)                                                              \
    CASE_IF(needs, op##_##form##_flags_dead, FLAGS_IN op(m) FLAGS_DEAD)                                                \
    CASE_IF(needs, op##_##form##_all_dead, FLAGS_IN op(m) ALL_DEAD)

#ifdef ABSOLUTE
#define ABSOLUTE_FORMS(op, needs)                                                                                      \
    FORM(op, absolute, insn_table + 64, needs) FORM(op, absolute_scaled, insn_table + 64(, %rdx, 8), needs)
#else
#define ABSOLUTE_FORMS(op, needs)
#endif

/* The red zone holds what earlier calls left: it is filled first, and read back into the last vector register. */
#define FILL  movups %xmm0, -72(%rsp); movups %xmm1, -56(%rsp); movups %xmm2, -40(%rsp); movups %xmm3, -24(%rsp);
#define DRAIN movups -72(%rsp), %xmm15;
#define RED_ZONE(op, needs)                                                                                            \
    CASE_IF(needs, op##_red_zone, FLAGS_IN FILL op(-72(%rsp)) DRAIN FLAGS_OUT)                                         \
    CASE_IF(needs, op##_red_zone_flags_dead, FLAGS_IN FILL op(-72(%rsp)) DRAIN FLAGS_DEAD)                             \
    CASE_IF(needs, op##_red_zone_all_dead, FLAGS_IN FILL op(-72(%rsp)) DRAIN ALL_DEAD)

/* Without r8 to r15: the only ones for an instruction that names ah, bh, ch or dh. */
#define LEGACY_FORMS(op, needs)                                                                                        \
    FORM(op, base, (%rdi), needs)                                                                                      \
    FORM(op, disp8, 17(%rsi), needs)                                                                                   \
    FORM(op, disp32, -500(%rdi), needs)                                                                                \
    FORM(op, index, (%rdi, %rdx), needs)                                                                               \
    FORM(op, index2, 3(%rsi, %rdx, 2), needs)                                                                          \
    FORM(op, index8, -256(%rdi, %rdx, 8), needs)                                                                       \
    FORM(op, rip, insn_table + 40(%rip), needs)                                                                        \
    RED_ZONE(op, needs)                                                                                                \
    ABSOLUTE_FORMS(op, needs)

#define MOST_FORMS(op, needs)                                                                                          \
    LEGACY_FORMS(op, needs)                                                                                            \
    FORM(op, negative, (%rdi, %r9, 4), needs)                                                                          \
    FORM(op, page_end, -64(%r12), needs)                                                                               \
    FORM(op, low, 8(%r14d), needs)

#define FORMS_IF(needs, op) MOST_FORMS(op, needs) FORM(op, heap_end, -32(%r13), needs)
#define FORMS(op)           FORMS_IF(NEEDS_NOTHING, op)

/* moves */
#define load8(m)        movb m, %al;
#define load8_high(m)   movb m, %ah;
#define load16(m)       movw m, %ax;
#define load32(m)       movl m, %eax;
#define load64(m)       movq m, %rax;
#define store8(m)       movb %al, m;
#define store8_high(m)  movb %bh, m;
#define store16(m)      movw %ax, m;
#define store32(m)      movl %r8d, m;
#define store64(m)      movq %r15, m;
#define store_imm8(m)   movb $0x5a, m;
#define store_imm16(m)  movw $0x1234, m;
#define store_imm32(m)  movl $0x12345678, m;
#define store_imm64(m)  movq $-2, m;
#define exchange(m)     xchgq %rax, m; xchgb %r8b, m;
#define exchange_add(m) xaddl %eax, m;
#define byte_swap(m)    movbel m, %eax; movbeq %rax, m;
#define non_temporal(m) movntiq %r15, m; sfence;
#define zero_extend(m) movzbl m, %eax; movzwl m, %r8d; movzbw m, %cx; xorq %r8, %rax;
#define sign_extend(m) movsbq m, %rax; movswl m, %r8d; movslq m, %rcx;

/* The flags that a move leaves alone are alive across it. */
LEGACY_FORMS(load8_high, NEEDS_NOTHING) LEGACY_FORMS(store8_high, NEEDS_NOTHING)
FORMS(load8) FORMS(load16) FORMS(load32) FORMS(load64)
FORMS(store8) FORMS(store16) FORMS(store32) FORMS(store64)
FORMS(store_imm8) FORMS(store_imm16) FORMS(store_imm32) FORMS(store_imm64)
FORMS(zero_extend) FORMS(sign_extend) FORMS(exchange) FORMS(exchange_add) FORMS_IF(NEEDS_BMI, byte_swap) FORMS(non_temporal)

/* arithmetic */
#define add_load(m)      addq m, %rax;
#define add_store(m)     addl %eax, m;
#define add_imm(m)       addw $-3, m;
#define adc_both(m)      adcq m, %rax; adcb %al, m;
#define sbb_both(m)      sbbl m, %eax; sbbq $7, m;
#define logic(m)         andq m, %rax; orl %r8d, m; xorw $0x55, m;
#define compare(m)       cmpq m, %rax; setl %al; cmpb $7, m;
#define test_mem(m)      testl %eax, m; setp %al; testb $0x81, m;
#define inc_dec(m)       incl m; decb m; incq m;
#define neg_not(m)       negw m; notq m;
#define shift_imm(m)     shlq $3, m; sarb $1, m; rorl $9, m;
#define shift_count(m)   shrq %cl, m; roll %cl, m;
#define rotate_carry(m)  rclq $2, m; rcrb %cl, m;
#define double_shift(m)  shldq $11, %rax, m; shrdl %cl, %r8d, m;
#define mul_load(m)      imulq m, %rax; imull $100, m, %r8d;
#define mul_wide(m)      mulq m;
#define imul_byte(m)     imulb m;
/* A division leaves all flags undefined; what comes behind it defines them. */
#define div_wide(m)      movl m, %r8d; orl $1, m; xorl %edx, %edx; movl %eax, %eax; divl m; movl %r8d, %r8d; cmpl $3, %eax;
#define idiv_word(m)     orw $1, m; movsbw %al, %ax; cwtd; idivw m; cmpl $3, %eax;
#define bit_imm(m)       btq $37, m; btsl $5, m; setc %al; btcq $63, m;
#define bit_near(m)      btsl %edx, m; setc %al; btrq %rdx, m;
#define bit_far(m)       leaq (, %r9, 4), %r8; btcq %r8, m; setc %al; shlq $3, %r8; btq %r8, m;
#define bit_scan(m)      bsfq m, %rax; bsrl m, %r8d;
#define compare_swap(m)  cmpxchgq %r8, m; lock cmpxchgl %ecx, m;
#define swap_equal(m)    movq m, %rax; lock cmpxchgq %r8, m;
#define locked(m)        lock addq %rax, m; lock xaddb %al, m; lock orl $8, m; lock decw m; lock btsl $3, m;
#define move_if(m)       cmovzq m, %rax; cmovgl m, %r8d; cmovbw m, %cx;
#define set_if(m)        setc m; setns m; setle m;
#define carry_chain(m)   addq %rax, m; adcq %r8, m; movq m, %rax; adcq $0, m; sbbq %rax, %rax;
#define call_nothing(m)  cmpq $0, m; je 1f; notq m; 1: negq m; jns 2f; decq m; 2: incq m;
FORMS(add_load) FORMS(add_store) FORMS(add_imm) FORMS(adc_both) FORMS(sbb_both) FORMS(logic) FORMS(compare)
FORMS(test_mem) FORMS(inc_dec) FORMS(neg_not) FORMS(shift_imm) FORMS(shift_count) FORMS(rotate_carry)
FORMS(double_shift) FORMS(mul_load) FORMS(mul_wide) FORMS(imul_byte) FORMS(bit_imm)
FORMS(bit_scan) FORMS(compare_swap) FORMS(swap_equal) FORMS(locked) FORMS(move_if) FORMS(set_if)
FORMS(carry_chain) FORMS(call_nothing)
#define BIT_FORMS(op)                                                                                                  \
    FORM(op, base, (%rdi), NEEDS_NOTHING) FORM(op, disp8, 17(%rsi), NEEDS_NOTHING)                                     \
    FORM(op, index8, -256(%rdi, %rdx, 8), NEEDS_NOTHING) FORM(op, rip, insn_table + 128(%rip), NEEDS_NOTHING)
BIT_FORMS(bit_near) BIT_FORMS(bit_far)
#define DIV_FORMS(op)                                                                                                  \
    FORM(op, base, (%rdi), NEEDS_NOTHING) FORM(op, disp32, 500(%rsi), NEEDS_NOTHING)                                   \
    FORM(op, negative, (%rdi, %r9, 4), NEEDS_NOTHING) FORM(op, rip, insn_table + 40(%rip), NEEDS_NOTHING)
DIV_FORMS(div_wide) DIV_FORMS(idiv_word)

/* vectors */
#define sse_unaligned(m)   movups m, %xmm0; movdqu m, %xmm9; movupd %xmm1, m;
#define sse_scalar(m)      movss m, %xmm0; movsd %xmm2, m; movd m, %xmm3; movq %xmm4, m;
#define sse_half(m)        movlps m, %xmm0; movhpd m, %xmm1; movhps %xmm2, m; movlpd %xmm3, m;
#define sse_convert(m)     cvtsi2sdq m, %xmm0; cvtsi2ssl m, %xmm1; cvtss2sd m, %xmm2; cvtdq2pd m, %xmm3;
#define sse_insert(m)      pinsrw $2, m, %xmm0; pinsrq $1, m, %xmm1; pextrb $3, %xmm2, m; pextrd $2, %xmm3, m;
#define sse_widen(m)       pmovzxbw m, %xmm0; pmovsxdq m, %xmm1; pmovzxbq m, %xmm5;
#define sse_stream(m)      lddqu m, %xmm7; prefetcht0 m;
#define sse_control(m)     stmxcsr m; andl $0xffbf, m; ldmxcsr m;
#define sse_compare(m)     movdqu m, %xmm0; pcmpistri $0x18, %xmm1, %xmm0; ucomisd m, %xmm2;
#define x87_both(m)        fildq m; fld1; faddp; fstpl m; fldl m; fistpl m; fnstcw m; fldcw m;
#define x87_wide(m)        fildl m; fstpt m; fldt m; fstps m; fnstsw m;
FORMS(sse_unaligned) FORMS(sse_scalar) FORMS(sse_half) FORMS(sse_convert) FORMS(sse_insert) FORMS(sse_widen)
FORMS(sse_stream) FORMS(sse_compare) FORMS(x87_wide)
#define CONTROL_FORMS(op)                                                                                              \
    FORM(op, base, (%rdi), NEEDS_NOTHING) FORM(op, index8, -256(%rdi, %rdx, 8), NEEDS_NOTHING)                         \
    FORM(op, rip, insn_table + 40(%rip), NEEDS_NOTHING)
CONTROL_FORMS(sse_control) CONTROL_FORMS(x87_both)
#define avx_unaligned(m)   vmovups m, %ymm0; vmovdqu %ymm1, m; vmovdqu m, %xmm2;
#define avx_arithmetic(m)  vpaddd m, %ymm1, %ymm0; vpxor m, %ymm3, %ymm4; vpshufb m, %xmm5, %xmm6; vpalignr $5, m, %ymm1, %ymm7;
#define avx_broadcast(m)   vbroadcastss m, %ymm0; vpbroadcastb m, %ymm1; vbroadcasti128 m, %ymm2; vpinsrd $1, m, %xmm3, %xmm4;
#define avx_extract(m)     vextracti128 $1, %ymm3, m; vmovq %xmm1, m; vmovntdq %xmm2, insn_table + 256(%rip); vpextrw $5, %xmm1, m;
#define avx_masked(m)      vpmaskmovd m, %ymm1, %ymm0; vpmaskmovq %xmm2, %xmm3, m; vmaskmovps %ymm4, %ymm5, m;
FORMS_IF(NEEDS_AVX2, avx_unaligned) FORMS_IF(NEEDS_AVX2, avx_arithmetic) FORMS_IF(NEEDS_AVX2, avx_broadcast)
FORMS_IF(NEEDS_AVX2, avx_extract) FORMS_IF(NEEDS_AVX2, avx_masked)
#define bmi_loads(m)       andnq m, %rax, %rax; bextrq %rcx, m, %r8; blsrq m, %rcx;
#define bmi_more(m)        popcntq m, %rax; tzcntl m, %r8d; lzcntw m, %cx; crc32q m, %rax;
#define bmi_flagless(m)    mulxq m, %rax, %r8; rorxq $13, m, %rcx; shlxq %rdx, m, %rcx; pdepq m, %rax, %rax; pextq m, %r8, %r8; sarxl %ecx, m, %ecx;
FORMS_IF(NEEDS_BMI, bmi_loads) FORMS_IF(NEEDS_BMI, bmi_more) FORMS_IF(NEEDS_BMI, bmi_flagless)
#define avx512_plain(m)    vmovdqu32 m, %zmm16; vpaddq m, %zmm16, %zmm17; vextracti64x2 $3, %zmm17, %xmm0; vmovdqu64 %ymm17, m;
MOST_FORMS(avx512_plain, NEEDS_AVX512)

/* 16 bytes at once need alignment: rdi is aligned */
CASE(aligned_vectors, FLAGS_IN movaps (%rdi), %xmm0; paddq 16(%rdi), %xmm0; movdqa %xmm0, -32(%rdi); movntps %xmm1, 48(%rdi);
     movntdqa 64(%rdi), %xmm5; pshufb -16(%rdi), %xmm0; FLAGS_OUT)
CASE(compare_swap_16, FLAGS_IN movq (%rdi), %rax; pushq %rbx; .cfi_adjust_cfa_offset 8; movq 8(%rdi), %rdx; movq %r8, %rbx; movq %r15, %rcx;
     cmpxchg16b (%rdi); lock cmpxchg16b 32(%rdi); popq %rbx; .cfi_adjust_cfa_offset -8; FLAGS_OUT)
CASE(compare_swap_8, pushq %rbx; .cfi_adjust_cfa_offset 8; FLAGS_IN cmpxchg8b (%rdi); FLAGS_OUT popq %rbx; .cfi_adjust_cfa_offset -8)
CASE(masked_bytes, pushq %rdi; .cfi_adjust_cfa_offset 8; maskmovdqu %xmm1, %xmm2; popq %rdi; .cfi_adjust_cfa_offset -8)
CASE_IF(NEEDS_AVX2, gather, vpcmpeqd %ymm1, %ymm1, %ymm1; vpsrld $24, %ymm2, %ymm2; vpgatherdd %ymm1, (%rdi, %ymm2, 4), %ymm0)
CASE_IF(NEEDS_AVX2, gather_partly, vmovaps %ymm4, %ymm1; vpsrld $24, %ymm2, %ymm2; vgatherdps %ymm1, (%rsi, %ymm2, 1), %ymm0)
CASE_IF(NEEDS_AVX2, masked_past_page, vpxor %xmm0, %xmm0, %xmm0; vpcmpeqd %xmm1, %xmm1, %xmm1; vpblendd $1, %xmm1, %xmm0, %xmm2;
        vpmaskmovd -4(%r12), %xmm2, %xmm3; vpmaskmovd %xmm1, %xmm2, -4(%r12))
CASE_IF(NEEDS_AVX2, upper_cleared, vaddps (%rdi), %ymm1, %ymm1; vzeroupper; movups (%rdi), %xmm9; vmovd 4(%rdi), %xmm3)
CASE_IF(NEEDS_AVX512, masked_512, kmovw %eax, %k1; vmovdqu32 (%rdi), %zmm16{%k1}{z}; vpaddd (%rsi){1to16}, %zmm16, %zmm17;
        vmovdqu32 %zmm17, 64(%rdi){%k1}; vpcmpud $1, %zmm16, %zmm17, %k2; kmovw %k2, %eax)

/* ---- exact ends: the last bytes of a page and of a heap block, reads that straddle granules ------------------------- */

CASE(page_last_1, FLAGS_IN movb -1(%r12), %al; movb %r8b, -1(%r12); FLAGS_OUT)
CASE(page_last_2, FLAGS_IN movw -2(%r12), %ax; movw %r8w, -2(%r12); FLAGS_OUT)
CASE(page_last_4, FLAGS_IN movl -4(%r12), %eax; addl %r8d, -4(%r12); FLAGS_OUT)
CASE(page_last_8, FLAGS_IN movq -8(%r12), %rax; xorq %r8, -8(%r12); FLAGS_OUT)
CASE(page_last_16, FLAGS_IN movups -16(%r12), %xmm0; movaps %xmm1, -16(%r12); FLAGS_OUT)
CASE_IF(NEEDS_AVX2, page_last_32, FLAGS_IN vmovups -32(%r12), %ymm0; vmovups %ymm1, -32(%r12); FLAGS_OUT)
CASE(heap_last_1, FLAGS_IN movb -1(%r13), %al; movb %r8b, -1(%r13); FLAGS_OUT)
CASE(heap_last_2, FLAGS_IN movw -2(%r13), %ax; movw %r8w, -2(%r13); FLAGS_OUT)
CASE(heap_last_4, FLAGS_IN movl -4(%r13), %eax; movl %r8d, -4(%r13); FLAGS_OUT)
CASE(heap_last_8, FLAGS_IN movq -8(%r13), %rax; movq %r8, -8(%r13); FLAGS_OUT)
CASE(heap_last_16, FLAGS_IN movups -16(%r13), %xmm0; movups %xmm1, -16(%r13); FLAGS_OUT)
CASE_IF(NEEDS_AVX2, heap_last_32, FLAGS_IN vmovups -32(%r13), %ymm0; vmovups %ymm1, -32(%r13); FLAGS_OUT)
CASE(heap_last_loop, leaq -61(%r13), %r8; xorl %eax, %eax; 1: addb (%r8), %al; movb %al, (%r8); incq %r8; cmpq %r13, %r8; jne 1b;
     xorl %r8d, %r8d)
#define EACH_OFFSET(n) movq n(%rdi), %rax; xorq %rax, %r8; movl %r8d, n+3(%rsi); addw n+1(%rdi), %r8w; movups n(%rsi), %xmm0;
CASE(straddle, FLAGS_IN EACH_OFFSET(0) EACH_OFFSET(1) EACH_OFFSET(2) EACH_OFFSET(3) EACH_OFFSET(4) EACH_OFFSET(5) EACH_OFFSET(6)
     EACH_OFFSET(7) FLAGS_OUT)

/* ---- registers: partial writes, all of them alive, all of them as base and index -------------------------------------- */

CASE(partial_bytes, FLAGS_IN movb (%rdi), %al; movb 1(%rdi), %ah; movb %ah, %cl; addb %ch, %dl; movb %dl, 2(%rdi); movb %ch, 3(%rdi); FLAGS_OUT)
CASE(partial_words, FLAGS_IN movw (%rdi), %r8w; movzbl %r8b, %eax; movw %ax, %cx; movl (%rsi), %r8d; movq %r8, 8(%rdi); FLAGS_OUT
     movq 16(%rdi), %rcx)
CASE(all_bases, pushq %rbx; pushq %rbp; .cfi_adjust_cfa_offset 16; movq %rdi, %rbx; movq %rsi, %rbp; movq (%rbx), %rax; movq (%rbp), %r8;
     movq (%rbp, %rdx, 1), %r11; addq %r11, 8(%rbx, %rdx, 2); addl 4(%rbp), %eax; popq %rbp; popq %rbx; .cfi_adjust_cfa_offset -16)
#define EACH_BASE(r) pushq r; .cfi_adjust_cfa_offset 8; movq %rdi, r; addq (r), %rsi; movq %rsi, 8(r); xorl %esi, 64(r); movb 3(r), %sil;              \
    popq r; .cfi_adjust_cfa_offset -8;
CASE(every_base, FLAGS_IN pushq %rsi; .cfi_adjust_cfa_offset 8; EACH_BASE(%rax) EACH_BASE(%rcx) EACH_BASE(%rdx) EACH_BASE(%rbx) EACH_BASE(%rbp)
     EACH_BASE(%r8) EACH_BASE(%r9) EACH_BASE(%r10) EACH_BASE(%r11) EACH_BASE(%r12) EACH_BASE(%r13) EACH_BASE(%r14) EACH_BASE(%r15)
     popq %rsi; .cfi_adjust_cfa_offset -8; FLAGS_OUT)
#define EACH_INDEX(r) pushq r; .cfi_adjust_cfa_offset 8; movq $5, r; addq (%rdi, r, 4), %rsi; movl %esi, -8(%rdi, r, 8); popq r;                        \
    .cfi_adjust_cfa_offset -8;
CASE(every_index, FLAGS_IN pushq %rsi; .cfi_adjust_cfa_offset 8; EACH_INDEX(%rax) EACH_INDEX(%rcx) EACH_INDEX(%rdx) EACH_INDEX(%rbx)
     EACH_INDEX(%rbp) EACH_INDEX(%r8) EACH_INDEX(%r9) EACH_INDEX(%r10) EACH_INDEX(%r11) EACH_INDEX(%r12) EACH_INDEX(%r13) EACH_INDEX(%r14)
     EACH_INDEX(%r15) popq %rsi; .cfi_adjust_cfa_offset -8; FLAGS_OUT)
CASE(base_overwritten, FLAGS_IN movq %rdi, %rax; movq (%rax), %rax; movq %rdi, %r8; addq 8(%r8), %r8; subq %rdi, %r8; movslq 4(%rdi, %rdx, 4), %rdx; FLAGS_OUT)
CASE(stack_pointer_base, subq $64, %rsp; .cfi_adjust_cfa_offset 64; FLAGS_IN movq %rax, 8(%rsp); movl %ecx, 16(%rsp, %rdx, 2); movups %xmm3, 32(%rsp);
     movq 16(%rsp), %r8; movzwl 16(%rsp, %rdx, 2), %r8d; movq 8(%rsp), %rcx; movups 32(%rsp), %xmm4; FLAGS_OUT addq $64, %rsp;
     .cfi_adjust_cfa_offset -64)
CASE(red_zone, movq %rax, -8(%rsp); movl %ecx, -24(%rsp); movups %xmm1, -64(%rsp); movb %r8b, -128(%rsp, %rdx); movq -8(%rsp), %r8;
     movq (%rdi), %rax; addq %rax, -8(%rsp); movq %rax, 8(%rdi); movq -8(%rsp), %r11; movups -64(%rsp), %xmm2; movl -24(%rsp), %ecx;
     movzbl -128(%rsp, %rdx), %edx)
CASE(red_zone_flags_live, movq %rax, -8(%rsp); movq %rcx, -16(%rsp); cmpq %rax, %rcx; movq (%rdi), %rax; movq %rax, (%rsi); movq -8(%rsp), %r8;
     adcq -16(%rsp), %r8; setl %al; sets (%rdi))
CASE(frame_pointer, pushq %rbp; .cfi_adjust_cfa_offset 8; .cfi_offset %rbp, -16; movq %rsp, %rbp; .cfi_def_cfa_register %rbp; subq $48, %rsp;
     movq %rax, -8(%rbp); movl %ecx, -40(%rbp, %rdx, 2); movq -8(%rbp), %r8; addq %r8, -16(%rbp); movq %r8, (%rdi); leave; .cfi_def_cfa %rsp, 8)
CASE(enter_leave, enter $32, $0; .cfi_def_cfa %rbp, 16; .cfi_offset %rbp, -16; movq %rax, -8(%rbp); movq -8(%rbp), %r8; leave; .cfi_def_cfa %rsp, 8)
CASE(stack_aligned, pushq %rbp; .cfi_adjust_cfa_offset 8; .cfi_offset %rbp, -16; movq %rsp, %rbp; .cfi_def_cfa_register %rbp; andq $-64, %rsp;
     subq $128, %rsp; movaps %xmm0, (%rsp); movaps %xmm1, 64(%rsp); movq %rax, 16(%rsp); movq 16(%rsp), %r8; leave; .cfi_def_cfa %rsp, 8)
CASE(push_pop_all, pushq %rbx; pushq $-7; pushq (%rdi); pushq %rsp; pushw %ax; popw %r8w; popq %r11; popq 8(%rdi); popq %rcx; popq %rbx; xorl %r11d, %r11d)
CASE(stack_swap, movq %r8, -16(%rsp); xchgq %rax, -16(%rsp); movq -16(%rsp), %r8; pushq %rax; xchgq (%rsp), %rcx; popq %rax)

/* ---- flags: every condition, kept over loads and stores, partly written -------------------------------------------------- */

#define CONDITION(cc)                                                                                                  \
    CASE(set_##cc, FLAGS_IN movq (%rdi), %r8; set##cc %al; movq %r8, 8(%rdi); set##cc (%rsi); FLAGS_OUT)               \
    CASE(jump_##cc, FLAGS_IN movl $1, %eax; movl (%rdi, %rdx, 4), %r8d; j##cc 1f; movl $2, %eax; movl %r8d, (%rsi);    \
         1: movb %al, (%rdi); set##cc %cl; FLAGS_OUT)                                                                  \
    CASE(move_##cc, FLAGS_IN movl %ecx, (%rdi); cmov##cc (%rdi), %rax; cmov##cc %r8d, %ecx; FLAGS_OUT)                 \
    CASE(loop_##cc, movl $9, %ecx; 1: addb (%rdi, %rcx), %al; movb %al, (%rsi, %rcx); decl %ecx; jz 2f; subb $40, %al; j##cc 1b; 2: FLAGS_OUT)
CONDITION(o) CONDITION(no) CONDITION(b) CONDITION(ae) CONDITION(e) CONDITION(ne) CONDITION(be) CONDITION(a)
CONDITION(s) CONDITION(ns) CONDITION(p) CONDITION(np) CONDITION(l) CONDITION(ge) CONDITION(le) CONDITION(g)
CASE(carry_kept, FLAGS_IN incl (%rdi); adcl $0, %eax; decq %r8; rclq $1, %rcx; movb (%rsi), %al; cmc; sbbb %al, (%rsi); stc; adcq %r8, %r8; FLAGS_OUT)
CASE(shift_by_zero, FLAGS_IN movl $0, %ecx; shll %cl, (%rdi); rorq %cl, %rax; movq (%rsi), %r8; setc %al; sets 1(%rdi); shrq $0, %r8; FLAGS_OUT)
CASE(shift_by_count, FLAGS_IN shll %cl, %eax; setc %r8b; movl %eax, (%rdi); sarq %cl, (%rsi); FLAGS_OUT)
CASE(flags_in_ah, FLAGS_IN movq (%rdi), %r8; lahf; movb %ah, 1(%rdi); addb $1, %al; movb 3(%rdi), %ah; sahf; FLAGS_OUT)
CASE(flags_on_stack, FLAGS_IN movq (%rdi), %r8; pushfq; .cfi_adjust_cfa_offset 8; addq $5, %r8; movq %r8, (%rdi); andq $0x8d5, (%rsp); movq (%rsp), %rax;
     popfq; .cfi_adjust_cfa_offset -8; FLAGS_OUT)
CASE(flags_all_live, FLAGS_IN movq (%rdi), %rax; movq %rax, (%rsi, %rdx, 8); movq 8(%rdi, %rdx, 8), %rcx; movw %cx, (%rdi); movups (%rsi), %xmm5;
     movq %rcx, %r8; FLAGS_OUT)
CASE(direction, std; movb (%rdi), %al; cld; movb %al, (%rsi))
CASE(compare_chain, cmpl $100, (%rdi); jb 1f; cmpl $1000, 4(%rdi); ja 2f; movl $1, %eax; jmp 3f; 1: movl $2, %eax; cmpb $0, (%rsi); js 3f;
     2: addl 8(%rdi), %eax; 3: movl %eax, (%rsi))

/* ---- string instructions ------------------------------------------------------------------------------------------------------ */

#define STRING(name, ...) CASE(name, FLAGS_IN pushq %rdi; pushq %rsi; .cfi_adjust_cfa_offset 16; __VA_ARGS__; movq %rdi, %r8; movq %rsi, %r11; popq %rsi;                \
    popq %rdi; .cfi_adjust_cfa_offset -16)
STRING(string_movsb, rep movsb)
STRING(string_movsw, rep movsw)
STRING(string_movsl, rep movsl)
STRING(string_movsq, rep movsq)
STRING(string_movs_none, xorl %ecx, %ecx; rep movsq)
STRING(string_movs_down, std; rep movsl; cld)
STRING(string_movs_one, movsb; movsw; movsl; movsq)
STRING(string_movs_overlap, leaq 3(%rdi), %rsi; rep movsb)
STRING(string_stosb, rep stosb)
STRING(string_stosq, rep stosq)
STRING(string_stos_down, std; rep stosw; cld)
STRING(string_stos_flags, movl $4, %ecx; cmpq %rax, %rdx; rep stosl; setl %al; setp %cl)
STRING(string_stos_one, stosb; stosw; stosl; stosq)
STRING(string_lods, lodsb; addb %al, %cl; lodsw; addw %ax, %cx; lodsl; addl %eax, %ecx; lodsq)
STRING(string_lods_rep, rep lodsq)
STRING(string_scasb, repne scasb; setz %al; setc %cl)
STRING(string_scasb_found, movb 9(%rdi), %al; movl $60, %ecx; repne scasb; setz %al)
STRING(string_scas_while, repe scasw; setz %al)
STRING(string_cmpsb, repe cmpsb; setz %al; setb %cl)
STRING(string_cmps_same, movq %rdi, %rsi; repe cmpsl; setz %al)
STRING(string_cmps_one, cmpsb; setb %al; cmpsq; setg %cl)
STRING(string_page_end, leaq -31(%r12), %rsi; rep movsb)
STRING(string_heap_end, leaq -31(%r13), %rsi; rep movsb)
CASE(table_lookup, pushq %rbx; .cfi_adjust_cfa_offset 8; movq %rdi, %rbx; FLAGS_IN xlatb; FLAGS_OUT popq %rbx; .cfi_adjust_cfa_offset -8)

/* ---- control: loops, tables, calls, tails, cold parts ------------------------------------------------------------------------------ */

CASE(count_loop, xorl %eax, %eax; movl $12, %ecx; 1: addl (%rdi, %rcx, 4), %eax; movl %eax, (%rsi, %rcx, 4); loop 1b)
CASE(count_loop_equal, movl $12, %ecx; 1: movb (%rdi, %rcx), %al; cmpb %al, %al; loope 1b; 2: cmpb (%rsi, %rcx), %r8b; loopne 2b; nop)
CASE(count_loop_flags, FLAGS_IN movl $5, %ecx; 1: movl (%rdi), %eax; loop 1b; FLAGS_OUT)
CASE(count_zero, movl $1, %eax; jrcxz 1f; movl (%rdi), %eax; 1: movl %eax, (%rsi); movl %edx, %ecx; jecxz 2f; incl %eax; 2: nop)
CASE(nested_loops, movl $6, %r8d; 1: movl $5, %r9d; 2: movq (%rdi, %r9, 8), %rax; addq %rax, (%rsi, %r8, 8); decl %r9d; jnz 2b; decl %r8d; jnz 1b)
CASE(switch_relative, leaq 70f(%rip), %r8; andl $3, %edx; movslq (%r8, %rdx, 4), %rax; addq %r8, %rax; jmp *%rax;
     1: movl $11, %eax; movl %eax, (%rdi); jmp 9f; 2: movl $22, %eax; addl (%rdi), %eax; jmp 9f; 3: movl $33, %eax; jmp 9f; 4: movl $44, %eax; 9: xorl %r8d, %r8d;
     .section .rodata; .p2align 2; 70: .long 1b - 70b, 2b - 70b, 3b - 70b, 4b - 70b; .text)
CASE(switch_absolute, leaq 70f(%rip), %r8; andl $3, %edx; jmp *(%r8, %rdx, 8);
     1: movl $11, %eax; movl %eax, (%rdi); jmp 9f; 2: movl $22, %eax; addl (%rdi), %eax; jmp 9f; 3: movl $33, %eax; 4: incl %eax; 9: xorl %r8d, %r8d;
     .section .data.rel.ro, "aw"; .p2align 3; 70: .quad 1b, 2b, 3b, 4b; .text)
CASE(switch_in_text, leaq 70f(%rip), %r8; andl $1, %edx; movslq (%r8, %rdx, 4), %rax; addq %r8, %rax; jmp *%rax; 70: .long 1f - 70b, 2f - 70b;
     1: movl $11, %eax; jmp 9f; 2: movl $22, %eax; 9: xorl %r8d, %r8d)
CASE(call_direct, subq $8, %rsp; .cfi_adjust_cfa_offset 8; call insn_helper; movq %rax, (%rdi); call insn_helper; addq $8, %rsp; .cfi_adjust_cfa_offset -8)
CASE(call_register, subq $8, %rsp; .cfi_adjust_cfa_offset 8; leaq insn_helper(%rip), %rax; call *%rax; addq $8, %rsp; .cfi_adjust_cfa_offset -8)
CASE(call_memory, subq $8, %rsp; .cfi_adjust_cfa_offset 8; call *insn_pointers(%rip); leaq insn_pointers(%rip), %r11; andl $1, %edx; call *(%r11, %rdx, 8);
     xorl %r11d, %r11d; addq $8, %rsp; .cfi_adjust_cfa_offset -8)
CASE(call_on_stack, subq $24, %rsp; .cfi_adjust_cfa_offset 24; leaq insn_helper(%rip), %rax; movq %rax, 8(%rsp); call *8(%rsp); addq $24, %rsp;
     .cfi_adjust_cfa_offset -24)
CASE(call_keeps_registers, subq $8, %rsp; .cfi_adjust_cfa_offset 8; movq %r11, 8(%rdi); call insn_pure; movq %r8, (%rdi); movq %rcx, (%rsi); movups %xmm9, 16(%rsi);
     addq $8, %rsp; .cfi_adjust_cfa_offset -8)
CASE(call_pops_arguments, pushq %rcx; pushq %rdx; .cfi_adjust_cfa_offset 16; call insn_pops; .cfi_adjust_cfa_offset -16)
CASE(call_next, call 1f; 1: .cfi_adjust_cfa_offset 8; popq %rax; .cfi_adjust_cfa_offset -8; leaq 1b(%rip), %r8; xorl %eax, %eax; xorl %r8d, %r8d)
CASE(call_recursive, andl $7, %edx; subq $8, %rsp; .cfi_adjust_cfa_offset 8; call insn_recursive; addq $8, %rsp; .cfi_adjust_cfa_offset -8)
CASE(tail_direct, movq (%rdi), %rcx; testb $1, %cl; jne insn_helper; jmp insn_pure)
CASE(tail_register, leaq insn_helper(%rip), %rax; jmp *%rax)
CASE(tail_memory, jmp *insn_pointers + 8(%rip))
CASE_IF(NEEDS_AVX2, call_library, subq $8, %rsp; .cfi_adjust_cfa_offset 8; pushq %rdi; pushq %rsi; .cfi_adjust_cfa_offset 16; xorl %esi, %esi; movl $64, %edx; call memset@PLT; popq %rsi;
     popq %rdi; .cfi_adjust_cfa_offset -16; addq $8, %rsp; .cfi_adjust_cfa_offset -8; movl $0, %eax; xorl %ecx, %ecx; xorl %edx, %edx; xorl %r8d, %r8d; xorl %r9d, %r9d;
     xorl %r10d, %r10d; xorl %r11d, %r11d; vzeroall)
CASE(jump_over, jmp 1f; .byte 0x0f, 0x0b, 0xff, 0xff; 1: movl (%rdi), %eax; jmp 3f; 2: movl %eax, (%rsi); jmp 4f; 3: incl %eax; jmp 2b; 4: nopw 0(%rax, %rax))
CASE(cold_part, cmpl $0x40000000, (%rdi); ja insn_cold; movl $1, %eax; movl %eax, (%rsi))
CASE(short_function, nop)
CASE(system_call, pushq %rcx; pushq %r11; .cfi_adjust_cfa_offset 16; movl $39, %eax; syscall; popq %r11; popq %rcx; .cfi_adjust_cfa_offset -16; testl %eax, %eax; setg %al;
     movzbl %al, %eax)
CASE(landing_pad, endbr64; movl (%rdi), %eax)
CASE(thread_local, movq insn_local@gottpoff(%rip), %rax; movq %fs:(%rax), %r8; addq %r8, (%rdi); addq $3, %fs:(%rax); movq %fs:(%rax), %r8; xorl %eax, %eax)
CASE(thread_pointer, movq %fs:0, %rax; movq insn_local@gottpoff(%rip), %r8; movq (%rax, %r8), %rax; xorl %r8d, %r8d)
CASE(cpu_leaf, pushq %rbx; .cfi_adjust_cfa_offset 8; xorl %eax, %eax; cpuid; movl %ebx, (%rdi); movl %ecx, 4(%rdi); movl %edx, 8(%rdi); popq %rbx; .cfi_adjust_cfa_offset -8)
CASE(fences, movl %eax, (%rdi); mfence; lfence; sfence; pause; movl (%rdi), %ecx; clflush (%rdi); prefetchw (%rsi))
CASE(no_operations, .byte 0x66, 0x66, 0x2e, 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0; movl (%rdi), %eax; .byte 0xf3, 0x90; xchgw %ax, %ax; movl %eax, (%rsi))
CASE(prefixes, .byte 0x2e; movl (%rdi), %eax; .byte 0x3e; movl %eax, (%rsi); .byte 0x66, 0x48; addq (%rdi), %rax; movl (%r14d), %ecx; rep; movb (%rdi), %dl)
CASE(bits, bswapq %rax; popcntq %rax, %r8; tzcntq %rcx, %rcx; shldq $7, %rax, %r8; btq $3, %rax; adcq %r8, %rax; movq %rax, (%rdi); cltq; cqto; xorb %dl, (%rdi))
CASE(wide_multiply, movq (%rdi), %rax; mulq (%rsi); movq %rax, (%rdi); movq %rdx, 8(%rdi); movslq 16(%rdi), %rax; imulq 16(%rsi), %rax; imulw $77, (%rsi), %cx)
CASE(wide_divide, movq 8(%rdi), %rdx; movq (%rsi), %r8; orq $1, %r8; cmpq %r8, %rdx; jb 1f; xorl %edx, %edx; 1: movq (%rdi), %rax; divq %r8; movq %rax, (%rdi);
     movq %rdx, 8(%rdi))
/* The address of the last x87 instruction, as the application knows it, at two places; then the state that names it, whole. */
CASE(x87_environment, fninit; 1: fldl (%rdi); fnstenv 64(%rdi); movl 76(%rdi), %eax; leal 1b(%rip), %ecx; subl %ecx, %eax; movl %eax, 76(%rdi);
     movl $0, 84(%rdi); 2: fstpl 8(%rdi); fnstenv 32(%rsi); movl 44(%rsi), %eax; leal 2b(%rip), %ecx; subl %ecx, %eax; movl %eax, 44(%rsi); movl $0, 52(%rsi); fldenv 64(%rdi); fninit; xorl %ecx, %ecx)
CASE(x87_save, fninit; fld1; fnsave 128(%rdi); movl $0, 140(%rdi); movl $0, 148(%rdi); fldpi; frstor 128(%rdi); fstpt (%rdi))
CASE(fxsave, fninit; 1: fldpi; fxsave64 (%rdi); leaq 1b(%rip), %rax; subq 8(%rdi), %rax; fstp %st(0); movups %xmm1, %xmm0; fxrstor64 (%rdi); fstpt (%rsi); movq $0, 8(%rdi);
     movq $0, 16(%rdi); leaq 512(%rdi), %rcx; xorl %ecx, %ecx; movq %rax, (%rsi))
#define XSAVED(name, save)                                                                                             \
    CASE_IF(NEEDS_AVX2, name, pushq %rdx; .cfi_adjust_cfa_offset 8; leaq -1024(%rdi), %r8; xorl %eax, %eax;            \
            1: movq %rax, 512(%r8, %rax, 8); incl %eax; cmpl $8, %eax; jb 1b;                                          \
            2: movq $0, 504(%r8, %rax, 8); decl %eax; jne 2b; fninit; 3: fldpi; movl $7, %eax; xorl %edx, %edx;        \
            vmovups (%rsi), %ymm3; save (%r8); leaq 3b(%rip), %rcx; subq 8(%r8), %rcx; fstp %st(0);                    \
            vpxor %ymm3, %ymm3, %ymm3; movl $6, %eax; xrstor64 (%r8); vmovups %ymm3, (%rdi); movl %ecx, 32(%rdi);      \
            movq $0, 8(%r8); movq $0, 16(%r8); fninit; popq %rdx; .cfi_adjust_cfa_offset -8)
XSAVED(xsave, xsave64)
XSAVED(xsavec, xsavec64)
CASE(own_address, call 1f; 1: popq %rax; leaq 1b(%rip), %rcx; subq %rax, %rcx; xorl %eax, %eax)
CASE(own_address_flags, FLAGS_IN; call 1f; 1: popq %r8; FLAGS_OUT; leaq 1b(%rip), %rcx; subq %r8, %rcx; xorl %r8d, %r8d)
CASE(hinted_branches, cmpq %rax, %rcx; .byte 0x3e; jb 1f; incl (%rdi); 1: cmpb %dl, %al; .byte 0x2e; jle 2f; incl 4(%rdi); 2: .byte 0xf2; jne 3f; incl 8(%rdi); 3: nop)
CASE(jump_by_wide_register, leaq insn_clears(%rip), %r8; .byte 0x49, 0xff, 0xe0)
CASE(fs_base, movq %fs:0, %rax; rdfsbase %rcx; subq %rax, %rcx; xorl %eax, %eax)
#ifdef ABSOLUTE
CASE(eip_relative, leal insn_table(%eip), %eax; .byte 0x67; leaq insn_table + 8(%rip), %rcx; movl insn_table + 64(%eip), %r8d; addq %rax, insn_table + 72(%eip);
     .byte 0x67, 0x66; leal insn_table(%rip), %edx; cmpb $5, insn_table + 80(%eip); movdqu insn_table + 16(%eip), %xmm5)
#endif
CASE(store_then_load, movq %rax, (%rdi); movl 2(%rdi), %ecx; movw %cx, 5(%rdi); movq (%rdi), %r8; movb 6(%rdi), %dl; movups -4(%rdi), %xmm0)
CASE(sequence_copy, movups (%rdi), %xmm0; movups 16(%rdi), %xmm1; movups %xmm0, (%rsi); movups %xmm1, 16(%rsi); movq 32(%rdi), %rax; movq %rax, 32(%rsi);
     movl 40(%rdi), %eax; movl %eax, 40(%rsi))
CASE(sequence_fields, movq (%rdi), %rax; movq 8(%rdi), %rcx; movl 16(%rdi), %edx; movw 20(%rdi), %r8w; addq %rcx, %rax; movq %rax, (%rdi); incl 16(%rdi);
     movb $1, 22(%rdi); cmpl $50, %edx; jg 1f; movq %rcx, 24(%rdi); 1: movq $0, 32(%rdi))

/* ---- callees of the cases, with frames of their own -------------------------------------------------------------------------------------- */

#define HELPER(name, ...) .text; .p2align 4; .type name, @function; name: .cfi_startproc; __VA_ARGS__; ret; .cfi_endproc; .size name, . - name;
HELPER(insn_helper, movq 8(%rdi), %rax; xorq %r8, %rax; addq %rax, 16(%rdi); movl $5, %r8d; movl $6, %r9d; movl $7, %r10d; movl $8, %r11d)
HELPER(insn_clears, movl $9, %r8d; addl %edx, (%rdi))
HELPER(insn_pure, leaq 1(%rdx, %rdx, 2), %rax; xorl (%rdi), %eax)
HELPER(insn_recursive, testl %edx, %edx; je 1f; pushq %rdx; .cfi_adjust_cfa_offset 8; decl %edx; call insn_recursive; popq %rdx; .cfi_adjust_cfa_offset -8;
       addq %rax, (%rdi, %rdx, 8); 1: leal 3(%rax, %rdx), %eax)
.text; .p2align 4; .type insn_pops, @function; insn_pops: .cfi_startproc; movq 8(%rsp), %rax; addq 16(%rsp), %rax; ret $16; .cfi_endproc; .size insn_pops, . - insn_pops
/* The cold part of a function lies in another section, with call-frame information of its own. */
.section .text.unlikely, "ax"; .p2align 4; .type insn_cold, @function; insn_cold: .cfi_startproc; movl 4(%rdi), %eax; movl %eax, 4(%rsi); ret; .cfi_endproc
.size insn_cold, . - insn_cold

.section .data.rel.local, "aw"
.p2align 3
insn_pointers: .quad insn_helper, insn_pure

.section .note.GNU-stack, "", @progbits
