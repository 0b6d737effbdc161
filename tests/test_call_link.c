/* Calls over links: with services behind queues, across reconnects, from threads and tasks. */
#include "tests/links.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static void answer_into(struct aioqueue *out, const struct aiomsg *call, int32_t n)
{
	struct aiomsg *answer = must(aiomsg_answer(call, "i", n));

	must(aioqueue_put(out, answer, soon()));
	aiomsg_free(answer);
}

/* Twice the number; below 0 is refused; 0 is freed without an answer. */
static int twice(struct aiomsg *m, struct aioqueue *out, void *arg)
{
	struct aiomsg *no;
	int32_t n;

	(void)arg;
	ck_assert(aiomsg_is_call(m));
	must(aiomsg_unpack(m, "i", &n));
	if (n > 0)
		answer_into(out, m, 2 * n);
	if (n >= 0)
		return 0;
	no = must(aiomsg_answer_error(m, EDOM, "below 0"));
	must(aioqueue_put(out, no, soon()));
	aiomsg_free(no);
	return 0;
}

/* Threads between the inbox and the outbox of @l. */
static struct aioservice *serve(struct aiolink *l, unsigned workers)
{
	struct aioservice_options o = {.size = sizeof o,
				       .in = aiolink_inbox(l),
				       .out = aiolink_outbox(l),
				       .workers = workers,
				       .handle = twice};
	struct aioservice *s = must(aioservice_new(&o));

	must(aioservice_start(s));
	return s;
}

static int call_number(struct aiolink *l, int32_t n, int32_t *result, unsigned flags)
{
	struct aiomsg *answer = NULL;
	int got = aiolink_call(l, flags, &answer, soon(), "i", n), error = errno;

	*result = 0;
	if (got == 1)
		must(aiomsg_unpack(answer, "i", result));
	else if (got == 0)
		*result = -aiomsg_error(answer, NULL);
	if (got >= 0)
		aiomsg_free(answer);
	errno = error;
	return got;
}

struct caller {
	struct aiolink *l;
	int32_t from, to;
};

static void call_many(void *arg)
{
	struct caller *c = arg;
	int32_t result;

	for (int32_t n = c->from; n <= c->to; n++) {
		ck_assert_int_eq(must(call_number(c->l, n, &result, 0)), 1);
		ck_assert_int_eq(result, 2 * n);
	}
}

static void answers_of_a_service(struct event_base *base)
{
	const char *address = unix_at(1);
	struct aiolink *server = start_listening(address, AIOCONN_MESSAGES, base);
	struct aiolink *client = start_connecting(address, AIOCONN_MESSAGES, base);
	struct aioservice *s = serve(server, 4);
	struct caller c[4];
	struct beside *b[4];
	int32_t result;

	for (int i = 0; i < 4; i++) {
		c[i] = (struct caller){client, 100 * i + 1, 100 * i + 50};
		b[i] = run_beside(base, call_many, &c[i]);
	}
	for (int i = 0; i < 4; i++)
		join_beside(b[i]);
	ck_assert_int_eq(must(call_number(client, -1, &result, 0)), 0);
	ck_assert_int_eq(result, -EDOM);
	ck_assert_int_eq(must(call_number(client, 0, &result, 0)), 0);
	ck_assert_int_eq(result, -ENOMSG);
	must(aiolink_close(client, soon()));
	must(aiolink_close(server, soon()));
	must(aioservice_close(s, soon()));
}

TEST_WITHIN(a_service_behind_a_link_answers_threads_and_tasks, 20)
{
	both_ways(answers_of_a_service);
}

/* Two listening links share the queues of one service: each answer goes to who called. */
static void shared_queues(struct event_base *base)
{
	struct aioqueue *in = must(aioqueue_new(100, 0)), *out = must(aioqueue_new(100, 0));
	struct aioservice_options so = {
		.size = sizeof so, .in = in, .out = out, .workers = 3, .handle = twice};
	struct aiolink *server[2], *client[2];
	struct aioservice *s = must(aioservice_new(&so));
	struct caller c[2];
	struct beside *b[2];

	must(aioservice_start(s));
	for (unsigned i = 0; i < 2; i++) {
		struct aiolink_options o = options_of(AIOLINK_LISTEN, unix_at(i + 1), AIOCONN_MESSAGES);

		o.inbox = in;
		o.outbox = out;
		server[i] = start_link(&o, base);
		client[i] = start_connecting(unix_at(i + 1), AIOCONN_MESSAGES, base);
	}
	for (int i = 0; i < 2; i++) {
		c[i] = (struct caller){client[i], 1000 * i + 1, 1000 * i + 200};
		b[i] = run_beside(base, call_many, &c[i]);
	}
	for (int i = 0; i < 2; i++)
		join_beside(b[i]);
	for (int i = 0; i < 2; i++)
		must(aiolink_close(client[i], soon()));
	for (int i = 0; i < 2; i++)
		aiolink_abort(server[i]);
	aioservice_abort(s);
	aioqueue_free(in);
	aioqueue_free(out);
}

