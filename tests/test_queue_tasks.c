/* Queues and tasks: parking, cancelling, and waiters of all kinds on one queue. */
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

#include <event2/event.h>

#include <aioipc/msg.h>
#include <aioipc/queue.h>
#include <aioipc/task.h>

#include "ipc/flow/queue.h"
#include "tests/harness.h"

static int put_number(struct aioqueue *q, uint32_t n, int64_t deadline)
{
	struct aiomsg *m = must(aiomsg_new_bytes(&n, sizeof n));
	int result = aioqueue_put(q, m, deadline);
	int error = errno;

	aiomsg_free(m);
	errno = error;
	return result;
}

static uint32_t number_in(struct aiomsg *m)
{
	uint32_t n;

	memcpy(&n, aiomsg_bytes(m, NULL), sizeof n);
	aiomsg_free(m);
	return n;
}

static uint32_t get_number(struct aioqueue *q, int64_t deadline)
{
	struct aiomsg *m;

	ck_assert_int_eq(must(aioqueue_get(q, &m, deadline)), 1);
	return number_in(m);
}

static size_t length_of(struct aioqueue *q, struct ipc_waitlist *l)
{
	size_t n = 0;

	ipc_queue_lock(q);
	for (struct ipc_wait_entry *p = l->first; p; p = p->next)
		n++;
	ipc_queue_unlock(q);
	return n;
}

/* One call, by a thread or a task, and how it went. */
struct caller {
	struct aioqueue *q;
	struct aiotask *task;
	pthread_t thread;
	int64_t deadline;
	uint32_t number; /* put, or got */
	int result, error;
};

static void get_one(void *arg)
{
	struct caller *c = arg;
	struct aiomsg *m;

	c->result = aioqueue_get(c->q, &m, c->deadline);
	c->error = errno;
	if (c->result == 1)
		c->number = number_in(m);
}

static void put_one(void *arg)
{
	struct caller *c = arg;

	c->result = put_number(c->q, c->number, c->deadline);
	c->error = errno;
}

static void turns(struct event_base *base)
{
	for (int i = 0; i < 4; i++)
		event_base_loop(base, EVLOOP_NONBLOCK);
}

#define STREAM 10000

static void produce(void *q)
{
	for (uint32_t i = 0; i < STREAM; i++)
		must(put_number(q, i, AIOIPC_FOREVER));
	aioqueue_close(q);
}

static void consume(void *q)
{
	struct aiomsg *m;

	for (uint32_t i = 0; i < STREAM; i++)
		ck_assert_uint_eq(get_number(q, AIOIPC_FOREVER), i);
	ck_assert_int_eq(aioqueue_get(q, &m, AIOIPC_FOREVER), 0);
}

TEST(from_task_to_task)
{
	const size_t most[] = {1, 3, 100};

	for (int i = 0; i < 3; i++) {
		struct event_base *base = must(event_base_new());
		struct aioqueue *q = must(aioqueue_new(most[i], 0));
		struct aiotask *to = must(aiotask_spawn(base, consume, q));

		must(aiotask_run(base, produce, q));
		must(aiotask_join(to, AIOIPC_FOREVER));
		aioqueue_free(q);
		event_base_free(base);
	}
}

static void *consume_in_thread(void *q)
{
	struct event_base *base = must(event_base_new());

	must(aiotask_run(base, consume, q));
	event_base_free(base);
	return NULL;
}

TEST(from_a_task_to_one_of_another_thread)
{
	struct event_base *base = must(event_base_new());
	struct aioqueue *q = must(aioqueue_new(3, 0));
	pthread_t thread;

	ck_assert_int_eq(pthread_create(&thread, NULL, consume_in_thread, q), 0);
	must(aiotask_run(base, produce, q));
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
	aioqueue_free(q);
	event_base_free(base);
}

static void check_deadlines(void *arg)
{
	struct aioqueue *q = arg;
	struct aiomsg *m;

	must_fail(aioqueue_get(q, &m, AIOIPC_NOW), ETIMEDOUT);
	must_fail(aioqueue_get(q, &m, aioipc_after(5)), ETIMEDOUT);
	must_fail(aioqueue_get(q, &m, 5000), EINVAL);
	must(put_number(q, 1, AIOIPC_NOW));
	must_fail(put_number(q, 2, AIOIPC_NOW), ETIMEDOUT);
	must_fail(put_number(q, 2, aioipc_after(5)), ETIMEDOUT);
	ck_assert_uint_eq(get_number(q, AIOIPC_NOW), 1);
	ck_assert_uint_eq(length_of(q, &q->putters), 0);
}

TEST(deadlines_in_a_task)
{
	struct event_base *base = must(event_base_new());
	struct aioqueue *q = must(aioqueue_new(1, 0));

	must(aiotask_run(base, check_deadlines, q));
	aioqueue_free(q);
	event_base_free(base);
}

