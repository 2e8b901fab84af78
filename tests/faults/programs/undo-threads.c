#include "fault.h"
#include <pthread.h>

enum { THREADS = 4, ROUNDS = 200 };

struct account {
    long balance, moves;
    char last[24];
};

int withdraw(struct account *account, int bad)
{
    if (bad < 0)
        return -1;
    account->balance -= 10;
    account->moves++;
    strcpy(fault_hide(&account->last[0]), "withdrawal");
    return (int)(account->moves / fault_hide(bad ? 0L : 1L)) & 1;
}
static int (*volatile withdraw_call)(struct account *, int) = withdraw;

/* Faults on every other call; each thread knows what its account must hold. Answers NULL when it does. */
static void *customer(void *argument)
{
    int bad = *(int *)argument;
    struct account account = {.last = "opened"};
    for (int i = 0; i < ROUNDS; i++) {
        int fail = bad && i % 2;
        if ((withdraw_call(&account, fail) == -1) != fail)
            return argument;
    }
    long done = bad ? ROUNDS / 2 : ROUNDS;
    return account.moves == done && account.balance == -10 * done ? NULL : argument;
}

int all_threads(int bad)
{
    pthread_t threads[THREADS];
    int wrong = 0;
    for (int i = 0; i < THREADS; i++)
        if (pthread_create(&threads[i], NULL, customer, &bad) != 0)
            return 1;
    for (int i = 0; i < THREADS; i++) {
        void *answer;
        pthread_join(threads[i], &answer);
        wrong |= answer != NULL;
    }
    return wrong ? 1 : bad ? -1 : 0;
}

int main(int argc, char **argv)
{
    return fault_run(argc, argv, all_threads);
}
