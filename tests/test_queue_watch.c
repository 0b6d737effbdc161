/* Watches of queues: what a loop is told, when, and how often. */
#include <pthread.h>
#include <stdbool.h>
#include <sys/wait.h>
#include <unistd.h>

#include <event2/event.h>

#include <aioipc/msg.h>
#include <aioipc/queue.h>

#include "ipc/flow/queue.h"
#include "ipc/flow/watch.h"
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

/* Whoever closes whenever there is room is told of its own closing, and that is that. */
static void close_again(struct aioqueue *q, void *arg)
{
	struct seen *s = arg;

	ck_assert_int_lt(++s->room, 10);
	aioqueue_close(q);
}

TEST(closing_again_is_no_news)
{
	struct seen s = {.base = must(event_base_new()), .at_once = 1};
	struct aioqueue *q = must(aioqueue_new(10, 0));

	put_some(q, 1);
	must(aioqueue_watch(q, s.base, NULL, close_again, &s));
	turn(s.base);
	ck_assert_int_eq(s.room, 2);
	must(aioqueue_watch(q, s.base, take, NULL, &s));
	aioqueue_discard(q); /* that is some: the end has come */
	turn(s.base);
	ck_assert_int_eq(s.got, 0);
	ck_assert_int_eq(s.ended, 1);
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
	*(bool *)arg = true;
}

