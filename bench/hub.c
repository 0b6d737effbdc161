/* One to many: a hub over connections of a listener, 64 bytes to 1, 16 and 1000 subscribers in another process. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <event2/event.h>

#include <aioipc.h>

#include "bench/bench.h"

struct side {
	struct bench *b;
	struct event_base *base;
	struct aiohub *hub;
	unsigned n, most;
	char address[64];
	bool ended;
};

static void on_subscriber(struct aiolistener *l, struct aioconn *c, void *arg)
{
	struct side *s = arg;

	(void)l;
	must(aiohub_join(s->hub, c), "aiohub_join");
	s->n++;
}

/* Waits for the slowest, so nothing is lost. */
static void publish(void *arg)
{
	struct side *s = arg;
	char data[SMALL] = "";
	bool more = true;

	while (more) {
		struct aiomsg *m;

		more = bench_next(s->b, data);
		m = must_have(aiomsg_new_bytes(data, sizeof data), "aiomsg_new_bytes");
		must((int)aiohub_send(s->hub, m), "aiohub_send");
		aiomsg_free(m);
	}
}

static void write_all(struct side *s)
{
	struct aiohub_options o = {.size = sizeof o, .base = s->base, .slow = AIOHUB_WAIT};
	struct aiolistener *l;

	s->hub = must_have(aiohub_new(&o), "aiohub_new");
	l = must_have(aiolistener_new(s->address, s->base, NULL, on_subscriber, s), "aiolistener_new");
	while (s->n < s->most)
		must(event_base_loop(s->base, EVLOOP_ONCE), "event_base_loop");
	must(aiotask_run(s->base, publish, s), "aiotask_run");
	aiolistener_free(l);
	while (s->n > 0) { /* until all have left */
		struct aiohub_stats stats = {.size = sizeof stats};

		must(event_base_loop(s->base, EVLOOP_ONCE), "event_base_loop");
		aiohub_stats(s->hub, &stats);
		s->n = stats.members;
	}
}

static void on_msg(struct aioconn *c, struct aiomsg *m, void *arg)
{
	struct side *s = arg;

	(void)c;
	if (!s->ended && bench_got(s->b, aiomsg_bytes(m, NULL), 1)) {
		s->ended = true;
		bench_end(s->b);
	}
}

static struct aioconn *subscribe(struct side *s)
{
	struct aioconn *c;

	while (!(c = aioconn_connect(s->address, s->base, aioipc_after(5000))))
		nanosleep(&(struct timespec){0, 1000000}, NULL); /* the listener is not there yet */
	return c;
}

static void read_all(struct side *s)
{
	for (unsigned i = 0; i < s->most; i++)
		must(aioconn_set_callbacks(subscribe(s), on_msg, NULL, NULL, s), "aioconn_set_callbacks");
	while (!s->ended)
		must(event_base_loop(s->base, EVLOOP_ONCE), "event_base_loop");
}

static void to(struct bench *b, unsigned subscribers)
{
	bool child;
	struct side s = {.b = b, .most = subscribers};

	bench_need_fds();
	child = bench_fork(b);
	snprintf(s.address, sizeof s.address, "unix://%s", b->address + strlen("ipc://"));
	s.base = must_have(event_base_new(), "event_base_new");
	(child ? read_all : write_all)(&s);
}

static void to_1(struct bench *b)
{
	to(b, 1);
}

static void to_16(struct bench *b)
{
	to(b, 16);
}

static void to_1000(struct bench *b)
{
	to(b, 1000);
}

int main(int argc, char **argv)
{
	static const struct bench_case cases[] = {
		{"to-1", to_1},
		{"to-16", to_16},
		{"to-1000", to_1000},
		{NULL, NULL},
	};

	return bench_main(argc, argv, cases);
}
