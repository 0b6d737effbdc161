/* Tasks whose base is freed while they wait: what they waited for goes on without them, and nothing is lost or leaks. */
#include <pthread.h>
#include <stdlib.h>

#include <event2/event.h>

#include <aioipc.h>

#include "ipc/flow/queue.h"
#include "tests/harness.h"

static struct aiomsg *number(uint32_t n)
{
	return must(aiomsg_new_bytes(&n, sizeof n));
}

static int put_number(struct aioqueue *q, uint32_t n)
{
	struct aiomsg *m = number(n);
	int result = aioqueue_put(q, m, AIOIPC_NOW);
	int error = errno;

	aiomsg_free(m);
	errno = error;
	return result;
}

static uint32_t get_number(struct aioqueue *q)
{
	struct aiomsg *m;
	uint32_t n;

	ck_assert_int_eq(must(aioqueue_get(q, &m, AIOIPC_NOW)), 1);
	memcpy(&n, aiomsg_bytes(m, NULL), sizeof n);
	aiomsg_free(m);
	return n;
}

static void get_for_ever(void *q)
{
	struct aiomsg *m[2];

	aioqueue_get_all(q, m, 2, AIOIPC_FOREVER);
	ck_abort_msg("it ran again");
}

static void fail_to_put(void *q)
{
	static struct aiomsg *m; /* reachable: what a stack holds is lost with it */

	m = number(9);
	aioqueue_put(q, m, AIOIPC_FOREVER);
	ck_abort_msg("it ran again");
}

static void turns(struct event_base *base)
{
	for (int i = 0; i < 4; i++)
		event_base_loop(base, EVLOOP_NONBLOCK);
}

/* So many tasks that wait in @fn; the handle of the first, if it is wanted. */
static struct event_base *park(int n, void (*fn)(void *), void *arg, struct aiotask **handle)
{
	struct event_base *base = must(event_base_new());

	for (int i = 0; i < n; i++) {
		struct aiotask *t = must(aiotask_spawn(base, fn, arg));

		if (i == 0 && handle)
			*handle = t;
		else
			aiotask_free(t);
	}
	turns(base);
	return base;
}

/* Stacks that are used again, by tasks that write all over them. */
static void scribble(void *arg)
{
	char page[8192];

	(void)arg;
	memset(page, 0x55, sizeof page);
	must(aiotask_sleep(AIOIPC_NOW));
	ck_assert_int_eq(page[77], 0x55);
}

static void reuse_stacks(void)
{
	struct event_base *base = must(event_base_new());

	for (int i = 0; i < 4; i++)
		aiotask_free(must(aiotask_spawn(base, scribble, NULL)));
	must(aiotask_run(base, scribble, NULL));
	turns(base);
	event_base_free(base);
}

TEST(nothing_is_handed_to_a_task_that_never_runs_again)
{
	struct aioqueue *q = must(aioqueue_new(2, 0));
	struct aiotask *t;

	event_base_free(park(3, get_for_ever, q, &t));
	must(put_number(q, 1));
	reuse_stacks();
	must(put_number(q, 2));
	must_fail(put_number(q, 3), ETIMEDOUT);
	ck_assert_uint_eq(get_number(q), 1);
	ck_assert_uint_eq(get_number(q), 2);
	must_fail(aiotask_cancel(t), ESRCH);
	aiotask_free(t);
	aioqueue_free(q);
}

TEST(one_that_has_to_put_makes_way)
{
	struct aioqueue *q = must(aioqueue_new(1, 0));

	must(put_number(q, 1));
	event_base_free(park(3, fail_to_put, q, NULL));
	must_fail(put_number(q, 2), ETIMEDOUT);
	ck_assert_uint_eq(get_number(q), 1);
	ck_assert_uint_eq(aioqueue_count(q), 0);
	must(put_number(q, 2));
	ck_assert_uint_eq(get_number(q), 2);
	aioqueue_free(q);
}

static void get_five(void *q)
{
	struct aiomsg *m;

	ck_assert_int_eq(aioqueue_get(q, &m, AIOIPC_FOREVER), 1);
	ck_assert_uint_eq(*(const uint32_t *)aiomsg_bytes(m, NULL), 5);
	aiomsg_free(m);
}

