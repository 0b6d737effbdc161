/* What a connection lets itself be told, what it tells of itself, and the trace. */
#include "tests/harness.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <event2/event.h>

#include <aioipc.h>

struct pair {
	struct aioconn *a, *b;
};

static struct pair open_pair(struct event_base *base)
{
	struct aioend *one, *other;
	struct pair p;

	must(aiosockpair(&one, &other));
	p.a = must(aioend_open(one, base));
	p.b = must(aioend_open(other, base));
	return p;
}

static void close_pair(struct pair p)
{
	aioconn_abort(p.a);
	aioconn_abort(p.b);
}

TEST(framing_is_settled_by_the_first_use)
{
	struct pair p = open_pair(NULL);

	must_fail(aioconn_set_framing(p.a, (enum aioconn_framing)7, NULL), EINVAL);
	must_fail(aioconn_set_framing(p.a, AIOCONN_LINES, ""), EINVAL);
	must_fail(aioconn_set_framing(p.a, AIOCONN_LINES, "123456789"), EINVAL);
	must(aioconn_set_framing(p.a, AIOCONN_LINES, "\r\n"));
	must(aioconn_send_bytes(p.a, "x", 1));
	must_fail(aioconn_set_framing(p.a, AIOCONN_BYTES, NULL), EBUSY);
	must_fail(aioconn_allow_fds(p.a, 1), EBUSY);
	close_pair(p);
}

/* Programs that were compiled against an older release pass smaller structs. What lies behind them is not ours. */
TEST(a_smaller_struct_is_of_an_older_release)
{
	const size_t smaller = offsetof(struct aioconn_limits, line);
	struct pair p = open_pair(NULL);
	struct aioconn_limits l = {.size = smaller, .message = 3, .line = (size_t)1 << 31};
	struct aioconn_stats s = {.size = offsetof(struct aioconn_stats, msgs_out), .msgs_out = 77};

	must(aioconn_set_limits(p.a, &l));
	must_fail(aioconn_send_bytes(p.a, "four", 4), EMSGSIZE);
	must(aioconn_send_bytes(p.b, "1", 1));
	must(aioconn_stats(p.a, &s));
	ck_assert_uint_eq(s.msgs_in, 0);
	ck_assert_uint_eq(s.msgs_out, 77);
	l.size = 0;
	must_fail(aioconn_set_limits(p.a, &l), EINVAL);
	close_pair(p);
}

TEST(settings_out_of_range_are_refused)
{
	struct pair p = open_pair(NULL);
	struct aioconn_limits l = {.size = sizeof l + 1};
	struct aioend *rx, *tx;
	struct aioconn *c;

	must_fail(aioconn_set_limits(p.a, &l), EINVAL);
	l = (struct aioconn_limits){.size = sizeof l, .message = ((size_t)1 << 30) + 1};
	must_fail(aioconn_set_limits(p.a, &l), EINVAL);
	l = (struct aioconn_limits){.size = sizeof l, .line = ((size_t)1 << 30) + 1};
	must_fail(aioconn_set_limits(p.a, &l), EINVAL);
	must_fail(aioconn_set_spin(p.a, 1001), EINVAL);
	must_fail(aioconn_set_send_wait(p.a, -2), EINVAL);
	must_fail(aioconn_allow_fds(p.a, 254), EINVAL);
	must(aiopipe(&rx, &tx));
	c = must(aioend_open(rx, NULL));
	must_fail(aioconn_allow_fds(c, 1), EOPNOTSUPP);
	must_fail(aioconn_peer_cred(c, NULL, NULL, NULL), EOPNOTSUPP);
	must_fail(aioconn_finish(c, AIOIPC_NOW), EINVAL);
	aioconn_abort(c);
	aioend_free(tx);
	close_pair(p);
}

TEST(a_message_limit_holds_both_ways)
{
	struct pair p = open_pair(NULL);
	struct aioconn_limits l = {.size = sizeof l, .message = 100};
	char data[101] = "";
	struct aiomsg *m;

	must(aioconn_set_limits(p.b, &l));
	must_fail(aioconn_send_bytes(p.b, data, 101), EMSGSIZE);
	must(aioconn_send_bytes(p.b, data, 100));
	must(aioconn_send_bytes(p.a, data, 101));
	must_fail(aioconn_recv(p.b, &m, AIOIPC_FOREVER), EMSGSIZE);
	ck_assert_str_eq(aioconn_why(p.b), "frame of 101 bytes, limit 100");
	close_pair(p);
}

