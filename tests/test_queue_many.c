/* Queues under load: many producers and many consumers, threads and tasks in any mix. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include <event2/event.h>

#include <aioipc/msg.h>
#include <aioipc/queue.h>
#include <aioipc/task.h>

#include "tests/harness.h"

/*
 * Many with many. Each message says who put it, and its place among that one's. Every consumer must see those of a producer
 * in rising order, and together all of them once.
 */
#define PEERS 8

struct item {
	uint32_t producer, place;
};

struct peer {
	struct aioqueue *q;
	uint32_t id, n;
	uint64_t count, sum;
	bool disorder;
	atomic_int *left; /* producers */
};

static struct aiomsg *item(uint32_t producer, uint32_t place)
{
	struct item i = {producer, place};

	return must(aiomsg_new_bytes(&i, sizeof i));
}

static void produce(void *arg)
{
	struct peer *p = arg;
	struct aiomsg *m[5];

	for (uint32_t i = 0; i < p->n;) {
		ssize_t n = 0;

		/* odd ones in batches */
		while (n < (p->id % 2 ? 5 : 1) && i < p->n)
			m[n++] = item(p->id, i++);
		if (aioqueue_put_all(p->q, m, (size_t)n, AIOIPC_FOREVER) != n)
			p->disorder = true;
		while (n > 0)
			aiomsg_free(m[--n]);
	}
	if (atomic_fetch_sub(p->left, 1) == 1)
		aioqueue_close(p->q);
}

static void look_at(struct peer *p, int64_t *last, struct aiomsg *m)
{
	struct item i;

	memcpy(&i, aiomsg_bytes(m, NULL), sizeof i);
	p->disorder |= i.place <= last[i.producer];
	last[i.producer] = i.place;
	p->count++;
	p->sum += i.place + UINT64_C(1);
	aiomsg_free(m);
}

static void consume(void *arg)
{
	struct peer *p = arg;
	int64_t last[PEERS];
	struct aiomsg *m[5];
	ssize_t n;

	for (int i = 0; i < PEERS; i++)
		last[i] = -1;
	while ((n = aioqueue_get_all(p->q, m, p->id % 2 ? 5 : 1, AIOIPC_FOREVER)) > 0)
		for (ssize_t i = 0; i < n; i++)
			look_at(p, last, m[i]);
	p->disorder |= n == -1;
}

/* What one thread does: a peer by itself, or several as tasks of a base. */
struct host {
	pthread_t thread;
	struct peer *in, *out;
	int ins, outs;
};

static void run_as_tasks(struct host *h)
{
	struct event_base *base = must(event_base_new());
	struct aiotask *t[2 * PEERS];
	int n = 0;

	for (int i = 0; i < h->outs; i++)
		t[n++] = must(aiotask_spawn(base, consume, &h->out[i]));
	for (int i = 0; i < h->ins; i++)
		t[n++] = must(aiotask_spawn(base, produce, &h->in[i]));
	while (n > 0)
		must(aiotask_join(t[--n], AIOIPC_FOREVER));
	event_base_free(base);
}

static void *run_host(void *arg)
{
	struct host *h = arg;

	if (h->ins + h->outs > 1)
		run_as_tasks(h);
	else if (h->ins)
		produce(h->in);
	else
		consume(h->out);
	return NULL;
}

static void host(struct host *h, struct peer *in, int ins, struct peer *out, int outs)
{
	*h = (struct host){.in = in, .ins = ins, .out = out, .outs = outs};
	ck_assert_int_eq(pthread_create(&h->thread, NULL, run_host, h), 0);
}

/* The first @threads of each kind are threads, the others tasks of two bases. */
static int begin_all(struct host *h, struct peer *in, struct peer *out, int threads)
{
	int n = 0, half = threads + (PEERS - threads) / 2;

	for (int i = 0; i < threads; i++) {
		host(&h[n++], in + i, 1, NULL, 0);
		host(&h[n++], NULL, 0, out + i, 1);
	}
	if (threads == PEERS)
		return n;
	host(&h[n++], in + threads, half - threads, out + threads, half - threads);
	host(&h[n++], in + half, PEERS - half, out + half, PEERS - half);
	return n;
}

static void many_with_many(size_t most, uint32_t each, int threads)
{
	struct aioqueue *q = must(aioqueue_new(most, 0));
	struct peer in[PEERS], out[PEERS];
	struct host h[2 * PEERS];
	atomic_int left = PEERS;
	uint64_t count = 0, sum = 0;
	int n;

	for (uint32_t i = 0; i < PEERS; i++)
		in[i] = out[i] = (struct peer){.q = q, .id = i, .n = each, .left = &left};
	n = begin_all(h, in, out, threads);
	while (n > 0)
		ck_assert_int_eq(pthread_join(h[--n].thread, NULL), 0);
	for (int i = 0; i < PEERS; i++) {
		ck_assert(!in[i].disorder && !out[i].disorder);
		count += out[i].count;
		sum += out[i].sum;
	}
	ck_assert_uint_eq(count, (uint64_t)PEERS * each);
	ck_assert_uint_eq(sum, PEERS * ((uint64_t)each * (each + 1) / 2));
	aioqueue_free(q);
}

static uint32_t fewer_when_slow(uint32_t n)
{
	return harness_slowness() > 1 ? n / 100 : n;
}

TEST_WITHIN(ten_million_arrive_once_and_in_order, 60)
{
	many_with_many(1000, fewer_when_slow(1250000), 4);
}

TEST_WITHIN(between_threads, 60)
{
	many_with_many(100, fewer_when_slow(100000), PEERS);
}

TEST_WITHIN(between_tasks, 60)
{
	many_with_many(100, fewer_when_slow(100000), 0);
}

TEST_WITHIN(a_queue_of_one_is_handed_from_call_to_call, 60)
{
	many_with_many(1, fewer_when_slow(10000), 4);
}
