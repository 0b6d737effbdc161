/* libzmq over ipc or TCP: PUSH and PULL one way, PAIR for round trips. */
#include <stdio.h>

#include <zmq.h>

#include "bench/bench.h"

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

int main(int argc, char **argv)
{
	static const struct bench_case cases[] = {
		{"small", small}, {"small-tcp", small_tcp}, {"bulk", bulk}, {"trip", trips}, {NULL, NULL},
	};

	return bench_main(argc, argv, cases);
}
