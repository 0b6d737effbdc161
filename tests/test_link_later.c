/* Calls over links whose callers are called back, from the loop of the link: on a base, and in a thread of its own. */
#include "tests/links.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* What was told. @times is set last. */
struct told {
	struct aiolink *l;
	int error;
	int32_t number;
	char text[16];
	pthread_t thread;
	atomic_uint times;
};

static void on_answer(struct aiomsg *answer, int error, void *arg)
{
	struct told *t = arg;
	const void *bytes;
	size_t len;

	t->error = error;
	t->thread = pthread_self();
	if (answer && aiomsg_unpack(answer, "i", &t->number) == -1 && (bytes = aiomsg_bytes(answer, &len)))
		memcpy(t->text, bytes, len < 15 ? len : 15);
	atomic_fetch_add(&t->times, 1);
}

static struct aiocall *call_later(struct told *t, int32_t n, unsigned flags, int64_t deadline)
{
	struct aiomsg *m = must(aiomsg_new("i", n));
	struct aiocall *call = aiolink_call_later(t->l, m, flags, on_answer, t, deadline);
	int error = errno;

	aiomsg_free(m);
	errno = error;
	return call;
}

static void await(struct told *t)
{
	while (t->times == 0)
		nap(1);
	ck_assert_uint_eq(t->times, 1);
}

/* Twice the number; below 0 is refused; 0 is freed without an answer. */
static int twice(struct aiomsg *m, struct aioqueue *out, void *arg)
{
	struct aiomsg *answer = NULL;
	int32_t n;

	(void)arg;
	must(aiomsg_unpack(m, "i", &n));
	if (n > 0)
		answer = must(aiomsg_answer(m, "i", 2 * n));
	if (n < 0)
		answer = must(aiomsg_answer_error(m, EDOM, "below 0"));
	if (answer)
		must(aioqueue_put(out, answer, soon()));
	aiomsg_free(answer);
	return 0;
}

static struct aioservice *serve(struct aiolink *l)
{
	struct aioservice_options o = {.size = sizeof o,
				       .in = aiolink_inbox(l),
				       .out = aiolink_outbox(l),
				       .workers = 3,
				       .handle = twice};
	struct aioservice *s = must(aioservice_new(&o));

	must(aioservice_start(s));
	return s;
}

enum { MANY = 500 };

static void answers(struct event_base *base)
{
	struct aiolink *server = start_listening(unix_at(1), AIOCONN_MESSAGES, NULL);
	struct aiolink *client = start_connecting(unix_at(1), AIOCONN_MESSAGES, base);
	struct aioservice *s = serve(server);
	struct told *t = must(calloc(MANY, sizeof *t));

	for (int i = 0; i < MANY; i++) {
		t[i].l = client;
		must(call_later(&t[i], i - 1, 0, soon()));
	}
	for (int i = 0; i < MANY; i++) {
		int32_t n = i - 1;

		await(&t[i]);
		ck_assert_int_eq(t[i].error, n < 0 ? EDOM : n == 0 ? ENOMSG : 0);
		ck_assert_int_eq(t[i].number, n > 0 ? 2 * n : 0);
		ck_assert_int_eq(!base, !pthread_equal(t[i].thread, pthread_self()));
	}
	free(t);
	must(aiolink_close(client, soon()));
	must(aiolink_close(server, soon()));
	must(aioservice_close(s, soon()));
}

TEST_WITHIN(the_loop_of_the_link_tells_what_became_of_calls, 20)
{
	both_ways(answers);
}

struct chain {
	struct aiolink *l;
	int32_t last;
	struct told done;
};

static void next_in_chain(struct aiomsg *answer, int error, void *arg)
{
	struct chain *c = arg;
	struct aiomsg *m;

	ck_assert_int_eq(error, 0);
	must(aiomsg_unpack(answer, "i", &c->last));
	if (c->last > 1000) {
		on_answer(answer, error, &c->done);
		return;
	}
	m = must(aiomsg_new("i", c->last));
	must(aiolink_call_later(c->l, m, 0, next_in_chain, c, soon()));
	aiomsg_free(m);
}

