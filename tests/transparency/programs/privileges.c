/* Privileges given up for good, another root folder, all descriptors closed: then work, threads, children, and a program executed
 * with what is left. */
/* flags: -pthread */
#define _GNU_SOURCE
#include "transparent.h"
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void *thread(void *argument)
{
    return (void *)(uintptr_t)(work((unsigned)(uintptr_t)argument) & 0xffff);
}

static uint64_t busy(unsigned rounds)
{
    pthread_t id;
    void *answer;
    must(pthread_create(&id, NULL, thread, (void *)(uintptr_t)rounds) == 0 && pthread_join(id, &answer) == 0);
    char *block = malloc(100000);
    must(block != NULL);
    memset(block, (int)rounds, 100000);
    uint64_t sum = work(rounds) ^ (uint64_t)(uintptr_t)answer ^ (uint64_t)block[5000];
    free(block);
    return sum;
}

static void drop(void)
{
    if (geteuid() != 0)
        return;
    must(setgroups(0, NULL) == 0 && setresgid(65534, 65534, 65534) == 0 &&
         setresuid(65534, 65534, 65534) == 0);
    must(setuid(0) != 0 && errno == EPERM);
}

static NOINLINE int child(int kind, char **argv)
{
    uint64_t sum = 0;
    switch (kind) {
    case 0:
        drop();
        must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
        sum = busy(11);
        break;
    case 1:
        if (geteuid() == 0)
            must(mkdir("jail", 0755) == 0 && chroot("jail") == 0 && chdir("/") == 0 &&
                 access("/bin/sh", F_OK) != 0);
        drop();
        sum = busy(12);
        break;
    case 2:
        must(close_range(0, ~0u, 0) == 0);
        sum = busy(13);
        must(open("/dev/null", O_RDONLY) == 0);
        return (int)(sum & 63);
    case 3:
        must(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0);
        sum = busy(14);
        break;
    case 4:
        drop();
        execl("/proc/self/exe", argv[0], "again", (char *)NULL);
        return 120;
    case 5:
        must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
             unshare(0x20000 /* mounts: CLONE_NEWNS */) + 2 > 0);
        sum = busy(15);
        break;
    }
    printf("%d: %llx uid %d\n", kind, (unsigned long long)sum, geteuid() == 65534);
    fflush(stdout);
    return kind;
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        printf("executed %llx\n", (unsigned long long)busy(16));
        return 44;
    }
    chmod(".", 0777);
    for (int kind = 0; kind < 6; kind++) {
        pid_t pid = fork();
        if (pid == 0)
            _exit(child(kind, argv));
        int status;
        must(waitpid(pid, &status, 0) == pid);
        printf("%d ended %x\n", kind, (unsigned)status);
        fflush(stdout);
    }
    rmdir("jail");
    return 0;
}
