/* The library under measurement, as its users would use it: callback to callback, blocking, typed. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <event2/event.h>

#include <aioipc.h>

#include "bench/bench.h"

#define INTS 1000

typedef int make_fn(struct aioend **one, struct aioend **other);

/* One process's end of the talk, and what it says there. */
struct end {
	struct bench *bench;
	struct event_base *base; /* NULL: blocking */
	struct aioconn *conn;
	int (*send)(struct end *e);
	bool (*got)(struct end *e, struct aiomsg *m); /* true: that was the last */
	bool last, refused;
	int32_t ints[BULK / sizeof(int32_t)];
};

static struct end open_end(struct bench *b, make_fn *make, bool on_base, bool *child)
{
	struct end e = {.bench = b};
	struct aioend *end[2];

	must(make(&end[0], &end[1]), "aiosockpair or aioduplex");
	must(aioend_detach(end[1]), "aioend_detach");
	*child = bench_fork(b);
	aioend_free(end[!*child]);
	if (on_base)
		e.base = must_have(event_base_new(), "event_base_new");
	e.conn = must_have(aioend_open(end[*child], e.base), "aioend_open");
	return e;
}

/* What is sent, and what the reader makes of it: 64 bytes of payload but the last two. */

static int send_small(struct end *e)
{
	return aioconn_send_bytes(e->conn, e->ints, SMALL);
}

static bool got_small(struct end *e, struct aiomsg *m)
{
	return bench_got(e->bench, aiomsg_bytes(m, NULL), 1);
}

static int send_is(struct end *e)
{
	return aioconn_send(e->conn, "is", e->ints[0], "45 characters of text make an image of 64 B..");
}

static bool got_is(struct end *e, struct aiomsg *m)
{
	const char *text;
	int32_t last;

	must(aiomsg_unpack(m, "is", &last, &text), "aiomsg_unpack");
	return bench_got(e->bench, &last, 1);
}

static int send_iUs(struct end *e)
{
	return aioconn_send(e->conn, "iUs", e->ints[0], (uint64_t)1, "36 characters make an image of 64 B.");
}

static bool got_iUs(struct end *e, struct aiomsg *m)
{
	const char *text;
	uint64_t number;
	int32_t last;

	must(aiomsg_unpack(m, "iUs", &last, &number, &text), "aiomsg_unpack");
	return bench_got(e->bench, &last, 1);
}

static int send_ints(struct end *e)
{
	return aioconn_send(e->conn, "A(i)", e->ints, (size_t)INTS);
}

static bool got_ints(struct end *e, struct aiomsg *m)
{
	size_t n;

	must(aiomsg_unpack(m, "A(i)", e->ints, (size_t)INTS, &n), "aiomsg_unpack");
	return bench_got(e->bench, e->ints, n * sizeof(int32_t));
}

static int send_bulk(struct end *e)
{
	return aioconn_send_bytes(e->conn, e->ints, BULK);
}

/* A message that exists already: the queue holds a reference. */
static int send_bulk_msg(struct end *e)
{
	static struct aiomsg *message[2];
	struct aiomsg **m = &message[e->last];

	if (!*m)
		*m = must_have(aiomsg_new_bytes(e->ints, BULK), "aiomsg_new_bytes");
	return aioconn_send_msg(e->conn, *m);
}

static bool got_bulk(struct end *e, struct aiomsg *m)
{
	size_t len;
	const void *data = aiomsg_bytes(m, &len);

	return bench_got(e->bench, data, len);
}

/* One way, callback to callback. */

static void on_writable(struct aioconn *c, void *arg)
{
	struct end *e = arg;

	while (!e->last || e->refused) {
		if (!e->refused)
			e->last = !bench_next(e->bench, e->ints);
		e->refused = e->send(e) == -1;
		if (e->refused) {
			if (errno != EAGAIN)
				must(-1, "aioconn_send");
			return;
		}
	}
	must(aioconn_finish(c, AIOIPC_FOREVER), "aioconn_finish");
}

static void on_message(struct aioconn *c, struct aiomsg *m, void *arg)
{
	struct end *e = arg;

	(void)c;
	if (e->got(e, m))
		bench_end(e->bench);
}

static void on_close(struct aioconn *c, enum aioconn_cause cause, void *arg)
{
	struct end *e = arg;

	if (cause != AIOCONN_LOCAL)
		aioconn_abort(c);
	event_base_loopexit(e->base, NULL);
}