TEST_WITHIN(links_that_share_the_queues_of_a_service_answer_the_right_peer, 20)
{
	both_ways(shared_queues);
}

struct asked {
	struct aiolink *l;
	unsigned flags;
	int64_t deadline;
	int got, error;
	char text[16];
};

static void ask_once(void *arg)
{
	struct asked *a = arg;
	struct aiomsg *answer = NULL;
	const void *bytes;
	size_t len;

	a->got = aiolink_call(a->l, a->flags, &answer, a->deadline, "i", (int32_t)7);
	a->error = errno;
	if (a->got != 1)
		return;
	bytes = aiomsg_bytes(answer, &len);
	memcpy(a->text, bytes, len < 15 ? len : 15);
	aiomsg_free(answer);
}

/* The peer took the call and died. One that may be repeated is asked again; what the first peer's number answers is ignored. */
static void break_after_call(struct event_base *base, unsigned flags)
{
	const char *address = unix_at(1);
	int listener = raw_listen(address, 4), fd;
	struct asked a = {.flags = flags, .deadline = soon()};
	struct beside *b;
	uint64_t first, second;
	int32_t n;

	(void)base; /* the peer blocks, so the link has a thread */
	a.l = start_connecting(address, AIOCONN_MESSAGES, NULL);
	b = run_beside(NULL, ask_once, &a);
	fd = begin_talk(listener);
	first = read_call(fd, &n);
	ck_assert_int_eq(n, 7);
	must(close(fd));
	if (flags) {
		fd = begin_talk(listener);
		second = read_call(fd, &n);
		ck_assert_uint_ne(first, second);
		write_answer(fd, first, "wrong");
		write_answer(fd, second, "right");
		join_beside(b);
		ck_assert_int_eq(a.got, 1);
		ck_assert_str_eq(a.text, "right");
		must(close(fd));
	} else {
		join_beside(b);
		ck_assert_int_eq(a.got, -1);
		ck_assert_int_eq(a.error, ECONNRESET);
	}
	aiolink_abort(a.l);
	must(close(listener));
}

TEST(a_call_that_was_sent_is_lost_with_its_connection)
{
	break_after_call(NULL, 0);
}

TEST(a_call_that_may_be_repeated_is_asked_again)
{
	break_after_call(NULL, AIOLINK_REPEAT);
}

TEST(a_call_waits_for_the_connection)
{
	const char *address = unix_at(1);
	struct asked a = {.deadline = soon()};
	struct beside *b;
	int listener, fd;
	int32_t n;

	a.l = start_connecting(address, AIOCONN_MESSAGES, NULL);
	b = run_beside(NULL, ask_once, &a);
	nap(20);
	listener = raw_listen(address, 4);
	fd = begin_talk(listener);
	write_answer(fd, read_call(fd, &n), "late");
	join_beside(b);
	ck_assert_str_eq(a.text, "late");
	must(close(fd));
	aiolink_abort(a.l);
	must(close(listener));
}

/* A slow machine may not come to send the call in time: then it has longer. */
TEST(a_deadline_is_told_to_the_peer_and_to_who_called)
{
	struct asked a = {.got = 0};
	int32_t n;
	uint64_t id;
	int fd;

	a.l = start_on_end(AIOCONN_MESSAGES, NULL, &fd);
	put(fd, PREFACE, PREFACE_LEN);
	for (int64_t ms = 20; !is_readable(fd); ms *= 2) {
		struct beside *b;

		a.deadline = aioipc_after(ms);
		b = run_beside(NULL, ask_once, &a);
		join_beside(b);
		ck_assert_int_eq(a.got, -1);
		ck_assert_int_eq(a.error, ETIMEDOUT);
	}
	get_preface(fd);
	id = read_call(fd, &n);
	expect_cancel(fd, id);
	write_answer(fd, id, "too late");
	aiolink_abort(a.l);
	must(close(fd));
}

