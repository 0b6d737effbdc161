/*
 * Deadlines and limits that the loop comes to only when they are long past, since a callback held it up: what is there by then is found,
 * whoever was to be told first.
 */
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/links.h"

#define LIMIT ((int64_t)(50 * harness_slowness())) /* ms; a busy machine begins to wait before it is over */

static struct event_base *base;
static int64_t limit, sooner;
static void (*deed)(void);
static struct aioconn *near, *far;
static struct aioproc *child;
static struct aiotask *waiter;
static struct aiochan *chan;
static int peer, go[2], result;

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void hold_up(evutil_socket_t fd, short what, void *until)
{
	(void)fd, (void)what;
	while (now_ms() <= *(int64_t *)until)
		usleep(1000);
}

static void act(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what, (void)arg;
	deed();
}

/* The loop is held up for @ms. Then @what happens, in the same turn as all that has become due by then. */
static void hold_loop(int64_t ms, void (*what)(void))
{
	static int64_t until;

	deed = what;
	until = now_ms() + ms;
	must(event_base_once(base, -1, EV_TIMEOUT, hold_up, &until, NULL));
	must(event_base_once(base, -1, EV_TIMEOUT, act, NULL, &(struct timeval){0, 1000}));
}

static void run_task(void (*fn)(void *arg))
{
	must(aiotask_run(base, fn, NULL));
	event_base_free(base);
}

static void send_one(void)
{
	must(aioconn_send(far, "i", 1));
}

static void receive(void *arg)
{
	struct aiomsg *m;

	(void)arg;
	limit = aioipc_after(LIMIT);
	hold_loop(LIMIT + 5, send_one);
	ck_assert_int_eq(must(aioconn_recv(near, &m, limit)), 1);
	aiomsg_free(m);
	aioconn_abort(near);
	aioconn_abort(far);
}

static void open_for(enum transport t, bool on_base)
{
	struct aioend *a, *b;

	base = new_base();
	make_ends(t, &a, &b);
	far = open_end(a, NULL);
	near = open_end(b, on_base ? base : NULL);
}

TEST(a_task_receives)
{
	for (enum transport t = PIPE; t <= PAIR; t++) {
		open_for(t, true);
		run_task(receive);
	}
}

TEST(a_task_receives_without_a_base)
{
	for (enum transport t = PIPE; t <= PAIR; t++) {
		open_for(t, false);
		run_task(receive);
	}
}

/* More than one read brings. */
static void send_much(void)
{
	static const char much[150000];

	must(aioconn_send_bytes(far, much, sizeof much));
}

static void receive_much(void *arg)
{
	struct aiomsg *m;

	(void)arg;
	limit = aioipc_after(LIMIT);
	hold_loop(LIMIT + 5, send_much);
	ck_assert_int_eq(must(aioconn_recv(near, &m, limit)), 1);
	aiomsg_free(m);
	aioconn_abort(near);
	aioconn_abort(far);
}

TEST(a_task_receives_what_takes_several_reads)
{
	open_for(PAIR, true);
	run_task(receive_much);
}

static int end_when_told(void *arg)
{
	char c;

	(void)arg;
	return read(go[0], &c, 1) == 1 ? 5 : 1;
}

static void let_child_end(void)
{
	siginfo_t info;

	must(write(go[1], "x", 1));
	must(waitid(P_PID, (id_t)aioproc_pid(child), &info, WEXITED | WNOWAIT));
}

static void join_child(void *arg)
{
	int status;

	(void)arg;
	limit = aioipc_after(LIMIT);
	hold_loop(LIMIT + 5, let_child_end);
	must(aioproc_join(child, &status, limit));
	ck_assert_int_eq(WEXITSTATUS(status), 5);
}

TEST(a_task_joins_a_child)
{
	base = new_base();
	must(pipe(go));
	child = must(aioproc_start(end_when_told, NULL));
	run_task(join_child);
	aioproc_free(child);
	close(go[0]);
	close(go[1]);
}

static void receive_for_ever(void *arg)
{
	struct aiomsg *m;

	(void)arg;
	ck_assert_int_eq(must(aioconn_recv(near, &m, AIOIPC_FOREVER)), 1);
	aiomsg_free(m);
}

TEST(a_task_is_joined_outside)
{
	struct aiotask *t;

	open_for(PAIR, true);
	t = must(aiotask_spawn(base, receive_for_ever, NULL));
	must_fail(aiotask_join(t, aioipc_after(5)), ETIMEDOUT);
	limit = aioipc_after(LIMIT);
	hold_loop(LIMIT + 5, send_one);
	must(aiotask_join(t, limit));
	aioconn_abort(near);
	aioconn_abort(far);
	event_base_free(base);
}

/* Of two tasks whose time is up in the same turn, the first does what the second has waited for. */

static void nothing(void)
{
}

static void two_tasks(void (*first)(void *), void (*second)(void *))
{
	struct aiotask *t;

	base = new_base();
	sooner = aioipc_after(LIMIT / 2);
	limit = aioipc_after(LIMIT);
	t = must(aiotask_spawn(base, first, NULL));
	waiter = must(aiotask_spawn(base, second, t));
	hold_loop(LIMIT + 5, nothing);
	must(aiotask_join(waiter, AIOIPC_FOREVER));
	event_base_free(base);
	ck_assert_int_eq(result, 1);
}

static void sleep_and_wake(void *arg)
{
	(void)arg;
	must(aiotask_sleep(sooner));
	must(aiotask_wake(waiter));
}

static void park(void *other)
{
	must(aiotask_park(limit));
	must(aiotask_join(other, AIOIPC_FOREVER));
	result = 1;
}