static void chained(struct event_base *base)
{
	struct aiolink *server = start_listening(unix_at(1), AIOCONN_MESSAGES, NULL);
	struct aioservice *s = serve(server);
	struct chain c = {.l = start_connecting(unix_at(1), AIOCONN_MESSAGES, base)};
	struct aiomsg *first = must(aiomsg_new("i", (int32_t)1));

	must(aiolink_call_later(c.l, first, 0, next_in_chain, &c, soon()));
	aiomsg_free(first);
	await(&c.done);
	ck_assert_int_eq(c.last, 1024);
	must(aiolink_close(c.l, soon()));
	must(aiolink_close(server, soon()));
	must(aioservice_close(s, soon()));
}

TEST(a_callback_may_call_again)
{
	both_ways(chained);
}

/* Nobody is there: it is not even sent. */
static void deadline_alone(struct event_base *base)
{
	struct told late = {.l = start_connecting(unix_at(1), AIOCONN_MESSAGES, base)}, later = {.l = late.l};

	must(call_later(&later, 1, 0, aioipc_after(60)));
	must(call_later(&late, 1, 0, aioipc_after(20)));
	await(&later);
	await(&late);
	ck_assert_int_eq(late.error, ETIMEDOUT);
	ck_assert_int_eq(later.error, ETIMEDOUT);
	aiolink_abort(late.l);
}

TEST(a_deadline_passes_where_nobody_is)
{
	both_ways(deadline_alone);
}

static void deadline_in_flight(struct event_base *base)
{
	int listener = raw_listen(unix_at(1), 4), fd;
	struct told t = {.l = start_connecting(unix_at(1), AIOCONN_MESSAGES, base)}, late = {.l = t.l};
	uint64_t id, id_late;
	int32_t n;

	must(aiolink_wait_connected(t.l, soon()));
	must(call_later(&t, 1, 0, soon()));
	fd = begin_talk(listener);
	id = read_call(fd, &n);
	must(call_later(&late, 2, 0, aioipc_after(300))); /* a slow machine sends it by then */
	id_late = read_call(fd, &n);
	expect_cancel(fd, id_late);
	await(&late);
	ck_assert_int_eq(late.error, ETIMEDOUT);
	write_answer(fd, id_late, "too late");
	write_answer(fd, id, "fine");
	await(&t);
	ck_assert_str_eq(t.text, "fine");
	ck_assert_uint_eq(late.times, 1);
	aiolink_abort(t.l);
	must(close(fd));
	must(close(listener));
}

TEST(the_peer_hears_of_a_deadline)
{
	both_ways(deadline_in_flight);
}

/* Cancelling: on a base, which this thread runs. */

TEST(one_that_was_not_sent_is_cancelled)
{
	struct event_base *base = new_base();
	struct told t = {.l = start_connecting(unix_at(1), AIOCONN_MESSAGES, base)};
	struct aiocall *call = must(call_later(&t, 1, 0, AIOIPC_FOREVER));

	must(aiocall_cancel(call));
	ck_assert_uint_eq(t.times, 1);
	ck_assert_int_eq(t.error, ECANCELED);
	run_now(base);
	ck_assert_uint_eq(t.times, 1);
	aiolink_abort(t.l);
	event_base_free(base);
}

static void cancel_in_flight(void *arg)
{
	struct event_base *base = arg;
	int listener = raw_listen(unix_at(1), 4), fd;
	struct told t = {.l = start_connecting(unix_at(1), AIOCONN_MESSAGES, base)};
	struct aiocall *call = must(call_later(&t, 1, 0, AIOIPC_FOREVER));
	uint64_t id;
	int32_t n;

	fd = begin_talk(listener);
	id = read_call(fd, &n);
	must(aiocall_cancel(call));
	ck_assert_uint_eq(t.times, 1);
	ck_assert_int_eq(t.error, ECANCELED);
	expect_cancel(fd, id);
	write_answer(fd, id, "too late");
	call = must(call_later(&t, 2, 0, AIOIPC_FOREVER));
	write_answer(fd, read_call(fd, &n), "in time");
	while (t.times == 1)
		nap(1);
	ck_assert_str_eq(t.text, "in time");
	aiolink_abort(t.l);
	must(close(fd));
	must(close(listener));
}

