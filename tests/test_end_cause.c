/* How connections end: with one cause, told once, after all data. */
#include "tests/peers.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* What the peer of a reader may do, and what the reader is to see. */
enum leave { CLOSE, ABORT, EXIT, KILL, NEVER_OPENED };

static const struct {
	enum leave how;
	unsigned msgs;
	enum aioconn_cause cause;
	int error;
} leaves[] = {
	{CLOSE, 0, AIOCONN_CLEAN, 0},
	{CLOSE, 3, AIOCONN_CLEAN, 0},
	{ABORT, 3, AIOCONN_LOST, ECONNRESET},
	{EXIT, 0, AIOCONN_LOST, ECONNRESET},
	{EXIT, 3, AIOCONN_LOST, ECONNRESET},
	{KILL, 3, AIOCONN_LOST, ECONNRESET},
	{NEVER_OPENED, 0, AIOCONN_LOST, ECONNRESET},
};
#define N_LEAVES (sizeof leaves / sizeof *leaves)

static void leave(struct aioend *end, void *arg)
{
	size_t i = *(size_t *)arg;
	struct aioconn *c;

	if (leaves[i].how == NEVER_OPENED)
		return;
	c = open_end(end, NULL);
	for (unsigned n = 0; n < leaves[i].msgs; n++)
		send_text(c, "last words");
	if (leaves[i].how == CLOSE)
		must(aioconn_close(c, soon()));
	else if (leaves[i].how == ABORT)
		aioconn_abort(c);
	else if (leaves[i].how == KILL)
		raise(SIGKILL);
}

static void expect_left(pid_t pid, size_t i)
{
	if (leaves[i].how == KILL)
		expect_killed(pid, SIGKILL);
	else
		expect_exit(pid, 0);
}

TEST(recv_tells_how_the_peer_left)
{
	for (enum transport t = PIPE; t <= PAIR; t++)
		for (size_t i = 0; i < N_LEAVES; i++) {
			struct aioend *mine, *theirs;
			struct aioconn *c;
			pid_t pid;

			make_ends(t, &theirs, &mine);
			pid = start_child(leave, theirs, &i);
			c = open_end(mine, NULL);
			for (unsigned n = 0; n < leaves[i].msgs; n++)
				expect_text(c, "last words");
			expect_end(c, leaves[i].error);
			expect_end(c, leaves[i].error);
			aioconn_abort(c);
			expect_left(pid, i);
		}
}

TEST(on_close_tells_how_the_peer_left_once_after_all_data)
{
	struct event_base *base = new_base();

	for (enum transport t = PIPE; t <= PAIR; t++)
		for (size_t i = 0; i < N_LEAVES; i++) {
			struct aioend *mine, *theirs;
			struct aioconn *c;
			struct seen s = {.stay = true};
			pid_t pid;

			make_ends(t, &theirs, &mine);
			pid = start_child(leave, theirs, &i);
			c = open_end(mine, base);
			see(c, &s);
			run_until(base, &s.closes, 1);
			ck_assert_int_eq(s.cause, leaves[i].cause);
			ck_assert_uint_eq(s.msgs_at_close, leaves[i].msgs);
			run_now(base);
			aioconn_abort(c);
			ck_assert_uint_eq(s.closes, 1);
			ck_assert_uint_eq(s.msgs, leaves[i].msgs);
			expect_left(pid, i);
		}
	event_base_free(base);
}

TEST(waiting_messages_stay_for_recv_when_on_close_has_told)
{
	struct event_base *base = new_base();

	for (enum transport t = PIPE; t <= PAIR; t++)
		for (size_t i = 0; i < N_LEAVES; i++) {
			struct aioend *mine, *theirs;
			struct aioconn *c;
			struct seen s = {.stay = true};
			pid_t pid;

			make_ends(t, &theirs, &mine);
			pid = start_child(leave, theirs, &i);
			c = open_end(mine, base);
			see_end_only(c, &s);
			run_until(base, &s.closes, 1);
			ck_assert_int_eq(s.cause, leaves[i].cause);
			for (unsigned n = 0; n < leaves[i].msgs; n++)
				expect_text(c, "last words");
			expect_end(c, leaves[i].error);
			aioconn_abort(c);
			ck_assert_uint_eq(s.closes, 1);
			expect_left(pid, i);
		}
	event_base_free(base);
}

