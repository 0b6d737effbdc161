/* Tasks under measurement: what a switch costs, and what a message does that a task waits for. */
#include <setjmp.h>
#include <ucontext.h>

#include <event2/event.h>

#include <aioipc.h>

#include "bench/bench.h"

#define BATCH 1000

static struct bench *bench;
static struct event_base *base;
static struct aioconn *conn;

/* Two tasks that give way to each other, for ever. */

static bool done;

static void give_way(void *arg)
{
	(void)arg;
	while (!done)
		must(aiotask_sleep(AIOIPC_NOW), "aiotask_sleep");
}

static void count_switches(void *arg)
{
	(void)arg;
	bench_start(bench);
	while (bench_more(bench)) {
		for (int i = 0; i < BATCH; i++)
			must(aiotask_sleep(AIOIPC_NOW), "aiotask_sleep");
		bench_add(bench, 2 * BATCH);
	}
	bench_end(bench);
	done = true;
}

static void switches(struct bench *b)
{
	bench = b;
	base = must_have(event_base_new(), "event_base_new");
	aiotask_free(must_have(aiotask_spawn(base, give_way, NULL), "aiotask_spawn"));
	must(aiotask_run(base, count_switches, NULL), "aiotask_run");
	event_base_free(base);
}

/* The same by hand: nothing but the jumps, in a function as they must be. */

static jmp_buf here, there;

__attribute__((noinline)) static void jump(jmp_buf from, jmp_buf to)
{
	if (_setjmp(from) == 0)
		_longjmp(to, 1);
}

static void jump_back(void)
{
	for (;;)
		jump(there, here);
}

static void jumps(struct bench *b)
{
	static char stack[65536];
	ucontext_t main_context, other;

	must(getcontext(&other), "getcontext");
	other.uc_stack.ss_sp = stack;
	other.uc_stack.ss_size = sizeof stack;
	makecontext(&other, jump_back, 0);
	if (_setjmp(here) == 0)
		must(swapcontext(&main_context, &other), "swapcontext");
	bench_start(b);
	while (bench_more(b)) {
		for (int i = 0; i < BATCH; i++)
			jump(here, there);
		bench_add(b, 2 * BATCH);
	}
	bench_end(b);
}

/* Messages. The child reads, or answers. */

static bool open_end(struct bench *b, int (*make)(struct aioend **, struct aioend **))
{
	struct aioend *end[2];
	bool child;

	bench = b;
	must(make(&end[0], &end[1]), "aiosockpair or aioduplex");
	must(aioend_detach(end[1]), "aioend_detach");
	child = bench_fork(b);
	aioend_free(end[!child]);
	base = must_have(event_base_new(), "event_base_new");
	conn = must_have(aioend_open(end[child], base), "aioend_open");
	return child;
}

static void run(void (*fn)(void *), void *arg)
{
	must(aiotask_run(base, fn, arg), "aiotask_run");
	event_base_free(base);
}

static void send_all(void *arg)
{
	char message[SMALL] = {0};
	bool more = true;

	(void)arg;
	while (more) {
		more = bench_next(bench, message);
		must(aioconn_send_bytes(conn, message, SMALL), "aioconn_send_bytes");
	}
	aioconn_close(conn, AIOIPC_FOREVER);
}

static void recv_all(void *arg)
{
	struct aiomsg *m;
	bool more = true;

	(void)arg;
	while (more && must(aioconn_recv(conn, &m, AIOIPC_FOREVER), "aioconn_recv") == 1) {
		more = !bench_got(bench, aiomsg_bytes(m, NULL), 1);
		aiomsg_free(m);
	}
	bench_end(bench);
	aioconn_close(conn, AIOIPC_FOREVER);
}

static void small(struct bench *b)
{
	run(open_end(b, aiosockpair) ? recv_all : send_all, NULL);
}

static void echo_all(void *arg)
{
	struct aiomsg *m;

	(void)arg;
	while (must(aioconn_recv(conn, &m, AIOIPC_FOREVER), "aioconn_recv") == 1) {
		must(aioconn_send_bytes(conn, aiomsg_bytes(m, NULL), SMALL), "aioconn_send_bytes");
		aiomsg_free(m);
	}
	aioconn_close(conn, AIOIPC_FOREVER);
}

static void make_trips(void *arg)
{
	char message[SMALL] = {0};
	struct aiomsg *m;

	(void)arg;
	while (bench_more(bench)) {
		must(aioconn_send_bytes(conn, message, SMALL), "aioconn_send_bytes");
		must(aioconn_recv(conn, &m, AIOIPC_FOREVER), "aioconn_recv");
		aiomsg_free(m);
		bench_add(bench, 1);
	}
	bench_end(bench);
	aioconn_close(conn, AIOIPC_FOREVER);
}

static void trip_pair(struct bench *b)
{
	run(open_end(b, aiosockpair) ? echo_all : make_trips, NULL);
}

static void trip_pipes(struct bench *b)
{
	run(open_end(b, aioduplex) ? echo_all : make_trips, NULL);
}

int main(int argc, char **argv)
{
	static const struct bench_case cases[] = {
		{"switches", switches},   {"jumps", jumps},           {"small", small},
		{"trip-pair", trip_pair}, {"trip-pipes", trip_pipes}, {NULL, NULL},
	};

	return bench_main(argc, argv, cases);
}
