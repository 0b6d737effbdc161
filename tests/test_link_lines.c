/* Links that carry lines: what is no whole line is never taken for one, and whoever leaves without having said all is told of. */
#include "tests/links.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static struct aiolink *listen_on_tcp(struct event_base *base, const struct aioconn_limits *limits,
				     int64_t idle)
{
	struct aiolink_options o = options_of(AIOLINK_LISTEN, tcp_at(0), AIOCONN_LINES);

	o.delimiter = "\n";
	o.limits = limits;
	o.idle_limit = idle;
	return start_link(&o, base);
}

static int visit(const struct aiolink *l)
{
	return raw_connect(tcp_at(aiolink_port(l)));
}

static void put_text(int fd, const char *text)
{
	put(fd, text, strlen(text));
}

/* The loop that the link may be on runs meanwhile. */
static void await_input(int fd)
{
	wait_readable(fd);
}

/* Closes it so that its peer is reset. */
static void break_off(int fd)
{
	const struct linger now = {.l_onoff = 1};

	must(setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now));
	close(fd);
}

static void expect_part(const struct aiolink *l, const char *text, unsigned part)
{
	struct aiomsg *item;
	size_t len;

	ck_assert_int_eq(must(aioqueue_get(aiolink_inbox(l), &item, soon())), 1);
	ck_assert_str_eq(aiomsg_bytes(item, &len), text);
	ck_assert_uint_eq(aiomsg_part(item), part);
	aiomsg_free(item);
}

static void lose_half_a_line(struct event_base *base)
{
	struct aiolink *l = listen_on_tcp(base, NULL, 0);
	int fd = visit(l);
	char why[128];

	put_text(fd, "one\nhal");
	expect_part(l, "one", 0);
	break_off(fd);
	await_disconnect(l);
	aiolink_why(l, why, sizeof why);
	ck_assert_str_eq(why, "connection reset by the peer inside a line");
	ck_assert_int_eq(aiolink_error(l), ECONNRESET);
	fd = visit(l);
	put_text(fd, "two\nlast");
	shutdown(fd, SHUT_WR);
	expect_part(l, "two", 0);
	expect_part(l, "last", AIOMSG_UNENDED);
	close(fd);
	close_link(l);
}

TEST(half_a_line_before_a_reset_is_dropped_and_before_an_end_is_marked)
{
	both_ways(lose_half_a_line);
}

static void hear_long_ones(struct event_base *base)
{
	const struct aioconn_limits limits = {.size = sizeof limits, .line = 8, .long_lines = true};
	struct aiolink *l = listen_on_tcp(base, &limits, 0);
	int fd = visit(l);
	char back[32];

	put_text(fd, "sixteen letters\nshort\n12345678 and");
	expect_part(l, "sixteen ", AIOMSG_MORE);
	expect_part(l, "letters", AIOMSG_CONTINUES);
	expect_part(l, "short", 0);
	expect_part(l, "12345678", AIOMSG_MORE);
	put_word(aiolink_outbox(l), "longer than eight");
	await_input(fd);
	ck_assert_uint_eq(get(fd, back, 18), 18);
	ck_assert_int_eq(memcmp(back, "longer than eight\n", 18), 0);
	break_off(fd);
	await_disconnect(l);
	fd = visit(l);
	put_text(fd, "next\n");
	expect_part(l, "next", 0);
	close(fd);
	close_link(l);
}

TEST(long_lines_come_in_pieces_and_a_new_connection_begins_a_new_line)
{
	both_ways(hear_long_ones);
}

static void fall_silent(struct event_base *base)
{
	struct aiolink *l = listen_on_tcp(base, NULL, 50);
	int fd = visit(l);
	char c;

	put_text(fd, "half a line");
	await_input(fd);
	must_fail(read(fd, &c, 1), ECONNRESET);
	close(fd);
	await_disconnect(l);
	ck_assert_int_eq(aiolink_error(l), ETIMEDOUT);
	close_link(l);
}

TEST(silence_inside_a_line_is_silence)
{
	both_ways(fall_silent);
}

static int say_and_die(void *port)
{
	struct aiolink *l = start_connecting(tcp_at(*(const int *)port), AIOCONN_LINES, NULL);

	put_word(aiolink_outbox(l), "last words");
	expect_word(aiolink_inbox(l), "heard");
	return raise(SIGKILL);
}

static void outlive(struct event_base *base)
{
	for (int killed = 0; killed < 2; killed++) {
		struct aiolink *l = start_listening(tcp_at(0), AIOCONN_LINES, base), *other = NULL;
		int port = aiolink_port(l);
		struct aioproc *proc = NULL;
		int status;

		if (killed)
			proc = must(aioproc_start(say_and_die, &port));
		else
			other = start_connecting(tcp_at(port), AIOCONN_LINES, base);
		if (other)
			put_word(aiolink_outbox(other), "last words");
		expect_word(aiolink_inbox(l), "last words");
		put_word(aiolink_outbox(l), "heard");
		if (other)
			expect_word(aiolink_inbox(other), "heard");
		aiolink_abort(other);
		if (killed)
			must(aioproc_join(proc, &status, soon()));
		aioproc_free(proc);
		await_disconnect(l);
		ck_assert_int_eq(aiolink_error(l), ECONNRESET);
		close_link(l);
	}
}

TEST(a_link_that_aborts_and_a_process_that_is_killed_are_told_of)
{
	both_ways(outlive);
}