TEST(it_tells_what_it_was_given)
{
	struct event_base *base = must(event_base_new());
	struct pair p = open_pair(base);
	int here;
	pid_t pid;
	uid_t uid;
	gid_t gid;

	must(aioconn_set_callbacks(p.a, NULL, NULL, NULL, &here));
	ck_assert_ptr_eq(aioconn_arg(p.a), &here);
	ck_assert_ptr_eq(aioconn_base(p.a), base);
	ck_assert_int_ge(aioconn_fd(p.a), 0);
	ck_assert_str_eq(aioconn_why(p.a), "");
	must(aioconn_peer_cred(p.a, &pid, &uid, &gid));
	ck_assert_int_eq(pid, getpid());
	ck_assert_uint_eq(uid, getuid());
	ck_assert_uint_eq(gid, getgid());
	close_pair(p);
	event_base_free(base);
}

TEST(statistics_count_messages_and_bytes)
{
	struct pair p = open_pair(NULL);
	struct aioconn_stats s = {.size = sizeof s};
	struct aiomsg *m;

	must(aioconn_cork(p.a, true));
	must(aioconn_send_bytes(p.a, "12345", 5));
	must(aioconn_send_bytes(p.a, "", 0));
	must(aioconn_stats(p.a, &s));
	ck_assert_uint_eq(s.msgs_out, 2);
	ck_assert_uint_eq(s.bytes_out, 0);
	ck_assert_uint_eq(s.queued_out, 8 + 8 + 5 + 8);
	must(aioconn_cork(p.a, false));
	must(aioconn_stats(p.a, &s));
	ck_assert_uint_eq(s.bytes_out, 29);
	ck_assert_uint_eq(s.queued_out, 0);
	ck_assert_uint_eq(s.peak_out, 29);
	ck_assert_int_eq(must(aioconn_recv(p.b, &m, AIOIPC_FOREVER)), 1);
	aiomsg_free(m);
	must(aioconn_stats(p.b, &s));
	ck_assert_uint_eq(s.msgs_in, 1);
	ck_assert_uint_eq(s.bytes_in, 29);
	ck_assert_uint_eq(s.queued_in, 8);
	s.size = sizeof s + 1;
	must_fail(aioconn_stats(p.b, &s), EINVAL);
	close_pair(p);
}

/* Runs in a child of its own, since the environment is read once. */
static void talk_traced(int fd)
{
	struct pair p;
	struct aiomsg *m;

	must(dup2(fd, 2));
	must(setenv("AIOIPC_TRACE", "1", 1));
	p = open_pair(NULL);
	must(aioconn_send(p.a, "is", 7, "seven"));
	must(aioconn_recv(p.b, &m, AIOIPC_FOREVER));
	aiomsg_free(m);
	must(aioconn_close(p.a, AIOIPC_FOREVER));
	aioconn_abort(p.b);
	_exit(0);
}

/* Whoever looked at it pressed ^C. */
TEST(a_trace_that_nobody_reads_is_no_reason_to_die)
{
	int fd[2], status;
	pid_t pid;

	must(pipe2(fd, O_CLOEXEC));
	must(close(fd[0]));
	pid = must(fork());
	if (pid == 0)
		talk_traced(fd[1]);
	must(close(fd[1]));
	must(waitpid(pid, &status, 0));
	ck_assert_int_eq(status, 0);
}

TEST(the_trace_shows_every_frame)
{
	char text[1000] = "";
	int fd[2], status;
	ssize_t n;
	size_t len = 0;
	pid_t pid;

	must(pipe2(fd, O_CLOEXEC));
	pid = must(fork());
	if (pid == 0)
		talk_traced(fd[1]);
	must(close(fd[1]));
	while ((n = must(read(fd[0], text + len, sizeof text - 1 - len))) > 0)
		len += (size_t)n;
	must(close(fd[0]));
	must(waitpid(pid, &status, 0));
	ck_assert_int_eq(status, 0);
	ck_assert_ptr_nonnull(strstr(text, "> is, "));
	ck_assert_ptr_nonnull(strstr(text, "< is, "));
	ck_assert_ptr_nonnull(strstr(text, "> goodbye, "));
}
