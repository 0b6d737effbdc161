/* Links that lose nothing: both sides number and confirm, and what was not confirmed is sent again. */
#include "tests/links.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static struct aiolink_stats stats_of(const struct aiolink *l)
{
	struct aiolink_stats s = {.size = sizeof s};

	must(aiolink_stats(l, &s));
	return s;
}

static void await_confirmed(const struct aiolink *l, uint64_t n)
{
	int64_t until = soon();

	while (stats_of(l).confirmed < n) {
		ck_assert_msg(aioipc_after(0) < until, "%lu are confirmed, %lu are due",
			      (unsigned long)stats_of(l).confirmed, (unsigned long)n);
		nap(1);
	}
}

static struct aiolink *start(enum aiolink_role role, const char *address, enum aiolink_direction direction,
			     struct event_base *base)
{
	struct aiolink_options o = options_of(role, address, AIOCONN_MESSAGES);

	o.direction = direction;
	o.confirm = true;
	return start_link(&o, base);
}

static void one_way(struct event_base *base)
{
	const char *at = unix_at(1);
	struct aiolink *in = start(AIOLINK_LISTEN, at, AIOLINK_RECV, base);
	struct aiolink *out = start(AIOLINK_CONNECT, at, AIOLINK_SEND, base);

	put_numbers(aiolink_outbox(out), "n", 0, 500);
	expect_numbers(aiolink_inbox(in), "n", 0, 500);
	await_confirmed(out, 500);
	ck_assert_uint_eq(stats_of(out).msgs_out, 500);
	ck_assert_uint_eq(stats_of(out).unsure, 0);
	ck_assert_uint_eq(stats_of(out).resent, 0);
	close_link(out);
	close_link(in);
}

TEST(what_the_program_has_freed_is_confirmed)
{
	both_ways(one_way);
}

/* Takes messages and keeps them. */
static void keep(struct aioqueue *q, struct aiomsg **m, size_t n)
{
	for (size_t i = 0; i < n; i++)
		ck_assert_int_eq(must(aioqueue_get(q, &m[i], soon())), 1);
}

static void take_some(struct event_base *base)
{
	const char *at = unix_at(2);
	struct aiolink *in = start(AIOLINK_LISTEN, at, AIOLINK_RECV, base);
	struct aiolink *out = start(AIOLINK_CONNECT, at, AIOLINK_SEND, base);
	struct aiomsg *m[200];

	put_numbers(aiolink_outbox(out), "n", 0, 200);
	keep(aiolink_inbox(in), m, 200);
	nap(20);
	ck_assert_uint_eq(stats_of(out).confirmed, 0);
	for (int i = 199; i > 70; i--)
		aiomsg_free(m[i]);
	nap(20);
	ck_assert_uint_eq(stats_of(out).confirmed, 0); /* the first is still in use */
	for (int i = 0; i < 30; i++)
		aiomsg_free(m[i]);
	await_confirmed(out, 30);
	for (int i = 70; i >= 30; i--)
		aiomsg_free(m[i]);
	await_confirmed(out, 200);
	close_link(out);
	close_link(in);
}

TEST(what_the_program_still_has_is_not_confirmed)
{
	both_ways(take_some);
}

static void drop_often(struct event_base *base)
{
	const char *at = unix_at(3);
	struct aiolink *a = start(AIOLINK_LISTEN, at, AIOLINK_BOTH, base);
	struct aiolink *b = start(AIOLINK_CONNECT, at, AIOLINK_BOTH, base);
	unsigned n;

	for (n = 0; n < 3000; n += 100) {
		put_numbers(aiolink_outbox(a), "a", n, n + 100);
		put_numbers(aiolink_outbox(b), "b", n, n + 100);
		aiolink_drop(n % 200 ? a : b);
		expect_numbers(aiolink_inbox(a), "b", n, n + 70);
		aiolink_drop(a);
		expect_numbers(aiolink_inbox(b), "a", n, n + 100);
		expect_numbers(aiolink_inbox(a), "b", n + 70, n + 100);
	}
	await_confirmed(a, n);
	await_confirmed(b, n);
	ck_assert_uint_gt(stat_connections(a), 5);
	ck_assert_uint_eq(stats_of(a).msgs_in, n);
	ck_assert_uint_eq(stats_of(b).msgs_in, n);
	ck_assert_uint_eq(stats_of(a).unsure + stats_of(b).unsure, 0);
	close_link(b);
	close_link(a);
}

