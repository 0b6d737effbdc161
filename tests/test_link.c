/*
 * Links, call by call: what each option, state, wait and error is, and what the end leaves. What a link withstands as part of
 * a program is in the other tests of links.
 */
#include "tests/peers.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/* A link, its queues, and the states that it told, as letters: c connecting, w waiting, C connected, l closing, E ended. */
struct side {
	struct aiolink *l;
	struct aioqueue *in, *out;
	char states[64];
	unsigned n, count[AIOLINK_ENDED + 1];
	enum aiolink_state free_at; /* it frees the link then; NEW: never */
	bool freed;
	int closed; /* errno of closing it there */
};

static struct aiolink_options options(enum aiolink_role role, const char *address)
{
	return (struct aiolink_options){
		.size = sizeof(struct aiolink_options), .role = role, .address = address};
}

static struct aiolink_options options_over(struct aioend *end)
{
	return (struct aiolink_options){.size = sizeof(struct aiolink_options), .end = end};
}

static void on_state(struct aiolink *l, enum aiolink_state state, void *arg)
{
	struct side *s = arg;

	if (s->n < sizeof s->states - 1)
		s->states[s->n++] = "ncwClE"[state];
	s->count[state]++;
	if (state != s->free_at || s->freed)
		return;
	s->freed = true;
	s->closed = aiolink_close(l, AIOIPC_NOW) == 0 ? 0 : errno;
}

static void make(struct side *s, const struct aiolink_options *o)
{
	*s = (struct side){.l = must(aiolink_new(o))};
	s->in = aiolink_inbox(s->l);
	s->out = aiolink_outbox(s->l);
	must(aiolink_on_state(s->l, on_state, s));
}

static void start(struct side *s, const struct aiolink_options *o, struct event_base *base)
{
	make(s, o);
	must(aiolink_start(s->l, base));
}

/* Its peer is a descriptor of the test's. */
static int start_over_pair(struct side *s, struct aiolink_options o, struct event_base *base)
{
	struct aioend *one, *other;
	int fd, same;

	must(aiosockpair(&one, &other));
	o.end = one;
	start(s, &o, base);
	must(aioend_release(other, &fd, &same));
	return fd;
}

/* Two that talk to each other: one listens, one connects. */
static void start_pair(struct side *server, struct side *client, struct event_base *base,
		       struct aiolink_options o)
{
	o.role = AIOLINK_LISTEN;
	o.address = "tcp://127.0.0.1:0";
	start(server, &o, base);
	o.role = AIOLINK_CONNECT;
	o.address = aiolink_address(server->l);
	start(client, &o, base);
}

static const char *own_address(void)
{
	static char text[64];

	snprintf(text, sizeof text, "unix:@aioipc-test-link-%ld", (long)getpid());
	return text;
}

static struct sockaddr_un own_name(socklen_t *len)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};

	*len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(own_address()) - 5);
	memcpy(un.sun_path + 1, own_address() + 6, strlen(own_address()) - 6);
	return un;
}

