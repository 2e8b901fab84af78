/* testudo COMMAND ...: finds the command and runs it. */
#include "base/base.h"
#include "cli/cli.h"

static const struct base_action commands[] = {
    {"check", "run a program and find its memory faults", cli_check},
    {"demo", "show a community over a real Apache, attacked and immunised", cli_demo},
    {"doctor", "say whether this machine and a program can be supervised", cli_doctor},
    {"run", "run a program as a member of a community", cli_run},
    {"community", "make, serve and join a community", cli_community},
    {"status", "show the members of a community and how they are", cli_status},
    {"faults", "list the faults that members have met", cli_faults},
    {"vaccines", "list the functions that the community protects", cli_vaccines},
    {"bench", "measure what supervision costs on this machine", cli_bench},
    {"completion", "print the completion script of a shell", cli_completion},
    {"plan", "divide a profiled program into slices", cli_plan},
    {"profile", "what each function of a program costs", cli_profile},
    {"simulate", "simulate communities, attacks and the paper's figures", cli_simulate},
    {0},
};

static const struct base_menu menu = {
    .summary = "A community of program copies that watch for memory faults, undo them, and tell each other.",
    .actions = commands,
};

int main(int argc, char **argv)
{
    int status = base_menu_run(&menu, argc, argv);
    /* A full disk behind standard output must not pass for success. */
    if ((fflush(stdout) || ferror(stdout)) && status == BASE_EXIT_OK) {
        base_warn("cannot write standard output");
        status = BASE_EXIT_FAILURE;
    }
    return status;
}
