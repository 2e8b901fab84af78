/* Rows of numbers and words as aligned text, CSV or Markdown. */
#include "report/report.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct cell {
    char *text; /* NULL: a number */
    double number;
};

struct report_table {
    const struct report_column *columns;
    unsigned column_count;
    struct cell *cells; /* row by row */
    size_t count, room;
};

enum { NUMBER_BYTES = 64 };

static void *must(void *memory)
{
    if (memory)
        return memory;
    base_warn("out of memory");
    abort();
}

struct report_table *report_table_new(const struct report_column *columns, unsigned count)
{
    struct report_table *table = must(calloc(1, sizeof *table));
    table->columns = columns;
    table->column_count = count;
    return table;
}

static void append(struct report_table *table, struct cell cell)
{
    if (table->count == table->room) {
        table->room = table->room ? 2 * table->room : 64;
        table->cells = must(realloc(table->cells, table->room * sizeof *table->cells));
    }
    table->cells[table->count++] = cell;
}

void report_table_number(struct report_table *table, double number)
{
    append(table, (struct cell){.number = number});
}

void report_table_text(struct report_table *table, const char *text)
{
    append(table, (struct cell){.text = must(strdup(text))});
}

/* The cell as text: its own, or its number written into `buffer`. */
static const char *show(char buffer[NUMBER_BYTES], const struct cell *cell, int decimals,
                        enum report_form form)
{
    if (cell->text)
        return cell->text;
    if (isnan(cell->number))
        return form == REPORT_CSV ? "" : "-";
    if (form == REPORT_CSV)
        snprintf(buffer, NUMBER_BYTES, "%.15g", cell->number);
    else if (decimals < 0)
        snprintf(buffer, NUMBER_BYTES, "%.*g", -decimals, cell->number);
    else if (snprintf(buffer, NUMBER_BYTES, "%.*f", decimals, cell->number) >= NUMBER_BYTES)
        snprintf(buffer, NUMBER_BYTES, "%.15g", cell->number);
    return buffer;
}

/* Columns that a UTF-8 text takes on a terminal, as far as no wide or combining characters occur. */
static int width_of(const char *text)
{
    int width = 0;
    for (; *text; text++)
        width += (*text & 0xc0) != 0x80;
    return width;
}

/* One cell of aligned text. The last column carries no blanks at its end. */
static void put_aligned(FILE *out, const char *text, int width, bool right, bool last)
{
    int blanks = width - width_of(text);
    if (right)
        fprintf(out, "%*s", blanks, "");
    fputs(text, out);
    if (!right && !last)
        fprintf(out, "%*s", blanks, "");
    fputs(last ? "\n" : "  ", out);
}

static void put_csv(FILE *out, const char *text, bool last)
{
    if (text[strcspn(text, ",\"\r\n")]) {
        fputc('"', out);
        for (; *text; text++) {
            if (*text == '"')
                fputc('"', out);
            fputc(*text, out);
        }
        fputc('"', out);
    } else {
        fputs(text, out);
    }
    fputs(last ? "\r\n" : ",", out);
}

static void put_markdown(FILE *out, const char *text, bool first)
{
    fputs(first ? "| " : " ", out);
    for (; *text; text++) {
        if (*text == '|' || *text == '\\')
            fputc('\\', out);
        fputc(*text == '\n' ? ' ' : *text, out);
    }
    fputs(" |", out);
}

static void put_cell(FILE *out, const struct report_table *table, unsigned column, int width,
                     const char *text, enum report_form form)
{
    bool last = column + 1 == table->column_count;
    if (form == REPORT_TEXT)
        put_aligned(out, text, width, table->columns[column].number, last);
    else if (form == REPORT_CSV)
        put_csv(out, text, last);
    else
        put_markdown(out, text, column == 0);
}

/* What stands between the names and the first row. */
static void put_rule(FILE *out, const struct report_table *table, const int *widths, enum report_form form)
{
    for (unsigned c = 0; c < table->column_count && form != REPORT_CSV; c++) {
        bool last = c + 1 == table->column_count;
        if (form == REPORT_MARKDOWN)
            fprintf(out, "%s%s|", c ? "" : "\n|", table->columns[c].number ? "---:" : "---");
        for (int i = 0; form == REPORT_TEXT && i < widths[c]; i++)
            fputc('-', out);
        if (form == REPORT_TEXT)
            fputs(last ? "\n" : "  ", out);
    }
    if (form == REPORT_MARKDOWN)
        fputc('\n', out);
}

void report_table_write(FILE *out, const struct report_table *table, enum report_form form)
{
    char buffer[NUMBER_BYTES];
    unsigned columns = table->column_count;
    int *widths = must(calloc(columns ? columns : 1, sizeof *widths));
    for (unsigned c = 0; c < columns; c++)
        widths[c] = width_of(table->columns[c].name);
    for (size_t i = 0; i < table->count; i++) {
        int width = width_of(show(buffer, &table->cells[i], table->columns[i % columns].decimals, form));
        if (width > widths[i % columns])
            widths[i % columns] = width;
    }
    for (unsigned c = 0; c < columns; c++)
        put_cell(out, table, c, widths[c], table->columns[c].name, form);
    put_rule(out, table, widths, form);
    for (size_t i = 0; i < table->count; i++) {
        unsigned c = (unsigned)(i % columns);
        put_cell(out, table, c, widths[c], show(buffer, &table->cells[i], table->columns[c].decimals, form),
                 form);
        if (form == REPORT_MARKDOWN && c + 1 == columns)
            fputc('\n', out);
    }
    free(widths);
}

int report_table_save(struct base_error *error, const struct report_table *table, const char *path,
                      enum report_form form)
{
    char *data = NULL;
    size_t bytes = 0;
    FILE *memory = must(open_memstream(&data, &bytes));
    report_table_write(memory, table, form);
    if (fclose(memory))
        must(NULL);
    int result = base_write_file(error, path, data, bytes);
    free(data);
    return result;
}

void report_table_free(struct report_table *table)
{
    if (!table)
        return;
    for (size_t i = 0; i < table->count; i++)
        free(table->cells[i].text);
    free(table->cells);
    free(table);
}
