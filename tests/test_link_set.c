/* What is set of a link: the grace for peers that stay, limits, how it reconnects and when it gives up, where it comes from; and to drop a peer. */
#include "tests/links.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Peers that stay. */

enum peer { IDLE, SENDING, STOPPED, GONE, PEERS };

static const char *const peer_names[] = {"idle", "sending", "stopped", "gone"};
static const char *const direction_names[] = {"both", "recv", "send"};
static const char *const framing_names[] = {"messages", "lines", "bytes"};

struct stay {
	enum aiolink_direction direction;
	enum aioconn_framing framing;
	enum peer peer;
};

/* Whoever is heard no more dies of it. */
static void say(int fd, enum aioconn_framing framing, const char *text)
{
	unsigned char frame[64];
	size_t len = strlen(text);

	if (framing == AIOCONN_MESSAGES)
		len = make_frame(frame, BYTES, 0, text, len);
	else
		memcpy(frame, text, len);
	if (write(fd, frame, len) == -1)
		_exit(0);
}

static pid_t start_peer(const struct stay *s, const char *address)
{
	pid_t pid = must(fork());
	int fd;

	if (pid > 0)
		return pid;
	signal(SIGPIPE, SIG_DFL);
	fd = raw_connect(address);
	if (s->framing == AIOCONN_MESSAGES)
		put(fd, PREFACE, PREFACE_LEN);
	say(fd, s->framing, "hello\r\n");
	if (s->peer == STOPPED)
		raise(SIGSTOP);
	while (s->peer == SENDING) {
		say(fd, s->framing, "more\r\n");
		usleep(1000);
	}
	while (s->peer == IDLE)
		pause();
	_exit(0);
}

