/* Links between two processes, as their users would use them: batches of messages through the queues at both ends. */
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <event2/event.h>

#include <aioipc.h>

#include "bench/bench.h"

#define BATCH 64

/* One process's side: its link, and for the writer the batch that it has not put whole yet. */
struct side {
	struct bench *bench;
	struct event_base *base;
	struct aiolink *link;
	struct aiomsg *batch[BATCH];
	size_t at, n;
	bool last;
};

static struct side open_side(struct bench *b, const char *address, bool listens, unsigned spin, bool confirm)
{
	struct aiolink_options o = {.size = sizeof o,
				    .role = listens ? AIOLINK_LISTEN : AIOLINK_CONNECT,
				    .address = address,
				    .spin = spin,
				    .confirm = confirm,
				    .reconnect_first = listens ? 0 : 5,
				    .reconnect_most = listens ? 0 : 5};
	struct side s = {.bench = b};

	s.base = must_have(event_base_new(), "event_base_new");
	s.link = must_have(aiolink_new(&o), "aiolink_new");
	must(aiolink_start(s.link, s.base), "aiolink_start");
	return s;
}

static void close_side(struct side *s)
{
	aioqueue_watch(aiolink_inbox(s->link), s->base, NULL, NULL, NULL);
	aioqueue_watch(aiolink_outbox(s->link), s->base, NULL, NULL, NULL);
	aiolink_close(s->link, aioipc_after(1000));
	event_base_free(s->base);
}

/* One way. */

static void fill_batch(struct side *s)
{
	char data[SMALL] = "";

	for (s->at = s->n = 0; s->n < BATCH && !s->last; s->n++) {
		s->last = !bench_next(s->bench, data);
		s->batch[s->n] = must_have(aiomsg_new_bytes(data, SMALL), "aiomsg_new_bytes");
	}
}

/* False: the queue is full, or that was all. */
static bool put_batch(struct aioqueue *q, struct side *s)
{
	ssize_t n = aioqueue_put_all(q, s->batch + s->at, s->n - s->at, AIOIPC_NOW);

	for (ssize_t i = 0; i < n; i++)
		aiomsg_free(s->batch[s->at++]);
	return s->at == s->n && !s->last;
}

static void write_on(struct aioqueue *q, void *arg)
{
	struct side *s = arg;

	do
		if (s->at == s->n && !s->last)
			fill_batch(s);
	while (put_batch(q, s));
	if (s->at == s->n)
		event_base_loopbreak(s->base);
}

static void read_on(struct aioqueue *q, void *arg)
{
	struct side *s = arg;
	struct aiomsg *m[BATCH];
	ssize_t n;

	while ((n = aioqueue_get_all(q, m, BATCH, AIOIPC_NOW)) > 0)
		for (ssize_t i = 0; i < n; i++) {
			s->last = bench_got(s->bench, aiomsg_bytes(m[i], NULL), 1);
			aiomsg_free(m[i]);
		}
	if (!s->last)
		return;
	bench_end(s->bench);
	event_base_loopbreak(s->base);
}

static void small(struct bench *b, const char *address, bool confirm)
{
	bool child = bench_fork(b);
	struct side s = open_side(b, address, child, 0, confirm);

	if (child)
		must(aioqueue_watch(aiolink_inbox(s.link), s.base, read_on, NULL, &s), "aioqueue_watch");
	else
		must(aioqueue_watch(aiolink_outbox(s.link), s.base, NULL, write_on, &s), "aioqueue_watch");
	event_base_dispatch(s.base);
	close_side(&s);
}

/* There and back. */

static void bounce(struct aioqueue *q, void *arg)
{
	struct side *s = arg;
	struct aiomsg *m;

	while (aioqueue_get(q, &m, AIOIPC_NOW) == 1) {
		bench_add(s->bench, 1);
		if (!bench_more(s->bench))
			event_base_loopbreak(s->base);
		must(aioqueue_put(aiolink_outbox(s->link), m, AIOIPC_NOW), "aioqueue_put");
		aiomsg_free(m);
	}
}

static void bounce_back(struct aioqueue *q, void *arg)
{
	struct side *s = arg;
	struct aiomsg *m;
	int r;

	while ((r = aioqueue_get(q, &m, AIOIPC_NOW)) == 1) {
		aioqueue_put(aiolink_outbox(s->link), m,
			     AIOIPC_NOW); /* not any more, once the peer has left */
		aiomsg_free(m);
	}
	if (r == 0)
		event_base_loopbreak(s->base);
}

