/*
 * How links end: once, after all data, whoever ends it and however; what a close delivers, what it leaves; that failure is told, and that one
 * who is left does not spin. The traps are those of Duplex and PySockLib.
 */
#include "tests/links.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

/* What was put is delivered though close follows at once, and then comes the end. */
static void put_then_close(enum aioconn_framing framing, bool by_server, struct event_base *base)
{
	struct aiolink_options o = options_of(AIOLINK_LISTEN, unix_at(0), framing);
	struct aiolink *from, *to;

	never_again(&o);
	o.role = by_server ? AIOLINK_CONNECT : AIOLINK_LISTEN;
	o.reconnect_first = o.reconnect_most = by_server ? 1 : 0;
	to = start_link(&o, base);
	never_again(&o);
	o.role = by_server ? AIOLINK_LISTEN : AIOLINK_CONNECT;
	from = start_link(&o, base);
	put_numbers(aiolink_outbox(from), "put", 0, 800);
	must(aiolink_close(from, soon()));
	expect_numbers(aiolink_inbox(to), "put", 0, 800);
	if (!by_server) {
		expect_queue_end(aiolink_inbox(to));
		ck_assert_int_eq(aiolink_error(to), 0);
	}
	close_link(to);
}

static void put_then_close_all(struct event_base *base)
{
	for (int by_server = 0; by_server < 2; by_server++) {
		put_then_close(AIOCONN_MESSAGES, by_server, base);
		put_then_close(AIOCONN_LINES, by_server, base);
	}
}

TEST(put_then_close_delivers)
{
	both_ways(put_then_close_all);
}

/* Also what is put long before anybody listens, by one who closes at once. */
static void close_first(void *arg)
{
	must(aiolink_close(arg, soon()));
}

static void close_before_connected(struct event_base *base)
{
	struct aiolink *from = start_connecting(unix_at(0), AIOCONN_MESSAGES, base), *to;
	struct beside *closing;

	put_numbers(aiolink_outbox(from), "put", 0, 100);
	closing = run_beside(base, close_first, from);
	nap(20);
	to = start_listening(unix_at(0), AIOCONN_MESSAGES, base);
	expect_numbers(aiolink_inbox(to), "put", 0, 100);
	join_beside(closing);
	close_link(to);
}

TEST(close_delivers_to_one_who_comes_in_time)
{
	both_ways(close_before_connected);
}

/* Callbacks that count: ends of the inbox, and of the link. */
struct ends {
	unsigned msgs, queue_ends, link_ends, after_end;
	struct event_base *base;
};

static void on_items(struct aioqueue *q, void *arg)
{
	struct ends *e = arg;
	struct aiomsg *m;
	int r = must(aioqueue_get(q, &m, AIOIPC_NOW));

	if (r == 1) {
		aiomsg_free(m);
		e->msgs++;
		e->after_end += e->queue_ends;
	} else {
		e->queue_ends++;
	}
}

static void on_state(struct aiolink *l, enum aiolink_state state, void *arg)
{
	struct ends *e = arg;

	(void)l;
	e->after_end += e->link_ends;
	e->link_ends += state == AIOLINK_ENDED;
}

/* Who ends it. The peer is ours, by hand, over TCP: it has sent three messages. */
enum ender {
	GOODBYE_COMES,
	PEER_LEAVES,
	PEER_RESETS,
	GARBAGE_COMES,
	WE_CLOSE,
	WE_ABORT,
	OUTBOX_CLOSES,
	ENDERS
};

static void end_it(enum ender how, struct aiolink *l, int fd)
{
	const struct linger reset = {1, 0};

	switch (how) {
	case GOODBYE_COMES:
		put_frame(fd, GOODBYE, 0, "", 0);
		break;
	case PEER_LEAVES:
		break;
	case PEER_RESETS:
		must(setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset));
		break;
	case GARBAGE_COMES:
		put(fd, "\xff\xff\xff\xff\2\0\0\0", 8);
		break;
	case WE_CLOSE:
	case OUTBOX_CLOSES:
		put_frame(fd, GOODBYE, 0, "", 0);
		break;
	case WE_ABORT:
	case ENDERS:
		break;
	}
	if (how == WE_CLOSE)
		must(aiolink_close(l, soon()));
	else if (how == WE_ABORT)
		aiolink_abort(l);
	else if (how == OUTBOX_CLOSES)
		aioqueue_close(aiolink_outbox(l));
	if (how == PEER_LEAVES || how == PEER_RESETS)
		must(close(fd));
}

