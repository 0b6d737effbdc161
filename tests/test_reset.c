/*
 * Lines and bytes over TCP: a clean end is an end of file, and whatever is none is a reset: an abort, a close for which time was
 * too short, a process that was killed.
 */
#include "tests/peers.h"

#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static const enum aioconn_framing streams[] = {AIOCONN_LINES, AIOCONN_BYTES};

static void tcp_pair(int fd[2])
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	socklen_t len = sizeof sa;
	int l = must(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));

	must(bind(l, (struct sockaddr *)&sa, sizeof sa));
	must(listen(l, 1));
	must(getsockname(l, (struct sockaddr *)&sa, &len));
	fd[0] = must(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
	must(connect(fd[0], (struct sockaddr *)&sa, sizeof sa));
	fd[1] = must(accept4(l, NULL, NULL, SOCK_CLOEXEC));
	close(l);
}

static struct aioconn *open_stream(int fd, enum aioconn_framing f, struct event_base *base)
{
	struct aioconn *c = open_end(must(aioend_from_fds(fd, fd)), base);

	must(aioconn_set_framing(c, f, NULL));
	return c;
}

/* @text, and behind it the end, or a reset. */
static void expect_bytes(int fd, const char *text, bool reset)
{
	char buf[64];
	size_t len = strlen(text);

	ck_assert_uint_eq(get(fd, buf, len), len);
	ck_assert_int_eq(memcmp(buf, text, len), 0);
	if (reset)
		must_fail(read(fd, buf, 1), ECONNRESET);
	else
		ck_assert_int_eq(must(read(fd, buf, 1)), 0);
	close(fd);
}

static void hello(struct aioconn *c)
{
	must(aioconn_send_bytes(c, "hello\n", 5));
	must(aioconn_flush(c, soon()));
}

TEST(an_abort_is_a_reset_and_a_close_is_none)
{
	struct event_base *base = new_base();

	for (int k = 0; k < 8; k++) {
		bool abort = k & 1, lines = k & 2;
		struct aioconn *c;
		int fd[2];

		tcp_pair(fd);
		c = open_stream(fd[0], streams[!lines], k & 4 ? base : NULL);
		hello(c);
		shutdown(fd[1], SHUT_WR);
		if (abort)
			aioconn_abort(c);
		else
			must(aioconn_close(c, soon()));
		expect_bytes(fd[1], lines ? "hello\n" : "hello", abort);
	}
	event_base_free(base);
}

TEST(messages_have_their_own_goodbye)
{
	struct aioconn *c;
	unsigned kind;
	char buf[16];
	int fd[2];

	tcp_pair(fd);
	c = open_stream(fd[0], AIOCONN_LINES, NULL);
	must(aioconn_set_framing(c, AIOCONN_MESSAGES, NULL));
	send_text(c, "hello");
	aioconn_abort(c);
	get_preface(fd[1]);
	expect_frame(fd[1], BYTES, "hello");
	ck_assert_int_eq(get_frame(fd[1], &kind, buf, sizeof buf), -1);
	ck_assert_int_eq(must(read(fd[1], buf, 1)), 0);
	close(fd[1]);
}

TEST(a_close_for_which_time_was_too_short_is_a_reset)
{
	struct aioconn *c;
	char buf[65536];
	int fd[2];
	ssize_t n;

	tcp_pair(fd);
	c = open_stream(fd[0], AIOCONN_BYTES, NULL);
	must(aioconn_set_send_wait(c, 0));
	memset(buf, 'x', sizeof buf);
	while (aioconn_send_bytes(c, buf, sizeof buf) == 0)
		;
	ck_assert_int_eq(errno, EAGAIN);
	must_fail(aioconn_close(c, aioipc_after(5)), ETIMEDOUT);
	while ((n = read(fd[1], buf, sizeof buf)) > 0)
		;
	ck_assert_int_eq(n, -1);
	ck_assert_int_eq(errno, ECONNRESET);
	close(fd[1]);
}

