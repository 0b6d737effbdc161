/* What passes inside one process: queues between threads and between tasks, channels, and a queue by hand beside them. */
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>

#include <aioipc.h>

#include "bench/bench.h"

#define PLACES 1024
#define BATCH 64
#define HANG_LIMIT 20 /* seconds */

/* A queue as one would write it: a ring, a mutex and two conditions. */
struct by_hand {
	pthread_mutex_t lock;
	pthread_cond_t items, room;
	struct aiomsg *ring[PLACES];
	size_t head, count;
};

struct flow {
	struct bench *reader, writer; /* each side has its own: no line of the cache is shared */
	struct aioqueue *queue;
	struct by_hand *by_hand;
	struct aiochan *chan;
	struct event_base *base;
};

static void put_by_hand(struct by_hand *q, struct aiomsg *m)
{
	pthread_mutex_lock(&q->lock);
	while (q->count == PLACES)
		pthread_cond_wait(&q->room, &q->lock);
	q->ring[(q->head + q->count++) % PLACES] = m;
	pthread_cond_signal(&q->items);
	pthread_mutex_unlock(&q->lock);
}

static struct aiomsg *get_by_hand(struct by_hand *q)
{
	struct aiomsg *m;

	pthread_mutex_lock(&q->lock);
	while (q->count == 0)
		pthread_cond_wait(&q->items, &q->lock);
	m = q->ring[q->head];
	q->head = (q->head + 1) % PLACES;
	q->count--;
	pthread_cond_signal(&q->room);
	pthread_mutex_unlock(&q->lock);
	return m;
}

static void pin(bool pinned, unsigned processor)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(processor, &set);
	if (pinned)
		sched_setaffinity(0, sizeof set, &set);
}

/* The next message, of which the first byte tells whether it is the last. */
static struct aiomsg *next_message(struct flow *f, bool *more)
{
	char data[SMALL] = "";

	*more = bench_next(&f->writer, data);
	return must_have(aiomsg_new_bytes(data, sizeof data), "aiomsg_new_bytes");
}

static bool got_message(struct flow *f, struct aiomsg *m)
{
	bool last = bench_got(f->reader, aiomsg_bytes(m, NULL), 1);

	aiomsg_free(m);
	return last;
}

static void write_messages(void *arg)
{
	struct flow *f = arg;
	bool more = true;

	while (more) {
		struct aiomsg *m = next_message(f, &more);

		must(aioqueue_put(f->queue, m, AIOIPC_FOREVER), "aioqueue_put");
		aiomsg_free(m);
	}
}

static void read_messages(void *arg)
{
	struct flow *f = arg;
	struct aiomsg *m;

	do
		must(aioqueue_get(f->queue, &m, AIOIPC_FOREVER), "aioqueue_get");
	while (!got_message(f, m));
	bench_end(f->reader);
}

static void write_batches(void *arg)
{
	struct flow *f = arg;
	struct aiomsg *m[BATCH];
	bool more = true;

	while (more) {
		size_t n = 0;

		while (n < BATCH && more)
			m[n++] = next_message(f, &more);
		must((int)aioqueue_put_all(f->queue, m, n, AIOIPC_FOREVER), "aioqueue_put_all");
		while (n > 0)
			aiomsg_free(m[--n]);
	}
}

static void read_batches(void *arg)
{
	struct flow *f = arg;
	struct aiomsg *m[BATCH];
	bool last = false;

	while (!last) {
		int n = must((int)aioqueue_get_all(f->queue, m, BATCH, AIOIPC_FOREVER), "aioqueue_get_all");

		for (int i = 0; i < n; i++)
			last = got_message(f, m[i]);
	}
	bench_end(f->reader);
}

static void write_by_hand(void *arg)
{
	struct flow *f = arg;
	bool more = true;

	while (more)
		put_by_hand(f->by_hand, next_message(f, &more));
}

static void read_by_hand(void *arg)
{
	struct flow *f = arg;

	while (!got_message(f, get_by_hand(f->by_hand)))
		;
	bench_end(f->reader);
}

static void begin(struct flow *f, struct bench *b)
{
	alarm(HANG_LIMIT);
	b->spare = 1;
	*f = (struct flow){.reader = b, .writer = *b};
	f->queue = must_have(aioqueue_new(PLACES, 0), "aioqueue_new");
	f->chan = must_have(aiochan_new(), "aiochan_new");
	f->base = must_have(event_base_new(), "event_base_new");
}