TEST(a_cancelled_wait_loses_nothing)
{
	struct event_base *base = must(event_base_new());
	struct aioqueue *q = must(aioqueue_new(1, 0));
	struct caller get = {.q = q, .deadline = AIOIPC_FOREVER}, put = get;

	get.task = must(aiotask_spawn(base, get_one, &get));
	turns(base);
	must(aiotask_cancel(get.task));
	must(put_number(q, 1, AIOIPC_NOW));
	put.number = 2;
	put.task = must(aiotask_spawn(base, put_one, &put));
	must(aiotask_join(get.task, AIOIPC_FOREVER));
	/* the message may have been handed over before the cancelled task ran: then it has it */
	ck_assert(get.result == 1 || (get.result == -1 && get.error == ECANCELED));
	turns(base);
	if (get.result == -1) {
		must(aiotask_cancel(put.task));
		must(aiotask_join(put.task, AIOIPC_FOREVER));
		ck_assert_int_eq(put.error, ECANCELED);
		ck_assert_uint_eq(get_number(q, AIOIPC_NOW), 1);
	} else {
		ck_assert_uint_eq(get.number, 1);
		must(aiotask_join(put.task, AIOIPC_FOREVER));
		ck_assert_uint_eq(get_number(q, AIOIPC_NOW), 2);
	}
	ck_assert_uint_eq(aioqueue_count(q), 0);
	aioqueue_free(q);
	event_base_free(base);
}

static void get_twice(void *arg)
{
	struct caller *c = arg;
	struct aiomsg *m;

	get_one(c);
	ck_assert_int_eq(c->result, 1);
	must_fail(aioqueue_get(c->q, &m, AIOIPC_FOREVER), ECANCELED);
	must_fail(aioqueue_get(c->q, &m, AIOIPC_NOW), ETIMEDOUT);
}

/* The message came first: it is got, and the next wait tells of the cancel. */
TEST(a_cancel_behind_a_message)
{
	for (int cancel_first = 0; cancel_first < 2; cancel_first++) {
		struct event_base *base = must(event_base_new());
		struct aioqueue *q = must(aioqueue_new(1, 0));
		struct caller c = {.q = q, .deadline = AIOIPC_FOREVER};

		c.task = must(aiotask_spawn(base, get_twice, &c));
		turns(base);
		if (cancel_first)
			must(aiotask_cancel(c.task));
		must(put_number(q, 7, AIOIPC_NOW));
		ck_assert_uint_eq(aioqueue_count(q), 0);
		if (!cancel_first)
			must(aiotask_cancel(c.task));
		must(aiotask_join(c.task, AIOIPC_FOREVER));
		ck_assert_uint_eq(c.number, 7);
		aioqueue_free(q);
		event_base_free(base);
	}
}

static void *put_seven(void *q)
{
	must(put_number(q, 7, AIOIPC_NOW));
	return NULL;
}

struct overtaken {
	struct event_base *base;
	struct aioqueue *q;
};

static void end_before_the_loop_is_told(void *arg)
{
	struct overtaken *o = arg;
	struct caller get = {.q = o->q, .deadline = AIOIPC_FOREVER};
	pthread_t thread;

	get.task = must(aiotask_spawn(o->base, get_one, &get));
	while (length_of(o->q, &o->q->getters) == 0)
		must(aiotask_sleep(AIOIPC_NOW));
	ck_assert_int_eq(pthread_create(&thread, NULL, put_seven, o->q), 0);
	pthread_join(thread, NULL);
	must(aiotask_cancel(get.task));
	must(aiotask_join(get.task, AIOIPC_FOREVER));
	ck_assert_int_eq(get.result, 1);
	ck_assert_uint_eq(get.number, 7);
	must(aiotask_sleep(aioipc_after(1)));
}

/* The loop hears later what another thread handed over: the task is over by then, and must not be touched. */
TEST(a_cancel_overtakes_a_message_of_another_thread)
{
	struct overtaken o = {must(event_base_new()), must(aioqueue_new(1, 0))};

	must(aiotask_run(o.base, end_before_the_loop_is_told, &o));
	aioqueue_free(o.q);
	event_base_free(o.base);
}

static void put_five(void *arg)
{
	struct caller *c = arg;
	struct aiomsg *m = must(aiomsg_new("i", 1)), *five[5] = {m, m, m, m, m};

	c->result = (int)aioqueue_put_all(c->q, five, 5, AIOIPC_FOREVER);
	must_fail(aiotask_sleep(AIOIPC_FOREVER), ECANCELED);
	aiomsg_free(m);
}

TEST(a_cancel_in_the_middle_of_a_batch_is_told_by_the_next_wait)
{
	struct event_base *base = must(event_base_new());
	struct aioqueue *q = must(aioqueue_new(3, 0));
	struct caller c = {.q = q};

	c.task = must(aiotask_spawn(base, put_five, &c));
	turns(base);
	must(aiotask_cancel(c.task));
	must(aiotask_join(c.task, AIOIPC_FOREVER));
	ck_assert_int_eq(c.result, 3);
	ck_assert_uint_eq(aioqueue_count(q), 3);
	aioqueue_free(q);
	event_base_free(base);
}

/* Waiters of all kinds: four threads, four tasks, in turn, and a watch. */
#define WAITERS 8

static void *in_thread(void *arg)
{
	struct caller *c = arg;

	if (c->number)
		put_one(c);
	else
		get_one(c);
	return NULL;
}

