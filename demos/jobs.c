/*
 * A pool of workers on any number of machines, which a server of Redis or Valkey keeps together: they count the primes below a million. Workers
 * may come, leave and be killed at any time. No job is lost, and none counts twice.
 *
 *	demos/jobs redis://host work      on each machine; any number of them
 *	demos/jobs redis://host           asks, and prints what came out
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <aioipc.h>

#define JOBS 500
#define NUMBERS 2000 /* in one job */
#define AT_ONCE 16   /* jobs that a worker has */

static volatile sig_atomic_t stopped;

static void stop(int sig)
{
	stopped = sig;
}

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "[%d] %s: %s\n", (int)getpid(), what, strerror(errno));
	exit(1);
}

/* Without a group it sends. The lease is short: what a worker that was killed had is done by another one after a second. */
static struct aiostream *open_stream(const char *address, const char *name, const char *group)
{
	struct aiostream_options o = {
		.size = sizeof o, .address = address, .stream = name, .group = group, .from_start = group};
	struct aiostream *s;

	if (group) {
		o.lease = 1000;
		o.prefetch = AT_ONCE;
	}
	s = aiostream_new(&o);
	if (!s || aiostream_start(s, NULL) == -1)
		die(address);
	return s;
}

static void put(struct aiostream *s, struct aiomsg *m)
{
	if (!m || aioqueue_put(aiostream_queue(s), m, AIOIPC_FOREVER) == -1)
		die("put");
	aiomsg_free(m);
}

static uint32_t count_primes(uint32_t from)
{
	uint32_t found = 0, d;

	for (uint32_t n = from; n < from + NUMBERS; n++) {
		for (d = 2; d * d <= n && n % d != 0; d++)
			;
		found += n > 1 && d * d > n;
	}
	return found;
}

/* Who asked, which job, and how many primes. */
static void answer(struct aiostream *answers, const struct aiomsg *job)
{
	uint64_t run;
	uint32_t n;

	if (aiomsg_unpack(job, "Uu", &run, &n) == 0)
		put(answers, aiomsg_new("Uuu", run, n, count_primes(n * NUMBERS)));
}

/* False: it is to stop before that, and the server may be gone. */
static bool is_confirmed(struct aiostream *s, uint64_t n)
{
	struct aiostream_stats stats = {.size = sizeof stats};

	while (aiostream_stats(s, &stats) == 0 && stats.sent + stats.refused < n) {
		if (stopped)
			return false;
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	}
	return true;
}

/* A job is acknowledged when its answers are confirmed: a worker that is killed before that leaves it to another one. */
static int work(const char *address)
{
	struct aiostream *jobs = open_stream(address, "jobs", "workers"),
			 *answers = open_stream(address, "answers", NULL);
	struct aiomsg *m[AT_ONCE];
	uint64_t answered = 0;
	bool confirmed;
	ssize_t n;

	while (!stopped) {
		n = aioqueue_get_all(aiostream_queue(jobs), m, AT_ONCE, AIOIPC_FOREVER);
		for (ssize_t i = 0; i < n; i++)
			answer(answers, m[i]);
		answered += n > 0 ? (uint64_t)n : 0;
		confirmed = is_confirmed(answers, answered);
		for (ssize_t i = 0; i < n; i++) {
			if (confirmed)
				aiomsg_ack(m[i]);
			aiomsg_free(m[i]);
		}
	}
	aiostream_close(answers, aioipc_after(5000));
	return aiostream_close(jobs, aioipc_after(5000)) == -1;
}

/* An answer that came before is one of a job that was done twice. True: it is new. */
static bool note(const struct aiomsg *m, uint64_t run, bool *done, uint32_t *primes)
{
	uint32_t n, found;
	uint64_t of;

	if (aiomsg_unpack(m, "Uuu", &of, &n, &found) == -1 || of != run || n >= JOBS || done[n])
		return false;
	done[n] = true;
	*primes += found;
	return true;
}

static int ask(const char *address)
{
	struct aiostream *jobs = open_stream(address, "jobs", NULL),
			 *answers = open_stream(address, "answers", "askers");
	uint64_t run = (uint64_t)time(NULL) << 32 | (uint32_t)getpid();
	uint32_t primes = 0, left = JOBS;
	bool done[JOBS] = {false};
	struct aiomsg *m;

	for (uint32_t n = 0; n < JOBS; n++)
		put(jobs, aiomsg_new("Uu", run, n));
	if (aiostream_close(jobs, aioipc_after(10000)) == -1)
		die("jobs");
	while (left > 0 && aioqueue_get(aiostream_queue(answers), &m, AIOIPC_FOREVER) == 1) {
		left -= note(m, run, done, &primes);
		aiomsg_ack(m);
		aiomsg_free(m);
	}
	printf("%u primes below %d\n", primes, JOBS * NUMBERS);
	return aiostream_close(answers, aioipc_after(5000)) == -1 || left > 0;
}

int main(int argc, char **argv)
{
	struct sigaction act = {.sa_handler = stop};

	if (argc < 2 || argc > 3 || (argc == 3 && strcmp(argv[2], "work") != 0)) {
		fprintf(stderr, "usage: %s redis://host [work]\n", argv[0]);
		return 2;
	}
	if (argc == 2)
		return ask(argv[1]);
	sigaction(SIGTERM, &act, NULL);
	sigaction(SIGINT, &act, NULL);
	return work(argv[1]);
}