TEST(the_peer_hears_of_a_cancel)
{
	struct event_base *base = new_base();

	must(aiotask_run(base, cancel_in_flight, base));
	event_base_free(base);
}

struct pair_of_calls {
	struct told first, second;
	struct aiocall *other;
};

static void cancel_other(struct aiomsg *answer, int error, void *arg)
{
	struct pair_of_calls *p = arg;

	on_answer(answer, error, &p->first);
	must(aiocall_cancel(p->other));
}

/* Both answers have come: what had come counts, and is told by the cancel, once. */
static void cancel_answered(void *arg)
{
	struct event_base *base = arg;
	int listener = raw_listen(unix_at(1), 4), fd;
	struct pair_of_calls p = {.first.l = start_connecting(unix_at(1), AIOCONN_MESSAGES, base)};
	struct aiomsg *m = must(aiomsg_new("i", (int32_t)1));
	uint64_t id[2];
	int32_t n;

	p.second.l = p.first.l;
	must(aiolink_call_later(p.first.l, m, 0, cancel_other, &p, AIOIPC_FOREVER));
	aiomsg_free(m);
	p.other = must(call_later(&p.second, 2, 0, AIOIPC_FOREVER));
	fd = begin_talk(listener);
	id[0] = read_call(fd, &n);
	id[1] = read_call(fd, &n);
	write_answer(fd, id[0], "one");
	write_answer(fd, id[1], "two");
	await(&p.first);
	await(&p.second);
	ck_assert_int_eq(p.second.error, 0);
	ck_assert_str_eq(p.second.text, "two");
	nap(5);
	ck_assert_uint_eq(p.second.times, 1);
	aiolink_abort(p.first.l);
	must(close(fd));
	must(close(listener));
}

TEST(a_cancel_tells_the_answer_that_has_come)
{
	struct event_base *base = new_base();

	must(aiotask_run(base, cancel_answered, base));
	event_base_free(base);
}

/* Its end. */

static void end_with_link(struct event_base *base)
{
	struct told t[3] = {{.l = start_connecting(unix_at(1), AIOCONN_MESSAGES, base)}};

	for (int i = 0; i < 3; i++) {
		t[i].l = t[0].l;
		must(call_later(&t[i], i, i ? AIOLINK_REPEAT : 0, i == 2 ? soon() : AIOIPC_FOREVER));
	}
	aiolink_abort(t[0].l);
	for (int i = 0; i < 3; i++) {
		ck_assert_uint_eq(t[i].times, 1);
		ck_assert_int_eq(t[i].error, EPIPE);
	}
}

TEST(all_are_told_before_abort_returns)
{
	both_ways(end_with_link);
}

static void discard(struct event_base *base)
{
	struct told t = {.l = start_connecting(unix_at(1), AIOCONN_MESSAGES, base)};

	must(call_later(&t, 1, 0, AIOIPC_FOREVER));
	aioqueue_discard(aiolink_outbox(t.l));
	await(&t);
	ck_assert_int_eq(t.error, EPIPE);
	aiolink_abort(t.l);
}

TEST(one_whose_message_is_discarded_ends)
{
	both_ways(discard);
}

static void free_link(struct aiomsg *answer, int error, void *arg)
{
	struct told *t = arg;

	aiolink_abort(t->l);
	on_answer(answer, error, t);
}

/* The other call ends with the link, and the callback of the first goes on. */
static void free_in_callback(struct event_base *base)
{
	int listener = raw_listen(unix_at(1), 4), fd;
	struct told t = {.l = start_connecting(unix_at(1), AIOCONN_MESSAGES, base)}, other = {.l = t.l};
	struct aiomsg *m = must(aiomsg_new("i", (int32_t)1));
	int32_t n;

	must(aiolink_call_later(t.l, m, 0, free_link, &t, AIOIPC_FOREVER));
	aiomsg_free(m);
	must(call_later(&other, 2, 0, AIOIPC_FOREVER));
	fd = begin_talk(listener);
	write_answer(fd, read_call(fd, &n), "the end");
	await(&t);
	await(&other);
	ck_assert_str_eq(t.text, "the end");
	ck_assert_int_eq(other.error, EPIPE);
	must(close(fd));
	must(close(listener));
}

