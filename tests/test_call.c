/* Calls and answers over connections: in plain code, callbacks, tasks and threads; each call ends once, in whatever way. */
#include "tests/peers.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CALL = 4, CALL_BYTES = 5, ANSWER = 6, ANSWER_BYTES = 7, REFUSAL = 8, CANCEL = 9 };

/* What became of a call, as its callback was told. */
struct outcome {
	unsigned times;
	int error;
	bool answered; /* there was a message */
	int32_t number;
	char text[128];
};

static void on_answer(struct aiomsg *answer, int error, void *arg)
{
	struct outcome *o = arg;
	const char *text = "";

	o->times++;
	o->error = error;
	o->answered = answer;
	if (answer && aiomsg_error(answer, &text) == 0)
		aiomsg_unpack(answer, "i", &o->number);
	strncpy(o->text, text, sizeof o->text - 1);
}

static struct aiocall *call_number(struct aioconn *c, int32_t n, struct outcome *o, int64_t deadline)
{
	struct aiomsg *m = must(aiomsg_new("si", "double", n));
	struct aiocall *call = must(aioconn_call_later(c, m, on_answer, o, deadline));

	aiomsg_free(m);
	return call;
}

static int32_t number_of(const struct aiomsg *call)
{
	const char *what;
	int32_t n;

	ck_assert(aiomsg_is_call(call));
	must(aiomsg_unpack(call, "si", &what, &n));
	return n;
}

static void answer_with(struct aioconn *c, const struct aiomsg *call, int32_t n)
{
	struct aiomsg *answer = must(aiomsg_answer(call, "i", n));

	must(aioconn_send_msg(c, answer));
	aiomsg_free(answer);
}

static void refuse(struct aioconn *c, const struct aiomsg *call, int error, const char *text)
{
	struct aiomsg *answer = must(aiomsg_answer_error(call, error, text));

	must(aioconn_send_msg(c, answer));
	aiomsg_free(answer);
}

/* A service in one callback: twice the number; what is below 0 is refused, 0 is freed, and messages come back. */
static void serve(struct aioconn *c, struct aiomsg *m, void *arg)
{
	(void)arg;
	if (!aiomsg_is_call(m))
		must(aioconn_send_msg(c, m));
	else if (number_of(m) < 0)
		refuse(c, m, EDOM, "below 0");
	else if (number_of(m) > 0)
		answer_with(c, m, 2 * number_of(m));
}

static void abort_it(struct aioconn *c, enum aioconn_cause cause, void *arg)
{
	(void)cause;
	(void)arg;
	aioconn_abort(c);
}

static void child_serves(struct aioend *end, void *arg)
{
	struct event_base *base = new_base();
	struct aioconn *c = open_end(end, base);

	(void)arg;
	must(aioconn_set_callbacks(c, serve, NULL, abort_it, NULL));
	event_base_dispatch(base);
	event_base_free(base);
}

/* A connection to a child that serves. */
static struct aioconn *served(struct event_base *base, pid_t *pid)
{
	struct aioend *a, *b;

	make_ends(PAIR, &a, &b);
	*pid = start_child(child_serves, b, NULL);
	return open_end(a, base);
}

static struct stats {
	struct aioconn_stats s;
} stats_of(const struct aioconn *c)
{
	struct stats s = {.s.size = sizeof s.s};

	must(aioconn_stats(c, &s.s));
	return s;
}

TEST(a_call_in_plain_code_is_answered_refused_or_freed)
{
	struct aiomsg *answer;
	const char *words;
	pid_t pid;
	struct aioconn *c = served(NULL, &pid);
	int32_t n;

	ck_assert_int_eq(must(aioconn_call(c, &answer, soon(), "si", "double", 21)), 1);
	must(aiomsg_unpack(answer, "i", &n));
	ck_assert_int_eq(n, 42);
	ck_assert_int_eq(aiomsg_error(answer, NULL), 0);
	ck_assert(!aiomsg_is_call(answer));
	aiomsg_free(answer);

	ck_assert_int_eq(must(aioconn_call(c, &answer, soon(), "si", "double", -1)), 0);
	ck_assert_int_eq(aiomsg_error(answer, &words), EDOM);
	ck_assert_str_eq(words, "below 0");
	aiomsg_free(answer);

	ck_assert_int_eq(must(aioconn_call(c, &answer, soon(), "si", "double", 0)), 0);
	ck_assert_int_eq(aiomsg_error(answer, NULL), ENOMSG);
	aiomsg_free(answer);
	ck_assert_uint_eq(stats_of(c).s.calls_out, 3);
	ck_assert_uint_eq(stats_of(c).s.in_flight, 0);
	must(aioconn_close(c, soon()));
	expect_exit(pid, 0);
}

TEST(recv_gives_calls_and_send_takes_answers)
{
	struct aioconn *a, *b;
	struct aiomsg *m;
	struct outcome o[3] = {{0}};
	struct event_base *base = new_base();

	open_pair(PAIR, base, &a, &b);
	for (int i = 0; i < 3; i++)
		call_number(a, i + 1, &o[i], AIOIPC_FOREVER);
	run_now(base);
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(must(aioconn_recv(b, &m, soon())), 1);
		answer_with(b, m, number_of(m) * 10);
		aiomsg_free(m);
	}
	must(aioconn_flush(b, soon()));
	run_until(base, &o[2].times, 1);
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(o[i].number, 10 * (i + 1));
		ck_assert_uint_eq(o[i].times, 1);
	}
	aioconn_abort(a);
	aioconn_abort(b);
	event_base_free(base);
}

/* Keeps its calls and answers them from the last to the first. */
struct hoard {
	struct aiomsg **m;
	unsigned n, most;
};

