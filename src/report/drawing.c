/* Script and picture go through a folder of their own next to the result, so that the drawing program reads nothing but what we
   wrote and a half-drawn picture never bears the name. */
#define _GNU_SOURCE
#include "report/drawing.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

enum report_picture report__picture(const char *path)
{
    static const char *const endings[] = {
        [REPORT_SVG] = ".svg", [REPORT_PNG] = ".png", [REPORT_DOT] = ".dot"};
    const char *end = strrchr(path, '.');
    for (int form = REPORT_SVG; end && form < REPORT_NO_PICTURE; form++)
        if (strcmp(end, endings[form]) == 0)
            return (enum report_picture)form;
    return REPORT_NO_PICTURE;
}

int report__drawing_begin(struct base_error *error, struct report_drawing *d, const char *path)
{
    d->path = path;
    if (snprintf(d->folder, sizeof d->folder, "%s.XXXXXX", path) >= (int)sizeof d->folder)
        return base_fail(error, BASE_EXIT_FAILURE, "path too long: %s", path);
    if (!mkdtemp(d->folder))
        return base_fail(error, BASE_EXIT_FAILURE, "cannot create %s: %s", d->folder, strerror(errno));
    snprintf(d->script, sizeof d->script, "%s/script", d->folder);
    snprintf(d->picture, sizeof d->picture, "%s/picture", d->folder);
    return 0;
}

/* What the program says goes to our standard error. */
static int draw(struct base_error *error, const struct report_drawing *d, const char *const *command,
                const char *package)
{
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    pid_t child;
    int reason = posix_spawnp(&child, command[0], &actions, NULL, (char *const *)(uintptr_t)command, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (reason == ENOENT)
        return base_fail(error, BASE_EXIT_ENVIRONMENT, "cannot draw %s: %s is not installed (package %s)",
                         d->path, command[0], package);
    if (reason)
        return base_fail(error, BASE_EXIT_FAILURE, "cannot start %s: %s", command[0], strerror(reason));
    int status = 0;
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR)
            return base_fail(error, BASE_EXIT_FAILURE, "lost sight of %s: %s", command[0], strerror(errno));
    if (!WIFEXITED(status) || WEXITSTATUS(status))
        return base_fail(error, BASE_EXIT_FAILURE, "cannot draw %s: %s failed", d->path, command[0]);
    return 0;
}

int report__drawing_end(struct base_error *error, struct report_drawing *d, const struct base_text *script,
                        const char *const *command, const char *package)
{
    int result = base_write_file(error, d->script, script->data, script->used);
    if (!result)
        result = draw(error, d, command, package);
    if (!result && rename(d->picture, d->path))
        result = base_fail(error, BASE_EXIT_FAILURE, "cannot write %s: %s", d->path, strerror(errno));
    unlink(d->picture);
    unlink(d->script);
    rmdir(d->folder);
    return result;
}