TEST(a_callback_may_free_the_link)
{
	both_ways(free_in_callback);
}

static void lose(struct event_base *base)
{
	int listener = raw_listen(unix_at(1), 4), fd;
	struct told once = {.l = start_connecting(unix_at(1), AIOCONN_MESSAGES, base)}, again = {.l = once.l};
	uint64_t first, second;
	int32_t n;

	must(call_later(&once, 1, 0, AIOIPC_FOREVER));
	must(call_later(&again, 2, AIOLINK_REPEAT, soon()));
	fd = begin_talk(listener);
	read_call(fd, &n);
	first = read_call(fd, &n);
	must(close(fd));
	fd = begin_talk(listener);
	await(&once);
	ck_assert_int_eq(once.error, ECONNRESET);
	second = read_call(fd, &n);
	ck_assert_int_eq(n, 2);
	write_answer(fd, first, "wrong");
	write_answer(fd, second, "right");
	await(&again);
	ck_assert_int_eq(again.error, 0);
	ck_assert_str_eq(again.text, "right");
	aiolink_abort(once.l);
	must(close(fd));
	must(close(listener));
}

TEST(one_that_may_be_repeated_is_asked_again)
{
	both_ways(lose);
}

/* The connection is lost: before anything else, others fill the outbox. */
static void fill_outbox(struct aiolink *l, enum aiolink_state state, void *arg)
{
	bool *lost = arg;
	struct aiomsg *m = must(aiomsg_new_bytes("filling", 7));

	for (int i = 0; state == AIOLINK_WAITING && !*lost && i < 2; i++)
		must(aioqueue_put(aiolink_outbox(l), m, AIOIPC_NOW));
	*lost = *lost || state == AIOLINK_WAITING;
	aiomsg_free(m);
}

static void lose_and_wait(void *arg)
{
	struct aiolink_options o = options_of(AIOLINK_CONNECT, unix_at(1), AIOCONN_MESSAGES);
	int listener = raw_listen(unix_at(1), 4), fd;
	struct told t = {.times = 0};
	bool lost = false;
	unsigned char frame[64];
	unsigned kind;
	int32_t n;

	o.outbox = must(aioqueue_new(2, 0));
	t.l = must(aiolink_new(&o));
	must(aiolink_on_state(t.l, fill_outbox, &lost));
	must(aiolink_start(t.l, arg));
	must(call_later(&t, 2, AIOLINK_REPEAT, soon()));
	fd = begin_talk(listener);
	read_call(fd, &n);
	must(close(fd));
	fd = begin_talk(listener);
	for (int i = 0; i < 2; i++) {
		wait_readable(fd);
		get_frame(fd, &kind, frame, sizeof frame);
		ck_assert_uint_eq(kind, BYTES);
	}
	write_answer(fd, read_call(fd, &n), "at last");
	await(&t);
	ck_assert_str_eq(t.text, "at last");
	aiolink_abort(t.l);
	aioqueue_free(o.outbox);
	must(close(fd));
	must(close(listener));
}

TEST(one_that_is_asked_again_waits_for_room)
{
	struct event_base *base = new_base();

	must(aiotask_run(base, lose_and_wait, base));
	event_base_free(base);
}

/* What is wrong. */