static void hoard(struct aioconn *c, struct aiomsg *m, void *arg)
{
	struct hoard *h = arg;

	h->m[h->n++] = aiomsg_ref(m);
	if (h->n < h->most)
		return;
	while (h->n) {
		answer_with(c, h->m[h->n - 1], number_of(h->m[h->n - 1]));
		aiomsg_free(h->m[--h->n]);
	}
}

TEST_WITHIN(ten_thousand_calls_are_in_flight_and_answered_the_last_first, 30)
{
	enum { MANY = 10000 };
	struct event_base *base = new_base();
	struct outcome *o = must(calloc(MANY, sizeof *o));
	struct hoard h = {.most = MANY, .m = must(calloc(MANY, sizeof *h.m))};
	struct aioconn *a, *b;
	struct aioconn_limits limits = {.size = sizeof limits, .inbox = 8 << 20, .outbox = 8 << 20};

	open_pair(PAIR, base, &a, &b);
	must(aioconn_set_limits(a, &limits));
	must(aioconn_set_limits(b, &limits));
	must(aioconn_set_callbacks(b, hoard, NULL, NULL, &h));
	for (int i = 0; i < MANY; i++)
		call_number(a, i, &o[i], i % 2 ? AIOIPC_FOREVER : soon());
	ck_assert_uint_eq(stats_of(a).s.in_flight, MANY);
	run_until(base, &o[0].times, 1);
	for (int i = 0; i < MANY; i++) {
		ck_assert_uint_eq(o[i].times, 1);
		ck_assert_int_eq(o[i].error, 0);
		ck_assert_int_eq(o[i].number, i);
	}
	ck_assert_uint_eq(stats_of(a).s.in_flight, 0);
	ck_assert_uint_eq(stats_of(b).s.unanswered, 0);
	aioconn_abort(a);
	aioconn_abort(b);
	event_base_free(base);
	free(h.m);
	free(o);
}

TEST(messages_and_answers_come_in_the_order_they_were_sent)
{
	struct event_base *base = new_base();
	struct aioconn *a, *b;
	struct outcome o = {0};
	struct seen s = {0};

	open_pair(PAIR, base, &a, &b);
	must(aioconn_set_callbacks(b, serve, NULL, abort_it, NULL));
	see(a, &s);
	send_text(a, "one");
	call_number(a, 4, &o, soon());
	send_text(a, "two");
	run_until(base, &s.msgs, 1);
	run_until(base, &s.msgs, 2);
	ck_assert_str_eq(s.text, "one two ");
	ck_assert_uint_eq(o.times, 1);
	ck_assert_int_eq(o.number, 8);
	aioconn_abort(a);
	run_now(base);
	event_base_free(base);
}

TEST(a_deadline_ends_a_call_and_the_peer_is_told)
{
	struct event_base *base = new_base();
	struct aioconn *a, *b;
	struct outcome o = {0};
	struct aiomsg *m;

	open_pair(PAIR, base, &a, &b);
	call_number(a, 1, &o, aioipc_after(30));
	ck_assert_int_eq(must(aioconn_recv(b, &m, soon())), 1);
	ck_assert(aiomsg_is_wanted(m));
	run_until(base, &o.times, 1);
	ck_assert_int_eq(o.error, ETIMEDOUT);
	ck_assert(!o.answered);
	while (aiomsg_is_wanted(m))
		must(event_base_loop(base, EVLOOP_ONCE));
	answer_with(b, m, 5); /* is dropped without an error */
	aiomsg_free(m);
	run_now(base);
	ck_assert_uint_eq(o.times, 1);
	ck_assert_uint_eq(stats_of(b).s.unanswered, 0);
	aioconn_abort(a);
	aioconn_abort(b);
	event_base_free(base);
}

TEST(a_deadline_in_plain_code_is_told_too)
{
	struct aiomsg *answer, *m;
	struct aioconn *a, *b;

	open_pair(PAIR, NULL, &a, &b);
	must_fail(aioconn_call(a, &answer, aioipc_after(20), "s", "anybody"), ETIMEDOUT);
	must_fail(aioconn_call(a, &answer, AIOIPC_NOW, "s", "at once"), ETIMEDOUT);
	must_fail(aioconn_call(a, &answer, 20, "s", "no deadline"), EINVAL);
	send_text(a, "behind");
	ck_assert_int_eq(must(aioconn_recv(b, &m, soon())), 1);
	ck_assert(aiomsg_is_call(m)); /* its cancel was not read yet */
	aiomsg_free(m);
	ck_assert_int_eq(must(aioconn_recv(b, &m, soon())), 1);
	aiomsg_free(m);
	expect_text(b, "behind");
	must_fail(aioconn_recv(b, &m, AIOIPC_NOW), ETIMEDOUT); /* what is owed is paid in calls that wait */
	ck_assert_uint_eq(stats_of(b).s.unanswered, 0);
	ck_assert_uint_eq(stats_of(a).s.in_flight, 0);
	aioconn_abort(a);
	aioconn_abort(b);
}

TEST(a_cancel_calls_back_at_once_and_the_peer_is_told)
{
	struct event_base *base = new_base();
	struct aioconn *a, *b;
	struct outcome o = {0};
	struct aiocall *call;
	struct aiomsg *m;

	open_pair(PAIR, base, &a, &b);
	call = call_number(a, 1, &o, soon());
	ck_assert_int_eq(must(aioconn_recv(b, &m, soon())), 1);
	must(aiocall_cancel(call));
	ck_assert_uint_eq(o.times, 1);
	ck_assert_int_eq(o.error, ECANCELED);
	while (aiomsg_is_wanted(m))
		must(event_base_loop(base, EVLOOP_ONCE));
	aiomsg_free(m);
	run_now(base);
	must(aiocall_cancel(NULL));
	ck_assert_uint_eq(o.times, 1);
	ck_assert_uint_eq(stats_of(a).s.strays, 0);
	aioconn_abort(a);
	aioconn_abort(b);
	event_base_free(base);
}