static const int errors[ENDERS] = {
	[PEER_LEAVES] = ECONNRESET,
	[PEER_RESETS] = ECONNRESET,
	[GARBAGE_COMES] = EMSGSIZE,
};

static bool frees(enum ender how)
{
	return how == WE_CLOSE || how == WE_ABORT;
}

static void turns(struct event_base *base, int n)
{
	while (n-- > 0)
		must(event_base_loop(base, EVLOOP_NONBLOCK));
}

static void expect_one_end(enum ender how)
{
	struct ends e = {.base = new_base()};
	struct aiolink_options o = options_of(AIOLINK_LISTEN, tcp_at(0), AIOCONN_MESSAGES);
	struct aiomsg *m = must(aiomsg_new_bytes("x", 1));
	struct aioqueue *inbox;
	struct aiolink *l;
	int fd;

	never_again(&o);
	l = must(aiolink_new(&o));
	must(aiolink_on_state(l, on_state, &e));
	inbox = aioqueue_ref(aiolink_inbox(l));
	must(aioqueue_watch(inbox, e.base, on_items, NULL, &e));
	must(aiolink_start(l, e.base));
	fd = raw_connect(tcp_at(aiolink_port(l)));
	put(fd, PREFACE, PREFACE_LEN);
	for (int i = 0; i < 3; i++)
		put_frame(fd, BYTES, 0, "data", 4);
	if (how >= WE_CLOSE)
		run_until(e.base, &e.msgs, 3);
	end_it(how, l, fd);
	run_until(e.base, &e.queue_ends, 1);
	run_until(e.base, &e.link_ends, 1);
	turns(e.base, 10);
	ck_assert_uint_eq(e.msgs, 3);
	ck_assert_uint_eq(e.queue_ends, 1);
	ck_assert_uint_eq(e.link_ends, 1);
	ck_assert_uint_eq(e.after_end, 0);
	if (!frees(how)) {
		ck_assert_int_eq(aiolink_error(l), errors[how]);
		must_fail(aioqueue_put(aiolink_outbox(l), m, AIOIPC_NOW), EPIPE);
		must(aiolink_close(l, AIOIPC_NOW));
	}
	ck_assert_uint_eq(e.link_ends, 1);
	must(aioqueue_watch(inbox, e.base, NULL, NULL, NULL));
	aioqueue_free(inbox);
	if (how != PEER_LEAVES && how != PEER_RESETS)
		close(fd);
	aiomsg_free(m);
	event_base_free(e.base);
}

TEST(the_end_comes_once_and_after_all_data)
{
	for (enum ender how = GOODBYE_COMES; how < ENDERS; how++)
		expect_one_end(how);
}

/* All who wait at its queues or for itself wake when it ends here, too. */
struct waiter {
	struct aiolink *l;
	struct aioqueue *q;
};

static void wait_for_message(void *arg)
{
	expect_queue_end(arg);
}

static void wait_for_room(void *arg)
{
	struct aiomsg *m = must(aiomsg_new_bytes("more", 4));

	must_fail(aioqueue_put(arg, m, soon()), EPIPE);
	aiomsg_free(m);
}

static void wake_all(struct event_base *base)
{
	for (int abort = 0; abort < 2; abort++) {
		struct aioqueue *in = must(aioqueue_new(1, 0)), *out = must(aioqueue_new(1, 0));
		struct aiolink_options o = options_of(AIOLINK_CONNECT, unix_at(0), AIOCONN_MESSAGES);
		struct beside *b[4];
		struct aiolink *l;

		o.reconnect_first = o.reconnect_most = 60000;
		o.inbox = in;
		o.outbox = out;
		put_word(out, "first");
		l = start_link(&o, base);
		for (int i = 0; i < 4; i++)
			b[i] = run_beside(base, i % 2 ? wait_for_room : wait_for_message, i % 2 ? out : in);
		nap(20);
		if (abort)
			aiolink_abort(l);
		else
			must_fail(aiolink_close(l, aioipc_after(10)), ETIMEDOUT);
		for (int i = 0; i < 4; i++)
			join_beside(b[i]);
		expect_word(out, "first");
		expect_queue_end(out);
		aioqueue_free(in);
		aioqueue_free(out);
	}
}

TEST(an_end_here_wakes_all_who_wait)
{
	both_ways(wake_all);
}