/* A task on another base is cancelled: the link's thread tells the peer. It may just have sent the call. */
static void cancel_at_once(struct event_base *base)
{
	struct asked a = {.deadline = AIOIPC_FOREVER};
	struct aiotask *t;
	uint64_t id;
	int32_t n;
	int fd;

	a.l = start_on_end(AIOCONN_MESSAGES, NULL, &fd);
	put(fd, PREFACE, PREFACE_LEN);
	t = must(aiotask_spawn(base, ask_once, &a));
	run_now(base);
	get_preface(fd);
	id = read_call(fd, &n);
	must(aiotask_cancel(t));
	must(aiotask_join(t, soon()));
	ck_assert_int_eq(a.got, -1);
	ck_assert_int_eq(a.error, ECANCELED);
	expect_cancel(fd, id);
	aiolink_abort(a.l);
	must(close(fd));
}

TEST(a_cancelled_task_tells_the_peer)
{
	struct event_base *base = new_base();

	for (int i = 0; i < 30; i++)
		cancel_at_once(base);
	event_base_free(base);
}

/* Which of two links takes the call from the outbox that they share is not known: the peer of that one is told. */
TEST(a_cancelled_task_tells_the_peer_of_the_link_that_sent_its_call)
{
	struct event_base *base = new_base();
	struct aioqueue *out = must(aioqueue_new(10, 0));
	struct aiolink_options o = options_of(AIOLINK_CONNECT, unix_at(1), AIOCONN_MESSAGES);
	int listener = raw_listen(unix_at(1), 4), fd[2];
	struct aiolink *l[2];
	bool begun[2] = {false, false};
	int32_t n;

	o.outbox = out;
	for (int i = 0; i < 2; i++) {
		l[i] = start_link(&o, NULL);
		fd[i] = raw_accept(listener);
		put(fd[i], PREFACE, PREFACE_LEN);
	}
	for (int i = 0; i < 20; i++) {
		struct asked a = {.l = l[i % 2], .deadline = AIOIPC_FOREVER};
		struct aiotask *t = must(aiotask_spawn(base, ask_once, &a));
		int taker;

		run_now(base);
		while (!is_readable(fd[0]) && !is_readable(fd[1]))
			nap(1);
		taker = is_readable(fd[0]) ? 0 : 1;
		if (!begun[taker])
			get_preface(fd[taker]);
		begun[taker] = true;
		must(aiotask_cancel(t));
		must(aiotask_join(t, soon()));
		ck_assert_int_eq(a.error, ECANCELED);
		expect_cancel(fd[taker], read_call(fd[taker], &n));
	}
	for (int i = 0; i < 2; i++) {
		aiolink_abort(l[i]);
		must(close(fd[i]));
	}
	must(close(listener));
	aioqueue_free(out);
	event_base_free(base);
}

static void ask_and_sleep(void *arg)
{
	struct asked *a = arg;

	ask_once(a);
	must_fail(aiotask_sleep(soon()), ECANCELED);
}

/* What came first counts, and the next wait of the task tells that it was cancelled. */
TEST(an_answer_that_came_before_the_cancel_is_told)
{
	struct event_base *base = new_base();
	struct asked a = {.deadline = AIOIPC_FOREVER};
	struct aiotask *t;
	int32_t n;
	int fd;

	a.l = start_on_end(AIOCONN_MESSAGES, NULL, &fd);
	put(fd, PREFACE, PREFACE_LEN);
	t = must(aiotask_spawn(base, ask_and_sleep, &a));
	run_now(base);
	get_preface(fd);
	write_answer(fd, read_call(fd, &n), "first");
	must(close(fd));
	must(aiolink_join(a.l, soon())); /* its thread has read the answer */
	must(aiotask_cancel(t));
	must(aiotask_join(t, soon()));
	ck_assert_int_eq(a.got, 1);
	ck_assert_str_eq(a.text, "first");
	aiolink_abort(a.l);
	event_base_free(base);
}

/* The connection was lost, and the task is cancelled before it has asked again. */
TEST(a_cancel_ends_a_call_that_would_be_asked_again)
{
	struct event_base *base = new_base();
	struct asked a = {.deadline = AIOIPC_FOREVER, .flags = AIOLINK_REPEAT};
	int listener = raw_listen(unix_at(1), 4), fd;
	struct aiotask *t;
	int32_t n;

	a.l = start_connecting(unix_at(1), AIOCONN_MESSAGES, NULL);
	t = must(aiotask_spawn(base, ask_once, &a));
	run_now(base);
	fd = begin_talk(listener);
	read_call(fd, &n);
	must(close(listener));
	must(close(fd));
	await_disconnect(a.l);
	must(aiotask_cancel(t));
	must(aiotask_join(t, soon()));
	ck_assert_int_eq(a.got, -1);
	ck_assert_int_eq(a.error, ECANCELED);
	aiolink_abort(a.l);
	event_base_free(base);
}

