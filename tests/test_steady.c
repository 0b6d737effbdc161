/*
 * A message in the steady state costs no allocation: not to send, not to receive, not to take apart. Linked so that every
 * malloc, calloc and realloc of the library comes by here; libevent's are counted through its own hooks.
 */
#include <stdbool.h>
#include <stdlib.h>

#include <event2/event.h>

#include <aioipc.h>

#include "ipc/msg/pool.h"
#include "tests/peers.h"

#define INTS 1000
#define BULK 65536

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *old, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *old, size_t size);

static unsigned allocations;

void *__wrap_malloc(size_t size)
{
	allocations++;
	return __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
	allocations++;
	return __real_calloc(n, size);
}

void *__wrap_realloc(void *old, size_t size)
{
	allocations++;
	return __real_realloc(old, size);
}

/* One kind of message: how it is sent, and what a receiver does with it. */
struct kind {
	int (*send)(struct aioconn *c);
	void (*read)(const struct aiomsg *m);
	unsigned messages; /* so many fill the queue several times over */
};

static int32_t ints[BULK / sizeof(int32_t)];
static unsigned received, wrong;

/* Instead of Check's assertions, which allocate. */
static void expect(bool right)
{
	wrong += !right;
}

static int send_small(struct aioconn *c)
{
	return aioconn_send_bytes(c, ints, 64);
}

static int send_bulk(struct aioconn *c)
{
	return aioconn_send_bytes(c, ints, BULK);
}

static void read_bytes(const struct aiomsg *m)
{
	size_t len;

	expect(aiomsg_bytes(m, &len) && (len == 64 || len == BULK));
}

static int send_words(struct aioconn *c)
{
	return aioconn_send(c, "sis", "a string of some length", 7, "and one more");
}

static void read_text(const struct aiomsg *m)
{
	const char *one, *other;
	int32_t i;

	expect(aiomsg_unpack(m, "sis", &one, &i, &other) == 0 && strcmp(other, "and one more") == 0);
}

static int send_ints(struct aioconn *c)
{
	return aioconn_send(c, "A(i)", ints, (size_t)INTS);
}

static void read_ints(const struct aiomsg *m)
{
	static int32_t got[INTS];
	size_t n;

	expect(aiomsg_unpack(m, "A(i)", got, (size_t)INTS, &n) == 0 && n == INTS);
}

static const struct kind small = {send_small, read_bytes, 100000};
static const struct kind bulk = {send_bulk, read_bytes, 2000};
static const struct kind text = {send_words, read_text, 100000};
static const struct kind array = {send_ints, read_ints, 10000};

/* What the connection is over, and what travels. */
static enum transport way = PAIR;
static enum aioconn_framing framing;

static void open_both(struct aioconn *c[2], struct event_base *base)
{
	open_pair(way, base, &c[0], &c[1]);
	for (int i = 0; i < 2; i++)
		must(aioconn_set_framing(c[i], framing, NULL));
}

static void close_both(struct aioconn *c[2])
{
	aioconn_abort(c[0]);
	aioconn_abort(c[1]);
}

/* Sanitizers and valgrind want to see every block freed: the pool keeps none there, and there is nothing to count. */
static bool pool_keeps(void)
{
	size_t size;
	void *block = must(ipc_pool_get(1, &size));

	ipc_pool_put(block, size);
	allocations = 0;
	block = must(ipc_pool_get(1, &size));
	ipc_pool_put(block, size);
	ck_assert(allocations == 0 || harness_slowness() > 1);
	return allocations == 0;
}

/* Counts in the second half. */
static void send_and_recv(struct aioconn *c[2], const struct kind *k)
{
	struct aiomsg *m;

	for (unsigned i = 0; i < k->messages; i++) {
		if (i == k->messages / 2)
			allocations = 0;
		expect(k->send(c[0]) == 0);
		expect(aioconn_recv(c[1], &m, AIOIPC_FOREVER) == 1);
		k->read(m);
		aiomsg_free(m);
	}
}

