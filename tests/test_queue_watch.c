/* Watches of queues: what a loop is told, when, and how often. */
#include <pthread.h>
#include <stdbool.h>
#include <sys/wait.h>
#include <unistd.h>

#include <event2/event.h>

#include <aioipc/msg.h>
#include <aioipc/queue.h>

#include "ipc/flow/queue.h"
#include "tests/harness.h"

static void put_some(struct aioqueue *q, int n)
{
	struct aiomsg *m = must(aiomsg_new("i", 1));

	while (n-- > 0)
		must(aioqueue_put(q, m, AIOIPC_NOW));
	aiomsg_free(m);
}

static int get_one(struct aioqueue *q)
{
	struct aiomsg *m;
	int result = aioqueue_get(q, &m, AIOIPC_NOW);

	if (result == 1)
		aiomsg_free(m);
	return result;
}

struct seen {
	struct event_base *base;
	int called, got, ended, room;
	int at_once; /* how many a callback takes */
};

static void take(struct aioqueue *q, void *arg)
{
	struct seen *s = arg;

	s->called++;
	for (int i = 0; i < s->at_once; i++) {
		int result = get_one(q);

		s->got += result == 1;
		s->ended += result == 0;
		if (result != 1)
			break;
	}
	if (s->ended)
		event_base_loopbreak(s->base);
}

static void turn(struct event_base *base)
{
	for (int i = 0; i < 4; i++)
		event_base_loop(base, EVLOOP_NONBLOCK);
}

TEST(a_watch_is_called_while_there_is_something)
{
	struct seen s = {.base = must(event_base_new()), .at_once = 1};
	struct aioqueue *q = must(aioqueue_new(10, 0));

	put_some(q, 3);
	must(aioqueue_watch(q, s.base, take, NULL, &s));
	for (int i = 0; i < 10; i++)
		turn(s.base);
	ck_assert_int_eq(s.got, 3);
	ck_assert_int_eq(s.called, 3);
	put_some(q, 2);
	for (int i = 0; i < 10; i++)
		turn(s.base);
	ck_assert_int_eq(s.got, 5);
	put_some(q, 1);
	aioqueue_close(q);
	event_base_dispatch(s.base);
	ck_assert_int_eq(s.got, 6);
	ck_assert_int_eq(s.ended, 1);
	turn(s.base);
	ck_assert_int_eq(s.called, 7);
	must(aioqueue_watch(q, s.base, NULL, NULL, NULL));
	must(aioqueue_watch(q, s.base, NULL, NULL, NULL));
	aioqueue_free(q);
	event_base_free(s.base);
}

#define STREAM 100000

static void *put_stream(void *q)
{
	struct aiomsg *m = must(aiomsg_new("i", 1));

	for (int i = 0; i < STREAM; i++)
		must(aioqueue_put(q, m, AIOIPC_FOREVER));
	aiomsg_free(m);
	aioqueue_close(q);
	return NULL;
}

TEST(a_stream_from_another_thread)
{
	struct seen s = {.base = must(event_base_new()), .at_once = 7};
	struct aioqueue *q = must(aioqueue_new(100, 0));
	pthread_t thread;

	must(aioqueue_watch(q, s.base, take, NULL, &s));
	ck_assert_int_eq(pthread_create(&thread, NULL, put_stream, q), 0);
	event_base_dispatch(s.base);
	ck_assert_int_eq(s.got, STREAM);
	ck_assert_int_eq(s.ended, 1);
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
	aioqueue_free(q);
	turn(s.base);
	event_base_free(s.base);
}

/* Puts as a callback does: until it is refused, then waits to be told. */
struct source {
	struct event_base *base;
	int left, called;
};

static void fill(struct aioqueue *q, void *arg)
{
	struct source *s = arg;
	struct aiomsg *m = must(aiomsg_new("i", 1));

	s->called++;
	while (s->left > 0 && aioqueue_put(q, m, AIOIPC_NOW) == 0)
		s->left--;
	aiomsg_free(m);
	if (s->left == 0) {
		aioqueue_close(q);
		event_base_loopbreak(s->base);
	}
}

