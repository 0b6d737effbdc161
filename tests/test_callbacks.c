/* Callbacks may do anything: free their own connection or another, change callbacks, send; and are never nested. */
#include "ipc/msg/pool.h"
#include "tests/peers.h"

#include <stdlib.h>
#include <unistd.h>

/* What a callback does to its connection. */
enum deed { DO_ABORT, DO_CLOSE, DO_FINISH, DO_CLOSE_FOREVER, N_DEEDS };

static void end_it(struct aioconn *c, enum deed how)
{
	if (how == DO_ABORT)
		aioconn_abort(c);
	else if (how == DO_CLOSE)
		aioconn_close(c, AIOIPC_NOW);
	else if (how == DO_FINISH)
		aioconn_finish(c, soon());
	else
		aioconn_close(c, AIOIPC_FOREVER);
}

struct act {
	struct aioconn *victim; /* NULL: itself */
	enum deed how;
	unsigned acted, closes, msgs;
};

static void act(struct aioconn *c, struct act *a)
{
	if (a->acted++ == 0)
		end_it(a->victim ? a->victim : c, a->how);
}

static void act_on_msg(struct aioconn *c, struct aiomsg *m, void *arg)
{
	struct act *a = arg;

	a->msgs++;
	act(c, a);
	ck_assert(is_text(m, "x"));
}

static void act_on_writable(struct aioconn *c, void *arg)
{
	act(c, arg);
}

static void act_on_close(struct aioconn *c, enum aioconn_cause cause, void *arg)
{
	struct act *a = arg;

	(void)cause;
	a->closes++;
	act(c, a);
}

static void note_close(struct aioconn *c, enum aioconn_cause cause, void *arg)
{
	struct act *a = arg;

	(void)c;
	(void)cause;
	a->closes++;
}

TEST(freed_in_on_msg)
{
	struct event_base *base = new_base();

	for (int how = 0; how < N_DEEDS; how++)
		for (enum transport t = PIPE; t <= PAIR; t++) {
			struct act s = {.how = (enum deed)how};
			struct aioconn *a, *b;

			open_pair(t, base, &a, &b);
			must(aioconn_set_callbacks(b, act_on_msg, NULL, note_close, &s));
			for (int i = 0; i < 10; i++)
				send_text(a, "x");
			run_until(base, &s.closes, 1);
			run_now(base);
			ck_assert_uint_eq(s.msgs, 1);
			ck_assert_uint_eq(s.closes, 1);
			aioconn_abort(a);
		}
	event_base_free(base);
}

TEST(freed_in_on_writable)
{
	struct event_base *base = new_base();

	for (int how = 0; how < N_DEEDS; how++)
		for (enum transport t = PIPE; t <= PAIR; t++) {
			struct act s = {.how = (enum deed)how};
			struct aioconn *a, *b;

			open_pair(t, base, &a, &b);
			must(aioconn_set_callbacks(a, NULL, act_on_writable, note_close, &s));
			run_until(base, &s.closes, 1);
			run_now(base);
			ck_assert_uint_eq(s.acted, 1);
			ck_assert_uint_eq(s.closes, 1);
			aioconn_abort(b);
		}
	event_base_free(base);
}

TEST(freed_in_on_close_of_every_cause)
{
	struct event_base *base = new_base();

	for (int how = 0; how < N_DEEDS; how++)
		for (int cause = 0; cause < 3; cause++)
			for (int t = PIPE; t <= PAIR; t += 2) {
				struct act s = {.how = (enum deed)how};
				struct aioconn *c;
				int fd = raw_peer((enum transport)t, base, &c);

				must(aioconn_set_callbacks(c, act_on_msg, NULL, act_on_close, &s));
				put(fd, PREFACE, PREFACE_LEN);
				if (cause < 2)
					put_frame(fd, cause ? 99 : GOODBYE, 0, NULL, 0);
				else
					close(fd);
				run_until(base, &s.closes, 1);
				run_now(base);
				ck_assert_uint_eq(s.closes, 1);
				if (cause < 2)
					close(fd);
			}
	event_base_free(base);
}

