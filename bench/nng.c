/* nng's pair protocol over ipc. A program of its own: nng's nn_ symbols shadow nanomsg's. */
#include <errno.h>

#include <nng/nng.h>
#include <nng/protocol/pair0/pair.h>
#include <nng/supplemental/util/platform.h>

#include "bench/bench.h"

static void must_nng(int error, const char *what)
{
	errno = error;
	must(error ? -1 : 0, what);
}

static nng_socket open_end(struct bench *b, bool child)
{
	nng_socket s;

	must_nng(nng_pair0_open(&s), "nng_pair0_open");
	if (child) /* waits for the listener by itself */
		must_nng(nng_dial(s, b->address, NULL, NNG_FLAG_NONBLOCK), "nng_dial");
	else
		must_nng(nng_listen(s, b->address, NULL, 0), "nng_listen");
	return s;
}

static void put(nng_socket s, void *message, size_t len)
{
	must_nng(nng_send(s, message, len, 0), "nng_send");
}

static void get(nng_socket s, void *message, size_t len)
{
	must_nng(nng_recv(s, message, &len, 0), "nng_recv");
}

static void write_all(struct bench *b, nng_socket s, size_t len)
{
	static char message[BULK];
	bool more = true;

	while (more) {
		more = bench_next(b, message);
		put(s, message, len);
	}
	get(s, message, len); /* closing would drop what is queued: wait for the reader's word */
}

static void read_all(struct bench *b, nng_socket s, size_t len)
{
	static char message[BULK];

	do
		get(s, message, len);
	while (!bench_got(b, message, len == SMALL ? 1 : len));
	bench_end(b);
	put(s, message, len);
	nng_msleep(20);
}

static void one_way(struct bench *b, size_t len)
{
	bool child = bench_fork(b);
	nng_socket s = open_end(b, child);

	(child ? read_all : write_all)(b, s, len);
	nng_close(s);
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
	bool child = bench_fork(b), more = true;
	nng_socket s = open_end(b, child);
	char message[SMALL] = {0};

	while (more) {
		if (!child) {
			more = bench_next(b, message);
			put(s, message, SMALL);
		}
		get(s, message, SMALL);
		if (child) {
			more = !*message;
			put(s, message, SMALL);
		}
		bench_add(b, 1);
	}
	if (child)
		nng_msleep(20);
	else
		bench_end(b);
	nng_close(s);
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