TEST(the_living_go_on)
{
	struct aioqueue *q = must(aioqueue_new(1, 0));
	struct event_base *dead, *base;
	struct aiotask *t;

	dead = park(2, get_for_ever, q, NULL);
	base = park(1, get_five, q, &t);
	event_base_free(dead);
	must(put_number(q, 5));
	must(aiotask_join(t, AIOIPC_FOREVER));
	event_base_free(base);
	aioqueue_free(q);
}

/* All ends of a queue's life: whoever is first to notice. */
static void close_it(struct aioqueue *q)
{
	struct aiomsg *m;

	aioqueue_close(q);
	ck_assert_int_eq(aioqueue_get(q, &m, AIOIPC_NOW), 0);
	aioqueue_free(q);
}

static void discard_it(struct aioqueue *q)
{
	aioqueue_discard(q);
	aioqueue_free(q);
}

static void run_a_task_first(struct aioqueue *q)
{
	reuse_stacks();
	aioqueue_free(q);
}

static void run_a_task_later(struct aioqueue *q)
{
	aioqueue_free(q);
	reuse_stacks();
}

static void hold_it_longer(struct aioqueue *q)
{
	aioqueue_ref(q);
	aioqueue_free(q);
	reuse_stacks();
	must(put_number(q, 1));
	aioqueue_free(q);
}

TEST(nothing_leaks_whoever_notices)
{
	void (*const end[])(struct aioqueue * q) = {aioqueue_free,    discard_it,       close_it,
						    run_a_task_first, run_a_task_later, hold_it_longer};

	for (size_t i = 0; i < sizeof end / sizeof end[0]; i++) {
		struct aioqueue *q = must(aioqueue_new(1, 0));

		event_base_free(park(2, get_for_ever, q, NULL));
		end[i](q);
	}
}

static void *put_two(void *q)
{
	must(put_number(q, 1));
	must(put_number(q, 2));
	return NULL;
}

static void in_thread(void *(*fn)(void *), void *arg)
{
	pthread_t thread;

	ck_assert_int_eq(pthread_create(&thread, NULL, fn, arg), 0);
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
}

/* Another thread can't know. What it handed over comes back as soon as somebody does. */
TEST(what_another_thread_hands_over_comes_back)
{
	struct aioqueue *q = must(aioqueue_new(3, 0));

	event_base_free(park(1, get_for_ever, q, NULL));
	in_thread(put_two, q);
	ck_assert_uint_eq(aioqueue_count(q), 1);
	reuse_stacks();
	ck_assert_uint_eq(aioqueue_count(q), 2);
	ck_assert_uint_eq(get_number(q), 1);
	ck_assert_uint_eq(get_number(q), 2);
	ck_assert_uint_eq(q->lent, 0);
	aioqueue_free(q);
}

static void *put_and_free(void *q)
{
	must(put_number(q, 1));
	aioqueue_free(q);
	return NULL;
}

TEST(the_queue_may_be_gone_when_it_comes_back)
{
	struct aioqueue *q = must(aioqueue_new(3, 0));

	event_base_free(park(2, get_for_ever, q, NULL));
	in_thread(put_and_free, q);
	reuse_stacks();
}

/* Channels. */

static void ask(void *ch)
{
	void *items[3];

	aiochan_next_all(ch, items, 3, AIOIPC_FOREVER);
	ck_abort_msg("it ran again");
}

static void offer(void *ch)
{
	int item = 1;

	aiochan_send(ch, &item, NULL, AIOIPC_FOREVER);
	ck_abort_msg("it ran again");
}

static int generate(struct aiochan *ch, void *arg)
{
	(void)arg;
	offer(ch);
	return 0;
}

TEST(a_channel_between_the_dead)
{
	for (int noticed = 0; noticed < 2; noticed++) {
		struct aiochan *asked = must(aiochan_new()), *offered = must(aiochan_new());

		event_base_free(park(1, ask, asked, NULL));
		event_base_free(park(1, offer, offered, NULL));
		if (noticed)
			reuse_stacks();
		aiochan_close(asked, 0);
		aiochan_free(asked);
		aiochan_free(offered);
	}
}

