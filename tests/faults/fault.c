#include "fault.h"

struct ledger ledger_global;
struct ledger *ledger_heap;
struct ledger *ledger_frame;

static void entry_write(struct ledger *entry, unsigned amount, const char *note)
{
    for (size_t i = 0; i < sizeof entry->count / sizeof entry->count[0]; i++)
        entry->count[i] += amount * (i + 1);
    entry->narrow ^= amount;
    entry->narrower = (uint16_t)(entry->narrower + amount);
    entry->narrowest |= (uint8_t)amount;
    strcpy(entry->note, note);
    entry->rate = entry->rate * 0.5 + amount;
}

void ledger_write(unsigned amount, const char *note)
{
    entry_write(&ledger_global, amount, note);
    entry_write(ledger_heap, amount, note);
    entry_write(ledger_frame, amount, note);
}

const char *fault_text(size_t length)
{
    static char text[4096];
    for (size_t i = 0; i < length && i + 1 < sizeof text; i++)
        text[i] = (char)('a' + i % 26);
    text[length < sizeof text ? length : sizeof text - 1] = 0;
    return fault_hide(&text[0]);
}

static int entry_same(const char *name, const struct ledger *now, const struct ledger *before)
{
    const unsigned char *a = (const unsigned char *)now, *b = (const unsigned char *)before;
    for (size_t i = 0; i < sizeof *now; i++)
        if (a[i] != b[i]) {
            printf("state differs: %s byte %zu is %02x, was %02x\n", name, i, a[i], b[i]);
            return 0;
        }
    return 1;
}

enum shape { INTEGER, POINTER, NOTHING };

/* The faulty function behind a pointer that no compiler follows: no inlining, no clone, no inferred noreturn.
 */
struct faulty {
    enum shape shape;
    int (*volatile integer)(int);
    void *(*volatile pointer)(int);
    void (*volatile nothing)(int);
};

/* Returns 1 when the call answered with its error value. */
static int failed(const struct faulty *faulty, int bad)
{
    if (faulty->shape == INTEGER)
        return faulty->integer(bad) == -1;
    if (faulty->shape == POINTER)
        return faulty->pointer(bad) == NULL;
    faulty->nothing(bad);
    return bad != 0;
}

static int run(int argc, char **argv, const struct faulty *faulty)
{
    struct ledger frame = {0}, before;
    int good_only = argc > 1 && strcmp(argv[1], "good") == 0, status = 0;

    setvbuf(stdout, NULL, _IOLBF, 0);
    ledger_frame = &frame;
    ledger_heap = calloc(1, sizeof *ledger_heap);
    if (!ledger_heap)
        return 1;
    ledger_write(17, "opening balance");
    memcpy(&before, &frame, sizeof before);

    if (!good_only) {
        if (failed(faulty, 1)) {
            puts("survived");
        } else {
            puts("the fault went unnoticed");
            status = 1;
        }
        if (entry_same("global", &ledger_global, &before) & entry_same("heap", ledger_heap, &before) &
            entry_same("frame", &frame, &before))
            puts("state restored");
        else
            status = 1;
    }
    if (failed(faulty, 0)) {
        puts("could not go on");
        status = 1;
    } else {
        puts("went on");
    }
    free(ledger_heap);
    return status;
}

int fault_run(int argc, char **argv, int (*function)(int bad))
{
    struct faulty faulty = {.shape = INTEGER, .integer = function};
    return run(argc, argv, &faulty);
}

int fault_run_pointer(int argc, char **argv, void *(*function)(int bad))
{
    struct faulty faulty = {.shape = POINTER, .pointer = function};
    return run(argc, argv, &faulty);
}

int fault_run_void(int argc, char **argv, void (*function)(int bad))
{
    struct faulty faulty = {.shape = NOTHING, .nothing = function};
    return run(argc, argv, &faulty);
}