/* 50 MB, of which a part gets there: that is no clean end. */
enum { PIECE = 64 * 1024, PIECES = 800 };

static void put_pieces(void *arg)
{
	char *data = must(malloc(PIECE));
	struct aioqueue *q = arg;
	int r = 0;

	for (unsigned n = 0; n < PIECES; n++) {
		struct aiomsg *m;

		fill(data, PIECE, n);
		m = must(aiomsg_new_bytes(data, PIECE));
		r = aioqueue_put(q, m, soon());
		if (r == -1)
			ck_assert_int_eq(errno, EPIPE);
		aiomsg_free(m);
		if (r == -1)
			break;
	}
	ck_assert_int_eq(r, -1);
	aioqueue_free(q);
	free(data);
}

static void expect_piece(struct aiomsg *m, unsigned n)
{
	size_t len;
	const void *data = aiomsg_bytes(m, &len);

	ck_assert_uint_eq(len, PIECE);
	ck_assert(is_filled(data, len, n));
	aiomsg_free(m);
}

static void abort_in_the_middle(struct event_base *base)
{
	struct aiolink_options o = options_of(AIOLINK_LISTEN, unix_at(0), AIOCONN_MESSAGES);
	struct aiolink *to, *from;
	struct beside *sender;
	struct aiomsg *m;
	unsigned n = 0;

	never_again(&o);
	to = start_link(&o, base);
	from = start_connecting(unix_at(0), AIOCONN_MESSAGES, base);
	sender = run_beside(base, put_pieces, aioqueue_ref(aiolink_outbox(from)));
	while (n < 60 && must(aioqueue_get(aiolink_inbox(to), &m, soon())) == 1)
		expect_piece(m, n++);
	ck_assert_uint_eq(n, 60);
	aiolink_abort(from);
	join_beside(sender);
	while (must(aioqueue_get(aiolink_inbox(to), &m, soon())) == 1)
		expect_piece(m, n++);
	ck_assert_uint_lt(n, PIECES);
	must(aiolink_join(to, soon()));
	ck_assert_int_eq(aiolink_error(to), ECONNRESET);
	aiolink_abort(to);
}

TEST_WITHIN(an_abort_is_seen_as_lost, 30)
{
	both_ways(abort_in_the_middle);
}

/* How many whole messages a peer by hand was sent, numbered from @first on. The rest of the stream is part of one. */
static unsigned count_pieces(int fd, unsigned first)
{
	unsigned char *payload = must(malloc(PIECE)), header[HEADER_LEN];
	unsigned n = first;

	get_preface(fd);
	while (get(fd, header, sizeof header) == sizeof header && get(fd, payload, PIECE) == PIECE) {
		ck_assert_uint_eq(header[4], BYTES);
		ck_assert(is_filled(payload, PIECE, n));
		n++;
	}
	free(payload);
	return n;
}

/* What was not handed over whole is in the outbox: no message more, none less, and the half one is whole again. */
static void close_towards_the_deaf(struct event_base *base)
{
	enum { HELD = 100 };
	struct aiolink_options o = options_of(AIOLINK_CONNECT, unix_at(0), AIOCONN_MESSAGES);
	int listening = raw_listen(unix_at(0), 1), fd;
	char *data = must(malloc(PIECE));
	struct aiolink *l;
	struct aiomsg *m;
	unsigned n;

	o.outbox = must(aioqueue_new(HELD, 0));
	for (n = 0; n < HELD; n++) {
		fill(data, PIECE, n);
		m = must(aiomsg_new_bytes(data, PIECE));
		must(aioqueue_put(o.outbox, m, AIOIPC_NOW));
		aiomsg_free(m);
	}
	l = start_link(&o, base);
	fd = raw_accept(listening);
	must(aiolink_wait_connected(l, soon()));
	must_fail(aiolink_close(l, aioipc_after(100)), ETIMEDOUT);
	n = count_pieces(fd, 0);
	ck_assert_uint_ge(n, 1);
	ck_assert_uint_le(n, HELD - 1);
	ck_assert_uint_eq(aioqueue_count(o.outbox), HELD - n);
	while (must(aioqueue_get(o.outbox, &m, AIOIPC_NOW)) == 1)
		expect_piece(m, n++);
	ck_assert_uint_eq(n, HELD);
	aioqueue_free(o.outbox);
	close(fd);
	close(listening);
	free(data);
}

TEST_WITHIN(a_close_towards_the_deaf_ends_in_time_and_leaves_the_rest, 20)
{
	both_ways(close_towards_the_deaf);
}