static void ask_once(void *ch)
{
	void *item;

	ck_assert_int_eq(aiochan_next(ch, NULL, &item, AIOIPC_FOREVER), 1);
	must(aiotask_park(AIOIPC_FOREVER));
}

TEST(a_generator_dies_with_its_base)
{
	for (int how = 0; how < 4; how++) {
		struct event_base *base = must(event_base_new());
		struct aiochan *ch = must(aiochan_produce(base, generate, NULL));

		if (how & 1)
			aiotask_free(must(aiotask_spawn(base, ask_once, ch)));
		turns(base);
		event_base_free(base);
		if (how & 2)
			reuse_stacks();
		aiochan_free(ch);
	}
}

TEST(a_generator_that_never_began)
{
	struct event_base *base = must(event_base_new());
	struct aiochan *ch = must(aiochan_produce(base, generate, NULL));

	event_base_free(base);
	aiochan_free(ch);
}

static void serve_and_park(void *ch)
{
	must(aiochan_serve(ch, AIOIPC_FOREVER));
	must(aiotask_park(AIOIPC_FOREVER));
}

/* The end of the server wakes the client, and both come after one that had yet to run. */
TEST(the_dead_do_not_wake_each_other)
{
	struct aiochan *ch = must(aiochan_new());
	struct event_base *base = park(1, ask, ch, NULL);

	aiotask_free(must(aiotask_spawn(base, serve_and_park, ch)));
	turns(base);
	aiotask_free(must(aiotask_spawn(base, scribble, NULL)));
	event_base_free(base);
	aiochan_free(ch);
	reuse_stacks();
}

/* Links and services. */

static void await_peer(void *link)
{
	aiolink_wait_connected(link, AIOIPC_FOREVER);
	ck_abort_msg("it ran again");
}

static void await_end(void *service)
{
	aioservice_join(service, AIOIPC_FOREVER);
	ck_abort_msg("it ran again");
}

static int never_called(struct aiomsg *in, struct aioqueue *out, void *arg)
{
	(void)in;
	(void)out;
	(void)arg;
	return 0;
}

/* They are freed before or after it is noticed. */
TEST(a_link_goes_on_without_who_waited_for_it)
{
	const struct aiolink_options o = {
		.size = sizeof o, .role = AIOLINK_LISTEN, .address = "tcp://127.0.0.1:0"};

	for (int noticed = 0; noticed < 2; noticed++) {
		struct aiolink *l = must(aiolink_new(&o));

		event_base_free(park(2, await_peer, l, NULL));
		if (noticed)
			reuse_stacks();
		must(aiolink_start(l, NULL));
		must(aiolink_close(l, AIOIPC_FOREVER));
		reuse_stacks();
	}
}

TEST(a_service_goes_on_without_who_waited_for_it)
{
	for (int noticed = 0; noticed < 2; noticed++) {
		struct aioqueue *q = must(aioqueue_new(1, 0));
		const struct aioservice_options o = {.size = sizeof o, .in = q, .handle = never_called};
		struct aioservice *s = must(aioservice_new(&o));

		event_base_free(park(2, await_end, s, NULL));
		if (noticed)
			reuse_stacks();
		must(aioservice_start(s));
		must(aioservice_close(s, AIOIPC_FOREVER));
		aioqueue_free(q);
		reuse_stacks();
	}
}

/* A task of one base waits for one of another. */

static struct aiotask *joined;

static void park_once(void *arg)
{
	(void)arg;
	must(aiotask_park(AIOIPC_FOREVER));
}

static void join_it(void *arg)
{
	(void)arg;
	aiotask_join(joined, AIOIPC_FOREVER);
	ck_abort_msg("it ran again");
}

TEST(who_waited_for_the_end_of_a_task_is_not_told)
{
	struct event_base *base = must(event_base_new());

	joined = must(aiotask_spawn(base, park_once, NULL));
	turns(base);
	event_base_free(park(1, join_it, NULL, NULL));
	reuse_stacks();
	must(aiotask_wake(joined));
	turns(base);
	aiotask_free(joined);
	event_base_free(base);
}