static void steady_blocking(const struct kind *k)
{
	struct aioconn *c[2];

	if (!pool_keeps())
		return;
	open_both(c, NULL);
	send_and_recv(c, k);
	ck_assert_uint_eq(allocations, 0);
	ck_assert_uint_eq(wrong, 0);
	close_both(c);
}

static void on_message(struct aioconn *c, struct aiomsg *m, void *arg)
{
	const struct kind *k = arg;

	(void)c;
	k->read(m);
	received++;
}

/* As fast as the queue takes them: it fills up, and the sender is refused now and then. Counts in the second half. */
static void send_and_call_back(struct aioconn *sender, const struct kind *k)
{
	unsigned sent = 0;

	for (received = 0; received < k->messages;) {
		if (sent == k->messages / 2)
			allocations = 0;
		if (sent < k->messages && k->send(sender) == 0) {
			sent++;
			continue;
		}
		expect(sent == k->messages || errno == EAGAIN);
		expect(event_base_loop(aioconn_base(sender), EVLOOP_ONCE) == 0);
	}
}

static void steady_callbacks(const struct kind *k)
{
	struct event_base *base;
	struct aioconn *c[2];

	if (!pool_keeps())
		return;
	event_set_mem_functions(__wrap_malloc, __wrap_realloc, free);
	base = must(event_base_new());
	open_both(c, base);
	must(aioconn_set_send_wait(c[0], 0));
	must(aioconn_set_callbacks(c[1], on_message, NULL, NULL, (void *)(uintptr_t)k));
	send_and_call_back(c[0], k);
	ck_assert_uint_eq(allocations, 0);
	ck_assert_uint_eq(wrong, 0);
	close_both(c);
	event_base_free(base);
}

TEST(small_blocking)
{
	steady_blocking(&small);
}

TEST(small_callbacks)
{
	steady_callbacks(&small);
}

TEST(bulk_blocking)
{
	steady_blocking(&bulk);
}

TEST(bulk_callbacks)
{
	steady_callbacks(&bulk);
}

TEST(text_blocking)
{
	steady_blocking(&text);
}

TEST(text_callbacks)
{
	steady_callbacks(&text);
}

TEST(array_blocking)
{
	steady_blocking(&array);
}

TEST(array_callbacks)
{
	steady_callbacks(&array);
}

/* Small ones over every carrier, in every framing. Chunks of bytes join where a callback takes them, so there is no number to wait for. */

static const struct kind few = {send_small, read_bytes, 20000};

static void over(enum transport t)
{
	way = t;
	for (framing = AIOCONN_MESSAGES; framing <= AIOCONN_BYTES; framing++)
		steady_blocking(&few);
	for (framing = AIOCONN_MESSAGES; framing <= AIOCONN_LINES; framing++)
		steady_callbacks(&few);
}

TEST(over_a_pair_in_every_framing)
{
	over(PAIR);
}

TEST(over_a_ring_in_every_framing)
{
	over(RING);
}

TEST(over_a_duplex_in_every_framing)
{
	over(DUPLEX);
}

TEST(over_a_pipe_in_every_framing)
{
	over(PIPE);
}

TEST(large_ones_over_a_ring)
{
	static const struct kind some = {send_bulk, read_bytes, 1000};

	way = RING;
	steady_callbacks(&some);
}

/* Blocking calls that cork, and read what came in a row. */
TEST(small_ones_that_are_corked)
{
	struct aioconn *c[2];
	struct aiomsg *m;

	if (!pool_keeps())
		return;
	open_both(c, NULL);
	for (int i = 0; i < 200; i++) {
		if (i == 100)
			allocations = 0;
		expect(aioconn_cork(c[0], true) == 0);
		for (int k = 0; k < 100; k++)
			expect(send_small(c[0]) == 0 && send_words(c[0]) == 0);
		expect(aioconn_cork(c[0], false) == 0);
		for (int k = 0; k < 200; k++) {
			expect(aioconn_recv(c[1], &m, AIOIPC_FOREVER) == 1);
			aiomsg_free(m);
		}
	}
	ck_assert_uint_eq(allocations, 0);
	ck_assert_uint_eq(wrong, 0);
	close_both(c);
}