/* A cancel from another call's callback, of one whose answer has come but was not told yet. */
static struct aiocall *other;
static void cancel_other(struct aiomsg *answer, int error, void *arg)
{
	on_answer(answer, error, arg);
	must(aiocall_cancel(other));
}

TEST(a_cancel_of_an_answered_call_tells_the_answer)
{
	struct event_base *base = new_base();
	struct aioconn *a, *b;
	struct outcome first = {0}, second = {0};
	struct aiomsg *m = must(aiomsg_new("si", "double", 1)), *got[2];

	open_pair(PAIR, base, &a, &b);
	must(aioconn_call_later(a, m, cancel_other, &first, soon()));
	other = call_number(a, 2, &second, soon());
	run_now(base);
	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(must(aioconn_recv(b, &got[i], soon())), 1);
	must(aioconn_cork(b, true));
	answer_with(b, got[0], 10);
	answer_with(b, got[1], 20);
	must(aioconn_cork(b, false));
	run_until(base, &first.times, 1);
	ck_assert_uint_eq(second.times, 1);
	ck_assert_int_eq(second.error, 0);
	ck_assert_int_eq(second.number, 20);
	run_now(base);
	ck_assert_uint_eq(second.times, 1);
	for (int i = 0; i < 2; i++)
		aiomsg_free(got[i]);
	aiomsg_free(m);
	aioconn_abort(a);
	aioconn_abort(b);
	event_base_free(base);
}

TEST(the_end_of_the_connection_ends_its_calls)
{
	static const struct {
		bool here, clean;
		int error;
	} ways[] = {
		{true, false, EPIPE}, {true, true, EPIPE}, {false, false, ECONNRESET}, {false, true, EPIPE}};

	for (unsigned i = 0; i < 4; i++) {
		struct event_base *base = new_base();
		struct aioconn *a, *b;
		struct outcome o[2] = {{0}};
		struct seen s = {0};

		open_pair(PAIR, base, &a, &b);
		see_end_only(a, &s);
		call_number(a, 1, &o[0], soon());
		call_number(a, 2, &o[1], AIOIPC_FOREVER);
		run_now(base);
		if (ways[i].clean)
			must(aioconn_close(ways[i].here ? a : b, soon()));
		else
			aioconn_abort(ways[i].here ? a : b);
		if (!ways[i].here)
			run_until(base, &s.closes, 1);
		for (int k = 0; k < 2; k++) {
			ck_assert_uint_eq(o[k].times, 1);
			ck_assert_int_eq(o[k].error, ways[i].error);
		}
		if (ways[i].here)
			aioconn_abort(b);
		run_now(base);
		event_base_free(base);
	}
}

TEST(a_peer_that_dies_ends_a_call_in_plain_code)
{
	struct aiomsg *answer;
	struct aioend *a, *b;
	struct aioconn *c;
	pid_t pid;

	make_ends(PAIR, &a, &b);
	must(aioend_detach(b));
	pid = must(fork());
	if (pid == 0) {
		struct aiomsg *m;

		must(aioconn_recv(open_end(b, NULL), &m, soon()));
		kill(getpid(), SIGKILL);
	}
	aioend_free(b);
	c = open_end(a, NULL);
	must_fail(aioconn_call(c, &answer, soon(), "s", "die"), ECONNRESET);
	must_fail(aioconn_call(c, &answer, soon(), "s", "again"), EPIPE);
	aioconn_abort(c);
	expect_killed(pid, SIGKILL);
}

/* What the callback does to its connection. */
static void abort_conn(struct aiomsg *answer, int error, void *arg)
{
	(void)answer;
	(void)error;
	aioconn_abort(*(struct aioconn **)arg);
	*(struct aioconn **)arg = NULL;
}

TEST(a_callback_may_free_the_connection)
{
	struct event_base *base = new_base();
	struct aioconn *a, *b, *c;
	struct aiomsg *m = must(aiomsg_new("si", "double", 1));
	struct outcome o = {0};

	open_pair(PAIR, base, &a, &b);
	must(aioconn_set_callbacks(b, serve, NULL, abort_it, NULL));
	c = a;
	must(aioconn_call_later(a, m, abort_conn, &a, soon()));
	call_number(c, 0, &o, soon()); /* who serves may come to it before the caller is gone, or after */
	while (a)
		must(event_base_loop(base, EVLOOP_ONCE));
	ck_assert_uint_eq(o.times, 1);
	run_now(base);

	open_pair(PAIR, base, &a, &b);
	c = a;
	must(aioconn_call_later(a, m, abort_conn, &a, soon()));
	must(aioconn_close(c, soon()));
	ck_assert_ptr_null(a);
	open_pair(PAIR, base, &a, &c);
	aioconn_abort(b);
	b = a;
	must(aioconn_call_later(a, m, abort_conn, &a, soon()));
	must(aioconn_finish(b, soon()));
	ck_assert_ptr_null(a);
	aioconn_abort(c);
	aiomsg_free(m);
	run_now(base);
	event_base_free(base);
}

/* Tasks. */

struct caller {
	struct aioconn *c;
	int32_t n;
	int got, error;
	unsigned *ended;
};

static void call_in_task(void *arg)
{
	struct caller *t = arg;
	struct aiomsg *answer = NULL;
	int32_t n = 0;

	t->got = aioconn_call(t->c, &answer, soon(), "si", "double", t->n);
	t->error = errno;
	if (t->got == 1)
		must(aiomsg_unpack(answer, "i", &n));
	if (t->got >= 0)
		aiomsg_free(answer);
	t->n = n;
	++*t->ended;
}