TEST(freed_again_in_the_local_on_close)
{
	struct event_base *base = new_base();

	for (int how = 0; how < N_DEEDS; how++)
		for (int outer = 0; outer < 2; outer++) {
			struct act s = {.how = (enum deed)how};
			struct aioconn *a, *b;

			open_pair(PAIR, base, &a, &b);
			must(aioconn_set_callbacks(a, NULL, NULL, act_on_close, &s));
			if (outer)
				must(aioconn_close(a, soon()));
			else
				aioconn_abort(a);
			ck_assert_uint_eq(s.closes, 1);
			run_now(base);
			aioconn_abort(b);
		}
	event_base_free(base);
}

TEST(freed_from_the_callback_of_another)
{
	struct event_base *base = new_base();

	for (int how = 0; how < N_DEEDS; how++) {
		struct act s = {.how = (enum deed)how}, v = {.how = DO_ABORT};
		struct aioconn *a, *b, *c, *d;

		open_pair(PAIR, base, &a, &b);
		open_pair(DUPLEX, base, &c, &d);
		s.victim = d;
		must(aioconn_set_callbacks(b, act_on_msg, NULL, NULL, &s));
		must(aioconn_set_callbacks(d, act_on_msg, NULL, note_close, &v));
		v.acted = 1;
		for (int i = 0; i < 3; i++) {
			send_text(a, "x");
			send_text(c, "x");
		}
		run_until(base, &v.closes, 1);
		run_until(base, &s.msgs, 3);
		run_now(base);
		ck_assert_uint_eq(v.closes, 1);
		aioconn_abort(a);
		aioconn_abort(b);
		aioconn_abort(c);
	}
	event_base_free(base);
}

/* Both have messages due in the same turn, and the first to be called frees the other. */
TEST(each_frees_the_other)
{
	struct event_base *base = new_base();
	struct act s[2] = {{.how = DO_ABORT}, {.how = DO_ABORT}};
	struct aioconn *a[2], *b[2];

	for (int i = 0; i < 2; i++) {
		open_pair(PAIR, base, &a[i], &b[i]);
		must(aioconn_set_callbacks(b[i], act_on_msg, NULL, note_close, &s[i]));
	}
	s[0].victim = b[1];
	s[1].victim = b[0];
	send_text(a[0], "x");
	send_text(a[1], "x");
	while (s[0].msgs + s[1].msgs == 0)
		must(event_base_loop(base, EVLOOP_ONCE));
	run_now(base);
	ck_assert_uint_eq(s[0].msgs + s[1].msgs, 1);
	ck_assert_uint_eq(s[0].closes + s[1].closes, 1);
	aioconn_abort(s[0].closes ? b[1] : b[0]);
	aioconn_abort(a[0]);
	aioconn_abort(a[1]);
	event_base_free(base);
}

/* The callback runs from the waiting call itself, and frees what it waits on. */
TEST(freed_during_a_waiting_call)
{
	struct event_base *base = new_base();

	for (int how = 0; how < N_DEEDS; how++)
		for (int k = 0; k < 2; k++) {
			struct act s = {.how = (enum deed)how};
			struct aioconn *a, *b;
			struct aiomsg *m = NULL;

			if (how == DO_FINISH && !k)
				continue;
			open_pair(PAIR, k ? base : NULL, &a, &b);
			must(aioconn_set_callbacks(b, act_on_msg, NULL, note_close, &s));
			send_text(a, "x");
			send_text(a, "x");
			must(aioconn_flush(a, soon()));
			must_fail(aioconn_recv(b, &m, how == DO_FINISH ? aioipc_after(50) : soon()),
				  how == DO_FINISH && s.closes == 0 ? errno : EPIPE);
			ck_assert_ptr_null(m);
			run_now(base);
			ck_assert_uint_eq(s.closes, 1);
			aioconn_abort(a);
		}
	event_base_free(base);
}

