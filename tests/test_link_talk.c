/*
 * Two links that talk: order and framing in each direction and role, one peer at a time, waits, limits of queues and of time; and
 * what strangers say to one that listens.
 */
#include "tests/links.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static struct aiolink *start_one(enum aiolink_role role, enum aiolink_direction direction,
				 enum aioconn_framing framing, struct event_base *base)
{
	struct aiolink_options o = options_of(role, unix_at(0), framing);

	o.direction = direction;
	return start_link(&o, base);
}

/* Who sends, and who receives, as each of six classes did: one that listens or connects, in each direction. */
static void exchange(enum aiolink_direction of_server, enum aioconn_framing framing, struct event_base *base)
{
	static const enum aiolink_direction opposite[] = {AIOLINK_BOTH, AIOLINK_SEND, AIOLINK_RECV};
	struct aiolink *client = start_one(AIOLINK_CONNECT, opposite[of_server], framing, base);
	struct aiolink *server = start_one(AIOLINK_LISTEN, of_server, framing, base);

	ck_assert_int_eq(!aiolink_outbox(server), of_server == AIOLINK_RECV);
	ck_assert_int_eq(!aiolink_inbox(server), of_server == AIOLINK_SEND);
	if (of_server != AIOLINK_RECV)
		put_numbers(aiolink_outbox(server), "server", 0, 2);
	if (of_server != AIOLINK_SEND)
		put_numbers(aiolink_outbox(client), "client", 0, 2);
	if (of_server != AIOLINK_RECV)
		expect_numbers(aiolink_inbox(client), "server", 0, 2);
	if (of_server != AIOLINK_SEND)
		expect_numbers(aiolink_inbox(server), "client", 0, 2);
	close_link(of_server == AIOLINK_SEND ? server : client);
	close_link(of_server == AIOLINK_SEND ? client : server);
}

static void exchange_all(struct event_base *base)
{
	for (enum aiolink_direction d = AIOLINK_BOTH; d <= AIOLINK_SEND; d++) {
		exchange(d, AIOCONN_MESSAGES, base);
		exchange(d, AIOCONN_LINES, base);
	}
}

TEST(two_messages_in_each_direction_and_role)
{
	both_ways(exchange_all);
}

/* One direction says nothing that its peer would have to keep. */
static void talk_to_the_deaf(struct event_base *base)
{
	struct aiolink *deaf = start_one(AIOLINK_LISTEN, AIOLINK_SEND, AIOCONN_MESSAGES, base);
	struct aiolink *l = start_one(AIOLINK_CONNECT, AIOLINK_BOTH, AIOCONN_MESSAGES, base);

	put_numbers(aiolink_outbox(l), "a message that is longer than it has to be, since it is dropped", 0,
		    50000);
	put_word(aiolink_outbox(deaf), "still here");
	expect_word(aiolink_inbox(l), "still here");
	close_link(l);
	close_link(deaf);
}

TEST_WITHIN(what_is_said_to_a_link_that_only_sends_is_dropped, 20)
{
	both_ways(talk_to_the_deaf);
}

static void put_apart(enum aioconn_framing framing, struct event_base *base)
{
	struct aiolink *server = start_listening(unix_at(0), framing, base);
	struct aiolink *client = start_connecting(unix_at(0), framing, base);

	put_numbers(aiolink_outbox(client), "put", 0, 5);
	expect_numbers(aiolink_inbox(server), "put", 0, 5);
	ck_assert_uint_eq(aioqueue_count(aiolink_inbox(server)), 0);
	close_link(client);
	close_link(server);
}