TEST(any_number_of_tasks_call_at_once)
{
	enum { TASKS = 500 };
	struct event_base *base = new_base();
	struct caller t[TASKS];
	struct aioconn *a, *b;
	unsigned ended = 0;

	open_pair(PAIR, base, &a, &b);
	must(aioconn_set_callbacks(b, serve, NULL, abort_it, NULL));
	for (int i = 0; i < TASKS; i++) {
		t[i] = (struct caller){.c = a, .n = i + 1, .ended = &ended};
		aiotask_free(must(aiotask_spawn(base, call_in_task, &t[i])));
	}
	run_until(base, &ended, TASKS);
	for (int i = 0; i < TASKS; i++) {
		ck_assert_int_eq(t[i].got, 1);
		ck_assert_int_eq(t[i].n, 2 * (i + 1));
	}
	aioconn_abort(a);
	run_now(base);
	event_base_free(base);
}

TEST(a_cancelled_task_gives_its_call_up)
{
	struct event_base *base = new_base();
	struct aioconn *a, *b;
	unsigned ended = 0;
	struct caller t = {.n = 1, .ended = &ended};
	struct aiotask *task;
	struct aiomsg *m;

	open_pair(PAIR, base, &a, &b);
	t.c = a;
	task = must(aiotask_spawn(base, call_in_task, &t));
	run_now(base);
	ck_assert_int_eq(must(aioconn_recv(b, &m, soon())), 1);
	must(aiotask_cancel(task));
	run_until(base, &ended, 1);
	ck_assert_int_eq(t.got, -1);
	ck_assert_int_eq(t.error, ECANCELED);
	while (aiomsg_is_wanted(m))
		must(event_base_loop(base, EVLOOP_ONCE));
	aiomsg_free(m);
	aiotask_free(task);
	aioconn_abort(a);
	aioconn_abort(b);
	event_base_free(base);
}

TEST(a_task_whose_connection_is_aborted_is_told)
{
	struct event_base *base = new_base();
	struct aioconn *a, *b;
	unsigned ended = 0;
	struct caller t = {.n = 1, .ended = &ended};

	open_pair(PAIR, base, &a, &b);
	t.c = a;
	aiotask_free(must(aiotask_spawn(base, call_in_task, &t)));
	run_now(base);
	aioconn_abort(a);
	run_until(base, &ended, 1);
	ck_assert_int_eq(t.got, -1);
	ck_assert_int_eq(t.error, EPIPE);
	aioconn_abort(b);
	event_base_free(base);
}

/* The way back. */

struct freer {
	pthread_t thread;
	struct aiomsg *m;
};

static void *free_later(void *arg)
{
	struct freer *f = arg;

	usleep(20000);
	aiomsg_free(f->m);
	return NULL;
}

static void hand_to_thread(struct aioconn *c, struct aiomsg *m, void *arg)
{
	struct freer *f = arg;

	(void)c;
	f->m = aiomsg_ref(m);
	must(pthread_create(&f->thread, NULL, free_later, f) == 0 ? 0 : -1);
}

TEST(a_call_that_another_thread_frees_is_refused_by_a_loop_that_sleeps)
{
	struct event_base *base = new_base();
	struct aioconn *a, *b;
	struct outcome o = {0};
	struct freer f;

	open_pair(PAIR, base, &a, &b);
	must(aioconn_set_callbacks(b, hand_to_thread, NULL, NULL, &f));
	call_number(a, 1, &o, AIOIPC_FOREVER);
	run_until(base, &o.times, 1);
	ck_assert_int_eq(o.error, ENOMSG);
	ck_assert(o.answered);
	ck_assert_str_eq(o.text, "the message of the call was freed without an answer");
	pthread_join(f.thread, NULL);
	aioconn_abort(a);
	aioconn_abort(b);
	event_base_free(base);
}

static void child_frees_in_a_thread(struct aioend *end, void *arg)
{
	struct aioconn *c = open_end(end, NULL);
	struct freer f;
	struct aiomsg *m;

	(void)arg;
	ck_assert_int_eq(must(aioconn_recv(c, &f.m, soon())), 1);
	must(pthread_create(&f.thread, NULL, free_later, &f) == 0 ? 0 : -1);
	ck_assert_int_eq(must(aioconn_recv(c, &m, soon())), 0);
	pthread_join(f.thread, NULL);
	aioconn_close(c, soon());
}

TEST(a_call_that_another_thread_frees_is_refused_by_a_recv_that_sleeps)
{
	struct aiomsg *answer;
	struct aioend *a, *b;
	struct aioconn *c;
	pid_t pid;

	make_ends(PAIR, &a, &b);
	pid = start_child(child_frees_in_a_thread, b, NULL);
	c = open_end(a, NULL);
	ck_assert_int_eq(must(aioconn_call(c, &answer, soon(), "s", "free me")), 0);
	ck_assert_int_eq(aiomsg_error(answer, NULL), ENOMSG);
	aiomsg_free(answer);
	must(aioconn_close(c, soon()));
	expect_exit(pid, 0);
}