TEST(the_end_of_the_link_ends_its_calls)
{
	struct asked a = {.deadline = AIOIPC_FOREVER}, late = {.deadline = AIOIPC_FOREVER};
	struct beside *b;
	int fd;

	a.l = late.l = start_on_end(AIOCONN_MESSAGES, NULL, &fd);
	b = run_beside(NULL, ask_once, &a);
	get_preface(fd);
	must(close(fd));
	join_beside(b);
	ck_assert_int_eq(a.got, -1);
	ck_assert_msg(a.error == ECONNRESET || a.error == EPIPE, "%s", strerror(a.error));
	must(aiolink_join(a.l, soon()));
	ask_once(&late);
	ck_assert_int_eq(late.error, EPIPE);
	aiolink_abort(a.l);
}

/* Nobody is there, and the outbox, with a call in it, is thrown away. */
TEST(a_call_whose_message_is_discarded_ends)
{
	struct asked a = {.deadline = AIOIPC_FOREVER};
	struct beside *b;

	a.l = start_connecting(unix_at(1), AIOCONN_MESSAGES, NULL);
	b = run_beside(NULL, ask_once, &a);
	while (aioqueue_count(aiolink_outbox(a.l)) == 0)
		nap(1);
	aioqueue_discard(aiolink_outbox(a.l));
	join_beside(b);
	ck_assert_int_eq(a.got, -1);
	ck_assert_int_eq(a.error, EPIPE);
	aiolink_abort(a.l);
}

TEST(calls_over_links_say_what_is_wrong)
{
	struct aiolink *lines = start_listening(unix_at(1), AIOCONN_LINES, NULL), *one_way;
	struct aiolink_options o = options_of(AIOLINK_LISTEN, unix_at(2), AIOCONN_MESSAGES);
	struct aiomsg *answer;

	o.direction = AIOLINK_SEND;
	one_way = start_link(&o, NULL);
	must_fail(aiolink_call(lines, 0, &answer, soon(), ""), EINVAL);
	must_fail(aiolink_call(one_way, 0, &answer, soon(), ""), EBADF);
	must_fail(aiolink_call(one_way, 2, &answer, soon(), ""), EINVAL);
	must_fail(aiolink_call(one_way, 0, &answer, 17, ""), EINVAL);
	aiolink_abort(lines);
	aiolink_abort(one_way);
}

/* In the thread of the base, outside callbacks and tasks, the call runs the base. */
TEST(a_call_in_the_thread_of_the_base_runs_it)
{
	struct event_base *base = new_base();
	struct aiolink *server = start_listening(unix_at(1), AIOCONN_MESSAGES, NULL);
	struct aiolink *client = start_connecting(unix_at(1), AIOCONN_MESSAGES, base);
	struct aioservice *s = serve(server, 1);
	int32_t result;

	ck_assert_int_eq(must(call_number(client, 21, &result, 0)), 1);
	ck_assert_int_eq(result, 42);
	must(aiolink_close(client, soon()));
	must(aiolink_close(server, soon()));
	must(aioservice_close(s, soon()));
	event_base_free(base);
}

static void fork_while_calling(void *arg)
{
	struct asked *a = arg;

	ask_once(a);
}

TEST(a_fork_between_call_and_answer_harms_neither)
{
	const char *address = unix_at(1);
	struct aiolink *server = start_listening(address, AIOCONN_MESSAGES, NULL);
	struct asked a = {.deadline = soon()};
	struct beside *b;
	struct aiomsg *m, *answer;
	pid_t pid;
	int32_t n;

	a.l = start_connecting(address, AIOCONN_MESSAGES, NULL);
	b = run_beside(NULL, fork_while_calling, &a);
	ck_assert_int_eq(must(aioqueue_get(aiolink_inbox(server), &m, soon())), 1);
	pid = must(fork());
	if (pid == 0) {
		must_fail(aiolink_call(a.l, 0, &answer, soon(), ""), ECHILD);
		must_fail(aiomsg_answer(m, ""), ECHILD);
		aiomsg_free(m);
		aiolink_abort(a.l);
		aiolink_abort(server);
		_exit(0);
	}
	expect_exit(pid, 0);
	must(aiomsg_unpack(m, "i", &n));
	answer_into(aiolink_outbox(server), m, n);
	aiomsg_free(m);
	join_beside(b);
	ck_assert_int_eq(a.got, 1);
	aiolink_abort(a.l);
	aiolink_abort(server);
}
