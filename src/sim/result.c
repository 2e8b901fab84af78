/* Tables of results, their statistics, and the list of simulations. */
#include "sim/private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const struct sim_simulation sim_simulations[] = {
    {"table1", "members by slice size, and what they detect (Table 1)",
     "A program with 158.93 percent weighted work is divided into the paper's six slice sizes; faults strike random "
     "members in random functions.",
     20000, sim_table1},
    {"table2", "the calculation of three functions' work (Table 2)", "", 1, sim_table2},
    {"figure1", "work by program size, distribution and risk policy (Figure 1)",
     "W for programs of 20 to 20,000 functions, work levels 50 to 50,000, even, norm and skew, flat and exp.",
     10, sim_figure1},
    {"figure2", "members and performance by the share of code at risk (Figure 2)", "", 50, sim_figure2},
    {"apache-like", "a program of 200 functions: W without and with risk (section 2)", "", 1000,
     sim_apache_like},
    {"epidemic", "an attack on a community until all are immune",
     "How many members are needed, what subverted members cost, what slow alerts cost, and the paper's policy beside "
     "ours at equal overhead.",
     200, sim_epidemic},
    {"bidding", "members that share the work by auction over a bad network",
     "Members carry out the table's deals by messages; messages are lost, members die. Fairness, rounds, messages and the part "
     "of the demand that is met.",
     10, sim_bidding},
    {0},
};

void *sim_allocate(size_t count, size_t size)
{
    void *memory = calloc(count ? count : 1, size);
    if (!memory) {
        fputs("testudo: out of memory\n", stderr);
        abort();
    }
    return memory;
}

void sim_result_start(struct sim_result *result, const char *name, const char *title,
                      const struct sim_column *columns, unsigned column_count)
{
    *result =
        (struct sim_result){.name = name, .title = title, .columns = columns, .column_count = column_count};
}

struct sim_cell *sim_result_row(struct sim_result *result)
{
    if (result->row_count == result->room) {
        result->room = 2 * result->room + 16;
        result->cells =
            reallocarray(result->cells, result->room * result->column_count, sizeof *result->cells);
        if (!result->cells)
            abort();
    }
    struct sim_cell *row = result->cells + result->row_count++ * result->column_count;
    memset(row, 0, result->column_count * sizeof *row);
    return row;
}

void sim_result_claim(struct sim_result *result, bool holds, const char *claimed, const char *format, ...)
{
    result->claims = reallocarray(result->claims, result->claim_count + 1, sizeof *result->claims);
    if (!result->claims)
        abort();
    struct sim_claim *claim = &result->claims[result->claim_count++];
    va_list args;
    va_start(args, format);
    claim->claimed = claimed;
    vsnprintf(claim->found, sizeof claim->found, format, args);
    va_end(args);
    claim->holds = holds;
}

void sim_result_plot(struct sim_result *result, struct sim_plot plot)
{
    result->plots[result->plot_count++] = plot;
}

struct sim_series *sim_result_series(struct sim_result *result, size_t count, const char *format, ...)
{
    struct sim_series *series = &result->series[result->series_count++];
    va_list args;
    va_start(args, format);
    vsnprintf(series->name, sizeof series->name, format, args);
    va_end(args);
    series->count = count;
    series->x = sim_allocate(count, sizeof *series->x);
    series->y = sim_allocate(count, sizeof *series->y);
    return series;
}

void sim_result_free(struct sim_result *result)
{
    for (unsigned i = 0; i < result->series_count; i++) {
        free(result->series[i].x);
        free(result->series[i].y);
    }
    free(result->cells);
    free(result->claims);
    *result = (struct sim_result){0};
}

struct sim_cell sim_number(double number)
{
    return (struct sim_cell){.number = number, .low = number, .high = number};
}

struct sim_cell sim_text(const char *text)
{
    return (struct sim_cell){.text = text};
}

void sim_step(const struct sim_options *options, uint64_t done, uint64_t total)
{
    if (options->progress)
        options->progress(options->context, done, total);
}

/* 97.5 percent quantile of Student's t: exact to 0.1 percent from 3 degrees of freedom on (Cornish-Fisher). */
static double student(size_t degrees)
{
    static const double exact[] = {12.706, 4.303};
    if (degrees <= 2)
        return exact[degrees ? degrees - 1 : 0];
    double z = 1.959964, v = (double)degrees, z3 = z * z * z, z5 = z3 * z * z, z7 = z5 * z * z;
    return z + (z3 + z) / (4 * v) + (5 * z5 + 16 * z3 + 3 * z) / (96 * v * v) +
           (3 * z7 + 19 * z5 + 17 * z3 - 15 * z) / (384 * v * v * v);
}

struct sim_cell sim_mean(const double *samples, size_t count)
{
    double mean = 0, squares = 0;
    for (size_t i = 0; i < count; i++)
        mean += samples[i] / (double)count;
    for (size_t i = 0; i < count; i++)
        squares += (samples[i] - mean) * (samples[i] - mean);
    double half = count > 1 ? student(count - 1) * sqrt(squares / (double)(count - 1) / (double)count) : 0;
    return (struct sim_cell){.number = mean, .low = mean - half, .high = mean + half};
}

struct sim_cell sim_part(uint64_t succeeded, uint64_t count)
{
    double n = (double)count, p = (double)succeeded / n, z2 = 1.959964 * 1.959964;
    double middle = (p + z2 / (2 * n)) / (1 + z2 / n);
    double half = 1.959964 / (1 + z2 / n) * sqrt(p * (1 - p) / n + z2 / (4 * n * n));
    return (struct sim_cell){.number = p, .low = fmax(0, middle - half), .high = fmin(1, middle + half)};
}

static int by_number(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

struct sim_cell sim_range(double *samples, size_t count)
{
    qsort(samples, count, sizeof *samples, by_number);
    return (struct sim_cell){.number = samples[count / 2],
                             .low = samples[(size_t)(0.025 * (double)(count - 1))],
                             .high = samples[(size_t)ceil(0.975 * (double)(count - 1))]};
}
