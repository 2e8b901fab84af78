/* System calls of the injected runtime: raw, so that neither libc's errno nor its cancellation points nor anybody's
   interposed wrapper is involved. Results are the kernel's: -4095..-1 is a negated errno. */
#ifndef STEM_SYS_H
#define STEM_SYS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>

static inline long sys6(long n, long a, long b, long c, long d, long e, long f)
{
    long result;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}

#define SYS_ARG(x)                  ((long)(uintptr_t)(x))
#define sys_call0(n)                sys6((n), 0, 0, 0, 0, 0, 0)
#define sys_call1(n, a)             sys6((n), SYS_ARG(a), 0, 0, 0, 0, 0)
#define sys_call2(n, a, b)          sys6((n), SYS_ARG(a), SYS_ARG(b), 0, 0, 0, 0)
#define sys_call3(n, a, b, c)       sys6((n), SYS_ARG(a), SYS_ARG(b), SYS_ARG(c), 0, 0, 0)
#define sys_call4(n, a, b, c, d)    sys6((n), SYS_ARG(a), SYS_ARG(b), SYS_ARG(c), SYS_ARG(d), 0, 0)
#define sys_call5(n, a, b, c, d, e) sys6((n), SYS_ARG(a), SYS_ARG(b), SYS_ARG(c), SYS_ARG(d), SYS_ARG(e), 0)
#define sys_call6(n, a, b, c, d, e, f)                                                                       \
    sys6((n), SYS_ARG(a), SYS_ARG(b), SYS_ARG(c), SYS_ARG(d), SYS_ARG(e), SYS_ARG(f))

static inline int sys_failed(long result)
{
    return result < 0 && result >= -4095;
}

#endif