static void one_way(struct bench *b, make_fn *make, int (*send)(struct end *),
		    bool (*got)(struct end *, struct aiomsg *))
{
	bool child;
	struct end e = open_end(b, make, true, &child);

	e.send = send;
	e.got = got;
	if (child)
		aioconn_set_callbacks(e.conn, on_message, NULL, on_close, &e);
	else
		aioconn_set_callbacks(e.conn, NULL, on_writable, on_close, &e);
	event_base_dispatch(e.base);
	event_base_free(e.base);
}

/* Pipe ends in the order of the others: the parent writes. */
static int make_pipe(struct aioend **one, struct aioend **other)
{
	return aiopipe(other, one);
}

static int make_ring(struct aioend **one, struct aioend **other)
{
	return aioring(one, other, 0);
}

static void small_ring(struct bench *b)
{
	one_way(b, make_ring, send_small, got_small);
}

static void bulk_ring(struct bench *b)
{
	one_way(b, make_ring, send_bulk, got_bulk);
}

static void small_pair(struct bench *b)
{
	one_way(b, aiosockpair, send_small, got_small);
}

static void small_pipe(struct bench *b)
{
	one_way(b, make_pipe, send_small, got_small);
}

static void typed_is(struct bench *b)
{
	one_way(b, aiosockpair, send_is, got_is);
}

static void typed_iUs(struct bench *b)
{
	one_way(b, aiosockpair, send_iUs, got_iUs);
}

static void typed_ints(struct bench *b)
{
	one_way(b, aiosockpair, send_ints, got_ints);
}

static void bulk_pair(struct bench *b)
{
	one_way(b, aiosockpair, send_bulk, got_bulk);
}

static void bulk_pipe(struct bench *b)
{
	one_way(b, make_pipe, send_bulk, got_bulk);
}

static void bulk_msg_pair(struct bench *b)
{
	one_way(b, aiosockpair, send_bulk_msg, got_bulk);
}

static void bulk_msg_pipe(struct bench *b)
{
	one_way(b, make_pipe, send_bulk_msg, got_bulk);
}

/* Blocking. */

static void one_way_blocking(struct bench *b, make_fn *make, int (*send)(struct end *),
			     bool (*got)(struct end *, struct aiomsg *), bool corked, unsigned spin)
{
	bool child, more = true;
	struct end e = open_end(b, make, false, &child);
	struct aiomsg *m;

	must(aioconn_set_spin(e.conn, spin), "aioconn_set_spin");
	aioconn_cork(e.conn, corked && !child);
	while (more) {
		if (child) {
			must(aioconn_recv(e.conn, &m, AIOIPC_FOREVER), "aioconn_recv");
			more = !got(&e, m);
			aiomsg_free(m);
		} else {
			more = bench_next(b, e.ints);
			must(send(&e), "aioconn_send_bytes");
		}
	}
	if (child)
		bench_end(b);
	aioconn_close(e.conn, AIOIPC_FOREVER);
}

static void small_blocking(struct bench *b)
{
	one_way_blocking(b, aiosockpair, send_small, got_small, true, 0);
}

static void bulk_blocking(struct bench *b)
{
	one_way_blocking(b, aiosockpair, send_bulk, got_bulk, false, 0);
}

/* Each leaves at once. */
static void each_pair(struct bench *b)
{
	one_way_blocking(b, aiosockpair, send_small, got_small, false, 0);
}

static void each_ring(struct bench *b)
{
	one_way_blocking(b, make_ring, send_small, got_small, false, 0);
}

static void each_spin_ring(struct bench *b)
{
	one_way_blocking(b, make_ring, send_small, got_small, false, SPIN);
}

static void trips_blocking(struct bench *b, make_fn *make, unsigned spin)
{
	bool child;
	struct end e = open_end(b, make, false, &child);
	struct aiomsg *m;

	must(aioconn_set_spin(e.conn, spin), "aioconn_set_spin");
	while (child || bench_more(b)) {
		if (!child)
			must(send_small(&e), "aioconn_send_bytes");
		if (must(aioconn_recv(e.conn, &m, AIOIPC_FOREVER), "aioconn_recv") == 0)
			break;
		aiomsg_free(m);
		if (child)
			must(send_small(&e), "aioconn_send_bytes");
		bench_add(b, 1);
	}
	if (!child)
		bench_end(b);
	aioconn_close(e.conn, AIOIPC_FOREVER);
}

static void trip_blocking_pair(struct bench *b)
{
	trips_blocking(b, aiosockpair, 0);
}

static void trip_blocking_pipes(struct bench *b)
{
	trips_blocking(b, aioduplex, 0);
}

