/* Descriptors that somebody else made, and that a program hands over: standard input and output, sockets of inetd, files. */
#include "tests/peers.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static void tcp_pair(int s[2])
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	socklen_t len = sizeof sa;
	int l = must(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));

	must(bind(l, (struct sockaddr *)&sa, len));
	must(listen(l, 1));
	must(getsockname(l, (struct sockaddr *)&sa, &len));
	s[0] = must(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
	must(connect(s[0], (struct sockaddr *)&sa, len));
	s[1] = must(accept4(l, NULL, NULL, SOCK_CLOEXEC));
	close(l);
}

static void remember(const char *text, void *arg)
{
	strncat(arg, text, 200 - strlen(arg));
}

/* Refused with @error, in words, and left as it was. */
static void expect_refused(int rfd, int wfd, int error, const char *words)
{
	int fd = rfd == -1 ? wfd : rfd, flags = must(fcntl(fd, F_GETFL));
	char said[256] = "";

	aioipc_set_log(remember, said);
	must_fail(aioend_from_fds(rfd, wfd), error);
	aioipc_set_log(NULL, NULL);
	ck_assert_msg(strstr(said, words), "\"%s\" has no \"%s\"", said, words);
	ck_assert_int_eq(must(fcntl(fd, F_GETFL)), flags);
	ck_assert_int_eq(must(fcntl(fd, F_GETFD)), 0);
}

TEST(sockets_of_packets_are_refused)
{
	static const int types[] = {SOCK_SEQPACKET, SOCK_DGRAM};

	for (int i = 0; i < 2; i++) {
		int s[2], p[2];

		must(socketpair(AF_UNIX, types[i], 0, s));
		must(pipe(p));
		expect_refused(s[0], s[0], EPROTOTYPE, "packets");
		expect_refused(s[0], -1, EPROTOTYPE, "packets");
		expect_refused(-1, s[0], EPROTOTYPE, "packets");
		expect_refused(p[0], s[1], EPROTOTYPE, "packets");
		for (int k = 0; k < 2; k++) {
			close(s[k]);
			close(p[k]);
		}
	}
}

TEST(a_socket_that_listens_is_refused)
{
	int fd = must(socket(AF_UNIX, SOCK_STREAM, 0));
	struct sockaddr sa = {.sa_family = AF_UNIX};

	must(bind(fd, &sa, sizeof sa.sa_family));
	must(listen(fd, 1));
	expect_refused(fd, fd, EINVAL, "listens");
	close(fd);
}

static struct aioconn *adopt(int rfd, int wfd, struct event_base *base)
{
	struct aioend *end = must(aioend_from_fds(rfd, wfd));

	return must(aioend_open(end, base));
}

static int open_it(const char *path, int flags)
{
	return must(open(path, flags | O_CLOEXEC));
}

static void expect_eof(int fd, const char *text)
{
	char got[100];

	ck_assert_uint_eq(get(fd, got, sizeof got), strlen(text));
	ck_assert_mem_eq(got, text, strlen(text));
}

/* A service of inetd: one socket under two numbers. It sends, says that this was all, and reads the answer. */
static void half_close(int s[2], struct event_base *base)
{
	int again = must(fcntl(s[1], F_DUPFD_CLOEXEC, 0));
	struct aioconn *c = adopt(s[1], again, base);

	must(aioconn_set_framing(c, AIOCONN_LINES, NULL));
	must(aioconn_send_bytes(c, "one", 3));
	must(aioconn_send_bytes(c, "two", 3));
	must(aioconn_write_eof(c));
	expect_eof(s[0], "one\ntwo\n");
	put(s[0], "done\n", 5);
	must(shutdown(s[0], SHUT_WR));
	expect_text(c, "done");
	expect_end(c, 0);
	must(aioconn_close(c, base ? AIOIPC_NOW : soon()));
	must_fail(fcntl(again, F_GETFD), EBADF);
	close(s[0]);
}

TEST(write_eof_reaches_the_peer_of_a_socket_with_two_numbers)
{
	struct event_base *base = new_base();
	int s[2];

	for (int k = 0; k < 2; k++) {
		must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s));
		half_close(s, k ? base : NULL);
		tcp_pair(s);
		half_close(s, NULL);
	}
	event_base_free(base);
}

