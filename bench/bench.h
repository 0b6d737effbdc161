/*
 * What the measuring programs share: two processes, a clock, and the figure that comes out. Each program, raw or
 * libevent or aioipc, is a list of cases; it runs one of them once and prints "COUNT NANOSECONDS". What is compared
 * with what, how often, and what should come out, is the runner's: bench/table.c.
 */
#ifndef BENCH_H
#define BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SMALL 64
#define BULK 65536
#define CHILDREN 1000
#define IDLE 1000
#define SPIN 20 /* microseconds */

/* One measurement. Each of the two processes has a copy of its own; only the figure is shared. */
struct bench {
	bool pin;
	int64_t span;   /* how long to go on, ns */
	int64_t until;  /* when that is over; 0 until the first turns went well */
	unsigned spare; /* turns until the next look at the clock */
	int64_t start;
	uint64_t count;
	struct bench_figure *figure;
	char address[48]; /* for peers that want one, the same in both processes */
};

/* A case makes its ends, calls bench_fork(), and returns in both processes when it is through. */
struct bench_case {
	const char *name;
	void (*run)(struct bench *b);
};

/* The main() of a measuring program; the cases end with a NULL name. */
int bench_main(int argc, char **argv, const struct bench_case *cases);

/* Forks. True in the child. Each process is pinned to a processor of its own. */
bool bench_fork(struct bench *b);

/* False once the time is up. */
bool bench_more(struct bench *b);

/* The clock starts: at once, or with the first bench_add(), which then does not count. */
void bench_start(struct bench *b);
void bench_add(struct bench *b, uint64_t n);

/* The clock stops, and the figure is what this process counted. */
void bench_end(struct bench *b);

/* Counts what comes, until the end, BULK at a time at most; and bench_end(). */
void bench_read_bulk(struct bench *b, int fd);

/* A port of TCP that nobody has just now. */
int bench_port(void);

/* Room for IDLE connections with all that they need; bytes in use by malloc; and what @n take, for a figure that is no time. */
void bench_need_fds(void);
int64_t bench_heap(void);
void bench_took(struct bench *b, uint64_t n, int64_t bytes);

/* What this process has taken of processors, ns. bench_end_time(): the figure is that, since @from, for what it counted. */
int64_t bench_processor_time(void);
void bench_end_time(struct bench *b, int64_t from);

/* What a reader does with a message: counts it. True when it is the last, which the first byte tells. */
bool bench_got(struct bench *b, const void *data, uint64_t n);

/* What a writer sends next: @message marked as the last when the time is up. True while it is not. */
bool bench_next(struct bench *b, void *message);

int64_t bench_now(void);

/* What is measured is not here: says @why, and ends the program with a status from which the runner knows. */
#define BENCH_SKIPPED 77
_Noreturn void bench_skip(const char *why);

/* -1 and NULL end the program with a word on stderr. */
int must(int result, const char *what);
void *must_have(void *p, const char *what);

#endif
