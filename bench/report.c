/* Prints what table.h holds: see report.h. */
#include <stdio.h>

#include "bench/report.h"

static const char *const units[] = {"M/s", "GB/s", "us", "KiB"};
static const char *const states[] = {"not run", "", "missing", "failed"};

void report_head(bool targets)
{
	printf("%-30s %-26s %13s  %8s%s\n", "work", "who", "figure", "aioipc/", targets ? "  target" : "");
}

static void print_ratio(const struct work *w, const struct contestant *c, bool targets)
{
	printf("  %8.2f", c->ratio);
	if (targets && c->target > 0)
		printf("  %s %-4g  %s", less_is_better(w->unit) ? "<=" : ">=", c->target,
		       on_target(w, c) ? "met" : "MISSED");
}

void report_work(const struct work *w, bool targets)
{
	for (const struct contestant *c = w->who; c->who; c++) {
		printf("%-30s %-26s", c == w->who ? w->name : "", c->who);
		if (c->state == MEASURED)
			printf(" %8.2f %-4s", c->median, units[w->unit]);
		else
			printf(" %13s", states[c->state]);
		if (c != w->who && c->ratio > 0)
			print_ratio(w, c, targets);
		putchar('\n');
	}
	fflush(stdout);
}

/* The names in the table hold quotes, and nothing else that JSON would mind. */
static void json_text(FILE *f, const char *name, const char *text)
{
	fprintf(f, "\"%s\": \"", name);
	for (; *text; text++) {
		if (*text == '"')
			fputc('\\', f);
		fputc(*text, f);
	}
	fputc('"', f);
}

static void json_contestant(FILE *f, const struct work *w, const struct contestant *c, int rounds)
{
	fputs("      {", f);
	json_text(f, "who", c->who);
	if (c->state == MEASURED) {
		fprintf(f, ", \"median\": %.4f, \"samples\": [", c->median);
		for (int i = 0; i < rounds; i++)
			fprintf(f, "%s%.4f", i > 0 ? ", " : "", c->sample[i]);
		fputc(']', f);
	} else {
		fputs(", ", f);
		json_text(f, "state", states[c->state]);
	}
	if (c != w->who && c->ratio > 0)
		fprintf(f, ", \"ratio\": %.4f", c->ratio);
	if (c->target > 0)
		fprintf(f, ", \"target\": %g", c->target);
	if (c->target > 0 && c->ratio > 0)
		fprintf(f, ", \"met\": %s", on_target(w, c) ? "true" : "false");
	fprintf(f, "}%s\n", c[1].who ? "," : "");
}

int report_json(const char *path, const struct work *table, int rounds, int ms, bool pinned)
{
	FILE *f = fopen(path, "w");

	if (!f)
		return -1;
	fprintf(f, "{\"rounds\": %d, \"ms\": %d, \"pinned\": %s, \"works\": [\n", rounds, ms,
		pinned ? "true" : "false");
	for (const struct work *w = table; w->name; w++) {
		fputs("  {", f);
		json_text(f, "work", w->name);
		fputs(", ", f);
		json_text(f, "unit", units[w->unit]);
		fputs(", \"results\": [\n", f);
		for (const struct contestant *c = w->who; c->who; c++)
			json_contestant(f, w, c, rounds);
		fprintf(f, "  ]}%s\n", w[1].name ? "," : "");
	}
	fputs("]}\n", f);
	return fclose(f);
}
