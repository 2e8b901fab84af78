/* The progress bar of long work. */
#include "report/report.h"

#include <inttypes.h>
#include <unistd.h>

enum { BAR = 30, REDRAW_NS = 100000000 };

void report_progress_step(struct report_progress *progress, uint64_t done)
{
    uint64_t now_ns = base_monotonic_ns();
    if (progress->shown_ns && now_ns - progress->shown_ns < REDRAW_NS)
        return;
    progress->shown_ns = now_ns;
    if (!isatty(STDERR_FILENO))
        return;
    progress->shown = true;
    if (!progress->total) {
        fprintf(stderr, "\r%s %" PRIu64 "\033[K", progress->label, done);
        return;
    }
    double part = done < progress->total ? (double)done / (double)progress->total : 1;
    int filled = (int)(part * BAR);
    fprintf(stderr, "\r%s [%.*s%*s] %3.0f%%\033[K", progress->label, filled, "##############################",
            BAR - filled, "", 100 * part);
}

void report_progress_end(struct report_progress *progress)
{
    if (progress->shown)
        fputs("\r\033[K", stderr);
    progress->shown = false;
}