/* However they are cut, they are all there, in order. */
static void put_bytes(struct event_base *base)
{
	struct aiolink *server = start_listening(unix_at(0), AIOCONN_BYTES, base);
	struct aiolink *client = start_connecting(unix_at(0), AIOCONN_BYTES, base);
	char got[16] = "";

	for (int i = 0; i < 5; i++)
		put_word(aiolink_outbox(client), "abc");
	while (strlen(got) < 15) {
		struct aiomsg *m;
		size_t len;

		ck_assert_int_eq(must(aioqueue_get(aiolink_inbox(server), &m, soon())), 1);
		aiomsg_bytes(m, &len);
		ck_assert_uint_le(strlen(got) + len, 15);
		strncat(got, aiomsg_bytes(m, NULL), len);
		aiomsg_free(m);
	}
	ck_assert_str_eq(got, "abcabcabcabcabc");
	close_link(client);
	close_link(server);
}

static void put_five(struct event_base *base)
{
	put_apart(AIOCONN_MESSAGES, base);
	put_apart(AIOCONN_LINES, base);
	put_bytes(base);
}

TEST(five_puts_arrive_as_five)
{
	both_ways(put_five);
}

/* What it is told of the first stays apart from what it is told of the second, both ways. */
static void keep_apart(struct event_base *base)
{
	struct aiolink *server = start_listening(unix_at(0), AIOCONN_MESSAGES, base);
	struct aiolink *first = start_connecting(unix_at(0), AIOCONN_MESSAGES, base), *second;

	must(aiolink_wait_connected(first, soon()));
	put_numbers(aiolink_outbox(first), "first", 0, 1);
	expect_numbers(aiolink_inbox(server), "first", 0, 1);
	second = start_connecting(unix_at(0), AIOCONN_MESSAGES, base);
	must(aiolink_wait_connected(second, soon()));
	put_numbers(aiolink_outbox(second), "second", 0, 100);
	for (unsigned n = 1; n < 100; n++) {
		put_numbers(aiolink_outbox(first), "first", n, n + 1);
		expect_numbers(aiolink_inbox(server), "first", n, n + 1);
		put_numbers(aiolink_outbox(server), "answer", n, n + 1);
		expect_numbers(aiolink_inbox(first), "answer", n, n + 1);
	}
	ck_assert_uint_eq(stat_connections(server), 1);
	close_link(first);
	expect_numbers(aiolink_inbox(server), "second", 0, 100);
	put_word(aiolink_outbox(server), "your turn");
	expect_word(aiolink_inbox(second), "your turn");
	ck_assert_uint_eq(stat_connections(server), 2);
	close_link(second);
	close_link(server);
}

TEST(a_second_client_waits_until_the_first_has_left)
{
	both_ways(keep_apart);
}

static void feel_full_inbox(struct event_base *base)
{
	struct aiolink_options o = options_of(AIOLINK_LISTEN, unix_at(0), AIOCONN_MESSAGES);
	struct aioqueue *small = must(aioqueue_new(4, 0)), *out = must(aioqueue_new(100000, 0));
	struct aiolink *server, *client;

	o.inbox = small;
	server = start_link(&o, base);
	o = options_of(AIOLINK_CONNECT, unix_at(0), AIOCONN_MESSAGES);
	o.outbox = out;
	put_numbers(out, "m", 0, 20000);
	client = start_link(&o, base);
	ck_assert_ptr_eq(aiolink_inbox(server), small);
	ck_assert_ptr_eq(aiolink_outbox(client), out);
	for (unsigned n = 0; n < 20000; n++) {
		expect_numbers(small, "m", n, n + 1);
		ck_assert_uint_le(aioqueue_count(small), 4);
	}
	put_word(aiolink_outbox(server), "unharmed");
	expect_word(aiolink_inbox(client), "unharmed");
	ck_assert_uint_eq(stat_connections(server), 1);
	close_link(client);
	close_link(server);
	aioqueue_free(small);
	aioqueue_free(out);
}

TEST_WITHIN(a_full_inbox_neither_drops_nor_disconnects, 20)
{
	both_ways(feel_full_inbox);
}

/* Who waits for a link: several at a time. */
struct waiter {
	struct aiolink *l;
	int (*wait)(struct aiolink *l, int64_t deadline);
	struct beside *beside;
	volatile int done;
};

