/*
 * What a child pays for each connection that it inherits on an event base: forking, making the base its own, freeing them all; or being
 * started, when it touches none. It must not grow with how many there are.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <event2/event.h>

#include <aioipc.h>

#include "bench/bench.h"

#define FEW 500
#define MANY 8000

struct crowd {
	struct event_base *base;
	struct aioconn *conn[MANY];
	int n;
};

static void need_fds(rlim_t n)
{
	struct rlimit r;

	must(getrlimit(RLIMIT_NOFILE, &r), "getrlimit");
	if (r.rlim_cur < n)
		r.rlim_cur = n;
	must(setrlimit(RLIMIT_NOFILE, &r), "setrlimit");
}

static void gather(struct crowd *c, int n)
{
	struct aioend *a, *b;

	need_fds((rlim_t)n + 64);
	c->base = must_have(event_base_new(), "event_base_new");
	for (c->n = 0; c->n < n; c->n += 2) {
		must(aiosockpair(&a, &b), "aiosockpair");
		c->conn[c->n] = must_have(aioend_open(a, c->base), "aioend_open");
		c->conn[c->n + 1] = must_have(aioend_open(b, c->base), "aioend_open");
	}
}

static int inherit(struct crowd *c)
{
	if (aioipc_base_reinit(c->base) == -1)
		return 1;
	for (int i = 0; i < c->n; i++)
		aioconn_abort(c->conn[i]);
	return 0;
}

/* As many connections altogether, whatever their number. */
static void fork_with(struct bench *b, int n)
{
	static struct crowd crowd;
	int status;
	pid_t pid;

	gather(&crowd, n);
	bench_start(b);
	for (int i = 0; i < MANY / n; i++) {
		pid = must(fork(), "fork");
		if (pid == 0)
			_exit(inherit(&crowd));
		must(waitpid(pid, &status, 0), "waitpid");
		must(status ? -1 : 0, "aioipc_base_reinit");
		bench_add(b, (uint64_t)n);
	}
	bench_end(b);
}

static int touches_nothing(void *arg)
{
	(void)arg;
	return 0;
}

static void start_with(struct bench *b, int n)
{
	static struct crowd crowd;
	struct aioproc *p;
	int status;

	gather(&crowd, n);
	bench_start(b);
	for (int i = 0; i < MANY / n; i++) {
		p = must_have(aioproc_start(touches_nothing, NULL), "aioproc_start");
		must(aioproc_join(p, &status, AIOIPC_FOREVER), "aioproc_join");
		aioproc_free(p);
		bench_add(b, (uint64_t)n);
	}
	bench_end(b);
}

static void few(struct bench *b)
{
	fork_with(b, FEW);
}

static void many(struct bench *b)
{
	fork_with(b, MANY);
}

static void start_few(struct bench *b)
{
	start_with(b, FEW);
}

static void start_many(struct bench *b)
{
	start_with(b, MANY);
}

int main(int argc, char **argv)
{
	static const struct bench_case cases[] = {{"few", few},
						  {"many", many},
						  {"start_few", start_few},
						  {"start_many", start_many},
						  {NULL, NULL}};

	return bench_main(argc, argv, cases);
}
