/* libzmq over ipc or TCP: PUSH and PULL one way, PAIR for round trips. */
#include <stdio.h>

#include <zmq.h>

#include "bench/bench.h"

#define MANY 1000 /* subscribers */

struct end {
	void *context;
	void *socket;
};

static struct end open_end(struct bench *b, int type, bool binds)
{
	struct end e;

	e.context = must_have(zmq_ctx_new(), "zmq_ctx_new");
	e.socket = must_have(zmq_socket(e.context, type), "zmq_socket");
	must((binds ? zmq_bind : zmq_connect)(e.socket, b->address), "zmq_bind or zmq_connect");
	return e;
}

static void close_end(struct end e)
{
	zmq_close(e.socket);
	zmq_ctx_term(e.context);
}

static void write_all(struct bench *b, void *socket, size_t len)
{
	static char message[BULK];
	bool more = true;

	while (more) {
		more = bench_next(b, message);
		must(zmq_send(socket, message, len, 0), "zmq_send");
	}
}

static void read_all(struct bench *b, void *socket, size_t len)
{
	static char message[BULK];

	do
		must(zmq_recv(socket, message, len, 0), "zmq_recv");
	while (!bench_got(b, message, len == SMALL ? 1 : len));
	bench_end(b);
}

static void one_way(struct bench *b, size_t len)
{
	bool child = bench_fork(b);
	struct end e = open_end(b, child ? ZMQ_PULL : ZMQ_PUSH, !child);

	(child ? read_all : write_all)(b, e.socket, len);
	close_end(e);
}

static void small(struct bench *b)
{
	one_way(b, SMALL);
}

static void small_tcp(struct bench *b)
{
	snprintf(b->address, sizeof b->address, "tcp://127.0.0.1:%d", bench_port());
	one_way(b, SMALL);
}

static void bulk(struct bench *b)
{
	one_way(b, BULK);
}

static void trips(struct bench *b)
{
	bool child = bench_fork(b), more = true;
	struct end e = open_end(b, ZMQ_PAIR, !child);
	char message[SMALL] = {0};

	while (more) {
		if (!child) {
			more = bench_next(b, message);
			must(zmq_send(e.socket, message, SMALL, 0), "zmq_send");
		}
		must(zmq_recv(e.socket, message, SMALL, 0), "zmq_recv");
		if (child) {
			more = !*message;
			must(zmq_send(e.socket, message, SMALL, 0), "zmq_send");
		}
		bench_add(b, 1);
	}
	if (!child)
		bench_end(b);
	close_end(e);
}

/* XPUB tells who has subscribed. Without a limit of its queues it drops nothing. */
static void publish(struct bench *b, unsigned subscribers)
{
	struct end e = {.context = must_have(zmq_ctx_new(), "zmq_ctx_new")};
	char word[SMALL];
	int yes = 1, none = 0;

	e.socket = must_have(zmq_socket(e.context, ZMQ_XPUB), "zmq_socket");
	must(zmq_setsockopt(e.socket, ZMQ_XPUB_VERBOSE, &yes, sizeof yes), "zmq_setsockopt");
	must(zmq_setsockopt(e.socket, ZMQ_SNDHWM, &none, sizeof none), "zmq_setsockopt");
	must(zmq_bind(e.socket, b->address), "zmq_bind");
	while (subscribers-- > 0)
		must(zmq_recv(e.socket, word, sizeof word, 0), "zmq_recv");
	write_all(b, e.socket, SMALL);
	close_end(e);
}

/* Each subscriber in turn: a poll of a thousand sockets would cost more. */
static void subscribe(struct bench *b, unsigned subscribers)
{
	void *context = must_have(zmq_ctx_new(), "zmq_ctx_new"), *socket[MANY];
	char message[SMALL];
	int none = 0;
	bool last = false;

	must(zmq_ctx_set(context, ZMQ_MAX_SOCKETS, MANY + 64), "zmq_ctx_set");
	for (unsigned i = 0; i < subscribers; i++) {
		socket[i] = must_have(zmq_socket(context, ZMQ_SUB), "zmq_socket");
		must(zmq_setsockopt(socket[i], ZMQ_RCVHWM, &none, sizeof none), "zmq_setsockopt");
		must(zmq_setsockopt(socket[i], ZMQ_SUBSCRIBE, "", 0), "zmq_setsockopt");
		must(zmq_connect(socket[i], b->address), "zmq_connect");
	}
	while (!last)
		for (unsigned i = 0; i < subscribers && !last; i++) {
			must(zmq_recv(socket[i], message, sizeof message, 0), "zmq_recv");
			last = bench_got(b, message, 1);
		}
	bench_end(b);
	for (unsigned i = 0; i < subscribers; i++)
		zmq_close(socket[i]);
	zmq_ctx_term(context);
}

static void one_to_many(struct bench *b, unsigned subscribers)
{
	bench_need_fds();
	(bench_fork(b) ? subscribe : publish)(b, subscribers);
}

static void to_1(struct bench *b)
{
	one_to_many(b, 1);
}

static void to_16(struct bench *b)
{
	one_to_many(b, 16);
}

static void to_1000(struct bench *b)
{
	one_to_many(b, MANY);
}

int main(int argc, char **argv)
{
	static const struct bench_case cases[] = {
		{"small", small}, {"small-tcp", small_tcp}, {"bulk", bulk},       {"trip", trips},
		{"to-1", to_1},   {"to-16", to_16},         {"to-1000", to_1000}, {NULL, NULL},
	};

	return bench_main(argc, argv, cases);
}