/* By hand: bytes, then maybe EOF, and what they mean. */
static void expect_cause(const char *bytes, size_t len, bool eof, enum aioconn_cause cause, int error)
{
	struct event_base *base = new_base();
	struct seen s = {.msgs = 0};
	struct aioconn *c;
	int fd = raw_peer(PAIR, base, &c);

	see(c, &s);
	put(fd, bytes, len);
	if (eof)
		close(fd);
	run_until(base, &s.closes, 1);
	ck_assert_int_eq(s.cause, cause);
	if (!eof)
		close(fd);

	fd = raw_peer(PAIR, NULL, &c);
	put(fd, bytes, len);
	if (eof)
		close(fd);
	expect_end(c, error);
	aioconn_abort(c);
	if (!eof)
		close(fd);
	event_base_free(base);
}

#define TALK(rest) PREFACE rest, sizeof(PREFACE rest) - 1

TEST(what_bytes_by_hand_mean)
{
	expect_cause(TALK("\0\0\0\0\3\0\0\0"), false, AIOCONN_CLEAN, 0);
	expect_cause(TALK("\0\0\0\0\3\0\0\0"), true, AIOCONN_CLEAN, 0);
	expect_cause(TALK(""), true, AIOCONN_LOST, ECONNRESET);
	expect_cause("AIP", 3, true, AIOCONN_LOST, ECONNRESET);
	expect_cause(TALK("\5\0\0"), true, AIOCONN_LOST, ECONNRESET);
	expect_cause(TALK("\5\0\0\0\2\0\0\0abc"), true, AIOCONN_LOST, ECONNRESET);
	expect_cause("HTTP/1.1 400 Bad Request", 24, false, AIOCONN_BAD, EPROTO);
	expect_cause(TALK("\1\0\0\0\1\0\0\0x"), false, AIOCONN_BAD, EBADMSG);
	expect_cause(TALK("\377\377\377\377\2\0\0\0"), false, AIOCONN_BAD, EMSGSIZE);
}

TEST(after_a_goodbye_a_reset_is_clean)
{
	struct aioconn *c;
	int fd = raw_peer(PAIR, NULL, &c);

	send_text(c, "never read");
	put(fd, PREFACE, PREFACE_LEN);
	put_frame(fd, GOODBYE, 0, NULL, 0);
	close(fd);
	expect_end(c, 0);
	aioconn_abort(c);
}

TEST(a_reset_without_goodbye_is_lost)
{
	struct aioconn *c;
	int fd = raw_peer(PAIR, NULL, &c);

	send_text(c, "never read");
	put(fd, PREFACE, PREFACE_LEN);
	put_frame(fd, BYTES, 0, "data", 4);
	close(fd);
	expect_text(c, "data");
	expect_end(c, ECONNRESET);
	must_fail(aioconn_send(c, "i", 1), EPIPE);
	aioconn_abort(c);
}

TEST(close_and_abort_tell_local_before_they_return)
{
	struct event_base *base = new_base();

	for (enum transport t = PIPE; t <= PAIR; t++)
		for (int how = 0; how < 8; how++) {
			struct seen s = {.stay = how & 2};
			struct aioconn *a, *b;

			open_pair(t, how & 4 ? base : NULL, &a, &b);
			see(a, &s);
			if (how & 1)
				must(aioconn_close(a, soon()));
			else
				aioconn_abort(a);
			ck_assert_uint_eq(s.closes, 1);
			ck_assert_int_eq(s.cause, AIOCONN_LOCAL);
			expect_end(b, how & 1 ? 0 : ECONNRESET);
			aioconn_abort(b);
		}
	event_base_free(base);
}

TEST(sending_to_a_peer_that_left_is_epipe)
{
	for (enum transport t = PIPE; t <= PAIR; t++) {
		struct aioconn_stats stats = {.size = sizeof stats};
		struct aioconn *a, *b;

		open_pair(t, NULL, &a, &b);
		aioconn_abort(b);
		must_fail(aioconn_send(a, "i", 1), EPIPE);
		must_fail(aioconn_send(a, "i", 1), EPIPE);
		must(aioconn_stats(a, &stats));
		ck_assert_uint_eq(stats.msgs_out, 0);
		aioconn_close(a, soon());
	}
}

/* It would go past the queue, whose first message finds out. */
TEST(a_large_message_behind_one_that_nobody_reads_is_epipe)
{
	static const char data[100000];
	struct aioconn_stats stats = {.size = sizeof stats};
	struct event_base *base = new_base();
	struct aioconn *a, *b;

	open_pair(PAIR, base, &a, &b);
	send_text(a, "one");
	send_text(a, "waits for the end of the turn");
	aioconn_abort(b);
	must_fail(aioconn_send_bytes(a, data, sizeof data), EPIPE);
	must(aioconn_stats(a, &stats));
	ck_assert_uint_eq(stats.msgs_out, 2);
	must_fail(aioconn_flush(a, soon()), EPIPE);
	must_fail(aioconn_close(a, soon()), EPIPE);
	event_base_free(base);
}

