/* Boost's message queue: shared memory, a mutex and conditions. It tells nobody that the peer is gone. */
#include <boost/interprocess/ipc/message_queue.hpp>

#include <cstdio>
#include <unistd.h>

extern "C" {
#include "bench/bench.h"
}

using boost::interprocess::create_only;
using boost::interprocess::message_queue;

#define DEEP 16 /* messages: 1 MiB of the large ones */

/* The name goes at once: the child inherits the memory. */
static message_queue *open_queue(size_t len)
{
	static unsigned n;
	char name[64];
	message_queue *q;

	snprintf(name, sizeof name, "aioipc-bench-%ld-%u", (long)getpid(), n++);
	q = new message_queue(create_only, name, len == SMALL ? 1024 : DEEP, len);
	message_queue::remove(name);
	return q;
}

static void get(message_queue *q, void *message, size_t len)
{
	message_queue::size_type got;
	unsigned priority;

	q->receive(message, len, got, priority);
	must(got == len ? 0 : -1, "receive");
}

static void one_way(struct bench *b, size_t len)
{
	static char message[BULK];
	message_queue *q = open_queue(len);
	bool more = true;

	if (bench_fork(b)) {
		do
			get(q, message, len);
		while (!bench_got(b, message, len == SMALL ? 1 : len));
		bench_end(b);
		return;
	}
	while (more) {
		more = bench_next(b, message);
		q->send(message, len, 0);
	}
}

static void small(struct bench *b)
{
	one_way(b, SMALL);
}

static void bulk(struct bench *b)
{
	one_way(b, BULK);
}

static void trips(struct bench *b)
{
	message_queue *there = open_queue(SMALL), *back = open_queue(SMALL);
	char message[SMALL] = {0};

	if (bench_fork(b)) {
		do {
			get(there, message, SMALL);
			back->send(message, SMALL, 0);
		} while (message[0] == 0);
		return;
	}
	while (bench_more(b)) {
		there->send(message, SMALL, 0);
		get(back, message, SMALL);
		bench_add(b, 1);
	}
	bench_end(b);
	message[0] = 1;
	there->send(message, SMALL, 0);
}

int main(int argc, char **argv)
{
	static const struct bench_case cases[] = {
		{"small", small},
		{"bulk", bulk},
		{"trip", trips},
		{NULL, NULL},
	};

	return bench_main(argc, argv, cases);
}