static void *get_stream(void *q)
{
	struct aiomsg *m;
	intptr_t n = 0;

	while (aioqueue_get(q, &m, AIOIPC_FOREVER) == 1) {
		aiomsg_free(m);
		n++;
	}
	return (void *)n;
}

TEST(a_stream_to_another_thread)
{
	struct source s = {.base = must(event_base_new()), .left = STREAM};
	struct aioqueue *q = must(aioqueue_new(100, 0));
	pthread_t thread;
	void *got;

	must(aioqueue_watch(q, s.base, NULL, fill, &s));
	ck_assert_int_eq(pthread_create(&thread, NULL, get_stream, q), 0);
	event_base_dispatch(s.base);
	ck_assert_int_eq(pthread_join(thread, &got), 0);
	ck_assert_int_eq((intptr_t)got, STREAM);
	aioqueue_free(q);
	turn(s.base);
	event_base_free(s.base);
}

static void count_room(struct aioqueue *q, void *arg)
{
	struct seen *s = arg;

	(void)q;
	s->room++;
}

TEST(room_is_told_once_for_each_refusal)
{
	struct seen s = {.base = must(event_base_new())};
	struct aioqueue *q = must(aioqueue_new(1, 0));
	struct aiomsg *m = must(aiomsg_new("i", 1));

	must(aioqueue_watch(q, s.base, NULL, count_room, &s));
	turn(s.base);
	ck_assert_int_eq(s.room, 1);
	must(aioqueue_put(q, m, AIOIPC_NOW));
	get_one(q);
	turn(s.base);
	ck_assert_int_eq(s.room, 1);
	must(aioqueue_put(q, m, AIOIPC_NOW));
	must_fail(aioqueue_put(q, m, AIOIPC_NOW), ETIMEDOUT);
	turn(s.base);
	ck_assert_int_eq(s.room, 1);
	get_one(q);
	turn(s.base);
	ck_assert_int_eq(s.room, 2);
	must(aioqueue_put(q, m, AIOIPC_NOW));
	must_fail(aioqueue_put(q, m, AIOIPC_NOW), ETIMEDOUT);
	aioqueue_close(q);
	turn(s.base);
	ck_assert_int_eq(s.room, 3);
	aiomsg_free(m);
	aioqueue_free(q);
	event_base_free(s.base);
}

/* The first one that is told does not use the room: the other must hear of it. */
TEST(room_that_is_not_used_is_passed_on)
{
	struct seen one = {.base = must(event_base_new())}, two = {.base = must(event_base_new())};
	struct aioqueue *q = must(aioqueue_new(1, 0));
	struct aiomsg *m = must(aiomsg_new("i", 1));

	must(aioqueue_watch(q, one.base, NULL, count_room, &one));
	must(aioqueue_watch(q, two.base, NULL, count_room, &two));
	turn(one.base);
	turn(two.base);
	must(aioqueue_put(q, m, AIOIPC_NOW));
	must_fail(aioqueue_put(q, m, AIOIPC_NOW), ETIMEDOUT);
	get_one(q);
	for (int i = 0; i < 2; i++) {
		turn(one.base);
		turn(two.base);
	}
	ck_assert_int_eq(one.room, 2);
	ck_assert_int_eq(two.room, 2);
	aiomsg_free(m);
	aioqueue_free(q);
	event_base_free(one.base);
	event_base_free(two.base);
}

static void *get_alone(void *q)
{
	struct aiomsg *m;

	ck_assert_int_eq(must(aioqueue_get(q, &m, AIOIPC_FOREVER)), 1);
	aiomsg_free(m);
	return NULL;
}

static bool somebody_waits(struct aioqueue *q)
{
	bool waits;

	ipc_queue_lock(q);
	waits = q->getters.first;
	ipc_queue_unlock(q);
	return waits;
}