/* The peer does not hang up, but its system has all that was sent: nothing is left that the deadline could cut off. */
TEST(a_close_in_time_does_not_need_the_peer_to_hang_up)
{
	struct event_base *base = new_base();

	for (int k = 0; k < 2; k++) {
		struct seen seen = {.msgs = 0};
		struct aioconn *c;
		int s[2];

		tcp_pair(s);
		c = adopt(s[1], s[1], k ? base : NULL);
		must(aioconn_set_framing(c, AIOCONN_LINES, NULL));
		see_end_only(c, &seen);
		must(aioconn_send_bytes(c, "one", 3));
		if (k) {
			must(aioconn_finish(c, aioipc_after(500)));
			run_until(base, &seen.closes, 1);
		} else {
			must(aioconn_close(c, aioipc_after(500)));
		}
		ck_assert_int_eq(seen.cause, AIOCONN_LOCAL);
		put_try(s[0], "late", 4);
		expect_eof(s[0], "one\n");
		close(s[0]);
	}
	event_base_free(base);
}

struct closing {
	struct aioconn *c;
	int r;
};

static void close_in_task(void *arg)
{
	struct closing *t = arg;

	t->r = aioconn_close(t->c, aioipc_after(50));
}

static void *keep_sending(void *arg)
{
	static const char line[] = "a line that nobody takes\n";

	while (put_try(*(int *)arg, line, sizeof line - 1))
		;
	return NULL;
}

/* It never stops, so its end never comes; the deadline does, in a task and outside. */
TEST(a_close_is_not_held_up_by_a_peer_that_never_stops_sending)
{
	struct event_base *base = new_base();

	for (int k = 0; k < 3; k++) {
		struct closing t;
		struct aiotask *task;
		pthread_t sender;
		int s[2];

		tcp_pair(s);
		t.c = adopt(s[1], s[1], k ? base : NULL);
		must(aioconn_set_framing(t.c, AIOCONN_LINES, NULL));
		ck_assert_int_eq(pthread_create(&sender, NULL, keep_sending, &s[0]), 0);
		expect_text(t.c, "a line that nobody takes");
		if (k == 1) {
			task = must(aiotask_spawn(base, close_in_task, &t));
			must(aiotask_join(task, soon()));
		} else {
			close_in_task(&t);
		}
		pthread_join(sender, NULL);
		close(s[0]);
	}
	event_base_free(base);
}

/* Nobody reads what was sent, and its system has no room for all. */
TEST(a_close_that_left_something_behind_is_late)
{
	static char line[1 << 20];
	struct aioconn_limits limits = {.size = sizeof limits, .line = 2 * sizeof line};
	struct aioconn *c;
	int s[2];

	tcp_pair(s);
	c = adopt(s[1], s[1], NULL);
	must(aioconn_set_framing(c, AIOCONN_LINES, NULL));
	must(aioconn_set_limits(c, &limits));
	must(aioconn_set_send_wait(c, 0));
	memset(line, 'x', sizeof line);
	while (aioconn_send_bytes(c, line, sizeof line) == 0)
		;
	ck_assert_int_eq(errno, EAGAIN);
	must_fail(aioconn_close(c, aioipc_after(20)), ETIMEDOUT);
	close(s[0]);
}

/* TCP gives up a peer that takes nothing any more: told as that, by whatever call asks, and never as the peer's reset. */
static void expect_given_up(struct event_base *base)
{
	static char data[1 << 20];
	const unsigned ms = 100;
	struct seen seen = {.stay = true};
	struct aioconn *c;
	int s[2];

	tcp_pair(s);
	must(setsockopt(s[1], IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof ms));
	c = adopt(s[1], s[1], base);
	must(aioconn_set_send_wait(c, 0));
	see_end_only(c, &seen);
	while (aioconn_send_bytes(c, data, sizeof data) == 0)
		;
	ck_assert_int_eq(errno, EAGAIN);
	if (base)
		run_until(base, &seen.closes, 1);
	must_fail(aioconn_flush(c, AIOIPC_FOREVER), ETIMEDOUT);
	must_fail(aioconn_send(c, "i", 1), ETIMEDOUT);
	expect_end(c, ETIMEDOUT);
	ck_assert_ptr_nonnull(strstr(aioconn_why(c), "timed out"));
	ck_assert_int_eq(seen.cause, AIOCONN_LOST);
	aioconn_abort(c);
	close(s[0]);
}

