/*
 * Jobs done by worker processes: a service of forked ones beside Python's pools (py_workers.py). A case is the time of a processor that a job
 * takes, and its size in bytes; its result is as large. The jobs come one by one, and each lives and dies by itself. A worker for each
 * processor, but no less than two and no more than eight.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <aioipc.h>

#include "bench/bench.h"

#define ROUNDS_NS 10000
#define WAITING_BYTES ((size_t)2 << 20) /* of jobs: to fill 16 MiB took as long as ten jobs of 10 ms */

struct pool {
	struct bench *b;
	struct aioqueue *in, *out;
	int64_t work;    /* ns */
	uint64_t rounds; /* of that, ROUNDS_NS at most */
	size_t size;
};

/* Work for a processor. */
static void turn_round(uint64_t n)
{
	while (n-- > 0)
		__asm__ volatile("" ::: "memory");
}

/* Of this thread alone: a processor that others have meanwhile does no work. */
static int64_t worked(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* So many rounds take @ns, when nobody is in the way. */
static uint64_t rounds(int64_t ns)
{
	const uint64_t n = 100000;
	int64_t began, took, least = INT64_MAX;

	for (int i = 0; i < 50; i++) {
		began = worked();
		turn_round(n);
		took = worked() - began;
		if (took < least)
			least = took;
	}
	return n * (uint64_t)ns / (uint64_t)least;
}

/* To ask that clock takes longer than a microsecond on some systems: a short job does not. */
static int handle(struct aiomsg *m, struct aioqueue *out, void *arg)
{
	const struct pool *p = arg;
	int64_t until = p->work > ROUNDS_NS ? worked() + p->work : 0;

	do
		turn_round(p->rounds);
	while (until && worked() < until);
	return aioqueue_put(out, m, AIOIPC_FOREVER);
}

/* Until the queue is closed. */
static void *feed(void *arg)
{
	struct pool *p = arg;
	char *data = must_have(calloc(1, p->size), "calloc");
	int r = 0;

	while (r == 0) {
		struct aiomsg *m = must_have(aiomsg_new_bytes(data, p->size), "message");

		r = aioqueue_put(p->in, m, AIOIPC_FOREVER);
		aiomsg_free(m);
	}
	free(data);
	return NULL;
}

static void take_one(struct pool *p)
{
	struct aiomsg *m;

	if (aioqueue_get(p->out, &m, AIOIPC_FOREVER) != 1)
		must(-1, "get");
	aiomsg_free(m);
}

static unsigned workers(void)
{
	long n = sysconf(_SC_NPROCESSORS_ONLN);

	return n < 2 ? 2 : n > 8 ? 8 : (unsigned)n;
}

/* The first results come before the clock starts. */
static void run(struct bench *b, int64_t us, size_t size)
{
	struct pool p = {.b = b, .work = us * 1000, .rounds = rounds(ROUNDS_NS), .size = size};
	struct aioservice_options o = {.size = sizeof o, .kind = AIOSERVICE_FORKED, .workers = workers()};
	struct aioservice *s;
	pthread_t feeder;
	int64_t until;

	o.in = p.in = must_have(aioqueue_new(256, WAITING_BYTES), "queue");
	o.out = p.out = must_have(aioqueue_new(256, 0), "queue");
	o.handle = handle;
	o.arg = &p;
	s = must_have(aioservice_new(&o), "service");
	must(aioservice_start(s), "start");
	must(pthread_create(&feeder, NULL, feed, &p) ? -1 : 0, "thread");
	for (unsigned i = 0; i < 2 * o.workers; i++)
		take_one(&p);
	until = bench_now() + b->span;
	bench_start(b);
	while (bench_now() < until) {
		take_one(&p);
		bench_add(b, 1);
	}
	bench_end(b);
	aioservice_abort(s);
	pthread_join(feeder, NULL);
	aioqueue_free(p.in);
	aioqueue_free(p.out);
}

static void run_10us_64(struct bench *b)
{
	run(b, 10, 64);
}

static void run_10us_64k(struct bench *b)
{
	run(b, 10, 65536);
}

static void run_1ms_64(struct bench *b)
{
	run(b, 1000, 64);
}

static void run_10ms_64(struct bench *b)
{
	run(b, 10000, 64);
}

static void run_10ms_64k(struct bench *b)
{
	run(b, 10000, 65536);
}

static const struct bench_case cases[] = {
	{"10us-64", run_10us_64}, {"10us-64k", run_10us_64k}, {"1ms-64", run_1ms_64},
	{"10ms-64", run_10ms_64}, {"10ms-64k", run_10ms_64k}, {NULL, NULL},
};

int main(int argc, char **argv)
{
	return bench_main(argc, argv, cases);
}