TEST(a_simplex_writer_notices_that_its_reader_left)
{
	struct event_base *base = new_base();
	struct seen s = {.msgs = 0};
	struct aioconn *a, *b;

	open_pair(PIPE, base, &a, &b);
	see(a, &s);
	run_now(base);
	ck_assert_uint_eq(s.closes, 0);
	aioconn_abort(b);
	run_until(base, &s.closes, 1);
	ck_assert_int_eq(s.cause, AIOCONN_LOST);
	event_base_free(base);
}

TEST(a_simplex_writer_whose_write_fails_is_told_whatever_its_size)
{
	static const char data[100000];

	for (size_t len = 10; len <= sizeof data; len *= 100) {
		struct event_base *base = new_base();
		struct seen s = {.msgs = 0};
		struct aioconn *a, *b;

		open_pair(PIPE, base, &a, &b);
		see(a, &s);
		run_now(base);
		aioconn_abort(b);
		must_fail(aioconn_send_bytes(a, data, len), EPIPE);
		run_until(base, &s.closes, 1);
		ck_assert_int_eq(s.cause, AIOCONN_LOST);
		event_base_free(base);
	}
}

#define QUESTIONS 300

static void answer_blocking(struct aioend *end, void *arg)
{
	struct aioconn *c = open_end(end, NULL);
	int32_t got[QUESTIONS];
	unsigned n = 0;
	struct aiomsg *m;

	(void)arg;
	while (must(aioconn_recv(c, &m, soon())) == 1) {
		must(aiomsg_unpack(m, "i", &got[n++]));
		aiomsg_free(m);
	}
	ck_assert_uint_eq(n, QUESTIONS);
	for (unsigned i = 0; i < n; i++)
		must(aioconn_send(c, "iB", got[i], (const void *)"0123456789", (size_t)10));
	must(aioconn_close(c, soon()));
}

struct server {
	unsigned closes;
};

static void answer(struct aioconn *c, struct aiomsg *m, void *arg)
{
	char data[4096] = {0};
	int32_t i;

	(void)arg;
	must(aiomsg_unpack(m, "i", &i));
	must(aioconn_send(c, "iB", i, (const void *)data, (size_t)(1000 + i * 10)));
}

static void server_end(struct aioconn *c, enum aioconn_cause cause, void *arg)
{
	struct server *s = arg;

	ck_assert_int_eq(cause, AIOCONN_CLEAN);
	s->closes++;
	aioconn_abort(c);
}

/* The answers are more than a pipe holds; abort in on_close must not cost one of them. */
static void answer_in_callbacks(struct aioend *end, void *arg)
{
	struct event_base *base = new_base();
	struct aioconn *c = open_end(end, base);
	struct server s = {0};

	(void)arg;
	must(aioconn_set_callbacks(c, answer, NULL, server_end, &s));
	run_until(base, &s.closes, 1);
	event_base_free(base);
}

static void ask_then_read(enum transport t, void (*server)(struct aioend *, void *))
{
	struct aioend *mine, *theirs;
	struct aioconn *c;
	struct aiomsg *m;
	pid_t pid;

	make_ends(t, &mine, &theirs);
	pid = start_child(server, theirs, NULL);
	c = open_end(mine, NULL);
	for (int32_t i = 0; i < QUESTIONS; i++)
		must(aioconn_send(c, "i", i));
	must(aioconn_write_eof(c));
	must_fail(aioconn_send(c, "i", 1), EPIPE);
	must_fail(aioconn_write_eof(c), EPIPE);
	for (int32_t i = 0, got; i < QUESTIONS; i++) {
		const void *data;
		size_t len;

		ck_assert_int_eq(must(aioconn_recv(c, &m, soon())), 1);
		must(aiomsg_unpack(m, "iB", &got, &data, &len));
		ck_assert_int_eq(got, i);
		aiomsg_free(m);
	}
	expect_end(c, 0);
	must(aioconn_close(c, soon()));
	expect_exit(pid, 0);
}

TEST(half_close_then_the_answers)
{
	ask_then_read(DUPLEX, answer_blocking);
	ask_then_read(PAIR, answer_blocking);
}

TEST(half_close_then_the_answers_of_callbacks)
{
	ask_then_read(DUPLEX, answer_in_callbacks);
	ask_then_read(PAIR, answer_in_callbacks);
}