TEST(each_comes_once_however_often_the_connection_breaks)
{
	both_ways(drop_often);
}

static void restart(struct event_base *base)
{
	const char *at = unix_at(4);
	struct aiolink *in = start(AIOLINK_LISTEN, at, AIOLINK_RECV, base);
	struct aiolink *out = start(AIOLINK_CONNECT, at, AIOLINK_SEND, base);

	put_numbers(aiolink_outbox(out), "n", 0, 100);
	expect_numbers(aiolink_inbox(in), "n", 0, 40);
	await_confirmed(out, 40);
	aiolink_abort(in);
	in = start(AIOLINK_LISTEN, at, AIOLINK_RECV, base);
	expect_numbers(aiolink_inbox(in), "n", 40, 100);
	await_confirmed(out, 100);
	ck_assert_uint_ge(stats_of(out).resent, 1);
	ck_assert_uint_eq(stats_of(out).msgs_out, 100);
	close_link(out);
	close_link(in);
}

TEST(what_was_not_confirmed_goes_to_the_next_receiver)
{
	both_ways(restart);
}

static void close_early(struct event_base *base)
{
	const char *at = unix_at(5);
	struct aiolink *in = start(AIOLINK_LISTEN, at, AIOLINK_RECV, base);
	struct aiolink_options o = options_of(AIOLINK_CONNECT, at, AIOCONN_MESSAGES);
	struct aiolink *out;

	o.direction = AIOLINK_SEND;
	o.confirm = true;
	o.outbox = must(aioqueue_new(100, 0));
	out = start_link(&o, base);
	put_numbers(o.outbox, "n", 0, 10);
	expect_numbers(aiolink_inbox(in), "n", 0, 4);
	await_confirmed(out, 4);
	must_fail(aiolink_close(out, aioipc_after(30)), ETIMEDOUT);
	ck_assert_uint_eq(aioqueue_count(o.outbox), 6);
	expect_numbers(o.outbox, "n", 4, 10);
	aioqueue_free(o.outbox);
	aiolink_abort(in);
}

TEST(close_waits_until_all_is_confirmed)
{
	both_ways(close_early);
}

static void forward(struct event_base *base)
{
	const char *first = unix_at(6), *second = unix_at(7);
	struct aiolink_options o = options_of(AIOLINK_LISTEN, first, AIOCONN_MESSAGES);
	struct aiolink *in, *out, *from, *to;
	struct aiomsg *m[50];

	o.direction = AIOLINK_RECV;
	o.confirm = true;
	o.inbox = must(aioqueue_new(1000, 0));
	in = start_link(&o, base);
	o.direction = AIOLINK_SEND;
	o.outbox = o.inbox;
	o.inbox = NULL;
	o.role = AIOLINK_CONNECT;
	o.address = second;
	out = start_link(&o, base);
	to = start(AIOLINK_LISTEN, second, AIOLINK_RECV, base);
	from = start(AIOLINK_CONNECT, first, AIOLINK_SEND, base);
	put_numbers(aiolink_outbox(from), "n", 0, 50);
	keep(aiolink_inbox(to), m, 50);
	nap(20);
	ck_assert_uint_eq(stats_of(from).confirmed, 0);
	for (int i = 0; i < 50; i++)
		aiomsg_free(m[i]);
	await_confirmed(from, 50);
	close_link(from);
	close_link(in);
	close_link(out);
	close_link(to);
	aioqueue_free(o.outbox);
}

TEST(what_is_passed_on_is_confirmed_by_the_last)
{
	both_ways(forward);
}

static void await_connections(const struct aiolink *l, uint64_t n)
{
	while (stat_connections(l) < n)
		nap(1);
}

/*
 * Two senders, and one of them again, at one receiver: their numbers do not mix. The receiver has one peer at a time, and the one that waits
 * already comes before the one that was dropped.
 */