TEST(an_answer_that_is_freed_unsent_leaves_the_call_as_it_was)
{
	struct event_base *base = new_base();
	struct aioconn *a, *b, *x, *y;
	struct outcome o = {0};
	struct aiomsg *m, *one, *two;

	open_pair(PAIR, base, &a, &b);
	open_pair(PAIR, base, &x, &y);
	call_number(a, 1, &o, soon());
	ck_assert_int_eq(must(aioconn_recv(b, &m, soon())), 1);
	aiomsg_free(must(aiomsg_answer(m, "i", 1)));
	ck_assert(aiomsg_is_wanted(m));
	one = must(aiomsg_answer(m, "i", 1));
	two = must(aiomsg_answer(m, "i", 2));
	aiomsg_free(m); /* the answers hold it */
	must_fail(aioconn_send_msg(y, one), ESTALE);
	must(aioconn_send_msg(b, two));
	must_fail(aioconn_send_msg(b, one), EALREADY);
	run_until(base, &o.times, 1);
	ck_assert_int_eq(o.number, 2);
	aiomsg_free(one);
	aiomsg_free(two);
	m = must(aiomsg_new(""));
	must_fail(aiomsg_answer(m, ""), EINVAL);
	aiomsg_free(m);
	aioconn_abort(a);
	aioconn_abort(b);
	aioconn_abort(x);
	aioconn_abort(y);
	event_base_free(base);
}

static void *send_from_thread(void *arg)
{
	struct freer *f = arg;
	struct aiomsg *answer = must(aiomsg_answer(f->m, "i", 77));

	aiomsg_free(f->m);
	must(aiomsg_send_answer(answer));
	must_fail(aiomsg_send_answer(answer), EALREADY);
	aiomsg_free(answer);
	return NULL;
}

static void answer_in_thread(struct aioconn *c, struct aiomsg *m, void *arg)
{
	struct freer *f = arg;

	(void)c;
	f->m = aiomsg_ref(m);
	must(pthread_create(&f->thread, NULL, send_from_thread, f) == 0 ? 0 : -1);
}

TEST(an_answer_finds_its_way_from_any_thread)
{
	struct event_base *base = new_base();
	struct aioconn *a, *b;
	struct outcome o = {0};
	struct freer f;
	struct aiomsg *m = must(aiomsg_new(""));

	must_fail(aiomsg_send_answer(m), EINVAL);
	aiomsg_free(m);
	open_pair(PAIR, base, &a, &b);
	must(aioconn_set_callbacks(b, answer_in_thread, NULL, NULL, &f));
	call_number(a, 1, &o, AIOIPC_FOREVER);
	run_until(base, &o.times, 1);
	ck_assert_int_eq(o.error, 0);
	ck_assert_int_eq(o.number, 77);
	pthread_join(f.thread, NULL);
	ck_assert_uint_eq(stats_of(b).s.unanswered, 0);
	aioconn_abort(a);
	aioconn_abort(b);
	event_base_free(base);
}

TEST(answers_that_are_sent_that_way_may_be_large_carry_descriptors_or_refuse)
{
	static char much[200000];
	struct event_base *base = new_base();
	struct aioconn *a, *b;
	struct aiomsg *m, *payload, *answer;
	struct outcome o[4] = {{0}};

	fill(much, sizeof much, 3);
	open_pair(PAIR, base, &a, &b);
	must(aioconn_allow_fds(a, 4));
	for (int i = 0; i < 4; i++)
		call_number(a, i, &o[i], AIOIPC_FOREVER);
	run_now(base);
	for (int i = 0; i < 4; i++) {
		ck_assert_int_eq(must(aioconn_recv(b, &m, soon())), 1);
		payload = must(aiomsg_new_bytes(much, i == 0 ? sizeof much : 5));
		if (i == 1)
			must(aiomsg_add_fd(payload, 0));
		answer = i == 2 ? must(aiomsg_answer_error(m, EDOM, "no"))
				: must(aiomsg_answer_msg(m, payload));
		must(aiomsg_send_answer(answer));
		if (i == 3) /* never mind */
			aioconn_abort(b);
		aiomsg_free(answer);
		aiomsg_free(payload);
		aiomsg_free(m);
		for (int turn = 0; i < 3 && !o[i].times && turn < 1000; turn++)
			must(event_base_loop(base, EVLOOP_ONCE));
	}
	run_until(base, &o[3].times, 1);
	ck_assert(o[0].answered && o[1].answered);
	ck_assert_int_eq(o[2].error, EDOM);
	ck_assert_str_eq(o[2].text, "no");
	ck_assert_int_eq(o[3].error, ECONNRESET);
	aioconn_abort(a);
	event_base_free(base);
}

TEST(a_call_and_its_answer_carry_descriptors_and_much)
{
	static char much[300000];
	struct event_base *base = new_base();
	struct aioconn *a, *b;
	struct aiomsg *call, *m, *answer;
	struct outcome o = {0};
	int fd[2];
	size_t len;

	fill(much, sizeof much, 7);
	must(pipe(fd));
	open_pair(PAIR, base, &a, &b);
	must(aioconn_allow_fds(a, 4));
	must(aioconn_allow_fds(b, 4));
	call = must(aiomsg_new_bytes(much, sizeof much));
	must(aiomsg_add_fd(call, fd[0]));
	must(aioconn_call_later(a, call, on_answer, &o, soon()));
	while (aioconn_recv(b, &m, AIOIPC_NOW) != 1)
		must(event_base_loop(base, EVLOOP_NONBLOCK));
	ck_assert(aiomsg_is_call(m));
	ck_assert_uint_eq(aiomsg_fds(m), 1);
	ck_assert(is_filled(aiomsg_bytes(m, &len), sizeof much, 7));
	ck_assert_uint_eq(len, sizeof much);
	answer = must(aiomsg_answer_msg(m, call));
	ck_assert_uint_eq(aiomsg_fds(answer), 1);
	must(aioconn_send_msg(b, answer));
	aiomsg_free(answer);
	aiomsg_free(m);
	run_until(base, &o.times, 1);
	ck_assert(o.answered && o.error == 0);
	aiomsg_free(call);
	must(close(fd[0]));
	must(close(fd[1]));
	aioconn_abort(a);
	aioconn_abort(b);
	event_base_free(base);
}

