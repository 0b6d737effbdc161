/*
 * Who waits for a link, and where: threads, tasks, plain code, callbacks; and what callbacks may do to their link. Every one of
 * these also when it ends.
 */
#include "tests/peers.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static struct aiolink *make_over_pair(int *fd, struct aioend **other)
{
	struct aiolink_options o = {.size = sizeof o};
	struct aioend *peer;
	struct aiolink *l;
	int same;

	must(aiosockpair(&o.end, &peer));
	l = must(aiolink_new(&o));
	if (fd)
		must(aioend_release(peer, fd, &same));
	else
		*other = peer;
	return l;
}

static void say_goodbye(int fd)
{
	put(fd, PREFACE, PREFACE_LEN);
	put_frame(fd, GOODBYE, 0, "", 0);
}

/* Waiting. */

typedef int wait_call(struct aiolink *l, int64_t deadline);

/* A call in a thread or a task, and what became of it. */
struct waiter {
	wait_call *call;
	struct aiolink *l;
	int64_t deadline;
	pthread_t thread;
	struct aiotask *task;
	atomic_int begun;
	int r, error;
};

static void carry_out(struct waiter *w)
{
	atomic_store(&w->begun, 1);
	w->r = w->call(w->l, w->deadline);
	w->error = w->r == -1 ? errno : 0;
}

static void *in_thread(void *w)
{
	carry_out(w);
	return NULL;
}

static void in_task(void *w)
{
	carry_out(w);
}

static void start_thread(struct waiter *w, wait_call *call, struct aiolink *l)
{
	*w = (struct waiter){.call = call, .l = l, .deadline = soon()};
	must(pthread_create(&w->thread, NULL, in_thread, w) == 0 ? 0 : -1);
	while (!atomic_load(&w->begun))
		;
}

static int join_thread(struct waiter *w)
{
	pthread_join(w->thread, NULL);
	return w->error;
}

#define MANY 5

TEST(many_threads_wait_before_and_after_the_start)
{
	int fd;
	struct aiolink *l = make_over_pair(&fd, NULL);
	struct waiter up[MANY], down[MANY], end[MANY];

	for (int i = 0; i < MANY; i++) {
		if (i == MANY / 2)
			must(aiolink_start(l, NULL));
		start_thread(&up[i], aiolink_wait_connected, l);
		start_thread(&down[i], aiolink_wait_disconnected, l);
		start_thread(&end[i], aiolink_join, l);
	}
	for (int i = 0; i < MANY; i++)
		ck_assert_int_eq(join_thread(&up[i]), 0);
	say_goodbye(fd);
	for (int i = 0; i < MANY; i++) {
		ck_assert_int_eq(join_thread(&down[i]), 0);
		ck_assert_int_eq(join_thread(&end[i]), 0);
	}
	close(fd);
	must(aiolink_close(l, soon()));
}

TEST(threads_wait_for_a_link_on_a_base)
{
	struct event_base *base = new_base();
	int fd;
	struct aiolink *l = make_over_pair(&fd, NULL);
	struct waiter up, down, end;

	must(aiolink_start(l, base));
	start_thread(&up, aiolink_wait_connected, l);
	start_thread(&down, aiolink_wait_disconnected, l);
	start_thread(&end, aiolink_join, l);
	must(aiolink_wait_connected(l, soon()));
	ck_assert_int_eq(join_thread(&up), 0);
	close(fd);
	must(aiolink_join(l, soon()));
	ck_assert_int_eq(join_thread(&down), 0);
	ck_assert_int_eq(join_thread(&end), 0);
	must(aiolink_close(l, AIOIPC_NOW));
	event_base_free(base);
}

static int end_by_queue(struct aiolink *l, int64_t deadline)
{
	if (aiolink_wait_connected(l, deadline) == -1)
		return -1;
	aioqueue_close(aiolink_outbox(l) ? aiolink_outbox(l) : aiolink_inbox(l));
	return aiolink_join(l, deadline);
}

TEST(another_thread_ends_a_link_on_a_base_by_its_queue)
{
	for (enum aiolink_direction d = AIOLINK_BOTH; d <= AIOLINK_SEND; d++) {
		struct event_base *base = new_base();
		struct aiolink_options o = {.size = sizeof o, .direction = d}, p = {.size = sizeof p};
		struct aiolink *l, *peer;
		struct waiter other;

		must(aiosockpair(&o.end, &p.end));
		l = must(aiolink_new(&o));
		peer = must(aiolink_new(&p));
		must(aiolink_start(l, base));
		must(aiolink_start(peer, NULL));
		start_thread(&other, end_by_queue, l);
		must(aiolink_join(l, soon()));
		ck_assert_int_eq(join_thread(&other), 0);
		ck_assert_int_eq(aiolink_error(l), 0);
		must(aiolink_close(l, soon()));
		must(aiolink_close(peer, soon()));
		event_base_free(base);
	}
}

