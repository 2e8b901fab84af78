/* Dense switches, switches of switches, strings of cases, computed goto: jumps through tables. */
#include "transparent.h"

static NOINLINE unsigned classify(unsigned c)
{
    switch (c) {
    case 0:
        return 3;
    case 1:
        return 1;
    case 2:
        return 4;
    case 3:
        return 1;
    case 4:
        return 5;
    case 5:
        return 9;
    case 6:
        return 2;
    case 7:
        return 6;
    case 8:
        return 5;
    case 9:
        return 35;
    case 12:
        return 8;
    case 13:
        return 97;
    case 14:
        return 93;
    case 40:
        return 2;
    default:
        return 0;
    }
}

/* A switch whose cases do something each, so that no lookup table replaces it. */
static NOINLINE uint64_t step(uint64_t state, unsigned operation)
{
    switch (operation) {
    case 0:
        return state + 1;
    case 1:
        return state * 3;
    case 2:
        return state ^ (state >> 7);
    case 3:
        return work_mix(state, 3);
    case 4:
        state += classify((unsigned)state % 50); /* fall through */
    case 5:
        return state << 1 | state >> 63;
    case 6:
        return ~state;
    case 7:
        for (int i = 0; i < 5; i++)
            state = work_mix(state, (uint64_t)i);
        return state;
    case 8:
        return state % 1000003;
    case 9:
        return (uint64_t)snprintf(NULL, 0, "%llu", (unsigned long long)state) + state;
    default:
        return state - operation;
    }
}

static NOINLINE uint64_t machine(const unsigned char *program)
{
    static const void *const labels[] = {&&add, &&sub, &&mul, &&push, &&pop, &&jump, &&halt};
    uint64_t stack[16] = {1, 2, 3}, top = 3, steps = 0;
    goto *labels[*program];
add:
    stack[top - 1] += stack[top - 2];
    goto *labels[*++program];
sub:
    stack[top - 1] -= stack[top - 2] / 2;
    goto *labels[*++program];
mul:
    stack[top - 1] *= 31;
    goto *labels[*++program];
push:
    stack[top] = stack[top - 1] + 1;
    top++;
    goto *labels[*++program];
pop:
    top--;
    goto *labels[*++program];
jump:
    if (++steps < 1000) {
        program -= program[1];
        goto *labels[*program];
    }
    program++;
    goto *labels[*++program];
halt:
    return stack[top - 1] ^ steps;
}

int main(void)
{
    static const unsigned char program[] = {3, 0, 2, 1, 3, 2, 4, 0, 4, 3, 4, 5, 11, 6};
    uint64_t state = 1;
    unsigned sum = 0;
    for (unsigned i = 0; i < 100000; i++)
        state = step(state, (unsigned)(state >> 13) % 12);
    for (unsigned i = 0; i < 60; i++)
        sum = sum * 7 + classify(i);
    printf("%llx %u %llx\n", (unsigned long long)state, sum, (unsigned long long)machine(program));
    return 0;
}
