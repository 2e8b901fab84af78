/* Help of a command in three forms: for people, as a man page, as words for shell completion. */
#include "base/base_help.h"

#include <ctype.h>
#include <string.h>

enum { HELP_COLUMN = 28, WIDTH = 96 };

/* Prints `text` from column `column` on, wrapped at WIDTH, following lines indented to `indent`. A blank is written only
   with the word behind it, so that no line ends with one. */
static void print_wrapped(const char *text, int column, int indent)
{
    int blanks = 0;
    while (*text) {
        int span = (int)strcspn(text, " \n");
        if (span && blanks && column + blanks + span > WIDTH) {
            putchar('\n');
            column = 0;
            blanks = indent;
        }
        if (span)
            column += printf("%*s%.*s", blanks, "", span, text);
        text += span;
        if (*text == '\n') {
            putchar('\n');
            column = 0;
            blanks = indent;
        } else if (*text && span) {
            blanks = 1;
        } else if (*text) {
            blanks++;
        }
        text += *text != 0;
    }
    putchar('\n');
}

/* "--members N", "-o, --output FILE" or, aligned with those, "    --members N". */
static void option_head(struct base_text *text, const struct base_option *o)
{
    if (o->letter)
        base_text_printf(text, "-%c, ", o->letter);
    else
        base_text_puts(text, "    ");
    base_text_printf(text, "--%s", o->name);
    if (o->argument)
        base_text_printf(text, " %s", o->argument);
}

static void option_body(struct base_text *text, const struct base_option *o)
{
    base_text_puts(text, o->help);
    if (o->fallback)
        base_text_printf(text, " (default: %s%s)", o->fallback, o->kind == BASE_OPTION_PERCENT ? "%" : "");
}

static void print_row(const char *head, const char *body)
{
    int column = printf("  %s", head);
    if (column > HELP_COLUMN - 2)
        column = printf("\n") - 1;
    column += printf("%*s", HELP_COLUMN - column, "");
    print_wrapped(body, column, HELP_COLUMN);
}

static void print_option(const struct base_option *o)
{
    struct base_text head = {0}, body = {0};
    option_head(&head, o);
    option_body(&body, o);
    print_row(head.data, body.data);
    base_text_free(&head);
    base_text_free(&body);
}

static void print_example(const char *example)
{
    if (!example)
        return;
    printf("\nExample:\n");
    while (*example) {
        int span = (int)strcspn(example, "\n");
        printf("  %.*s\n", span, example);
        example += span + (example[span] != 0);
    }
}

static const struct base_option help_option = {
    .kind = BASE_OPTION_FLAG, .name = "help", .help = "print this help"};

/* The description, or the summary as a sentence. */
static void describe(struct base_text *text, const struct base_command *c)
{
    base_text_puts(text, c->description ? c->description : c->summary);
    if (!c->description) {
        text->data[0] = (char)toupper((unsigned char)text->data[0]);
        base_text_puts(text, ".");
    }
}

static void command_text(const struct base_command *c)
{
    struct base_text text = {0};
    describe(&text, c);
    printf("Usage: testudo %s [OPTION...]%s%s\n\n", c->name, c->operands ? " " : "",
           c->operands ? c->operands : "");
    print_wrapped(text.data, 0, 0);
    base_text_free(&text);
    printf("\nOptions:\n");
    for (const struct base_option *o = c->options; o && o->kind; o++)
        print_option(o);
    print_option(&help_option);
    print_example(c->example);
}

static void menu_text(const struct base_menu *m)
{
    printf("Usage: testudo %s%sCOMMAND [OPTION...]\n\n", m->name ? m->name : "", m->name ? " " : "");
    print_wrapped(m->summary, 0, 0);
    printf("\nCommands:\n");
    for (const struct base_action *a = m->actions; a->name; a++)
        print_row(a->name, a->summary);
    printf("\ntestudo %s%sCOMMAND --help tells more about one.\n", m->name ? m->name : "",
           m->name ? " " : "");
    print_example(m->example);
}

/* Text for roff: a backslash and a hyphen are escaped, and no line starts with a control character. */
static void roff(const char *text)
{
    bool line_start = true;
    for (; *text; text++) {
        if (line_start && (*text == '.' || *text == '\''))
            printf("\\&");
        if (*text == '\\' || *text == '-')
            putchar('\\');
        putchar(*text == '\\' ? 'e' : *text);
        line_start = *text == '\n';
    }
}

/* A name as file name and title of its page: "profile record" is testudo-profile-record. */
static void page_name(const char *name)
{
    printf("testudo");
    if (name)
        putchar('-');
    for (; name && *name; name++)
        putchar(*name == ' ' ? '-' : *name);
}

static void man_head(const char *name, const char *summary)
{
    printf(".TH ");
    page_name(name);
    printf(" 1 \"\" Testudo\n.SH NAME\n");
    page_name(name);
    printf(" \\- ");
    roff(summary);
    printf("\n.SH SYNOPSIS\n.B testudo%s%s\n", name ? " " : "", name ? name : "");
}

static void man_example(const char *example)
{
    if (!example)
        return;
    printf(".SH EXAMPLE\n.nf\n");
    roff(example);
    printf(".fi\n");
}

static void man_option(const struct base_option *o)
{
    struct base_text head = {0}, body = {0};
    option_head(&head, o);
    option_body(&body, o);
    printf(".TP\n.B ");
    roff(head.data + strspn(head.data, " "));
    putchar('\n');
    roff(body.data);
    putchar('\n');
    base_text_free(&head);
    base_text_free(&body);
}

static void command_man(const struct base_command *c)
{
    man_head(c->name, c->summary);
    printf("[OPTION...]");
    if (c->operands) {
        putchar(' ');
        roff(c->operands);
    }
    printf("\n.SH DESCRIPTION\n");
    struct base_text text = {0};
    describe(&text, c);
    for (char *p = text.data; *p;) {
        size_t span = strcspn(p, "\n");
        bool more = p[span] != 0;
        p[span] = 0;
        roff(p);
        printf(span ? "\n" : ".PP\n");
        p += span + more;
    }
    base_text_free(&text);
    printf(".SH OPTIONS\n");
    for (const struct base_option *o = c->options; o && o->kind; o++)
        man_option(o);
    man_option(&help_option);
    man_example(c->example);
}

static void menu_man(const struct base_menu *m)
{
    man_head(m->name, m->summary);
    printf("COMMAND [OPTION...]\n.SH COMMANDS\n");
    for (const struct base_action *a = m->actions; a->name; a++) {
        printf(".TP\n.B ");
        roff(a->name);
        putchar('\n');
        roff(a->summary);
        putchar('\n');
    }
    man_example(m->example);
}

int base_help_command(const struct base_command *command, const char *form)
{
    if (!form)
        command_text(command);
    else if (!strcmp(form, "man"))
        command_man(command);
    else if (!strcmp(form, "words")) {
        for (const struct base_option *o = command->options; o && o->kind; o++)
            printf("--%s\n", o->name);
        printf("--help\n");
    } else
        return -1;
    return 0;
}

int base_help_menu(const struct base_menu *menu, const char *form)
{
    if (!form)
        menu_text(menu);
    else if (!strcmp(form, "man"))
        menu_man(menu);
    else if (!strcmp(form, "words"))
        for (const struct base_action *a = menu->actions; a->name; a++)
            puts(a->name);
    else
        return -1;
    return 0;
}