TEST(freed_in_on_close_during_a_waiting_call)
{
	struct event_base *base = new_base();

	for (int k = 0; k < 4; k++) {
		struct act s = {.how = k & 2 ? DO_CLOSE : DO_ABORT};
		struct aiomsg *m;
		struct aioconn *c;
		int fd = raw_peer(PAIR, k & 1 ? base : NULL, &c);

		must(aioconn_set_callbacks(c, act_on_msg, NULL, act_on_close, &s));
		put(fd, PREFACE, PREFACE_LEN);
		close(fd);
		must_fail(aioconn_recv(c, &m, soon()), EPIPE);
		ck_assert_uint_eq(s.closes, 1);
	}
	event_base_free(base);
}

TEST(freed_in_a_callback_during_flush_and_send)
{
	struct event_base *base = new_base();

	for (int k = 0; k < 4; k++) {
		struct act s = {.how = DO_ABORT};
		struct aioconn *c;
		int fd = raw_peer(PAIR, k & 1 ? base : NULL, &c);
		char *big = must(calloc(1, 4 << 20));

		must(aioconn_set_callbacks(c, act_on_msg, NULL, note_close, &s));
		put(fd, PREFACE, PREFACE_LEN);
		put_frame(fd, BYTES, 0, "x", 1);
		if (k & 1) {
			must(aioconn_send_bytes(c, big, 4 << 20));
			if (k & 2)
				must_fail(aioconn_flush(c, soon()), EPIPE);
			else
				must_fail(aioconn_send_bytes(c, big, 4 << 20), EPIPE);
		} else {
			aioconn_send_bytes(c, big, 4 << 20);
		}
		ck_assert_uint_eq(s.closes, 1);
		close(fd);
		free(big);
	}
	event_base_free(base);
}

struct nesting {
	struct aioconn *echo_to;
	unsigned depth, msgs, done;
};

static void check_not_nested(struct aioconn *c, struct aiomsg *m, void *arg)
{
	struct nesting *n = arg;
	struct aiomsg *got;

	ck_assert_uint_eq(n->depth++, 0);
	n->msgs++;
	if (n->msgs < 50)
		must(aioconn_send_msg(n->echo_to, m));
	aioconn_flush(n->echo_to, AIOIPC_NOW);
	aioconn_flush(c, AIOIPC_NOW);
	aioconn_recv(n->echo_to, &got, AIOIPC_NOW);
	aioconn_pause(c);
	aioconn_resume(c);
	aioconn_cork(n->echo_to, true);
	aioconn_cork(n->echo_to, false);
	ck_assert_uint_eq(--n->depth, 0);
}

TEST(callbacks_are_never_nested)
{
	struct event_base *base = new_base();
	struct nesting n = {.depth = 0};
	struct aioconn *a, *b;

	open_pair(PAIR, base, &a, &b);
	n.echo_to = a;
	must(aioconn_set_callbacks(b, check_not_nested, NULL, NULL, &n));
	send_text(a, "x");
	run_until(base, &n.msgs, 50);
	aioconn_abort(a);
	aioconn_abort(b);
	event_base_free(base);
}

static void second(struct aioconn *c, struct aiomsg *m, void *arg)
{
	struct act *a = arg;

	(void)c;
	ck_assert(is_text(m, "x"));
	a->msgs++;
}

static void replace(struct aioconn *c, struct aiomsg *m, void *arg)
{
	struct act *a = arg;

	(void)m;
	a->acted++;
	must(aioconn_set_callbacks(c, a->acted % 2 ? second : replace, NULL, note_close, a));
}

TEST(callbacks_can_be_changed_in_a_callback)
{
	struct event_base *base = new_base();
	struct act s = {.how = DO_ABORT};
	struct aioconn *a, *b;

	open_pair(PAIR, base, &a, &b);
	must(aioconn_set_callbacks(b, replace, NULL, NULL, &s));
	for (int i = 0; i < 5; i++)
		send_text(a, "x");
	run_until(base, &s.msgs, 4);
	ck_assert_uint_eq(s.acted, 1);
	must(aioconn_set_callbacks(b, NULL, NULL, NULL, NULL));
	send_text(a, "y");
	run_now(base);
	expect_text(b, "y");
	aioconn_abort(a);
	aioconn_abort(b);
	event_base_free(base);
}