static void take_turns(struct event_base *base)
{
	const char *at = unix_at(8);
	struct aiolink *in = start(AIOLINK_LISTEN, at, AIOLINK_RECV, base), *out[3];

	out[0] = start(AIOLINK_CONNECT, at, AIOLINK_SEND, base);
	put_numbers(aiolink_outbox(out[0]), "a", 0, 20);
	expect_numbers(aiolink_inbox(in), "a", 0, 10);
	out[1] = start(AIOLINK_CONNECT, at, AIOLINK_SEND, base);
	put_numbers(aiolink_outbox(out[1]), "b", 0, 20);
	expect_numbers(aiolink_inbox(in), "a", 10, 20);
	await_confirmed(out[0], 20);
	await_connections(out[1], 1);
	must(aiolink_drop(in));
	expect_numbers(aiolink_inbox(in), "b", 0, 20);
	await_confirmed(out[1], 20);
	put_numbers(aiolink_outbox(out[0]), "a", 20, 40);
	await_connections(out[0], 2);
	must(aiolink_drop(in));
	expect_numbers(aiolink_inbox(in), "a", 20, 40);
	close_link(out[0]);
	aiolink_abort(out[1]);
	out[2] = start(AIOLINK_CONNECT, at, AIOLINK_SEND, base);
	put_numbers(aiolink_outbox(out[2]), "c", 0, 20);
	expect_numbers(aiolink_inbox(in), "c", 0, 20);
	close_link(out[2]);
	close_link(in);
}

TEST(senders_are_told_apart)
{
	both_ways(take_turns);
}

/* Only one side asks. */

static void expect_refusal(struct aiolink *l, const char *words)
{
	char why[128];

	must(aiolink_join(l, soon()));
	ck_assert_int_eq(aiolink_error(l), EPROTO);
	must(aiolink_why(l, why, sizeof why));
	ck_assert_msg(strstr(why, words), "%s", why);
	aiolink_abort(l);
}

static void one_asks(struct event_base *base)
{
	for (int who = 0; who < 2; who++) {
		struct aiolink_options o = options_of(AIOLINK_LISTEN, unix_at(9), AIOCONN_MESSAGES);
		struct aiolink *l, *c;

		never_again(&o);
		o.confirm = who == 0;
		l = start_link(&o, base);
		o.role = AIOLINK_CONNECT;
		o.confirm = who == 1;
		c = start_link(&o, base);
		expect_refusal(l, "both sides must ask");
		expect_refusal(c, "both sides must ask");
	}
}

TEST(both_sides_must_ask)
{
	both_ways(one_asks);
}

static const char hello[] = "AIPC\1\0\0\0 \0\0\0\020\0\0\0"
			    "0123456789abcdef\1\0\0\0\0\0\0\0\0\020\0\0\0\0\0\0";
enum { HELLO = sizeof hello - 1 };

static void send_raw(int fd, const char *bytes, size_t len)
{
	ck_assert_int_eq(must(send(fd, bytes, len, MSG_NOSIGNAL)), (ssize_t)len);
}

static void read_raw(int fd, char *bytes, size_t len)
{
	while (!is_readable(fd))
		nap(1);
	ck_assert_int_eq(must(recv(fd, bytes, len, MSG_WAITALL)), (ssize_t)len);
}

/* A peer of 0.1 ends the connection at the first frame that it does not know. */
static void old_peer(struct event_base *base)
{
	struct aiolink_options o = options_of(AIOLINK_CONNECT, unix_at(10), AIOCONN_MESSAGES);
	int at = raw_listen(o.address, 1), fd;
	struct aiolink *l;
	char said[HELLO];

	never_again(&o);
	o.confirm = true;
	l = start_link(&o, base);
	put_word(aiolink_outbox(l), "kept");
	fd = raw_accept(at);
	read_raw(fd, said, HELLO);
	ck_assert_int_eq(said[12], 16);
	close(fd);
	must(aiolink_join(l, soon()));
	ck_assert_int_eq(aiolink_error(l), EPROTO);
	ck_assert_uint_eq(aioqueue_count(aiolink_outbox(l)), 1);
	must_fail(aiolink_close(l, soon()), EPIPE);
	close(at);
}

TEST(an_old_peer_is_told_as_that)
{
	both_ways(old_peer);
}

