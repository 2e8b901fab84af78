/* Signals that are waited for: sigsuspend, sigwaitinfo, sigtimedwait, pause, ppoll and pselect with a mask, signalfd, timerfd. */
/* flags: -pthread */
#define _GNU_SOURCE
#include "transparent.h"
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/select.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile sig_atomic_t seen;

static void on_signal(int number)
{
    seen += number == SIGUSR1 ? 1 : number == SIGCHLD ? 100 : 10000;
}

/* Sends a signal until it was seen: who waits may not wait yet. */
static void *sender(void *argument)
{
    pthread_t to = *(pthread_t *)argument;
    for (int before = seen; seen == before;) {
        pthread_kill(to, SIGUSR1);
        usleep(2000);
    }
    return (void *)(uintptr_t)work(1);
}

int main(void)
{
    sigset_t none, usr1, all;
    pthread_t self = pthread_self(), id;
    siginfo_t what;
    sigemptyset(&none);
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    sigfillset(&all);
    signal(SIGUSR1, on_signal);
    signal(SIGCHLD, on_signal);
    must(sigprocmask(SIG_BLOCK, &usr1, NULL) == 0);
    for (int i = 0; i < 20; i++) {
        raise(SIGUSR1);
        must(work(1) != 0 && seen == i);
        must(sigsuspend(&none) == -1 && errno == EINTR);
        must(seen == i + 1);
    }
    printf("suspended %d\n", (int)seen);
    for (int i = 0; i < 5; i++) {
        must(sigqueue(getpid(), SIGUSR1, (union sigval){.sival_int = i}) == 0);
        must(sigwaitinfo(&usr1, &what) == SIGUSR1 && what.si_value.sival_int == i);
    }
    must(sigtimedwait(&usr1, &what, &(struct timespec){0, 1000}) == -1 && errno == EAGAIN);
    raise(SIGUSR1);
    must(ppoll(NULL, 0, &(struct timespec){10, 0}, &none) == -1 && errno == EINTR);
    raise(SIGUSR1);
    must(pselect(0, NULL, NULL, NULL, &(struct timespec){10, 0}, &none) == -1 && errno == EINTR);
    printf("polled %d\n", (int)seen);
    int fd = signalfd(-1, &usr1, SFD_NONBLOCK);
    struct signalfd_siginfo info;
    must(fd >= 0 && read(fd, &info, sizeof info) == -1 && errno == EAGAIN);
    raise(SIGUSR1);
    must(read(fd, &info, sizeof info) == sizeof info && info.ssi_signo == SIGUSR1);
    close(fd);
    must(sigprocmask(SIG_UNBLOCK, &usr1, NULL) == 0);
    int before = seen;
    must(pthread_create(&id, NULL, sender, &self) == 0);
    while (seen == before)
        pause();
    pthread_join(id, NULL);
    int timer = timerfd_create(CLOCK_MONOTONIC, 0);
    uint64_t expired = 0;
    must(timerfd_settime(timer, 0, &(struct itimerspec){{0, 100000}, {0, 100000}}, NULL) == 0);
    for (uint64_t total = 0; total < 200; total += expired)
        must(work(1) != 0 && read(timer, &expired, sizeof expired) == sizeof expired);
    close(timer);
    seen = 0;
    pid_t pid = fork();
    if (pid == 0)
        _exit((int)(work(2) & 31));
    int status;
    while (waitpid(pid, &status, 0) != pid)
        must(errno == EINTR);
    printf("child %d, told %d, sum %llx\n", WEXITSTATUS(status), (int)seen, (unsigned long long)work(3));
    return 0;
}
