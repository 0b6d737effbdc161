/*
 * make bench: runs the measuring programs beside it, the contestants of each work in turn and the whole again for every round,
 * so that a slow moment of the machine hits all alike. The figure is the median of the rounds, the ratio the
 * median of the rounds' ratios: compare within one run only.
 */
#include <errno.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/bench.h"
#include "bench/report.h"
#include "bench/table.h"

struct options {
	const char *json;
	const char *only; /* works whose name holds this */
	int rounds, ms;
	bool pin, targets;
};

static const char *folder; /* of this program and the others */

static double figure(enum unit unit, double count, double ns)
{
	switch (unit) {
	case MILLIONS:
		return count / ns * 1e3;
	case GIGABYTES:
		return count / ns;
	case KIBIBYTES:
		return ns / count / 1024;
	default:
		return ns / count / 1e3;
	}
}

static void measure(const struct options *o, enum unit unit, struct contestant *c, int round)
{
	char command[512];
	double count, ns;
	FILE *out;

	snprintf(command, sizeof command, "%s/%s", folder, c->program);
	if (access(command, X_OK) != 0)
		c->state = MISSING;
	if (c->state == MISSING || c->state == FAILED)
		return;
	snprintf(command, sizeof command, "exec '%s/%s' --ms %d %s %s", folder, c->program, o->ms,
		 o->pin ? "" : "--no-pin", c->measures);
	out = must_have(popen(command, "r"), "popen");
	c->state = fscanf(out, "%lf %lf", &count, &ns) == 2 ? MEASURED : FAILED;
	if (c->state == MEASURED)
		c->sample[round] = figure(unit, count, ns);
	if (pclose(out) == BENCH_SKIPPED << 8)
		c->state = MISSING;
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(const double *sample, int n)
{
	double sorted[ROUNDS_MOST];

	memcpy(sorted, sample, (size_t)n * sizeof *sample);
	qsort(sorted, (size_t)n, sizeof *sorted, by_size);
	return n % 2 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
}

static void sum_up(struct work *w, int rounds)
{
	double ratio[ROUNDS_MOST];

	for (struct contestant *c = w->who; c->who; c++) {
		if (c->state != MEASURED)
			continue;
		c->median = median(c->sample, rounds);
		if (w->who->state != MEASURED)
			continue;
		for (int i = 0; i < rounds; i++)
			ratio[i] = w->who->sample[i] / c->sample[i];
		c->ratio = median(ratio, rounds);
	}
}

static void compare(const struct options *o, struct work *w)
{
	bool shown = isatty(STDERR_FILENO);

	for (int round = 0; round < o->rounds; round++)
		for (struct contestant *c = w->who; c->who; c++) {
			if (shown)
				fprintf(stderr, "\r\033[K%s, round %d of %d: %s", w->name, round + 1,
					o->rounds, c->who);
			measure(o, w->unit, c, round);
		}
	if (shown)
		fprintf(stderr, "\r\033[K");
	sum_up(w, o->rounds);
	report_work(w, o->targets);
}

static int read_options(struct options *o, int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--no-pin") == 0)
			o->pin = false;
		else if (strcmp(argv[i], "--targets") == 0)
			o->targets = true;
		else if (i + 1 == argc)
			return -1;
		else if (strcmp(argv[i], "--json") == 0)
			o->json = argv[++i];
		else if (strcmp(argv[i], "--only") == 0)
			o->only = argv[++i];
		else if (strcmp(argv[i], "--rounds") == 0)
			o->rounds = atoi(argv[++i]);
		else if (strcmp(argv[i], "--ms") == 0)
			o->ms = atoi(argv[++i]);
		else
			return -1;
	}
	return o->rounds >= 1 && o->rounds <= ROUNDS_MOST && o->ms >= 1 ? 0 : -1;
}

/* Two processes that talk want two processors to themselves. */
static void mind_the_load(void)
{
	double load = 0;

	if (getloadavg(&load, 1) == 1 && load > 0.5)
		printf("note: the machine has other work (load %.1f), so these figures are rough\n", load);
}

int main(int argc, char **argv)
{
	struct options o = {.only = "", .rounds = 7, .ms = 120, .pin = true};

	if (read_options(&o, argc, argv) == -1) {
		fprintf(stderr,
			"usage: %s [--json FILE] [--only TEXT] [--rounds N] [--ms N] [--no-pin] "
			"[--targets]\n",
			argv[0]);
		return 2;
	}
	folder = dirname(argv[0]);
	mind_the_load();
	report_head(o.targets);
	for (struct work *w = bench_table; w->name; w++)
		if (strstr(w->name, o.only))
			compare(&o, w);
	if (o.json && report_json(o.json, bench_table, o.rounds, o.ms, o.pin) == -1) {
		perror(o.json);
		return 1;
	}
	return 0;
}
