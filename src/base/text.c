/* A growable text. */
#include "base/base.h"

#include <stdlib.h>
#include <string.h>

static void reserve(struct base_text *text, size_t more)
{
    size_t need = text->used + more + 1;
    if (need <= text->room)
        return;
    size_t room = text->room ? text->room : 256;
    while (room < need)
        room *= 2;
    char *data = realloc(text->data, room);
    if (!data) {
        fputs("testudo: out of memory\n", stderr);
        abort();
    }
    text->data = data;
    text->room = room;
}

void base_text_add(struct base_text *text, const char *data, size_t bytes)
{
    reserve(text, bytes);
    if (bytes)
        memcpy(text->data + text->used, data, bytes);
    text->used += bytes;
    text->data[text->used] = 0;
}

void base_text_puts(struct base_text *text, const char *string)
{
    base_text_add(text, string, strlen(string));
}

void base_text_printf(struct base_text *text, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int bytes = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (bytes < 0)
        return;
    reserve(text, (size_t)bytes);
    va_start(args, format);
    vsnprintf(text->data + text->used, (size_t)bytes + 1, format, args);
    va_end(args);
    text->used += (size_t)bytes;
}

void base_text_free(struct base_text *text)
{
    free(text->data);
    *text = (struct base_text){0};
}
