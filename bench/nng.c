/* nng's pair protocol over ipc. A program of its own: nng's nn_ symbols shadow nanomsg's. */
#include <errno.h>
#include <sys/wait.h>

#include <nng/nng.h>
#include <nng/protocol/pair0/pair.h>
#include <nng/protocol/pubsub0/pub.h>
#include <nng/protocol/pubsub0/sub.h>
#include <nng/supplemental/util/platform.h>

#include "bench/bench.h"

#define MANY 1000 /* subscribers */

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

/* It drops what a subscriber has no room for, so the subscribers say when it is enough. */
static void publish(struct bench *b, unsigned subscribers)
{
	char message[SMALL] = "";
	nng_socket s;

	must_nng(nng_pub0_open(&s), "nng_pub0_open");
	must_nng(nng_listen(s, b->address, NULL, 0), "nng_listen");
	(void)subscribers;
	while (waitpid(-1, NULL, WNOHANG) == 0)
		for (int i = 0; i < 64; i++)
			put(s, message, SMALL);
	nng_close(s);
}

static void subscribe(struct bench *b, unsigned subscribers)
{
	static nng_socket s[MANY];
	char message[SMALL];

	for (unsigned i = 0; i < subscribers; i++) {
		must_nng(nng_sub0_open(&s[i]), "nng_sub0_open");
		must_nng(nng_setopt(s[i], NNG_OPT_SUB_SUBSCRIBE, "", 0), "nng_setopt");
		while (nng_dial(s[i], b->address, NULL, 0) != 0)
			nng_msleep(1);
	}
	do
		for (unsigned i = 0; i < subscribers; i++) {
			get(s[i], message, SMALL);
			bench_add(b, 1);
		}
	while (bench_more(b));
	bench_end(b);
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
		{"small", small}, {"bulk", bulk},       {"trip", trips}, {"to-1", to_1},
		{"to-16", to_16}, {"to-1000", to_1000}, {NULL, NULL},
	};

	return bench_main(argc, argv, cases);
}