static void wait_for_it(void *arg)
{
	struct waiter *w = arg;

	must(w->wait(w->l, soon()));
	__atomic_store_n(&w->done, 1, __ATOMIC_RELEASE);
}

static void start_waiters(struct waiter *w, int n, struct aiolink *l, int (*wait)(struct aiolink *, int64_t),
			  struct event_base *base)
{
	for (int i = 0; i < n; i++) {
		w[i] = (struct waiter){.l = l, .wait = wait};
		w[i].beside = run_beside(base, wait_for_it, &w[i]);
	}
}

static void join_waiters(struct waiter *w, int n)
{
	for (int i = 0; i < n; i++)
		join_beside(w[i].beside);
}

static bool are_done(struct waiter *w, int n)
{
	for (int i = 0; i < n; i++)
		if (!__atomic_load_n(&w[i].done, __ATOMIC_ACQUIRE))
			return false;
	return true;
}

/* Who begins to wait when a connection is over waits for the next one to be over: until all were in time. */
static void connect_and_leave(struct aiolink *client, struct waiter *w, int n, struct event_base *base)
{
	do {
		struct aiolink *server = start_listening(unix_at(0), AIOCONN_MESSAGES, base);

		must(aiolink_wait_connected(server, soon()));
		must(aiolink_wait_connected(client, soon()));
		must_fail(aiolink_wait_disconnected(server, AIOIPC_NOW), ETIMEDOUT);
		close_link(server);
		nap(5);
	} while (!are_done(w, n));
}

static void wait_early_and_late(struct event_base *base)
{
	const struct aiolink_options o = options_of(AIOLINK_CONNECT, unix_at(0), AIOCONN_MESSAGES);
	struct aiolink *client = must(aiolink_new(&o));
	struct waiter w[8];

	must_fail(aiolink_wait_connected(client, AIOIPC_NOW), ETIMEDOUT);
	must_fail(aiolink_wait_connected(client, aioipc_after(10)), ETIMEDOUT);
	start_waiters(w, 2, client, aiolink_wait_connected, base);
	start_waiters(w + 2, 2, client, aiolink_wait_disconnected, base);
	nap(5);
	must(aiolink_start(client, base));
	start_waiters(w + 4, 2, client, aiolink_wait_connected, base);
	start_waiters(w + 6, 2, client, aiolink_wait_disconnected, base);
	must_fail(aiolink_wait_disconnected(client, aioipc_after(10)), ETIMEDOUT);
	ck_assert(!are_done(w, 1));
	connect_and_leave(client, w, 8, base);
	join_waiters(w, 8);
	close_link(client);
}

TEST(waits_for_connected_and_disconnected_before_and_after_the_start)
{
	both_ways(wait_early_and_late);
}

/* An end is what ends waits, too. */
static void wait_for_what_never_comes(struct event_base *base)
{
	struct aiolink_options o = options_of(AIOLINK_CONNECT, unix_at(0), AIOCONN_MESSAGES);
	struct aiolink *l;

	o.reconnect_first = o.reconnect_most = 60000;
	l = start_link(&o, base);
	must_fail(aiolink_wait_connected(l, aioipc_after(10)), ETIMEDOUT);
	must_fail(aiolink_join(l, aioipc_after(10)), ETIMEDOUT);
	aioqueue_close(aiolink_outbox(l));
	must(aiolink_join(l, soon()));
	must_fail(aiolink_wait_connected(l, soon()), EPIPE);
	must(aiolink_wait_disconnected(l, soon()));
	ck_assert_int_eq(aiolink_state(l), AIOLINK_ENDED);
	close_link(l);
}

TEST(an_end_ends_the_waits)
{
	both_ways(wait_for_what_never_comes);
}

