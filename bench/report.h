/* How the comparison is told: a table for people as it goes, JSON for programs at the end. */
#ifndef BENCH_REPORT_H
#define BENCH_REPORT_H

#include <stdbool.h>

#include "bench/table.h"

void report_head(void);
void report_work(const struct work *w);

/* 0, or -1 with errno. */
int report_json(const char *path, const struct work *table, int rounds, int ms, bool pinned);

#endif