TEST(callbacks_can_be_set_when_messages_wait_already)
{
	struct event_base *base = new_base();
	struct seen s = {.msgs = 0};
	struct aioconn *a, *b;

	open_pair(PAIR, base, &a, &b);
	send_text(a, "one");
	send_text(a, "two");
	must(aioconn_close(a, soon()));
	run_now(base);
	see(b, &s);
	run_until(base, &s.closes, 1);
	ck_assert_str_eq(s.text, "one two ");
	ck_assert_int_eq(s.cause, AIOCONN_CLEAN);
	event_base_free(base);
}

static void keep_reference(struct aioconn *c, struct aiomsg *m, void *arg)
{
	*(struct aiomsg **)arg = aiomsg_ref(m);
	aioconn_abort(c);
}

TEST(a_kept_reference_outlives_its_connection)
{
	struct event_base *base = new_base();
	struct aiomsg *m = NULL;
	struct aioconn *a, *b;
	const char *s;

	open_pair(PAIR, base, &a, &b);
	must(aioconn_set_callbacks(b, keep_reference, NULL, NULL, &m));
	must(aioconn_send(a, "s", "still here"));
	while (!m)
		must(event_base_loop(base, EVLOOP_ONCE));
	aioconn_abort(a);
	event_base_free(base);
	must(aiomsg_unpack(m, "s", &s));
	ck_assert_str_eq(s, "still here");
	aiomsg_free(m);
}

#define IDLE 500
#define IDLE_BYTES 1190 /* what each takes, with what libevent has for it */

static void count_msg(struct aioconn *c, struct aiomsg *m, void *arg)
{
	(void)c, (void)m;
	++*(unsigned *)arg;
}

/* They have all sent and received something before. Buffers and queues are given back. */
TEST(a_thousand_idle_connections_take_little_memory)
{
	static struct aioconn *a[IDLE], *b[IDLE];
	struct event_base *base = new_base();
	unsigned got = 0;
	size_t before, bytes = IDLE_BYTES + (are_pairs_rings() ? 200U : 0);

	ipc_pool_drain();
	before = heap_in_use();
	for (int i = 0; i < IDLE; i++) {
		open_pair(PAIR, base, &a[i], &b[i]);
		must(aioconn_set_callbacks(a[i], count_msg, NULL, NULL, &got));
		must(aioconn_set_callbacks(b[i], count_msg, NULL, NULL, &got));
		must(aioconn_send(a[i], "is", i, "hello"));
		must(aioconn_send(b[i], "is", i, "hello"));
	}
	run_until(base, &got, 2 * IDLE);
	run_now(base);
	ipc_pool_drain();
	ck_assert_uint_le(heap_in_use(), before + 2 * IDLE * bytes);
	for (int i = 0; i < IDLE; i++) {
		aioconn_abort(a[i]);
		aioconn_abort(b[i]);
	}
	event_base_free(base);
}

struct every_third {
	struct aiomsg *kept[10];
	unsigned n;
};

static void keep_every_third(struct aioconn *c, struct aiomsg *m, void *arg)
{
	struct every_third *e = arg;

	(void)c;
	if (e->n % 3 == 0)
		e->kept[e->n / 3] = aiomsg_ref(m);
	e->n++;
}

TEST(a_kept_reference_stays_as_it_is_while_others_come)
{
	struct event_base *base = new_base();
	struct every_third e = {.n = 0};
	struct aioconn *a, *b;
	const char *s, *t;
	int32_t i;

	open_pair(PAIR, base, &a, &b);
	must(aioconn_set_callbacks(b, keep_every_third, NULL, NULL, &e));
	for (int32_t n = 0; n < 30; n++)
		must(aioconn_send(a, "sis", n % 2 ? "odd" : "even", n, "and more"));
	while (e.n < 30)
		must(event_base_loop(base, EVLOOP_ONCE));
	for (unsigned n = 0; n < 10; n++) {
		must(aiomsg_unpack(e.kept[n], "sis", &s, &i, &t));
		ck_assert_int_eq(i, 3 * n);
		ck_assert_str_eq(s, 3 * n % 2 ? "odd" : "even");
		ck_assert_str_eq(t, "and more");
		aiomsg_free(e.kept[n]);
	}
	aioconn_abort(a);
	aioconn_abort(b);
	event_base_free(base);
}