/* Limits. */

TEST(so_many_calls_may_be_in_flight_and_no_more)
{
	struct event_base *base = new_base();
	struct aioconn_limits limits = {.size = sizeof limits, .calls = 2};
	struct aiomsg *m = must(aiomsg_new("si", "double", 1)), *answer;
	struct aioconn *a, *b;
	struct outcome o[2] = {{0}};

	open_pair(PAIR, base, &a, &b);
	must(aioconn_set_limits(a, &limits));
	for (int i = 0; i < 2; i++)
		call_number(a, 1, &o[i], soon());
	must_fail(aioconn_call_later(a, m, on_answer, &o[0], soon()), EAGAIN);
	must_fail(aioconn_call_msg(a, m, &answer, soon()), EAGAIN);
	must(aioconn_set_callbacks(b, serve, NULL, NULL, NULL));
	run_until(base, &o[1].times, 1);
	call_number(a, 1, &o[0], soon());
	run_until(base, &o[0].times, 2);
	aiomsg_free(m);
	limits.calls = (1 << 20) + 1;
	must_fail(aioconn_set_limits(a, &limits), EINVAL);
	aioconn_abort(a);
	aioconn_abort(b);
	event_base_free(base);
}

TEST(what_is_beyond_the_unanswered_is_refused)
{
	struct event_base *base = new_base();
	struct aioconn_limits limits = {.size = sizeof limits, .unanswered = 2};
	struct hoard h = {.most = 3, .m = (struct aiomsg *[3]){NULL}};
	struct aioconn *a, *b;
	struct outcome o[3] = {{0}};

	open_pair(PAIR, base, &a, &b);
	must(aioconn_set_limits(b, &limits));
	must(aioconn_set_callbacks(b, hoard, NULL, NULL, &h));
	for (int i = 0; i < 3; i++)
		call_number(a, i, &o[i], soon());
	run_until(base, &o[2].times, 1);
	ck_assert_int_eq(o[2].error, EAGAIN);
	ck_assert(o[2].answered);
	ck_assert_uint_eq(o[0].times + o[1].times, 0);
	ck_assert_uint_eq(stats_of(b).s.unanswered, 2);
	while (h.n)
		aiomsg_free(h.m[--h.n]);
	run_until(base, &o[0].times, 1);
	run_until(base, &o[1].times, 1);
	ck_assert_int_eq(o[1].error, ENOMSG);
	aioconn_abort(a);
	aioconn_abort(b);
	event_base_free(base);
}

TEST(calls_need_messages_and_both_ways)
{
	struct aiomsg *answer, *m = must(aiomsg_new("s", "x"));
	struct aioconn *a, *b;

	open_pair(PIPE, NULL, &a, &b);
	must_fail(aioconn_call(a, &answer, soon(), "s", "x"), EBADF);
	must_fail(aioconn_call(b, &answer, soon(), "s", "x"), EBADF);
	aioconn_abort(a);
	aioconn_abort(b);
	open_pair(PAIR, NULL, &a, &b);
	must(aioconn_set_framing(a, AIOCONN_LINES, NULL));
	must_fail(aioconn_call_msg(a, m, &answer, soon()), EINVAL);
	must_fail(aioconn_call_later(b, m, NULL, NULL, soon()), EINVAL);
	aioconn_abort(a);
	aioconn_abort(b);
	aiomsg_free(m);
}

/* The goodbye of who called waits for the answers, and so does the end that is told. */
TEST(answers_still_come_after_the_callers_goodbye)
{
	struct event_base *base = new_base();
	struct aioconn *a, *b;
	struct outcome o = {0};
	struct hoard h = {.most = 9, .m = (struct aiomsg *[9]){NULL}};
	struct seen s = {0};

	open_pair(PAIR, base, &a, &b);
	must(aioconn_set_callbacks(b, hoard, NULL, abort_it, &h));
	see_end_only(a, &s);
	call_number(a, 3, &o, soon());
	must(aioconn_write_eof(a));
	run_now(base);
	run_now(base);
	ck_assert_uint_eq(h.n, 1);
	ck_assert_uint_eq(o.times, 0);
	answer_with(b, h.m[0], 7);
	aiomsg_free(h.m[0]);
	run_until(base, &s.closes, 1);
	ck_assert_int_eq(s.cause, AIOCONN_CLEAN);
	ck_assert_int_eq(o.number, 7);
	run_now(base);
	event_base_free(base);
}

/* A peer that does what it should not, by hand. */

static uint64_t get_call(int fd)
{
	unsigned char frame[64];
	unsigned kind;
	uint64_t id;

	ck_assert_int_ge(get_frame(fd, &kind, frame, sizeof frame), 8);
	ck_assert(kind == CALL || kind == CALL_BYTES);
	memcpy(&id, frame, 8);
	return id;
}

static void put_answer(int fd, uint64_t id, const char *text)
{
	unsigned char frame[64];

	memcpy(frame, &id, 8);
	memcpy(frame + 8, text, strlen(text));
	put_frame(fd, ANSWER_BYTES, 0, frame, 8 + strlen(text));
}

struct late_cancel {
	struct aioconn *c;
	struct aiotask *task;
	unsigned ended;
	int got, after;
};

static void call_and_sleep(void *arg)
{
	struct late_cancel *t = arg;
	struct aiomsg *answer;

	t->got = aioconn_call(t->c, &answer, AIOIPC_FOREVER, "");
	if (t->got == 1)
		aiomsg_free(answer);
	t->after = aiotask_sleep(soon()) == -1 ? errno : 0;
	t->ended++;
}

