/*
 * A connection that a floor above drives: the peer's goodbye is told and not answered, what left and what did not
 * can be counted, and that the peer is wholly gone is told once.
 */
#include "tests/peers.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ipc/conn/conn.h"
#include "ipc/conn/life.h"

/* Besides what enum transport has. */
#define TCP 3
#define EACH_TRANSPORT (t = DUPLEX; t <= TCP; t++)

struct owner {
	struct ipc_conn_hook hook;
	struct aioconn *c;
	struct event_base *base;
	struct seen seen;
	unsigned spoke, lost, gone, wrote;
	bool abort_when_lost;
};

/* The peer, by hand: descriptors to read from and to write to, of a socket the same. */
struct hand {
	int r, w;
};

static struct owner *owner_of(struct ipc_conn_hook *h)
{
	return (struct owner *)(void *)((char *)h - offsetof(struct owner, hook));
}

static void on_owes(struct ipc_conn_hook *h, bool owes)
{
	owner_of(h)->spoke += !owes;
}

static void on_lost(struct ipc_conn_hook *h)
{
	struct owner *o = owner_of(h);

	ck_assert_uint_eq(o->seen.closes, 1);
	o->lost++;
	if (o->abort_when_lost)
		aioconn_abort(o->c);
}

static void on_wrote(struct ipc_conn_hook *h)
{
	owner_of(h)->wrote++;
}

static void on_gone(struct ipc_conn_hook *h)
{
	owner_of(h)->gone++;
}

static const struct ipc_conn_hook_calls hook_calls = {
	.owes = on_owes, .gone = on_gone, .lost = on_lost, .wrote = on_wrote};

static void connect_tcp(int fd[2])
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof in;
	int listening = must(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));

	must(bind(listening, (struct sockaddr *)&in, len));
	must(listen(listening, 1));
	must(getsockname(listening, (struct sockaddr *)&in, &len));
	fd[0] = must(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
	must(connect(fd[0], (struct sockaddr *)&in, len));
	fd[1] = must(accept(listening, NULL, NULL));
	close(listening);
}

static struct hand open_by_hand(int t, struct owner *o)
{
	struct aioend *ours, *theirs;
	struct hand peer;
	int fd[2];

	if (t == TCP) {
		connect_tcp(fd);
		ours = must(aioend_from_fds(fd[0], fd[0]));
		peer = (struct hand){fd[1], fd[1]};
	} else {
		make_ends((enum transport)t, &ours, &theirs);
		must(aioend_release(theirs, &peer.r, &peer.w));
	}
	*o = (struct owner){.hook.calls = &hook_calls, .base = new_base(), .seen.stay = true};
	o->c = open_end(ours, o->base);
	ipc_conn_hook(o->c, &o->hook);
	o->c->by_hand = true;
	see(o->c, &o->seen);
	return peer;
}

static void shut_writing(struct hand *peer)
{
	if (peer->r == peer->w)
		must(shutdown(peer->w, SHUT_WR));
	else
		must(close(peer->w));
	peer->w = -1;
}

static void hang_up(struct hand *peer)
{
	if (peer->w != -1 && peer->w != peer->r)
		must(close(peer->w));
	must(close(peer->r));
}

/* RST instead of FIN, on TCP. */
static void hang_up_hard(int t, struct hand *peer)
{
	const struct linger at_once = {.l_onoff = 1};

	if (t == TCP)
		must(setsockopt(peer->r, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once));
	hang_up(peer);
}

static void put_goodbye(struct hand *peer)
{
	put(peer->w, PREFACE, PREFACE_LEN);
	put_frame(peer->w, BYTES, 0, "last words", 10);
	put_frame(peer->w, GOODBYE, 0, NULL, 0);
	shut_writing(peer);
}

static void end(struct owner *o)
{
	run_now(o->base);
	ck_assert_uint_eq(o->gone, 1);
	ck_assert_uint_eq(o->seen.closes, 1);
	event_base_free(o->base);
}

static void on_time(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	++*(unsigned *)arg;
}

/* Nothing else makes the loop turn meanwhile. */
static void expect_quiet(struct event_base *base)
{
	struct timeval t = {.tv_usec = 10000};
	unsigned fired = 0;

	run_now(base);
	must(event_base_once(base, -1, EV_TIMEOUT, on_time, &fired, &t));
	must(event_base_loop(base, EVLOOP_ONCE));
	ck_assert_uint_eq(fired, 1);
}