static void open_more(struct aioconn *c, struct aiomsg *m, void *arg)
{
	struct seen *s = arg;
	struct aioconn *a, *b;

	(void)m;
	open_pair(PAIR, aioconn_base(c), &a, &b);
	see(b, s);
	send_text(a, "inner");
	must(aioconn_finish(a, soon()));
	aioconn_abort(c);
}

TEST(a_callback_may_open_connections)
{
	struct event_base *base = new_base();
	struct seen s = {.msgs = 0};
	struct aioconn *a, *b;

	open_pair(PAIR, base, &a, &b);
	must(aioconn_set_callbacks(b, open_more, NULL, NULL, &s));
	send_text(a, "outer");
	run_until(base, &s.closes, 1);
	ck_assert_str_eq(s.text, "inner ");
	aioconn_abort(a);
	event_base_free(base);
}

/* Freed before the base ever ran, and between its turns. */
TEST(freed_without_a_turn)
{
	struct event_base *base = new_base();
	struct seen s = {.msgs = 0, .stay = true};
	struct aioconn *a, *b;

	for (int i = 0; i < 20; i++) {
		open_pair(i % 2 ? PAIR : DUPLEX, base, &a, &b);
		see(a, &s);
		see(b, &s);
		send_text(a, "x");
		if (i & 2)
			run_now(base);
		send_text(b, "y");
		aioconn_abort(b);
		if (i & 4)
			run_now(base);
		aioconn_abort(a);
	}
	run_now(base);
	ck_assert_uint_eq(s.closes, 40);
	event_base_free(base);
}

static void call_all(struct aioconn *c, enum aioconn_cause cause, void *arg)
{
	unsigned *told = arg;
	struct aiomsg *m;

	ck_assert_int_eq(cause, AIOCONN_LOCAL);
	must_fail(aioconn_send(c, "i", 1), EPIPE);
	must_fail(aioconn_send_bytes(c, "x", 1), EPIPE);
	must_fail(aioconn_recv(c, &m, AIOIPC_FOREVER), EPIPE);
	must_fail(aioconn_flush(c, AIOIPC_FOREVER), EPIPE);
	must_fail(aioconn_cork(c, true), EPIPE);
	must_fail(aioconn_write_eof(c), EPIPE);
	aioconn_pause(c);
	aioconn_resume(c);
	++*told;
}

TEST(calls_in_the_local_on_close_are_epipe)
{
	struct event_base *base = new_base();

	for (int k = 0; k < 4; k++) {
		struct aioconn *a, *b;
		unsigned told = 0;

		open_pair(PAIR, k & 1 ? base : NULL, &a, &b);
		must(aioconn_set_callbacks(a, NULL, NULL, call_all, &told));
		send_text(b, "x");
		if (k & 2)
			must(aioconn_close(a, soon()));
		else
			aioconn_abort(a);
		ck_assert_uint_eq(told, 1);
		run_now(base);
		aioconn_abort(b);
	}
	event_base_free(base);
}

/* Its message came long ago: nothing is waited for. */
TEST(freed_before_recv_waits)
{
	struct event_base *base = new_base();

	for (int k = 0; k < 2; k++) {
		struct act s = {.how = DO_ABORT};
		struct aioconn *a, *b;
		struct aiomsg *m;

		open_pair(PAIR, k ? base : NULL, &a, &b);
		send_text(a, "first");
		send_text(a, "x");
		must(aioconn_flush(a, soon()));
		expect_text(b, "first");
		must(aioconn_set_callbacks(b, act_on_msg, NULL, note_close, &s));
		must_fail(aioconn_recv(b, &m, AIOIPC_NOW), EPIPE);
		ck_assert_uint_eq(s.msgs, 1);
		ck_assert_uint_eq(s.closes, 1);
		run_now(base);
		aioconn_abort(a);
	}
	event_base_free(base);
}