TEST(who_waits_comes_before_who_watches)
{
	struct seen s = {.base = must(event_base_new()), .at_once = 1};
	struct aioqueue *q = must(aioqueue_new(10, 0));
	pthread_t thread;

	must(aioqueue_watch(q, s.base, take, NULL, &s));
	turn(s.base);
	ck_assert_int_eq(pthread_create(&thread, NULL, get_alone, q), 0);
	while (!somebody_waits(q))
		;
	put_some(q, 1);
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
	turn(s.base);
	ck_assert_int_eq(s.called, 0);
	aioqueue_free(q);
	event_base_free(s.base);
}

static void put_again(struct aioqueue *q, void *arg)
{
	struct seen *s = arg;

	s->called++;
	get_one(q);
	put_some(q, 1);
}

static void note_time(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	event_base_loopbreak(arg);
}

TEST(a_queue_that_never_runs_dry_leaves_the_loop_its_turn)
{
	struct seen s = {.base = must(event_base_new())};
	struct aioqueue *q = must(aioqueue_new(10, 0));
	struct timeval soon = {0, 1000};

	put_some(q, 1);
	must(aioqueue_watch(q, s.base, put_again, NULL, &s));
	must(event_base_once(s.base, -1, EV_TIMEOUT, note_time, s.base, &soon));
	event_base_dispatch(s.base);
	ck_assert_int_gt(s.called, 1);
	aioqueue_free(q);
	event_base_free(s.base);
}

static void free_it(struct aioqueue *q, void *arg)
{
	(void)arg;
	aioqueue_free(q);
}

static void take_it_back(struct aioqueue *q, void *arg)
{
	struct seen *s = arg;

	s->called++;
	must(aioqueue_watch(q, s->base, NULL, NULL, NULL));
}

TEST(a_callback_may_free_the_queue_and_end_the_watch)
{
	struct seen s = {.base = must(event_base_new())};
	struct aioqueue *q = must(aioqueue_new(10, 0));

	put_some(q, 2);
	must(aioqueue_watch(q, s.base, take_it_back, count_room, &s));
	turn(s.base);
	ck_assert_int_eq(s.called, 1);
	ck_assert_int_eq(s.room, 0);
	must(aioqueue_watch(q, s.base, free_it, NULL, &s));
	turn(s.base);
	event_base_free(s.base);
}

static void *free_there(void *q)
{
	aioqueue_free(q);
	return NULL;
}

TEST(freed_in_another_thread_the_loop_takes_the_watch_down)
{
	struct seen s = {.base = must(event_base_new()), .at_once = 1};
	struct aioqueue *q = must(aioqueue_new(10, 0));
	pthread_t thread;

	must(aioqueue_watch(q, s.base, take, NULL, &s));
	turn(s.base);
	ck_assert_int_eq(pthread_create(&thread, NULL, free_there, q), 0);
	ck_assert_int_eq(event_base_dispatch(s.base), 1);
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
	ck_assert_int_eq(s.called, 0);
	event_base_free(s.base);
}

TEST(a_forked_child_that_frees_all_leaves_the_parent_s_watch_alone)
{
	struct seen s = {.base = must(event_base_new()), .at_once = 1};
	struct aioqueue *q = must(aioqueue_new(10, 0));
	pid_t pid;
	int status;

	must(aioqueue_watch(q, s.base, take, NULL, &s));
	turn(s.base);
	put_some(q, 1);
	pid = must(fork());
	if (pid == 0) {
		must_fail(aioqueue_watch(q, s.base, take, NULL, &s), ECHILD);
		aioqueue_free(q);
		must(aioipc_base_reinit(s.base));
		turn(s.base);
		event_base_free(s.base);
		_exit(s.called);
	}
	ck_assert_int_eq(must(waitpid(pid, &status, 0)), pid);
	ck_assert_int_eq(status, 0);
	turn(s.base);
	ck_assert_int_eq(s.got, 1);
	must(aioqueue_watch(q, s.base, NULL, NULL, NULL));
	aioqueue_free(q);
	event_base_free(s.base);
}
