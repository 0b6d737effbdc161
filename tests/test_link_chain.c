/*
 * Chains of links and queues: who is slow at the end slows the one at the front, nothing is dropped on the way and nothing
 * grows; and the end runs through it behind the last message.
 */
#include "tests/links.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/*
 * producer -> outbox -> link 0 == link 1 -> inbox, which is the outbox of link 2 == link 3 -> inbox -> consumer
 *
 * Every queue holds at most so many messages of so many bytes.
 */
enum { HELD = 8, SIZE = 32 * 1024, LINKS = 4 };

struct chain {
	struct aioqueue *queue[3];
	struct aiolink *link[LINKS];
	struct event_base *base;
	unsigned sent, got, total;
	size_t heap;
};

static void build(struct chain *c, struct event_base *base, unsigned total)
{
	*c = (struct chain){.base = base, .total = total};
	for (int i = 0; i < 3; i++)
		c->queue[i] = must(aioqueue_new(HELD, 0));
	for (unsigned i = 0; i < LINKS; i++) {
		struct aiolink_options o = options_of(i % 2 ? AIOLINK_LISTEN : AIOLINK_CONNECT,
						      unix_at(i / 2), AIOCONN_MESSAGES);

		if (i % 2)
			never_again(&o);
		o.direction = i % 2 ? AIOLINK_RECV : AIOLINK_SEND;
		o.outbox = i % 2 ? NULL : c->queue[i / 2];
		o.inbox = i % 2 ? c->queue[i / 2 + 1] : NULL;
		c->link[i] = start_link(&o, base);
	}
	for (unsigned i = 0; i < LINKS; i++)
		must(aiolink_wait_connected(c->link[i], soon()));
	c->heap = heap_in_use();
}

static void tear_down(struct chain *c)
{
	for (unsigned i = 0; i < LINKS; i++) {
		must(aiolink_join(c->link[i], soon()));
		ck_assert_int_eq(aiolink_error(c->link[i]), 0);
		ck_assert_uint_eq(stat_connections(c->link[i]), 1);
		close_link(c->link[i]);
	}
	for (int i = 0; i < 3; i++)
		aioqueue_free(c->queue[i]);
}

/* False when there was no room until @deadline. */
static bool send_one(struct chain *c, int64_t deadline)
{
	char *data = must(malloc(SIZE));
	struct aiomsg *m;
	bool sent;

	fill(data, SIZE, c->sent);
	m = must(aiomsg_new_bytes(data, SIZE));
	sent = aioqueue_put(c->queue[0], m, deadline) == 0;
	if (!sent)
		ck_assert_int_eq(errno, ETIMEDOUT);
	aiomsg_free(m);
	free(data);
	c->sent += sent;
	return sent;
}

static void get_one(struct chain *c)
{
	struct aiomsg *m;
	size_t len;
	const void *data;

	ck_assert_int_eq(must(aioqueue_get(c->queue[2], &m, soon())), 1);
	data = aiomsg_bytes(m, &len);
	ck_assert_uint_eq(len, SIZE);
	ck_assert(is_filled(data, len, c->got));
	aiomsg_free(m);
	c->got++;
}

/* In the kernel, of one connection: over TLS it is one of TCP, whose buffers grow. */
static unsigned most_in_kernel(void)
{
	return (is_over_tls() ? 16U << 20 : 1U << 20) / SIZE;
}

/*
 * Nobody takes anything: the producer stalls. What is under way then fits into three queues and two pairs of connections, each with
 * 1 MiB on either side, what the kernel has, and a batch that is about to be put.
 */
static void stall(struct chain *c)
{
	const unsigned batch = 64, ours = 3 * HELD + 2 * (2 * ((1 << 20) / SIZE) + batch);
	const unsigned most = ours + 2 * most_in_kernel();

	while (c->sent - c->got <= most && send_one(c, aioipc_after(200)))
		;
	ck_assert_uint_ge(c->sent - c->got, 3 * HELD);
	ck_assert_uint_le(c->sent - c->got, most);
	for (int i = 0; i < 3; i++)
		ck_assert_uint_le(aioqueue_count(c->queue[i]), HELD);
	ck_assert_uint_le(heap_in_use(), c->heap + (ours + 2 * ((1 << 20) / SIZE) + HELD) * (SIZE + 1024));
}

static void produce(void *arg)
{
	struct chain *c = arg;

	while (c->sent < c->total)
		ck_assert(send_one(c, soon()));
	aioqueue_close(c->queue[0]);
}

/* In bursts, with pauses that are longer than the chain needs to fill up. */
static void consume(struct chain *c)
{
	while (c->got < c->total) {
		get_one(c);
		if (c->got % 100 == 0)
			nap(5);
	}
	expect_queue_end(c->queue[2]);
}

static void press(struct event_base *base)
{
	struct beside *producer;
	struct chain c;

	build(&c, base, is_over_tls() ? 4000 : 2000);
	stall(&c);
	while (c.got < c.sent / 2)
		get_one(&c);
	stall(&c);
	producer = run_beside(base, produce, &c);
	consume(&c);
	join_beside(producer);
	ck_assert_uint_eq(c.got, c.total);
	tear_down(&c);
}

TEST_WITHIN(a_slow_reader_is_felt_at_the_front_of_the_chain, 120)
{
	both_ways(press);
}

/* The reader at the end loses interest: who is in front learns that, link by link, and nothing hangs. */
static void break_off(struct event_base *base)
{
	struct chain c;

	build(&c, base, 0);
	stall(&c);
	aiolink_abort(c.link[3]);
	c.link[3] = NULL;
	await_disconnect(c.link[2]);
	must_fail(aiolink_close(c.link[2], AIOIPC_NOW), ETIMEDOUT);
	await_disconnect(c.link[0]);
	aiolink_abort(c.link[0]);
	aiolink_abort(c.link[1]);
	for (int i = 0; i < 3; i++)
		aioqueue_free(c.queue[i]);
}

TEST_WITHIN(a_chain_that_is_broken_at_its_end, 120)
{
	both_ways(break_off);
}

/* Back and forth: each sends to the other as fast as it takes, both inboxes small. */
struct half {
	struct aiolink *l;
	unsigned count;
};

static void pour(void *arg)
{
	const struct half *h = arg;

	put_numbers(aiolink_outbox(h->l), "drop", 0, h->count);
}

static void cross(struct event_base *base)
{
	struct aiolink_options o = options_of(AIOLINK_LISTEN, unix_at(0), AIOCONN_MESSAGES);
	struct half half[2];
	struct beside *pouring[2];

	for (int i = 0; i < 2; i++) {
		o.role = i ? AIOLINK_CONNECT : AIOLINK_LISTEN;
		o.inbox = must(aioqueue_new(2, 0));
		o.outbox = must(aioqueue_new(2, 0));
		half[i] = (struct half){start_link(&o, base), 5000};
		aioqueue_free(o.inbox);
		aioqueue_free(o.outbox);
		pouring[i] = run_beside(base, pour, &half[i]);
	}
	for (unsigned n = 0; n < 5000; n++)
		for (int i = 0; i < 2; i++)
			expect_numbers(aiolink_inbox(half[i].l), "drop", n, n + 1);
	for (int i = 0; i < 2; i++)
		join_beside(pouring[i]);
	close_link(half[0].l);
	close_link(half[1].l);
}

TEST_WITHIN(both_directions_through_the_smallest_queues, 120)
{
	both_ways(cross);
}