static void cancel_task(struct aioconn *c, struct aiomsg *m, void *arg)
{
	struct late_cancel *t = arg;

	(void)c, (void)m;
	must(aiotask_cancel(t->task));
}

/* The task is cancelled, and before it runs its answer is there: that counts, and the next wait tells of the cancel. */
TEST(a_cancel_that_comes_with_the_answer_is_not_lost)
{
	struct event_base *base = new_base();
	struct late_cancel t = {.got = 0};
	int fd = raw_peer(PAIR, base, &t.c);
	uint64_t id;

	must(aioconn_set_callbacks(t.c, cancel_task, NULL, NULL, &t));
	t.task = must(aiotask_spawn(base, call_and_sleep, &t));
	run_now(base);
	get_preface(fd);
	id = get_call(fd);
	put(fd, PREFACE, PREFACE_LEN);
	put_frame(fd, BYTES, 0, "cancels it", 10);
	put_answer(fd, id, "answer");
	run_until(base, &t.ended, 1);
	ck_assert_int_eq(t.got, 1);
	ck_assert_int_eq(t.after, ECANCELED);
	aiotask_free(t.task);
	aioconn_abort(t.c);
	must(close(fd));
	event_base_free(base);
}

TEST(answers_that_nobody_asked_for_are_ignored_and_counted)
{
	struct event_base *base = new_base();
	struct outcome o[2] = {{0}};
	struct aioconn *c;
	int fd = raw_peer(PAIR, base, &c);
	uint64_t id, late;

	put(fd, PREFACE, PREFACE_LEN);
	put_answer(fd, 0, "before any call");
	call_number(c, 1, &o[0], soon());
	call_number(c, 2, &o[1], aioipc_after(10));
	run_until(base, &o[1].times, 1);
	get_preface(fd);
	id = get_call(fd);
	late = get_call(fd);
	ck_assert_uint_ne(id ^ late, 1);
	put_answer(fd, id ^ (UINT64_C(1) << 40), "another number");
	put_answer(fd, late, "after its deadline");
	put_answer(fd, id, "right");
	put_answer(fd, id, "twice");
	run_until(base, &o[0].times, 1);
	while (stats_of(c).s.strays < 4)
		must(event_base_loop(base, EVLOOP_ONCE));
	ck_assert_uint_eq(o[0].times, 1);
	ck_assert_uint_eq(o[1].times, 1);
	ck_assert_int_eq(o[1].error, ETIMEDOUT);
	aioconn_abort(c);
	must(close(fd));
	event_base_free(base);
}

TEST(numbers_of_calls_are_not_to_be_guessed)
{
	struct outcome o = {0};
	uint64_t id[2][3];

	for (int i = 0; i < 2; i++) {
		struct event_base *base = new_base();
		struct aioconn *c;
		int fd = raw_peer(PAIR, base, &c);

		for (int k = 0; k < 3; k++)
			call_number(c, 1, &o, AIOIPC_FOREVER);
		run_now(base);
		get_preface(fd);
		for (int k = 0; k < 3; k++)
			id[i][k] = get_call(fd) >> 20;
		aioconn_abort(c);
		must(close(fd));
		event_base_free(base);
	}
	for (int k = 0; k < 3; k++)
		ck_assert_uint_ne(id[0][k], id[1][k]);
	ck_assert_uint_ne(id[0][1] - id[0][0], id[0][2] - id[0][1]);
	ck_assert_uint_eq(o.times, 6);
}

static void expect_bad(const void *frame, size_t len, unsigned kind, int error, const char *why)
{
	struct aioconn *c;
	struct aiomsg *m;
	int fd = raw_peer(PAIR, NULL, &c);

	put(fd, PREFACE, PREFACE_LEN);
	put_frame(fd, kind, 0, frame, len);
	must_fail(aioconn_recv(c, &m, soon()), error);
	ck_assert_msg(strstr(aioconn_why(c), why), "\"%s\"", aioconn_why(c));
	aioconn_abort(c);
	must(close(fd));
}

TEST(frames_of_calls_that_are_none_end_the_connection)
{
	expect_bad("1234567", 7, CALL, EPROTO, "only 7 bytes");
	expect_bad("12345678tpl", 11, CALL, EBADMSG, "");
	expect_bad("12345678tpl", 11, ANSWER, EBADMSG, "");
	expect_bad("12345678\0\0\0", 11, REFUSAL, EPROTO, "only 11 bytes");
	expect_bad("12345678\0\0\0\0x", 13, REFUSAL, EPROTO, "without an error");
	expect_bad("123456789", 9, CANCEL, EPROTO, "cancel with a payload");
	expect_bad("", 0, 10, EPROTO, "unknown kind 10");
}

TEST(two_calls_of_one_number_end_the_connection)
{
	struct aioconn *c;
	struct aiomsg *m;
	int fd = raw_peer(PAIR, NULL, &c);

	put(fd, PREFACE, PREFACE_LEN);
	put_frame(fd, CALL_BYTES, 0, "12345678a", 9);
	put_frame(fd, CALL_BYTES, 0, "12345678b", 9);
	ck_assert_int_eq(must(aioconn_recv(c, &m, soon())), 1);
	must_fail(aioconn_recv(c, &m, soon()), EPROTO);
	ck_assert(!aiomsg_is_wanted(m));
	aiomsg_free(m);
	aioconn_abort(c);
	must(close(fd));
}

