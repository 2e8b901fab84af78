/* Plots, drawn by gnuplot from a script that carries its data. */
#include "report/drawing.h"

#include <math.h>

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

static void put_data(struct base_text *script, size_t panel, size_t index, const struct report_curve *curve,
                     bool y_log)
{
    base_text_printf(script, "$curve%zu_%zu << EOD\n", panel, index);
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

static void put_curve(struct base_text *script, size_t panel, size_t index, const struct report_curve *curve)
{
    const char *style = curve->bars         ? "boxes fs solid 0.8 noborder"
                        : curve->points     ? "points pt 6 ps 1.5 lw 2"
                        : curve->steps      ? "steps lw 2"
                        : curve->count < 20 ? "linespoints lw 2 pt 7 ps 0.5"
                                            : "lines lw 2";
    if (curve->low && curve->high)
        base_text_printf(script, "%s$curve%zu_%zu using 1:2:3:4 with yerrorbars pt 0 lt %zu dt 1 notitle",
                         index ? ", " : "plot ", panel, index, index + 1);
    base_text_printf(script, "%s$curve%zu_%zu using 1:2 with %s lt %zu title ",
                     index || (curve->low && curve->high) ? ", " : "plot ", panel, index, style, index + 1);
    put_quoted(script, curve->name);
}

static void put_panel(struct base_text *script, size_t panel, const struct report_plot *plot)
{
    base_text_puts(script, plot->curve_count < 2 ? "unset key\n" : "set key\n");
    put_setting(script, "title", plot->title);
    put_setting(script, "xlabel", plot->x_label);
    put_setting(script, "ylabel", plot->y_label);
    base_text_printf(script, "%sset logscale x\n%sset logscale y\n", plot->x_log ? "" : "un",
                     plot->y_log ? "" : "un");
    if (plot->names) {
        base_text_printf(script, "set xrange [0.5:%zu.5]\nset xtics (", plot->name_count);
        for (size_t i = 0; i < plot->name_count; i++) {
            base_text_puts(script, i ? ", " : "");
            put_quoted(script, plot->names[i]);
            base_text_printf(script, " %zu", i + 1);
        }
        base_text_puts(script, ")\n");
    } else {
        base_text_puts(script, "set xrange [*:*]\nset xtics autofreq\n");
    }
    bool bars = false;
    for (size_t i = 0; i < plot->curve_count; i++)
        bars |= plot->curves[i].bars;
    base_text_puts(script, bars ? "set yrange [0:*]\nset boxwidth 0.8 relative\n" : "set yrange [*:*]\n");
    for (size_t i = 0; i < plot->curve_count; i++)
        put_curve(script, panel, i, &plot->curves[i]);
    base_text_puts(script, "\n");
}

static void write_script(struct base_text *script, const char *title, const struct report_plot *plots,
                         size_t count, const char *picture, bool svg)
{
    base_text_puts(script, "set encoding utf8\n");
    base_text_printf(script,
                     svg ? "set terminal svg size 900,%zu noenhanced background 'white' font 'sans,14'\n"
                         : "set terminal pngcairo size 1350,%zu noenhanced font 'sans,14'\n",
                     (svg ? 500 : 750) * count - (count > 1 ? 150 * count : 0));
    put_setting(script, "output", picture);
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
    for (size_t i = 0; i < count; i++)
        for (size_t c = 0; c < plots[i].curve_count; c++)
            put_data(script, i, c, &plots[i].curves[c], plots[i].y_log);
    if (count > 1) {
        base_text_printf(script, "set multiplot layout %zu,1 title ", count);
        put_quoted(script, title);
        base_text_puts(script, "\n");
    }
    for (size_t i = 0; i < count; i++)
        put_panel(script, i, &plots[i]);
    if (count > 1)
        base_text_puts(script, "unset multiplot\n");
}

int report_plot_save(struct base_error *error, const struct report_plot *plot, const char *path)
{
    return report_plots_save(error, plot->title, plot, 1, path);
}

int report_plots_save(struct base_error *error, const char *title, const struct report_plot *plots,
                      size_t count, const char *path)
{
    enum report_picture form = report__picture(path);
    if (form != REPORT_SVG && form != REPORT_PNG)
        return base_fail(error, BASE_EXIT_USAGE, "cannot draw %s: the name must end with .svg or .png", path);
    struct report_drawing drawing;
    if (report__drawing_begin(error, &drawing, path))
        return -1;
    struct base_text script = {0};
    write_script(&script, title, plots, count, drawing.picture, form == REPORT_SVG);
    const char *const command[] = {"gnuplot", "-d", drawing.script, NULL};
    int result = report__drawing_end(error, &drawing, &script, command, "gnuplot-nox");
    base_text_free(&script);
    return result;
}