/* Whoever waits while another one aborts it wakes, and touches nothing that is gone. */
TEST(an_abort_wakes_all_who_wait)
{
	int fd;
	struct aiolink *l = make_over_pair(&fd, NULL);
	struct waiter up, down, end;

	start_thread(&down, aiolink_wait_disconnected, l);
	start_thread(&end, aiolink_join, l);
	must(aiolink_start(l, NULL));
	aiolink_abort(l);
	ck_assert_int_eq(join_thread(&down), 0);
	ck_assert_int_eq(join_thread(&end), 0);
	close(fd);
	l = make_over_pair(&fd, NULL);
	say_goodbye(fd);
	must(aiolink_start(l, NULL));
	must(aiolink_join(l, soon()));
	start_thread(&up, aiolink_wait_connected, l);
	ck_assert_int_eq(join_thread(&up), EPIPE);
	must(aiolink_close(l, AIOIPC_NOW));
	close(fd);
}

static void on_alarm(int sig)
{
	(void)sig;
}

TEST(a_signal_interrupts_a_wait_and_not_a_close)
{
	struct sigaction act = {.sa_handler = on_alarm, .sa_flags = SA_RESTART}, before;
	const struct itimerspec often = {{0, 20000000}, {0, 20000000}};
	struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM};
	int fd;
	struct aiolink *l = make_over_pair(&fd, NULL);
	timer_t timer;

	must(sigaction(SIGALRM, &act, &before));
	must(timer_create(CLOCK_MONOTONIC, &event, &timer));
	must(aiolink_start(l, NULL));
	must(timer_settime(timer, 0, &often, NULL));
	must_fail(aiolink_join(l, soon()), EINTR);
	must_fail(aiolink_wait_disconnected(l, soon()), EINTR);
	must_fail(aiolink_close(l, aioipc_after(100)), ETIMEDOUT);
	must(timer_delete(timer));
	must(sigaction(SIGALRM, &before, NULL));
	close(fd);
}

/* Tasks. */

struct tasks {
	struct event_base *base;
	struct aiolink *l;
	struct waiter w[4];
	int fd;
};

static void spawn(struct tasks *t, unsigned i, wait_call *call)
{
	t->w[i] = (struct waiter){.call = call, .l = t->l, .deadline = soon()};
	t->w[i].task = must(aiotask_spawn(t->base, in_task, &t->w[i]));
}

static void join_task(struct tasks *t, unsigned i, int error)
{
	must(aiotask_join(t->w[i].task, soon()));
	ck_assert_int_eq(t->w[i].error, error);
}

static void wait_in_tasks(void *arg)
{
	struct tasks *t = arg;

	spawn(t, 0, aiolink_wait_connected);
	spawn(t, 1, aiolink_wait_disconnected);
	spawn(t, 2, aiolink_join);
	spawn(t, 3, aiolink_join);
	must(aiolink_wait_connected(t->l, soon()));
	join_task(t, 0, 0);
	must_fail(aiolink_join(t->l, aioipc_after(1)), ETIMEDOUT);
	must(aiotask_cancel(t->w[3].task));
	join_task(t, 3, ECANCELED);
	say_goodbye(t->fd);
	join_task(t, 1, 0);
	join_task(t, 2, 0);
	must(aiolink_close(t->l, soon()));
}

static void try_tasks(bool own_thread)
{
	struct tasks t = {.base = new_base()};

	t.l = make_over_pair(&t.fd, NULL);
	must(aiolink_start(t.l, own_thread ? NULL : t.base));
	must(aiotask_run(t.base, wait_in_tasks, &t));
	close(t.fd);
	event_base_free(t.base);
}

TEST(tasks_wait)
{
	try_tasks(false);
	try_tasks(true);
}

/* A task that closes and is cancelled gives up: the link is freed all the same. */
static void close_in_task(void *arg)
{
	carry_out(arg);
}

static void cancel_close(struct event_base *base, bool own_thread)
{
	int fd;
	struct waiter w = {.call = aiolink_close, .l = make_over_pair(&fd, NULL), .deadline = AIOIPC_FOREVER};
	struct aiotask *t;

	must(aiolink_start(w.l, own_thread ? NULL : base));
	must(aiolink_wait_connected(w.l, soon()));
	t = must(aiotask_spawn(base, close_in_task, &w));
	while (!atomic_load(&w.begun))
		must(event_base_loop(base, EVLOOP_ONCE));
	must(aiotask_cancel(t));
	must(aiotask_join(t, soon()));
	ck_assert_int_eq(w.error, ECANCELED);
	close(fd);
}

TEST(a_close_that_is_cancelled_frees_it)
{
	struct event_base *base = new_base();

	cancel_close(base, false);
	cancel_close(base, true);
	event_base_free(base);
}