/* Our own goodbye ends nothing here: the other direction goes on, in callbacks too. */
TEST(half_close_on_a_base_still_receives)
{
	struct event_base *base = new_base();
	struct seen s = {.msgs = 0}, peer = {.stay = true};
	struct aioconn *a, *b;

	open_pair(PAIR, base, &a, &b);
	see(a, &s);
	see_end_only(b, &peer);
	send_text(a, "question");
	must(aioconn_write_eof(a));
	run_until(base, &peer.closes, 1);
	ck_assert_int_eq(peer.cause, AIOCONN_CLEAN);
	ck_assert_uint_eq(s.closes, 0);
	expect_text(b, "question");
	expect_end(b, 0);
	send_text(b, "answer");
	run_until(base, &s.msgs, 1);
	ck_assert_str_eq(s.text, "answer ");
	must(aioconn_close(b, soon()));
	run_until(base, &s.closes, 1);
	ck_assert_int_eq(s.cause, AIOCONN_CLEAN);
	event_base_free(base);
}

TEST(a_goodbye_is_answered_by_itself)
{
	struct event_base *base = new_base();
	struct seen s = {.msgs = 0};
	struct aioconn *c;
	int fd = raw_peer(PAIR, base, &c);

	see(c, &s);
	send_text(c, "queued before");
	put(fd, PREFACE, PREFACE_LEN);
	put_frame(fd, GOODBYE, 0, NULL, 0);
	run_until(base, &s.closes, 1);
	get_preface(fd);
	expect_frame(fd, BYTES, "queued before");
	expect_frame(fd, GOODBYE, "");
	close(fd);
	event_base_free(base);
}

TEST(close_against_a_peer_that_never_reads_is_etimedout_and_lost)
{
	struct event_base *base = new_base();

	for (enum transport t = PIPE; t <= PAIR; t++) {
		struct aioconn *a;
		int fd = raw_reader(t, base, &a);
		char *all = must(malloc(4 << 20));
		size_t n;

		send_fill(a, 3 << 20, 1);
		must_fail(aioconn_close(a, aioipc_after(20)), ETIMEDOUT);
		n = get(fd, all, 4 << 20);
		ck_assert_uint_lt(n, 3 << 20);
		ck_assert(is_filled(all + PREFACE_LEN + HEADER_LEN, n - PREFACE_LEN - HEADER_LEN, 1));
		close(fd);
		free(all);
	}
	event_base_free(base);
}

struct closing {
	enum transport t;
	size_t outbox;
};

/*
 * Sends until the queue is full, then closes while the other side does the same. Who is first is done; the other
 * may find it gone with the rest undelivered, and is told so.
 */
static void fill_and_close(struct aioend *end, void *arg)
{
	struct closing *k = arg;
	struct aioconn_limits limits = {.size = sizeof limits, .outbox = k->outbox};
	struct event_base *base = new_base();
	struct aioconn *c = open_end(end, base);
	char data[5000] = {0};

	must(aioconn_set_limits(c, &limits));
	must(aioconn_set_send_wait(c, 0));
	while (aioconn_send_bytes(c, data, sizeof data) == 0)
		continue;
	ck_assert_int_eq(errno, EAGAIN);
	if (aioconn_close(c, soon()) == -1)
		ck_assert_int_eq(errno, EPIPE);
	event_base_free(base);
}

TEST_WITHIN(two_peers_that_close_at_once_with_full_queues_both_end, 20)
{
	static const struct closing kinds[] = {{PAIR, 0}, {DUPLEX, 0}, {PAIR, 4 << 20}, {DUPLEX, 4 << 20}};

	for (size_t i = 0; i < 4; i++) {
		struct closing k = kinds[i];
		struct aioend *one, *other;
		pid_t pids[2];

		make_ends(k.t, &one, &other);
		pids[0] = start_child(fill_and_close, one, &k);
		pids[1] = start_child(fill_and_close, other, &k);
		expect_exit(pids[0], 0);
		expect_exit(pids[1], 0);
	}
}

static void read_all_slowly(struct aioend *end, void *arg)
{
	struct aioconn *c = open_end(end, NULL);

	(void)arg;
	for (unsigned i = 0; i < 100; i++)
		expect_fill(c, 30000, i);
	expect_end(c, 0);
	aioconn_close(c, soon());
}