static void silent_peer(struct event_base *base)
{
	struct aiolink_options o = options_of(AIOLINK_LISTEN, unix_at(11), AIOCONN_MESSAGES);
	struct aiolink *l;
	int fd;

	never_again(&o);
	o.confirm = true;
	o.connect_limit = 50;
	l = start_link(&o, base);
	fd = raw_connect(o.address);
	must(aiolink_join(l, soon()));
	ck_assert_int_eq(aiolink_error(l), ETIMEDOUT);
	aiolink_abort(l);
	close(fd);
}

TEST(a_silent_peer_is_lost)
{
	both_ways(silent_peer);
}

/* What a peer must not say. Each ends the connection with EPROTO. */

static void say_wrong(const char *bytes, size_t len, bool after_hello)
{
	struct aiolink_options o = options_of(AIOLINK_LISTEN, unix_at(12), AIOCONN_MESSAGES);
	struct aiolink *l;
	int fd;

	never_again(&o);
	o.confirm = true;
	l = start_link(&o, NULL);
	fd = raw_connect(o.address);
	if (after_hello)
		send_raw(fd, hello, HELLO);
	send_raw(fd, bytes, len);
	must(aiolink_join(l, soon()));
	ck_assert_int_eq(aiolink_error(l), EPROTO);
	aiolink_abort(l);
	close(fd);
}

TEST(what_is_wrong_ends_the_connection)
{
	static const char plain[] = "AIPC\1\0\0\0\2\0\0\0\2\0\0\0hi";
	static const char had[] = "\020\0\0\0\021\0\0\0\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
	static const char less[] = "\020\0\0\0\021\0\0\0\0\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0";
	static const char taken[] = "\010\0\0\0\022\0\0\0\0\0\0\0\0\0\0\0";
	static const char none[] = "\020\0\0\0\021\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
				   "\010\0\0\0\022\0\0\0\1\0\0\0\0\0\0\0";
	static const char length[] = "\011\0\0\0\022\0\0\0\0\0\0\0\0\0\0\0\0";
	char first_0[HELLO];

	memcpy(first_0, hello, HELLO);
	first_0[32] = 0;
	say_wrong(plain, sizeof plain - 1, false);
	say_wrong(first_0, HELLO, false);
	say_wrong(hello + 8, HELLO - 8, true);
	say_wrong(had, sizeof had - 1, true);
	say_wrong(less, sizeof less - 1, true);
	say_wrong(taken, sizeof taken - 1, true);
	say_wrong(none, sizeof none - 1, true);
	say_wrong(length, sizeof length - 1, true);
}

/* One that does not keep to what it may send before it is confirmed. */
TEST(a_flood_beyond_the_limit_ends_the_connection)
{
	static const char message[] = "\0\0\0\0\2\0\0\0";
	struct aiolink_options o = options_of(AIOLINK_LISTEN, unix_at(13), AIOCONN_MESSAGES);
	struct aiolink *l;
	int fd, n;

	never_again(&o);
	o.confirm = true;
	o.inbox = must(aioqueue_new(100000, 0));
	l = start_link(&o, NULL);
	fd = raw_connect(o.address);
	send_raw(fd, hello, HELLO);
	for (n = 0; n < 20000 && send(fd, message, 8, MSG_NOSIGNAL) == 8; n++)
		;
	must(aiolink_join(l, soon()));
	ck_assert_int_eq(aiolink_error(l), EPROTO);
	ck_assert_uint_le(stats_of(l).msgs_in, 4096 + 64);
	aiolink_abort(l);
	aioqueue_free(o.inbox);
	close(fd);
}

/* A peer that reads all and confirms nothing: what is held is bounded. */
static void never_confirm(struct event_base *base)
{
	static const char had[] = "\020\0\0\0\021\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
	struct aiolink_options o = options_of(AIOLINK_CONNECT, unix_at(14), AIOCONN_MESSAGES);
	int at = raw_listen(o.address, 1), fd;
	struct aiolink *l;
	unsigned n = 0;
	char junk[65536];

	o.confirm = true;
	o.outbox = must(aioqueue_new(100, 0));
	l = start_link(&o, base);
	fd = raw_accept(at);
	send_raw(fd, hello, HELLO);
	send_raw(fd, had, sizeof had - 1);
	for (int idle = 0; idle < 50; idle++) {
		struct aiomsg *m = must(aiomsg_new_bytes("x", 1));

		if (aioqueue_put(o.outbox, m, aioipc_after(10)) == 0) {
			n++;
			idle = 0;
		}
		aiomsg_free(m);
		while (recv(fd, junk, sizeof junk, MSG_DONTWAIT) > 0)
			;
		ck_assert_uint_le(n, 4096 + 100);
	}
	ck_assert_uint_ge(n, 4000);
	ck_assert_uint_eq(stats_of(l).confirmed, 0);
	aiolink_abort(l);
	ck_assert_uint_eq(aioqueue_count(o.outbox), n);
	aioqueue_free(o.outbox);
	close(fd);
	close(at);
}

