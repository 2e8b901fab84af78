/* Plots, drawn by gnuplot from a script that carries its data. The script and the picture go through a folder of their own
   next to the result, so that gnuplot reads nothing but what we wrote and a half-drawn picture never bears the name. */
#define _GNU_SOURCE
#include "report/report.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* A string of gnuplot in single quotes, in which nothing but the quote itself is special. */
static void put_quoted(struct base_text *script, const char *text)
{
    base_text_puts(script, "'");
    for (; text && *text; text++) {
        if (*text == '\'')
            base_text_puts(script, "''");
        else
            base_text_add(script, *text == '\n' ? " " : text, 1);
    }
    base_text_puts(script, "'");
}

static void put_setting(struct base_text *script, const char *what, const char *text)
{
    base_text_printf(script, "set %s ", what);
    put_quoted(script, text);
    base_text_puts(script, "\n");
}

static void put_data(struct base_text *script, size_t index, const struct report_curve *curve, bool y_log)
{
    base_text_printf(script, "$curve%zu << EOD\n", index);
    for (size_t i = 0; i < curve->count; i++) {
        double low = curve->low ? curve->low[i] : curve->y[i],
               high = curve->high ? curve->high[i] : curve->y[i];
        if (y_log && low <= 0)
            low = curve->y[i]; /* has no place on the axis */
        if (isfinite(curve->x[i]) && isfinite(curve->y[i]) && isfinite(low) && isfinite(high))
            base_text_printf(script, "%.15g %.15g %.15g %.15g\n", curve->x[i], curve->y[i], low, high);
    }
    base_text_puts(script, "EOD\n");
}

static void put_curve(struct base_text *script, size_t index, const struct report_curve *curve)
{
    const char *style = curve->points       ? "points pt 6 ps 1.5 lw 2"
                        : curve->count < 20 ? "linespoints lw 2 pt 7 ps 0.5"
                                            : "lines lw 2";
    if (curve->low && curve->high)
        base_text_printf(script, "%s$curve%zu using 1:2:3:4 with yerrorbars pt 0 lt %zu dt 1 notitle",
                         index ? ", " : "plot ", index, index + 1);
    base_text_printf(script, "%s$curve%zu using 1:2 with %s lt %zu title ",
                     index || (curve->low && curve->high) ? ", " : "plot ", index, style, index + 1);
    put_quoted(script, curve->name);
}

static void write_script(struct base_text *script, const struct report_plot *plot, const char *picture,
                         bool svg)
{
    base_text_puts(script, "set encoding utf8\n");
    base_text_puts(script,
                   svg ? "set terminal svg size 900,500 noenhanced background 'white' font 'sans,14'\n"
                       : "set terminal pngcairo size 1350,750 noenhanced font 'sans,14'\n");
    put_setting(script, "output", picture);
    put_setting(script, "title", plot->title);
    put_setting(script, "xlabel", plot->x_label);
    put_setting(script, "ylabel", plot->y_label);
    base_text_puts(
        script,
        "set grid\nset border 3\nset tics nomirror\nset key outside right top vertical Left reverse\n");
    /* Told apart by those who see few colours, and on white paper. */
    static const char *const colours[] = {"0072b2", "d55e00", "009e73", "cc79a7",
                                          "56b4e9", "a6761d", "666666", "000000"};
    enum { COLOURS = sizeof colours / sizeof *colours };
    for (unsigned i = 0; i < 3 * COLOURS; i++)
        base_text_printf(script, "set linetype %u lc rgb '#%s' dt %u\n", i + 1, colours[i % COLOURS],
                         i / COLOURS + 1);
    if (plot->curve_count < 2)
        base_text_puts(script, "unset key\n");
    if (plot->x_log)
        base_text_puts(script, "set logscale x\n");
    if (plot->y_log)
        base_text_puts(script, "set logscale y\n");
    for (size_t i = 0; i < plot->curve_count; i++)
        put_data(script, i, &plot->curves[i], plot->y_log);
    for (size_t i = 0; i < plot->curve_count; i++)
        put_curve(script, i, &plot->curves[i]);
    base_text_puts(script, "\n");
}

/* Runs gnuplot on the script. What it says goes to our standard error. */
static int draw(struct base_error *error, const char *script, const char *path)
{
    char name[] = "gnuplot", plain[] = "-d", file[4200];
    snprintf(file, sizeof file, "%s", script);
    char *arguments[] = {name, plain, file, NULL};
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    pid_t child;
    int reason = posix_spawnp(&child, name, &actions, NULL, arguments, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (reason == ENOENT)
        return base_fail(error, BASE_EXIT_ENVIRONMENT,
                         "cannot draw %s: gnuplot is not installed (package gnuplot-nox)", path);
    if (reason)
        return base_fail(error, BASE_EXIT_FAILURE, "cannot start gnuplot: %s", strerror(reason));
    int status = 0;
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR)
            return base_fail(error, BASE_EXIT_FAILURE, "lost sight of gnuplot: %s", strerror(errno));
    if (!WIFEXITED(status) || WEXITSTATUS(status))
        return base_fail(error, BASE_EXIT_FAILURE, "cannot draw %s: gnuplot failed", path);
    return 0;
}

int report_plot_save(struct base_error *error, const struct report_plot *plot, const char *path)
{
    const char *end = strrchr(path, '.');
    bool svg = end && !strcmp(end, ".svg");
    if (!svg && (!end || strcmp(end, ".png")))
        return base_fail(error, BASE_EXIT_USAGE, "cannot draw %s: the name must end with .svg or .png", path);
    char folder[4096], script_path[4200], picture[4200];
    if (snprintf(folder, sizeof folder, "%s.XXXXXX", path) >= (int)sizeof folder)
        return base_fail(error, BASE_EXIT_FAILURE, "path too long: %s", path);
    if (!mkdtemp(folder))
        return base_fail(error, BASE_EXIT_FAILURE, "cannot create %s: %s", folder, strerror(errno));
    snprintf(script_path, sizeof script_path, "%s/script", folder);
    snprintf(picture, sizeof picture, "%s/picture", folder);
    struct base_text script = {0};
    write_script(&script, plot, picture, svg);
    int result = base_write_file(error, script_path, script.data, script.used);
    base_text_free(&script);
    if (!result)
        result = draw(error, script_path, path);
    if (!result && rename(picture, path))
        result = base_fail(error, BASE_EXIT_FAILURE, "cannot write %s: %s", path, strerror(errno));
    unlink(picture);
    unlink(script_path);
    rmdir(folder);
    return result;
}