/* The message of the first was freed by then: its refusal was about to leave, and nobody wants it. */
TEST(a_number_is_free_after_a_cancel)
{
	struct aioconn *c;
	struct aiomsg *m, *answer;
	unsigned char frame[64];
	unsigned kind;
	int fd = raw_peer(PAIR, NULL, &c);

	put(fd, PREFACE, PREFACE_LEN);
	put_frame(fd, CALL_BYTES, 0, "12345678a", 9);
	put_frame(fd, CANCEL, 0, "12345678", 8);
	put_frame(fd, CALL_BYTES, 0, "12345678b", 9);
	ck_assert_int_eq(must(aioconn_recv(c, &m, soon())), 1);
	aiomsg_free(m);
	ck_assert_int_eq(must(aioconn_recv(c, &m, soon())), 1);
	ck_assert(is_text(m, "b"));
	answer = must(aiomsg_answer(m, "s", "to b"));
	must(aioconn_send_msg(c, answer));
	aiomsg_free(answer);
	aiomsg_free(m);
	get_preface(fd);
	must(get_frame(fd, &kind, frame, sizeof frame));
	ck_assert_uint_eq(kind, ANSWER);
	aioconn_abort(c);
	must(close(fd));
}

TEST(a_refusals_words_can_not_play_with_a_terminal)
{
	struct event_base *base = new_base();
	struct outcome o = {0};
	struct aioconn *c;
	int fd = raw_peer(PAIR, base, &c);
	unsigned char frame[] = "12345678\7\0\0\0bad\033[2Jwords";
	uint64_t id;

	call_number(c, 1, &o, soon());
	run_now(base);
	get_preface(fd);
	id = get_call(fd);
	memcpy(frame, &id, 8);
	put(fd, PREFACE, PREFACE_LEN);
	put_frame(fd, REFUSAL, 0, frame, sizeof frame - 1);
	run_until(base, &o.times, 1);
	ck_assert_int_eq(o.error, 7);
	ck_assert_str_eq(o.text, "bad?[2Jwords");
	aioconn_abort(c);
	must(close(fd));
	event_base_free(base);
}

/* Calls, and none of the refusals is ever read: what is held for that is bounded. */
TEST(a_peer_that_floods_with_calls_is_not_read_for_ever)
{
	struct event_base *base = new_base();
	struct aioconn_limits limits = {.size = sizeof limits, .unanswered = 1, .outbox = 1 << 16};
	struct aioconn *c;
	int fd = raw_peer(PAIR, base, &c), ready = 0;
	unsigned char frames[64 * 17];
	uint64_t id = 1;

	must(aioconn_set_limits(c, &limits));
	must(aioconn_set_callbacks(c, serve, NULL, NULL, NULL));
	put(fd, PREFACE, PREFACE_LEN);
	put_frame(fd, CALL_BYTES, 0, "12345678", 8);
	(void)frames;
	must(aioconn_set_callbacks(c, NULL, NULL, NULL, NULL));
	for (unsigned i = 0; i < 400000 && ready < 100; i++, id++) {
		unsigned char frame[16];

		make_frame(frame, CALL_BYTES, 0, &id, 8);
		if (send(fd, frame, 16, MSG_DONTWAIT | MSG_NOSIGNAL) == 16) {
			ready = 0;
			continue;
		}
		ready++;
		must(event_base_loop(base, EVLOOP_NONBLOCK));
	}
	ck_assert_int_eq(ready, 100);
	ck_assert_uint_lt(stats_of(c).s.queued_out, 4 << 20);
	aioconn_abort(c);
	must(close(fd));
	event_base_free(base);
}

/* A fork between call and answer: the child has neither the call nor the answer. */
TEST(a_forked_child_neither_answers_nor_ends_calls)
{
	struct event_base *base = new_base();
	struct aioconn *a, *b;
	struct outcome o = {0};
	struct aiocall *call;
	struct aiomsg *m, *answer;
	pid_t pid;

	open_pair(PAIR, base, &a, &b);
	call = call_number(a, 1, &o, soon());
	ck_assert_int_eq(must(aioconn_recv(b, &m, soon())), 1);
	answer = must(aiomsg_answer(m, "i", 3));
	pid = must(fork());
	if (pid == 0) {
		struct aiomsg *none;

		must_fail(aiomsg_answer(m, "i", 4), ECHILD);
		must_fail(aioconn_send_msg(b, answer), ECHILD);
		must_fail(aioconn_call(a, &none, soon(), "s", "x"), ECHILD);
		must_fail(aiocall_cancel(call), ECHILD);
		ck_assert(!aiomsg_is_wanted(m));
		aiomsg_free(answer);
		aiomsg_free(m);
		aioconn_abort(a);
		aioconn_abort(b);
		ck_assert_uint_eq(o.times, 0);
		_exit(0);
	}
	expect_exit(pid, 0);
	must(aioconn_send_msg(b, answer));
	aiomsg_free(answer);
	aiomsg_free(m);
	run_until(base, &o.times, 1);
	ck_assert_int_eq(o.number, 3);
	run_now(base);
	ck_assert_uint_eq(o.times, 1);
	aioconn_abort(a);
	aioconn_abort(b);
	event_base_free(base);
}

TEST(calls_go_both_ways_at_once)
{
	struct event_base *base = new_base();
	struct aioconn *a, *b;
	struct outcome o[2][50] = {{{0}}};

	open_pair(PAIR, base, &a, &b);
	must(aioconn_set_callbacks(a, serve, NULL, abort_it, NULL));
	must(aioconn_set_callbacks(b, serve, NULL, abort_it, NULL));
	for (int i = 0; i < 50; i++) {
		call_number(a, i + 1, &o[0][i], soon());
		call_number(b, i + 1, &o[1][i], soon());
	}
	run_until(base, &o[0][49].times, 1);
	run_until(base, &o[1][49].times, 1);
	for (int i = 0; i < 50; i++)
		for (int k = 0; k < 2; k++)
			ck_assert_int_eq(o[k][i].number, 2 * (i + 1));
	aioconn_abort(a);
	run_now(base);
	event_base_free(base);
}
