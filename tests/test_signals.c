/* Signals and shortages: SIGPIPE whatever is done with it, a storm of EINTR, closed 0, 1 and 2, no free descriptor. */
#include "tests/peers.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <unistd.h>

static volatile int pipes_seen;

static void see_pipe(int sig)
{
	(void)sig;
	pipes_seen++;
}

/* Writes until the peer is known to be gone. */
static void write_to_nobody(enum transport t, struct event_base *base)
{
	struct aioconn *a, *b;
	char data[1000] = {0};

	open_pair(t, base, &a, &b);
	must(aioconn_send_bytes(a, data, sizeof data));
	aioconn_abort(b);
	while (aioconn_send_bytes(a, data, sizeof data) == 0)
		if (base)
			run_now(base);
	ck_assert_int_eq(errno, EPIPE);
	ck_assert_int_eq(aioconn_close(a, soon()), -1);

	open_pair(t, base, &a, &b);
	aioconn_abort(b);
	aioconn_close(a, soon());
}

static void write_everywhere(void)
{
	struct event_base *base = new_base();

	for (enum transport t = PIPE; t <= PAIR; t++) {
		write_to_nobody(t, NULL);
		write_to_nobody(t, base);
	}
	event_base_free(base);
}

static bool is_pending(int sig)
{
	sigset_t set;

	must(sigpending(&set));
	return sigismember(&set, sig) == 1;
}

TEST(sigpipe_at_its_default_does_not_kill)
{
	signal(SIGPIPE, SIG_DFL);
	write_everywhere();
}

TEST(sigpipe_ignored_stays_ignored)
{
	struct sigaction sa;

	signal(SIGPIPE, SIG_IGN);
	write_everywhere();
	must(sigaction(SIGPIPE, NULL, &sa));
	ck_assert_ptr_eq(sa.sa_handler, SIG_IGN);
}

TEST(a_handler_of_sigpipe_is_not_called)
{
	struct sigaction sa;

	signal(SIGPIPE, see_pipe);
	write_everywhere();
	must(sigaction(SIGPIPE, NULL, &sa));
	ck_assert_ptr_eq(sa.sa_handler, see_pipe);
	ck_assert_int_eq(pipes_seen, 0);
}

TEST(sigpipe_blocked_stays_blocked_and_none_is_left_pending)
{
	sigset_t set, now;

	signal(SIGPIPE, see_pipe);
	sigemptyset(&set);
	sigaddset(&set, SIGPIPE);
	must(sigprocmask(SIG_BLOCK, &set, NULL));
	write_everywhere();
	ck_assert(!is_pending(SIGPIPE));
	must(sigprocmask(SIG_BLOCK, NULL, &now));
	ck_assert_int_eq(sigismember(&now, SIGPIPE), 1);
}

TEST(a_sigpipe_that_was_pending_stays_pending)
{
	sigset_t set;

	signal(SIGPIPE, see_pipe);
	sigemptyset(&set);
	sigaddset(&set, SIGPIPE);
	must(sigprocmask(SIG_BLOCK, &set, NULL));
	raise(SIGPIPE);
	write_everywhere();
	ck_assert(is_pending(SIGPIPE));
	ck_assert_int_eq(pipes_seen, 0);
	must(sigprocmask(SIG_UNBLOCK, &set, NULL));
	ck_assert_int_eq(pipes_seen, 1);
}

static volatile int ticks;

static void tick(int sig)
{
	(void)sig;
	ticks++;
}

static void storm(int flags)
{
	struct sigaction sa = {.sa_handler = tick, .sa_flags = flags};
	long us =
		(long)(100 * harness_slowness() * harness_slowness()); /* time enough between two to get on */
	struct itimerval it = {{0, us}, {0, us}};

	must(sigaction(SIGALRM, &sa, NULL));
	must(setitimer(ITIMER_REAL, &it, NULL));
}

static void calm(void)
{
	struct itimerval none = {{0, 0}, {0, 0}};

	must(setitimer(ITIMER_REAL, &none, NULL));
}

#define TRIPS 200

static struct aiomsg *recv_through(struct aioconn *c)
{
	struct aiomsg *m;
	int r;

	while ((r = aioconn_recv(c, &m, soon())) == -1)
		ck_assert_int_eq(errno, EINTR);
	return r ? m : NULL;
}