static void trip_blocking_ring(struct bench *b)
{
	trips_blocking(b, make_ring, 0);
}

static void trip_spin_ring(struct bench *b)
{
	trips_blocking(b, make_ring, SPIN);
}

static void trip_spin_pair(struct bench *b)
{
	trips_blocking(b, aiosockpair, SPIN);
}

static void trip_spin_pipes(struct bench *b)
{
	trips_blocking(b, aioduplex, SPIN);
}

/* Round trips on a base. */

static void on_echo(struct aioconn *c, struct aiomsg *m, void *arg)
{
	(void)arg;
	must(aioconn_send_bytes(c, aiomsg_bytes(m, NULL), SMALL), "aioconn_send_bytes");
}

static void on_trip(struct aioconn *c, struct aiomsg *m, void *arg)
{
	struct end *e = arg;

	bench_add(e->bench, 1);
	if (bench_more(e->bench)) {
		on_echo(c, m, arg);
		return;
	}
	bench_end(e->bench);
	must(aioconn_finish(c, AIOIPC_FOREVER), "aioconn_finish");
}

static void trips_base(struct bench *b, make_fn *make, unsigned spin)
{
	bool child;
	struct end e = open_end(b, make, true, &child);

	must(aioconn_set_spin(e.conn, spin), "aioconn_set_spin");
	aioconn_set_callbacks(e.conn, child ? on_echo : on_trip, NULL, on_close, &e);
	if (!child)
		must(send_small(&e), "aioconn_send_bytes");
	event_base_dispatch(e.base);
	event_base_free(e.base);
}

static void trip_base_pair(struct bench *b)
{
	trips_base(b, aiosockpair, 0);
}

static void trip_base_pipes(struct bench *b)
{
	trips_base(b, aioduplex, 0);
}

static void trip_spin_base(struct bench *b)
{
	trips_base(b, aiosockpair, SPIN);
}

static void trip_base_ring(struct bench *b)
{
	trips_base(b, make_ring, 0);
}

static void trip_spin_base_ring(struct bench *b)
{
	trips_base(b, make_ring, SPIN);
}

/* Calls: one at a time, and so many in flight. */

#define FLYING 64

static void on_call(struct aioconn *c, struct aiomsg *m, void *arg)
{
	struct aiomsg *answer = must_have(aiomsg_answer_msg(m, m), "aiomsg_answer_msg");

	(void)arg;
	must(aioconn_send_msg(c, answer), "aioconn_send_msg");
	aiomsg_free(answer);
}

static void calls_blocking(struct bench *b)
{
	bool child;
	struct end e = open_end(b, aiosockpair, false, &child);
	struct aiomsg *call = must_have(aiomsg_new_bytes(e.ints, SMALL), "aiomsg_new_bytes"), *m, *answer;

	while (!child && bench_more(b)) {
		if (must(aioconn_call_msg(e.conn, call, &answer, AIOIPC_FOREVER), "aioconn_call") == 1)
			bench_add(b, 1);
		aiomsg_free(answer);
	}
	while (child && must(aioconn_recv(e.conn, &m, AIOIPC_FOREVER), "aioconn_recv") == 1) {
		on_call(e.conn, m, NULL);
		aiomsg_free(m);
	}
	if (!child)
		bench_end(b);
	aiomsg_free(call);
	aioconn_close(e.conn, AIOIPC_FOREVER);
}

static struct aiomsg *asked; /* again and again */

static void on_answer(struct aiomsg *answer, int error, void *arg)
{
	struct end *e = arg;

	if (e->last)
		return;
	if (!answer || error)
		must(-1, "aioconn_call_later");
	bench_add(e->bench, 1);
	e->last = !bench_more(e->bench);
	if (!e->last) {
		must_have(aioconn_call_later(e->conn, asked, on_answer, e, AIOIPC_FOREVER),
			  "aioconn_call_later");
		return;
	}
	bench_end(e->bench);
	must(aioconn_finish(e->conn, AIOIPC_FOREVER), "aioconn_finish");
}

static void calls_base(struct bench *b, int flying)
{
	bool child;
	struct end e = open_end(b, aiosockpair, true, &child);

	asked = must_have(aiomsg_new_bytes(e.ints, SMALL), "aiomsg_new_bytes");
	aioconn_set_callbacks(e.conn, child ? on_call : NULL, NULL, on_close, &e);
	for (int i = 0; !child && i < flying; i++)
		must_have(aioconn_call_later(e.conn, asked, on_answer, &e, AIOIPC_FOREVER),
			  "aioconn_call_later");
	event_base_dispatch(e.base);
	event_base_free(e.base);
	aiomsg_free(asked);
}