static void say_and(struct aioend *end, void *arg)
{
	struct aioconn *c = open_end(end, NULL);

	must(aioconn_set_framing(c, AIOCONN_LINES, NULL));
	hello(c);
	if (arg)
		raise(SIGKILL);
	exit(0);
}

static int say(void *end)
{
	struct aioconn *c = open_end(end, NULL);

	must(aioconn_set_framing(c, AIOCONN_LINES, NULL));
	hello(c);
	return 0;
}

/* Nobody closes anything: the system does. */
TEST(a_killed_process_is_a_reset_and_one_that_exits_is_none)
{
	for (int killed = 0; killed < 2; killed++) {
		struct aioend *end;
		int fd[2];
		pid_t pid;

		tcp_pair(fd);
		end = must(aioend_from_fds(fd[0], fd[0]));
		pid = start_child(say_and, end, killed ? fd : NULL);
		expect_bytes(fd[1], "hello\n", killed);
		if (killed)
			expect_killed(pid, SIGKILL);
		else
			expect_exit(pid, 0);
	}
}

TEST(a_child_that_returns_ends_in_order)
{
	struct aioproc *proc;
	struct aioend *end;
	int fd[2], status;

	tcp_pair(fd);
	end = must(aioend_from_fds(fd[0], fd[0]));
	proc = must(aioproc_start_with(say, end, &end, 1));
	aioend_free(end);
	expect_bytes(fd[1], "hello\n", false);
	must(aioproc_join(proc, &status, soon()));
	ck_assert_int_eq(status, 0);
	aioproc_free(proc);
}

TEST(who_is_reset_is_told_so)
{
	struct event_base *base = new_base();

	for (int k = 0; k < 4; k++) {
		struct aioconn *a, *b;
		int fd[2];

		tcp_pair(fd);
		a = open_stream(fd[0], streams[k & 1], NULL);
		b = open_stream(fd[1], streams[k & 1], k & 2 ? base : NULL);
		hello(a);
		expect_text(b, "hello");
		aioconn_abort(a);
		expect_end(b, ECONNRESET);
		ck_assert_str_eq(aioconn_why(b), "connection reset by the peer");
		aioconn_abort(b);
	}
	event_base_free(base);
}

/* The kernel tells of a reset once: to a send, then, and what is read behind it is an end of file. */
TEST(a_reset_that_a_send_heard_of_is_no_clean_end)
{
	for (int k = 0; k < 2; k++) {
		struct aioconn *a, *b;
		const char *line;
		int fd[2];

		tcp_pair(fd);
		a = open_stream(fd[0], AIOCONN_LINES, NULL);
		b = open_stream(fd[1], AIOCONN_LINES, NULL);
		hello(a);
		must(aioconn_send_bytes(a, "more", 4));
		aioconn_abort(a);
		must_fail(aioconn_send_bytes(b, "x", 1), EPIPE);
		expect_text(b, "hello");
		expect_text(b, "more");
		if (k)
			must_fail(aioconn_read_line(b, &line, soon()), ECONNRESET);
		expect_end(b, ECONNRESET);
		aioconn_abort(b);
	}
}

/* After a clean end that was told, an abort is as good as a close: what the kernel still holds arrives. */
TEST(the_abort_in_on_close_is_no_reset_after_a_clean_end)
{
	struct event_base *base = new_base();

	for (int k = 0; k < 2; k++) {
		struct seen s = {.msgs = 0};
		struct aioconn *c;
		int fd[2];

		tcp_pair(fd);
		c = open_stream(fd[0], AIOCONN_LINES, base);
		hello(c);
		if (k)
			see(c, &s);
		else
			see_end_only(c, &s);
		shutdown(fd[1], SHUT_WR);
		run_until(base, &s.closes, 1);
		ck_assert_int_eq(s.cause, AIOCONN_CLEAN);
		expect_bytes(fd[1], "hello\n", false);
	}
	event_base_free(base);
}