TEST(a_parked_task_is_woken)
{
	two_tasks(sleep_and_wake, park);
}

static void sleep_and_end(void *arg)
{
	(void)arg;
	must(aiotask_sleep(sooner));
}

static void join_the_other(void *other)
{
	must(aiotask_join(other, limit));
	result = 1;
}

TEST(a_task_is_joined_by_another)
{
	two_tasks(sleep_and_end, join_the_other);
}

static void sleep_and_give(void *arg)
{
	static int item;

	(void)arg;
	must(aiotask_sleep(sooner));
	must(aiochan_send(chan, &item, NULL, soon()));
}

static void take(void *other)
{
	void *item;

	result = must(aiochan_next(chan, NULL, &item, limit));
	aiochan_close(chan, 0);
	must(aiotask_join(other, AIOIPC_FOREVER));
}

TEST(an_item_is_given)
{
	chan = must(aiochan_new());
	two_tasks(sleep_and_give, take);
	aiochan_free(chan);
}

/* Links. */

static void talk_to_link(void)
{
	put(peer, "word\r\n", 6);
}

static void stay_linked(void *arg)
{
	struct aiolink_options o = {.size = sizeof o, .framing = AIOCONN_LINES, .delimiter = "\r\n"};
	struct aiolink_stats s = {.size = sizeof s};
	struct aioend *a, *b;
	struct aiolink *l;
	int other;

	(void)arg;
	must(aiosockpair(&a, &b));
	must(aioend_release(b, &peer, &other));
	o.end = a;
	o.idle_limit = 200;
	l = must(aiolink_new(&o));
	must(aiolink_start(l, base));
	must(aiolink_wait_connected(l, soon()));
	hold_loop(300, talk_to_link);
	expect_word(aiolink_inbox(l), "word");
	must(aiolink_stats(l, &s));
	ck_assert_uint_eq(s.msgs_in, 1);
	ck_assert_int_eq(aiolink_state(l), AIOLINK_CONNECTED);
	must_fail(aiolink_wait_disconnected(l, aioipc_after(20)), ETIMEDOUT);
	must(aiolink_wait_disconnected(l, soon())); /* now it is silent */
	ck_assert_int_eq(aiolink_error(l), ETIMEDOUT);
	aiolink_abort(l);
	close(peer);
}

TEST(who_talked_within_the_limit_keeps_its_link)
{
	base = new_base();
	run_task(stay_linked);
}

/* Its user ends it while the peer still talks: what comes within the grace is received. */
static void close_link_in_task(void *l)
{
	must(aiolink_close(l, soon()));
}

static void receive_in_grace(void *arg)
{
	struct aiolink_options o = {.size = sizeof o, .framing = AIOCONN_LINES, .delimiter = "\r\n"};
	struct aioqueue *inbox = must(aioqueue_new(10, 0));
	struct aioend *a, *b;
	struct aiotask *t;
	struct aiolink *l;
	int other;

	(void)arg;
	must(aiosockpair(&a, &b));
	must(aioend_release(b, &peer, &other));
	o.end = a;
	o.inbox = inbox;
	o.direction = AIOLINK_RECV;
	o.grace = 50;
	l = must(aiolink_new(&o));
	must(aiolink_start(l, base));
	must(aiolink_wait_connected(l, soon()));
	t = must(aiotask_spawn(base, close_link_in_task, l));
	must(aiotask_sleep(AIOIPC_NOW));
	hold_loop(80, talk_to_link);
	must(aiotask_join(t, soon()));
	expect_word(inbox, "word");
	aioqueue_free(inbox);
	close(peer);
}

TEST(what_comes_within_the_grace_is_received)
{
	base = new_base();
	run_task(receive_in_grace);
}

static void hang_up(void)
{
	shutdown(peer, SHUT_RDWR);
}

static void see_end_of_link(void *arg)
{
	struct aiolink_options o = {.size = sizeof o, .framing = AIOCONN_LINES, .delimiter = "\r\n"};
	struct aioend *a, *b;
	struct aiolink *l;
	int other;

	(void)arg;
	must(aiosockpair(&a, &b));
	must(aioend_release(b, &peer, &other));
	o.end = a;
	l = must(aiolink_new(&o));
	must(aiolink_start(l, base));
	must(aiolink_wait_connected(l, soon()));
	limit = aioipc_after(LIMIT);
	hold_loop(LIMIT + 5, hang_up);
	must(aiolink_wait_disconnected(l, limit));
	aiolink_abort(l);
	close(peer);
}

TEST(a_task_sees_a_link_disconnected)
{
	base = new_base();
	run_task(see_end_of_link);
}

/* Finishing. */

static struct seen seen;

static void read_all(void)
{
	static char room[1 << 20];

	while (recv(peer, room, sizeof room, MSG_DONTWAIT) > 0)
		;
}

TEST(what_finish_had_to_write_finds_room)
{
	const struct aioconn_limits limits = {.size = sizeof limits, .outbox = 65536};
	static const char some[1000];

	base = new_base();
	peer = raw_peer(PAIR, base, &near);
	see_end_only(near, &seen);
	must(aioconn_set_send_wait(near, 0));
	must(aioconn_set_limits(near, &limits)); /* what is queued fits into the socket once that is empty */
	while (aioconn_send_bytes(near, some, sizeof some) == 0)
		;
	ck_assert_int_eq(errno, EAGAIN);
	must(aioconn_finish(near, aioipc_after(LIMIT)));
	hold_loop(LIMIT + 5, read_all);
	run_until(base, &seen.closes, 1);
	ck_assert_int_eq(seen.cause, AIOCONN_LOCAL);
	close(peer);
	event_base_free(base);
}