TEST_WITHIN(what_is_not_confirmed_is_bounded, 30)
{
	both_ways(never_confirm);
}

static void put_descriptor(struct event_base *base)
{
	const char *at = unix_at(15);
	struct aiolink *in = start(AIOLINK_LISTEN, at, AIOLINK_RECV, base);
	struct aiolink *out = start(AIOLINK_CONNECT, at, AIOLINK_SEND, base);
	struct aiomsg *m = must(aiomsg_new_bytes("fd", 2));

	must(aiomsg_add_fd(m, 0));
	must(aioqueue_put(aiolink_outbox(out), m, soon()));
	aiomsg_free(m);
	put_word(aiolink_outbox(out), "next");
	expect_word(aiolink_inbox(in), "next");
	ck_assert_uint_eq(stats_of(out).refused, 1);
	close_link(out);
	close_link(in);
}

TEST(a_descriptor_is_refused)
{
	both_ways(put_descriptor);
}

TEST(what_can_t_be_confirmed_is_refused)
{
	struct aiolink_options o = options_of(AIOLINK_CONNECT, unix_at(16), AIOCONN_MESSAGES);

	o.confirm = true;
	o.fds = 1;
	must_fail(aiolink_new(&o), EINVAL);
	o.fds = 0;
	o.framing = AIOCONN_LINES;
	must_fail(aiolink_new(&o), EINVAL);
	o.framing = AIOCONN_MESSAGES;
	never_again(&o);
	o.half_open = true;
	must_fail(aiolink_new(&o), EINVAL);
}

/* The inbox is closed: what still comes is dropped here, but the next receiver gets it. */
static void want_no_more(struct event_base *base)
{
	const char *at = unix_at(17);
	struct aiolink *in = start(AIOLINK_LISTEN, at, AIOLINK_RECV, base);
	struct aiolink *out = start(AIOLINK_CONNECT, at, AIOLINK_SEND, base);

	put_numbers(aiolink_outbox(out), "n", 0, 5);
	expect_numbers(aiolink_inbox(in), "n", 0, 5);
	await_confirmed(out, 5);
	aioqueue_close(aiolink_inbox(in));
	put_numbers(aiolink_outbox(out), "n", 5, 20);
	must(aiolink_join(in, soon()));
	close_link(in);
	in = start(AIOLINK_LISTEN, at, AIOLINK_RECV, base);
	expect_numbers(aiolink_inbox(in), "n", 5, 20);
	close_link(out);
	close_link(in);
}

TEST(what_is_dropped_is_not_confirmed)
{
	both_ways(want_no_more);
}

/* A child that frees what its parent still has confirms nothing. */
TEST(a_child_confirms_nothing)
{
	const char *at = unix_at(18);
	struct aiolink *in = start(AIOLINK_LISTEN, at, AIOLINK_RECV, NULL);
	struct aiolink *out = start(AIOLINK_CONNECT, at, AIOLINK_SEND, NULL);
	struct aiomsg *m[2];
	int status;
	pid_t pid;

	put_numbers(aiolink_outbox(out), "n", 0, 2);
	keep(aiolink_inbox(in), m, 2);
	nap(20);
	pid = must(fork());
	if (pid == 0) {
		aiomsg_free(m[0]);
		aiomsg_free(m[1]);
		aiolink_abort(in);
		_exit(0);
	}
	must(waitpid(pid, &status, 0));
	ck_assert_int_eq(status, 0);
	nap(20);
	ck_assert_uint_eq(stats_of(out).confirmed, 0);
	aiomsg_free(m[0]);
	await_confirmed(out, 1);
	aiolink_abort(in); /* the last message outlives its link */
	aiomsg_free(m[1]);
	aiolink_abort(out);
}