static void trip(struct bench *b, const char *address, unsigned spin)
{
	bool child = bench_fork(b);
	struct side s = open_side(b, address, child, spin, false);
	char data[SMALL] = "";
	struct aiomsg *m;

	must(aioqueue_watch(aiolink_inbox(s.link), s.base, child ? bounce_back : bounce, NULL, &s),
	     "aioqueue_watch");
	if (!child) {
		m = must_have(aiomsg_new_bytes(data, SMALL), "aiomsg_new_bytes");
		must(aioqueue_put(aiolink_outbox(s.link), m, AIOIPC_NOW), "aioqueue_put");
		aiomsg_free(m);
	}
	event_base_dispatch(s.base);
	if (!child)
		bench_end(b);
	close_side(&s);
}

static const char *unix_address(void)
{
	static char address[64];

	snprintf(address, sizeof address, "unix:@aioipc-bench-%ld", (long)getpid());
	return address;
}

static const char *tcp_address(void)
{
	static char address[64];

	snprintf(address, sizeof address, "tcp://127.0.0.1:%d", bench_port());
	return address;
}

static void small_unix(struct bench *b)
{
	small(b, unix_address(), false);
}

static void small_tcp(struct bench *b)
{
	small(b, tcp_address(), false);
}

static void confirmed_unix(struct bench *b)
{
	small(b, unix_address(), true);
}

static void confirmed_tcp(struct bench *b)
{
	small(b, tcp_address(), true);
}

static const char *ring_address(void)
{
	static char address[64];

	snprintf(address, sizeof address, "ring:@aioipc-bench-%ld", (long)getpid());
	return address;
}

static void trip_unix(struct bench *b)
{
	trip(b, unix_address(), 0);
}

static void trip_tcp(struct bench *b)
{
	trip(b, tcp_address(), 0);
}

static void trip_spin_unix(struct bench *b)
{
	trip(b, unix_address(), SPIN);
}

static void trip_spin_ring(struct bench *b)
{
	trip(b, ring_address(), SPIN);
}

static void trip_spin_tcp(struct bench *b)
{
	trip(b, tcp_address(), SPIN);
}

/* Links over pairs, both ends here, with nothing to do: what they cost in processor time while the clock runs. */

static void take_time_of_idling(struct bench *b, struct event_base *base)
{
	struct timeval span = {.tv_sec = b->span / 1000000000, .tv_usec = b->span / 1000 % 1000000};
	int64_t before = bench_processor_time();

	event_base_loopexit(base, &span);
	event_base_dispatch(base);
	bench_took(b, (uint64_t)b->span / 1000, (bench_processor_time() - before) * 1000000 + 1);
}

static struct aiolink *link_over(struct aioend *end, struct event_base *base)
{
	struct aiolink_options o = {.size = sizeof o, .end = end};
	struct aiolink *l = must_have(aiolink_new(&o), "aiolink_new");

	must(aiolink_start(l, base), "aiolink_start");
	return l;
}

static void idle(struct bench *b)
{
	struct event_base *base = must_have(event_base_new(), "event_base_new");
	struct aiolink *link[IDLE];
	struct aioend *end[2];

	bench_need_fds();
	for (int i = 0; i < IDLE; i += 2) {
		must(aiosockpair(&end[0], &end[1]), "aiosockpair");
		link[i] = link_over(end[0], base);
		link[i + 1] = link_over(end[1], base);
	}
	event_base_loop(base, EVLOOP_NONBLOCK);
	take_time_of_idling(b, base);
	for (int i = 0; i < IDLE; i++)
		aiolink_abort(link[i]);
	event_base_free(base);
}

static void idle_without(struct bench *b)
{
	struct event_base *base = must_have(event_base_new(), "event_base_new");

	take_time_of_idling(b, base);
	event_base_free(base);
}

int main(int argc, char **argv)
{
	static const struct bench_case cases[] = {
		{"small-unix", small_unix},         {"small-tcp", small_tcp},
		{"confirmed-unix", confirmed_unix}, {"confirmed-tcp", confirmed_tcp},
		{"trip-unix", trip_unix},           {"trip-tcp", trip_tcp},
		{"trip-spin-unix", trip_spin_unix}, {"trip-spin-ring", trip_spin_ring},
		{"trip-spin-tcp", trip_spin_tcp},   {"idle", idle},
		{"idle-without", idle_without},     {NULL, NULL},
	};

	return bench_main(argc, argv, cases);
}