/* Plain code. */

static void stop_loop(evutil_socket_t fd, short what, void *base)
{
	(void)fd;
	(void)what;
	event_base_loopbreak(base);
}

TEST(plain_code_runs_the_base)
{
	const struct timeval moment = {0, 10000};
	struct event_base *base = new_base();
	int fd;
	struct aiolink *l = make_over_pair(&fd, NULL);

	must(aiolink_start(l, base));
	must_fail(aiolink_join(l, AIOIPC_NOW), ETIMEDOUT);
	ck_assert_int_eq(aiolink_state(l), AIOLINK_CONNECTING);
	must_fail(aiolink_join(l, aioipc_after(20)), ETIMEDOUT);
	ck_assert_int_eq(aiolink_state(l), AIOLINK_CONNECTED);
	must(event_base_once(base, -1, EV_TIMEOUT, stop_loop, base, &moment));
	must_fail(aiolink_join(l, soon()), EINTR);
	say_goodbye(fd);
	must(aiolink_wait_disconnected(l, soon()));
	must(aiolink_join(l, soon()));
	must(aiolink_close(l, AIOIPC_NOW));
	close(fd);
	event_base_free(base);
}

/* Callbacks. */

/* What a state callback is to try, and what came of it. */
struct probe {
	enum aiolink_state at;
	void (*act)(struct probe *p, struct aiolink *l);
	unsigned done, ended;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool freed;
	enum aiolink_state last;
};

static void on_state(struct aiolink *l, enum aiolink_state state, void *arg)
{
	struct probe *p = arg;
	bool act;

	pthread_mutex_lock(&p->lock);
	ck_assert_int_ne(p->last, AIOLINK_ENDED);
	p->last = state;
	p->ended += state == AIOLINK_ENDED;
	act = state == p->at && !p->done;
	p->done += act;
	pthread_mutex_unlock(&p->lock);
	if (act)
		p->act(p, l);
	pthread_mutex_lock(&p->lock);
	p->freed = p->freed || act;
	pthread_cond_broadcast(&p->changed);
	pthread_mutex_unlock(&p->lock);
}

static struct probe probe_at(enum aiolink_state at, void (*act)(struct probe *p, struct aiolink *l))
{
	return (struct probe){
		.at = at, .act = act, .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
}

static void await(struct probe *p, struct event_base *base)
{
	if (base) {
		run_until(base, &p->done, 1);
		run_now(base);
		return;
	}
	pthread_mutex_lock(&p->lock);
	while (!p->freed)
		pthread_cond_wait(&p->changed, &p->lock);
	pthread_mutex_unlock(&p->lock);
}

static void must_not_wait(struct probe *p, struct aiolink *l)
{
	(void)p;
	must(aiolink_wait_connected(l, AIOIPC_FOREVER));
	must_fail(aiolink_wait_disconnected(l, AIOIPC_FOREVER), EDEADLK);
	must_fail(aiolink_join(l, soon()), EDEADLK);
	must_fail(aiolink_join(l, AIOIPC_NOW), ETIMEDOUT);
}

TEST(in_its_callback_nothing_waits)
{
	for (int own = 0; own < 2; own++) {
		struct event_base *base = own ? NULL : new_base();
		int fd;
		struct aiolink *l = make_over_pair(&fd, NULL);
		struct probe p = probe_at(AIOLINK_CONNECTED, must_not_wait);

		must(aiolink_on_state(l, on_state, &p));
		must(aiolink_start(l, base));
		await(&p, base);
		close(fd);
		aiolink_abort(l);
		ck_assert_uint_eq(p.ended, 1);
		if (base)
			event_base_free(base);
	}
}

static void abort_it(struct probe *p, struct aiolink *l)
{
	(void)p;
	aiolink_abort(l);
}

static void close_it_now(struct probe *p, struct aiolink *l)
{
	if (aiolink_close(l, AIOIPC_NOW) == -1)
		ck_assert(p->at != AIOLINK_ENDED && errno == ETIMEDOUT);
}

static void close_it_waiting(struct probe *p, struct aiolink *l)
{
	if (aiolink_close(l, soon()) == -1)
		ck_assert(p->at != AIOLINK_ENDED && errno == EDEADLK);
}

/* Each state comes by: it connects to nobody, or speaks over an end and hears a goodbye. */
static void free_in_callback(enum aiolink_state at, void (*act)(struct probe *p, struct aiolink *l),
			     struct event_base *base)
{
	struct aiolink_options o = {.size = sizeof o, .address = "tcp://127.0.0.1:1"};
	struct probe p = probe_at(at, act);
	struct aiolink *l;
	int fd = -1;

