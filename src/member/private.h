/* What the files of this folder share. */
#ifndef MEMBER_PRIVATE_H
#define MEMBER_PRIVATE_H

#include "member/member.h"

#include <pthread.h>
#include <sys/types.h>

/* Our own copy of what an object's entry said when we first saw it, checked. Later changes of the entry are
 * ignored. */
struct object {
    bool known;
    bool own;
    uint32_t first, count; /* within functions[] */
    uint8_t build_id[IMAGE_BUILD_ID_MAX];
    uint32_t build_id_bytes;
    char path[sizeof((struct wire_object *)0)->path];
    bool image_tried;
    struct image *image;
};

/* A file met in a crash that the runtime had not listed. */
struct extra {
    char *path;
    struct image *image; /* or NULL: unreadable */
    struct extra *next;
};

enum slot_stage { SLOT_IDLE, SLOT_FILLING, SLOT_TAKEN };
struct slot {
    enum slot_stage stage;
    uint64_t since_ns; /* in this stage */
    int pid;
};

struct member {
    struct member_options options;
    struct member_hooks hooks;
    char stem[4096];
    struct wire_control *page;
    int page_fd;

    int pid;      /* of the program, 0: not running; atomic */
    bool signals; /* handlers are installed */

    pthread_mutex_t lock; /* objects[].known and all level bytes */
    struct object objects[WIRE_OBJECTS_MAX];

    struct slot slots[WIRE_FAULTS_MAX];
    struct wire_fault record; /* the one that is being looked at: too large for a stack */
    struct extra *extras;
};

/* page.c */
void member__futex_wake(uint32_t *word);
/* Sleeps while `*word` is `seen`, at most `timeout_ms`. */
void member__futex_wait(uint32_t *word, uint32_t seen, unsigned timeout_ms);

/* objects.c: answers every newly listed object. */
void member__answer(struct member *member);
/* Image of a listed object, opened at first need. Returns NULL when it cannot be read or is another build. */
struct image *member__image(struct object *object);
/* Image of any file by path; kept until member_close. In `build_id`: when not NULL the file must have it.
   Out: `*path` a copy of the name that lives as long. */
struct image *member__extra_image(struct member *member, const char **path, const char *name);

/* records.c: collects every fault record that is ready, frees slots. */
void member__collect(struct member *member);
/* symbolize.c */
void member__report(struct member *member, struct report_fault *fault, const struct wire_fault *record);
/* Resolves an address of an object. `is_return`: it is a return address, the call stands before it. */
void member__resolve(struct report_frame *frame, struct image *image, const char *path, uint64_t offset,
                     bool is_return);

/* crash.c: unwinds the waiting process of `record` from outside. Out: `stack`, and in `*blame` the index in
   it of the innermost frame of an own object, or UINT32_MAX. Returns false when the process cannot be read;
   `stack` is then untouched. */
bool member__unwind(struct member *member, struct report_stack *stack, uint32_t *blame,
                    const struct wire_fault *record);

#endif