TEST(a_goodbye_is_told_and_not_answered_until_the_owner_finishes)
{
	int t;

	for
		EACH_TRANSPORT
		{
			struct owner o;
			struct hand peer = open_by_hand(t, &o);

			put_goodbye(&peer);
			run_until(o.base, &o.seen.closes, 1);
			ck_assert_int_eq(o.seen.cause, AIOCONN_CLEAN);
			ck_assert_uint_eq(o.seen.msgs_at_close, 1);
			ck_assert_uint_eq(o.spoke, 1);
			expect_quiet(o.base);
			ck_assert(!is_readable(peer.r));
			for (int i = 0; i < 3; i++) {
				send_text(o.c, "an answer");
				run_now(o.base);
			}
			expect_quiet(o.base);
			get_preface(peer.r);
			for (int i = 0; i < 3; i++)
				expect_frame(peer.r, BYTES, "an answer");
			ck_assert(!is_readable(peer.r));
			must(aioconn_finish(o.c, soon()));
			run_until(o.base, &o.gone, 1);
			expect_frame(peer.r, GOODBYE, "");
			ck_assert_uint_eq(get(peer.r, (char[1]){0}, 1), 0);
			ck_assert_uint_eq(o.lost, 0);
			end(&o);
			hang_up(&peer);
		}
}

TEST(a_stream_that_ended_goes_on_the_other_way)
{
	int t;

	for
		EACH_TRANSPORT
		{
			char line[6] = "";
			struct owner o;
			struct hand peer = open_by_hand(t, &o);

			must(aioconn_set_framing(o.c, AIOCONN_LINES, "\n"));
			put(peer.w, "one\ntwo", 7);
			shut_writing(&peer);
			run_until(o.base, &o.seen.closes, 1);
			ck_assert_int_eq(o.seen.cause, AIOCONN_CLEAN);
			ck_assert_str_eq(o.seen.text, "one two ");
			expect_quiet(o.base);
			must(aioconn_send_bytes(o.c, "three", 5));
			must(aioconn_close(o.c, AIOIPC_NOW));
			ck_assert_uint_eq(get(peer.r, line, 6), 6);
			ck_assert_mem_eq(line, "three\n", 6);
			end(&o);
			hang_up(&peer);
		}
}

static void keep_it(struct aioconn *c, struct aiomsg *m, void *arg)
{
	struct seen *s = arg;

	(void)m;
	s->msgs++;
	aioconn_keep(c);
}

static void count_close(struct aioconn *c, enum aioconn_cause cause, void *arg)
{
	struct seen *s = arg;

	(void)c;
	s->cause = cause;
	s->closes++;
}

TEST(the_end_is_told_behind_what_was_kept)
{
	struct owner o;
	struct hand peer = open_by_hand(PAIR, &o);

	must(aioconn_set_callbacks(o.c, keep_it, NULL, count_close, &o.seen));
	put_goodbye(&peer);
	run_until(o.base, &o.seen.msgs, 1);
	expect_quiet(o.base);
	ck_assert_uint_eq(o.seen.closes, 0);
	see(o.c, &o.seen);
	aioconn_resume(o.c);
	run_until(o.base, &o.seen.closes, 1);
	ck_assert_int_eq(o.seen.cause, AIOCONN_CLEAN);
	ck_assert_uint_eq(o.seen.msgs_at_close, 2);
	aioconn_abort(o.c);
	end(&o);
	hang_up(&peer);
}

TEST(a_peer_that_leaves_behind_its_goodbye_is_told_once)
{
	int t;

	for
		EACH_TRANSPORT
	for (int aborts = 0; aborts <= 1; aborts++) {
		struct owner o;
		struct hand peer = open_by_hand(t, &o);

		o.abort_when_lost = aborts;
		put_goodbye(&peer);
		run_until(o.base, &o.seen.closes, 1);
		expect_quiet(o.base);
		ck_assert_uint_eq(o.lost, 0);
		hang_up_hard(t, &peer);
		run_until(o.base, &o.lost, 1);
		if (!aborts) {
			must_fail(aioconn_send_bytes(o.c, "x", 1), EPIPE);
			expect_quiet(o.base);
			must(aioconn_close(o.c, AIOIPC_NOW));
		}
		ck_assert_uint_eq(o.lost, 1);
		end(&o);
	}
}

