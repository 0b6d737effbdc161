/* bench: how fast calls of a peer are answered. Any peer will do: a call that nobody answers is refused by its library. */
#include "tool/tool.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>

#define DEPTH 64          /* calls in flight */
#define SPAN 1000000000.0 /* ns that each part takes, unless --count is given */
#define MOST 1000000      /* calls whose times are kept */
#define PATIENCE 5000     /* ms for one call, and for a peer of our own to listen */

struct bench {
	const struct tool_options *o;
	struct aioconn *c;
	struct aiomsg *m;
	struct event_base *base;
	double start, *times;
	uint64_t calls, flying;
	int error;
};

static double now(void)
{
	return (double)now_ns();
}

static bool is_enough(const struct bench *b)
{
	return b->o->count ? b->calls >= b->o->count : now() - b->start >= SPAN;
}

static int by_size(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static int one_by_one(struct bench *b)
{
	struct aiomsg *answer;
	double before;

	for (b->start = now(), b->calls = 0; !is_enough(b); b->calls++) {
		before = now();
		answer = NULL;
		if (aioconn_call_msg(b->c, b->m, &answer, aioipc_after(PATIENCE)) == -1)
			return -1;
		aiomsg_free(answer);
		if (b->calls < MOST)
			b->times[b->calls] = now() - before;
	}
	return 0;
}

static void on_answer(struct aiomsg *answer, int error, void *arg);

static void fly(struct bench *b)
{
	while (!b->error && b->flying < DEPTH && !is_enough(b)) {
		if (!aioconn_call_later(b->c, b->m, on_answer, b, aioipc_after(PATIENCE))) {
			b->error = errno == EAGAIN && b->flying > 0 ? 0 : errno;
			break;
		}
		b->flying++;
		b->calls++;
	}
	if (b->flying == 0)
		event_base_loopbreak(b->base);
}

static void on_answer(struct aiomsg *answer, int error, void *arg)
{
	struct bench *b = arg;

	b->flying--;
	if (!answer)
		b->error = error;
	fly(b);
}

static int many_at_once(struct bench *b)
{
	b->start = now();
	b->calls = 0;
	fly(b);
	if (b->flying > 0)
		event_base_dispatch(b->base);
	errno = b->error;
	return b->error ? -1 : 0;
}

static void show_times(struct bench *b, double rate)
{
	size_t n = b->calls < MOST ? b->calls : MOST;
	double half, most;

	qsort(b->times, n, sizeof *b->times, by_size);
	half = b->times[n / 2] / 1000;
	most = b->times[n * 99 / 100] / 1000;
	printf(b->o->json ? "{\"at_once\": 1, \"calls_per_second\": %.0f, \"median_us\": %.1f, \"p99_us\": "
			    "%.1f, \"worst_us\": %.1f}\n"
			  : "one at a time  %9.0f calls/s   median %.1f us, 99 of 100 in %.1f us, worst %.1f "
			    "us\n",
	       rate, half, most, b->times[n - 1] / 1000);
}

static double rate_of(const struct bench *b)
{
	return (double)b->calls / (now() - b->start) * 1e9;
}

static int measure(struct bench *b)
{
	double rate;

	if (one_by_one(b) == -1)
		return -1;
	rate = rate_of(b);
	show_times(b, rate);
	if (many_at_once(b) == -1)
		return -1;
	rate = rate_of(b);
	printf(b->o->json ? "{\"at_once\": %d, \"calls_per_second\": %.0f}\n"
			  : "%d at once     %9.0f calls/s\n",
	       DEPTH, rate);
	return 0;
}

/* The peer of our own. */
static void answer(struct aioconn *c, struct aiomsg *m, void *arg)
{
	struct aiomsg *back = aiomsg_is_call(m) ? aiomsg_answer_msg(m, m) : NULL;

	(void)arg;
	if (back && aioconn_send_msg(c, back) == -1 && errno == EAGAIN)
		aioconn_keep(c);
	aiomsg_free(back);
}

static void go_on(struct aioconn *c, void *arg)
{
	(void)arg;
	aioconn_resume(c);
}

static void serve(struct aiolistener *l, struct aioconn *c, void *arg)
{
	(void)l;
	aioconn_set_callbacks(c, answer, go_on, NULL, arg);
}

static int echo(void *arg)
{
	const struct tool_options *o = arg;
	const struct aiolistener_options lo = {.size = sizeof lo, .tls = tls_for(o, o->address)};
	struct event_base *base = event_base_new();
	struct aiolistener *l = base ? aiolistener_new(o->address, base, &lo, serve, NULL) : NULL;

	if (!l)
		say_why(o, o->address, errno);
	else
		event_base_dispatch(base);
	return TOOL_FAILED;
}

static struct aioconn *connect_to(struct bench *b, struct aioproc *own)
{
	int64_t deadline = aioipc_after(PATIENCE);
	struct aioconn *c;

	while (!(c = tls_connect(b->o, b->o->address, b->base, deadline)) && own &&
	       (errno == ECONNREFUSED || errno == ENOENT) &&
	       aioproc_join(own, NULL, aioipc_after(10)) == -1 && errno == ETIMEDOUT)
		;
	return c;
}

static int run(struct bench *b)
{
	const struct aioproc_options last = {.size = sizeof last, .die_with_parent = true};
	struct aioproc *own = NULL;
	int status = TOOL_FAILED;

	if (b->o->echo && !(own = aioproc_start_opts(echo, (void *)(uintptr_t)b->o, NULL, 0, &last)))
		say_error("%s", strerror(errno));
	b->base = event_base_new();
	b->c = b->base ? connect_to(b, own) : NULL;
	if (!b->c)
		say_why(b->o, b->o->address, errno);
	else if (measure(b) == -1)
		say_error("%s: no answer: %s; does it know calls?", b->o->address,
			  *aioconn_why(b->c) ? aioconn_why(b->c) : strerror(errno));
	else
		status = fflush(stdout) == EOF ? TOOL_FAILED : TOOL_CLEAN;
	if (b->c)
		aioconn_close(b->c, aioipc_after(PATIENCE));
	if (own) {
		aioproc_kill(own, SIGTERM);
		aioproc_join(own, NULL, aioipc_after(PATIENCE));
	}
	aioproc_free(own);
	return status;
}

int bench(const struct tool_options *o)
{
	struct bench b = {.o = o};
	char *bytes = calloc(1, o->length ? o->length : 1);
	int status;

	b.times = malloc(MOST * sizeof *b.times);
	b.m = bytes ? aiomsg_new_bytes(bytes, o->length) : NULL;
	if (!b.m || !b.times) {
		say_error("%s", strerror(errno));
		return TOOL_FAILED;
	}
	status = run(&b);
	if (b.base)
		event_base_free(b.base);
	aiomsg_free(b.m);
	free(b.times);
	free(bytes);
	return status;
}