TEST(finish_delivers_in_the_background_and_frees)
{
	struct event_base *base = new_base();

	for (enum transport t = PIPE; t <= PAIR; t++) {
		struct aioconn_limits limits = {.size = sizeof limits, .outbox = 4 << 20};
		struct aioend *mine, *theirs;
		struct seen s = {.stay = true};
		struct aioconn *c;
		pid_t pid;

		make_ends(t, &mine, &theirs);
		pid = start_child(read_all_slowly, theirs, NULL);
		c = open_end(mine, base);
		must(aioconn_set_limits(c, &limits));
		see(c, &s);
		for (unsigned i = 0; i < 100; i++)
			send_fill(c, 30000, i);
		must(aioconn_finish(c, soon()));
		run_until(base, &s.closes, 1);
		ck_assert_int_eq(s.cause, AIOCONN_LOCAL);
		expect_exit(pid, 0);
		run_now(base);
		ck_assert_uint_eq(s.closes, 1);
	}
	event_base_free(base);
}

TEST(finish_tells_lost_when_it_could_not_deliver)
{
	struct event_base *base = new_base();

	for (int peer_leaves = 0; peer_leaves < 2; peer_leaves++) {
		struct seen s = {.stay = true};
		struct aioconn *a;
		int fd = raw_reader(PAIR, base, &a);

		see(a, &s);
		send_fill(a, 3 << 20, 1);
		must(aioconn_finish(a, peer_leaves ? AIOIPC_FOREVER : aioipc_after(20)));
		if (peer_leaves)
			close(fd);
		run_until(base, &s.closes, 1);
		ck_assert_int_eq(s.cause, AIOCONN_LOST);
		if (!peer_leaves)
			close(fd);
	}
	event_base_free(base);
}

TEST(finish_needs_a_base)
{
	struct aioconn *a, *b;

	open_pair(PAIR, NULL, &a, &b);
	must_fail(aioconn_finish(a, soon()), EINVAL);
	send_text(a, "still there");
	expect_text(b, "still there");
	aioconn_abort(a);
	aioconn_abort(b);
}

static void *wait_for_end(void *arg)
{
	struct aiomsg *m;

	must_fail(aioconn_recv(arg, &m, AIOIPC_FOREVER), ECONNRESET);
	return NULL;
}

TEST(a_waiter_wakes_when_the_peer_dies)
{
	for (enum transport t = PIPE; t <= PAIR; t++) {
		struct aioconn *a, *b;
		pthread_t waiter;

		open_pair(t, NULL, &a, &b);
		ck_assert_int_eq(pthread_create(&waiter, NULL, wait_for_end, b), 0);
		aioconn_abort(a);
		pthread_join(waiter, NULL);
		aioconn_abort(b);
	}
}

/* Each process has its ends and no other's: siblings forked before and after delay no EOF. */
static void stay(struct aioend *end, void *arg)
{
	struct aioconn *c = open_end(end, NULL);

	(void)arg;
	expect_end(c, 0);
	aioconn_close(c, soon());
}

TEST(siblings_forked_before_and_after_do_not_delay_the_end)
{
	struct aioend *mine[3], *theirs[3];
	struct aioconn *c[3];
	size_t kill_it = 5;
	pid_t pid[3];

	for (int i = 0; i < 3; i++)
		make_ends(i == 1 ? DUPLEX : PAIR, &mine[i], &theirs[i]);
	ck_assert_int_eq(leaves[kill_it].how, KILL);
	for (int i = 0; i < 3; i++)
		pid[i] = start_child(i == 1 ? leave : stay, theirs[i], &kill_it);
	for (int i = 0; i < 3; i++)
		c[i] = open_end(mine[i], NULL);
	for (unsigned n = 0; n < leaves[kill_it].msgs; n++)
		expect_text(c[1], "last words");
	expect_end(c[1], ECONNRESET);
	aioconn_abort(c[1]);
	must(aioconn_close(c[0], soon()));
	must(aioconn_close(c[2], soon()));
	expect_exit(pid[0], 0);
	expect_killed(pid[1], SIGKILL);
	expect_exit(pid[2], 0);
}

TEST(the_loop_ends_when_nothing_is_open)
{
	struct event_base *base = new_base();
	struct seen s = {.msgs = 0}, p = {.msgs = 0};
	struct aioconn *a, *b;

	open_pair(PAIR, base, &a, &b);
	see(a, &s);
	see(b, &p);
	must(aioconn_write_eof(a));
	must(event_base_dispatch(base));
	ck_assert_int_eq(p.cause, AIOCONN_CLEAN);
	ck_assert_int_eq(s.cause, AIOCONN_CLEAN);
	event_base_free(base);
}