TEST(calls_that_are_called_back_say_what_is_wrong)
{
	struct event_base *base = new_base();
	struct aiolink_options o = options_of(AIOLINK_CONNECT, unix_at(1), AIOCONN_MESSAGES);
	struct aiolink *lines = start_connecting(unix_at(1), AIOCONN_LINES, base), *idle, *one_way;
	struct aiomsg *m = must(aiomsg_new("i", (int32_t)1));
	struct told t = {.l = lines};

	must_fail(call_later(&t, 1, 0, soon()), EINVAL);
	idle = t.l = must(aiolink_new(&o));
	must_fail(call_later(&t, 1, 0, soon()), EINVAL);
	must(aiolink_start(idle, base));
	must_fail(call_later(&t, 1, 0, 17), EINVAL);
	must_fail(call_later(&t, 1, 2, soon()), EINVAL);
	must_fail(aiolink_call_later(idle, m, 0, NULL, NULL, soon()), EINVAL);
	o.direction = AIOLINK_SEND;
	one_way = t.l = start_link(&o, base);
	must_fail(call_later(&t, 1, 0, soon()), EBADF);
	must(aiocall_cancel(NULL));
	ck_assert_uint_eq(t.times, 0);
	aiomsg_free(m);
	aiolink_abort(lines);
	aiolink_abort(idle);
	aiolink_abort(one_way);
	event_base_free(base);
}

static void *call_elsewhere(void *arg)
{
	struct told *t = arg;

	must_fail(call_later(t, 1, 0, soon()), EBUSY);
	return NULL;
}

TEST(another_thread_than_the_loop_s_is_refused)
{
	struct event_base *base = new_base();
	struct told t = {.l = start_connecting(unix_at(1), AIOCONN_MESSAGES, base)}, own = {.l = NULL};
	struct aiocall *call;
	pthread_t thread;

	ck_assert_int_eq(pthread_create(&thread, NULL, call_elsewhere, &t), 0);
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
	own.l = start_connecting(unix_at(1), AIOCONN_MESSAGES, NULL);
	call = must(call_later(&own, 1, 0, AIOIPC_FOREVER));
	must_fail(aiocall_cancel(call), EBUSY);
	aiolink_abort(own.l);
	ck_assert_int_eq(own.error, EPIPE);
	aiolink_abort(t.l);
	event_base_free(base);
}

/* And leaves nothing behind. */
TEST(a_link_that_has_ended_makes_no_calls)
{
	struct event_base *base = new_base();
	struct told t = {.l = NULL};
	int fd;

	t.l = start_on_end(AIOCONN_MESSAGES, base, &fd);
	must(close(fd));
	must(aiolink_join(t.l, soon()));
	must_fail(call_later(&t, 1, 0, soon()), EPIPE);
	ck_assert_uint_eq(t.times, 0);
	aiolink_abort(t.l);
	event_base_free(base);
}

TEST(a_full_outbox_is_told)
{
	struct event_base *base = new_base();
	struct aiolink_options o = options_of(AIOLINK_CONNECT, unix_at(1), AIOCONN_MESSAGES);
	struct told t = {.l = NULL};

	o.outbox = must(aioqueue_new(1, 0));
	t.l = start_link(&o, base);
	put_word(o.outbox, "full");
	must_fail(call_later(&t, 1, 0, AIOIPC_FOREVER), EAGAIN);
	must_fail(call_later(&t, 1, AIOLINK_REPEAT, soon()), EAGAIN);
	run_now(base);
	aiolink_abort(t.l);
	ck_assert_uint_eq(t.times, 0);
	aioqueue_free(o.outbox);
	event_base_free(base);
}

/* The parent's calls are not the child's. */
static void fork_between(struct event_base *base)
{
	struct told t = {.l = start_connecting(unix_at(1), AIOCONN_MESSAGES, base)};
	struct aiocall *call = must(call_later(&t, 1, AIOLINK_REPEAT, AIOIPC_FOREVER));
	pid_t pid = must(fork());

	if (pid == 0) {
		must_fail(call_later(&t, 1, 0, soon()), ECHILD);
		must_fail(aiocall_cancel(call), ECHILD);
		aiolink_abort(t.l);
		_exit(t.times == 0 ? 0 : 1);
	}
	expect_exit(pid, 0);
	aiolink_abort(t.l);
	ck_assert_uint_eq(t.times, 1);
}

TEST(a_fork_harms_no_call)
{
	struct event_base *base = new_base();

	fork_between(base);
	fork_between(NULL);
	event_base_free(base);
}