	o.reconnect_first = o.reconnect_most = 100;
	l = at == AIOLINK_WAITING ? must(aiolink_new(&o)) : make_over_pair(&fd, NULL);
	must(aiolink_on_state(l, on_state, &p));
	if (fd != -1)
		say_goodbye(fd);
	must(aiolink_start(l, base));
	await(&p, base);
	ck_assert_uint_eq(p.ended, 1);
	if (fd != -1)
		close(fd);
}

static void free_in_callbacks(struct event_base *base)
{
	for (enum aiolink_state at = AIOLINK_CONNECTING; at <= AIOLINK_ENDED; at++) {
		free_in_callback(at, abort_it, base);
		free_in_callback(at, close_it_now, base);
		free_in_callback(at, close_it_waiting, base);
	}
}

TEST(its_callback_may_free_it_on_a_base)
{
	struct event_base *base = new_base();

	free_in_callbacks(base);
	event_base_free(base);
}

/* The thread is then by itself, and ends soon after the callback. */
TEST(its_callback_may_free_it_in_a_thread_of_its_own)
{
	unsigned fds = harness_count_fds();

	free_in_callbacks(NULL);
	while (harness_count_fds() != fds)
		usleep(1000);
}

/* Whoever waits in plain code while its callback frees it gets an answer. */
TEST(a_callback_frees_what_its_thread_waits_for)
{
	struct event_base *base = new_base();
	int fd;
	struct aiolink *l = make_over_pair(&fd, NULL);
	struct probe p = probe_at(AIOLINK_CONNECTED, abort_it);

	must(aiolink_on_state(l, on_state, &p));
	must(aiolink_start(l, base));
	must(aiolink_join(l, soon()));
	close(fd);
	event_base_free(base);
}

/* A second free, by the callback of the first, is none. */
TEST(freeing_it_in_the_callback_of_freeing_it_is_harmless)
{
	for (int own = 0; own < 2; own++) {
		struct event_base *base = own ? NULL : new_base();
		int fd;
		struct aiolink *l = make_over_pair(&fd, NULL);
		struct probe p = probe_at(AIOLINK_ENDED, own ? abort_it : close_it_now);

		must(aiolink_on_state(l, on_state, &p));
		must(aiolink_start(l, base));
		must(aiolink_wait_connected(l, soon()));
		aiolink_abort(l);
		ck_assert_uint_eq(p.ended, 1);
		close(fd);
		if (base)
			event_base_free(base);
	}
}

/* The callback puts and closes, as any other code. */
static void speak(struct probe *p, struct aiolink *l)
{
	struct aiomsg *m = must(aiomsg_new_bytes("said", 4));

	(void)p;
	must(aioqueue_put(aiolink_outbox(l), m, AIOIPC_NOW));
	aioqueue_close(aiolink_outbox(l));
	aiomsg_free(m);
}

TEST(its_callback_may_use_its_queues)
{
	for (int own = 0; own < 2; own++) {
		struct event_base *base = own ? NULL : new_base();
		int fd;
		struct aiolink *l = make_over_pair(&fd, NULL);
		struct probe p = probe_at(AIOLINK_CONNECTED, speak);

		must(aiolink_on_state(l, on_state, &p));
		must(aiolink_start(l, base));
		must_fail(aiolink_join(l, aioipc_after(50)), ETIMEDOUT);
		get_preface(fd);
		expect_frame(fd, BYTES, "said");
		expect_frame(fd, GOODBYE, "");
		say_goodbye(fd);
		must(aiolink_join(l, soon()));
		must(aiolink_close(l, AIOIPC_NOW));
		close(fd);
		if (base)
			event_base_free(base);
	}
}

/* How it ended: abort is LOST to the peer, close in good order is CLEAN. */

static void expect_seen(bool abort, struct event_base *base)
{
	struct aioend *other;
	struct aiolink *l = make_over_pair(NULL, &other);
	struct aioconn *c = open_end(other, NULL);
	struct aiomsg *m = must(aiomsg_new_bytes("text", 4));

	must(aiolink_start(l, base));
	must(aioqueue_put(aiolink_outbox(l), m, soon()));
	must(aiolink_wait_connected(l, soon()));
	aiomsg_free(m);
	if (abort) {
		aiolink_abort(l);
		while (aioconn_recv(c, &m, soon()) == 1)
			aiomsg_free(m);
		ck_assert_int_eq(errno, ECONNRESET);
		aioconn_abort(c);
		return;
	}
	must(aiolink_close(l, AIOIPC_NOW) == -1 && errno == ETIMEDOUT ? 0 : -1);
	expect_text(c, "text");
	expect_end(c, 0);
	aioconn_abort(c);
}

TEST(an_abort_is_lost_and_a_close_at_once_sends_what_it_can)
{
	struct event_base *base = new_base();

	expect_seen(true, base);
	expect_seen(true, NULL);
	expect_seen(false, base);
	expect_seen(false, NULL);
	event_base_free(base);
}