static double now_ms(void)
{
	struct timespec t;

	must(clock_gettime(CLOCK_MONOTONIC, &t));
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void await_hello(struct aiolink *l, const struct stay *s, pid_t pid)
{
	struct aiolink_stats stats = {.size = sizeof stats};
	int status;

	do {
		nap(1);
		must(aiolink_stats(l, &stats));
	} while (s->direction == AIOLINK_SEND ? stats.connections == 0 : stats.msgs_in == 0);
	if (s->peer == STOPPED)
		must(waitpid(pid, &status, WUNTRACED));
	if (s->peer == GONE) {
		must(waitid(P_PID, (id_t)pid, &(siginfo_t){0}, WEXITED | WNOWAIT));
		await_disconnect(l);
	}
}

/* A link that only receives loses nothing; one that sends can't know what its peer has read. */
static void close_towards(const struct stay *s, struct event_base *base)
{
	const bool waits = s->direction != AIOLINK_RECV && s->peer != GONE;
	struct aiolink_options o = options_of(AIOLINK_LISTEN, base ? unix_at(0) : tcp_at(0), s->framing);
	struct aiolink *l;
	double from, took;
	int error;
	pid_t pid;

	no_raw_peer_over_tls();
	o.direction = s->direction;
	o.grace = 20;
	l = start_link(&o, base);
	pid = start_peer(s, aiolink_address(l));
	await_hello(l, s, pid);
	from = now_ms();
	error = aiolink_close(l, waits ? aioipc_after(40) : soon()) == -1 ? errno : 0;
	took = now_ms() - from;
	if (error != (waits ? ETIMEDOUT : 0) || took > 3000 * harness_slowness())
		ck_abort_msg("%s, %s, peer %s: %s after %.0f ms", direction_names[s->direction],
			     framing_names[s->framing], peer_names[s->peer], strerror(error), took);
	kill(pid, SIGKILL);
	must(waitpid(pid, NULL, 0));
}

static void close_towards_all(struct event_base *base)
{
	for (int direction = AIOLINK_BOTH; direction <= AIOLINK_SEND; direction++)
		for (int framing = AIOCONN_MESSAGES; framing <= AIOCONN_BYTES; framing++)
			for (int peer = 0; peer < PEERS; peer++) {
				const struct stay s = {(enum aiolink_direction)direction,
						       (enum aioconn_framing)framing, (enum peer)peer};

				close_towards(&s, base);
			}
}

TEST_WITHIN(a_peer_that_stays_holds_up_no_receiver, 60)
{
	both_ways(close_towards_all);
}

static struct aiolink *receive(int64_t grace, struct event_base *base, int *peer)
{
	struct aiolink_options o = options_of(AIOLINK_LISTEN, unix_at(0), AIOCONN_LINES);
	struct aiolink *l;

	o.direction = AIOLINK_RECV;
	o.grace = grace;
	l = start_link(&o, base);
	*peer = raw_connect(unix_at(0));
	must(aiolink_wait_connected(l, soon()));
	return l;
}

/* Its inbox is closed, by whoever wants no more: it says goodbye, drops what comes, and ends. */
static void close_inbox(struct event_base *base)
{
	int peer;
	struct aiolink *l = receive(0, base, &peer);
	char c;

	aioqueue_close(aiolink_inbox(l));
	must(aiolink_join(l, soon()));
	ck_assert_int_eq(aiolink_error(l), 0);
	ck_assert_int_eq(must(read(peer, &c, 1)), 0);
	close(peer);
	close_link(l);
}

TEST(with_its_inbox_closed_a_receiver_ends_in_time)
{
	both_ways(close_inbox);
}

/* A deadline that is shorter than the grace ends that, and is no failure either. */
static void close_early(struct event_base *base)
{
	int peer;
	struct aiolink *l = receive(AIOIPC_FOREVER, base, &peer);
	char c;

	must(aiolink_close(l, aioipc_after(10)));
	ck_assert_int_eq(must(read(peer, &c, 1)), 0);
	close(peer);
	l = receive(60000, base, &peer);
	must(aiolink_close(l, AIOIPC_NOW));
	ck_assert_int_eq(must(read(peer, &c, 1)), 0);
	close(peer);
}

TEST(a_deadline_ends_the_grace)
{
	both_ways(close_early);
}

static void leave_late(void *arg)
{
	const int *peer = arg;
	char c;

	wait_readable(*peer);
	ck_assert_int_eq(must(read(*peer, &c, 1)), 0);
	put(*peer, "late\r\n", 6);
	close(*peer);
}

/* What is said in the grace still arrives. */
static void await_goodbye(struct event_base *base)
{
	int peer;
	struct aiolink *l = receive(AIOIPC_FOREVER, base, &peer);
	struct aioqueue *in = aioqueue_ref(aiolink_inbox(l));
	struct beside *b = run_beside(base, leave_late, &peer);

	must(aiolink_close(l, AIOIPC_FOREVER));
	join_beside(b);
	expect_word(in, "late");
	expect_queue_end(in);
	aioqueue_free(in);
}

TEST(a_grace_without_end_waits_for_the_peer)
{
	both_ways(await_goodbye);
}

/* Limits. */

static char *line_of(size_t len)
{
	char *line = must(malloc(len + 3));

	memset(line, 'x', len);
	memcpy(line + len, "\r\n", 3);
	return line;
}

static void long_lines(struct event_base *base)
{
	const struct aioconn_limits limits = {.size = sizeof limits, .line = 1 << 20};
	struct aiolink_options o = options_of(AIOLINK_LISTEN, unix_at(0), AIOCONN_LINES);
	const size_t len = 100000;
	char *line = line_of(len);
	struct aiolink *a, *b;

	o.limits = &limits;
	a = start_link(&o, base);
	o.role = AIOLINK_CONNECT;
	b = start_link(&o, base);
	line[len] = '\0';
	put_word(aiolink_outbox(a), line);
	put_word(aiolink_outbox(b), line);
	expect_word(aiolink_inbox(a), line);
	expect_word(aiolink_inbox(b), line);
	aiolink_abort(a);
	aiolink_abort(b);
	free(line);
}

TEST(lines_may_be_longer)
{
	both_ways(long_lines);
}

/* Or they come in pieces, marked. */
static void pieces(struct event_base *base)
{
	const struct aioconn_limits limits = {.size = sizeof limits, .line = 64, .long_lines = true};
	struct aiolink_options o = options_of(AIOLINK_LISTEN, unix_at(0), AIOCONN_LINES);
	char *line = line_of(200);
	struct aiomsg *m;
	struct aiolink *l;
	size_t len = 0, n;
	unsigned part;
	int peer;

	o.limits = &limits;
	l = start_link(&o, base);
	peer = raw_connect(unix_at(0));
	put(peer, line, 202);
	do {
		ck_assert_int_eq(must(aioqueue_get(aiolink_inbox(l), &m, soon())), 1);
		part = aiomsg_part(m);
		ck_assert_int_eq((part & AIOMSG_CONTINUES) != 0, len > 0);
		aiomsg_bytes(m, &n);
		len += n;
		aiomsg_free(m);
	} while (part & AIOMSG_MORE);
	ck_assert_uint_eq(len, 200);
	close(peer);
	aiolink_abort(l);
	free(line);
}

TEST(longer_lines_may_come_in_pieces)
{
	both_ways(pieces);
}

static char last_logged[400];

static void on_log(const char *text, void *arg)
{
	(void)arg;
	snprintf(last_logged, sizeof last_logged, "%s", text);
}

/* Both ways the limit is told as that. */
static void too_long(struct event_base *base)
{
	const struct aioconn_limits limits = {.size = sizeof limits, .message = 100};
	struct aiolink_options o = options_of(AIOLINK_LISTEN, unix_at(0), AIOCONN_MESSAGES);
	char *line = line_of(200), why[128];
	struct aiolink_stats stats = {.size = sizeof stats};
	struct aiolink *l;
	int peer;

	never_again(&o);
	o.limits = &limits;
	l = start_link(&o, base);
	peer = raw_connect(unix_at(0));
	put_word(aiolink_outbox(l), line);
	put_word(aiolink_outbox(l), "short");
	get_preface(peer);
	expect_frame(peer, BYTES, "short");
	must(aiolink_stats(l, &stats));
	ck_assert_uint_eq(stats.refused, 1);
	ck_assert_ptr_nonnull(strstr(last_logged, strerror(EMSGSIZE)));
	put(peer, PREFACE, PREFACE_LEN);
	put_frame(peer, BYTES, 0, line, 200);
	must(aiolink_join(l, soon()));
	ck_assert_int_eq(aiolink_error(l), EMSGSIZE);
	must(aiolink_why(l, why, sizeof why));
	ck_assert_ptr_nonnull(strstr(why, "limit 100"));
	aiolink_abort(l);
	close(peer);
	free(line);
}

TEST(what_is_over_a_limit_is_told_as_that)
{
	aioipc_set_log(on_log, NULL);
	too_long(NULL);
}

static void expect_refused(struct aiolink_options o, const char *word)
{
	must_fail(aiolink_new(&o), EINVAL);
	if (!strstr(last_logged, word))
		ck_abort_msg("\"%s\" does not say \"%s\"", last_logged, word);
}

TEST(settings_that_make_no_sense_are_refused_in_words)
{
	const struct aioconn_limits none = {.size = 0}, huge = {.size = sizeof huge, .line = (size_t)2 << 30};
	const struct aiolink_options tcp = options_of(AIOLINK_CONNECT, "tcp://127.0.0.1:1", AIOCONN_LINES);
	struct aiolink_options o = tcp;

	aioipc_set_log(on_log, NULL);
	o.grace = -2;
	expect_refused(o, "negative");
	o = tcp;
	o.give_up_after = -1;
	expect_refused(o, "negative");
	o = tcp;
	o.limits = &none;
	expect_refused(o, "size");
	o.limits = &huge;
	expect_refused(o, "1 GiB");
	o = tcp;
	o.local = "tcp://localhost:0";
	expect_refused(o, "number");
	o.local = "unix:@name";
	expect_refused(o, "TCP");
	o.local = "tcp://127.0.0.1:0";
	o.address = unix_at(0);
	expect_refused(o, "TCP");
	o.address = tcp.address;
	o.role = AIOLINK_LISTEN;
	expect_refused(o, "TCP");
}

/* Reconnecting. */

static struct aiolink *reach(int listening, int64_t pause, struct event_base *base, int *peer)
{
	struct aiolink_options o = options_of(AIOLINK_CONNECT, unix_at(0), AIOCONN_LINES);
	struct aiolink *l;

	o.reconnect_first = o.reconnect_most = pause;
	l = start_link(&o, base);
	*peer = raw_accept(listening);
	must(aiolink_wait_connected(l, soon()));
	return l;
}

static void last_connection(struct event_base *base)
{
	int listening = raw_listen(unix_at(0), 5), peer;
	struct aiolink *l = reach(listening, 1, base, &peer);

	close(peer);
	peer = raw_accept(listening);
	must(aiolink_wait_connected(l, soon()));
	must(aiolink_set_reconnect(l, 0, 0));
	must_fail(aiolink_wait_disconnected(l, aioipc_after(20)), ETIMEDOUT);
	put(peer, "bye\r\n", 5);
	close(peer);
	expect_word(aiolink_inbox(l), "bye");
	must(aiolink_join(l, soon()));
	must_fail(aiolink_set_reconnect(l, 1, 1), EPIPE);
	aiolink_abort(l);
	close(listening);
}

TEST(a_connection_can_become_the_last)
{
	both_ways(last_connection);
}

static void not_the_last(struct event_base *base)
{
	int listening = raw_listen(unix_at(0), 5), peer;
	struct aiolink *l = reach(listening, 0, base, &peer);

	must_fail(aiolink_set_reconnect(l, -1, 0), EINVAL);
	must_fail(aiolink_set_reconnect(l, 2, 1), EINVAL);
	must(aiolink_set_reconnect(l, 1, 20));
	close(peer);
	peer = raw_accept(listening);
	must(aiolink_wait_connected(l, soon()));
	close(peer);
	aiolink_abort(l);
	close(listening);
}

TEST(a_link_can_learn_to_reconnect)
{
	both_ways(not_the_last);
}

/* It waits for a minute: that is cut short, or ends it. */
static void while_it_waits(struct event_base *base)
{
	int listening = raw_listen(unix_at(0), 5), peer;
	struct aiolink *l = reach(listening, 60000, base, &peer);

	close(peer);
	while (aiolink_state(l) != AIOLINK_WAITING)
		nap(1);
	must(aiolink_set_reconnect(l, 1, 60000));
	peer = raw_accept(listening);
	must(aiolink_wait_connected(l, soon()));
	must(aiolink_set_reconnect(l, 60000, 60000));
	close(peer);
	while (aiolink_state(l) != AIOLINK_WAITING)
		nap(1);
	must(aiolink_set_reconnect(l, 0, 0));
	must(aiolink_join(l, soon()));
	aiolink_abort(l);
	close(listening);
}

TEST(a_pause_can_be_cut_short)
{
	both_ways(while_it_waits);
}

static void listens_no_more(struct event_base *base)
{
	struct aiolink_options o = options_of(AIOLINK_LISTEN, unix_at(0), AIOCONN_LINES);
	struct aiolink *l = start_link(&o, base);
	int peer = raw_connect(unix_at(0));

	must(aiolink_wait_connected(l, soon()));
	must(aiolink_set_reconnect(l, 0, 0));
	close(peer);
	must(aiolink_join(l, soon()));
	aiolink_abort(l);
	never_again(&o);
	l = start_link(&o, base);
	peer = raw_connect(unix_at(0));
	must(aiolink_wait_connected(l, soon()));
	must_fail(aiolink_set_reconnect(l, 1, 1), EPIPE);
	close(peer);
	aiolink_abort(l);
}

TEST(a_listening_link_whose_peer_is_its_last)
{
	both_ways(listens_no_more);
}

/* Dropping a peer. */

static void drop_one(struct event_base *base)
{
	struct aiolink_options o = options_of(AIOLINK_LISTEN, unix_at(0), AIOCONN_MESSAGES);
	struct aiolink *l = start_link(&o, base);
	struct aioconn *c;

	must_fail(aiolink_drop(l), ENOTCONN);
	for (unsigned i = 0; i < 2; i++) {
		c = must(aioconn_connect(unix_at(0), NULL, soon()));
		while (stat_connections(l) <= i)
			nap(1);
		must(aiolink_wait_connected(l, soon()));
		must(aiolink_drop(l));
		expect_end(c, ECONNRESET);
		aioconn_abort(c);
	}
	while (aiolink_drop(l) == 0)
		nap(1);
	ck_assert_int_eq(aiolink_error(l), ECONNABORTED);
	ck_assert_uint_eq(stat_connections(l), 2);
	aiolink_abort(l);
}

TEST(a_peer_is_dropped_and_the_next_one_served)
{
	both_ways(drop_one);
}

static void drop_the_last(struct event_base *base)
{
	int listening = raw_listen(unix_at(0), 5), peer;
	struct aiolink *l = reach(listening, 0, base, &peer);
	char why[64];

	must(aiolink_drop(l));
	must(aiolink_join(l, soon()));
	ck_assert_int_eq(aiolink_error(l), ECONNABORTED);
	must(aiolink_why(l, why, sizeof why));
	ck_assert_str_eq(why, "dropped");
	must_fail(aiolink_drop(l), ENOTCONN);
	aiolink_abort(l);
	close(peer);
	close(listening);
}

TEST(who_drops_its_last_peer_ends)
{
	both_ways(drop_the_last);
}

static void drop_in_callback(struct aiolink *l, enum aiolink_state state, void *arg)
{
	unsigned *n = arg;

	if (state == AIOLINK_CONNECTED && (*n)++ < 3)
		must(aiolink_drop(l));
}

static void drop_at_once(struct event_base *base)
{
	const struct aiolink_options o = options_of(AIOLINK_CONNECT, unix_at(0), AIOCONN_LINES);
	int listening = raw_listen(unix_at(0), 10), peer[4];
	struct aiolink *l = must(aiolink_new(&o));
	unsigned n = 0;

	must(aiolink_on_state(l, drop_in_callback, &n));
	must(aiolink_start(l, base));
	for (int i = 0; i < 4; i++)
		peer[i] = raw_accept(listening);
	put(peer[3], "kept\r\n", 6);
	expect_word(aiolink_inbox(l), "kept");
	aiolink_abort(l);
	ck_assert_uint_eq(n, 4);
	for (int i = 0; i < 4; i++)
		close(peer[i]);
	close(listening);
}

TEST(a_peer_may_be_dropped_in_the_callback_that_tells_of_it)
{
	both_ways(drop_at_once);
}

/* Giving up. */

static void give_up(struct event_base *base)
{
	struct aiolink_options o = options_of(AIOLINK_CONNECT, unix_at(7), AIOCONN_LINES);
	struct aiolink *l;

	o.give_up_after = 30;
	l = start_link(&o, base);
	must(aiolink_join(l, soon()));
	ck_assert_int_eq(aiolink_error(l), ECONNREFUSED);
	aiolink_abort(l);
	o.reconnect_first = o.reconnect_most = 60000;
	l = start_link(&o, base);
	must(aiolink_join(l, soon()));
	ck_assert_int_eq(aiolink_error(l), ECONNREFUSED);
	aiolink_abort(l);
	o.role = AIOLINK_LISTEN;
	l = start_link(&o, base);
	must(aiolink_join(l, soon()));
	ck_assert_int_eq(aiolink_error(l), ETIMEDOUT);
	aiolink_abort(l);
}

TEST(it_gives_up_after_so_long)
{
	both_ways(give_up);
}

/* A connection, however long, is no time in vain. */
static void give_up_later(struct event_base *base)
{
	struct aiolink_options o = options_of(AIOLINK_LISTEN, unix_at(0), AIOCONN_LINES);
	struct aiolink *l;
	int peer;

	o.give_up_after = 300;
	l = start_link(&o, base);
	peer = raw_connect(unix_at(0));
	must(aiolink_wait_connected(l, soon()));
	must_fail(aiolink_wait_disconnected(l, aioipc_after(350)), ETIMEDOUT);
	close(peer);
	while (aiolink_state(l) != AIOLINK_ENDED && aiolink_state(l) != AIOLINK_CONNECTING)
		nap(1);
	ck_assert_int_eq(aiolink_state(l), AIOLINK_CONNECTING);
	must(aiolink_join(l, soon()));
	ck_assert_int_eq(aiolink_error(l), ETIMEDOUT);
	aiolink_abort(l);
}

TEST(the_time_to_give_up_begins_with_each_end)
{
	both_ways(give_up_later);
}

/* What TCP is asked to do about peers that vanish. */

static int option(int fd, int level, int name)
{
	int value = -1;
	socklen_t len = sizeof value;

	must(getsockopt(fd, level, name, &value, &len));
	return value;
}

/* The link's own socket: the one at the other end of this. */
static int other_end(int peer)
{
	struct sockaddr_in to, here;
	socklen_t len = sizeof to;

	must(getpeername(peer, (struct sockaddr *)&to, &len));
	for (int fd = 3; fd < 200; fd++) {
		len = sizeof here;
		if (fd != peer && getsockname(fd, (struct sockaddr *)&here, &len) == 0 &&
		    here.sin_family == AF_INET && here.sin_port == to.sin_port &&
		    option(fd, SOL_SOCKET, SO_ACCEPTCONN) == 0)
			return fd;
	}
	return must(-1);
}

static void expect_keepalive(int peer, int on, int idle, int timeout)
{
	int fd = other_end(peer);

	ck_assert_int_eq(option(fd, SOL_SOCKET, SO_KEEPALIVE), on);
	if (on)
		ck_assert_int_eq(option(fd, IPPROTO_TCP, TCP_KEEPIDLE), idle);
	ck_assert_int_eq(option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT), timeout);
	close(peer);
}