TEST_WITHIN(a_peer_that_tcp_gave_up_is_told_as_that, 30)
{
	struct event_base *base = new_base();

	expect_given_up(NULL);
	expect_given_up(base);
	event_base_free(base);
}

/* Other things may be read and written under two numbers too: they have no half that could be closed. */
TEST(two_sockets_stay_two)
{
	struct aioconn *c;
	int in[2], out[2];

	must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, in));
	must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, out));
	c = adopt(in[1], out[1], NULL);
	must(aioconn_set_framing(c, AIOCONN_LINES, NULL));
	must(aioconn_send_bytes(c, "one", 3));
	must(aioconn_write_eof(c));
	expect_eof(out[0], "one\n");
	ck_assert(!is_readable(in[0]));
	put(in[0], "done\n", 5);
	expect_text(c, "done");
	must(aioconn_close(c, soon()));
	close(in[0]);
	close(out[0]);
}

#ifndef SO_PASSPIDFD
#define SO_PASSPIDFD 76
#endif

/* Who listens for systemd may have asked the kernel for the peer's pidfd, with every message. */
TEST(what_a_socket_tells_of_its_peer_is_not_kept_open)
{
	static const int options[] = {SO_PASSCRED, SO_PASSPIDFD};
	const int on = 1;

	for (int i = 0; i < 2; i++)
		for (unsigned allowed = 0; allowed <= 253; allowed += 253) {
			struct aioconn *a, *b;
			unsigned before;
			int s[2];

			must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s));
			if (setsockopt(s[0], SOL_SOCKET, options[i], &on, sizeof on) == -1)
				ck_assert_int_eq(errno, ENOPROTOOPT);
			a = adopt(s[0], s[0], NULL);
			b = adopt(s[1], s[1], NULL);
			must(aioconn_allow_fds(a, allowed));
			before = harness_count_fds();
			for (int n = 0; n < 20; n++) {
				send_text(b, "one");
				expect_text(a, "one");
			}
			ck_assert_uint_eq(harness_count_fds(), before);
			aioconn_abort(a);
			aioconn_abort(b);
		}
}

/* They take room where the descriptors come in. */
TEST(what_a_socket_tells_of_its_peer_crowds_out_no_descriptor)
{
	static const int options[] = {SO_PASSCRED, SO_PASSPIDFD, SO_TIMESTAMP, SO_PASSSEC};
	struct aiomsg *m = must(aiomsg_new_bytes("all", 3)), *got;
	struct aioconn *a, *b;
	const int on = 1;
	int s[2];

	must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s));
	for (size_t i = 0; i < sizeof options / sizeof *options; i++)
		setsockopt(s[0], SOL_SOCKET, options[i], &on, sizeof on);
	a = adopt(s[0], s[0], NULL);
	b = adopt(s[1], s[1], NULL);
	must(aioconn_allow_fds(a, 253));
	for (int n = 0; n < 253; n++)
		must(aiomsg_add_fd(m, 0));
	must(aioconn_send_msg(b, m));
	aiomsg_free(m);
	ck_assert_int_eq(must(aioconn_recv(a, &got, soon())), 1);
	ck_assert_uint_eq(aiomsg_fds(got), 253);
	aiomsg_free(got);
	aioconn_abort(a);
	aioconn_abort(b);
}

static int open_and_return(void *arg)
{
	int *fd = arg;
	struct aioconn *c = adopt(fd[0], fd[1], NULL);

	return !(must(fcntl(fd[0], F_GETFL)) & O_NONBLOCK) || !c;
}

