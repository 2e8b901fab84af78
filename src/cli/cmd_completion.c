/* testudo completion: the script that a shell sources to complete commands and options. It asks the program
   itself for the words (--help=words), so it never falls behind the option tables. */
#include "base/base.h"
#include "cli/cli.h"

static int shell;

static const struct base_option options[] = {
    BASE_CHOICE("shell", 0, "bash", &shell, "bash", "shell that will read the script"),
    BASE_END,
};

static const struct base_command command = {
    .name = "completion",
    .summary = "print the completion script of a shell",
    .example = "source <(testudo completion)\n",
    .options = options,
};

/* Only the leading words up to the first option name the command: what follows may be a program's own
 * arguments. */
static const char bash_script[] =
    "_testudo()\n"
    "{\n"
    "    local word=${COMP_WORDS[COMP_CWORD]} path=() i\n"
    "    for ((i = 1; i < COMP_CWORD; i++)); do\n"
    "        [[ ${COMP_WORDS[i]} == -- ]] && { COMPREPLY=($(compgen -f -- \"$word\")); return; }\n"
    "        [[ ${COMP_WORDS[i]} == -* || $i -gt 2 ]] || path+=(\"${COMP_WORDS[i]}\")\n"
    "    done\n"
    "    local words\n"
    "    words=$(\"$1\" \"${path[@]}\" --help=words 2>/dev/null) ||\n"
    "        words=$(\"$1\" \"${path[0]}\" --help=words 2>/dev/null)\n"
    "    COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n"
    "    [[ ${#COMPREPLY[@]} -gt 0 ]] || COMPREPLY=($(compgen -f -- \"$word\"))\n"
    "}\n"
    "complete -o filenames -F _testudo testudo\n";

int cli_completion(int argc, char **argv)
{
    struct base_args args;
    int status = base_options_parse(&command, &args, argc, argv);
    if (status >= 0)
        return status;
    fputs(bash_script, stdout);
    return BASE_EXIT_OK;
}
