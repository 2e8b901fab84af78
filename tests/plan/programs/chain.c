/* Ways to input of every form: measured, never taken, through a jump, by an address that is taken, through a table. */
#include <stdio.h>
#include <unistd.h>

#define APART   __attribute__((noinline, noclone))
#define HAPPENS __asm__ volatile("") /* the call before it does not become a jump, nor may it be left out */

typedef long (*worker)(long);
char buffer[64];
volatile int never;
worker registered;

APART long reader(long n)
{
    long got = read(0, buffer, sizeof buffer);
    HAPPENS;
    return got + n;
}

APART long parser(long n)
{
    long got = reader(n + 1);
    HAPPENS;
    return got * 3;
}

APART long jumper(long n)
{
    HAPPENS;
    return parser(n + 2);
}

APART long cold_reader(long n)
{
    char *line = fgets(buffer, sizeof buffer, stdin);
    HAPPENS;
    return line ? n : -n;
}

APART long above_cold(long n)
{
    long got = cold_reader(n) + 1;
    HAPPENS;
    return got * 5;
}

APART long plain(long n)
{
    HAPPENS;
    return n * 7 + 1;
}

static const worker table[] = {plain, above_cold};

APART void registers(void)
{
    HAPPENS;
    registered = cold_reader;
}

APART long dispatcher(long n)
{
    long got = table[n & 1](n);
    HAPPENS;
    return got + 2;
}

int main(void)
{
    long sum = jumper(1) + parser(2) + plain(3);
    registers();
    for (long i = 0; i < 100; i += 2)
        sum += dispatcher(i);
    if (never)
        sum += above_cold(sum);
    return (int)(sum & 1);
}