static void calls_one(struct bench *b)
{
	calls_base(b, 1);
}

static void calls_many(struct bench *b)
{
	calls_base(b, FLYING);
}

/* A child with a pair of its own, started and joined, again and again. */

static int nothing(void *arg)
{
	(void)arg;
	return 0;
}

static void children(struct bench *b)
{
	struct aioend *end[2];
	struct aioproc *p;

	bench_start(b);
	for (int i = 0; i < CHILDREN; i++) {
		must(aiosockpair(&end[0], &end[1]), "aiosockpair");
		p = must_have(aioproc_start_with(nothing, NULL, &end[1], 1), "aioproc_start_with");
		aioend_free(end[0]);
		aioend_free(end[1]);
		must(aioproc_join(p, NULL, AIOIPC_FOREVER), "aioproc_join");
		aioproc_free(p);
		bench_add(b, 1);
	}
	bench_end(b);
}

/*
 * Peers of a listener that have each said something, got it back, and are silent now. Their other ends are sockets by hand. What they all share,
 * like the buffer that is read into, is there with the first.
 */

static void on_idle_peer(struct aiolistener *l, struct aioconn *c, void *arg)
{
	struct bench *b = arg;

	(void)l;
	b->count++;
	must(aioconn_set_callbacks(c, on_echo, NULL, NULL, NULL), "aioconn_set_callbacks");
}

static int say_hello(const char *name)
{
	static const char hello[8 + 8 + SMALL] = "AIPC\1\0\0\0\100\0\0\0\2\0\0"; /* preface, header, bytes */
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	int fd = must(socket(AF_UNIX, SOCK_STREAM, 0), "socket");

	memcpy(un.sun_path + 1, name, strlen(name));
	must(connect(fd, (struct sockaddr *)&un,
		     (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name))),
	     "connect");
	must((int)write(fd, hello, sizeof hello), "write");
	return fd;
}

static void idle(struct bench *b)
{
	struct event_base *base = must_have(event_base_new(), "event_base_new");
	char address[64], back[256];
	int64_t before = 0;
	int fd[IDLE + 1];

	bench_need_fds();
	snprintf(address, sizeof address, "unix:@aioipc-bench-%ld", (long)getpid());
	must_have(aiolistener_new(address, base, NULL, on_idle_peer, b), "aiolistener_new");
	for (int i = 0; i <= IDLE; i++) {
		if (i == 1)
			before = bench_heap();
		fd[i] = say_hello(strchr(address, '@') + 1);
		while (b->count <= (uint64_t)i || recv(fd[i], back, sizeof back, MSG_DONTWAIT) <= 0)
			event_base_loop(base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
	}
	bench_took(b, IDLE, bench_heap() - before);
}

int main(int argc, char **argv)
{
	static const struct bench_case cases[] = {
		{"small-pair", small_pair},
		{"small-pipe", small_pipe},
		{"small-ring", small_ring},
		{"each-pair", each_pair},
		{"each-ring", each_ring},
		{"each-spin-ring", each_spin_ring},
		{"small-blocking", small_blocking},
		{"typed-is", typed_is},
		{"typed-iUs", typed_iUs},
		{"typed-ints", typed_ints},
		{"bulk-pair", bulk_pair},
		{"bulk-blocking", bulk_blocking},
		{"bulk-pipe", bulk_pipe},
		{"bulk-ring", bulk_ring},
		{"bulk-msg-pair", bulk_msg_pair},
		{"bulk-msg-pipe", bulk_msg_pipe},
		{"trip-blocking-pair", trip_blocking_pair},
		{"call-blocking", calls_blocking},
		{"call-one", calls_one},
		{"call-many", calls_many},
		{"trip-blocking-pipes", trip_blocking_pipes},
		{"trip-blocking-ring", trip_blocking_ring},
		{"trip-spin-pair", trip_spin_pair},
		{"trip-spin-ring", trip_spin_ring},
		{"trip-spin-base-ring", trip_spin_base_ring},
		{"trip-base-ring", trip_base_ring},
		{"trip-spin-pipes", trip_spin_pipes},
		{"trip-spin-base", trip_spin_base},
		{"trip-base-pair", trip_base_pair},
		{"trip-base-pipes", trip_base_pipes},
		{"children", children},
		{"idle", idle},
		{NULL, NULL},
	};

	return bench_main(argc, argv, cases);
}