static int raw_listen(void)
{
	int fd = must(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
	socklen_t len;
	struct sockaddr_un un = own_name(&len);

	no_raw_peer_over_tls();
	must(bind(fd, (struct sockaddr *)&un, len));
	must(listen(fd, 5));
	return fd;
}

static int raw_connect(void)
{
	int fd = must(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
	socklen_t len;
	struct sockaddr_un un = own_name(&len);

	no_raw_peer_over_tls();
	must(connect(fd, (struct sockaddr *)&un, len));
	return fd;
}

static void say_goodbye(int fd)
{
	put(fd, PREFACE, PREFACE_LEN);
	put_frame(fd, GOODBYE, 0, "", 0);
}

static void put_text(struct aioqueue *q, const char *text)
{
	struct aiomsg *m = must(aiomsg_new_bytes(text, strlen(text)));

	must(aioqueue_put(q, m, soon()));
	aiomsg_free(m);
}

static void expect_text_in(struct aioqueue *q, const char *text)
{
	struct aiomsg *m;

	ck_assert_int_eq(must(aioqueue_get(q, &m, soon())), 1);
	if (!is_text(m, text))
		ck_abort_msg("not %s", text);
	aiomsg_free(m);
}

static void expect_end_of(struct aioqueue *q)
{
	struct aiomsg *m;

	ck_assert_int_eq(must(aioqueue_get(q, &m, soon())), 0);
}

static struct aiolink_stats stats(const struct side *s)
{
	struct aiolink_stats st = {.size = sizeof st};

	must(aiolink_stats(s->l, &st));
	return st;
}

static void expect_why(const struct side *s, int error, const char *word)
{
	char why[128];

	must(aiolink_why(s->l, why, sizeof why));
	ck_assert_int_eq(aiolink_error(s->l), error);
	if (!strstr(why, word))
		ck_abort_msg("%s is not in: %s", word, why);
}

static void run_to(struct event_base *base, const struct side *s, enum aiolink_state state)
{
	run_until(base, &s->count[state], 1);
}

/* Both ways of running one. */

static void talk_both_ways(struct event_base *base)
{
	struct side server, client;

	start_pair(&server, &client, base, options(0, NULL));
	put_text(client.out, "to the server");
	put_text(server.out, "to the client");
	must(aiolink_wait_connected(server.l, soon()));
	must(aiolink_wait_connected(client.l, soon()));
	aioqueue_close(client.out);
	must(aiolink_join(client.l, soon()));
	must(aiolink_join(server.l, soon()));
	expect_text_in(server.in, "to the server");
	expect_text_in(client.in, "to the client");
	expect_end_of(server.in);
	expect_end_of(client.in);
	must_fail(aiolink_wait_connected(server.l, soon()), EPIPE);
	must(aiolink_wait_disconnected(server.l, soon()));
	expect_why(&server, 0, "");
	expect_why(&client, 0, "");
	ck_assert_uint_eq(stats(&client).msgs_out, 1);
	ck_assert_uint_eq(stats(&client).msgs_in, 1);
	ck_assert_uint_eq(stats(&client).unsure, 0);
	ck_assert_uint_eq(stats(&server).unsure, 1);
	ck_assert_uint_eq(stats(&server).connections, 1);
	must(aiolink_close(client.l, AIOIPC_NOW));
	must(aiolink_close(server.l, AIOIPC_NOW));
	ck_assert_str_eq(client.states, "cClE");
	ck_assert_str_eq(server.states, "cClE");
}

TEST(it_runs_in_a_thread_of_its_own)
{
	talk_both_ways(NULL);
}

TEST(it_runs_on_a_base)
{
	struct event_base *base = new_base();

	talk_both_ways(base);
	event_base_free(base);
}

static void talk_in_task(void *base)
{
	talk_both_ways(base);
	talk_both_ways(NULL);
}

TEST(it_runs_beside_a_task)
{
	struct event_base *base = new_base();

	must(aiotask_run(base, talk_in_task, base));
	event_base_free(base);
}

/* Options. */

static char logged[256];

static void on_log(const char *text, void *arg)
{
	(void)arg;
	snprintf(logged, sizeof logged, "%s", text);
}

static void expect_refused(const struct aiolink_options *o, const char *word)
{
	*logged = '\0';
	aioipc_set_log(on_log, NULL);
	must_fail(aiolink_new(o), EINVAL);
	aioipc_set_log(NULL, NULL);
	if (!strstr(logged, word))
		ck_abort_msg("%s is not in: %s", word, logged);
}

#define REFUSED(word, ...)                                                                                   \
	do {                                                                                                 \
		const struct aiolink_options o = {__VA_ARGS__};                                              \
		expect_refused(&o, word);                                                                    \
	} while (0)
#define SIZE .size = sizeof(struct aiolink_options)
#define TCP SIZE, .address = "tcp://127.0.0.1:1"
#define ABSTRACT SIZE, .address = "unix:@x"

TEST(options_that_make_no_sense_are_refused_in_words)
{
	struct aioqueue *q = must(aioqueue_new(1, 0));
	const uid_t me = getuid();
	struct aioend *a, *b;

	must(aiosockpair(&a, &b));
	must_fail(aiolink_new(NULL), EINVAL);
	REFUSED("size", .size = 1, .address = "tcp://127.0.0.1:1");
	REFUSED("address or an end", SIZE);
	REFUSED("address or an end", TCP, .end = a);
	REFUSED("port", SIZE, .address = "tcp://");
	REFUSED("port", SIZE, .address = "tcp://127.0.0.1:0");
	REFUSED("role", TCP, .role = (enum aiolink_role)7);
	REFUSED("role", TCP, .direction = (enum aiolink_direction)7);
	REFUSED("role", TCP, .framing = (enum aioconn_framing)7);
	REFUSED("negative", TCP, .idle_limit = -1);
	REFUSED("negative", TCP, .send_limit = -1);
	REFUSED("negative", TCP, .connect_limit = -1);
	REFUSED("negative", TCP, .reconnect_first = -1, .reconnect_most = 5);
	REFUSED("reconnecting", TCP, .reconnect_most = 5);
	REFUSED("reconnecting", TCP, .reconnect_first = 5);
	REFUSED("reconnecting", TCP, .reconnect_first = 5, .reconnect_most = 4);
	REFUSED("half open", TCP, .reconnect_first = 5, .reconnect_most = 5, .half_open = true);
	REFUSED("delimiter", TCP, .framing = AIOCONN_LINES, .delimiter = "");
	REFUSED("delimiter", TCP, .framing = AIOCONN_LINES, .delimiter = "123456789");
	REFUSED("spinning", TCP, .spin = 1001);
	REFUSED("descriptors", TCP, .fds = 1);
	REFUSED("descriptors", ABSTRACT, .fds = 254);
	REFUSED("no inbox", TCP, .direction = AIOLINK_SEND, .inbox = q);
	REFUSED("no outbox", TCP, .direction = AIOLINK_RECV, .outbox = q);
	REFUSED("the user", ABSTRACT, .uids = &me, .n_uids = 1);
	REFUSED("the user", TCP, .role = AIOLINK_LISTEN, .uids = &me, .n_uids = 1);
	REFUSED("the user", ABSTRACT, .role = AIOLINK_LISTEN, .n_uids = 1);
	REFUSED("mode", ABSTRACT, .role = AIOLINK_LISTEN, .mode = 0600);
	REFUSED("mode", SIZE, .address = "unix:///tmp/x", .role = AIOLINK_LISTEN, .mode = 010000);
	REFUSED("end can't reconnect", SIZE, .end = a, .reconnect_first = 1, .reconnect_most = 1);
	REFUSED("end does not listen", SIZE, .end = a, .role = AIOLINK_LISTEN);
	aioend_free(a);
	aioend_free(b);
	aioqueue_free(q);
}

TEST(queues_are_given_or_made)
{
	struct aiolink_options o = options(AIOLINK_CONNECT, "tcp://127.0.0.1:1");
	struct aioqueue *q = must(aioqueue_new(1, 0));
	struct side s;

	make(&s, &o);
	ck_assert(s.in && s.out && s.in != s.out);
	must_fail(aiolink_wait_connected(s.l, 5), EINVAL);
	must_fail(aiolink_close(s.l, 5), EINVAL);
	aioqueue_ref(s.in);
	must(aiolink_close(s.l, AIOIPC_FOREVER));
	expect_end_of(s.in);
	aioqueue_free(s.in);
	o.direction = AIOLINK_RECV;
	make(&s, &o);
	ck_assert(s.in && !s.out);
	aiolink_abort(s.l);
	o.direction = AIOLINK_SEND;
	o.outbox = q;
	make(&s, &o);
	ck_assert(!s.in && s.out == q);
	put_text(q, "for another one");
	must_fail(aiolink_close(s.l, AIOIPC_NOW), EPIPE);
	expect_text_in(q, "for another one");
	put_text(q, "it is not closed");
	aioqueue_free(q);
	must(aiolink_close(NULL, AIOIPC_NOW));
	aiolink_abort(NULL);
}

TEST(what_it_tells_before_it_starts)
{
	struct aiolink_options o = options(AIOLINK_LISTEN, "tcp://127.0.0.1:0");
	struct aiolink_stats st = {.size = 1};
	char buf[64];
	struct side s;

	make(&s, &o);
	ck_assert_int_eq(aiolink_state(s.l), AIOLINK_NEW);
	ck_assert_str_eq(aiolink_address(s.l), "tcp://127.0.0.1:0");
	ck_assert_int_eq(aiolink_port(s.l), 0);
	expect_why(&s, 0, "");
	must_fail(aiolink_peer(s.l, buf, sizeof buf), ENOTCONN);
	must_fail(aiolink_stats(s.l, &st), EINVAL);
	st.size = sizeof st + 1;
	must_fail(aiolink_stats(s.l, &st), EINVAL);
	must_fail(aiolink_join(s.l, AIOIPC_NOW), ETIMEDOUT);
	must_fail(aiolink_join(s.l, aioipc_after(1)), ETIMEDOUT);
	must_fail(aiolink_wait_disconnected(s.l, AIOIPC_NOW), ETIMEDOUT);
	aiolink_abort(s.l);
	ck_assert_str_eq(s.states, "");
}

TEST(what_it_tells_when_it_runs)
{
	struct side server, client;
	char buf[64], where[64];
	struct aiolink_stats first = {.size = offsetof(struct aiolink_stats, msgs_in), .msgs_in = 77};

	start_pair(&server, &client, NULL, options(0, NULL));
	must_fail(aiolink_start(server.l, NULL), EALREADY);
	must_fail(aiolink_on_state(server.l, NULL, NULL), EBUSY);
	must(aiolink_wait_connected(client.l, soon()));
	must(aiolink_wait_connected(server.l, soon()));
	ck_assert_int_gt(aiolink_port(server.l), 0);
	ck_assert_int_eq(aiolink_port(client.l), 0);
	snprintf(where, sizeof where, "tcp://127.0.0.1:%d", aiolink_port(server.l));
	ck_assert_str_eq(aiolink_address(server.l), where);
	ck_assert_str_eq(aiolink_address(client.l), where);
	must(aiolink_peer(client.l, buf, sizeof buf));
	ck_assert_str_eq(buf, where);
	must(aiolink_peer(server.l, buf, 7));
	ck_assert_str_eq(buf, "tcp://");
	ck_assert_int_eq(aiolink_state(client.l), AIOLINK_CONNECTED);
	must(aiolink_stats(client.l, &first));
	ck_assert_uint_eq(first.connections, 1);
	ck_assert_uint_eq(first.msgs_in, 77);
	must(aiolink_close(client.l, soon()));
	must(aiolink_close(server.l, soon()));
}

/* Starting. */

static void expect_no_start(struct event_base *base)
{
	struct side one, other;
	struct aiolink_options o = options(AIOLINK_LISTEN, own_address());
	int fd = raw_listen();

	make(&one, &o);
	must_fail(aiolink_start(one.l, base), EADDRINUSE);
	must_fail(aiolink_start(one.l, base), EADDRINUSE);
	ck_assert_int_eq(aiolink_state(one.l), AIOLINK_NEW);
	close(fd);
	must(aiolink_start(one.l, base));
	o.role = AIOLINK_CONNECT;
	start(&other, &o, base);
	must(aiolink_wait_connected(other.l, soon()));
	must(aiolink_close(other.l, soon()));
	must(aiolink_close(one.l, soon()));
}

TEST(an_address_in_use_is_told_by_start)
{
	struct event_base *base = new_base();

	expect_no_start(base);
	expect_no_start(NULL);
	event_base_free(base);
}

static void expect_bad_end(enum transport t, bool second, enum aiolink_direction direction, unsigned fds,
			   int error)
{
	struct aioend *a, *b;
	struct aiolink_options o;
	struct side s;

	make_ends(t, &a, &b);
	o = options_over(second ? b : a);
	o.direction = direction;
	o.fds = fds;
	make(&s, &o);
	must_fail(aiolink_start(s.l, NULL), error);
	must_fail(aiolink_start(s.l, NULL), error);
	aiolink_abort(s.l);
	aioend_free(second ? a : b);
}

TEST(an_end_that_does_not_fit_is_told_by_start)
{
	expect_bad_end(PIPE, false, AIOLINK_BOTH, 0, EBADF);
	expect_bad_end(PIPE, false, AIOLINK_RECV, 0, EBADF);
	expect_bad_end(PIPE, true, AIOLINK_SEND, 0, EBADF);
	expect_bad_end(DUPLEX, true, AIOLINK_BOTH, 1, EOPNOTSUPP);
}

static void talk_over(enum transport t)
{
	struct aioend *a, *b;
	struct aiolink_options o, p;
	struct side one, other;
	char buf[32];

	make_ends(t, &a, &b);
	o = options_over(a);
	p = options_over(b);
	if (t == PIPE) {
		o.direction = AIOLINK_SEND;
		p.direction = AIOLINK_RECV;
	}
	start(&one, &o, NULL);
	start(&other, &p, NULL);
	must(aiolink_wait_connected(one.l, soon()));
	if (t == PAIR)
		must(aiolink_peer(one.l, buf, sizeof buf));
	else
		must_fail(aiolink_peer(one.l, buf, sizeof buf), ENOTSOCK);
	ck_assert_ptr_null(aiolink_address(one.l));
	put_text(one.out, "over an end");
	expect_text_in(other.in, "over an end");
	must(aiolink_close(one.l, soon()));
	expect_end_of(other.in);
	must(aiolink_close(other.l, soon()));
}

TEST(it_speaks_over_an_end)
{
	talk_over(PIPE);
	talk_over(DUPLEX);
	talk_over(PAIR);
}

/* The peer at the other end is there already: it is heard, and told, though the outbox is closed before the first turn. */
static void close_before_it_begins(enum transport t, bool before_start, struct event_base *base)
{
	struct aioend *a, *b;
	struct aiolink_options o;
	struct aioconn *peer;
	struct side s;

	make_ends(t, &a, &b);
	o = options_over(a);
	peer = open_end(b, NULL);
	send_text(peer, "said before");
	must(aioconn_write_eof(peer));
	make(&s, &o);
	if (before_start)
		aioqueue_close(s.out);
	must(aiolink_start(s.l, base));
	aioqueue_close(s.out);
	must(aiolink_join(s.l, soon()));
	expect_text_in(s.in, "said before");
	expect_end_of(s.in);
	expect_end(peer, 0);
	must(aioconn_close(peer, soon()));
	must(aiolink_close(s.l, AIOIPC_NOW));
	ck_assert_str_eq(s.states, "cClE");
}

TEST(over_an_end_there_is_a_peer_from_the_beginning)
{
	for (int before_start = 0; before_start < 2; before_start++)
		for (enum transport t = DUPLEX; t <= PAIR; t++) {
			struct event_base *base = new_base();

			close_before_it_begins(t, before_start, NULL);
			close_before_it_begins(t, before_start, base);
			event_base_free(base);
		}
}

/* One that only receives, and is not wanted to. */
TEST(over_an_end_the_peer_is_told_that_nobody_listens)
{
	struct aiolink_options o;
	struct aioend *a, *b;
	struct aioconn *peer;
	struct side s;

	make_ends(PAIR, &a, &b);
	o = options_over(a);
	o.direction = AIOLINK_RECV;
	peer = open_end(b, NULL);
	start(&s, &o, NULL);
	aioqueue_close(s.in);
	expect_end(peer, 0);
	must(aioconn_close(peer, soon()));
	must(aiolink_close(s.l, soon()));
}

TEST(an_end_is_freed_with_a_link_that_never_started)
{
	struct aioend *a, *b;
	struct aiolink_options o;
	struct side s;
	char c;
	int fd, same;

	must(aiosockpair(&a, &b));
	o = options_over(a);
	make(&s, &o);
	must(aiolink_close(s.l, AIOIPC_NOW));
	must(aioend_release(b, &fd, &same));
	ck_assert_uint_eq(get(fd, &c, 1), 0);
	close(fd);
}

/* A socket in the file system, its mode, and that it is gone with the link. */
TEST(options_of_listening_are_passed_on)
{
	const uid_t nobody = getuid() + 1;
	char address[80], path[64];
	struct aiolink_options o = options(AIOLINK_LISTEN, address);
	struct side server;
	struct aioconn *c;
	struct stat st;

	snprintf(path, sizeof path, "/tmp/aioipc-test-link-%ld", (long)getpid());
	snprintf(address, sizeof address, "unix://%s", path);
	o.mode = 0620;
	o.uids = &nobody;
	o.n_uids = 1;
	start(&server, &o, NULL);
	must(stat(path, &st));
	ck_assert_int_eq(st.st_mode & 0777, 0620);
	c = must(aioconn_connect(address, NULL, soon()));
	expect_end(c, ECONNRESET);
	aioconn_abort(c);
	ck_assert_int_eq(aiolink_state(server.l), AIOLINK_CONNECTING);
	must(aiolink_close(server.l, soon()));
	must_fail(stat(path, &st), ENOENT);
}

/* Framings. */

TEST(lines_have_the_delimiter_that_was_asked_for)
{
	struct aiolink_options o = options_over(NULL);
	struct side s;
	char buf[8];
	int fd;

	o.framing = AIOCONN_LINES;
	o.delimiter = "\r\n";
	fd = start_over_pair(&s, o, NULL);
	put_text(s.out, "hello");
	ck_assert_uint_eq(get(fd, buf, 7), 7);
	ck_assert_mem_eq(buf, "hello\r\n", 7);
	put(fd, "one\r\ntwo\nthree\r\n", 16);
	expect_text_in(s.in, "one");
	expect_text_in(s.in, "two\nthree");
	close(fd);
	must(aiolink_join(s.l, soon()));
	expect_why(&s, 0, "");
	must(aiolink_close(s.l, soon()));
}

TEST(bytes_go_as_they_come)
{
	struct aiolink_options o = options_over(NULL);
	struct side s;
	char buf[8];
	int fd;

	o.framing = AIOCONN_BYTES;
	fd = start_over_pair(&s, o, NULL);
	put_text(s.out, "abc");
	put_text(s.out, "def");
	ck_assert_uint_eq(get(fd, buf, 6), 6);
	ck_assert_mem_eq(buf, "abcdef", 6);
	put(fd, "xyz", 3);
	expect_text_in(s.in, "xyz");
	close(fd);
	must(aiolink_close(s.l, soon()));
}

TEST(what_can_not_be_sent_is_dropped_counted_and_logged)
{
	struct aiolink_options o = options_over(NULL);
	struct aiomsg *typed = must(aiomsg_new("i", (int32_t)1));
	struct side s;
	char *much = must(calloc(1, 65537)), buf[8];
	struct aiomsg *large = must(aiomsg_new_bytes(much, 65537));
	int fd;

	o.framing = AIOCONN_LINES;
	fd = start_over_pair(&s, o, NULL);
	put_text(s.out, "first");
	aioipc_set_log(on_log, NULL);
	must(aioqueue_put(s.out, typed, soon()));
	must(aioqueue_put(s.out, large, soon()));
	put_text(s.out, "in\nside");
	put_text(s.out, "last");
	ck_assert_uint_eq(get(fd, buf, 6), 6);
	ck_assert_uint_eq(get(fd, buf, 5), 5);
	ck_assert_mem_eq(buf, "last\n", 5);
	aioqueue_close(s.out);
	ck_assert_uint_eq(get(fd, buf, 1), 0);
	close(fd);
	must(aiolink_join(s.l, soon()));
	aioipc_set_log(NULL, NULL);
	ck_assert_ptr_nonnull(strstr(logged, "can't be sent"));
	ck_assert_uint_eq(stats(&s).refused, 3);
	ck_assert_uint_eq(stats(&s).msgs_out, 2);
	must(aiolink_close(s.l, soon()));
	aiomsg_free(typed);
	aiomsg_free(large);
	free(much);
}

/* States. */

TEST(nobody_listens_and_it_never_tries_again)
{
	struct aiolink_options o = options(AIOLINK_CONNECT, own_address());
	struct event_base *base = new_base();
	struct side s;

	start(&s, &o, base);
	ck_assert_int_eq(aiolink_state(s.l), AIOLINK_CONNECTING);
	put_text(s.out, "never sent");
	must(aiolink_join(s.l, soon()));
	expect_why(&s, ECONNREFUSED, "refused");
	ck_assert_str_eq(s.states, "cE");
	expect_end_of(s.in);
	ck_assert_uint_eq(aioqueue_count(s.out), 1);
	must_fail(aiolink_close(s.l, AIOIPC_FOREVER), EPIPE);
	event_base_free(base);
}

static double now_ms(void)
{
	struct timespec t;

	must(clock_gettime(CLOCK_MONOTONIC, &t));
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

/* 40, 80, 160, 200, 200: four fifths of it at least. */
TEST(pauses_grow)
{
	struct aiolink_options o = options(AIOLINK_CONNECT, own_address());
	struct event_base *base = new_base();
	double begin;
	struct side s;

	o.reconnect_first = 40;
	o.reconnect_most = 200;
	start(&s, &o, base);
	begin = now_ms();
	run_until(base, &s.count[AIOLINK_WAITING], 6);
	ck_assert_double_ge(now_ms() - begin, 0.8 * (40 + 80 + 160 + 200 + 200) - 1);
	ck_assert_str_eq(s.states, "cwcwcwcwcwcw");
	expect_why(&s, ECONNREFUSED, "refused");
	must(aiolink_close(s.l, AIOIPC_NOW));
	ck_assert_str_eq(s.states, "cwcwcwcwcwcwE");
	event_base_free(base);
}

/* Without one the last would be of a quarter of an hour. */
TEST(pauses_have_a_limit)
{
	struct aiolink_options o = options(AIOLINK_CONNECT, own_address());
	struct event_base *base = new_base();
	struct side s;

	o.reconnect_first = 1;
	o.reconnect_most = 4;
	start(&s, &o, base);
	run_until(base, &s.count[AIOLINK_WAITING], 21);
	aiolink_abort(s.l);
	event_base_free(base);
}

/* The pause begins anew after a peer that spoke. On a busy machine it may seem longer; one that went on growing never is as short. */
TEST(a_connection_that_worked_shortens_the_pause)
{
	struct aiolink_options o = options(AIOLINK_CONNECT, own_address());
	struct event_base *base = new_base();
	double begin, shortest = 1e9;
	struct side s;
	int listening, fd;

	o.reconnect_first = 20;
	o.reconnect_most = 100000;
	start(&s, &o, base);
	run_until(base, &s.count[AIOLINK_WAITING], 5);
	listening = raw_listen();
	run_until(base, &s.count[AIOLINK_CONNECTED], 1);
	for (unsigned n = 2; n < 12 && shortest > 250; n++) {
		fd = must(accept(listening, NULL, NULL));
		put(fd, PREFACE, PREFACE_LEN);
		close(fd);
		begin = now_ms();
		run_until(base, &s.count[AIOLINK_CONNECTED], n);
		shortest = now_ms() - begin < shortest ? now_ms() - begin : shortest;
	}
	ck_assert_double_lt(shortest, 250 * harness_slowness());
	ck_assert_mem_eq(s.states, "cwcwcwcwcwcCwcC", 15);
	close(listening);
	aiolink_abort(s.l);
	event_base_free(base);
}

TEST(a_lost_peer_ends_it_or_is_followed_by_the_next)
{
	struct aiolink_options o = options(AIOLINK_LISTEN, own_address());
	struct event_base *base = new_base();
	struct side s;
	int fd;

	start(&s, &o, base);
	fd = raw_connect();
	run_to(base, &s, AIOLINK_CONNECTED);
	close(fd);
	run_to(base, &s, AIOLINK_ENDED);
	ck_assert_str_eq(s.states, "cCE");
	expect_why(&s, ECONNRESET, "goodbye");
	must(aiolink_close(s.l, AIOIPC_NOW));
	o.reconnect_first = o.reconnect_most = 60000;
	start(&s, &o, base);
	for (unsigned i = 1; i < 4; i++) {
		fd = raw_connect();
		run_until(base, &s.count[AIOLINK_CONNECTED], i);
		close(fd);
		run_until(base, &s.count[AIOLINK_CONNECTING], i + 1);
		expect_why(&s, ECONNRESET, "goodbye");
	}
	ck_assert_str_eq(s.states, "cCcCcCc");
	must(aiolink_close(s.l, AIOIPC_NOW));
	event_base_free(base);
}

TEST(a_bad_peer_ends_it_or_is_followed_by_the_next)
{
	struct aiolink_options o = options(AIOLINK_LISTEN, own_address());
	struct event_base *base = new_base();
	struct side s;
	int fd;

	start(&s, &o, base);
	fd = raw_connect();
	put(fd, "GET / HTTP/1.1\r\n", 16);
	run_to(base, &s, AIOLINK_ENDED);
	expect_why(&s, EPROTO, "preface");
	close(fd);
	must(aiolink_close(s.l, AIOIPC_NOW));
	o.reconnect_first = o.reconnect_most = 60000;
	start(&s, &o, base);
	fd = raw_connect();
	put(fd, "GET / HTTP/1.1\r\n", 16);
	run_until(base, &s.count[AIOLINK_CONNECTING], 2);
	close(fd);
	fd = raw_connect();
	run_until(base, &s.count[AIOLINK_CONNECTED], 2);
	expect_why(&s, 0, "");
	close(fd);
	aiolink_abort(s.l);
	event_base_free(base);
}

/* Never again: what is in the outbox is still sent, then it is closed, and so is the connection. */
TEST(a_goodbye_ends_it_when_all_was_sent)
{
	struct event_base *base = new_base();
	struct aiolink_options o = options_over(NULL);
	struct side s;
	int fd = start_over_pair(&s, o, base);

	run_to(base, &s, AIOLINK_CONNECTED);
	put_text(s.out, "one");
	put_text(s.out, "two");
	say_goodbye(fd);
	run_to(base, &s, AIOLINK_ENDED);
	ck_assert_str_eq(s.states, "cClE");
	get_preface(fd);
	expect_frame(fd, BYTES, "one");
	expect_frame(fd, BYTES, "two");
	expect_frame(fd, GOODBYE, "");
	close(fd);
	must(aiolink_close(s.l, AIOIPC_NOW));
	event_base_free(base);
}

/* What the first does not take is for the second. */
TEST(a_goodbye_is_followed_by_the_next)
{
	struct aiolink_options o = options(AIOLINK_LISTEN, own_address());
	struct side s;
	int one, two;

	o.reconnect_first = o.reconnect_most = 60000;
	start(&s, &o, NULL);
	one = raw_connect();
	two = raw_connect();
	put_text(s.out, "for the first");
	get_preface(one);
	expect_frame(one, BYTES, "for the first");
	say_goodbye(one);
	expect_frame(one, GOODBYE, "");
	put_text(s.out, "for the second");
	get_preface(two);
	expect_frame(two, BYTES, "for the second");
	ck_assert_uint_eq(get(one, &o, 1), 0);
	close(one);
	aioqueue_close(s.out);
	expect_frame(two, GOODBYE, "");
	say_goodbye(two);
	must(aiolink_join(s.l, soon()));
	close(two);
	must(aiolink_close(s.l, AIOIPC_NOW));
	ck_assert_str_eq(s.states, "cClcClE");
}

TEST(half_open_it_sends_on_after_the_goodbye)
{
	struct aiolink_options o = options_over(NULL);
	struct side s;
	int fd;

	o.half_open = true;
	fd = start_over_pair(&s, o, NULL);
	put(fd, PREFACE, PREFACE_LEN);
	put_frame(fd, BYTES, 0, "question", 8);
	put_frame(fd, GOODBYE, 0, "", 0);
	expect_text_in(s.in, "question");
	expect_end_of(s.in);
	must(aiolink_wait_disconnected(s.l, soon()));
	ck_assert_int_eq(aiolink_state(s.l), AIOLINK_CLOSING);
	put_text(s.out, "answer");
	get_preface(fd);
	expect_frame(fd, BYTES, "answer");
	put_text(s.out, "and more");
	expect_frame(fd, BYTES, "and more");
	aioqueue_close(s.out);
	expect_frame(fd, GOODBYE, "");
	must(aiolink_join(s.l, soon()));
	close(fd);
	expect_why(&s, 0, "");
	must(aiolink_close(s.l, soon()));
}

/* It had said goodbye, and was still told things: then it is gone altogether. */
TEST(half_open_it_notices_that_nobody_listens_any_more)
{
	struct event_base *base = new_base();

	for (int k = 0; k < 2; k++) {
		struct aiolink_options o = options_over(NULL);
		struct side s;
		int fd;

		o.half_open = true;
		fd = start_over_pair(&s, o, k ? base : NULL);
		put(fd, PREFACE, PREFACE_LEN);
		put_frame(fd, GOODBYE, 0, "", 0);
		must(aiolink_wait_disconnected(s.l, soon()));
		put_text(s.out, "answer");
		if (k)
			run_now(base);
		get_preface(fd);
		expect_frame(fd, BYTES, "answer");
		close(fd);
		must(aiolink_join(s.l, soon()));
		expect_why(&s, ECONNRESET, "the peer left before it was told all");
		must(aiolink_close(s.l, soon()));
	}
	event_base_free(base);
}

/* Limits. */

TEST(an_attempt_to_connect_has_a_limit)
{
	struct aiolink_options o = options(AIOLINK_CONNECT, own_address());
	struct aioconn *full[32];
	struct side s;
	int fd = raw_listen();
	unsigned n = 0;

	while (n < 32 && (full[n] = aioconn_connect(own_address(), NULL, aioipc_after(20))))
		n++;
	ck_assert_uint_lt(n, 32);
	o.connect_limit = 60;
	start(&s, &o, NULL);
	must(aiolink_join(s.l, soon()));
	expect_why(&s, ETIMEDOUT, "limit");
	must(aiolink_close(s.l, AIOIPC_NOW));
	ck_assert_str_eq(s.states, "cE");
	while (n > 0)
		aioconn_abort(full[--n]);
	close(fd);
}

TEST(a_silent_peer_is_lost_after_the_limit)
{
	struct aiolink_options o = options_over(NULL);
	double begin = now_ms();
	struct side s;
	int fd;

	o.idle_limit = 100;
	fd = start_over_pair(&s, o, NULL);
	put(fd, PREFACE, PREFACE_LEN);
	put_frame(fd, BYTES, 0, "last words", 10);
	must(aiolink_join(s.l, soon()));
	ck_assert_double_ge(now_ms() - begin, 100);
	expect_why(&s, ETIMEDOUT, "silent");
	expect_text_in(s.in, "last words");
	expect_end_of(s.in);
	close(fd);
	must(aiolink_close(s.l, AIOIPC_NOW));
}

/* Nobody reads what it says: as long as that is so, it has nothing to answer for. */
TEST(who_is_not_read_is_not_silent)
{
	struct aiolink_options o = options_over(NULL);
	struct aioqueue *in = must(aioqueue_new(1, 0));
	struct side s;
	int fd;

	o.idle_limit = 60;
	o.inbox = in;
	fd = start_over_pair(&s, o, NULL);
	put(fd, PREFACE, PREFACE_LEN);
	put_frame(fd, BYTES, 0, "one", 3);
	put_frame(fd, BYTES, 0, "two", 3);
	must_fail(aiolink_join(s.l, aioipc_after(300)), ETIMEDOUT);
	expect_text_in(in, "one");
	expect_text_in(in, "two");
	must(aiolink_join(s.l, soon()));
	expect_why(&s, ETIMEDOUT, "silent");
	close(fd);
	must(aiolink_close(s.l, AIOIPC_NOW));
	aioqueue_free(in);
}

static void put_much(struct aioqueue *q, unsigned n, size_t len)
{
	char *text = must(calloc(1, len));
	struct aiomsg *m = must(aiomsg_new_bytes(text, len));

	while (n-- > 0)
		must(aioqueue_put(q, m, soon()));
	aiomsg_free(m);
	free(text);
}

TEST(a_peer_that_takes_nothing_is_lost_after_the_limit)
{
	struct aiolink_options o = options_over(NULL);
	struct side s;
	int fd;

	o.send_limit = 100;
	fd = start_over_pair(&s, o, NULL);
	must_fail(aiolink_join(s.l, aioipc_after(200)), ETIMEDOUT);
	put_much(s.out, 10, 65536);
	must(aiolink_join(s.l, soon()));
	expect_why(&s, ETIMEDOUT, "took nothing");
	ck_assert_uint_gt(aioqueue_count(s.out), 0);
	ck_assert_uint_eq(aioqueue_count(s.out) + stats(&s).msgs_out, 10);
	ck_assert_uint_eq(stats(&s).unsure, stats(&s).msgs_out);
	close(fd);
	must_fail(aiolink_close(s.l, AIOIPC_NOW), EPIPE);
}

/* Much is sent in many shares: that there are limits to be looked at does not hold up the next one. */
TEST(a_peer_that_takes_all_is_not_slowed_down_by_limits)
{
	enum { MESSAGES = 14, LEN = 65536 };
	static char data[HEADER_LEN + LEN];
	struct aiolink_options o = options_over(NULL);
	struct side s;
	int fd;

	o.send_limit = o.idle_limit = 8000;
	fd = start_over_pair(&s, o, NULL);
	put_much(s.out, MESSAGES, LEN);
	get_preface(fd);
	for (int i = 0; i < MESSAGES; i++)
		ck_assert_uint_eq(get(fd, data, sizeof data), sizeof data);
	aiolink_abort(s.l);
	close(fd);
}

/* The same after its goodbye. */
TEST(a_peer_that_leaves_and_takes_nothing_is_lost)
{
	struct aiolink_options o = options_over(NULL);
	struct side s;
	int fd;

	o.send_limit = 100;
	fd = start_over_pair(&s, o, NULL);
	put_much(s.out, 10, 65536);
	say_goodbye(fd);
	must(aiolink_join(s.l, soon()));
	expect_why(&s, ETIMEDOUT, "took nothing");
	close(fd);
	must_fail(aiolink_close(s.l, AIOIPC_NOW), EPIPE);
	ck_assert_str_eq(s.states, "cClE");
}

/* Its goodbye came before it can have seen ours: it may leave without the rest. */
TEST(a_goodbye_that_crosses_ours_is_no_receipt)
{
	enum { MESSAGES = 4, LEN = 65536 };
	struct event_base *base = new_base();
	struct side s;
	char data[4096];
	int fd = start_over_pair(&s, options_over(NULL), base);

	put_much(s.out, MESSAGES, LEN);
	aioqueue_close(s.out);
	run_now(base);
	ck_assert_uint_eq(aioqueue_count(s.out), 0);
	ck_assert_uint_lt(stats(&s).msgs_out, MESSAGES);
	say_goodbye(fd);
	while (s.count[AIOLINK_ENDED] == 0) {
		ck_assert_uint_eq(get(fd, data, sizeof data), sizeof data);
		run_now(base);
	}
	ck_assert_uint_eq(stats(&s).msgs_out, MESSAGES);
	ck_assert_uint_eq(stats(&s).unsure, MESSAGES);
	close(fd);
	must(aiolink_close(s.l, AIOIPC_NOW));
	event_base_free(base);
}

/* Full queues, closed queues. */

TEST(the_end_waits_until_all_that_came_is_in_the_inbox)
{
	struct aiolink_options o = options_over(NULL);
	struct aioqueue *in = must(aioqueue_new(2, 0));
	struct side s;
	int fd;

	o.inbox = in;
	fd = start_over_pair(&s, o, NULL);
	put(fd, PREFACE, PREFACE_LEN);
	for (int i = 0; i < 5; i++)
		put_frame(fd, BYTES, 0, "text", 4);
	put_frame(fd, GOODBYE, 0, "", 0);
	must_fail(aiolink_join(s.l, aioipc_after(50)), ETIMEDOUT);
	for (int i = 0; i < 5; i++)
		expect_text_in(in, "text");
	expect_end_of(in);
	must(aiolink_join(s.l, soon()));
	ck_assert_uint_eq(stats(&s).msgs_in, 5);
	ck_assert_uint_eq(stats(&s).dropped, 0);
	close(fd);
	must(aiolink_close(s.l, AIOIPC_NOW));
	aioqueue_free(in);
}

TEST(a_lost_peer_s_last_words_wait_for_room)
{
	struct aiolink_options o = options_over(NULL);
	struct aioqueue *in = must(aioqueue_new(1, 0));
	struct side s;
	int fd;

	o.inbox = in;
	fd = start_over_pair(&s, o, NULL);
	put(fd, PREFACE, PREFACE_LEN);
	for (int i = 0; i < 3; i++)
		put_frame(fd, BYTES, 0, "text", 4);
	close(fd);
	must_fail(aiolink_join(s.l, aioipc_after(50)), ETIMEDOUT);
	for (int i = 0; i < 3; i++)
		expect_text_in(in, "text");
	expect_end_of(in);
	must(aiolink_join(s.l, soon()));
	expect_why(&s, ECONNRESET, "goodbye");
	must(aiolink_close(s.l, AIOIPC_NOW));
	aioqueue_free(in);
}

/* Nobody takes what the peer says: closing does not wait for that. */
static void close_with_full_inbox(struct event_base *base)
{
	struct aiolink_options o = options_over(NULL);
	struct aioqueue *in = must(aioqueue_new(2, 0));
	struct aioend *one, *other;
	struct side s, peer;

	must(aiosockpair(&one, &other));
	o.end = one;
	o.inbox = in;
	start(&s, &o, base);
	o.end = other;
	o.inbox = NULL;
	start(&peer, &o, NULL);
	for (int i = 0; i < 500; i++)
		put_text(peer.out, "text");
	must(aiolink_wait_connected(s.l, soon()));
	must(aiolink_close(s.l, soon()));
	must(aiolink_join(peer.l, soon()));
	ck_assert_uint_eq(aioqueue_count(in), 2);
	expect_text_in(in, "text");
	expect_text_in(in, "text");
	expect_end_of(in);
	must(aiolink_close(peer.l, AIOIPC_NOW));
	aioqueue_free(in);
}

TEST(a_full_inbox_does_not_hold_up_closing)
{
	struct event_base *base = new_base();

	close_with_full_inbox(NULL);
	close_with_full_inbox(base);
	event_base_free(base);
}

TEST(what_comes_for_a_closed_inbox_is_dropped)
{
	struct side server, client;

	start_pair(&server, &client, NULL, options(0, NULL));
	aioqueue_close(server.in);
	put_text(client.out, "nobody wants this");
	put_text(server.out, "but this");
	expect_text_in(client.in, "but this");
	must(aiolink_close(client.l, soon()));
	must(aiolink_join(server.l, soon()));
	ck_assert_uint_eq(stats(&server).dropped, 1);
	ck_assert_uint_eq(stats(&server).msgs_in, 0);
	must(aiolink_close(server.l, soon()));
}

TEST(a_link_that_only_receives_ends_with_its_inbox)
{
	struct aiolink_options o = options(AIOLINK_LISTEN, own_address());
	struct side s;
	int fd;

	o.direction = AIOLINK_RECV;
	o.reconnect_first = o.reconnect_most = 1;
	start(&s, &o, NULL);
	aioqueue_close(s.in);
	must(aiolink_join(s.l, soon()));
	must(aiolink_close(s.l, AIOIPC_NOW));
	start(&s, &o, NULL);
	fd = raw_connect();
	must(aiolink_wait_connected(s.l, soon()));
	aioqueue_close(s.in);
	get_preface(fd);
	expect_frame(fd, GOODBYE, "");
	say_goodbye(fd);
	must(aiolink_join(s.l, soon()));
	close(fd);
	ck_assert_int_eq(aiolink_error(s.l), 0);
	must(aiolink_close(s.l, AIOIPC_NOW));
}

TEST(a_link_that_only_receives_keeps_its_side_open)
{
	struct aiolink_options o = options_over(NULL);
	struct side s;
	int fd;

	o.direction = AIOLINK_RECV;
	o.framing = AIOCONN_LINES;
	fd = start_over_pair(&s, o, NULL);
	put(fd, "one\n", 4);
	expect_text_in(s.in, "one");
	ck_assert(!is_readable(fd));
	must(shutdown(fd, SHUT_WR));
	expect_end_of(s.in);
	must(aiolink_join(s.l, soon()));
	ck_assert_uint_eq(get(fd, &o, 1), 0);
	close(fd);
	must(aiolink_close(s.l, AIOIPC_NOW));
}

TEST(a_closed_outbox_is_delivered_to_who_comes)
{
	struct aiolink_options o = options(AIOLINK_CONNECT, own_address());
	struct side s;
	int listening, fd;

	o.reconnect_first = o.reconnect_most = 5;
	start(&s, &o, NULL);
	put_text(s.out, "still to come");
	aioqueue_close(s.out);
	must_fail(aiolink_join(s.l, aioipc_after(30)), ETIMEDOUT);
	listening = raw_listen();
	fd = must(accept(listening, NULL, NULL));
	get_preface(fd);
	expect_frame(fd, BYTES, "still to come");
	expect_frame(fd, GOODBYE, "");
	say_goodbye(fd);
	must(aiolink_join(s.l, soon()));
	close(fd);
	close(listening);
	must(aiolink_close(s.l, AIOIPC_NOW));
}

/* What had not left is in the outbox: all of it, in order, the half sent one first. */
static void expect_rest(struct aioqueue *q, uint32_t from, uint32_t to, const struct aiolink_stats *st)
{
	struct aiomsg *m;

	for (; from < to; from++) {
		const unsigned char *data;
		uint32_t n;
		size_t len;

		ck_assert_int_eq(must(aioqueue_get(q, &m, AIOIPC_NOW)), 1);
		data = must(aiomsg_bytes(m, &len));
		memcpy(&n, data, sizeof n);
		ck_assert_uint_eq(n, from);
		aiomsg_free(m);
	}
	expect_end_of(q);
	ck_assert_uint_eq(st->resent, 0);
}

static void put_numbered(struct aioqueue *q, uint32_t n, size_t len)
{
	unsigned char *data = must(calloc(1, len));
	struct aiomsg *m;

	memcpy(data, &n, sizeof n);
	m = must(aiomsg_new_bytes(data, len));
	must(aioqueue_put(q, m, soon()));
	aiomsg_free(m);
	free(data);
}

static void abort_half_sent(struct event_base *base, bool by_close, uint32_t n, size_t len)
{
	struct aiolink_options o = options_over(NULL);
	struct aioqueue *out = must(aioqueue_new(10000, 0));
	struct aiomsg *nothing = must(aiomsg_new_bytes("", 0));
	struct aiolink_stats st;
	struct side s;
	int fd;

	o.outbox = out;
	fd = start_over_pair(&s, o, base);
	must(aiolink_wait_connected(s.l, soon()));
	for (uint32_t i = 0; i < n; i++)
		put_numbered(out, i, len);
	do {
		must_fail(aiolink_join(s.l, aioipc_after(10)), ETIMEDOUT);
		st = stats(&s);
	} while (st.msgs_out == 0);
	must_fail(aiolink_join(s.l, aioipc_after(20)), ETIMEDOUT);
	st = stats(&s);
	if (by_close)
		must_fail(aiolink_close(s.l, aioipc_after(20)), ETIMEDOUT);
	else
		aiolink_abort(s.l);
	ck_assert_uint_eq(aioqueue_count(out), n - st.msgs_out);
	must_fail(aioqueue_put(out, nothing, AIOIPC_NOW), EPIPE);
	aiomsg_free(nothing);
	expect_rest(out, (uint32_t)st.msgs_out, n, &st);
	ck_assert_str_eq(s.states, by_close ? "cClE" : "cCE");
	close(fd);
	aioqueue_free(out);
}

TEST(what_did_not_leave_is_in_the_outbox)
{
	struct event_base *base = new_base();

	for (int by_close = 0; by_close < 2; by_close++) {
		abort_half_sent(NULL, by_close, 40, 30000);
		abort_half_sent(base, by_close, 40, 30000);
		abort_half_sent(NULL, by_close, 8000, 100);
		abort_half_sent(base, by_close, 8000, 100);
	}
	event_base_free(base);
}