/* That there is nobody is told, and told whom it concerns: who waits, who puts, who gets. */
static void fail_to_connect(struct event_base *base)
{
	struct aiolink_options o = options_of(AIOLINK_CONNECT, unix_at(0), AIOCONN_MESSAGES);
	struct states states;
	struct aiolink *l;
	struct aiomsg *m = must(aiomsg_new_bytes("x", 1));
	char why[200];

	never_again(&o);
	l = must(aiolink_new(&o));
	watch_states(l, &states);
	must(aiolink_start(l, base));
	must_fail(aiolink_wait_connected(l, soon()), EPIPE);
	await_state(&states, AIOLINK_ENDED);
	must(aiolink_join(l, soon()));
	ck_assert_int_eq(aiolink_error(l), ECONNREFUSED);
	must(aiolink_why(l, why, sizeof why));
	ck_assert_str_ne(why, "");
	must_fail(aioqueue_put(aiolink_outbox(l), m, soon()), EPIPE);
	expect_queue_end(aiolink_inbox(l));
	close_link(l);
	free_states(&states);
	aiomsg_free(m);
}

static void fail_again_and_again(struct event_base *base)
{
	const struct aiolink_options o =
		options_of(AIOLINK_CONNECT, "unix:///nowhere/at/all", AIOCONN_MESSAGES);
	struct aiolink *l = must(aiolink_new(&o));
	struct states states;

	watch_states(l, &states);
	must(aiolink_start(l, base));
	while (states.count[AIOLINK_WAITING] < 5)
		await_state(&states, AIOLINK_WAITING);
	ck_assert_int_eq(aiolink_error(l), ENOENT);
	ck_assert_uint_ge(states.count[AIOLINK_CONNECTING], 5);
	put_word(aiolink_outbox(l), "kept");
	must_fail(aiolink_close(l, AIOIPC_NOW), ETIMEDOUT);
	free_states(&states);
}

TEST(who_cannot_connect_says_so)
{
	both_ways(fail_to_connect);
	both_ways(fail_again_and_again);
}

static void limit_descriptors(rlim_t n)
{
	struct rlimit r;

	must(getrlimit(RLIMIT_NOFILE, &r));
	r.rlim_cur = n;
	must(setrlimit(RLIMIT_NOFILE, &r));
}

/* Without descriptors there is no new connection, and no start; with some there is. */
static void run_out_of_descriptors(struct event_base *base)
{
	const struct aiolink_options o = options_of(AIOLINK_LISTEN, unix_at(1), AIOCONN_LINES);
	struct aiolink *l, *late = must(aiolink_new(&o));
	int listening = raw_listen(unix_at(0), 5), fd;

	l = start_connecting(unix_at(0), AIOCONN_LINES, base);
	fd = raw_accept(listening);
	put_word(aiolink_outbox(l), "before");
	wait_readable(fd);
	limit_descriptors(3);
	close(fd);
	while (aiolink_error(l) != EMFILE)
		nap(1);
	must_fail(aiolink_start(late, base), EMFILE);
	put_word(aiolink_outbox(l), "after");
	limit_descriptors(1024);
	fd = raw_accept(listening);
	put(fd, "there\r\n", 7);
	expect_word(aiolink_inbox(l), "there");
	must(aiolink_start(late, base));
	close_link(late);
	close(fd);
	close(listening);
	aiolink_abort(l);
}

TEST(without_descriptors_it_tries_again)
{
	both_ways(run_out_of_descriptors);
}

/* The link ended with messages in its outbox: its close tells. */
static void end_with_messages_left(struct event_base *base)
{
	struct aiolink_options o = options_of(AIOLINK_CONNECT, unix_at(0), AIOCONN_MESSAGES);
	struct aioqueue *out = must(aioqueue_new(10, 0));
	struct aiolink *l;

	never_again(&o);
	o.outbox = out;
	put_numbers(out, "left", 0, 3);
	l = start_link(&o, base);
	must(aiolink_join(l, soon()));
	must_fail(aiolink_close(l, soon()), EPIPE);
	expect_numbers(out, "left", 0, 3);
	expect_queue_end(out);
	aioqueue_free(out);
}

TEST(who_ended_before_all_had_left_says_so)
{
	both_ways(end_with_messages_left);
}

