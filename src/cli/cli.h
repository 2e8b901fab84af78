/* cli: the commands. A file per command, cmd_NAME.c, that parses, calls the floors below and prints; no
   algorithm lives here.

   A new command is cmd_NAME.c with its table (base/base.h shows one), a declaration here, a line in the table
   of main.c and a line in meson.build. A command with actions (`testudo community create`) fills a struct
   base_menu and hands over to base_menu_run.

   Every function below: In: argv[0] is the command's name. Returns: the exit status. Context: main thread. */
#ifndef CLI_CLI_H
#define CLI_CLI_H

int cli_bench(int argc, char **argv);
int cli_check(int argc, char **argv);
int cli_demo(int argc, char **argv);
int cli_doctor(int argc, char **argv);
int cli_community(int argc, char **argv);
int cli_completion(int argc, char **argv);
int cli_plan(int argc, char **argv);
int cli_profile(int argc, char **argv);
int cli_profile_record(int argc, char **argv);
int cli_status(int argc, char **argv);
int cli_faults(int argc, char **argv);
int cli_vaccines(int argc, char **argv);
int cli_simulate(int argc, char **argv);
int cli_run(int argc, char **argv);

#endif