TEST(a_peer_that_says_goodbye_and_leaves_at_once_is_told_behind_the_end)
{
	int t;

	for (t = DUPLEX; t <= PAIR; t++) {
		struct owner o;
		struct hand peer = open_by_hand(t, &o);

		put_goodbye(&peer);
		hang_up(&peer);
		run_until(o.base, &o.lost, 1);
		ck_assert_int_eq(o.seen.cause, AIOCONN_CLEAN);
		ck_assert_uint_eq(o.seen.msgs_at_close, 1);
		aioconn_abort(o.c);
		end(&o);
	}
}

/* On TCP the peer's closing looks like its goodbye, until something is sent. */
TEST(a_failing_write_behind_the_end_is_told)
{
	int t;

	for
		EACH_TRANSPORT
		{
			struct owner o;
			struct hand peer = open_by_hand(t, &o);
			int r = 0;

			put_goodbye(&peer);
			run_until(o.base, &o.seen.closes, 1);
			hang_up(&peer);
			while (r == 0 && o.lost == 0) {
				r = aioconn_send_bytes(o.c, "into the void", 13);
				ck_assert(r == 0 || errno == EPIPE);
				if (t == TCP)
					must(event_base_loop(o.base, EVLOOP_NONBLOCK));
			}
			run_until(o.base, &o.lost, 1);
			must_fail(aioconn_send_bytes(o.c, "x", 1), EPIPE);
			aioconn_abort(o.c);
			ck_assert_uint_eq(o.lost, 1);
			end(&o);
		}
}

TEST(a_peer_that_leaves_while_it_is_finished_is_no_news)
{
	int t;

	for (t = DUPLEX; t <= PAIR; t++) {
		struct owner o;
		struct hand peer = open_by_hand(t, &o);

		put_goodbye(&peer);
		run_until(o.base, &o.seen.closes, 1);
		send_fill(o.c, 900000, 1);
		must(aioconn_finish(o.c, soon()));
		hang_up(&peer);
		run_until(o.base, &o.gone, 1);
		ck_assert_uint_eq(o.lost, 0);
		end(&o);
	}
}

/* Reads more than the kernel holds, so that the other side is in the midst of writing, and leaves. */
static void *read_some_and_hang_up(void *arg)
{
	static char buf[500000];
	struct hand *peer = arg;

	get(peer->r, buf, sizeof buf);
	hang_up(peer);
	return NULL;
}

TEST(a_peer_that_leaves_while_it_is_closed_is_no_news)
{
	int t;

	for (t = DUPLEX; t <= PAIR; t++) {
		struct owner o;
		struct hand peer = open_by_hand(t, &o);
		pthread_t reader;

		put_goodbye(&peer);
		run_until(o.base, &o.seen.closes, 1);
		send_fill(o.c, 900000, 1);
		ck_assert_int_eq(pthread_create(&reader, NULL, read_some_and_hang_up, &peer), 0);
		must_fail(aioconn_close(o.c, soon()), EPIPE);
		ck_assert_uint_eq(o.lost, 0);
		pthread_join(reader, NULL);
		end(&o);
	}
}

/* What is to be counted: sends accepted so far, and what of them the peer has read. */
struct account {
	enum aioconn_framing framing;
	uint64_t accepted, got, left;
	unsigned wrote;
	char data[70000];
};

static size_t framed_len(const struct account *a, const struct aioconn *c, size_t len)
{
	if (a->framing == AIOCONN_MESSAGES)
		return len + HEADER_LEN + (c->way_out == IPC_OUT_NEW ? PREFACE_LEN : 0);
	return len + (a->framing == AIOCONN_LINES ? 2 : 0);
}

static void check_account(struct account *a, const struct owner *o, const struct hand *peer)
{
	int waiting = 0;

	ck_assert_int_eq(o->wrote != a->wrote, o->c->bytes_out != a->left);
	a->wrote = o->wrote;
	a->left = o->c->bytes_out;

	must(ioctl(peer->r, FIONREAD, &waiting));
	ck_assert_uint_eq(o->c->bytes_out + o->c->out.bytes, a->accepted);
	ck_assert_uint_eq(a->got + (uint64_t)waiting, o->c->bytes_out);
}

