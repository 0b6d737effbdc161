/*
 * A bad way to a server of streams: a thread that passes bytes on for many connections at once, and cuts each of the first ones after so many
 * bytes as a seed says.
 */
#ifndef TESTS_CUTTER_H
#define TESTS_CUTTER_H

struct cutter;

/* Listens at the path @from, connects to @to. The first @cuts connections break, after less than @most bytes each. */
struct cutter *start_cutter(const char *from, const char *to, unsigned cuts, unsigned most, unsigned seed);

/* How many it has cut. stop: what is open breaks. */
unsigned cutter_cuts(struct cutter *c);
void stop_cutter(struct cutter *c);

#endif