static void watch_called(struct aioqueue *q, void *arg)
{
	(void)q;
	++*(int *)arg;
}

static void wait_all(struct event_base *base, struct aioqueue *q, struct caller *c, bool full)
{
	for (size_t i = 0; i < WAITERS; i++) {
		c[i] = (struct caller){
			.q = q, .deadline = AIOIPC_FOREVER, .number = full ? (uint32_t)i + 1 : 0};
		if (i % 2)
			c[i].task = must(aiotask_spawn(base, full ? put_one : get_one, &c[i]));
		else
			ck_assert_int_eq(pthread_create(&c[i].thread, NULL, in_thread, &c[i]), 0);
		turns(base);
		while (length_of(q, full ? &q->putters : &q->getters) != i + 1)
			sched_yield();
	}
}

static void join_all(struct caller *c)
{
	for (size_t i = 0; i < WAITERS; i++) {
		if (c[i].task)
			must(aiotask_join(c[i].task, AIOIPC_FOREVER));
		else
			ck_assert_int_eq(pthread_join(c[i].thread, NULL), 0);
	}
}

static void end_all(void (*stop)(struct aioqueue *q), bool full)
{
	struct event_base *base = must(event_base_new());
	struct aioqueue *q = must(aioqueue_new(1, 0));
	struct caller c[WAITERS];
	int called = 0;

	if (full)
		must(put_number(q, 0, AIOIPC_NOW));
	must(aioqueue_watch(q, base, full ? NULL : watch_called, full ? watch_called : NULL, &called));
	wait_all(base, q, c, full);
	ck_assert_int_eq(called, 0);
	stop(q);
	turns(base);
	ck_assert_int_eq(called, 1);
	join_all(c);
	for (size_t i = 0; i < WAITERS; i++) {
		ck_assert_int_eq(c[i].result, full ? -1 : 0);
		if (full)
			ck_assert_int_eq(c[i].error, EPIPE);
	}
	ck_assert_uint_eq(aioqueue_count(q), full && stop == aioqueue_close ? 1 : 0);
	must(aioqueue_watch(q, base, NULL, NULL, NULL));
	aioqueue_free(q);
	event_base_free(base);
}

TEST(the_end_wakes_waiters_of_all_kinds)
{
	end_all(aioqueue_close, false);
	end_all(aioqueue_close, true);
	end_all(aioqueue_discard, false);
	end_all(aioqueue_discard, true);
}

TEST(threads_and_tasks_stand_in_one_line)
{
	struct event_base *base = must(event_base_new());
	struct aioqueue *q = must(aioqueue_new(WAITERS, 0));
	struct caller c[WAITERS];

	wait_all(base, q, c, false);
	for (uint32_t i = 0; i < WAITERS; i++)
		must(put_number(q, i, AIOIPC_NOW));
	join_all(c);
	for (uint32_t i = 0; i < WAITERS; i++)
		ck_assert_uint_eq(c[i].number, i);
	aioqueue_free(q);

	q = must(aioqueue_new(1, 0));
	must(put_number(q, 0, AIOIPC_NOW));
	wait_all(base, q, c, true);
	for (uint32_t i = 0; i <= WAITERS; i++)
		ck_assert_uint_eq(get_number(q, AIOIPC_NOW), i);
	join_all(c);
	aioqueue_free(q);
	event_base_free(base);
}

/* Many tasks: all parked at once, each woken by one message or by the end. */
static void many_parked(uint32_t n, bool close)
{
	struct event_base *base = must(event_base_new());
	struct aioqueue *q = must(aioqueue_new(n, 0));
	struct caller *c = must(calloc(n, sizeof *c));
	uint64_t sum = 0;

	for (uint32_t i = 0; i < n; i++) {
		c[i] = (struct caller){.q = q, .deadline = AIOIPC_FOREVER};
		c[i].task = aiotask_spawn(base, get_one, &c[i]);
		if (!c[i].task) { /* an older kernel, see "guard" in aiotask(3) */
			ck_assert_int_eq(errno, ENOMEM);
			ck_assert_uint_gt(i, 10000);
			n = i;
		}
	}
	while (length_of(q, &q->getters) < n)
		event_base_loop(base, EVLOOP_ONCE);
	if (close)
		aioqueue_close(q);
	for (uint32_t i = 0; i < n && !close; i++)
		must(put_number(q, i, AIOIPC_NOW));
	for (uint32_t i = 0; i < n; i++) {
		must(aiotask_join(c[i].task, AIOIPC_FOREVER));
		ck_assert_int_eq(c[i].result, close ? 0 : 1);
		sum += c[i].number;
	}
	ck_assert_uint_eq(sum, close ? 0 : (uint64_t)n * (n - 1) / 2);
	free(c);
	aioqueue_free(q);
	event_base_free(base);
}

TEST_WITHIN(a_hundred_thousand_tasks_parked_on_a_queue, 60)
{
	uint32_t n = harness_slowness() > 1 ? 1000 : 100000;

	many_parked(n, false);
	many_parked(n / 10, true);
}