static void send_counted(struct account *a, struct owner *o, unsigned how, size_t len)
{
	size_t framed = framed_len(a, o->c, len);
	struct aiomsg *m = how == 0 ? must(aiomsg_new_bytes(a->data, len)) : NULL;
	int r = m ? aioconn_send_msg(o->c, m) : aioconn_send_bytes(o->c, a->data, len);

	aiomsg_free(m);
	if (r == 0)
		a->accepted += framed;
	else
		ck_assert_int_eq(errno, EAGAIN);
}

static void read_counted(struct account *a, const struct hand *peer, size_t most)
{
	static char buf[65536];

	if (is_readable(peer->r))
		a->got += (uint64_t)must(read(peer->r, buf, most));
}

static void count_all(int t, enum aioconn_framing framing)
{
	static const size_t sizes[] = {0, 1, 60, 5000, 16384, 65000};
	static struct account a;
	struct owner o;
	struct hand peer = open_by_hand(t, &o);

	a = (struct account){.framing = framing};
	memset(a.data, 'x', sizeof a.data);
	must(aioconn_set_framing(o.c, framing, "\r\n"));
	must(aioconn_set_limits(
		o.c, &(struct aioconn_limits){.size = sizeof(struct aioconn_limits), .outbox = 100000}));
	must(aioconn_set_send_wait(o.c, 0));
	srand(1);
	for (int i = 0; i < 1500; i++) {
		unsigned what = (unsigned)rand() % 8;

		if (what < 5)
			send_counted(&a, &o, what, sizes[(unsigned)rand() % 6]);
		else if (what < 7)
			read_counted(&a, &peer, 1 + (size_t)rand() % 65535);
		else
			must(event_base_loop(o.base, EVLOOP_NONBLOCK));
		check_account(&a, &o, &peer);
	}
	while (o.c->out.bytes == 0)
		send_counted(&a, &o, 1, 65000);
	check_account(&a, &o, &peer);
	a.accepted = o.c->bytes_out;
	hang_up(&peer);
	run_until(o.base, &o.seen.closes, 1);
	ck_assert_uint_eq(o.c->bytes_out, a.accepted);
	ck_assert_uint_eq(o.c->out.bytes, 0);
	aioconn_abort(o.c);
	end(&o);
}

TEST_WITHIN(what_left_and_what_waits_is_all_that_was_accepted, 20)
{
	for (enum aioconn_framing f = AIOCONN_MESSAGES; f <= AIOCONN_BYTES; f++)
		for (int t = DUPLEX; t <= PAIR; t++)
			count_all(t, f);
}

static struct aiomsg *taken;

static void take_it(struct aioconn *c, struct aiomsg *m, void *arg)
{
	struct seen *s = arg;

	s->msgs++;
	taken = m;
	c->verdict = IPC_MSG_TAKEN;
}

TEST(a_message_may_be_taken_over)
{
	struct owner o;
	struct hand peer = open_by_hand(PAIR, &o);

	must(aioconn_set_callbacks(o.c, take_it, NULL, count_close, &o.seen));
	put_goodbye(&peer);
	run_until(o.base, &o.seen.closes, 1);
	aioconn_abort(o.c);
	ck_assert(is_text(taken, "last words"));
	aiomsg_free(taken);
	end(&o);
	hang_up(&peer);
}

/* The peer reads no more, but has its side open: what it had said is read, and then it is lost. */
TEST(a_peer_that_can_not_be_written_to_is_lost_behind_its_words)
{
	struct owner o;
	struct hand peer = open_by_hand(PAIR, &o);

	put(peer.w, PREFACE, PREFACE_LEN);
	put_frame(peer.w, BYTES, 0, "last words", 10);
	must(shutdown(peer.r, SHUT_RD));
	must_fail(aioconn_send_bytes(o.c, "x", 1), EPIPE);
	run_until(o.base, &o.seen.closes, 1);
	ck_assert_int_eq(o.seen.cause, AIOCONN_LOST);
	ck_assert_uint_eq(o.seen.msgs_at_close, 1);
	aioconn_abort(o.c);
	end(&o);
	hang_up(&peer);
}