static void echo_in_a_storm(struct aioend *end, void *arg)
{
	struct aioconn *c = open_end(end, NULL);
	struct aiomsg *m;

	(void)arg;
	storm(SA_RESTART);
	while ((m = recv_through(c))) {
		must(aioconn_send_msg(c, m));
		aiomsg_free(m);
	}
	must(aioconn_close(c, soon()));
}

TEST_WITHIN(an_exchange_survives_a_storm_of_signals, 20)
{
	for (enum transport t = DUPLEX; t <= PAIR; t++)
		for (int flags = 0; flags < 2; flags++) {
			struct aioend *mine, *theirs;
			struct aioconn *c;
			pid_t pid;

			make_ends(t, &mine, &theirs);
			pid = start_child(echo_in_a_storm, theirs, NULL);
			c = open_end(mine, NULL);
			storm(flags ? SA_RESTART : 0);
			for (unsigned i = 0; i < TRIPS; i++) {
				size_t len, want = i % 10 ? i : i * 2000;
				struct aiomsg *m;

				send_fill(c, want, i);
				m = recv_through(c);
				ck_assert(is_filled(aiomsg_bytes(m, &len), want, i));
				ck_assert_uint_eq(len, want);
				aiomsg_free(m);
			}
			must(aioconn_close(c, soon()));
			calm();
			expect_exit(pid, 0);
		}
	ck_assert_int_gt(ticks, 0);
}

static void echo_msg(struct aioconn *c, struct aiomsg *m, void *arg)
{
	(void)arg;
	must(aioconn_send_msg(c, m));
}

static void count_and_go_on(struct aioconn *c, struct aiomsg *m, void *arg)
{
	if (++*(unsigned *)arg < 2000)
		must(aioconn_send_msg(c, m));
}

TEST(a_loop_survives_a_storm_of_signals)
{
	struct event_base *base = new_base();
	struct aioconn *a, *b;
	unsigned n = 0;

	open_pair(PAIR, base, &a, &b);
	must(aioconn_set_callbacks(a, count_and_go_on, NULL, NULL, &n));
	must(aioconn_set_callbacks(b, echo_msg, NULL, NULL, NULL));
	storm(0);
	send_fill(a, 3000, 1);
	while (n < 2000)
		if (event_base_loop(base, EVLOOP_ONCE) == 1)
			ck_abort_msg("the loop has nothing to wait for");
	calm();
	aioconn_abort(a);
	aioconn_abort(b);
	event_base_free(base);
}

static void talk_on_standard_numbers(void)
{
	struct event_base *base = new_base();

	for (enum transport t = PIPE; t <= PAIR; t++) {
		struct seen s = {.msgs = 0};
		struct aioconn *a, *b;

		open_pair(t, base, &a, &b);
		see(b, &s);
		send_text(a, "zero");
		send_text(a, "one");
		must(aioconn_close(a, soon()));
		run_until(base, &s.closes, 1);
		if (strcmp(s.text, "zero one ") || s.cause != AIOCONN_CLEAN)
			_exit(2);
	}
	event_base_free(base);
}

/* In a child, so that this process keeps its own. */
static void closed_standard(struct aioend *end, void *arg)
{
	struct aioconn *c, *a, *b;

	(void)arg;
	c = open_end(end, NULL);
	close(0);
	close(1);
	close(2);
	talk_on_standard_numbers();
	open_pair(PAIR, NULL, &a, &b);
	if (aioconn_fd(a) <= 2 || aioconn_fd(b) <= 2)
		_exit(3);
	send_text(a, "above them");
	expect_text(b, "above them");
	aioconn_abort(a);
	aioconn_abort(b);
	send_text(c, "done");
	must(aioconn_close(c, soon()));
}

TEST(with_0_1_and_2_closed_everything_works)
{
	struct aioend *mine, *theirs;
	struct aioconn *c;
	pid_t pid;

	make_ends(DUPLEX, &theirs, &mine);
	pid = start_child(closed_standard, theirs, NULL);
	c = open_end(mine, NULL);
	expect_text(c, "done");
	expect_end(c, 0);
	aioconn_abort(c);
	expect_exit(pid, 0);
}

/* So do ends that move to a child. */
static void say_hello(struct aioend *end, void *arg)
{
	struct aioconn *c = open_end(end, NULL);

	(void)arg;
	send_text(c, "hello");
	must(aioconn_close(c, soon()));
}