/* Limits of time are about what waits, not about silence: many of them pass. */
static void idle(struct event_base *base)
{
	struct aiolink_options o = options_of(AIOLINK_LISTEN, unix_at(0), AIOCONN_MESSAGES);
	struct aiolink *server, *client;
	struct aiomsg *m;

	o.connect_limit = o.send_limit = 30;
	server = start_link(&o, base);
	o.role = AIOLINK_CONNECT;
	client = start_link(&o, base);
	put_word(aiolink_outbox(client), "before");
	expect_word(aiolink_inbox(server), "before");
	for (int i = 0; i < 10; i++) {
		must_fail(aioqueue_get(aiolink_inbox(server), &m, aioipc_after(30)), ETIMEDOUT);
		ck_assert_int_eq(aiolink_state(server), AIOLINK_CONNECTED);
		ck_assert_int_eq(aiolink_state(client), AIOLINK_CONNECTED);
	}
	put_word(aiolink_outbox(client), "after");
	expect_word(aiolink_inbox(server), "after");
	put_word(aiolink_outbox(server), "and back");
	expect_word(aiolink_inbox(client), "and back");
	ck_assert_uint_eq(stat_connections(server), 1);
	ck_assert_uint_eq(stat_connections(client), 1);
	close_link(client);
	close_link(server);
}

TEST(silence_is_no_disconnect)
{
	both_ways(idle);
}

/* While a listening link waits for its first peer, too. */
static void idle_alone(struct event_base *base)
{
	struct aiolink_options o = options_of(AIOLINK_LISTEN, unix_at(0), AIOCONN_MESSAGES);
	struct aiolink *server, *client;

	o.connect_limit = o.send_limit = o.idle_limit = 20;
	never_again(&o);
	server = start_link(&o, base);
	must_fail(aiolink_join(server, aioipc_after(200)), ETIMEDOUT);
	ck_assert_int_eq(aiolink_state(server), AIOLINK_CONNECTING);
	client = start_connecting(unix_at(0), AIOCONN_MESSAGES, base);
	must(aiolink_wait_connected(client, soon()));
	aiolink_abort(client);
	must(aiolink_join(server, soon()));
	ck_assert_uint_eq(stat_connections(server), 1);
	aiolink_abort(server);
}

TEST(waiting_for_a_peer_has_no_limit)
{
	both_ways(idle_alone);
}

/* The one limit that is about silence, for comparison. */
static void lose_the_silent(struct event_base *base)
{
	struct aiolink_options o = options_of(AIOLINK_LISTEN, unix_at(0), AIOCONN_MESSAGES);
	struct aiolink *server;
	int fd;

	o.idle_limit = 30;
	never_again(&o);
	server = start_link(&o, base);
	fd = raw_connect(unix_at(0));
	must(aiolink_join(server, soon()));
	ck_assert_int_eq(aiolink_error(server), ETIMEDOUT);
	close(fd);
	close_link(server);
}

TEST(an_idle_limit_is_about_silence)
{
	both_ways(lose_the_silent);
}

/*
 * It says all that it has to say at once, and is gone. It is some more than a turn's share, so that the end is found together with
 * the last of it: that does not wait for somebody else to come.
 */
static void hear_the_hasty(struct event_base *base)
{
	enum { WORDS = 1024 + 30 };
	struct aiolink_options o = options_of(AIOLINK_LISTEN, unix_at(0), AIOCONN_LINES);
	char text[WORDS * 16];
	struct aiolink *server;
	size_t len = 0;

	o.inbox = must(aioqueue_new(WORDS, 0));
	server = start_link(&o, base);
	for (unsigned n = 0; n < WORDS; n++)
		len += (size_t)snprintf(text + len, sizeof text - len, "word %u\r\n", n);
	for (int times = 0; times < 3; times++) {
		int fd = raw_connect(unix_at(0));

		put(fd, text, len);
		must(close(fd));
		expect_numbers(o.inbox, "word", 0, WORDS);
	}
	close_link(server);
	aioqueue_free(o.inbox);
}

TEST(who_leaves_at_once_is_heard_though_nobody_follows)
{
	both_ways(hear_the_hasty);
}