static void keep_alive(int64_t keepalive, int64_t timeout, int on, int idle, int ms)
{
	struct aiolink_options o = options_of(AIOLINK_LISTEN, tcp_at(0), AIOCONN_LINES);
	int listening = raw_listen(tcp_at(0), 5), peer;
	struct aiolink *l;

	o.keepalive = keepalive;
	o.user_timeout = timeout;
	l = start_link(&o, NULL);
	peer = raw_connect(aiolink_address(l));
	must(aiolink_wait_connected(l, soon()));
	expect_keepalive(peer, on, idle, ms);
	aiolink_abort(l);
	o.role = AIOLINK_CONNECT;
	o.address = tcp_at(raw_port(listening));
	l = start_link(&o, NULL);
	peer = raw_accept(listening);
	must(aiolink_wait_connected(l, soon()));
	expect_keepalive(peer, on, idle, ms);
	aiolink_abort(l);
	close(listening);
}

TEST(tcp_asks_after_silent_peers)
{
	keep_alive(0, 0, 1, 60, 300000);
	keep_alive(7000, 20000, 1, 7, 20000);
	keep_alive(AIOIPC_FOREVER, AIOIPC_FOREVER, 0, 0, 0);
}

/* Where it comes from. */

static void come_from(struct event_base *base)
{
	int listening = raw_listen(tcp_at(0), 5), port = raw_port(listening), peer;
	struct aiolink_options o = options_of(AIOLINK_CONNECT, tcp_at(port), AIOCONN_LINES);
	char seen[64], local[64];
	struct sockaddr_in sa;
	socklen_t len = sizeof sa;
	struct aiolink *l;

	o.local = "tcp://127.0.0.9:0";
	l = must(aiolink_new(&o));
	must_fail(aiolink_local(l, local, sizeof local), ENOTCONN);
	must(aiolink_start(l, base));
	peer = raw_accept(listening);
	must(aiolink_wait_connected(l, soon()));
	must(aiolink_local(l, local, sizeof local));
	ck_assert_ptr_nonnull(strstr(local, "tcp://127.0.0.9:"));
	must(getpeername(peer, (struct sockaddr *)&sa, &len));
	snprintf(seen, sizeof seen, "tcp://%s:%d", inet_ntoa(sa.sin_addr), ntohs(sa.sin_port));
	ck_assert_str_eq(seen, local);
	close(peer);
	aiolink_abort(l);
	close(listening);
}

TEST(it_comes_from_where_it_is_told_to)
{
	both_ways(come_from);
}