TEST(a_queue_that_never_runs_dry_leaves_the_loop_its_turn)
{
	struct seen s = {.base = must(event_base_new())};
	struct aioqueue *q = must(aioqueue_new(10, 0));
	struct timeval soon = {0, 1000};
	bool fired = false;

	put_some(q, 1);
	must(aioqueue_watch(q, s.base, put_again, NULL, &s));
	must(event_base_once(s.base, -1, EV_TIMEOUT, note_time, &fired, &soon));
	while (!fired || s.called < 3)
		must(event_base_loop(s.base, EVLOOP_ONCE));
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

static void watch_and_free(struct event_base *base, int watches, void *(*free_q)(void *))
{
	struct aioqueue *q = must(aioqueue_new(10, 0));
	pthread_t thread;

	must(aioqueue_watch(q, base, take, count_room, NULL));
	while (watches-- > 1)
		must(ipc_flow_watch_new(q, base, take, count_room, NULL));
	put_some(q, 1);
	if (free_q == free_there) {
		ck_assert_int_eq(pthread_create(&thread, NULL, free_q, q), 0);
		ck_assert_int_eq(pthread_join(thread, NULL), 0);
	} else {
		free_q(q);
	}
}

static void *free_here(void *q)
{
	aioqueue_free(q);
	return NULL;
}

static void *no_turn(void *base)
{
	event_base_free(base);
	return NULL;
}

static void *one_turn(void *base)
{
	event_base_loop(base, EVLOOP_NONBLOCK);
	event_base_free(base);
	return NULL;
}

/* Whether its loop comes to it or not, and in which thread. */
TEST(a_queue_that_is_freed_before_the_first_turn)
{
	void *(*const frees[])(void *) = {free_here, free_there},
				    *(*const ends[])(void *) = {no_turn, one_turn};
	pthread_t thread;

	for (int i = 0; i < 8; i++) {
		struct event_base *base = must(event_base_new());

		watch_and_free(base, 3, frees[i & 1]);
		watch_and_free(base, 1, frees[i & 1]);
		if (i & 4) {
			ck_assert_int_eq(pthread_create(&thread, NULL, ends[i >> 1 & 1], base), 0);
			ck_assert_int_eq(pthread_join(thread, NULL), 0);
		} else {
			ends[i >> 1 & 1](base);
		}
	}
}

TEST(a_watch_that_is_taken_back_before_the_first_turn)
{
	struct seen s = {.base = must(event_base_new()), .at_once = 1};
	struct aioqueue *q = must(aioqueue_new(10, 0));

	put_some(q, 1);
	must(aioqueue_watch(q, s.base, take, count_room, &s));
	must(aioqueue_watch(q, s.base, NULL, NULL, NULL));
	turn(s.base);
	ck_assert_int_eq(s.called + s.room, 0);
	must(aioqueue_watch(q, s.base, take, count_room, &s));
	must(aioqueue_watch(q, s.base, NULL, NULL, NULL));
	event_base_free(s.base);
	aioqueue_free(q);
}

TEST(a_fork_before_the_first_turn)
{
	struct seen s = {.base = must(event_base_new()), .at_once = 1};
	struct aioqueue *q = must(aioqueue_new(10, 0));
	pid_t pid;
	int status;

	put_some(q, 1);
	must(aioqueue_watch(q, s.base, take, NULL, &s));
	pid = must(fork());
	if (pid == 0) {
		aioqueue_free(q);
		must(aioipc_base_reinit(s.base));
		turn(s.base);
		event_base_free(s.base);
		_exit(s.called);
	}
	ck_assert_int_eq(must(waitpid(pid, &status, 0)), pid);
	ck_assert_int_eq(status, 0);
	aioqueue_free(q);
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

/* The library's own, by their handle. */

TEST(any_number_of_watches_on_one_base)
{
	struct event_base *base = must(event_base_new());
	struct seen user = {.base = base, .at_once = 1}, ours[3] = {user, user, user};
	struct aioqueue *q = must(aioqueue_new(10, 0));
	struct ipc_flow_watch *w[3];

	must(aioqueue_watch(q, base, take, count_room, &user));
	for (int i = 0; i < 3; i++)
		w[i] = must(ipc_flow_watch_new(q, base, take, count_room, &ours[i]));
	turn(base);
	ck_assert_int_eq(user.room, 1);
	put_some(q, 8);
	turn(base);
	turn(base);
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(ours[i].room, 1);
		ck_assert_int_gt(ours[i].got, 0);
	}
	ck_assert_int_eq(user.got + ours[0].got + ours[1].got + ours[2].got, 8);
	must(aioqueue_watch(q, base, NULL, NULL, NULL));
	must(aioqueue_watch(q, base, NULL, NULL, NULL));
	user.called = ours[0].called = 0;
	ipc_flow_watch_free(w[1]);
	ipc_flow_watch_free(w[2]);
	put_some(q, 2);
	turn(base);
	ck_assert_int_eq(user.called, 0);
	ck_assert_int_eq(ours[0].called, 2);
	aioqueue_close(q);
	turn(base);
	ck_assert_int_eq(ours[0].ended, 1);
	ipc_flow_watch_free(w[0]);
	aioqueue_free(q);
	event_base_free(base);
}

/* What the one that is freed was rung for is told to the next. */
TEST(a_watch_that_is_freed_leaves_its_ring_to_others)
{
	struct seen one = {.base = must(event_base_new()), .at_once = 1}, two = one;
	struct aioqueue *q = must(aioqueue_new(10, 0));
	struct ipc_flow_watch *w = must(ipc_flow_watch_new(q, one.base, take, NULL, &one)), *rung;

	rung = must(ipc_flow_watch_new(q, one.base, take, NULL, &two));
	turn(one.base);
	put_some(q, 1);
	ipc_flow_watch_free(rung);
	turn(one.base);
	ck_assert_int_eq(one.got, 1);
	ck_assert_int_eq(two.called, 0);
	ipc_flow_watch_free(w);
	ipc_flow_watch_free(NULL);
	aioqueue_free(q);
	event_base_free(one.base);
}

static struct ipc_flow_watch *to_free;

static void free_watch_and_put(struct aioqueue *q, void *arg)
{
	struct seen *s = arg;

	s->called++;
	ipc_flow_watch_free(to_free);
	put_some(q, 1);
}

TEST(a_watch_may_be_freed_in_its_own_callback)
{
	struct seen s = {.base = must(event_base_new())};
	struct aioqueue *q = must(aioqueue_new(10, 0));

	to_free = must(ipc_flow_watch_new(q, s.base, free_watch_and_put, count_room, &s));
	put_some(q, 1);
	turn(s.base);
	ck_assert_int_eq(s.called, 1);
	ck_assert_int_eq(s.room, 0);
	aioqueue_free(q);
	event_base_free(s.base);
}

TEST(a_paused_watch_is_not_called_and_told_all_later)
{
	struct seen s = {.base = must(event_base_new()), .at_once = 10};
	struct aioqueue *q = must(aioqueue_new(3, 0));
	struct ipc_flow_watch *w = must(ipc_flow_watch_new(q, s.base, take, count_room, &s));

	turn(s.base);
	ipc_flow_watch_want(w, false, false);
	put_some(q, 3);
	turn(s.base);
	ck_assert_int_eq(s.called, 0);
	ck_assert_int_eq(event_base_loop(s.base, EVLOOP_NONBLOCK), 0);
	ck_assert_int_eq(event_base_get_num_events(s.base, EVENT_BASE_COUNT_ACTIVE), 0);
	ipc_flow_watch_want(w, true, true);
	turn(s.base);
	ck_assert_int_eq(s.got, 3);

	s.at_once = 1;
	put_some(q, 1); /* rung, and then paused */
	ipc_flow_watch_want(w, false, true);
	turn(s.base);
	ck_assert_int_eq(s.got, 3);
	aioqueue_close(q);
	turn(s.base);
	ck_assert_int_eq(s.ended, 0);
	ipc_flow_watch_want(w, true, false);
	turn(s.base);
	turn(s.base);
	ck_assert_int_eq(s.got, 4);
	ck_assert_int_eq(s.ended, 1);
	ipc_flow_watch_free(w);
	aioqueue_free(q);
	event_base_free(s.base);
}

TEST(what_a_paused_watch_was_rung_for_goes_to_another)
{
	struct seen one = {.base = must(event_base_new()), .at_once = 10}, two = one;
	struct aioqueue *q = must(aioqueue_new(3, 0));
	struct ipc_flow_watch *w[2];

	w[0] = must(ipc_flow_watch_new(q, one.base, take, NULL, &one));
	w[1] = must(ipc_flow_watch_new(q, one.base, take, NULL, &two));
	turn(one.base);
	put_some(q, 1);
	ipc_flow_watch_want(w[1], false, false);
	turn(one.base);
	ck_assert_int_eq(one.got, 1);
	ck_assert_int_eq(two.called, 0);
	ipc_flow_watch_free(w[0]);
	ipc_flow_watch_free(w[1]);
	aioqueue_free(q);
	event_base_free(one.base);
}

static void pause_it(struct aioqueue *q, void *arg)
{
	struct seen *s = arg;

	(void)q;
	s->called++;
	ipc_flow_watch_want(to_free, false, false);
}

TEST(a_watch_pauses_in_its_own_callback)
{
	struct seen s = {.base = must(event_base_new())};
	struct aioqueue *q = must(aioqueue_new(3, 0));

	to_free = must(ipc_flow_watch_new(q, s.base, pause_it, count_room, &s));
	put_some(q, 1);
	for (int i = 1; i < 4; i++) {
		turn(s.base);
		ck_assert_int_eq(s.called, i);
		ck_assert_int_eq(s.room, 0);
		ipc_flow_watch_want(to_free, true, false);
	}
	ipc_flow_watch_want(to_free, false, true);
	turn(s.base);
	ck_assert_int_eq(s.room, 1);
	ipc_flow_watch_free(to_free);
	aioqueue_free(q);
	event_base_free(s.base);
}

/* Which of the two was refused is not known: both are told, and neither later than it could be. */
TEST(room_is_told_to_all_watches_of_the_thread)
{
	struct event_base *base = must(event_base_new());
	struct seen user = {.base = base}, ours = user, paused = user, other = user;
	struct aioqueue *q = must(aioqueue_new(0, 1000));
	struct aiomsg *m = must(aiomsg_new_bytes("", 1)), *big = must(aiomsg_new_bytes((char[900]){0}, 900));
	struct ipc_flow_watch *w[3];

	must(aioqueue_watch(q, base, NULL, count_room, &user));
	w[0] = must(ipc_flow_watch_new(q, base, NULL, count_room, &ours));
	w[1] = must(ipc_flow_watch_new(q, base, NULL, count_room, &paused));
	w[2] = must(ipc_flow_watch_new(q, base, count_room, NULL, &other));
	turn(base);
	user.room = ours.room = paused.room = other.room = 0;
	ipc_flow_watch_want(w[1], true, false);
	ipc_flow_watch_want(w[2], false, true);
	while (aioqueue_put(q, m, AIOIPC_NOW) == 0)
		;
	must_fail(aioqueue_put(q, big, AIOIPC_NOW), ETIMEDOUT);
	turn(base);
	ck_assert_int_eq(user.room + ours.room, 0);
	get_one(q);
	turn(base);
	ck_assert_int_eq(user.room, 1);
	ck_assert_int_eq(ours.room, 1);
	ck_assert_int_eq(paused.room, 0);
	ipc_flow_watch_want(w[1], true, true);
	turn(base);
	ck_assert_int_eq(paused.room, 1);
	ck_assert_int_eq(other.room, 0);
	for (int i = 0; i < 3; i++)
		ipc_flow_watch_free(w[i]);
	aiomsg_free(m);
	aiomsg_free(big);
	aioqueue_free(q);
	event_base_free(base);
}

static void fork_it(struct aioqueue *q, void *arg)
{
	struct seen *s = arg;
	pid_t pid;

	s->called++;
	get_one(q);
	ipc_queue_lock(q); /* as if another thread held it now */
	pid = must(fork());
	if (pid == 0) {
		s->ended = 1;
		ipc_flow_watch_free(to_free);
		aioqueue_free(q);
		return;
	}
	ipc_queue_unlock(q);
	ck_assert_int_eq(must(waitpid(pid, &s->room, 0)), pid);
}

TEST(a_callback_may_fork_and_free_all_in_the_child)
{
	struct seen s = {.base = must(event_base_new())};
	struct aioqueue *q = must(aioqueue_new(3, 0));

	to_free = must(ipc_flow_watch_new(q, s.base, fork_it, NULL, &s));
	put_some(q, 1);
	event_base_loop(s.base, EVLOOP_ONCE);
	if (s.ended)
		_exit(0);
	ck_assert_int_eq(s.called, 1);
	ck_assert_int_eq(s.room, 0);
	put_some(q, 1);
	event_base_loop(s.base, EVLOOP_ONCE);
	if (s.ended)
		_exit(0);
	ck_assert_int_eq(s.called, 2);
	ck_assert_int_eq(s.room, 0);
	ipc_flow_watch_free(to_free);
	aioqueue_free(q);
	event_base_free(s.base);
}

TEST(what_comes_back_is_told_and_so_is_the_end_after_it)
{
	struct seen s = {.base = must(event_base_new())};
	struct aioqueue *q = must(aioqueue_new(3, 0));
	struct ipc_flow_watch *w;
	struct aiomsg *m;

	put_some(q, 1);
	ck_assert_int_eq(must(ipc_queue_lend(q, &m, 1)), 1);
	aioqueue_close(q);
	s.at_once = 1;
	w = must(ipc_flow_watch_new(q, s.base, take, NULL, &s));
	turn(s.base);
	ck_assert_int_eq(s.ended, 1);
	ipc_queue_unget(q, &m, 1);
	aiomsg_free(m);
	s.ended = 0;
	for (int i = 0; i < 3; i++)
		turn(s.base);
	ck_assert_int_eq(s.got, 1);
	ck_assert_int_eq(s.ended, 1);
	ipc_flow_watch_free(w);
	aioqueue_free(q);
	event_base_free(s.base);
}

TEST(a_patient_watch_waits_until_the_queue_is_half_empty)
{
	struct seen s = {.base = must(event_base_new())};
	struct aioqueue *q = must(aioqueue_new(4, 0));
	struct ipc_flow_watch *w = must(ipc_flow_watch_new(q, s.base, NULL, count_room, &s));
	struct aiomsg *m = must(aiomsg_new("i", (int32_t)1)), *got;

	ipc_flow_watch_be_patient(w);
	turn(s.base);
	ck_assert_int_eq(s.room, 1);
	for (int left = 4; left > 0; left--) {
		while (aioqueue_put(q, m, AIOIPC_NOW) == 0)
			continue;
		while ((int)aioqueue_count(q) > left) {
			must(aioqueue_get(q, &got, AIOIPC_NOW));
			aiomsg_free(got);
		}
		turn(s.base);
		ck_assert_int_eq(s.room, left > 2 ? 1 : 4 - left);
	}
	aiomsg_free(m);
	ipc_flow_watch_free(w);
	aioqueue_free(q);
	event_base_free(s.base);
}

static void take_and_pause(struct aioqueue *q, void *arg)
{
	struct seen *s = arg;

	take(q, arg);
	must(aioqueue_pause(q, s->base));
}

TEST(a_user_may_pause_a_watch)
{
	struct seen s = {.base = must(event_base_new()), .at_once = 1};
	struct aioqueue *q = must(aioqueue_new(10, 0));

	must_fail(aioqueue_pause(q, s.base), ENOENT);
	must(aioqueue_watch(q, s.base, take_and_pause, NULL, &s));
	put_some(q, 3);
	turn(s.base);
	ck_assert_int_eq(s.got, 1);
	must(aioqueue_resume(q, s.base));
	turn(s.base);
	ck_assert_int_eq(s.got, 2);
	must(aioqueue_watch(q, s.base, take, NULL, &s)); /* set anew */
	turn(s.base);
	ck_assert_int_eq(s.got, 3);
	must(aioqueue_pause(q, s.base));
	aioqueue_close(q);
	turn(s.base);
	ck_assert_int_eq(s.ended, 0);
	must(aioqueue_resume(q, s.base));
	turn(s.base);
	ck_assert_int_eq(s.ended, 1);
	must(aioqueue_watch(q, s.base, NULL, NULL, NULL));
	must_fail(aioqueue_resume(q, s.base), ENOENT);
	aioqueue_free(q);
	event_base_free(s.base);
}