TEST(open_files_of_others_block_again_when_a_started_child_has_returned)
{
	struct aioproc *p;
	int in[2], out[2], fd[2], status;

	must(pipe2(in, O_CLOEXEC));
	must(pipe2(out, O_CLOEXEC));
	fd[0] = in[0];
	fd[1] = out[1];
	p = must(aioproc_start(open_and_return, fd));
	must(aioproc_join(p, &status, soon()));
	aioproc_free(p);
	ck_assert_int_eq(status, 0);
	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(must(fcntl(fd[i], F_GETFL)) & O_NONBLOCK, 0);
		close(in[i]);
		close(out[i]);
	}
}

/* Files and /dev/null can't be watched; nothing of libevent's complains all the same. */
static unsigned complaints;

static void count_complaint(int severity, const char *text)
{
	(void)severity;
	(void)text;
	complaints++;
}

static int file_with(const char *text)
{
	char path[] = "/tmp/aioipc-adopt.XXXXXX";
	int fd = must(mkostemp(path, O_CLOEXEC));

	must(unlink(path));
	put(fd, text, strlen(text));
	ck_assert_int_eq(must(lseek(fd, 0, SEEK_SET)), 0);
	return fd;
}

static struct aioconn *adopt_lines(int rfd, int wfd, struct event_base *base)
{
	struct aioconn *c = adopt(rfd, wfd, base);

	must(aioconn_set_framing(c, AIOCONN_LINES, NULL));
	return c;
}

/* As a filter has it whose input was redirected: on every kind of loop. */
static void read_to_the_end(struct event_base *base, int fd, unsigned lines)
{
	struct seen s = {.msgs = 0};
	struct aioconn *c = adopt_lines(fd, -1, base);

	see(c, &s);
	run_until(base, &s.closes, 1);
	ck_assert_uint_eq(s.msgs, lines);
	ck_assert_int_eq(s.cause, AIOCONN_CLEAN);
}

TEST(a_file_is_read_on_every_kind_of_loop)
{
	static const char *const methods[] = {"epoll", "poll", "select"};

	event_set_log_callback(count_complaint);
	for (int i = 0; i < 3; i++) {
		struct event_config *cfg = must(event_config_new());
		struct event_base *base;

		for (int k = 0; k < 3; k++)
			if (k != i)
				must(event_config_avoid_method(cfg, methods[k]));
		base = must(event_base_new_with_config(cfg));
		read_to_the_end(base, file_with("one\ntwo\nthree\n"), 3);
		read_to_the_end(base, open_it("/dev/null", O_RDONLY), 0);
		event_base_free(base);
		event_config_free(cfg);
	}
	ck_assert_uint_eq(complaints, 0);
}

static void tick(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	++*(unsigned *)arg;
}

/* It is never short of input, and must leave the others their turns. */
TEST(an_endless_file_leaves_others_their_turns)
{
	struct event_base *base = new_base();
	const struct timeval at_once = {0};
	struct seen s = {.stay = true};
	struct aioconn *a, *b, *zero;
	struct seen zeroes = {.stay = true};
	unsigned ticks = 0;

	event_set_log_callback(count_complaint);
	zero = adopt(open_it("/dev/zero", O_RDONLY), -1, base);
	must(aioconn_set_framing(zero, AIOCONN_BYTES, NULL));
	see(zero, &zeroes);
	open_pair(PAIR, base, &a, &b);
	see(b, &s);
	for (unsigned i = 1; i <= 10; i++) {
		send_text(a, "x");
		must(event_base_once(base, -1, EV_TIMEOUT, tick, &ticks, &at_once));
		run_until(base, &s.msgs, i);
		run_until(base, &ticks, i);
	}
	ck_assert_uint_gt(zeroes.msgs, 0);
	ck_assert_uint_eq(complaints, 0);
	aioconn_abort(zero);
	aioconn_abort(a);
	aioconn_abort(b);
	event_base_free(base);
}

