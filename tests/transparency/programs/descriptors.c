/* Numbers of descriptors are the program's own: the first free one is 3, all of them can be closed. */
#define _GNU_SOURCE
#include "transparent.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static int lowest(void)
{
    int fd = open("/dev/null", O_RDONLY);
    close(fd);
    return fd;
}

int main(void)
{
    printf("first free %d\n", lowest());
    for (int fd = 3; fd < 1024; fd++)
        close(fd);
    printf("after close %d %llx\n", lowest(), (unsigned long long)work(2));
    fflush(stdout);
    must(close_range(3, ~0u, 0) == 0 || errno == ENOSYS);
    pid_t pid = fork();
    if (pid == 0) {
        printf("in the child %d %llx\n", lowest(), (unsigned long long)work(3));
        fflush(stdout);
        closefrom(0);
        _exit((int)(work(4) % 50));
    }
    int status;
    waitpid(pid, &status, 0);
    printf("child %d\n", WEXITSTATUS(status));
    struct rlimit limit;
    must(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    limit.rlim_cur = 6;
    must(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    int opened = 0;
    while (open("/dev/null", O_RDONLY) >= 0)
        opened++;
    printf("opened %d errno %d\n", opened, errno);
    must(dup2(1, 5) == 5);
    limit.rlim_cur = 0;
    must(setrlimit(RLIMIT_CORE, &limit) == 0);
    limit = (struct rlimit){4 << 20, RLIM_INFINITY};
    setrlimit(RLIMIT_STACK, &limit);
    printf("sum %llx\n", (unsigned long long)work(5));
    close(0);
    close(2);
    return 0;
}
