/* A goodbye ends one direction: who goes on in the other, for how long, and what is still called back. */
#include "tests/peers.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static const enum aioconn_framing framings[] = {AIOCONN_MESSAGES, AIOCONN_LINES};

static void pair_of(enum aioconn_framing f, struct event_base *base, struct aioconn **a, struct aioconn **b)
{
	struct aioend *one, *other;

	make_ends(PAIR, &one, &other);
	*a = open_end(one, NULL);
	*b = open_end(other, base);
	must(aioconn_set_framing(*a, f, NULL));
	must(aioconn_set_framing(*b, f, NULL));
}

/* A server: what it answers, at once or later. */
struct server {
	struct aioconn *c;
	struct event *timer;
	unsigned msgs, closes, writable, writable_at_close;
	enum aioconn_cause cause;
	bool stay;
};

static void answer_at_once(struct aioconn *c, struct aiomsg *m, void *arg)
{
	struct server *s = arg;

	s->msgs++;
	must(aioconn_send_msg(c, m));
}

static void answer_later(struct aioconn *c, struct aiomsg *m, void *arg)
{
	static const struct timeval later = {0, 20000};
	struct server *s = arg;

	(void)m;
	s->msgs++;
	aioconn_pause(c);
	must(event_add(s->timer, &later));
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct server *s = arg;

	(void)fd;
	(void)what;
	send_text(s->c, "late");
	aioconn_resume(s->c);
}

static void on_writable(struct aioconn *c, void *arg)
{
	(void)c;
	((struct server *)arg)->writable++;
}

static void on_close(struct aioconn *c, enum aioconn_cause cause, void *arg)
{
	struct server *s = arg;

	s->closes++;
	s->cause = cause;
	s->writable_at_close = s->writable;
	if (!s->stay)
		aioconn_abort(c);
}

TEST(with_on_msg_the_goodbye_is_answered_behind_the_answers)
{
	struct event_base *base = new_base();

	for (int k = 0; k < 2; k++) {
		struct server s = {.msgs = 0};
		struct aioconn *a;

		pair_of(framings[k], base, &a, &s.c);
		must(aioconn_set_callbacks(s.c, answer_at_once, NULL, on_close, &s));
		send_text(a, "one");
		send_text(a, "two");
		must(aioconn_write_eof(a));
		run_until(base, &s.closes, 1);
		ck_assert_int_eq(s.cause, AIOCONN_CLEAN);
		expect_text(a, "one");
		expect_text(a, "two");
		expect_end(a, 0);
		aioconn_abort(a);
	}
	event_base_free(base);
}

TEST(answers_that_take_longer_are_waited_for_while_paused)
{
	struct event_base *base = new_base();

	for (int k = 0; k < 2; k++) {
		struct server s = {.msgs = 0};
		struct aioconn *a;

		s.timer = must(event_new(base, -1, 0, on_timer, &s));
		pair_of(framings[k], base, &a, &s.c);
		must(aioconn_set_callbacks(s.c, answer_later, NULL, on_close, &s));
		send_text(a, "one");
		send_text(a, "two");
		must(aioconn_write_eof(a));
		run_until(base, &s.closes, 1);
		ck_assert_uint_eq(s.msgs, 2);
		ck_assert_int_eq(s.cause, AIOCONN_CLEAN);
		expect_text(a, "late");
		expect_text(a, "late");
		expect_end(a, 0);
		aioconn_abort(a);
		event_free(s.timer);
	}
	event_base_free(base);
}

static void answer_behind_the_end(void *arg)
{
	struct server *s = arg;

	expect_text(s->c, "one");
	expect_end(s->c, 0);
	send_text(s->c, "after");
	must(aiotask_sleep(aioipc_after(5)));
	send_text(s->c, "all");
	must(aioconn_close(s->c, soon()));
}

static void ask_once(struct aioend *end, void *arg)
{
	struct aioconn *a = open_end(end, NULL);

	must(aioconn_set_framing(a, *(const enum aioconn_framing *)arg, NULL));
	send_text(a, "one");
	must(aioconn_write_eof(a));
	expect_text(a, "after");
	expect_text(a, "all");
	expect_end(a, 0);
	must(aioconn_close(a, soon()));
}

TEST(without_on_msg_nothing_is_said_by_itself)
{
	struct event_base *base = new_base();

	for (int k = 0; k < 6; k++) {
		enum aioconn_framing f = framings[k & 1];
		struct server s = {.stay = true};
		struct aioend *one, *other;
		pid_t pid;

		make_ends(PAIR, &one, &other);
		pid = start_child(ask_once, one, &f);
		s.c = open_end(other, k < 2 ? NULL : base);
		must(aioconn_set_framing(s.c, f, NULL));
		must(aioconn_set_callbacks(s.c, NULL, NULL, on_close, &s));
		if (k < 4)
			answer_behind_the_end(&s);
		else
			must(aiotask_run(base, answer_behind_the_end, &s));
		ck_assert_uint_eq(s.closes, 1);
		expect_exit(pid, 0);
	}
	event_base_free(base);
}

static void fill_up(struct aioconn *c, size_t *sent)
{
	static const char line[1000];

	must(aioconn_set_send_wait(c, 0));
	while (aioconn_send_bytes(c, line, sizeof line) == 0)
		*sent += sizeof line;
	ck_assert_int_eq(errno, EAGAIN);
}

/* Sending goes on after the peer's goodbye, but who was told the end is not called any more. */
TEST(on_close_is_the_last_that_is_called)
{
	struct event_base *base = new_base();
	struct server s = {.stay = true};
	size_t sent = 0, got = 0;
	char buf[65536];
	ssize_t n;
	int fd = raw_peer(PAIR, base, &s.c);

	must(aioconn_set_framing(s.c, AIOCONN_BYTES, NULL));
	must(aioconn_set_callbacks(s.c, NULL, on_writable, on_close, &s));
	run_until(base, &s.writable, 1);
	fill_up(s.c, &sent);
	must(shutdown(fd, SHUT_WR));
	run_until(base, &s.closes, 1);
	while (got < sent) {
		while ((n = recv(fd, buf, sizeof buf, MSG_DONTWAIT)) > 0)
			got += (size_t)n;
		run_now(base);
	}
	ck_assert_uint_eq(s.writable, s.writable_at_close);
	send_text(s.c, "goes on");
	must(aioconn_flush(s.c, soon()));
	ck_assert_uint_eq(get(fd, buf, 7), 7);
	close(fd);
	aioconn_abort(s.c);
	ck_assert_uint_eq(s.closes, 1);
	event_base_free(base);
}

TEST(room_is_told_before_the_end)
{
	struct event_base *base = new_base();
	struct server s = {.stay = true};
	size_t sent = 0, got = 0;
	char buf[65536];
	int fd = raw_peer(PAIR, base, &s.c);

	must(aioconn_set_framing(s.c, AIOCONN_BYTES, NULL));
	must(aioconn_set_callbacks(s.c, NULL, on_writable, on_close, &s));
	run_until(base, &s.writable, 1);
	fill_up(s.c, &sent);
	while (s.writable < 2) {
		ssize_t n = recv(fd, buf, sizeof buf, MSG_DONTWAIT);

		got += n > 0 ? (size_t)n : 0;
		run_now(base);
	}
	ck_assert_uint_le(got, sent);
	close(fd);
	aioconn_abort(s.c);
	event_base_free(base);
}