/* Processor time of this process, in milliseconds. */
static double cpu_ms(void)
{
	struct rusage r;

	must(getrusage(RUSAGE_SELF, &r));
	return (double)(r.ru_utime.tv_sec + r.ru_stime.tv_sec) * 1e3 +
	       (double)(r.ru_utime.tv_usec + r.ru_stime.tv_usec) / 1e3;
}

/* Who is left by the peer, or half left, does nothing: it does not turn, and takes no time. */
enum left {
	GONE,
	SAID_GOODBYE_TO_HALF_OPEN,
	SHUT_DOWN_TO_HALF_OPEN_LINES,
	NOT_YET_COME,
	SILENT,
	DEAF,
	WAYS_TO_LEAVE
};

static void put_until_full(struct aiolink *l)
{
	char *data = must(calloc(1, PIECE));
	struct aiomsg *m = must(aiomsg_new_bytes(data, PIECE));

	while (aioqueue_put(aiolink_outbox(l), m, aioipc_after(50)) == 0)
		;
	ck_assert_int_eq(errno, ETIMEDOUT);
	aiomsg_free(m);
	free(data);
}

static struct aiolink *leave_it(enum left how, struct event_base *base, int *fd)
{
	struct aiolink_options o = options_of(AIOLINK_LISTEN, unix_at(0), AIOCONN_MESSAGES);
	struct aiolink *l;

	if (how == SAID_GOODBYE_TO_HALF_OPEN || how == SHUT_DOWN_TO_HALF_OPEN_LINES) {
		o.half_open = true;
		never_again(&o);
	}
	if (how == SHUT_DOWN_TO_HALF_OPEN_LINES)
		o.framing = AIOCONN_LINES;
	l = start_link(&o, base);
	if (how == NOT_YET_COME) {
		*fd = -1;
		return l;
	}
	*fd = raw_connect(unix_at(0));
	put(*fd, PREFACE "\r\n", how == SHUT_DOWN_TO_HALF_OPEN_LINES ? PREFACE_LEN + 2 : PREFACE_LEN);
	must(aiolink_wait_connected(l, soon()));
	if (how == SAID_GOODBYE_TO_HALF_OPEN)
		put_frame(*fd, GOODBYE, 0, "", 0);
	if (how == SHUT_DOWN_TO_HALF_OPEN_LINES)
		must(shutdown(*fd, SHUT_WR));
	if (how == DEAF)
		put_until_full(l);
	if (how == GONE) {
		must(close(*fd));
		*fd = -1;
	}
	return l;
}

/* What is left of it works. */
static void expect_alive(enum left how, struct aiolink *l, int fd)
{
	char byte[9];

	if (how == SAID_GOODBYE_TO_HALF_OPEN || how == SHUT_DOWN_TO_HALF_OPEN_LINES) {
		put_word(aiolink_outbox(l), "after it");
		wait_readable(fd);
		ck_assert_uint_eq(get(fd, byte, 1), 1);
	}
	if (how == SHUT_DOWN_TO_HALF_OPEN_LINES)
		ck_assert_int_eq(byte[0], 'a');
}

static void expect_rest(struct event_base *base)
{
	for (enum left how = GONE; how < WAYS_TO_LEAVE; how++) {
		double before, most = 30 * harness_slowness();
		struct aiolink *l;
		int fd;

		l = leave_it(how, base, &fd);
		nap(20);
		before = cpu_ms();
		nap(200);
		if (cpu_ms() - before > most)
			ck_abort_msg("%d: %.0f ms of processor time in 200", how, cpu_ms() - before);
		expect_alive(how, l, fd);
		aiolink_abort(l);
		if (fd != -1)
			close(fd);
	}
}

TEST_WITHIN(who_is_left_does_not_spin, 20)
{
	both_ways(expect_rest);
}

/* Turns of the loop, where there is one. */
TEST(who_is_left_does_not_turn_the_loop)
{
	for (enum left how = GONE; how <= SILENT; how++) {
		struct event_base *base = new_base();
		const struct timeval end = {0, 200000};
		unsigned count = 0;
		struct aiolink *l;
		int fd;

		l = leave_it(how, base, &fd);
		turns(base, 20);
		must(event_base_loopexit(base, &end));
		while (!event_base_got_exit(base) && count < 100000) {
			must(event_base_loop(base, EVLOOP_ONCE));
			count++;
		}
		ck_assert_uint_lt(count, 20);
		aiolink_abort(l);
		if (fd != -1)
			close(fd);
		event_base_free(base);
	}
}
