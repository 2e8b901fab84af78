/* A fault report for people: what happened, where, to which memory, what became of it. */
#include "report/report.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool report_colour(FILE *out)
{
    const char *no = getenv("NO_COLOR");
    return isatty(fileno(out)) && !(no && *no);
}

/* Text that came out of a supervised program's files must not drive the reader's terminal. */
static void put_safe(FILE *out, const char *text)
{
    for (; *text; text++)
        fputc((unsigned char)*text < 0x20 || *text == 0x7f ? '?' : *text, out);
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash && slash[1] ? slash + 1 : path;
}

static void put_place(FILE *out, const char *object, uint64_t offset)
{
    fputc('(', out);
    if (object) {
        put_safe(out, base_name(object));
        fputc('+', out);
    }
    fprintf(out, "0x%" PRIx64 ")", offset);
}

static void put_function(FILE *out, const char *function, uint64_t offset)
{
    if (function)
        put_safe(out, function);
    else
        fprintf(out, "function 0x%" PRIx64, offset);
}

static bool same_place(const struct report_frame *a, const struct report_frame *b)
{
    return a->offset == b->offset && a->object == b->object;
}

static void put_frame(FILE *out, unsigned number, const struct report_frame *f)
{
    fprintf(out, "    #%-2u ", number);
    if (f->function) {
        put_safe(out, f->function);
        if (f->into)
            fprintf(out, "+0x%" PRIx64, f->into);
        fputc(' ', out);
    }
    if (f->file) {
        put_safe(out, base_name(f->file));
        fprintf(out, ":%u ", f->line);
    }
    put_place(out, f->object, f->offset);
    fputc('\n', out);
}

static void put_stack(FILE *out, const char *title, const struct report_stack *stack)
{
    if (!stack->count)
        return;
    if (title)
        fprintf(out, "  %s\n", title);
    for (unsigned i = 0, next; i < stack->count; i = next) {
        put_frame(out, i, &stack->frame[i]);
        for (next = i + 1; next < stack->count && same_place(&stack->frame[i], &stack->frame[next]);)
            next++;
        if (next - i > 2)
            fprintf(out, "    ... the same again, to #%u\n", next - 1);
        else
            next = i + 1;
    }
}

/* Where the address lies beside the object: said from the two addresses, which cannot be misread. */
static void put_memory(FILE *out, const struct report_fault *f)
{
    if (!f->has_address)
        return;
    if (f->access) {
        fprintf(out, "  %s", f->access);
        if (f->access_bytes)
            fprintf(out, " of %" PRIu64 " byte%s", f->access_bytes, f->access_bytes == 1 ? "" : "s");
        fprintf(out, " at 0x%" PRIx64, f->address);
    } else {
        fprintf(out, "  address 0x%" PRIx64, f->address);
    }
    if (f->region && f->object_start && f->object_bytes) {
        uint64_t end = f->object_start + f->object_bytes;
        if (f->address >= end)
            fprintf(out, ", %" PRIu64 " bytes after", f->address - end);
        else if (f->address < f->object_start)
            fprintf(out, ", %" PRIu64 " bytes before", f->object_start - f->address);
        else
            fprintf(out, ", %" PRIu64 " bytes into", f->address - f->object_start);
        if (f->variable) {
            fputc(' ', out);
            put_safe(out, f->variable);
            fputc(',', out);
        }
        fprintf(out, " a %s of %" PRIu64 " byte%s [0x%" PRIx64 ", 0x%" PRIx64 ")",
                f->variable ? "local variable" : f->region, f->object_bytes, f->object_bytes == 1 ? "" : "s",
                f->object_start, end);
    } else if (f->region) {
        fprintf(out, ", in a %s", f->region);
    }
    fputc('\n', out);
}

static void put_outcome(FILE *out, const struct report_fault *f)
{
    fprintf(out, "  detected by %s", f->detected_by ? f->detected_by : "unknown");
    if (f->intrinsic) {
        fputs(" of ", out);
        put_safe(out, f->intrinsic);
    }
    if (f->undone) {
        fputs("; undone: ", out);
        put_function(out, f->rescue_point, f->rescue_offset);
        fprintf(out, " returned %" PRId64, f->returned);
    } else {
        fprintf(out, "; %s", f->outcome ? f->outcome : "unknown");
        if (f->signal)
            fprintf(out, ", signal %d", f->signal);
    }
    if (f->not_undone[0]) {
        fputs("\n  not undone: ", out);
        for (unsigned i = 0; i < REPORT_NOT_UNDONE_MAX && f->not_undone[i]; i++)
            fprintf(out, "%s%s", i ? "; " : "", f->not_undone[i]);
    }
    fputc('\n', out);
}

void report_fault_text(FILE *out, const struct report_fault *f, bool colour)
{
    fprintf(out, "testudo: %s%s%s in ", colour ? "\033[1;31m" : "", f->kind ? f->kind : "unknown fault",
            colour ? "\033[0m" : "");
    put_function(out, f->function, f->offset);
    fputc(' ', out);
    put_place(out, f->object, f->offset);
    fprintf(out, ", process %d, fault %s\n", f->pid, f->id);
    put_memory(out, f);
    put_stack(out, NULL, &f->stack);
    put_stack(out, "allocated by", &f->alloc_stack);
    put_stack(out, "freed by", &f->free_stack);
    put_outcome(out, f);
    if (f->object) {
        fputs("  object ", out);
        put_safe(out, f->object);
        if (f->build_id[0])
            fprintf(out, ", build-id %s", f->build_id);
        fputc('\n', out);
    }
    fflush(out);
}

void report_tally_text(FILE *out, const struct report_tally *tally, uint64_t lost)
{
    const struct report_fault *faults;
    size_t distinct = report_tally_faults(tally, &faults);
    uint64_t total = report_tally_total(tally), undone = 0;
    if (!total)
        return;
    for (size_t i = 0; i < distinct; i++) {
        const struct report_fault *f = &faults[i];
        undone += f->undone ? f->count : 0;
        if (f->count < 2)
            continue;
        fprintf(out, "testudo: fault %s, %s in ", f->id, f->kind);
        put_function(out, f->function, f->offset);
        fprintf(out, ", happened %" PRIu64 " times\n", f->count);
    }
    fprintf(out, "testudo: %" PRIu64 " fault%s, %zu distinct, %" PRIu64 " undone\n", total,
            total == 1 ? "" : "s", distinct, undone);
    if (lost)
        fprintf(out, "testudo: %" PRIu64 " more came faster than they could be recorded\n", lost);
    fflush(out);
}