/* While it is paused nothing is read, and the loop may sleep. */
TEST(a_paused_file_waits)
{
	struct event_base *base = new_base();
	struct seen s = {.msgs = 0};
	struct aioconn *c = adopt_lines(file_with("one\ntwo\n"), -1, base);
	unsigned turns = 0;

	event_set_log_callback(count_complaint);
	see(c, &s);
	aioconn_pause(c);
	for (int i = 0; i < 5; i++)
		must(event_base_loop(base, EVLOOP_NONBLOCK));
	ck_assert_uint_eq(s.msgs, 0);
	while (event_base_get_num_events(base, EVENT_BASE_COUNT_ADDED | EVENT_BASE_COUNT_ACTIVE) &&
	       turns++ < 10)
		must(event_base_loop(base, EVLOOP_NONBLOCK));
	ck_assert_uint_lt(turns, 10);
	aioconn_resume(c);
	run_until(base, &s.closes, 1);
	ck_assert_uint_eq(s.msgs, 2);
	ck_assert_uint_eq(complaints, 0);
	event_base_free(base);
}

/* Text that is long enough not to leave in one piece. */
static void write_lines(struct aioconn *c, struct event_base *base)
{
	static char line[60000];

	memset(line, 'x', sizeof line);
	for (int i = 0; i < 30; i++) {
		must(aioconn_send_bytes(c, line, sizeof line));
		if (base)
			must(event_base_loop(base, EVLOOP_NONBLOCK));
	}
	must(aioconn_flush(c, soon()));
}

TEST(a_file_is_written_on_a_loop_and_without)
{
	struct event_base *base = new_base();

	event_set_log_callback(count_complaint);
	for (int k = 0; k < 2; k++) {
		int fd = file_with(""), kept = must(dup(fd));
		struct aioconn *c = adopt_lines(-1, fd, k ? base : NULL);
		struct stat st;

		write_lines(c, k ? base : NULL);
		run_now(base);
		must(fstat(kept, &st));
		ck_assert_int_eq(st.st_size, 30 * 60001);
		if (k)
			ck_assert_int_eq(event_base_get_num_events(base, EVENT_BASE_COUNT_ADDED), 0);
		must(aioconn_close(c, k ? AIOIPC_NOW : soon()));
		close(kept);
	}
	ck_assert_uint_eq(complaints, 0);
	event_base_free(base);
}

struct task {
	struct event_base *base; /* of the connection; NULL */
	unsigned lines;
};

static void read_in_task(void *arg)
{
	struct task *t = arg;
	struct aioconn *c =
		adopt_lines(file_with("one\ntwo\nthree"), open_it("/dev/null", O_WRONLY), t->base);
	const char *line;

	while (must(aioconn_read_line(c, &line, soon())) > 0) {
		must(aioconn_send_bytes(c, "x", 1));
		t->lines++;
	}
	must(aioconn_close(c, soon()));
}

TEST(a_file_is_read_in_tasks)
{
	struct event_base *base = new_base();
	struct task with = {.base = base}, without = {.base = NULL};
	struct aiotask *one, *other;

	event_set_log_callback(count_complaint);
	one = must(aiotask_spawn(base, read_in_task, &with));
	other = must(aiotask_spawn(base, read_in_task, &without));
	must(aiotask_join(one, soon()));
	must(aiotask_join(other, soon()));
	ck_assert_uint_eq(with.lines, 3);
	ck_assert_uint_eq(without.lines, 3);
	ck_assert_uint_eq(complaints, 0);
	event_base_free(base);
}

/* As a shell would: its pipe, and the other side of it, are blocking when the program that had them has ended. */
TEST(open_files_of_others_block_again_when_the_process_has_ended)
{
	static const char *const ways[] = {"close", "exit", "fork"};

	for (int i = 0; i < 3; i++) {
		int in[2], out[2];
		pid_t pid;

		must(pipe2(in, O_CLOEXEC));
		must(pipe2(out, O_CLOEXEC));
		pid = must(fork());
		if (pid == 0) {
			dup2(in[0], 0);
			dup2(out[1], 1);
			execl("tests/inheritor", "inheritor", "leave", ways[i], NULL);
			_exit(255);
		}
		expect_exit(pid, 0);
		ck_assert(is_readable(out[0]));
		ck_assert_int_eq(must(fcntl(in[0], F_GETFL)) & O_NONBLOCK, 0);
		ck_assert_int_eq(must(fcntl(out[1], F_GETFL)) & O_NONBLOCK, 0);
		for (int k = 0; k < 2; k++) {
			close(in[k]);
			close(out[k]);
		}
	}
}