/* Hundreds of peers, one after the other, leave nothing behind. */
static void serve_hundreds(struct event_base *base)
{
	struct aiolink *server = start_listening(unix_at(0), AIOCONN_LINES, base);
	unsigned fds = 0;

	for (unsigned n = 0; n < 200; n++) {
		struct aiolink *client = start_connecting(unix_at(0), AIOCONN_LINES, base);

		put_numbers(aiolink_outbox(client), "peer", n, n + 1);
		expect_numbers(aiolink_inbox(server), "peer", n, n + 1);
		if (n % 2)
			aiolink_abort(client);
		else
			close_link(client);
		if (n == 10)
			fds = harness_count_fds();
	}
	ck_assert_uint_le(harness_count_fds(), fds + 2); /* the last peer may be there still */
	close_link(server);
}

TEST_WITHIN(many_peers_leave_nothing_behind, 30)
{
	both_ways(serve_hundreds);
}

/* What they say to a link that listens; those who leave in the middle say no more. */
static const struct stranger {
	const char *bytes;
	size_t len;
	bool leaves;
	int error; /* 0: whatever it is */
} strangers[] = {
	{"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", 35, false, EPROTO},
	{"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11, false, EPROTO}, /* TLS hello */
	{"SSH-2.0-OpenSSH_9.2\r\n", 21, false, EPROTO},
	{"\0\0\0\0\0\0\0\0\0\0\0\0", 12, false, EPROTO},
	{"AIPC\2\0\0\0", 8, false, EPROTO},
	{PREFACE "\xff\xff\xff\xff\2\0\0\0", 16, false, EMSGSIZE},
	{PREFACE "\4\0\0\0\1\0\0\0abcd", 20, false, EBADMSG},
	{PREFACE "\4\0\0\0\2\1\0\0abcd", 20, false, 0}, /* a descriptor that is none */
	{"AIPC", 4, true, ECONNRESET},
	{PREFACE "\4\0\0\0\2\0\0\0ab", 18, true, ECONNRESET},
	{"", 0, true, ECONNRESET},
};

static void expect_hung_up(int fd)
{
	char byte;
	ssize_t n;

	while ((n = recv(fd, &byte, 1, MSG_DONTWAIT)) > 0) /* what the link said before */
		;
	ck_assert(n == 0 || errno == ECONNRESET);
	close(fd);
}

static void meet(struct aiolink *server, struct states *states, const struct stranger *s)
{
	int fd = raw_connect(unix_at(0));
	char why[200];

	put(fd, s->bytes, s->len);
	if (s->leaves)
		must(close(fd));
	await_state(states, AIOLINK_CONNECTED);
	await_state(states, AIOLINK_CONNECTING);
	if (s->error)
		ck_assert_int_eq(aiolink_error(server), s->error);
	else
		ck_assert_int_ne(aiolink_error(server), 0);
	must(aiolink_why(server, why, sizeof why));
	ck_assert_str_ne(why, "");
	if (!s->leaves)
		expect_hung_up(fd);
}

static void meet_strangers(struct event_base *base)
{
	const struct aiolink_options o = options_of(AIOLINK_LISTEN, unix_at(0), AIOCONN_MESSAGES);
	struct aiolink *server = must(aiolink_new(&o)), *client;
	unsigned n = sizeof strangers / sizeof *strangers;
	struct states states;

	watch_states(server, &states);
	must(aiolink_start(server, base));
	for (unsigned i = 0; i < n; i++) {
		meet(server, &states, &strangers[i]);
		client = start_connecting(unix_at(0), AIOCONN_MESSAGES, base);
		put_numbers(aiolink_outbox(client), "well", i, i + 1);
		expect_numbers(aiolink_inbox(server), "well", i, i + 1);
		close_link(client);
		await_state(&states, AIOLINK_CONNECTED);
		await_state(&states, AIOLINK_CONNECTING);
	}
	ck_assert_uint_eq(stat_connections(server), 2 * n);
	close_link(server);
	free_states(&states);
}

TEST_WITHIN(strangers_harm_nobody_but_themselves, 30)
{
	both_ways(meet_strangers);
}
