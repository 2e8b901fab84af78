/* testudo demo: a community over a real Apache on this machine, attacked and immunised, told line by line. */
#include "base/base.h"
#include "cli/cli.h"
#include "demo/demo.h"

static int64_t members;
static bool keep;

static const struct base_option options[] = {
    BASE_INTEGER("members", 'n', "N", &members, "3", DEMO_MEMBERS_MIN, DEMO_MEMBERS_MAX,
                 "how many members the first community has"),
    BASE_FLAG("keep", 0, &keep, "leave the folder with all logs, reports and keys"),
    BASE_END,
};

static const struct base_command command = {
    .name = "demo",
    .summary = "show a community over a real Apache, attacked and immunised",
    .description =
        "Starts Debian's Apache natively and as members of a community, on loopback and free ports, with a module that holds "
        "three planted faults, attacks them, and tells what happens. Takes one to two minutes, needs no internet, and "
        "leaves nothing behind.\n\n"
        "Exit status 0: everything it tells was observed; 1: something was not, and is named at the end.",
    .example = "testudo demo\n",
    .options = options,
};

int cli_demo(int argc, char **argv)
{
    struct base_args args;
    struct base_error error = {.exit = BASE_EXIT_FAILURE};
    int status = base_options_parse(&command, &args, argc, argv);
    if (status >= 0)
        return status;
    status = demo_run(&error, &(struct demo_options){.members = (unsigned)members, .keep = keep});
    return status < 0 ? base_fail_exit(&error) : status;
}
