/*
 * Eight worker processes count the primes below a million. Each of them dies at one of 25 jobs: it is replaced, and another
 * worker does its job: no job is lost, none counts twice.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <aioipc.h>

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "[%d] %s: %s\n", (int)getpid(), what, strerror(errno));
	exit(1);
}

#define JOBS 500
#define NUMBERS 2000 /* in one job */

static int put_new(struct aioqueue *q, uint32_t n)
{
	struct aiomsg *m = aiomsg_new("u", n);
	int r = m ? aioqueue_put(q, m, AIOIPC_FOREVER) : -1;

	aiomsg_free(m);
	return r;
}

/* In a worker: the job is the first of some numbers, the answer how many of them are primes. */
static int count(struct aiomsg *m, struct aioqueue *out, void *arg)
{
	uint32_t from, found = 0, d;

	(void)arg;
	if (aiomsg_unpack(m, "u", &from) == -1)
		return -1;
	if (from / NUMBERS % 25 == (uint32_t)getpid() % 25)
		raise(SIGKILL);
	for (uint32_t n = from; n < from + NUMBERS; n++) {
		for (d = 2; d * d <= n && n % d != 0; d++)
			;
		found += n > 1 && d * d > n;
	}
	return put_new(out, found);
}

int main(void)
{
	struct aioqueue *in = aioqueue_new(JOBS, 0), *out = aioqueue_new(JOBS, 0);
	struct aioservice_options o = {.size = sizeof o, .in = in, .out = out, .handle = count};
	struct aioservice_stats stats = {.size = sizeof stats};
	uint32_t primes = 0, found, answers = 0;
	struct aioservice *s;
	struct aiomsg *m;

	o.kind = AIOSERVICE_FORKED;
	o.workers = 8;
	o.retries = 100;
	s = aioservice_new(&o);
	if (!s || aioservice_start(s) == -1)
		die("service");
	for (uint32_t job = 0; job < JOBS; job++)
		if (put_new(in, job * NUMBERS) == -1)
			die("put");
	aioqueue_close(in);
	for (; aioqueue_get(out, &m, AIOIPC_FOREVER) == 1 && aiomsg_unpack(m, "u", &found) == 0; answers++) {
		primes += found;
		aiomsg_free(m);
	}
	aioservice_stats(s, &stats);
	printf("[%d] %u answers, %u primes below %d, %d workers died\n", (int)getpid(), answers, primes,
	       JOBS * NUMBERS, (int)stats.lost);
	aioservice_close(s, AIOIPC_FOREVER);
	aioqueue_free(in);
	aioqueue_free(out);
	return 0;
}
