/* What is compared with what: one entry for each kind of work, in it the library first and beside it those it is compared with. */
#ifndef BENCH_TABLE_H
#define BENCH_TABLE_H

#include <stdbool.h>

#define ROUNDS_MOST 31
#define WHO_MOST 8

enum unit {
	MILLIONS,     /* messages a second; more is better */
	GIGABYTES,    /* a second; more is better */
	MICROSECONDS, /* each; less is better */
	KIBIBYTES,    /* each; less is better */
};

struct contestant {
	const char *who;
	const char *program;  /* in the folder of the runner; missing ones are said to be missing */
	const char *measures; /* its case */
	double target; /* for the library's figure divided by this one's: at least, or where less is better at most; 0 none */

	double sample[ROUNDS_MOST]; /* one a round */
	double median;
	double ratio; /* the median of the rounds' ratios */
	enum { NOT_RUN, MEASURED, MISSING, FAILED } state;
};

struct work {
	const char *name;
	enum unit unit;
	struct contestant who[WHO_MOST]; /* the library first; they end with a NULL name */
};

/* Ends with a NULL name. */
extern struct work bench_table[];

static inline bool less_is_better(enum unit unit)
{
	return unit == MICROSECONDS || unit == KIBIBYTES;
}

static inline bool on_target(const struct work *w, const struct contestant *c)
{
	return less_is_better(w->unit) ? c->ratio <= c->target : c->ratio >= c->target;
}

#endif
