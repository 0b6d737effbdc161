/*
 * A pool of eight worker processes that counts the primes below a million. Workers are killed at random
 * while they work; each is replaced, and the job it had is done by another: no job is lost, none counts
 * twice.
 */
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/wait.h>

#include <event2/event.h>

#include <aioipc.h>

#include "demos/demo.h"

#define WORKERS 8
#define JOBS 500
#define NUMBERS 2000  /* in one job */
#define KILL_EVERY 25 /* answers */

struct worker {
	struct aioproc *proc; /* NULL once it was reaped */
	struct aioconn *conn; /* NULL once it has ended */
	int job;              /* what it works on, -1: nothing */
};

static struct event_base *base;
static struct worker worker[WORKERS];
static int todo[JOBS], left; /* jobs that nobody works on */
static int answers, deaths;
static uint32_t primes;

static bool is_prime(uint32_t n)
{
	if (n < 4)
		return n > 1;
	if (n % 2 == 0)
		return false;
	for (uint32_t d = 3; d * d <= n; d += 2)
		if (n % d == 0)
			return false;
	return true;
}

/* The worker process: a job is a stretch of numbers, the answer how many of them are primes. */
static int work(void *arg)
{
	struct aioconn *c = aioend_open(arg, NULL);
	struct aiomsg *m;
	int32_t job;
	uint32_t from, n, found;
	int got;

	while (c && (got = aioconn_recv(c, &m, AIOIPC_FOREVER)) == 1) {
		if (aiomsg_unpack(m, "iuu", &job, &from, &n) == -1)
			die("unpack");
		aiomsg_free(m);
		found = 0;
		for (uint32_t i = 0; i < n; i++)
			found += is_prime(from + i);
		if (aioconn_send(c, "iu", job, found) == -1)
			die("answer");
	}
	if (!c || got == -1)
		die("worker");
	aioconn_close(c, AIOIPC_NOW);
	return 0;
}

static void give(struct worker *w)
{
	int job;

	if (left == 0)
		return;
	job = todo[left - 1];
	if (aioconn_send(w->conn, "iuu", (int32_t)job, (uint32_t)job * NUMBERS, (uint32_t)NUMBERS) == -1)
		return; /* it died: on_close follows */
	w->job = job;
	left--;
}

static void kill_one(void)
{
	struct worker *w = &worker[rand() % WORKERS];

	if (w->proc)
		aioproc_kill(w->proc, SIGKILL);
}

static void dismiss(void)
{
	for (int i = 0; i < WORKERS; i++)
		if (worker[i].conn)
			aioconn_finish(worker[i].conn, aioipc_after(5000));
}

static void on_answer(struct aioconn *c, struct aiomsg *m, void *arg)
{
	struct worker *w = arg;
	int32_t job;
	uint32_t found;

	(void)c;
	if (aiomsg_unpack(m, "iu", &job, &found) == -1 || job != w->job)
		die("answer");
	w->job = -1;
	primes += found;
	if (++answers == JOBS) {
		dismiss();
		return;
	}
	if (answers % KILL_EVERY == 0)
		kill_one();
	give(w);
}

static void start(struct worker *w);

/* A worker is gone when its connection has ended, after the last of its answers, and it was reaped. */
static void gone(struct worker *w)
{
	if (!w->conn && !w->proc && answers < JOBS)
		start(w);
}

static void on_close(struct aioconn *c, enum aioconn_cause cause, void *arg)
{
	struct worker *w = arg;

	(void)cause;
	aioconn_abort(c);
	w->conn = NULL;
	if (w->job != -1)
		todo[left++] = w->job;
	w->job = -1;
	gone(w);
}

static void on_exit_of(struct aioproc *p, int status, void *arg)
{
	struct worker *w = arg;

	if (WIFSIGNALED(status)) {
		deaths++;
		printf("[%d] worker %d died of signal %d\n", (int)getpid(), (int)aioproc_pid(p),
		       WTERMSIG(status));
	}
	aioproc_free(p);
	w->proc = NULL;
	gone(w);
}

static void start(struct worker *w)
{
	struct aioend *ours, *theirs;

	if (aiosockpair(&ours, &theirs) == -1)
		die("aiosockpair");
	w->job = -1;
	w->proc = aioproc_start_with(work, theirs, &theirs, 1);
	if (!w->proc || aioproc_on_exit(w->proc, base, on_exit_of, w) == -1)
		die("start");
	aioend_free(theirs);
	w->conn = aioend_open(ours, base);
	if (!w->conn)
		die("open");
	aioconn_set_callbacks(w->conn, on_answer, NULL, on_close, w);
	give(w);
}

int main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	base = event_base_new();
	if (!base)
		die("event_base_new");
	while (left < JOBS)
		todo[left] = left, left++;
	printf("[%d] %d workers, %d jobs\n", (int)getpid(), WORKERS, JOBS);
	for (int i = 0; i < WORKERS; i++)
		start(&worker[i]);
	event_base_dispatch(base);
	event_base_free(base);
	printf("[%d] %d answers, %u primes below %d, %d workers died\n", (int)getpid(), answers, primes,
	       JOBS * NUMBERS, deaths);
	return 0;
}
