/* How the comparison is told: a table for people as it goes, JSON for programs at the end. */
#ifndef BENCH_REPORT_H
#define BENCH_REPORT_H

#include <stdbool.h>

#include "bench/table.h"

/* With @targets, also what is wanted of each ratio, and whether it is so. */
void report_head(bool targets);
void report_work(const struct work *w, bool targets);

/* 0, or -1 with errno. */
int report_json(const char *path, const struct work *table, int rounds, int ms, bool pinned);

#endif
