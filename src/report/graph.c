/* Graphs, drawn by graphviz' dot. */
#include "report/drawing.h"

static void put_text(struct base_text *script, const char *text)
{
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            base_text_puts(script, "\\");
        base_text_add(script, (unsigned char)*text < ' ' ? " " : text, 1);
    }
}

static void write_script(struct base_text *script, const char *title, const struct report_node *nodes,
                         size_t node_count, const struct report_link *links, size_t link_count)
{
    base_text_puts(script, "digraph {\nlabel=\"");
    put_text(script, title);
    base_text_puts(
        script, "\"; labelloc=t; rankdir=TB; fontname=sans; ranksep=0.4; nodesep=0.25;\n"
                "node [shape=box, style=\"filled,rounded\", fontname=sans, fontsize=11, color=\"#555555\"];\n"
                "edge [fontname=sans, fontsize=9, color=\"#777777\", arrowsize=0.7];\n");
    for (size_t i = 0; i < node_count; i++) {
        base_text_printf(script, "n%zu [label=\"", i);
        put_text(script, nodes[i].name);
        if (nodes[i].note) {
            base_text_puts(script, "\\n");
            put_text(script, nodes[i].note);
        }
        /* from white to red, so that black letters stay readable */
        base_text_printf(script, "\", fillcolor=\"0.03 %.3f 1.0\"];\n", 0.05 + 0.65 * nodes[i].heat);
    }
    for (size_t i = 0; i < link_count; i++) {
        base_text_printf(script, "n%zu -> n%zu [penwidth=%.2f, label=\"", links[i].from, links[i].to,
                         0.6 + 3.4 * links[i].weight);
        put_text(script, links[i].note ? links[i].note : "");
        base_text_puts(script, "\"];\n");
    }
    base_text_puts(script, "}\n");
}

int report_graph_save(struct base_error *error, const char *title, const struct report_node *nodes,
                      size_t node_count, const struct report_link *links, size_t link_count, const char *path)
{
    enum report_picture form = report__picture(path);
    struct report_drawing drawing;
    struct base_text script = {0};
    if (form == REPORT_NO_PICTURE)
        return base_fail(error, BASE_EXIT_USAGE, "cannot draw %s: the name must end with .svg, .png or .dot",
                         path);
    write_script(&script, title, nodes, node_count, links, link_count);
    int result = -1;
    if (form == REPORT_DOT) {
        result = base_write_file(error, path, script.data, script.used);
    } else if (!report__drawing_begin(error, &drawing, path)) {
        const char *const command[] = {
            "dot", form == REPORT_SVG ? "-Tsvg" : "-Tpng", "-o", drawing.picture, drawing.script, NULL};
        result = report__drawing_end(error, &drawing, &script, command, "graphviz");
    }
    base_text_free(&script);
    return result;
}