static void fork_on_standard_numbers(struct aioend *end, void *arg)
{
	struct aioend *mine, *theirs;
	struct aioconn *c, *up = open_end(end, NULL);
	pid_t pid;

	(void)arg;
	close(0);
	close(1);
	close(2);
	make_ends(DUPLEX, &mine, &theirs);
	pid = start_child(say_hello, theirs, NULL);
	c = open_end(mine, NULL);
	expect_text(c, "hello");
	expect_end(c, 0);
	aioconn_abort(c);
	expect_exit(pid, 0);
	send_text(up, "done");
	must(aioconn_close(up, soon()));
}

TEST(ends_on_0_1_and_2_move_to_a_child)
{
	struct aioend *mine, *theirs;
	struct aioconn *c;
	pid_t pid;

	make_ends(PIPE, &theirs, &mine);
	pid = start_child(fork_on_standard_numbers, theirs, NULL);
	c = open_end(mine, NULL);
	expect_text(c, "done");
	expect_end(c, 0);
	aioconn_abort(c);
	expect_exit(pid, 0);
}

static struct rlimit no_more_descriptors(void)
{
	struct rlimit was, none;
	int next = must(dup(0));

	close(next);
	must(getrlimit(RLIMIT_NOFILE, &was));
	none = was;
	none.rlim_cur = (rlim_t)next;
	must(setrlimit(RLIMIT_NOFILE, &none));
	return was;
}

TEST(without_free_descriptors_calls_fail_and_connections_go_on)
{
	struct event_base *base = new_base();
	struct aioend *x = NULL, *y = NULL, *mine, *theirs;
	struct aioconn *a, *b, *c, *d;
	struct rlimit was;
	struct aiomsg *m;

	open_pair(PAIR, NULL, &a, &b);
	open_pair(DUPLEX, base, &c, &d);
	make_ends(PAIR, &mine, &theirs);
	must(aioconn_allow_fds(b, 4));
	was = no_more_descriptors();
	must_fail(aiopipe(&x, &y), EMFILE);
	must_fail(aioduplex(&x, &y), EMFILE);
	ck_assert(!x && !y);
	if (aiosockpair(&x, &y) == 0) { /* under valgrind, which keeps the limit to itself here */
		aioend_free(x);
		aioend_free(y);
	} else {
		ck_assert_int_eq(errno, EMFILE);
	}
	must_fail(aioend_detach(theirs), EMFILE);
	must_fail(aioconn_send_fd(a, 0, "i", 1), EMFILE);
	send_text(a, "goes on");
	expect_text(b, "goes on");
	send_text(c, "on a base");
	must(aioconn_flush(c, soon()));
	expect_text(d, "on a base");
	must_fail(aioconn_recv(d, &m, aioipc_after(2)), ETIMEDOUT);
	must(aioconn_close(a, soon()));
	expect_end(b, 0);
	must(setrlimit(RLIMIT_NOFILE, &was));
	must(aioend_detach(theirs));
	must(aioend_reclaim(theirs));
	aioend_free(mine);
	aioend_free(theirs);
	aioconn_abort(b);
	aioconn_abort(c);
	aioconn_abort(d);
	event_base_free(base);
}

/* Ctrl-C stops a program that waits, also where it waits for ever in one system call. */
TEST(a_handler_gets_its_chance_in_every_receiving_call)
{
	struct sigaction sa = {.sa_handler = tick, .sa_flags = SA_RESTART};
	struct event_base *base = new_base();

	must(sigaction(SIGALRM, &sa, NULL));
	for (enum transport t = PIPE; t <= PAIR; t++)
		for (int k = 0; k < 4; k++) {
			struct itimerval often = {{0, 10000}, {0, 10000}};
			struct aioconn *a, *b;
			struct aiomsg *m;
			char buf[4];

			open_pair(t, k & 1 ? base : NULL, &a, &b);
			if (k & 2)
				must(aioconn_set_framing(b, AIOCONN_BYTES, NULL));
			must(setitimer(ITIMER_REAL, &often, NULL));
			if (k & 2)
				must_fail(aioconn_read(b, buf, 4, AIOIPC_FOREVER), EINTR);
			else
				must_fail(aioconn_recv(b, &m, AIOIPC_FOREVER), EINTR);
			calm();
			aioconn_abort(a);
			aioconn_abort(b);
		}
	event_base_free(base);
}
