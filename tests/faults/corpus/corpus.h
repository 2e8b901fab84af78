/* What the generated programs share. Each has one function, `work`, that commits one fault when `bad` is 1 and does the
   same work right when it is 0: the good twin, which must stay silent. Values that decide which of the two pass through
   hide, so that no compiler sees the fault coming. */
#ifndef CORPUS_H
#define CORPUS_H

#include <arpa/inet.h>
#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <wchar.h>

/* The value itself, of which the compiler knows nothing. */
#define hide(value)                                                                                          \
    ({                                                                                                       \
        __typeof__(value) hidden_ = (value);                                                                 \
        __asm__ volatile("" : "+r"(hidden_) : : "memory");                                                   \
        hidden_;                                                                                             \
    })
/* Keeps a result alive. */
#define use(value)                                                                                           \
    ({                                                                                                       \
        __typeof__(value) used_ = (value);                                                                   \
        __asm__ volatile("" : : "r"(used_) : "memory");                                                      \
    })

/* Elements of every width, at any address. */
typedef uint8_t u1;
typedef uint16_t u2 __attribute__((aligned(1), may_alias));
typedef uint32_t u4 __attribute__((aligned(1), may_alias));
typedef uint64_t u8 __attribute__((aligned(1), may_alias));
typedef uint64_t u16 __attribute__((vector_size(16), aligned(1), may_alias));

extern char corpus_letters[8192];
/* Where copies go. */
extern char corpus_to[2048];

/* A text of `length` letters. The next call of the same function ends the one before. */
char *text(size_t length);
wchar_t *wide_text(size_t length);
/* Memory with at least `bytes` letters and no NUL near. */
char *letters(void);
/* A descriptor, or socket, that holds `bytes` letters and then ends. */
int feed(size_t bytes);
int feed_socket(size_t bytes);
/* A stream of `bytes` letters. */
FILE *stream(size_t bytes);
/* Somewhere to write to: a descriptor, a stream. */
int drain(void);
FILE *drain_stream(void);
/* Allocates and frees `times` blocks of `bytes` bytes. */
void churn(unsigned times, size_t bytes);
void release(void *block);

int work(int bad);

#endif