static void end(struct flow *f)
{
	aioqueue_free(f->queue);
	aiochan_free(f->chan);
	event_base_free(f->base);
}

struct writer {
	struct flow *flow;
	void (*write)(void *);
};

static void *writer_thread(void *arg)
{
	struct writer *w = arg;

	pin(w->flow->writer.pin, 1);
	w->write(w->flow);
	return NULL;
}

static void between_threads(struct bench *b, void (*write)(void *), void (*read)(void *))
{
	struct by_hand q = {.lock = PTHREAD_MUTEX_INITIALIZER,
			    .items = PTHREAD_COND_INITIALIZER,
			    .room = PTHREAD_COND_INITIALIZER};
	struct flow f;
	struct writer w = {&f, write};
	pthread_t thread;

	begin(&f, b);
	f.by_hand = &q;
	if (pthread_create(&thread, NULL, writer_thread, &w) != 0)
		must(-1, "pthread_create");
	pin(b->pin, 0);
	read(&f);
	pthread_join(thread, NULL);
	end(&f);
}

static void between_tasks(struct bench *b, void (*write)(void *), void (*read)(void *))
{
	struct flow f;
	struct aiotask *t;

	begin(&f, b);
	pin(b->pin, 0);
	t = must_have(aiotask_spawn(f.base, write, &f), "aiotask_spawn");
	must(aiotask_run(f.base, read, &f), "aiotask_run");
	must(aiotask_join(t, AIOIPC_FOREVER), "aiotask_join");
	end(&f);
}

static void queue_threads(struct bench *b)
{
	between_threads(b, write_messages, read_messages);
}

static void queue_threads_batch(struct bench *b)
{
	between_threads(b, write_batches, read_batches);
}

static void queue_by_hand(struct bench *b)
{
	between_threads(b, write_by_hand, read_by_hand);
}

static void queue_tasks(struct bench *b)
{
	between_tasks(b, write_messages, read_messages);
}

/* Channels carry pointers: the item is the byte that tells the last. */

static void write_items(void *arg)
{
	struct flow *f = arg;
	char item[SMALL] = "";
	bool more;

	do {
		more = bench_next(&f->writer, item);
		must(aiochan_send(f->chan, item, NULL, AIOIPC_FOREVER), "aiochan_send");
	} while (more);
	aiochan_close(f->chan, 0);
}

static void read_items(void *arg)
{
	struct flow *f = arg;

	aiochan_each(f->chan, item) bench_got(f->reader, item, 1);
	bench_end(f->reader);
}

static void write_item_batches(void *arg)
{
	struct flow *f = arg;
	char last[SMALL] = "", item[SMALL] = "";
	void *items[BATCH];
	bool more;

	do {
		more = bench_next(&f->writer, last);
		for (int i = 0; i < BATCH; i++)
			items[i] = i < BATCH - 1 ? item : last;
		must((int)aiochan_send_all(f->chan, items, BATCH, AIOIPC_FOREVER), "aiochan_send_all");
	} while (more);
	aiochan_close(f->chan, 0);
}

static void chan(struct bench *b)
{
	between_tasks(b, write_items, read_items);
}

/* One by one out of batches, and batch by batch. */
static void chan_batch(struct bench *b)
{
	between_tasks(b, write_item_batches, read_items);
}

static void read_item_batches(void *arg)
{
	struct flow *f = arg;
	void *items[BATCH];
	ssize_t n;

	while ((n = aiochan_next_once(f->chan, items, BATCH, AIOIPC_FOREVER)) > 0)
		for (ssize_t i = 0; i < n; i++)
			bench_got(f->reader, items[i], 1);
	bench_end(f->reader);
}

static void chan_batches(struct bench *b)
{
	between_tasks(b, write_item_batches, read_item_batches);
}

int main(int argc, char **argv)
{
	static const struct bench_case cases[] = {
		{"queue-threads", queue_threads},
		{"queue-threads-batch", queue_threads_batch},
		{"queue-by-hand", queue_by_hand},
		{"queue-tasks", queue_tasks},
		{"chan", chan},
		{"chan-batch", chan_batch},
		{"chan-batches", chan_batches},
		{NULL, NULL},
	};

	return bench_main(argc, argv, cases);
}
